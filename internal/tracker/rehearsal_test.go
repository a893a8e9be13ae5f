package tracker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// rehearsing is a swarm ticket of a rehearsal's session of the open film.
func rehearsing(session, label string) string { return "swarm/film/v1/" + session + "/" + label }

// introduced are the peers that a reply says to meet.
func introduced(r *announce.Reply) (ids []bt.PeerID) {
	for _, m := range r.Viewer.Meet {
		ids = append(ids, m.PeerID)
	}
	return ids
}

func TestRehearsalsMeetTheirOwnAndNobodyElse(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	viewer, stranger := dial(t, url, 1), dial(t, url, 2)
	one, two, other := dial(t, url, 11), dial(t, url, 12), dial(t, url, 21)
	for _, c := range []struct {
		name     string
		who      *client
		ticket   string
		meets    []bt.PeerID
		counting int
	}{
		{"a viewer alone", viewer, goodTicket, nil, 1},
		{"the first of a rehearsal", one, rehearsing("r1", "one"), nil, 1},
		{"another rehearsal", other, rehearsing("r3", "two"), nil, 2},
		{"a second viewer", stranger, "", []bt.PeerID{viewer.id}, 2},
		{"the second of a rehearsal", two, rehearsing("r2", "one"), []bt.PeerID{one.id}, 3},
		{"the viewer again", viewer, goodTicket, nil, 2},
		{"the other rehearsal again", other, rehearsing("r3", "two"), nil, 3},
	} {
		r := c.who.reply(ours(c.ticket))
		if got := introduced(&r); len(got) != len(c.meets) || len(got) > 0 && got[0] != c.meets[0] || r.Incomplete != c.counting {
			t.Errorf("%s: meets %v of %d, want %v of %d", c.name, got, r.Incomplete, c.meets, c.counting)
		}
	}
	// Nor does anyone reach the other side by naming it, or by an offer for whom it may concern.
	viewer.send(directed(announce.KindOffer, one.id, offerID(1)))
	other.send(directed(announce.KindOffer, one.id, offerID(2)))
	one.send(directed(announce.KindOffer, viewer.id, offerID(3)))
	torrent := dial(t, url, 3)
	torrent.reply(theirs(100, 5))
	viewer.relayed()
	stranger.relayed()
	for _, c := range []*client{viewer, stranger, one, two, other, torrent} {
		c.quiet()
	}
	two.send(directed(announce.KindOffer, one.id, offerID(4)))
	if got := one.relayed(); got.From != two.id || got.OfferID != offerID(4) {
		t.Errorf("an offer within the rehearsal arrives as %+v", got)
	}
	if n := tr.Swarms()[openHash]; n != 3 {
		t.Errorf("the operator is told of %d peers, want the 3 who are no rehearsal's", n)
	}
}

func TestConnectionKeepsToItsRehearsal(t *testing.T) {
	const pass = "?rehearsal=rehearsal////one"
	for name, c := range map[string]struct {
		query       string
		first, then string
	}{
		"a viewer becomes a rehearsal's":    {"", goodTicket, rehearsing("r", "one")},
		"a stranger becomes a rehearsal's":  {"", "", rehearsing("r", "one")},
		"a rehearsal's becomes a viewer":    {"", rehearsing("r", "one"), goodTicket},
		"a rehearsal's loses its ticket":    {"", rehearsing("r", "one"), ""},
		"a rehearsal's joins another":       {"", rehearsing("r", "one"), rehearsing("r", "two")},
		"a pass is used for another":        {pass, "", rehearsing("r", "two")},
		"a pass is used by a viewer":        {pass, "", goodTicket},
		"a passed one becomes a viewer":     {pass, rehearsing("r", "one"), goodTicket},
		"a passed one announces ticketless": {pass, rehearsing("r", "one"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, url := serve(t, Config{LAN: true})
			viewer, other := dial(t, url, 1), dial(t, url, 2)
			viewer.reply(ours(session("v")))
			other.reply(ours(rehearsing("x", "two")))
			a := dial(t, url+c.query, 3)
			if c.query == "" || c.first != "" {
				a.reply(ours(c.first))
			}
			a.send(ours(c.then))
			a.failure("another rehearsal's")
			a.closed(StatusTicket)
		})
	}
}

func TestMembersTitleHasASwarmOfItsOwnForEachRehearsal(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	members := func(ticket string) announce.Request {
		r := ours(ticket)
		r.InfoHash = closedHash
		return r
	}
	one, two, other := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3)
	one.reply(members("swarm/members/v1/a/one"))
	other.reply(members("swarm/members/v1/b/two"))
	if r := two.reply(members("swarm/members/v1/c/one")); len(r.Viewer.Meet) != 1 || r.Viewer.Meet[0].PeerID != one.id {
		t.Errorf("the second of the rehearsal is told %+v", r.Viewer)
	}
	// To everyone else it is not there.
	for n, ticket := range []string{"", "swarm/film/v1/a/one", "swarm/members/v0/a/one", "media/members/v1/a/one"} {
		a := dial(t, url, 10+n)
		a.send(members(ticket))
		a.failure(map[bool]string{true: "unknown swarm", false: reasonTicket}[ticket == ""])
	}
	foreign := dial(t, url, 20, "Origin", "https://evil.example")
	foreign.send(members("swarm/members/v1/a/one"))
	foreign.failure("origin")
	member := dial(t, url, 21)
	if r := member.reply(members("swarm/members/v1/s")); len(r.Viewer.Meet) != 0 || r.Incomplete != 1 {
		t.Errorf("a member is told %+v of a rehearsal", r)
	}
	if n := tr.Swarms(); len(n) != 1 || n[closedHash] != 1 {
		t.Errorf("swarms %v", n)
	}
	// Without a ticket there is no place any more.
	one.send(members(""))
	one.failure("unknown swarm")
	two.reply(func() announce.Request { r := members("swarm/members/v1/c/one"); r.NumWant = 5; return r }())
	two.send(func() announce.Request {
		r := directed(announce.KindOffer, one.id, offerID(1))
		r.InfoHash = closedHash
		return r
	}())
	two.quiet()
	one.quiet()
}

func TestRehearsalsPassGoesBesideTheAddressesLimit(t *testing.T) {
	tr := New(Config{Titles: catalogue{}, Tickets: tickets{}, SocketsPerAddress: 2})
	enter := func(query string) (*socket, int) {
		r := httptest.NewRequest(http.MethodGet, "/tracker"+query, nil)
		r.RemoteAddr = "8.8.8.8:1"
		return tr.enter(r)
	}
	const pass = "?rehearsal=rehearsal////one"
	for i := range vod.RehearsalsMax - 1 {
		if _, status := enter(pass); status != 0 {
			t.Fatalf("connection %d with a pass: %d", i, status)
		}
	}
	last, status := enter(pass)
	if status != 0 || last.rehearsal != "one" {
		t.Fatalf("the last: %d", status)
	}
	if _, status := enter(pass); status != http.StatusServiceUnavailable {
		t.Errorf("one more than may be: %d", status)
	}
	// They are not counted for the address, and what is no pass is no way around its limit.
	for _, c := range []struct {
		query string
		want  int
	}{
		{"", 0},
		{"?rehearsal=", 0},
		{"", http.StatusTooManyRequests},
		{"?rehearsal=x", http.StatusTooManyRequests},
		{"?rehearsal=" + goodTicket, http.StatusTooManyRequests},
		{"?rehearsal=" + rehearsing("r", "one"), http.StatusTooManyRequests},
		{"?rehearsal=rehearsal////", http.StatusTooManyRequests},
		{"?rehearsal=rehearsal////" + strings.Repeat("x", 65), http.StatusTooManyRequests},
	} {
		if _, status := enter(c.query); status != c.want {
			t.Errorf("%q: %d, want %d", c.query, status, c.want)
		}
	}
	tr.exit(last)
	if _, status := enter(pass); status != 0 {
		t.Errorf("the place of one who left is not given again: %d", status)
	}
}

func TestStoppedTrackerClosesRehearsalsToo(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	one := dial(t, url+"?rehearsal=rehearsal////one", 1)
	one.reply(ours(rehearsing("a", "one")))
	tr.SetStopped(true)
	one.closed(websocket.StatusServiceRestart)
	tr.SetStopped(false)
	two := dial(t, url, 2)
	if r := two.reply(ours(rehearsing("b", "one"))); r.Incomplete != 1 {
		t.Errorf("%d peers after a restart", r.Incomplete)
	}
}

func TestLocalAddressesReachARehearsalsOwnOnly(t *testing.T) {
	_, url := serve(t, Config{})
	hidden, err := sanitize(testSDP, false)
	if err != nil || hidden == testSDP {
		t.Fatalf("the SDP has no address to hide: %v", err)
	}
	for label, want := range map[string]string{"": hidden, "one": testSDP} {
		a, b := dial(t, url, 1), dial(t, url, 2)
		a.reply(ours(rehearsing("a", label)))
		b.reply(ours(rehearsing("b", label)))
		b.send(directed(announce.KindOffer, a.id, offerID(1)))
		if got := a.relayed(); got.SDP != want {
			t.Errorf("%q: relayed %q", label, got.SDP)
		}
		_, _ = a.conn.CloseNow(), b.conn.CloseNow()
	}
}
