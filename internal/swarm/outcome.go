package swarm

import (
	"slices"

	"essaim/internal/bt"
)

// Outcome is what a peer tells of an introduction: what became of the connection.
type Outcome struct {
	Peer   bt.PeerID
	Result Fate
}

// Fate is what became of an introduction.
type Fate uint8

// The fates, in the order in which a connection passes through them.
const (
	// Connected: the channel opened and both said their handshake.
	Connected Fate = iota
	// FailedAnswer: the offer was not answered.
	FailedAnswer
	// FailedICE: no path was found between the two (RFC 8445).
	FailedICE
	// FailedDTLS: there was a path, and the handshake on it failed (RFC 8827).
	FailedDTLS
	// FailedChannel: the connection stood, and no data channel opened.
	FailedChannel
	// FailedBudget: one of the two had no connection to spare; nothing is wrong with the pair.
	FailedBudget
)

// What is learned, how much of it, and for how long.
const (
	// OutcomesMax is how many outcomes of one announce are looked at.
	OutcomesMax = 64
	// BarLifetime is how long a pair that cannot connect is not proposed again: longer than most films.
	BarLifetime = 3 * 3600 * Second
	// absentLifetime is the same where an offer was not answered, which may have been a moment's fault.
	absentLifetime = 600 * Second
	// busyLifetime is the same where one had no connection to spare.
	busyLifetime = 120 * Second
	// barsMax is how many failed peers are remembered of one member; beyond, the one nearest its end is forgotten.
	barsMax = 64

	// A pair of networks, or a member, is thought hard to connect once so many have failed and few have not.
	poorNetworks = 8
	poorMember   = 4
	// routesMax is how many pairs of networks are remembered; beyond, the oldest is forgotten.
	routesMax = 4096
	// routeLifetime is how long a pair of networks is believed what it was found to be.
	routeLifetime = 3600 * Second
	// tallyMax is where both counts are halved, so that what is new outweighs what is old.
	tallyMax = 64
)

// bar is a peer that a member shall not be introduced to.
type bar struct {
	peer  bt.PeerID
	until Instant
	told  bool // the member said itself that they could not connect; else the peer did
}

// tally counts how connections came out.
type tally struct{ good, bad uint8 }

func (t *tally) add(good bool) {
	if good {
		t.good++
	} else {
		t.bad++
	}
	if t.good >= tallyMax || t.bad >= tallyMax {
		t.good, t.bad = t.good/2, t.bad/2
	}
}

// poor says whether nearly all failed, of at least so many.
func (t tally) poor(least uint8) bool { return t.bad >= least && int(t.bad) > 8*int(t.good) }

// route is what is known of connections between two networks.
type route struct {
	tally
	since Instant
}

// routeKey names two networks, the lesser first; of one network with itself both are the same.
type routeKey [2]uint32

func routeOf(a, b *member) (k routeKey, known bool) {
	x, y := a.place.Network, b.place.Network
	return routeKey{min(x, y), max(x, y)}, x != 0 && y != 0
}

// learn takes in what m tells of the introductions that it had. Only the first word of a pair counts, only between those
// who were introduced, and only for whoever says it: nobody can make others look hard to reach.
func (s *Set) learn(now Instant, m *member, told []Outcome) {
	for _, o := range told[:min(len(told), OutcomesMax)] {
		c := m.swarm.index[o.Peer]
		if c == nil || c == m {
			continue
		}
		t := m.tie(c)
		if t == nil {
			m.confirm(c.id, o.Result)
			continue
		}
		if t.told {
			continue
		}
		other := c.tie(m)
		if o.Result == Connected {
			t.told, t.answered, other.answered = true, true, true
			m.paths.add(true)
			if !other.told {
				s.found(now, m, c, true)
			}
			continue
		}
		lifetime := BarLifetime
		switch o.Result {
		case FailedICE:
			m.paths.add(false)
			s.found(now, m, c, false)
		case FailedAnswer:
			lifetime = absentLifetime
		case FailedBudget:
			lifetime = busyLifetime
		}
		m.part(c)
		m.bar(now, c.id, lifetime, true)
		c.bar(now, m.id, lifetime, false)
	}
}

// confirm takes m's word for a failure that the other side told before.
func (m *member) confirm(peer bt.PeerID, f Fate) {
	for i := range m.bars {
		if b := &m.bars[i]; b.peer == peer && !b.told {
			b.told = true
			if f == FailedICE {
				m.paths.add(false)
			}
		}
	}
}

// found counts a path between two networks that was, or was not.
func (s *Set) found(now Instant, m, c *member, path bool) {
	k, known := routeOf(m, c)
	if !known {
		return
	}
	r := s.routes.get(k)
	if r == nil {
		r = s.routes.add(k)
		r.since = now
	} else if now-r.since >= routeLifetime {
		*r = route{since: now}
	}
	r.add(path)
}

// hard says whether a connection between the two is not to be expected: their networks have refused each other, or each
// of them finds no path to nearly anybody, as behind routers that give every destination another port.
func (s *Set) hard(now Instant, m, c *member) bool {
	if m.paths.poor(poorMember) && c.paths.poor(poorMember) {
		return true
	}
	k, known := routeOf(m, c)
	if !known {
		return false
	}
	r := s.routes.get(k)
	return r != nil && now-r.since < routeLifetime && r.poor(poorNetworks)
}

// bar keeps a peer from being proposed to m for a time.
func (m *member) bar(now Instant, peer bt.PeerID, lifetime Instant, told bool) {
	m.bars = slices.DeleteFunc(m.bars, func(b bar) bool { return b.peer == peer || now >= b.until })
	if len(m.bars) == barsMax {
		first := 0
		for i := range m.bars {
			if m.bars[i].until < m.bars[first].until {
				first = i
			}
		}
		m.bars = slices.Delete(m.bars, first, first+1)
	}
	m.bars = append(m.bars, bar{peer, now + lifetime, told})
}

// barred says whether either of the two remembers that they cannot connect.
func barred(now Instant, m, c *member) bool { return m.bars.has(now, c.id) || c.bars.has(now, m.id) }

type bars []bar

func (b bars) has(now Instant, peer bt.PeerID) bool {
	for i := range b {
		if b[i].peer == peer {
			return now < b[i].until
		}
	}
	return false
}

// memory is a map of at most so many entries: a new one takes the place of the oldest.
type memory[K comparable, V any] struct {
	most    int
	entries map[K]*V
	order   []K
	next    int // the oldest in order, once there are most
}

func newMemory[K comparable, V any](most int) memory[K, V] {
	return memory[K, V]{most: most, entries: make(map[K]*V)}
}

func (m *memory[K, V]) get(k K) *V { return m.entries[k] }

// add makes an entry for a key that has none.
func (m *memory[K, V]) add(k K) *V {
	if len(m.order) < m.most {
		m.order = append(m.order, k)
	} else {
		delete(m.entries, m.order[m.next])
		m.order[m.next] = k
		m.next = (m.next + 1) % m.most
	}
	v := new(V)
	m.entries[k] = v
	return v
}
