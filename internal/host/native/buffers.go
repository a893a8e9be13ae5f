package native

import (
	"sync"

	"essaim/internal/bt"
)

// Buffers of whole blocks go round, or each gigabyte would be a gigabyte for the garbage collector. Who takes one owns it until it
// gives it back, and need not give it back.
var (
	blocks   = sync.Pool{New: func() any { return new([bt.BlockSize]byte) }}                 // payloads that come
	messages = sync.Pool{New: func() any { return new([4 + pieceHead + bt.BlockSize]byte) }} // piece messages that go
)

// takeBlock returns an empty slice that holds n bytes and no more, n being at most a block.
func takeBlock(n int) []byte {
	if n != bt.BlockSize {
		return make([]byte, 0, n)
	}
	return blocks.Get().(*[bt.BlockSize]byte)[:0]
}

// giveBlock takes back what nobody else has a part of; other sizes than a block's are left to the collector.
func giveBlock(b []byte) {
	if cap(b) == bt.BlockSize {
		blocks.Put((*[bt.BlockSize]byte)(b[:bt.BlockSize]))
	}
}

// takeMessage returns n bytes, whatever they hold.
func takeMessage(n int) []byte {
	if n != 4+pieceHead+bt.BlockSize {
		return make([]byte, n)
	}
	return messages.Get().(*[4 + pieceHead + bt.BlockSize]byte)[:]
}

// giveMessage takes back what takeMessage returned, and lets other slices be.
func giveMessage(b []byte) {
	const n = 4 + pieceHead + bt.BlockSize
	if cap(b) == n && len(b) == n {
		messages.Put((*[n]byte)(b))
	}
}
