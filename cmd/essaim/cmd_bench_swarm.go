package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/members"
)

// benchSwarmCmd measures what a steady swarm costs its tracker: one of our own viewers, and, beside it on the same tracker, one of
// unmodified WebTorrent tracker clients. Data channels are stand-ins on both sides: whoever was answered is connected.
type benchSwarmCmd struct {
	Peers      int     `default:"50" help:"Peers of the swarm."`
	Minutes    float64 `default:"10" help:"How long each swarm is held."`
	WebTorrent string  `name:"webtorrent" type:"existingfile" placeholder:"web/lab/swarm/swarm.mjs" help:"Also hold one of npm's bittorrent-tracker clients; needs node, and npm ci in web/."`
	JSON       bool    `name:"json" help:"Print one JSON object."`
}

// SwarmSide is what one swarm cost, from the first connection on.
type SwarmSide struct {
	Pairs          int     `json:"pairs"` // that connected
	CPUSeconds     float64 `json:"cpu_s"` // of the tracker
	Bytes          int64   `json:"bytes"` // both ways, handshakes included, as TCP's payload
	CPUPerPair     float64 `json:"cpu_ms_per_pair"`
	BytesPerPair   float64 `json:"bytes_per_pair"`
	OffersPerPair  float64 `json:"offers_per_pair"` // relayed
	AnswersPerPair float64 `json:"answers_per_pair"`
}

// SwarmBench is the outcome of bench swarm: our own swarm, and WebTorrent's.
type SwarmBench struct {
	SwarmSide
	WebTorrent *SwarmSide `json:"webtorrent,omitempty"`
	Peers      int        `json:"peers"`
	Minutes    float64    `json:"minutes"`
	Cores      int        `json:"cores"`
}

// Validate implements kong's interface of that name.
func (c *benchSwarmCmd) Validate() error {
	switch {
	case c.Peers < 2 || c.Peers > 1000:
		return errors.New("--peers must be 2 to 1000")
	case c.Minutes <= 0 || c.Minutes > 600:
		return errors.New("--minutes must be more than 0, up to 600")
	}
	return nil
}

// Run measures and prints.
func (c *benchSwarmCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout)
}

func (c *benchSwarmCmd) run(ctx context.Context, out io.Writer) error {
	b := &SwarmBench{Peers: c.Peers, Minutes: c.Minutes, Cores: runtime.NumCPU()}
	var err error
	if b.SwarmSide, err = c.hold(ctx, "viewers", c.viewers); err != nil {
		return err
	}
	if c.WebTorrent != "" {
		side, err := c.hold(ctx, "WebTorrent clients", c.webtorrent)
		if err != nil {
			return err
		}
		b.WebTorrent = &side
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(b)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(out, string(text))
	}
	return err
}

func (c *benchSwarmCmd) span() time.Duration { return time.Duration(c.Minutes * float64(time.Minute)) }

// hold starts a tracker and has a swarm on it for the time; swarm returns how many pairs connected.
func (c *benchSwarmCmd) hold(ctx context.Context, what string, swarm func(ctx context.Context, data, addr string) (int, error)) (side SwarmSide, err error) {
	data, err := os.MkdirTemp("", "essaim-bench-")
	if err != nil {
		return side, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	fmt.Fprintf(os.Stderr, "bench swarm: %d %s for %s\n", c.Peers, what, c.span())
	p, err := (&benchTrackerCmd{data: data}).start(ctx, "127.0.0.1:0")
	if err != nil {
		return side, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	counted, err := countingProxy(p.Plain)
	if err != nil {
		return side, err
	}
	defer counted.close()
	before, err := p.ask("state")
	if err != nil {
		return side, err
	}
	if side.Pairs, err = swarm(ctx, data, counted.addr()); err != nil {
		return side, err
	}
	after, err := p.ask("state")
	if err != nil {
		return side, err
	}
	if side.Pairs == 0 {
		return side, errors.New("bench: nobody met")
	}
	side.CPUSeconds, side.Bytes = after.CPUSeconds-before.CPUSeconds, counted.bytes.Load()
	pairs := float64(side.Pairs)
	side.CPUPerPair, side.BytesPerPair = 1000*side.CPUSeconds/pairs, float64(side.Bytes)/pairs
	side.OffersPerPair, side.AnswersPerPair = float64(counted.offers.Load())/pairs, float64(counted.answers.Load())/pairs
	return side, ctx.Err()
}

// pairs is who is connected to whom.
type pairs struct {
	mu  sync.Mutex
	met map[[2]bt.PeerID]bool
}

// add joins two, and says whether they were apart.
func (p *pairs) add(a, b bt.PeerID) bool {
	if string(b[:]) < string(a[:]) {
		a, b = b, a
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := !p.met[[2]bt.PeerID{a, b}]
	p.met[[2]bt.PeerID{a, b}] = true
	return fresh
}

// The pace and the wants of our viewers' announces are the engine's (engine.announce), every 10 s until somebody is met, three
// times at most, then every 30 s, for what is missing to ten neighbours; and the hosts', who say no more than that they are still
// there, every two minutes, while there is nothing to ask for or to tell (internal/host/native/renewal.go).
const (
	viewerFirst   = 10 * time.Second
	viewerSteady  = 30 * time.Second
	viewerRenews  = 120 * time.Second
	viewerTickets = 5 * time.Minute // the life of a ticket's first half
	viewerGoal    = 10
	viewerJoins   = 200 * time.Millisecond // between one and the next
)

// viewers holds a swarm of our own: each watches from the beginning, and tells what became of whom it was told to meet.
func (c *benchSwarmCmd) viewers(ctx context.Context, data, addr string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.span())
	defer cancel()
	tickets, err := members.OpenTickets(data, time.Now)
	if err != nil {
		return 0, err
	}
	crowd := &benchTrackerCmd{data: data, Swarm: c.Peers}
	all := &pairs{met: map[[2]bt.PeerID]bool{}}
	failed := make(chan error, c.Peers)
	offers, answers := new(atomic.Int64), new(atomic.Int64)
	var done sync.WaitGroup
	for i := range c.Peers {
		done.Go(func() {
			if !sleep(ctx, time.Duration(i)*viewerJoins) {
				return
			}
			k, err := call(ctx, addr, false, i)
			if err != nil {
				failed <- err
				return
			}
			defer k.conn.Close()
			k.hash, k.offers, k.answers = doorHash(0), offers, answers
			if err := holdViewer(ctx, crowd, tickets, all, k, i); err != nil && ctx.Err() == nil {
				failed <- fmt.Errorf("viewer %d: %w", i, err)
			}
		})
	}
	done.Wait()
	close(failed)
	return len(all.met), <-failed
}

// holdViewer announces until ctx is done.
func holdViewer(ctx context.Context, crowd *benchTrackerCmd, tickets *members.Tickets, all *pairs, k *caller, i int) error {
	var mu sync.Mutex
	neighbours := 0
	var outcomes []announce.Outcome
	k.met = func(peer bt.PeerID) { // an answer went, or came
		all.add(k.id, peer)
		mu.Lock()
		defer mu.Unlock()
		neighbours++
		outcomes = append(outcomes, announce.Outcome{PeerID: peer, Fate: announce.FateConnected})
	}
	go k.listen()
	began := time.Now()
	var said, issued time.Time
	var hello *announce.Request
	for n := 0; ; n++ {
		fresh := hello == nil || time.Since(issued) >= viewerTickets
		if fresh {
			var err error
			if hello, err = crowd.hello(tickets, true, i, 0); err != nil {
				return err
			}
			issued = time.Now()
		}
		mu.Lock()
		want := max(viewerGoal-neighbours, 0)
		quiet := !fresh && want == 0 && len(outcomes) == 0
		alone := neighbours == 0
		r, v := *hello, *hello.Viewer
		r.NumWant, r.Viewer = want, &v
		v.PositionMs = time.Since(began).Milliseconds()
		if !quiet {
			v.Outcomes, outcomes = outcomes, nil
		}
		mu.Unlock()
		if quiet {
			if time.Since(said) >= viewerRenews-viewerSteady/2 {
				if err := k.send(&announce.Request{Kind: announce.KindStill}); err != nil {
					return err
				}
				said = time.Now()
			}
			if !sleep(ctx, viewerSteady) {
				return nil
			}
			continue
		}
		if n > 0 {
			r.Event = announce.EventUpdate
		}
		k.settle()
		said = time.Now()
		if err := k.send(&r); err != nil {
			return err
		}
		if !k.await(1, 15*time.Second) {
			return errors.New("an announce is not answered")
		}
		// All at once, as hosts dial.
		peers := slices.Clone(k.introduced())
		for _, peer := range peers {
			var id announce.OfferID
			copy(id[:], peer[:])
			if err := k.send(&announce.Request{Kind: announce.KindOffer, To: peer, OfferID: id, SDP: benchSDP}); err != nil {
				return err
			}
		}
		if !k.await(len(peers), 15*time.Second) {
			return errors.New("an offer is not answered")
		}
		wait := viewerSteady
		if alone && n < 2 {
			wait = viewerFirst
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// sleep waits; false when ctx is done first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// webtorrent holds a swarm of npm's clients, all in one process of node.
func (c *benchSwarmCmd) webtorrent(ctx context.Context, _, addr string) (int, error) {
	hash := doorHash(0)
	cmd := exec.CommandContext(ctx, "node", c.WebTorrent, "ws://"+addr+"/tracker", hash.String(),
		strconv.Itoa(c.Peers), strconv.FormatFloat(c.span().Seconds(), 'f', -1, 64), strconv.FormatInt(viewerJoins.Milliseconds(), 10))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("run %s with node: %w", c.WebTorrent, err)
	}
	var met struct {
		Pairs int `json:"pairs"`
	}
	if err := json.Unmarshal(out, &met); err != nil {
		return 0, fmt.Errorf("read what %s says: %w", c.WebTorrent, err)
	}
	return met.Pairs, nil
}
