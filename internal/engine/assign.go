package engine

import (
	"essaim/internal/engine/picker"
)

// hedgeUrgent is how long, in microseconds, one peer may keep an urgent block before a second is asked for it.
const hedgeUrgent = 500_000

// afarMs is how near, in milliseconds of film, a piece must be to be asked of another network though ours may bring it.
const afarMs = 3_000

// coveredFor is how far ahead, in microseconds, what a fetch will bring is not asked of peers as well.
const coveredFor = 1_000_000

// How much may be on its way from peers at once where nothing is urgent: so much film, in milliseconds, and so many bytes at least; while the
// floor is not full, and beyond it.
const (
	floorMs      = 400
	floorLeast   = 112 << 10
	leisureMs    = 250
	leisureLeast = 64 << 10
)

// What it counts, in microseconds per millisecond of film, that a peer's play head is ahead of ours; and up to where.
const (
	afarCost = 20
	afarMax  = 60_000
)

// plan asks the picker what is wanted, and lets go of what no longer is.
func (e *Engine) plan() {
	now := int64(e.now)
	e.plannedAt, e.stale, e.idle = e.now, false, false
	e.plans++
	e.plannedMs = e.picker.PositionMs(now)
	e.wants = e.withinBounds(e.picker.Plan(e.wants[:0], now, &e.stock))
	for i := range e.active {
		e.active[i].wanted = false
	}
	for i := range e.wants {
		w := &e.wants[i]
		e.stock.wantedIn[w.Piece] = e.plans
		a := e.findActive(w.Piece)
		if a == nil {
			if w.Class == picker.Window {
				continue
			}
			a = e.activate(w.Piece)
		}
		a.wanted = true
	}
	e.narrow()
	e.lineUp()
	e.retryHashes()
	e.cancelStaleRequests()
	e.cancelStaleFetches()
	e.abandon()
}

// lineUp puts the plan into the order in which peers are asked: by time, and among pieces of the same time from a place of our own
// on, so that neighbours in step do not all ask for the same ones first and have something to give to one another. While the floor is
// not full, peers are asked for no more than the floor: what comes of farther pieces would keep nearer ones waiting, ours and the
// neighbours', where uplinks are what is short.
func (e *Engine) lineUp() {
	e.line = e.line[:0]
	n := len(e.wants)
	if n > 0 && e.wants[0].Class < picker.Window {
		for n = 0; n < len(e.wants) && e.wants[n].Class < picker.Window; n++ {
			continue
		}
	} else if far := e.horizonMs(); far < picker.WindowMs {
		for n = 0; n < len(e.wants) && e.wants[n].AheadMs < far; n++ {
			continue
		}
	}
	for from := 0; from < n; {
		to := from + 1
		for to < n && e.wants[to].AheadMs == e.wants[from].AheadMs && e.wants[to].Class == e.wants[from].Class {
			to++
		}
		shift := int(e.title.Seed % uint64(to-from))
		for k := range to - from {
			e.line = append(e.line, int32(from+(k+shift)%(to-from)))
		}
		from = to
	}
}

// stands: the player stands still for what the origin, which is known to be quick enough, will send. It comes soonest if peers send nothing
// meanwhile.
func (e *Engine) stands() bool {
	first := 0
	for first < len(e.wants) && e.wants[first].AheadMs <= 0 && !e.standsFor(&e.wants[first]) {
		first++ // it has come since the plan was made
	}
	if first == len(e.wants) || !e.standsFor(&e.wants[first]) || e.short() || e.pace.Rate(int64(e.now), e.fetches.Waiting()) == 0 {
		return false
	}
	for _, f := range e.fetches.All() {
		if int64(e.now)-f.Moved > hedgeUrgent {
			return false
		}
	}
	_, resting := e.origin.Resting(int64(e.now))
	return !resting
}

// leisure is for how many more blocks peers may be asked together. Where nothing is urgent they are few, so that a seek finds the link free:
// what is on its way can no longer be stopped.
func (e *Engine) leisure() int {
	if len(e.wants) == 0 || e.wants[0].Class < picker.Floor {
		return peersMax * pipelineMax
	}
	most, least := int64(leisureMs), int64(leisureLeast)
	if e.wants[0].Class == picker.Floor {
		most, least = floorMs, floorLeast
	}
	n := int(max(e.picker.BytesPerSecond()*most/1000, least)/int64(e.unit)) + 1
	for _, p := range e.peers {
		n -= p.owedLive
	}
	return n
}

// horizonMs is how far ahead of the play head peers are asked, and timers may run out. It grows by half of the time since neighbours met:
// a crowd that filled its windows at once would leave no uplink for what spreads new pieces.
func (e *Engine) horizonMs() int64 {
	if !e.crowded || e.short() {
		return picker.WindowMs
	}
	return min(picker.FloorMs+int64(e.now-e.crowdAt)/2_000, picker.WindowMs)
}

func (e *Engine) wanted(piece uint32) bool { return e.stock.wantedIn[piece] == e.plans }

// toCome: blocks of the piece are neither kept nor on their way nor being judged.
func (e *Engine) toCome(w *picker.Want, a *activePiece) bool {
	return e.stock.status[w.Piece] == pieceLacked && (a == nil || !a.leaves && a.kept < len(a.blocks))
}

// assign gives the blocks of the plan to peers, the most pressing first, and then asks the origin for what they would not bring in time.
func (e *Engine) assign() {
	room := 0
	for _, p := range e.peers {
		room += p.room(e.now)
	}
	room = min(room, e.leisure())
	for i := range e.wants {
		if f, n := e.locate(e.wants[i].Piece); !f.knows(n) {
			e.askLayer(e.wants[i].File, n)
		}
	}
	stands := e.stands()
	if stands {
		e.askOrigin()
	}
	for i := 0; room > 0 && i < len(e.line); i++ {
		w := &e.wants[e.line[i]]
		if stands && w.AheadMs > 0 {
			break
		}
		if e.stock.holders[w.Piece] == 0 {
			continue
		}
		if a := e.findActive(w.Piece); e.toCome(w, a) {
			room -= e.askPeers(w, a)
		}
	}
	e.askOrigin()
}

// refill asks one peer for as much as it has room for: a block came from it, or it has something new. Where nothing presses others may have
// room as well, and what came is made up for by whoever is best.
func (e *Engine) refill(p *peer) {
	room, stands := min(p.room(e.now), e.leisure()), e.stands()
	for i := 0; room > 0 && i < len(e.line); i++ {
		w := &e.wants[e.line[i]]
		if stands && w.AheadMs > 0 {
			break
		}
		if !p.has(w.Piece) {
			continue
		}
		a := e.findActive(w.Piece)
		if !e.toCome(w, a) || a != nil && a.askedAll() {
			continue
		}
		f, n := e.locate(w.Piece)
		for b, end := a.span(f.blocksIn(n)); b < end && room > 0; b++ {
			if a != nil && (a.blocks[b].state != blockLacked || a.blocks[b].asked > 0) || e.covered(w.File, f.blockAt(n, b)) {
				continue
			}
			to := p
			if w.Class != picker.Urgent || p.far {
				to = e.bestPeer(w.Piece, uint32(b))
			}
			if to == nil || to != p && e.wants[0].Class < picker.Window {
				break
			}
			a = e.request(to, w, a, uint32(b), f.blockLength(n, b))
			room--
		}
	}
}

// request asks a peer for a block.
func (e *Engine) request(p *peer, w *picker.Want, a *activePiece, b, length uint32) *activePiece {
	if a == nil {
		a = e.activate(w.Piece)
	}
	a.ask(int(b))
	if a.asked == 0 {
		a.asked = max(e.now, 1)
	}
	e.sendRequest(p, w.Piece, b, length)
	return a
}

// askPeers asks peers for what nobody owes yet of a piece, and returns how many requests went out.
func (e *Engine) askPeers(w *picker.Want, a *activePiece) int {
	f, n := e.locate(w.Piece)
	most := uint8(1)
	if w.Class == picker.Urgent && a != nil && a.asked > 0 && e.now-a.asked > hedgeUrgent {
		most = 2
	} else if a != nil && a.askedAll() {
		return 0
	}
	sent := 0
	for b, end := a.span(f.blocksIn(n)); b < end; b++ {
		if a != nil && (a.blocks[b].state != blockLacked || a.blocks[b].asked >= most) {
			continue
		}
		if e.covered(w.File, f.blockAt(n, b)) {
			continue
		}
		p := e.bestPeer(w.Piece, uint32(b))
		if p == nil {
			break
		}
		a = e.request(p, w, a, uint32(b), f.blockLength(n, b))
		sent++
	}
	return sent
}

// bestPeer is the peer that has the piece, serves us, has room, does not owe the block, and would bring it soonest. Those who are
// far ahead in the film are spared for viewers nearer to them, who can ask nobody else; those in another network for what nobody in
// ours has.
func (e *Engine) bestPeer(piece, block uint32) *peer {
	var best, away *peer
	var bestCost, awayCost int64
	head := e.picker.PositionMs(int64(e.now))
	for _, p := range e.peers {
		if !p.has(piece) || p.room(e.now) <= 0 || p.owes(piece, block) {
			continue
		}
		cost := p.cost(int64(e.now))
		if p.playing {
			cost += min(max(p.head(e.now)-head, 0), afarMax) * afarCost
		}
		if p.far {
			if away == nil || cost < awayCost {
				away, awayCost = p, cost
			}
		} else if best == nil || cost < bestCost {
			best, bestCost = p, cost
		}
	}
	if best == nil && away != nil && e.fetchesFromAfar(piece) {
		return away
	}
	return best
}

// fetchesFromAfar: a piece may be asked of peers in other networks. While there is time, neighbours in ours bring it where one of them
// has it, and else the one of us whose turn it is, by place among those who will want it, so that it comes into the network once.
func (e *Engine) fetchesFromAfar(piece uint32) bool {
	w := e.wantOf(piece)
	if w == nil || w.AheadMs < afarMs {
		return true
	}
	ms := e.picker.FilmMs(w.File, w.Piece)
	own := order(e.title.PeerID[:], 0)
	all, before := uint32(1), uint32(0)
	for _, p := range e.peers {
		if p.far {
			continue
		}
		if p.has(piece) && p.reliable(e.now) {
			return false
		}
		if !e.comesBy(p, w, ms, picker.WindowMs) || !p.believed() {
			continue
		}
		all++
		if order(p.id[:], 0) < own {
			before++
		}
	}
	return w.Piece%all == before
}

// covered reports whether a fetch that is not stuck will bring the byte soon.
func (e *Engine) covered(file uint32, at int64) bool {
	all := e.fetches.All()
	if len(all) == 0 {
		return false
	}
	reach := e.pace.Rate(int64(e.now), e.fetches.Waiting()) * coveredFor / 1_000_000
	for i := range all {
		f := &all[i]
		if f.File == file && at >= f.From+f.Seen && at < f.To && int64(e.now)-f.Moved < fetchQuiet && (reach == 0 || at < f.From+f.Got+reach) {
			return true
		}
	}
	return false
}
