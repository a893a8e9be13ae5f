package swarm

import (
	"math/rand/v2"
	"testing"

	"essaim/internal/bt"
)

// told is viewer n, who tells what became of its introduction to another.
func told(n, of int, f Fate) *Announce {
	a := viewer(n)
	a.Outcomes = []Outcome{{peer(of), f}}
	return a
}

func TestPairThatCannotConnectIsNotProposedAgain(t *testing.T) {
	for _, f := range []Fate{FailedICE, FailedDTLS, FailedChannel} {
		s := newSet()
		announce(t, s, 0, viewer(1))
		announce(t, s, 0, viewer(2)) // told to meet 1
		announce(t, s, Second, told(2, 1, f))
		for now := 2 * Second; now < BarLifetime; now += 60 * Second {
			one, two := viewer(1), viewer(2)
			one.Want, two.Want = MeetMax, MeetMax
			one.Started = now%(600*Second) < 60*Second // nor when one of them starts anew
			if len(announce(t, s, now, one).Meet)+len(announce(t, s, now, two).Meet) > 0 {
				t.Fatalf("fate %d: proposed again after %d s", f, now/Second)
			}
		}
		if r := announce(t, s, BarLifetime+Second, viewer(1)); len(r.Meet) != 1 {
			t.Errorf("fate %d: never tried again", f)
		}
	}
}

func TestFailureThatMayPassIsForgottenSooner(t *testing.T) {
	for f, after := range map[Fate]Instant{FailedAnswer: absentLifetime, FailedBudget: busyLifetime} {
		s := newSet()
		announce(t, s, 0, viewer(1))
		announce(t, s, 0, viewer(2))
		for now := Instant(0); now < after; now += 30 * Second {
			announce(t, s, now, viewer(1))
			if r := announce(t, s, now, told(2, 1, f)); len(r.Meet) > 0 {
				t.Fatalf("fate %d: proposed again after %d s", f, now/Second)
			}
		}
		if r := announce(t, s, after, viewer(2)); len(r.Meet) != 1 {
			t.Errorf("fate %d: not proposed again after %d s", f, after/Second)
		}
	}
}

func TestPairIsRememberedByEitherAcrossSockets(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, 0, viewer(2))
	announce(t, s, 0, told(2, 1, FailedICE))
	s.CloseSocket(2) // whose socket breaks, and who comes back
	again := viewer(2)
	again.Socket = 9
	if r := announce(t, s, Second, again); len(r.Meet) != 0 {
		t.Error("proposed again to who came back")
	}
}

func TestFailureMakesRoomAtOnce(t *testing.T) {
	s := newSet()
	for n := 1; n <= NeighboursGoal; n++ {
		announce(t, s, 0, viewer(n))
	}
	r := announce(t, s, 0, viewer(50))
	a := viewer(50)
	for _, id := range r.Meet {
		a.Outcomes = append(a.Outcomes, Outcome{id, FailedICE})
	}
	for n := 60; n < 60+NeighboursGoal; n++ {
		b := viewer(n)
		b.Want = 0
		announce(t, s, 0, b)
	}
	if r := announce(t, s, Second, a); len(r.Meet) != NeighboursGoal {
		t.Errorf("who failed with all is given %d others, want %d", len(r.Meet), NeighboursGoal)
	}
}

func TestOnlyWhoWasIntroducedIsBelieved(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	two := viewer(2)
	two.Want = 0
	announce(t, s, 0, two)
	liar := viewer(3)
	liar.Want = 0
	announce(t, s, 0, liar)
	for range 5 {
		a := told(3, 1, FailedICE)
		a.Outcomes = append(a.Outcomes, Outcome{peer(2), FailedICE}, Outcome{peer(3), FailedICE}, Outcome{peer(77), Connected})
		a.Want = 0
		announce(t, s, 0, a)
	}
	if r := announce(t, s, 0, viewer(3)); len(r.Meet) != 2 {
		t.Errorf("lies about strangers change what the liar is given: %q", r.Meet)
	}
	if m := s.find(film, peer(1)); len(m.bars) != 0 || m.paths != (tally{}) {
		t.Errorf("a lie sticks to its victim: %+v %+v", m.bars, m.paths)
	}
}

func TestOneWordPerPairCounts(t *testing.T) {
	s := newSet()
	place := func(a *Announce, network uint32) *Announce { a.Place.Network = network; return a }
	announce(t, s, 0, place(viewer(1), 64500))
	announce(t, s, 0, place(viewer(2), 64501))
	for range 20 { // the same again, and from both sides
		announce(t, s, 0, place(told(2, 1, FailedICE), 64501))
		announce(t, s, 0, place(told(1, 2, FailedICE), 64500))
	}
	r := s.routes.get(routeKey{64500, 64501})
	if r == nil || r.tally != (tally{bad: 1}) {
		t.Errorf("the route counts %+v", r)
	}
	for n := 1; n <= 2; n++ {
		if m := s.find(film, peer(n)); m.paths != (tally{bad: 1}) || len(m.bars) != 1 {
			t.Errorf("member %d counts %+v, %d bars", n, m.paths, len(m.bars))
		}
	}
}

// meetAll lets viewer n meet others and tells what became of each, as ok says.
func meetAll(t *testing.T, s *Set, now Instant, a *Announce, ok func(bt.PeerID) bool) {
	t.Helper()
	r := announce(t, s, now, a)
	next := *a
	next.Want, next.Outcomes = 0, nil
	for _, id := range r.Meet {
		f := FailedICE
		if ok(id) {
			f = Connected
		}
		next.Outcomes = append(next.Outcomes, Outcome{id, f})
	}
	announce(t, s, now, &next)
}

func TestNetworksThatRefuseEachOtherComeLast(t *testing.T) {
	s := newSet()
	in := func(n int, network uint32) *Announce {
		a := viewer(n)
		a.Place, a.Want = Place{Network: network}, 0
		return a
	}
	for n := range 12 {
		announce(t, s, 0, in(100+n, 2))
	}
	for n := range 4 { // network 1 finds no path to network 2
		a := in(n, 1)
		a.Want = 8
		meetAll(t, s, 0, a, func(id bt.PeerID) bool { return id[19] < 100 })
	}
	for n := range 12 {
		announce(t, s, 0, in(200+n, 3))
	}
	a := in(50, 1)
	a.Want = 8
	r := announce(t, s, Second, a)
	for i, id := range r.Meet[:6] {
		if n := id[19]; 100 <= n && n < 200 {
			t.Errorf("introduction %d goes to network 2, to which there is no path", i)
		}
	}
	// It is believed for a time only.
	if m := s.find(film, peer(50)); s.hard(routeLifetime+Second, m, s.find(film, peer(100))) {
		t.Error("believed for ever")
	}
}

func TestTwoWhoFindNoPathToAnybodyComeLastForEachOther(t *testing.T) {
	s := newSet()
	m, c := &member{}, &member{}
	for range poorMember {
		m.paths.add(false)
		c.paths.add(false)
	}
	if !s.hard(0, m, c) {
		t.Error("two who fail with all are expected to connect")
	}
	if s.hard(0, m, &member{}) {
		t.Error("one of them is avoided by everybody")
	}
	c.paths.add(true)
	if s.hard(0, m, c) {
		t.Error("who has found a path is expected to find none")
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	s := newSet()
	m := &member{id: peer(1), place: Place{Network: 1}}
	for n := range 3 * routesMax {
		now := Instant(n) * Second
		c := &member{id: peer(n + 2), place: Place{Network: uint32(n + 2)}}
		m.bar(now, c.id, BarLifetime, true)
		s.found(now, m, c, random.IntN(2) == 0)
		s.payer(string(c.id[:]))
	}
	if len(m.bars) > barsMax || len(s.routes.entries) > routesMax || len(s.routes.order) > routesMax {
		t.Errorf("%d bars, %d routes", len(m.bars), len(s.routes.entries))
	}
	last := 3*routesMax + 1
	if s.routes.get(routeKey{1, uint32(last)}) == nil || s.routes.get(routeKey{1, 2}) != nil {
		t.Error("it is not the oldest that is forgotten")
	}
	small := newMemory[int, int](3)
	for n := range 10 {
		*small.add(n) = n
	}
	if v := small.get(9); len(small.entries) != 3 || v == nil || *v != 9 || small.get(6) != nil {
		t.Errorf("three are kept of ten: %v", small.entries)
	}
}
