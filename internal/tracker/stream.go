package tracker

import (
	"errors"
	"net"
	"os"
	"time"

	"essaim/internal/tracker/frame"
)

const (
	// lull is how long a goroutine that has handled messages waits for the next.
	lull = time.Second
	// queueMessages bounds the frames that wait while a stream's writer writes what came before.
	queueMessages = 96
	// sip is the size of the buffer with which an idle stream waits, in bytes.
	sip = 256
)

// stream is the carrier of any net.Conn: a goroutine and a small buffer wait for what comes, and another goroutine writes while
// there is something to write. Where there are pollers, streams carry what those cannot.
type stream struct {
	socket *socket
	raw    net.Conn

	// Of the reader alone.
	lulled bool // nothing has come for a moment
	small  []byte

	// Of the socket's mu.
	queue   []byte        // frames that wait for the writer
	frames  int           // how many
	bytes   int           // in the queue and in the writer's hands
	writing chan struct{} // closed when the writer has ended; nil: there is none
}

// read handles messages until the connection has ended, or falls silent for a moment: then a new goroutine waits for what comes
// next, for this one's stack has grown by what it did.
func (c *stream) read() {
	if c.heed() {
		go c.idle()
	} else {
		c.over()
	}
}

// idle waits for what comes next. It is all that there is of most streams at most times, so it and what it calls are to stay
// shallow.
func (c *stream) idle() {
	c.lulled = true
	if err := c.wait(); err != nil && !c.silent(err) {
		c.over()
		return
	}
	c.lulled = false
	c.read()
}

// heed handles what comes; false when the connection has ended, true when nothing comes for a moment.
func (c *stream) heed() (silent bool) {
	defer func() {
		if p := recover(); p != nil {
			c.socket.panicked(p)
			silent = false
		}
	}()
	for {
		if !c.socket.advance() {
			return false
		}
		if err := c.wait(); err != nil && !c.silent(err) {
			return false
		} else if err != nil && c.socket.in.held() == 0 {
			return true
		}
	}
}

// wait reads what comes next, and sets the time until which it may take to.
func (c *stream) wait() error {
	s := c.socket
	now := time.Now()
	end := now.Add(lull)
	if c.lulled {
		end = now.Add(s.tracker.keepalive)
		if limit := s.heard.Add(s.patience()); limit.Before(end) {
			end = limit
		}
	}
	s.mu.Lock()
	// A message has its time from its first bytes on; a closed connection got its deadline with the closing.
	if !s.closed && (s.in.held() == 0 || s.in.until.IsZero()) {
		s.in.until = time.Time{}
		if s.in.held() > 0 {
			end = now.Add(messageTimeout)
			s.in.until = end
		}
		_ = c.raw.SetReadDeadline(end)
	}
	s.mu.Unlock()
	if s.in.held() > 0 {
		n, err := c.raw.Read(s.in.room())
		s.in.came(n)
		if n > 0 {
			return nil
		}
		return err
	}
	if c.small == nil {
		c.small = make([]byte, sip)
	}
	n, err := c.raw.Read(c.small)
	if n > 0 {
		s.in.came(copy(s.in.room(), c.small[:n]))
		return nil
	}
	return err
}

// silent looks at why nothing came; false when the connection has ended.
func (c *stream) silent(err error) bool {
	s := c.socket
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded) || s.ended():
		return false // it is gone, or had its time to agree to the end
	case s.in.held() > 0:
		s.finish(frame.CodePolicy, "message takes too long")
		return true
	case time.Since(s.heard) >= s.patience():
		s.finish(frame.CodeGoingAway, "silent for too long")
		return true
	case !c.lulled:
		return true
	}
	// Whether a pong comes does not matter: silence is noticed.
	s.nudge()
	return true
}

// over ends what is left of the connection: of what is queued, as much goes out as the writer has time for.
func (c *stream) over() {
	s := c.socket
	s.hold(0)
	s.in.release()
	s.tracker.forget(s)
	s.mu.Lock()
	s.closed = true
	writing := c.writing
	s.mu.Unlock()
	if writing != nil {
		<-writing
	}
	_ = c.raw.Close()
	s.tracker.exit(s)
}

// say implements carrier.
func (c *stream) say(f []byte, _ *turn) bool {
	c.bytes += len(f)
	total := c.socket.tracker.queued.Add(int64(len(f)))
	c.queue = append(c.queue, f...)
	c.frames++
	if c.writing == nil {
		c.writing = make(chan struct{})
		go c.write(c.writing)
	}
	return bounded(c.bytes, total) && c.frames <= queueMessages
}

// write sends what is queued, all that has come together at once, and ends with it.
func (c *stream) write(done chan struct{}) {
	defer close(done)
	s := c.socket
	for {
		s.mu.Lock()
		if len(c.queue) == 0 {
			c.queue, c.writing = nil, nil
			s.mu.Unlock()
			return
		}
		f := c.queue
		c.queue, c.frames = nil, 0
		if !s.closed {
			_ = c.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		s.mu.Unlock()
		_, err := c.raw.Write(f)
		s.mu.Lock()
		c.bytes -= len(f)
		s.tracker.queued.Add(int64(-len(f)))
		if !s.closed {
			_ = c.raw.SetWriteDeadline(time.Time{})
		}
		s.mu.Unlock()
		if err != nil {
			s.sever()
		}
	}
}

// linger implements carrier.
func (c *stream) linger(d time.Duration) { _ = c.raw.SetDeadline(time.Now().Add(d)) }

// sever implements carrier.
func (c *stream) sever() {
	c.bytes -= len(c.queue)
	c.socket.tracker.queued.Add(int64(-len(c.queue)))
	c.queue, c.frames = nil, 0
	_ = c.raw.Close()
}
