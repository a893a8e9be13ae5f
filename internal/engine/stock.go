package engine

import (
	"encoding/binary"

	"essaim/internal/bt"
)

// fileState is what the engine knows of one file's shape and hashes.
type fileState struct {
	*TitleFile
	pieces         int    // at least 1
	unit           uint32 // bytes of a block
	blocks         int
	blocksPerPiece int
	known          *bt.Known // what has been proven of its tree
}

func (f *fileState) open(t *TitleFile, pieceLength, unit uint32) {
	f.TitleFile, f.unit = t, unit
	f.blocks = int((t.Size-1)/uint64(unit) + 1)
	f.blocksPerPiece = int(pieceLength / unit)
	f.pieces = (f.blocks + f.blocksPerPiece - 1) / f.blocksPerPiece
	f.known = bt.NewKnown(t.Root, f.blocks, f.blocksPerPiece)
}

// blocksIn is the number of blocks of the file's n-th piece.
func (f *fileState) blocksIn(n int) int { return min(f.blocksPerPiece, f.blocks-n*f.blocksPerPiece) }

// knows reports whether the hash of the file's n-th piece is known.
func (f *fileState) knows(n int) bool {
	_, ok := f.known.Piece(n)
	return ok
}

// width is the number of leaves of a piece's tree.
func (f *fileState) width() int { return f.known.Width() }

// blockAt is where in the file block b of its n-th piece begins.
func (f *fileState) blockAt(n, b int) int64 { return int64(n*f.blocksPerPiece+b) * int64(f.unit) }

// blockLength is the length of block b of the file's n-th piece: a whole one but for the file's last.
func (f *fileState) blockLength(n, b int) uint32 {
	return uint32(min(uint64(f.unit), f.Size-uint64(f.blockAt(n, b))))
}

// pieceStatus is where a piece stands.
type pieceStatus uint8

const (
	pieceLacked   pieceStatus = iota
	pieceFound                // the store may hold it from an earlier visit: cache.go
	pieceChecking             // what was found is being digested
	pieceAccepted             // and is right; the host has yet to say Stored
	pieceStoring              // verified, on its way into the store
	pieceStored
	pieceLeaving // on its way out of it
)

// takesRoom: the piece is in the store, and is to stay.
func (s pieceStatus) takesRoom() bool { return s != pieceLacked && s != pieceLeaving }

// stock is what the host's store holds, and what the peers have.
type stock struct {
	status  []pieceStatus
	holders []uint16
	fileOf  []uint16
	// activeAt is the piece's place among the constructions, plus one; wantedIn the number of the last plan that wants it.
	activeAt []uint32
	wantedIn []uint32
	// claimBy is the neighbour that says it fetches the piece, 0: none does; claimUntil is for how long it is believed.
	claimBy    []PeerRef
	claimUntil []Instant
	count      uint32 // of stored pieces
	found      uint32 // of those found and not looked at
	used       int64  // bytes that the store holds of the title, as far as the engine knows
}

func (s *stock) open(pieces uint32, files []fileState) {
	s.status = make([]pieceStatus, pieces)
	s.holders = make([]uint16, pieces)
	s.fileOf = make([]uint16, pieces)
	s.activeAt = make([]uint32, pieces)
	s.wantedIn = make([]uint32, pieces)
	s.claimBy = make([]PeerRef, pieces)
	s.claimUntil = make([]Instant, pieces)
	for i := range files {
		f := &files[i]
		for n := range f.pieces {
			s.fileOf[f.FirstPiece+uint32(n)] = uint16(i)
		}
	}
}

// Lacks is true until the piece can be read.
func (s *stock) Lacks(piece uint32) bool { return s.status[piece] != pieceStored }

// Holders is the number of connected peers that said they have the piece.
func (s *stock) Holders(piece uint32) int { return int(s.holders[piece]) }

func (s *stock) valid(piece uint32) bool { return piece < uint32(len(s.status)) }

// locate returns a piece's file and its number there.
func (e *Engine) locate(piece uint32) (f *fileState, n int) {
	f = &e.files[e.stock.fileOf[piece]]
	return f, int(piece - f.FirstPiece)
}

// pieceBytes is the number of bytes of the file in a piece.
func (e *Engine) pieceBytes(piece uint32) uint32 {
	f, n := e.locate(piece)
	from := uint64(n) * uint64(e.title.PieceLength)
	return uint32(min(uint64(e.title.PieceLength), f.Size-from))
}

// setStatus moves a piece on, and keeps the counts.
func (e *Engine) setStatus(piece uint32, to pieceStatus) {
	was := e.stock.status[piece]
	e.stock.status[piece] = to
	bytes := int64(e.pieceBytes(piece))
	if was.takesRoom() {
		e.stock.used -= bytes
	}
	if to.takesRoom() {
		e.stock.used += bytes
	}
	if was == pieceFound {
		e.stock.found--
	}
	if to == pieceFound {
		e.stock.found++
	}
	if was == pieceStored {
		e.stock.count--
	}
	if to == pieceStored {
		e.stock.count++
	}
}

// restored takes the host's word for pieces that it holds. What was kept of them meanwhile goes.
func (e *Engine) restored(data []byte) {
	for ; len(data) >= 4; data = data[4:] {
		piece := binary.BigEndian.Uint32(data)
		if e.stock.valid(piece) && e.stock.Lacks(piece) {
			e.discardKept(piece)
			e.hold(piece)
			e.note(NoteRestored, Output{Piece: piece, Length: e.pieceBytes(piece)})
		}
	}
	e.stale = true
}

// discardKept ends a lacked piece's construction, and has the host drop what it keeps of it.
func (e *Engine) discardKept(piece uint32) {
	if a := e.findActive(piece); a != nil && e.stock.status[piece] == pieceLacked {
		for b := range a.blocks {
			if a.blocks[b].state == blockKept {
				e.order(Discard, piece, uint32(b)*e.unit)
			}
		}
	}
	e.endActive(piece)
}

// endActive ends a piece's construction; peers need send no more of it.
func (e *Engine) endActive(piece uint32) {
	if e.findActive(piece) == nil {
		return
	}
	for _, p := range e.peers {
		if p.owedLive > 0 {
			e.cancelOwed(p, func(r *request) bool { return r.piece == piece })
		}
	}
	e.dropActive(piece)
}

// stored: the host can read and serve the piece from now on.
func (e *Engine) stored(piece uint32) {
	if !e.stock.valid(piece) {
		return
	}
	switch e.stock.status[piece] {
	case pieceStoring:
		if a := e.findActive(piece); a != nil {
			e.note(NotePiece, Output{Piece: piece, Peer: a.mostFrom(), Length: e.pieceBytes(piece)})
		}
	case pieceAccepted:
		e.note(NoteRestored, Output{Piece: piece, Length: e.pieceBytes(piece)})
		e.stale = true
	default:
		return
	}
	e.dropActive(piece)
	e.hold(piece)
}

// hold counts the piece as ours and tells the peers.
func (e *Engine) hold(piece uint32) {
	e.setStatus(piece, pieceStored)
	for _, p := range e.peers {
		if p.ready {
			e.sendHave(p, piece)
			if p.has(piece) {
				p.useful--
				e.tellInterest(p)
			}
		}
	}
}

// unhold makes a stored piece no longer ours: it is refused from now on, and peers that know BEP 54 are told.
func (e *Engine) unhold(piece uint32, to pieceStatus) {
	held := e.stock.status[piece] == pieceStored
	e.setStatus(piece, to)
	if !held {
		return
	}
	for _, p := range e.peers {
		if p.ready {
			e.sendDontHave(p, piece)
			if p.has(piece) {
				p.useful++
				e.tellInterest(p)
			}
		}
	}
}

// evicted: the host no longer has it.
func (e *Engine) evicted(piece uint32) {
	if !e.stock.valid(piece) || e.stock.status[piece] == pieceLacked {
		return
	}
	e.unhold(piece, pieceLacked)
	e.endActive(piece)
	e.note(NoteEvicted, Output{Piece: piece})
	e.stale = true
}
