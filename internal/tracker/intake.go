package tracker

import (
	"sync"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/tracker/frame"
)

// intakeSize is the size of the shared buffers: ten offers come in one read. What is longer takes a buffer of its own.
const intakeSize = 16 << 10

// intakeMax is the longest frame that has to be whole before it can be read.
const intakeMax = announce.MessageMax + frame.HeaderMax

var intakes = sync.Pool{New: func() any { b := make([]byte, intakeSize); return &b }}

// intake is what has come of a connection and is not read yet. While nothing has, it holds no buffer.
type intake struct {
	buffer  *[]byte // nil: none is held
	from    int     // what is in the buffer is at [from, to)
	to      int
	counted int       // bytes that its socket has counted as held
	until   time.Time // when the message that has begun must be whole; zero: not set
}

// begin takes what has come with the handshake.
func (in *intake) begin(rest []byte) {
	if len(rest) > 0 {
		in.grow(len(rest))
		in.to = copy((*in.buffer)[in.to:], rest)
	}
}

// bytes are what is to be read. They may be changed.
func (in *intake) bytes() []byte {
	if in.buffer == nil {
		return nil
	}
	return (*in.buffer)[in.from:in.to]
}

// held is how many they are.
func (in *intake) held() int { return in.to - in.from }

// consume takes n of them away.
func (in *intake) consume(n int) {
	in.until = time.Time{}
	if in.from += n; in.from == in.to {
		in.drop()
	}
}

// drop takes all of them away.
func (in *intake) drop() {
	in.from, in.to = 0, 0
	in.release()
}

// release gives the buffer back.
func (in *intake) release() {
	if in.buffer != nil && len(*in.buffer) == intakeSize {
		intakes.Put(in.buffer)
	}
	in.buffer = nil
}

// grow makes room for at least n more bytes.
func (in *intake) grow(n int) {
	if in.buffer == nil && n <= intakeSize {
		in.buffer = intakes.Get().(*[]byte)
		return
	}
	held := in.bytes()
	if len(held)+n <= intakeSize && in.buffer != nil {
		copy(*in.buffer, held)
		in.from, in.to = 0, len(held)
		return
	}
	// Twice what has come: what is merely announced takes no memory.
	larger := make([]byte, max(len(held)+n, min(2*len(held), intakeMax)))
	copy(larger, held)
	in.release()
	in.buffer, in.from, in.to = &larger, 0, len(held)
}

// room is where a read goes. It takes a buffer, which drop gives back if nothing comes.
func (in *intake) room() []byte {
	if in.buffer == nil || in.to == len(*in.buffer) {
		in.grow(1)
	}
	return (*in.buffer)[in.to:]
}

// came says that n bytes have been read into room.
func (in *intake) came(n int) { in.to += max(n, 0) }
