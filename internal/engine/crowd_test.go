package engine_test

import (
	"fmt"
	"testing"

	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// newCrowd is a viewer with eight seconds in the player's buffer and one neighbour in step with it, who has nothing. Both lack what
// lies beyond, which is not late yet. It is given as a function that says an ExtEssaim message and one that lets time pass and returns the
// pieces that the origin was asked for meanwhile; before its first call nothing is wanted.
func newCrowd(t *testing.T) (s *stepper, say func(wire.Essaim), fetched func(d engine.Instant) map[uint32]bool) {
	return newCrowdWith(t, "alice")
}

// newCrowdWith is newCrowd with a neighbour of that name, which decides whose turn comes first.
func newCrowdWith(t *testing.T, name string) (s *stepper, say func(wire.Essaim), fetched func(d engine.Instant) map[uint32]bool) {
	s = newStepper(t, "film 60s 20000 piece=32768", "policy peers upload", "moved 0s buffered=8s", "at 3s", "connect 1 "+name, "say 1 handshake "+name, "say 1 have-none")
	step := func(in engine.Input) {
		s.out = append(s.out, s.engine.Step(s.now, in, nil)...)
	}
	hear := func(message []byte) { step(engine.Input{Kind: engine.MessageReceived, Peer: 1, Data: message[4:]}) }
	hear(wire.AppendExtHandshake(nil, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtEssaim, ID: 9}}}))
	step(engine.Input{Kind: engine.SwarmCounted, Length: 2})
	step(engine.Input{Kind: engine.PlaybackMoved, To: 8_000, Length: 1000, Flags: engine.FlagPaused})
	chosen := false
	say = func(m wire.Essaim) { hear(wire.AppendEssaim(nil, 2, m)) }
	fetched = func(d engine.Instant) map[uint32]bool {
		pieces := map[uint32]bool{}
		if !chosen {
			chosen = true
			step(engine.Input{Kind: engine.RenditionChosen})
		}
		for end := s.now + d; s.now < end; {
			s.now += 100_000
			step(engine.Input{Kind: engine.Tick})
			var done []engine.Ref
			for _, o := range s.out {
				if o.Kind != engine.FetchRange || o.File != 0 {
					continue
				}
				for at := o.From; at < o.To; at += 32 << 10 {
					pieces[uint32(at>>15)] = true
				}
				done = append(done, o.Ref)
			}
			s.out = nil
			for _, ref := range done { // its bytes come, and nobody says what they are: it is not asked for again
				step(engine.Input{Kind: engine.FetchDone, Ref: ref})
			}
		}
		return pieces
	}
	return s, say, fetched
}

// floor are the pieces between eight and thirteen seconds of that film.
const (
	floorFirst = 5
	floorLast  = 7
)

func TestNeighboursInStepShareThePiecesOfTheFloor(t *testing.T) {
	_, say, fetched := newCrowd(t)
	say(wire.Essaim{Kind: wire.EssaimPlaying, Rate: 0})
	got := fetched(2_500_000)
	ours := 0
	for n := uint32(floorFirst); n <= floorLast; n++ {
		if got[n] {
			ours++
		}
	}
	if all := floorLast - floorFirst + 1; ours == 0 || ours == all {
		t.Errorf("%d of %d pieces were fetched by one of two viewers: %v", ours, all, got)
	}
}

func TestATurnThatIsNotTakenIsNotWaitedForWherePlaybackStands(t *testing.T) {
	s, say, fetched := newCrowd(t)
	say(wire.Essaim{Kind: wire.EssaimPlaying})
	s.out = append(s.out, s.engine.Step(s.now, engine.Input{Kind: engine.RangeWanted, Ref: 1, From: floorFirst << 15, To: (floorLast + 1) << 15}, nil)...)
	got := fetched(2_500_000)
	if all := floorLast - floorFirst + 1; len(got) == 0 || len(got) >= all {
		t.Fatalf("of %d pieces %v were fetched at first", all, got)
	}
	for n := range fetched(2_500_000) {
		got[n] = true
	}
	for n := uint32(floorFirst); n <= floorLast; n++ {
		if !got[n] {
			t.Errorf("a reader waits for piece %d, which is left to a neighbour who does not fetch it: %v", n, got)
		}
	}
}

func TestAClaimHoldsTheOriginBackForItsTimeOnly(t *testing.T) {
	_, say, fetched := newCrowd(t)
	say(wire.Essaim{Kind: wire.EssaimPlaying})
	say(wire.Essaim{Kind: wire.EssaimFetching, Pieces: 30, WithinMs: 2_000})
	if got := fetched(3_000_000); len(got) > 0 {
		t.Errorf("fetched %v though a neighbour says that it does", got)
	}
	if got := fetched(4_000_000); len(got) == 0 {
		t.Error("nothing was fetched after the claim's time")
	}
}

func TestWhoBreaksItsWordIsBelievedNoMore(t *testing.T) {
	_, say, fetched := newCrowd(t)
	say(wire.Essaim{Kind: wire.EssaimPlaying})
	say(wire.Essaim{Kind: wire.EssaimFetching, Pieces: 30, WithinMs: 500})
	got := fetched(5_000_000) // in which the claims lapse
	for n := uint32(floorFirst); n <= floorLast; n++ {
		if !got[n] {
			t.Errorf("piece %d is still left to a neighbour who did not keep its word: %v", n, got)
		}
	}
}

func TestUnfetchingTakesAClaimBack(t *testing.T) {
	_, say, fetched := newCrowd(t)
	say(wire.Essaim{Kind: wire.EssaimPlaying})
	say(wire.Essaim{Kind: wire.EssaimFetching, Pieces: 30, WithinMs: 6_000})
	if got := fetched(1_000_000); len(got) > 0 {
		t.Fatalf("fetched %v though a neighbour says that it does", got)
	}
	say(wire.Essaim{Kind: wire.EssaimUnfetching, Pieces: 30})
	if got := fetched(2_500_000); len(got) == 0 {
		t.Error("nothing was fetched after the claim was taken back")
	}
}

func TestAClaimDoesNotHoldBackWhatIsLate(t *testing.T) {
	s, say, fetched := newCrowd(t)
	say(wire.Essaim{Kind: wire.EssaimPlaying})
	say(wire.Essaim{Kind: wire.EssaimFetching, Pieces: 30, WithinMs: 6_000})
	s.out = append(s.out, s.engine.Step(s.now, engine.Input{Kind: engine.PlaybackMoved, From: 7_900, To: 8_000, Length: 1000, Flags: engine.FlagPaused}, nil)...)
	if got := fetched(1_500_000); len(got) == 0 {
		t.Error("the player was left to stall for a claim")
	}
}

func TestOfManyInStepOnlyTheChosenFetches(t *testing.T) {
	for place, want := range map[uint32]bool{7: true, 50: false} {
		s, say, fetched := newCrowd(t)
		s.out = append(s.out, s.engine.Step(s.now, engine.Input{Kind: engine.SwarmCounted, Length: 100, File: 1, Piece: place, Begin: 100}, nil)...)
		say(wire.Essaim{Kind: wire.EssaimPlaying, Cohort: 1, Size: 100})
		if got := fetched(1_000_000); got[7] != want || len(got) > 1 {
			t.Errorf("place %d fetched %v", place, got)
		}
	}
}

// TestWhoIsAMomentBehindTakesItsTurn: of two viewers a second and a half apart both must count two, or the one ahead fetches all that comes
// into its floor, and the other its share of it again.
func TestWhoIsAMomentBehindTakesItsTurn(t *testing.T) {
	ours := 0
	const neighbours = 8
	for n := range neighbours {
		s, say, fetched := newCrowdWith(t, fmt.Sprint("n", n))
		say(wire.Essaim{Kind: wire.EssaimPlaying})
		s.out = append(s.out, s.engine.Step(s.now, engine.Input{Kind: engine.PlaybackMoved, From: 1_500, To: 9_500, Length: 1000, Flags: engine.FlagPaused}, nil)...)
		if fetched(1_000_000)[floorLast+2] { // 14 s into the film, and to the neighbour not yet of its floor
			ours++
		}
	}
	if ours == 0 || ours == neighbours {
		t.Errorf("with %d of %d neighbours it was our turn", ours, neighbours)
	}
}

// TestWhoIsBehindLeavesTheNextPieceToWhoIsAhead: where the origin is short two viewers fetch side by side. The one ahead takes what is due next;
// did the other too, it would choose the same piece before it hears of it.
func TestWhoIsBehindLeavesTheNextPieceToWhoIsAhead(t *testing.T) {
	for _, c := range []struct {
		ours, theirs uint32 // play heads, in ms
		first        bool   // the first piece that both lack is ours
	}{{0, 4_000, false}, {4_000, 0, true}} {
		for n := range 8 { // whatever the draw says
			name := fmt.Sprint("n", n)
			s := newStepper(t, "film 60s 100000 piece=32768", "policy peers upload", "connect 1 "+name, "say 1 handshake "+name, "say 1 have-none")
			step := func(in engine.Input) { s.out = append(s.out, s.engine.Step(s.now, in, nil)...) }
			hear := func(message []byte) { step(engine.Input{Kind: engine.MessageReceived, Peer: 1, Data: message[4:]}) }
			fetch := func() (o engine.Output) {
				for _, o = range s.out {
					if o.Kind == engine.FetchRange && o.File == 0 {
						s.out = nil
						return o
					}
				}
				t.Fatal("nothing was fetched")
				return o
			}
			step(engine.Input{Kind: engine.RangeWanted, Ref: 1, To: 60_000}) // which shows how slow the origin is
			slow := fetch()
			for got := uint32(12 << 10); int64(got) <= slow.To; got += 12 << 10 {
				s.now += 100_000
				step(engine.Input{Kind: engine.FetchProgress, Ref: slow.Ref, Length: got})
			}
			step(engine.Input{Kind: engine.FetchDone, Ref: slow.Ref})
			step(engine.Input{Kind: engine.RangeCancelled, Ref: 1})
			hear(wire.AppendExtHandshake(nil, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtEssaim, ID: 9}}}))
			hear(wire.AppendEssaim(nil, 2, wire.Essaim{Kind: wire.EssaimPlaying, PositionMs: c.theirs, Rate: 1000}))
			step(engine.Input{Kind: engine.SwarmCounted, Length: 2})
			step(engine.Input{Kind: engine.PlaybackMoved, From: int64(c.ours), To: int64(c.ours) + 8_000, Length: 1000})
			s.now += second
			step(engine.Input{Kind: engine.RenditionChosen})
			first := int64(c.ours+8_000) * 100 >> 15
			if got := fetch().From >> 15; (got == first) != c.first {
				t.Errorf("at %d ms, with %s at %d: piece %d was chosen where both lack %d and what follows", c.ours, name, c.theirs, got, first)
			}
		}
	}
}
