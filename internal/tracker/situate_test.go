package tracker

import (
	"net/netip"
	"reflect"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/vod"
)

func TestPairThatCouldNotConnectIsNotProposedAgain(t *testing.T) {
	_, url := serve(t, Config{})
	one, two := dial(t, url, 1), dial(t, url, 2)
	viewer := func(want int, fates ...announce.Outcome) announce.Request {
		return announce.Request{InfoHash: openHash, Left: 1, NumWant: want, Viewer: &announce.Viewer{Outcomes: fates}}
	}
	one.reply(viewer(0))
	if r := two.reply(viewer(5)); len(r.Viewer.Meet) != 1 || r.Viewer.Meet[0].PeerID != one.id {
		t.Fatalf("told to meet %+v", r.Viewer.Meet)
	}
	anew := viewer(5, announce.Outcome{PeerID: one.id, Fate: announce.FateICE})
	anew.Event = announce.EventStarted
	if r := two.reply(anew); len(r.Viewer.Meet) != 0 {
		t.Errorf("told to meet %+v again", r.Viewer.Meet)
	}
	if r := one.reply(viewer(5)); len(r.Viewer.Meet) != 0 {
		t.Errorf("the other is told to meet %+v", r.Viewer.Meet)
	}
}

// everywhere says of every address that it is at the same place.
type everywhere swarm.Place

func (e everywhere) Place(netip.Addr) swarm.Place { return swarm.Place(e) }

// TestAddressesSayNothingWhereViewersAreTogetherOnPurpose: nor where they are not the viewers' own.
func TestAddressesSayNothingWhereViewersAreTogetherOnPurpose(t *testing.T) {
	here := swarm.Place{Prefix: 1, Network: 2, Country: 3}
	far, near := addressOf("192.0.2.7:1"), addressOf("127.0.0.1:1")
	for name, x := range map[string]struct {
		cfg       Config
		from      address
		rehearsal vod.RehearsalLabel
		member    string
		want      swarm.Announce
	}{
		"a member":           {cfg: Config{Places: everywhere(here)}, from: far, member: "ada", want: swarm.Announce{Place: here, Account: "ada", Payer: "member ada"}},
		"a stranger":         {cfg: Config{Places: everywhere(here)}, from: far, want: swarm.Announce{Place: here, Payer: "192.0.2.7/32"}},
		"behind a proxy":     {from: far, want: swarm.Announce{}},
		"a member behind it": {from: far, member: "ada", want: swarm.Announce{Account: "ada", Payer: "member ada"}},
		"this machine":       {cfg: Config{Places: everywhere(here)}, from: near, want: swarm.Announce{}},
		"a LAN":              {cfg: Config{Places: everywhere(here), LAN: true}, from: far, member: "ada", want: swarm.Announce{}},
		"a rehearsal":        {cfg: Config{Places: everywhere(here)}, from: far, rehearsal: "evening", member: "ada", want: swarm.Announce{}},
	} {
		x.cfg.Titles, x.cfg.Tickets = catalogue{}, tickets{}
		s := &socket{tracker: New(x.cfg), from: x.from, rehearsal: x.rehearsal}
		var got swarm.Announce
		s.situate(&got, &announce.Request{}, &vod.Ticket{Member: x.member})
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %+v, want %+v", name, got, x.want)
		}
	}
}

func TestEveryFateHasItsMeaning(t *testing.T) {
	seen := map[swarm.Fate]bool{}
	for f := announce.FateConnected; f <= announce.FateBudget; f++ {
		s := &socket{tracker: New(Config{Titles: catalogue{}, Tickets: tickets{}})}
		var got swarm.Announce
		s.situate(&got, &announce.Request{Viewer: &announce.Viewer{Outcomes: []announce.Outcome{{PeerID: bt.PeerID{1}, Fate: f}}}}, &vod.Ticket{})
		if len(got.Outcomes) != 1 || seen[got.Outcomes[0].Result] || (got.Outcomes[0].Result == swarm.Connected) != (f == announce.FateConnected) {
			t.Errorf("%v becomes %+v", f, got.Outcomes)
		}
		seen[got.Outcomes[0].Result] = true
	}
}
