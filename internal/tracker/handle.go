package tracker

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/tracker/frame"
	"essaim/internal/vod"
)

// faultsMax is how many refused messages a connection may send before it is closed.
const faultsMax = 32

// requests are where messages are read into.
var requests = sync.Pool{New: func() any { return new(announce.Request) }}

// handle does what one message asks. It is called by the connection's reader alone.
func (s *socket) handle(data []byte) {
	now := s.tracker.cfg.Clock()
	paced := !s.tracker.cfg.Unpaced
	if paced && !s.messages.allow(now) {
		s.finish(frame.CodePolicy, "too many messages")
		return
	}
	req := requests.Get().(*announce.Request)
	defer requests.Put(req)
	if err := announce.ParseRequestInto(req, data); err != nil {
		// A failure without an info hash carries no action: clients then take it as the tracker's own.
		s.fault(req, refusal(err))
		return
	}
	s.spoken = true
	switch req.Kind {
	case announce.KindOffer, announce.KindAnswer:
		s.directed(req)
		return
	case announce.KindScrape, announce.KindAnnounce, announce.KindStill:
	}
	if paced && !s.announces.allow(now) {
		s.fail(req, "too many announces")
		s.finish(frame.CodePolicy, "too many announces")
		return
	}
	switch req.Kind {
	case announce.KindScrape:
		s.scrape(req)
	case announce.KindStill:
		s.still(req, now)
	default:
		s.announce(req)
	}
}

// fault refuses a message, and closes the connection of whom it has refused too many.
func (s *socket) fault(req *announce.Request, reason string) {
	s.tracker.cfg.Logger.Debug("tracker refuses a message", "socket", s.id, "reason", reason)
	s.fail(req, reason)
	if s.faults++; s.faults >= faultsMax {
		s.finish(frame.CodePolicy, "too many faulty messages")
	}
}

// refusal is the plain text of a codec's error.
func refusal(err error) string {
	if errors.Is(err, announce.ErrSyntax) {
		return announce.ErrSyntax.Error()
	}
	return err.Error()
}

func (s *socket) announce(req *announce.Request) {
	t := s.tracker
	title, err := s.title(req.InfoHash)
	missing := errors.Is(err, vod.ErrNotFound)
	if err != nil && !missing {
		t.cfg.Logger.Warn("tracker cannot look up a swarm", "info_hash", req.InfoHash.String(), "error", err)
		s.fail(req, reasonLookUp)
		return
	}
	var ticket *shown
	var label vod.RehearsalLabel
	if req.Viewer != nil && len(req.Viewer.Text) > 0 {
		// Whether there is such a swarm at all, a bad ticket does not tell.
		var ok bool
		if ticket, ok = s.ticket(req, title); !ok {
			return
		}
		label = ticket.ticket.Rehearsal
	} else if missing || !title.open {
		t.leaveSwarm(s, req.InfoHash)
		s.fault(req, reasonUnknown)
		return
	}
	if !s.settle(req, label) || ticket == nil && !s.admitted(req) {
		return
	}
	if req.Event == announce.EventStopped {
		s.stop(req)
		return
	}
	clean := cleaned.Get().(*cleanedOffers)
	defer cleaned.Put(clean)
	clean.reset()
	for i := range req.Offers[:min(len(req.Offers), swarm.OffersMax)] {
		if err := clean.add(req.Offers[i].Text, s.lan()); err != nil {
			s.fault(req, "invalid offer: "+err.Error())
			return
		}
	}
	s.join(req, ticket, clean, !title.open)
}

// lookUp is how long the catalogue may take.
const lookUp = 5 * time.Second

// title is the one with that swarm, from memory or from the catalogue; errors are those of titles.get.
func (s *socket) title(h bt.InfoHash) (titleEntry, error) {
	titles := &s.tracker.titles
	if e, ok := titles.remembered(h); ok {
		return e.known()
	}
	s.aside()
	ctx, cancel := context.WithTimeout(context.Background(), lookUp)
	defer cancel()
	return titles.get(ctx, h)
}

// ticket reads the ticket shown, if it opens this swarm to this page; if not, the connection is closed.
func (s *socket) ticket(req *announce.Request, title titleEntry) (*shown, bool) {
	if s.foreign {
		s.refuse(req.InfoHash, frame.CodePolicy, "tickets are not honoured from this origin")
		return nil, false
	}
	text := req.Viewer.Text
	w := s.last
	if !s.tracker.same(w, text) {
		ticket, err := s.tracker.cfg.Tickets.Check(vod.AudienceSwarm, string(text))
		if err != nil {
			code, reason := frame.Code(StatusTicket), reasonTicket
			switch {
			case errors.Is(err, vod.ErrTicketExpired):
				reason = reasonExpired
			case errors.Is(err, vod.ErrTicketRevoked):
				code, reason = StatusRevoked, reasonRevoked
			}
			s.refuse(req.InfoHash, code, reason)
			return nil, false
		}
		w = &shown{digest: maphash.Bytes(digests, text), ticket: ticket}
	}
	if !title.opensTo(&w.ticket) {
		s.refuse(req.InfoHash, StatusTicket, reasonTicket)
		return nil, false
	}
	s.last = w
	return w, true
}

// admitted says whether a connection may announce without a ticket, which comes with the tighter limits; if not, it is closed.
func (s *socket) admitted(req *announce.Request) bool {
	if s.stranger || s.passed {
		return true
	}
	t := s.tracker
	t.mu.Lock()
	ok := t.cfg.LAN || s.from.local || t.callers.estrange(s.from)
	s.stranger = ok
	t.mu.Unlock()
	if !ok {
		s.refuse(req.InfoHash, frame.CodePolicy, "too many connections without a ticket from this address")
		return false
	}
	s.announces.every *= strangerPace
	s.messages.every *= strangerPace
	return true
}

// strangerPace is how much more slowly a connection without a ticket may speak, after its first words.
const strangerPace = 2

// settle says whether the connection may announce for this rehearsal, or for viewers; if not, it is closed. A rehearsal's
// connection shows a ticket each time: without one it is no viewer's.
func (s *socket) settle(req *announce.Request, label vod.RehearsalLabel) bool {
	if !s.settled {
		s.tracker.mu.Lock()
		s.settled, s.rehearsal = true, label
		s.tracker.mu.Unlock()
	}
	if s.rehearsal == label {
		return true
	}
	s.refuse(req.InfoHash, StatusTicket, "the connection is another rehearsal's: open one for each")
	return false
}

// lan says whether addresses of local networks stay in what the connection relays. A rehearsal's viewers are one operator's,
// often on one machine, and nobody else is told their addresses.
func (s *socket) lan() bool { return s.tracker.cfg.LAN || s.rehearsal != "" }

// set holds the swarms that the connection is in. Called with the tracker's mu held.
func (s *socket) set() *swarm.Set { return s.tracker.company(s.rehearsal) }

// stop takes the peer out, and answers like any announce.
func (s *socket) stop(req *announce.Request) {
	t := s.tracker
	t.mu.Lock()
	set := s.set()
	set.Leave(req.InfoHash, req.PeerID, s.id)
	t.leave(s, req.InfoHash, req.PeerID)
	reply := t.reply(req, set.Counts(t.instant(), req.InfoHash))
	t.mu.Unlock()
	s.sendReply(reply, s.turn)
}

// cleanedOffers are the sanitized descriptions of an announce, one behind the other.
type cleanedOffers struct {
	text []byte
	ends []int
	out  []relayed
}

// cleaned are shared: announces with offers come by the thousand a second, and are soon done with.
var cleaned = sync.Pool{New: func() any { return new(cleanedOffers) }}

func (c *cleanedOffers) reset() {
	clear(c.out)
	c.text, c.ends, c.out = c.text[:0], c.ends[:0], c.out[:0]
}

func (c *cleanedOffers) add(sdp announce.Text, lan bool) (err error) {
	c.text, err = appendSanitized(c.text, sdp, lan)
	c.ends = append(c.ends, len(c.text))
	return err
}

// offer is the description of that number.
func (c *cleanedOffers) offer(i int) []byte {
	from := 0
	if i > 0 {
		from = c.ends[i-1]
	}
	return c.text[from:c.ends[i]]
}

// relayed is an announce's offer on its way to another connection.
type relayed struct {
	to    *socket
	offer int
}

// join puts the peer into the swarm, answers it and passes on its offers. Into that of a title that is closed, only tickets lead.
func (s *socket) join(req *announce.Request, ticket *shown, clean *cleanedOffers, closed bool) {
	t := s.tracker
	a := swarm.Announce{
		Swarm: req.InfoHash, Peer: req.PeerID, Socket: s.id, Want: req.NumWant,
		Group:     string(s.rehearsal),
		Seed:      req.Left == 0,
		Started:   req.Event == announce.EventStarted,
		Completed: req.Event == announce.EventCompleted,
	}
	var who vod.Ticket // a stranger's says nothing
	if ticket != nil {
		who = ticket.ticket
	}
	a.Owner = who.PlaySession
	if v := req.Viewer; v != nil {
		a.Kind, a.PositionMs, a.Rendition, a.UplinkKbps = swarm.Viewer, v.PositionMs, v.Rendition, v.UplinkKbps
	}
	s.situate(&a, req, &who)
	var ids [swarm.OffersMax]swarm.OfferID
	a.Offers = ids[:0]
	for i := range req.Offers[:min(len(req.Offers), swarm.OffersMax)] {
		a.Offers = append(a.Offers, swarm.OfferID(req.Offers[i].ID))
	}

	t.mu.Lock()
	if t.sockets[s.id] == nil { // told to go meanwhile
		t.mu.Unlock()
		return
	}
	if (t.peersOff || req.Viewer != nil) && t.forbids(s, req.InfoHash) {
		reply := t.reply(req, swarm.Counts{})
		if reply.Viewer != nil {
			reply.Viewer.PeersOff, reply.Viewer.Still = true, 0
		}
		t.mu.Unlock()
		s.sendReply(reply, s.turn)
		return
	}
	if ticket != nil {
		if reason := t.bind(s, req, ticket); reason != "" {
			t.mu.Unlock()
			code := frame.Code(StatusTicket)
			if reason == reasonRevoked {
				code = StatusRevoked
			}
			s.refuse(req.InfoHash, code, reason)
			return
		}
	}
	result, err := s.set().Announce(t.instant(), &a)
	if err != nil {
		if ticket != nil {
			t.unbind(s, req)
		}
		t.mu.Unlock()
		s.fault(req, err.Error())
		return
	}
	if closed && req.Viewer != nil {
		t.hear(s, req)
	}
	spent := result.Spent
	reply := t.reply(req, result.Counts)
	if reply.Viewer != nil {
		reply.Viewer.Cohort = announce.Cohort(result.Cohort)
	}
	s.promised, s.told = s.promised || reply.Viewer != nil, t.cfg.Clock()
	for _, id := range result.Meet {
		reply.Viewer.Meet = append(reply.Viewer.Meet, announce.Meet{
			PeerID: id, Offer: true, Far: s.set().Far(req.InfoHash, req.PeerID, id),
		})
	}
	for _, r := range result.Relay {
		clean.out = append(clean.out, relayed{t.sockets[r.Socket], r.Offer})
	}
	t.mu.Unlock()

	s.warn(spent, a.Payer)
	s.sendReply(reply, s.turn)
	for _, o := range clean.out {
		o.to.sendRelayed(&announce.Relayed{
			InfoHash: req.InfoHash, From: req.PeerID, OfferID: req.Offers[o.offer].ID,
		}, clean.offer(o.offer), s.turn)
	}
}

// reply begins the answer to an announce. Called with mu held.
func (t *Tracker) reply(req *announce.Request, c swarm.Counts) *announce.Reply {
	r := &announce.Reply{InfoHash: req.InfoHash, Complete: c.Complete, Incomplete: c.Incomplete}
	if req.Viewer != nil {
		r.Interval = t.viewerInterval()
		r.Viewer = &announce.Introductions{}
		if !t.peersOff && req.Event != announce.EventStopped {
			r.Viewer.Still = t.promise()
		}
	} else {
		r.Interval = t.interval()
	}
	return r
}

// directed passes on an offer or an answer that names its addressee. What is not allowed is dropped without a word:
// who sends it has been told nothing that would make it right.
func (s *socket) directed(req *announce.Request) {
	t := s.tracker
	clean := cleaned.Get().(*cleanedOffers)
	defer cleaned.Put(clean)
	clean.reset()
	if err := clean.add(req.Text, s.lan()); err != nil {
		s.fault(req, "invalid SDP: "+err.Error())
		return
	}
	answer := req.Kind == announce.KindAnswer
	t.mu.Lock()
	if slices.ContainsFunc(s.grants, func(g *grant) bool { return g.swarm == req.InfoHash && t.over(g.shown) }) {
		t.mu.Unlock()
		t.leaveSwarm(s, req.InfoHash)
		s.refuse(req.InfoHash, StatusTicket, reasonExpired)
		return
	}
	pass := s.set().Offer
	if answer {
		pass = s.set().Answer
	}
	id, err := pass(t.instant(), req.InfoHash, req.PeerID, s.id, req.To, swarm.OfferID(req.OfferID))
	to := t.sockets[id]
	far := err == nil && !answer && s.set().Far(req.InfoHash, req.PeerID, req.To) // only viewers make offers to whom they were told to meet
	t.mu.Unlock()
	if err != nil {
		t.cfg.Logger.Debug("tracker drops a relayed message", "socket", s.id, "answer", answer, "reason", err)
		return
	}
	to.sendRelayed(&announce.Relayed{
		InfoHash: req.InfoHash, From: req.PeerID, OfferID: req.OfferID, Answer: answer, Far: far,
	}, clean.offer(0), s.turn)
}

// scrape counts swarms: those of open titles, and those that the connection is in. Others are not there.
func (s *socket) scrape(req *announce.Request) {
	t := s.tracker
	reply := announce.Scrape{MinInterval: int(t.cfg.Interval.Seconds())}
	open := make([]bool, len(req.InfoHashes))
	for i, h := range req.InfoHashes {
		title, err := s.title(h)
		open[i] = err == nil && title.open
	}
	t.mu.Lock()
	for i, h := range req.InfoHashes {
		if seen(req.InfoHashes[:i], h) {
			continue
		}
		var c swarm.Counts
		if open[i] || slices.ContainsFunc(s.grants, func(g *grant) bool { return g.swarm == h }) {
			c = s.set().Counts(t.instant(), h)
		}
		reply.Files = append(reply.Files, announce.ScrapeFile{
			InfoHash: h, Complete: c.Complete, Incomplete: c.Incomplete, Downloaded: c.Downloaded,
		})
	}
	t.mu.Unlock()
	s.send(announce.AppendScrape(nil, &reply))
}

func seen(hashes []bt.InfoHash, h bt.InfoHash) bool {
	for i := range hashes {
		if hashes[i] == h {
			return true
		}
	}
	return false
}

// leaveSwarm takes out whatever peer the connection has in a swarm that is no longer served to it.
func (t *Tracker) leaveSwarm(s *socket, h bt.InfoHash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.set().LeaveSwarm(h, s.id)
	now := t.cfg.Clock()
	for _, g := range slices.Clone(s.grants) {
		if g.swarm == h {
			t.release(g, s, now)
		}
	}
}

// leave releases the grant of a peer that left by its own wish. Called with mu held.
func (t *Tracker) leave(s *socket, h bt.InfoHash, id bt.PeerID) {
	for _, g := range s.grants {
		if g.swarm == h && g.peers[len(g.peers)-1] == id {
			t.release(g, s, t.cfg.Clock())
			return
		}
	}
}
