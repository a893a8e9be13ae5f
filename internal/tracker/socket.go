package tracker

import (
	"errors"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/tracker/frame"
	"essaim/internal/vod"
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
	// heldTotal and heldShare bound likewise what has come of messages that are not whole yet.
	heldTotal = 32 << 20
	heldShare = 8 << 10
	// writeTimeout is how long one message may take to be written.
	writeTimeout = 10 * time.Second
	// messageTimeout is how long one message may take to come, from its first byte on.
	messageTimeout = 20 * time.Second
	// closeTimeout is how long a closing client may take to read what is left and to agree.
	closeTimeout = 5 * time.Second
	// greetTimeout is how long a connection may take to say something that can be read: clients announce at once.
	greetTimeout = 30 * time.Second
	// lull is how long a goroutine that has handled messages waits for the next.
	lull = time.Second
	// pingInterval keeps network address translators and proxies from forgetting the connection.
	pingInterval = 50 * time.Second
)

// hijack takes the connection over from net/http, with what has come behind the request.
func hijack(w http.ResponseWriter) (net.Conn, []byte, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	rest := make([]byte, rw.Reader.Buffered())
	_, _ = rw.Reader.Read(rest) // buffered: it cannot fail
	return conn, rest, nil
}

// socket is one connection.
type socket struct {
	tracker *Tracker
	id      swarm.Socket
	from    address
	foreign bool // opened by a page that is not ours
	passed  bool // let in with a rehearsal's pass, so not counted for its address

	// rehearsal is the label of whom the connection speaks for, empty for viewers. The pass that it came with settles it, or
	// its first announce, and for good: no peer goes from one company to another. Of the reader alone, but written with the
	// tracker's mu held.
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
	in        intake
	decoder   frame.Decoder
	heard     time.Time // the last whole message
	lulled    bool      // nothing has come for a moment
	broken    bool      // its frames make no sense any more

	mu      sync.Mutex
	raw     net.Conn        // nil until the handshake is done
	direct  syscall.RawConn // raw, where it can be written to without waiting; nil: it cannot
	queue   [][]byte        // frames that wait for the writer
	bytes   int             // in the queue and in the writer's hands
	writing chan struct{}   // closed when the writer has ended; nil: there is none
	closed  bool            // nothing is sent any more, and the writer is to end
	code    frame.Code
	reason  string
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
	}
}

// serve answers the handshake and begins to read. rest is what has come already.
func (s *socket) serve(conn net.Conn, answer, rest []byte) {
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := conn.Write(answer)
	_ = conn.SetWriteDeadline(time.Time{})
	s.mu.Lock()
	s.raw, s.direct = conn, directly(conn)
	if s.closed { // told to go meanwhile
		_ = conn.SetDeadline(time.Now().Add(closeTimeout))
		s.say(frame.AppendClose(nil, s.code, s.reason))
	}
	s.mu.Unlock()
	s.in.begin(conn, s.direct, rest)
	s.decoder.Max = announce.MessageMax
	s.heard = time.Now()
	if err != nil {
		s.sever()
	}
	s.read()
}

// read handles messages until the connection has ended, or falls silent for a moment: then a new goroutine waits for what comes
// next, for this one's stack has grown by what it did. Once the connection is closed, what comes is read to the client's own
// close frame, without being heard.
func (s *socket) read() {
	if s.heed() {
		go s.idle()
	} else {
		s.over()
	}
}

// idle waits for what comes next. It is all that there is of most connections at most times, so it and what it calls are to
// stay shallow.
func (s *socket) idle() {
	s.lulled = true
	if err := s.wait(); err != nil && !s.silent(err) {
		s.over()
		return
	}
	s.lulled = false
	s.read()
}

// heed handles what comes; false when the connection has ended, true when nothing comes for a moment.
func (s *socket) heed() (lull bool) {
	defer func() {
		if p := recover(); p != nil { // a fault of ours ends the one connection
			s.tracker.cfg.Logger.Error("panic", "socket", s.id, "panic", p, "stack", string(debug.Stack()))
			s.sever()
			lull = false
		}
	}()
	for {
		if !s.broken && !s.frames() {
			return false
		}
		if s.broken {
			s.in.drop()
		}
		if !s.hold(s.in.held() + s.decoder.Held()) {
			s.finish(frame.CodeTryAgain, "too busy for long messages")
		}
		if err := s.wait(); err != nil && !s.silent(err) {
			return false
		} else if err != nil && s.in.held() == 0 {
			return true
		}
	}
}

// over ends what is left of the connection: of what is queued, as much goes out as the writer has time for.
func (s *socket) over() {
	s.hold(0)
	s.in.release()
	s.tracker.forget(s)
	s.mu.Lock()
	s.closed = true
	writing, raw := s.writing, s.raw
	s.mu.Unlock()
	if writing != nil {
		<-writing
	}
	_ = raw.Close()
	s.tracker.exit(s)
}

// frames handles all whole frames that have come; false when the connection has ended.
func (s *socket) frames() bool {
	for {
		op, payload, used, err := s.decoder.Next(s.in.bytes())
		var refused *frame.Error
		switch {
		case err != nil && errors.As(err, &refused):
			s.broken = true
			s.finish(refused.Code, refused.Reason)
			return true
		case used == 0:
			return true
		}
		if op == frame.Close {
			code, err := frame.CloseCode(payload)
			if err != nil {
				code = frame.CodeProtocol
			}
			s.finish(code, "")
			return false
		}
		if !s.ended() {
			switch op {
			case frame.Text:
				s.heard = time.Now()
				s.handle(payload)
			case frame.Binary:
				s.finish(frame.CodeUnsupported, "text only")
			case frame.Ping:
				s.pinged(payload)
			case frame.Pong, frame.Continuation, frame.Close:
			}
		}
		s.in.consume(used)
	}
}

// ended says whether the connection is closed on our side.
func (s *socket) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// wait reads what comes next, and sets the time until which it may take to.
func (s *socket) wait() error {
	now := time.Now()
	end := now.Add(lull)
	if s.lulled {
		end = now.Add(pingInterval)
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
		s.in.deadline(end)
	}
	s.mu.Unlock()
	return s.in.read()
}

// patience is how long the connection may go without a whole message.
func (s *socket) patience() time.Duration {
	if !s.spoken {
		return min(greetTimeout, s.tracker.cfg.IdleTimeout)
	}
	return s.tracker.cfg.IdleTimeout
}

// silent looks at why nothing came; false when the connection has ended.
func (s *socket) silent(err error) bool {
	switch {
	case !errors.Is(err, os.ErrDeadlineExceeded) || s.ended():
		return false // it is gone, or had its time to agree to the end
	case s.in.held() > 0:
		s.finish(frame.CodePolicy, "message takes too long")
		return true
	case time.Since(s.heard) >= s.patience():
		s.finish(frame.CodeGoingAway, "silent for too long")
		return true
	case !s.lulled:
		return true
	}
	// Whether a pong comes does not matter: silence is noticed.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say([]byte{0x80 | byte(frame.Ping), 0})
	return true
}

// hold counts the bytes of unfinished messages; false when all connections together have too many, and this one its share.
func (s *socket) hold(n int) bool {
	more := n - s.in.counted
	if more == 0 {
		return true
	}
	s.in.counted = n
	return s.tracker.held.Add(int64(more)) <= heldTotal || n <= heldShare
}

// pinged answers a ping, unless there are too many.
func (s *socket) pinged(payload []byte) {
	if !s.pings.allow(s.tracker.cfg.Clock()) {
		s.finish(frame.CodePolicy, "too many pings")
		return
	}
	s.frame(payload, frame.Pong)
}

// messages are where frames are put together.
var outgoing = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// send sends a message, which it does not keep. A client that reads too slowly is dropped.
func (s *socket) send(message []byte) { s.frame(message, frame.Text) }

func (s *socket) frame(payload []byte, op frame.Op) {
	b := outgoing.Get().(*[]byte)
	*b = append(append((*b)[:0], make([]byte, frame.Room)...), payload...)
	s.deliver(frame.Finish(*b, op))
	outgoing.Put(b)
}

// sendReply, sendRelayed and sendFailure write their message straight into a frame.
func (s *socket) sendReply(r *announce.Reply) {
	b := outgoing.Get().(*[]byte)
	*b = announce.AppendReply(append((*b)[:0], make([]byte, frame.Room)...), r)
	s.deliver(frame.Finish(*b, frame.Text))
	outgoing.Put(b)
}

func (s *socket) sendRelayed(r *announce.Relayed, sdp []byte) {
	b := outgoing.Get().(*[]byte)
	*b = announce.AppendRelayedSDP(append((*b)[:0], make([]byte, frame.Room)...), r, sdp)
	s.deliver(frame.Finish(*b, frame.Text))
	outgoing.Put(b)
}

// deliver writes a frame, which it does not keep, or queues it.
func (s *socket) deliver(f []byte) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	slow := !s.say(f)
	s.mu.Unlock()
	if slow {
		s.tracker.cfg.Logger.Debug("tracker drops a slow reader", "socket", s.id)
		s.sever()
		s.tracker.forget(s)
	}
}

// say writes as much of a frame as goes without waiting, and leaves the rest to the writer. false when the client has fallen too
// far behind. Called with mu held.
func (s *socket) say(f []byte) bool {
	if s.raw == nil {
		return true // closed before the handshake was done: serve says so
	}
	if s.writing == nil && s.direct != nil {
		f = f[writeNow(s.direct, f):]
		if len(f) == 0 {
			return true
		}
	}
	s.bytes += len(f)
	total := s.tracker.queued.Add(int64(len(f)))
	s.queue = append(s.queue, append([]byte(nil), f...))
	if s.writing == nil {
		s.writing = make(chan struct{})
		go s.write(s.writing)
	}
	return s.bytes <= queueBytes && len(s.queue) <= queueMessages && (total <= queueTotal || s.bytes <= queueShare)
}

// write sends what is queued, and ends with it.
func (s *socket) write(done chan struct{}) {
	defer close(done)
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.queue, s.writing = nil, nil
			s.mu.Unlock()
			return
		}
		f := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if !s.closed {
			_ = s.raw.SetWriteDeadline(time.Now().Add(writeTimeout))
		}
		s.mu.Unlock()
		_, err := s.raw.Write(f)
		s.mu.Lock()
		s.bytes -= len(f)
		s.tracker.queued.Add(int64(-len(f)))
		if !s.closed {
			_ = s.raw.SetWriteDeadline(time.Time{})
		}
		s.mu.Unlock()
		if err != nil {
			s.sever()
		}
	}
}

// finish closes the connection once what is queued has been sent. The first call counts.
func (s *socket) finish(code frame.Code, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.code, s.reason = true, code, reason
	if s.raw == nil {
		return
	}
	// The time in which the client may read what is left, and agree.
	_ = s.raw.SetDeadline(time.Now().Add(closeTimeout))
	s.say(frame.AppendClose(nil, code, reason))
}

// sever ends the connection at once.
func (s *socket) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed, s.code, s.reason = true, frame.CodePolicy, "reads too slowly"
	}
	for _, m := range s.queue {
		s.bytes -= len(m)
		s.tracker.queued.Add(int64(-len(m)))
	}
	s.queue = nil
	if s.raw != nil {
		_ = s.raw.Close()
	}
}
