package swarm

import (
	"cmp"
	"math/bits"
	"slices"
)

// meet chooses whom the viewer m makes offers to: three in four from those slightly ahead of it in the film, who hold
// what it will want next, the others at random, so that the swarm hangs together and no neighbourhood closes itself.
func (s *Set) meet(now Instant, m *member, want int) {
	asked := want > 0
	if want < 0 {
		want = NeighboursGoal - len(m.ties)
	}
	want = min(want, MeetMax)
	if want <= 0 {
		return
	}
	candidates := s.candidates(now, m, func(c *member) bool {
		if t := m.tie(c); t != nil {
			return asked && now-t.at >= OfferLifetime
		}
		return len(m.ties) < NeighboursMax && len(c.ties) < NeighboursMax
	})

	ahead := s.ahead[:0]
	for _, c := range candidates {
		if d := c.position - m.position; c.kind == Viewer && !c.seed && 0 <= d && d <= near {
			ahead = append(ahead, c)
		}
	}
	s.ahead = ahead
	// The candidates come shuffled, and the sort is stable: equals stay in random order.
	slices.SortStableFunc(ahead, func(a, b *member) int {
		return cmp.Or(
			cmp.Compare(otherRendition(m, a), otherRendition(m, b)),
			cmp.Compare((a.position-m.position)/step, (b.position-m.position)/step),
			cmp.Compare(b.uplink, a.uplink),
		)
	})
	for _, c := range ahead[:min(len(ahead), want-want/4)] {
		s.introduce(now, m, c)
	}
	for _, c := range candidates {
		if len(s.result.Meet) == want {
			break
		}
		if !slices.Contains(s.result.Meet, c.id) {
			s.introduce(now, m, c)
		}
	}
	clear(candidates)
	clear(ahead)
}

func (s *Set) introduce(now Instant, m, c *member) {
	if m.tie(c) == nil && len(m.ties) >= NeighboursMax {
		return
	}
	m.acquaint(c, now, true)
	s.result.Meet = append(s.result.Meet, c.id)
}

func otherRendition(m, c *member) int {
	if c.rendition == m.rendition {
		return 0
	}
	return 1
}

// relay gives each of m's offers to another peer, at random; last to those with whom it has one answered already.
func (s *Set) relay(now Instant, m *member, offers []OfferID) {
	if len(offers) == 0 {
		return
	}
	candidates := s.candidates(now, m, func(c *member) bool {
		return c.kind != Viewer || len(c.ties) < NeighboursMax || m.tie(c) != nil
	})
	known := func(c *member) bool { t := m.tie(c); return t != nil && t.answered }
	slices.SortStableFunc(candidates, func(a, b *member) int {
		switch ka, kb := known(a), known(b); {
		case ka == kb:
			return 0
		case kb:
			return -1
		}
		return 1
	})
	i := 0
	for _, c := range candidates {
		if i == min(len(offers), OffersMax) {
			break
		}
		if c.expect(now, m, offers[i], InboxUnasked) {
			s.result.Relay = append(s.result.Relay, Relay{Offer: i, To: c.id, Socket: c.socket})
			i++
		}
	}
	clear(candidates)
}

// candidates returns, in random order, the members whom m might meet and to whom ok agrees: of its group, and not
// both seeds, who want nothing of each other. The slice is reused.
func (s *Set) candidates(now Instant, m *member, ok func(*member) bool) []*member {
	all := m.swarm.members
	from := s.below(len(all))
	list := s.scratch[:0]
	for i := range min(len(all), scanMax) {
		c := all[(from+i)%len(all)]
		if c == m || c.group != m.group || c.seed && m.seed {
			continue
		}
		c.prune(now)
		if ok(c) {
			list = append(list, c)
		}
	}
	for i := len(list) - 1; i > 0; i-- {
		j := s.below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
	s.scratch = list
	return list
}

// below draws a number from 0 to n-1. That some come up more often, by n parts in 2⁶⁴, matters to nobody.
func (s *Set) below(n int) int {
	high, _ := bits.Mul64(s.random.Uint64(), uint64(n))
	return int(high)
}
