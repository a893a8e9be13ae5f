package native

import (
	"crypto/sha256"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// keptPiece holds the blocks of a piece that were digested and wait for the engine's word.
type keptPiece struct {
	blocks map[uint32][]byte // by begin
}

// hash is Hash, of a payload or of a fetch.
func (c *core) hash(o *engine.Output) {
	if o.Length == 0 || o.Length > bt.BlockSize {
		return
	}
	if o.Peer != 0 {
		c.hashPayload(o)
	} else {
		c.hashFetched(o)
	}
}

// keep digests a block that is whole, keeps it (data is owned from now on), and has the engine told, unless there is one already.
// who names the source.
func (c *core) keep(piece, begin uint32, data []byte, who engine.Input) {
	k := c.kept[piece]
	if k != nil && k.blocks[begin] != nil || c.store.Has(piece) || c.keptLen+len(data) > keptMax {
		return
	}
	if k == nil {
		k = &keptPiece{blocks: map[uint32][]byte{}}
		c.kept[piece] = k
	}
	k.blocks[begin] = data
	c.keptLen += len(data)
	who.Kind, who.Piece, who.Begin, who.Digest = engine.Hashed, piece, begin, sha256.Sum256(data)
	c.then(who)
}

// readKept fills p from within a piece that is not whole yet, out of the blocks that are kept of it; false unless all of it is there.
func (c *core) readKept(piece uint32, p []byte, off int64) bool {
	k := c.kept[piece]
	for k != nil && len(p) > 0 {
		begin := off - off%bt.BlockSize
		b := k.blocks[uint32(begin)]
		if int64(len(b)) <= off-begin {
			return false
		}
		n := copy(p, b[off-begin:])
		p, off = p[n:], off+int64(n)
	}
	return k != nil
}

func (c *core) dropKept(piece, begin uint32) {
	k := c.kept[piece]
	if k == nil {
		return
	}
	c.keptLen -= len(k.blocks[begin])
	delete(k.blocks, begin)
	if len(k.blocks) == 0 {
		delete(c.kept, piece)
	}
}

// storePiece moves a verified piece's kept blocks to the store; or, when none are kept and the engine was told the digests of what
// was found of it, counts that as stored. What the store puts out for it, the engine is told of. A piece of which a block is
// missing was not verified as it stands: it is thrown away.
func (c *core) storePiece(piece uint32) {
	k := c.kept[piece]
	size := c.files.pieceSize(piece)
	if size == 0 {
		return
	}
	checked := c.checked[piece]
	delete(c.checked, piece)
	if k == nil {
		if checked && c.shelf.Accept(piece) {
			c.then(engine.Input{Kind: engine.Stored, Piece: piece})
		} else {
			c.then(engine.Input{Kind: engine.Evicted, Piece: piece})
		}
		return
	}
	data := c.scratch
	if c.scratch = nil; int64(cap(data)) < size {
		data = make([]byte, size)
	}
	data = data[:size]
	whole := int64(0)
	for begin, b := range k.blocks { // each at a place of its own: see keep
		if int64(begin) < size {
			whole += int64(copy(data[begin:], b))
		}
		c.keptLen -= len(b)
		giveBlock(b)
	}
	delete(c.kept, piece)
	if whole == size && c.conflicts(piece, data) {
		return
	}
	if whole != size {
		c.then(engine.Input{Kind: engine.Evicted, Piece: piece})
		return
	}
	out, err := c.store.Put(piece, data)
	if t, ok := c.store.(transient); ok && t.Transient() {
		c.scratch = data
	}
	for _, p := range out {
		c.then(engine.Input{Kind: engine.Evicted, Piece: p})
	}
	if err != nil {
		// The engine may ask for it again; a piece that is not kept anywhere must not count as had.
		c.then(engine.Input{Kind: engine.Evicted, Piece: piece})
		return
	}
	c.then(engine.Input{Kind: engine.Stored, Piece: piece})
	if limit, _ := c.store.Room(); limit != c.limit {
		c.tellRoom()
	}
}

// hashPiece digests the blocks of a stored piece again, for a peer that wants their hashes. Where the store has lost the piece, that is
// said too.
func (c *core) hashPiece(o *engine.Output) {
	in := engine.Input{Kind: engine.PieceHashed, Ref: o.Ref, Piece: o.Piece}
	data := make([]byte, c.files.pieceSize(o.Piece))
	if len(data) > 0 && c.store.Has(o.Piece) {
		if err := c.store.ReadAt(o.Piece, data, 0); err != nil {
			c.lose(o.Piece, engine.Input{})
		} else {
			in.Data = leavesOf(data)
		}
	}
	c.then(in)
}

// lose takes a piece out of the store, whether or not the store can, and says so; unsent names the block that was to be sent, if it
// was found out by that.
func (c *core) lose(piece uint32, unsent engine.Input) {
	delete(c.checked, piece)
	_ = c.store.Delete(piece) // it counts as gone; what stays on a disk that fails is digested before it counts again
	unsent.Kind, unsent.Piece = engine.Evicted, piece
	c.then(unsent)
}

// check digests what was found of a piece; the engine judges.
func (c *core) check(piece uint32) {
	in := engine.Input{Kind: engine.Checked, Piece: piece}
	if c.shelf != nil {
		if data, err := c.shelf.Peek(piece); err == nil {
			in.Data = leavesOf(data)
			c.checked[piece] = true
		}
	}
	c.then(in)
}

// leavesOf is the concatenated digests of a piece's blocks.
func leavesOf(data []byte) (leaves []byte) {
	for ; len(data) > 0; data = data[min(bt.BlockSize, len(data)):] {
		sum := sha256.Sum256(data[:min(bt.BlockSize, len(data))])
		leaves = append(leaves, sum[:]...)
	}
	return leaves
}
