package native

import (
	"errors"

	"essaim/internal/bt/metainfo"
)

// halves hold pieces that the v2 hashes take against the v1 hashes, where the info dictionary is there (BEP 52). Where the two halves of a
// torrent disagree, viewers of the one kind would be served what those of the other must refuse, so that nothing of it may pass.
type halves struct {
	torrent *metainfo.Torrent // nil: the v1 hashes are not known, and nothing is checked
	agree   map[uint32]bool   // pieces of which both halves say the same
	piece   uint32            // the last that was read whole for it,
	data    []byte            // and what it holds: who asks for one block asks for its neighbours next
}

// conflicts holds a piece's bytes, which the v2 hash takes, against the v1 hash. Where that refutes them the host ends.
func (c *core) conflicts(piece uint32, data []byte) bool {
	if c.halves.torrent == nil {
		return false
	}
	if err := c.halves.torrent.VerifyV1(piece, data); err != nil {
		c.ended = true
		c.out.refuse(err)
		return true
	}
	if c.halves.agree == nil {
		c.halves.agree = map[uint32]bool{}
	}
	c.halves.agree[piece] = true
	return false
}

var errRefusedTitle = errors.New("the torrent is refused")

// readStored is the store's ReadAt, for what is played or sent: of a piece that was never held against its v1 hash all is read first.
func (c *core) readStored(piece uint32, p []byte, off int64) error {
	h := &c.halves
	if h.torrent == nil {
		return c.store.ReadAt(piece, p, off)
	}
	if h.data != nil && h.piece == piece && c.store.Has(piece) && off+int64(len(p)) <= int64(len(h.data)) {
		copy(p, h.data[off:])
		return nil
	}
	if h.agree[piece] {
		return c.store.ReadAt(piece, p, off)
	}
	size := c.files.pieceSize(piece)
	if size == 0 || off < 0 || off+int64(len(p)) > size {
		return errNoPiece
	}
	if int64(cap(h.data)) < size {
		h.data = make([]byte, size)
	}
	data := h.data[:size]
	h.data = nil
	if err := c.store.ReadAt(piece, data, 0); err != nil {
		return err
	}
	if c.conflicts(piece, data) {
		return errRefusedTitle
	}
	h.piece, h.data = piece, data
	copy(p, data[off:])
	return nil
}
