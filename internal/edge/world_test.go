package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/edge/registry"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/origin"
	"essaim/internal/sqlstore"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// clock stands still until it is moved, though its moments are real ones: certificates are judged by it.
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

// world is a service with its edge port, on real sockets, with a clock of its own.
type world struct {
	t        *testing.T
	clock    *clock
	db       *sqlstore.Store
	members  *members.Members
	tickets  *members.Tickets
	library  *library.Library
	blobs    *mem.Store
	registry *registry.Registry
	public   *httptest.Server // where edges join
	port     *httptest.Server // the edge port
	cut      atomic.Bool      // the edge port answers nobody
	media    *origin.Origin
	plans    atomic.Int64 // how often the catalogue was read to make one
	data     map[vod.TitleID][]byte
}

// planning counts the plans that are made of a catalogue.
type planning struct {
	vod.Titles
	n *atomic.Int64
}

func (p planning) List(ctx context.Context, openOnly bool) ([]vod.Title, error) {
	p.n.Add(1)
	return p.Titles.List(ctx, openOnly)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Now()}, blobs: mem.New(), data: map[vod.TitleID][]byte{}}
	dir := t.TempDir()
	var err error
	if w.db, err = sqltest.Open(t.Context(), filepath.Join(dir, "essaim.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	w.members = members.New(w.db, w.clock.Now)
	if w.tickets, err = members.OpenTickets(dir, w.clock.Now); err != nil {
		t.Fatal(err)
	}
	w.library = library.New(w.db, w.clock.Now)
	authority, err := registry.OpenAuthority(dir, w.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	coming := library.New(w.db, func() time.Time { return w.clock.Now().Add(registry.Lead) })
	log := slog.New(slog.DiscardHandler)
	w.media = origin.New(origin.Config{
		Titles: registry.Both{First: w.library, Then: coming}, Tickets: w.tickets, Blobs: w.blobs, Clock: w.clock.Now, Log: log,
	})
	w.port = httptest.NewUnstartedServer(nil)
	w.registry = registry.New(registry.Config{
		DB: w.db, Authority: authority, Clock: w.clock.Now, Titles: planning{w.library, &w.plans}, Coming: coming, Windows: w.library.Windows(),
		Tickets: w.tickets, Revocations: w.members, Members: w.members, Origin: w.media, Traffic: w.media,
		Trackers: []string{"/tracker"}, Control: w.port.Listener.Addr().String(), Log: log,
	})
	handler := w.registry.Handler()
	w.port.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", w.clock.Now().UTC().Format(http.TimeFormat))
		if w.cut.Load() {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(rw, r)
	})
	w.port.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	w.port.TLS = authority.TLS()
	// httptest would put a certificate of its own first.
	w.port.Listener = tls.NewListener(w.port.Listener, authority.TLS())
	w.port.Start()
	t.Cleanup(w.port.Close)
	w.public = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in struct {
			Token   string
			Request []byte
			URL     string
		}
		err := json.NewDecoder(r.Body).Decode(&in)
		if err == nil {
			var id vod.EdgeIdentity
			if id, err = w.registry.Join(r.Context(), in.Token, in.Request, in.URL); err == nil {
				err = json.NewEncoder(rw).Encode(id)
			}
		}
		switch {
		case errors.Is(err, vod.ErrNotFound):
			rw.WriteHeader(http.StatusNotFound)
		case err != nil:
			rw.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(w.public.Close)
	return w
}

// publish puts a title of one file of noise before the public.
func (w *world) publish(id vod.TitleID, size int, open bool) vod.Title {
	w.t.Helper()
	ctx := w.t.Context()
	b := make([]byte, size)
	seed := [32]byte{byte(len(w.data)), byte(size)}
	if _, err := io.ReadFull(rand.NewChaCha8(seed), b); err != nil {
		w.t.Fatal(err)
	}
	m, err := metainfo.Create(ctx, []metainfo.Source{{Path: "video.mp4", Size: int64(size), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}}, metainfo.Options{Name: string(id), PieceLength: 32 << 10, Private: !open})
	if err != nil {
		w.t.Fatal(err)
	}
	kid := vod.KID{}
	if !open {
		kid[0] = 1
	}
	f := vod.File{KID: kid, Path: "video.mp4", Size: int64(size), Root: m.Files[0].Root, FirstPiece: m.Files[0].FirstPiece, Kind: vod.Video, Codec: "avc1.64001e", Bandwidth: 1}
	t := vod.Title{ID: id, Name: string(id), Open: open, Published: w.clock.Now(), Version: vod.Version{
		ID: m.InfoHashV2.String(), InfoHashV1: m.InfoHash, InfoHashV2: m.InfoHashV2, PieceLength: m.PieceLength, DurationMs: 1000, Manifest: "<MPD/>",
		Files: []vod.File{f},
	}}
	if !open {
		t.Version.Scheme = vod.CBCS
	}
	for key, data := range map[string][]byte{vod.KeyMedia(f.Root): b, vod.KeyLeaves(f.Root): bt.AppendDigests(nil, m.Files[0].Leaves)} {
		if err := w.blobs.Put(ctx, key, bytes.NewReader(data)); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.library.Publish(ctx, t, m.Bytes); err != nil {
		w.t.Fatal(err)
	}
	w.data[id] = b
	return t
}

// box is an edge and what it serves over HTTP.
type box struct {
	*Edge
	w     *world
	dir   string
	clock *clock
	keys  *members.Verifier
	http  *httptest.Server
}

// join makes a folder an edge's.
func (w *world) join(name string) string {
	w.t.Helper()
	token, _, err := w.registry.Invite(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.t.TempDir(), name)
	if _, err := Join(w.t.Context(), JoinOptions{Service: w.public.URL, Token: token, Dir: dir, Clock: w.clock.Now}); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// open starts an edge in a folder, without its loops: tests take its steps themselves. edit may be nil.
func (w *world) open(dir string, edit func(*Config)) *box {
	w.t.Helper()
	b := &box{w: w, dir: dir, clock: &clock{now: w.clock.Now()}}
	b.http = httptest.NewUnstartedServer(nil)
	c := Config{
		Dir: dir, Keys: func(clock vod.Clock) Keys { b.keys = members.NewVerifier(clock); return b.keys }, Quota: 1 << 30, Clock: b.clock.Now, Log: slog.New(slog.DiscardHandler), URL: "http://" + b.http.Listener.Addr().String(),
	}
	nodes, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	c.Node = nodes.Addr().String()
	if edit != nil {
		edit(&c)
	}
	if b.Edge, err = Open(c); err != nil {
		nodes.Close()
		w.t.Fatal(err)
	}
	media := func(viewers bool) *origin.Origin {
		return origin.New(origin.Config{Titles: b.Titles(viewers), Tickets: b.keys, Blobs: b.Store(), Clock: b.Now, Log: c.Log, Pages: b.Pages})
	}
	public := media(true)
	b.Attach(public, b.http.URL)
	b.http.Config.Handler = public
	b.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	b.http.Start()
	server := &http.Server{Handler: b.NodeHandler(media(false)), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(tls.NewListener(nodes, b.NodeTLS())) }()
	w.t.Cleanup(func() {
		b.closeHosts(func(string, *seat) bool { return true })
		server.Close()
		<-ended
		b.http.Close()
		b.Edge.http.CloseIdleConnections()
	})
	return b
}

func (b *box) sync() {
	b.w.t.Helper()
	if err := b.Sync(b.w.t.Context()); err != nil {
		b.w.t.Fatal(err)
	}
}

// fillAll takes filling's steps until there is nothing left to do.
func (b *box) fillAll() {
	b.w.t.Helper()
	for {
		worked, err := b.fillNext(b.w.t.Context())
		if err != nil {
			b.w.t.Fatal(err)
		}
		if !worked {
			return
		}
	}
}

// ticket is a viewer's for a title.
func (w *world) ticket(t *vod.Title, session string) string {
	w.t.Helper()
	return w.ticketFor(t, session, 10*time.Minute)
}

// ticketFor is ticket for so long.
func (w *world) ticketFor(t *vod.Title, session string, life time.Duration) string {
	w.t.Helper()
	token, err := w.tickets.Issue(vod.Ticket{
		Audience: vod.AudienceMedia, PlaySession: session, Member: "ada", Title: t.ID, Version: t.Version.ID, Expires: w.clock.Now().Add(life),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// get asks the edge for all of a title's file, and returns the status and what came whole.
func (b *box) get(t *vod.Title, ticket string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, b.http.URL+"/media/"+t.Version.Files[0].Root.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	if ticket != "" {
		req.Header.Set("Authorization", "Bearer "+ticket)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// serves complains unless the edge sends a title's bytes to who has that ticket.
func (b *box) serves(t *vod.Title, ticket string) {
	b.w.t.Helper()
	status, body, err := b.get(t, ticket)
	if err != nil || status != http.StatusOK || !bytes.Equal(body, b.w.data[t.ID]) {
		b.w.t.Fatalf("%s: status %d, %d bytes, error %v", t.ID, status, len(body), err)
	}
}

// refuses complains unless the answer is that status.
func (b *box) refuses(t *vod.Title, ticket string, want int) {
	b.w.t.Helper()
	if status, _, err := b.get(t, ticket); err != nil || status != want {
		b.w.t.Fatalf("%s: status %d, want %d, error %v", t.ID, status, want, err)
	}
}
