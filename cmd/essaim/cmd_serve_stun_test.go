package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"essaim/internal/api"
	"essaim/internal/places"
	"essaim/internal/vod"
)

func TestSTUNIsAnsweredBesideAnAddressThatOthersReach(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for setting, beside := range map[string]string{"off": "0.0.0.0:80", "auto": "127.0.0.1:80"} {
		if s, err := openSTUN(setting, beside, log); s != nil || err != nil {
			t.Errorf("%s beside %s: %v, %v", setting, beside, s, err)
		}
	}
	first, err := openSTUN("auto", "0.0.0.0:80", log)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	defer first.Close()
	second, err := openSTUN("auto", "0.0.0.0:80", log) // the port is taken now
	if err != nil || second == nil || second.Port() == first.Port() {
		t.Fatal(second, err)
	}
	defer second.Close()
	if _, err := openSTUN("0.0.0.0:"+strconv.Itoa(first.Port()), "", log); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a taken port that was asked for: %v", err)
	}
}

// TestServeAnswersSTUNAndHandsItsAddressOut asks the running node as a viewer on another machine would.
func TestServeAnswersSTUNAndHandsItsAddressOut(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	asked, err := openSTUN("127.0.0.1:0", "", log)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "places")
	if err := os.WriteFile(list, []byte("192.0.2.0/24 64500 FR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	where, err := places.Open([]string{list}, log)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	n, err := openNode(t.Context(), nodeConfig{
		settings: settings{STUN: []string{"stun:other.example"}}, data: data, log: log, stun: asked, places: where,
		demo: func(n *node) (*api.Demo, []api.Mount, error) {
			_, err := furnish(t.Context(), n)
			return nil, nil, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx, ln) }()

	c, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(asked.Port())))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw); err != nil {
		t.Fatal(err)
	}
	var seen stun.XORMappedAddress
	answer := stun.Message{Raw: make([]byte, 100)}
	if size, err := c.Read(answer.Raw); err != nil {
		t.Fatal(err)
	} else if answer.Raw = answer.Raw[:size]; answer.Decode() != nil || seen.GetFrom(&answer) != nil || seen.Port != c.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("seen from %v, want %v", seen, c.LocalAddr())
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}

	call := func(method, path, body string, out any) {
		t.Helper()
		request := httptest.NewRequest(method, "/api/v1/titles"+path, strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		reply := httptest.NewRecorder()
		n.api.ServeHTTP(reply, request)
		if err := json.Unmarshal(reply.Body.Bytes(), out); err != nil || reply.Code != http.StatusOK {
			t.Fatal(method, path, reply.Code, err)
		}
	}
	var all struct{ Titles []struct{ ID string } }
	call(http.MethodGet, "", "", &all)
	if len(all.Titles) == 0 {
		t.Fatal("no title to play")
	}
	var s vod.PlaySession
	call(http.MethodPost, "/"+all.Titles[0].ID+"/play", `{"share":true}`, &s)
	port := strconv.Itoa(asked.Port())
	if want := []string{"stun::" + port, "stun:other.example"}; !reflect.DeepEqual(s.Nodes.ICE, want) {
		t.Errorf("handed out %q, want %q", s.Nodes.ICE, want)
	}
	s.Nodes.Locate("films.example")
	if want := []string{"stun:films.example:" + port, "stun:other.example"}; !reflect.DeepEqual(s.Nodes.ICE, want) {
		t.Errorf("located %q, want %q", s.Nodes.ICE, want)
	}
}
