package engine_test

import (
	"fmt"
	"testing"

	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// newFed is a viewer of a film of a minute, 250 kB/s, with eight neighbours who have all of it and serve it. Nothing is played yet.
func newFed(t *testing.T) *stepper {
	s := newStepper(t, "film 60s 250000 piece=32768", "policy peers")
	for n := 1; n <= 8; n++ {
		s.line(fmt.Sprintf("connect %d p%d", n, n))
		s.line(fmt.Sprintf("say %d handshake p%d", n, n))
		s.line(fmt.Sprintf("say %d bitfield all", n))
		s.line(fmt.Sprintf("say %d unchoke", n))
	}
	s.line("at 3s")
	s.out = nil
	return s
}

func TestLittleIsOnItsWayFromPeersWhereNothingIsUrgent(t *testing.T) {
	for _, c := range []struct {
		buffered string
		most     int // blocks asked for: film in whole pieces
	}{
		{"20s", 6}, // beyond the floor, 250 ms
		{"6s", 8},  // in the floor, 400 ms
		{"1s", 16}, // urgent: two of each neighbour
	} {
		s := newFed(t)
		s.line("moved 0s buffered=" + c.buffered)
		s.line("choose 0")
		if n := len(s.asked()); n != c.most {
			t.Errorf("%d blocks were asked for with %s in the buffer, want %d", n, c.buffered, c.most)
		}
	}
}

func TestAFilmOfFewBytesKeepsSomethingOnItsWay(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "policy peers", "connect 1 a", "say 1 handshake a", "say 1 bitfield all", "say 1 unchoke", "at 3s")
	s.out = nil
	s.line("moved 0s buffered=20s")
	if s.line("choose 0"); len(s.asked()) != 2 {
		t.Error("a peer with room for two blocks was not asked for them")
	}
}

// TestPeersSendNothingElseWhileThePlayerStandsStill: after a seek the origin, known to be quick, brings what the player waits for, and
// what peers sent of a later time would only share its link.
func TestPeersSendNothingElseWhileThePlayerStandsStill(t *testing.T) {
	s := newFed(t)
	s.line("want 1 file=0 0-500000")
	s.line("choose 0")
	var first engine.Output
	for _, o := range s.out {
		if o.Kind == engine.FetchRange && o.File == 0 {
			first = o
			break
		}
	}
	for n := int64(16 << 10); n <= first.To-first.From; n += 16 << 10 { // at 1.6 MB/s
		s.now += 10_000
		s.line(fmt.Sprintf("progress %d %d", first.Ref, n))
	}
	s.line(fmt.Sprintf("done %d", first.Ref))
	s.line("cancel 1")
	s.asked()
	s.line("seek 30s")
	s.line("want 2 file=0 7500000-8000000")
	var fetched int64
	for _, o := range s.out {
		if o.Kind == engine.FetchRange && o.File == 0 {
			fetched += o.To - o.From
		}
	}
	if fetched < 500_000 {
		t.Errorf("the origin was asked for %d bytes of what the player waits for", fetched)
	}
	for _, r := range s.asked() {
		if r.Piece > 8_000_000>>15 {
			t.Errorf("a peer was asked for piece %d, of a later time", r.Piece)
		}
	}
}

// TestWhatThePlayerStandsStillForComesWithOneRequest: another would cost it a round trip.
func TestWhatThePlayerStandsStillForComesWithOneRequest(t *testing.T) {
	s := newStepper(t, "film 60s 400000 piece=32768")
	s.line("choose 0")
	s.line("want 1 file=0 0-800000")
	for _, o := range s.out {
		if o.Kind == engine.FetchRange && o.File == 0 {
			if o.From > 0 || o.To < 800_000 {
				t.Errorf("the first request is for bytes %d to %d of 800,000", o.From, o.To)
			}
			return
		}
	}
	t.Error("nothing was fetched")
}

// TestAsksInTimeThoughOnlyItsOwnDeadlineWakesIt: a neighbour in step says that it fetches all, and does not. When that can be waited for no
// longer, the engine must not sleep on.
func TestAsksInTimeThoughOnlyItsOwnDeadlineWakesIt(t *testing.T) {
	asks := func(wake func(s *stepper, deadline engine.Instant) engine.Instant) engine.Instant {
		s := newStepper(t, "film 60s 20000 piece=32768", "policy peers upload", "moved 0s buffered=8s", "at 3s", "connect 1 alice", "say 1 handshake alice", "say 1 have-none")
		hear := func(message []byte) {
			s.out = append(s.out, s.engine.Step(s.now, engine.Input{Kind: engine.MessageReceived, Peer: 1, Data: message[4:]}, nil)...)
		}
		hear(wire.AppendExtHandshake(nil, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtEssaim, ID: 9}}}))
		hear(wire.AppendEssaim(nil, 2, wire.Essaim{Kind: wire.EssaimPlaying, Rate: 1000}))
		hear(wire.AppendEssaim(nil, 2, wire.Essaim{Kind: wire.EssaimFetching, Pieces: 30, WithinMs: 6_000}))
		s.line("moved 0s buffered=8s")
		s.line("choose 0")
		for s.now < 20*second {
			if s.said(engine.FetchRange) > 0 {
				return s.now
			}
			at, ok := s.engine.Deadline()
			if !ok {
				t.Fatal("it sleeps for ever")
			}
			s.now = wake(s, at)
			s.line("tick")
		}
		t.Fatal("the player was left to stall for a claim")
		return 0
	}
	often := asks(func(s *stepper, _ engine.Instant) engine.Instant { return s.now + 5_000 })
	seldom := asks(func(_ *stepper, at engine.Instant) engine.Instant { return at })
	if late := seldom - often; late > 20_000 {
		t.Errorf("woken by its own deadline alone it asks %d ms later", late/1000)
	}
}

func TestWhatCameIsMadeUpForWhereNothingPresses(t *testing.T) {
	s := newFed(t)
	s.line("moved 0s buffered=20s")
	s.line("choose 0")
	asked := s.asked()
	for n, r := range asked[:2] { // a piece's worth
		s.line(fmt.Sprintf("say %d piece %d %d %d", 1+n, r.Piece, r.Begin, r.Length))
	}
	if len(s.asked()) == 0 {
		t.Error("nothing more was asked for when two blocks had come")
	}
}

// TestTheNextFetchWaitsWhileThePlayerStandsStill: both would share the link, and the film would begin later than without us. Nor is the
// link left idle: it goes out a round trip before the first one ends.
func TestTheNextFetchWaitsWhileThePlayerStandsStill(t *testing.T) {
	s := newStepper(t, "film 60s 250000 piece=32768", "want 1 file=0 0-500000", "choose 0")
	var first engine.Output
	others := func() (n int) {
		for _, o := range s.out {
			if o.Kind == engine.FetchRange && o.File == 0 {
				if first.Ref == 0 {
					first = o
				} else if o.From >= first.To {
					n++
				}
			}
		}
		s.out = nil
		return n
	}
	others()
	size := first.To - first.From
	s.now += 20_000 // to the first byte
	begun := int64(0)
	for got := int64(16 << 10); got < size; got += 16 << 10 { // at 3.2 MB/s
		s.line(fmt.Sprintf("progress %d %d", first.Ref, got))
		s.now += 5_000
		s.line("tick")
		if others() > 0 && begun == 0 {
			begun = got
		}
	}
	if begun == 0 || begun < size*3/4 {
		t.Errorf("the next fetch began when %d of %d bytes had come", begun, size)
	}
}

// TestAStartFromAShortOriginDoesNotWaitForTheRestOfAPiece: what the player waits for ends early in a piece, of which the leaves are asked for,
// so that it need not be whole.
func TestAStartFromAShortOriginDoesNotWaitForTheRestOfAPiece(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 128<<10))
	w.originAll = 132_000
	b := w.join()
	b.play()
	w.run(80 * second)
	b.sawAll(t)
	if b.started > 3_600_000 {
		t.Errorf("started after %d ms; with whole pieces it is 4,100", b.started/1000)
	}
}
