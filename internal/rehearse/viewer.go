package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/audience"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
)

// Bounds of a viewer.
const (
	beatMin     = 5 * time.Second
	beatTimeout = 20 * time.Second
	beatRetry   = 5 * time.Second
	// A viewer gives up when it is not done patienceTimes the film's length and patienceMore after it pressed play.
	patienceTimes = 3
	patienceMore  = time.Minute
)

// viewer is one of the crowd.
type viewer struct {
	crowd   *crowd
	number  int // from 0
	arrives time.Duration
	tickets atomic.Pointer[vod.PlayTickets]

	mu      sync.Mutex
	pressed time.Time    // zero: not yet
	player  *player      // nil: not yet
	host    *native.Host // the same
	quit    time.Time    // when its film was played, or it gave up; zero: not yet
}

// run lives the viewer's life: it returns when release is closed after its film, or when ctx ends. The error says why the
// whole rehearsal cannot go on.
func (v *viewer) run(ctx context.Context, watched func(), release <-chan struct{}) (err error) {
	once := sync.OnceFunc(func() {
		v.mu.Lock()
		v.quit = time.Now()
		v.mu.Unlock()
		watched()
	})
	defer once()
	if err := pause(ctx, time.Until(v.crowd.began.Add(v.arrives))); err != nil {
		return nil
	}
	v.mu.Lock()
	v.pressed = time.Now()
	v.mu.Unlock()
	patience, cancel := context.WithTimeout(ctx, patienceTimes*v.crowd.part.film+patienceMore)
	defer cancel()
	s, err := v.press(patience)
	if err != nil || patience.Err() != nil {
		return err
	}
	p, err := v.crowd.read(s)
	if err != nil {
		return err
	}
	line := newTransport(v.number, v.crowd.account, v.crowd.options.Downlink/8)
	defer line.close()
	v.tickets.Store(&s.Tickets)
	host, err := native.Open(context.WithoutCancel(ctx), native.Config{ // Close ends it, with a goodbye to the tracker
		Title: p.title, Indexes: p.indexes(), Origins: s.Nodes.Origins, Trackers: s.Nodes.Trackers, ICE: s.Nodes.ICE,
		Tickets: func() native.Tickets {
			t := v.tickets.Load()
			return native.Tickets{Media: t.Media, Swarm: t.Swarm}
		},
		Policy: v.policy(s.Policy), LAN: s.Policy.LAN || v.crowd.loopback, Store: v.crowd.shelf.view(),
		Engine: &timed{Stepper: engine.New(), spent: &v.crowd.engine}, Client: line.client(),
	})
	if err != nil {
		return fmt.Errorf("viewer %d: %w", v.number+1, err)
	}
	player := newPlayer(host, p, v.crowd.judge, v.pressed)
	v.mu.Lock()
	v.host, v.player = host, player
	v.mu.Unlock()
	beating, over := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { v.beat(beating, s) })
	defer func() {
		over()
		beats.Wait()
		if cerr := host.Close(); err == nil {
			err = cerr
		}
	}()
	if err := player.play(patience); err != nil && patience.Err() == nil {
		return fmt.Errorf("viewer %d: %w", v.number+1, err)
	}
	once()
	select {
	case <-release:
	case <-ctx.Done():
	}
	return nil
}

// press opens a play session; while the service is overloaded or cannot be reached, the viewer presses again.
func (v *viewer) press(ctx context.Context) (*vod.PlaySession, error) {
	o := v.crowd.options
	for {
		s, err := v.crowd.client.Rehearse(ctx, o.Title, o.Token, v.crowd.label)
		switch {
		case err == nil:
			return &s, nil
		case ctx.Err() != nil:
			return nil, nil
		case refused(err):
			return nil, err
		}
		v.crowd.trouble(err)
		if pause(ctx, retryEvery) != nil {
			return nil, nil
		}
	}
}

// refused reports whether trying again is in vain.
func refused(err error) bool {
	for _, e := range []error{vod.ErrUnauthorized, vod.ErrForbidden, vod.ErrNotFound, vod.ErrInvalid, vod.ErrConflict} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// policy is the operator's, within the uplink that is rehearsed.
func (v *viewer) policy(p vod.PlayPolicy) native.Policy {
	kbps := p.UplinkKbps
	if own := int(v.crowd.options.Uplink / 1000); v.crowd.options.Uplink > 0 && (kbps == 0 || own < kbps) {
		kbps = max(own, 1)
	}
	return native.Policy{Peers: p.P2P, Upload: p.Upload, UplinkKbps: kbps}
}

// beat reports and renews the tickets at half their life, until ctx ends.
func (v *viewer) beat(ctx context.Context, s *vod.PlaySession) {
	next := max(time.Duration(s.Tickets.ExpiresMs)*time.Millisecond/2, beatMin)
	for pause(ctx, next) == nil {
		stats := v.host.Stats()
		c, _ := v.player.state()
		calling, cancel := context.WithTimeout(ctx, beatTimeout)
		r, err := v.crowd.client.Heartbeat(calling, s.ID, v.tickets.Load().Media, vod.Heartbeat{
			PositionMs: c.pos.Milliseconds(), OriginBytes: stats.OriginBytes, PeerBytes: stats.PeerBytes, SentBytes: stats.SentBytes,
			Stalls: c.stalls, StalledMs: c.stalled.Milliseconds(), StartupMs: max(c.startup, 0).Milliseconds(), BadBlocks: stats.BadBlocks,
		})
		cancel()
		if err != nil { // the old tickets are accepted for a while
			next = beatRetry
			continue
		}
		v.tickets.Store(&r.Tickets)
		v.host.SetPolicy(v.policy(r.Policy))
		next = max(time.Duration(r.Tickets.ExpiresMs)*time.Millisecond/2, beatMin)
	}
}

// moment is what one looks at while the rehearsal runs.
type moment struct {
	pressed, started, dry, ended bool
	played                       time.Duration // of film
	ahead                        time.Duration // contiguous, delivered
	origin, peer                 int64
}

func (v *viewer) moment() (m moment) {
	v.mu.Lock()
	player, host := v.player, v.host
	m.pressed, m.ended = !v.pressed.IsZero(), !v.quit.IsZero()
	v.mu.Unlock()
	if player == nil {
		return m
	}
	c, _ := player.state()
	s := host.Stats()
	m.started, m.dry, m.played, m.ahead = c.started(), c.dry, c.pos, c.buffered()-c.pos
	m.origin, m.peer = s.OriginBytes, s.PeerBytes
	return m
}

// lived is what the viewer lived through, when it has quit; false if it did not press play.
func (v *viewer) lived() (audience.Viewer, bool) {
	v.mu.Lock()
	player, host, pressed, quit := v.player, v.host, v.pressed, v.quit
	v.mu.Unlock()
	if pressed.IsZero() {
		return audience.Viewer{}, false
	}
	a := audience.Viewer{
		Name: strconv.Itoa(v.number + 1), Arrived: pressed.Sub(v.crowd.began), Startup: -1,
		DuplicateBytes: v.crowd.account.of(v.number),
	}
	if player == nil {
		a.Waited = quit.Sub(pressed)
		return a, true
	}
	c, bad := player.state()
	s := host.Stats()
	if a.Startup = c.startup; a.Startup < 0 {
		a.Waited = c.last.Sub(pressed)
	}
	a.Stalls, a.Stalled, a.Watched = c.stalls, c.stalled, c.pos
	a.OriginBytes, a.PeerBytes, a.CachedBytes, a.SentBytes, a.WastedBytes = s.OriginBytes, s.PeerBytes, s.CachedBytes, s.SentBytes, s.WastedBytes
	a.BadBytes = bad
	return a, true
}

// timed measures how long an engine decides. A host's engine runs on one goroutine, so the time is the processor's, as long
// as there is a processor for it.
type timed struct {
	native.Stepper
	spent *atomic.Int64
}

// Step implements native.Stepper.
func (t *timed) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	before := time.Now()
	out = t.Stepper.Step(now, in, out)
	t.spent.Add(int64(time.Since(before)))
	return out
}
