package native

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// inNoHurry lets peers come before the origin.
var inNoHurry = Playback{Position: -20 * time.Second, Paused: true}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func await(t *testing.T, ctx context.Context, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-ctx.Done():
		t.Fatal(what, "did not come")
	}
}

func TestAloneAllComesFromTheOrigin(t *testing.T) {
	f := newFilm(t, 1<<20+12345, 100_000)
	p := newPlace(t, f)
	h := open(t, p.config())
	for i := range f.files {
		if err := watch(deadline(t), h, f, uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	s := h.Stats()
	if s.OriginBytes != f.size() || f.sent.Load() != f.size() || s.PeerBytes != 0 {
		t.Errorf("origin sent %d, host counts %+v, film has %d", f.sent.Load(), s, f.size())
	}
}

func TestSecondViewerIsFedByTheFirst(t *testing.T) {
	f := newFilm(t, 6<<20+12345, 100_000)
	p := newPlace(t, f)
	ctx := deadline(t)
	a := open(t, p.config())
	for i := range f.files {
		if err := watch(ctx, a, f, uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	before := f.sent.Load()
	cfg := p.config()
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	b := open(t, cfg)
	b.Moved(inNoHurry)
	await(t, ctx, up, "a peer")
	for i := range f.files {
		if err := watch(ctx, b, f, uint32(i)); err != nil {
			t.Fatal(err)
		}
	}
	fromOrigin := f.sent.Load() - before
	s := b.Stats()
	t.Logf("film %d, origin sent %d to the second viewer: %+v", f.size(), fromOrigin, s)
	if fromOrigin*5 > f.size() || s.PeerBytes*5 < f.size()*4 {
		t.Errorf("of %d bytes the origin sent %d, the peer %d", f.size(), fromOrigin, s.PeerBytes)
	}
	if a.Stats().SentBytes < s.PeerBytes {
		t.Errorf("the first sent %d, the second got %d", a.Stats().SentBytes, s.PeerBytes)
	}
}

func TestLyingPeerIsBannedAndTheFilmIsRight(t *testing.T) {
	f := newFilm(t, 3<<20)
	p := newPlace(t, f)
	ctx := deadline(t)
	cfg := p.config()
	cfg.Corrupt = func(b []byte) { b[len(b)/2] ^= 4 }
	liar := open(t, cfg)
	if err := watch(ctx, liar, f, 0); err != nil {
		t.Fatal(err)
	}
	cfg = p.config()
	up, banned := make(chan struct{}), make(chan struct{})
	var wasUp, wasBanned bool
	cfg.Note = func(o engine.Output) {
		if o.Note == engine.NotePeerUp && !wasUp {
			wasUp = true
			close(up)
		}
		if o.Note == engine.NoteBanned && !wasBanned {
			wasBanned = true
			close(banned)
		}
	}
	b := open(t, cfg)
	b.Moved(inNoHurry)
	await(t, ctx, up, "a peer")
	if err := watch(ctx, b, f, 0); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, banned, "the ban")
	if s := b.Stats(); s.BadBlocks == 0 || s.Banned != 1 || len(s.Bans) != 1 || s.Bans[0] != (Ban{PeerID: liar.PeerID(), Proven: true}) {
		t.Errorf("%+v", s)
	}
}

func TestTrackerUnreachableLeavesHTTP(t *testing.T) {
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	cfg := p.config()
	cfg.Trackers = []string{"ws://127.0.0.1:1/tracker"}
	h := open(t, cfg)
	if err := watch(deadline(t), h, f, 0); err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.OriginBytes != f.size() || s.Connections != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNoConnectionIsMadeWherePolicyForbidsPeers(t *testing.T) {
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	ctx := deadline(t)
	a := open(t, p.config())
	if err := watch(ctx, a, f, 0); err != nil {
		t.Fatal(err)
	}
	cfg := p.config()
	cfg.Policy = Policy{}
	b := open(t, cfg)
	if err := watch(ctx, b, f, 0); err != nil {
		t.Fatal(err)
	}
	// Also an offer that arrives all the same.
	b.do(func() { b.rtc.offered(a.PeerID(), announce.OfferID{1}, "v=0\r\n", false) })
	if s := b.Stats(); s.Connections != 0 || s.PeerBytes != 0 || s.OriginBytes != f.size() {
		t.Errorf("%+v", s)
	}
}

func TestPolicySwitchClosesPeersAtOnce(t *testing.T) {
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	ctx := deadline(t)
	a := open(t, p.config())
	if err := watch(ctx, a, f, 0); err != nil {
		t.Fatal(err)
	}
	cfg := p.config()
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	b := open(t, cfg)
	b.Moved(inNoHurry)
	await(t, ctx, up, "a peer")
	b.SetPolicy(Policy{})
	if s := b.Stats(); s.Peers != 0 {
		t.Errorf("%d peers after the switch", s.Peers)
	}
	if err := watch(ctx, b, f, 0); err != nil {
		t.Fatal(err)
	}
	if s := b.Stats(); s.PeerBytes != 0 {
		t.Errorf("%d bytes from peers after the switch", s.PeerBytes)
	}
	for { // the tracker hears of it
		select {
		case r := <-p.meeting.seen:
			if r.PeerID == b.PeerID() && r.Event == announce.EventStopped {
				if r.NumWant != 0 {
					t.Errorf("the goodbye asks for %d introductions", r.NumWant)
				}
				return
			}
		case <-ctx.Done():
			t.Fatal("no goodbye")
		}
	}
}

// TestChannelsOutliveTheTracker kills the tracker while a film comes from a neighbour, and brings it back.
func TestChannelsOutliveTheTracker(t *testing.T) {
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := &http.Server{Handler: p.meeting, ReadHeaderTimeout: time.Minute}
	go func() { _ = first.Serve(ln) }()
	p.tracker = "ws://" + ln.Addr().String()
	ctx := deadline(t)
	cfg := p.config()
	cfg.Jitter = func(int64) int64 { return 0 }
	a := open(t, cfg)
	if err := watch(ctx, a, f, 0); err != nil {
		t.Fatal(err)
	}
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	b := open(t, cfg)
	b.Moved(inNoHurry)
	await(t, ctx, up, "a peer")

	_ = ln.Close()
	p.meeting.kill()
	if err := watch(ctx, b, f, 0); err != nil {
		t.Fatal(err)
	}
	if s := b.Stats(); s.Peers != 1 || s.PeerBytes == 0 {
		t.Errorf("without its tracker: %+v", s)
	}
	p.meeting.forget()
	again, err := net.Listen("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	second := &http.Server{Handler: p.meeting, ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { _ = first.Close(); p.meeting.kill(); _ = second.Close() })
	go func() { _ = second.Serve(again) }()
	back := map[bt.PeerID]bool{}
	for len(back) < 2 {
		select {
		case r := <-p.meeting.seen:
			if r.Event != announce.EventStarted {
				t.Errorf("who comes back announces %v", r.Event)
			}
			back[r.PeerID] = true
			other := announce.Outcome{PeerID: a.PeerID(), Fate: announce.FateConnected}
			if r.PeerID == a.PeerID() {
				other.PeerID = b.PeerID()
			}
			if r.Viewer == nil || !slices.Contains(r.Viewer.Outcomes, other) {
				t.Errorf("who comes back does not say to whom it is connected: %+v", r.Viewer)
			}
		case <-ctx.Done():
			t.Fatalf("%d came back", len(back))
		}
	}
	if s := b.Stats(); s.Peers != 1 {
		t.Errorf("after its return: %+v", s)
	}
}

func TestTrackersNewsClosePeersAtOnce(t *testing.T) {
	for name, news := range map[string]func(other *Host) announce.Introductions{
		"a neighbour is revoked": func(other *Host) announce.Introductions {
			return announce.Introductions{Revoked: []bt.PeerID{other.PeerID()}}
		},
		"the operator's switch": func(*Host) announce.Introductions { return announce.Introductions{PeersOff: true} },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilm(t, 1<<20)
			p := newPlace(t, f)
			ctx := deadline(t)
			a := open(t, p.config())
			if err := watch(ctx, a, f, 0); err != nil {
				t.Fatal(err)
			}
			cfg := p.config()
			up, down := make(chan struct{}), make(chan struct{})
			cfg.Note = func(o engine.Output) {
				switch o.Note {
				case engine.NotePeerUp:
					close(up)
				case engine.NotePeerDown:
					close(down)
				}
			}
			b := open(t, cfg)
			b.Moved(inNoHurry)
			await(t, ctx, up, "a peer")
			if err := p.meeting.tell(ctx, b.PeerID(), f.title.InfoHash, news(a)); err != nil {
				t.Fatal(err)
			}
			await(t, ctx, down, "its end")
			if s := b.Stats(); s.Peers != 0 {
				t.Errorf("%d peers", s.Peers)
			}
			if err := watch(ctx, b, f, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTicketsTravelInHeadersAndAnnounces(t *testing.T) {
	f := newFilm(t, 100_000)
	var bad string
	f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer media-1" || strings.Contains(r.URL.String(), "media-1") {
			bad = r.URL.String()
		}
		return false
	}
	p := newPlace(t, f)
	cfg := p.config()
	cfg.Tickets = func() Tickets { return Tickets{Media: "media-1", Swarm: "swarm-1"} }
	h := open(t, cfg)
	ctx := deadline(t)
	if err := watch(ctx, h, f, 0); err != nil {
		t.Fatal(err)
	}
	if bad != "" {
		t.Error("no ticket with", bad)
	}
	select {
	case r := <-p.meeting.seen:
		if r.Viewer == nil || r.Viewer.Ticket != "swarm-1" || r.Event != announce.EventStarted {
			t.Errorf("%+v", r)
		}
	case <-ctx.Done():
		t.Fatal("no announce")
	}
}

// asking is an engine that asks for so many introductions, whatever it would.
type asking struct {
	Stepper
	want uint32
}

func (a *asking) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	out = a.Stepper.Step(now, in, out)
	for i := range out {
		if out[i].Kind == engine.Announce {
			out[i].Length = a.want
		}
	}
	return out
}

func TestAnnounceAsksForAsManyIntroductionsAsTheEngineWants(t *testing.T) {
	for want, numWant := range map[uint32]int{0: 0, 3: 3, math.MaxUint32: math.MaxInt32} {
		p := newPlace(t, newFilm(t, 100_000))
		cfg := p.config()
		cfg.Engine = &asking{newEngine(), want}
		ctx := deadline(t)
		open(t, cfg).Moved(inNoHurry)
		select {
		case r := <-p.meeting.seen:
			if r.NumWant != numWant {
				t.Errorf("for %d asks for %d, want %d", want, r.NumWant, numWant)
			}
		case <-ctx.Done():
			t.Fatal("no announce")
		}
	}
}

// heard is an engine that passes on what it is told of one kind.
type heard struct {
	Stepper
	kind engine.InputKind
	said chan engine.Input
}

func (h *heard) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	if in.Kind == h.kind {
		select {
		case h.said <- in:
		default: // enough of them
		}
	}
	return h.Stepper.Step(now, in, out)
}

func TestTrackersCountReachesTheEngine(t *testing.T) {
	f := newFilm(t, 100_000)
	cfg := newPlace(t, f).config()
	e := &heard{newEngine(), engine.SwarmCounted, make(chan engine.Input, 1)}
	cfg.Engine = e
	open(t, cfg)
	select {
	case in := <-e.said:
		if in.Length != 2 { // a seed of the tracker's imagination, and us
			t.Errorf("%d peers in the swarm, want 2", in.Length)
		}
	case <-deadline(t).Done():
		t.Fatal("no count")
	}
}

func TestReadRefusesWhatTheFileHasNot(t *testing.T) {
	f := newFilm(t, 100_000)
	h := open(t, newPlace(t, f).config())
	for _, r := range [][3]int64{{0, -1, 5}, {0, 5, 5}, {0, 99_999, 100_001}, {1, 0, 1}, {0, 0, 1 << 40}} {
		if _, err := h.ReadRange(deadline(t), uint32(r[0]), r[1], r[2]); !errors.Is(err, ErrRange) {
			t.Errorf("%v: %v", r, err)
		}
	}
}

func TestCancelledReadReturnsAndTheHostGoesOn(t *testing.T) {
	f := newFilm(t, 1<<20)
	asked := make(chan struct{}, 100)
	release := make(chan struct{})
	f.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	}
	h := open(t, newPlace(t, f).config())
	ctx, cancel := context.WithCancel(deadline(t))
	go func() { <-asked; cancel() }()
	if _, err := h.ReadRange(ctx, 0, 0, 1000); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(release)
	if err := watch(deadline(t), h, f, 0); err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsReadsAndLeavesNoGoroutine(t *testing.T) {
	f := newFilm(t, 3<<20)
	p := newPlace(t, f)
	ctx := deadline(t)
	warm := open(t, p.config()) // what libraries start once is started
	if err := watch(ctx, warm, f, 0); err != nil {
		t.Fatal(err)
	}
	cfg := p.config()
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	b, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	await(t, ctx, up, "a peer")
	if err := watch(ctx, b, f, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadRange(ctx, 0, 0, 10); !errors.Is(err, ErrClosed) {
		t.Error("read after close:", err)
	}
	b.Moved(Playback{})
	b.SetPolicy(Policy{Peers: true})
	if s := b.Stats(); s.Pieces == 0 {
		t.Errorf("stats after close: %+v", s)
	}
	if err := warm.Close(); err != nil {
		t.Fatal(err)
	}
	if left := ours(); left != "" {
		t.Error("still running:\n", left)
	}
}

// ours are the stacks of goroutines that this package or the libraries of its peers still run.
func ours() string {
	var left []string
	for range 100 { // those that have done their work may still be returning
		left = left[:0]
		buf := make([]byte, 1<<20)
		for s := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(s, "testing.") || strings.Contains(s, "httptest") || strings.Contains(s, "meeting") {
				continue
			}
			if strings.Contains(s, "host/native.") || strings.Contains(s, "pion") {
				left = append(left, s)
			}
		}
		if len(left) == 0 {
			return ""
		}
		runtime.Gosched()
	}
	return strings.Join(left, "\n\n")
}
