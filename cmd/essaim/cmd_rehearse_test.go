package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/demo/film"
	"essaim/internal/rehearse"
	"essaim/internal/vod"
	"essaim/web"
)

// operator lets the command rehearse here.
func (s *service) operator(t *testing.T) {
	t.Helper()
	token, err := s.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ESSAIM_TOKEN", token)
}

// rehearsal is a command as its flags would make it.
func (s *service) rehearsal(viewers, seconds int, apart time.Duration) *rehearseCmd {
	return &rehearseCmd{
		URL: s.url, Title: "noise", Viewers: viewers, Seconds: seconds, Arrival: rehearse.Arrival{Kind: rehearse.Stagger, Spread: apart},
		Uplink: 8_000_000, Downlink: 20_000_000, Peers: "native", Seed: 1, JSON: true,
	}
}

// logFile is a place for the command's progress.
func logFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// figures reads the one line that was printed.
func figures(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.HasSuffix(out.String(), "\n") {
		t.Fatalf("%d lines: %q", n, out)
	}
	var f map[string]any
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRehearsalFeedsItsViewersFromOneAnother(t *testing.T) {
	s := newService(t)
	s.operator(t)
	const viewers, seconds = 3, 8
	c := s.rehearsal(viewers, seconds, 2*time.Second)
	c.Report = filepath.Join(t.TempDir(), "report.html")
	var out bytes.Buffer
	if err := c.rehearse(t.Context(), &out, logFile(t)); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	f := figures(t, &out)
	for name, want := range map[string]any{
		"title": "noise", "viewers": 3.0, "seconds": 8.0, "arrival": "stagger=2s", "peers": "native", "complete": true,
		"uplink_kbps": 8000.0, "downlink_kbps": 20000.0, "never_started": 0.0, "stalls_per_viewer": 0.0, "bad_bytes_delivered": 0.0,
	} {
		if f[name] != want {
			t.Errorf("%s is %v, not %v", name, f[name], want)
		}
	}
	report := s.origin.Snapshot()
	label, _ := f["label"].(string)
	origin := f["origin_bytes"].(float64)
	if counted := report.ByRehearsal[vod.RehearsalLabel(label)]; origin != float64(counted) || counted == 0 || report.OriginBytes != 0 {
		t.Errorf("%v bytes of the service are told, %d were counted, and %d for viewers", origin, counted, report.OriginBytes)
	}
	// What the part of the film has, with a piece more of each track at most.
	part := 0.0
	for i := range s.title.Version.Files {
		part += float64(s.title.Version.Files[i].Index[seconds/2-1].To)
	}
	if copies := f["origin_copies"].(float64); copies != float64(int64(origin/part*1e9+0.5))/1e9 {
		t.Errorf("%v bytes of %v are %v copies", origin, part, copies)
	}
	if most := viewers * (part + 2*32<<10); origin > most {
		t.Errorf("%v bytes came, though the part is %v", origin, part)
	}
	if peers := f["peer_bytes"].(float64); peers == 0 || origin >= 3*part {
		t.Errorf("viewers gave one another %v bytes, and the service %v", peers, origin)
	}
	if startup := f["startup_p95_s"].(float64); startup <= 0 || startup > 5 {
		t.Errorf("start-up took %v s", startup)
	}
	page, err := os.ReadFile(c.Report)
	if err != nil || !bytes.Contains(page, []byte("Rehearsal of Noise")) {
		t.Errorf("the report has %d bytes: %v", len(page), err)
	}
	if os.Getenv("ESSAIM_TOKEN") == "" || bytes.Contains(page, []byte(os.Getenv("ESSAIM_TOKEN"))) {
		t.Error("the report tells the token")
	}
}

func TestStoppedRehearsalTellsWhatThereWas(t *testing.T) {
	s := newService(t)
	s.operator(t)
	c := s.rehearsal(3, 60, 20*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	progress, log, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer progress.Close()
	defer log.Close()
	go func() { // stopped when it first tells that something came
		for lines := bufio.NewScanner(progress); lines.Scan(); {
			if !strings.Contains(lines.Text(), " 0.0 MB from the service") {
				cancel()
			}
		}
	}()
	var out bytes.Buffer
	err = c.rehearse(ctx, &out, log)
	if err == nil || !strings.HasPrefix(err.Error(), "stopped; the figures are of what 1 of 3 viewers") {
		t.Error(err)
	}
	if f := figures(t, &out); f["complete"] != false || f["viewers"] != 1.0 || f["origin_bytes"].(float64) < 50_000 {
		t.Error(f)
	}
	before, stop := context.WithCancel(t.Context())
	stop()
	out.Reset()
	if err := c.rehearse(before, &out, logFile(t)); err == nil || out.Len() > 0 {
		t.Errorf("stopped before it began: %q, %v", out.String(), err)
	}
}

func TestRehearsalPrintsASummaryForPeople(t *testing.T) {
	s := newService(t)
	s.operator(t)
	c := s.rehearsal(1, 2, time.Second)
	c.JSON = false
	var out bytes.Buffer
	if err := c.rehearse(t.Context(), &out, logFile(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Noise: 1 viewers, stagger=1s, 2s of film each\n", "From the service", "Start-up", "Stalls            0.00 per viewer"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %q", want, out.String())
		}
	}
}

func TestRehearsalRefusesABadCommandLine(t *testing.T) {
	const server = "http://127.0.0.1:1"
	t.Setenv("ESSAIM_TOKEN", "x")
	for _, test := range []struct {
		args   string
		status int
		says   string
	}{
		{"", 2, "--title"},
		{"--title x", 2, "<url>"},
		{server, 2, "--title"},
		{server + " --title ../x", 2, "--title"},
		{server + " --title x --viewers 0", 2, "--viewers must be 1 to 512"},
		{server + " --title x --viewers 513", 2, "--viewers must be 1 to 512"},
		{server + " --title x --viewers many", 2, "--viewers"},
		{server + " --title x --arrival now", 2, `"now" is no arrival`},
		{server + " --title x --arrival stagger=0s", 2, "stagger=0s"},
		{server + " --title x --uplink fast", 2, "is no rate"},
		{server + " --title x --downlink -1", 2, "--downlink"},
		{server + " --title x --peers firefox", 2, "--peers"},
		{server + " --title x --seconds 0", 2, "--seconds must be 1 to 14400"},
		{server + " --title x --seconds 14401", 2, "--seconds must be 1 to 14400"},
		{server + " --title x --height -1", 2, "--height"},
		{server + " --title x --token t", 2, "--token"},
		{"ftp://127.0.0.1 --title x", 1, "want an address"},
		{server + " --title x", 1, "127.0.0.1:1"},
		{server + " --title x --report /nowhere/at/all.html", 1, "--report"},
	} {
		var log bytes.Buffer
		status := run(append([]string{"rehearse"}, strings.Fields(test.args)...), &log)
		if status != test.status || !strings.Contains(log.String(), test.says) {
			t.Errorf("rehearse %s: status %d: %s", test.args, status, log.String())
		}
	}
}

func TestRehearsalSaysInOneLineWhatTheServiceRefuses(t *testing.T) {
	s := newService(t)
	for name, test := range map[string]struct {
		token, title, says string
		height             int
	}{
		"no token":    {"", "noise", "ESSAIM_TOKEN is not set", 0},
		"wrong token": {"wrong", "noise", "the service refuses the token in ESSAIM_TOKEN", 0},
		"no title":    {"good", "nothing", "title nothing: ", 0},
		"too low":     {"good", "noise", "no rendition of 100 lines", 100},
	} {
		s.operator(t)
		if test.token != "good" {
			t.Setenv("ESSAIM_TOKEN", test.token)
		}
		c := s.rehearsal(2, 2, time.Second)
		c.Title, c.Height = test.title, test.height
		var out bytes.Buffer
		err := c.rehearse(t.Context(), &out, logFile(t))
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") || out.Len() > 0 {
			t.Errorf("%s: %v, and printed %q", name, err, out.String())
		}
	}
	if sent := s.origin.Snapshot(); len(sent.ByRehearsal) > 0 {
		t.Errorf("media was sent: %v", sent.ByRehearsal)
	}
}

// behind is the service as seen through a door that may answer itself: it reports whether it did.
func (s *service) behind(t *testing.T, door func(http.ResponseWriter, *http.Request) bool) *service {
	t.Helper()
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(at)
	forward.ErrorLog = log.New(io.Discard, "", 0)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !door(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	return &service{url: front.URL}
}

func TestRehearsalPressesAgainWhereTheServiceIsBusy(t *testing.T) {
	s := newService(t)
	s.operator(t)
	var presses atomic.Int64
	door := s.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/play") || presses.Add(1) != 2 { // the first is before anyone comes
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"detail":"Too many at once."}`)
		return true
	})
	var out bytes.Buffer
	told := logFile(t)
	if err := door.rehearsal(1, 2, time.Second).rehearse(t.Context(), &out, told); err != nil {
		t.Fatal(err)
	}
	if f := figures(t, &out); f["never_started"] != 0.0 || f["startup_p50_s"].(float64) < 1 {
		t.Errorf("who had to press again started after %v s, and %v never", f["startup_p50_s"], f["never_started"])
	}
	if b, err := os.ReadFile(told.Name()); err != nil || !strings.Contains(string(b), "too many at once") {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRehearsalNeedsTheServicesOwnCount(t *testing.T) {
	s := newService(t)
	s.operator(t)
	door := s.behind(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/operator/traffic") {
			return false
		}
		fmt.Fprint(w, `{"origin_bytes":0}`)
		return true
	})
	var out bytes.Buffer
	err := door.rehearsal(1, 2, time.Second).rehearse(t.Context(), &out, logFile(t))
	if err == nil || !strings.Contains(err.Error(), "does not count") || out.Len() > 0 {
		t.Errorf("%v, and printed %q", err, out.String())
	}
}

func TestBrowsersAreNotSentToSyntheticTitles(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/operator/traffic", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"rehearsals":{}}`) })
	mux.HandleFunc("GET /api/v1/titles/noise", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":"noise","synthetic":true}`) })
	server := httptest.NewServer(mux)
	defer server.Close()
	t.Setenv("ESSAIM_TOKEN", "x")
	var log bytes.Buffer
	if status := run([]string{"rehearse", server.URL, "--title", "noise", "--peers", "chromium"}, &log); status != 2 || !strings.Contains(log.String(), "synthetic") {
		t.Errorf("status %d: %s", status, log.String())
	}
}

func TestPagesOfABrowserRehearse(t *testing.T) {
	if _, err := fs.Stat(web.Dist(), "index.html"); err != nil {
		t.Skip("the pages are not built: make test-go does both")
	}
	if _, err := findChromium(); err != nil {
		t.Fatal("chromium is missing: scripts/tools.sh test installs it")
	}
	d := startDemo(t, t.TempDir())
	defer d.stop()
	var token bytes.Buffer
	if err := (&tokenCmd{Role: "operator", TTL: time.Hour, Data: d.data}).run(&token, time.Now); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ESSAIM_TOKEN", strings.TrimSpace(token.String()))
	tmp, err := os.MkdirTemp("", "") // a browser's sockets have short names, or none
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	t.Setenv("TMPDIR", tmp)
	c := (&service{url: d.url}).rehearsal(2, 4, time.Second)
	c.Title, c.Peers = string(film.Title().ID), "chromium"
	var out bytes.Buffer
	if err := c.rehearse(t.Context(), &out, logFile(t)); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	f := figures(t, &out)
	for name, want := range map[string]any{
		"peers": "chromium", "viewers": 2.0, "seconds": 4.0, "complete": true, "never_started": 0.0, "bad_bytes_delivered": 0.0,
	} {
		if f[name] != want {
			t.Errorf("%s is %v, not %v", name, f[name], want)
		}
	}
	// Whether they met depends on the machine's network, so they may have taken all from the service; and on a slow one page and
	// engine may both have asked for what was wanted at once. But never what lies beyond the part, except for the rest of its
	// last pieces: two such viewers of the whole film take several times as much.
	copies, bytes := f["origin_copies"].(float64), f["origin_bytes"].(float64)
	part := bytes / copies
	if most := 2 * (2*part + 3*float64(film.Title().Version.PieceLength)); copies < 1 || bytes > most {
		t.Errorf("%v bytes came from the service, for two parts of %v; at most %v are needed", bytes, part, most)
	}
	if n := f["startup_p50_s"].(float64); n <= 0 {
		t.Errorf("start-up took %v s", n)
	}
	for _, name := range []string{"waste_ratio", "cpu_seconds", "engine_cpu_share"} {
		if n, ok := f[name]; ok {
			t.Errorf("%s is %v, though it was not measured", name, n)
		}
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestRehearsalSaysThatABrowserIsMissing(t *testing.T) {
	t.Setenv("ESSAIM_CHROMIUM", "/nowhere/chromium")
	if _, err := findChromium(); err == nil || !strings.Contains(err.Error(), "/nowhere/chromium") {
		t.Error(err)
	}
}
