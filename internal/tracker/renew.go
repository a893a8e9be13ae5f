package tracker

import (
	"errors"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/vod"
)

// still renews a viewer's last announce, of which nothing has changed (announce.KindStill): it is in its swarm for another while,
// and hears of it only if it has heard nothing lately. What its ticket opened, and nothing more, stays open to it.
func (s *socket) still(req *announce.Request, now time.Time) {
	t := s.tracker
	title, err := s.title(req.InfoHash)
	if err != nil && !errors.Is(err, vod.ErrNotFound) {
		s.fail(req, reasonLookUp)
		return
	}
	t.mu.Lock()
	g := s.granted(req.InfoHash)
	refused := ""
	switch {
	case g == nil && !title.open: // also if there is none
		refused = reasonUnknown
	case g == nil:
	case t.over(g.shown):
		refused = reasonExpired
	case !title.opensTo(&g.ticket):
		refused = reasonTicket
	}
	if refused != "" {
		t.mu.Unlock()
		t.leaveSwarm(s, req.InfoHash)
		if g == nil {
			s.fault(req, refused)
		} else {
			s.refuse(req.InfoHash, StatusTicket, refused)
		}
		return
	}
	result, err := s.set().Renew(t.instant(), req.InfoHash, req.PeerID, s.id)
	if err != nil {
		t.mu.Unlock()
		s.fail(req, err.Error()) // it announces anew
		return
	}
	var news *announce.Reply
	if now.Sub(s.told) >= t.keepalive {
		news = t.news(req.InfoHash, result)
		s.told = now
	}
	t.mu.Unlock()
	if news != nil {
		s.sendReply(news, s.turn)
	}
}

// granted is what the socket holds in a swarm, nil for nothing. Called with the tracker's mu held.
func (s *socket) granted(h bt.InfoHash) *grant {
	for _, g := range s.grants {
		if g.swarm == h {
			return g
		}
	}
	return nil
}

// opensTo says whether the ticket is one for this title, as it is published now.
func (e *titleEntry) opensTo(ticket *vod.Ticket) bool {
	return e.id != "" && ticket.Title == e.id && (ticket.Version == "" || ticket.Version == e.version)
}

// nudge says something to a client of which nothing has come for a while, so that whatever translates addresses on the way keeps
// its connection: to viewers, who may renew without being answered, how their swarms stand, which also tells them that the tracker
// lives, and to all others a ping.
func (s *socket) nudge() {
	t := s.tracker
	var news []*announce.Reply
	if s.promised {
		t.mu.Lock()
		s.told = t.cfg.Clock()
		s.set().EachOf(t.instant(), s.id, func(h bt.InfoHash, r *swarm.Result) { news = append(news, t.news(h, r)) })
		t.mu.Unlock()
	}
	for _, r := range news {
		s.sendReply(r, nil)
	}
	if len(news) == 0 {
		s.deliver(ping[:], nil)
	}
}

// news tells a viewer how its swarm stands. Called with mu held.
func (t *Tracker) news(h bt.InfoHash, result *swarm.Result) *announce.Reply {
	return &announce.Reply{
		InfoHash: h, Interval: t.viewerInterval(), Complete: result.Complete, Incomplete: result.Incomplete,
		Viewer: &announce.Introductions{Cohort: announce.Cohort(result.Cohort), Still: t.promise()},
	}
}

// promise is within how many seconds at most a viewer hears something: a renewal that comes later than keepalive after
// the last is answered, and keepalive after the last that came, the client is nudged.
func (t *Tracker) promise() int { return max(1, int(2*t.keepalive/time.Second)) }
