package tracker

import (
	"context"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

// Get implements vod.Titles.
func (c catalogue) Get(ctx context.Context, id vod.TitleID) (vod.Title, error) {
	for _, h := range []bt.InfoHash{openHash, otherHash, closedHash} {
		if t, err := c.BySwarm(ctx, h); err == nil && t.ID == id {
			t.Version.InfoHashV1 = h
			return t, nil
		}
	}
	return vod.Title{}, vod.ErrNotFound
}

// offAt is told that it may have no peers.
func offAt(t *testing.T, c *client, what string) {
	t.Helper()
	if m := c.receive(); m.Reply == nil || m.Reply.Viewer == nil || !m.Reply.Viewer.PeersOff || m.Reply.Viewer.Still != 0 {
		t.Errorf("%s is told %+v", what, m.Reply)
	}
}

func TestTitleIsSwitchedOffAtOnceAndOthersGoOn(t *testing.T) {
	tr, url := serve(t, Config{LAN: true})
	a, b, member, torrent := dial(t, url, 1), dial(t, url, 2), dial(t, url, 3), dial(t, url, 4)
	a.reply(ours(session("s1")))
	b.reply(ours(session("s2")))
	member.reply(inside(membersTicket("s3", "bob", "d3")))
	torrent.reply(theirs(0, 0))
	tr.SetOff([]vod.TitleID{"film"}, nil)
	offAt(t, a, "a viewer")
	offAt(t, b, "another")
	member.quiet()
	torrent.quiet()
	late := dial(t, url, 10)
	if r := late.reply(ours(session("l1"))); !r.Viewer.PeersOff || len(r.Viewer.Meet) != 0 {
		t.Errorf("a newcomer is told %+v", r)
	}
	if r := dial(t, url, 11).reply(inside(membersTicket("s4", "eve", "d4"))); r.Viewer.PeersOff || len(r.Viewer.Meet) != 1 {
		t.Errorf("a viewer of another title is told %+v", r)
	}
	tr.SetOff(nil, nil)
	if r := late.reply(ours(session("l1"))); r.Viewer.PeersOff {
		t.Errorf("after the switch: %+v", r)
	}
}

func TestNetworkIsSwitchedOffAtOnce(t *testing.T) {
	for name, list := range map[string][]string{
		"prefix": {"127.0.0.0/24"},
		"system": {"AS64500"},
	} {
		t.Run(name, func(t *testing.T) {
			tr, url := serve(t, Config{LAN: true, Places: everywhere{Network: 64500}})
			c := dial(t, url, 1)
			c.reply(ours(session("s1")))
			elsewhere := vod.OperatorPolicy{NetworksOff: []string{"192.0.2.0/24", "AS64501"}}
			tr.SetOff(nil, elsewhere.Off())
			c.quiet()
			here := vod.OperatorPolicy{NetworksOff: list}
			tr.SetOff(nil, here.Off())
			offAt(t, c, "a viewer there")
			if r := dial(t, url, 2).reply(ours(session("s2"))); !r.Viewer.PeersOff {
				t.Errorf("a newcomer is told %+v", r)
			}
			if n := tr.Swarms()[openHash]; n != 0 {
				t.Errorf("%d are in the swarm", n)
			}
		})
	}
}
