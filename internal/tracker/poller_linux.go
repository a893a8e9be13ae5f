package tracker

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"essaim/internal/tracker/frame"
)

const (
	// eventsMax is how many connections one turn reads.
	eventsMax = 256
	// readsMax is how often one connection is read in a turn, so that who floods keeps nobody waiting.
	readsMax = 4
	// recordsMax is how many records of one TLS connection a turn opens: as many as come in one read, in place of a read each.
	recordsMax = 64
	// gather is how far apart turns that follow one another soon begin at least: under load, what comes meanwhile is read, and
	// answered, together. A call of the kernel costs more than all else about a message, and waking somebody up more than ten messages.
	gather = 2 * time.Millisecond
	// tickEvery is how often time-outs are looked at.
	tickEvery = time.Second
	// tickShare is how many connections a tick looks at without letting go of the poller's lock.
	tickShare = 512
	// flushAt is how much may wait for the end of a turn, in bytes.
	flushAt = 32 << 10
)

// poller waits for the descriptors of many connections at once (epoll), and handles in turns what comes of them: so a connection
// that says nothing costs a descriptor and what is known of it, and what one turn says to a client goes out in one write. Whoever
// leads reads the connections itself; before it waits for anything else, such as the catalogue, it hands the lead to another
// goroutine. A poller without connections ends, and begins anew with the next.
type poller struct {
	tracker *Tracker

	mu      sync.Mutex
	running bool
	epoll   int     // while running
	table   []*line // by slot; nil: free
	free    []int32
	count   int
}

// line is the carrier of a connection that a poller reads.
type line struct {
	socket *socket
	poller *poller
	slot   int32
	turns  int32 // of the slot: an event for one that had it before is none
	fd     int   // -1: closed. Written with the socket's mu held, by the reader

	secure *tls.Conn // over door; nil: plain TCP
	door   *door

	// Of the socket's mu.
	out   *[]byte   // frames that are not written yet; nil: none
	sent  int       // of out, what is written
	dirty bool      // some turn will flush it
	end   time.Time // by when what is queued must have gone, or a closed connection must have ended; zero: not set

	stuck atomic.Bool   // the kernel takes no more for now. Written with the socket's mu held
	aside atomic.Uint32 // whether a goroutine that leads no more is reading it

	// Of the reader alone.
	fresh  bool      // what came with the handshake is not handled yet
	ending bool      // the client says no more: what it said is read to its end
	quiet  time.Time // since when nothing has come, nor been said in order to say something
}

// What aside says.

const (
	here     uint32 = iota // the leader reads it
	away                   // another goroutine does
	awayMore               // and more has come meanwhile
)

// turn is one pass over the connections of which something has come.
type turn struct {
	leads bool
	dirty []*line // to be flushed at its end

	// Of who leads.
	events []unix.EpollEvent
	lines  []visit
	next   int
	more   []*line // read as often as a turn allows, and not to the end
	ticked time.Time
	at     time.Time // when it began
	busy   bool      // soon after the one before
}

// visit is one connection's share of a turn.
type visit struct {
	line  *line
	flags uint32
}

var outs = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// outMax is the size up to which buffers of what is to be written are shared.
const outMax = 16 << 10

var ping = [2]byte{0x80 | byte(frame.Ping), 0}

// adopt takes a connection over from the Go runtime; false, and it has not been touched, if that cannot be.
func (t *Tracker) adopt(s *socket, conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	secure, beneath := beneath(conn)
	if beneath != nil {
		tcp, ok = beneath.TCPConn, true
	}
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	fd, duplicate := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, duplicate = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || duplicate != nil {
		return false
	}
	// Our own pings do, and cost nothing while there is talk.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)
	p := t.pollers[int(s.id)%len(t.pollers)]
	l := &line{socket: s, poller: p, fd: fd, fresh: true, quiet: time.Now()}
	if beneath != nil {
		beneath.take(fd)
		l.secure, l.door = secure, beneath
	}
	s.attach(l)
	if err := p.add(l); err != nil {
		t.cfg.Logger.Warn("tracker cannot watch a connection", "error", err)
		s.mu.Lock()
		l.discard()
		s.carrier, l.fd = nil, -1
		s.mu.Unlock()
		if beneath == nil {
			_ = unix.Close(fd)
			return false
		}
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // beneath TLS it cannot be given back
		_ = unix.Close(fd)
		beneath.give()
		return false
	}
	_ = tcp.Close() // the runtime's descriptor; the connection has ours
	return true
}

// add begins to watch a connection.
func (p *poller) add(l *line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return err
		}
		p.epoll, p.running = epoll, true
		go p.lead(&turn{leads: true, events: make([]unix.EpollEvent, eventsMax), ticked: time.Now()})
	}
	if n := len(p.free); n > 0 {
		l.slot, p.free = p.free[n-1], p.free[:n-1]
	} else {
		l.slot = int32(len(p.table))
		p.table = append(p.table, nil)
	}
	l.turns = int32(uint32(l.socket.id))
	p.table[l.slot] = l
	p.count++
	// Edges of both kinds, asked for once: no more calls are needed when a client stops reading, or reads again.
	err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, l.fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xFFFFFFFF, Fd: l.slot, Pad: l.turns,
	})
	if err != nil {
		p.drop(l)
	}
	return err
}

// drop frees a connection's slot. Called with mu held.
func (p *poller) drop(l *line) {
	p.table[l.slot] = nil
	p.free = append(p.free, l.slot)
	p.count--
}

// lead handles turn after turn, until there is nothing to watch or another goroutine leads.
func (p *poller) lead(t *turn) {
	for {
		for t.next < len(t.lines) {
			v := t.lines[t.next]
			t.next++
			if !p.visit(v, t) {
				return
			}
		}
		t.flush()
		if !p.wait(t) {
			return
		}
	}
}

// visit reads one connection; false when another goroutine leads now.
func (p *poller) visit(v visit, t *turn) bool {
	l := v.line
	if l.taken() {
		return true
	}
	s := l.socket
	s.turn = t
	l.read(v.flags)
	own := s.turn
	s.turn = nil
	if own == t {
		return true
	}
	for {
		own.flush()
		if l.fd < 0 || l.aside.CompareAndSwap(away, here) {
			return false
		}
		l.aside.Store(away)
		s.turn = own
		l.read(unix.EPOLLIN)
		s.turn = nil
	}
}

// taken says whether another goroutine reads the connection, and has that goroutine look again.
func (l *line) taken() bool {
	for {
		switch l.aside.Load() {
		case here:
			return false
		case awayMore:
			return true
		}
		if l.aside.CompareAndSwap(away, awayMore) {
			return true
		}
	}
}

// aside is called before something that may take its time: the other connections do not wait for it.
func (s *socket) aside() {
	t := s.turn
	if t == nil || !t.leads {
		return
	}
	l := s.carrier.(*line)
	l.aside.Store(away)
	s.turn = &turn{}
	go l.poller.lead(t)
}

// wait fills the next turn; false when the poller has ended.
func (p *poller) wait(t *turn) bool {
	t.lines, t.next = t.lines[:0], 0
	rest := 0
	if len(t.more) == 0 {
		rest = int(max(0, tickEvery-time.Since(t.ticked)).Milliseconds()) + 1
	}
	began := time.Now()
	if left := gather - began.Sub(t.at); left > 0 && t.busy && len(t.more) == 0 {
		time.Sleep(left)
	}
	n, err := unix.EpollWait(p.epoll, t.events, rest)
	if err != nil && !errors.Is(err, unix.EINTR) {
		p.tracker.cfg.Logger.Error("tracker cannot wait for its connections", "error", err)
		time.Sleep(tickEvery) // nothing that ought to happen; not to happen at full speed
	}
	t.at = time.Now()
	t.busy = t.at.Sub(began) < 2*gather
	if t.at.Sub(t.ticked) >= tickEvery {
		t.ticked = t.at
		p.tick(t.at)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range t.events[:max(0, n)] {
		if l := p.table[e.Fd]; l != nil && l.turns == e.Pad {
			t.lines = append(t.lines, visit{l, e.Events})
		}
	}
	for _, l := range t.more {
		t.lines = append(t.lines, visit{l, unix.EPOLLIN})
	}
	clear(t.more)
	t.more = t.more[:0]
	if p.count == 0 {
		_ = unix.Close(p.epoll)
		p.running, p.table, p.free = false, nil, nil
		return false
	}
	return true
}

// flush writes what the turn has said.
func (t *turn) flush() {
	for i, l := range t.dirty {
		l.socket.mu.Lock()
		l.flush()
		l.socket.mu.Unlock()
		t.dirty[i] = nil
	}
	t.dirty = t.dirty[:0]
}

// read reads what has come, and handles it.
func (l *line) read(flags uint32) {
	if l.fd < 0 {
		return
	}
	s := l.socket
	defer func() {
		if p := recover(); p != nil {
			s.panicked(p)
			l.over()
		}
	}()
	if l.stuck.Load() {
		s.mu.Lock()
		l.stuck.Store(false)
		l.flush()
		s.mu.Unlock()
	}
	if l.fresh {
		l.fresh = false
		flags |= unix.EPOLLIN // TLS may have read more than it gave
		if !s.advance() {
			l.over()
			return
		}
	}
	if flags&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.ending = true // which is said once
	}
	if flags&unix.EPOLLIN == 0 && !l.ending {
		return
	}
	if l.secure != nil {
		l.door.drained, l.door.ending = false, l.ending
		defer l.answer()
	}
	limit := readsMax
	if l.secure != nil {
		limit = recordsMax
	}
	for read := 0; limit > 0 && read < readsMax*intakeSize; limit-- {
		space := s.in.room()
		n, err := l.receive(space)
		if n <= 0 && s.in.held() == 0 {
			s.in.drop()
		}
		if n <= 0 {
			if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, os.ErrDeadlineExceeded) {
				l.over()
			}
			return
		}
		s.in.came(n)
		read += n
		if !s.advance() {
			l.over()
			return
		}
		l.quiet = time.Now()
		if s.in.held() > 0 && s.in.until.IsZero() {
			s.in.until = l.quiet.Add(messageTimeout)
		}
		// A read that does not fill its room has taken all there was (epoll(7)); what comes later is another event.
		if n < len(space) && !l.ending && l.secure == nil {
			return
		}
	}
	if s.turn.leads {
		s.turn.more = append(s.turn.more, l)
	} else {
		l.aside.Store(awayMore) // it reads on
	}
}

// receive reads what has come, without waiting for it.
func (l *line) receive(b []byte) (int, error) {
	if l.secure != nil {
		return l.secure.Read(b)
	}
	for {
		n, err := unix.Read(l.fd, b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// answer writes what TLS itself had to say to what was read.
func (l *line) answer() {
	if l.door.waiting() == 0 {
		return
	}
	l.socket.mu.Lock()
	defer l.socket.mu.Unlock()
	if !l.dirty {
		l.flush()
	}
}

// over ends what is left of the connection.
func (l *line) over() {
	if l.fd < 0 {
		return
	}
	s := l.socket
	s.hold(0)
	s.in.release()
	s.tracker.forget(s)
	s.mu.Lock()
	if s.closed { // a close frame may still be queued
		l.flush()
	}
	s.closed = true
	if l.secure != nil && !l.stuck.Load() {
		_ = l.secure.CloseWrite()
		_ = l.door.flush()
	}
	l.discard()
	fd := l.fd
	l.fd = -1
	s.mu.Unlock()
	l.poller.mu.Lock()
	l.poller.drop(l)
	l.poller.mu.Unlock()
	_ = unix.Close(fd)
	s.tracker.exit(s)
}

// tick looks at all connections' time-outs.
func (p *poller) tick(now time.Time) {
	var some [tickShare]*line
	for from := 0; ; from += tickShare {
		p.mu.Lock()
		n := copy(some[:], p.table[min(from, len(p.table)):])
		p.mu.Unlock()
		if n == 0 {
			return
		}
		for _, l := range some[:n] {
			if l != nil && l.aside.Load() == here {
				l.tick(now)
			}
		}
	}
}

func (l *line) tick(now time.Time) {
	s := l.socket
	s.mu.Lock()
	closed, late := s.closed, !l.end.IsZero() && now.After(l.end)
	s.mu.Unlock()
	switch {
	case late:
		s.sever()
		l.over()
	case closed:
	case s.in.held() > 0 && now.After(s.in.until):
		s.finish(frame.CodePolicy, "message takes too long")
	case now.Sub(s.heard) >= s.patience():
		s.finish(frame.CodeGoingAway, "silent for too long")
	case now.Sub(l.quiet) >= s.tracker.keepalive:
		// Whether a pong comes does not matter: silence is noticed.
		l.quiet = now
		s.nudge()
	}
}

// say implements carrier.
func (l *line) say(f []byte, t *turn) bool {
	if l.fd < 0 {
		return true
	}
	if l.out == nil {
		l.out = outs.Get().(*[]byte)
		*l.out, l.sent = (*l.out)[:0], 0
	}
	*l.out = append(*l.out, f...)
	total := l.socket.tracker.queued.Add(int64(len(f)))
	switch waiting := l.waiting(); {
	case l.stuck.Load():
	case t == nil || waiting >= flushAt:
		l.flush()
	case !l.dirty:
		l.dirty = true
		t.dirty = append(t.dirty, l)
	}
	return bounded(l.waiting(), total)
}

// waiting is how many bytes are to be written. Called with the socket's mu held.
func (l *line) waiting() (n int) {
	if l.out != nil {
		n = len(*l.out) - l.sent
	}
	if l.secure != nil {
		n += l.door.waiting()
	}
	return n
}

// flush writes as much as the kernel takes. Called with the socket's mu held.
func (l *line) flush() {
	l.dirty = false
	if l.stuck.Load() || l.fd < 0 {
		return
	}
	var err error
	if l.secure != nil {
		if l.out != nil {
			// All that waits goes into as few records as may be. What of them the kernel does not take is counted no more, but
			// bounded by what one flush may find.
			_, _ = l.secure.Write(*l.out)
			l.discard()
		}
		err = l.door.flush()
	} else {
		err = l.write()
	}
	switch {
	case err == nil:
		if !l.socket.closed {
			l.end = time.Time{}
		}
	case errors.Is(err, unix.EAGAIN):
		l.stuck.Store(true)
		if l.end.IsZero() {
			l.end = time.Now().Add(writeTimeout)
		}
	default:
		l.discard() // it has ended; the reader is told so too
		if l.secure != nil {
			l.door.discard()
		}
	}
}

// write writes what is queued to a plain connection. Called with the socket's mu held.
func (l *line) write() error {
	if l.out == nil {
		return nil
	}
	for l.sent < len(*l.out) {
		n, err := unix.Write(l.fd, (*l.out)[l.sent:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		l.sent += n
		l.socket.tracker.queued.Add(int64(-n))
	}
	l.discard()
	return nil
}

// discard gives the buffer of what was to be written back. Called with the socket's mu held.
func (l *line) discard() {
	if l.out == nil {
		return
	}
	l.socket.tracker.queued.Add(int64(l.sent - len(*l.out)))
	if cap(*l.out) <= outMax {
		outs.Put(l.out)
	}
	l.out, l.sent = nil, 0
}

// linger implements carrier.
func (l *line) linger(d time.Duration) { l.end = time.Now().Add(d) }

// sever implements carrier.
func (l *line) sever() {
	l.discard()
	if l.secure != nil {
		l.door.discard()
	}
	if l.fd >= 0 {
		_ = unix.Shutdown(l.fd, unix.SHUT_RDWR)
	}
}
