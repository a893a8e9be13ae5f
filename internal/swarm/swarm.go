// Package swarm is the tracker's memory: who is in which swarm, whom to introduce to whom, and who may answer which
// offer. Announces go in, introductions come out.
//
// It must get right: that a peer ID belongs to the socket which claimed it first, until that leaves or its proven owner
// comes back on another; that an offer
// reaches only whom the tracker chose, and is answered only by that peer, once, within OfferLifetime; and that
// everything is bounded, per swarm, per socket and per peer. It is pure: now and a random source come in from
// outside, no decision follows the order of a map, and the same calls give the same answers. Not safe for concurrent
// use: its owner holds a lock.
package swarm

import (
	"errors"

	"essaim/internal/bt"
)

// Instant is a moment on the owner's monotonic clock, in microseconds since an epoch of its choosing.
type Instant int64

// Second is one second of an Instant.
const Second Instant = 1_000_000

const millisecond = Second / 1000

// What is remembered, and for how long.
const (
	// Lifetime is how long a peer stays after its last announce: two announces of 120 s may go missing.
	Lifetime = 240 * Second
	// OfferLifetime is how long an offer may be answered, and an introduction be used (clients give up after 50 s).
	OfferLifetime = 60 * Second
	// TieLifetime is how long two peers whose offer was answered count as neighbours. Then they may be introduced
	// again: the tracker cannot see whether their connection ever came about, or still stands.
	TieLifetime = 300 * Second
)

// How many are introduced.
const (
	// MeetMax is the most introductions that one announce brings.
	MeetMax = 16
	// NeighboursGoal is up to where a viewer is given others to make offers to. As newcomers find it too, the
	// mean comes to twice this.
	NeighboursGoal = 10
	// NeighboursMax is where a viewer is no longer given to others.
	NeighboursMax = 24
	// torrentMax is the same for a WebTorrent client, which counts its connections itself.
	torrentMax = 48
	// OffersMax is how many offers of one announce are passed on.
	OffersMax = 10
	// InboxMax is how many unanswered offers one peer is given at a time: each costs a browser a connection.
	InboxMax = 32
	// InboxUnasked is how many of these may be offers that nobody told their sender to make: whoever sends many of them does
	// not keep viewers from meeting.
	InboxUnasked = 16
	// tiesMax bounds what is remembered of one peer's acquaintances; beyond, the oldest is forgotten.
	tiesMax = 64
	// near is how far ahead in the film, in milliseconds, another viewer has most surely kept what we shall want.
	near = 120_000
	// step is what positions are compared in, in milliseconds: nobody is better for being half a second closer.
	step = 10_000
)

// Unknown is the value of Announce.Want when the peer did not say.
const Unknown = -1

// Socket names a connection to the tracker. Its owner never reuses one.
type Socket uint64

// OfferID names an offer among those of one peer.
type OfferID [20]byte

// Kind says how a peer wants to be introduced.
type Kind uint8

// The kinds of peer.
const (
	// WebTorrent: any client of WebTorrent's protocol; it sends offers for whomever the tracker chooses.
	WebTorrent Kind = iota
	// Viewer: our own; it is told whom to meet and makes an offer to each.
	Viewer
)

// Limits bound a Set. Zero values mean the defaults.
type Limits struct {
	Peers           int // in one swarm; 10,000
	SwarmsPerSocket int // 16
	// MeetPerHour is how many peers whoever pays for a peer's introductions may be introduced to within any hour, half
	// of them at once; 500. Who collects addresses gets no more.
	MeetPerHour int
}

// Announce is what a peer tells of itself.
type Announce struct {
	Swarm      bt.InfoHash
	Peer       bt.PeerID
	Socket     Socket
	Kind       Kind
	Seed       bool
	Started    bool   // it starts anew: whom it met before is forgotten
	Completed  bool   // it has just become a seed
	PositionMs int64  // play head, milliseconds of film
	Rendition  int    // file index
	UplinkKbps int    // 0: unknown
	Place      Place  // where it is in the network, as far as is known
	Group      string // only peers of the same group meet, for instance those of one rehearsal
	// Account is whose the peer is, as a ticket proves; empty: not known. Of one account come at most half of anybody's
	// neighbours, as of one prefix, where there are others.
	Account string
	// Payer is whom its introductions are counted against, an account or an address; empty: they are not counted.
	Payer string
	// Owner is proven by the peer, for instance by a ticket; empty: by nothing. Who proves to be the owner of a peer
	// ID may take it to another socket: so a viewer comes back whose old connection has not been found dead yet.
	Owner string
	// Want is how many introductions a viewer asks for. Unknown fills it up to NeighboursGoal; a number is served
	// up to MeetMax, if need be with peers that it met more than OfferLifetime ago.
	Want   int
	Offers []OfferID // WebTorrent only; of more than OffersMax the rest goes nowhere
	// Outcomes are what became of earlier introductions, as far as the peer has not told; of more than OutcomesMax the
	// rest is not heard.
	Outcomes []Outcome
}

// Result is what follows from an announce. Its slices are reused by the next.
type Result struct {
	Counts
	Meet []bt.PeerID // Viewer: whom to make an offer to
	// Cohort is a viewer's; those who seed are in none.
	Cohort Cohort
	Relay  []Relay // WebTorrent: which offer goes to whom
	Spent  bool    // the Payer has been introduced to as many as it may for now
}

// Cohort is a viewer's place among those who are in step with it. They will all want the same at the same time, and share the work of
// fetching it from the origin by their places.
type Cohort struct {
	ID    uint32 // drawn at random; 0: in none
	Place uint32 // from 0, in the order in which they came
	Size  uint32 // how many have come so far
}

// Relay sends the announce's offer number Offer to a peer.
type Relay struct {
	Offer  int
	To     bt.PeerID
	Socket Socket
}

// Counts says how many peers a swarm has.
type Counts struct {
	Complete   int // seeds
	Incomplete int // others
	Downloaded int // how often a peer said that it had completed, since the swarm last was empty
}

// Why something is refused.
var (
	// ErrTaken: another socket holds this peer ID, and the Owner is not the same.
	ErrTaken = errors.New("peer_id is taken")
	// ErrBound: this socket has another peer ID in this swarm.
	ErrBound = errors.New("the connection has another peer_id in this swarm")
	// ErrSwarms: this socket is in as many swarms as it may be.
	ErrSwarms = errors.New("too many swarms on one connection")
	// ErrFull: the swarm has as many peers as it may have.
	ErrFull = errors.New("swarm is full")
	// ErrNotMember: the sender is not in the swarm, or its addressee has left.
	ErrNotMember = errors.New("no such peer in the swarm")
	// ErrNotIntroduced: the tracker did not, or not lately, tell the sender to make this offer; or it made it already.
	ErrNotIntroduced = errors.New("not introduced")
	// ErrNoOffer: no such offer waits for the sender's answer.
	ErrNoOffer = errors.New("no such offer")
	// ErrBusy: the addressee has more offers than it can answer.
	ErrBusy = errors.New("peer has too many offers")
)

// Set is a set of swarms. Use New.
type Set struct {
	limits  Limits
	random  Random
	swarms  []*swarm
	index   map[bt.InfoHash]*swarm
	sockets map[Socket][]*member
	// Members by their last announce; the clock only moves forward, so appending keeps the order.
	oldest, newest *member
	result         Result
	payers         memory[string, payer]
	routes         memory[routeKey, route]
	meetEvery      Instant // between introductions, once the first half of an hour's is used up

	// Of the announce at hand.
	turn    uint64
	total   int // neighbours and introductions wanted
	pool    []candidate
	scratch []*member
}

type swarm struct {
	hash    bt.InfoHash
	slot    int // in Set.swarms
	members []*member
	index   map[bt.PeerID]*member
	crowds  map[string]*crowd // by group
	counts  Counts
}

// payersMax bounds how many payers are remembered; beyond, the oldest is forgotten.
const payersMax = 1 << 16

// Random is a seeded generator of uniformly distributed numbers, such as math/rand/v2's PCG.
type Random interface {
	Uint64() uint64
}

// New returns an empty set that draws from random.
func New(limits Limits, random Random) *Set {
	if limits.Peers == 0 {
		limits.Peers = 10_000
	}
	if limits.SwarmsPerSocket == 0 {
		limits.SwarmsPerSocket = 16
	}
	if limits.MeetPerHour == 0 {
		limits.MeetPerHour = 500
	}
	return &Set{
		limits:    limits,
		random:    random,
		index:     make(map[bt.InfoHash]*swarm),
		sockets:   make(map[Socket][]*member),
		payers:    newMemory[string, payer](payersMax),
		routes:    newMemory[routeKey, route](routesMax),
		meetEvery: 3600 * Second / Instant(max(1, limits.MeetPerHour/2)),
	}
}

// Announce takes in what a peer tells, and says whom it meets. The Result holds until the next Announce.
// Errors: ErrTaken, ErrBound, ErrSwarms, ErrFull; then nothing has changed.
func (s *Set) Announce(now Instant, a *Announce) (*Result, error) {
	s.Expire(now)
	m, err := s.admit(a)
	if err != nil {
		return nil, err
	}
	m.kind, m.rendition, m.uplink, m.place = a.Kind, a.Rendition, a.UplinkKbps, a.Place
	m.offset = a.PositionMs - int64(now/millisecond)
	if a.Owner != "" {
		m.owner = a.Owner
	}
	s.learn(now, m, a.Outcomes)
	if m.crowd.group != a.Group || a.Started {
		m.untie()
	}
	if m.crowd.group != a.Group {
		m.join(a.Group)
	}
	m.account, m.payer = a.Account, s.payer(a.Payer)
	if a.Completed && !m.completed {
		m.completed = true
		m.swarm.counts.Downloaded++
	}
	m.setSeed(a.Seed)
	s.touch(m, now)
	m.prune(now)
	m.shelve()

	r := s.stand(m)
	if a.Kind == Viewer {
		s.meet(now, m, a.Want)
	} else {
		s.relay(now, m, a.Offers)
	}
	r.Spent = m.payer.exhausted(now, s.meetEvery, s.limits.MeetPerHour/2)
	return r, nil
}

// Renew keeps a peer for another Lifetime, as it last announced itself: its play head has moved with the clock. The Result tells
// how the swarm stands, introduces nobody, and holds until the next Announce. Error: ErrNotMember.
func (s *Set) Renew(now Instant, h bt.InfoHash, id bt.PeerID, socket Socket) (*Result, error) {
	s.Expire(now)
	m := s.find(h, id)
	if m == nil || m.socket != socket {
		return nil, ErrNotMember
	}
	s.touch(m, now)
	return s.stand(m), nil
}

// Has says whether a peer is in a swarm.
func (s *Set) Has(now Instant, h bt.InfoHash, id bt.PeerID) bool {
	s.Expire(now)
	return s.find(h, id) != nil
}

// EachOf calls f for each viewer that the socket is in a swarm as, with how that swarm stands. f must not call the Set.
func (s *Set) EachOf(now Instant, socket Socket, f func(h bt.InfoHash, r *Result)) {
	s.Expire(now)
	for _, m := range s.sockets[socket] {
		if m.kind == Viewer {
			f(m.swarm.hash, s.stand(m))
		}
	}
}

// stand is the Result for a member that meets nobody.
func (s *Set) stand(m *member) *Result {
	r := &s.result
	*r = Result{Counts: m.swarm.counts, Meet: r.Meet[:0], Relay: r.Relay[:0]}
	if m.kind == Viewer && !m.seed {
		r.Cohort = s.count(m)
	}
	return r
}

// payer is whom introductions are counted against, nil for nobody.
func (s *Set) payer(name string) *payer {
	if name == "" {
		return nil
	}
	if p := s.payers.get(name); p != nil {
		return p
	}
	return s.payers.add(name)
}

// admit finds the announcing member, or makes it one.
func (s *Set) admit(a *Announce) (*member, error) {
	w := s.index[a.Swarm]
	var old *member
	if w != nil {
		old = w.index[a.Peer]
	}
	switch {
	case old == nil:
	case old.socket == a.Socket:
		return old, nil
	case a.Owner == "" || a.Owner != old.owner:
		return nil, ErrTaken
	}
	for _, m := range s.sockets[a.Socket] {
		if m.swarm == w {
			return nil, ErrBound
		}
	}
	switch {
	case len(s.sockets[a.Socket]) >= s.limits.SwarmsPerSocket:
		return nil, ErrSwarms
	case old != nil:
		s.remove(old)
		w = s.index[a.Swarm]
	case w != nil && len(w.members) >= s.limits.Peers:
		return nil, ErrFull
	}
	if w == nil {
		w = &swarm{hash: a.Swarm, slot: len(s.swarms), index: make(map[bt.PeerID]*member), crowds: make(map[string]*crowd)}
		s.swarms = append(s.swarms, w)
		s.index[a.Swarm] = w
	}
	m := &member{swarm: w, id: a.Peer, socket: a.Socket, slot: len(w.members)}
	if old != nil { // its ways are the same on another socket
		m.bars, m.paths = old.bars, old.paths
	}
	m.join(a.Group)
	w.members = append(w.members, m)
	w.index[a.Peer] = m
	w.counts.Incomplete++
	s.sockets[a.Socket] = append(s.sockets[a.Socket], m)
	return m, nil
}

// Leave takes a peer out of a swarm at its own wish; the peer ID of another socket stays.
func (s *Set) Leave(h bt.InfoHash, id bt.PeerID, socket Socket) {
	if m := s.find(h, id); m != nil && m.socket == socket {
		s.remove(m)
	}
}

// LeaveSwarm takes whatever peer the socket has in this swarm out of it.
func (s *Set) LeaveSwarm(h bt.InfoHash, socket Socket) {
	for _, m := range s.sockets[socket] {
		if m.swarm.hash == h {
			s.remove(m)
			return
		}
	}
}

// CloseSocket takes the socket's peers out of all their swarms.
func (s *Set) CloseSocket(socket Socket) {
	for ms := s.sockets[socket]; len(ms) > 0; ms = s.sockets[socket] {
		s.remove(ms[len(ms)-1])
	}
}

// Expire takes out the peers that have not announced for Lifetime. Every method that takes now begins with it.
func (s *Set) Expire(now Instant) {
	for s.oldest != nil && now-s.oldest.last >= Lifetime {
		s.remove(s.oldest)
	}
}

// Offer passes an offer from a viewer to the peer that it was told to meet, and returns that peer's socket.
// Errors: ErrNotMember, ErrNotIntroduced, ErrBusy.
func (s *Set) Offer(now Instant, h bt.InfoHash, from bt.PeerID, socket Socket, to bt.PeerID, id OfferID) (Socket, error) {
	s.Expire(now)
	m, other := s.find(h, from), s.find(h, to)
	if m == nil || m.socket != socket || other == nil {
		return 0, ErrNotMember
	}
	t := m.tie(other)
	if t == nil || !t.offer || now-t.at >= OfferLifetime {
		return 0, ErrNotIntroduced
	}
	if !other.expect(now, m, id, InboxMax) {
		return 0, ErrBusy
	}
	t.offer = false
	return other.socket, nil
}

// Far says whether two peers of a swarm are known to be in different networks. Where either's is not known they are not.
func (s *Set) Far(h bt.InfoHash, a, b bt.PeerID) bool {
	m, other := s.find(h, a), s.find(h, b)
	return m != nil && other != nil && m.place.Network != 0 && other.place.Network != 0 && m.place.Network != other.place.Network
}

// Answer passes an answer from the peer that an offer was given to back to the peer to, who made it, and returns that
// peer's socket. Each offer is answered once. Errors: ErrNotMember, ErrNoOffer.
func (s *Set) Answer(now Instant, h bt.InfoHash, from bt.PeerID, socket Socket, to bt.PeerID, id OfferID) (Socket, error) {
	s.Expire(now)
	m := s.find(h, from)
	if m == nil || m.socket != socket {
		return 0, ErrNotMember
	}
	other := m.answer(now, to, id)
	if other == nil {
		return 0, ErrNoOffer
	}
	if other.gone {
		return 0, ErrNotMember
	}
	m.acquaint(other, now, false, true)
	return other.socket, nil
}

// Counts returns the numbers of one swarm, zero for one that nobody is in.
func (s *Set) Counts(now Instant, h bt.InfoHash) Counts {
	s.Expire(now)
	if w := s.index[h]; w != nil {
		return w.counts
	}
	return Counts{}
}

// Each calls f for each swarm that has peers.
func (s *Set) Each(now Instant, f func(bt.InfoHash, Counts)) {
	s.Expire(now)
	for _, w := range s.swarms {
		f(w.hash, w.counts)
	}
}

// EachPeer calls f for each peer of one swarm, with its kind and its socket.
func (s *Set) EachPeer(now Instant, h bt.InfoHash, f func(id bt.PeerID, kind Kind, socket Socket)) {
	s.Expire(now)
	if w := s.index[h]; w != nil {
		for _, m := range w.members {
			f(m.id, m.kind, m.socket)
		}
	}
}

func (s *Set) find(h bt.InfoHash, id bt.PeerID) *member {
	if w := s.index[h]; w != nil {
		return w.index[id]
	}
	return nil
}

// touch makes m the latest to announce.
func (s *Set) touch(m *member, now Instant) {
	s.unlink(m)
	m.last = now
	m.older = s.newest
	if s.newest != nil {
		s.newest.newer = m
	} else {
		s.oldest = m
	}
	s.newest = m
}

func (s *Set) unlink(m *member) {
	if m.older != nil {
		m.older.newer = m.newer
	} else if s.oldest == m {
		s.oldest = m.newer
	}
	if m.newer != nil {
		m.newer.older = m.older
	} else if s.newest == m {
		s.newest = m.older
	}
	m.older, m.newer = nil, nil
}

func (s *Set) remove(m *member) {
	m.gone, m.inbox = true, nil
	m.untie()
	m.quit()
	s.unlink(m)

	w := m.swarm
	if m.seed {
		w.counts.Complete--
	} else {
		w.counts.Incomplete--
	}
	last := w.members[len(w.members)-1]
	w.members[m.slot], last.slot = last, m.slot
	w.members[len(w.members)-1] = nil
	w.members = w.members[:len(w.members)-1]
	delete(w.index, m.id)
	if len(w.members) == 0 {
		end := s.swarms[len(s.swarms)-1]
		s.swarms[w.slot], end.slot = end, w.slot
		s.swarms[len(s.swarms)-1] = nil
		s.swarms = s.swarms[:len(s.swarms)-1]
		delete(s.index, w.hash)
	}

	ms := s.sockets[m.socket]
	for i := range ms {
		if ms[i] == m {
			ms[i] = ms[len(ms)-1]
			ms[len(ms)-1] = nil
			ms = ms[:len(ms)-1]
			break
		}
	}
	if len(ms) == 0 {
		delete(s.sockets, m.socket)
	} else {
		s.sockets[m.socket] = ms
	}
}
