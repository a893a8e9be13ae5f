package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"essaim/internal/api"
	"essaim/internal/blob/dir"
	"essaim/internal/edge/registry"
	"essaim/internal/insight"
	"essaim/internal/library"
	"essaim/internal/license"
	"essaim/internal/members"
	"essaim/internal/metrics"
	"essaim/internal/origin"
	"essaim/internal/places"
	"essaim/internal/seeder"
	"essaim/internal/sqlstore"
	"essaim/internal/stun"
	"essaim/internal/tracker"
	"essaim/internal/vod"
	"essaim/web"
)

// serveCmd runs the service.
type serveCmd struct {
	settings
	security
	seeding
	edgeDoor
	metricsDoor
	keySettings
	licenseSettings
	peopleSettings
	STUNListen string   `name:"stun-listen" default:"auto" env:"ESSAIM_STUN_LISTEN" placeholder:"ADDRESS:PORT" help:"Where to answer STUN over UDP: auto is port 3478 beside --listen, unless only this machine reaches that; off is nowhere (${default})."`
	Geo        []string `type:"path" env:"ESSAIM_GEO" placeholder:"FILE" help:"Where addresses are, so that neighbours meet first: databases in MaxMind's format, or lists of lines such as 192.0.2.0/24 64500 FR. Read again when they change."`

	HoldOut float64 `name:"hold-out" default:"5" env:"ESSAIM_HOLD_OUT" placeholder:"PERCENT" help:"Until an operator sets the policy: of the viewers who would share, how many in a hundred play by HTTP alone, drawn once and for all, for comparison (${default})."`

	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of database, media and keys (${default})."`
	JSON bool   `name:"json" help:"Print one JSON object, url, once the service listens."`
}

// Validate implements kong's interface of that name.
func (c *serveCmd) Validate() error {
	if err := c.settings.Validate(); err != nil {
		return err
	}
	if err := c.security.validate(&c.settings); err != nil {
		return err
	}
	if err := c.edgeDoor.Validate(); err != nil {
		return err
	}
	if err := c.metricsDoor.Validate(); err != nil {
		return err
	}
	if _, err := c.upstreams(); err != nil {
		return err
	}
	if !(c.HoldOut >= 0 && c.HoldOut <= 50) {
		return fmt.Errorf("--hold-out %v: want 0 to 50", c.HoldOut)
	}
	return c.seeding.Validate()
}

// Run serves until it is told to stop.
func (c *serveCmd) Run() error {
	log := c.logger(os.Stderr)
	return serving(log, func(ctx context.Context) error {
		ln, err := listen(c.Listen, log)
		if err != nil {
			return err
		}
		defer ln.Close()
		asked, err := openSTUN(c.STUNListen, c.Listen, log)
		if err != nil {
			return err
		}
		where, err := places.Open(c.Geo, log)
		if err != nil {
			return err
		}
		public, err := c.public()
		if err != nil {
			return err
		}
		door, err := c.security.open(ln, c.Data, log)
		if err != nil {
			return err
		}
		defer door.close()
		edges, err := c.edgeDoor.listen(log)
		if err != nil {
			return err
		}
		if edges != nil {
			defer edges.Close()
		}
		watched, err := c.metricsDoor.listen(log)
		if err != nil {
			return err
		}
		if watched != nil {
			defer watched.Close()
		}
		url := door.url(ln.Addr())
		s, err := openNode(ctx, nodeConfig{
			settings: c.settings, keys: c.keySettings, licenses: c.licenseSettings, who: c.peopleSettings, data: c.Data, log: log, url: door.own(ln.Addr()), public: public, places: where, stun: asked, door: door,
			holdOut: c.HoldOut, edgeListener: edges, edgeControl: c.edgeDoor.control(edges), metricsListener: watched,
		})
		if err != nil {
			return err
		}
		defer s.Close()
		if c.JSON {
			if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": url}); err != nil {
				return err
			}
		}
		log.Info("serving", "url", url, "data", c.Data)
		if err := greetOperator(ctx, s, url, os.Stderr); err != nil {
			return err
		}
		seeded, err := c.start(ctx, c.Listen, s)
		if err != nil {
			return err
		}
		defer seeded()
		return s.Serve(ctx, ln)
	})
}

// serving runs f until an interrupt or a termination is asked for; a second one ends the program at once.
func serving(log *slog.Logger, f func(ctx context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	told := context.AfterFunc(ctx, func() {
		log.Info("stopping; once more stops at once")
		stop()
	})
	defer told()
	return f(ctx)
}

// portsTried is how many ports after a taken one are tried.
const portsTried = 50

// listen opens addr, or the next free port after it, and says so.
func listen(addr string, log *slog.Logger) (net.Listener, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: want ADDRESS:PORT, for instance 127.0.0.1:8080", addr)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: no such port", addr)
	}
	for try := range portsTried {
		var ln net.Listener
		ln, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port+try)))
		if err == nil {
			if try > 0 {
				log.Warn("the port is taken; using the next free one", "taken", port, "port", port+try)
			}
			return ln, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || port == 0 || port+try >= 65535 {
			break
		}
	}
	return nil, fmt.Errorf("listen: %w", err)
}

// openSTUN opens the server that a --stun-listen asks for; nil for none. What was not asked for by name may fail.
func openSTUN(setting, beside string, log *slog.Logger) (*stun.Server, error) {
	switch setting {
	case "off":
		return nil, nil
	case "auto":
	default:
		s, err := stun.Listen(setting, time.Now, log)
		if err != nil {
			return nil, fmt.Errorf("answer STUN at %q: %w", setting, err)
		}
		return s, nil
	}
	host, _, err := net.SplitHostPort(beside)
	if err != nil {
		return nil, nil // listen has said so
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil, nil
	}
	for port := stunPort; port < stunPort+portsTried; port++ {
		var s *stun.Server
		s, err = stun.Listen(net.JoinHostPort(host, strconv.Itoa(port)), time.Now, log)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	log.Warn("STUN cannot be answered here; viewers behind different routers may not find one another", "error", err)
	return nil, nil
}

// stunPort is where STUN is answered by custom (RFC 8489, section 8).
const stunPort = 3478

// urlOf is an address that a browser on this machine can open.
func urlOf(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// nodeConfig is what openNode wires.
type nodeConfig struct {
	settings
	keys     keySettings
	data     string
	licenses licenseSettings
	who      peopleSettings
	log      *slog.Logger
	lan      bool                                          // addresses of local networks may be offered to peers
	demo     func(s *node) (*api.Demo, []api.Mount, error) // what a demonstration adds; nil for none

	places *places.Places // nil: nobody's place is looked at
	stun   *stun.Server   // nil: none of our own; the node closes it

	edgeListener net.Listener // nil: edges cannot reach this service
	edgeControl  string       // what they are told of it

	door   *door          // nil: plain HTTP
	url    string         // where the origin can be reached from this program; for seeding only
	public netip.AddrPort // where clients are told that open titles are seeded; unset parts are found out

	holdOut float64 // percent of viewers, until an operator sets the policy

	metricsListener net.Listener // nil: metrics are not shown
}

// node is everything that runs, wired.
type node struct {
	log     *slog.Logger
	db      *sqlstore.Store
	objects *dir.Store
	library *library.Library
	keys    *license.Keys
	members *members.Members
	tickets *members.Tickets
	origin  *origin.Origin
	tracker *tracker.Tracker
	insight *insight.Insight
	policy  *api.Policy
	seeder  *seeder.Seeder
	api     *api.Server
	places  *places.Places
	proxies places.Proxies
	stun    *stun.Server
	door    *door

	edges        *registry.Registry
	authority    *registry.Authority
	edgeListener net.Listener // nil: none

	metrics         *metrics.Metrics
	metricsListener net.Listener // nil: none
}

// openNode opens the data folder and wires the departments. It listens nowhere yet.
func openNode(ctx context.Context, c nodeConfig) (_ *node, err error) {
	if err := os.MkdirAll(c.data, 0o750); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	s := &node{log: c.log, places: c.places, stun: c.stun, door: c.door}
	if s.door == nil {
		s.door = &door{log: c.log}
	}
	if s.proxies, err = places.ParseProxies(c.Proxies); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.db, err = sqlstore.Open(ctx, filepath.Join(c.data, "essaim.db")); err != nil {
		return nil, err
	}
	if s.objects, err = dir.Open(filepath.Join(c.data, "objects")); err != nil {
		return nil, err
	}
	if s.tickets, err = members.OpenTickets(c.data, time.Now); err != nil {
		return nil, err
	}
	s.library = library.New(s.db, time.Now)
	s.keys, err = c.keys.open(s.db, c.data, func(file string) { c.log.Warn(madeMasterKey, "file", file) })
	if err != nil {
		return nil, err
	}
	if err := s.keys.Check(ctx); err != nil { // open titles play all the same
		c.log.Error("protected titles cannot be played", "error", err)
	}
	s.members = members.New(s.db, time.Now, members.WithWindows(s.library.Windows()))
	s.tickets.SetIssuer(s.members)
	s.origin = origin.New(origin.Config{
		Titles: s.library, Tickets: s.tickets, Blobs: s.objects, Clock: time.Now, Log: c.log,
		Rate: c.OriginRate.BytesPerSecond(), SeedsPerAddress: perAddress(c.hidden()),
		Objects: s.library, Member: func(r *http.Request) bool { return s.api.SignedIn(r) },
	})
	door := tracker.Config{
		Titles: s.library, Tickets: s.tickets, Issuer: s.members, Clock: time.Now, Seed: rand.Uint64(), LAN: c.lan, Logger: c.log,
		SocketsPerAddress: perAddress(c.hidden()),
	}
	if c.places != nil && !c.hidden() { // behind a proxy all come from one address, which says nothing
		door.Places = c.places
	}
	s.tracker = tracker.New(door)
	if c.stun != nil {
		c.stun.Proven(s.tracker.Connected)
	}
	ice := c.STUN
	if c.stun != nil { // first, being the nearest
		ice = append([]string{fmt.Sprintf("stun::%d", c.stun.Port())}, ice...)
	}
	upstreams, err := c.licenses.upstreams()
	if err != nil {
		return nil, err
	}
	licences := license.NewLicences(license.LicencesConfig{
		Keys: s.keys, Titles: s.library, Plans: s.members, Upstreams: upstreams, Clock: time.Now, Log: c.log,
	})
	policy, err := s.openPolicy(ctx, &c)
	if err != nil {
		return nil, err
	}
	policy.Watch(func(p vod.PlayPolicy) { s.tracker.SetPeers(p.P2P) })
	policy.WatchOperator(func(p vod.OperatorPolicy) { s.tracker.SetOff(p.TitlesOff, p.Off()) })
	s.seeder = seeder.New(seeder.Config{Titles: s.library, Blobs: s.objects, Origin: c.url, Log: c.log, Public: c.public})
	announcer := tracker.NewAnnouncer(tracker.HTTPConfig{
		Titles: s.library, Clock: time.Now, Seed: rand.Uint64(), Logger: c.log, Proxied: c.hidden(),
		Own: func(local netip.Addr) (netip.AddrPort, bool) {
			if c.settings.Secure && !c.public.Addr().IsValid() { // a proxy's way to us is nobody else's
				return netip.AddrPort{}, false
			}
			return s.seeder.Peer(local)
		},
	})
	people, err := c.who.people(s)
	if err != nil {
		return nil, err
	}
	s.edgeListener = c.edgeListener
	if s.edges, s.authority, err = openEdges(s, c.data, c.edgeControl, ice, func() bool { return policy.Get().P2P }); err != nil {
		return nil, err
	}
	figures := s.figures(&c)
	s.metricsListener, s.metrics = c.metricsListener, s.openMetrics(policy)
	figures.Reports = s.metrics.Reports(figures.Reports)
	config := api.Config{
		Titles: s.library, Catalogue: s.library, Members: s.members, Tickets: s.tickets, Traffic: s.origin, Hashes: s.origin, Clock: time.Now,
		Pages: web.Dist(), Log: c.log, Version: version(), Ready: s.db.Ping,
		People: people, Hidden: c.hidden(),
		Policy: policy, Insight: figures, ICE: ice, Licences: licences, Secure: c.Secure,
		Entitlements: s.members, Streams: s.members, Ends: s.members, Relays: s.tickets,
		Edges: s.edges, Observe: s.metrics.Observe,
		Mounts: []api.Mount{
			{Pattern: "/media/", Handler: s.origin, OtherSites: true},
			{Pattern: "/hashes/", Handler: s.origin, OtherSites: true},
			{Pattern: "/objects/", Handler: s.origin},
			{Pattern: "/seed/", Handler: s.origin, OtherSites: true},
			{Pattern: "/announce", Handler: announcer, OtherSites: true},
			{Pattern: "/scrape", Handler: announcer, OtherSites: true},
			{Pattern: "/tracker", Handler: s.tracker, OtherSites: true}, // it checks the Origin of who shows a ticket
		},
	}
	if c.demo != nil {
		demo, mounts, err := c.demo(s)
		if err != nil {
			return nil, err
		}
		config.Demo = demo
		config.Mounts = append(config.Mounts, mounts...)
	}
	if s.api, err = api.New(config); err != nil {
		return nil, err
	}
	return s, nil
}

// perAddress bounds what one visitor may hold of a room: by the room's own default, but behind a proxy, where all come from one
// address, not at all.
func perAddress(proxied bool) int {
	if proxied {
		return math.MaxInt
	}
	return 0
}

// Close closes what openNode opened, all of it or as much as it came to.
func (s *node) Close() {
	closing := func(c io.Closer) {
		if err := c.Close(); err != nil {
			s.log.Error("close", "error", err)
		}
	}
	if s.db != nil {
		closing(s.db)
	}
	if s.objects != nil {
		closing(s.objects)
	}
	if s.stun != nil {
		s.stun.Close() // again, if it was served
	}
}

// drainTime is how long transfers may go on after a stop was asked for: a piece at a slow viewer's rate.
const drainTime = 5 * time.Second

// trackerDrain is how long the tracker's connections, which it closes a few at a time, may take: 18,000 are closed in 60 s.
const trackerDrain = 75 * time.Second

// Serve answers on ln until ctx is done; then it lets what runs come to an end, for a moment.
func (s *node) Serve(ctx context.Context, ln net.Listener) error {
	server := &http.Server{
		Handler: s.proxies.Handler(s.api),
		// No ReadTimeout: it would end long transfers too. Bodies have a deadline of their own, as media have.
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // visitors' faults, mostly
	}
	// What was revoked before must be known before the first ticket is shown.
	known, followed := make(chan struct{}), make(chan struct{})
	following, unfollow := context.WithCancel(ctx)
	go func() {
		defer close(followed)
		s.members.Follow(following, s.log, func() { close(known) }, func(list []vod.Revocation) {
			s.tickets.Revoke(list) // first: then nobody comes back in
			s.tracker.Revoke(list)
			s.api.Revoke(list)
		})
	}()
	defer func() { unfollow(); <-followed }()
	select {
	case <-known:
	case <-ctx.Done():
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(s.door.wrap(ln)) }()
	beside, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	defer func() { stop(); others.Wait() }()
	others.Go(func() { s.door.serve(beside, s.origin) })
	others.Go(func() { s.tickets.Keep(beside, s.log) })
	others.Go(func() { s.insight.Run(beside) })
	if s.edgeListener != nil {
		others.Go(func() { s.serveEdges(beside, s.edgeListener) })
	}
	if s.metricsListener != nil {
		others.Go(func() { s.serveMetrics(beside, s.metricsListener) })
	}
	others.Go(func() { s.insight.FollowPolicy(beside, s.policy.Put) })
	if s.places != nil {
		others.Go(func() { s.places.Keep(beside) })
	}
	if s.stun != nil {
		others.Go(func() {
			if err := s.stun.Serve(beside); err != nil {
				s.log.Error("answer STUN", "error", err) // viewers find out, and go on without
			}
		})
	}
	s.api.SetReady(true)
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.api.SetReady(false)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	sockets := make(chan error, 1)
	go func() {
		apart, cancel := context.WithTimeout(context.WithoutCancel(ctx), trackerDrain)
		defer cancel()
		sockets <- s.tracker.Shutdown(apart)
	}()
	if err := server.Shutdown(drain); err != nil {
		server.Close() // who is still served then starts again elsewhere
	}
	<-sockets
	<-ended
	return nil
}
