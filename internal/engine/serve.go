package engine

import (
	"essaim/internal/bt/wire"
	"essaim/internal/engine/choker"
	"essaim/internal/engine/ledger"
)

// Whom we serve, and in which order: the choker deals slots, the ledger's governor says how much may leave, and here the
// nearest deadline goes first. No household may notice, nobody starves, and nothing leaves that policy forbids.

// The order of service. Times are in microseconds, film time in milliseconds.
const (
	starvingAfter = 2_000_000 // who has waited for so long goes first, whatever others say of their deadlines
	aheadUnknown  = 10_000    // a wish whose deadline is not known counts as one at the end of a player's buffer
	lateMax       = 5_000     // what lies farther behind a play head is not late: the viewer has moved, or fills a cache
	measuredFor   = 3_000_000 // a peer's round trips count for so long, and for so long after it was sent something
)

// wish is one block that a peer asked of us, and the film time in milliseconds at which its piece is played.
type wish struct {
	wire.Request
	filmMs int64
}

// service is what we owe one peer.
type service struct {
	wishes  []wish  // by film time; those of the same as they came
	waiting Instant // since then it has wished for something and got nothing
	served  Instant // when a block last went to it
	left    int64   // of what was sent to it, bytes that have left the host's hands
	path    ledger.Path
	heeded  int // of the path's measurements, so many were the governor's
}

// serving is what all that peers asked of us comes to, so that a Step in which nothing of it changes need not look at each.
type serving struct {
	wishing   int     // peers that wish for something
	queueing  int     // peers whose queue the host last reported above SendQueueLow
	servedAt  Instant // when a block last went to anyone
	undrained bool    // what is in the host's hands changed since drained last looked
}

// without takes a peer that is gone out of the account.
func (s *serving) without(p *peer) {
	if len(p.wishes) > 0 {
		s.wishing--
	}
	if p.reported > SendQueueLow {
		s.queueing--
	}
}

// queueReported takes the host's word on what it still holds for the peer.
func (e *Engine) queueReported(p *peer, length uint32) {
	handed := p.sent.Total() - int64(length)
	if handed > p.handed || p.reported <= SendQueueLow {
		p.handed, p.handedAt = handed, e.now
	}
	if p.reported > SendQueueLow {
		e.queueing--
	}
	if length > SendQueueLow {
		e.queueing++
	}
	p.queued, p.reported = length, length
	e.undrained = true
}

// unwish takes one of a peer's wishes away.
func (e *Engine) unwish(p *peer, i int) {
	p.wishes = append(p.wishes[:i], p.wishes[i+1:]...)
	if len(p.wishes) == 0 {
		e.wishing--
	}
}

// slots is the number of peers to serve.
func (e *Engine) slots() int {
	if !e.uploads {
		return 0
	}
	return choker.Slots(e.uplink.Uplink())
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
		candidates[i] = choker.Peer{Interested: p.ready && p.peerInterest, Unchoked: !p.amChoking, Since: int64(p.chokeChanged), Last: p.unhelpful()}
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
	bad := !e.stock.valid(w.Piece) || w.Length == 0 || w.Length > max(requestMax, e.unit) || uint64(w.Begin)+uint64(w.Length) > uint64(e.title.PieceLength)
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
	for i := range p.wishes {
		if p.wishes[i].Request == w {
			return
		}
	}
	if len(p.wishes) == 0 {
		p.waiting = e.now
		e.wishing++
	}
	p.wishes = append(p.wishes, wish{w, e.picker.FilmMs(uint32(e.stock.fileOf[w.Piece]), w.Piece)})
	for i := len(p.wishes) - 1; i > 0 && p.wishes[i-1].filmMs > p.wishes[i].filmMs; i-- {
		p.wishes[i-1], p.wishes[i] = p.wishes[i], p.wishes[i-1]
	}
}

// unwished forgets a request that the peer took back.
func (e *Engine) unwished(p *peer, w wire.Request) {
	for i := range p.wishes {
		if p.wishes[i].Request == w {
			e.unwish(p, i)
			e.sendReject(p, w) // BEP 6: every request has exactly one answer
			return
		}
	}
}

// unsent refuses a request for which the host had nothing to send: every request has exactly one answer (BEP 6).
func (e *Engine) unsent(in *Input) {
	if p := e.peer(in.Peer); p != nil {
		e.sendReject(p, wire.Request{Piece: in.Piece, Begin: in.Begin, Length: in.Length})
	}
}

func (e *Engine) rejectWishes(p *peer) {
	for i := range p.wishes {
		e.sendReject(p, p.wishes[i].Request)
	}
	if len(p.wishes) > 0 {
		e.wishing--
	}
	p.wishes = p.wishes[:0]
}

// drained forgets what went out in earlier Steps to peers whose queue the host found no reason to report, and counts what
// has left.
func (e *Engine) drained() {
	if !e.undrained {
		return
	}
	e.undrained = false
	for _, p := range e.peers {
		if p.reported <= SendQueueLow {
			p.queued = 0
		}
		if left := p.sent.Total() - int64(p.queued); left > p.left {
			e.uplink.Left(int64(e.now), left-p.left)
			p.left = left
		}
	}
}

// wishAhead is how far the play head of a peer is from the film time at which it needs something, in milliseconds; false where it
// did not say where its play head is.
func (e *Engine) wishAhead(p *peer, filmMs int64) (ms int64, known bool) {
	if !p.playing {
		return 0, false
	}
	ahead := filmMs - p.playMs - int64(e.now-p.playAt)/1000*p.playRate/1000
	return ahead, ahead >= -lateMax
}

// unhelpfulRank is behind all others: what is left over is theirs.
const unhelpfulRank = 1 << 40

// unhelpful: it took requests and never answered one, or says that it fetches what it does not. Who merely serves nobody is not.
func (p *peer) unhelpful() bool { return p.snubs > 0 && p.rate.Total() == 0 || !p.believed() }

// rank is a peer's place in the order of service: below zero, the lower the longer, for one that starves; else the
// milliseconds until what it wishes for first is played.
func (e *Engine) rank(p *peer) int64 {
	if p.unhelpful() {
		return unhelpfulRank
	}
	if waited := e.now - p.waiting; waited > starvingAfter {
		return -int64(waited)
	}
	ahead, known := e.wishAhead(p, p.wishes[0].filmMs)
	if !known {
		return aheadUnknown
	}
	// What others could give as well can wait longer here.
	return max(ahead, 0) * int64(2+min(e.stock.holders[p.wishes[0].Piece], 8)) / 2
}

// stillAfter is how long what is queued for a peer may lie still, in microseconds, before it counts as slow.
const stillAfter = 500_000

// gone: it has taken nothing for so long that it says nothing of the uplink any more: its page was closed, or its path broke. Others say
// whether the uplink is slow.
func (p *peer) gone(now Instant) bool {
	return p.reported > SendQueueLow && now-p.handedAt > measuredFor
}

func (p *peer) still(now Instant) bool {
	return p.reported > SendQueueLow && now-p.handedAt > stillAfter
}

// hands is the state of the host's hands.
type hands struct {
	share int64           // how much of them a peer may fill: half, so that what is needed soonest goes first, or
	equal int64           // where it takes nothing, no more than its equal share
	full  bool            // what a slow peer holds beyond its share says nothing
	busy  [peersMax]uint8 // the peers that wish for something or of which something is held, as indices, in order
	n     int             // of them
}

// look fills h in. settled is as in inHands.
func (e *Engine) look(h *hands, settled bool) {
	h.n = 0
	for i, p := range e.peers {
		if len(p.wishes) > 0 || p.inHands(settled) > 0 {
			h.busy[h.n] = uint8(i)
			h.n++
		}
	}
	most := e.uplink.Hands(int64(e.now))
	h.share, h.equal = max(most/2, int64(e.unit)), max(most/max(int64(h.n), 1), int64(e.unit))
	held := int64(0)
	for _, i := range h.busy[:h.n] {
		p := e.peers[i]
		if p.still(e.now) {
			held += min(p.inHands(settled), h.equal)
		} else {
			held += p.inHands(settled)
		}
	}
	h.full = held >= most
}

// inHands is how much of what was sent to a peer lies in the host's hands; settled: what the host would have reported by
// now, which is nothing where it is little (see drained).
func (p *peer) inHands(settled bool) int64 {
	if settled && p.reported <= SendQueueLow {
		return 0
	}
	return int64(p.queued)
}

// nextServed is who gets the next block, as an index into the peers; -1: nobody waits, or the host has its hands full. Ties
// fall by turns.
func (e *Engine) nextServed(settled bool) int {
	if e.wishing == 0 {
		return -1
	}
	var h hands
	e.look(&h, settled)
	turn, first := e.turn%len(e.peers), 0 // whose turn it is, and the first of the busy ones who is not before it
	for first < h.n && int(h.busy[first]) < turn {
		first++
	}
	best, bestRank := -1, int64(0)
	for i := range h.n {
		if i += first; i >= h.n {
			i -= h.n
		}
		at := int(h.busy[i])
		p := e.peers[at]
		queued := p.inHands(settled)
		if len(p.wishes) == 0 || queued >= h.share || queued >= h.equal && p.still(e.now) {
			continue
		}
		r := e.rank(p)
		if h.full && (r >= 0 || queued > 0) {
			continue // it may be slow receivers that fill them: who starves gets a block all the same
		}
		if best < 0 || r < bestRank {
			best, bestRank = at, r
		}
	}
	return best
}

// serve hands out blocks while there is something to send, room in the host's hands and budget. When the budget ends, the
// turn stays where it is, so that a short one is shared as evenly as a long one.
func (e *Engine) serve() {
	if !e.uploads {
		return
	}
	e.govern()
	for {
		i := e.nextServed(false)
		if i < 0 {
			return
		}
		p := e.peers[i]
		w := p.wishes[0].Request
		if e.stock.Lacks(w.Piece) {
			e.unwish(p, 0)
			e.sendReject(p, w)
			continue
		}
		if !e.uplink.Take(int64(e.now), int64(w.Length)) {
			return
		}
		e.turn = i + 1
		e.unwish(p, 0)
		p.queued += w.Length + 13 // until the next Step, or until the host reports
		e.servedAt, e.undrained = e.now, true
		p.told, p.served, p.waiting = e.now, e.now, e.now
		p.sent.Add(int64(e.now), int64(w.Length))
		e.emit(Output{Kind: SendBlock, Peer: p.ref, Piece: w.Piece, Begin: w.Begin, Length: w.Length})
		e.note(NoteSent, Output{Peer: p.ref, Piece: w.Piece, Begin: w.Begin, Length: w.Length})
	}
}

// serveAt is when the uplink's budget allows the next block, if something waits for it; else when the governor must be asked.
func (e *Engine) serveAt() (Instant, bool) {
	if !e.uploads {
		return 0, false
	}
	if i := e.nextServed(true); i >= 0 {
		return Instant(e.uplink.ReadyAt(int64(e.now), int64(e.peers[i].wishes[0].Length))), true
	}
	if e.queueing > 0 { // the governor must look at it even if the host falls silent
		return max(Instant(e.uplink.DueAt()), e.now+paceBusy), true
	}
	return 0, false
}

// govern tells the governor, once a second, what those who were just served say of the uplink.
func (e *Engine) govern() {
	now := int64(e.now)
	if !e.uplink.Due(now) || e.queueing == 0 && e.now-e.servedAt > measuredFor {
		return
	}
	var least, latest [peersMax]int64
	var h hands
	e.look(&h, false)
	measured, served, holding, held, rtt := 0, 0, 0, int64(0), int64(0)
	for _, p := range e.peers {
		if p.sent.Total() == 0 || e.now-p.served > measuredFor && p.queued == 0 || p.gone(e.now) {
			continue
		}
		served++
		if p.reported > SendQueueLow {
			holding++
			held += min(int64(p.queued), h.equal)
			rtt = max(rtt, p.path.RTT())
		}
		if n, at := p.path.Latest(); n > p.heeded && now-at <= measuredFor {
			p.heeded = n
			least[measured], latest[measured], _ = p.path.Delay()
			measured++
		}
	}
	if !h.full && 2*holding <= served {
		held = 0 // the others' queues are short
	}
	if served > 0 {
		e.uplink.Adjust(now, least[:measured], latest[:measured], held, rtt)
	}
}
