package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"essaim/internal/edge/registry"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/origin"
	"essaim/internal/places"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// edgeDoor are serve's settings for edges.
type edgeDoor struct {
	EdgeListen string `name:"edge-listen" env:"ESSAIM_EDGE_LISTEN" placeholder:"ADDRESS:PORT" help:"Where edges reach the service, by mutual TLS with certificates of its own authority. Without it no edge can join."`
	EdgePublic string `name:"edge-public" env:"ESSAIM_EDGE_PUBLIC" placeholder:"HOST:PORT" help:"The address that edges are told, where it is not --edge-listen's port at the address by which they join."`
}

// Validate implements kong's interface of that name.
func (c *edgeDoor) Validate() error {
	if c.EdgePublic == "" {
		return nil
	}
	if c.EdgeListen == "" {
		return errors.New("--edge-public is nothing without --edge-listen")
	}
	if host, port, err := net.SplitHostPort(c.EdgePublic); err != nil || host == "" || port == "" {
		return fmt.Errorf("--edge-public %q: want HOST:PORT", c.EdgePublic)
	}
	return nil
}

// listen opens the edge port; nil where there is none.
func (c *edgeDoor) listen(log *slog.Logger) (net.Listener, error) {
	if c.EdgeListen == "" {
		return nil, nil
	}
	ln, err := listen(c.EdgeListen, log)
	if err != nil {
		return nil, fmt.Errorf("edge port: %w", err)
	}
	return ln, nil
}

// control is what edges are told of where ln is.
func (c *edgeDoor) control(ln net.Listener) string {
	if c.EdgePublic != "" || ln == nil {
		return c.EdgePublic
	}
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if ip, perr := netip.ParseAddr(host); err != nil || perr != nil || ip.IsUnspecified() {
		host = ""
	}
	if port == "" {
		port = strconv.Itoa(portOf(ln.Addr()))
	}
	return net.JoinHostPort(host, port)
}

// openEdges wires the register of edges into s; control is what edges are told of their port, empty for none.
func openEdges(s *node, data, control string, ice []string, p2p func() bool) (*registry.Registry, *registry.Authority, error) {
	authority, err := registry.OpenAuthority(data, time.Now)
	if err != nil {
		return nil, nil, err
	}
	coming := library.New(s.db, func() time.Time { return time.Now().Add(registry.Lead) })
	media := origin.New(origin.Config{ // of its own: what edges are sent is nobody's view
		Titles: registry.Both{First: s.library, Then: coming}, Tickets: s.tickets, Blobs: s.objects, Clock: time.Now, Log: s.log,
	})
	c := registry.Config{
		DB: s.db, Authority: authority, Clock: time.Now, Titles: s.library, Coming: coming, Windows: s.library.Windows(), Tickets: s.tickets,
		Revocations: s.members, Members: s.members, Origin: media, Traffic: s.origin, P2P: p2p, Trackers: []string{"/tracker"}, Announce: []string{"/announce"}, ICE: ice,
		Control: control, Log: s.log,
	}
	if s.places != nil {
		c.Far = far(s.places)
	}
	return registry.New(c), authority, nil
}

// far says how far apart two addresses are in the network: 0 for one neighbourhood, 3 for what is not known to be near.
func far(p *places.Places) func(a, b netip.Addr) int {
	return func(a, b netip.Addr) int {
		x, y := p.Place(a), p.Place(b)
		switch {
		case x.Prefix != 0 && x.Prefix == y.Prefix:
			return 0
		case x.Network != 0 && x.Network == y.Network:
			return 1
		case x.Country != 0 && x.Country == y.Country:
			return 2
		}
		return 3
	}
}

// serveEdges answers edges on ln until ctx ends.
func (s *node) serveEdges(ctx context.Context, ln net.Listener) {
	serveHTTP(ctx, tls.NewListener(ln, s.authority.TLS()), s.edges.Handler(), s.log)
}

// serveHTTP answers on ln until ctx ends, and a moment longer for what runs.
func serveHTTP(ctx context.Context, ln net.Listener, handler http.Handler, log *slog.Logger) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("a port is not answered any more", "address", ln.Addr(), "error", err)
		}
	}()
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
	}
	<-ended
}

// edgesOf is the register of edges in a data folder, for commands beside a running service.
func edgesOf(db *sqlstore.Store) *registry.Registry {
	return registry.New(registry.Config{DB: db, Clock: time.Now, Members: members.New(db, time.Now)})
}

var _ vod.Edges = (*registry.Registry)(nil)
