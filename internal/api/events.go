package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/vod"
)

// A player that has no tracker's socket, because it does not share or its title has no swarm, hears here what cannot wait for
// its next heartbeat: that its session has ended, or what it is allowed has changed. It is a stream of server-sent events
// (WHATWG HTML, section 9.2), read with fetch because the ticket travels in a header:
//
//	event: policy         what HeartbeatReply.Policy would say now
//	event: ended          {"code": one of vod.PlayEnd}; the last
//
// The stream ends with the ticket that opened it, and with the service; the player then sends a heartbeat, which says the same,
// and opens another.
const (
	// eventsMax bounds the streams of a node, at some 20 kB each; strangers have at most half of them.
	eventsMax = 10_000
	// eventsPerMember bounds those of one member: more than a plan's streams, for a page that is reloaded.
	eventsPerMember = 32
	// eventsIdle is the longest silence: proxies end connections of which nothing comes for a minute.
	eventsIdle = 25 * time.Second
	// eventsStall is how long a reader may take for a few bytes.
	eventsStall = 10 * time.Second
)

// listener is one open stream of events.
type listener struct {
	ticket vod.Ticket
	wake   chan struct{} // holds a token when there is something to tell, or the stream is to end

	// The rest belongs to listeners' mu.
	why    vod.PlayEnd // the session has ended
	closed bool
}

func (l *listener) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// listeners are a node's open streams of events.
type listeners struct {
	mu        sync.Mutex
	bySession map[string]*listener
	byMember  map[string]int
	closed    bool
}

func newListeners() *listeners {
	return &listeners{bySession: map[string]*listener{}, byMember: map[string]int{}}
}

// enter makes room for a stream, or says vod.ErrUnavailable. A session has one: the former ends.
func (ls *listeners) enter(t vod.Ticket) (*listener, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := &listener{ticket: t, wake: make(chan struct{}, 1)}
	former := ls.bySession[t.PlaySession]
	if former != nil {
		ls.drop(former)
	}
	most := eventsPerMember
	if t.Member == "" {
		most = eventsMax / 2
	}
	if ls.closed || len(ls.bySession) >= eventsMax || ls.byMember[t.Member] >= most {
		return nil, fmt.Errorf("listen: %w: too many do", vod.ErrUnavailable)
	}
	ls.bySession[t.PlaySession] = l
	ls.byMember[t.Member]++
	return l, nil
}

// drop ends a stream. Called with mu held.
func (ls *listeners) drop(l *listener) {
	l.closed = true
	l.rouse()
	if ls.bySession[l.ticket.PlaySession] != l {
		return
	}
	delete(ls.bySession, l.ticket.PlaySession)
	if ls.byMember[l.ticket.Member]--; ls.byMember[l.ticket.Member] == 0 {
		delete(ls.byMember, l.ticket.Member)
	}
}

func (ls *listeners) exit(l *listener) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.drop(l)
}

// state is why the session has ended, if it has, and whether the stream is to end.
func (ls *listeners) state(l *listener) (vod.PlayEnd, bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return l.why, l.closed
}

// rouse has all streams look at what they are allowed.
func (ls *listeners) rouse() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.bySession {
		l.rouse()
	}
}

// setClosed ends all streams and lets none begin, or lets them again.
func (ls *listeners) setClosed(closed bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed = closed; closed {
		for _, l := range ls.bySession {
			ls.drop(l)
		}
	}
}

// Revoke implements vod.PlayNews.
func (s *Server) Revoke(list []vod.Revocation) {
	ls := s.listeners
	ls.mu.Lock()
	defer ls.mu.Unlock()
	end := func(l *listener, r *vod.Revocation) {
		if l.why == "" {
			l.why = r.Reason()
			l.rouse()
		}
	}
	for i := range list {
		r := &list[i]
		if r.PlaySession != "" { // most of them: goodbyes
			if l := ls.bySession[r.PlaySession]; l != nil {
				end(l, r)
			}
			continue
		}
		for _, l := range ls.bySession {
			if r.Concerns(&l.ticket) {
				end(l, r)
			}
		}
	}
}

type eventsInput struct {
	Session string `path:"session" maxLength:"64"`
}

// EndedEvent is the data of an event of the kind ended.
type EndedEvent struct {
	Code vod.PlayEnd `json:"code"`
}

// eventsOperation names the one operation that is a stream.
const eventsOperation = "play-events"

func (s *Server) registerEvents() {
	o := op(eventsOperation, "GET", "/api/v1/play/{session}/events",
		"Server-sent events, for players without a tracker's socket: policy, with the policy of the moment, and ended, with a code", 200, "media")
	o.Responses = map[string]*huma.Response{"200": {
		Description: "A stream of server-sent events, until the ticket's end.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(s, o, s.events)
	s.policy.Watch(func(vod.PlayPolicy) { s.listeners.rouse() })
}

func (s *Server) events(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	ticket, err := s.mediaTicket(ctx, in.Session)
	if err != nil {
		return nil, err
	}
	t, err := s.c.Titles.Get(ctx, ticket.Title)
	if err != nil {
		return nil, err
	}
	l, err := s.listeners.enter(ticket)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(h huma.Context) {
		defer s.listeners.exit(l)
		h.SetHeader("Content-Type", "text/event-stream")
		h.SetHeader("X-Accel-Buffering", "no") // nginx would keep what comes until it is much
		h.SetStatus(http.StatusOK)
		s.tell(ctx, h.BodyWriter(), l, &t)
	}}, nil
}

// tell writes what happens to a stream, until it ends.
func (s *Server) tell(ctx context.Context, w io.Writer, l *listener, t *vod.Title) {
	send := func(text string) bool {
		// The server's own deadline, a minute after the request, is not for this answer.
		if rw, ok := w.(http.ResponseWriter); ok {
			rc := http.NewResponseController(rw)
			_ = rc.SetWriteDeadline(time.Now().Add(eventsStall)) // a test's recorder knows none
			_, err := io.WriteString(w, text)
			return err == nil && rc.Flush() == nil
		}
		_, err := io.WriteString(w, text)
		return err == nil
	}
	event := func(kind string, data any) bool {
		raw, err := json.Marshal(data)
		if err != nil {
			panic(err) // strings, numbers and booleans cannot fail
		}
		return send("event: " + kind + "\ndata: " + string(raw) + "\n\n")
	}
	idle := time.NewTicker(eventsIdle)
	defer idle.Stop()
	until := time.NewTimer(l.ticket.Expires.Sub(s.c.Clock()))
	defer until.Stop()
	told := s.policyOf(&l.ticket, t)
	for ok := event("policy", told); ok; {
		select {
		case <-l.wake:
			why, closed := s.listeners.state(l)
			if why != "" {
				event("ended", EndedEvent{Code: why})
				return
			}
			if closed {
				return
			}
			if now := s.policyOf(&l.ticket, t); now != told {
				told = now
				ok = event("policy", now)
			}
		case <-idle.C:
			ok = send(":\n\n")
		case <-until.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// policyOf is the policy of a session of which only the ticket is at hand.
func (s *Server) policyOf(ticket *vod.Ticket, t *vod.Title) vod.PlayPolicy {
	x, ok := s.plays.look(ticket.PlaySession)
	if !ok {
		x = play{id: ticket.PlaySession, title: ticket.Title, member: ticket.Member, rehearsal: ticket.Rehearsal, share: s.c.Demo != nil}
	}
	return s.policyFor(&x, t)
}
