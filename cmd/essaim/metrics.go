package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"essaim/internal/api"
	"essaim/internal/metrics"
	"essaim/internal/vod"
)

// metricsDoor are serve's settings for who watches over it.
type metricsDoor struct {
	MetricsListen string `name:"metrics-listen" env:"ESSAIM_METRICS_LISTEN" placeholder:"ADDRESS:PORT" help:"Where Prometheus may scrape the service, at /metrics: an address that visitors do not reach, for instance 127.0.0.1:9464. Without it, nowhere."`
}

// Validate implements kong's interface of that name.
func (c *metricsDoor) Validate() error {
	if c.MetricsListen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
		return fmt.Errorf("--metrics-listen %q: want ADDRESS:PORT", c.MetricsListen)
	}
	return nil
}

// listen opens the port; nil where there is none. Another than was asked for would not be found.
func (c *metricsDoor) listen(*slog.Logger) (net.Listener, error) {
	if c.MetricsListen == "" {
		return nil, nil
	}
	ln, err := net.Listen("tcp", c.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("--metrics-listen: %w", err)
	}
	return ln, nil
}

// edgeSilent is how long an edge that is up is silent at most.
const edgeSilent = 3 * time.Minute

// openMetrics gathers what the rooms count.
func (s *node) openMetrics(policy *api.Policy) *metrics.Metrics {
	return metrics.New(metrics.Sources{
		OriginBytes: func() int64 { return s.origin.Snapshot().OriginBytes },
		Swarms: func() (swarms, peers int) {
			for _, n := range s.tracker.Swarms() {
				if n > 0 {
					swarms, peers = swarms+1, peers+n
				}
			}
			return swarms, peers
		},
		Policy: policy.Get,
		Edges: func() (all, up int) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			list, err := s.edges.Edges(ctx)
			if err != nil {
				s.log.Error("count edges", "error", err)
			}
			for _, e := range list {
				if e.Revoked.IsZero() {
					all++
					up += count(time.Since(e.Seen) < edgeSilent)
				}
			}
			return all, up
		},
		Ready: func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return s.api.Ready(ctx) == nil
		},
		Version: version(),
	}, vod.Clock(time.Now))
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// serveMetrics answers scrapes on ln until ctx is done.
func (s *node) serveMetrics(ctx context.Context, ln net.Listener) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.Handler())
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("show metrics", "error", err)
	}
}
