package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"

	"essaim/internal/api"
)

// TestStopOrFaultWhileOpeningIsAnError breaks the opening off at each of its stages.
func TestStopOrFaultWhileOpeningIsAnError(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	occupied := func(name string) func(t *testing.T, data string) {
		return func(t *testing.T, data string) {
			if err := os.WriteFile(filepath.Join(data, name), []byte("no folder, no key, no database"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range []struct {
		stage string
		ctx   context.Context
		spoil func(t *testing.T, data string)
		demo  func(*node) (*api.Demo, []api.Mount, error)
	}{
		{stage: "interrupt before the database", ctx: stopped},
		{stage: "database", spoil: occupied("essaim.db")},
		{stage: "objects", spoil: occupied("objects")},
		{stage: "tickets", spoil: occupied("ticket-keys")},
		{stage: "demonstration", demo: func(*node) (*api.Demo, []api.Mount, error) { return nil, nil, context.Canceled }},
	} {
		t.Run(x.stage, func(t *testing.T) {
			data, ctx := t.TempDir(), x.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			if x.spoil != nil {
				x.spoil(t, data)
			}
			n, err := openNode(ctx, nodeConfig{data: data, log: slog.New(slog.DiscardHandler), demo: x.demo})
			if err == nil || n != nil {
				t.Errorf("node %v, error %v", n, err)
			}
		})
	}
}

func TestBehindAProxyAllViewersMayReachTheTracker(t *testing.T) {
	const many = 80
	for _, secure := range []bool{true, false} {
		n, err := openNode(t.Context(), nodeConfig{
			settings: settings{Secure: secure}, data: t.TempDir(), log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = "192.0.2.7:4711" // all from one other machine
			n.api.ServeHTTP(w, r)
		}))
		var accepted []*websocket.Conn
		for range many {
			conn, answer, err := websocket.Dial(t.Context(), server.URL+"/tracker", nil)
			if err == nil {
				accepted = append(accepted, conn)
			} else if answer == nil || answer.StatusCode != http.StatusTooManyRequests {
				t.Fatal(err)
			}
		}
		if all := len(accepted) == many; all != secure {
			t.Errorf("secure %v: %d of %d were let in", secure, len(accepted), many)
		}
		for _, conn := range accepted {
			_ = conn.CloseNow()
		}
		if err := n.tracker.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		server.Close()
		n.Close()
	}
}
