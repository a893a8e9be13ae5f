package engine

import (
	"essaim/internal/bt"
	"essaim/internal/engine/fetcher"
	"essaim/internal/engine/picker"
)

// How long peers may keep the origin waiting, in microseconds.
const (
	hedgeUrgent    = 500_000   // an urgent piece of which nothing came
	hedgeUrgentAll = 1_500_000 // an urgent piece that came, but not whole
	hedgeFloor     = 1_500_000 // the same two for a piece within the floor
	hedgeFloorAll  = 4_000_000

	urgentMargin = 1_000     // how long before its time, in milliseconds, peers must have brought an urgent piece
	floorMargin  = 3_000     // the same for a piece within the floor
	grace        = 2_500_000 // after opening, for the first neighbours to bring what is not urgent
)

// The limits of fetches from an HTTP source.
const (
	fetchBytesMax = 512 << 10
	fetchesUrgent = 4
	fetchesFloor  = 2
	fetchesWindow = 1
	fetchOverlap  = 250_000   // the next fetch from a file begins so long before the last one ends
	fetchQuiet    = 1_500_000 // a fetch that brought nothing for so long no longer keeps peers from its blocks
	fetchTimeout  = 8_000_000 // and is given up after so long
	fetchSkipMax  = 128 << 10 // bytes that nobody wants any more and that are let come, for the sake of what lies behind them
	refusalsMax   = 5
)

// plan asks the picker what is wanted, and lets go of what no longer is.
func (e *Engine) plan() {
	now := int64(e.now)
	e.plannedAt, e.stale, e.idle = e.now, false, false
	e.plans++
	e.wants = e.picker.Plan(e.wants[:0], now, &e.stock)
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
	e.retryHashes()
	e.cancelStaleRequests()
	e.cancelStaleFetches()
	e.abandon()
}

func (e *Engine) wanted(piece uint32) bool { return e.stock.wantedIn[piece] == e.plans }

// assign gives every lacked block of the plan to a source: peers first, the origin where they would not make it.
func (e *Engine) assign() {
	room := 0
	for _, p := range e.peers {
		room += p.room(e.now)
	}
	_, resting := e.origin.Resting(int64(e.now))
	rate := e.peersRate()
	queue := int64(0) // bytes that peers must bring before
	for i := range e.wants {
		w := &e.wants[i]
		if e.stock.status[w.Piece] != pieceLacked {
			continue
		}
		queue += int64(e.title.PieceLength)
		a := e.findActive(w.Piece)
		if a != nil && (a.leaves || a.kept == len(a.blocks)) {
			continue
		}
		if f, n := e.locate(w.Piece); !f.known[n] {
			e.askLayer(w.File, n)
		}
		if room > 0 && w.Holders > 0 {
			room -= e.askPeers(w, a)
		}
		if !resting && e.originMay(w, e.findActive(w.Piece), queue*1000/rate) && !e.inLine(w) {
			e.fetch(i, rate, queue)
		}
	}
}

// peersRate is what the peers that serve us bring together, in bytes per second; at least 1.
func (e *Engine) peersRate() int64 {
	sum := int64(1)
	for _, p := range e.peers {
		if p.reliable(e.now) {
			if r := p.rate.Rate(int64(e.now)); r > 0 {
				sum += r
			} else {
				sum += rateUnknown / 2
			}
		}
	}
	return sum
}

// askPeers asks peers for what nobody owes yet of a piece, and returns how many requests went out.
func (e *Engine) askPeers(w *picker.Want, a *activePiece) int {
	f, n := e.locate(w.Piece)
	most := uint8(1)
	if w.Class == picker.Urgent && a != nil && a.asked > 0 && e.now-a.asked > hedgeUrgent {
		most = 2
	}
	sent := 0
	for b := range f.blocksIn(n) {
		if a != nil && (a.blocks[b].state != blockLacked || a.blocks[b].asked >= most) {
			continue
		}
		if e.covered(w.File, int64(n*f.blocksPerPiece+b)*bt.BlockSize) {
			continue
		}
		p := e.bestPeer(w.Piece, uint32(b))
		if p == nil {
			break
		}
		if a == nil {
			a = e.activate(w.Piece)
		}
		a.blocks[b].asked++
		if a.asked == 0 {
			a.asked = max(e.now, 1)
		}
		e.sendRequest(p, w.Piece, uint32(b), f.blockLength(n, b))
		sent++
	}
	return sent
}

// bestPeer is the peer that has the piece, serves us, has room, does not owe the block, and would bring it soonest.
func (e *Engine) bestPeer(piece, block uint32) *peer {
	var best *peer
	var bestCost int64
	for _, p := range e.peers {
		if p.room(e.now) <= 0 || !p.has(piece) || p.owes(piece, block) {
			continue
		}
		if cost := p.cost(int64(e.now)); best == nil || cost < bestCost {
			best, bestCost = p, cost
		}
	}
	return best
}

// covered reports whether a fetch that is not stuck will bring the byte.
func (e *Engine) covered(file uint32, at int64) bool {
	all := e.fetches.All()
	for i := range all {
		f := &all[i]
		if f.File == file && at >= f.From+f.Seen && at < f.To && int64(e.now)-f.Moved < fetchQuiet {
			return true
		}
	}
	return false
}

// originMay decides whether the origin is asked for a piece now; etaMs is when peers would have brought it, at the rate
// of the moment, with all that is wanted before it.
func (e *Engine) originMay(w *picker.Want, a *activePiece, etaMs int64) bool {
	usable := false
	for _, p := range e.peers {
		if p.reliable(e.now) && p.has(w.Piece) {
			usable = true
			break
		}
	}
	n := len(e.fetches.All())
	if a != nil && a.refuted && !usable {
		return n < fetchesUrgent // what a liar spoilt comes again at once, however far ahead it lies
	}
	if e.urgentOnly && w.Class != picker.Urgent {
		return false
	}
	switch w.Class {
	case picker.Urgent:
		return n < fetchesUrgent && (!usable || etaMs > w.AheadMs-urgentMargin || overdue(e.now, a, hedgeUrgent, hedgeUrgentAll))
	case picker.Floor:
		switch {
		case n >= fetchesFloor:
			return false
		case usable:
			return etaMs > w.AheadMs-floorMargin || overdue(e.now, a, hedgeFloor, hedgeFloorAll)
		}
		return !e.sharing || e.now-e.openedAt >= grace || w.AheadMs < picker.UrgentMs
	}
	return n < fetchesWindow && e.sharing && w.Holders == 0 && w.AheadMs <= e.picker.TimerMs(w.Piece) && e.neighbourLacks(w.Piece)
}

// inLine: a fetch under way has yet to bring earlier bytes of the file, or what is wanted more badly, and longer to do so than
// a round trip. Where the source's rate is short, another would only take from it what the player needs sooner.
func (e *Engine) inLine(w *picker.Want) bool {
	f, n := e.locate(w.Piece)
	at := int64(n*f.blocksPerPiece) * bt.BlockSize
	all := e.fetches.All()
	for i := range all {
		ft := &all[i]
		left, age := ft.To-ft.From-ft.Got, int64(e.now)-ft.Began
		if ft.Got > 0 && left*age <= ft.Got*fetchOverlap || int64(e.now)-ft.Moved >= fetchQuiet {
			continue
		}
		if ft.File == w.File && ft.From+ft.Got <= at {
			return true
		}
		if k := e.wantOf(e.files[ft.File].FirstPiece + uint32((ft.From+ft.Seen)/int64(e.title.PieceLength))); k != nil && k.Class < w.Class {
			return true
		}
	}
	return false
}

// overdue: peers had their chance with a piece that was asked of them.
func overdue(now Instant, a *activePiece, quiet, whole Instant) bool {
	return a != nil && a.asked > 0 && (now-max(a.asked, a.moved) > quiet || now-a.asked > whole)
}

// neighbourLacks: somebody near would be spared a fetch by ours.
func (e *Engine) neighbourLacks(piece uint32) bool {
	for _, p := range e.peers {
		if p.ready && !p.has(piece) {
			return true
		}
	}
	return false
}

// fetch asks the origin for the i-th want, and with the same request for what follows it in the file and is due as well.
func (e *Engine) fetch(i int, rate, queue int64) {
	w := e.wants[i]
	f, n := e.locate(w.Piece)
	from, to := e.gap(f, n, w.Piece, 0)
	if to <= from {
		return
	}
	for next := w.Piece + 1; to == min(int64(n+1)*int64(e.title.PieceLength), int64(f.Size)) && to-from < fetchBytesMax; next++ {
		n++
		if n >= f.pieces || !e.wanted(next) || e.stock.status[next] != pieceLacked {
			break
		}
		k := e.wantOf(next)
		queue += int64(e.title.PieceLength)
		if k == nil || k.Class > w.Class || !e.originMay(k, e.findActive(next), queue*1000/rate) {
			break
		}
		start, end := e.gap(f, n, next, to)
		if start != to || end <= start {
			break
		}
		to = end
	}
	if w.Class == picker.Urgent {
		e.note(NoteUrgent, Output{Piece: w.Piece})
	}
	e.activate(w.Piece)
	ft := e.fetches.Begin(int64(e.now), w.File, from, to)
	e.emit(Output{Kind: FetchRange, Ref: Ref(ft.Ref), File: w.File, From: from, To: to})
}

func (e *Engine) wantOf(piece uint32) *picker.Want {
	for i := range e.wants {
		if e.wants[i].Piece == piece {
			return &e.wants[i]
		}
	}
	return nil
}

// gap is the first run of bytes, from the offset `from` of the file on, of a piece's blocks that are lacked, or that a peer
// has begun to send and is slow to end, and that no fetch will bring.
func (e *Engine) gap(f *fileState, n int, piece uint32, from int64) (start, end int64) {
	a := e.findActive(piece)
	start, end = -1, -1
	slow := a != nil && e.now-max(a.began, a.moved) > hedgeUrgent
	for b := range f.blocksIn(n) {
		at := int64(n*f.blocksPerPiece+b) * bt.BlockSize
		lacked := a == nil || a.blocks[b].state == blockLacked || slow && a.blocks[b].state == blockHashing && a.blocks[b].from != 0
		lacked = lacked && at >= from && !e.fetches.Covers(uint32(e.stock.fileOf[piece]), at)
		if !lacked {
			if start >= 0 {
				break
			}
			continue
		}
		if start < 0 {
			start = at
		}
		end = at + int64(f.blockLength(n, b))
	}
	return start, end
}

// fetched takes the blocks that have come whole.
func (e *Engine) fetched(in *Input) {
	ft := e.fetches.Find(uint32(in.Ref))
	if ft == nil {
		return
	}
	size := ft.To - ft.From
	got := min(int64(in.Length), size)
	if in.Kind == FetchDone {
		got = size
	}
	if got > ft.Got {
		ft.Got, ft.Moved = got, int64(e.now)
		e.origin.Worked()
		e.refused = 0
	}
	e.takeBlocks(ft)
	if in.Kind == FetchDone {
		e.fetches.End(ft.Ref)
	}
}

func (e *Engine) takeBlocks(ft *fetcher.Fetch) {
	f := &e.files[ft.File]
	for ft.Seen < ft.To-ft.From {
		at := ft.From + ft.Seen
		b := int(at / bt.BlockSize)
		n := b / f.blocksPerPiece
		b %= f.blocksPerPiece
		length := f.blockLength(n, b)
		if ft.Seen+int64(length) > ft.Got {
			return
		}
		ft.Seen += int64(length)
		piece := f.FirstPiece + uint32(n)
		if e.stock.status[piece] != pieceLacked {
			e.note(NoteWasted, Output{Length: length})
			continue
		}
		a := e.activate(piece)
		// What a peer has only begun to send does not count: it may never end. The host keeps whichever is whole first.
		if bl := &a.blocks[b]; bl.state == blockKept || bl.state == blockHashing && bl.from == 0 {
			e.note(NoteWasted, Output{Length: length})
			continue
		}
		e.comes(a, b, 0)
		e.emit(Output{Kind: Hash, Ref: Ref(ft.Ref), File: ft.File, Piece: piece, Begin: uint32(b) * bt.BlockSize, Length: length})
	}
}

func (e *Engine) fetchFailed(in *Input) {
	if i := e.findHashes(in.Ref); i >= 0 {
		e.hashesFailed(i)
		return
	}
	ft, ok := e.fetches.End(uint32(in.Ref))
	if !ok {
		return
	}
	e.origin.Failed(int64(e.now), e.next())
	e.refused = in.Reason
	e.stale = true
	if e.origin.Failures() >= refusalsMax && (in.Reason == 403 || in.Reason == 404 || in.Reason == 410) {
		e.giveUp(ft.File)
	}
}

// giveUp fails the readers of a file that the origin refuses and no peer has.
func (e *Engine) giveUp(file uint32) {
	for _, p := range e.peers {
		if p.usable(e.now) && p.useful > 0 {
			return
		}
	}
	for {
		var ref uint32
		e.picker.WaitingFor(func(r, f uint32) {
			if f == file {
				ref = r
			}
		})
		if ref == 0 {
			return
		}
		e.picker.Cancel(ref)
		e.emit(Output{Kind: RangeFailed, Ref: Ref(ref), Reason: ReasonUnavailable})
	}
}

// expireFetches gives up fetches that have brought nothing for too long.
func (e *Engine) expireFetches() {
	for i := 0; i < len(e.fetches.All()); {
		f := &e.fetches.All()[i]
		if int64(e.now)-f.Moved < fetchTimeout {
			i++
			continue
		}
		ref := f.Ref
		e.fetches.End(ref)
		e.emit(Output{Kind: CancelFetch, Ref: Ref(ref)})
		e.origin.Failed(int64(e.now), e.next())
		e.stale = true
	}
}

// cancelStaleFetches stops fetches of which nothing to come is wanted any more, or only after much that is not: a new
// one is quicker then.
func (e *Engine) cancelStaleFetches() {
	for i := 0; i < len(e.fetches.All()); {
		ft := &e.fetches.All()[i]
		f := &e.files[ft.File]
		useful := false
		for at := ft.From + ft.Seen; at < ft.To && at-ft.From-ft.Got <= fetchSkipMax && !useful; {
			piece := f.FirstPiece + uint32(at/int64(e.title.PieceLength))
			useful = e.wanted(piece) && e.stock.status[piece] == pieceLacked
			at += int64(e.title.PieceLength) - at%int64(e.title.PieceLength)
		}
		if useful {
			i++
			continue
		}
		ref := ft.Ref
		e.fetches.End(ref)
		e.emit(Output{Kind: CancelFetch, Ref: Ref(ref)})
	}
}
