// Package metrics tells an operator's monitoring how the service does, in Prometheus' text format. It must cost next to nothing while
// nobody looks, stay small however many viewers and titles there are (no label has a value that visitors choose), and name neither a
// member, nor an address, nor a title: what is scraped is often kept for years by somebody else.
package metrics

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"essaim/internal/vod"
)

// Sources are what a scrape asks. Each is called once a scrape, and may be nil.
type Sources struct {
	OriginBytes func() int64               // media bytes that the origin sent, rehearsals included
	Swarms      func() (swarms, peers int) // as the tracker holds them
	Policy      func() vod.PlayPolicy      // of the moment
	Edges       func() (all, up int)       // boxes that have joined, and those heard of lately
	Ready       func() bool                // what /readyz says
	Version     string
}

// Metrics are the service's.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	plays    *plays
}

// New returns metrics over s. clock is for how long ago a player was heard of.
func New(s Sources, clock vod.Clock) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "essaim_api_request_seconds", Help: "How long requests to the API took, by operation and status code.",
			Buckets: []float64{.005, .025, .1, .5, 2.5, 10},
		}, []string{"operation", "code"}),
		plays: newPlays(clock),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.requests, m.plays,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "essaim_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": s.Version},
		}, func() float64 { return 1 }),
	)
	gauge := func(name, help string, read func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	if f := s.OriginBytes; f != nil {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "essaim_origin_bytes_total", Help: "Media bytes that the origin sent, as it counts them itself.",
		}, func() float64 { return float64(f()) }))
	}
	if f := s.Swarms; f != nil {
		gauge("essaim_swarms", "Swarms with somebody in them.", func() float64 { n, _ := f(); return float64(n) })
		gauge("essaim_swarm_peers", "Viewers and other peers in all swarms.", func() float64 { _, n := f(); return float64(n) })
	}
	if f := s.Policy; f != nil {
		gauge("essaim_peers_allowed", "1 while the policy lets viewers exchange pieces at all, else 0.", func() float64 { return bit(f().P2P) })
	}
	if f := s.Edges; f != nil {
		gauge("essaim_edges", "Edges that have joined.", func() float64 { n, _ := f(); return float64(n) })
		gauge("essaim_edges_up", "Those heard of in the last minutes.", func() float64 { _, n := f(); return float64(n) })
	}
	if f := s.Ready; f != nil {
		gauge("essaim_ready", "1 while the service can serve, else 0: what /readyz says.", func() float64 { return bit(f()) })
	}
	return m
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: 10 * time.Second})
}

// Observe counts a request to the API.
func (m *Metrics) Observe(operation string, status int, took time.Duration) {
	m.requests.WithLabelValues(operation, strconv.Itoa(status)).Observe(took.Seconds())
}

// Reports returns reports that count what players tell and pass it on to next, which may be nil.
func (m *Metrics) Reports(next vod.PlayReports) vod.PlayReports { return &reports{m.plays, next} }

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// reports stands before the reports' real taker.
type reports struct {
	plays *plays
	next  vod.PlayReports
}

func (r *reports) Opened(o vod.PlayOpened) {
	r.plays.opened.WithLabelValues(string(o.Group)).Inc()
	if r.next != nil {
		r.next.Opened(o)
	}
}

func (r *reports) Reported(p vod.PlayReported) {
	r.plays.reported(p)
	if r.next != nil {
		r.next.Reported(p)
	}
}

// playsMax bounds the sessions whose last report is remembered; beyond it, what new ones report is not counted until others end.
const playsMax = 100_000

// playIdle is how long a session is remembered that says nothing more.
const playIdle = time.Hour

// What one session is believed at most: so many times the film, whose renditions are counted together, received and sent; and a
// standstill of ten hours in ten thousand stalls.
const (
	filmsMax     = 2
	sentFilmsMax = 50
	stalledMsMax = 36_000_000
	stallsMax    = 10_000
)

// heard is what a session reported last.
type heard struct {
	report vod.Heartbeat
	at     time.Time
}

// plays adds up what players report. Reports carry totals, which may come again and out of order: what counts is how far they grow.
type plays struct {
	clock vod.Clock

	opened   *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	stalls   prometheus.Counter
	stalled  prometheus.Counter
	bad      prometheus.Counter
	startup  prometheus.Histogram
	watching prometheus.GaugeFunc

	mu    sync.Mutex
	last  map[string]heard
	swept time.Time
}

func newPlays(clock vod.Clock) *plays {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	p := &plays{
		clock: clock, last: map[string]heard{},
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essaim_plays_total", Help: "Play sessions that began, by their part in comparisons: sharing, holdout or none.",
		}, []string{"group"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "essaim_player_bytes_total", Help: "Media bytes as players report them: received from the origin, from peers or their own cache, or sent to peers.",
		}, []string{"kind"}),
		stalls:  counter("essaim_stalls_total", "Times that a film stood still for want of bytes, as players report them."),
		stalled: counter("essaim_stalled_seconds_total", "How long films stood still, as players report it."),
		bad:     counter("essaim_bad_blocks_total", "Blocks from peers that verification refused, as players report them. None was shown."),
		startup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "essaim_startup_seconds", Help: "From play to the first frame, as players report it.", Buckets: []float64{.25, .5, 1, 2, 4, 8, 16},
		}),
	}
	p.watching = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "essaim_players", Help: "Players heard of in the last 2 minutes.",
	}, p.count)
	for _, kind := range []string{"origin", "peer", "cached", "sent"} {
		p.bytes.WithLabelValues(kind) // a rate needs its beginning
	}
	for _, group := range []vod.Group{vod.GroupNone, vod.GroupSharing, vod.GroupHoldOut} {
		p.opened.WithLabelValues(string(group))
	}
	return p
}

func (p *plays) parts() []prometheus.Collector {
	return []prometheus.Collector{p.opened, p.bytes, p.stalls, p.stalled, p.bad, p.startup, p.watching}
}

// Describe implements prometheus.Collector.
func (p *plays) Describe(to chan<- *prometheus.Desc) {
	for _, part := range p.parts() {
		part.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (p *plays) Collect(to chan<- prometheus.Metric) {
	for _, part := range p.parts() {
		part.Collect(to)
	}
}

func (p *plays) reported(r vod.PlayReported) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	p.sweep(now)
	before, known := p.last[r.Session]
	if !known && len(p.last) >= playsMax {
		return
	}
	was, is := before.report, r.Report
	grown := func(was, is int64) float64 { return float64(is - was) }
	// A player that claims more than it can have seen must not spoil a whole service's curve.
	most := filmsMax * max(0, r.FilmBytes)
	is.OriginBytes, is.PeerBytes = min(is.OriginBytes, most), min(is.PeerBytes, most)
	is.CachedBytes, is.SentBytes = min(is.CachedBytes, most), min(is.SentBytes, sentFilmsMax*most)
	is.StalledMs, is.Stalls = min(is.StalledMs, stalledMsMax), min(is.Stalls, stallsMax)
	is.OriginBytes, is.PeerBytes = max(was.OriginBytes, is.OriginBytes), max(was.PeerBytes, is.PeerBytes)
	is.CachedBytes, is.SentBytes = max(was.CachedBytes, is.CachedBytes), max(was.SentBytes, is.SentBytes)
	is.StalledMs, is.Stalls = max(was.StalledMs, is.StalledMs), max(was.Stalls, is.Stalls)
	is.BadBlocks, is.StartupMs = max(was.BadBlocks, is.BadBlocks), max(was.StartupMs, is.StartupMs)
	p.bytes.WithLabelValues("origin").Add(grown(was.OriginBytes, is.OriginBytes))
	p.bytes.WithLabelValues("peer").Add(grown(was.PeerBytes, is.PeerBytes))
	p.bytes.WithLabelValues("cached").Add(grown(was.CachedBytes, is.CachedBytes))
	p.bytes.WithLabelValues("sent").Add(grown(was.SentBytes, is.SentBytes))
	p.stalls.Add(grown(int64(was.Stalls), int64(is.Stalls)))
	p.stalled.Add(grown(was.StalledMs, is.StalledMs) / 1000)
	p.bad.Add(grown(int64(was.BadBlocks), int64(is.BadBlocks)))
	if was.StartupMs == 0 && is.StartupMs > 0 && !is.Continued {
		p.startup.Observe(float64(is.StartupMs) / 1000)
	}
	if is.Last {
		delete(p.last, r.Session)
		return
	}
	is.Banned = nil // which would be kept for nothing
	p.last[r.Session] = heard{is, now}
}

// sweep forgets, at most once a minute, who has not been heard of for long.
func (p *plays) sweep(now time.Time) {
	if now.Sub(p.swept) < time.Minute {
		return
	}
	p.swept = now
	for id, h := range p.last {
		if now.Sub(h.at) > playIdle {
			delete(p.last, id)
		}
	}
}

// count is how many players were heard of lately.
func (p *plays) count() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, n := p.clock(), 0
	for _, h := range p.last {
		if now.Sub(h.at) < 2*time.Minute {
			n++
		}
	}
	return float64(n)
}
