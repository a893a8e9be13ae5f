package native

import (
	"container/list"
	"errors"

	"essaim/internal/engine"
)

// Store keeps verified pieces. It is used by one goroutine, and what Put was given is not changed afterwards.
type Store interface {
	// Pieces lists what it held when it was opened and vouches for by itself, in order. What it does not vouch for a Shelf lists.
	Pieces() []uint32
	// Room is how many bytes it may hold, and how many of them ahead of the play head (0: no bound). The engine is told, and says
	// what is to go. It may shrink.
	Room() (limit, ahead int64)
	// Has reports whether it holds a piece, verified.
	Has(piece uint32) bool
	// Put keeps a verified piece, which it owns from now on, in place of what was found of it, and returns the pieces that had
	// to go for it.
	Put(piece uint32, data []byte) (evicted []uint32, err error)
	// ReadAt fills p from within a piece, with the bytes that were verified and no others. It fails for what it does not hold, or
	// cannot give back as it was.
	ReadAt(piece uint32, p []byte, off int64) error
	// Delete forgets a piece, verified or found; one that it does not hold is no error.
	Delete(piece uint32) error
	Close() error
}

// transient is what a Store may be besides: one whose Put is done with what it was given when it returns, so that it can be used again.
type transient interface {
	// Transient reports whether that was so at the last Put.
	Transient() bool
}

// Shelf is what a Store may be besides: one that keeps pieces from one visit to the next. Nothing of that counts before the
// engine has verified it.
type Shelf interface {
	// Found lists the pieces that nothing vouches for yet, in order.
	Found() []uint32
	// Peek returns such a piece's bytes as they lie there.
	Peek(piece uint32) ([]byte, error)
	// Accept counts such a piece as verified from now on, as Peek last returned it; false if it is no longer there, or nobody
	// peeked at it.
	Accept(piece uint32) bool
	// Others lists what is kept of other files, RemoveOther removes one.
	Others() []engine.Shelved
	RemoveOther(ref uint32) error
	// Mark writes down, beside a file's pieces, how many viewers its swarm has and how many copies of a piece they hold, in
	// sixteenths.
	Mark(file, members, copies uint32) error
}

var errNoPiece = errors.New("piece not stored")

// memory is a bounded store. The engine says what is to go; should that come too late, what was used longest ago goes first.
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

func (m *memory) Pieces() []uint32 { return nil } // it is new

// Room leaves a quarter for what lies behind the play head.
func (m *memory) Room() (limit, ahead int64) { return m.max, m.max / 4 * 3 }

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
