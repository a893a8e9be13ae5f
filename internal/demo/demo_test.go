package demo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/vod"
)

// counter is an origin's meter and throttle that nobody is connected to.
type counter struct {
	mu   sync.Mutex
	sent int64
	rate int64
}

func (c *counter) Snapshot() vod.TrafficReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return vod.TrafficReport{OriginBytes: c.sent}
}

func (c *counter) SetRate(bytesPerSecond int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate = bytesPerSecond
}

func (c *counter) Rate() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rate
}

// door is a tracker that opens, closes and forgets its peers when it closes.
type door struct {
	mu      sync.Mutex
	stopped bool
	swarms  map[bt.InfoHash]int
}

func (d *door) SetStopped(stopped bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped = stopped; stopped {
		clear(d.swarms)
	}
}

func (d *door) Stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopped
}

func (d *door) Swarms() map[bt.InfoHash]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := map[bt.InfoHash]int{}
	for h, n := range d.swarms {
		m[h] = n
	}
	return m
}

// film has pieces of 32 KiB: 3 of a low rendition, 5 of a high one, 1 of sound.
func film() vod.Title {
	const pl = 32 << 10
	return vod.Title{ID: "film", Name: "A film", Version: vod.Version{
		InfoHashV1: bt.InfoHash{1}, PieceLength: pl, DurationMs: 8000,
		Files: []vod.File{
			{Path: "video-360p.mp4", Kind: vod.Video, Height: 360, Size: 2*pl + 1, Bandwidth: 100_000},
			{
				Path: "video-720p.mp4", Kind: vod.Video, Height: 720, Size: 5 * pl, FirstPiece: 3, Bandwidth: 200_000,
				Index: index.Index{{From: 1024, To: 2*pl + 1024, DurationMs: 4000}, {From: 2*pl + 1024, To: 5 * pl, StartMs: 4000, DurationMs: 4000}},
			},
			{Path: "audio.mp4", Kind: vod.Audio, Size: 1000, FirstPiece: 8, Bandwidth: 50_000},
		},
	}}
}

type room struct {
	t *testing.T
	*Demo
	origin *counter
	door   *door
}

func newRoom(t *testing.T) *room {
	c, d := &counter{}, &door{swarms: map[bt.InfoHash]int{{1}: 2}}
	now := time.UnixMilli(1_700_000_000_000)
	return &room{t, New(Config{Traffic: c, Throttle: c, Door: d, Title: film, Clock: func() time.Time { return now }}), c, d}
}

func (r *room) ask(method, path, body string, headers ...string) *http.Response {
	r.t.Helper()
	req := httptest.NewRequest(method, "http://essaim.test"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result()
}

// must asks and wants the state of the moment.
func (r *room) must(method, path, body string) State {
	r.t.Helper()
	resp := r.ask(method, path, body)
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("%s %s %s: status %d", method, path, body, resp.StatusCode)
	}
	var s State
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func TestStateTellsTheOriginsCounterAndTheFilmsSizes(t *testing.T) {
	r := newRoom(t)
	r.origin.sent = 5_100_000
	s := r.must("GET", "/room/api/state", "")
	if s.OriginBytes != 5_100_000 || s.TimeMs != 1_700_000_000_000 || s.TitleID != "film" || s.DurationMs != 8000 {
		t.Errorf("state %+v", s)
	}
	if s.BitrateBps != 250_000 || s.FilmBytes != 5<<15+1000 {
		t.Errorf("bitrate %d, bytes %d: want those of the highest rendition with sound", s.BitrateBps, s.FilmBytes)
	}
	if s.PieceCount != 9 || len(s.PiecesPerFile) != 3 || s.PiecesPerFile[0] != 3 || s.PiecesPerFile[1] != 5 || s.PiecesPerFile[2] != 1 {
		t.Errorf("pieces %d %v", s.PieceCount, s.PiecesPerFile)
	}
	if s.Throttled || s.RateBps != 0 || s.ThrottleBps != 300_000 || s.TrackerStopped || s.TrackerPeers != 2 {
		t.Errorf("switches %+v", s)
	}
}

func TestThrottleSetsOneBitrateAndAFifthAndComesBack(t *testing.T) {
	r := newRoom(t)
	r.origin.SetRate(1_000_000)
	for range 2 { // a second press of the same kind changes nothing
		s := r.must("POST", "/room/api/throttle", `{"on":true}`)
		if !s.Throttled || s.RateBps != 300_000 || r.origin.Rate() != 37_500 {
			t.Fatalf("throttled: %+v, rate %d", s, r.origin.Rate())
		}
	}
	s := r.must("POST", "/room/api/throttle", `{"on":false}`)
	if s.Throttled || r.origin.Rate() != 1_000_000 {
		t.Errorf("lifted: %+v, rate %d", s, r.origin.Rate())
	}
}

func TestThrottleNeverRaisesTheOperatorsBound(t *testing.T) {
	r := newRoom(t)
	r.origin.SetRate(20_000)
	if s := r.must("POST", "/room/api/throttle", `{"on":true}`); s.RateBps != 160_000 || s.ThrottleBps != 160_000 {
		t.Errorf("throttled: %+v", s)
	}
}

func TestTrackerStopsAndOpensAgain(t *testing.T) {
	r := newRoom(t)
	if s := r.must("POST", "/room/api/tracker", `{"stopped":true}`); !s.TrackerStopped || s.TrackerPeers != 0 || !r.door.Stopped() {
		t.Errorf("stopped: %+v", s)
	}
	if s := r.must("POST", "/room/api/tracker", `{"stopped":false}`); s.TrackerStopped || r.door.Stopped() {
		t.Errorf("opened: %+v", s)
	}
}

func TestResetRestoresBoth(t *testing.T) {
	r := newRoom(t)
	r.must("POST", "/room/api/throttle", `{"on":true}`)
	r.must("POST", "/room/api/tracker", `{"stopped":true}`)
	if s := r.must("POST", "/room/api/reset", ""); s.Throttled || s.RateBps != 0 || s.TrackerStopped {
		t.Errorf("reset: %+v", s)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
	}{
		"wrong method":         {"POST", "/room/api/state", "{}", nil, http.StatusMethodNotAllowed},
		"reading a switch":     {"GET", "/room/api/throttle", "", nil, http.StatusMethodNotAllowed},
		"unknown address":      {"GET", "/room/api/other", "", nil, http.StatusNotFound},
		"no switch named":      {"POST", "/room/api/throttle", "{}", nil, http.StatusBadRequest},
		"unknown name":         {"POST", "/room/api/tracker", `{"stop":true}`, nil, http.StatusBadRequest},
		"no JSON":              {"POST", "/room/api/tracker", `stopped`, nil, http.StatusBadRequest},
		"two values":           {"POST", "/room/api/tracker", `{"stopped":true}{}`, nil, http.StatusBadRequest},
		"a body without end":   {"POST", "/room/api/tracker", `{"stopped":true}` + strings.Repeat(" ", bodyMax), nil, http.StatusRequestEntityTooLarge},
		"another site's page":  {"POST", "/room/api/throttle", `{"on":true}`, []string{"Origin", "http://evil.test"}, http.StatusForbidden},
		"another site's fetch": {"POST", "/room/api/reset", `{}`, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			resp := r.ask(c.method, c.path, c.body, c.headers...)
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			if r.origin.Rate() != 0 || r.door.Stopped() {
				t.Error("a refused request switched something")
			}
		})
	}
}

func TestOwnPageMaySwitch(t *testing.T) {
	r := newRoom(t)
	resp := r.ask("POST", "/room/api/throttle", `{"on":true}`, "Origin", "http://essaim.test", "Sec-Fetch-Site", "same-origin")
	if resp.StatusCode != http.StatusOK || r.origin.Rate() == 0 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestRoomWaitsForItsFilm(t *testing.T) {
	r := newRoom(t)
	r.cfg.Title = func() vod.Title { return vod.Title{} }
	for _, path := range []string{"/room/api/state", "/room/api/film"} {
		if resp := r.ask("GET", path, ""); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d", path, resp.StatusCode)
		}
	}
}

func TestFilmMapsPiecesToTime(t *testing.T) {
	r := newRoom(t)
	var f Film
	if err := json.NewDecoder(r.ask("GET", "/room/api/film", "").Body).Decode(&f); err != nil {
		t.Fatal(err)
	}
	if f.PieceLength != 32<<10 || len(f.Files) != 3 || f.Files[1].FirstPiece != 3 || f.Files[2].Kind != vod.Audio {
		t.Fatalf("film %+v", f)
	}
	high := f.Files[1].StartsMs
	// Piece 0 holds the file's head; pieces 1 and 2 lie 31 and 63 KiB into a first segment of 64 KiB and 4 s.
	if len(high) != 5 || high[0] != 0 || high[1] != 1937 || high[2] != 3937 || high[3] <= 4000 || high[4] <= high[3] || high[4] >= 8000 {
		t.Errorf("with an index: %v", high)
	}
	if low := f.Files[0].StartsMs; len(low) != 3 || low[0] != 0 || low[2] > 8000 || low[1] >= low[2] {
		t.Errorf("without an index: %v", low)
	}
}
