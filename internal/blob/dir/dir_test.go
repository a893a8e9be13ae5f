package dir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/blob"
	"essaim/internal/blob/blobtest"
)

func open(t *testing.T, name string) *Store {
	t.Helper()
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestDirIsAStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestDirKeepsObjectsAcrossOpenings(t *testing.T) {
	name := t.TempDir()
	if err := open(t, name).Put(t.Context(), "media/aa", strings.NewReader("film")); err != nil {
		t.Fatal(err)
	}
	o, err := open(t, name).Open(t.Context(), "media/aa")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Size() != 4 {
		t.Errorf("size %d", o.Size())
	}
}

func TestDirSweepsOnlyWhatDeadProcessesLeft(t *testing.T) {
	name := t.TempDir()
	open(t, name)
	old, young := filepath.Join(name, "tmp", "old"), filepath.Join(name, "tmp", "young")
	for _, f := range []string{old, young} {
		if err := os.WriteFile(f, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-3 * 24 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	open(t, name)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young one: %v", err)
	}
}

func TestDirFollowsNoLinkOutside(t *testing.T) {
	name, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, name)
	if err := os.Symlink(outside, filepath.Join(name, "objects", "media~")); err != nil {
		t.Fatal(err)
	}
	if o, err := s.Open(t.Context(), "media/secret"); err == nil {
		o.Close()
		t.Error("read a file outside of the store")
	}
	if err := s.Put(t.Context(), "media/new", strings.NewReader("x")); err == nil {
		t.Error("wrote a file outside of the store")
	}
}
