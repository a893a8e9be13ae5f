package tracker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"
)

// Bounds of announces over HTTP.
const (
	httpIntervalDefault = 15 * time.Minute
	httpIntervalMin     = time.Minute
	wantDefault         = 50
	wantMax             = 100
	// Announces and scrapes of one household: a client with a whole catalogue, started, and then its renewals.
	httpBurst = 100
	httpEvery = time.Second
	// bucketsMax bounds the households whose pace is remembered.
	bucketsMax = 50_000
)

// HTTPConfig is what an Announcer needs. Titles is required.
type HTTPConfig struct {
	Titles vod.Titles
	Clock  vod.Clock // nil: time.Now
	Seed   uint64    // of the choice among peers
	Logger *slog.Logger
	// Interval is the time between a peer's announces, ±10 %; 0: 15 min.
	Interval time.Duration
	// Proxied says that all come through a proxy, so that their addresses are not known: peers are then not remembered, nor
	// bounded by address, but told of the service's own peer all the same.
	Proxied bool
	// Own is the service's own peer for who reached it at a local address; false: there is none. nil: none.
	Own func(local netip.Addr) (netip.AddrPort, bool)
}

// Announcer serves announce and scrape over HTTP (BEP 3, 7, 21, 23, 24, 48) to standard BitTorrent clients, for open titles and
// no others. It is an http.Handler for its two paths, of which the last part says which: announce or scrape.
//
// It must get right that a peer is told to others under the address that it spoke from and under no other, whatever it says
// (`ip=` is not read); that v1, v2 and hybrid clients are in one swarm, by whichever hash they ask; and that what it remembers
// is bounded, in all, by title and by network.
type Announcer struct {
	cfg    HTTPConfig
	titles titles

	mu      sync.Mutex
	random  *rand.Rand
	swarms  map[vod.TitleID]*peerSwarm
	peers   int
	swept   time.Time
	buckets map[netip.Prefix]*bucket
}

// NewAnnouncer returns an announcer that serves at once.
func NewAnnouncer(c HTTPConfig) *Announcer {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Interval == 0 {
		c.Interval = httpIntervalDefault
	}
	return &Announcer{
		cfg: c, titles: titles{from: c.Titles, clock: c.Clock, known: make(map[bt.InfoHash]titleEntry)},
		random: rand.New(rand.NewPCG(c.Seed, 1)), swarms: map[vod.TitleID]*peerSwarm{}, buckets: map[netip.Prefix]*bucket{},
	}
}

// ServeHTTP answers GET of /announce and /scrape.
func (a *Announcer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		problem(w, http.StatusMethodNotAllowed)
		return
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		from = netip.AddrPort{}
	}
	ip := from.Addr().Unmap().WithZone("")
	if !a.allow(ip) {
		w.Header().Set("Retry-After", strconv.Itoa(int(httpIntervalMin.Seconds())))
		answer(w, http.StatusTooManyRequests, failure("too many announces"))
		return
	}
	switch r.URL.Path {
	case "/announce":
		a.announce(w, r, ip)
	case "/scrape":
		a.scrape(w, r)
	default:
		problem(w, http.StatusNotFound)
	}
}

// answer writes a bencoded body. Clients and proxies must not keep it.
func answer(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8") // as trackers have it since the first one
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has gone needs no error
}

func failure(reason string) []byte {
	return announce.AppendHTTPReply(nil, &announce.HTTPReply{Failure: reason})
}

// open finds an open title by either of its info hashes; status 0, or what to answer instead.
func (a *Announcer) open(ctx context.Context, h bt.InfoHash) (vod.TitleID, int) {
	title, err := a.titles.get(ctx, h)
	switch {
	case err == nil && title.open:
		return title.id, 0
	case err == nil || errors.Is(err, vod.ErrNotFound):
		return "", http.StatusNotFound
	}
	a.cfg.Logger.Warn("announcer cannot look up a swarm", "info_hash", h.String(), "error", err)
	return "", http.StatusServiceUnavailable
}

func (a *Announcer) announce(w http.ResponseWriter, r *http.Request, ip netip.Addr) {
	req, err := announce.ParseHTTPRequest(r.URL.RawQuery)
	if err != nil {
		answer(w, http.StatusBadRequest, failure(err.Error()))
		return
	}
	id, status := a.open(r.Context(), req.InfoHash)
	switch status {
	case 0:
	case http.StatusNotFound:
		answer(w, status, failure("unknown swarm"))
		return
	default:
		answer(w, status, failure("swarm cannot be looked up now, try again"))
		return
	}
	reply := a.join(id, &req, ip)
	if a.cfg.Own != nil && req.Event != announce.EventStopped {
		if own, ok := a.cfg.Own(localOf(r)); ok {
			reply.Complete++
			if req.Left != 0 && req.NumWant != 0 {
				reply.Peers = append([]netip.AddrPort{own}, reply.Peers...)
			}
		}
	}
	answer(w, http.StatusOK, announce.AppendHTTPReply(nil, reply))
}

// localOf is the address at which a request reached us.
func localOf(r *http.Request) netip.Addr {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }); ok {
		if ap, err := netip.ParseAddrPort(a.String()); err == nil {
			return ap.Addr().Unmap().WithZone("")
		}
	}
	return netip.Addr{}
}

// join notes the peer, if its address is known and there is room, and draws others for it.
func (a *Announcer) join(id vod.TitleID, req *announce.HTTPRequest, ip netip.Addr) *announce.HTTPReply {
	now := a.cfg.Clock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweep(now)
	base := a.cfg.Interval.Seconds()
	reply := &announce.HTTPReply{
		Interval: int(base * (0.9 + 0.2*a.random.Float64())), MinInterval: int(min(base/2, httpIntervalMin.Seconds())),
	}
	s := a.swarms[id]
	known := ip.IsValid() && !a.cfg.Proxied
	if known {
		reply.External = ip
	}
	p := peerEntry{addr: netip.AddrPortFrom(ip, req.Port), id: req.PeerID, seed: req.Left == 0, seen: now}
	p.rest = p.seed || req.Event == announce.EventPaused
	switch {
	case !known:
	case req.Event == announce.EventStopped:
		if s != nil && s.remove(p.addr) {
			a.peers--
		}
	case a.peers < peersTotal || s != nil && s.has(p.addr):
		if s == nil {
			s = newPeerSwarm()
			a.swarms[id] = s
		}
		if added, _ := s.put(p, req.Event == announce.EventCompleted); added {
			a.peers++
		}
	}
	if s == nil {
		return reply
	}
	c := s.counts(req.InfoHash)
	reply.Complete, reply.Incomplete = c.Complete, c.Incomplete
	want := req.NumWant
	if want == announce.Unknown {
		want = wantDefault
	}
	if req.Event != announce.EventStopped {
		reply.Peers = s.pick(a.random, p, min(want, wantMax))
	}
	return reply
}

func (s *peerSwarm) has(addr netip.AddrPort) bool {
	_, ok := s.at[addr]
	return ok
}

// sweep forgets, once a minute, who has missed two announces, and swarms of nobody. Called with mu held.
func (a *Announcer) sweep(now time.Time) {
	if now.Sub(a.swept) < time.Minute {
		return
	}
	a.swept = now
	for id, s := range a.swarms {
		a.peers -= s.expire(now.Add(-2*a.cfg.Interval - time.Minute))
		if len(s.list) == 0 && s.downloaded == 0 {
			delete(a.swarms, id)
		}
	}
}

// allow holds one household to its pace.
func (a *Announcer) allow(ip netip.Addr) bool {
	if !ip.IsValid() || a.cfg.Proxied {
		return true
	}
	now := a.cfg.Clock()
	key := household(ip)
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.buckets[key]
	if b == nil {
		if len(a.buckets) >= bucketsMax {
			clear(a.buckets) // a flood from everywhere: nobody is held back for a moment, and memory stays
		}
		b = &bucket{every: httpEvery, burst: httpBurst}
		a.buckets[key] = b
	}
	return b.allow(now)
}

func (a *Announcer) scrape(w http.ResponseWriter, r *http.Request) {
	hashes, err := announce.ParseHTTPScrape(r.URL.RawQuery)
	if err != nil {
		answer(w, http.StatusBadRequest, failure(err.Error()))
		return
	}
	reply := announce.Scrape{MinInterval: int(httpIntervalMin.Seconds())}
	for _, h := range hashes {
		id, status := a.open(r.Context(), h)
		if status == http.StatusServiceUnavailable {
			answer(w, status, failure("swarm cannot be looked up now, try again"))
			return
		}
		if status != 0 {
			continue // BEP 48: what is not known is left out
		}
		f := announce.ScrapeFile{InfoHash: h}
		a.mu.Lock()
		if s := a.swarms[id]; s != nil {
			f = s.counts(h)
		}
		a.mu.Unlock()
		if a.cfg.Own != nil {
			if _, ok := a.cfg.Own(localOf(r)); ok {
				f.Complete++
			}
		}
		reply.Files = append(reply.Files, f)
	}
	if len(reply.Files) == 0 {
		answer(w, http.StatusNotFound, failure("unknown swarm"))
		return
	}
	answer(w, http.StatusOK, announce.AppendHTTPScrape(nil, &reply))
}
