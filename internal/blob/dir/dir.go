// Package dir keeps objects as files in a folder. An object appears under its key in one step, after its bytes have
// reached the disk, so a crash at any moment leaves it whole or absent; and no key, link or race leads outside the
// folder (os.Root).
package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"essaim/internal/blob"
)

// Store is a blob.Store in a folder. Several processes may use one folder at once.
//
// Layout: objects/ holds the objects, tmp/ those being written. A key's segments are the path, each folder's name
// followed by '~', so that one key may be the beginning of another ("a" and "a/b").
type Store struct {
	root *os.Root
}

var _ blob.Store = (*Store)(nil)

const (
	objects   = "objects"
	temporary = "tmp"
	folder    = "~"
	// What has lain in tmp/ longer than this belongs to a process that died: no upload takes so long.
	abandoned = 48 * time.Hour
)

// Open opens the store in the folder at name, and makes it if it is missing. Close it after use.
func Open(name string) (*Store, error) {
	if err := os.MkdirAll(name, 0o755); err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	s := &Store{root: root}
	for _, d := range []string{objects, temporary} {
		if err := root.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			root.Close()
			return nil, fmt.Errorf("open object store: %w", err)
		}
	}
	s.sweep(time.Now())
	return s, nil
}

// Close releases the folder. Objects that are open stay readable.
func (s *Store) Close() error { return s.root.Close() }

// sweep removes what processes that died were writing. It is housekeeping: what it cannot remove, it leaves.
func (s *Store) sweep(now time.Time) {
	entries, err := fs.ReadDir(s.root.FS(), temporary)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > abandoned {
			_ = s.root.Remove(path.Join(temporary, e.Name()))
		}
	}
}

// place is the path of a key within the root, and the folder that holds it.
func place(key string) (file, parent string) {
	parent = objects
	segs := strings.Split(key, "/")
	for _, seg := range segs[:len(segs)-1] {
		parent += "/" + seg + folder
	}
	return parent + "/" + segs[len(segs)-1], parent
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	name, _ := place(key)
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", blob.ErrNotFound, key)
	}
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open object: %w", err)
	}
	return object{f, info.Size()}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	name, parent := place(key)
	if _, err := s.root.Stat(name); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put %s: %w", key, err)
	}
	tmp := temporary + "/" + strings.ToLower(rand.Text())
	if err := s.write(ctx, tmp, r); err != nil {
		_ = s.root.Remove(tmp)
		return fmt.Errorf("put %s: %w", key, err)
	}
	err := s.appear(tmp, name, parent)
	_ = s.root.Remove(tmp)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// write copies r to a new file and on to the disk.
func (s *Store) write(ctx context.Context, name string, r io.Reader) error {
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, blob.Reader(ctx, r))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// appear gives the finished file its name, which must not replace another: of two writers of one key, the first wins.
func (s *Store) appear(tmp, name, parent string) error {
	if err := s.mkdir(parent); err != nil {
		return err
	}
	err := s.root.Link(tmp, name)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrExist):
		return nil
	default:
		// A file system without hard links (FAT, some network mounts): rename is atomic there too, and the object that a
		// race of two writers would replace has the same content.
		if err := s.root.Rename(tmp, name); err != nil {
			return err
		}
	}
	return s.sync(parent)
}

// mkdir makes a folder within objects/ and those above it, each on the disk before the next.
func (s *Store) mkdir(name string) error {
	if _, err := s.root.Stat(name); err == nil {
		return nil
	}
	above := path.Dir(name)
	if above != "." {
		if err := s.mkdir(above); err != nil {
			return err
		}
	}
	if err := s.root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.sync(above)
}

// sync brings a folder's entries to the disk.
func (s *Store) sync(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Delete implements blob.Store. Folders stay, empty or not: another writer may be about to use them.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	name, _ := place(key)
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

var errStop = errors.New("stop")

// List implements blob.Store. An object put or deleted meanwhile may be seen or not.
func (s *Store) List(ctx context.Context, prefix string, yield func(key string, size int64) bool) error {
	err := s.walk(ctx, objects, "", prefix, yield)
	if err != nil && !errors.Is(err, errStop) {
		return fmt.Errorf("list objects: %w", err)
	}
	return nil
}

func (s *Store) walk(ctx context.Context, name, above, prefix string, yield func(string, int64) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Keys come in the order of their bytes, where "a-b" is before "a/b".
	keyOf := func(e fs.DirEntry) string {
		if e.IsDir() {
			return above + strings.TrimSuffix(e.Name(), folder) + "/"
		}
		return above + e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(keyOf(a), keyOf(b)) })
	for _, e := range entries {
		key := keyOf(e)
		switch {
		case e.IsDir():
			if !strings.HasPrefix(key, prefix) && !strings.HasPrefix(prefix, key) {
				continue
			}
			if err := s.walk(ctx, name+"/"+e.Name(), key, prefix, yield); err != nil {
				return err
			}
		case strings.HasPrefix(key, prefix):
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if !yield(key, info.Size()) {
				return errStop
			}
		}
	}
	return nil
}

func check(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

type object struct {
	*os.File
	size int64
}

func (o object) Size() int64 { return o.size }
