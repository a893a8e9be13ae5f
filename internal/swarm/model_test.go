package swarm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"essaim/internal/bt"
)

// model is the tracker's memory as one would explain it: a list of who announced when, and one of who was introduced
// to whom. It says what must be true of every answer, not which of the permitted peers are chosen.
type model struct {
	peers  []modelPeer
	pairs  []modelPair
	offers []modelOffer
	bars   []modelBar
}

// modelBar is a pair that could not connect, in two lives.
type modelBar struct {
	a, b  bt.PeerID
	lives [2]int
	until Instant
}

type modelPeer struct {
	Announce
	last Instant
	life int // counts the lives of a peer ID
}

type modelPair struct {
	a, b bt.PeerID
	at   Instant
	open bool // a may make its offer

	answered bool
	told     []bt.PeerID // who told what became of it
}

type modelOffer struct {
	from, to     bt.PeerID
	lives        [2]int
	id           OfferID
	at           Instant
	answerSocket Socket
}

func (m *model) at(id bt.PeerID) *modelPeer {
	for i := range m.peers {
		if m.peers[i].Peer == id {
			return &m.peers[i]
		}
	}
	return nil
}

func (m *model) drop(ok func(*modelPeer) bool) {
	m.peers = slices.DeleteFunc(m.peers, func(p modelPeer) bool {
		if !ok(&p) {
			return false
		}
		m.forget(p.Peer)
		m.offers = slices.DeleteFunc(m.offers, func(o modelOffer) bool { return o.to == p.Peer })
		return true
	})
}

func (m *model) forget(id bt.PeerID) {
	m.pairs = slices.DeleteFunc(m.pairs, func(p modelPair) bool { return p.a == id || p.b == id })
}

func (m *model) expire(now Instant) {
	m.drop(func(p *modelPeer) bool { return now-p.last >= Lifetime })
}

func (m *model) inbox(now Instant, id bt.PeerID) (n int) {
	for _, o := range m.offers {
		if from := m.at(o.from); o.to == id && now-o.at < OfferLifetime && from != nil && from.life == o.lives[0] {
			n++
		}
	}
	return n
}

// TestAnswersAgreeWithASimpleModel drives a Set with random calls and holds each answer against the model.
func TestAnswersAgreeWithASimpleModel(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			drive(t, seed, 3000)
		})
	}
}

// TestSameCallsGiveSameAnswers replays one seed and compares everything that came out.
func TestSameCallsGiveSameAnswers(t *testing.T) {
	if a, b := drive(t, 99, 2000), drive(t, 99, 2000); !reflect.DeepEqual(a, b) {
		t.Error("two runs of the same calls differ")
	}
}

func drive(t *testing.T, seed uint64, steps int) (trace []string) {
	random := rand.New(rand.NewPCG(seed, 1))
	s := New(Limits{Peers: 30}, rand.NewPCG(seed, 2))
	var m model
	var now Instant
	lives := 0
	id := func() (bt.PeerID, int) { n := 1 + random.IntN(40); return peer(n), n }
	for step := range steps {
		now += Instant(random.Int64N(int64(3 * Second)))
		if random.IntN(500) == 0 {
			now += Instant(random.Int64N(int64(Lifetime)))
		}
		m.expire(now)
		who, n := id()
		switch what := random.IntN(10); {
		case what < 5:
			a := &Announce{
				Swarm: film, Peer: who, Socket: Socket(n), Kind: Kind(random.IntN(2)), Seed: random.IntN(4) == 0,
				Started: random.IntN(20) == 0, PositionMs: random.Int64N(300_000), Want: random.IntN(12) - 1,
			}
			if random.IntN(10) == 0 {
				a.Socket = Socket(1 + random.IntN(40))
			}
			if random.IntN(2) == 0 {
				a.Owner = fmt.Sprint(n % 20) // sometimes the same for two
			}
			if n%7 == 0 {
				a.Group = "apart"
			}
			a.Place = Place{Prefix: uint64(n % 5), Network: uint32(n % 3), Country: uint16(n % 2)}
			a.Account = []string{"", "a", "b", "c"}[n%4]
			for range random.IntN(3) {
				about, _ := id()
				a.Outcomes = append(a.Outcomes, Outcome{about, Fate(random.IntN(6))})
			}
			for range random.IntN(12) * (1 - int(a.Kind)) {
				a.Offers = append(a.Offers, offerID(random.IntN(1000)))
			}
			r, err := s.Announce(now, a)
			trace = append(trace, fmt.Sprint(step, r, err))
			if want := m.admission(a); !errors.Is(err, want) {
				t.Fatalf("seed %d step %d: %v, want %v", seed, step, err, want)
			}
			if err == nil {
				m.drop(func(p *modelPeer) bool { return p.Peer == who && p.Socket != a.Socket })
				if m.at(who) == nil {
					lives++
					m.peers = append(m.peers, modelPeer{life: lives})
				}
				m.announced(t, now, a, r)
			}
		case what == 5:
			s.Leave(film, who, Socket(n))
			m.drop(func(p *modelPeer) bool { return p.Peer == who && p.Socket == Socket(n) })
		case what == 6:
			s.CloseSocket(Socket(n))
			m.drop(func(p *modelPeer) bool { return p.Socket == Socket(n) })
		case what < 9:
			to, _ := id()
			if len(m.pairs) > 0 && random.IntN(4) > 0 {
				p := m.pairs[random.IntN(len(m.pairs))]
				who, to = p.a, p.b
			}
			m.offer(t, s, now, who, to, offerID(1000+random.IntN(1_000_000)))
		default:
			to, _ := id()
			offer := offerID(random.IntN(1000))
			if len(m.offers) > 0 && random.IntN(4) > 0 {
				o := m.offers[random.IntN(len(m.offers))]
				who, to, offer = o.to, o.from, o.id
			}
			m.answer(t, s, now, who, to, offer)
		}
		m.compare(t, s, now)
	}
	return trace
}

func (m *model) admission(a *Announce) error {
	p := m.at(a.Peer)
	if p != nil && p.Socket == a.Socket {
		return nil
	}
	if p != nil && (a.Owner == "" || a.Owner != p.Owner) {
		return ErrTaken
	}
	for i := range m.peers {
		if m.peers[i].Socket == a.Socket {
			return ErrBound
		}
	}
	if p == nil && len(m.peers) >= 30 {
		return ErrFull
	}
	return nil
}

// announced updates the model and checks whom the Set has chosen.
func (m *model) announced(t *testing.T, now Instant, a *Announce, r *Result) {
	t.Helper()
	p := m.at(a.Peer)
	if p == nil {
		p = &m.peers[len(m.peers)-1]
	}
	owner := p.Owner
	p.Announce, p.last = *a, now
	if a.Owner == "" {
		p.Owner = owner
	}
	for _, o := range a.Outcomes {
		m.told(now, p, o)
	}
	if a.Started {
		m.forget(a.Peer)
	}
	if a.Kind == WebTorrent && len(r.Meet) > 0 || a.Kind == Viewer && len(r.Relay) > 0 || len(r.Meet) > MeetMax || len(r.Relay) > min(len(a.Offers), OffersMax) {
		t.Fatalf("too much: %+v", r)
	}
	if a.Want >= 0 && len(r.Meet) > a.Want {
		t.Fatalf("asked for %d, got %d", a.Want, len(r.Meet))
	}
	check := func(to bt.PeerID) *modelPeer {
		other := m.at(to)
		if other == nil || to == a.Peer || other.Seed && a.Seed || other.Group != a.Group || m.barred(now, p, other) {
			t.Fatalf("%q is introduced to %q", a.Peer[:], to[:])
		}
		return other
	}
	strangers := 0
	for i := range m.peers {
		c := &m.peers[i]
		if c.Peer != a.Peer && !(c.Seed && a.Seed) && c.Group == a.Group && !m.barred(now, p, c) && !slices.ContainsFunc(m.pairs, func(q modelPair) bool { return q.a == c.Peer || q.b == c.Peer }) {
			strangers++
		}
	}
	// Somebody without a tie may always be met; a viewer who knows nobody must be given somebody.
	lonely := !slices.ContainsFunc(m.pairs, func(q modelPair) bool { return q.a == a.Peer || q.b == a.Peer })
	if a.Kind == Viewer && lonely && strangers > 0 && a.Want != 0 && len(r.Meet) == 0 {
		t.Fatalf("a viewer without neighbours is given nobody of %d", strangers)
	}
	for i, to := range r.Meet {
		check(to)
		if slices.Contains(r.Meet[:i], to) {
			t.Fatalf("%q twice", to[:])
		}
		for _, q := range m.pairs {
			if (q.a == to && q.b == a.Peer || q.b == to && q.a == a.Peer) && now-q.at < OfferLifetime {
				t.Fatalf("introduced again after %d s", (now-q.at)/Second)
			}
		}
	}
	for _, to := range r.Meet {
		m.pair(modelPair{a: a.Peer, b: to, at: now, open: true})
	}
	for i, x := range r.Relay {
		other := check(x.To)
		if x.Offer != i || x.Socket != other.Socket {
			t.Fatalf("relay %d is %+v", i, x)
		}
		m.offers = append(m.offers, modelOffer{
			from: a.Peer, to: x.To, lives: [2]int{p.life, other.life}, id: a.Offers[i], at: now, answerSocket: other.Socket,
		})
		if n := m.inbox(now, x.To); n > InboxMax {
			t.Fatalf("%d offers for one peer", n)
		}
	}
}

// told takes an outcome: a failure parts the two and bars them, if they were introduced.
func (m *model) told(now Instant, p *modelPeer, o Outcome) {
	other := m.at(o.Peer)
	i := slices.IndexFunc(m.pairs, func(q modelPair) bool {
		return now < q.end() && (q.a == p.Peer && q.b == o.Peer || q.b == p.Peer && q.a == o.Peer)
	})
	switch {
	case other == nil || other == p || i < 0 || slices.Contains(m.pairs[i].told, p.Peer):
	case o.Result == Connected:
		m.pairs[i].answered = true
		m.pairs[i].told = append(m.pairs[i].told, p.Peer)
	default:
		m.pairs = slices.Delete(m.pairs, i, i+1)
		until := now + BarLifetime
		switch o.Result {
		case FailedAnswer:
			until = now + absentLifetime
		case FailedBudget:
			until = now + busyLifetime
		}
		m.bars = append(m.bars, modelBar{p.Peer, o.Peer, [2]int{p.life, other.life}, until})
	}
}

// barred says whether the two could not connect, and one of them has been there since.
func (m *model) barred(now Instant, p, q *modelPeer) bool {
	for i := len(m.bars) - 1; i >= 0; i-- {
		b := &m.bars[i]
		switch {
		case b.a == p.Peer && b.b == q.Peer:
			return now < b.until && (b.lives[0] == p.life || b.lives[1] == q.life)
		case b.a == q.Peer && b.b == p.Peer:
			return now < b.until && (b.lives[0] == q.life || b.lives[1] == p.life)
		}
	}
	return false
}

func (p *modelPair) end() Instant {
	if p.answered {
		return p.at + TieLifetime
	}
	return p.at + OfferLifetime
}

// pair notes an introduction in place of an earlier one of the two.
func (m *model) pair(p modelPair) {
	m.pairs = slices.DeleteFunc(m.pairs, func(q modelPair) bool { return q.a == p.a && q.b == p.b || q.a == p.b && q.b == p.a })
	m.pairs = append(m.pairs, p)
}

func (m *model) offer(t *testing.T, s *Set, now Instant, from, to bt.PeerID, id OfferID) {
	t.Helper()
	p, other := m.at(from), m.at(to)
	socket := Socket(1)
	if p != nil {
		socket = p.Socket
	}
	var want error
	i := slices.IndexFunc(m.pairs, func(q modelPair) bool { return q.a == from && q.b == to && q.open && now-q.at < OfferLifetime })
	switch {
	case p == nil || other == nil:
		want = ErrNotMember
	case i < 0:
		want = ErrNotIntroduced
	case m.inbox(now, to) >= InboxMax:
		want = ErrBusy
	}
	got, err := s.Offer(now, film, from, socket, to, id)
	if !errors.Is(err, want) || err == nil && got != other.Socket {
		t.Fatalf("offer: socket %d, %v, want %v", got, err, want)
	}
	if err == nil {
		m.pairs[i].open = false
		m.offers = append(m.offers, modelOffer{from: from, to: to, lives: [2]int{p.life, other.life}, id: id, at: now, answerSocket: other.Socket})
	}
}

func (m *model) answer(t *testing.T, s *Set, now Instant, from, to bt.PeerID, id OfferID) {
	t.Helper()
	p := m.at(from)
	socket := Socket(1)
	if p != nil {
		socket = p.Socket
	}
	i := slices.IndexFunc(m.offers, func(o modelOffer) bool { return o.from == to && o.to == from && o.id == id })
	allowed := i >= 0 && p != nil && now-m.offers[i].at < OfferLifetime
	if allowed {
		offerer := m.at(to)
		allowed = offerer != nil && offerer.life == m.offers[i].lives[0]
	}
	got, err := s.Answer(now, film, from, socket, to, id)
	if (err == nil) != allowed || err == nil && got != m.at(to).Socket {
		t.Fatalf("answer: socket %d, %v, allowed %v", got, err, allowed)
	}
	if i >= 0 {
		m.offers = slices.Delete(m.offers, i, i+1)
	}
	if err == nil {
		m.pair(modelPair{a: from, b: to, at: now, answered: true})
	}
}

func (m *model) compare(t *testing.T, s *Set, now Instant) {
	t.Helper()
	var want Counts
	for i := range m.peers {
		if m.peers[i].Seed {
			want.Complete++
		} else {
			want.Incomplete++
		}
	}
	if got := s.Counts(now, film); got != want {
		t.Fatalf("counts %+v, want %+v", got, want)
	}
	for _, w := range s.swarms {
		for slot, x := range w.members {
			for kind, at := range x.shelves {
				if on := at.shelf != nil && (at.slot >= len(at.shelf.members) || at.shelf.members[at.slot] != x); on {
					t.Fatalf("member %q is not where it stands on shelf %d", x.id[:], kind)
				}
			}
			if standing := x.shelves[bySeed].shelf != nil; standing == x.full() {
				t.Fatalf("member %q with %d ties is on a shelf: %v", x.id[:], len(x.ties), standing)
			}
			if x.slot != slot || w.index[x.id] != x || x.gone {
				t.Fatalf("member %q is out of place", x.id[:])
			}
			for _, tie := range x.ties {
				if tie.other.gone || tie.other.tie(x) == nil {
					t.Fatalf("%q has half a tie", x.id[:])
				}
			}
			if len(x.ties) > tiesMax || len(x.inbox) > InboxMax {
				t.Fatalf("%q has %d ties, %d offers", x.id[:], len(x.ties), len(x.inbox))
			}
		}
	}
}
