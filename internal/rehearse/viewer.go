package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"essaim/internal/audience"
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

	mu      sync.Mutex
	pressed time.Time // zero: not yet
	seat    seat      // nil: not yet
	quit    time.Time // when its film was played, or it gave up; zero: not yet
	gaveUp  bool
}

// run lives the viewer's life: it returns when release is closed after its film, or when ctx ends. The error says why the
// whole rehearsal cannot go on.
func (v *viewer) run(ctx context.Context, watched func(), release <-chan struct{}) (err error) {
	var patience context.Context
	once := sync.OnceFunc(func() {
		v.mu.Lock()
		v.quit = time.Now()
		v.gaveUp = patience != nil && errors.Is(patience.Err(), context.DeadlineExceeded) && ctx.Err() == nil
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
	var cancel context.CancelFunc
	patience, cancel = context.WithTimeout(ctx, patienceTimes*v.crowd.part.film+patienceMore)
	defer cancel()
	seat, err := v.crowd.sit(patience, v)
	if err != nil || seat == nil {
		return err
	}
	v.mu.Lock()
	v.seat = seat
	v.mu.Unlock()
	defer func() {
		if cerr := seat.close(); err == nil {
			err = cerr
		}
	}()
	if err := seat.play(patience); err != nil && patience.Err() == nil {
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
func (v *viewer) policy(p vod.PlayPolicy) vod.PlayPolicy {
	if own := int(v.crowd.options.Uplink / 1000); v.crowd.options.Uplink > 0 && (p.UplinkKbps == 0 || own < p.UplinkKbps) {
		p.UplinkKbps = max(own, 1)
	}
	return p
}

// moment is what one looks at while the rehearsal runs.
type moment struct {
	pressed, started, dry, ended bool
	played                       time.Duration // of film
	ahead                        time.Duration // contiguous, delivered
	whole                        bool          // nothing is left to deliver
	origin, peer                 int64
}

func (v *viewer) moment() (m moment) {
	v.mu.Lock()
	seat := v.seat
	m.pressed, m.ended = !v.pressed.IsZero(), !v.quit.IsZero()
	v.mu.Unlock()
	if seat == nil {
		return m
	}
	c, _ := seat.state()
	s := seat.stats()
	m.started, m.dry, m.played, m.ahead = c.started(), c.dry, c.pos, c.buffered()-c.pos
	m.whole = c.buffered() >= c.film
	m.origin, m.peer = s.OriginBytes, s.PeerBytes
	return m
}

// lived is what the viewer lived through, when it has quit; false if it did not press play.
func (v *viewer) lived() (audience.Viewer, bool) {
	v.mu.Lock()
	seat, pressed, quit := v.seat, v.pressed, v.quit
	v.mu.Unlock()
	if pressed.IsZero() {
		return audience.Viewer{}, false
	}
	a := audience.Viewer{
		Name: strconv.Itoa(v.number + 1), Arrived: pressed.Sub(v.crowd.began), Startup: -1,
		DuplicateBytes: v.crowd.account.of(v.number),
	}
	if seat == nil {
		a.Waited = quit.Sub(pressed)
		return a, true
	}
	c, bad := seat.state()
	s := seat.stats()
	if a.Startup = c.startup; a.Startup < 0 {
		a.Waited = c.last.Sub(pressed)
	}
	a.Stalls, a.Stalled, a.Watched = c.stalls, c.stalled, c.pos
	a.OriginBytes, a.PeerBytes, a.CachedBytes, a.SentBytes, a.WastedBytes = s.OriginBytes, s.PeerBytes, s.CachedBytes, s.SentBytes, s.WastedBytes
	a.BadBytes = bad
	return a, true
}
