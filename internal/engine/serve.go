package engine

import (
	"essaim/internal/bt/wire"
	"essaim/internal/engine/choker"
)

// slotsMax is how many peers are served at once; fewer when an uplink limit would leave each less than slotRate.
const (
	slotsMax = 8
	slotRate = 32 << 10 // bytes per second
)

// slots is the number of peers to serve.
func (e *Engine) slots() int {
	if !e.uploads {
		return 0
	}
	if rate := e.uplink.Limit(); rate > 0 {
		return int(max(1, min(slotsMax, rate/slotRate)))
	}
	return slotsMax
}

// rechoke deals the upload slots anew when somebody's interest changed, and once a round.
func (e *Engine) rechoke() {
	if e.now < e.chokedAt || len(e.peers) == 0 {
		return
	}
	e.chokedAt = e.now + choker.Round
	var candidates [peersMax]choker.Peer
	var serve [peersMax]bool
	n := len(e.peers)
	for i, p := range e.peers {
		candidates[i] = choker.Peer{Interested: p.ready && p.peerInterest, Unchoked: !p.amChoking, Since: int64(p.chokeChanged)}
	}
	choker.Choose(int64(e.now), candidates[:n], e.slots(), serve[:n])
	for i, p := range e.peers[:n] {
		switch {
		case serve[i] && p.amChoking:
			p.amChoking, p.chokeChanged = false, e.now
			e.sendUnchoke(p)
		case !serve[i] && !p.amChoking && (p.peerInterest || !e.uploads):
			p.amChoking, p.chokeChanged = true, e.now
			e.sendChoke(p)
			e.rejectWishes(p)
		}
	}
}

// wished records a peer's request, or refuses it (BEP 3, BEP 6).
func (e *Engine) wished(p *peer, w wire.Request) {
	bad := !e.stock.valid(w.Piece) || w.Length == 0 || w.Length > 128<<10 || uint64(w.Begin)+uint64(w.Length) > uint64(e.title.PieceLength)
	if bad {
		e.drop(p, ReasonProtocol)
		return
	}
	if p.amChoking || e.stock.Lacks(w.Piece) || len(p.wishes) >= servedQueueMax {
		p.rejects++
		if p.rejects > rejectsFlood {
			e.drop(p, ReasonFlood)
			return
		}
		e.sendReject(p, w)
		return
	}
	for _, old := range p.wishes {
		if old == w {
			return
		}
	}
	p.wishes = append(p.wishes, w)
}

// unwished forgets a request that the peer took back.
func (e *Engine) unwished(p *peer, w wire.Request) {
	for i := range p.wishes {
		if p.wishes[i] == w {
			p.wishes = append(p.wishes[:i], p.wishes[i+1:]...)
			e.sendReject(p, w) // BEP 6: every request has exactly one answer
			return
		}
	}
}

func (e *Engine) rejectWishes(p *peer) {
	for _, w := range p.wishes {
		e.sendReject(p, w)
	}
	p.wishes = p.wishes[:0]
}

// drained forgets what went out in earlier Steps to peers whose queue the host found no reason to report.
func (e *Engine) drained() {
	for _, p := range e.peers {
		if p.reported <= sendQueueLow {
			p.queued = 0
		}
	}
}

// serve hands out one block per peer and turn while there is something to send, room in the host's queues and budget.
// When the budget ends, the turn stays where it is, so that a short one is shared as evenly as a long one.
func (e *Engine) serve() {
	for idle := 0; idle < len(e.peers); e.turn++ {
		if e.turn >= len(e.peers) {
			e.turn = 0
		}
		p := e.peers[e.turn]
		if len(p.wishes) == 0 || p.queued >= sendQueueMax/4 {
			idle++
			continue
		}
		w := p.wishes[0]
		if e.stock.Lacks(w.Piece) {
			p.wishes = append(p.wishes[:0], p.wishes[1:]...)
			e.sendReject(p, w)
			idle = 0
			continue
		}
		if !e.uplink.Take(int64(e.now), int64(w.Length)) {
			return
		}
		p.wishes = append(p.wishes[:0], p.wishes[1:]...)
		p.queued += w.Length + 13 // until the next Step, or until the host reports
		p.told = e.now
		p.sent.Add(int64(e.now), int64(w.Length))
		e.emit(Output{Kind: SendBlock, Peer: p.ref, Piece: w.Piece, Begin: w.Begin, Length: w.Length})
		e.note(NoteSent, Output{Peer: p.ref, Piece: w.Piece, Begin: w.Begin, Length: w.Length})
		idle = 0
	}
}

// serveAt is when the uplink's budget allows the next block, if something waits for it.
func (e *Engine) serveAt() (Instant, bool) {
	for i := range e.peers { // in the order of turns: the first that waits holds up the others
		p := e.peers[(e.turn+i)%len(e.peers)]
		if len(p.wishes) > 0 && p.queued < sendQueueMax/4 {
			return Instant(e.uplink.ReadyAt(int64(e.now), int64(p.wishes[0].Length))), true
		}
	}
	return 0, false
}
