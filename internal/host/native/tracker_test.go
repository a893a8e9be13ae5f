package native

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"essaim/internal/bt/announce"
	"essaim/internal/engine"
	"essaim/internal/host/hosttest"
)

// renewing plays a script of renewals on what decides about them.
type renewing struct {
	renewal
}

func (c *renewing) Announce(at time.Duration, a hosttest.RenewalAnnounce) string {
	self := selfie{position: time.Duration(a.PositionMs) * time.Millisecond, rendition: a.Rendition, ticket: a.Ticket}
	w := c.next(at, self, a.Event != "" || a.Want > 0 || a.Outcome)
	if w != sayNothing {
		c.tell(at, w, self)
	}
	return []string{"nothing", "still", "all"}[w]
}

func (c *renewing) Reply(interval, still int) { c.answered(interval, still) }
func (c *renewing) Refused()                  { c.refused() }

func TestRenewalsAreSaidAsEveryHostSaysThem(t *testing.T) {
	hosttest.RunRenewals(t, func() hosttest.Renewing { return &renewing{} })
}

func TestSeedHasNoPlayHeadToTellOf(t *testing.T) {
	var r renewal
	self := selfie{seed: true}
	r.tell(0, sayAll, self)
	r.answered(120, 100)
	self.position = time.Hour
	if w := r.next(30*time.Second, self, false); w != sayNothing {
		t.Errorf("a seed whose play head is elsewhere says %d", w)
	}
	self.seed = false
	if w := r.next(30*time.Second, self, false); w != sayAll {
		t.Errorf("who is no seed any more says %d", w)
	}
}

// trackerOf serves each connection by f, which owns it, with how many there have been before.
func trackerOf(t *testing.T, f func(n int, c *websocket.Conn, r *http.Request)) string {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(announce.MessageMax)
		f(int(n.Add(1))-1, c, r)
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// next reads an announce; false when the connection has ended.
func next(c *websocket.Conn, r *http.Request) (announce.Request, bool) {
	_, b, err := c.Read(r.Context())
	if err != nil {
		return announce.Request{}, false
	}
	req, err := announce.ParseRequest(b)
	return req, err == nil
}

func TestRevokedTicketIsNotShownAgain(t *testing.T) {
	f := newFilm(t, 100_000)
	shown := make(chan string, 10)
	url := trackerOf(t, func(_ int, c *websocket.Conn, r *http.Request) {
		req, ok := next(c, r)
		if !ok || req.Viewer == nil {
			return
		}
		shown <- req.Viewer.Ticket
		if req.Viewer.Ticket == "revoked" {
			_ = c.Write(r.Context(), websocket.MessageText, announce.AppendFailure(nil, &announce.Failure{
				Reason: "ticket was revoked", InfoHash: req.InfoHash, HasInfoHash: true,
			}))
			_ = c.Close(closedRevoked, "ticket was revoked")
			return
		}
		_, _ = next(c, r)
	})
	cfg := newPlace(t, f).config()
	cfg.Trackers = []string{url}
	var ticket atomic.Value
	ticket.Store("revoked")
	cfg.Tickets = func() Tickets { return Tickets{Swarm: ticket.Load().(string)} }
	cfg.Jitter = func(int64) int64 { return 0 }
	e := &heard{newEngine(), engine.PolicyChanged, make(chan engine.Input, 10)}
	cfg.Engine = e
	h := open(t, cfg)
	ctx := deadline(t)
	if got := awaitTicket(t, shown, ctx.Done()); got != "revoked" {
		t.Fatalf("shows %q first", got)
	}
	for allowed := true; allowed; { // which the policy at the start says
		select {
		case in := <-e.said:
			allowed = in.Flags&engine.FlagPeers != 0
		case <-ctx.Done():
			t.Fatal("peers stay allowed")
		}
	}
	// The policy may allow peers again, and nothing is shown; with another ticket, that is.
	h.SetPolicy(Policy{Peers: true})
	h.do(func() {
		if h.door.stop != nil {
			t.Error("the tracker is tried with a ticket that it has said is revoked")
		}
	})
	ticket.Store("new")
	h.SetPolicy(Policy{Peers: true})
	if got := awaitTicket(t, shown, ctx.Done()); got != "new" {
		t.Errorf("shows %q", got)
	}
	if err := watch(ctx, h, f, 0); err != nil {
		t.Error(err)
	}
}

func awaitTicket(t *testing.T, shown <-chan string, done <-chan struct{}) string {
	t.Helper()
	select {
	case got := <-shown:
		return got
	case <-done:
		t.Fatal("no announce")
	}
	return ""
}

func TestViewerWhoPlaysOnSaysOnlyThatItIsStillThere(t *testing.T) {
	came := make(chan announce.Request, 10)
	url := trackerOf(t, func(_ int, c *websocket.Conn, r *http.Request) {
		for {
			req, ok := next(c, r)
			if !ok {
				return
			}
			if req.Kind == announce.KindAnnounce {
				_ = c.Write(r.Context(), websocket.MessageText, announce.AppendReply(nil, &announce.Reply{
					InfoHash: req.InfoHash, Interval: 120, Viewer: &announce.Introductions{Still: 100},
				}))
			}
			came <- req
		}
	})
	cfg := newPlace(t, newFilm(t, 100_000)).config()
	cfg.Trackers = []string{url}
	h := open(t, cfg)
	ctx := deadline(t)
	if r := <-came; r.Kind != announce.KindAnnounce || r.Viewer == nil {
		t.Fatalf("begins with %+v", r)
	}
	for answered := false; !answered; { // by the host
		h.do(func() { answered = !h.door.renewal.asked })
		if ctx.Err() != nil {
			t.Fatal("the answer does not arrive")
		}
	}
	say := func(late time.Duration) {
		h.do(func() {
			d := h.door
			d.renewal.any = d.now() - late
			at := d.last.Viewer.PositionMs + (d.now() - d.renewal.all).Milliseconds()
			d.announce(at, uint32(d.last.Viewer.Rendition), 0, 0)
		})
	}
	say(time.Minute) // nothing
	say(2 * time.Minute)
	select {
	case r := <-came:
		if r.Kind != announce.KindStill || r.PeerID != h.PeerID() {
			t.Errorf("says %+v", r)
		}
	case <-ctx.Done():
		t.Fatal("says nothing")
	}
	say(0)
	h.do(func() { h.door.announce(0, 0, 3, 0) })
	select {
	case r := <-came:
		if r.Kind != announce.KindAnnounce || r.NumWant != 3 {
			t.Errorf("then %+v", r)
		}
	case <-ctx.Done():
		t.Fatal("does not ask for neighbours")
	}
}

// A tracker that promised to say something, and does not, is dead, though its connection stands.
func TestTrackerThatBreaksItsPromiseIsGivenUp(t *testing.T) {
	came := make(chan int, 10)
	url := trackerOf(t, func(n int, c *websocket.Conn, r *http.Request) {
		req, ok := next(c, r)
		came <- n
		if ok {
			_ = c.Write(r.Context(), websocket.MessageText, announce.AppendReply(nil, &announce.Reply{
				InfoHash: req.InfoHash, Interval: 120, Viewer: &announce.Introductions{Still: 1},
			}))
		}
		for ok {
			_, ok = next(c, r)
		}
	})
	cfg := newPlace(t, newFilm(t, 100_000)).config()
	cfg.Trackers = []string{url}
	cfg.Jitter = func(int64) int64 { return 0 }
	open(t, cfg)
	ctx := deadline(t)
	for want := range 2 {
		select {
		case n := <-came:
			if n != want {
				t.Errorf("connection %d, want %d", n, want)
			}
		case <-ctx.Done():
			t.Fatal("the tracker is not tried again")
		}
	}
}
