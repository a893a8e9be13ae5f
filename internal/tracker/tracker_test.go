package tracker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// patience ends a test that waits for what never comes.
const patience = 20 * time.Second

var (
	openHash   = bt.InfoHash{0x00, 0x7F, 0x80, 0xFF, '"', '\\', 1}
	otherHash  = bt.InfoHash{2}
	closedHash = bt.InfoHash{3}
	brokenHash = bt.InfoHash{4}
)

// catalogue holds two open titles and one for members.
type catalogue struct{ vod.Titles }

func (catalogue) BySwarm(_ context.Context, h bt.InfoHash) (vod.Title, error) {
	switch h {
	case openHash:
		return vod.Title{ID: "film", Open: true, Version: vod.Version{ID: "v1"}}, nil
	case otherHash:
		return vod.Title{ID: "other", Open: true, Version: vod.Version{ID: "v1"}}, nil
	case closedHash:
		return vod.Title{ID: "members", Version: vod.Version{ID: "v1"}}, nil
	case brokenHash:
		return vod.Title{}, vod.ErrUnavailable
	}
	return vod.Title{}, vod.ErrNotFound
}

// tickets reads "audience/title/version/play session", and for a rehearsal's "/label" behind it, for a member's "/" and
// "/member/device" behind that. Those of version "old" have expired, those of "gone" were revoked.
type tickets struct{}

func (tickets) Issue(vod.Ticket) (string, error) { return "", vod.ErrUnavailable }

// ticketEnd is when the tickets of all tests expire.
var ticketEnd = time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)

func (tickets) Check(a vod.Audience, token string) (vod.Ticket, error) {
	f := append(strings.Split(token, "/"), "", "", "")
	if len(f) < 7 || f[0] != string(a) {
		return vod.Ticket{}, vod.ErrUnauthorized
	}
	switch f[2] {
	case "old":
		return vod.Ticket{}, fmt.Errorf("%w: %w", vod.ErrUnauthorized, vod.ErrTicketExpired)
	case "gone":
		return vod.Ticket{}, fmt.Errorf("%w: %w", vod.ErrUnauthorized, vod.ErrTicketRevoked)
	}
	return vod.Ticket{
		Audience: a, Title: vod.TitleID(f[1]), Version: f[2], PlaySession: f[3], Rehearsal: vod.RehearsalLabel(f[4]),
		Member: f[5], Device: f[6], Expires: ticketEnd,
	}, nil
}

const goodTicket = "swarm/film/v1/s1"

// session is a swarm ticket of some play session of the open film.
func session(name string) string { return "swarm/film/v1/" + name }

// serve starts a tracker on a real socket and returns its address.
func serve(t *testing.T, cfg Config) (*Tracker, string) {
	t.Helper()
	cfg.Titles, cfg.Tickets = catalogue{}, tickets{}
	tr := New(cfg)
	server := httptest.NewServer(tr)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := tr.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		server.Close()
		if tr.open != 0 || tr.passed != 0 || len(tr.sockets) != 0 || len(tr.callers.addresses) != 0 || tr.queued.Load() != 0 {
			t.Errorf("left over: %d open, %d sockets, %d addresses, %d bytes", tr.open, len(tr.sockets), len(tr.callers.addresses), tr.queued.Load())
		}
		if held := len(tr.grants.byMember); held != 0 {
			t.Errorf("left over: grants of %d members", held)
		}
	})
	return tr, server.URL
}

// client is one WebSocket connection to the tracker.
type client struct {
	t    *testing.T
	conn *websocket.Conn
	id   bt.PeerID
}

func peerID(n int) (id bt.PeerID) {
	copy(id[:], "-TS0001-\xff\x80\x00")
	binary.BigEndian.PutUint32(id[16:], uint32(n))
	return id
}

func offerID(n int) (id announce.OfferID) {
	copy(id[:], "\xfe\x81\x01")
	binary.BigEndian.PutUint32(id[16:], uint32(n))
	return id
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, url string, n int, headers ...string) *client {
	t.Helper()
	opts := &websocket.DialOptions{HTTPHeader: http.Header{}, CompressionMode: websocket.CompressionContextTakeover}
	for i := 0; i < len(headers); i += 2 {
		opts.HTTPHeader.Set(headers[i], headers[i+1])
	}
	conn, response, err := websocket.Dial(testContext(t), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	if e := response.Header.Get("Sec-WebSocket-Extensions"); e != "" {
		t.Errorf("the tracker negotiated %q", e)
	}
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{t: t, conn: conn, id: peerID(n)}
}

func (c *client) sendText(text string) {
	c.t.Helper()
	if err := c.conn.Write(testContext(c.t), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) send(r announce.Request) {
	c.t.Helper()
	if r.InfoHash == (bt.InfoHash{}) {
		r.InfoHash = openHash
	}
	if r.PeerID == (bt.PeerID{}) {
		r.PeerID = c.id
	}
	c.sendText(string(announce.AppendRequest(nil, &r)))
}

// receive returns the next message. Every one but a scrape and a refusal of the unreadable must name its swarm.
func (c *client) receive() announce.Message {
	c.t.Helper()
	_, data, err := c.conn.Read(testContext(c.t))
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := announce.ParseMessage(data)
	if err != nil {
		c.t.Fatalf("%s: %v", data, err)
	}
	return m
}

// reply announces and returns the tracker's reply, which must come next.
func (c *client) reply(r announce.Request) announce.Reply {
	c.t.Helper()
	c.send(r)
	m := c.receive()
	if m.Reply == nil {
		c.t.Fatalf("got %+v %+v %+v, want a reply", m.Relayed, m.Scrape, m.Failure)
	}
	return *m.Reply
}

func (c *client) relayed() announce.Relayed {
	c.t.Helper()
	m := c.receive()
	if m.Relayed == nil {
		c.t.Fatalf("got %+v %+v, want a relayed message", m.Reply, m.Failure)
	}
	if m.Relayed.InfoHash != openHash {
		c.t.Errorf("relayed for swarm %v", m.Relayed.InfoHash)
	}
	return *m.Relayed
}

func (c *client) failure(want string) {
	c.t.Helper()
	m := c.receive()
	if m.Failure == nil || !strings.Contains(m.Failure.Reason, want) {
		c.t.Fatalf("got %+v %+v, want a failure with %q", m.Failure, m.Reply, want)
	}
}

// closed reads on until the tracker has closed the connection, and checks with which code.
func (c *client) closed(want websocket.StatusCode) {
	c.t.Helper()
	for {
		_, _, err := c.conn.Read(testContext(c.t))
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != want {
			c.t.Fatalf("closed with %d (%v), want %d", got, err, want)
		}
		return
	}
}

// quiet checks that nothing waits for the client: the next message is the reply to a scrape that it makes now.
func (c *client) quiet() {
	c.t.Helper()
	c.send(announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{openHash}})
	if m := c.receive(); m.Scrape == nil {
		c.t.Fatalf("got %+v %+v %+v, want nothing", m.Reply, m.Relayed, m.Failure)
	}
}

// ours is an announce of one of our own viewers.
func ours(ticket string) announce.Request {
	return announce.Request{Left: 1, NumWant: announce.Unknown, Viewer: &announce.Viewer{Ticket: ticket}}
}

// theirs is an announce of a WebTorrent client with some offers.
func theirs(first, offers int) announce.Request {
	r := announce.Request{Left: announce.Unknown, NumWant: 5, Event: announce.EventStarted}
	for i := range offers {
		r.Offers = append(r.Offers, announce.Offer{ID: offerID(first + i), SDP: testSDP})
	}
	return r
}

func directed(kind announce.Kind, to bt.PeerID, id announce.OfferID) announce.Request {
	return announce.Request{Kind: kind, To: to, OfferID: id, SDP: testSDP}
}

// meet makes b be told to make an offer to a, and a to expect it.
func meet(t *testing.T, url string) (a, b *client) {
	t.Helper()
	a, b = dial(t, url, 1), dial(t, url, 2)
	a.reply(ours(""))
	if r := b.reply(ours("")); r.Viewer == nil || len(r.Viewer.Meet) != 1 || r.Viewer.Meet[0] != (announce.Meet{PeerID: a.id, Offer: true}) {
		t.Fatalf("the second viewer is told %+v", r.Viewer)
	}
	return a, b
}

func TestTwoViewersMeetByOneOfferAndOneAnswer(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	a, b := dial(t, url, 1), dial(t, url, 2)
	r := a.reply(ours(goodTicket))
	if r.InfoHash != openHash || r.Interval != 120 || r.Incomplete != 1 || r.Viewer == nil || len(r.Viewer.Meet) != 0 {
		t.Errorf("the first viewer is told %+v", r)
	}
	r = b.reply(ours(session("s2")))
	if r.Incomplete != 2 || len(r.Viewer.Meet) != 1 || r.Viewer.Meet[0] != (announce.Meet{PeerID: a.id, Offer: true}) {
		t.Fatalf("the second viewer is told %+v", r)
	}
	b.send(directed(announce.KindOffer, a.id, offerID(1)))
	if got := a.relayed(); got.From != b.id || got.OfferID != offerID(1) || got.Answer || got.SDP != testSDP {
		t.Errorf("offer arrives as %+v", got)
	}
	a.send(directed(announce.KindAnswer, b.id, offerID(1)))
	if got := b.relayed(); got.From != a.id || got.OfferID != offerID(1) || !got.Answer || got.SDP != testSDP {
		t.Errorf("answer arrives as %+v", got)
	}
	if r := a.reply(ours(goodTicket)); len(r.Viewer.Meet) != 0 {
		t.Errorf("neighbours are introduced again: %+v", r.Viewer)
	}
}

func TestViewerIsToldOfAsManyPeersAsItAsksFor(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	for i := range 4 {
		r := ours(session(fmt.Sprint(i)))
		r.NumWant = 0
		if got := dial(t, url, 1+i).reply(r); len(got.Viewer.Meet) != 0 {
			t.Errorf("who asks for nobody is told %+v", got.Viewer)
		}
	}
	last := dial(t, url, 5)
	for _, c := range []struct{ want, met int }{{0, 0}, {3, 3}, {3, 1}} { // of four others, none twice
		r := ours(goodTicket)
		r.NumWant = c.want
		if got := last.reply(r); len(got.Viewer.Meet) != c.met {
			t.Errorf("who asks for %d is told %+v, want %d", c.want, got.Viewer, c.met)
		}
	}
}

func TestWebTorrentOffersAreRelayedOneToEach(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	seed, viewer, third := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3)
	first := theirs(0, 0)
	first.Left = 0
	if r := seed.reply(first); r.Interval < 108 || r.Interval > 132 || r.Viewer != nil || r.Complete != 1 {
		t.Errorf("the seed is told %+v", r)
	}
	viewer.reply(ours(""))
	if r := third.reply(theirs(100, 5)); r.Complete != 1 || r.Incomplete != 2 {
		t.Errorf("counts %+v", r)
	}
	// Five offers, two others, one of them a viewer of ours: each is given one.
	one, two := seed.relayed(), viewer.relayed()
	if one.From != third.id || two.From != third.id || one.OfferID == two.OfferID {
		t.Errorf("relayed %+v and %+v", one, two)
	}
	seed.send(directed(announce.KindAnswer, third.id, one.OfferID))
	if got := third.relayed(); got.From != seed.id || got.OfferID != one.OfferID || !got.Answer {
		t.Errorf("answer arrives as %+v", got)
	}
	viewer.send(directed(announce.KindAnswer, third.id, two.OfferID))
	if got := third.relayed(); got.From != viewer.id || got.OfferID != two.OfferID {
		t.Errorf("answer arrives as %+v", got)
	}
	seed.quiet()
	third.quiet()
}

func TestThirdPartyCannotAnswerNorAnybodyTwice(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	a, b := meet(t, url)
	c := dial(t, url, 3)
	late := ours("")
	late.NumWant = 0
	c.reply(late)
	b.send(directed(announce.KindOffer, a.id, offerID(1)))
	a.relayed()
	c.send(directed(announce.KindAnswer, b.id, offerID(1)))
	spoofed := directed(announce.KindAnswer, b.id, offerID(1))
	spoofed.PeerID = a.id
	c.send(spoofed)
	c.quiet()
	b.quiet()
	a.send(directed(announce.KindAnswer, b.id, offerID(2)))
	a.send(directed(announce.KindAnswer, b.id, offerID(1)))
	if got := b.relayed(); got.From != a.id || got.OfferID != offerID(1) {
		t.Errorf("answer arrives as %+v", got)
	}
	a.send(directed(announce.KindAnswer, b.id, offerID(1)))
	a.quiet()
	b.quiet()
}

func TestOfferGoesOnlyWhereTheTrackerSaid(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	a, b := meet(t, url)
	a.send(directed(announce.KindOffer, b.id, offerID(1)))
	a.quiet()
	b.quiet()
	for range 3 {
		b.send(directed(announce.KindOffer, a.id, offerID(2)))
	}
	b.quiet()
	a.relayed()
	a.quiet()
}

func TestSecondSocketCannotTakeAPeerID(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	a, b := meet(t, url)
	b.send(directed(announce.KindOffer, a.id, offerID(1)))
	a.relayed()
	thief := dial(t, url, 2) // b's own
	thief.send(ours(""))
	thief.failure("peer_id is taken")
	stop := ours("")
	stop.Event = announce.EventStopped
	thief.reply(stop)
	a.send(directed(announce.KindAnswer, b.id, offerID(1)))
	if got := b.relayed(); got.From != a.id {
		t.Errorf("the victim gets %+v", got)
	}
	thief.quiet()
}

func TestViewerComesBackOnAnotherSocketWithItsTicket(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	dead, other := dial(t, url, 1), dial(t, url, 2)
	dead.reply(ours(goodTicket))
	other.reply(ours("swarm/film/v1/s2"))
	thief := dial(t, url, 1)
	thief.send(ours(session("s3")))
	thief.failure("peer_id is taken")
	back := dial(t, url, 1)
	if r := back.reply(ours(goodTicket)); r.Incomplete != 2 || len(r.Viewer.Meet) != 1 {
		t.Fatalf("who comes back is told %+v", r)
	}
	back.send(directed(announce.KindOffer, other.id, offerID(1)))
	if got := other.relayed(); got.From != back.id {
		t.Errorf("offer arrives as %+v", got)
	}
	dead.send(directed(announce.KindAnswer, other.id, offerID(1)))
	dead.quiet()
	other.quiet()
}

func TestPeerLeavesItsSwarmsWithItsSocket(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	a, b := meet(t, url)
	if n := tr.Swarms()[openHash]; n != 2 {
		t.Errorf("%d in the swarm, want 2", n)
	}
	_ = a.conn.Close(websocket.StatusNormalClosure, "")
	waitOpen(tr, 1)
	if r := b.reply(ours("")); r.Incomplete != 1 {
		t.Errorf("after one has gone: %+v", r)
	}
	stop := ours("")
	stop.Event = announce.EventStopped
	if r := b.reply(stop); r.Incomplete != 0 {
		t.Errorf("after stopping: %+v", r)
	}
	if len(tr.Swarms()) != 0 {
		t.Errorf("swarms %v", tr.Swarms())
	}
}

// waitOpen returns when at most n connections have not ended.
func waitOpen(tr *Tracker, n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for tr.open > n {
		tr.ended.Wait()
	}
}

func TestWithoutATicketOnlySwarmsOfOpenTitlesExist(t *testing.T) {
	tr, url := serve(t, Config{})
	member := dial(t, url, 2)
	inside := ours("swarm/members/v1/s")
	inside.InfoHash = closedHash
	member.reply(inside)
	a := dial(t, url, 1)
	for hash, want := range map[bt.InfoHash]string{closedHash: "unknown swarm", {9}: "unknown swarm", brokenHash: "try again"} {
		r := ours("")
		r.InfoHash = hash
		a.send(r)
		m := a.receive()
		if m.Failure == nil || !strings.Contains(m.Failure.Reason, want) || m.Failure.InfoHash != hash {
			t.Errorf("%v: %+v", hash, m.Failure)
		}
	}
	a.send(announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{closedHash}})
	if m := a.receive(); m.Scrape == nil || m.Scrape.Files[0] != (announce.ScrapeFile{InfoHash: closedHash}) {
		t.Errorf("a stranger is told of %+v", m.Scrape)
	}
	member.send(announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{closedHash}})
	if m := member.receive(); m.Scrape == nil || m.Scrape.Files[0].Incomplete != 1 {
		t.Errorf("a member is told of %+v", m.Scrape)
	}
	if n := tr.Swarms(); len(n) != 1 || n[closedHash] != 1 {
		t.Errorf("swarms %v", n)
	}
}

func TestBadTicketClosesTheConnectionWithItsReason(t *testing.T) {
	tr, url := serve(t, Config{})
	n := 0
	for _, hash := range []bt.InfoHash{openHash, closedHash, {9}} {
		for ticket, c := range map[string]struct {
			reason string
			code   websocket.StatusCode
		}{
			"nonsense":            {reasonTicket, StatusTicket},
			"media/film/v1/s":     {reasonTicket, StatusTicket}, // another audience
			"operator/film/v1/s":  {reasonTicket, StatusTicket},
			"swarm/other/v1/s":    {reasonTicket, StatusTicket}, // another title
			"swarm/film/v2/s":     {reasonTicket, StatusTicket}, // another version
			"swarm/members/v2/s":  {reasonTicket, StatusTicket},
			"swarm/film/old/s":    {reasonExpired, StatusTicket},
			"swarm/members/old/s": {reasonExpired, StatusTicket},
			"swarm/film/gone/s":   {reasonRevoked, StatusRevoked},
			"swarm//v1/s":         {reasonTicket, StatusTicket},
		} {
			n++
			a := dial(t, url, n)
			a.reply(ours(session(fmt.Sprint("own", n)))) // even one that was let in
			r := ours(ticket)
			r.InfoHash = hash
			a.send(r)
			a.failure(c.reason)
			a.closed(c.code)
		}
	}
	waitOpen(tr, 0)
	if len(tr.Swarms()) != 0 {
		t.Errorf("swarms %v", tr.Swarms())
	}
}

func TestTicketIsHonouredFromOurOwnPagesOnly(t *testing.T) {
	_, url := serve(t, Config{Hosts: []string{"films.example"}})
	host := strings.TrimPrefix(url, "http://")
	n := 0
	for origin, ok := range map[string]bool{
		"http://" + host: true, "https://" + host: true, "https://films.example": true, "https://FILMS.example": true,
		"https://evil.example": false, "null": false, "https://films.example.evil.example": false, "https://films.example:8443": false, "http://": false,
	} {
		n++
		a := dial(t, url, n, "Origin", origin)
		a.reply(ours("")) // without a ticket any page may join an open title
		a.send(ours(session(fmt.Sprint(n))))
		if ok {
			if m := a.receive(); m.Reply == nil {
				t.Errorf("origin %s: %+v", origin, m.Failure)
			}
		} else {
			a.failure("origin")
			a.closed(websocket.StatusPolicyViolation)
		}
		_ = a.conn.Close(websocket.StatusNormalClosure, "")
	}
}

func TestStoppedTrackerClosesAllAndRefusesUntilOpened(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	a, b := meet(t, url)
	tr.SetStopped(true)
	if len(tr.Swarms()) != 0 || !tr.Stopped() {
		t.Errorf("stopped %v, swarms %v", tr.Stopped(), tr.Swarms())
	}
	a.closed(websocket.StatusServiceRestart)
	b.closed(websocket.StatusServiceRestart)
	_, response, err := websocket.Dial(testContext(t), url, nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("a stopped tracker answers %v", err)
	}
	tr.SetStopped(false)
	meet(t, url)
}
