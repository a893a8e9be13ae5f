package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// benchTrackerCmd measures what a tracker bears: announces with offers that are all answered, announces of our own viewers, and
// the memory of sockets that say nothing.
type benchTrackerCmd struct {
	Connections int           `default:"1000" help:"Connections under load."`
	Offers      int           `default:"10" help:"Offers of each announce, all answered."`
	Swarm       int           `default:"50" help:"Peers of each swarm."`
	Seconds     int           `default:"5" help:"How long each load lasts."`
	Idle        int           `default:"18000" help:"Idle connections whose memory is measured; by TLS, a tenth of them."`
	Kill        bool          `help:"Instead: kill the tracker under its connections, start it again, and tell how they come back."`
	Away        time.Duration `default:"2s" help:"With --kill: how long it is away."`
	SkipTLS     bool          `name:"skip-tls" help:"Plain connections only."`
	Profile     string        `type:"path" placeholder:"FOLDER" help:"Write a processor profile of the tracker under each load there, for go tool pprof."`
	JSON        bool          `name:"json" help:"Print one JSON object."`
	data        string
}

// DoorBench is what was measured over one kind of connection.
type DoorBench struct {
	AnnouncesPerCPU float64 `json:"announces_per_cpu_s"`        // with offers, all answered, per second of the server's processor time
	RelayedPerCPU   float64 `json:"relayed_per_cpu_s"`          // offers and answers of these
	ViewersPerCPU   float64 `json:"viewer_announces_per_cpu_s"` // announces of our own viewers, who make no offers, all answered
	RenewalsPerCPU  float64 `json:"renewals_per_cpu_s"`         // of our own viewers who are still there; one in thirty-two in full, and answered
	P50Ms           float64 `json:"p50_ms"`                     // from an announce with offers to its reply, under full load
	P99Ms           float64 `json:"p99_ms"`
	RSSPerSocket    float64 `json:"rss_bytes_per_connection"` // idle, after its announce
	Idle            int     `json:"idle_connections"`         // of which that is the mean
}

// TrackerBench is the outcome of bench tracker.
type TrackerBench struct {
	DoorBench
	OffersPerPair  float64    `json:"offers_per_pair"` // relayed, by pair of our own viewers that met
	AnswersPerPair float64    `json:"answers_per_pair"`
	Connections    int        `json:"connections"`
	Offers         int        `json:"offers"`
	Swarm          int        `json:"swarm"`
	Cores          int        `json:"cores"`
	TLS            *DoorBench `json:"tls,omitempty"`
}

const benchSocketsMax = 19_000 // of the 20,000 files that a process may have open

// Validate implements kong's interface of that name.
func (c *benchTrackerCmd) Validate() error {
	switch {
	case c.Connections < 2 || c.Connections > benchSocketsMax || c.Idle < 0 || c.Idle > benchSocketsMax:
		return fmt.Errorf("--connections must be 2 to %d, and --idle 0 to %d", benchSocketsMax, benchSocketsMax)
	case c.Offers < 1 || c.Offers > 10:
		return errors.New("--offers must be 1 to 10: no more of an announce are passed on")
	case c.Swarm < 2 || c.Swarm > 10_000 || c.Swarm <= c.Offers:
		return errors.New("--swarm must be 2 to 10000, and more than --offers")
	case c.Seconds < 1 || c.Seconds > 3600:
		return errors.New("--seconds must be 1 to 3600")
	case c.Away < 0 || c.Away > 10*time.Minute:
		return errors.New("--away must be 0s to 10m")
	}
	return nil
}

// Run measures and prints.
func (c *benchTrackerCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout)
}

func (c *benchTrackerCmd) run(ctx context.Context, out io.Writer) (err error) {
	if c.data, err = os.MkdirTemp("", "essaim-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.data)) }()
	raiseFiles()
	if c.Profile != "" {
		if err := os.MkdirAll(c.Profile, 0o755); err != nil {
			return err
		}
	}
	var result any
	if c.Kill {
		result, err = c.comeBack(ctx)
	} else {
		result, err = c.measure(ctx)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(result)
	}
	text, err := json.MarshalIndent(result, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(out, string(text))
	}
	return err
}

// raiseFiles lets the process, and those that it starts, open as many files as it may.
func raiseFiles() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

func told(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench tracker: "+format+"\n", args...) }

func (c *benchTrackerCmd) measure(ctx context.Context) (*TrackerBench, error) {
	b := &TrackerBench{Connections: c.Connections, Offers: c.Offers, Swarm: c.Swarm, Cores: runtime.NumCPU()}
	var err error
	if b.DoorBench, err = c.door(ctx, false, c.Idle); err != nil {
		return nil, err
	}
	if b.OffersPerPair, b.AnswersPerPair, err = c.pairs(ctx); err != nil {
		return nil, err
	}
	if !c.SkipTLS {
		secure, err := c.door(ctx, true, c.Idle/10)
		if err != nil {
			return nil, err
		}
		b.TLS = &secure
	}
	return b, nil
}

// door measures one kind of connection, each load on a server of its own.
func (c *benchTrackerCmd) door(ctx context.Context, secure bool, idle int) (b DoorBench, err error) {
	kind := "plain"
	if secure {
		kind = "TLS"
	}
	told("%s: %d connections announce with %d offers each, all answered", kind, c.Connections, c.Offers)
	err = c.load(ctx, secure, saysOffers, func(w *benchLoad) {
		b.AnnouncesPerCPU = float64(w.done) / w.cpu
		b.RelayedPerCPU = float64(w.offers+w.answers) / w.cpu
		b.P50Ms, b.P99Ms = w.quantile(0.5), w.quantile(0.99)
		told("%s: %d announces, %d offers and %d answers relayed, %.2f s of the server's processor, %d unanswered", kind, w.done, w.offers,
			w.answers, w.cpu, w.failed)
	})
	if err != nil {
		return b, err
	}
	told("%s: %d of our own viewers announce", kind, c.Connections)
	err = c.load(ctx, secure, saysAll, func(w *benchLoad) {
		b.ViewersPerCPU = float64(w.done) / w.cpu
		told("%s: %d announces of viewers, %.2f s of the server's processor, %d unanswered", kind, w.done, w.cpu, w.failed)
	})
	if err != nil {
		return b, err
	}
	told("%s: %d of our own viewers renew", kind, c.Connections)
	err = c.load(ctx, secure, saysRenewals, func(w *benchLoad) {
		b.RenewalsPerCPU = float64(w.done) / w.cpu
		told("%s: %d renewals, %.2f s of the server's processor, %d refused or unanswered", kind, w.done, w.cpu, w.failed)
	})
	if err != nil || idle == 0 {
		return b, err
	}
	told("%s: %d connections say nothing", kind, idle)
	b.Idle = idle
	b.RSSPerSocket, err = c.idle(ctx, secure, idle)
	return b, err
}

// benchLoad is what came of one load.
type benchLoad struct {
	done, failed    int
	offers, answers int64
	cpu             float64 // seconds of the server's
	latencies       []time.Duration
}

func (w *benchLoad) quantile(q float64) float64 {
	if len(w.latencies) == 0 {
		return 0
	}
	slices.Sort(w.latencies)
	return float64(w.latencies[int(q*float64(len(w.latencies)-1))].Microseconds()) / 1000
}

// profile is the server's argument that has it write a profile of one load, if that is wanted.
func (c *benchTrackerCmd) profile(secure bool, kind benchKind) []string {
	if c.Profile == "" {
		return nil
	}
	name := "plain-"
	if secure {
		name = "tls-"
	}
	return []string{"--profile", filepath.Join(c.Profile, name+profiles[kind]+".pprof")}
}

// idle is the memory of a socket that has announced and says nothing, in bytes.
func (c *benchTrackerCmd) idle(ctx context.Context, secure bool, n int) (_ float64, err error) {
	p, err := c.start(ctx, "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	// What the first connections cost once and for all is not theirs.
	warm, err := c.crowd(ctx, p.addr(secure), secure, true, 32, 0)
	if err != nil {
		return 0, err
	}
	hangUp(warm)
	for {
		s, err := p.ask("settle")
		if err != nil {
			return 0, err
		}
		if s.Sockets == 0 {
			break
		}
	}
	before, err := p.ask("settle")
	if err != nil {
		return 0, err
	}
	all, err := c.crowd(ctx, p.addr(secure), secure, true, n, 0)
	if err != nil {
		return 0, err
	}
	defer hangUp(all)
	select { // idle is who has said nothing for a moment
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	at, err := p.ask("state")
	if err != nil {
		return 0, err
	}
	after, err := p.ask("settle")
	if err != nil {
		return 0, err
	}
	told("%d sockets: %.0f bytes each at once, %.0f after a collection", n, float64(at.RSS-before.RSS)/float64(n),
		float64(after.RSS-before.RSS)/float64(n))
	if after.Sockets != n {
		return 0, fmt.Errorf("bench: %d of %d sockets are in a swarm", after.Sockets, n)
	}
	return float64(after.RSS-before.RSS) / float64(n), nil
}
