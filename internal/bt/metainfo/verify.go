package metainfo

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"

	"essaim/internal/bt"
)

// MismatchError says which piece is not what the torrent says. Where only one of V1 and V2 is set, the torrent itself
// is at odds with itself, and the error is an ErrConflict too.
type MismatchError struct {
	Path   string
	Piece  uint32 // within the torrent
	V1, V2 bool   // whose hash refuted it
}

// Error names the file, the piece and the hashes.
func (e *MismatchError) Error() string {
	if e.V1 && e.V2 {
		return fmt.Sprintf("metainfo: %s: piece %d is refuted by both hashes", e.Path, e.Piece)
	}
	by := "v2"
	if e.V1 {
		by = "v1"
	}
	return fmt.Sprintf("%v: %s: piece %d is refuted by the %s hash alone", ErrConflict, e.Path, e.Piece, by)
}

// Is reports whether target is ErrConflict and the torrent is at odds with itself.
func (e *MismatchError) Is(target error) bool { return target == ErrConflict && e.V1 != e.V2 }

// VerifyFile reads the bytes of one of t's files, named by its index, and checks them against the v1 and the v2 hashes.
// It returns a *MismatchError for the first piece that is wrong (the first at which the torrent disagrees with itself, if there is
// one: that is the worse news), ErrSize where r is too short or too long, r's own error and ctx's. It panics where there is no such
// file.
func (t *Torrent) VerifyFile(ctx context.Context, file int, r io.Reader) error {
	f := &t.Files[file]
	s := newStream(f.Path, f.Size, t.PieceLength, t.padded(file), func() (io.ReadCloser, error) { return io.NopCloser(r), nil })
	if err := hashStreams(ctx, t.PieceLength, []*stream{s}, nil); err != nil {
		return err
	}
	var first *MismatchError
	for i := range s.pieces {
		wrong := t.compare(f, i, s.pieces[i], s.nodes[i], func() bt.Digest { return s.root(int(t.PieceLength / bt.BlockSize)) })
		if wrong == nil {
			continue
		}
		if errors.Is(wrong, ErrConflict) {
			return wrong
		}
		if first == nil {
			first = wrong
		}
	}
	if first != nil {
		return first
	}
	return nil
}

// VerifyPiece checks the bytes of one piece, without the pad that may follow them, against the v1 and the v2 hash: what a client that
// holds the info dictionary must do before it passes a piece on to peers of either kind. It returns a *MismatchError, and ErrSize for
// another number of bytes than the piece has; it panics where there is no such piece.
func (t *Torrent) VerifyPiece(piece uint32, data []byte) error {
	file, n, err := t.find(piece, len(data))
	if err != nil {
		return err
	}
	f := &t.Files[file]
	s := newStream(f.Path, int64(len(data)), t.PieceLength, t.padded(file), nil)
	if err := newWorker(t.PieceLength, int64(len(data))).digest(s, 0, data); err != nil {
		return err
	}
	if wrong := t.compare(f, n, s.pieces[0], s.nodes[0], func() bt.Digest { return s.root(int(t.PieceLength / bt.BlockSize)) }); wrong != nil {
		return wrong
	}
	return nil
}

// VerifyV1 checks the bytes of one piece, without the pad that may follow them, against the v1 hash. It is for bytes that the v2 hash is
// known to take, so that what it returns, a *MismatchError, is an ErrConflict. ErrSize and panics are VerifyPiece's.
func (t *Torrent) VerifyV1(piece uint32, data []byte) error {
	file, _, err := t.find(piece, len(data))
	if err != nil {
		return err
	}
	h := sha1.New()
	h.Write(data)
	if t.padded(file) {
		for missing := int(t.PieceLength) - len(data); missing > 0; missing -= len(zeros) {
			h.Write(zeros[:min(missing, len(zeros))])
		}
	}
	if HashV1(h.Sum(nil)) != t.Pieces[piece] {
		return &MismatchError{Path: t.Files[file].Path, Piece: piece, V1: true}
	}
	return nil
}

// find returns a piece's file, and its number there; ErrSize unless it has so many bytes.
func (t *Torrent) find(piece uint32, size int) (file, n int, err error) {
	for file+1 < len(t.Files) && t.Files[file+1].FirstPiece <= piece {
		file++
	}
	f := &t.Files[file]
	n = int(piece - f.FirstPiece)
	if n >= int(f.PieceCount(t.PieceLength)) {
		panic("metainfo: no such piece")
	}
	if int64(size) != min(int64(t.PieceLength), f.Size-int64(n)*int64(t.PieceLength)) {
		return file, n, ErrSize
	}
	return file, n, nil
}

// padded: zeros follow the file's last piece in v1.
func (t *Torrent) padded(file int) bool { return file+1 < len(t.Files) || t.TailPad }

// compare holds what was computed of a file's n-th piece against the torrent; nil where both halves agree with it. root is the
// file's, for a file of one piece.
func (t *Torrent) compare(f *File, n int, v1 HashV1, node bt.Digest, root func() bt.Digest) *MismatchError {
	wrong := &MismatchError{Path: f.Path, Piece: f.FirstPiece + uint32(n)}
	wrong.V1 = v1 != t.Pieces[wrong.Piece]
	if f.Layer != nil {
		wrong.V2 = node != f.Layer[n]
	} else {
		wrong.V2 = root() != f.Root
	}
	if !wrong.V1 && !wrong.V2 {
		return nil
	}
	return wrong
}
