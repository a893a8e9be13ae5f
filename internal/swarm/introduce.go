package swarm

import (
	"cmp"
	"math/bits"
	"slices"
)

// How an announce chooses.
const (
	// exploring is the part of the introductions, one in so many, that is drawn without regard to use and cost: so the
	// swarm hangs together, and no neighbourhood closes itself.
	exploring = 4
	// outsiders is how many of a viewer's neighbours at least are of other prefixes, and of other accounts, than any one.
	outsiders = 2
	// oneMax is how many neighbours may be of one prefix, or of one account, where there are others.
	oneMax = NeighboursMax / 2
	// nearby is how many are drawn from each shelf of those whom it costs little to reach.
	nearby = 12
	// seedsDrawn is how many seeds are looked at.
	seedsDrawn = 6
	// behind is how far behind, in milliseconds, a viewer still counts as beside: who pressed play a moment later.
	behind = step
)

// candidate is a member that m might meet, and its place in the order: less is better.
type candidate struct {
	*member
	rank uint64
}

// The parts of a rank, from what weighs most to what weighs least.
const (
	rankHard      = 1 << 62 // not expected to connect
	rankUseless   = 1 << 61 // holds little that m will want
	rankRendition = 1 << 60 // another rendition
	rankCost      = 58      // shift: 0 to 3
	rankDistance  = 48      // shift: steps ahead in the film
	rankUplink    = 1<<32 - 1
)

// meet chooses whom the viewer m makes offers to. Three in four are those who hold what it will want next, slightly ahead
// of it in the film, the nearest in the network first; the others are drawn at random, prefix by prefix, so that a
// network full of one's own machines is one among many. Strangers come before those met long ago, whom only who asks
// is given.
func (s *Set) meet(now Instant, m *member, want int) {
	asked := want > 0
	if want < 0 {
		want = NeighboursGoal - len(m.ties)
	}
	want = min(want, MeetMax)
	if want <= 0 {
		return
	}
	s.total = len(m.ties) + want
	s.gather(now, m, want)
	useful := 0
	for useful < len(s.pool) && s.pool[useful].rank < rankUseless {
		useful++
	}
	s.take(now, m, s.pool[:useful], want-want/exploring)
	s.explore(now, m, want)
	s.take(now, m, s.pool, want)
	if asked {
		s.again(now, m, want)
	}
	clear(s.pool)
}

// take introduces the first of a list, until there are want in all.
func (s *Set) take(now Instant, m *member, list []candidate, want int) {
	for i := range list {
		if len(s.result.Meet) >= want {
			return
		}
		if c := list[i].member; s.fits(now, m, c) {
			s.introduce(now, m, c)
		}
	}
}

// explore introduces members drawn at random, prefix by prefix and account by account in turn: however many machines
// somebody brings, they are drawn as one.
func (s *Set) explore(now Instant, m *member, want int) {
	for i := range 4 * want {
		list := m.crowd.parties[i%len(m.crowd.parties)]
		if len(s.result.Meet) >= want || len(list) == 0 {
			return
		}
		b := list[s.below(len(list))]
		if x := b.members[s.below(len(b.members))]; s.eligible(now, m, x) && s.fits(now, m, x) {
			s.introduce(now, m, x)
		}
	}
}

// again introduces m to those whom it met long ago; they may have lost each other since.
func (s *Set) again(now Instant, m *member, want int) {
	old := s.scratch[:0]
	for i := range m.ties {
		if now-m.ties[i].at >= OfferLifetime {
			old = append(old, m.ties[i].other)
		}
	}
	for _, c := range old {
		if len(s.result.Meet) >= want {
			break
		}
		if !(c.seed && m.seed) && !s.spent(now, m, c) {
			s.introduce(now, m, c)
		}
	}
	clear(old)
	s.scratch = old[:0]
}

func (s *Set) introduce(now Instant, m, c *member) {
	s.spend(now, m, c)
	m.acquaint(c, now, true, false)
	s.result.Meet = append(s.result.Meet, c.id)
}

// gather fills the pool with candidates, best first and equals in random order: some from each shelf where useful ones
// stand, and some from all.
func (s *Set) gather(now Instant, m *member, want int) {
	s.turn++
	s.pool = s.pool[:0]
	c, many := m.crowd, 2*want+8
	if m.seed { // wants nothing, and is of use to all
		s.draw(now, m, c.shelves[shelfKey{kind: byPrefix, of: m.place.Prefix}], nearby)
	} else {
		wide := floor(m.offset, near)
		for _, k := range [...]shelfKey{
			{kind: byNear, of: m.place.Prefix}, {kind: byNetwork, of: uint64(m.place.Network)}, {kind: byCountry, of: uint64(m.place.Country)},
		} {
			if k.of == 0 {
				continue
			}
			for k.span = wide; k.span <= wide+1; k.span++ {
				s.draw(now, m, c.shelves[k], nearby)
			}
		}
		here, most := floor(m.offset, step), len(s.pool)+many
		for span := here; span <= here+near/step && len(s.pool) < most; span++ {
			s.draw(now, m, c.shelves[shelfKey{kind: byStep, span: span}], most-len(s.pool))
		}
		s.draw(now, m, c.shelves[shelfKey{kind: byStep, span: here - 1}], most-len(s.pool))
		s.draw(now, m, c.shelves[shelfKey{kind: bySeed, of: 1}], seedsDrawn)
	}
	s.draw(now, m, c.shelves[shelfKey{kind: bySeed, of: 0}], many)
	for i := len(s.pool) - 1; i > 0; i-- {
		j := s.below(i + 1)
		s.pool[i], s.pool[j] = s.pool[j], s.pool[i]
	}
	slices.SortStableFunc(s.pool, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
}

// draw adds up to n eligible members of a shelf to the pool, at random. It looks at few more than that.
func (s *Set) draw(now Instant, m *member, b *shelf, n int) {
	if b == nil || n <= 0 {
		return
	}
	tries, all := 2*n+8, len(b.members)
	if all <= tries {
		tries = all
	}
	from := s.below(all)
	for i := range tries {
		if n == 0 {
			return
		}
		at := (from + i) % all
		if all > tries {
			at = s.below(all)
		}
		x := b.members[at]
		if x.mark == s.turn {
			continue
		}
		x.mark = s.turn
		if s.eligible(now, m, x) {
			s.pool = append(s.pool, candidate{x, s.rank(now, m, x)})
			n--
		}
	}
}

// eligible says whether m might be introduced to c, a member of its crowd, as a stranger.
func (s *Set) eligible(now Instant, m, c *member) bool {
	if c == m || c.seed && m.seed {
		return false
	}
	c.prune(now)
	return m.tie(c) == nil && !c.full() && !barred(now, m, c) && !s.spent(now, m, c)
}

// fits says whether one more introduction, of m to c, leaves both with neighbours from elsewhere, where there are any.
// An account or a prefix that fills a swarm gets half of anybody's places.
func (s *Set) fits(now Instant, m, c *member) bool {
	if m.full() || c.full() || m.tie(c) != nil || s.spent(now, m, c) {
		return false
	}
	most := min(oneMax, max(1, s.total-outsiders))
	prefix := func(x *member) bool { return x.place.Prefix == c.place.Prefix }
	if c.place.Prefix != 0 && m.crowd.others(byPrefix, c) && m.count(prefix) >= most {
		return false
	}
	account := func(x *member) bool { return x.account == c.account }
	if c.account != "" && m.crowd.others(byAccount, c) && m.count(account) >= most {
		return false
	}
	prefix = func(x *member) bool { return x.place.Prefix == m.place.Prefix }
	if m.place.Prefix != 0 && m.crowd.others(byPrefix, m) && c.count(prefix) >= oneMax {
		return false
	}
	account = func(x *member) bool { return x.account == m.account }
	return m.account == "" || !m.crowd.others(byAccount, m) || c.count(account) < oneMax
}

// others says whether there are members with room of another prefix, or account, than m's.
func (c *crowd) others(kind uint8, m *member) bool {
	list := c.parties[kind]
	return len(list) > 1 || len(list) == 1 && list[0] != m.shelves[kind].shelf
}

// count is how many neighbours of m are such.
func (m *member) count(such func(*member) bool) (n int) {
	for i := range m.ties {
		if such(m.ties[i].other) {
			n++
		}
	}
	return n
}

// rank orders candidates for m: less is better.
func (s *Set) rank(now Instant, m, c *member) uint64 {
	r := rankUplink - uint64(min(max(c.uplink, 0), rankUplink))
	r |= uint64(m.place.cost(c.place)) << rankCost
	if s.hard(now, m, c) {
		r |= rankHard
	}
	switch d := c.offset - m.offset; {
	case m.seed:
	case c.kind != Viewer:
		r |= rankUseless
	case c.seed:
		r |= near / 2 / step << rankDistance
	case d < -behind || d > near:
		r |= rankUseless
	default:
		if c.rendition != m.rendition {
			r |= rankRendition
		}
		r |= uint64(max(d, 0)/step) << rankDistance
	}
	return r
}

// payer is whom introductions are counted against: a token bucket.
type payer struct {
	full Instant // when it will be full again
}

// spend counts an introduction of two, each against the other's payer, unless they are the same: what somebody's own
// machines learn of one another is nobody's loss.
func (s *Set) spend(now Instant, m, c *member) {
	if m.payer == c.payer {
		return
	}
	for _, p := range [2]*payer{m.payer, c.payer} {
		if p != nil {
			p.full = max(p.full, now) + s.meetEvery
		}
	}
}

// spent says whether either's payer has met as many as it may for now.
func (s *Set) spent(now Instant, m, c *member) bool {
	if m.payer == c.payer {
		return false
	}
	for _, p := range [2]*payer{m.payer, c.payer} {
		if p.exhausted(now, s.meetEvery, s.limits.MeetPerHour/2) {
			return true
		}
	}
	return false
}

func (p *payer) exhausted(now, every Instant, burst int) bool {
	return p != nil && p.full-now > Instant(burst-1)*every
}

// relay gives each of m's offers to another peer, at random; last to those with whom it has one answered already.
func (s *Set) relay(now Instant, m *member, offers []OfferID) {
	if len(offers) == 0 {
		return
	}
	most := min(len(offers), OffersMax)
	s.turn++
	list := s.scratch[:0]
	for seed := range uint64(2) {
		b := m.crowd.shelves[shelfKey{kind: bySeed, of: seed}]
		if b == nil || m.seed && seed == 1 {
			continue
		}
		all := len(b.members)
		tries := min(all, 4*most+8)
		from := s.below(all)
		for i := range tries {
			at := (from + i) % all
			if all > tries {
				at = s.below(all)
			}
			c := b.members[at]
			if c.mark == s.turn || c == m {
				continue
			}
			c.mark = s.turn
			c.prune(now)
			if t := m.tie(c); (t == nil || !t.answered) && !barred(now, m, c) {
				list = append(list, c)
			}
		}
	}
	for i := len(list) - 1; i > 0; i-- {
		j := s.below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
	for i := range m.ties {
		if t := &m.ties[i]; t.answered && !(t.other.seed && m.seed) {
			list = append(list, t.other)
		}
	}
	i := 0
	for _, c := range list {
		if i == most {
			break
		}
		if !s.spent(now, m, c) && c.expect(now, m, offers[i], InboxUnasked) {
			s.spend(now, m, c)
			s.result.Relay = append(s.result.Relay, Relay{Offer: i, To: c.id, Socket: c.socket})
			i++
		}
	}
	clear(list)
	s.scratch = list[:0]
}

// below draws a number from 0 to n-1. That some come up more often, by n parts in 2⁶⁴, matters to nobody.
func (s *Set) below(n int) int {
	high, _ := bits.Mul64(s.random.Uint64(), uint64(n))
	return int(high)
}
