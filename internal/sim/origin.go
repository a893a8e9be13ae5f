package sim

import (
	"math"

	"essaim/internal/bt"
)

// The shape of HTTP over TLS 1.3 over TCP.
const (
	chunkBytes   = 32 << 10 // of an origin's bytes, in one event
	chunkCapped  = 8 << 10  // where the origin is short, and fairness shows
	windowFirst  = 14_600   // RFC 6928: ten segments
	handshakeRTT = 2        // TCP's round trip and TLS's
	hashBytes    = 32
)

// origin is the HTTP server: one connection to each viewer, in slow start at first, its requests in turn; all viewers in turn
// where its own rate is short.
type origin struct {
	w         *world
	seq       uint32
	conns     []originConn
	by        []originCount
	rate      int64 // bytes per second in all, 0: no limit
	busy      instant
	turn      []uint32 // viewers with something to be sent, where the rate is limited
	armed     bool     // an evSend for the turn is under way
	frozen    instant  // until then
	sentBytes int64
	// sentAfter20 is the part of sentBytes that lies beyond the first 20 s of film.
	sentAfter20 int64
	hashesSent  int64
}

type originCount struct{ sent, after20, duplicate int64 }

type originConn struct {
	streams []stream
	first   instant // when it first sent
	sent    int64
	next    instant // pace: what the viewer's downlink carries
	armed   bool
	inTurn  bool
}

type stream struct {
	ref      int64
	seat     uint16
	film     int
	from, to int64
}

func newOrigin(w *world) *origin {
	return &origin{w: w, rate: w.scene.Origin.Bytes(), conns: make([]originConn, w.scene.Viewers), by: make([]originCount, w.scene.Viewers)}
}

func (o *origin) post(e event) {
	o.seq++
	e.src, e.seq = originActor, o.seq
	o.w.shard(originActor).post(&e)
}

func (o *origin) freezeAt(at instant) { o.post(event{at: at, dst: originActor, kind: evMood}) }

func (o *origin) handle(e *event) {
	if o.w.scene.FallAt > 0 && e.at >= instant(o.w.scene.FallAt.Microseconds()) && o.rate != o.w.scene.FallTo.Bytes() {
		o.rate = o.w.scene.FallTo.Bytes()
		o.busy = max(o.busy, e.at)
		for i := range o.conns {
			if len(o.conns[i].streams) > 0 && !o.conns[i].inTurn {
				o.conns[i].inTurn = true
				o.turn = append(o.turn, uint32(i))
			}
		}
	}
	switch e.kind {
	case evMood:
		o.frozen = e.at + instant(o.w.scene.Freeze.Microseconds())
		if e.at < o.w.end {
			o.freezeAt(e.at + instant(o.w.scene.FreezeIn.Microseconds()))
		}
	case evGet:
		i := e.src - firstViewer
		c := &o.conns[i]
		c.streams = append(c.streams, stream{ref: e.a, seat: e.seat, film: int(e.conn), from: e.b, to: e.c})
		o.wake(i, e.at)
	case evCancel:
		c := &o.conns[e.src-firstViewer]
		for i := range c.streams {
			if c.streams[i].ref == e.a && c.streams[i].seat == e.seat {
				c.streams = append(c.streams[:i], c.streams[i+1:]...)
				break
			}
		}
	case evAsk:
		o.hashesSent += e.b * hashBytes
		o.post(event{at: max(e.at, o.frozen) + o.w.delay, dst: e.src, kind: evHashes, seat: e.seat, a: e.a})
	case evSend:
		if e.c == 1 {
			o.armed = false
			o.sendTurn(e.at)
		} else {
			o.conns[e.a].armed = false
			o.sendOwn(uint32(e.a), e.at)
		}
	}
}

// wake has a connection's bytes sent as soon as they may.
func (o *origin) wake(i uint32, now instant) {
	c := &o.conns[i]
	if o.rate > 0 {
		if !c.inTurn {
			c.inTurn = true
			o.turn = append(o.turn, i)
		}
		if !o.armed {
			o.armed = true
			o.post(event{at: max(now, o.busy), dst: originActor, kind: evSend, c: 1})
		}
		return
	}
	if !c.armed {
		c.armed = true
		o.post(event{at: max(now, o.ready(i, now)), dst: originActor, kind: evSend, a: int64(i)})
	}
}

// ready is when a connection may send next: slow start, the pace of the viewer's downlink, and the freeze.
func (o *origin) ready(i uint32, now instant) instant {
	c := &o.conns[i]
	at := max(now, c.next, o.frozen)
	if c.first > 0 {
		at = max(at, slowStart(c.first, c.sent, windowFirst, 2*o.w.delay))
	}
	return at
}

// slowStart is when the next byte may go on a connection that has sent so many since first: each round trip sends twice
// what the one before did.
func slowStart(first instant, sent, window int64, rtt instant) instant {
	round := instant(0)
	for allowed := window; sent >= allowed && round < 12; round++ {
		window *= 2
		allowed += window
	}
	if round >= 12 {
		return first
	}
	return first + round*rtt
}

func (o *origin) sendOwn(i uint32, now instant) {
	c := &o.conns[i]
	if len(c.streams) == 0 {
		return
	}
	if o.rate > 0 {
		o.wake(i, now)
		return
	}
	if at := o.ready(i, now); at > now {
		c.armed = true
		o.post(event{at: at, dst: originActor, kind: evSend, a: int64(i)})
		return
	}
	o.send(i, now, chunkBytes)
	if len(c.streams) > 0 {
		c.armed = true
		o.post(event{at: max(now+1, o.ready(i, now)), dst: originActor, kind: evSend, a: int64(i)})
	}
}

// sendTurn sends one chunk of the first connection in turn that may send.
func (o *origin) sendTurn(now instant) {
	soonest := instant(math.MaxInt64)
	for range len(o.turn) {
		i := o.turn[0]
		o.turn = append(o.turn[:0], o.turn[1:]...)
		c := &o.conns[i]
		if len(c.streams) == 0 {
			c.inTurn = false
			continue
		}
		if at := o.ready(i, now); at > now {
			o.turn = append(o.turn, i)
			soonest = min(soonest, at)
			continue
		}
		n := o.send(i, now, chunkCapped)
		o.busy = max(o.busy, now) + instant(n*1_000_000/max(o.rate, 1))
		if len(c.streams) > 0 {
			o.turn = append(o.turn, i)
		} else {
			c.inTurn = false
		}
		if len(o.turn) > 0 {
			o.armed = true
			o.post(event{at: o.busy, dst: originActor, kind: evSend, c: 1})
		}
		return
	}
	if soonest < math.MaxInt64 {
		o.armed = true
		o.post(event{at: soonest, dst: originActor, kind: evSend, c: 1})
	}
}

// send sends up to most bytes of the connection's first stream, which then waits for its turn among the others.
func (o *origin) send(i uint32, now instant, most int64) int64 {
	c := &o.conns[i]
	d := o.w.devices[i]
	s := &c.streams[0]
	if c.first == 0 {
		c.first = max(now, 1)
	}
	if room := slowStartRoom(c.sent, windowFirst); room < most {
		most = max(room, 1_460)
	}
	n := min(s.to-s.from, most)
	o.count(i, s, n)
	c.sent += n
	c.next = max(now, c.next) + instant(n*1_000_000/d.down)
	o.post(event{at: now + o.w.delay, dst: d.id, kind: evBody, seat: s.seat, a: s.ref, b: n})
	s.from += n
	if s.from == s.to {
		c.streams = append(c.streams[:0], c.streams[1:]...)
	} else if len(c.streams) > 1 {
		first := *s
		c.streams = append(append(c.streams[:0], c.streams[1:]...), first)
	}
	return n
}

// slowStartRoom is what is left of the window of the round under way.
func slowStartRoom(sent, window int64) int64 {
	allowed := window
	for round := 0; sent >= allowed; round++ {
		if round == 12 {
			return math.MaxInt64
		}
		window *= 2
		allowed += window
	}
	return allowed - sent
}

// sentToSeveral stands in film.sent for more than one viewer.
const sentToSeveral = math.MaxUint32

// count keeps the books: what was sent in all, and what had been sent to another viewer before.
func (o *origin) count(i uint32, s *stream, n int64) {
	f := o.w.films[s.film]
	if f.sent == nil {
		f.sent = make([]uint32, (f.size+bt.BlockSize-1)/bt.BlockSize)
	}
	to := i + 1
	o.sentBytes += n
	o.by[i].sent += n
	o.by[i].after20 += f.beyond20(s.from, s.from+n)
	o.sentAfter20 += f.beyond20(s.from, s.from+n)
	for at := s.from; at < s.from+n; {
		next := min(at-at%bt.BlockSize+bt.BlockSize, s.from+n)
		b := at / bt.BlockSize
		if first := f.sent[b]; first != 0 && first != to {
			o.by[i].duplicate += next - at
		}
		if next%bt.BlockSize == 0 || next == f.at(at).end() {
			switch f.sent[b] {
			case 0:
				f.sent[b] = to
			case to:
			default:
				f.sent[b] = sentToSeveral
			}
		}
		at = next
	}
}
