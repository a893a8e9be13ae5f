package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"testing"

	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

const second = engine.Instant(1_000_000)

func TestLoneViewerPlaysFromTheOriginWithoutAStall(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	v := w.join()
	v.share(true)
	v.play()
	w.run(70 * second)
	v.sawAll(t)
	if v.started > second {
		t.Errorf("started after %d µs", v.started)
	}
	if size := int64(len(w.film.files[0]) + len(w.film.files[1])); w.originBytes > size {
		t.Errorf("the origin sent %d bytes for a film of %d", w.originBytes, size)
	}
}

func TestSecondViewerIsFedByTheFirst(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	a := w.join()
	a.share(true)
	a.play()
	w.run(70 * second)
	before := w.originBytes
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(140 * second)
	b.sawAll(t)
	total := b.fromPeers + b.fromOrigin
	if share := b.fromPeers * 100 / total; share < 85 {
		t.Errorf("%d %% from the peer (%d origin bytes), want 85", share, w.originBytes-before)
	}
}

func TestViewersTenSecondsApartShareMostOfTheFilm(t *testing.T) {
	w := newWorld(t, newFilm(120, 100_000, 32<<10))
	a := w.join()
	a.share(true)
	a.play()
	w.run(10 * second)
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(150 * second)
	a.sawAll(t)
	b.sawAll(t)
	size := int64(len(w.film.files[0]) + len(w.film.files[1]))
	if copies := w.originBytes * 100 / size; copies > 125 {
		t.Errorf("%d.%02d origin copies", copies/100, copies%100)
	}
}

func TestLiarIsBannedAndTheFilmIsRight(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 64<<10))
	a := w.join()
	a.share(true)
	a.lie = true
	a.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
	fillStore(a)
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(80 * second)
	b.sawAll(t)
	if len(b.banned) != 1 {
		t.Fatalf("banned %v, want the one liar", b.banned)
	}
	b.meet(a) // and it may not come back
	if n := len(b.links); n != 0 {
		t.Errorf("%d peers after the liar returned", n)
	}
}

func TestOneLiarAmongHonestPeersIsTheOnlyOneBanned(t *testing.T) {
	w := newWorld(t, newFilm(60, 200_000, 256<<10))
	var seeds []*viewer
	for i := range 4 {
		s := w.join()
		s.share(true)
		s.lie = i == 2
		s.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
		fillStore(s)
		seeds = append(seeds, s)
	}
	b := w.join()
	b.share(true)
	for _, s := range seeds {
		b.meet(s)
	}
	b.play()
	w.run(80 * second)
	b.sawAll(t)
	if len(b.banned) != 1 || b.banned[0] != 3 {
		t.Errorf("banned %v, want peer 3 alone", b.banned)
	}
}

func TestSilentPeerDoesNotStallTheFilm(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	a := w.join()
	a.share(true)
	a.mute = true
	a.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
	fillStore(a)
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(80 * second)
	b.sawAll(t)
}

func TestPeersCarryTheFilmWhileTheOriginIsAway(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	a := w.join()
	a.share(true)
	a.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
	fillStore(a)
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(8 * second)
	w.originDown = true
	w.run(80 * second)
	b.sawAll(t)
}

func TestWrongBytesFromTheOriginAreFetchedAgain(t *testing.T) {
	w := newWorld(t, newFilm(30, 100_000, 32<<10))
	w.badOrigin = 3
	v := w.join()
	v.play()
	w.run(60 * second)
	v.stalls = 0 // it may wait, but must not show them
	v.sawAll(t)
}

func TestPolicyOffClosesPeersAtOnceAndPlaysOn(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	a := w.join()
	a.share(true)
	a.play()
	w.run(12 * second)
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(20 * second)
	if len(b.links) != 1 {
		t.Fatalf("%d peers, want 1", len(b.links))
	}
	b.share(false)
	if len(b.links) != 0 || b.closed[0] != engine.ReasonPolicy {
		t.Errorf("peers remain after the switch")
	}
	peerBytes := b.fromPeers
	w.run(90 * second)
	b.sawAll(t)
	if b.fromPeers > peerBytes {
		t.Errorf("bytes came from peers after the switch")
	}
}

func TestViewerWithoutConsentTakesNoPeer(t *testing.T) {
	w := newWorld(t, newFilm(10, 100_000, 32<<10))
	v := w.join()
	v.step(engine.Input{Kind: engine.PeerConnected, Peer: 9, Data: bytes.Repeat([]byte{7}, 20)})
	if len(v.links) != 0 || len(v.closed) != 1 {
		t.Error("a peer was accepted though sharing is off")
	}
}

func TestSeekIsServedFromTheNewPlaceAtOnce(t *testing.T) {
	w := newWorld(t, newFilm(120, 100_000, 32<<10))
	v := w.join()
	v.play()
	w.run(5 * second)
	v.step(engine.Input{Kind: engine.Seeked, From: 90_000})
	s := w.film.indexes[0][45]
	ready := engine.Instant(0)
	v.readers[999] = func() { ready = w.now }
	at := w.now
	v.step(engine.Input{Kind: engine.RangeWanted, Ref: 999, File: 0, From: int64(s.From), To: int64(s.To)})
	w.run(10 * second)
	if ready == 0 || ready-at > second/2 {
		t.Errorf("the range was ready after %d µs", ready-at)
	}
}

func TestRangeOutsideTheFileIsRefused(t *testing.T) {
	w := newWorld(t, newFilm(10, 100_000, 32<<10))
	v := w.join()
	for _, r := range [][2]int64{{-1, 5}, {5, 5}, {0, 1 << 40}} {
		out := v.engine.Step(w.now, engine.Input{Kind: engine.RangeWanted, Ref: 1, From: r[0], To: r[1]}, nil)
		if len(out) == 0 || out[0].Kind != engine.RangeFailed || out[0].Reason != engine.ReasonBadRange {
			t.Errorf("range %v: %v", r, out)
		}
	}
}

// fillStore gives a viewer's host the bytes of all it said to have.
func fillStore(v *viewer) {
	f := v.w.film
	for n := range f.pieces() {
		file, at, _ := f.block(uint32(n), 0)
		v.store[uint32(n)] = f.files[file][at:min(at+int(f.title.PieceLength), len(f.files[file]))]
	}
}

var rewrite = flag.Bool("rewrite", false, "write the expected traces and the golden record anew")

// TestGoldenFlight holds the flight that record's golden test and the browser replay: a viewer with an origin, an honest
// peer and a liar, that seeks and is told to stop sharing. It writes the file with -rewrite, and otherwise checks that
// the same seed still makes the same flight up to a policy change that somebody must have meant.
func TestGoldenFlight(t *testing.T) {
	w := newWorld(t, newFilm(40, 40_000, 32<<10))
	w.recorded = 3
	for i := range 2 {
		s := w.join()
		s.share(true)
		s.lie = i == 1
		s.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
		fillStore(s)
	}
	v := w.join()
	v.share(true)
	v.meet(w.viewers[0])
	v.meet(w.viewers[1])
	v.play()
	w.run(4 * second)
	v.step(engine.Input{Kind: engine.Seeked, From: 20_000})
	v.position = 20_000
	w.run(8 * second)
	v.share(false)
	w.run(12 * second)
	if len(v.banned) != 1 {
		t.Errorf("banned %v, want the liar", v.banned)
	}
	e := engine.New()
	h := sha256.New()
	var in engine.Input
	var buf []byte
	for b := v.flight; len(b) > 0; {
		now, rest, err := record.NextStep(b, &in)
		if err != nil {
			t.Fatal(err)
		}
		b = rest
		for _, o := range e.Step(now, in, nil) {
			buf = record.AppendOutput(buf[:0], &o)
			h.Write(buf)
		}
	}
	digest := hex.EncodeToString(h.Sum(nil))
	if *rewrite {
		for name, data := range map[string][]byte{"golden.rec": v.flight, "golden.sha256": []byte(digest + "\n")} {
			if err := os.WriteFile("testdata/"+name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := os.ReadFile("testdata/golden.sha256")
	if err != nil {
		t.Fatal(err)
	}
	if got := digest + "\n"; got != string(want) {
		t.Errorf("the flight's outputs have the digest %s, want %s (a change of policy? then run with -rewrite)", got, want)
	}
}
