package tracker

import (
	"slices"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
)

const (
	// hearsayLife is how long somebody may be away from the tracker whom a viewer says that it is connected to: longer than the two
	// minutes that the most patient wait between two tries, and less than a ticket lives.
	hearsayLife = 5 * time.Minute
	// hearsayMax bounds of how many one viewer is believed at a time; beyond, the first is forgotten.
	hearsayMax = announce.OutcomesMax
)

// hearsay is a peer of a title that is not open, to whom a viewer says that it is connected, and of whom the tracker knows nothing:
// one of the two was here before a restart, or has left since they were introduced. If it is a viewer it comes back, with a ticket. If
// it does not, it may have lost its right to while nobody could tell whose it was, and who named it is told to drop it.
type hearsay struct {
	peer  bt.PeerID
	until time.Time
}

// hear notes those of an announce's outcomes that are hearsay. Called with mu held, after the announce.
func (t *Tracker) hear(s *socket, req *announce.Request) {
	g, now := s.granted(req.InfoHash), t.cfg.Clock()
	if g == nil {
		return
	}
	for _, o := range req.Viewer.Outcomes {
		known := slices.ContainsFunc(g.heard, func(h hearsay) bool { return h.peer == o.PeerID })
		if o.Fate != announce.FateConnected || known || s.set().Has(t.instant(), req.InfoHash, o.PeerID) {
			continue
		}
		if len(g.heard) == hearsayMax {
			g.heard = slices.Delete(g.heard, 0, 1)
		}
		g.heard = append(g.heard, hearsay{o.PeerID, now.Add(hearsayLife)})
	}
}

// absent are those whom the holder of a grant has named long enough ago, and who are not there. Called with mu held.
func (t *Tracker) absent(g *grant, now time.Time) (gone []bt.PeerID) {
	n := 0
	for n < len(g.heard) && !now.Before(g.heard[n].until) {
		if g.socket != nil && !g.socket.set().Has(t.instant(), g.swarm, g.heard[n].peer) {
			gone = append(gone, g.heard[n].peer)
		}
		n++
	}
	if g.heard = slices.Delete(g.heard, 0, n); len(g.heard) == 0 {
		g.heard = nil
	}
	return gone
}
