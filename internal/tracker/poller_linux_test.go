package tracker

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// slowCatalogue answers for one swarm when it is let, and for all others at once.
type slowCatalogue struct {
	catalogue
	asked chan struct{}
	let   chan struct{}
}

func (c slowCatalogue) BySwarm(ctx context.Context, h bt.InfoHash) (vod.Title, error) {
	if h == otherHash {
		c.asked <- struct{}{}
		<-c.let
	}
	return c.catalogue.BySwarm(ctx, h)
}

func TestWhoWaitsForTheCatalogueKeepsNobodyWaiting(t *testing.T) {
	c := slowCatalogue{asked: make(chan struct{}), let: make(chan struct{})}
	tr, url := serve(t, Config{LAN: true})
	tr.titles.from = c
	a, b := dial(t, url, 1), dial(t, url, 2)
	r := ours("")
	r.InfoHash, r.PeerID = otherHash, a.id
	for range 2 { // the second comes while the first waits
		a.sendText(string(announce.AppendRequest(nil, &r)))
	}
	<-c.asked
	for range 3 {
		b.reply(ours(""))
	}
	close(c.let)
	for range 2 {
		if m := a.receive(); m.Reply == nil || m.Reply.InfoHash != otherHash {
			t.Fatalf("got %+v", m)
		}
	}
	b.reply(ours("")) // and it is read as before
	a.reply(ours(""))
}

func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	dial(t, url, 1).reply(ours(""))
	before := runtime.NumGoroutine()
	for range 40 {
		w := dialWire(t, url)
		text := announceText(w, 1000)
		if err := w.frame(0x81, len(text), text); err != nil {
			t.Fatal(err)
		}
		if _, err := w.r.Peek(10); err != nil {
			t.Fatal(err)
		}
	}
	// The server's own, of connections that were just taken over, may take a moment to end.
	for runtime.NumGoroutine() > before+5 {
		runtime.Gosched()
	}
}

// announceText is an announce of a peer of its own for each connection.
func announceText(w *wire, n int) string {
	r := ours("")
	r.InfoHash, r.PeerID = openHash, peerID(n)
	copy(r.PeerID[:], fmt.Sprintf("%12.12s", w.conn.LocalAddr().String()[len("127.0.0.1:"):]))
	return string(announce.AppendRequest(nil, &r))
}

func TestSlowReaderOverTCPIsDroppedAndWhoReadsOnGetsAll(t *testing.T) {
	tr, url := serve(t, Config{LAN: true, Clock: still, Unpaced: true})
	slow := dialWire(t, url)
	_ = slow.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	text := announceText(slow, 1)
	if err := slow.frame(0x81, len(text), text); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.r.Peek(1); err != nil {
		t.Fatal(err)
	}
	// A scrape's answer is long, and costs little to ask for.
	var r announce.Request
	r.Kind = announce.KindScrape
	for i := range announce.ScrapeMax {
		r.InfoHashes = append(r.InfoHashes, bt.InfoHash{byte(i), 0xFF})
	}
	ask := string(announce.AppendRequest(nil, &r))
	asked := 0
	for ; asked < 20_000; asked++ {
		if slow.frame(0x81, len(ask), ask) != nil {
			break // dropped
		}
	}
	if asked == 20_000 {
		t.Error("who reads nothing is served on and on")
	}
	waitOpen(tr, 0)

	// Who falls behind by what the kernel does not take, but reads in the end, misses nothing.
	late := dialWire(t, url)
	const times = 100
	for range times {
		if err := late.frame(0x81, len(ask), ask); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, late.r, times); n != times {
		t.Errorf("got %d answers of %d", n, times)
	}
	_ = late.conn.Close()
	waitOpen(tr, 0)
	if n := tr.queued.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// messages reads so many frames, and counts the answers to scrapes among them.
func messages(t *testing.T, r *bufio.Reader, times int) (n int) {
	t.Helper()
	for range times {
		head := make([]byte, 4)
		for i := range head {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatal(err)
			}
			head[i] = b
		}
		body := make([]byte, int(head[2])<<8|int(head[3]))
		for i := range body {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatal(err)
			}
			body[i] = b
		}
		if strings.HasPrefix(string(body), `{"action":"scrape"`) {
			n++
		}
	}
	return n
}

func TestTLSConnectionsAreReadInTurnsToo(t *testing.T) {
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, LAN: true, Unpaced: true})
	server := httptest.NewUnstartedServer(tr)
	server.Listener = Listen(server.Listener)
	server.StartTLS()
	defer server.Close()
	connect := func(n int) *client {
		conn, _, err := websocket.Dial(testContext(t), server.URL, &websocket.DialOptions{HTTPClient: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		return &client{t: t, conn: conn, id: peerID(n)}
	}
	a, b := connect(1), connect(2)
	a.reply(theirs(0, 0))
	tr.mu.Lock()
	for _, s := range tr.sockets {
		s.mu.Lock()
		if l, ok := s.carrier.(*line); !ok || l.secure == nil {
			t.Errorf("a TLS connection is carried by %T", s.carrier)
		}
		s.mu.Unlock()
	}
	tr.mu.Unlock()
	// Longer than a TLS record, and then more of them in a row than one turn reads.
	b.sendText(`{"pad":"` + strings.Repeat("x", announce.MessageMax-10) + `"}`)
	b.failure("invalid action")
	offers := theirs(1, 1)
	offers.InfoHash, offers.PeerID = openHash, b.id
	for range 3 * readsMax {
		b.sendText(string(announce.AppendRequest(nil, &offers)))
		offers.Offers[0].ID[0]++
	}
	for range 3 * readsMax {
		if m := b.receive(); m.Reply == nil {
			t.Fatalf("got %+v", m)
		}
		if m := a.receive(); m.Relayed == nil || m.Relayed.From != b.id {
			t.Fatalf("got %+v", m)
		}
	}
	plain := string(announce.AppendRequest(nil, &announce.Request{InfoHash: openHash, PeerID: b.id, Left: 1, NumWant: 0}))
	for range 2 * recordsMax {
		b.sendText(plain)
	}
	for range 2 * recordsMax {
		if m := b.receive(); m.Reply == nil {
			t.Fatalf("got %+v", m)
		}
	}
	_ = b.conn.CloseNow() // without a word
	waitOpen(tr, 1)
	var done sync.WaitGroup
	done.Go(func() { a.closed(websocket.StatusGoingAway) })
	if err := tr.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	done.Wait()
}
