package engine_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"essaim/internal/engine"
)

// remembers gives a viewer what a store holds from an earlier visit, and returns the bytes of it.
func (v *viewer) remembers(pieces ...uint32) (bytesHeld int64) {
	var data []byte
	for _, piece := range pieces {
		file, at, _ := v.w.film.block(piece, 0)
		whole := v.w.film.files[file]
		b := bytes.Clone(whole[at:min(at+int(v.w.film.title.PieceLength), len(whole))])
		v.found[piece] = b
		bytesHeld += int64(len(b))
		data = binary.BigEndian.AppendUint32(data, piece)
	}
	v.step(engine.Input{Kind: engine.StoreFound, Data: data})
	return bytesHeld
}

func (f *film) all() (list []uint32) {
	for n := range f.pieces() {
		list = append(list, uint32(n))
	}
	return list
}

func (f *film) size() int64 { return int64(len(f.files[0]) + len(f.files[1])) }

func TestSecondVisitTakesNothingFromTheOrigin(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	v := w.join()
	v.remembers(w.film.all()...)
	v.play()
	w.run(70 * second)
	v.sawAll(t)
	if w.originBytes != 0 {
		t.Errorf("%d bytes came from the origin", w.originBytes)
	}
}

func TestTornPiecesAreFetchedAgainAndNeverDelivered(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	v := w.join()
	v.remembers(w.film.all()...)
	torn := int64(0)
	for piece := uint32(3); piece < uint32(w.film.pieces()); piece += 7 {
		b := v.found[piece]
		switch piece % 4 {
		case 0:
			v.found[piece] = b[:len(b)/2]
		case 1:
			b[len(b)-1] ^= 1
		case 2:
			v.found[piece] = nil
		default:
			v.found[piece] = bytes.Clone(v.found[piece-1]) // another piece's bytes
		}
		torn += int64(len(b))
	}
	v.play()
	w.run(70 * second)
	v.sawAll(t) // the world fails if wrong bytes are stored
	if w.originBytes < torn-3*(32<<10) || w.originBytes > torn+64<<10 {
		t.Errorf("%d bytes came from the origin for %d that were torn", w.originBytes, torn)
	}
	v.position = 0
}

func TestStoreThatNeverAnswersCostsNoStall(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	v := w.join()
	v.hung = true
	v.remembers(w.film.all()...)
	v.play()
	w.run(90 * second)
	v.sawAll(t)
	if v.started > 3*second {
		t.Errorf("started after %d ms", v.started/1000)
	}
}

func TestWhatIsRestoredLateLeavesNothingKept(t *testing.T) {
	for _, kind := range []engine.InputKind{engine.StoreRestored, engine.StoreFound} {
		w := newWorld(t, newFilm(60, 100_000, 256<<10))
		v := w.join()
		w.originRate = 50_000 // pieces are half fetched when the store speaks
		v.play()
		w.run(3 * second)
		if len(v.kept) == 0 {
			t.Fatal("nothing is kept, so nothing is shown")
		}
		if kind == engine.StoreFound {
			v.remembers(w.film.all()...)
		} else {
			v.step(engine.Input{Kind: kind, Data: restoredData(w.film.pieces())})
			fillStore(v)
			if len(v.kept) != 0 {
				t.Errorf("%d blocks are still kept of pieces that are restored", len(v.kept))
			}
		}
		before := w.originBytes
		w.run(80 * second)
		v.stalls = 0 // before the store spoke
		v.sawAll(t)
		if more := w.originBytes - before; more > 512<<10 {
			t.Errorf("%d bytes more came from the origin", more)
		}
		if len(v.kept) != 0 {
			t.Errorf("%d blocks are kept at the end", len(v.kept))
		}
	}
}

func TestCachedPiecesAreOfferedAtTheNextVisit(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	a := w.join()
	a.remembers(w.film.all()...)
	a.share(true) // and does not play: the page was opened, or the film has ended
	b := w.join()
	b.share(true)
	b.meet(a)
	w.run(5 * second)
	b.play()
	w.run(80 * second)
	b.sawAll(t)
	if got := int64(b.fromOrigin); got > w.film.size()/10 {
		t.Errorf("%d of %d bytes came from the origin though the neighbour has the film", got, w.film.size())
	}
	if int64(len(a.store)) != int64(w.film.pieces()) {
		t.Errorf("of %d pieces %d were offered", w.film.pieces(), len(a.store))
	}
}

func TestNewVersionKeepsTheFileThatDidNotChange(t *testing.T) {
	// The store is keyed by file root: of the new version's files the second was there already, under other piece numbers.
	f := newFilm(60, 100_000, 32<<10)
	w := newWorld(t, f)
	v := w.join()
	audio := f.all()[f.title.Files[1].FirstPiece:]
	held := v.remembers(audio...)
	v.play()
	w.run(70 * second)
	v.sawAll(t)
	if want := f.size() - held; w.originBytes > want+32<<10 {
		t.Errorf("%d bytes came from the origin, %d were missing", w.originBytes, want)
	}
}

func TestStoreStaysWithinItsBound(t *testing.T) {
	w := newWorld(t, newFilm(180, 100_000, 32<<10))
	v := w.join()
	const limit, ahead = 4 << 20, 2 << 20
	v.step(engine.Input{Kind: engine.StoreBounded, From: limit, To: ahead})
	v.play()
	for at := range engine.Instant(190) {
		w.run(at * second)
		held := int64(0)
		for piece, b := range v.store {
			file, from, _ := w.film.block(piece, 0)
			if ms := int64(from) * 1000 / int64([]int{100_000, 10_000}[file]); ms > v.position {
				held += int64(len(b))
			}
		}
		if held > ahead+256<<10 {
			t.Fatalf("%d bytes are held ahead of the play head", held)
		}
	}
	v.sawAll(t)
	if v.most > limit+128<<10 {
		t.Errorf("%d bytes were held, %d may be", v.most, limit)
	}
	if v.most < limit*3/4 {
		t.Errorf("no more than %d bytes were held, though %d may be", v.most, limit)
	}
	if w.originBytes > w.film.size() {
		t.Errorf("the origin sent %d bytes for a film of %d: what was being played was put out", w.originBytes, w.film.size())
	}
}

func TestEvictionPrefersWhatManyHoldAndTellsNeighbours(t *testing.T) {
	f := newFilm(60, 100_000, 32<<10)
	w := newWorld(t, f)
	a := w.join() // has all of it
	a.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(f.pieces())})
	fillStore(a)
	// Two neighbours have the film's first half: what they lack is rarest.
	half := uint32(f.title.Files[1].FirstPiece) / 2
	var others []*viewer
	for range 2 {
		b := w.join()
		var data []byte
		for n := range half {
			data = binary.BigEndian.AppendUint32(data, n)
		}
		b.step(engine.Input{Kind: engine.StoreRestored, Data: data})
		fillStore(b)
		b.share(true)
		others = append(others, b)
	}
	a.share(true)
	for _, b := range others {
		a.meet(b)
	}
	w.run(2 * second)
	a.step(engine.Input{Kind: engine.StoreBounded, From: f.size() - int64(half)*(32<<10)/2})
	w.run(3 * second)
	gone := 0
	for n := range uint32(f.pieces()) {
		if a.store[n] == nil {
			gone++
			if n >= half {
				t.Errorf("piece %d went, which nobody else has", n)
			}
		}
	}
	if gone < int(half)/3 {
		t.Fatalf("%d pieces went", gone)
	}
	if a.tookBack != 2*gone {
		t.Errorf("lt_donthave was said %d times to two neighbours of %d pieces", a.tookBack, gone)
	}
	// What was kept is served still.
	before := w.originBytes
	others[0].step(engine.Input{Kind: engine.RangeWanted, Ref: 77, File: 0, From: int64(half) * 32 << 10, To: int64(half+1) * 32 << 10})
	others[0].readers[77] = func() {}
	w.run(6 * second)
	if w.originBytes != before || len(others[0].readers) != 0 {
		t.Errorf("a piece that was kept was not served: %d bytes from the origin, %d readers wait", w.originBytes-before, len(others[0].readers))
	}
}

func TestOtherFilesGoBeforeWhatIsMoreWanted(t *testing.T) {
	const day = 24 * 3600
	f := newFilm(60, 100_000, 32<<10)
	w := newWorld(t, f)
	v := w.join()
	v.step(engine.Input{Kind: engine.StoreBounded, From: 10 << 20, Data: engine.AppendShelf(nil, []engine.Shelved{
		{Ref: 5, Members: 2, Copies: 30 * 16, Idle: 3600, Bytes: 3 << 20},
		{Ref: 6, Members: 1, Copies: 12 * 16, Idle: 60 * day, Bytes: 2 << 20},
		{Ref: 7, Members: 2000, Copies: 3 * 16, Idle: 600, Bytes: 3 << 20},
	})})
	v.play()
	w.run(70 * second)
	v.sawAll(t)
	if !slices.Equal(v.left, []engine.Ref{6, 5}) {
		t.Errorf("files %v were put out, want first the one that nobody wants, then the one that many hold", v.left)
	}
	if len(v.marks) == 0 || v.marks[0].Kind != engine.Mark {
		t.Error("nothing was written down of this title's swarm")
	}
}

func TestFloodOfHaveAndDontHaveEndsInAClosedDoor(t *testing.T) {
	f := newFilm(30, 100_000, 32<<10)
	w := newWorld(t, f)
	v := w.join()
	v.share(true)
	honest := w.join()
	honest.share(true)
	evil := w.join()
	evil.share(true)
	v.meet(honest)
	v.meet(evil)
	w.run(2 * second)
	var ref engine.PeerRef
	for r, l := range v.links {
		if l.other == evil {
			ref = r
		}
	}
	if ref == 0 {
		t.Fatal("the flooder is not connected")
	}
	have := []byte{4, 0, 0, 0, 5}
	dontHave := []byte{20, 1, 0, 0, 0, 5} // lt_donthave under the number that we gave it
	sent := 0
	for ; sent < 100_000 && v.links[ref] != nil; sent++ {
		w.run(w.now + 100) // ten thousand a second
		v.step(engine.Input{Kind: engine.MessageReceived, Peer: ref, Data: [][]byte{have, dontHave}[sent%2]})
	}
	if sent > 2000 || !slices.Contains(v.closed, engine.ReasonFlood) {
		t.Errorf("after %d messages it is closed for %v", sent, v.closed)
	}
	w.run(w.now + second)
	if len(v.links) != 1 {
		t.Errorf("%d neighbours are left, want the honest one", len(v.links))
	}
}

func TestStoreFilledAtOnceIsNoFlood(t *testing.T) {
	f := newFilm(600, 100_000, 16<<10)
	w := newWorld(t, f)
	v := w.join()
	v.share(true)
	a := w.join()
	a.share(true)
	v.meet(a)
	w.run(2 * second)
	a.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(f.pieces())})
	fillStore(a)
	w.run(4 * second)
	if len(v.links) != 1 || len(v.closed) != 0 {
		t.Errorf("a neighbour that said %d haves was closed: %v", f.pieces(), v.closed)
	}
}
