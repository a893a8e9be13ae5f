package sim

import (
	"essaim/internal/engine"
	"essaim/internal/swarm"
)

// What a connection between two viewers costs.
const (
	packetOverhead = 70    // bytes: IP, UDP, DTLS, SCTP
	packetBytes    = 1_180 // of payload
	smallBytes     = 1_100 // what is no larger goes at once when nothing waits on its connection
	queueHigh      = engine.SendQueueLow
	sctpWindow     = 4_380 // RFC 9260: the first window
	dialTimeout    = 15 * second
)

type connState uint8

const (
	connDialling connState = iota
	connOpen
	connDead
)

// conn is one side of a connection.
type conn struct {
	state    connState
	seat     uint16
	hello    bool // their handshake has come
	touched  bool
	inReady  bool
	ref      engine.PeerRef
	peer     uint32 // actor
	peerSeat uint16
	peerConn uint32
	queue    []outgoing
	queued   int64
	first    instant // when the first block went
	sent     int64
	last     instant // when the last of what came was delivered
	leave    instant // when the last of what was sent arrives
	measured instant // when its round trip was last told
}

// outgoing is a message that waits: small, or long, or a block.
type outgoing struct {
	block               bool
	bad                 bool
	size                uint8
	small               [24]byte
	data                []byte
	piece, begin, bytes uint32
}

func (o *outgoing) wireBytes() int64 {
	n := int64(o.size) + int64(len(o.data))
	if o.block {
		n = int64(o.bytes) + 13
	}
	return n + packetOverhead*(1+(n-1)/packetBytes)
}

// dial makes an offer through the tracker to a peer that was introduced.
func (s *seat) dial(ref engine.PeerRef) {
	d := s.d
	for i := range s.met {
		if s.met[i].ref != ref {
			continue
		}
		id := s.met[i].id
		s.met = append(s.met[:i], s.met[i+1:]...)
		actor, seat := whose(id)
		n := d.newConn(s, ref, actor, seat)
		d.to(event{at: d.now() + d.w.delay, dst: trackerActor, kind: evRelay, seat: s.n, conn: n, c: int64(s.film.number), data: id[:]})
		d.self(event{at: d.now() + dialTimeout, kind: evDialled, conn: n})
		return
	}
}

func (d *device) newConn(s *seat, ref engine.PeerRef, peer uint32, peerSeat uint16) uint32 {
	n := uint32(len(d.conns))
	d.conns = append(d.conns, conn{seat: s.n, ref: ref, peer: peer, peerSeat: peerSeat})
	s.conn[ref] = n
	return n
}

// offered answers an offer: conn, a and b name the offerer's connection, actor and seat.
func (d *device) offered(e *event) {
	s := d.seats[e.seat]
	actor := uint32(e.a)
	s.refs++
	n := d.newConn(s, s.refs, actor, uint16(e.b))
	d.conns[n].peerConn = e.conn
	id := d.w.peerID(actor, int(e.b))
	d.to(event{at: d.now() + d.w.delay, dst: trackerActor, kind: evReply, seat: s.n, conn: e.conn, a: int64(n), c: int64(s.film.number), data: id[:]})
	if d.meets(actor) {
		// The answer takes two delays to the offerer, and connecting as long as there.
		d.self(event{at: d.now() + 2*d.w.delay + d.w.setup(), kind: evOpen, conn: n})
	}
}

// answered: the offer was answered (a = the other side's connection), or will not be (-1).
func (d *device) answered(e *event) {
	c := &d.conns[e.conn]
	if e.a < 0 {
		d.tell(c, swarm.FailedAnswer)
		d.closed(e.conn, true)
		return
	}
	c.peerConn = uint32(e.a)
	if d.meets(c.peer) {
		d.self(event{at: d.now() + d.w.setup(), kind: evOpen, conn: e.conn})
	}
}

// setup is what ICE (a round trip), DTLS 1.2 (two), SCTP and the channel's opening (two) take from the answer on, and the
// work of it. With the announce, the offer and the answer before it that makes sixteen one-way delays.
func (w *world) setup() instant { return 10*w.delay + instant(w.scene.Setup.Microseconds()) }

// meets: their NATs let them.
func (d *device) meets(actor uint32) bool {
	return !(d.symmetric && d.w.devices[actor-firstViewer].symmetric)
}

func (d *device) opened(n uint32) {
	c := &d.conns[n]
	if c.state != connDialling {
		return
	}
	c.state = connOpen
	s := d.seats[c.seat]
	id := d.w.peerID(c.peer, int(c.peerSeat))
	d.tell(c, swarm.Connected)
	s.step(engine.Input{Kind: engine.PeerConnected, Peer: c.ref, Data: id[:]})
}

// tell notes for the next announce what became of an introduction.
func (d *device) tell(c *conn, f swarm.Fate) {
	s := d.seats[c.seat]
	if len(s.told) < swarm.OutcomesMax {
		s.told = append(s.told, swarm.Outcome{Peer: d.w.peerID(c.peer, int(c.peerSeat)), Result: f})
	}
}

// closed: the other side ended it, or no connection came of a dial.
func (d *device) closed(n uint32, dial bool) {
	c := &d.conns[n]
	if c.state == connDead || dial && c.state == connOpen {
		return
	}
	d.bury(c)
	d.seats[c.seat].step(engine.Input{Kind: engine.PeerClosed, Peer: c.ref})
}

func (d *device) bury(c *conn) {
	c.state = connDead
	c.queue, c.queued = nil, 0
	delete(d.seats[c.seat].conn, c.ref)
}

// hangUp closes by our own decision.
func (s *seat) hangUp(ref engine.PeerRef) {
	for i := range s.met {
		if s.met[i].ref == ref {
			s.met = append(s.met[:i], s.met[i+1:]...)
			break
		}
	}
	n, ok := s.conn[ref]
	if !ok {
		return
	}
	c := &s.d.conns[n]
	if c.state == connOpen {
		s.d.to(event{at: s.d.now() + s.d.w.delay, dst: c.peer, kind: evClosed, conn: c.peerConn})
	}
	s.d.bury(c)
}

// send queues a message.
func (s *seat) send(o *engine.Output) {
	n, ok := s.conn[o.Peer]
	if !ok || s.d.manner == silent {
		return
	}
	s.d.queue(s, n, newOutgoing(o.Data))
}

// newOutgoing copies a message.
func newOutgoing(data []byte) (m outgoing) {
	if len(data) <= len(m.small) {
		m.size = uint8(copy(m.small[:], data))
	} else {
		m.data = append([]byte(nil), data...)
	}
	return m
}

func (s *seat) sendBlock(o *engine.Output) {
	n, ok := s.conn[o.Peer]
	if !ok || s.d.manner == silent || s.d.manner == stalled || s.claimed.has(o.Piece) {
		return
	}
	if s.d.conns[n].state == connOpen {
		s.d.stats.SentBytes += int64(o.Length)
	}
	s.d.queue(s, n, outgoing{block: true, bad: s.d.manner == polluter, piece: o.Piece, begin: o.Begin, bytes: o.Length})
}

func (d *device) queue(s *seat, n uint32, m outgoing) {
	c := &d.conns[n]
	if c.state != connOpen {
		return
	}
	if !m.block && m.wireBytes() <= smallBytes && len(c.queue) == 0 {
		d.depart(c, &m)
		return
	}
	c.queue = append(c.queue, m)
	c.queued += m.wireBytes()
	if !c.touched {
		c.touched = true
		s.touched = append(s.touched, n)
	}
	if !c.inReady {
		c.inReady = true
		d.ready = append(d.ready, n)
	}
	d.transmit()
}

// transmit sends the next message of the connections in turn, when the uplink is free, and comes back when it is again.
func (d *device) transmit() {
	if d.upArmed {
		return
	}
	now := d.now()
	if d.upFree > now {
		d.upArmed = true
		d.self(event{at: d.upFree, kind: evUplink})
		return
	}
	soonest := instant(0)
	for range len(d.ready) {
		n := d.ready[0]
		d.ready = append(d.ready[:0], d.ready[1:]...)
		c := &d.conns[n]
		if len(c.queue) == 0 {
			c.inReady = false
			continue
		}
		m := c.queue[0]
		if m.block && c.first > 0 {
			if at := slowStart(c.first, c.sent, sctpWindow, 2*d.w.delay); at > now {
				d.ready = append(d.ready, n)
				if soonest == 0 || at < soonest {
					soonest = at
				}
				continue
			}
		}
		c.queue = append(c.queue[:0], c.queue[1:]...)
		before := c.queued
		c.queued -= m.wireBytes()
		d.depart(c, &m)
		if len(c.queue) > 0 {
			d.ready = append(d.ready, n)
		} else {
			c.inReady = false
		}
		if !d.upArmed {
			d.upArmed = true
			d.self(event{at: d.upFree, kind: evUplink})
		}
		s, ref, queued := d.seats[c.seat], c.ref, c.queued // c may move
		if m.block && now-c.measured > second {
			c.measured = now
			rtt := 2*d.w.delay + instant(m.wireBytes()*1_000_000/d.up)
			s.step(engine.Input{Kind: engine.PathMeasured, Peer: ref, Length: uint32(rtt)})
		}
		if before > queueHigh && queued <= queueHigh {
			s.step(engine.Input{Kind: engine.SendQueue, Peer: ref, Length: uint32(queued)})
		}
		return
	}
	if soonest > 0 && !d.upArmed {
		d.upArmed = true
		d.self(event{at: max(soonest, now+1), kind: evUplink})
	}
}

// depart puts a message on the wire.
func (d *device) depart(c *conn, m *outgoing) {
	now := d.now()
	n := m.wireBytes()
	d.upFree = max(now, d.upFree) + instant(n*1_000_000/d.up)
	out := now // a small message passes between the packets of others
	if m.block || n > smallBytes {
		out = d.upFree
		if c.first == 0 {
			c.first = max(now, 1)
		}
		c.sent += n
	}
	at := out + d.w.delay
	if j := d.w.scene.Jitter.Microseconds(); j > 0 {
		at += instant(d.chance.below(j))
	}
	if p := d.w.scene.Loss; p > 0 {
		for range 1 + n/packetBytes {
			if d.chance.unit() < p {
				at += 2 * d.w.delay
			}
		}
	}
	at = max(at, c.leave)
	c.leave = at
	e := event{at: at, dst: c.peer, kind: evMessage, conn: c.peerConn}
	if m.block {
		e.a, e.b, e.c, e.bad = int64(m.piece), int64(m.begin), int64(m.bytes), m.bad
	} else {
		e.size, e.small, e.data = m.size, m.small, m.data
	}
	d.to(e)
}

// arrives takes what a peer sent through the downlink, in order.
func (d *device) arrives(e *event) {
	if int(e.conn) >= len(d.conns) {
		return
	}
	c := &d.conns[e.conn]
	if c.state == connDialling {
		d.opened(e.conn) // the other side found it open a moment before
	}
	if c.state != connOpen {
		return
	}
	t := max(e.at, c.last)
	if e.size == 0 && e.data == nil {
		took := instant(e.c * 1_000_000 / d.down)
		d.downFree = max(e.at, d.downFree+took)
		t = max(t, d.downFree)
	}
	c.last = t
	if t <= e.at {
		d.deliver(e)
		return
	}
	n := *e
	n.at, n.kind = t, evDeliver
	d.self(n)
}

func (d *device) deliver(e *event) {
	c := &d.conns[e.conn]
	if c.state == connOpen {
		d.seats[c.seat].heard(c, e)
	}
}
