package tracker

import (
	"hash/maphash"
	"slices"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/tracker/frame"
	"essaim/internal/vod"
)

const (
	// grantPeersMax is how many peer IDs one play session may have, one after the other: a viewer who stops sharing and begins
	// again has a new one.
	grantPeersMax = 8
	// grantMemory is how long a viewer is remembered who has left the tracker: it may still be connected to those whom it met
	// here, and they must learn of its revocation.
	grantMemory = time.Hour
	// grantsLeftMax bounds how many of those are remembered; a grant takes some 500 bytes.
	grantsLeftMax = 20_000
	// sweepEvery is how soon a socket whose ticket has expired is found, at the latest.
	sweepEvery = 5 * time.Second
)

// The reasons that clients are told when a ticket does not open what they ask for.
const (
	reasonTicket  = "ticket is not valid here"
	reasonExpired = "ticket has expired"
	reasonRevoked = "ticket was revoked"
	reasonReplay  = "ticket is in use by another peer"
	reasonMember  = "ticket is another member's"
	reasonSockets = "too many connections of one member"
	reasonUnknown = "unknown swarm"
	reasonLookUp  = "swarm cannot be looked up now, try again"
)

// shown is a ticket that was checked, and the digest of its text: a renewing announce shows it again, and a signature costs
// more to verify than all else about such an announce. The digest need not be one that nobody can forge: who shows another text
// with the same on the same connection gets what the ticket gives that was checked there, and no more.
type shown struct {
	digest uint64
	ticket vod.Ticket
}

var digests = maphash.MakeSeed()

// same reports whether text is the ticket that was checked, and still good.
func (t *Tracker) same(w *shown, text []byte) bool {
	return w != nil && !t.over(w) && maphash.Bytes(digests, text) == w.digest
}

// over reports whether a ticket that was checked has ended since.
func (t *Tracker) over(w *shown) bool { return w.ticket.Over(t.cfg.Clock(), t.cfg.Issuer) }

// grant is what the tickets of one play session have opened: a place in one swarm, for one peer at a time on one socket.
// Grants belong to the tracker's mu.
type grant struct {
	*shown
	swarm  bt.InfoHash
	socket *socket     // nil: it has left
	peers  []bt.PeerID // those it has had; the last is the one that it has
	left   time.Time
	heard  []hearsay // by time
}

// leaver is a grant in the order of leaving. It counts no more if the grant's time is another.
type leaver struct {
	*grant
	at time.Time
}

// grants is the tracker's memory of who came in with which ticket.
type grants struct {
	bySession map[string]*grant
	byMember  map[string]int // sockets
	leavers   []leaver
	revoked   vod.Revoked
	sweeper   *time.Timer // nil while there is nothing to look after
}

func newGrants() grants {
	return grants{bySession: make(map[string]*grant), byMember: make(map[string]int)}
}

// stop ends the looking after.
func (g *grants) stop() {
	if g.sweeper != nil {
		g.sweeper.Stop()
	}
}

// bind notes that the socket's peer has a place in the swarm by this ticket, or says why it shall not. A play session is one
// peer's: whoever shows its ticket as another, or on a second socket, is refused, except the peer itself when it comes back.
// Called with mu held.
func (t *Tracker) bind(s *socket, req *announce.Request, w *shown) (reason string) {
	g, now := t.grants.bySession[w.ticket.PlaySession], t.cfg.Clock()
	switch {
	case w.ticket.PlaySession == "":
		return reasonTicket
	case t.grants.revoked.Covers(&w.ticket):
		return reasonRevoked
	}
	for _, other := range s.grants {
		if other.socket == s && other.swarm == req.InfoHash && other != g &&
			(other.ticket.Member != w.ticket.Member || other.ticket.Device != w.ticket.Device) {
			return reasonMember
		}
	}
	if g != nil {
		current := g.peers[len(g.peers)-1]
		switch {
		case g.swarm != req.InfoHash || g.ticket.Member != w.ticket.Member || g.ticket.Device != w.ticket.Device:
			return reasonReplay
		case g.socket != nil && g.socket != s && current != req.PeerID:
			return reasonReplay
		case current != req.PeerID && len(g.peers) == grantPeersMax:
			return reasonReplay
		}
	}
	if bounded := w.ticket.Member != "" && !t.cfg.LAN && s.rehearsal == ""; bounded &&
		(g == nil || g.socket == nil) && !s.holds(w.ticket.Member) && t.grants.byMember[w.ticket.Member] >= t.cfg.SocketsPerMember {
		return reasonSockets
	}
	// From here on it has its place. What the socket held in this swarm before, under a former play session, it holds no more.
	for _, other := range slices.Clone(s.grants) {
		if other.swarm == req.InfoHash && other != g {
			t.release(other, s, now)
		}
	}
	if g == nil {
		g = &grant{swarm: req.InfoHash}
		t.grants.bySession[w.ticket.PlaySession] = g
	} else if g.socket != nil && g.socket != s {
		t.release(g, g.socket, now)
	}
	g.shown = w
	if n := len(g.peers); n == 0 || g.peers[n-1] != req.PeerID {
		g.peers = append(slices.DeleteFunc(g.peers, func(id bt.PeerID) bool { return id == req.PeerID }), req.PeerID)
	}
	if g.socket == nil {
		if !s.holds(w.ticket.Member) {
			t.grants.byMember[w.ticket.Member]++
		}
		g.socket = s
		s.grants = append(s.grants, g)
	}
	if t.grants.sweeper == nil && !t.closed {
		t.grants.sweeper = time.AfterFunc(sweepEvery, t.sweepAgain)
	}
	return ""
}

// unbind takes back what bind did for an announce that the swarm refused: the peer ID was never this viewer's. Called with mu held.
func (t *Tracker) unbind(s *socket, req *announce.Request) {
	s.set().LeaveSwarm(req.InfoHash, s.id)
	for _, g := range slices.Clone(s.grants) {
		if g.swarm != req.InfoHash {
			continue
		}
		t.release(g, s, t.cfg.Clock())
		g.peers = slices.DeleteFunc(g.peers, func(id bt.PeerID) bool { return id == req.PeerID })
		if len(g.peers) == 0 {
			delete(t.grants.bySession, g.ticket.PlaySession)
		}
	}
}

// holds says whether the socket has a grant of this member already. Called with the tracker's mu held.
func (s *socket) holds(member string) bool {
	return slices.ContainsFunc(s.grants, func(g *grant) bool { return g.ticket.Member == member })
}

// release takes a grant from the socket that holds it, and remembers it. Called with mu held.
func (t *Tracker) release(g *grant, s *socket, now time.Time) {
	if g.socket != s {
		return
	}
	s.grants = slices.DeleteFunc(s.grants, func(other *grant) bool { return other == g })
	if len(s.grants) == 0 {
		s.grants = nil
	}
	if !s.holds(g.ticket.Member) {
		if t.grants.byMember[g.ticket.Member]--; t.grants.byMember[g.ticket.Member] <= 0 {
			delete(t.grants.byMember, g.ticket.Member)
		}
	}
	g.socket, g.left = nil, now
	t.grants.leavers = append(t.grants.leavers, leaver{g, now})
	if len(t.grants.leavers) > grantsLeftMax {
		t.forgetLeavers(now)
	}
}

// forgetLeavers forgets who has left long ago, and the first of too many. Called with mu held.
func (t *Tracker) forgetLeavers(now time.Time) {
	n := 0
	for _, l := range t.grants.leavers {
		if l.socket == nil && l.left.Equal(l.at) {
			if now.Sub(l.at) < grantMemory && len(t.grants.leavers)-n <= grantsLeftMax {
				break
			}
			if t.grants.bySession[l.ticket.PlaySession] == l.grant {
				delete(t.grants.bySession, l.ticket.PlaySession)
			}
		}
		n++
	}
	t.grants.leavers = slices.Delete(t.grants.leavers, 0, n)
}

// sweepAgain sweeps as long as there is something to look after.
func (t *Tracker) sweepAgain() {
	t.sweep()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.grants.bySession) == 0 {
		t.grants.sweeper = nil
	} else {
		t.grants.sweeper.Reset(sweepEvery)
	}
}

// sweep ends the places of those whose tickets have expired, and closes their sockets.
func (t *Tracker) sweep() {
	var expired []*grant
	news := map[*socket][]byte{}
	t.mu.Lock()
	now := t.cfg.Clock()
	t.forgetLeavers(now)
	for _, g := range t.grants.bySession {
		if g.socket != nil && t.over(g.shown) {
			expired = append(expired, &grant{swarm: g.swarm, socket: g.socket})
			g.socket.set().LeaveSwarm(g.swarm, g.socket.id)
			t.release(g, g.socket, now)
		}
		if gone := t.absent(g, now); len(gone) > 0 {
			news[g.socket] = t.appendRevoked(g.socket.set(), g.swarm, gone)
		}
	}
	t.mu.Unlock()
	for _, g := range expired {
		g.socket.refuse(g.swarm, StatusTicket, reasonExpired)
	}
	for s, m := range news {
		s.send(m)
	}
}

// refuse tells why a swarm is closed to the client, and closes the connection.
func (s *socket) refuse(h bt.InfoHash, code frame.Code, reason string) {
	s.fail(&announce.Request{InfoHash: h, HasInfoHash: true}, reason)
	s.finish(code, reason)
}

// company is who is in one swarm together: viewers, or the viewers of one rehearsal.
type company struct {
	swarm bt.InfoHash
	label vod.RehearsalLabel
}

// Revoke implements vod.SwarmNews. Whoever is in the swarm of a revoked viewer is told to drop it, whether they met or not:
// connections outlive what the tracker remembers of introductions, and its restarts.
func (t *Tracker) Revoke(list []vod.Revocation) {
	type closing struct {
		swarm  bt.InfoHash
		socket *socket
	}
	var out []closing
	gone := map[company][]bt.PeerID{}
	var titles []vod.TitleID // published no more: nothing is remembered of them, for they may be published again
	for i := range list {
		if list[i].Title != "" {
			titles = append(titles, list[i].Title)
		}
	}
	t.mu.Lock()
	now := t.cfg.Clock()
	t.grants.revoked.Add(now, list)
	for session, g := range t.grants.bySession {
		if !t.grants.revoked.Covers(&g.ticket) && !slices.Contains(titles, g.ticket.Title) {
			continue
		}
		if s := g.socket; s != nil {
			s.set().LeaveSwarm(g.swarm, s.id)
			t.release(g, s, now)
			out = append(out, closing{g.swarm, s})
		}
		delete(t.grants.bySession, session)
		key := company{g.swarm, g.ticket.Rehearsal}
		gone[key] = append(gone[key], g.peers...)
	}
	messages := map[*socket][][]byte{}
	for key, ids := range gone {
		t.tellRevoked(key, ids, messages)
	}
	t.mu.Unlock()
	for _, c := range out {
		c.socket.refuse(c.swarm, StatusRevoked, reasonRevoked)
	}
	for s, list := range messages {
		for _, m := range list {
			s.send(m)
		}
	}
}

// tellRevoked writes the messages that tell a company of peers to drop. Called with mu held.
func (t *Tracker) tellRevoked(key company, ids []bt.PeerID, messages map[*socket][][]byte) {
	set := t.company(key.label)
	var to []*socket
	set.EachPeer(t.instant(), key.swarm, func(id bt.PeerID, kind swarm.Kind, socket swarm.Socket) {
		// An ID that is in the swarm now is somebody else's: nobody can have another dropped by having claimed its ID once.
		ids = slices.DeleteFunc(ids, func(gone bt.PeerID) bool { return gone == id })
		if s := t.sockets[socket]; s != nil && kind == swarm.Viewer && s.rehearsal == key.label {
			to = append(to, s)
		}
	})
	for some := range slices.Chunk(ids, announce.MeetMax) {
		m := t.appendRevoked(set, key.swarm, some)
		for _, s := range to {
			messages[s] = append(messages[s], m)
		}
	}
}

// appendRevoked is the message that tells of at most MeetMax peers to drop. Called with mu held.
func (t *Tracker) appendRevoked(set *swarm.Set, h bt.InfoHash, ids []bt.PeerID) []byte {
	c := set.Counts(t.instant(), h)
	return announce.AppendReply(nil, &announce.Reply{
		InfoHash: h, Interval: t.viewerInterval(), Complete: c.Complete, Incomplete: c.Incomplete,
		Viewer: &announce.Introductions{Revoked: ids, Still: t.promise()},
	})
}

// SetPeers implements vod.SwarmNews. Without peers every swarm is empty; whoever announces is told so again.
func (t *Tracker) SetPeers(allowed bool) {
	type news struct {
		to *socket
		m  []byte
	}
	var out []news
	t.mu.Lock()
	if t.peersOff = !allowed; t.peersOff {
		for _, set := range []*swarm.Set{t.set, t.rehearsed} {
			set.Each(t.instant(), func(h bt.InfoHash, _ swarm.Counts) {
				m := announce.AppendReply(nil, &announce.Reply{
					InfoHash: h, Interval: t.viewerInterval(), Viewer: &announce.Introductions{PeersOff: true},
				})
				set.EachPeer(t.instant(), h, func(_ bt.PeerID, kind swarm.Kind, socket swarm.Socket) {
					if s := t.sockets[socket]; s != nil && kind == swarm.Viewer {
						out = append(out, news{s, m})
					}
				})
			})
		}
		t.empty()
		now := t.cfg.Clock()
		for _, g := range t.grants.bySession {
			if g.socket != nil {
				t.release(g, g.socket, now)
			}
		}
	}
	t.mu.Unlock()
	for _, n := range out {
		n.to.send(n.m)
	}
}
