package tracker

import (
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/swarm"
	"essaim/internal/tracker/frame"
	"essaim/internal/vod"
)

// Bounds of one connection.
const (
	// queueBytes is how far a client may fall behind in reading. Thirty-two offers, the most that anyone is given, are 48 KiB.
	queueBytes = 64 << 10
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
	// keepaliveEvery keeps network address translators and proxies from forgetting the connection.
	keepaliveEvery = 50 * time.Second
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
	promised  bool      // a viewer's: it may renew its announce unanswered, and counts on hearing something all the same
	told      time.Time // when it last did
	warned    time.Time // not again before, that introductions are used up
	in        intake
	decoder   frame.Decoder
	heard     time.Time // the last whole message
	broken    bool      // its frames make no sense any more
	turn      *turn     // in which it is being read; nil: none

	mu      sync.Mutex
	carrier carrier // nil until the handshake is done
	closed  bool    // nothing is sent any more
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
	s.decoder.Max = announce.MessageMax
	s.heard = time.Now()
	s.in.begin(rest)
	if err == nil && s.tracker.adopt(s, conn) {
		return
	}
	c := &stream{socket: s, raw: conn}
	s.attach(c)
	if err != nil {
		s.sever()
	}
	c.read()
}

// carrier brings what a socket says to its client, and ends with the socket. Its methods are called with the socket's mu held.
type carrier interface {
	// say writes a frame, which it does not keep, or queues it; with a turn it may wait for that turn's end. false when the client
	// has fallen too far behind.
	say(f []byte, t *turn) bool
	// linger sets how long a connection that is being closed may take to end.
	linger(d time.Duration)
	// sever ends the connection at once, and drops what is queued. The reader finds out by itself.
	sever()
}

// attach gives the socket its carrier. It may have been told to go meanwhile.
func (s *socket) attach(c carrier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.carrier = c
	if s.closed {
		c.linger(closeTimeout)
		c.say(frame.AppendClose(nil, s.code, s.reason), nil)
	}
}

// advance handles what has come, and counts what is not whole yet; false when the connection has ended. Once it is closed on our
// side, what comes is read to the client's own close frame, without being heard.
func (s *socket) advance() bool {
	if !s.broken && !s.frames() {
		return false
	}
	if s.broken {
		s.in.drop()
	}
	if !s.hold(s.in.held() + s.decoder.Held()) {
		s.finish(frame.CodeTryAgain, "too busy for long messages")
	}
	return true
}

// panicked ends the one connection on which a fault of ours showed. It is given what recover returned.
func (s *socket) panicked(p any) {
	s.tracker.cfg.Logger.Error("panic", "socket", s.id, "panic", p, "stack", string(debug.Stack()))
	s.sever()
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

// patience is how long the connection may go without a whole message.
func (s *socket) patience() time.Duration {
	if !s.spoken {
		return min(greetTimeout, s.tracker.cfg.IdleTimeout)
	}
	return s.tracker.cfg.IdleTimeout
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
	s.deliver(frame.Finish(*b, op), nil)
	outgoing.Put(b)
}

// sendReply and sendRelayed write their message straight into a frame, which goes out at the end of the turn, if there is one.
func (s *socket) sendReply(r *announce.Reply, t *turn) {
	b := outgoing.Get().(*[]byte)
	*b = announce.AppendReply(append((*b)[:0], make([]byte, frame.Room)...), r)
	s.deliver(frame.Finish(*b, frame.Text), t)
	outgoing.Put(b)
}

func (s *socket) sendRelayed(r *announce.Relayed, sdp announce.Text, t *turn) {
	b := outgoing.Get().(*[]byte)
	*b = announce.AppendRelayedText(append((*b)[:0], make([]byte, frame.Room)...), r, sdp)
	s.deliver(frame.Finish(*b, frame.Text), t)
	outgoing.Put(b)
}

// deliver gives a frame, which it does not keep, to the carrier.
func (s *socket) deliver(f []byte, t *turn) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	slow := s.carrier != nil && !s.carrier.say(f, t)
	s.mu.Unlock()
	if slow {
		s.tracker.cfg.Logger.Debug("tracker drops a slow reader", "socket", s.id)
		s.sever()
		s.tracker.forget(s)
	}
}

// bounded says whether a client with so many bytes queued may stay, of total in all queues.
func bounded(bytes int, total int64) bool {
	return bytes <= queueBytes && (total <= queueTotal || bytes <= queueShare)
}

// finish closes the connection once what is queued has been sent. The first call counts.
func (s *socket) finish(code frame.Code, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.code, s.reason = true, code, reason
	if s.carrier != nil { // else attach says so
		s.carrier.linger(closeTimeout)
		s.carrier.say(frame.AppendClose(nil, code, reason), nil)
	}
}

// sever ends the connection at once.
func (s *socket) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed, s.code, s.reason = true, frame.CodePolicy, "reads too slowly"
	}
	if s.carrier != nil {
		s.carrier.sever()
	}
}
