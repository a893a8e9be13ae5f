package tracker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/vod"

	"github.com/coder/websocket"
)

// Bounds of one connection.
const (
	// queueBytes and queueMessages are how far a client may fall behind in reading. Thirty-two offers, the most that
	// anyone is given, are 48 KiB.
	queueBytes    = 64 << 10
	queueMessages = 96
	// queueTotal bounds the queues of all connections together; beyond it, who has more than queueShare is dropped.
	queueTotal = 32 << 20
	queueShare = 8 << 10
	// writeTimeout is how long one message may take to be written.
	writeTimeout = 10 * time.Second
	// closeTimeout is how long a closing client may take to read what is left and to agree.
	closeTimeout = 5 * time.Second
	// greetTimeout is how long a connection may take to say something that can be read: clients announce at once.
	greetTimeout = 30 * time.Second
	// pingInterval keeps network address translators and proxies from forgetting the connection.
	pingInterval = 50 * time.Second
)

// hijacker hands over the connection as net/http does, and keeps hold of it: the WebSocket library offers neither
// deadlines nor a way to end a close handshake that the other side drags out.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err
}

// socket is one connection.
type socket struct {
	tracker *Tracker
	id      swarm.Socket
	from    address
	foreign bool // opened by a page that is not ours
	passed  bool // let in with a rehearsal's pass, so not counted for its address

	// rehearsal is the label of whom the connection speaks for, empty for viewers. The pass that it came with settles it, or
	// its first announce, and for good: no peer goes from one company to another. Of the reader alone.
	rehearsal vod.RehearsalLabel
	settled   bool

	grants   []*grant // by tickets that were shown. Of the tracker's mu
	stranger bool     // has announced without a ticket. Of the tracker's mu, but read by the reader

	// Of the reader alone.
	last      *shown // the last ticket that was checked
	spoken    bool   // it has said something that can be read
	messages  bucket
	announces bucket
	pings     bucket
	faults    int
	warned    time.Time // not again before, that introductions are used up

	wake chan struct{} // holds a token when the writer has something to do

	mu       sync.Mutex
	raw      net.Conn // nil until the handshake is done
	pinger   *time.Timer
	queue    [][]byte
	bytes    int       // in the queue and in the writer's hands
	closed   bool      // nothing is sent any more, and the writer is to end
	deadline time.Time // of a closed connection
	code     websocket.StatusCode
	reason   string
}

func newSocket(t *Tracker, id swarm.Socket, from address, foreign bool) *socket {
	return &socket{
		tracker: t,
		id:      id,
		from:    from,
		foreign: foreign,
		// A client may be in 16 swarms and say "completed" and "started" of each at once.
		announces: bucket{every: 2 * time.Second, burst: 32},
		// Ten offers of each announce may be answered, and ten answers follow.
		messages: bucket{every: 100 * time.Millisecond, burst: 200},
		pings:    bucket{every: time.Second, burst: 20},
		wake:     make(chan struct{}, 1),
	}
}

// serve reads until the connection ends, and returns when the writer has ended too.
func (s *socket) serve(conn *websocket.Conn, raw net.Conn) {
	conn.SetReadLimit(announce.MessageMax)
	s.mu.Lock()
	s.raw = raw
	s.pinger = time.AfterFunc(pingInterval, func() { s.ping(conn) })
	s.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write(conn)
	}()
	s.read(conn)
	s.tracker.forget(s)
	<-written
	s.pinger.Stop()
}

// read handles messages until the connection fails, falls silent or is closed.
func (s *socket) read(conn *websocket.Conn) {
	for s.patient() {
		if err := s.readMessage(conn); err != nil {
			switch {
			case errors.Is(err, websocket.ErrMessageTooBig):
				s.finish(websocket.StatusMessageTooBig, "message too large")
			case websocket.CloseStatus(err) != -1:
				s.finish(websocket.StatusNormalClosure, "")
			case errors.Is(err, os.ErrDeadlineExceeded):
				s.finish(websocket.StatusGoingAway, "silent for too long")
			default:
				s.finish(websocket.StatusProtocolError, "")
			}
			return
		}
	}
}

// patient sets the time by which a whole message must have come; false when the connection is closed.
func (s *socket) patient() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	wait := s.tracker.cfg.IdleTimeout
	if !s.spoken {
		wait = min(wait, greetTimeout)
	}
	_ = s.raw.SetReadDeadline(time.Now().Add(wait))
	return true
}

// buffers hold messages while they are read: an idle connection holds none.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *socket) readMessage(conn *websocket.Conn) error {
	kind, r, err := conn.Reader(context.Background())
	if err != nil {
		return err
	}
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(r); err != nil {
		return err
	}
	if kind != websocket.MessageText {
		s.finish(websocket.StatusUnsupportedData, "text only")
		return nil
	}
	s.handle(b.Bytes())
	return nil
}

// write sends what is queued, and closes the connection when it is told to or cannot.
func (s *socket) write(conn *websocket.Conn) {
	for {
		message, done := s.next()
		switch {
		case message != nil:
			err := conn.Write(context.Background(), websocket.MessageText, message)
			s.wrote(len(message))
			if err != nil {
				s.sever()
			}
		case done:
			// After sever, or when the other side drags it out, the deadline or the closed socket ends this.
			_ = conn.Close(s.code, s.reason)
			return
		default:
			<-s.wake
		}
	}
}

// next takes the next message out of the queue; done when none will follow.
func (s *socket) next() (message []byte, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline := s.deadline
	if !s.closed {
		deadline = time.Now().Add(writeTimeout)
	}
	_ = s.raw.SetWriteDeadline(deadline)
	if len(s.queue) == 0 {
		s.queue = nil
		if s.closed {
			_ = s.raw.SetReadDeadline(s.deadline)
		}
		return nil, s.closed
	}
	message = s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	return message, false
}

// wrote gives back the room of a message.
func (s *socket) wrote(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= n
	s.tracker.queued.Add(int64(-n))
	if !s.closed {
		// The library answers pings at any time.
		_ = s.raw.SetWriteDeadline(time.Time{})
	}
}

// send queues a message, which it keeps. A client that reads too slowly is dropped.
func (s *socket) send(message []byte) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.bytes += len(message)
	total := s.tracker.queued.Add(int64(len(message)))
	s.queue = append(s.queue, message)
	slow := s.bytes > queueBytes || len(s.queue) > queueMessages || total > queueTotal && s.bytes > queueShare
	s.mu.Unlock()
	if slow {
		s.tracker.cfg.Logger.Debug("tracker drops a slow reader", "socket", s.id)
		s.sever()
		s.tracker.forget(s)
		return
	}
	s.signal()
}

// finish closes the connection once what is queued has been sent. The first call counts.
func (s *socket) finish(code websocket.StatusCode, reason string) {
	s.mu.Lock()
	if !s.closed {
		s.closed, s.code, s.reason = true, code, reason
		s.deadline = time.Now().Add(closeTimeout)
		if s.raw != nil {
			_ = s.raw.SetWriteDeadline(s.deadline)
		}
	}
	s.mu.Unlock()
	s.signal()
}

// sever ends the connection at once.
func (s *socket) sever() {
	s.mu.Lock()
	if !s.closed {
		s.closed, s.code, s.reason = true, websocket.StatusPolicyViolation, "reads too slowly"
	}
	for _, m := range s.queue {
		s.bytes -= len(m)
		s.tracker.queued.Add(int64(-len(m)))
	}
	s.queue = nil
	if s.raw != nil {
		_ = s.raw.Close()
	}
	s.mu.Unlock()
	s.signal()
}

func (s *socket) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ping runs in a timer's goroutine. Whether a pong comes does not matter: the reader notices silence.
func (s *socket) ping(conn *websocket.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Ping(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.pinger.Reset(pingInterval)
	}
}

// pinged is called by the reader for every ping of the client's; false withholds the pong.
func (s *socket) pinged(context.Context, []byte) bool {
	if s.pings.allow(s.tracker.cfg.Clock()) {
		return true
	}
	s.finish(websocket.StatusPolicyViolation, "too many pings")
	return false
}
