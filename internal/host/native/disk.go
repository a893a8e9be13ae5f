package native

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"essaim/internal/engine"
)

// disk keeps each media file's pieces at their places in one file, named by its v2 root, and beside it the SHA-256 of
// every piece that is whole. On opening, pieces whose bytes no longer have that digest (a crash, a worn disk) are
// forgotten. When the disk refuses to write, what comes later is kept in a bounded memory instead.
type disk struct {
	files layout
	data  []*os.File
	sums  []*os.File
	held  map[uint32]bool
	spare Store // nil: the disk is well
}

// spareMax bounds what is kept in memory once the disk has failed.
const spareMax = 256 << 20

// NewDisk opens a store in a folder, which is made if need be, and verifies what it holds for the title's files. Several
// titles may share a folder; no two hosts may use one title's files at a time.
func NewDisk(dir string, t *engine.Title) (Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	d := &disk{files: newLayout(t), held: map[uint32]bool{}}
	for i := range t.Files {
		name := filepath.Join(dir, t.Files[i].Root.String())
		for _, x := range []struct {
			list *[]*os.File
			name string
		}{{&d.data, name + ".part"}, {&d.sums, name + ".sums"}} {
			f, err := os.OpenFile(x.name, os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("open store: %w", err), d.Close())
			}
			*x.list = append(*x.list, f)
		}
		if err := d.verify(i); err != nil {
			return nil, errors.Join(fmt.Errorf("open store: %w", err), d.Close())
		}
	}
	return d, nil
}

// verify finds what a file's pieces still hold.
func (d *disk) verify(file int) error {
	f := &d.files.files[file]
	buf := make([]byte, d.files.pieceLength)
	sums, err := io.ReadAll(io.LimitReader(d.sums[file], int64(d.files.pieces(f))*sha256.Size))
	if err != nil {
		return err
	}
	for n := uint32(0); len(sums) >= sha256.Size; n, sums = n+1, sums[sha256.Size:] {
		want := [sha256.Size]byte(sums)
		if want == ([sha256.Size]byte{}) {
			continue
		}
		piece := f.FirstPiece + n
		b := buf[:d.files.pieceSize(piece)]
		if _, err := d.data[file].ReadAt(b, int64(n)*d.files.pieceLength); err == nil && sha256.Sum256(b) == want {
			d.held[piece] = true
		}
	}
	return nil
}

func (d *disk) Pieces() (list []uint32) {
	for i := range d.files.files {
		f := &d.files.files[i]
		for n := range d.files.pieces(f) {
			if d.held[f.FirstPiece+n] {
				list = append(list, f.FirstPiece+n)
			}
		}
	}
	return list
}

func (d *disk) Has(piece uint32) bool { return d.held[piece] || d.spare != nil && d.spare.Has(piece) }

func (d *disk) Put(piece uint32, data []byte) ([]uint32, error) {
	file, at, ok := d.files.find(piece)
	if !ok {
		return nil, errNoPiece
	}
	if d.spare == nil {
		// The digest goes last: a piece that is half written has none.
		_, err := d.data[file].WriteAt(data, at)
		if err == nil {
			sum := sha256.Sum256(data)
			err = d.mark(file, piece, sum)
		}
		if err == nil {
			d.held[piece] = true
			return nil, nil
		}
		d.spare = NewMemory(spareMax)
	}
	return d.spare.Put(piece, data)
}

func (d *disk) mark(file int, piece uint32, sum [sha256.Size]byte) error {
	_, err := d.sums[file].WriteAt(sum[:], int64(piece-d.files.files[file].FirstPiece)*sha256.Size)
	return err
}

func (d *disk) ReadAt(piece uint32, p []byte, off int64) error {
	if d.spare != nil && d.spare.Has(piece) {
		return d.spare.ReadAt(piece, p, off)
	}
	file, at, ok := d.files.find(piece)
	if !ok || !d.held[piece] || off < 0 || off+int64(len(p)) > d.files.pieceSize(piece) {
		return errNoPiece
	}
	if _, err := d.data[file].ReadAt(p, at+off); err != nil {
		delete(d.held, piece)
		return fmt.Errorf("read piece %d: %w", piece, err)
	}
	return nil
}

func (d *disk) Delete(piece uint32) error {
	if d.spare != nil && d.spare.Has(piece) {
		return d.spare.Delete(piece)
	}
	if !d.held[piece] {
		return nil
	}
	delete(d.held, piece)
	file, _, _ := d.files.find(piece)
	return d.mark(file, piece, [sha256.Size]byte{})
}

func (d *disk) Close() error {
	var errs []error
	for _, f := range append(d.data, d.sums...) {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
