package api

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/insight"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// newInsight is a house whose reports are kept, with an operator's header.
func newInsight(t *testing.T) (*house, *insight.Insight, []string) {
	t.Helper()
	db, err := sqltest.Open(t.Context(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var room *insight.Insight
	h := newHouse(t, func(c *Config) {
		room = insight.New(insight.Config{Store: db, Clock: c.Clock, Titles: c.Titles, Traffic: c.Traffic})
		c.Policy = NewPolicy(vod.PlayPolicy{P2P: true})
		c.Policy.Draw([]byte("this test's own"))
		c.Insight = &Insight{
			Reports: room, Savings: room, Book: room, Number: func(p netip.Prefix) uint32 { return 64500 },
		}
	})
	token, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: h.clock.Now().Add(48 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return h, room, []string{"Authorization", "Bearer " + token}
}

func TestOperatorSeesWhatViewersCarried(t *testing.T) {
	t.Parallel()
	h, room, auth := newInsight(t)
	b := h.browser()
	var policy PolicyBody
	b.want(200, &policy, "PUT", "/api/v1/operator/policy", `{"price_per_gb":40,"currency":"EUR","hold_out_ppm":0,"why":"a price"}`, auth...)
	p := b.play("open", `{"share":true}`)
	_, body := b.do("GET", "/media/"+p.Files[0].Root, "", "Range", "bytes=0-49999", "Authorization", "Bearer "+p.Tickets.Media)
	h.clock.Advance(30 * time.Second)
	claim := fmt.Sprintf(`{"position_ms":4000,"origin_bytes":%d,"peer_bytes":90000,"sent_bytes":60000,"stalls":0,"stalled_ms":0,"startup_ms":300,
		"bad_blocks":0,"played_ms":4000,"height":360,"met":{"introduced":2,"connected":1,"answer":0,"ice":1,"dtls":0,"channel":0,"budget":0}}`, len(body))
	for range 2 { // twice: the answer to the first was lost
		b.want(200, new(any), "POST", "/api/v1/play/"+p.ID+"/heartbeat", claim, "Authorization", "Bearer "+p.Tickets.Media)
	}
	h.clock.Advance(time.Second)
	last := strings.Replace(claim, `"stalls":0`, `"last":true,"stalls":1`, 1)
	b.want(200, new(any), "POST", "/api/v1/play/"+p.ID+"/heartbeat", last, "Authorization", "Bearer "+p.Tickets.Media)
	if err := room.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var r vod.SavingsReport
	b.want(200, &r, "GET", "/api/v1/operator/savings?by=title", "", auth...)
	if len(r.Rows) != 1 || r.Rows[0].Key != "open" || r.From != "2025-12-04" || r.To != "2026-01-02" || r.Currency != "EUR" {
		t.Fatalf("%+v", r)
	}
	x := r.Rows[0]
	if x.OriginBytes != 50_000 || x.CountedBytes != 50_000 || x.PeerBytes != 90_000 || x.AvoidedBytes != 90_000 || x.AvoidedAmount != 0.0036 ||
		x.Sessions != 1 || x.PlayedMs != 4000 || x.Introductions != 2 || x.Connected != 1 {
		t.Errorf("%+v", x)
	}
	if want := 9.0 / 14; x.Offload != want || x.Discrepancy != 1.0/3 || x.OriginCopies == nil || *x.OriginCopies != 50_000.0/140_000 {
		t.Errorf("offload %v, discrepancy %v, copies %v", x.Offload, x.Discrepancy, x.OriginCopies)
	}
	b.want(200, &r, "GET", "/api/v1/operator/savings?from=2026-01-01&to=2026-01-02", "", auth...)
	if len(r.Rows) != 1 || r.Rows[0].Key != "2026-01-02" || len(r.Comparison) != 3 || r.Comparison[0].Known || r.Comparison[0].Sharing != 900 {
		t.Errorf("%+v", r)
	}
	resp, table := b.do("GET", "/api/v1/operator/savings.csv?by=title", "", auth...)
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil || resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/csv") || len(rows) != 3 ||
		rows[1][0] != "open" || rows[2][0] != "total" || rows[1][3] != "50000" || len(rows[0]) != len(rows[2]) {
		t.Errorf("%d %v: %s", resp.StatusCode, err, table)
	}
	for _, path := range []string{"/api/v1/operator/savings", "/api/v1/operator/savings.csv", "/api/v1/operator/policy/versions"} {
		b.refused(401, "unauthorized", "GET", path, "")
	}
	b.refused(400, "invalid", "GET", "/api/v1/operator/savings?from=2026-01-03&to=2026-01-02", "", auth...)
	b.refused(400, "invalid", "GET", "/api/v1/operator/savings?from=2026-02-30", "", auth...)
	b.refused(400, "invalid", "GET", "/api/v1/operator/savings?from=2000-01-01", "", auth...)
}

func TestPolicyIsKeptWithItsVersions(t *testing.T) {
	t.Parallel()
	h, room, auth := newInsight(t)
	b := h.browser()
	var p PolicyBody
	b.want(200, &p, "PUT", "/api/v1/operator/policy", `{"p2p":false,"why":"a complaint"}`, auth...)
	if p.P2P || p.Version != 1 || p.Who != vod.ActorToken || p.Why != "a complaint" || !p.At.Equal(h.clock.Now().Truncate(time.Millisecond)) || p.HoldOutPPM != 50_000 {
		t.Errorf("%+v", p)
	}
	b.want(200, &p, "PUT", "/api/v1/operator/policy", `{"p2p":true,"uplink_kbps":800,"titles_off":["open"],"networks_off":["as64501"]}`, auth...)
	b.want(200, &p, "GET", "/api/v1/operator/policy", "", auth...)
	if !p.P2P || p.Version != 2 || fmt.Sprint(p.TitlesOff, p.NetworksOff) != "[open] [AS64501]" {
		t.Errorf("%+v", p)
	}
	var list struct{ Versions []PolicyBody }
	b.want(200, &list, "GET", "/api/v1/operator/policy/versions", "", auth...)
	if len(list.Versions) != 2 || list.Versions[1].Why != "a complaint" {
		t.Errorf("%+v", list)
	}
	if v, err := room.Policy(t.Context()); err != nil || v.Version != 2 {
		t.Error(v, err)
	}
	for _, body := range []string{`{"networks_off":["192.0.2.1/32"]}`, `{"networks_off":["x"]}`, `{"titles_off":["../x"]}`} {
		b.refused(400, "invalid", "PUT", "/api/v1/operator/policy", body, auth...)
	}
}

// TestSwitchHasShades plays under policies short of off: a title, a network, a share of viewers, the hold-out group.
func TestSwitchHasShades(t *testing.T) {
	t.Parallel()
	h, _, auth := newInsight(t)
	b := h.browser()
	allowed := func() bool { return b.play("open", `{"share":true}`).Policy.P2P }
	for body, want := range map[string]bool{
		`{}`:                                true,
		`{"titles_off":["open"]}`:           false,
		`{"titles_off":["closed"]}`:         true,
		`{"networks_off":["AS1"]}`:          true,
		`{"share_ppm":0}`:                   false,
		`{"networks_off":["AS64500"]}`:      false,
		`{"networks_off":["127.0.0.0/8"]}`:  false,
		`{"networks_off":["192.0.2.0/24"]}`: true,
	} {
		b.want(200, new(any), "PUT", "/api/v1/operator/policy", `{"titles_off":[],"networks_off":[],"share_ppm":1000000,"hold_out_ppm":0}`, auth...)
		b.want(200, new(any), "PUT", "/api/v1/operator/policy", body, auth...)
		if got := allowed(); got != want {
			t.Errorf("%s: peers allowed is %v", body, got)
		}
	}
	b.want(200, new(any), "PUT", "/api/v1/operator/policy", `{"titles_off":[],"networks_off":[],"share_ppm":1000000,"hold_out_ppm":0}`, auth...)
	p := b.play("open", `{"share":true}`)
	b.want(200, new(any), "PUT", "/api/v1/operator/policy", `{"titles_off":["open"]}`, auth...)
	if r := b.beat(p.ID, p.Tickets.Media); r.Policy.P2P || r.Policy.Upload {
		t.Error("a running session goes on sharing")
	}
	// Half are held out, and nothing tells them so.
	b.want(200, new(any), "PUT", "/api/v1/operator/policy", `{"titles_off":[],"hold_out_ppm":500000}`, auth...)
	with, without := 0, 0
	for range 40 {
		resp, body := b.do("POST", "/api/v1/titles/open/play", `{"share":true}`)
		var s vod.PlaySession
		if err := json.Unmarshal(body, &s); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode, err)
		}
		if bytes.Contains(bytes.ToLower(body), []byte("hold")) {
			t.Fatalf("it is told: %s", body)
		}
		if s.Policy.P2P {
			with++
		} else {
			without++
		}
	}
	if with < 8 || without < 8 {
		t.Errorf("%d share and %d are held out", with, without)
	}
	// A member is of one group in all sessions.
	b.signIn()
	first := allowed()
	for range 10 {
		if allowed() != first {
			t.Fatal("a member changes groups")
		}
	}
	resp, err := http.Get(h.server.URL + "/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if doc, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(doc, []byte("text/csv")) {
		t.Error("the table is not described", err)
	}
}
