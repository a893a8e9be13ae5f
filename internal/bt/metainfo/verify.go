package metainfo

import (
	"context"
	"fmt"
	"io"

	"essaim/internal/bt"
)

// MismatchError says which piece is not what the torrent says. Where only one of V1 and V2 is set, the torrent itself
// is at odds with itself: BEP 52 wants such a torrent refused.
type MismatchError struct {
	Path   string
	Piece  uint32 // within the torrent
	V1, V2 bool   // whose hash refuted it
}

// Error names the file, the piece and the hashes.
func (e *MismatchError) Error() string {
	by := "both hashes"
	switch {
	case !e.V1:
		by = "the v2 hash alone"
	case !e.V2:
		by = "the v1 hash alone"
	}
	return fmt.Sprintf("metainfo: %s: piece %d is refuted by %s", e.Path, e.Piece, by)
}

// VerifyFile reads the bytes of one of t's files, named by its index, and checks them against the v1 and the v2 hashes.
// It returns a *MismatchError for the first piece that is wrong, ErrSize where r is too short or too long, r's own error
// and ctx's. It panics where there is no such file.
func (t *Torrent) VerifyFile(ctx context.Context, file int, r io.Reader) error {
	f := &t.Files[file]
	padded := file+1 < len(t.Files) || t.TailPad
	s := newStream(f.Path, f.Size, t.PieceLength, padded, func() (io.ReadCloser, error) { return io.NopCloser(r), nil })
	if err := hashStreams(ctx, t.PieceLength, []*stream{s}, nil); err != nil {
		return err
	}
	for i := range s.pieces {
		wrong := MismatchError{Path: f.Path, Piece: f.FirstPiece + uint32(i)}
		wrong.V1 = s.pieces[i] != t.Pieces[wrong.Piece]
		if f.Layer != nil {
			wrong.V2 = s.nodes[i] != f.Layer[i]
		} else {
			wrong.V2 = s.root(int(t.PieceLength/bt.BlockSize)) != f.Root
		}
		if wrong.V1 || wrong.V2 {
			return &wrong
		}
	}
	return nil
}
