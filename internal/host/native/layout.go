package native

import (
	"errors"
	"fmt"

	"essaim/internal/engine"
)

// layout says which bytes of which file a piece holds.
type layout struct {
	pieceLength int64
	files       []engine.TitleFile
}

func newLayout(t *engine.Title) layout {
	return layout{pieceLength: int64(t.PieceLength), files: t.Files}
}

func (l *layout) pieces(f *engine.TitleFile) uint32 {
	return uint32((int64(f.Size) + l.pieceLength - 1) / l.pieceLength)
}

// find returns a piece's file, and where in it the piece begins.
func (l *layout) find(piece uint32) (file int, from int64, ok bool) {
	for i := range l.files { // a title has a dozen files
		f := &l.files[i]
		if piece >= f.FirstPiece && piece-f.FirstPiece < l.pieces(f) {
			return i, int64(piece-f.FirstPiece) * l.pieceLength, true
		}
	}
	return 0, 0, false
}

// pieceSize is how many bytes of its file a piece holds: pads left out. 0: no such piece.
func (l *layout) pieceSize(piece uint32) int64 {
	i, from, ok := l.find(piece)
	if !ok {
		return 0
	}
	return min(l.pieceLength, int64(l.files[i].Size)-from)
}

// eachPiece calls f for each piece that bytes [from, to) of a file touch: off = where within the piece, at = where
// within the range, n = how many bytes.
func (l *layout) eachPiece(file uint32, from, to int64, f func(piece uint32, off, at, n int64) error) error {
	for pos := from; pos < to; {
		k := pos / l.pieceLength
		n := min(to, (k+1)*l.pieceLength) - pos
		if err := f(l.files[file].FirstPiece+uint32(k), pos-k*l.pieceLength, pos-from, n); err != nil {
			return err
		}
		pos += n
	}
	return nil
}

// check says what is wrong with a range, if anything is.
func (l *layout) check(file uint32, from, to int64) error {
	if int(file) >= len(l.files) || from < 0 || to <= from || to > int64(l.files[file].Size) {
		return fmt.Errorf("bytes %d to %d of file %d: %w", from, to, file, ErrRange)
	}
	if to-from > readMax {
		return fmt.Errorf("bytes %d to %d of file %d: more than %d at once: %w", from, to, file, readMax, ErrRange)
	}
	return nil
}

// Errors of ReadRange that callers tell apart.
var (
	// ErrRange says that the file has no such bytes.
	ErrRange = errors.New("range not in the file")
	// ErrUnavailable says that no source has the bytes.
	ErrUnavailable = errors.New("no source has it")
	// ErrClosed says that the host was closed.
	ErrClosed = errors.New("host closed")
)

func reasonError(r engine.Reason) error {
	switch r {
	case engine.ReasonBadRange:
		return ErrRange
	case engine.ReasonUnavailable:
		return ErrUnavailable
	default:
		return fmt.Errorf("reason %d: %w", r, ErrUnavailable)
	}
}

// left is how many bytes of the title the store lacks.
func (c *core) left() (n int64) {
	for i := range c.title.Files {
		f := &c.title.Files[i]
		for p := range c.files.pieces(f) {
			if !c.store.Has(f.FirstPiece + p) {
				n += c.files.pieceSize(f.FirstPiece + p)
			}
		}
	}
	return n
}
