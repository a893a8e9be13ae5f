package metrics

import (
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"essaim/internal/vod"
)

// world is a service that a test turns as it likes.
type world struct {
	*Metrics
	now    time.Time
	origin int64
	p2p    bool
	ready  bool
}

func newWorld() *world {
	w := &world{now: time.Unix(1_800_000_000, 0), p2p: true, ready: true}
	w.Metrics = New(Sources{
		OriginBytes: func() int64 { return w.origin },
		Swarms:      func() (int, int) { return 2, 17 },
		Policy:      func() vod.PlayPolicy { return vod.PlayPolicy{P2P: w.p2p} },
		Edges:       func() (int, int) { return 3, 1 },
		Ready:       func() bool { return w.ready },
		Version:     "1.2.3",
	}, func() time.Time { return w.now })
	return w
}

// scrape is what a monitoring reads.
func (w *world) scrape(t *testing.T) string {
	t.Helper()
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("%d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func (w *world) wants(t *testing.T, lines ...string) {
	t.Helper()
	text := w.scrape(t)
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			name, _, _ = strings.Cut(name, "{")
			t.Errorf("no line %q, but:\n%s", line, strings.Join(regexp.MustCompile(`(?m)^`+name+`.*$`).FindAllString(text, -1), "\n"))
		}
	}
}

const filmBytes = 1_000_000

func (w *world) report(session string, h vod.Heartbeat) {
	w.Reports(nil).Reported(vod.PlayReported{Session: session, Title: "film", FilmBytes: filmBytes, Report: h, At: w.now})
}

func TestAScrapeSaysHowTheServiceDoes(t *testing.T) {
	w := newWorld()
	w.origin = 12_345
	w.Observe("play", 200, 40*time.Millisecond)
	w.Observe("play", 503, time.Minute)
	w.wants(
		t, `essaim_build_info{version="1.2.3"} 1`, "essaim_origin_bytes_total 12345", "essaim_swarms 2", "essaim_swarm_peers 17",
		"essaim_peers_allowed 1", "essaim_edges 3", "essaim_edges_up 1", "essaim_ready 1",
		`essaim_api_request_seconds_bucket{code="200",operation="play",le="0.1"} 1`, `essaim_api_request_seconds_count{code="503",operation="play"} 1`,
		`essaim_player_bytes_total{kind="peer"} 0`, `essaim_plays_total{group="holdout"} 0`,
	)
	w.p2p, w.ready = false, false
	w.wants(t, "essaim_peers_allowed 0", "essaim_ready 0")
}

func TestReportsCountAsFarAsTheyGrow(t *testing.T) {
	w := newWorld()
	r := w.Reports(nil)
	r.Opened(vod.PlayOpened{Session: "a", Group: vod.GroupSharing})
	first := vod.Heartbeat{OriginBytes: 100, PeerBytes: 40, SentBytes: 7, CachedBytes: 1, StartupMs: 800, Stalls: 1, StalledMs: 1500, BadBlocks: 2}
	then := first
	then.OriginBytes, then.PeerBytes, then.Stalls = 150, 140, 2
	w.report("a", first)
	w.report("a", then)
	w.report("a", first) // late
	w.report("a", then)  // again
	w.report("b", vod.Heartbeat{OriginBytes: 1000, StartupMs: 3000})
	w.report("c", vod.Heartbeat{OriginBytes: 5, StartupMs: 3000, Continued: true}) // which started elsewhere
	w.wants(
		t, `essaim_plays_total{group="sharing"} 1`, `essaim_player_bytes_total{kind="origin"} 1155`, `essaim_player_bytes_total{kind="peer"} 140`,
		`essaim_player_bytes_total{kind="sent"} 7`, `essaim_player_bytes_total{kind="cached"} 1`, "essaim_stalls_total 2",
		"essaim_stalled_seconds_total 1.5", "essaim_bad_blocks_total 2", `essaim_startup_seconds_bucket{le="1"} 1`, "essaim_startup_seconds_count 2",
		"essaim_players 3",
	)
	w.now = w.now.Add(3 * time.Minute)
	w.report("b", vod.Heartbeat{OriginBytes: 1000, StartupMs: 3000, Last: true})
	w.wants(t, "essaim_players 0")
}

func TestAClaimBeyondReasonMovesTheCurveLittle(t *testing.T) {
	w := newWorld()
	w.report("liar", vod.Heartbeat{OriginBytes: 1 << 60, PeerBytes: -5, SentBytes: 1 << 60, StalledMs: 1 << 60, Stalls: 1 << 40})
	w.wants(
		t, `essaim_player_bytes_total{kind="origin"} 2e+06`, `essaim_player_bytes_total{kind="peer"} 0`, `essaim_player_bytes_total{kind="sent"} 1e+08`,
		"essaim_stalls_total 10000", "essaim_stalled_seconds_total 36000",
	)
}

func TestSessionsAreForgottenAndBounded(t *testing.T) {
	w := newWorld()
	for i := range playsMax + 10 {
		w.report(fmt.Sprint(i), vod.Heartbeat{OriginBytes: 1})
	}
	if n := len(w.plays.last); n != playsMax {
		t.Fatalf("%d sessions are remembered", n)
	}
	w.wants(t, fmt.Sprintf(`essaim_player_bytes_total{kind="origin"} %d`, playsMax))
	w.now = w.now.Add(playIdle + time.Minute)
	w.report("new", vod.Heartbeat{OriginBytes: 1})
	if n := len(w.plays.last); n != 1 {
		t.Errorf("%d sessions are remembered an hour later", n)
	}
}

func TestReportsGoOnToWhoeverKeepsThem(t *testing.T) {
	var next keeper
	r := newWorld().Reports(&next)
	r.Opened(vod.PlayOpened{Session: "a"})
	r.Reported(vod.PlayReported{Session: "a"})
	if next != 2 {
		t.Errorf("%d of 2 were passed on", next)
	}
}

type keeper int

func (k *keeper) Opened(vod.PlayOpened)     { *k++ }
func (k *keeper) Reported(vod.PlayReported) { *k++ }

// What we hand operators must ask for what there is: a rule over a metric of another name never fires.
func TestAlertsAndDashboardAskForWhatThereIs(t *testing.T) {
	w := newWorld()
	w.Observe("play", 200, time.Second)
	text := w.scrape(t)
	for _, file := range []string{"alerts.yml", "grafana.json"} {
		b, err := os.ReadFile("../../docs/monitoring/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var any any
		if err := yaml.Unmarshal(b, &any); err != nil { // JSON is YAML
			t.Errorf("%s: %v", file, err)
		}
		names := regexp.MustCompile(`\b(essaim|process|go)_[a-z_]+\b`).FindAllString(string(b), -1)
		if len(names) < 5 {
			t.Errorf("%s asks for %v alone", file, names)
		}
		for _, name := range names {
			if !strings.Contains(text, "\n"+name+" ") && !strings.Contains(text, "\n"+name+"{") {
				t.Errorf("%s asks for %s, which there is not", file, name)
			}
		}
	}
}
