package engine

import (
	"essaim/internal/bt/wire"
	"essaim/internal/engine/fetcher"
	"essaim/internal/engine/picker"
)

// This file holds the requests to the origin that are under way: what each is to bring, what has come of it, and when it is given up.

// The limits of fetches from an HTTP source.
const (
	fetchBytesMax  = 512 << 10
	fetchWaitedMax = 2 << 20 // the same for what the player stands still for: a second request would cost it a round trip
	fetchesLate    = 4
	fetchesAhead   = 2
	fetchOverlap   = 250_000   // the next fetch from a file begins so long before the last one ends
	fetchQuiet     = 1_500_000 // a fetch that brought nothing for so long no longer keeps peers from its blocks
	fetchStuck     = 5_000_000 // the same where nothing else came from the source either
	fetchTimeout   = 8_000_000 // and is given up after so long
	fetchSkipMax   = 128 << 10 // bytes that nobody wants any more and that are let come, for the sake of what lies behind them
	refusalsMax    = 5
	rateGuess      = 500_000 // bytes per second assumed of an origin that has not sent yet
)

// fetch asks the origin for the i-th want, and with the same request for what follows it in the file and is late as well.
func (e *Engine) fetch(s *survey, i int, v verdict) {
	w := e.wants[i]
	f, n := e.locate(w.Piece)
	from, to := e.gap(f, n, w.Piece, 0)
	if to <= from {
		return
	}
	look := *s
	for next := w.Piece + 1; v == late && to == min(int64(n+1)*int64(e.title.PieceLength), int64(f.Size)) && to-from < fetchWaitedMax; next++ {
		n++
		if n >= f.pieces || !e.wanted(next) || e.stock.status[next] != pieceLacked {
			break
		}
		k := e.wantOf(next)
		if k == nil || k.AheadMs > 0 && to-from >= fetchBytesMax || k.AheadMs > w.AheadMs && (s.short || (to-from)*1000/s.rate > aloneMs) || e.judge(&look, k, e.findActive(next)) != late {
			break
		}
		start, end := e.gap(f, n, next, to)
		if start != to || end <= start {
			break
		}
		to = end
	}
	if v == late {
		e.note(NoteUrgent, Output{Piece: w.Piece})
	}
	e.activate(w.Piece)
	ft := e.fetches.Begin(int64(e.now), w.File, from, to)
	e.emit(Output{Kind: FetchRange, Ref: Ref(ft.Ref), File: w.File, From: from, To: to})
	e.claim(wire.EssaimFetching, w.File, from, to)
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
	slow := a != nil && e.now-max(a.began, a.moved) > hedgeBegun
	for b, to := a.span(f.blocksIn(n)); b < to; b++ {
		at := f.blockAt(n, b)
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
		if ft.Got == 0 {
			e.pace.First(int64(e.now), ft.Began)
		} else {
			e.pace.Got(int64(e.now), ft.Moved, got-ft.Got)
		}
		ft.Got, ft.Moved = got, int64(e.now)
		e.origin.Worked()
		e.refused = 0
	}
	e.takeBlocks(ft)
	if in.Kind == FetchDone {
		e.fetches.End(ft.Ref)
		e.idle = false
	}
}

func (e *Engine) takeBlocks(ft *fetcher.Fetch) {
	f := &e.files[ft.File]
	for ft.Seen < ft.To-ft.From {
		at := ft.From + ft.Seen
		b := int(at / int64(e.unit))
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
		e.emit(Output{Kind: Hash, Ref: Ref(ft.Ref), File: ft.File, Piece: piece, Begin: uint32(b) * e.unit, Length: length})
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
	e.claim(wire.EssaimUnfetching, ft.File, ft.From+ft.Seen, ft.To)
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
		e.cancelFetch(f)
		e.origin.Failed(int64(e.now), e.next())
		e.stale = true
	}
}

// sharesWork: there are neighbours with whom to share what a short origin can give.
func (e *Engine) sharesWork() bool {
	for i := range e.wants {
		if w := &e.wants[i]; e.stock.status[w.Piece] == pieceLacked {
			rate := int64(0)
			for _, p := range e.peers {
				if p.has(w.Piece) && p.reliable(e.now) {
					rate += p.rate.Rate(int64(e.now))
				}
			}
			if rate > e.pace.Rate(int64(e.now), e.fetches.Waiting()) {
				return true
			}
			return e.mates(w, picker.WindowMs) > 0
		}
	}
	return false
}

// cancelStaleFetches stops fetches of which nothing to come is wanted any more, or only after much that is not: a new
// one is quicker then. And where the origin is short and neighbours have come, those that are more than our share.
func (e *Engine) cancelStaleFetches() {
	share := e.short() && e.sharesWork()
	for i := 0; i < len(e.fetches.All()); {
		ft := &e.fetches.All()[i]
		f := &e.files[ft.File]
		useful := false
		for at := ft.From + ft.Seen; at < ft.To && at-ft.From-ft.Got <= fetchSkipMax && !useful; {
			piece := f.FirstPiece + uint32(at/int64(e.title.PieceLength))
			useful = e.wanted(piece) && e.stock.status[piece] == pieceLacked
			at += int64(e.title.PieceLength) - at%int64(e.title.PieceLength)
		}
		if useful && !(share && ft.To-ft.From-ft.Got > 2*int64(e.title.PieceLength)) {
			i++
			continue
		}
		e.cancelFetch(ft)
	}
}

func (e *Engine) cancelFetch(f *fetcher.Fetch) {
	ft, _ := e.fetches.End(f.Ref)
	e.emit(Output{Kind: CancelFetch, Ref: Ref(ft.Ref)})
	if ft.From+ft.Seen < ft.To {
		e.claim(wire.EssaimUnfetching, ft.File, ft.From+ft.Seen, ft.To)
	}
}
