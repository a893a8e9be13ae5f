package tracker

import (
	"context"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// moving is a clock that tests move.
type moving struct {
	since atomic.Int64
	over  atomic.Bool // all tickets have expired
}

func (m *moving) now() time.Time {
	if m.over.Load() {
		return ticketEnd
	}
	return still().Add(time.Duration(m.since.Load()))
}

func (m *moving) advance(d time.Duration) { m.since.Add(int64(d)) }

// renewal says that a viewer of the open film is still there.
func renewal() announce.Request { return announce.Request{Kind: announce.KindStill} }

func TestRenewalOfWhatHasNotChangedIsAnsweredOnlyAfterAWhile(t *testing.T) {
	clock := &moving{}
	tr, url := serve(t, Config{LAN: true, Clock: clock.now})
	a := dial(t, url, 1)
	if r := a.reply(ours(goodTicket)); r.Viewer.Still != 100 || r.Interval != 120 {
		t.Errorf("a viewer is told %+v, interval %d", r.Viewer, r.Interval)
	}
	b := dial(t, url, 2)
	for range 3 {
		clock.advance(keepaliveEvery - time.Second)
		a.send(renewal())
		a.quiet()
		clock.advance(time.Second)
		b.reply(ours(session("s2"))) // the swarm grows
		a.send(renewal())
		if m := a.receive(); m.Reply == nil || m.Reply.Incomplete != 2 || m.Reply.Viewer == nil || m.Reply.Viewer.Cohort.ID == 0 ||
			m.Reply.Viewer.Still != 100 || len(m.Reply.Viewer.Meet) != 0 {
			t.Errorf("a renewal after a while is answered %+v", m.Reply)
		}
	}
	// And it keeps the place for which it stands, beyond swarm.Lifetime since the last announce in full.
	for range 4 {
		clock.advance(120 * time.Second)
		a.send(renewal())
		a.receive()
	}
	if n := tr.Swarms()[openHash]; n != 1 {
		t.Errorf("%d are in the swarm, want the one who renewed", n)
	}
}

func TestRenewalMovesThePlayHeadWithTheClock(t *testing.T) {
	clock := &moving{}
	_, url := serve(t, Config{LAN: true, Clock: clock.now})
	a := dial(t, url, 1)
	first := a.reply(ours(goodTicket)).Viewer.Cohort
	clock.advance(100 * time.Second)
	a.send(renewal())
	a.receive()
	b := ours(session("s2"))
	b.Viewer.PositionMs = 100_000
	if c := dial(t, url, 2).reply(b).Viewer.Cohort; c.ID != first.ID || c.Place != 1 {
		t.Errorf("who plays what the other must have come to is in %+v, want in step with %+v", c, first)
	}
}

func TestRenewalOpensNothingThatAnAnnounceWouldNot(t *testing.T) {
	clock := &moving{}
	var open atomic.Bool
	open.Store(true)
	tr, url := serve(t, Config{LAN: true, Clock: clock.now})
	tr.titles.from = closing{open: &open}

	stranger := dial(t, url, 1)
	stranger.send(renewal()) // who never announced
	stranger.failure("no such peer")
	inside := renewal()
	inside.InfoHash = closedHash
	stranger.send(inside)
	stranger.failure(reasonUnknown)
	broken := renewal()
	broken.InfoHash = brokenHash
	stranger.send(broken)
	stranger.failure(reasonLookUp)

	owner, guest := dial(t, url, 2), dial(t, url, 3)
	owner.reply(ours(goodTicket))
	guest.reply(ours(""))
	stolen := renewal() // for a peer of another connection
	stolen.PeerID = owner.id
	stranger.send(stolen)
	stranger.failure("no such peer")

	open.Store(false)
	clock.advance(titleFresh + time.Second)
	guest.send(renewal())
	guest.failure(reasonUnknown)
	owner.send(renewal())
	owner.quiet()
	if n := tr.Swarms()[openHash]; n != 1 {
		t.Errorf("%d are in the swarm of the film that is for members now, want who has a ticket", n)
	}
	clock.over.Store(true)
	owner.send(renewal())
	owner.failure(reasonExpired)
	owner.closed(StatusTicket)
}

// closing is a catalogue whose open film is for members once open says no.
type closing struct {
	catalogue
	open *atomic.Bool
}

func (c closing) BySwarm(ctx context.Context, h bt.InfoHash) (vod.Title, error) {
	title, err := c.catalogue.BySwarm(ctx, h)
	title.Open = title.Open && c.open.Load()
	return title, err
}

func TestRenewalForAVersionThatIsPublishedNoMoreEndsTheConnection(t *testing.T) {
	clock := &moving{}
	var next atomic.Bool
	tr, url := serve(t, Config{LAN: true, Clock: clock.now})
	tr.titles.from = another{next: &next}
	a := dial(t, url, 1)
	a.reply(ours(goodTicket))
	next.Store(true)
	clock.advance(titleFresh + time.Second)
	a.send(renewal())
	a.failure(reasonTicket)
	a.closed(StatusTicket)
}

// another is a catalogue with another version of everything, once next says so.
type another struct {
	catalogue
	next *atomic.Bool
}

func (a another) BySwarm(ctx context.Context, h bt.InfoHash) (vod.Title, error) {
	title, err := a.catalogue.BySwarm(ctx, h)
	if a.next.Load() {
		title.Version.ID += "+"
	}
	return title, err
}

// A viewer hears from the tracker though it says nothing, by whatever its connection is carried; others are pinged.
func TestViewersAreToldHowTheSwarmStandsAndOthersArePinged(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"plain": (*httptest.Server).Start, "TLS, by a stream": (*httptest.Server).StartTLS,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, LAN: true})
			tr.keepalive = time.Millisecond
			server := httptest.NewUnstartedServer(tr)
			start(server)
			defer server.Close()
			defer func() { _ = tr.Shutdown(testContext(t)) }()
			pinged := make(chan struct{}, 1)
			connect := func(n int, ping chan<- struct{}) *client {
				conn, _, err := websocket.Dial(testContext(t), server.URL, &websocket.DialOptions{
					HTTPClient: server.Client(),
					OnPingReceived: func(context.Context, []byte) bool {
						select {
						case ping <- struct{}{}:
						default:
						}
						return true
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.CloseNow() })
				return &client{t: t, conn: conn, id: peerID(n)}
			}
			a := connect(1, make(chan struct{}))
			a.reply(ours(goodTicket))
			for range 2 {
				if m := a.receive(); m.Reply == nil || m.Reply.Incomplete < 1 || m.Reply.Viewer == nil {
					t.Fatalf("got %+v", m)
				}
			}
			b := connect(2, pinged)
			b.reply(theirs(0, 0))
			ctx := b.conn.CloseRead(testContext(t))
			select {
			case <-pinged:
			case <-ctx.Done():
				t.Error("who does not renew is not pinged")
			}
			_, _ = a.conn.CloseNow(), b.conn.CloseNow()
		})
	}
}
