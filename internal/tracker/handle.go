package tracker

import (
	"context"
	"errors"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// faultsMax is how many refused messages a connection may send before it is closed.
const faultsMax = 32

// handle does what one message asks. It is called by the connection's reader alone.
func (s *socket) handle(data []byte) {
	now := s.tracker.cfg.Clock()
	if !s.messages.allow(now) {
		s.finish(websocket.StatusPolicyViolation, "too many messages")
		return
	}
	req, err := announce.ParseRequest(data)
	if err != nil {
		// A failure without an info hash carries no action: clients then take it as the tracker's own.
		s.fault(&req, refusal(err))
		return
	}
	switch req.Kind {
	case announce.KindOffer, announce.KindAnswer:
		s.directed(&req)
		return
	case announce.KindScrape, announce.KindAnnounce:
	}
	if !s.announces.allow(now) {
		s.fail(&req, "too many announces")
		s.finish(websocket.StatusPolicyViolation, "too many announces")
		return
	}
	if req.Kind == announce.KindScrape {
		s.scrape(&req)
	} else {
		s.announce(&req)
	}
}

// fault refuses a message, and closes the connection of whom it has refused too many.
func (s *socket) fault(req *announce.Request, reason string) {
	s.tracker.cfg.Logger.Debug("tracker refuses a message", "socket", s.id, "reason", reason)
	s.fail(req, reason)
	if s.faults++; s.faults >= faultsMax {
		s.finish(websocket.StatusPolicyViolation, "too many faulty messages")
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	title, err := t.titles.get(ctx, req.InfoHash)
	cancel()
	shown := req.Viewer != nil && req.Viewer.Ticket != ""
	if err == nil && !title.open && !(shown && s.rehearses(req, title)) {
		err = vod.ErrNotFound
	}
	if err != nil {
		if errors.Is(err, vod.ErrNotFound) {
			t.leaveSwarm(s, req.InfoHash)
			s.fault(req, "unknown swarm")
		} else {
			t.cfg.Logger.Warn("tracker cannot look up a swarm", "info_hash", req.InfoHash.String(), "error", err)
			s.fail(req, "swarm cannot be looked up now, try again")
		}
		return
	}
	var ticket vod.Ticket
	if shown {
		var ok bool
		if ticket, ok = s.ticket(req, title); !ok {
			return
		}
	}
	if !s.settle(req, ticket.Rehearsal) {
		return
	}
	if req.Event == announce.EventStopped {
		s.stop(req)
		return
	}
	for i := range req.Offers[:min(len(req.Offers), swarm.OffersMax)] {
		sdp, err := sanitize(req.Offers[i].SDP, s.lan())
		if err != nil {
			s.fault(req, "invalid offer: "+err.Error())
			return
		}
		req.Offers[i].SDP = sdp
	}
	s.join(req, &ticket)
}

// ticket reads the ticket shown, if it opens this swarm to this page; if not, the connection is closed.
func (s *socket) ticket(req *announce.Request, title titleEntry) (ticket vod.Ticket, ok bool) {
	if s.foreign {
		s.fail(req, "tickets are not honoured from this origin")
		s.finish(websocket.StatusPolicyViolation, "foreign origin")
		return vod.Ticket{}, false
	}
	if ticket, ok = s.check(req, title); !ok {
		s.fail(req, "ticket is not valid here")
		s.finish(StatusTicket, "ticket is not valid here")
		return vod.Ticket{}, false
	}
	return ticket, true
}

// check reads the ticket shown; false if it is not for this title.
func (s *socket) check(req *announce.Request, title titleEntry) (vod.Ticket, bool) {
	ticket, err := s.tracker.cfg.Tickets.Check(vod.AudienceSwarm, req.Viewer.Ticket)
	return ticket, err == nil && ticket.Title == title.id && (ticket.Version == "" || ticket.Version == title.version)
}

// rehearses says whether the ticket shown opens the swarm that a rehearsal has of a title for members. To everyone else
// there is no such swarm.
func (s *socket) rehearses(req *announce.Request, title titleEntry) bool {
	ticket, ok := s.check(req, title)
	return ok && ticket.Rehearsal != "" && !s.foreign
}

// settle says whether the connection may announce for this rehearsal, or for viewers; if not, it is closed. A rehearsal's
// connection shows a ticket each time: without one it is no viewer's.
func (s *socket) settle(req *announce.Request, label vod.RehearsalLabel) bool {
	if !s.settled {
		s.settled, s.rehearsal = true, label
	}
	if s.rehearsal == label {
		return true
	}
	s.fail(req, "the connection is another rehearsal's: open one for each")
	s.finish(StatusTicket, "another rehearsal's connection")
	return false
}

// lan says whether addresses of local networks stay in what the connection relays. A rehearsal's viewers are one operator's,
// often on one machine, and nobody else is told their addresses.
func (s *socket) lan() bool { return s.tracker.cfg.LAN || s.rehearsal != "" }

// set holds the swarms that the connection is in. Called with the tracker's mu held.
func (s *socket) set() *swarm.Set {
	if s.rehearsal != "" {
		return s.tracker.rehearsed
	}
	return s.tracker.set
}

// stop takes the peer out, and answers like any announce.
func (s *socket) stop(req *announce.Request) {
	t := s.tracker
	t.mu.Lock()
	set := s.set()
	set.Leave(req.InfoHash, req.PeerID, s.id)
	reply := t.reply(req, set.Counts(t.instant(), req.InfoHash))
	t.mu.Unlock()
	s.send(announce.AppendReply(nil, reply))
}

// relayed is a message on its way to another connection.
type relayed struct {
	to *socket
	announce.Relayed
}

// join puts the peer into the swarm, answers it and passes on its offers.
func (s *socket) join(req *announce.Request, ticket *vod.Ticket) {
	t := s.tracker
	a := swarm.Announce{
		Swarm: req.InfoHash, Peer: req.PeerID, Socket: s.id, Owner: ticket.PlaySession, Want: req.NumWant,
		Group:     string(s.rehearsal),
		Seed:      req.Left == 0,
		Started:   req.Event == announce.EventStarted,
		Completed: req.Event == announce.EventCompleted,
	}
	if v := req.Viewer; v != nil {
		a.Kind, a.PositionMs, a.Rendition, a.UplinkKbps = swarm.Viewer, v.PositionMs, v.Rendition, v.UplinkKbps
	}
	s.situate(&a, req, ticket)
	for i := range req.Offers[:min(len(req.Offers), swarm.OffersMax)] {
		a.Offers = append(a.Offers, swarm.OfferID(req.Offers[i].ID))
	}

	t.mu.Lock()
	if t.sockets[s.id] == nil { // told to go meanwhile
		t.mu.Unlock()
		return
	}
	result, err := s.set().Announce(t.instant(), &a)
	if err != nil {
		t.mu.Unlock()
		s.fault(req, err.Error())
		return
	}
	spent := result.Spent
	reply := t.reply(req, result.Counts)
	for _, id := range result.Meet {
		reply.Viewer.Meet = append(reply.Viewer.Meet, announce.Meet{PeerID: id, Offer: true})
	}
	out := make([]relayed, 0, len(result.Relay))
	for _, r := range result.Relay {
		o := &req.Offers[r.Offer]
		out = append(out, relayed{t.sockets[r.Socket], announce.Relayed{
			InfoHash: req.InfoHash, From: req.PeerID, OfferID: o.ID, SDP: o.SDP,
		}})
	}
	t.mu.Unlock()

	s.warn(spent, a.Payer)
	s.send(announce.AppendReply(nil, reply))
	for i := range out {
		out[i].to.send(announce.AppendRelayed(nil, &out[i].Relayed))
	}
}

// reply begins the answer to an announce. Called with mu held.
func (t *Tracker) reply(req *announce.Request, c swarm.Counts) *announce.Reply {
	r := &announce.Reply{InfoHash: req.InfoHash, Complete: c.Complete, Incomplete: c.Incomplete}
	if req.Viewer != nil {
		r.Interval = max(1, int(t.cfg.ViewerInterval.Seconds()))
		r.Viewer = &announce.Introductions{}
	} else {
		r.Interval = t.interval()
	}
	return r
}

// directed passes on an offer or an answer that names its addressee. What is not allowed is dropped without a word:
// who sends it has been told nothing that would make it right.
func (s *socket) directed(req *announce.Request) {
	t := s.tracker
	sdp, err := sanitize(req.SDP, s.lan())
	if err != nil {
		s.fault(req, "invalid SDP: "+err.Error())
		return
	}
	answer := req.Kind == announce.KindAnswer
	t.mu.Lock()
	pass := s.set().Offer
	if answer {
		pass = s.set().Answer
	}
	id, err := pass(t.instant(), req.InfoHash, req.PeerID, s.id, req.To, swarm.OfferID(req.OfferID))
	to := t.sockets[id]
	t.mu.Unlock()
	if err != nil {
		t.cfg.Logger.Debug("tracker drops a relayed message", "socket", s.id, "answer", answer, "reason", err)
		return
	}
	to.send(announce.AppendRelayed(nil, &announce.Relayed{
		InfoHash: req.InfoHash, From: req.PeerID, OfferID: req.OfferID, Answer: answer, SDP: sdp,
	}))
}

func (s *socket) scrape(req *announce.Request) {
	t := s.tracker
	reply := announce.Scrape{MinInterval: int(t.cfg.Interval.Seconds())}
	t.mu.Lock()
	for i, h := range req.InfoHashes {
		if seen(req.InfoHashes[:i], h) {
			continue
		}
		c := s.set().Counts(t.instant(), h)
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

// leaveSwarm takes out whatever peer the connection has in a swarm that is no longer served.
func (t *Tracker) leaveSwarm(s *socket, h bt.InfoHash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.set().LeaveSwarm(h, s.id)
}
