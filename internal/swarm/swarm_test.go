package swarm

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"essaim/internal/bt"
)

var film = bt.InfoHash{1}

func peer(n int) (id bt.PeerID) {
	copy(id[:], "-TS0001-")
	binary.BigEndian.PutUint32(id[16:], uint32(n))
	return id
}

func offerID(n int) (id OfferID) {
	binary.BigEndian.PutUint32(id[16:], uint32(n))
	return id
}

func newSet() *Set { return New(Limits{}, rand.NewPCG(7, 7)) }

// viewer is peer n on socket n, one of ours.
func viewer(n int) *Announce {
	return &Announce{Swarm: film, Peer: peer(n), Socket: Socket(n), Kind: Viewer, Want: Unknown}
}

// torrent is peer n on socket n, a WebTorrent client with some offers.
func torrent(n, offers int) *Announce {
	a := &Announce{Swarm: film, Peer: peer(n), Socket: Socket(n), Want: Unknown}
	for i := range offers {
		a.Offers = append(a.Offers, offerID(n*100+i))
	}
	return a
}

func announce(t *testing.T, s *Set, now Instant, a *Announce) *Result {
	t.Helper()
	r, err := s.Announce(now, a)
	if err != nil {
		t.Fatalf("announce of %q: %v", a.Peer[:], err)
	}
	return r
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestOnlyWhoAnnouncesNowIsToldToOffer(t *testing.T) {
	s := newSet()
	if r := announce(t, s, 0, viewer(1)); len(r.Meet) != 0 {
		t.Errorf("the first viewer is told to meet %d", len(r.Meet))
	}
	if r := announce(t, s, 0, viewer(2)); !slices.Equal(r.Meet, []bt.PeerID{peer(1)}) {
		t.Errorf("the second viewer is told to meet %q", r.Meet)
	}
	if r := announce(t, s, 1, viewer(1)); len(r.Meet) != 0 {
		t.Errorf("both of a pair are told to offer: %q", r.Meet)
	}
}

func TestPairIsNotIntroducedAgainWithinItsTime(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, 0, viewer(2))
	if r := announce(t, s, OfferLifetime-1, viewer(2)); len(r.Meet) != 0 {
		t.Errorf("introduced again at once: %q", r.Meet)
	}
	if r := announce(t, s, OfferLifetime, viewer(1)); len(r.Meet) != 1 {
		t.Error("an introduction that came to nothing is not made again")
	}
	if _, err := s.Offer(OfferLifetime, film, peer(1), 1, peer(2), offerID(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Answer(OfferLifetime, film, peer(2), 2, peer(1), offerID(1)); err != nil {
		t.Fatal(err)
	}
	later := 2*OfferLifetime + 1
	if r := announce(t, s, later, viewer(1)); len(r.Meet) != 0 {
		t.Errorf("neighbours are introduced again: %q", r.Meet)
	}
	asks := viewer(1)
	asks.Want = 3
	if r := announce(t, s, later, asks); len(r.Meet) != 1 {
		t.Error("who asks for more is not given whom it met long ago")
	}
	anew := viewer(1)
	anew.Started = true
	if r := announce(t, s, later+1, anew); len(r.Meet) != 1 {
		t.Error("who starts anew is not introduced anew")
	}
}

func TestAnsweredPairIsIntroducedAgainWhenItsTieHasAged(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, 0, viewer(2))
	if _, err := s.Offer(0, film, peer(2), 2, peer(1), offerID(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Answer(0, film, peer(1), 1, peer(2), offerID(1)); err != nil {
		t.Fatal(err)
	}
	for now := Instant(0); now < TieLifetime; now += 30 * Second {
		announce(t, s, now, viewer(1))
		if r := announce(t, s, now, viewer(2)); len(r.Meet) != 0 {
			t.Fatalf("introduced again after %d s", now/Second)
		}
	}
	if r := announce(t, s, TieLifetime, viewer(2)); len(r.Meet) != 1 {
		t.Error("never introduced again")
	}
}

func TestViewersAheadInTheFilmComeFirst(t *testing.T) {
	s := newSet()
	// 1 to 6 are slightly ahead, 7 to 40 far behind.
	for n := 1; n <= 40; n++ {
		a := viewer(n)
		if a.PositionMs = 0; n <= 6 {
			a.PositionMs = 500_000 + int64(n)*15_000
		}
		a.Want = 0
		announce(t, s, 0, a)
	}
	a := viewer(50)
	a.Want = MeetMax
	a.PositionMs = 500_000
	r := announce(t, s, 0, a)
	if len(r.Meet) != MeetMax {
		t.Fatalf("told to meet %d, want %d", len(r.Meet), MeetMax)
	}
	for n := 1; n <= 6; n++ {
		if r.Meet[n-1] != peer(n) {
			t.Errorf("number %d is %q, want the viewer %d s ahead", n, r.Meet[n-1][:], n*15)
		}
	}
}

func TestNearViewerOfTheSameRenditionAndMoreUplinkComesFirst(t *testing.T) {
	s := newSet()
	for n, a := range []Announce{{Rendition: 1, UplinkKbps: 9000}, {UplinkKbps: 500}, {UplinkKbps: 4000}} {
		v := viewer(n + 1)
		v.Rendition, v.UplinkKbps, v.Want = a.Rendition, a.UplinkKbps, 0
		announce(t, s, 0, v)
	}
	if r := announce(t, s, 0, viewer(9)); !slices.Equal(r.Meet, []bt.PeerID{peer(3), peer(2), peer(1)}) {
		t.Errorf("order %q", r.Meet)
	}
}

func TestNeighboursStayBetweenGoalAndMax(t *testing.T) {
	s := newSet()
	given := make(map[bt.PeerID]int)
	for round := range 4 {
		for n := 1; n <= 60; n++ {
			r := announce(t, s, Instant(round)*10*Second, viewer(n))
			if len(r.Meet) > MeetMax {
				t.Fatalf("%d introductions at once", len(r.Meet))
			}
			given[peer(n)] += len(r.Meet)
			for _, id := range r.Meet {
				given[id]++
			}
		}
	}
	for n := 1; n <= 60; n++ {
		if c := given[peer(n)]; c < NeighboursGoal || c > NeighboursMax {
			t.Errorf("viewer %d has %d neighbours, want %d to %d", n, c, NeighboursGoal, NeighboursMax)
		}
	}
}

func TestSeedsDoNotMeetSeeds(t *testing.T) {
	s := newSet()
	one, two := viewer(1), torrent(2, 5)
	one.Seed, two.Seed = true, true
	announce(t, s, 0, one)
	if r := announce(t, s, 0, two); len(r.Relay) != 0 {
		t.Errorf("a seed's offer goes to a seed: %+v", r.Relay)
	}
	if r := announce(t, s, 0, one); len(r.Meet) != 0 {
		t.Errorf("a seed is to meet a seed: %q", r.Meet)
	}
	if r := announce(t, s, 0, viewer(3)); len(r.Meet) != 2 || r.Complete != 2 || r.Incomplete != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestGroupsDoNotMeet(t *testing.T) {
	s := newSet()
	a := viewer(1)
	a.Group = "rehearsal"
	announce(t, s, 0, a)
	if r := announce(t, s, 0, viewer(2)); len(r.Meet) != 0 {
		t.Errorf("a viewer meets a rehearsal: %q", r.Meet)
	}
	if r := announce(t, s, 0, torrent(3, 5)); len(r.Relay) != 1 || r.Relay[0].To != peer(2) {
		t.Errorf("offers go to %+v", r.Relay)
	}
	b := viewer(4)
	b.Group = "rehearsal"
	if r := announce(t, s, 0, b); !slices.Equal(r.Meet, []bt.PeerID{peer(1)}) {
		t.Errorf("two of one rehearsal do not meet: %q", r.Meet)
	}
}

func TestOffersGoToDistinctPeersOneEach(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1)) // our viewers are given offers like any other
	announce(t, s, 0, torrent(2, 0))
	announce(t, s, 0, torrent(3, 0))
	r := announce(t, s, 0, torrent(4, 5))
	var to []bt.PeerID
	for i, x := range r.Relay {
		if x.Offer != i || x.To == peer(4) || slices.Contains(to, x.To) {
			t.Errorf("relay %d is %+v", i, x)
		}
		to = append(to, x.To)
	}
	if len(to) != 3 {
		t.Errorf("%d offers passed on, want 3", len(to))
	}
	for n := 10; n < 30; n++ {
		announce(t, s, 0, torrent(n, 0))
	}
	if r := announce(t, s, 0, torrent(5, 40)); len(r.Relay) != OffersMax {
		t.Errorf("%d of 40 offers passed on, want %d", len(r.Relay), OffersMax)
	}
}

func TestOffersPreferThoseNotYetKnown(t *testing.T) {
	s := newSet()
	announce(t, s, 0, torrent(1, 0))
	announce(t, s, 0, torrent(2, 1))
	if _, err := s.Answer(0, film, peer(1), 1, peer(2), offerID(200)); err != nil {
		t.Fatal(err)
	}
	announce(t, s, 0, torrent(3, 0))
	for i := range InboxUnasked {
		a := torrent(2, 0)
		a.Offers = []OfferID{offerID(1000 + i)}
		if r := announce(t, s, 0, a); len(r.Relay) != 1 || r.Relay[0].To != peer(3) {
			t.Fatalf("offer went to %+v", r.Relay)
		}
	}
}

func TestNobodyIsFloodedWithOffers(t *testing.T) {
	s := newSet()
	announce(t, s, 0, torrent(1, 0))
	got := 0
	for n := 2; n < 2+2*InboxMax; n++ {
		a := torrent(n, 1)
		a.Seed = true
		announce(t, s, 0, a) // a seed among seeds: only peer 1 can be given its offer
		got += len(s.result.Relay)
	}
	if got != InboxUnasked {
		t.Errorf("one peer was given %d offers, want %d", got, InboxUnasked)
	}
	a := torrent(2, 1)
	a.Seed = true
	announce(t, s, OfferLifetime-1, torrent(1, 0))
	if r := announce(t, s, OfferLifetime, a); len(r.Relay) != 1 {
		t.Error("offers that ran out still count")
	}
}

func TestViewersMeetDespiteAFloodOfOffers(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	for range InboxMax { // one peer, again and again
		a := torrent(9, 10)
		for i := range a.Offers {
			a.Offers[i] = offerID(int(s.random.Uint64() >> 33))
		}
		announce(t, s, 0, a)
	}
	announce(t, s, 0, viewer(2))
	if to, err := s.Offer(0, film, peer(2), 2, peer(1), offerID(1)); err != nil || to != 1 {
		t.Errorf("a viewer's offer: socket %d, %v", to, err)
	}
}

func TestOnlyTheAddressedPeerAnswersAndOnlyOnce(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, 0, viewer(2))
	announce(t, s, 0, viewer(3))
	if _, err := s.Answer(0, film, peer(1), 1, peer(2), offerID(1)); !errors.Is(err, ErrNoOffer) {
		t.Errorf("an offer that was never made is answered: %v", err)
	}
	to, err := s.Offer(0, film, peer(2), 2, peer(1), offerID(1))
	if err != nil || to != 1 {
		t.Fatalf("offer: socket %d, %v", to, err)
	}
	_, err = s.Answer(0, film, peer(3), 3, peer(2), offerID(1))
	wantError(t, err, ErrNoOffer) // a third party
	_, err = s.Answer(0, film, peer(1), 3, peer(2), offerID(1))
	wantError(t, err, ErrNotMember) // a third party under the right name
	_, err = s.Answer(0, film, peer(1), 1, peer(2), offerID(2))
	wantError(t, err, ErrNoOffer) // another offer
	_, err = s.Answer(0, film, peer(1), 1, peer(3), offerID(1))
	wantError(t, err, ErrNoOffer) // to another offerer
	if to, err = s.Answer(OfferLifetime-1, film, peer(1), 1, peer(2), offerID(1)); err != nil || to != 2 {
		t.Fatalf("answer: socket %d, %v", to, err)
	}
	_, err = s.Answer(OfferLifetime-1, film, peer(1), 1, peer(2), offerID(1))
	wantError(t, err, ErrNoOffer) // a second time
}

func TestAnswerComesInTimeOrNotAtAll(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, 0, viewer(2))
	if _, err := s.Offer(5, film, peer(2), 2, peer(1), offerID(1)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Answer(5+OfferLifetime, film, peer(1), 1, peer(2), offerID(1))
	wantError(t, err, ErrNoOffer)
}

func TestAnswerToOneWhoLeftIsNotGivenToItsSuccessor(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, 0, viewer(2))
	if _, err := s.Offer(0, film, peer(2), 2, peer(1), offerID(1)); err != nil {
		t.Fatal(err)
	}
	s.CloseSocket(2)
	heir := viewer(2)
	heir.Socket = 3
	announce(t, s, 0, heir)
	_, err := s.Answer(0, film, peer(1), 1, peer(2), offerID(1))
	wantError(t, err, ErrNotMember)
}

func TestOfferNeedsAnIntroduction(t *testing.T) {
	s := newSet()
	for n := 1; n <= 3; n++ {
		announce(t, s, 0, viewer(n))
	}
	_, err := s.Offer(0, film, peer(1), 1, peer(2), offerID(1))
	wantError(t, err, ErrNotIntroduced) // 2 was told to offer to 1
	_, err = s.Offer(0, film, peer(2), 1, peer(1), offerID(1))
	wantError(t, err, ErrNotMember) // another socket
	_, err = s.Offer(0, film, peer(2), 2, peer(9), offerID(1))
	wantError(t, err, ErrNotMember)
	_, err = s.Offer(OfferLifetime, film, peer(2), 2, peer(1), offerID(1))
	wantError(t, err, ErrNotIntroduced) // too late
	if _, err = s.Offer(0, film, peer(3), 3, peer(1), offerID(1)); err != nil {
		t.Error(err)
	}
	_, err = s.Offer(0, film, peer(3), 3, peer(1), offerID(2))
	wantError(t, err, ErrNotIntroduced) // a second time
}

func TestPeerIDBelongsToTheSocketThatClaimedIt(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	thief := viewer(1)
	thief.Socket = 2
	_, err := s.Announce(0, thief)
	wantError(t, err, ErrTaken)
	s.Leave(film, peer(1), 2)
	if c := s.Counts(0, film); c.Incomplete != 1 {
		t.Error("another socket took a peer out")
	}
	if r := announce(t, s, 0, viewer(3)); len(r.Meet) != 1 {
		t.Error("the victim lost its place")
	}
	s.CloseSocket(1)
	announce(t, s, 0, thief) // free now
}

func TestOwnerTakesItsPeerIDToAnotherSocket(t *testing.T) {
	s := newSet()
	a := viewer(1)
	a.Owner = "session"
	announce(t, s, 0, a)
	announce(t, s, 0, viewer(2)) // told to meet 1
	if _, err := s.Offer(0, film, peer(2), 2, peer(1), offerID(1)); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"", "other"} {
		thief := viewer(1)
		thief.Socket, thief.Owner = 3, owner
		_, err := s.Announce(0, thief)
		wantError(t, err, ErrTaken)
	}
	again := viewer(1)
	again.Socket, again.Owner = 4, "session"
	if r := announce(t, s, 0, again); r.Incomplete != 2 || len(r.Meet) != 1 {
		t.Errorf("who comes back gets %+v", r)
	}
	_, err := s.Answer(0, film, peer(1), 4, peer(2), offerID(1))
	wantError(t, err, ErrNoOffer) // what the old socket was given is not the new one's
	s.CloseSocket(1)
	if c := s.Counts(0, film); c.Incomplete != 2 {
		t.Errorf("the old socket took something along: %+v", c)
	}
}

func TestSocketHasOnePeerPerSwarmAndFewSwarms(t *testing.T) {
	s := New(Limits{SwarmsPerSocket: 2, Peers: 3}, rand.NewPCG(1, 1))
	announce(t, s, 0, viewer(1))
	two := viewer(2)
	two.Socket = 1
	_, err := s.Announce(0, two)
	wantError(t, err, ErrBound)
	two.Swarm = bt.InfoHash{2}
	announce(t, s, 0, two)
	two.Swarm = bt.InfoHash{3}
	_, err = s.Announce(0, two)
	wantError(t, err, ErrSwarms)
	announce(t, s, 0, viewer(2))
	announce(t, s, 0, viewer(3))
	_, err = s.Announce(0, viewer(4))
	wantError(t, err, ErrFull)
	s.LeaveSwarm(film, 1)
	announce(t, s, 0, viewer(4))
	if len(s.swarms) != 2 || len(s.sockets) != 4 {
		t.Errorf("%d swarms, %d sockets", len(s.swarms), len(s.sockets))
	}
}

func TestSilentPeerIsForgotten(t *testing.T) {
	s := newSet()
	announce(t, s, 0, viewer(1))
	announce(t, s, Second, viewer(2))
	if c := s.Counts(Lifetime, film); c.Incomplete != 1 {
		t.Errorf("after its lifetime a peer still counts: %+v", c)
	}
	s.Each(Lifetime+Second, func(bt.InfoHash, Counts) { t.Error("an empty swarm is listed") })
	if len(s.index)+len(s.sockets)+len(s.swarms) != 0 || s.oldest != nil || s.newest != nil {
		t.Errorf("something is left: %+v", s)
	}
}

func TestCompletedIsCountedOncePerPeer(t *testing.T) {
	s := newSet()
	a := viewer(1)
	a.Completed, a.Seed = true, true
	announce(t, s, 0, a)
	announce(t, s, 0, a)
	if c := s.Counts(0, film); c != (Counts{Complete: 1, Downloaded: 1}) {
		t.Errorf("got %+v", c)
	}
}

func BenchmarkAnnounceAmongTenThousand(b *testing.B) {
	s := newSet()
	for n := range 10_000 {
		a := viewer(n)
		a.PositionMs = int64(n) * 500
		if _, err := s.Announce(0, a); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for b.Loop() {
		a := viewer(n % 10_000)
		a.Started = true
		if _, err := s.Announce(Instant(n), a); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func TestWhoRenewsStaysAsItAnnouncedItself(t *testing.T) {
	s := newSet()
	first := announce(t, s, 0, viewer(1)).Cohort
	announce(t, s, 0, torrent(2, 0))
	if _, err := s.Renew(Lifetime-1, film, peer(1), 9); !errors.Is(err, ErrNotMember) {
		t.Errorf("another connection renews: %v", err)
	}
	r, err := s.Renew(Lifetime-1, film, peer(1), 1)
	if err != nil || r.Incomplete != 2 || r.Cohort != first || len(r.Meet) != 0 {
		t.Errorf("told %+v, %v", r, err)
	}
	if c := s.Counts(2*Lifetime-2, film); c.Incomplete != 1 {
		t.Errorf("%+v in the swarm, want who renewed", c)
	}
	late := viewer(3) // who is where the first must be by now
	late.PositionMs = int64((2*Lifetime - 2) / millisecond)
	if c := announce(t, s, 2*Lifetime-2, late).Cohort; c.ID != first.ID {
		t.Error("a play head has not moved with the clock")
	}
	told := 0
	s.EachOf(2*Lifetime-2, 1, func(h bt.InfoHash, r *Result) {
		if told++; h != film || r.Incomplete != 2 || r.Cohort.ID != first.ID || r.Cohort.Size != 2 {
			t.Errorf("told %+v of %v", r, h)
		}
	})
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	_, err = s.Renew(2*Lifetime-1, film, peer(1), 1)
	wantError(t, err, ErrNotMember)
}

func TestThoseInStepAreCountedIntoOneCohort(t *testing.T) {
	s := newSet()
	first := announce(t, s, 0, viewer(1)).Cohort
	if first.ID == 0 || first.Place != 0 || first.Size != 1 {
		t.Fatalf("the first is counted as %+v", first)
	}
	for n := 2; n <= 40; n++ {
		c := announce(t, s, Instant(n)*40_000, viewer(n)).Cohort
		if c.ID != first.ID || int(c.Place) != n-1 || int(c.Size) != n {
			t.Fatalf("viewer %d is counted as %+v", n, c)
		}
	}
	late := announce(t, s, 3*Second, viewer(41)).Cohort
	if late.ID == first.ID || late.Place != 0 {
		t.Errorf("who comes three seconds later is counted as %+v, with the others", late)
	}
	again := viewer(1)
	again.PositionMs = 29_000 // 30 s later, having taken a second to start
	if c := announce(t, s, 30*Second, again).Cohort; c.ID != first.ID || c.Place != 0 {
		t.Errorf("who keeps in step is counted anew, as %+v", c)
	}
	moved := viewer(2)
	moved.PositionMs = 500_000
	if c := announce(t, s, 30*Second, moved).Cohort; c.ID == first.ID {
		t.Error("who has moved to another part of the film is still counted with the others")
	}
	seed := viewer(3)
	seed.Seed = true
	if c := announce(t, s, 30*Second, seed).Cohort; c != (Cohort{}) {
		t.Errorf("a seed, which wants nothing, is counted as %+v", c)
	}
}

func TestCohortsOfDifferentGroupsAreApart(t *testing.T) {
	s := newSet()
	a, b := viewer(1), viewer(2)
	b.Group = "rehearsal"
	x := announce(t, s, 0, a).Cohort
	y := announce(t, s, 0, b).Cohort
	if x.ID == y.ID {
		t.Errorf("%+v and %+v share work, though they never meet", x, y)
	}
}
