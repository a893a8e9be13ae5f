// Package rehearse sends a crowd of silent viewers to a running service before an audience comes: each opens a play
// session with an operator's token, runs the native host over WebRTC, and plays in real time without showing anything.
//
// It must get right: that a viewer asks for what a browser's player would ask for, when it would, and for nothing beyond the
// part that is rehearsed; that the origin's bytes are the service's own count; that the crowd is bounded, can be stopped at
// any moment, and leaves nothing behind; and that figures of a rehearsal that was stopped are said to be such.
package rehearse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"essaim/internal/audience"
	"essaim/internal/client"
	"essaim/internal/vod"
)

// Bounds of a rehearsal.
const (
	ViewersMax = 512
	FilmMax    = 4 * time.Hour
	samplesMax = 20_000
)

// The rhythm of looking at the crowd, and of asking the service for its count until that rests.
const (
	sampleEvery = time.Second
	countEvery  = 200 * time.Millisecond
	countTries  = 10
	countTime   = 10 * time.Second
)

// Options say what to rehearse.
type Options struct {
	Server  string
	Token   string // an operator's
	Title   vod.TitleID
	Viewers int // 1 to ViewersMax
	Arrival Arrival
	Seed    uint64 // of the arrivals
	// Uplink bounds what a viewer gives to peers, beside the service's own policy, and Downlink what it takes over HTTP, in
	// bits per second; 0 is no bound. What peers send is not held to Downlink: it is held to their uplinks.
	Uplink, Downlink int64
	Film             time.Duration // how much of the film each viewer plays, up to FilmMax; the whole if it is shorter
	// Browser is a Chromium's path, whose pages the viewers then are; empty: this program's own hosts and players.
	Browser string
	Height  int // the highest rendition of at most so many lines; 0: the highest
	// Progress is called about once a second, from one goroutine. nil: nobody looks.
	Progress func(Progress)
}

// Progress is how far a rehearsal is.
type Progress struct {
	Played, Total                                      time.Duration // of film, all viewers together
	Elapsed                                            time.Duration
	Left                                               time.Duration // if nothing stalls
	Viewers, Arrived, Waiting, Playing, Stalled, Ended int
	OriginBytes, PeerBytes                             int64
	Trouble                                            string // why the service last refused to play for the moment; empty: it did not
}

// Result is what a rehearsal found.
type Result struct {
	Label string
	Name  string        // of the title
	Film  time.Duration // what each viewer was to play
	Run   audience.Run
	// CPU is what this process used meanwhile, and Engine the part in which engines decided.
	CPU, Engine time.Duration
	GaveUp      int    // viewers who lost their patience before the end
	Trouble     string // why the service last refused to play for the moment
}

// ErrStopped says that a rehearsal was stopped before its end; its Result is of what there was until then.
var ErrStopped = errors.New("stopped")

// errUncounted says that the service knows nothing of a rehearsal that it just served.
var errUncounted = errors.New("the service does not count what rehearsals receive: its version is another than this program's")

// crowd is one rehearsal under way.
type crowd struct {
	options  Options
	client   *client.Client
	label    string
	loopback bool // the service is on this machine
	shelf    *shelf
	judge    *judge
	engine   atomic.Int64 // nanoseconds
	browser  *browser     // nil: none
	sit      func(context.Context, *viewer) (seat, error)
	began    time.Time
	viewers  []*viewer
	part     *part
	account  *account
	mu       sync.Mutex
	last     error // the service's refusal
	samples  []audience.Sample
}

// Run rehearses. A title, token or server that does not serve is an error before anyone arrives. When ctx ends the error
// is ErrStopped, with what was found until then if anyone had arrived.
func Run(ctx context.Context, o Options) (_ Result, err error) {
	c, name, err := open(ctx, &o)
	if err != nil {
		if ctx.Err() != nil {
			err = ErrStopped
		}
		return Result{}, err
	}
	if o.Browser != "" {
		if c.browser, err = startBrowser(o.Browser); err != nil {
			return Result{}, err
		}
		defer func() { err = errors.Join(err, c.browser.close()) }()
		c.sit = sitPage
	}
	cpu := processorTime()
	c.began = time.Now()
	for i, at := range o.Arrival.Times(o.Viewers, o.Seed) {
		c.viewers = append(c.viewers, &viewer{crowd: c, number: i, arrives: at})
	}
	err = c.run(ctx)
	if err != nil && !errors.Is(err, ErrStopped) {
		return Result{}, err
	}
	r := Result{
		Label: c.label, Name: name, Film: c.part.film, Run: c.found(),
		CPU: processorTime() - cpu, Engine: time.Duration(c.engine.Load()), Trouble: c.troubled(),
	}
	for _, v := range c.viewers {
		if v.gaveUp {
			r.GaveUp++
		}
	}
	count, cerr := c.count(ctx)
	if cerr != nil {
		if err != nil { // stopped: without the service's count there are still the viewers' own
			r.Run.OriginBytes = -1
			return r, err
		}
		return Result{}, cerr
	}
	r.Run.OriginBytes = count
	return r, err
}

// Check asks what can be known before a rehearsal: the title is there, and the token is an operator's.
func Check(ctx context.Context, server, token string, id vod.TitleID) (client.Title, error) {
	c, err := client.New(server)
	if err != nil {
		return client.Title{}, err
	}
	return check(ctx, c, token, id)
}

func check(ctx context.Context, c *client.Client, token string, id vod.TitleID) (client.Title, error) {
	if !id.Valid() {
		return client.Title{}, fmt.Errorf("%q is no title's name: it has lower-case letters, digits and hyphens only", id)
	}
	if token == "" {
		return client.Title{}, errors.New("ESSAIM_TOKEN is not set: it takes an operator's token, which `essaim admin token --role operator` prints")
	}
	if _, err := c.Traffic(ctx, token); err != nil {
		if errors.Is(err, vod.ErrUnauthorized) || errors.Is(err, vod.ErrForbidden) {
			return client.Title{}, fmt.Errorf("the service refuses the token in ESSAIM_TOKEN, which must be an operator's: %w", err)
		}
		return client.Title{}, err
	}
	return c.OperatorTitle(ctx, id, token)
}

// open makes sure that a rehearsal can begin. The part comes out of a play session, which is left unused.
func open(ctx context.Context, o *Options) (*crowd, string, error) {
	if o.Viewers < 1 || o.Viewers > ViewersMax || o.Film <= 0 || o.Film > FilmMax || o.Arrival.Spread <= 0 || o.Arrival.Spread > spreadMax {
		return nil, "", fmt.Errorf("want 1 to %d viewers, and up to %s of film: %w", ViewersMax, FilmMax, vod.ErrInvalid)
	}
	if o.Browser == "" {
		if err := checkFiles(o.Viewers); err != nil {
			return nil, "", err
		}
	}
	k, err := client.New(o.Server)
	if err != nil {
		return nil, "", err
	}
	t, err := check(ctx, k, o.Token, o.Title)
	if err != nil {
		return nil, "", err
	}
	c := &crowd{options: *o, client: k, label: "r-" + strings.ToLower(rand.Text()[:12]), loopback: loopback(o.Server), shelf: newShelf(), judge: newJudge(), sit: sitNative}
	s, err := k.Rehearse(ctx, o.Title, o.Token, c.label)
	if err != nil {
		return nil, "", err
	}
	if c.part, err = newPart(&s, o.Film, o.Height); err != nil {
		return nil, "", err
	}
	c.account = newAccount(c.part, o.Viewers)
	return c, t.Name, nil
}

// loopback reports whether a server's address is this machine's own.
func loopback(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
}

// read is a viewer's session as a part, which must be everyone's.
func (c *crowd) read(s *vod.PlaySession) (*part, error) {
	p, err := newPart(s, c.options.Film, c.options.Height)
	if err == nil && p.title.InfoHashV2 != c.part.title.InfoHashV2 {
		err = fmt.Errorf("%s was published anew during the rehearsal: begin again", c.options.Title)
	}
	return p, err
}

// run lets everyone live, and returns when all are gone.
func (c *crowd) run(ctx context.Context) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	release := make(chan struct{})
	var watching, living sync.WaitGroup
	for _, v := range c.viewers {
		watching.Add(1)
		living.Go(func() {
			if err := v.run(ctx, watching.Done, release); err != nil {
				cancel(err)
			}
		})
	}
	go func() { watching.Wait(); close(release) }()
	gone := make(chan struct{})
	go func() { living.Wait(); close(gone) }()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for left := release; ; {
		select {
		case <-tick.C:
			if left != nil { // while they leave there is nothing to see
				c.look()
			}
		case <-left:
			if ctx.Err() == nil {
				c.look()
			}
			left = nil
		case <-gone:
			if outer.Err() != nil {
				return ErrStopped
			}
			return context.Cause(ctx)
		}
	}
}

// look takes a sample, and tells of the progress.
func (c *crowd) look() {
	now := time.Since(c.began)
	s := audience.Sample{At: now}
	p := Progress{Elapsed: now, Viewers: len(c.viewers), Total: time.Duration(len(c.viewers)) * c.part.film, Trouble: c.troubled()}
	var ahead []time.Duration
	for _, v := range c.viewers {
		m := v.moment()
		s.OriginBytes += m.origin
		s.PeerBytes += m.peer
		p.Played += m.played
		if m.pressed {
			p.Arrived++
		}
		switch {
		case m.ended:
			p.Ended++
			continue
		case !m.pressed:
		case !m.started:
			s.Waiting++
		case m.dry:
			s.Stalled++
		default:
			s.Playing++
		}
		if m.started && !m.whole { // towards the end there is less and less ahead
			ahead = append(ahead, m.ahead)
		}
		p.Left = max(p.Left, max(v.arrives-now, 0)+c.part.film-m.played)
	}
	if n := len(ahead); n > 0 {
		slices.Sort(ahead)
		s.BufferP5, s.BufferP50 = ahead[max((n*5+99)/100, 1)-1], ahead[(n+1)/2-1]
	}
	if len(c.samples) < samplesMax {
		c.samples = append(c.samples, s)
	}
	p.Waiting, p.Playing, p.Stalled, p.OriginBytes, p.PeerBytes = s.Waiting, s.Playing, s.Stalled, s.OriginBytes, s.PeerBytes
	if c.options.Progress != nil {
		c.options.Progress(p)
	}
}

// found is what the viewers lived through. Of a rehearsal that was stopped, the film is what was delivered to the viewer who
// got furthest.
func (c *crowd) found() audience.Run {
	r := audience.Run{Samples: c.samples, Titles: 1, OriginBytes: -1, OriginBytesAfter20s: c.account.lateBytes(), OffloadBound: -1}
	for _, v := range c.viewers {
		if a, ok := v.lived(); ok {
			r.Viewers = append(r.Viewers, a)
		}
		if v.seat != nil {
			state, _ := v.seat.state()
			r.FilmTime = max(r.FilmTime, state.buffered())
		}
	}
	if r.FilmTime > 0 {
		r.FilmBytes = c.part.upTo(r.FilmTime)
	}
	if c.browser != nil && strings.HasPrefix(c.options.Server, "https:") {
		r.OriginBytesAfter20s = -1 // pages' requests pass us unread
	}
	r.FilmBytesAfter20s = max(0, r.FilmBytes-c.part.upTo(after))
	if n := len(r.Viewers); n > 0 {
		r.OffloadBound = 1 - 1/float64(n) // each byte leaves the origin once
	}
	return r
}

// count is the service's own count of the media bytes that it sent to this rehearsal. It is asked until it rests, since
// answers that were broken off are counted when the service notices.
func (c *crowd) count(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), countTime)
	defer cancel()
	last := int64(-1)
	for range countTries {
		t, err := c.client.Traffic(ctx, c.options.Token)
		if err != nil {
			return 0, err
		}
		r, ok := t.Rehearsals[c.label]
		if !ok {
			return 0, errUncounted
		}
		if r.OriginBytes == last {
			break
		}
		last = r.OriginBytes
		if err := pause(ctx, countEvery); err != nil {
			return 0, err
		}
	}
	return last, nil
}

func (c *crowd) trouble(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = err
}

func (c *crowd) troubled() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return ""
	}
	return c.last.Error()
}

// processorTime is what this process used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
