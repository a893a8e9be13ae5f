package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/api"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/demo/film"
	"essaim/internal/vod"
)

// demoNode is a demonstration that runs in the test, on a port of its own.
type demoNode struct {
	t       *testing.T
	url     string
	data    string
	members []demoReportMember
	// rehearsal is the synthetic title's ID, empty for none.
	rehearsal vod.TitleID
	client    *http.Client
	stop      func()
}

func startDemo(t *testing.T, data string) *demoNode {
	t.Helper()
	return startDemoCmd(t, demoCmd{Data: data})
}

// startDemoCmd starts one with the settings, data folder and rehearsal's title that c names.
func startDemoCmd(t *testing.T, c demoCmd) *demoNode {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	ln, err := listen("127.0.0.1:0", log)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &demoNode{t: t, url: urlOf(ln.Addr()), client: &http.Client{Jar: jar}}
	d.data = c.Data
	ctx, cancel := context.WithCancel(t.Context())
	n, err := openNode(ctx, nodeConfig{settings: c.settings, data: c.Data, log: log, lan: true, demo: func(n *node) (*api.Demo, []api.Mount, error) {
		var err error
		if d.members, err = furnish(ctx, n); err != nil {
			return nil, nil, err
		}
		if d.rehearsal, err = furnishRehearsal(ctx, n, c.RehearsalTitle); err != nil {
			return nil, nil, err
		}
		return demonstration(n, d.members)
	}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(ctx, ln) }()
	d.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		n.Close()
		d.client.CloseIdleConnections()
	}
	return d
}

func (d *demoNode) ask(status int, into any, method, path, body string, header ...string) []byte {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		d.t.Fatalf("%s %s: %d, %v, %.300s", method, path, resp.StatusCode, err, data)
	}
	if into != nil {
		if err := json.Unmarshal(data, into); err != nil {
			d.t.Fatalf("%s %s: %v: %.300s", method, path, err, data)
		}
	}
	return data
}

func TestDemoPlaysItsFilmToEveryone(t *testing.T) {
	d := startDemo(t, t.TempDir())
	defer d.stop()
	d.ask(200, nil, "GET", "/readyz", "")
	title := film.Title()
	var p vod.PlaySession
	d.ask(200, &p, "POST", "/api/v1/titles/"+string(title.ID)+"/play", `{}`)
	if !p.Policy.P2P || !p.Policy.Upload || !p.Policy.LAN || len(p.Nodes.Trackers) != 1 {
		t.Errorf("a viewer of the demonstration: %+v, %+v", p.Policy, p.Nodes)
	}
	auth := []string{"Authorization", "Bearer " + p.Tickets.Media}
	total := int64(0)
	for _, f := range p.Files {
		data := d.ask(200, nil, "GET", "/media/"+f.Root, "", auth...)
		var leaves []bt.Digest
		for from := 0; from < len(data); from += bt.BlockSize {
			leaves = append(leaves, sha256.Sum256(data[from:min(from+bt.BlockSize, len(data))]))
		}
		if got := bt.FileRoot(leaves, int(p.PieceLength)/bt.BlockSize); got.String() != f.Root || int64(len(data)) != f.Size {
			t.Errorf("%s: %d bytes with root %s", f.Path, len(data), got)
		}
		total += f.Size
	}
	d.ask(200, nil, "POST", "/api/v1/play/"+p.ID+"/heartbeat", `{"position_ms":1,"origin_bytes":1,"peer_bytes":0,"sent_bytes":0,"stalls":0,"stalled_ms":0,"startup_ms":1,"bad_blocks":0}`, auth...)
	got, err := metainfo.Parse(d.ask(200, nil, "GET", "/api/v1/titles/"+string(title.ID)+"/torrent", ""))
	want, wantErr := metainfo.Parse(film.Torrent())
	if err != nil || wantErr != nil || got.InfoHash != want.InfoHash || got.InfoHashV2 != want.InfoHashV2 {
		t.Errorf("another torrent: %+v, %v, %v", got, err, wantErr)
	}
	d.ask(200, nil, "GET", "/objects/"+title.Poster, "")

	// An operator beside the running service.
	var token bytes.Buffer
	if err := (&tokenCmd{Role: "operator", TTL: time.Hour, Data: d.data}).run(&token, time.Now); err != nil {
		t.Fatal(err)
	}
	var traffic api.TrafficBody
	d.ask(200, &traffic, "GET", "/api/v1/operator/traffic", "", "Authorization", "Bearer "+strings.TrimSuffix(token.String(), "\n"))
	if traffic.OriginBytes != total || traffic.Sessions[p.ID] != total || traffic.Titles[title.ID] != total {
		t.Errorf("traffic %+v, received %d", traffic, total)
	}
	d.ask(401, nil, "GET", "/api/v1/operator/traffic", "")

	var state struct {
		OriginBytes int64 `json:"origin_bytes"`
	}
	d.ask(200, &state, "GET", "/room/api/state", "")
	if state.OriginBytes != total {
		t.Errorf("the room says %d", state.OriginBytes)
	}
	d.ask(426, nil, "GET", "/tracker", "") // a WebSocket is wanted
}

func TestDemoMembersHaveNewPasswordsAtEachStart(t *testing.T) {
	data := t.TempDir()
	first := startDemo(t, data)
	signIn := func(d *demoNode, status int, m demoReportMember) {
		t.Helper()
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		d.ask(status, nil, "POST", "/api/v1/session", string(body))
	}
	if len(first.members) != 2 || first.members[0].Name != "demo" || first.members[1].Name != "guest" {
		t.Fatalf("members %+v", first.members)
	}
	signIn(first, 200, first.members[1])
	first.stop()
	second := startDemo(t, data)
	defer second.stop()
	if second.members[0].Password == first.members[0].Password || len(second.members[0].Password) < 12 {
		t.Errorf("passwords %+v, then %+v", first.members, second.members)
	}
	signIn(second, 401, first.members[0])
	signIn(second, 200, second.members[0])
	second.ask(200, nil, "POST", "/demo/sign-in", `{"name":"guest"}`)
	var me api.Me
	second.ask(200, &me, "GET", "/api/v1/me", "")
	if me.Name != "guest" {
		t.Errorf("signed in as %+v", me)
	}
}

func TestDemoFilmReplacesThatOfAnotherRelease(t *testing.T) {
	data := t.TempDir()
	n, err := openNode(t.Context(), nodeConfig{data: data, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	old := film.Title()
	old.Name = "The film of another release"
	if err := n.library.Publish(t.Context(), old, []byte("torrent")); err != nil {
		t.Fatal(err)
	}
	if _, err := furnish(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	got, err := n.library.Get(t.Context(), old.ID)
	if err != nil || got.Name != film.Title().Name {
		t.Errorf("%q, %v", got.Name, err)
	}
	n.Close()
}

func TestMemberAddedBesideARunningServiceMaySignIn(t *testing.T) {
	d := startDemo(t, t.TempDir())
	defer d.stop()
	var out bytes.Buffer
	add := &memberAddCmd{Name: "Ada", Data: d.data, JSON: true}
	if err := add.run(t.Context(), "correct horse", &out); err != nil {
		t.Fatal(err)
	}
	var said map[string]string
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || said["name"] != "Ada" || said["id"] == "" || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("said %q", out.String())
	}
	d.ask(200, nil, "POST", "/api/v1/session", `{"name":"ada","password":"correct horse"}`)
	if err := add.run(t.Context(), "correct horse", &out); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("twice: %v", err)
	}
}

func TestNewPasswordIsReadFromStandardInput(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte("correct horse\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got, err := newPassword(t.Context(), in, io.Discard); err != nil || got != "correct horse" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTokenIsForTheDataOfAService(t *testing.T) {
	dir := t.TempDir()
	if err := (&tokenCmd{Role: "operator", TTL: time.Hour, Data: dir}).run(io.Discard, time.Now); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a token for an empty folder: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Error("left behind:", entries, err)
	}
}

func TestTokenIsPrintedAloneAndBounded(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if err := (&memberAddCmd{Name: "Ada", Data: dir}).run(t.Context(), "correct horse", io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := (&tokenCmd{Role: "operator", TTL: 12 * time.Hour, Data: dir}).run(&out, time.Now); err != nil {
		t.Fatal(err)
	}
	if token, ok := strings.CutSuffix(out.String(), "\n"); !ok || strings.Count(token, ".") != 2 || strings.ContainsAny(token, " \n") {
		t.Errorf("printed %q", out.String())
	}
	for _, ttl := range []time.Duration{0, -time.Hour, 10_000 * time.Hour} {
		if err := (&tokenCmd{Role: "operator", TTL: ttl, Data: dir}).run(io.Discard, time.Now); err == nil {
			t.Errorf("a token for %s", ttl)
		}
	}
}

func TestDemonstrationsAtOnceHaveFoldersOfTheirOwn(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	first, err := (&demoCmd{}).folder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := (&demoCmd{}).folder(t.Context())
	if err != nil || second.path == first.path {
		t.Fatalf("%+v beside %+v, %v", second, first, err)
	}
	defer second.Close()
	if _, err := (&demoCmd{Data: first.path}).folder(t.Context()); !errors.Is(err, errBusy) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("the folder of a running demonstration: %v", err)
	}
	first.Close()
	again, err := (&demoCmd{}).folder(t.Context())
	if err != nil || again.path != first.path {
		t.Fatalf("after the first has ended: %+v, %v", again, err)
	}
	again.Close()
}

func TestDemoLetsNobodyIntoAServiceWithMembers(t *testing.T) {
	service, own := t.TempDir(), t.TempDir()
	var out bytes.Buffer
	if err := (&memberAddCmd{Name: "Ada", Data: service}).run(t.Context(), "correct horse", &out); err != nil {
		t.Fatal(err)
	}
	if _, err := (&demoCmd{Data: service}).folder(t.Context()); err == nil {
		t.Error("a demonstration of a service with members")
	}
	if _, err := os.Stat(filepath.Join(service, demoLock)); err == nil {
		t.Error("the refused folder was marked as a demonstration's")
	}
	// A member who was added to a demonstration does not close it.
	for range 2 {
		f, err := (&demoCmd{Data: own}).folder(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := (&memberAddCmd{Name: "Ada", Data: own}).run(t.Context(), "correct horse", &out); err != nil && !errors.Is(err, vod.ErrConflict) {
			t.Fatal(err)
		}
		f.Close()
	}
}
