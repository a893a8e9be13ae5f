package rehearse

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
	"essaim/internal/watch"
)

// seat is what a viewer watches with.
type seat interface {
	// play returns nil when the film was played to the part's end.
	play(ctx context.Context) error
	// state is the player's clock, and how many bytes were delivered to it that are not the film's.
	state() (clock, int64)
	stats() native.Stats
	// close leaves the swarm, and returns when nothing is left.
	close() error
}

// closeTime is how long a host may take to leave.
const closeTime = 15 * time.Second

// nativeSeat is this program's own host and player.
type nativeSeat struct {
	viewer  *viewer
	host    *native.Host
	player  *player
	line    *transport
	tickets atomic.Pointer[vod.PlayTickets]
	over    context.CancelFunc
	beats   sync.WaitGroup
}

// sitNative presses play; nil if ctx ended first.
func sitNative(ctx context.Context, v *viewer) (seat, error) {
	s, err := v.press(ctx)
	if err != nil || s == nil {
		return nil, err
	}
	p, err := v.crowd.read(s)
	if err != nil {
		return nil, err
	}
	n := &nativeSeat{viewer: v, line: newTransport(v.number, v.crowd.account, v.crowd.options.Downlink/8)}
	n.tickets.Store(&s.Tickets)
	n.host, err = native.Open(context.WithoutCancel(ctx), native.Config{ // close ends it, with a goodbye to the tracker
		Title: p.title, Indexes: p.indexes(), Origins: s.Nodes.Origins, Trackers: s.Nodes.Trackers, ICE: s.Nodes.ICE,
		Tickets: func() native.Tickets {
			t := n.tickets.Load()
			return native.Tickets{Media: t.Media, Swarm: t.Swarm}
		},
		// One machine plays all households: what its processors and its loopback hold up is no call or game of theirs.
		OwnUplink: true,
		Policy:    hostPolicy(v.policy(s.Policy)), LAN: s.Policy.LAN || v.crowd.loopback, Store: v.crowd.shelf.view(),
		Engine: &timed{Stepper: engine.New(), spent: &v.crowd.engine}, Client: n.line.client(),
	})
	if err != nil {
		n.line.close()
		return nil, fmt.Errorf("viewer %d: %w", v.number+1, err)
	}
	n.player = newPlayer(n.host, p, v.crowd.judge, v.pressed)
	var beating context.Context
	beating, n.over = context.WithCancel(context.WithoutCancel(ctx))
	n.beats.Go(func() { n.beat(beating, s) })
	return n, nil
}

func hostPolicy(p vod.PlayPolicy) native.Policy {
	return native.Policy{Peers: p.P2P, Upload: p.Upload, UplinkKbps: p.UplinkKbps}
}

func (n *nativeSeat) play(ctx context.Context) error { return n.player.play(ctx) }
func (n *nativeSeat) state() (clock, int64)          { return n.player.state() }
func (n *nativeSeat) stats() native.Stats            { return n.host.Stats() }

func (n *nativeSeat) close() error {
	n.over()
	n.beats.Wait()
	closed := make(chan error, 1)
	go func() { closed <- n.host.Close() }()
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	defer n.line.close()
	select {
	case err := <-closed:
		return err
	case <-timer.C: // pion may never end a connection whose set-up it broke off: the figures must not wait for that
		return nil
	}
}

// beat reports and renews the tickets at half their life, until ctx ends.
func (n *nativeSeat) beat(ctx context.Context, s *vod.PlaySession) {
	next := beatAfter(s.Tickets.ExpiresMs)
	for pause(ctx, next) == nil {
		stats := n.stats()
		c, _ := n.state()
		calling, cancel := context.WithTimeout(ctx, beatTimeout)
		r, err := n.viewer.crowd.client.Heartbeat(calling, s.ID, n.tickets.Load().Media, vod.Heartbeat{
			PositionMs: c.pos.Milliseconds(), OriginBytes: stats.OriginBytes, PeerBytes: stats.PeerBytes, SentBytes: stats.SentBytes,
			Stalls: c.stalls, StalledMs: c.stalled.Milliseconds(), StartupMs: max(c.startup, 0).Milliseconds(), BadBlocks: stats.BadBlocks, Banned: watch.BannedPeers(&stats),
		})
		cancel()
		if err != nil { // the old tickets are accepted for a while
			next = beatRetry
			continue
		}
		if r.Tickets != nil { // always, at half their life
			n.tickets.Store(r.Tickets)
		}
		n.host.SetPolicy(hostPolicy(n.viewer.policy(r.Policy)))
		next = beatAfter(n.tickets.Load().ExpiresMs)
	}
}

// beatAfter is half the tickets' life.
func beatAfter(expiresMs int64) time.Duration {
	return max(time.Duration(expiresMs)*time.Millisecond/2, beatMin)
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
