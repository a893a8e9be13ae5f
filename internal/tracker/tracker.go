// Package tracker serves WebTorrent's tracker protocol over WebSocket, with our viewers' extension, around the
// memory in package swarm.
//
// It must get right: that a title that is not open has no state and no relay for whoever holds no ticket for it; that a
// ticket is honoured only from our own pages, for one peer of one play session, until it expires or is revoked, and that a
// bad one ends the connection with its reason; that nobody enters or leaves the swarm of a rehearsal without a ticket for
// it; that what is relayed is an SDP of one data channel with harmless addresses, well formed, from whom it says, to whom
// the tracker chose; and that no client, however slow, fast or hostile, makes the tracker keep more than a bounded amount
// for it.
//
// Our own viewers announce every ViewerInterval, and sooner when they want to meet somebody, have something to tell, or do not play what
// and where they said. When nothing of that is so, they renew: they say that they are still there (announce.KindStill), if a reply has
// allowed it on that connection, and are not answered, for that would cost more than all else about it. The tracker says how the swarm
// stands every now and then instead, as the reply promised, so that a viewer tells a quiet tracker from a dead one. Other clients, and
// viewers of a former version, never say so, and are answered each time.
//
// On Linux a connection by plain TCP that says nothing holds neither goroutine nor buffer, nor does one by TLS whose
// listener came from Listen, beside TLS's own: pollers read what comes, into buffers that all share, and write what one turn says to
// a client at once. All others are carried by a goroutine each, with a small buffer while they say nothing.
package tracker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/tracker/frame"
	"essaim/internal/vod"
)

// Codes with which the tracker closes a connection, beside those of RFC 6455.
const (
	// StatusTicket: the ticket is not valid for this swarm, or no more, or not for this peer.
	StatusTicket = 4401
	// StatusRevoked: the ticket was good, and has been revoked.
	StatusRevoked = 4403
)

// Config is what a Tracker needs. Titles and Tickets are required.
type Config struct {
	Titles  vod.Titles
	Tickets vod.Tickets
	Clock   vod.Clock // nil: time.Now
	// Issuer says whether viewers can renew their tickets; while they cannot, places outlive them. nil: they always can.
	Issuer vod.Issuer
	Seed   uint64 // of the choice among peers
	// LAN leaves the addresses of local networks in what is relayed, as it always is among a rehearsal's viewers, and lets one
	// address hold many connections.
	LAN bool
	// Hosts are ours, with port where it is not the scheme's own, besides the one that a request names: pages from
	// there may use tickets.
	Hosts          []string
	Interval       time.Duration // between announces, ±10 %; 0: 120 s
	ViewerInterval time.Duration // between announces of our own viewers who ask for nothing; 0: 120 s
	IdleTimeout    time.Duration // without a whole message; 0: 240 s
	SocketsMax     int           // 0: 18,000
	// SocketsPerAddress bounds connections from one IPv4 address or IPv6 /64; 0: 64. A quarter of them may announce without
	// a ticket, and sixteen times as many may come from one IPv4 /24 or IPv6 /48. In LAN mode and from the machine itself it
	// does not apply.
	SocketsPerAddress int
	// SocketsPerMember bounds connections that show tickets of one member; 0: 4. It does not apply in LAN mode, nor to
	// rehearsals.
	SocketsPerMember int
	// Unpaced lets clients speak as fast as they can. For measurements only.
	Unpaced bool
	// Places says where an address is. nil: addresses say nothing, for instance because a proxy hides them; then no regard
	// is had to them in introductions either.
	Places Places
	Logger *slog.Logger // nil: none
}

// Tracker is an http.Handler for WebSocket connections, a vod.SwarmDoor, and brings vod.SwarmNews.
type Tracker struct {
	cfg    Config
	titles titles
	queued atomic.Int64 // bytes in all write queues
	held   atomic.Int64 // bytes of all messages that are not whole

	pollers   []*poller
	keepalive time.Duration                                   // keepaliveEvery, but in tests
	pause     func(ctx context.Context, d time.Duration) bool // rest, but in tests

	mu        sync.Mutex
	set       *swarm.Set // viewers'
	rehearsed *swarm.Set // rehearsals': in a set of their own, so that they are neither counted as viewers nor in their way
	random    *rand.PCG
	epoch     time.Time
	now       swarm.Instant
	sockets   map[swarm.Socket]*socket // those that may speak
	sequence  swarm.Socket
	callers   callers // by address, until they have ended
	grants    grants
	peersOff  bool       // the operator's switch
	off       off        // and what is short of it
	ended     *sync.Cond // one of them has
	open      int        // how many have not
	passed    int        // of these, how many came in with a rehearsal's pass
	stopped   bool
	closed    bool
}

var (
	_ vod.SwarmDoor = (*Tracker)(nil)
	_ vod.SwarmNews = (*Tracker)(nil)
)

// New returns a tracker that serves at once.
func New(cfg Config) *Tracker {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	or := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	or(&cfg.Interval, 120*time.Second)
	or(&cfg.ViewerInterval, 120*time.Second)
	or(&cfg.IdleTimeout, 240*time.Second)
	if cfg.SocketsMax == 0 {
		cfg.SocketsMax = 18_000
	}
	if cfg.SocketsPerAddress == 0 {
		cfg.SocketsPerAddress = 64
	}
	if cfg.SocketsPerMember == 0 {
		cfg.SocketsPerMember = 4
	}
	t := &Tracker{
		cfg:     cfg,
		titles:  titles{from: cfg.Titles, clock: cfg.Clock, known: make(map[bt.InfoHash]titleEntry)},
		random:  rand.NewPCG(cfg.Seed, 0),
		epoch:   cfg.Clock(),
		sockets: make(map[swarm.Socket]*socket),
		callers: newCallers(cfg.SocketsPerAddress),
		grants:  newGrants(),
		pause:   rest, keepalive: keepaliveEvery,
	}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		t.pollers = append(t.pollers, &poller{tracker: t})
	}
	t.ended = sync.NewCond(&t.mu)
	t.empty()
	return t
}

// empty makes all swarms new. Called with mu held.
func (t *Tracker) empty() {
	t.set = swarm.New(swarm.Limits{}, t.random)
	t.rehearsed = swarm.New(swarm.Limits{}, t.random)
}

// ServeHTTP turns a request into a WebSocket connection and serves it until it ends. It answers 503 while stopped or
// full and 429 when the address holds too many connections already. A rehearsal's pass, a ticket of its own audience in
// the query as `rehearsal`, lets vod.RehearsalsMax connections in whatever their addresses hold, and is answered 503
// beyond; one that has ended, or is none, makes no difference. The server's ResponseWriter must be hijackable.
func (t *Tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s, status := t.enter(r)
	if status != 0 {
		problem(w, status)
		return
	}
	// Any page may join an open title; who shows a ticket has its Origin checked then. No extension is agreed on: there is
	// nothing to inflate, so no bomb.
	answer, status := frame.Accept(r)
	if status != http.StatusSwitchingProtocols {
		t.exit(s)
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		problem(w, status)
		return
	}
	conn, rest, err := hijack(w)
	if err != nil {
		t.exit(s)
		problem(w, http.StatusInternalServerError)
		return
	}
	// On a goroutine of its own: this one's stack, and net/http's buffers with it, may go.
	go s.serve(conn, answer, rest)
}

// problem answers an HTTP request that becomes no connection (RFC 9457).
func problem(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "5")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"title":"` + http.StatusText(status) + `","status":` + strconv.Itoa(status) + `}`))
}

// enter makes room for a connection, or says with which status to refuse it.
func (t *Tracker) enter(r *http.Request) (*socket, int) {
	from := addressOf(r.RemoteAddr)
	label := t.pass(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped || t.closed || t.open >= t.cfg.SocketsMax || label != "" && t.passed >= vod.RehearsalsMax:
		return nil, http.StatusServiceUnavailable
	case label != "":
		t.passed++
	case !t.cfg.LAN && !from.local && !t.callers.enter(from, t.cfg.Clock()):
		return nil, http.StatusTooManyRequests
	}
	t.open++
	t.sequence++
	s := newSocket(t, t.sequence, from, foreign(r, t.cfg.Hosts))
	s.passed, s.settled, s.rehearsal = label != "", label != "", label
	t.sockets[s.id] = s
	return s, 0
}

// exit gives the room back, when a connection has ended.
func (t *Tracker) exit(s *socket) {
	t.forget(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.passed {
		t.passed--
	} else if !t.cfg.LAN && !s.from.local {
		t.callers.exit(s.from, s.stranger)
	}
	t.open--
	t.ended.Broadcast()
}

// forget takes a connection's peers out of their swarms; what it still says is not heard.
func (t *Tracker) forget(s *socket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sockets, s.id)
	t.set.CloseSocket(s.id)
	t.rehearsed.CloseSocket(s.id)
	now := t.cfg.Clock()
	for _, g := range slices.Clone(s.grants) {
		t.release(g, s, now)
	}
}

// instant is the time of the set. It never goes back. Called with mu held.
func (t *Tracker) instant() swarm.Instant {
	t.now = max(t.now, swarm.Instant(t.cfg.Clock().Sub(t.epoch).Microseconds()))
	return t.now
}

// SetStopped closes every connection (1012) and empties all swarms; while stopped, new ones are answered 503.
// It returns when all have been told to close, not when they have.
func (t *Tracker) SetStopped(stopped bool) {
	t.mu.Lock()
	t.stopped = stopped
	t.mu.Unlock()
	if stopped {
		t.closeAll(frame.CodeRestart, "tracker stopped")
	}
}

// Stopped says whether SetStopped(true) is in force.
func (t *Tracker) Stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped
}

// Swarms says how many peers each swarm has. Rehearsals are not among them.
func (t *Tracker) Swarms() map[bt.InfoHash]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	swarms := make(map[bt.InfoHash]int)
	t.set.Each(t.instant(), func(h bt.InfoHash, c swarm.Counts) { swarms[h] = c.Complete + c.Incomplete })
	return swarms
}

// How connections are closed when the server goes away: their clients all come back soon, elsewhere or here, and shall not do so
// at once. Ten thousand take half a minute, and are served until it is their turn.
const (
	drainEvery = 100 * time.Millisecond
	drainShare = 30 // closed in each
)

// Shutdown refuses new connections for good, closes those that there are (1001), drainShare every drainEvery, and returns when all
// have ended. When ctx is done, the rest is closed and ended at once. http.Server.Shutdown does not know these connections: call
// both.
func (t *Tracker) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	var all []*socket
	for t.drain(&all) && t.pause(ctx, drainEvery) {
	}
	t.mu.Lock()
	t.grants.stop()
	t.mu.Unlock()
	all = append(all, t.closeAll(goingAway())...)
	stop := context.AfterFunc(ctx, func() {
		for _, s := range all {
			s.sever()
		}
	})
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.open > 0 {
		t.ended.Wait()
	}
	return ctx.Err()
}

func goingAway() (frame.Code, string) { return frame.CodeGoingAway, "server is going away" }

// drain closes some connections, adds them to all, and says whether there are more.
func (t *Tracker) drain(all *[]*socket) (more bool) {
	t.mu.Lock()
	var some []*socket
	for _, s := range t.sockets { // in no order
		if some = append(some, s); len(some) == drainShare {
			break
		}
	}
	more = len(t.sockets) > len(some)
	t.mu.Unlock()
	for _, s := range some {
		t.forget(s)
		s.finish(goingAway())
	}
	*all = append(*all, some...)
	return more
}

// rest waits; false when ctx is done first.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *Tracker) closeAll(code frame.Code, reason string) []*socket {
	t.mu.Lock()
	all := make([]*socket, 0, len(t.sockets))
	for _, s := range t.sockets {
		all = append(all, s)
	}
	clear(t.sockets)
	t.empty()
	now := t.cfg.Clock()
	for _, s := range all {
		for _, g := range slices.Clone(s.grants) {
			t.release(g, s, now)
		}
	}
	t.mu.Unlock()
	for _, s := range all {
		s.finish(code, reason)
	}
	return all
}

// interval draws the seconds until a WebTorrent client's next announce. Called with mu held.
func (t *Tracker) interval() int {
	base := t.cfg.Interval.Seconds()
	return max(1, int(base*(0.9+0.2*float64(t.random.Uint64()>>11)/(1<<53))+0.5))
}

// viewerInterval is the time until our own viewers' next announce, in seconds.
func (t *Tracker) viewerInterval() int { return max(1, int(t.cfg.ViewerInterval.Seconds())) }

// company is the set of swarms in which those of a rehearsal are, or viewers for no label. Called with mu held.
func (t *Tracker) company(label vod.RehearsalLabel) *swarm.Set {
	if label != "" {
		return t.rehearsed
	}
	return t.set
}

// fail sends a refusal; with req it names the swarm and the action.
func (s *socket) fail(req *announce.Request, reason string) {
	s.send(announce.AppendFailure(nil, &announce.Failure{
		Scrape:      req.Kind == announce.KindScrape,
		Reason:      reason,
		InfoHash:    req.InfoHash,
		HasInfoHash: req.HasInfoHash,
	}))
}
