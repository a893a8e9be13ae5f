package swarm

// Place says where a peer is in the network, as far as its address tells; zero values are what is not known. Places are
// hints from a database that may be old or wrong: they order whom to introduce, and bound how many come from one
// network, and nothing else rests on them.
type Place struct {
	Prefix  uint64 // the /24 of an IPv4 address, the /48 of an IPv6 one, as the caller codes it
	Network uint32 // autonomous system number
	Country uint16 // two letters, as the caller codes them
}

// cost says how far a connection between two places reaches. What is unknown is far.
func (p Place) cost(q Place) int {
	switch {
	case p.Prefix != 0 && p.Prefix == q.Prefix:
		return samePrefix
	case p.Network != 0 && p.Network == q.Network:
		return sameNetwork
	case p.Country != 0 && p.Country == q.Country:
		return sameCountry
	}
	return elsewhere
}

const (
	samePrefix = iota
	sameNetwork
	sameCountry
	elsewhere
)

// crowd is those of a swarm who may meet: a group. Its shelves hold the members that have room for one more neighbour,
// by what one looks for, so that an announce looks at a few of each instead of at everybody.
type crowd struct {
	group   string
	members int
	shelves map[shelfKey]*shelf
	parties [parties][]*shelf // those of kinds byPrefix and byAccount, in no order
	latest  cohort
}

// cohort is viewers in step with one another. Only the latest of a crowd takes newcomers in.
type cohort struct {
	Cohort       // Place is unused
	offset int64 // of the first of them
}

// inStep is how far apart, in milliseconds of film, the members of a cohort may be from its first.
const inStep = 2_000

func (c *cohort) takes(m *member) bool {
	d := m.offset - c.offset
	return c.ID != 0 && -inStep <= d && d <= inStep
}

// count gives a viewer its place in a cohort: the one that it has while it keeps in step, else the next of the latest, which is a new one
// where it is not in step with that.
func (s *Set) count(m *member) Cohort {
	if m.cohort.takes(m) {
		if latest := &m.crowd.latest; latest.ID == m.cohort.ID {
			m.cohort.Size = latest.Size
		}
		return m.cohort.Cohort
	}
	latest := &m.crowd.latest
	if !latest.takes(m) {
		*latest = cohort{Cohort{ID: uint32(s.random.Uint64()) | 1}, m.offset}
	}
	m.cohort = *latest
	m.cohort.Place = latest.Size
	latest.Size++
	m.cohort.Size = latest.Size
	return m.cohort.Cohort
}

// shelf is a list of members of which some are drawn at random.
type shelf struct {
	key     shelfKey
	slot    int // in crowd.parties
	members []*member
}

type shelfKey struct {
	kind uint8
	of   uint64
	span int64  // of positions
	name string // of an account
}

// The kinds of shelf. A member with room stands on one of each kind that its place and its position make sense of.
const (
	byPrefix  uint8 = iota // also of those whose prefix is unknown, 0
	byAccount              // also of those whose account is unknown
	bySeed                 // of = 1: seeds, 0: others
	byStep                 // our viewers who are no seeds, by position
	byNear                 // the same of one prefix, by position in wider spans
	byNetwork              // of one network
	byCountry              // of one country
	kinds

	// parties are the kinds by which members may belong together to somebody.
	parties = byAccount + 1
)

// shelve puts m on the shelves where it belongs now, and takes it from all others.
func (m *member) shelve() {
	var keys [kinds]shelfKey
	var on [kinds]bool
	if !m.gone && !m.full() {
		seed := uint64(0)
		if m.seed {
			seed = 1
		}
		keys[bySeed], on[bySeed] = shelfKey{kind: bySeed, of: seed}, true
		keys[byPrefix], on[byPrefix] = shelfKey{kind: byPrefix, of: m.place.Prefix}, true
		keys[byAccount], on[byAccount] = shelfKey{kind: byAccount, name: m.account}, true
		if m.kind == Viewer && !m.seed {
			wide := floor(m.offset, near)
			keys[byStep], on[byStep] = shelfKey{kind: byStep, span: floor(m.offset, step)}, true
			keys[byNear], on[byNear] = shelfKey{kind: byNear, of: m.place.Prefix, span: wide}, m.place.Prefix != 0
			keys[byNetwork], on[byNetwork] = shelfKey{kind: byNetwork, of: uint64(m.place.Network), span: wide}, m.place.Network != 0
			keys[byCountry], on[byCountry] = shelfKey{kind: byCountry, of: uint64(m.place.Country), span: wide}, m.place.Country != 0
		}
	}
	for k := range keys {
		at := &m.shelves[k]
		if at.shelf != nil && (!on[k] || at.shelf.key != keys[k]) {
			m.crowd.take(at)
		}
		if on[k] && at.shelf == nil {
			m.crowd.put(m, uint8(k), keys[k])
		}
	}
}

// standing is a member's place on a shelf.
type standing struct {
	shelf *shelf
	slot  int
}

func (c *crowd) put(m *member, kind uint8, key shelfKey) {
	b := c.shelves[key]
	if b == nil {
		b = &shelf{key: key}
		c.shelves[key] = b
		if kind < parties {
			b.slot = len(c.parties[kind])
			c.parties[kind] = append(c.parties[kind], b)
		}
	}
	m.shelves[kind] = standing{b, len(b.members)}
	b.members = append(b.members, m)
}

func (c *crowd) take(at *standing) {
	b := at.shelf
	end := len(b.members) - 1
	last := b.members[end]
	b.members[at.slot] = last
	last.shelves[b.key.kind].slot = at.slot
	b.members[end] = nil
	b.members = b.members[:end]
	*at = standing{}
	if end > 0 {
		return
	}
	delete(c.shelves, b.key)
	if b.key.kind < parties {
		list := &c.parties[b.key.kind]
		other := (*list)[len(*list)-1]
		(*list)[b.slot], other.slot = other, b.slot
		(*list)[len(*list)-1] = nil
		*list = (*list)[:len(*list)-1]
	}
}

// floor divides, rounding down also below zero.
func floor(a, by int64) int64 {
	q := a / by
	if a%by < 0 {
		q--
	}
	return q
}
