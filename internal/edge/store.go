package edge

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/vod"
)

// The folders of an edge's bytes. A file lies in media under its v2 root once all of it was verified, and in filling before.
const (
	mediaFolder   = "media"
	fillingFolder = "filling"
	leavesFolder  = "leaves"
)

// ErrRotten is what reading a block fails with that has changed on the disk. It is fetched again.
var ErrRotten = errors.New("the stored bytes have changed")

// rot names a block.
type rot struct {
	root  bt.Digest
	block int64
}

// store is the files that an edge holds: a blob.Store of media/{root} and leaves/{root} whose media are held against their leaves
// each time they are read. It is safe for concurrent use.
type store struct {
	dir    string
	rotted func(rot) // hears of every block that was found to have changed

	mu    sync.Mutex
	sizes map[bt.Digest]int64 // of whole files
}

var _ blob.Store = (*store)(nil)

func openStore(dir string, rotted func(rot)) (*store, error) {
	s := &store{dir: dir, rotted: rotted, sizes: map[bt.Digest]int64{}}
	for _, name := range []string{mediaFolder, fillingFolder, leavesFolder} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, mediaFolder))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		root, err := bt.ParseDigest(e.Name())
		info, ierr := e.Info()
		if err == nil && ierr == nil && info.Mode().IsRegular() {
			s.sizes[root] = info.Size()
		}
	}
	return s, nil
}

func (s *store) path(folder string, root bt.Digest) string {
	return filepath.Join(s.dir, folder, root.String())
}

// whole reports whether all of a file of that size is held.
func (s *store) whole(root bt.Digest, size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sizes[root] == size && size > 0
}

// finish makes a file that was filled a whole one.
func (s *store) finish(root bt.Digest, size int64) error {
	if err := os.Rename(s.path(fillingFolder, root), s.path(mediaFolder, root)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[root] = size
	return nil
}

// drop removes a file and all that belongs to it. Who reads it at the moment reads on.
func (s *store) drop(root bt.Digest) error {
	s.mu.Lock()
	delete(s.sizes, root)
	s.mu.Unlock()
	var errs []error
	for _, folder := range []string{mediaFolder, fillingFolder, leavesFolder} {
		if err := os.Remove(s.path(folder, root)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// stored is a file on the disk, of which some may be missing yet.
type stored struct {
	root bt.Digest
	size int64
	at   int64 // when it was last changed, for eviction: seconds since 1970
}

// all lists what lies on the disk, whole or not, the longest unchanged first.
func (s *store) all() ([]stored, error) {
	var list []stored
	for _, folder := range []string{mediaFolder, fillingFolder} {
		entries, err := os.ReadDir(filepath.Join(s.dir, folder))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			root, err := bt.ParseDigest(e.Name())
			info, ierr := e.Info()
			if err == nil && ierr == nil {
				list = append(list, stored{root, info.Size(), info.ModTime().Unix()})
			}
		}
	}
	slices.SortFunc(list, func(a, b stored) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return strings.Compare(a.root.String(), b.root.String())
	})
	return list, nil
}

// Open implements blob.Store. Media that are not whole are not there.
func (s *store) Open(_ context.Context, key string) (blob.Object, error) {
	folder, name, _ := strings.Cut(key, "/")
	root, err := bt.ParseDigest(name)
	if err != nil || folder != mediaFolder && folder != leavesFolder {
		return nil, blob.ErrNotFound
	}
	s.mu.Lock()
	size, ok := s.sizes[root]
	s.mu.Unlock()
	if !ok {
		return nil, blob.ErrNotFound
	}
	leaves, err := os.Open(s.path(leavesFolder, root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, blob.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if folder == leavesFolder {
		return sized(leaves)
	}
	f, err := os.Open(s.path(mediaFolder, root))
	if err != nil {
		leaves.Close()
		if errors.Is(err, fs.ErrNotExist) {
			err = blob.ErrNotFound
		}
		return nil, err
	}
	o := &media{store: s, root: root, size: size, file: f, leaves: leaves}
	o.SectionReader = io.NewSectionReader(verified{o}, 0, size)
	return o, nil
}

// Put implements blob.Store: edges take nothing this way.
func (s *store) Put(context.Context, string, io.Reader) error { return errReadOnly }

// Delete implements blob.Store: nor lose anything.
func (s *store) Delete(context.Context, string) error { return errReadOnly }

// List implements blob.Store, of whole media.
func (s *store) List(_ context.Context, prefix string, yield func(key string, size int64) bool) error {
	s.mu.Lock()
	sizes := make(map[string]int64, len(s.sizes))
	var keys []string
	for root, size := range s.sizes {
		if key := vod.KeyMedia(root); strings.HasPrefix(key, prefix) {
			keys, sizes[key] = append(keys, key), size
		}
	}
	s.mu.Unlock()
	slices.Sort(keys)
	for _, key := range keys {
		if !yield(key, sizes[key]) {
			break
		}
	}
	return nil
}

var errReadOnly = errors.New("an edge's store is filled by its plan alone")

// file is a plain object.
type file struct {
	*os.File
	size int64
}

func sized(f *os.File) (blob.Object, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return file{f, info.Size()}, nil
}

// Size implements blob.Object.
func (f file) Size() int64 { return f.size }

// media is a whole media file, open, whose blocks are checked as they are read.
type media struct {
	*io.SectionReader
	store        *store
	root         bt.Digest
	size         int64
	file, leaves *os.File
}

// Close implements blob.Object.
func (m *media) Close() error { return errors.Join(m.file.Close(), m.leaves.Close()) }

// Size implements blob.Object.
func (m *media) Size() int64 { return m.size }

type verified struct{ m *media }

// ReadAt implements io.ReaderAt: all of it, or nothing that was not checked.
func (v verified) ReadAt(p []byte, off int64) (int, error) {
	m := v.m
	if off < 0 || off >= m.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > m.size-off
	if short {
		p = p[:m.size-off]
	}
	if len(p) == 0 {
		return 0, nil
	}
	from := off / bt.BlockSize * bt.BlockSize
	to := min((off+int64(len(p))+bt.BlockSize-1)/bt.BlockSize*bt.BlockSize, m.size)
	buf := p
	if from != off || to != off+int64(len(p)) {
		buf = make([]byte, to-from)
	}
	if err := m.read(buf, from); err != nil {
		return 0, err
	}
	if from != off || to != off+int64(len(p)) {
		copy(p, buf[off-from:])
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// read fills buf with whole blocks from byte from on, and checks each. What the disk refuses counts as rotten too.
func (m *media) read(buf []byte, from int64) error {
	first := from / bt.BlockSize
	count := (int64(len(buf)) + bt.BlockSize - 1) / bt.BlockSize
	leaves := make([]byte, count*sha256.Size)
	if _, err := m.leaves.ReadAt(leaves, first*sha256.Size); err != nil {
		m.store.rotted(rot{m.root, first})
		return fmt.Errorf("leaves of %s: %w", m.root, ErrRotten)
	}
	if _, err := io.ReadFull(io.NewSectionReader(m.file, from, int64(len(buf))), buf); err != nil {
		for i := range count { // which of them is not known
			m.store.rotted(rot{m.root, first + i})
		}
		return fmt.Errorf("media %s: %w: %w", m.root, ErrRotten, err)
	}
	bad := false
	for i := range count {
		block := buf[i*bt.BlockSize : min((i+1)*bt.BlockSize, int64(len(buf)))]
		if sha256.Sum256(block) != [sha256.Size]byte(leaves[i*sha256.Size:]) {
			bad = true
			m.store.rotted(rot{m.root, first + i})
		}
	}
	if bad {
		return fmt.Errorf("media %s from byte %d: %w", m.root, from, ErrRotten)
	}
	return nil
}
