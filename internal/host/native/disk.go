package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"essaim/internal/engine"
)

// disk is the cache on disk: a store whose pieces outlast the process, each media file's in a cacheFile named by its root, so
// that a new version of a title keeps the files that did not change. What it finds counts only once the engine has verified it,
// and only as the bytes that were verified: what the disk has changed since is not given. When the disk refuses to write, or has
// often not given back what it took, what comes later is kept in a bounded memory instead.
type disk struct {
	dir    string
	files  layout
	caches []*cacheFile
	hashes []*hashFile
	lock   *os.File
	limit  int64
	held   map[uint32]bool // verified; false: found
	others map[uint32]string
	shelf  []engine.Shelved
	spare  Store // nil: the disk is well
	faults int   // verified pieces that it did not give back
	used   int64
}

const (
	cacheSuffix   = ".pieces"
	cacheFilesMax = 10_000    // other titles' files that are looked at
	spareMax      = 256 << 20 // what is kept in memory once the disk has failed
	faultsMax     = 8         // pieces that it may lose before it is given no more: a film must not wait for a disk that keeps nothing
)

// ErrCacheInUse says that another process has a cache folder open.
var ErrCacheInUse = errors.New("another process uses this folder")

// NewDisk opens a cache of at most limit bytes (0: no bound) in a folder, which is made if need be. Several titles may share a
// folder, which has one host at a time: ErrCacheInUse for others.
func NewDisk(dir string, t *engine.Title, limit int64) (Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	d := &disk{dir: dir, files: newLayout(t), limit: limit, held: map[uint32]bool{}, others: map[uint32]string{}}
	if err := d.open(t); err != nil {
		return nil, errors.Join(fmt.Errorf("open cache: %w", err), d.Close())
	}
	return d, nil
}

func (d *disk) open(t *engine.Title) (err error) {
	if d.lock, err = os.OpenFile(filepath.Join(d.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	if err := lockFile(d.lock); err != nil {
		return err
	}
	now := time.Now()
	ours := map[string]bool{}
	for i := range t.Files {
		f := &t.Files[i]
		name := f.Root.String() + cacheSuffix
		ours[name] = true
		c, err := openCacheFile(filepath.Join(d.dir, name), f.Size, t.PieceLength, now)
		if err != nil {
			return err
		}
		d.caches = append(d.caches, c)
		d.hashes = append(d.hashes, newHashFile(filepath.Join(d.dir, f.Root.String()+hashSuffix), d.files.pieces(f)))
		for _, n := range c.pieces() {
			d.held[f.FirstPiece+n] = false
			d.used += d.files.pieceSize(f.FirstPiece + n)
		}
	}
	return d.list(ours, now)
}

// list finds what else the folder holds.
func (d *disk) list(ours map[string]bool, now time.Time) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ours[e.Name()] || !strings.HasSuffix(e.Name(), cacheSuffix) || len(d.shelf) >= cacheFilesMax {
			continue
		}
		name := filepath.Join(d.dir, e.Name())
		h, size, ok := readCacheHead(name)
		if !ok {
			continue // not ours to touch
		}
		ref := uint32(len(d.shelf) + 1)
		d.others[ref] = name
		idle := uint32(min(max(int64(now.Sub(h.watched)/time.Second), 0), 1<<31))
		d.shelf = append(d.shelf, engine.Shelved{Ref: ref, Members: h.members, Copies: h.copies, Idle: idle, Bytes: uint64(size)})
	}
	return nil
}

func readCacheHead(name string) (h cacheHead, size int64, ok bool) {
	f, err := os.Open(name)
	if err != nil {
		return h, 0, false
	}
	defer f.Close()
	st, err := f.Stat()
	b := make([]byte, cacheHeadSize)
	if err != nil || !st.Mode().IsRegular() {
		return h, 0, false
	}
	if _, err := f.ReadAt(b, 0); err != nil {
		return h, 0, false
	}
	h, ok = parseCacheHead(b)
	return h, st.Size(), ok
}

// Pieces implements Store: the cache vouches for nothing.
func (d *disk) Pieces() []uint32 { return nil }

// Room leaves a quarter of a bounded cache for what lies behind the play head.
func (d *disk) Room() (limit, ahead int64) {
	if d.spare == nil {
		return d.limit, d.limit / 4 * 3
	}
	limit, ahead = d.spare.Room()
	if limit += d.used; d.limit > 0 {
		limit = min(limit, d.limit)
	}
	return limit, ahead
}

func (d *disk) Has(piece uint32) bool { return d.held[piece] || d.spare != nil && d.spare.Has(piece) }

func (d *disk) Put(piece uint32, data []byte) ([]uint32, error) {
	file, at, ok := d.files.find(piece)
	if !ok {
		return nil, errNoPiece
	}
	if d.spare != nil {
		return d.spare.Put(piece, data)
	}
	if err := d.Delete(piece); err == nil && d.caches[file].put(uint32(at/d.files.pieceLength), data) == nil {
		d.held[piece] = true
		d.used += int64(len(data))
		return nil, nil
	}
	d.spare = NewMemory(spareMax)
	return d.spare.Put(piece, data)
}

// Transient implements transient: what goes to the disk is written at once.
func (d *disk) Transient() bool { return d.spare == nil }

func (d *disk) ReadAt(piece uint32, p []byte, off int64) error {
	if d.spare != nil && d.spare.Has(piece) {
		return d.spare.ReadAt(piece, p, off)
	}
	file, at, ok := d.files.find(piece)
	if !ok || !d.held[piece] || off < 0 || off+int64(len(p)) > d.files.pieceSize(piece) {
		return errNoPiece
	}
	err := d.caches[file].readAt(uint32(at/d.files.pieceLength), p, off)
	if err != nil {
		if d.faults++; d.faults >= faultsMax && d.spare == nil {
			d.spare = NewMemory(spareMax)
		}
	}
	return err
}

func (d *disk) Delete(piece uint32) error {
	if d.spare != nil && d.spare.Has(piece) {
		return d.spare.Delete(piece)
	}
	if _, ok := d.held[piece]; !ok {
		return nil
	}
	delete(d.held, piece)
	d.used -= d.files.pieceSize(piece)
	file, at, _ := d.files.find(piece)
	return d.caches[file].remove(uint32(at / d.files.pieceLength))
}

// Found lists what was found, in order.
func (d *disk) Found() (list []uint32) {
	for i := range d.files.files {
		f := &d.files.files[i]
		for n := range d.files.pieces(f) {
			if verified, there := d.held[f.FirstPiece+n]; there && !verified {
				list = append(list, f.FirstPiece+n)
			}
		}
	}
	return list
}

// Peek reads a piece that was found.
func (d *disk) Peek(piece uint32) ([]byte, error) {
	if verified, there := d.held[piece]; !there || verified {
		return nil, errNoPiece
	}
	file, at, _ := d.files.find(piece)
	return d.caches[file].peek(uint32(at / d.files.pieceLength))
}

// Accept counts a piece that was found as verified: the bytes that Peek returned, not those that lie there now.
func (d *disk) Accept(piece uint32) bool {
	if _, there := d.held[piece]; !there {
		return false
	}
	file, at, _ := d.files.find(piece)
	if !d.caches[file].known(uint32(at / d.files.pieceLength)) {
		return false
	}
	d.held[piece] = true
	return true
}

// Others lists what is kept of other files.
func (d *disk) Others() []engine.Shelved { return d.shelf }

// RemoveOther removes another file.
func (d *disk) RemoveOther(ref uint32) error {
	name, ok := d.others[ref]
	if !ok {
		return nil
	}
	delete(d.others, ref)
	for i := range d.shelf {
		if d.shelf[i].Ref == ref {
			d.shelf = append(d.shelf[:i], d.shelf[i+1:]...)
			break
		}
	}
	return errors.Join(os.Remove(name), removeHashes(strings.TrimSuffix(name, cacheSuffix)+hashSuffix))
}

// Mark writes down what a file's swarm is like.
func (d *disk) Mark(file, members, copies uint32) error {
	if int(file) >= len(d.caches) {
		return nil
	}
	return d.caches[file].mark(members, copies)
}

func (d *disk) Close() error {
	var errs []error
	for i, c := range d.caches {
		empty := !c.begun
		errs = append(errs, c.close())
		if empty {
			name := filepath.Join(d.dir, d.files.files[i].Root.String())
			_ = os.Remove(name + cacheSuffix) // or it stays, empty
			_ = removeHashes(name + hashSuffix)
		}
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close()) // which unlocks it
	}
	return errors.Join(errs...)
}
