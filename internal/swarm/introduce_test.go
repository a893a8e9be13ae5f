package swarm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"essaim/internal/bt"
)

// at is viewer n at a place.
func at(n int, p Place) *Announce {
	a := viewer(n)
	a.Place = p
	return a
}

// quiet is the same, and asks for nobody.
func quiet(a *Announce) *Announce {
	a.Want = 0
	return a
}

// number is n of peer(n).
func number(id bt.PeerID) int {
	return int(id[16])<<24 | int(id[17])<<16 | int(id[18])<<8 | int(id[19])
}

func TestWhoCostsLeastComesFirstAmongThoseAhead(t *testing.T) {
	home := Place{Prefix: 11, Network: 21, Country: 31}
	for seed := range uint64(20) {
		s := New(Limits{}, rand.NewPCG(seed, 3))
		n := 0
		add := func(p Place, count int, position int64) {
			for range count {
				n++
				a := quiet(at(n, p))
				a.PositionMs = position
				announce(t, s, 0, a)
			}
		}
		add(Place{Prefix: 12, Network: 22, Country: 32}, 300, 1000) // elsewhere
		add(Place{Prefix: 13, Network: 23, Country: 31}, 2, 90_000)
		add(Place{Prefix: 14, Network: 21, Country: 31}, 2, 100_000)
		add(home, 2, 110_000)
		add(home, 2, 900_000) // next door, and far ahead in the film: of no use
		a := at(1000, home)
		a.Want = MeetMax
		r := announce(t, s, 0, a)
		if len(r.Meet) != MeetMax {
			t.Fatalf("told to meet %d, want %d", len(r.Meet), MeetMax)
		}
		for i, want := range [][2]int{{305, 306}, {305, 306}, {303, 304}, {303, 304}, {301, 302}, {301, 302}} {
			if got := number(r.Meet[i]); got != want[0] && got != want[1] {
				t.Errorf("seed %d: introduction %d is %d, want one of %v", seed, i, got, want)
			}
		}
	}
}

func TestViewersFindTheirLikeAmongTenThousand(t *testing.T) {
	s := New(Limits{Peers: 11_000}, rand.NewPCG(7, 7))
	for n := 1; n <= 10_000; n++ { // all over a film of three hours and in 200 networks
		a := quiet(at(n, Place{Network: uint32(n%200) + 1}))
		a.PositionMs = int64(n) * 1000
		announce(t, s, 0, a)
	}
	useful, near := 0, 0
	for n := 1000; n < 1100; n++ {
		a := at(20_000+n, Place{Network: uint32(n%200) + 1})
		a.PositionMs, a.Want = int64(n)*1000, MeetMax
		for _, id := range announce(t, s, 0, a).Meet {
			x := number(id)
			if x > 20_000 { // one of those who came after
				x -= 20_000
			} else if x == n || x == n+200 {
				near++
			}
			if n-10 <= x && x <= n+120 {
				useful++
			}
		}
	}
	if useful < 100*MeetMax*3/4 {
		t.Errorf("%d of %d introductions are of use, want three quarters", useful, 100*MeetMax)
	}
	if near != 100 { // each has one such within reach
		t.Errorf("%d viewers of 100 meet the one of their network who is ahead", near)
	}
}

// TestPositionsMoveWithTime: who announced a while ago has played on since.
func TestPositionsMoveWithTime(t *testing.T) {
	s := newSet()
	for n := 1; n <= 100; n++ {
		a := quiet(viewer(n))
		if a.PositionMs = 0; n <= 4 {
			a.PositionMs = 25_000
		}
		announce(t, s, 0, a)
	}
	a := viewer(200)
	a.PositionMs, a.Want = 55_000, 4
	r := announce(t, s, 30*Second, a) // 1 to 4 are at 55 s too, the others at 30 s
	for _, id := range r.Meet[:3] {
		if number(id) > 4 {
			t.Errorf("told to meet %d, who is behind", number(id))
		}
	}
}

func TestStrangersComeBeforeOldTies(t *testing.T) {
	s := newSet()
	for n := 1; n <= 6; n++ {
		a := quiet(viewer(n))
		a.UplinkKbps = 50_000 // the best there are
		announce(t, s, 0, a)
	}
	asks := func(want int) *Announce { a := viewer(50); a.Want = want; return a }
	if r := announce(t, s, 0, asks(6)); len(r.Meet) != 6 {
		t.Fatal("the first six are not met")
	}
	for n := 1; n <= 6; n++ {
		if _, err := s.Offer(0, film, peer(50), 50, peer(n), offerID(n)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Answer(0, film, peer(n), Socket(n), peer(50), offerID(n)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 11; n <= 14; n++ {
		announce(t, s, OfferLifetime, quiet(viewer(n)))
	}
	r := announce(t, s, OfferLifetime, asks(6))
	if len(r.Meet) != 6 {
		t.Fatalf("told to meet %d, want 6", len(r.Meet))
	}
	for i, id := range r.Meet {
		if old := number(id) <= 6; old != (i >= 4) {
			t.Errorf("introduction %d is %d", i, number(id))
		}
	}
}

// TestTwoNeighboursAreOfOtherPrefixesAndAccounts is row 33 of the threats: one party fills a swarm with machines of one
// network, or of one account, as near as can be to its victims and with the best of figures.
func TestTwoNeighboursAreOfOtherPrefixesAndAccounts(t *testing.T) {
	for name, evil := range map[string]func(*Announce){
		"prefix":  func(a *Announce) { a.Place = Place{Prefix: 1, Network: 2, Country: 3} },
		"account": func(a *Announce) { a.Account = "evil"; a.Place = Place{Prefix: 1_000_000 + uint64(a.Socket)} },
	} {
		for _, want := range []int{3, 4, 8, NeighboursGoal, MeetMax} {
			s := newSet()
			for n := 1; n <= 2000; n++ {
				a := quiet(viewer(n))
				a.UplinkKbps = 1_000_000
				evil(a)
				announce(t, s, 0, a)
			}
			for n := 5001; n <= 5004; n++ { // four others among two thousand
				announce(t, s, 0, quiet(at(n, Place{Prefix: uint64(n)})))
			}
			victim := viewer(9000) // in the very same network
			victim.Place, victim.Want = Place{Prefix: 1, Network: 2, Country: 3}, want
			r := announce(t, s, 0, victim)
			others := 0
			for _, id := range r.Meet {
				if number(id) > 5000 {
					others++
				}
			}
			if others < outsiders {
				t.Errorf("%s: %d of %d introductions are of others", name, others, len(r.Meet))
			}
			if evils := len(r.Meet) - others; evils > max(1, want-outsiders) || evils > oneMax {
				t.Errorf("%s: %d introductions of %d wanted are of one party", name, evils, want)
			}
		}
	}
}

// TestEclipseLeavesHalfOfThePlaces is row 34: attackers of one network all ask for the victim.
func TestEclipseLeavesHalfOfThePlaces(t *testing.T) {
	s := newSet()
	announce(t, s, 0, quiet(at(1, Place{Prefix: 7})))
	announce(t, s, 0, quiet(at(2, Place{Prefix: 8})))
	for n := 10; n < 500; n++ {
		a := at(n, Place{Prefix: 1})
		a.Want = MeetMax
		announce(t, s, 0, a)
	}
	victim := s.find(film, peer(1))
	if evil := victim.count(func(m *member) bool { return m.place.Prefix == 1 }); evil > oneMax {
		t.Errorf("attackers fill %d of %d places", evil, NeighboursMax)
	}
	for n := 600; n < 604; n++ {
		a := at(n, Place{Prefix: uint64(n)})
		a.Want = MeetMax
		announce(t, s, 0, a)
	}
	if honest := victim.count(func(m *member) bool { return m.place.Prefix != 1 }); honest < outsiders {
		t.Errorf("%d honest neighbours come through", honest)
	}
}

func TestOneNetworkAloneIsNotHeldBack(t *testing.T) {
	s := newSet()
	for n := 1; n <= 40; n++ {
		announce(t, s, 0, quiet(at(n, Place{Prefix: 1})))
	}
	a := at(50, Place{Prefix: 1})
	a.Want = MeetMax
	if r := announce(t, s, 0, a); len(r.Meet) != MeetMax {
		t.Errorf("among its own a viewer is given %d, want %d", len(r.Meet), MeetMax)
	}
}

// TestCollectorOfAddressesIsBounded is row 39: one account asks for all it can, under ever new names.
func TestCollectorOfAddressesIsBounded(t *testing.T) {
	s := New(Limits{MeetPerHour: 100}, rand.NewPCG(1, 1))
	for n := 1; n <= 3000; n++ {
		announce(t, s, 0, quiet(viewer(n)))
	}
	var times []Instant
	spent := false
	for i := range 2 * 3600 / 10 {
		now := Instant(i) * 10 * Second
		if i%20 == 0 {
			for n := 1; n <= 3000; n++ {
				announce(t, s, now, quiet(viewer(n)))
			}
		}
		a := viewer(10_000 + i)
		a.Payer, a.Want = "collector", MeetMax
		r := announce(t, s, now, a)
		for range r.Meet {
			times = append(times, now)
		}
		spent = spent || r.Spent
		s.CloseSocket(a.Socket)
	}
	first := 0
	for i, now := range times {
		for now-times[first] >= 3600*Second {
			first++
		}
		if i-first+1 > 100 {
			t.Fatalf("%d introductions within an hour", i-first+1)
		}
	}
	if len(times) < 120 || !spent {
		t.Errorf("%d introductions in two hours; told to be spent: %v", len(times), spent)
	}
	// Its own machines are not counted, nor is anybody else in its way.
	one, two := viewer(20_001), viewer(20_002)
	one.Payer, two.Payer, one.Group, two.Group = "collector", "collector", "home", "home"
	announce(t, s, 7200*Second, one)
	if r := announce(t, s, 7200*Second, two); len(r.Meet) != 1 {
		t.Error("two of one household do not meet")
	}
}

// TestIntroductionsHoldTogether drives a crowd of places and accounts with random announces, departures and outcomes, and
// holds the rule of two outsiders and the bounds against every answer.
func TestIntroductionsHoldTogether(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 9))
			s := New(Limits{}, rand.NewPCG(seed, 10))
			var now Instant
			for step := range 6000 {
				now += Instant(random.Int64N(int64(Second)))
				n := 1 + random.IntN(400)
				a := viewer(n)
				a.Place = Place{Prefix: uint64(n%9) + 1, Network: uint32(n%4) + 1, Country: 1}
				if n < 200 {
					a.Place.Prefix = 1
				}
				a.Account, a.Want, a.Seed = fmt.Sprint(n/4), random.IntN(MeetMax+4), n%11 == 0
				a.PositionMs = random.Int64N(600_000)
				for range random.IntN(8) {
					a.Outcomes = append(a.Outcomes, Outcome{peer(1 + random.IntN(400)), Fate(random.IntN(6))})
				}
				if random.IntN(30) == 0 {
					s.CloseSocket(Socket(n))
					continue
				}
				r := announce(t, s, now, a)
				m := s.find(film, a.Peer)
				if len(m.ties) > NeighboursMax || len(r.Meet) > min(a.Want, MeetMax) {
					t.Fatalf("step %d: %d introductions of %d, %d neighbours", step, len(r.Meet), a.Want, len(m.ties))
				}
				var given, outside int
				for i, id := range r.Meet {
					c := s.find(film, id)
					switch {
					case id == a.Peer || c == nil || c.seed && m.seed || c.crowd != m.crowd || barred(now, m, c):
						t.Fatalf("step %d: %d is introduced to %d", step, n, number(id))
					case m.tie(c) == nil || c.tie(m) == nil || !m.tie(c).offer:
						t.Fatalf("step %d: introduction %d is not noted", step, i)
					}
					given++
					if c.place.Prefix != 1 {
						outside++
					}
				}
				if same := m.count(func(x *member) bool { return x.place.Prefix == 1 }); given > outside && same > oneMax {
					t.Fatalf("step %d: %d neighbours of one prefix, and one more is given", step, same)
				}
			}
		})
	}
}
