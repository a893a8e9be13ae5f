package tracker

import (
	"net"
	"sync"
	"syscall"
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
	conn    net.Conn
	direct  syscall.RawConn // nil: conn cannot be asked whether something has come
	buffer  *[]byte         // nil: none is held
	from    int             // what is in the buffer is at [from, to)
	to      int
	counted int       // bytes that its socket has counted as held
	until   time.Time // when the message that has begun must be whole; zero: not set
	small   []byte    // where direct is nil: what an idle connection is read into
	err     error
	ready   func(fd uintptr) bool // of direct, made once
}

// begin takes the connection, with what has come already.
func (in *intake) begin(conn net.Conn, direct syscall.RawConn, rest []byte) {
	in.conn, in.direct = conn, direct
	if direct != nil {
		in.ready = in.readNow
	}
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

// deadline is until when read may wait.
func (in *intake) deadline(at time.Time) { _ = in.conn.SetReadDeadline(at) }

// read waits until something has come, and reads it.
func (in *intake) read() error {
	if in.direct != nil {
		in.err = nil
		if err := in.direct.Read(in.ready); err != nil {
			return err
		}
		return in.err
	}
	if in.buffer == nil {
		// An idle connection waits with a small buffer.
		if in.small == nil {
			in.small = make([]byte, 256)
		}
		n, err := in.conn.Read(in.small)
		if n > 0 {
			in.grow(n)
			in.from, in.to = 0, copy(*in.buffer, in.small[:n])
			return nil
		}
		return err
	}
	in.room()
	n, err := in.conn.Read((*in.buffer)[in.to:])
	in.to += n
	if n > 0 {
		return nil
	}
	return err
}

// room sees to it that a read has where to go.
func (in *intake) room() {
	if in.buffer == nil || in.to == len(*in.buffer) {
		in.grow(1)
	}
}
