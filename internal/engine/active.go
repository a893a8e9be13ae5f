package engine

import (
	"essaim/internal/bt"
)

// block is one block of a piece under construction.
type block struct {
	state  blockState
	proven bool    // its digest equals the true leaf
	asked  uint8   // how many peers owe it
	from   PeerRef // who gave it; 0: an HTTP source
	digest bt.Digest
}

type blockState uint8

const (
	blockLacked  blockState = iota
	blockHashing            // bytes are arriving or being digested
	blockKept               // the host keeps it and told its digest
)

// activePiece is a piece of which something was asked or kept.
type activePiece struct {
	piece   uint32
	kept    int
	leaves  bool    // the true leaves were asked for, because the piece failed
	refuted bool    // a block of it was wrong
	asked   Instant // when a peer was first asked for it; 0: none was
	moved   Instant // when a block last came
	began   Instant // when a block's bytes were last said to be on their way
	left    Instant // since then its fetching has been left to another viewer; 0: it is not
	wanted  bool    // by the present plan
	hashing int
	blocks  []block
	from    int // blocks from .. to-1 are all that readers wait for: narrow.go. to = 0: all are wanted alike
	to      int
	proving bool        // the leaves were asked for, for their sake
	untold  bool        // they could not be had
	truth   []bt.Digest // the true leaves, once they are known
}

func (a *activePiece) ask(b int) { a.blocks[b].asked++ }

// askedAll: of every block that is lacked, some peer owes it.
func (a *activePiece) askedAll() bool {
	for i := range a.blocks {
		if a.blocks[i].state == blockLacked && a.blocks[i].asked == 0 {
			return false
		}
	}
	return true
}

// mostFrom is who gave most of the piece.
func (a *activePiece) mostFrom() PeerRef {
	var best PeerRef
	most := 0
	for i := range a.blocks {
		n := 0
		for j := range a.blocks {
			if a.blocks[j].from == a.blocks[i].from {
				n++
			}
		}
		if n > most {
			best, most = a.blocks[i].from, n
		}
	}
	return best
}

// activeMax bounds the pieces under construction that nobody wants any more.
const activeMax = 64

func (e *Engine) findActive(piece uint32) *activePiece {
	if i := e.stock.activeAt[piece]; i > 0 {
		return &e.active[i-1]
	}
	return nil
}

// activate returns the piece's construction, begun if need be. The pointer holds until the next activate or dropActive.
func (e *Engine) activate(piece uint32) *activePiece {
	if a := e.findActive(piece); a != nil {
		return a
	}
	f, n := e.locate(piece)
	blocks := f.blocksIn(n)
	var spare []block
	if len(e.active) < cap(e.active) {
		spare = e.active[:len(e.active)+1][len(e.active)].blocks // of a piece that ended
	}
	if cap(spare) < blocks {
		spare = make([]block, f.blocksPerPiece)
	}
	spare = spare[:blocks]
	clear(spare)
	e.active = append(e.active, activePiece{piece: piece, blocks: spare, wanted: true})
	e.stock.activeAt[piece] = uint32(len(e.active))
	return &e.active[len(e.active)-1]
}

// dropActive forgets a construction, keeping its memory for the next. The last one takes its place.
func (e *Engine) dropActive(piece uint32) {
	i := int(e.stock.activeAt[piece]) - 1
	if i < 0 {
		return
	}
	last := len(e.active) - 1
	e.active[i], e.active[last] = e.active[last], e.active[i]
	e.active = e.active[:last]
	e.stock.activeAt[piece] = 0
	if i < last {
		e.stock.activeAt[e.active[i].piece] = uint32(i + 1)
	}
}

// abandon forgets constructions that the plan no longer wants, when there are too many of them.
func (e *Engine) abandon() {
	idle := 0
	for i := range e.active {
		if !e.active[i].wanted {
			e.active[i].asked = 0 // wanted again, it is peers' turn again
			idle++
		}
	}
	for i := 0; i < len(e.active) && idle > activeMax; {
		a := &e.active[i]
		if a.wanted || a.hashing > 0 || e.stock.status[a.piece] != pieceLacked {
			i++
			continue
		}
		for b := range a.blocks {
			if a.blocks[b].state == blockKept {
				e.order(Discard, a.piece, uint32(b)*e.unit)
			}
		}
		e.dropActive(a.piece)
		idle--
	}
}

// hashed: the host keeps a block and says its digest.
func (e *Engine) hashed(in *Input) {
	if !e.stock.valid(in.Piece) {
		return
	}
	a := e.findActive(in.Piece)
	b := in.Begin / e.unit
	if a == nil || e.stock.status[in.Piece] != pieceLacked || int(b) >= len(a.blocks) || a.blocks[b].state == blockKept {
		if a == nil {
			e.order(Discard, in.Piece, in.Begin) // it came too late to be of use
		}
		return
	}
	if in.Peer != 0 && e.peer(in.Peer) == nil {
		// Its sender was dropped while it was being digested. A liar's bytes are not worth a second look.
		e.unhash(a, int(b))
		e.order(Discard, in.Piece, in.Begin)
		return
	}
	f, n := e.locate(in.Piece)
	length := f.blockLength(n, int(b))
	bl := &a.blocks[b]
	if bl.state == blockHashing {
		a.hashing--
	}
	bl.state, bl.from, bl.digest, bl.proven = blockKept, in.Peer, in.Digest, false
	a.kept++
	a.moved = e.now
	e.down.Add(int64(e.now), int64(length))
	if p := e.peer(in.Peer); p != nil {
		p.rate.Add(int64(e.now), int64(length)) // what was only begun counts for nothing
	}
	e.cancelOthers(in.Piece, b, in.Peer)
	e.note(NoteBlock, Output{Peer: in.Peer, Piece: in.Piece, Begin: in.Begin, Length: length})
	if !e.judged(a, int(b)) {
		return
	}
	if a.kept == len(a.blocks) {
		e.verify(a)
	}
}

// hashingMax is how long a block may be on its way, in microseconds, before others are asked for it as well. Hosts that
// have no room drop blocks in silence, and peers may stop in the middle of one.
const hashingMax = 10_000_000

// expireBlocks takes back what has been on its way for too long.
func (e *Engine) expireBlocks() {
	for i := range e.active {
		a := &e.active[i]
		if a.hashing == 0 || e.now-a.began <= hashingMax {
			continue
		}
		for b := range a.blocks {
			e.unhash(a, b)
		}
		e.stale = true
	}
}

// comes marks a block as on its way from a peer, or from an HTTP source (0).
func (e *Engine) comes(a *activePiece, b int, from PeerRef) {
	if a.blocks[b].state != blockHashing {
		a.blocks[b].state = blockHashing
		a.hashing++
	}
	a.blocks[b].from, a.began = from, e.now
}

// unhash takes back that a block is on its way.
func (e *Engine) unhash(a *activePiece, b int) {
	if a.blocks[b].state == blockHashing {
		a.blocks[b].state = blockLacked
		a.hashing--
	}
}

// verify compares a whole piece with its hash, when that is known: stores it, or looks for the liar.
func (e *Engine) verify(a *activePiece) {
	f, n := e.locate(a.piece)
	if a.kept < len(a.blocks) || a.leaves || e.stock.status[a.piece] != pieceLacked {
		return
	}
	want, known := f.known.Piece(n)
	if !known {
		e.askLayer(uint32(e.stock.fileOf[a.piece]), n)
		return
	}
	var leaves, scratch [maxFold]bt.Digest
	var root bt.Digest
	if w := f.width(); w <= maxFold {
		for i := range a.blocks {
			leaves[i] = a.blocks[i].digest
		}
		root = bt.FoldInto(scratch[:], leaves[:len(a.blocks)], w)
	} else {
		all := make([]bt.Digest, len(a.blocks))
		for i := range a.blocks {
			all[i] = a.blocks[i].digest
		}
		root = bt.Fold(all, w)
	}
	if root == want {
		e.setStatus(a.piece, pieceStoring)
		e.order(Store, a.piece, 0)
		return
	}
	if len(a.blocks) == 1 && f.width() == 1 {
		e.refute(a, 0) // the piece is its own leaf
		return
	}
	a.leaves = true
	e.askLeaves(uint32(e.stock.fileOf[a.piece]), n, f)
}

// maxFold is the largest piece, in blocks, that is folded on the stack: 512 KiB.
const maxFold = 32

// refute throws away a block that its true leaf contradicts, and bans who sent it (BEP 52: the leaf names the liar).
func (e *Engine) refute(a *activePiece, b int) {
	bl := &a.blocks[b]
	from := bl.from
	e.note(NoteBadBlock, Output{Peer: from, Piece: a.piece, Begin: uint32(b) * e.unit})
	e.lose(a, b)
	a.refuted = true
	if from == 0 {
		e.origin.Failed(int64(e.now), e.next())
		return
	}
	if p := e.peer(from); p != nil {
		e.ban(p, ReasonBadData)
	}
}

// lose makes a kept block lacked again.
func (e *Engine) lose(a *activePiece, b int) {
	if a.blocks[b].state != blockKept {
		return
	}
	a.blocks[b].state = blockLacked
	a.kept--
	e.order(Discard, a.piece, uint32(b)*e.unit)
	e.stale = true
}

// leavesCame judges what is there of a piece by its true leaves, which were proven already. What comes later is judged as it comes.
func (e *Engine) leavesCame(piece uint32, leaves []bt.Digest) {
	a := e.findActive(piece)
	if a == nil || e.stock.status[piece] != pieceLacked {
		return
	}
	a.leaves = false
	a.learnLeaves(leaves)
	for b := range a.blocks {
		if a.blocks[b].state == blockKept {
			a.blocks[b].proven = a.blocks[b].digest == a.truth[b]
		}
	}
	for b := range a.blocks {
		if a.blocks[b].state == blockKept && !a.blocks[b].proven {
			e.refute(a, b)
		}
	}
	e.verify(a) // what was refuted may have been replaced while the leaves were on their way
}

// leavesMissing judges a failed piece without them: all is fetched anew, and everyone who gave a part is suspected.
func (e *Engine) leavesMissing(piece uint32) {
	a := e.findActive(piece)
	if a == nil {
		return
	}
	a.proving, a.untold = false, true // its readers wait for the whole piece then
	e.stale = true
	if !a.leaves {
		return
	}
	a.leaves = false
	var suspects [8]PeerRef
	n := 0
next:
	for b := range a.blocks {
		from := a.blocks[b].from
		if a.blocks[b].state == blockKept && from != 0 && n < len(suspects) {
			for _, s := range suspects[:n] {
				if s == from {
					continue next
				}
			}
			suspects[n] = from
			n++
		}
	}
	e.loseUnproven(a)
	for _, s := range suspects[:n] {
		if p := e.peer(s); p != nil && e.trust.Suspect(p.id) {
			e.ban(p, ReasonSuspect)
		}
	}
}

// leavesPostponed throws away a failed piece whose leaves cannot be asked for just now. So many others are being asked
// for that they will name the liar; to suspect everyone who gave a part of this one would be to know less.
func (e *Engine) leavesPostponed(piece uint32) {
	if a := e.findActive(piece); a != nil && a.leaves {
		a.leaves, a.proving = false, false
		e.loseUnproven(a)
	}
}

func (e *Engine) loseUnproven(a *activePiece) {
	for b := range a.blocks {
		if a.blocks[b].state == blockKept && !a.blocks[b].proven {
			e.lose(a, b)
		}
	}
}

// disown forgets the unproven blocks that a banned peer gave to pieces still under construction.
func (e *Engine) disown(ref PeerRef) {
	for i := range e.active {
		a := &e.active[i]
		if e.stock.status[a.piece] != pieceLacked {
			continue
		}
		for b := range a.blocks {
			if a.blocks[b].from == ref && !a.blocks[b].proven {
				e.lose(a, b)
			}
		}
	}
}
