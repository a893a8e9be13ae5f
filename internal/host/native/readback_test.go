package native

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"essaim/internal/engine"
)

// told is a cache on disk that tells which pieces were put in, and may be tampered with after each.
type told struct {
	*disk
	put  chan uint32 // has room for all
	then func(piece uint32)
}

func (s *told) Put(piece uint32, data []byte) ([]uint32, error) {
	out, err := s.disk.Put(piece, data)
	if s.then != nil {
		s.then(piece)
	}
	s.put <- piece
	return out, err
}

// changed rewrites a file on the disk in place, as nobody who has it open would notice.
func changed(t *testing.T, path string, tamper func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = tamper(b)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

// storedPlayer watches a film of one file, and returns when all of it is on the disk.
func storedPlayer(t *testing.T, p *place, dir string, note func(engine.Output)) *Host {
	t.Helper()
	ctx := deadline(t)
	pieces := int((p.film.size() + testPiece - 1) / testPiece)
	s := &told{disk: opened(t, dir, p.film), put: make(chan uint32, 10*pieces)}
	cfg := p.config()
	cfg.Store, cfg.Note = s, note
	h := open(t, cfg)
	if err := watch(ctx, h, p.film, 0); err != nil {
		t.Fatal(err)
	}
	for range pieces {
		select {
		case <-s.put:
		case <-ctx.Done():
			t.Fatal("not all of it was stored")
		}
	}
	return h
}

const testData = 4096 // where the slots of a short film's cache begin

var tamperings = map[string]func(b []byte) []byte{
	"a bit in every piece": func(b []byte) []byte {
		for at := testData + 20_000; at < len(b); at += testPiece {
			b[at] ^= 1
		}
		return b
	},
	"a hole of zeros":  func(b []byte) []byte { clear(b[testData+testPiece : testData+3*testPiece]); return b },
	"cut":              func(b []byte) []byte { return b[:testData+testPiece] },
	"slots exchanged":  func(b []byte) []byte { return swapped(b, testData, testData+testPiece, testPiece) },
	"blocks exchanged": func(b []byte) []byte { return swapped(b, testData, testData+16384, 16384) },
}

func swapped(b []byte, x, y, n int) []byte {
	was := slices.Clone(b[x : x+n])
	copy(b[x:], b[y:y+n])
	copy(b[y:], was)
	return b
}

func TestBytesThatChangeUnderARunningHostAreFetchedAgain(t *testing.T) {
	for name, tamper := range tamperings {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, newFilm(t, 600_000))
			dir := t.TempDir()
			h := storedPlayer(t, p, dir, nil)
			changed(t, cachePath(dir, p.film, 0), tamper)
			b, err := h.ReadRange(deadline(t), 0, 0, 600_000)
			if err != nil || !bytes.Equal(b, p.film.files[0]) {
				t.Error(len(b), err)
			}
		})
	}
}

func TestBytesThatChangedOnTheDiskAreNotSentToPeers(t *testing.T) {
	p := newPlace(t, newFilm(t, 600_000))
	dir := t.TempDir()
	lost, found := awaitNote(engine.NoteEvicted)
	storedPlayer(t, p, dir, lost)
	changed(t, cachePath(dir, p.film, 0), tamperings["a bit in every piece"])
	cfg := p.config()
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	b := open(t, cfg)
	b.Moved(inNoHurry)
	ctx := deadline(t)
	await(t, ctx, up, "a peer")
	// It comes all the same, although the neighbour whose turn it is with half of it does not fetch what its own viewer has seen.
	got, err := b.ReadRange(ctx, 0, 0, 600_000)
	if err != nil || !bytes.Equal(got, p.film.files[0]) {
		t.Error(len(got), err)
	}
	await(t, ctx, found, "a piece that was given up")
	if s := b.Stats(); s.BadBlocks != 0 || s.Banned != 0 {
		t.Errorf("it was sent what had changed: %+v", s)
	}
}

// TestDiskThatKeepsNothingStopsNoFilm spoils each piece as soon as it is written.
func TestDiskThatKeepsNothingStopsNoFilm(t *testing.T) {
	p := newPlace(t, newFilm(t, 2<<20))
	dir := t.TempDir()
	s := &told{disk: opened(t, dir, p.film), put: make(chan uint32, 1000)}
	s.then = func(uint32) {
		changed(t, cachePath(dir, p.film, 0), func(b []byte) []byte { clear(b[testData:]); return b })
	}
	cfg := p.config()
	cfg.Store = s
	h := open(t, cfg)
	for range 3 { // what was proven a moment ago may come from memory, the second and third time it does not
		if err := watch(deadline(t), h, p.film, 0); err != nil {
			t.Fatal(err)
		}
	}
	if st := h.Stats(); st.OriginBytes > 3*p.film.size() {
		t.Errorf("the film was fetched time and again: %d bytes", st.OriginBytes)
	}
}

func TestAnyPartOfAStoredPieceIsReadAsItWasOrNotAtAll(t *testing.T) {
	f := newFilm(t, 2*testPiece+20_000)
	dir := t.TempDir()
	s := opened(t, dir, f)
	defer s.Close()
	for piece := range uint32(3) {
		if _, err := s.Put(piece, pieceOf(f, piece)); err != nil {
			t.Fatal(err)
		}
	}
	const wrong = 40_000 // in the third block of piece 1
	changed(t, cachePath(dir, f, 0), func(b []byte) []byte { b[testData+testPiece+wrong] ^= 0x80; return b })
	edges := []int64{0, 1, 16383, 16384, 16385, 20_000, 32767, 32768, 39_999, 40_001, 49152, 49153, 65535, 65536}
	for piece := range uint32(3) {
		want := pieceOf(f, piece)
		for _, from := range edges {
			for _, to := range edges {
				if to <= from || to > int64(len(want)) {
					continue
				}
				s.faults = 0 // or it would go over to memory
				got := make([]byte, to-from)
				err := s.ReadAt(piece, got, from)
				if spoilt := piece == 1 && from < 49152 && to > 32768; spoilt != (err != nil) {
					t.Errorf("piece %d, %d to %d: %v", piece, from, to, err)
				} else if err == nil && !bytes.Equal(got, want[from:to]) {
					t.Errorf("piece %d, %d to %d: other bytes", piece, from, to)
				}
			}
		}
	}
}

func TestFoundPieceThatChangesAfterItWasDigestedIsNotRead(t *testing.T) {
	f := newFilm(t, 200_000)
	dir := filled(t, f, 0, 1)
	s := opened(t, dir, f)
	defer s.Close()
	for piece := range uint32(2) {
		if _, err := s.Peek(piece); err != nil {
			t.Fatal(err)
		}
	}
	changed(t, cachePath(dir, f, 0), func(b []byte) []byte { b[testData] ^= 1; return b })
	if !s.Accept(0) || !s.Accept(1) {
		t.Fatal("not accepted")
	}
	if s.ReadAt(0, make([]byte, testPiece), 0) == nil {
		t.Error("bytes that nobody digested are read")
	}
	if b := make([]byte, testPiece); s.ReadAt(1, b, 0) != nil || !bytes.Equal(b, pieceOf(f, 1)) {
		t.Error("what did not change is not read")
	}
}

// BenchmarkBlockFromDisk reads blocks as peers ask for them: as they lie there, and held against their checksums.
func BenchmarkBlockFromDisk(b *testing.B) {
	const size = 1 << 20
	c, err := openCacheFile(b.TempDir()+"/x", 64*size, size, time.UnixMilli(0))
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	for piece := range uint32(64) {
		if err := c.put(piece, bytes.Repeat([]byte{byte(piece), 1, 2, 3}, size/4)); err != nil {
			b.Fatal(err)
		}
	}
	block := make([]byte, 16384)
	for name, read := range map[string]func(uint32, []byte, int64) error{"unchecked": c.raw, "checked": c.readAt} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(block)))
			for i := range b.N {
				if err := read(uint32(i/64%64), block, int64(i%64)*16384); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
