package tracker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"

	"github.com/coder/websocket"
)

// still is a clock that stands: no bucket refills.
func still() time.Time { return time.Unix(1_700_000_000, 0) }

// wire is a WebSocket connection whose frames are written by hand.
type wire struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialWire(t *testing.T, url string) *wire {
	t.Helper()
	host := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn, r: bufio.NewReader(conn)}
	response, err := http.ReadResponse(w.r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v, %v", response, err)
	}
	return w
}

// frame writes a frame whose header says length bytes, masked with zeros, and some of its payload. The error of a
// connection that the tracker has closed already is the caller's to expect.
func (w *wire) frame(first byte, length int, payload string) error {
	header := []byte{first}
	switch {
	case length < 126:
		header = append(header, 0x80|byte(length))
	case length < 1<<16:
		header = binary.BigEndian.AppendUint16(append(header, 0x80|126), uint16(length))
	default:
		header = binary.BigEndian.AppendUint64(append(header, 0x80|127), uint64(length))
	}
	_, err := w.conn.Write(append(append(header, 0, 0, 0, 0), payload...))
	return err
}

// closed reads frames until the tracker's close frame and returns its code.
func (w *wire) closed() websocket.StatusCode {
	w.t.Helper()
	for {
		var header [2]byte
		if _, err := io.ReadFull(w.r, header[:]); err != nil {
			w.t.Fatalf("no close frame: %v", err)
		}
		length := int(header[1])
		if length == 126 {
			var long [2]byte
			_, _ = io.ReadFull(w.r, long[:])
			length = int(binary.BigEndian.Uint16(long[:]))
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(w.r, payload); err != nil {
			w.t.Fatal(err)
		}
		if header[0] == 0x88 {
			return websocket.StatusCode(binary.BigEndian.Uint16(payload))
		}
	}
}

func TestOversizeMessageCloses1009(t *testing.T) {
	t.Parallel() // takes a close time-out
	tr, url := serve(t, Config{})
	full := dial(t, url, 1)
	full.sendText(`{"pad":"` + strings.Repeat("x", announce.MessageMax-10) + `"}`)
	full.failure("invalid action")
	a := dial(t, url, 2)
	a.sendText(strings.Repeat(" ", announce.MessageMax+2))
	a.closed(websocket.StatusMessageTooBig)

	giant := dialWire(t, url)
	if err := giant.frame(0x81, 100<<20, strings.Repeat("x", announce.MessageMax+2)); err != nil {
		t.Fatal(err)
	}
	if code := giant.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("a frame of 100 MiB is closed with %d", code)
	}
	endless := dialWire(t, url)
	if err := endless.frame(0x01, 1<<10, strings.Repeat("x", 1<<10)); err != nil {
		t.Fatal(err)
	}
	for range announce.MessageMax >> 10 {
		if endless.frame(0x00, 1<<10, strings.Repeat("x", 1<<10)) != nil {
			break
		}
	}
	if code := endless.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("endless continuation is closed with %d", code)
	}
	_ = full.conn.CloseNow()
	// The two raw connections say nothing more and do not close: the tracker ends them by itself.
	waitOpen(tr, 0)
}

func TestBrokenFramesCloseTheConnection(t *testing.T) {
	_, url := serve(t, Config{Clock: still})
	for name, c := range map[string]struct {
		write func(*wire) error
		want  websocket.StatusCode
	}{
		"unmasked":          {func(w *wire) error { _, err := w.conn.Write([]byte{0x81, 0}); return err }, websocket.StatusProtocolError},
		"compressed":        {func(w *wire) error { return w.frame(0xC1, 0, "") }, websocket.StatusProtocolError},
		"unknown opcode":    {func(w *wire) error { return w.frame(0x83, 0, "") }, websocket.StatusProtocolError},
		"long ping":         {func(w *wire) error { return w.frame(0x89, 126, strings.Repeat("x", 126)) }, websocket.StatusProtocolError},
		"nothing continued": {func(w *wire) error { return w.frame(0x80, 0, "") }, websocket.StatusProtocolError},
		"binary":            {func(w *wire) error { return w.frame(0x82, 2, "{}") }, websocket.StatusUnsupportedData},
		"ping flood": {func(w *wire) error {
			for range 21 {
				if err := w.frame(0x89, 0, ""); err != nil {
					return err
				}
			}
			return nil
		}, websocket.StatusPolicyViolation},
		"message flood": {func(w *wire) error {
			for range 200 {
				if err := w.frame(0x81, 0, ""); err != nil {
					return err
				}
			}
			return nil
		}, websocket.StatusPolicyViolation},
	} {
		w := dialWire(t, url)
		if err := c.write(w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if code := w.closed(); code != c.want {
			t.Errorf("%s is closed with %d, want %d", name, code, c.want)
		}
		_ = w.conn.Close()
	}
}

func TestMalformedMessagesAreRefusedAndNeverRelayed(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	victim := dial(t, url, 1)
	victim.reply(theirs(0, 0))
	head := `{"action":"announce","info_hash":` + quoted(openHash[:]) + `,"peer_id":"aaaabbbbccccddddeeee"`
	offer := func(id, sdp string) string {
		return head + `,"offers":[{"offer_id":"` + id + `","offer":{"type":"offer","sdp":"` + sdp + `"}}]}`
	}
	sdp := strings.ReplaceAll(testSDP, "\r\n", `\r\n`)
	for name, text := range map[string]string{
		"19 runes":                 offer("aaaabbbbccccddddeee", sdp),
		"21 runes":                 offer("aaaabbbbccccddddeeeef", sdp),
		"a code point too high":    offer("aaaabbbbccccddddeee𝕊", sdp),
		"U+0100":                   offer(`aaaabbbbccccddddeee\u0100`, sdp),
		"a lone surrogate":         offer(`aaaabbbbccccddddeee\ud800`, sdp),
		"U+FFFD":                   offer("aaaabbbbccccddddeee\uFFFD", sdp),
		"broken UTF-8":             offer("aaaabbbbccccddddeee\xff", sdp),
		"injected line":            offer("aaaabbbbccccddddeeee", sdp+`\ra=candidate:1`),
		"two media":                offer("aaaabbbbccccddddeeee", sdp+`m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n`),
		"huge SDP":                 offer("aaaabbbbccccddddeeee", sdp+strings.Repeat(" ", announce.SDPMax)),
		"deep":                     head + `,"x":` + strings.Repeat("[", 10_000),
		"deep and whole":           head + `,"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}",
		"a number out of bounds":   head + `,"left":1e400}`,
		"a name twice":             head + `,"peer_id":"aaaabbbbccccddddeeef"}`,
		"no object":                `[]`,
		"nothing":                  ``,
		"another action":           `{"action":"observe","info_hash":` + quoted(openHash[:]) + `}`,
		"answer to an answer":      head + `,"to_peer_id":"short","offer_id":"aaaabbbbccccddddeeee","answer":{"type":"answer","sdp":"v=0"}}`,
		"full scrape":              `{"action":"scrape"}`,
		"scrape of too many":       `{"action":"scrape","info_hash":[` + strings.TrimSuffix(strings.Repeat(quoted(openHash[:])+",", 65), ",") + `]}`,
		"83 offers":                head + `,"offers":[` + strings.TrimSuffix(strings.Repeat(`{"offer_id":"aaaabbbbccccddddeeee","offer":{"type":"offer","sdp":"v=0"}},`, 83), ",") + `]}`,
		"an extension of nonsense": head + `,"essaim":{"v":1,"pos_ms":"far"}}`,
	} {
		evil := dial(t, url, 2)
		evil.sendText(text)
		if m := evil.receive(); m.Failure == nil {
			t.Errorf("%s: got %+v %+v, want a failure", name, m.Reply, m.Scrape)
		} else if m.Failure.HasInfoHash && m.Failure.InfoHash != openHash {
			t.Errorf("%s: the failure names %v", name, m.Failure.InfoHash)
		}
		_ = evil.conn.CloseNow()
	}
	victim.quiet()
}

func quoted(b []byte) string {
	m := announce.AppendFailure(nil, &announce.Failure{InfoHash: bt.InfoHash(b), HasInfoHash: true})
	_, rest, _ := strings.Cut(string(m), `"info_hash":`)
	text, _, _ := strings.Cut(rest, `,"failure reason"`)
	return text
}

func TestWhoIsRefusedTooOftenIsClosed(t *testing.T) {
	_, url := serve(t, Config{})
	a := dial(t, url, 1)
	for range faultsMax {
		a.sendText("?")
	}
	for range faultsMax {
		a.failure("invalid JSON")
	}
	a.closed(websocket.StatusPolicyViolation)
}

func TestTooManyAnnouncesCloseTheConnection(t *testing.T) {
	_, url := serve(t, Config{Clock: still})
	a := dial(t, url, 1)
	for range 32 {
		a.reply(ours(""))
	}
	a.send(ours(""))
	a.failure("too many announces")
	a.closed(websocket.StatusPolicyViolation)
}

func TestAtMostTenOffersOfAnAnnounceAreRelayed(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	var others []*client
	for n := range 12 {
		others = append(others, dial(t, url, n))
		others[n].reply(theirs(0, 0))
	}
	flood := dial(t, url, 99)
	flood.reply(theirs(0, 30))
	flood.quiet() // by now the offers are on their way
	// Whoever was given an offer finds it before the answer to its own scrape.
	got := 0
	for _, c := range others {
		c.send(announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{openHash}})
		for m := c.receive(); m.Scrape == nil; m = c.receive() {
			got++
		}
	}
	if got != 10 {
		t.Errorf("%d of 30 offers were relayed", got)
	}
	if n := tr.Swarms()[openHash]; n != 13 {
		t.Errorf("%d in the swarm", n)
	}
}

func TestScrapeCountsEachSwarmOnce(t *testing.T) {
	_, url := serve(t, Config{})
	a, b := dial(t, url, 1), dial(t, url, 2)
	seed := ours("")
	seed.Left, seed.Event = 0, announce.EventCompleted
	a.reply(seed)
	b.reply(ours(""))
	b.send(announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{openHash, openHash, closedHash}})
	m := b.receive()
	want := []announce.ScrapeFile{{InfoHash: openHash, Complete: 1, Incomplete: 1, Downloaded: 1}, {InfoHash: closedHash}}
	if m.Scrape == nil || len(m.Scrape.Files) != 2 || m.Scrape.Files[0] != want[0] || m.Scrape.Files[1] != want[1] || m.Scrape.MinInterval != 120 {
		t.Errorf("got %+v", m.Scrape)
	}
}

func TestSilentConnectionIsClosed(t *testing.T) {
	_, url := serve(t, Config{IdleTimeout: time.Millisecond})
	dial(t, url, 1).closed(websocket.StatusGoingAway)
}

func TestShutdownClosesAllAndRefusesForGood(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	a, b := meet(t, url)
	var done sync.WaitGroup
	for _, c := range []*client{a, b} {
		done.Go(func() { c.closed(websocket.StatusGoingAway) })
	}
	if err := tr.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	done.Wait()
	_, response, err := websocket.Dial(testContext(t), url, nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after shutdown it answers %v", err)
	}
}

func TestShutdownClosesAFewAtATimeAndServesTheOthersMeanwhile(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	turn, onward := make(chan struct{}), make(chan struct{})
	tr.pause = func(context.Context, time.Duration) bool {
		turn <- struct{}{}
		<-onward
		return true
	}
	const all = 2*drainShare + 5
	clients := make([]*client, all)
	for i := range clients {
		clients[i] = dial(t, url, i)
		clients[i].reply(ours(""))
	}
	ended := make(chan error, 1)
	go func() { ended <- tr.Shutdown(testContext(t)) }()
	for left := all - drainShare; left > 0; left -= drainShare {
		<-turn
		tr.mu.Lock()
		still := make(map[bt.PeerID]bool)
		tr.set.EachPeer(tr.instant(), openHash, func(id bt.PeerID, _ swarm.Kind, _ swarm.Socket) { still[id] = true })
		tr.mu.Unlock()
		if len(still) != left {
			t.Fatalf("%d are in the swarm, want %d", len(still), left)
		}
		for _, c := range clients {
			if still[c.id] {
				if r := c.reply(ours("")); r.Incomplete != left {
					t.Errorf("it counts %d, want %d", r.Incomplete, left)
				}
				break
			}
		}
		if _, response, err := websocket.Dial(testContext(t), url, nil); err == nil || response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("meanwhile it answers %v", err)
		}
		onward <- struct{}{}
	}
	for _, c := range clients {
		c.closed(websocket.StatusGoingAway)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownEndsWhoDoesNotAgree(t *testing.T) {
	tr, url := serve(t, Config{})
	dialWire(t, url) // never reads
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tr.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConnectionsPerAddressAreBounded(t *testing.T) {
	enter := func(tr *Tracker, remote string) (*socket, int) {
		r := httptest.NewRequest(http.MethodGet, "/tracker", nil)
		r.RemoteAddr = remote
		return tr.enter(r)
	}
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, SocketsPerAddress: 2, SocketsMax: 7})
	first, _ := enter(tr, "8.8.8.8:1")
	for _, c := range []struct {
		remote string
		want   int
	}{
		{"8.8.8.8:2", 0},
		{"8.8.8.8:3", 429},
		{"[::ffff:8.8.8.8]:4", 429},
		{"8.8.4.4:1", 0},
		{"[2606:4700::1]:1", 0},
		{"[2606:4700::2]:1", 0},
		{"[2606:4700::3]:1", 429},
		{"[2606:4700:0:1::]:1", 0},
		{"127.0.0.1:1", 0},
		{"127.0.0.1:2", 503},
	} {
		if _, status := enter(tr, c.remote); status != c.want {
			t.Errorf("%s: %d, want %d", c.remote, status, c.want)
		}
	}
	tr.exit(first)
	if _, status := enter(tr, "8.8.8.8:5"); status != 0 {
		t.Errorf("the place of one who left is not given again: %d", status)
	}
}

// pipes is a listener whose connections buffer nothing: who does not read blocks the writer at once.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestSlowReaderIsDropped(t *testing.T) {
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, LAN: true, Clock: still})
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: tr, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(p) }()
	defer server.Close()
	connect := func(n int) *client {
		conn, _, err := websocket.Dial(testContext(t), "http://tracker.example/", &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: &http.Transport{DialContext: p.dial}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		return &client{t: t, conn: conn, id: peerID(n)}
	}
	slow, quick := connect(1), connect(2)
	slow.reply(theirs(0, 0))

	// Seeds do not meet: each offer goes to the slow one.
	big := strings.Replace(testSDP, "s=-\r\n", "s="+strings.Repeat("-", announce.SDPMax-len(testSDP))+"\r\n", 1)
	dropped := 0
	for n := 1; n <= 32 && dropped == 0; n++ {
		r := theirs(n, 1)
		r.Left, r.Offers[0].SDP = 0, big
		if quick.reply(r).Incomplete == 0 {
			dropped = n
		}
	}
	// Eight full offers are more than 64 KiB; the announce after the one that overflows tells.
	if dropped != 9 {
		t.Errorf("dropped by announce %d, want 9", dropped)
	}
	waitOpen(tr, 1)
	if _, _, err := slow.conn.Read(testContext(t)); err == nil {
		t.Error("the slow reader is still served")
	}
	_ = quick.conn.CloseNow()
	waitOpen(tr, 0)
	if n := tr.queued.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

func TestAddressIsConnectedWhileASocketIs(t *testing.T) {
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}})
	r := httptest.NewRequest(http.MethodGet, "/tracker", nil)
	r.RemoteAddr = "[::ffff:8.8.8.8]:1"
	s, status := tr.enter(r)
	if status != 0 {
		t.Fatal(status)
	}
	for ip, want := range map[string]bool{"8.8.8.8": true, "8.8.8.9": false, "::1": false} {
		if tr.Connected(netip.MustParseAddr(ip)) != want {
			t.Errorf("%s: %v", ip, !want)
		}
	}
	tr.exit(s)
	if tr.Connected(netip.MustParseAddr("8.8.8.8")) {
		t.Error("after it has gone")
	}
}
