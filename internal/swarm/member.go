package swarm

import (
	"slices"

	"essaim/internal/bt"
)

// member is a peer in one swarm.
type member struct {
	swarm     *swarm
	slot      int // in swarm.members
	id        bt.PeerID
	socket    Socket
	kind      Kind
	seed      bool
	completed bool
	gone      bool // has left; only offers that it made may still name it
	offset    int64
	rendition int
	uplink    int
	place     Place
	owner     string
	account   string
	payer     *payer // nil: its introductions are not counted
	ties      []tie
	due       Instant // no tie ends before
	bars      bars
	paths     tally // what it said itself of connecting
	inbox     []pending

	crowd   *crowd
	cohort  cohort // the zero value: none yet
	shelves [kinds]standing
	mark    uint64 // the last Set.turn that looked at it

	last         Instant // announce
	older, newer *member
}

// tie joins two members that were introduced, or whose offer was answered; each has its half.
type tie struct {
	other    *member
	at       Instant // introduced, or answered
	offer    bool    // this member was told to make an offer, and has not done so
	answered bool
	told     bool // this member has told what became of it
}

// pending is an offer that a member was given and has not answered.
type pending struct {
	from *member
	id   OfferID
	at   Instant
}

// end is when the tie is over.
func (t *tie) end() Instant {
	if t.answered {
		return t.at + TieLifetime
	}
	return t.at + OfferLifetime
}

func (t *tie) expired(now Instant) bool { return now >= t.end() }

// tie returns m's half of the tie to other, nil for none. It holds until m's ties change.
func (m *member) tie(other *member) *tie {
	for i := range m.ties {
		if m.ties[i].other == other {
			return &m.ties[i]
		}
	}
	return nil
}

// acquaint ties m to other, anew if they know each other; with offer, m is the one to make an offer; answered, it was made already.
func (m *member) acquaint(other *member, now Instant, offer, answered bool) {
	known := m.forget(other)
	if known {
		other.forget(m)
	}
	for _, one := range [2]*member{m, other} {
		if len(one.ties) == tiesMax {
			one.part(one.ties[0].other)
		}
	}
	m.ties = append(m.ties, tie{other: other, at: now, offer: offer, answered: answered})
	other.ties = append(other.ties, tie{other: m, at: now, answered: answered})
	m.due, other.due = min(m.due, now+OfferLifetime), min(other.due, now+OfferLifetime)
	if !known { // else both have as many as before
		m.recount()
		other.recount()
	}
}

// forget takes m's half of a tie away, and says whether there was one.
func (m *member) forget(other *member) bool {
	for i := range m.ties {
		if m.ties[i].other == other {
			m.ties = slices.Delete(m.ties, i, i+1)
			return true
		}
	}
	return false
}

// part forgets the tie between m and other, if there is one.
func (m *member) part(other *member) {
	if m.forget(other) {
		other.forget(m)
		m.recount()
		other.recount()
	}
}

// full says whether m has as many neighbours as it is given.
func (m *member) full() bool {
	if m.kind == Viewer {
		return len(m.ties) >= NeighboursMax
	}
	return len(m.ties) >= torrentMax
}

// recount takes a member that has become full from the shelves, and puts back one that has room again.
func (m *member) recount() {
	if standing := m.shelves[bySeed].shelf != nil; standing == m.full() && m.crowd != nil {
		m.shelve()
	}
}

// join puts m into the crowd of a group, and takes it out of the one where it was. An empty name is a group too.
func (m *member) join(group string) {
	m.quit()
	c := m.swarm.crowds[group]
	if c == nil {
		c = &crowd{group: group, shelves: make(map[shelfKey]*shelf)}
		m.swarm.crowds[group] = c
	}
	c.members++
	m.crowd, m.cohort = c, cohort{}
}

// quit takes m out of its crowd.
func (m *member) quit() {
	c := m.crowd
	if c == nil {
		return
	}
	for k := range m.shelves {
		if m.shelves[k].shelf != nil {
			c.take(&m.shelves[k])
		}
	}
	m.crowd = nil
	if c.members--; c.members == 0 {
		delete(m.swarm.crowds, c.group)
	}
}

// untie forgets all of m's ties.
func (m *member) untie() {
	for len(m.ties) > 0 {
		m.part(m.ties[len(m.ties)-1].other)
	}
}

// prune forgets the ties whose time is over. Both halves age alike.
func (m *member) prune(now Instant) {
	if now < m.due {
		return
	}
	m.due = now + OfferLifetime
	for i := len(m.ties) - 1; i >= 0; i-- {
		if t := &m.ties[i]; t.expired(now) {
			m.part(t.other)
		} else {
			m.due = min(m.due, t.end())
		}
	}
}

// expect notes that m was given an offer; false if it has limit already, or this one.
func (m *member) expect(now Instant, from *member, id OfferID, limit int) bool {
	m.inbox = slices.DeleteFunc(m.inbox, func(p pending) bool { return p.from.gone || now-p.at >= OfferLifetime })
	if len(m.inbox) >= limit {
		return false
	}
	for i := range m.inbox {
		if m.inbox[i].from == from && m.inbox[i].id == id {
			return false
		}
	}
	m.inbox = append(m.inbox, pending{from: from, id: id, at: now})
	return true
}

// answer takes an offer out of m's inbox and returns who made it, nil if there is none.
func (m *member) answer(now Instant, from bt.PeerID, id OfferID) *member {
	for i, p := range m.inbox {
		if p.from.id == from && p.id == id {
			m.inbox = slices.Delete(m.inbox, i, i+1)
			if now-p.at >= OfferLifetime {
				return nil
			}
			return p.from
		}
	}
	return nil
}

func (m *member) setSeed(seed bool) {
	if m.seed == seed {
		return
	}
	m.seed = seed
	if c := &m.swarm.counts; seed {
		c.Complete, c.Incomplete = c.Complete+1, c.Incomplete-1
	} else {
		c.Complete, c.Incomplete = c.Complete-1, c.Incomplete+1
	}
}
