package native

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// longFilm has more pieces than one hash request brings.
func longFilm(t *testing.T) *film { return newFilm(t, (bt.KnownChunk+40)*testPiece+5, 100_000) }

// watched plays a film into a folder, and closes.
func watched(t *testing.T, p *place, dir string) {
	t.Helper()
	cfg := p.config()
	cfg.Store = opened(t, dir, p.film)
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.film.files {
		if err := watch(deadline(t), h, p.film, uint32(i)); err != nil {
			t.Error(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// alone is a host on a folder whose origin answers nothing, and that has no peers.
func alone(t *testing.T, p *place, dir string) *Host {
	p.film.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return true
	}
	cfg := p.config()
	cfg.Trackers, cfg.Store = nil, opened(t, dir, p.film)
	return open(t, cfg)
}

func TestWhatWasWatchedIsProvenAgainWithoutOriginOrPeers(t *testing.T) {
	p, dir := newPlace(t, longFilm(t)), t.TempDir()
	watched(t, p, dir)
	h := alone(t, p, dir)
	for i := range p.film.files {
		if err := watch(deadline(t), h, p.film, uint32(i)); err != nil {
			t.Error(err)
		}
	}
	if s := h.Stats(); s.OriginBytes != 0 || s.CachedBytes != p.film.size() {
		t.Errorf("%+v", s)
	}
}

func TestHashesOfPeersAreKeptToo(t *testing.T) {
	p, dir := newPlace(t, newFilm(t, 600_000)), t.TempDir()
	seed := open(t, p.config())
	if err := watch(deadline(t), seed, p.film, 0); err != nil {
		t.Fatal(err)
	}
	p.film.fault = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return true
	}
	cfg := p.config()
	cfg.Store = opened(t, dir, p.film)
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	h, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Moved(inNoHurry)
	await(t, deadline(t), up, "a peer")
	if err := watch(deadline(t), h, p.film, 0); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := watch(deadline(t), alone(t, p, dir), p.film, 0); err != nil {
		t.Error(err)
	}
}

func TestTornAndForgedHashesAreFetchedAgain(t *testing.T) {
	for name, tamper := range map[string]func(b []byte) []byte{
		"torn":            func(b []byte) []byte { return b[:len(b)-7] },
		"cut in a head":   func(b []byte) []byte { return b[:hashHeadSize-1] },
		"a bit":           func(b []byte) []byte { b[100] ^= 1; return b },
		"endless":         func(b []byte) []byte { b[16] = 0xff; return b },
		"another request": func(b []byte) []byte { b[7] ^= 8; return b },
		"nothing":         func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilm(t, 600_000)
			p, dir := newPlace(t, f), t.TempDir()
			watched(t, p, dir)
			path := filepath.Join(dir, f.title.Files[0].Root.String()+hashSuffix)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tamper(b), 0o600); err != nil {
				t.Fatal(err)
			}
			watched(t, p, dir) // with the origin, which is asked once more
			if err := watch(deadline(t), alone(t, p, dir), f, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHashFilesGoWithTheirPiecesAndStayBounded(t *testing.T) {
	f := newFilm(t, 600_000)
	p, dir := newPlace(t, f), t.TempDir()
	watched(t, p, dir)
	other := newFilm(t, 300_000)
	other.title.Files[0].Root[0] ^= 1
	s := opened(t, dir, other)
	for _, x := range s.Others() {
		if err := s.RemoveOther(x.Ref); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasSuffix(e.Name(), hashSuffix) {
			t.Error(e.Name(), "is left")
		}
	}
	h := newHashFile(filepath.Join(dir, "x"+hashSuffix), 10)
	answer := make([]byte, 16*len(bt.Digest{}))
	for n := range uint32(1000) {
		if err := h.put(bt.HashRequest{Base: 2, Index: n, Length: 16}, answer); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(h.name); err != nil || st.Size() > h.max {
		t.Error(st.Size(), err)
	}
}
