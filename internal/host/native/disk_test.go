package native

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/engine"
)

// diskFilm is the film of the process that is killed and of the one that comes after it.
func diskFilm(t *testing.T) *film { return newFilm(t, 3<<20, 300_000) }

// filled returns a folder in which a cache was filled with some of the first file's pieces.
func filled(t *testing.T, f *film, pieces ...uint32) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := opened(t, dir, f)
	for _, p := range pieces {
		if _, err := s.Put(p, pieceOf(f, p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func opened(t *testing.T, dir string, f *film) *disk {
	t.Helper()
	s, err := NewDisk(dir, &f.title, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*disk)
}

func pieceOf(f *film, piece uint32) []byte {
	l := newLayout(&f.title)
	i, at, _ := l.find(piece)
	return slices.Clone(f.files[i][at : at+l.pieceSize(piece)])
}

func cachePath(dir string, f *film, file int) string {
	return filepath.Join(dir, f.title.Files[file].Root.String()+cacheSuffix)
}

func TestWhatIsCachedIsFoundAndCountsOnlyOnceItWasAccepted(t *testing.T) {
	f := newFilm(t, 600_000, 50_000)
	dir := filled(t, f, 0, 2, 9, 10)
	s := opened(t, dir, f)
	defer s.Close()
	if got := s.Found(); !slices.Equal(got, []uint32{0, 2, 9, 10}) {
		t.Fatal(got)
	}
	if s.Has(2) || s.ReadAt(2, make([]byte, 1), 0) == nil {
		t.Error("a piece that nobody verified is read")
	}
	if b, err := s.Peek(9); err != nil || !bytes.Equal(b, pieceOf(f, 9)) {
		t.Error("peek:", err)
	}
	if s.Accept(3) || s.Accept(2) || s.Has(2) {
		t.Error("accepted what is not there, or what nobody saw")
	}
	if _, err := s.Peek(2); err != nil || !s.Accept(2) || !s.Has(2) {
		t.Error("not accepted:", err)
	}
	if err := s.Delete(0); err != nil || !slices.Equal(s.Found(), []uint32{9, 10}) {
		t.Error(err, s.Found())
	}
}

func TestTornRottenAndForgedCachesOpenAndPlay(t *testing.T) {
	f := newFilm(t, 600_000, 50_000)
	all := []uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for name, tamper := range map[string]func(b []byte) []byte{
		"cut within a slot":    func(b []byte) []byte { return b[:len(b)-30_000] },
		"cut within the table": func(b []byte) []byte { return b[:cacheHeadSize+6] },
		"cut within the head":  func(b []byte) []byte { return b[:40] },
		"no head":              func(b []byte) []byte { b[0] = 'x'; return b },
		"another piece length": func(b []byte) []byte { b[9] = 2; return b },
		"a bit in every slot": func(b []byte) []byte {
			for at := 4096; at < len(b); at += testPiece {
				b[at] ^= 1
			}
			return b
		},
		"a name out of range":     func(b []byte) []byte { b[cacheHeadSize] = 0xff; return b },
		"two slots of one name":   func(b []byte) []byte { copy(b[cacheHeadSize:], b[cacheHeadSize+4:cacheHeadSize+8]); return b },
		"names exchanged":         func(b []byte) []byte { b[cacheHeadSize+3], b[cacheHeadSize+7] = 2, 1; return b },
		"half of the slots zeros": func(b []byte) []byte { clear(b[len(b)/2:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t, f, all...)
			path := cachePath(dir, f, 0)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tamper(b), 0o600); err != nil {
				t.Fatal(err)
			}
			p := newPlace(t, f)
			cfg := p.config()
			cfg.Store = opened(t, dir, f)
			h, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := watch(deadline(t), h, f, 0); err != nil { // compares every byte
				t.Error(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			after := opened(t, dir, f)
			defer after.Close()
			for _, piece := range after.Found() {
				if b, err := after.Peek(piece); err != nil || !bytes.Equal(b, pieceOf(f, piece)) {
					t.Errorf("piece %d is wrong on the disk still: %v", piece, err)
				}
			}
		})
	}
}

// TestKilledInTheMiddleOfAWrite kills a real process that fills a cache, several times at different moments, and then plays from what
// it left.
func TestKilledInTheMiddleOfAWrite(t *testing.T) {
	f := diskFilm(t)
	srv := httptest.NewServer(f)
	defer srv.Close()
	dir := t.TempDir()
	path := cachePath(dir, f, 0)
	for _, grown := range []int64{400_000, 900_000, 1_600_000} {
		child := exec.Command(os.Args[0], "-test.run=^TestFillACacheUntilKilled$")
		child.Env = append(os.Environ(), "ESSAIM_TEST_CACHE="+dir, "ESSAIM_TEST_ORIGIN="+srv.URL)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		for size := int64(0); size < grown; {
			if st, err := os.Stat(path); err == nil {
				size = st.Size()
			}
			select {
			case err := <-ended:
				t.Fatal("the child ended by itself:", err)
			case <-t.Context().Done():
				t.Fatal("the child stores nothing")
			case <-time.After(time.Millisecond): // a file's growth has no event
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended
	}
	// And the disk loses the end of what was written last.
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, st.Size()-testPiece/2); err != nil {
		t.Fatal(err)
	}
	s := opened(t, dir, f)
	found := len(s.Found())
	if found < 10 {
		t.Fatalf("%d pieces were left", found)
	}
	p := newPlace(t, f)
	cfg := p.config()
	cfg.Store = s
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := watch(deadline(t), h, f, 0); err != nil {
		t.Fatal(err)
	}
	st2 := h.Stats()
	t.Logf("%d pieces were found, %d bytes of them right; %d bytes came from the origin", found, st2.CachedBytes, st2.OriginBytes)
	if st2.CachedBytes < int64(found-2)*testPiece*9/10 || st2.CachedBytes+st2.OriginBytes > f.size()+4*testPiece {
		t.Errorf("%+v of %d found pieces", st2, found)
	}
}

// TestFillACacheUntilKilled is the process that is killed: it does nothing by itself.
func TestFillACacheUntilKilled(t *testing.T) {
	dir, origin := os.Getenv("ESSAIM_TEST_CACHE"), os.Getenv("ESSAIM_TEST_ORIGIN")
	if dir == "" {
		t.Skip("run by TestKilledInTheMiddleOfAWrite")
	}
	f := diskFilm(t)
	h, err := Open(t.Context(), Config{Title: f.title, Origins: []string{origin}, Store: opened(t, dir, f)})
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []int64{0, 1 << 20, 2 << 20} {
		if _, err := h.ReadRange(t.Context(), 0, from, from+1<<20); err != nil {
			t.Fatal(err)
		}
	}
	<-t.Context().Done()
}

func TestNewVersionKeepsTheFileThatDidNotChange(t *testing.T) {
	old := newFilm(t, 300_000, 400_000)
	dir := filled(t, old, 5, 6, 7, 8, 9, 10, 11)
	next := newFilm(t, 900_000, 10)
	next.files[1], next.trees[1] = old.files[1], old.trees[1]
	next.title.Files[1] = engine.TitleFile{Size: 400_000, Root: old.title.Files[1].Root, FirstPiece: 14, Track: engine.TrackAudio}
	p := newPlace(t, next)
	cfg := p.config()
	cfg.Store = opened(t, dir, next)
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for file := range uint32(2) {
		if err := watch(deadline(t), h, next, file); err != nil {
			t.Fatal(err)
		}
	}
	if st := h.Stats(); st.CachedBytes != 400_000 || st.OriginBytes > 900_000+testPiece {
		t.Errorf("%+v", st)
	}
}

func TestDiskCacheStaysWithinItsQuota(t *testing.T) {
	old := newFilm(t, 2<<20, 10)
	dir := filled(t, old, 0, 1, 2, 3, 4, 5, 6, 7)
	f := newFilm(t, 3<<20, 300_001)
	if f.title.Files[0].Root == old.title.Files[0].Root {
		t.Fatal("the same film")
	}
	const limit = 2 << 20
	p := newPlace(t, f)
	cfg := p.config()
	s, err := NewDisk(dir, &f.title, limit)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = s
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := watch(deadline(t), h, f, 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), cacheSuffix) {
			size += info.Size()
		}
	}
	if size > limit+(holesMax+4)*testPiece || size < limit/2 {
		t.Errorf("the folder holds %d bytes, and may hold %d", size, limit)
	}
}

func TestCacheFolderHasOneOwner(t *testing.T) {
	f := newFilm(t, 100_000)
	dir := filled(t, f, 0)
	s := opened(t, dir, f)
	if _, err := NewDisk(dir, &f.title, 0); !errors.Is(err, ErrCacheInUse) {
		t.Error("a second owner:", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opened(t, dir, f).Close()
}

func TestPieceThatTheDiskLosesIsFetchedAgain(t *testing.T) {
	f := newFilm(t, 600_000)
	p := newPlace(t, f)
	dir := t.TempDir()
	cfg := p.config()
	cfg.Store = opened(t, dir, f)
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := watch(deadline(t), h, f, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(cachePath(dir, f, 0), 4096+testPiece); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := h.ReadRange(ctx, 0, 0, 600_000)
	if err != nil || !bytes.Equal(b, f.files[0]) {
		t.Error(len(b), err)
	}
}
