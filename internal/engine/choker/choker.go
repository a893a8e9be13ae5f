// Package choker decides whom to serve. Viewers have paid, so there is no tit-for-tat: it must give every interested
// peer its turn, keep the number served at once within what the uplink carries, and change its mind seldom, because
// each change costs the other side its pipeline.
package choker

// Round is how long a choice stands before slots are dealt anew, in microseconds (BEP 3 uses ten seconds).
const Round = 10_000_000

// How many are served at once, and what each should get at least, in bytes per second.
const (
	slotsMin     = 2 // one slow receiver must not be all
	slotsMax     = 10
	slotsUnknown = 8
	slotRate     = 32 << 10
)

// Slots is how many peers to serve over an uplink of so many bytes per second; 0: it is not known.
func Slots(uplink int64) int {
	if uplink <= 0 {
		return slotsUnknown
	}
	return int(max(slotsMin, min(uplink/slotRate, slotsMax)))
}

// Peer is what the choker knows of a candidate.
type Peer struct {
	Interested bool
	Unchoked   bool  // as things stand
	Since      int64 // when it was last unchoked or choked, in microseconds
	Last       bool  // it gets what nobody else wants
}

// Choose marks in serve (as long as peers) who shall be unchoked, at most slots of them, in order of merit: those
// already served for less than a round, then those who have waited longest; those who come last after all others. Ties fall to the lower
// index.
func Choose(now int64, peers []Peer, slots int, serve []bool) {
	for i := range serve {
		serve[i] = false
	}
	for range slots {
		best := -1
		for i := range peers {
			if peers[i].Interested && !serve[i] && (best < 0 || before(now, &peers[i], &peers[best])) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		serve[best] = true
	}
}

func before(now int64, a, b *Peer) bool {
	ra, rb := rank(now, a), rank(now, b)
	if ra != rb {
		return ra < rb
	}
	return a.Since < b.Since
}

// rank: fresh slots are kept; then come those who wait; then those whose round is over.
func rank(now int64, p *Peer) int {
	switch {
	case p.Last:
		return 3
	case p.Unchoked && now-p.Since < Round:
		return 0
	case !p.Unchoked:
		return 1
	}
	return 2
}
