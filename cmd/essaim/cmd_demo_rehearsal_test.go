package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"essaim/internal/api"
	"essaim/internal/bt"
	"essaim/internal/demo/film"
	"essaim/internal/demo/synthetic"
	"essaim/internal/vod"
)

// operator is the header of whoever runs `essaim admin token` on the demonstration's folder.
func (d *demoNode) operator() []string {
	d.t.Helper()
	var token bytes.Buffer
	if err := (&tokenCmd{Role: "operator", TTL: time.Hour, Data: d.data}).run(&token, time.Now); err != nil {
		d.t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + strings.TrimSuffix(token.String(), "\n")}
}

// mediaFiles are the media objects in a data folder, with the times at which they were written.
func mediaFiles(t *testing.T, data string) map[string]time.Time {
	t.Helper()
	found := map[string]time.Time{}
	err := filepath.WalkDir(filepath.Join(data, "objects"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		found[path] = info.ModTime()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestDemoHasATitleToRehearseWithWhereOneIsAskedFor(t *testing.T) {
	const path = "/api/v1/titles/rehearsal"
	c := demoCmd{Data: t.TempDir(), RehearsalTitle: 200_000}
	d := startDemoCmd(t, c)
	var title struct {
		api.TitleDetail
		Synthetic bool `json:"synthetic"`
	}
	d.ask(200, &title, "GET", path, "")
	if !title.Synthetic || !title.Open || title.DurationMs != 180_000 || len(title.Files) != 1 || title.Files[0].Bandwidth != 200_000 || d.rehearsal != "rehearsal" {
		t.Errorf("title %+v", title)
	}
	var list struct {
		Titles []api.TitleSummary `json:"titles"`
	}
	d.ask(200, &list, "GET", "/api/v1/titles", "")
	if len(list.Titles) != 2 || list.Titles[0].ID != film.Title().ID || list.Titles[1].ID != synthetic.ID || list.Titles[0].Synthetic {
		t.Errorf("catalogue %+v", list.Titles)
	}

	auth := d.operator()
	var p vod.PlaySession
	d.ask(200, &p, "POST", path+"/play", `{"rehearsal":"evening-1","share":true}`, auth...)
	data := d.ask(200, nil, "GET", "/media/"+p.Files[0].Root, "", "Authorization", "Bearer "+p.Tickets.Media)
	var leaves []bt.Digest
	for from := 0; from < len(data); from += bt.BlockSize {
		leaves = append(leaves, sha256.Sum256(data[from:min(from+bt.BlockSize, len(data))]))
	}
	if got := bt.FileRoot(leaves, int(p.PieceLength)/bt.BlockSize); got.String() != p.Files[0].Root {
		t.Errorf("%d bytes with root %s", len(data), got)
	}
	var traffic api.TrafficBody
	d.ask(200, &traffic, "GET", "/api/v1/operator/traffic", "", auth...)
	if traffic.Rehearsals["evening-1"].OriginBytes != int64(len(data)) || traffic.OriginBytes != 0 || len(traffic.Titles) != 0 {
		t.Errorf("traffic %+v, received %d", traffic, len(data))
	}
	var state struct {
		OriginBytes int64 `json:"origin_bytes"`
	}
	d.ask(200, &state, "GET", "/room/api/state", "")
	if state.OriginBytes != 0 {
		t.Errorf("the room counts %d bytes of a rehearsal", state.OriginBytes)
	}
	d.stop()

	// The same again writes nothing, another rate replaces it, and without the flag it is gone.
	before := mediaFiles(t, c.Data)
	d = startDemoCmd(t, c)
	d.ask(200, nil, "GET", path, "")
	d.stop()
	if after := mediaFiles(t, c.Data); len(after) != len(before) {
		t.Errorf("%d objects, then %d", len(before), len(after))
	} else {
		for name, written := range after {
			if !written.Equal(before[name]) {
				t.Errorf("%s was written again", filepath.Base(name))
			}
		}
	}
	c.RehearsalTitle = 300_000
	d = startDemoCmd(t, c)
	d.ask(200, &title, "GET", path, "")
	if title.Files[0].Bandwidth != 300_000 {
		t.Errorf("another rate gives %+v", title.Files)
	}
	d.stop()
	c.RehearsalTitle = 0
	d = startDemoCmd(t, c)
	d.ask(404, nil, "GET", path, "")
	if d.rehearsal != "" {
		t.Errorf("reported %q", d.rehearsal)
	}
	d.stop()
}

func TestDemoLeavesAFilmOfThatIDAlone(t *testing.T) {
	n, err := openNode(t.Context(), nodeConfig{data: t.TempDir(), log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	own := film.Title()
	own.ID, own.Name = synthetic.ID, synthetic.Name
	if err := n.library.Publish(t.Context(), own, []byte("torrent")); err != nil {
		t.Fatal(err)
	}
	if id, err := furnishRehearsal(t.Context(), n, 0); id != "" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	if _, err := furnishRehearsal(t.Context(), n, 200_000); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("error %v", err)
	}
	if got, err := n.library.Get(t.Context(), own.ID); err != nil || got.Synthetic() {
		t.Errorf("the film is %+v, %v", got.Version.ID, err)
	}
}

func TestDemoRefusesARateThatNoTitleCanHave(t *testing.T) {
	for text, ok := range map[string]bool{"0": true, "100k": true, "2M": true, "50M": true, "99k": false, "50.1M": false, "1": false} {
		var c demoCmd
		if err := c.RehearsalTitle.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	c := demoCmd{settings: settings{STUN: []string{"nonsense"}}}
	if c.Validate() == nil {
		t.Error("the settings that serve and demo share are not looked at")
	}
	var said bytes.Buffer
	if status := run([]string{"demo", "--rehearsal-title", "1k"}, &said); status != 2 || !strings.Contains(said.String(), "--rehearsal-title: want a rate from 100k to 50M") {
		t.Errorf("status %d, %q", status, said.String())
	}
}

func TestDemosOriginRateHoldsForRehearsals(t *testing.T) {
	const rate, size = 8_000_000, 500_000
	d := startDemoCmd(t, demoCmd{settings: settings{OriginRate: rate}, Data: t.TempDir(), RehearsalTitle: 200_000})
	defer d.stop()
	var p vod.PlaySession
	d.ask(200, &p, "POST", "/api/v1/titles/rehearsal/play", `{"rehearsal":"a"}`, d.operator()...)
	began := time.Now()
	d.ask(206, nil, "GET", "/media/"+p.Files[0].Root, "", "Authorization", "Bearer "+p.Tickets.Media, "Range", "bytes=0-499999")
	// Half a second at that rate, less what the bucket holds at first: a lower bound, which no busy machine breaks.
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("%d bytes at %d bit/s took %s", size, rate, took)
	}
}

func TestDemoTellsHowToRehearseAndNoToken(t *testing.T) {
	r := demoReport{URL: "http://127.0.0.1:1", Room: "http://127.0.0.1:1/room", Data: "/data of/it's"}
	var plain, with, asJSON bytes.Buffer
	if err := r.print(&plain, false); err != nil {
		t.Fatal(err)
	}
	r.Rehearsal = synthetic.ID
	if err := errors.Join(r.print(&with, false), r.print(&asJSON, true)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "ESSAIM_TOKEN") {
		t.Error("it tells how to rehearse a title that is not there")
	}
	for _, want := range []string{`admin token --role operator --data '/data of/it'\''s'`, "essaim rehearse http://127.0.0.1:1 --title rehearsal"} {
		if !strings.Contains(with.String(), want) {
			t.Errorf("no %q in %s", want, with.String())
		}
	}
	var got map[string]any
	if err := json.Unmarshal(asJSON.Bytes(), &got); err != nil || got["data"] != r.Data || got["rehearsal"] != "rehearsal" {
		t.Errorf("%s, %v", asJSON.String(), err)
	}
	for _, out := range []string{with.String(), asJSON.String()} {
		if strings.Contains(out, "eyJ") {
			t.Error("a token is printed")
		}
	}
}

func TestRehearsalsManyViewersReachTheTrackerFromOneAddress(t *testing.T) {
	const many = 80 // more than the 64 of an address
	n, err := openNode(t.Context(), nodeConfig{data: t.TempDir(), log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := furnishRehearsal(t.Context(), n, 200_000); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.7:4711" // all from one other machine
		n.api.ServeHTTP(w, r)
	}))
	defer server.Close()
	d := &demoNode{t: t, url: server.URL, client: server.Client()}
	token, err := n.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	var p vod.PlaySession
	d.ask(200, &p, "POST", "/api/v1/titles/rehearsal/play", `{"rehearsal":"a","share":true}`, "Authorization", "Bearer "+token)
	var accepted []*websocket.Conn
	for i := range many + 1 {
		address := server.URL + p.Nodes.Trackers[0]
		if i == many { // a viewer comes last, from the same address
			address = server.URL + "/tracker"
		}
		conn, _, err := websocket.Dial(t.Context(), address, nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		accepted = append(accepted, conn)
	}
	for _, conn := range accepted {
		_ = conn.CloseNow()
	}
	if err := n.tracker.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
