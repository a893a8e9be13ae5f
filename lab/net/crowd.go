package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// seat is where a viewer sits: a host of a home.
type seat struct {
	home *home
	host int
	page bool // a Chromium; else a native viewer
	lan  bool // others of the home may be told its local address
	args []string
}

// viewer is one that was started, and all that it told since.
type viewer struct {
	seat  seat
	name  string
	proc  *proc
	began time.Time

	mu   sync.Mutex
	told []stamped
}

type stamped struct {
	at time.Time
	report
}

// watch starts a viewer.
func (l *lab) watch(s seat, share bool) (*viewer, error) {
	v := &viewer{seat: s, name: fmt.Sprintf("%s%d.%d", s.home.letter(), s.home.number, s.host+1), began: time.Now()}
	args := []string{l.self, "viewer", fmt.Sprintf("-share=%t", share), fmt.Sprintf("-lan=%t", s.lan)}
	if s.page {
		v.name += "p"
		args = []string{l.self, "page", fmt.Sprintf("-share=%t", share), "-profile", l.path(fmt.Sprintf("profile-%s-%d", v.name, v.began.UnixNano()))}
	}
	args = append(args, s.args...)
	var err error
	v.proc, err = l.start(s.home.host(s.host), v.name, []string{"GOMAXPROCS=2"}, func(line []byte) {
		x := stamped{at: time.Now()}
		if json.Unmarshal(line, &x.report) == nil {
			v.mu.Lock()
			v.told = append(v.told, x)
			v.mu.Unlock()
		}
	}, args...)
	return v, err
}

// now is what the viewer told last.
func (v *viewer) now() report { return v.at(time.Now()) }

// at is what the viewer had told by a time. Before it said anything it had not started.
func (v *viewer) at(t time.Time) report {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, x := range slices.Backward(v.told) {
		if !x.at.After(t) {
			return x.report
		}
	}
	return report{StartupMs: -1}
}

// silent says that the viewer ended, which none should before it is told to.
func (v *viewer) silent() error {
	select {
	case <-v.proc.done:
		return fmt.Errorf("viewer %s ended: %s", v.name, v.proc.complaint())
	default:
		return nil
	}
}

// crowd are the viewers of one phase of a scene.
type crowd struct {
	lab     *lab
	viewers []*viewer
	began   time.Time
}

// arrive starts viewers one after the other, the first so much ahead of the others. An error, or ctx's end, ends those that came.
func (l *lab) arrive(ctx context.Context, seats []seat, share bool, head, apart time.Duration) (*crowd, error) {
	c := &crowd{lab: l, began: time.Now()}
	for i, s := range seats {
		at := time.Duration(i) * apart
		if i > 0 {
			at += head
		}
		if err := c.until(ctx, at); err != nil {
			c.leave()
			return nil, err
		}
		v, err := l.watch(s, share)
		if err != nil {
			c.leave()
			return nil, err
		}
		c.viewers = append(c.viewers, v)
	}
	return c, nil
}

// until waits for a time after the first viewer came, and looks after the viewers meanwhile.
func (c *crowd) until(ctx context.Context, after time.Duration) error {
	return c.wait(ctx, after, func() bool { return false })
}

// wait does so until a condition holds, too.
func (c *crowd) wait(ctx context.Context, after time.Duration, enough func() bool) error {
	shown := time.Now()
	for time.Since(c.began) < after && !enough() {
		if err := pause(ctx, min(200*time.Millisecond, max(after-time.Since(c.began), 0))); err != nil {
			return err
		}
		for _, v := range c.viewers {
			if err := v.silent(); err != nil {
				return err
			}
		}
		if c.lab.verbose && time.Since(shown) >= time.Second {
			shown = time.Now()
			c.show()
		}
	}
	return nil
}

// show tells how the viewers are.
func (c *crowd) show() {
	line := fmt.Sprintf("%5.1f s", time.Since(c.began).Seconds())
	for _, v := range c.viewers {
		r := v.now()
		mark := ""
		if r.Dry {
			mark = "!"
		}
		line += fmt.Sprintf(" | %s%s %.0f+%.0f o%.1f p%.1f %d/%d", v.name, mark, float64(r.PositionMs)/1e3, float64(r.AheadMs)/1e3, float64(r.Origin)/1e6, float64(r.Peer)/1e6, r.Peers, r.Connections)
	}
	if n, err := c.lab.count(context.Background(), 0); err == nil {
		line += fmt.Sprintf(" | into A %.2f MB, of peers %.2f, inside %.1f", float64(n.outside)/1e6, float64(n.outsidePeers)/1e6, float64(n.inside)/1e6)
	}
	c.lab.say("%s", line)
}

// leave ends all viewers.
func (c *crowd) leave() {
	var list []*proc
	for _, v := range c.viewers {
		list = append(list, v.proc)
	}
	endAll(list)
}

// all says whether all viewers of a provider have done something.
func (c *crowd) all(provider int, done func(report) bool) bool {
	for _, v := range c.viewers {
		if v.seat.home.provider == provider && !done(v.now()) {
			return false
		}
	}
	return true
}

func finished(r report) bool { return r.Finished }

// lived is what a provider's viewers lived through until a time.
type lived struct {
	viewers, finished, neverStarted, stalls, bad int
	stalledMs                                    int64
	media, fromOrigin, fromPeers, sent           int64
	startups                                     []float64 // s, in order
}

func (c *crowd) lived(provider int, until time.Time) (l lived) {
	for _, v := range c.viewers {
		if v.seat.home.provider != provider {
			continue
		}
		r := v.at(until)
		l.viewers++
		l.stalls += r.Stalls
		l.stalledMs += r.StalledMs
		l.bad += r.Bad
		l.fromOrigin += r.Origin
		l.fromPeers += r.Peer
		l.sent += r.Sent
		l.media += r.Origin + r.Peer
		if r.Finished {
			l.finished++
		}
		if r.StartupMs < 0 {
			l.neverStarted++
		} else {
			l.startups = append(l.startups, float64(r.StartupMs)/1000)
		}
	}
	slices.Sort(l.startups)
	return l
}

func (l *lived) stallsPerViewer() float64 {
	return round(float64(l.stalls)/float64(max(l.viewers, 1)), 3)
}

func (l *lived) stalledPerViewer() float64 {
	return round(float64(l.stalledMs)/1000/float64(max(l.viewers, 1)), 2)
}

func (l *lived) startupMedian() float64 {
	if len(l.startups) == 0 {
		return 0
	}
	return l.startups[len(l.startups)/2]
}

// byPeer is how many media bytes a provider's native viewers had had by a time from peers of each provider, by their own count. Peers
// that nobody knows by name are pages.
func (c *crowd) byPeer(provider int, until time.Time) (same, other, pages int64) {
	where := map[string]int{}
	for _, v := range c.viewers {
		if id := v.now().ID; id != "" {
			where[id] = v.seat.home.provider
		}
	}
	for _, v := range c.viewers {
		if v.seat.home.provider != provider {
			continue
		}
		for id, n := range v.at(until).From {
			switch p, known := where[id]; {
			case !known:
				pages += n
			case p == provider:
				same += n
			default:
				other += n
			}
		}
	}
	return same, other, pages
}

// same is an error where two native viewers who have finished were delivered different bytes.
func (c *crowd) same() error {
	first := ""
	for _, v := range c.viewers {
		d := v.now().Digest
		switch {
		case d == "" || len(v.seat.args) > 0: // a page, or one who did not begin at the beginning
		case first == "":
			first = d
		case d != first:
			return errors.New("two viewers were delivered different films")
		}
	}
	return nil
}

func round(x float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(x*p) / p
}
