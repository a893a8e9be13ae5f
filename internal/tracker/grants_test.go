package tracker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// membersTicket is a swarm ticket of a member's play session of the film for members.
func membersTicket(session, member, device string) string {
	return "swarm/members/v1/" + session + "//" + member + "/" + device
}

// inside is an announce for the film for members.
func inside(ticket string) announce.Request {
	r := ours(ticket)
	r.InfoHash = closedHash
	return r
}

func TestMembersMeetInTheSwarmOfAMembersTitle(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	a, b := dial(t, url, 1), dial(t, url, 2)
	a.reply(inside(membersTicket("s1", "ada", "d1")))
	if r := b.reply(inside(membersTicket("s2", "bob", "d2"))); r.Incomplete != 2 || len(r.Viewer.Meet) != 1 || r.Viewer.Meet[0].PeerID != a.id {
		t.Fatalf("the second member is told %+v", r)
	}
	offer := directed(announce.KindOffer, a.id, offerID(1))
	offer.InfoHash = closedHash
	b.send(offer)
	if m := a.receive(); m.Relayed == nil || m.Relayed.InfoHash != closedHash || m.Relayed.From != b.id {
		t.Errorf("the offer arrives as %+v", m)
	}
	// Somebody without a ticket, who knows every name there is to know, gets nothing through.
	stranger := dial(t, url, 3)
	stranger.reply(ours(""))
	for _, kind := range []announce.Kind{announce.KindOffer, announce.KindAnswer} {
		r := directed(kind, b.id, offerID(1))
		r.InfoHash, r.PeerID = closedHash, a.id
		stranger.send(r)
	}
	stranger.quiet()
	b.quiet()
}

func TestTicketIsOnePeersOnly(t *testing.T) {
	_, url := serve(t, Config{LAN: true})
	owner := dial(t, url, 1)
	owner.reply(ours(session("s1")))
	other := dial(t, url, 9)
	other.reply(ours("swarm/film/v1/o//bob/d9"))

	replay := dial(t, url, 2)
	replay.send(ours(session("s1")))
	replay.failure(reasonReplay)
	replay.closed(StatusTicket)

	// Nor does a connection change its member, or its device.
	for n, ticket := range []string{"swarm/film/v1/p//eve/d9", "swarm/film/v1/p//bob/d8"} {
		changed := dial(t, url, 20+n)
		changed.reply(ours(fmt.Sprintf("swarm/film/v1/c%d//bob/d9", n)))
		changed.send(ours(ticket))
		changed.failure(reasonMember)
		changed.closed(StatusTicket)
	}
	// The owner goes on, and under a renewed session of its own too; then the former ticket is free, for its own peers only.
	owner.reply(ours(session("s1")))
	owner.reply(ours(session("s2")))
	back := dial(t, url, 1)
	back.send(ours(session("s1")))
	back.failure("peer_id is taken")
	owner.quiet()
}

// A ticket is its first shower's, and after a restart nobody has shown any. Who stole one keeps its owner out until it expires.
func TestStolenTicketKeepsItsOwnerOutNoLongerThanItLasts(t *testing.T) {
	clock := &moving{}
	tr, url := serve(t, Config{LAN: true, Clock: clock.now})
	thief, owner := dial(t, url, 2), dial(t, url, 1)
	thief.reply(ours(goodTicket))
	owner.send(ours(goodTicket))
	owner.failure(reasonReplay)
	owner.closed(StatusTicket)
	clock.over.Store(true)
	tr.sweep()
	thief.failure(reasonExpired)
	thief.closed(StatusTicket)
	dial(t, url, 1).reply(ours(goodTicket)) // the session's next, as far as the tracker can tell
}

func TestViewerWhoSharesAgainHasAnotherPeerID(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	for n := range grantPeersMax {
		c := dial(t, url, n)
		c.reply(ours(goodTicket))
		_ = c.conn.Close(websocket.StatusNormalClosure, "")
		waitOpen(tr, 0)
	}
	c := dial(t, url, 99)
	c.send(ours(goodTicket))
	c.failure(reasonReplay)
	c.closed(StatusTicket)
}

func TestMembersConnectionsAreBounded(t *testing.T) {
	tr, url := serve(t, Config{SocketsPerMember: 2})
	ticket := func(n int) string { return membersTicket(fmt.Sprint("s", n), "ada", fmt.Sprint("d", n)) }
	first := dial(t, url, 1)
	first.reply(inside(ticket(1)))
	// The same connection may watch a second film; that is none more.
	first.reply(ours("swarm/film/v1/x//ada/d1"))
	dial(t, url, 2).reply(inside(ticket(2)))
	third := dial(t, url, 3)
	third.send(inside(ticket(3)))
	third.failure(reasonSockets)
	third.closed(StatusTicket)
	dial(t, url, 4).reply(inside(membersTicket("s4", "bob", "d4")))
	_ = first.conn.Close(websocket.StatusNormalClosure, "")
	waitOpen(tr, 2)
	dial(t, url, 5).reply(inside(ticket(5)))
}

func TestRevocationClosesTheSocketsAndTellsWhoeverMayBeConnected(t *testing.T) {
	for name, list := range map[string][]vod.Revocation{
		"of a device":       {{Device: "d1"}},
		"of a play session": {{PlaySession: "s1"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr, url := serve(t, Config{LAN: true})
			gone, friend, elsewhere := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3)
			gone.reply(inside(membersTicket("s1", "ada", "d1")))
			friend.reply(inside(membersTicket("s2", "bob", "d2")))
			elsewhere.reply(ours(session("s3")))
			tr.Revoke(list)
			gone.failure(reasonRevoked)
			gone.closed(StatusRevoked)
			m := friend.receive()
			if m.Reply == nil || m.Reply.InfoHash != closedHash || m.Reply.Viewer == nil ||
				!slices.Equal(m.Reply.Viewer.Revoked, []bt.PeerID{gone.id}) || m.Reply.Incomplete != 1 {
				t.Errorf("its neighbour is told %+v", m.Reply)
			}
			friend.quiet()
			elsewhere.quiet()
			// The ticket opens nothing any more, though its own time is not over.
			again := dial(t, url, 1)
			again.send(inside(membersTicket("s1", "ada", "d1")))
			again.failure(reasonRevoked)
			again.closed(StatusRevoked)
		})
	}
}

func TestRevocationReachesThoseWhomAViewerMetBeforeItLeft(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	gone, friend := dial(t, url, 1), dial(t, url, 2)
	gone.reply(inside(membersTicket("s1", "ada", "d1")))
	friend.reply(inside(membersTicket("s2", "bob", "d2")))
	_ = gone.conn.Close(websocket.StatusNormalClosure, "") // its channels stand
	waitOpen(tr, 1)
	tr.Revoke([]vod.Revocation{{Device: "d1"}})
	if m := friend.receive(); m.Reply == nil || !slices.Equal(m.Reply.Viewer.Revoked, []bt.PeerID{gone.id}) {
		t.Errorf("its neighbour is told %+v", m.Reply)
	}
}

// After a restart the tracker knows nobody's peer ID. Those to whom others say that they are connected have five minutes to come back
// with a ticket; who does not, and had its own revoked meanwhile, is dropped.
func TestWhoDoesNotComeBackAfterARestartIsDropped(t *testing.T) {
	clock := &moving{}
	tr, url := serve(t, Config{LAN: true, Clock: clock.now})
	tr.Revoke([]vod.Revocation{{Device: "d9"}}) // as at every start
	friend, honest := dial(t, url, 1), dial(t, url, 2)
	evil, elsewhere := peerID(9), peerID(8)
	connected := func(r announce.Request, to ...bt.PeerID) announce.Request {
		for _, id := range to {
			r.Viewer.Outcomes = append(r.Viewer.Outcomes, announce.Outcome{PeerID: id, Fate: announce.FateConnected})
		}
		return r
	}
	friend.reply(connected(inside(membersTicket("s1", "ada", "d1")), honest.id, evil))
	clock.advance(time.Minute)
	honest.reply(connected(inside(membersTicket("s2", "bob", "d2")), friend.id))
	// Of an open title anybody may be in the swarm, and of another than the tracker's.
	open := dial(t, url, 3)
	open.reply(connected(ours(session("s3")), elsewhere))

	clock.advance(2 * time.Minute)
	for _, c := range []*client{friend, honest} { // they renew
		r := renewal()
		r.InfoHash = closedHash
		c.send(r)
		if m := c.receive(); m.Reply == nil {
			t.Fatalf("a renewal is answered %+v", m.Failure)
		}
	}
	clock.advance(hearsayLife - 3*time.Minute - 1)
	tr.sweep()
	scrape := announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{closedHash}}
	friend.send(scrape)
	if m := friend.receive(); m.Scrape == nil {
		t.Fatalf("before its time is told %+v", m.Reply)
	}
	clock.advance(time.Minute)
	tr.sweep()
	if m := friend.receive(); m.Reply == nil || m.Reply.Viewer == nil || !slices.Equal(m.Reply.Viewer.Revoked, []bt.PeerID{evil}) {
		t.Errorf("is told %+v", m.Reply)
	}
	for _, c := range []*client{friend, honest, open} { // once, and nobody else
		tr.sweep()
		c.send(scrape)
		if m := c.receive(); m.Scrape == nil {
			t.Errorf("is told %+v", m.Reply)
		}
	}
}

func TestOneViewerNamesABoundedNumberOfPeers(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	c := dial(t, url, 1)
	for n := range 3 {
		r := inside(membersTicket("s1", "ada", "d1"))
		for i := range announce.OutcomesMax {
			r.Viewer.Outcomes = append(r.Viewer.Outcomes, announce.Outcome{PeerID: peerID(100 + n*1000 + i)})
		}
		c.reply(r)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if heard := tr.grants.bySession["s1"].heard; len(heard) != hearsayMax || heard[0].peer != peerID(2100) {
		t.Errorf("%d are remembered, from %v on", len(heard), heard[0].peer)
	}
}

func TestNobodyHasAnotherDroppedByItsOwnRevocation(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	victim, friend, evil := dial(t, url, 1), dial(t, url, 2), dial(t, url, 1)
	victim.reply(inside(membersTicket("s1", "ada", "d1")))
	friend.reply(inside(membersTicket("s2", "bob", "d2")))
	evil.send(inside(membersTicket("s3", "eve", "d3"))) // with the victim's peer ID
	evil.failure("peer_id is taken")
	tr.Revoke([]vod.Revocation{{Device: "d3"}})
	victim.reply(inside(membersTicket("s1", "ada", "d1")))
	friend.send(announce.Request{Kind: announce.KindScrape, InfoHashes: []bt.InfoHash{closedHash}})
	if m := friend.receive(); m.Scrape == nil || m.Scrape.Files[0].Incomplete != 2 {
		t.Errorf("got %+v %+v", m.Reply, m.Scrape)
	}
}

func TestExpiredTicketEndsItsPlaceAndRelaysNothing(t *testing.T) {
	var late atomic.Bool
	clock := func() time.Time {
		if late.Load() {
			return ticketEnd
		}
		return still()
	}
	tr, url := serve(t, Config{LAN: true, Clock: clock})
	a, b, c := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3)
	a.reply(inside(membersTicket("s1", "ada", "d1")))
	b.reply(inside(membersTicket("s2", "bob", "d2")))
	c.reply(ours(""))
	late.Store(true)
	offer := directed(announce.KindOffer, a.id, offerID(1))
	offer.InfoHash = closedHash
	b.send(offer)
	b.failure(reasonExpired)
	b.closed(StatusTicket)
	tr.sweep()
	a.failure(reasonExpired)
	a.closed(StatusTicket)
	c.quiet()
	if n := tr.Swarms()[closedHash]; n != 0 {
		t.Errorf("%d are in the swarm yet", n)
	}
}

func TestOperatorsSwitchIsToldAtOnce(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	a, b, torrent := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3)
	a.reply(ours(session("s1")))
	b.reply(inside(membersTicket("s2", "bob", "d2")))
	torrent.reply(theirs(0, 0))
	tr.SetPeers(false)
	for c, hash := range map[*client]bt.InfoHash{a: openHash, b: closedHash} {
		if m := c.receive(); m.Reply == nil || m.Reply.InfoHash != hash || m.Reply.Viewer == nil || !m.Reply.Viewer.PeersOff {
			t.Errorf("a viewer is told %+v", m.Reply)
		}
	}
	torrent.quiet()
	// Who comes meanwhile is told the same, and meets nobody.
	for n := range 2 {
		late := dial(t, url, 10+n)
		if r := late.reply(ours(session(fmt.Sprint("l", n)))); !r.Viewer.PeersOff || len(r.Viewer.Meet) != 0 || r.Incomplete != 0 {
			t.Errorf("a newcomer is told %+v", r)
		}
	}
	tr.SetPeers(true)
	c := dial(t, url, 20)
	c.reply(ours(session("n1")))
	if r := a.reply(ours(session("s1"))); r.Viewer.PeersOff || len(r.Viewer.Meet) != 1 {
		t.Errorf("after the switch: %+v", r)
	}
}

func TestStrangersHaveAQuarterOfAnAddress(t *testing.T) {
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, SocketsPerAddress: 8, Clock: still})
	enter := func() *socket {
		r := httptest.NewRequest(http.MethodGet, "/tracker", nil)
		r.RemoteAddr = "8.8.8.8:1"
		s, status := tr.enter(r)
		if status != 0 {
			t.Fatalf("status %d", status)
		}
		return s
	}
	say := func(s *socket, n int, ticket string) bool {
		r := ours(ticket)
		r.InfoHash, r.PeerID = openHash, peerID(n)
		s.handle(announce.AppendRequest(nil, &r))
		return !s.closed
	}
	var all []*socket
	for n := range 3 {
		s := enter()
		all = append(all, s)
		if ok := say(s, n, ""); ok != (n < 2) {
			t.Errorf("stranger %d is let in: %v", n, ok)
		}
	}
	if !say(enter(), 9, goodTicket) {
		t.Error("a ticket holder is refused where strangers are too many")
	}
	tr.exit(all[0])
	if !say(enter(), 10, "") {
		t.Error("the place of a stranger who left is not given again")
	}
}

func TestArrivalsAndNetworksAreBounded(t *testing.T) {
	var mu sync.Mutex
	now := still()
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, SocketsPerAddress: 1, Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	enter := func(remote string) (*socket, int) {
		r := httptest.NewRequest(http.MethodGet, "/tracker", nil)
		r.RemoteAddr = remote
		return tr.enter(r)
	}
	for n := range 2 {
		s, status := enter("8.8.8.8:1")
		if status != 0 {
			t.Fatalf("arrival %d: %d", n, status)
		}
		tr.exit(s)
	}
	if _, status := enter("8.8.8.8:1"); status != http.StatusTooManyRequests {
		t.Errorf("a third arrival at once: %d", status)
	}
	mu.Lock()
	now = now.Add(arrivalEvery)
	mu.Unlock()
	if _, status := enter("8.8.8.8:1"); status != 0 {
		t.Errorf("a second later: %d", status)
	}
	for n := range networkShare + 1 {
		want := 0
		if n == networkShare {
			want = http.StatusTooManyRequests
		}
		if _, status := enter(fmt.Sprintf("9.9.9.%d:1", n)); status != want {
			t.Errorf("address %d of a /24: %d, want %d", n, status, want)
		}
		if _, status := enter(fmt.Sprintf("[2606:4700:7:%x::1]:1", n)); status != want {
			t.Errorf("network %d of a /48: %d, want %d", n, status, want)
		}
	}
}

func TestWhoLeftIsForgottenInTime(t *testing.T) {
	var at atomic.Int64
	tr, url := serve(t, Config{LAN: true, Clock: func() time.Time { return still().Add(time.Duration(at.Load())) }})
	for n := range 3 {
		c := dial(t, url, n)
		c.reply(ours(session(fmt.Sprint(n))))
		_ = c.conn.Close(websocket.StatusNormalClosure, "")
		waitOpen(tr, 0)
		at.Add(int64(grantMemory / 3))
	}
	tr.sweep()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if n := len(tr.grants.bySession); n != 2 || len(tr.grants.leavers) != 2 {
		t.Errorf("%d are remembered, in a queue of %d, want 2", n, len(tr.grants.leavers))
	}
}
