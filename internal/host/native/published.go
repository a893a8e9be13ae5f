package native

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// Published is one file of a title that a service has published: its bytes, and its leaf layer, 32 bytes for each 16 KiB.
type Published struct {
	Media  io.ReaderAt
	Leaves io.ReaderAt
	Close  func() error // nil: nothing to close
}

// published is a store that was full before it was opened, and takes nothing more. What the disk gives is held against the
// leaves each time, so that what has rotted since is served to nobody.
type published struct {
	files layout
	from  []Published
	lost  map[uint32]bool

	ahead     []byte // leaves that were read ahead: of file aheadOf, from leaf aheadFrom on
	aheadOf   int
	aheadFrom int64
}

// leavesAhead is how many leaves are read at once: who asks for one block asks for its neighbours next.
const leavesAhead = 256

// NewPublished returns a store that holds all of a title, whose files are those of t, in order. It reads while it is asked,
// and closes the files with itself.
func NewPublished(t *engine.Title, files []Published) (Store, error) {
	if len(files) != len(t.Files) {
		return nil, fmt.Errorf("open store: %d files for a title of %d", len(files), len(t.Files))
	}
	return &published{files: newLayout(t), from: files, lost: map[uint32]bool{}}, nil
}

// Pieces implements Store.
func (s *published) Pieces() (list []uint32) {
	for i := range s.files.files {
		f := &s.files.files[i]
		for n := range s.files.pieces(f) {
			if !s.lost[f.FirstPiece+n] {
				list = append(list, f.FirstPiece+n)
			}
		}
	}
	return list
}

// Room implements Store: there are no bounds to a store that takes nothing.
func (s *published) Room() (limit, ahead int64) { return 0, 0 }

// Has implements Store.
func (s *published) Has(piece uint32) bool {
	_, _, ok := s.files.find(piece)
	return ok && !s.lost[piece]
}

var errReadOnly = errors.New("the store takes no pieces")

// Put implements Store.
func (s *published) Put(uint32, []byte) ([]uint32, error) { return nil, errReadOnly }

// ReadAt implements Store. What its leaf refutes is lost from then on.
func (s *published) ReadAt(piece uint32, p []byte, off int64) error {
	file, at, ok := s.files.find(piece)
	if !ok || s.lost[piece] || off < 0 || off+int64(len(p)) > s.files.pieceSize(piece) {
		return errNoPiece
	}
	size := int64(s.files.files[file].Size)
	from, to := at+off, at+off+int64(len(p))
	whole, end := from/bt.BlockSize*bt.BlockSize, min((to+bt.BlockSize-1)/bt.BlockSize*bt.BlockSize, size)
	buf := p
	if whole != from || end != to {
		buf = make([]byte, end-whole)
	}
	if err := s.read(file, buf, whole); err != nil {
		s.lost[piece] = true
		return fmt.Errorf("read piece %d: %w", piece, err)
	}
	if whole != from || end != to {
		copy(p, buf[from-whole:])
	}
	return nil
}

var errRotten = errors.New("the stored bytes have changed")

// read fills buf with whole blocks of a file from byte from on, and checks each.
func (s *published) read(file int, buf []byte, from int64) error {
	x := &s.from[file]
	if n, err := x.Media.ReadAt(buf, from); n < len(buf) {
		return err
	}
	leaves, err := s.leaves(file, from/bt.BlockSize, (int64(len(buf))+bt.BlockSize-1)/bt.BlockSize)
	if err != nil {
		return err
	}
	for ; len(buf) > 0; leaves = leaves[sha256.Size:] {
		n := min(len(buf), bt.BlockSize)
		if sha256.Sum256(buf[:n]) != [sha256.Size]byte(leaves) {
			return errRotten
		}
		buf = buf[n:]
	}
	return nil
}

// leaves returns n leaves of a file, until the next call.
func (s *published) leaves(file int, from, n int64) ([]byte, error) {
	if at := from - s.aheadFrom; s.ahead == nil || file != s.aheadOf || at < 0 || (at+n)*sha256.Size > int64(len(s.ahead)) {
		if int64(cap(s.ahead)) < max(n, leavesAhead)*sha256.Size {
			s.ahead = make([]byte, max(n, leavesAhead)*sha256.Size)
		}
		got, err := s.from[file].Leaves.ReadAt(s.ahead[:cap(s.ahead)], from*sha256.Size)
		s.ahead, s.aheadOf, s.aheadFrom = s.ahead[:got], file, from
		if int64(got) < n*sha256.Size {
			return nil, err
		}
	}
	at := (from - s.aheadFrom) * sha256.Size
	return s.ahead[at : at+n*sha256.Size], nil
}

// Delete implements Store: the piece is not served any more.
func (s *published) Delete(piece uint32) error {
	s.lost[piece] = true
	return nil
}

// Close implements Store.
func (s *published) Close() error {
	var errs []error
	for _, x := range s.from {
		if x.Close != nil {
			errs = append(errs, x.Close())
		}
	}
	return errors.Join(errs...)
}
