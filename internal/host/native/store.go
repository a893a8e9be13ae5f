package native

import (
	"container/list"
	"errors"
)

// Store keeps verified pieces. It is used by one goroutine, and what Put was given is not changed afterwards.
type Store interface {
	// Pieces lists what it holds, verified, in order.
	Pieces() []uint32
	Has(piece uint32) bool
	// Put keeps a piece, which it owns from now on, and returns the pieces that had to go for it.
	Put(piece uint32, data []byte) (evicted []uint32, err error)
	// ReadAt fills p from within a piece. It fails for what it does not hold.
	ReadAt(piece uint32, p []byte, off int64) error
	// Delete forgets a piece; one that it does not hold is no error.
	Delete(piece uint32) error
	Close() error
}

var errNoPiece = errors.New("piece not stored")

// memory is a bounded store: when it is full, what was used longest ago goes first.
type memory struct {
	max    int64
	used   int64
	pieces map[uint32]*list.Element
	order  list.List // front: used last; values are *memoryPiece
}

type memoryPiece struct {
	piece uint32
	data  []byte
}

// NewMemory returns a store of at most max bytes (at least one piece), in memory.
func NewMemory(max int64) Store {
	return &memory{max: max, pieces: map[uint32]*list.Element{}}
}

func (m *memory) Pieces() []uint32      { return nil } // it is new
func (m *memory) Has(piece uint32) bool { return m.pieces[piece] != nil }
func (m *memory) Close() error          { return nil }

func (m *memory) Put(piece uint32, data []byte) (evicted []uint32, err error) {
	if err := m.Delete(piece); err != nil {
		return nil, err
	}
	for m.used+int64(len(data)) > m.max && m.order.Len() > 0 {
		p := m.order.Back().Value.(*memoryPiece).piece
		evicted = append(evicted, p)
		if err := m.Delete(p); err != nil {
			return evicted, err
		}
	}
	m.pieces[piece] = m.order.PushFront(&memoryPiece{piece: piece, data: data})
	m.used += int64(len(data))
	return evicted, nil
}

func (m *memory) ReadAt(piece uint32, p []byte, off int64) error {
	e := m.pieces[piece]
	if e == nil {
		return errNoPiece
	}
	data := e.Value.(*memoryPiece).data
	if off < 0 || off+int64(len(p)) > int64(len(data)) {
		return errNoPiece
	}
	m.order.MoveToFront(e)
	copy(p, data[off:])
	return nil
}

func (m *memory) Delete(piece uint32) error {
	if e := m.pieces[piece]; e != nil {
		m.used -= int64(len(e.Value.(*memoryPiece).data))
		m.order.Remove(e)
		delete(m.pieces, piece)
	}
	return nil
}
