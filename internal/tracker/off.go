package tracker

import (
	"context"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/vod"
)

// off is what the operator allows no peers for, while others may have them.
type off struct {
	titles   map[vod.TitleID]bool
	networks vod.Networks
}

// forbids says whether a viewer may have no peers in a swarm. It does not concern rehearsals, which are the operator's own, nor
// other clients of open titles, which have their own ways to meet: only that they are not introduced here to a title's viewers.
// Called with mu held.
func (t *Tracker) forbids(s *socket, h bt.InfoHash) bool {
	switch {
	case t.peersOff:
		return true
	case s.rehearsal != "":
		return false
	case len(t.off.titles) > 0 && t.off.titles[t.titles.named(h)]:
		return true
	}
	return len(t.off.networks) > 0 && t.off.networks.Has(s.from.prefix.Addr(), s.number())
}

// number is the autonomous system that the connection comes from, 0 for not known.
func (s *socket) number() uint32 {
	if places := s.tracker.cfg.Places; places != nil && s.from.prefix.IsValid() {
		return places.Place(s.from.prefix.Addr()).Network
	}
	return 0
}

// named is the title that a swarm was last known to be of; empty for none.
func (t *titles) named(h bt.InfoHash) vod.TitleID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[h].id
}

// offLookUp bounds how long the swarms of titles are looked for.
const offLookUp = 5 * time.Second

// SetOff implements vod.SwarmNews.
func (t *Tracker) SetOff(list []vod.TitleID, networks vod.Networks) {
	next := off{titles: make(map[vod.TitleID]bool, len(list)), networks: networks}
	swarms := map[bt.InfoHash]bool{}
	ctx, cancel := context.WithTimeout(context.Background(), offLookUp)
	defer cancel()
	for _, id := range list {
		next.titles[id] = true
		// Whose swarm is not found here hears of it with its next announce.
		if title, err := t.cfg.Titles.Get(ctx, id); err == nil {
			swarms[title.Version.InfoHashV1], swarms[title.Version.InfoHashV2.Truncated()] = true, true
		}
	}
	type place struct {
		swarm  bt.InfoHash
		socket *socket
	}
	var gone []place
	t.mu.Lock()
	t.off = next
	t.set.Each(t.instant(), func(h bt.InfoHash, _ swarm.Counts) {
		t.set.EachPeer(t.instant(), h, func(_ bt.PeerID, kind swarm.Kind, id swarm.Socket) {
			if s := t.sockets[id]; s != nil && kind == swarm.Viewer && (swarms[h] || t.forbids(s, h)) {
				gone = append(gone, place{h, s})
			}
		})
	})
	now := t.cfg.Clock()
	for _, p := range gone {
		t.set.LeaveSwarm(p.swarm, p.socket.id)
		if g := p.socket.granted(p.swarm); g != nil {
			t.release(g, p.socket, now)
		}
	}
	interval := t.viewerInterval()
	t.mu.Unlock()
	for _, p := range gone {
		p.socket.send(announce.AppendReply(nil, &announce.Reply{
			InfoHash: p.swarm, Interval: interval, Viewer: &announce.Introductions{PeersOff: true},
		}))
	}
}
