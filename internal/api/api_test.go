package api

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
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/bt/bencode"
	"essaim/internal/cmaf/index"
	"essaim/internal/edge/registry"
	"essaim/internal/household"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/origin"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

const password = "correct horse"

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// house is the whole service on a real server and a real database, with an open and a closed film and the member ada.
type house struct {
	t       *testing.T
	clock   *clock
	members *members.Members
	tickets *members.Tickets
	library *library.Library
	origin  *origin.Origin
	api     *Server
	server  *httptest.Server
	films   map[vod.TitleID]vod.Title
}

var dist = fstest.MapFS{
	".keep":                      {},
	"index.html":                 {Data: []byte("<!doctype html><title>Essaim</title>")},
	"room.html":                  {Data: []byte("<!doctype html><title>Room</title>")},
	"viewer.html":                {Data: []byte("<!doctype html><title>Viewer</title>")},
	"engine.wasm":                {Data: []byte("\x00asm plain")},
	"engine.wasm.br":             {Data: []byte("packed wasm")},
	"assets/index-IYqAT8QX.js":   {Data: []byte("console.log(1)")},
	"assets/tokens-DakeqvwB.css": {Data: []byte("body{}")},
}

func newHouse(t *testing.T, edit func(*Config)) *house {
	t.Helper()
	h := &house{
		t: t, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, films: map[vod.TitleID]vod.Title{},
	}
	dir := t.TempDir()
	db, err := sqltest.Open(t.Context(), filepath.Join(dir, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	h.library = library.New(db, h.clock.Now)
	h.members = members.New(db, h.clock.Now)
	if _, err := h.members.Add(t.Context(), "ada", password); err != nil {
		t.Fatal(err)
	}
	if h.tickets, err = members.OpenTickets(dir, h.clock.Now); err != nil {
		t.Fatal(err)
	}
	blobs := mem.New()
	log := slog.New(slog.DiscardHandler)
	h.origin = origin.New(origin.Config{Titles: h.library, Tickets: h.tickets, Blobs: blobs, Clock: h.clock.Now, Log: log})
	h.film(blobs, "open", 1, true)
	h.clock.Advance(time.Second)
	h.film(blobs, "closed", 2, false)
	authority, err := registry.OpenAuthority(dir, h.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	edges := registry.New(registry.Config{DB: db, Authority: authority, Clock: h.clock.Now, Members: h.members, Control: "127.0.0.1:8443", Log: log})
	c := Config{
		Titles: h.library, Catalogue: h.library, Members: h.members, Entitlements: h.members, Streams: h.members, Ends: h.members, Relays: h.tickets,
		Tickets: h.tickets, Traffic: h.origin, Hashes: h.origin, Clock: h.clock.Now,
		Pages: dist, Log: log, Version: "test", Ready: db.Ping,
		Edges: edges,
		People: &People{
			Accounts: h.members.Accounts(), Links: h.members.Links(), Directory: h.members.Directory(), Audit: h.members.Directory(),
			Plans: h.members.Plans(), Windows: h.library.Windows(), Profiles: household.New(db, h.clock.Now), SignUp: SignUpInvitation,
			BillingSecrets: [][]byte{[]byte("the secret before"), []byte(billingSecret)},
		},
		Mounts: []Mount{{Pattern: "/media/", Handler: h.origin}, {Pattern: "/hashes/", Handler: h.origin}},
	}
	if edit != nil {
		edit(&c)
	}
	if h.api, err = New(c); err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewServer(witness(t, h.api))
	t.Cleanup(h.server.Close)
	return h
}

func (h *house) film(blobs *mem.Store, id vod.TitleID, seed byte, open bool) {
	h.t.Helper()
	data := bytes.Repeat([]byte{seed, 1, 2, 3, 4, 5, 6}, 20_000)
	var leaves []bt.Digest
	for block := range slices.Chunk(data, bt.BlockSize) {
		leaves = append(leaves, sha256.Sum256(block))
	}
	root := bt.FileRoot(leaves, 2)
	for key, b := range map[string][]byte{vod.KeyMedia(root): data, vod.KeyLeaves(root): bt.AppendDigests(nil, leaves)} {
		if err := blobs.Put(h.t.Context(), key, bytes.NewReader(b)); err != nil {
			h.t.Fatal(err)
		}
	}
	v2 := bt.InfoHashV2{0: seed}
	h.films[id] = vod.Title{
		ID: id, Name: "The " + string(id) + " film", Summary: "<script>alert(1)</script>", Open: open,
		Poster: strings.Repeat("ab", 32),
		Version: vod.Version{
			ID: v2.String(), InfoHashV1: bt.InfoHash{0: seed}, InfoHashV2: v2, PieceLength: 32 << 10, DurationMs: 4000, Manifest: "<MPD/>",
			Files: []vod.File{{
				Path: "video-360p.mp4", Size: int64(len(data)), Root: root, Kind: vod.Video, Codec: "avc1.64001e", Bandwidth: 280_000,
				Width: 640, Height: 360, Index: index.Index{{From: 800, To: 70_000, DurationMs: 2000}, {From: 70_000, To: 140_000, StartMs: 2000, DurationMs: 2000}},
			}},
		},
	}
	if err := h.library.Publish(h.t.Context(), h.films[id], bencode.AppendDict(nil, bencode.Entry{Key: "info", Value: bencode.Str("of " + string(id))})); err != nil {
		h.t.Fatal(err)
	}
}

// browser is a client with cookies of its own.
type browser struct {
	*house
	client *http.Client
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &browser{h, &http.Client{Transport: h.server.Client().Transport, Jar: jar}}
}

func (b *browser) signIn() *browser { return b.signInAs("ada") }

func (b *browser) signInAs(name string) *browser {
	b.t.Helper()
	if resp, body := b.do("POST", "/api/v1/session", `{"name":"`+name+`","password":"`+password+`"}`); resp.StatusCode != 200 {
		b.t.Fatalf("sign in: %d %s", resp.StatusCode, body)
	}
	return b
}

func (b *browser) do(method, path, body string, header ...string) (*http.Response, []byte) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, data
}

// get decodes a JSON answer with the given status.
func (b *browser) want(status int, into any, method, path, body string, header ...string) {
	b.t.Helper()
	resp, data := b.do(method, path, body, header...)
	if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/json" || json.Unmarshal(data, into) != nil {
		b.t.Fatalf("%s %s: %d %s %s", method, path, resp.StatusCode, resp.Header.Get("Content-Type"), data)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		b.t.Errorf("%s %s: Cache-Control %q", method, path, got)
	}
}

func (b *browser) refused(status int, code Code, method, path, body string, header ...string) {
	b.t.Helper()
	resp, data := b.do(method, path, body, header...)
	var p Problem
	if err := json.Unmarshal(data, &p); err != nil || resp.StatusCode != status || p.Status != status || p.Code != code ||
		p.Detail == "" || p.Title == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
		b.t.Errorf("%s %s: %d %s %s, want %d %s", method, path, resp.StatusCode, resp.Header.Get("Content-Type"), data, status, code)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	failing := errors.New("no disk")
	var broken error
	h := newHouse(t, func(c *Config) { c.Ready = func(context.Context) error { return broken } })
	b := h.browser()
	var body map[string]string
	b.want(200, &body, "GET", "/healthz", "")
	b.refused(503, "unavailable", "GET", "/readyz", "")
	h.api.SetReady(true)
	b.want(200, &body, "GET", "/readyz", "")
	broken = failing
	b.refused(503, "unavailable", "GET", "/readyz", "")
}

func TestSessionCookieIsOutOfScriptsReach(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		h := newHouse(t, func(c *Config) { c.Secure = secure })
		resp, body := h.browser().do("POST", "/api/v1/session", `{"name":"Ada","password":"`+password+`"}`)
		if resp.StatusCode != 200 || len(resp.Cookies()) != 1 {
			t.Fatalf("%d %s %v", resp.StatusCode, body, resp.Header)
		}
		var me map[string]string
		if err := json.Unmarshal(body, &me); err != nil || me["name"] != "ada" || me["id"] == "" || me["role"] != "viewer" || len(me) != 3 {
			t.Errorf("body %s", body)
		}
		c := resp.Cookies()[0]
		name := map[bool]string{false: "essaim_session", true: "__Host-essaim_session"}[secure]
		if c.Name != name || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure != secure || c.Path != "/" || c.Domain != "" ||
			c.MaxAge != 30*24*3600 {
			t.Errorf("cookie %+v", c)
		}
		if hsts := resp.Header.Get("Strict-Transport-Security") != ""; hsts != secure {
			t.Errorf("HSTS %v", hsts)
		}
	}
}

func TestMemberSignsInAndOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	b.refused(401, "unauthorized", "GET", "/api/v1/me", "")
	b.refused(401, "wrong_credentials", "POST", "/api/v1/session", `{"name":"ada","password":"wrong horse"}`)
	b.refused(401, "wrong_credentials", "POST", "/api/v1/session", `{"name":"eve","password":"wrong horse"}`)
	b.signIn()
	var me map[string]string
	b.want(200, &me, "GET", "/api/v1/me", "")
	if me["name"] != "ada" {
		t.Errorf("me %v", me)
	}
	resp, _ := b.do("DELETE", "/api/v1/session", "")
	if resp.StatusCode != 204 || len(resp.Cookies()) != 1 || resp.Cookies()[0].MaxAge >= 0 {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	b.refused(401, "unauthorized", "GET", "/api/v1/me", "")
	if resp, _ := b.do("DELETE", "/api/v1/session", ""); resp.StatusCode != 204 {
		t.Errorf("signing out again: %d", resp.StatusCode)
	}
}

func TestSigningInEndsTheFormerSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	u := h.server.URL
	r, _ := http.NewRequest("GET", u, nil)
	old := b.client.Jar.Cookies(r.URL)[0].Value
	b.signIn()
	h.browser().refused(401, "unauthorized", "GET", "/api/v1/me", "", "Cookie", cookieName+"="+old)
}

func TestManyWrongPasswordsAreSlowedDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	for range 4 {
		b.refused(401, "wrong_credentials", "POST", "/api/v1/session", `{"name":"ada","password":"wrong horse"}`)
	}
	resp, _ := b.do("POST", "/api/v1/session", `{"name":"ada","password":"`+password+`"}`)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	h.clock.Advance(time.Second)
	b.signIn()
}

func TestStrangersSeeOpenTitlesOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	stranger, ada := h.browser(), h.browser().signIn()
	list := func(b *browser) (ids string) {
		var body struct{ Titles []map[string]any }
		b.want(200, &body, "GET", "/api/v1/titles", "")
		for _, x := range body.Titles {
			ids += x["id"].(string) + " "
			if len(x) != 6 || x["name"] != "The "+x["id"].(string)+" film" || x["poster"] != "/objects/"+strings.Repeat("ab", 32) ||
				x["duration_ms"] != 4000.0 || x["open"] != (x["id"] == "open") {
				t.Errorf("title %v", x)
			}
		}
		return ids
	}
	if got := list(stranger); got != "open " {
		t.Errorf("a stranger sees %s", got)
	}
	if got := list(ada); got != "closed open " {
		t.Errorf("a member sees %s", got)
	}
	stranger.refused(401, "unauthorized", "GET", "/api/v1/titles/closed", "")
	stranger.refused(401, "unauthorized", "POST", "/api/v1/titles/closed/play", `{"share":true}`)
	stranger.refused(401, "unauthorized", "GET", "/api/v1/titles/closed", "", "Cookie", cookieName+"=guessed")
	stranger.refused(404, "not_found", "GET", "/api/v1/titles/none", "")
	stranger.refused(404, "not_found", "GET", "/api/v1/none", "")
	var x map[string]any
	ada.want(200, &x, "GET", "/api/v1/titles/closed", "")
	if x["info_hash"] != h.films["closed"].Version.InfoHashV1.String() || x["info_hash_v2"] != h.films["closed"].Version.ID ||
		len(x["files"].([]any)) != 1 || len(x) != 9 {
		t.Errorf("title %v", x)
	}
	file := x["files"].([]any)[0].(map[string]any)
	if file["path"] != "video-360p.mp4" || file["size"] != 140_000.0 || file["kind"] != "video" || file["codec"] != "avc1.64001e" ||
		file["bandwidth"] != 280_000.0 || file["height"] != 360.0 {
		t.Errorf("file %v", file)
	}
}

func TestTorrentsAndMagnetLinksOfOpenTitlesOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	at := strings.TrimPrefix(h.server.URL, "http://")
	resp, body := h.browser().do("GET", "/api/v1/titles/open/torrent", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-bittorrent" ||
		!strings.Contains(resp.Header.Get("Content-Disposition"), `"open.torrent"`) {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	root, err := bencode.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	version := h.films["open"].Version
	if got := root.Get("announce").Text(); got != "http://"+at+"/announce" {
		t.Errorf("announce %q", got)
	}
	if !bytes.Contains(root.Get("announce-list").Raw(), []byte("ws://"+at+"/tracker")) ||
		!bytes.Contains(root.Get("url-list").Raw(), []byte("http://"+at+"/seed/"+version.ID+"/")) {
		t.Errorf("%s", body)
	}
	if root.Get("info").Text() != "of open" {
		t.Errorf("the stored torrent's own keys are gone: %s", body)
	}
	var x map[string]any
	h.browser().want(200, &x, "GET", "/api/v1/titles/open", "")
	magnet, err := url.Parse(x["magnet"].(string))
	if err != nil || x["torrent"] != "/api/v1/titles/open/torrent" ||
		!slices.Contains(magnet.Query()["xt"], "urn:btih:"+version.InfoHashV1.String()) ||
		magnet.Query().Get("xs") != "http://"+at+"/api/v1/titles/open/torrent" {
		t.Errorf("%v, %v", x, err)
	}

	for _, b := range []*browser{h.browser(), h.browser().signIn()} {
		b.refused(404, "not_found", "GET", "/api/v1/titles/closed/torrent", "")
	}
	x = nil
	h.browser().signIn().want(200, &x, "GET", "/api/v1/titles/closed", "")
	if x["magnet"] != nil || x["torrent"] != nil {
		t.Errorf("a title for members has %v", x)
	}
}

func TestAMalformedHostIsRepeatedInNoTorrent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, target := range []string{"/api/v1/titles/open", "/api/v1/titles/open/torrent"} {
		r := httptest.NewRequest("GET", target, nil)
		r.Host = "evil\"name"
		w := httptest.NewRecorder()
		h.server.Config.Handler.ServeHTTP(w, r)
		if w.Code != 200 || strings.Contains(w.Body.String(), "evil") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestOtherSitesCannotActForAVisitor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	for _, c := range [][3]string{
		{"POST", "/api/v1/session", `{"name":"ada","password":"` + password + `"}`},
		{"DELETE", "/api/v1/session", ""},
		{"POST", "/api/v1/titles/open/play", `{}`},
		{"PUT", "/api/v1/operator/policy", `{"p2p":false,"uplink_kbps":0}`},
	} {
		b.refused(403, "cross_origin", c[0], c[1], c[2], "Sec-Fetch-Site", "cross-site")
		b.refused(403, "cross_origin", c[0], c[1], c[2], "Sec-Fetch-Site", "same-site")
		b.refused(403, "cross_origin", c[0], c[1], c[2], "Origin", "https://elsewhere.example")
		b.refused(403, "cross_origin", c[0], c[1], c[2], "Origin", "null")
	}
	var me map[string]string
	b.want(200, &me, "GET", "/api/v1/me", "")
	if resp, _ := b.do("POST", "/api/v1/titles/open/play", `{}`, "Origin", h.server.URL, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 200 {
		t.Errorf("our own page: %d", resp.StatusCode)
	}
}

func TestMalformedRequestsAreRefusedWithoutRepeatingThem(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	b.refused(413, "too_large", "POST", "/api/v1/session", `{"name":"ada","password":"`+strings.Repeat("x", bodyMax)+`"}`)
	for _, body := range []string{`{"name":"ada"}`, `{"name":"ada","password":["secret"]}`, `{"name":"ada","password":"secret","more":1}`, `{`, `[]`, `null`} {
		resp, data := b.do("POST", "/api/v1/session", body)
		if resp.StatusCode != 400 && resp.StatusCode != 422 {
			t.Errorf("%s: %d %s", body, resp.StatusCode, data)
		}
		if bytes.Contains(data, []byte("secret")) {
			t.Errorf("the answer repeats the password: %s", data)
		}
		var p Problem
		if json.Unmarshal(data, &p) != nil || p.Code != "invalid" {
			t.Errorf("%s", data)
		}
	}
}

func TestOpenAPIDescribesEveryEndpoint(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Demo = &Demo{} })
	resp, data := h.browser().do("GET", "/api/openapi.json", "")
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(data, &doc); err != nil || resp.StatusCode != 200 || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("%d %.200s", resp.StatusCode, data)
	}
	for _, want := range []string{
		"get /healthz", "get /readyz", "post /api/v1/session", "delete /api/v1/session", "get /api/v1/me", "get /api/v1/titles",
		"get /api/v1/titles/{id}", "post /api/v1/titles/{id}/play", "get /api/v1/titles/{id}/torrent", "post /api/v1/play/{session}/heartbeat",
		"get /api/v1/operator/traffic", "get /api/v1/demo", "post /demo/sign-in",
	} {
		method, path, _ := strings.Cut(want, " ")
		if doc.Paths[path][method] == nil {
			t.Errorf("%s is missing", want)
		}
	}
	for _, want := range []string{"PlaySession", "PlayFile", "HeartbeatReply", "TitleSummary", "Problem"} {
		if doc.Components.Schemas[want] == nil {
			t.Errorf("schema %s is missing", want)
		}
	}
}

func TestDemoSignsItsMembersIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.browser().refused(404, "not_found", "GET", "/api/v1/demo", "")
	h.browser().refused(404, "not_found", "POST", "/demo/sign-in", `{"name":"ada"}`)

	var m *members.Members
	h = newHouse(t, func(c *Config) {
		c.Demo = &Demo{Members: []string{"ada"}, SignIn: func(ctx context.Context, name string, from vod.Visit) (string, vod.DeviceSession, error) {
			return m.SignIn(ctx, name, password, from)
		}}
	})
	m = h.members
	b := h.browser()
	var demo struct {
		Members []string
		Sharing bool
	}
	b.want(200, &demo, "GET", "/api/v1/demo", "")
	if !slices.Equal(demo.Members, []string{"ada"}) || !demo.Sharing {
		t.Errorf("demo %+v", demo)
	}
	b.refused(404, "not_found", "POST", "/demo/sign-in", `{"name":"eve"}`)
	var me map[string]string
	b.want(200, &me, "POST", "/demo/sign-in", `{"name":"ada"}`)
	b.want(200, &me, "GET", "/api/v1/me", "")
	if me["name"] != "ada" {
		t.Errorf("me %v", me)
	}
}

func TestPanicsEndOneRequestAndAreToldToTheOperator(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var said bytes.Buffer
	h := newHouse(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(locked{&mu, &said}, nil))
		c.Mounts = append(c.Mounts, Mount{Pattern: "/broken", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "aborted" {
				panic(http.ErrAbortHandler)
			}
			panic("out of order")
		})})
	})
	for _, path := range []string{"/broken?aborted", "/broken"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", h.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := h.server.Client().Do(r); err == nil {
			resp.Body.Close()
			t.Errorf("%s: answered %s", path, resp.Status)
		}
		mu.Lock()
		told := strings.Contains(said.String(), "level=ERROR") && strings.Contains(said.String(), "out of order") &&
			strings.Contains(said.String(), "api_test.go")
		mu.Unlock()
		if told != (path == "/broken") {
			t.Errorf("%s: said %q", path, said.String())
		}
	}
}

// locked is a writer for several goroutines.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
