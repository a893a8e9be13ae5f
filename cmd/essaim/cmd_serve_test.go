package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
)

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
