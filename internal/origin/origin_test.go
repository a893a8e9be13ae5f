package origin

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/blob"
	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

const (
	pieceLength = 32 << 10
	perPiece    = pieceLength / bt.BlockSize
)

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

// house is an origin on a real server, a real database and two films: "open" and "closed", which share their sound.
type house struct {
	t       *testing.T
	origin  *Origin
	server  *httptest.Server
	tickets *members.Tickets
	library *library.Library
	blobs   blob.Store
	clock   *clock
	films   map[vod.TitleID]vod.Title
	bytes   map[bt.Digest][]byte
}

func newHouse(t *testing.T, edit func(*Config)) *house {
	t.Helper()
	h := &house{
		t: t, clock: &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, blobs: mem.New(),
		films: map[vod.TitleID]vod.Title{}, bytes: map[bt.Digest][]byte{},
	}
	dir := t.TempDir()
	db, err := sqltest.Open(t.Context(), filepath.Join(dir, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	h.library = library.New(db, h.clock.Now)
	if h.tickets, err = members.OpenTickets(dir, h.clock.Now); err != nil {
		t.Fatal(err)
	}
	h.film("open", 1, true)
	h.film("closed", 2, false)
	c := Config{
		Titles: h.library, Tickets: h.tickets, Blobs: h.blobs, Clock: h.clock.Now, Log: slog.New(slog.DiscardHandler),
		Objects: h.library,
	}
	if edit != nil {
		edit(&c)
	}
	h.origin = New(c)
	h.server = httptest.NewServer(h.origin)
	t.Cleanup(h.server.Close)
	return h
}

func (h *house) film(id vod.TitleID, seed byte, open bool) {
	h.t.Helper()
	v2 := bt.InfoHashV2{0: seed}
	title := vod.Title{ID: id, Name: string(id), Open: open, Version: vod.Version{
		ID: v2.String(), InfoHashV1: bt.InfoHash{0: seed}, InfoHashV2: v2, PieceLength: pieceLength, DurationMs: 1000,
	}}
	next := uint32(0)
	for i, f := range []struct {
		path string
		kind vod.Kind
		size int64
		seed byte
	}{{"video-360p.mp4", vod.Video, 700_001, seed}, {"audio.mp4", vod.Audio, 50_000, 99}, {"audio-2.mp4", vod.Audio, 9_000, seed + 100}} {
		data := make([]byte, f.size)
		_, _ = rand.NewChaCha8([32]byte{f.seed}).Read(data)
		root := h.store(data)
		title.Version.Files = append(title.Version.Files, vod.File{
			Path: f.path, Size: f.size, Root: root, FirstPiece: next, Kind: f.kind, Codec: "x" + strconv.Itoa(i), Bandwidth: 1000,
		})
		next += uint32((f.size + pieceLength - 1) / pieceLength)
	}
	h.publish(title)
}

func (h *house) store(data []byte) bt.Digest {
	h.t.Helper()
	var leaves []bt.Digest
	for block := range slices.Chunk(data, bt.BlockSize) {
		leaves = append(leaves, sha256.Sum256(block))
	}
	root := bt.FileRoot(leaves, perPiece)
	h.bytes[root] = data
	for key, b := range map[string][]byte{vod.KeyMedia(root): data, vod.KeyLeaves(root): bt.AppendDigests(nil, leaves)} {
		if err := h.blobs.Put(h.t.Context(), key, bytes.NewReader(b)); err != nil {
			h.t.Fatal(err)
		}
	}
	return root
}

func (h *house) publish(t vod.Title) {
	h.t.Helper()
	if err := h.library.Publish(h.t.Context(), t, []byte("torrent")); err != nil {
		h.t.Fatal(err)
	}
	h.films[t.ID] = t
}

func (h *house) file(id vod.TitleID, i int) vod.File { return h.films[id].Version.Files[i] }

func (h *house) ticket(id vod.TitleID, session string) string {
	h.t.Helper()
	token, err := h.tickets.Issue(vod.Ticket{
		Audience: vod.AudienceMedia, PlaySession: session, Title: id, Version: h.films[id].Version.ID,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

func (h *house) request(method, path string, header ...string) *http.Request {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (h *house) do(method, path string, header ...string) (*http.Response, []byte) {
	h.t.Helper()
	resp, err := h.server.Client().Do(h.request(method, path, header...))
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp, body
}

func (h *house) problem(resp *http.Response, body []byte, status int, code string) {
	h.t.Helper()
	var p struct {
		Status int
		Code   string
	}
	if err := json.Unmarshal(body, &p); err != nil || resp.StatusCode != status || p.Status != status || p.Code != code ||
		resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("Cache-Control") != "no-store" {
		h.t.Errorf("got %d %s %s, want %d %s", resp.StatusCode, resp.Header, body, status, code)
	}
}

func TestOriginServesRanges(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("open", 0)
	data := h.bytes[f.Root]
	size := len(data)
	etag := `"` + f.Root.String() + `"`
	for _, c := range []struct {
		name     string
		header   []string
		status   int
		from, to int
	}{
		{"whole", nil, 200, 0, size},
		{"from the start", []string{"Range", "bytes=0-15"}, 206, 0, 16},
		{"one byte", []string{"Range", "bytes=16384-16384"}, 206, 16384, 16385},
		{"across chunks", []string{"Range", "bytes=100000-500000"}, 206, 100000, 500001},
		{"to the end", []string{"Range", "bytes=700000-"}, 206, 700000, size},
		{"over the end", []string{"Range", "bytes=699990-99999999"}, 206, 699990, size},
		{"over any number", []string{"Range", "bytes=699990-99999999999999999999999"}, 206, 699990, size},
		{"suffix", []string{"Range", "bytes=-100"}, 206, size - 100, size},
		{"suffix over all", []string{"Range", "bytes=-9999999"}, 206, 0, size},
		{"unknown unit", []string{"Range", "pieces=1-2"}, 200, 0, size},
		{"if-range, same", []string{"Range", "bytes=1-2", "If-Range", etag}, 206, 1, 3},
		{"if-range, other", []string{"Range", "bytes=1-2", "If-Range", `"other"`}, 200, 0, size},
		{"if-range, a date", []string{"Range", "bytes=1-2", "If-Range", "Wed, 21 Oct 2015 07:28:00 GMT"}, 200, 0, size},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp, body := h.do(method, "/media/"+f.Root.String(), c.header...)
			want := data[c.from:c.to]
			if method == "HEAD" {
				want = nil
			}
			if resp.StatusCode != c.status || !bytes.Equal(body, want) || resp.ContentLength != int64(c.to-c.from) {
				t.Errorf("%s %s: %d, %d bytes, length %d", method, c.name, resp.StatusCode, len(body), resp.ContentLength)
			}
			cr := ""
			if c.status == 206 {
				cr = "bytes " + strconv.Itoa(c.from) + "-" + strconv.Itoa(c.to-1) + "/" + strconv.Itoa(size)
			}
			for name, want := range map[string]string{
				"Content-Range": cr, "ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "video/mp4",
				"Cache-Control": "public, max-age=31536000, immutable", "Access-Control-Allow-Origin": "*",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s %s: %s is %q, want %q", method, c.name, name, got, want)
				}
			}
			if !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), "Content-Range") {
				t.Errorf("%s: Content-Range is not exposed", c.name)
			}
		}
	}
	resp, body := h.do("GET", "/media/"+f.Root.String(), "If-None-Match", `"x", W/`+etag)
	if resp.StatusCode != 304 || len(body) != 0 {
		t.Errorf("if-none-match: %d, %d bytes", resp.StatusCode, len(body))
	}
}

func TestOriginRefusesAbusiveRanges(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("open", 0)
	for _, r := range []string{
		"bytes=700001-", "bytes=700001-700002", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=", "bytes=a-b", "bytes=1", "bytes=+1-2",
		"bytes=1-+2", "bytes=0-0,2-2", "bytes=0-,0-,0-", "bytes=0-1," + strings.Repeat("0-,", 1000), "bytes=-1-2", "bytes=0x1-2",
		"bytes=99999999999999999999999-", "bytes=" + strings.Repeat("9", 100) + "-",
	} {
		resp, body := h.do("GET", "/media/"+f.Root.String(), "Range", r)
		h.problem(resp, body, 416, "range")
		if got := resp.Header.Get("Content-Range"); got != "bytes */700001" {
			t.Errorf("%q: Content-Range %q", r, got)
		}
	}
	if n := h.origin.Snapshot().OriginBytes; n != 0 {
		t.Errorf("counted %d bytes", n)
	}
}

func TestStrangersGetNoByteOfAMembersOnlyTitle(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("closed", 0)
	valid := h.ticket("closed", "s")
	swarm, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceSwarm, Title: "closed", Version: h.films["closed"].Version.ID})
	if err != nil {
		t.Fatal(err)
	}
	other, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceMedia, Title: "closed", Version: h.films["open"].Version.ID})
	if err != nil {
		t.Fatal(err)
	}
	expired := h.ticket("closed", "s")
	refused := map[string][]string{
		"no ticket":             nil,
		"other title's ticket":  {"Authorization", "Bearer " + h.ticket("open", "s")},
		"other version's":       {"Authorization", "Bearer " + other},
		"other audience's":      {"Authorization", "Bearer " + swarm},
		"tampered ticket":       {"Authorization", "Bearer " + valid[:len(valid)-6] + "AAAAAA"},
		"other scheme":          {"Authorization", "Basic " + valid},
		"in a cookie":           {"Cookie", "ticket=" + valid},
		"an empty one":          {"Authorization", "Bearer "},
		"ticket without scheme": {"Authorization", valid},
	}
	check := func(name string, header []string) {
		t.Helper()
		for _, path := range []string{"/media/" + f.Root.String(), "/hashes/" + f.Root.String() + "?base=1&index=0&length=2&proof=0"} {
			resp, body := h.do("GET", path, header...)
			h.problem(resp, body, 401, "unauthorized")
			for _, name := range []string{"ETag", "Access-Control-Allow-Origin", "Content-Range"} {
				if resp.Header.Get(name) != "" {
					t.Errorf("%s: tells %s", name, name)
				}
			}
			if resp, _ := h.do("HEAD", path, header...); resp.StatusCode != 401 {
				t.Errorf("%s: HEAD %d", name, resp.StatusCode)
			}
		}
	}
	for name, header := range refused {
		check(name, header)
	}
	if resp, _ := h.do("GET", "/media/"+f.Root.String()+"?ticket="+valid); resp.StatusCode != 401 {
		t.Error("a ticket in the URL was taken")
	}
	h.clock.Advance(members.TicketLife)
	check("expired ticket", []string{"Authorization", "Bearer " + expired})
	if got := h.origin.Snapshot(); got.OriginBytes != 0 || len(got.ByTitle) != 0 {
		t.Errorf("sent %+v", got)
	}
	if resp, _ := h.do("OPTIONS", "/media/"+f.Root.String(), "Origin", "https://elsewhere.example"); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("pages of other sites may ask for it")
	}
}

func TestTicketHolderGetsAMembersOnlyTitle(t *testing.T) {
	h := newHouse(t, nil)
	for i := range 3 {
		f := h.file("closed", i)
		resp, body := h.do("GET", "/media/"+f.Root.String(), "Authorization", "bearer "+h.ticket("closed", "s"))
		if resp.StatusCode != 200 || !bytes.Equal(body, h.bytes[f.Root]) {
			t.Errorf("%s: %d, %d bytes", f.Path, resp.StatusCode, len(body))
		}
		if got := resp.Header.Get("Cache-Control"); got != "private, max-age=31536000, immutable" {
			t.Errorf("Cache-Control %q", got)
		}
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("other sites may read it: %q", got)
		}
	}
	// The sound is in the open film as well: it counts for the film whose ticket came along.
	h.server.Close() // a byte may be read before it is counted
	if got := h.origin.Snapshot(); got.ByTitle["closed"] != 759_001 || got.ByTitle["open"] != 0 {
		t.Errorf("counted %+v", got)
	}
}

func TestUnknownRootsAreNotFound(t *testing.T) {
	h := newHouse(t, nil)
	root := h.file("open", 0).Root.String()
	for _, name := range []string{strings.Repeat("0", 64), "x", strings.ToUpper(root), root + "0", "..", "%2e%2e%2fessaim.db"} {
		resp, _ := h.do("GET", "/media/"+name)
		if resp.StatusCode != 404 && resp.StatusCode != 307 && resp.StatusCode != 301 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if resp, _ := h.do(method, "/media/"+root); resp.StatusCode != 405 {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}

func TestCountsAreTheBytesReceived(t *testing.T) {
	h := newHouse(t, nil)
	open, closed := h.file("open", 0), h.file("closed", 0)
	var wg sync.WaitGroup
	var mu sync.Mutex
	total, sessions := int64(0), map[string]int64{}
	for i := range 12 {
		session := "s" + strconv.Itoa(i%3)
		f, id := open, vod.TitleID("open")
		if i%2 == 1 {
			f, id = closed, "closed"
		}
		from := i * 20_000
		r := h.request("GET", "/media/"+f.Root.String(), "Authorization", "Bearer "+h.ticket(id, session),
			"Range", "bytes="+strconv.Itoa(from)+"-"+strconv.Itoa(from+300_000))
		wg.Go(func() {
			resp, err := h.server.Client().Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
			sessions[session] += n
		})
	}
	wg.Wait()
	_, body := h.do("GET", "/media/"+open.Root.String(), "Range", "bytes=0-9", "Authorization", "Bearer not a ticket")
	total += int64(len(body)) // for no session
	h.server.Close()          // a byte may be read before it is counted
	got := h.origin.Snapshot()
	if got.OriginBytes != total || got.ByTitle["open"]+got.ByTitle["closed"] != total || got.ByTitle["closed"] != 6*300_001 {
		t.Errorf("counted %+v, received %d", got, total)
	}
	for id, n := range sessions {
		if got.BySession[id] != n {
			t.Errorf("session %s: counted %d, received %d", id, got.BySession[id], n)
		}
	}
	if len(got.BySession) != len(sessions) {
		t.Errorf("sessions %v", got.BySession)
	}
}

func TestRehearsalsAreCountedByLabelAndNowhereElse(t *testing.T) {
	h := newHouse(t, nil)
	ticket := func(title vod.TitleID, label vod.RehearsalLabel, session string) string {
		token, err := h.tickets.Issue(vod.Ticket{
			Audience: vod.AudienceMedia, PlaySession: session, Title: title, Version: h.films[title].Version.ID, Rehearsal: label,
		})
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	get := func(f vod.File, from, to int, auth string) {
		t.Helper()
		resp, body := h.do("GET", "/media/"+f.Root.String(), "Range", "bytes="+strconv.Itoa(from)+"-"+strconv.Itoa(to-1), "Authorization", auth)
		if resp.StatusCode != 206 || len(body) != to-from {
			t.Fatalf("%d, %d bytes", resp.StatusCode, len(body))
		}
	}
	get(h.file("open", 0), 0, 300_000, ticket("open", "evening-1", "a"))
	get(h.file("open", 0), 100, 200, ticket("open", "evening-1", "b"))
	get(h.file("closed", 0), 0, 50_000, ticket("closed", "evening-2", "c")) // without a member
	get(h.file("open", 0), 200, 300, ticket("closed", "evening-2", "c"))    // another title's file
	get(h.file("open", 0), 0, 7, ticket("open", "", "d"))
	h.server.Close() // a byte may be read before it is counted
	got := h.origin.Snapshot()
	if !maps.Equal(got.ByRehearsal, map[vod.RehearsalLabel]int64{"evening-1": 300_100, "evening-2": 50_100}) {
		t.Errorf("rehearsals %v", got.ByRehearsal)
	}
	if got.OriginBytes != 7 || !maps.Equal(got.ByTitle, map[vod.TitleID]int64{"open": 7}) || !maps.Equal(got.BySession, map[string]int64{"d": 7}) {
		t.Errorf("viewers %+v", got)
	}
}

func TestPagesOfOtherSitesMayReadOpenTitles(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("open", 0)
	resp, _ := h.do("OPTIONS", "/media/"+f.Root.String(), "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "GET",
		"Access-Control-Request-Headers", "authorization,range")
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Origin") != "*" ||
		!strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Range") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
