// Package demo is what `essaim demo` adds to the service for its room: a few figures of the moment to draw, and three
// switches (the origin's rate, the tracker, both back). It must never be part of `essaim serve`; it must obey only
// pages of the server itself, keep what was set before a switch, and say nothing that the departments did not count.
package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"essaim/internal/vod"
)

// Config is what the room's endpoints read and switch.
type Config struct {
	Traffic  vod.Traffic
	Throttle vod.Throttle
	Door     vod.SwarmDoor
	// Title is the film that the room shows; one without files while there is none yet.
	Title func() vod.Title
	Clock vod.Clock
}

// Demo answers the room's requests. It may be used by several goroutines.
type Demo struct {
	cfg   Config
	mux   *http.ServeMux
	cross *http.CrossOriginProtection

	mu        sync.Mutex
	throttled bool
	before    int64 // bytes per second, as they were before the switch
}

// bodyMax bounds a request's body: the longest that means anything has 20 bytes.
const bodyMax = 1 << 10

// New returns the handler of everything under /room/api/: GET state and film; POST throttle, tracker and reset.
// Errors are RFC 9457's.
func New(cfg Config) *Demo {
	d := &Demo{cfg: cfg, mux: http.NewServeMux(), cross: http.NewCrossOriginProtection()}
	d.route(http.MethodGet, "/room/api/state", d.state)
	d.route(http.MethodGet, "/room/api/film", d.film)
	d.route(http.MethodPost, "/room/api/throttle", d.throttle)
	d.route(http.MethodPost, "/room/api/tracker", d.tracker)
	d.route(http.MethodPost, "/room/api/reset", d.reset)
	d.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "not_found", "the room has no such address")
	})
	return d
}

// ServeHTTP answers a request of the room's page.
func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	// Whatever wraps this handler checks too; a switch that a foreign page could press is not worth the trust.
	if err := d.cross.Check(r); err != nil {
		problem(w, http.StatusForbidden, "forbidden", "only the room's own page may do this")
		return
	}
	d.mux.ServeHTTP(w, r)
}

// route registers an address for one method and refuses every other.
func (d *Demo) route(method, path string, h http.HandlerFunc) {
	d.mux.HandleFunc(method+" "+path, h)
	d.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		allow := method
		if method == http.MethodGet {
			allow = "GET, HEAD"
		}
		w.Header().Set("Allow", allow)
		problem(w, http.StatusMethodNotAllowed, "method_not_allowed", "use "+allow)
	})
}

// State is the body of GET /room/api/state, and of what the switches answer.
type State struct {
	TimeMs         int64       `json:"time_ms"`      // the server's clock when the figures were taken
	OriginBytes    int64       `json:"origin_bytes"` // media bytes that the origin has sent since it started
	TitleID        vod.TitleID `json:"title_id"`
	BitrateBps     int64       `json:"bitrate_bps"` // highest video and audio
	FilmBytes      int64       `json:"film_bytes"`  // what one viewer of these needs in all
	PieceCount     int64       `json:"piece_count"`
	PiecesPerFile  []int64     `json:"pieces_per_file"`
	DurationMs     uint32      `json:"duration_ms"`
	Throttled      bool        `json:"throttled"`
	ThrottleBps    int64       `json:"throttle_bps"` // the bound that the switch sets
	RateBps        int64       `json:"rate_bps"`     // the bound of the moment, 0 for none
	TrackerStopped bool        `json:"tracker_stopped"`
	TrackerPeers   int         `json:"tracker_peers"` // peers that the tracker now knows in the title's swarm
}

func (d *Demo) state(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer(w)
}

// answer writes the state of the moment. d.mu is held.
func (d *Demo) answer(w http.ResponseWriter) {
	t, ok := d.title(w)
	if !ok {
		return
	}
	m := measure(&t)
	s := State{
		TimeMs: d.cfg.Clock().UnixMilli(), OriginBytes: d.cfg.Traffic.Snapshot().OriginBytes,
		TitleID: t.ID, BitrateBps: m.bitrate, FilmBytes: m.bytes, PiecesPerFile: m.pieces, DurationMs: t.Version.DurationMs,
		Throttled: d.throttled, ThrottleBps: d.bound(&m) * 8, RateBps: d.cfg.Throttle.Rate() * 8,
		TrackerStopped: d.cfg.Door.Stopped(), TrackerPeers: d.cfg.Door.Swarms()[t.Version.InfoHashV1],
	}
	for _, n := range m.pieces {
		s.PieceCount += n
	}
	reply(w, s)
}

// bound is what the throttle switch sets, in bytes per second: 1.2 × one bitrate, but never more than the operator's own
// bound. d.mu is held.
func (d *Demo) bound(m *measures) int64 {
	before := d.cfg.Throttle.Rate()
	if d.throttled {
		before = d.before
	}
	rate := m.bitrate * 12 / 10 / 8
	if before > 0 {
		rate = min(rate, before)
	}
	return max(rate, 1) // 0 would be no bound
}

func (d *Demo) throttle(w http.ResponseWriter, r *http.Request) {
	var body struct {
		On *bool `json:"on"`
	}
	if !read(w, r, &body) {
		return
	}
	if body.On == nil {
		problem(w, http.StatusBadRequest, "invalid", `want {"on":true} or {"on":false}`)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t, ok := d.title(w)
	if !ok {
		return
	}
	m := measure(&t)
	switch {
	case *body.On && !d.throttled:
		bound := d.bound(&m)
		d.before, d.throttled = d.cfg.Throttle.Rate(), true
		d.cfg.Throttle.SetRate(bound)
	case !*body.On:
		d.lift()
	}
	d.answer(w)
}

// lift undoes the throttle switch. d.mu is held.
func (d *Demo) lift() {
	if d.throttled {
		d.cfg.Throttle.SetRate(d.before)
		d.throttled = false
	}
}

func (d *Demo) tracker(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Stopped *bool `json:"stopped"`
	}
	if !read(w, r, &body) {
		return
	}
	if body.Stopped == nil {
		problem(w, http.StatusBadRequest, "invalid", `want {"stopped":true} or {"stopped":false}`)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg.Door.SetStopped(*body.Stopped)
	d.answer(w)
}

func (d *Demo) reset(w http.ResponseWriter, r *http.Request) {
	var body struct{}
	if !read(w, r, &body) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lift()
	d.cfg.Door.SetStopped(false)
	d.answer(w)
}

// title is the room's film; where there is none, the request is answered with an error.
func (d *Demo) title(w http.ResponseWriter) (vod.Title, bool) {
	t := d.cfg.Title()
	if len(t.Version.Files) == 0 || t.Version.PieceLength == 0 {
		problem(w, http.StatusServiceUnavailable, "unavailable", "the film is not there yet, try again")
		return t, false
	}
	return t, true
}

// read decodes a body of one small JSON object with known names only; an empty body is {}. Otherwise it answers the
// request with an error and returns false.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return true
	}
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
			if tooLarge := new(http.MaxBytesError); errors.As(more, &tooLarge) {
				err = more
			}
		}
	}
	switch tooLarge := new(http.MaxBytesError); {
	case err == nil:
		return true
	case errors.As(err, &tooLarge):
		problem(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("a body has at most %d bytes here", bodyMax))
	default:
		problem(w, http.StatusBadRequest, "invalid", "the body is not the JSON object wanted: "+strings.TrimPrefix(err.Error(), "json: "))
	}
	return false
}

func reply(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers, strings and lists cannot fail
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // who has gone needs no error
}

// problem answers with an error as of RFC 9457.
func problem(w http.ResponseWriter, status int, code, detail string) {
	body, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
	}{http.StatusText(status), status, detail, code})
	if err != nil {
		panic(err) // strings and a number cannot fail
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
