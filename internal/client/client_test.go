package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"essaim/internal/vod"
)

func serve(t *testing.T, routes map[string]http.HandlerFunc) *Client {
	t.Helper()
	mux := http.NewServeMux()
	for p, h := range routes {
		mux.HandleFunc(p, h)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	c, err := New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSessionCookieIsKept(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/session": func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if string(b) != `{"name":"ada","password":"pw"}` {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.SetCookie(w, &http.Cookie{Name: "essaim_session", Value: "s1", Path: "/", HttpOnly: true})
			fmt.Fprint(w, `{"id":"m1","name":"ada"}`)
		},
		"GET /api/v1/me": func(w http.ResponseWriter, r *http.Request) {
			if k, err := r.Cookie("essaim_session"); err != nil || k.Value != "s1" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, `{"id":"m1","name":"ada"}`)
		},
	})
	if _, err := c.Me(t.Context()); !errors.Is(err, vod.ErrUnauthorized) {
		t.Error(err)
	}
	if _, err := c.SignIn(t.Context(), "ada", "wrong"); !errors.Is(err, vod.ErrUnauthorized) {
		t.Error(err)
	}
	if m, err := c.SignIn(t.Context(), "ada", "pw"); err != nil || m.ID != "m1" {
		t.Error(m, err)
	}
	if m, err := c.Me(t.Context()); err != nil || m.Name != "ada" {
		t.Error(m, err)
	}
}

func TestPlayMakesNodesAbsolute(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/titles/numbers/play": func(w http.ResponseWriter, r *http.Request) {
			var in struct{ Share bool }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !in.Share {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			_ = json.NewEncoder(w).Encode(vod.PlaySession{ID: "p1", Nodes: vod.PlayNodes{
				Origins:  []string{"/", "https://edge.example/x/"},
				Trackers: []string{"/tracker", "wss://tracker.example/", "ws://other.example/t"},
			}})
		},
	})
	s, err := c.Play(t.Context(), "numbers", true)
	if err != nil {
		t.Fatal(err)
	}
	host := c.base.Host
	want := []string{"http://" + host + "/", "https://edge.example/x/", "ws://" + host + "/tracker", "wss://tracker.example/", "ws://other.example/t"}
	got := append(s.Nodes.Origins, s.Nodes.Trackers...)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStatusesBecomeErrorsOfTheTrade(t *testing.T) {
	status := 0
	c := serve(t, map[string]http.HandlerFunc{
		"/": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprint(w, `{"title":"A title","detail":"what to do next"}`)
		},
	})
	for s, want := range map[int]error{
		401: vod.ErrUnauthorized, 403: vod.ErrForbidden, 404: vod.ErrNotFound, 409: vod.ErrConflict,
		400: vod.ErrInvalid, 422: vod.ErrInvalid, 429: vod.ErrUnavailable, 503: vod.ErrUnavailable,
	} {
		status = s
		if _, err := c.Title(t.Context(), "x"); !errors.Is(err, want) || !strings.Contains(err.Error(), "what to do next") {
			t.Errorf("%d: %v", s, err)
		}
	}
	status = http.StatusFound
	if _, err := c.Titles(t.Context()); err == nil {
		t.Error("followed a redirect")
	}
}

func TestRefusalsAreOneLineInTheServersWords(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"/": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"detail":"That name and password\n\u001b[2J do not go together."}`)
		},
	})
	_, err := c.SignIn(t.Context(), "ada", "wrong")
	if !errors.Is(err, vod.ErrUnauthorized) || err.Error() != "sign in: that name and password  [2J do not go together" {
		t.Errorf("%q", err)
	}
}

func TestHeartbeatCarriesTheTicket(t *testing.T) {
	c := serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/play/p1/heartbeat": func(w http.ResponseWriter, r *http.Request) {
			var h vod.Heartbeat
			if r.Header.Get("Authorization") != "Bearer m1" || json.NewDecoder(r.Body).Decode(&h) != nil || h.PeerBytes != 5 {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			fmt.Fprint(w, `{"tickets":{"media":"m2","expires_ms":1000},"policy":{"p2p":true}}`)
		},
	})
	r, err := c.Heartbeat(t.Context(), "p1", "m1", vod.Heartbeat{PeerBytes: 5})
	if err != nil || r.Tickets.Media != "m2" || !r.Policy.P2P {
		t.Error(r, err)
	}
	if _, err := c.Heartbeat(t.Context(), "p1", "other", vod.Heartbeat{}); !errors.Is(err, vod.ErrForbidden) {
		t.Error(err)
	}
}

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	for _, s := range []string{"", "films.example", "ftp://x", "http://", "http://user:pw@host"} {
		if _, err := New(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
