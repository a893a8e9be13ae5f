package engine

import (
	"math/bits"

	"essaim/internal/bt/wire"
	"essaim/internal/engine/picker"
)

// This file holds what the engine knows of its neighbours as viewers: where they are in the film, and what they say that they
// fetch. Both come in ExtEssaim messages, bind nobody, and are believed only as long as they are kept.

// The limits of believing.
const (
	claimMin    = 600_000    // a claim suppresses for twice what its sender expects, within these bounds
	claimMax    = 12_000_000 // microseconds
	claimsMax   = 64         // of one peer at a time
	brokenMax   = 2          // claims not kept, beyond a quarter of those that were, after which a peer's word counts no more
	playingDiff = 500        // ms by which our play head may differ from what neighbours think
	playingMin  = 1_000_000  // between two such messages
	cohortMax   = 1 << 16    // of its size, a neighbour's word
	cohortLeast = 4          // so many share the fetching out at least, however near the end
	doublingMs  = 570        // in which the holders of a piece become twice as many
	inStepMs    = 1_000      // of film between those who play in step
	turnMax     = 3_000_000  // for which a turn may be left to another, where the play head stands still
)

// told is what neighbours were last told of our playback.
type told struct {
	at   Instant
	ms   int64
	rate int64
	file uint32
	in   cohort
}

func (t *told) head(now Instant) int64 { return t.ms + int64(now-t.at)*t.rate/1_000_000 }

// head is where the peer's play head is now, in ms of film.
func (p *peer) head(now Instant) int64 { return p.playMs + int64(now-p.playAt)*p.playRate/1_000_000 }

// believed: its claims have been kept often enough.
func (p *peer) believed() bool { return p.broken < brokenMax+p.kept/4 }

// tellPlaying tells neighbours where our play head is, if what they think of it is wrong.
func (e *Engine) tellPlaying(now bool) {
	if len(e.peers) == 0 {
		return
	}
	t := e.playingNow()
	diff := t.ms - e.told.head(e.now)
	if t.rate == e.told.rate && t.file == e.told.file && t.in == e.told.in && diff < playingDiff && diff > -playingDiff {
		return
	}
	if !now && e.now-e.told.at < playingMin {
		return
	}
	e.told = t
	for _, p := range e.peers {
		e.sendPlaying(p, &t)
	}
}

func (e *Engine) playingNow() told {
	ms, rate := e.picker.Playing(int64(e.now))
	return told{at: e.now, ms: ms, rate: rate, file: e.rendition, in: e.cohort}
}

func (e *Engine) sendPlaying(p *peer, t *told) {
	if p.essaim == 0 || !p.ready {
		return
	}
	e.sendEssaim(p, wire.Essaim{Kind: wire.EssaimPlaying, File: uint16(t.file), PositionMs: uint32(max(t.ms, 0)), Rate: uint16(min(max(t.rate, 0), 65535)), Cohort: t.in.id, Size: t.in.size})
}

func (e *Engine) sendEssaim(p *peer, m wire.Essaim) {
	at := len(e.arena)
	e.arena = wire.AppendEssaim(e.arena, p.essaim, m)
	e.sendFrom(p, at)
}

// meetEssaim: the peer speaks our extension. It is told how things stand.
func (e *Engine) meetEssaim(p *peer) {
	t := e.playingNow()
	e.sendPlaying(p, &t)
	for _, f := range e.fetches.All() {
		first, last := e.picker.Pieces(f.File, f.From+f.Seen, f.To)
		e.sendEssaim(p, wire.Essaim{Kind: wire.EssaimFetching, Piece: first, Pieces: uint16(last - first + 1), WithinMs: e.withinMs(f.To - f.From - f.Got)})
	}
}

// withinMs is how long the origin needs for n bytes, for others to wait.
func (e *Engine) withinMs(n int64) uint16 {
	rate := e.pace.Rate(int64(e.now), 0)
	if rate == 0 {
		return 700
	}
	return uint16(min(e.pace.LatencyMs()+n*1000/rate, 6_000))
}

// claim tells the neighbours who will want them that pieces are being fetched, or no longer are.
func (e *Engine) claim(kind wire.EssaimKind, file uint32, from, to int64) {
	first, last := e.picker.Pieces(file, from, to)
	m := wire.Essaim{Kind: kind, Piece: first, Pieces: uint16(last - first + 1)}
	if kind == wire.EssaimFetching {
		m.WithinMs = e.withinMs(to - from)
	}
	for _, p := range e.peers {
		if p.ready && p.essaim != 0 && !(p.has(first) && p.has(last)) {
			e.sendEssaim(p, m)
		}
	}
}

// essaim applies a message of our extension.
func (e *Engine) essaim(p *peer, payload []byte) {
	m, err := wire.ParseEssaim(payload)
	if err != nil {
		return
	}
	switch m.Kind {
	case wire.EssaimPlaying:
		if int(m.File) < len(e.files) {
			p.playing, p.playMs, p.playAt, p.playRate, p.playFile = true, int64(m.PositionMs), e.now, int64(m.Rate), uint32(m.File)
			e.idle = false
			if m.Cohort != 0 && m.Cohort == e.cohort.id {
				e.cohort.size = min(max(e.cohort.size, m.Size), cohortMax)
			}
			if !e.crowded {
				e.crowded, e.crowdAt = true, e.now
			}
		}
	case wire.EssaimFetching:
		p.claimedAt, p.claimFor = e.now, Instant(m.WithinMs)*1000
		wait := min(max(2*p.claimFor, claimMin), claimMax)
		for n := range uint32(m.Pieces) {
			if !e.stock.valid(m.Piece+n) || p.claims >= claimsMax || p.has(m.Piece+n) {
				return
			}
			e.claimed(p, m.Piece+n, e.now+wait)
		}
	case wire.EssaimUnfetching:
		for n := range uint32(m.Pieces) {
			if !e.stock.valid(m.Piece + n) {
				return
			}
			if e.stock.claimBy[m.Piece+n] == p.ref {
				e.unclaim(p, m.Piece+n)
				e.idle = false
			}
		}
	}
}

// claimed notes a claim; of two for one piece the first stands while it lasts.
func (e *Engine) claimed(p *peer, piece uint32, until Instant) {
	s := &e.stock
	if by := s.claimBy[piece]; by != 0 {
		other := e.peer(by)
		if other == p {
			s.claimUntil[piece] = until
			return
		}
		if other != nil && e.now < s.claimUntil[piece] {
			return
		}
		e.lapse(piece)
	}
	s.claimBy[piece], s.claimUntil[piece] = p.ref, until
	p.claims++
}

func (e *Engine) unclaim(p *peer, piece uint32) {
	e.stock.claimBy[piece] = 0
	p.claims--
}

// lapse ends a claim whose time has come, and holds it against its maker.
func (e *Engine) lapse(piece uint32) {
	if p := e.peer(e.stock.claimBy[piece]); p != nil {
		e.unclaim(p, piece)
		p.broken++
		if e.wanted(piece) {
			e.bitten()
		}
	}
	e.stock.claimBy[piece] = 0
}

// claimStands: a neighbour that keeps its word says that it fetches the piece.
func (e *Engine) claimStands(piece uint32) bool {
	by := e.stock.claimBy[piece]
	if by == 0 {
		return false
	}
	if e.now >= e.stock.claimUntil[piece] {
		e.lapse(piece)
		return false
	}
	p := e.peer(by)
	return p != nil && p.believed()
}

// disclaim forgets what a peer that is gone had claimed.
func (e *Engine) disclaim(p *peer) {
	if p.claims == 0 {
		return
	}
	for i := range e.stock.claimBy {
		if e.stock.claimBy[i] == p.ref {
			e.stock.claimBy[i] = 0
		}
	}
}

// wantsToo: the peer lacks the piece at film time ms, and its play head will be there within so many ms.
func (e *Engine) wantsToo(p *peer, w *picker.Want, ms, within int64) bool {
	return !p.has(w.Piece) && e.comesBy(p, w, ms, within)
}

// comesBy: the peer's play head will be at the piece's film time ms within so many ms.
func (e *Engine) comesBy(p *peer, w *picker.Want, ms, within int64) bool {
	if !p.ready || !p.playing {
		return false
	}
	if e.title.Files[w.File].Track == TrackVideo && p.playFile != w.File {
		return false
	}
	ahead := ms - p.head(e.now)
	return ahead > -1_000 && ahead < within
}

// mates is the number of neighbours who will want the piece soon.
func (e *Engine) mates(w *picker.Want, within int64) int {
	ms := e.picker.FilmMs(w.File, w.Piece)
	n := 0
	for _, p := range e.peers {
		if e.wantsToo(p, w, ms, within) {
			n++
		}
	}
	return n
}

// turnOf is our place among the neighbours who could fetch the piece as well as we. Who plays ahead of us needs it sooner and comes first,
// busy or not: left to what is free at the moment, we would both choose the same piece before we heard of each other's choice. Of those in step
// nobody counts who is busy with a fetch of its own, unless that is about to end. All who see one another agree on the order, which changes from
// piece to piece.
func (e *Engine) turnOf(w *picker.Want, within int64) int {
	ms := e.picker.FilmMs(w.File, w.Piece)
	mine := order(e.title.PeerID[:], w.Piece)
	head, _ := e.picker.Playing(int64(e.now))
	n := 0
	for _, p := range e.peers {
		if !e.wantsToo(p, w, ms, within) || !p.believed() {
			continue
		}
		free := p.claims == 0 || w.AheadMs > pressingMs && e.now-p.claimedAt > p.claimFor/2
		lead := p.head(e.now) - head
		if lead > inStepMs || lead >= -inStepMs && free && order(p.id[:], w.Piece) < mine {
			n++
		}
	}
	return n
}

// ours: of the neighbours whose play heads will be at the piece within so many ms, or who have it, and ourselves, we are the one to
// fetch it. Few neighbours know one another, and take one piece each in turn, which shares the work out evenly; of many it is the one
// whose draw for the piece is the lowest. Who has it already still counts, so that the work does not pass on to the next.
func (e *Engine) ours(w *picker.Want, within int64) bool {
	ms := e.picker.FilmMs(w.File, w.Piece)
	even, drawn := order(e.title.PeerID[:], 0), order(e.title.PeerID[:], w.Piece)
	all, before, lowest := uint32(1), uint32(0), true
	for _, p := range e.peers {
		if !e.comesBy(p, w, ms, within) || !p.believed() {
			continue
		}
		all++
		if order(p.id[:], 0) < even {
			before++
		}
		lowest = lowest && order(p.id[:], w.Piece) > drawn
	}
	if all > fewMax {
		return lowest
	}
	return w.Piece%all == before
}

// overlooked: a reader waits for the piece, and whoever's turn it is to fetch it has left it for too long: its own player may hold what
// its store has lost. A play head that moves needs no such rule, for it brings the last moment at which the origin is asked.
func (e *Engine) overlooked(w *picker.Want) bool {
	a := e.findActive(w.Piece)
	if a == nil {
		return false
	}
	if _, rate := e.picker.Playing(int64(e.now)); rate != 0 || !e.picker.Waited(w.File, w.Piece) {
		a.left = 0
		return false
	}
	if a.left == 0 {
		a.left = max(e.now, 1)
	}
	return e.now-a.left > turnMax
}

func order(id []byte, piece uint32) uint64 {
	h := uint64(piece)*0x9e3779b97f4a7c15 + 1
	for _, b := range id {
		h = (h ^ uint64(b)) * 0x100000001b3 // FNV-1a's step
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	return h ^ h>>27
}

// cohort is our place among the viewers who are in step with us, as the tracker counts them.
type cohort struct{ id, place, size uint32 }

// massed: we are one of many who all want the same at the same time, and none of whom was found to lie lately: whom a liar's place was
// drawn for would wait for nothing.
func (e *Engine) massed() bool {
	return e.cohort.size > fewMax && (e.liedAt == 0 || e.now-e.liedAt > wary)
}

// chosen: among the many we are one of those who fetch the piece for all. Where there is time that is one viewer, by places. The holders of
// a piece double every doublingMs: the nearer its time, the more are needed for it to reach everyone. Not all know the latest size, so
// it is rounded down to a power of two, or to one and a half of it, for most to agree.
func (e *Engine) chosen(w *picker.Want) bool {
	n := e.cohort.size
	doublings := bits.Len32(n) - 1
	share := uint32(1) << doublings
	if share+share/2 <= n {
		share += share / 2
	}
	if k := int64(doublings) - max(w.AheadMs, 0)/doublingMs; k > 0 {
		share = max(share>>k, cohortLeast)
	}
	return e.cohort.place%share == w.Piece%share
}
