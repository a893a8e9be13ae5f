package engine

import (
	"essaim/internal/bt"
	"essaim/internal/engine/picker"
)

// A piece of audio may last sixteen seconds, and a viewer who starts in the middle of it waits for two. Where a reader in a hurry wants
// little of a piece, the piece's leaves are asked for at once, with their proof; the blocks that it wants come first, each is judged when
// it comes, and the reader is answered before the piece is whole. The host then gives it the blocks that it keeps: they are proven, only
// not stored yet.

// narrowMs is how long the rest of a piece must take, in milliseconds, to be worth the asking for leaves.
const narrowMs = 150

// tailMs is the same for the last piece of what a reader waits for, where one fetch brings all of it: only the wait is saved.
const tailMs = 30

// span is the run of blocks [from, to) that are asked for now: those that a reader waits for, until they are kept, and then all. a may
// be nil.
func (a *activePiece) span(blocks int) (from, to int) {
	if a != nil {
		for b := a.from; b < a.to; b++ {
			if a.blocks[b].state != blockKept {
				return a.from, a.to
			}
		}
	}
	return 0, blocks
}

// narrow finds the pieces of which little is wanted, and soon: by readers, and by the player from where it stands.
func (e *Engine) narrow() {
	for i := range e.active {
		e.active[i].from, e.active[i].to = 0, 0
	}
	some := false
	for i := 0; ; i++ {
		file, from, to, ok := e.pressed(i)
		if !ok {
			break
		}
		if from < to && e.little(from, to) {
			some = e.narrowTo(file, from, to) || some
		}
	}
	for i := 0; some; i++ { // what somebody else wants more of is wanted whole
		file, from, to, ok := e.pressed(i)
		if !ok {
			break
		}
		if !e.little(from, to) {
			e.widen(file, from, to)
		}
	}
	for i := 0; some && i < len(e.active); i++ {
		if a := &e.active[i]; a.to > 0 {
			e.proveAhead(a)
		}
	}
	e.proveTails()
}

// proveTails asks for the leaves of the pieces in which ranges end that readers wait for, where a source that is short takes long to bring the
// rest of such a piece. The fetch under way stays what it is. With neighbours, of whom one has yet to learn what they are worth, there is no
// hurry to start.
func (e *Engine) proveTails() {
	if !e.short() || len(e.peers) > 0 {
		return
	}
	rate := e.pace.Rate(int64(e.now), e.fetches.Waiting())
	length, unit := int64(e.title.PieceLength), int64(e.unit)
	for i := 0; ; i++ {
		file, from, to, ok := e.picker.Reader(i)
		if !ok {
			return
		}
		f := &e.files[file]
		n := (to - 1) / length
		piece := f.FirstPiece + uint32(n)
		rest := min((n+1)*length, int64(f.Size)) - (to+unit-1)/unit*unit
		if f.width() < 2 || from/length == n || rest*1000/rate < tailMs || e.stock.status[piece] != pieceLacked ||
			!e.fetches.Covers(file, to-1) || len(e.hashes) >= hashRequestMax {
			continue
		}
		if a := e.activate(piece); a.truth == nil && !a.proving && !a.untold {
			a.proving = true
			e.askLeaves(file, int(n), f)
		}
	}
}

// pressed is the i-th of the ranges that are in a hurry: what the files play soon (which may be nothing), and then what readers wait for.
func (e *Engine) pressed(i int) (file uint32, from, to int64, ok bool) {
	if i < len(e.files) {
		from, to = e.picker.Soon(uint32(i), int64(e.now))
		return uint32(i), from, to, true
	}
	return e.picker.Reader(i - len(e.files))
}

// little: the range is small against a piece.
func (e *Engine) little(from, to int64) bool { return 2*(to-from) <= int64(e.title.PieceLength) }

// narrowTo marks a range in the one or two pieces that hold it, beside what was marked before.
func (e *Engine) narrowTo(file uint32, from, to int64) (some bool) {
	length := int64(e.title.PieceLength)
	f := &e.files[file]
	for n := from / length; n*length < to; n++ {
		piece := f.FirstPiece + uint32(n)
		a := e.findActive(piece)
		w := e.wantOf(piece)
		if a == nil || a.untold || e.stock.status[piece] != pieceLacked || w == nil || w.Class != picker.Urgent {
			continue
		}
		begin, end := max(from, n*length), min(to, (n+1)*length)
		unit := int64(e.unit)
		b0, b1 := int((begin-n*length)/unit), int((end-n*length-1)/unit)+1
		if a.to > 0 {
			b0, b1 = min(b0, a.from), max(b1, a.to)
		}
		a.from, a.to = b0, b1
		some = true
	}
	return some
}

// widen: a reader wants much of these pieces.
func (e *Engine) widen(file uint32, from, to int64) {
	first, last := e.picker.Pieces(file, from, to)
	for n := first; n <= last; n++ {
		if a := e.findActive(n); a != nil {
			a.from, a.to = 0, 0
		}
	}
}

// proveAhead asks for the leaves of a piece of which little is wanted, unless the rest of it would come as soon.
func (e *Engine) proveAhead(a *activePiece) {
	f, n := e.locate(a.piece)
	rest := int64(len(a.blocks)-(a.to-a.from)) * int64(e.unit)
	rate := e.pace.Rate(int64(e.now), e.fetches.Waiting())
	if rate == 0 {
		rate = rateGuess
	}
	switch {
	case 2*(a.to-a.from) > len(a.blocks), f.width() < 2:
		a.from, a.to = 0, 0
	case a.truth != nil || a.proving:
	case rest*1000/rate < narrowMs, len(e.hashes) >= hashRequestMax:
		a.from, a.to = 0, 0
	default:
		a.proving = true
		e.askLeaves(uint32(e.stock.fileOf[a.piece]), n, f)
	}
}

// judged compares a block that is kept with its true leaf, if the leaves are known; false: it was wrong, and is gone with its sender.
func (e *Engine) judged(a *activePiece, b int) bool {
	if a.truth == nil {
		return true
	}
	a.blocks[b].proven = a.blocks[b].digest == a.truth[b]
	if !a.blocks[b].proven {
		e.refute(a, b)
		return false
	}
	return true
}

// shelf is what readers may be given: what is stored, and of pieces under construction what was proven.
type shelf struct{ *Engine }

// Readable reports whether bytes [from, to) of a piece are.
func (s shelf) Readable(piece uint32, from, to int64) bool {
	switch s.stock.status[piece] {
	case pieceStored:
		return true
	case pieceLacked:
	default:
		return false
	}
	a := s.findActive(piece)
	if a == nil || a.truth == nil {
		return false
	}
	for b := int(from / int64(s.unit)); int64(b)*int64(s.unit) < to; b++ {
		if bl := &a.blocks[b]; bl.state != blockKept || !bl.proven {
			return false
		}
	}
	return true
}

// learnLeaves keeps a piece's true leaves while it is under construction.
func (a *activePiece) learnLeaves(leaves []bt.Digest) {
	a.truth = append(a.truth[:0], leaves[:min(len(a.blocks), len(leaves))]...)
	a.proving = false
}
