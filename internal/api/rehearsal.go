package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"essaim/internal/vod"
)

// A rehearsal is an operator's: silent viewers before a premiere, or a benchmark. Its play sessions bear a label, in the
// tickets too, so that the tracker lets them meet their own only and the origin counts them apart:
//
//	POST /api/v1/titles/{id}/play   Authorization: Bearer TOKEN   {"rehearsal":"LABEL","share":true}
//	    an ordinary play session; its trackers' addresses are to be used with their query
//	GET /api/v1/operator/traffic    Authorization: Bearer TOKEN   {…, "rehearsals": {"LABEL": {"origin_bytes": N}}}
//	GET /api/v1/titles/{id}         {…, "synthetic": true} where the title has random bytes for pictures

// passLife is how long a rehearsal's connections are let in beside the tracker's limit for their address. The pass stands
// in an address, which proxies write into their logs, so it opens nothing else and does not last.
const passLife = 24 * time.Hour

// rehearsals holds the play sessions of rehearsals that are open: those whose tickets may still be good.
type rehearsals struct {
	clock vod.Clock
	mu    sync.Mutex
	byID  map[string]*play
}

func newRehearsals(clock vod.Clock) *rehearsals {
	return &rehearsals{clock: clock, byID: map[string]*play{}}
}

// over says whether x's last tickets have ended.
func over(x *play, now time.Time) bool { return now.Sub(x.seen) >= ticketLife || !now.Before(x.until) }

// add remembers a session; false when too many are open.
func (r *rehearsals) add(x play) bool {
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.byID) >= vod.RehearsalsMax {
		for id, old := range r.byID {
			if over(old, now) {
				delete(r.byID, id)
			}
		}
		if len(r.byID) >= vod.RehearsalsMax {
			return false
		}
	}
	x.seen = now
	r.byID[x.id] = &x
	return true
}

// beat records a report, and returns the session; false for one that is not open.
func (r *rehearsals) beat(id string, report vod.Heartbeat) (play, bool) {
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.byID[id]
	if !ok || over(x, now) {
		return play{}, false
	}
	x.report, x.seen = report, now
	return *x, true
}

// rehearse opens a rehearsal's session. It needs no account, and ends with the operator's token at the latest. A title
// that is for members has a swarm for each of its rehearsals, which only tickets of the label open.
func (s *Server) rehearse(ctx context.Context, in *playInput) (*playOutput, error) {
	operator, err := s.c.Tickets.Check(vod.AudienceOperator, visitorOf(ctx).bearer)
	if err != nil {
		return nil, newProblem(http.StatusUnauthorized, "unauthorized",
			"A rehearsal needs an operator's token: essaim admin token --role operator.")
	}
	label := *in.Body.Rehearsal
	if !label.Valid() {
		return nil, fmt.Errorf("%w: a rehearsal's label", vod.ErrInvalid)
	}
	t, err := s.c.Titles.Get(ctx, vod.TitleID(in.ID))
	if err != nil {
		return nil, err
	}
	x := play{
		id: newSessionID(), title: t.ID, version: t.Version.ID, member: "rehearsal:" + string(label), share: s.shares(in.Body.Share),
		rehearsal: label, until: operator.Expires,
	}
	out, err := s.begin(ctx, &t, &x)
	if err != nil {
		return nil, err
	}
	pass, err := s.c.Tickets.Issue(vod.Ticket{
		Audience: vod.AudienceRehearsal, Rehearsal: label, Expires: earlier(x.until, s.c.Clock().Add(passLife)),
	})
	if err != nil {
		return nil, err
	}
	for i := range out.Body.Nodes.Trackers {
		out.Body.Nodes.Trackers[i] += "?rehearsal=" + url.QueryEscape(pass)
	}
	if !s.rehearsals.add(x) {
		p := newProblem(http.StatusServiceUnavailable, "too_many_rehearsals", fmt.Sprintf(
			"%d sessions of rehearsals are open, which is the most: each counts for ten minutes after its last sign of life.", vod.RehearsalsMax))
		p.retryAfter = time.Minute
		return nil, p
	}
	return out, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
