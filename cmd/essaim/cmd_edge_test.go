package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/edge"
	"essaim/internal/watch"
)

// TestAViewerPlaysFromAnEdgeWhileTheOriginsMediaAreStopped runs the service as `serve` wires it, an edge as `edge join` and `edge run`
// do, and a native viewer.
func TestAViewerPlaysFromAnEdgeWhileTheOriginsMediaAreStopped(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	data := t.TempDir()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), nodeConfig{
		data: data, log: log, edgeListener: port, edgeControl: port.Addr().String(), url: "http://" + front.Addr().String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s := &service{data: map[string][]byte{}}
	s.publish(t, n.library, n.objects)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx, front) }()
	defer func() { stop(); <-ended }()

	// What viewers reach is the service, whose media can be stopped.
	behind, err := url.Parse("http://" + front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var stopped atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(behind)
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stopped.Load() && (strings.HasPrefix(r.URL.Path, "/media/") || strings.HasPrefix(r.URL.Path, "/hashes/")) {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	public.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	defer public.Close()

	var out bytes.Buffer
	if err := (&edgeAddCmd{Name: "lyon-1", Data: data}).run(&out); err != nil {
		t.Fatal(err)
	}
	box := filepath.Join(t.TempDir(), "edge")
	if err := (&edgeJoinCmd{Service: "http://" + front.Addr().String(), Data: box}).run(t.Context(), strings.NewReader(out.String()), io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := (&edgeJoinCmd{Service: "http://" + front.Addr().String(), Data: box + "-2"}).run(t.Context(), strings.NewReader(out.String()), io.Discard); err == nil {
		t.Error("a token lets two edges in")
	}
	run := &edgeRunCmd{
		Listen: "127.0.0.1:0", NodeListen: "127.0.0.1:0", BitTorrent: "127.0.0.1:0", Data: box, Quota: 100_000_000, JSON: true,
	}
	// Its address is known once it listens; what was said when joining is overruled then.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run.Listen = ln.Addr().String()
	run.URL = "http://" + run.Listen
	ln.Close()
	edgeCtx, stopEdge := context.WithCancel(t.Context())
	edgeEnded := make(chan error, 1)
	go func() { edgeEnded <- run.run(edgeCtx, log, io.Discard) }()
	defer func() {
		stopEdge()
		if err := <-edgeEnded; err != nil {
			t.Error(err)
		}
	}()
	until(t, "the edge holds the film, and the service sends viewers to it", func() bool {
		return len(n.edges.Near(s.title.Version.ID, addrOf(front))) == 1
	})
	sent := n.origin.Snapshot().OriginBytes
	stopped.Store(true)
	to := filepath.Join(t.TempDir(), "film.mp4")
	res, err := watch.Run(t.Context(), watch.Options{Server: public.URL, Title: s.title.ID, To: to, Share: false})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, s.data["video-360p.mp4"]) {
		t.Errorf("the film: %d bytes, %v", len(got), err)
	}
	if now := n.origin.Snapshot().OriginBytes; now != sent {
		t.Errorf("the origin sent viewers %d bytes", now-sent)
	}
	var status edge.Status
	until(t, "the edge tells what it served", func() bool {
		out.Reset()
		if err := (&edgeStatusCmd{Data: box, JSON: true}).run(&out, time.Now()); err != nil {
			return false
		}
		return json.Unmarshal(out.Bytes(), &status) == nil && status.HTTPBytes >= s.size()
	})
	if !status.Running || status.TitlesWhole != 1 || status.HeldBytes != s.size() || res.OriginBytes < s.size() {
		t.Errorf("status %+v, viewer %+v", status, res)
	}

	// And as a peer: nothing over HTTP at all, from nobody.
	until(t, "the edge is in the film's swarm", func() bool { return n.tracker.Swarms()[s.title.Version.InfoHashV1] == 1 })

	// Sent away, it ends.
	list, err := n.edges.Edges(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if err := n.edges.Revoke(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := <-edgeEnded; err == nil {
		t.Error("a revoked edge ends without a word")
	}
	edgeEnded <- nil
}

// until waits for something that comes about by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("it never came about that %s", what)
		}
	}
}

func addrOf(ln net.Listener) netip.Addr {
	return netip.MustParseAddrPort(ln.Addr().String()).Addr()
}
