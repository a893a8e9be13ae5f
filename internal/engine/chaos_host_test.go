package engine_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// chaosHost is a host as step.go's contract has it, to the letter, around one engine: it keeps blocks, digests real bytes,
// frames messages, stores pieces. What goes wrong with it is the run's to say.
type chaosHost struct {
	w      *chaos
	r      *rand.Rand
	id     bt.PeerID
	engine *engine.Engine
	audit  *audit

	queue    []engine.Input
	running  bool
	out      []engine.Output
	skew     engine.Instant
	frozen   engine.Instant // the clock stands still until then
	frozenAt engine.Instant
	tickSeq  int

	refs    engine.PeerRef
	dialing map[engine.PeerRef]end
	conns   map[engine.PeerRef]*conn
	byLink  map[*chaosLink]engine.PeerRef
	touched []engine.PeerRef
	fetches map[engine.Ref]*get
	live    int // fetches that bring bytes
	kept    map[[2]uint32]*keptBlock
	keptLen int
	store   map[uint32][]byte
	found   map[uint32][]byte // of an earlier visit, some of it wrong
	stored  []uint32          // in the order of storing
	player  *chaosPlayer
}

// conn is a channel and the place in its stream.
type conn struct {
	ref      engine.PeerRef
	link     *chaosLink
	id       bt.PeerID
	shaken   bool
	rest     []byte
	want     int // bytes of a payload still to come
	payload  *payloadInto
	draining bool
}

type payloadInto struct {
	piece, begin uint32
	length       int
	data         []byte
}

type keptBlock struct {
	data []byte
	told bool // Hashed was said
}

func newChaosHost(w *chaos, n int) *chaosHost {
	h := &chaosHost{
		w: w, r: stream(w.seed, fmt.Sprintf("host %d", n)), engine: engine.New(), dialing: map[engine.PeerRef]end{}, conns: map[engine.PeerRef]*conn{},
		byLink: map[*chaosLink]engine.PeerRef{}, fetches: map[engine.Ref]*get{}, kept: map[[2]uint32]*keptBlock{}, store: map[uint32][]byte{},
		found: map[uint32][]byte{},
	}
	h.audit = newAudit(h)
	copy(h.id[:], fmt.Sprintf("-ES0001-%012d", n))
	title := w.film.title
	title.PeerID, title.Seed = h.id, h.r.Uint64()
	h.skew = engine.Instant(h.r.IntN(1_000_000_000))
	h.step(engine.Input{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)})
	for i, x := range w.film.indexes {
		h.step(engine.Input{Kind: engine.IndexLoaded, File: uint32(i), Data: x.AppendBinary(nil)})
	}
	if r := stream(w.seed, fmt.Sprintf("cache %d", n)); r.IntN(3) == 0 {
		var data []byte
		share := r.Float64()
		for piece := range uint32(w.film.pieces()) {
			if r.Float64() < share {
				h.store[piece] = bytes.Clone(w.film.piece(piece))
				h.stored = append(h.stored, piece)
				data = binary.BigEndian.AppendUint32(data, piece)
			}
		}
		h.step(engine.Input{Kind: engine.StoreRestored, Data: data})
	}
	h.player = newChaosPlayer(h)
	h.remember(n)
	w.after(ms(h.r, 0, 1000), h.mishap)
	return h
}

// clock is the host's clock: the world's, askew, standing still or running back when that fault strikes.
func (h *chaosHost) clock() engine.Instant {
	w := h.w
	if w.now < h.frozen {
		return h.frozenAt
	}
	at := w.now + h.skew
	if !w.healed && w.faults.hits(h.r, clockBack, 0.02) {
		at -= ms(h.r, 0, 5000)
	}
	return at
}

// step gives the engine an input from outside, and does all that follows.
func (h *chaosHost) step(in engine.Input) {
	h.queue = append(h.queue, in)
	if h.running {
		return
	}
	h.running = true
	for i := 0; i < len(h.queue); i++ {
		h.once(h.queue[i])
	}
	h.queue, h.running = h.queue[:0], false
	h.setTimer()
}

func (h *chaosHost) once(in engine.Input) {
	now := h.clock()
	h.audit.before(now, &in)
	h.out = h.engine.Step(now, in, h.out[:0])
	h.audit.after(now, &in, h.out)
	for i := range h.out {
		h.do(&h.out[i], &in)
	}
	for _, ref := range h.touched {
		h.reportQueue(ref)
	}
	h.touched = h.touched[:0]
}

func (h *chaosHost) setTimer() {
	at, ok := h.engine.Deadline()
	if !ok {
		return
	}
	h.tickSeq++
	seq, d := h.tickSeq, at-h.skew-h.w.now
	if !h.w.healed && h.w.faults.hits(h.r, clockTardy, 0.1) {
		d += ms(h.r, 0, 3000)
	}
	h.w.after(max(d, h.frozen-h.w.now), func() {
		if h.tickSeq == seq {
			h.step(engine.Input{Kind: engine.Tick})
		}
	})
}

func (h *chaosHost) do(o *engine.Output, in *engine.Input) {
	switch o.Kind {
	case engine.RangeReady:
		h.player.ready(o.Ref)
	case engine.RangeFailed:
		h.player.failed(o.Ref)
	case engine.FetchRange, engine.RequestHashes:
		h.get(o)
	case engine.CancelFetch:
		h.endGet(o.Ref)
	case engine.Dial:
		h.dial(o.Peer)
	case engine.ClosePeer:
		delete(h.dialing, o.Peer)
		h.hangUp(o.Peer)
	case engine.SendMessage:
		h.send(o.Peer, bytes.Clone(o.Data))
	case engine.SendBlock:
		data := make([]byte, o.Length)
		if piece, ok := h.store[o.Piece]; !ok && !h.audit.keeps(o) {
			return // it went while this Step's outputs were being done, and the engine is being told
		} else if int(o.Begin) < len(piece) {
			copy(data, piece[o.Begin:])
		} else {
			for at := uint32(0); at < o.Length; at += bt.BlockSize - (o.Begin+at)%bt.BlockSize {
				if k := h.kept[[2]uint32{o.Piece, (o.Begin + at) / bt.BlockSize * bt.BlockSize}]; k != nil {
					copy(data[at:], k.data[min((o.Begin+at)%bt.BlockSize, uint32(len(k.data))):])
				}
			}
		}
		if !bytes.Equal(data, h.w.film.bytesOf(o.Piece, o.Begin, o.Length)) {
			h.w.fail("wrong bytes of piece %d were sent", o.Piece)
		}
		h.send(o.Peer, append(frameHead(o.Piece, o.Begin, len(data)), data...))
	case engine.Discard:
		if o.Peer == 0 {
			h.dropKept(o.Piece, o.Begin)
		}
	case engine.Hash:
		h.hash(o, in)
	case engine.HashPiece:
		h.hashPiece(o)
	case engine.Store:
		h.storePiece(o.Piece)
	case engine.Evict:
		delete(h.found, o.Piece)
		h.lose(o.Piece)
	case engine.Check:
		h.check(o.Piece)
	}
}

// introduce has the engine told of a neighbour that it may dial.
func (h *chaosHost) introduce(e end, id bt.PeerID) {
	h.refs++
	h.dialing[h.refs] = e
	h.step(engine.Input{Kind: engine.Introduced, Peer: h.refs, Data: id[:]})
}

func (h *chaosHost) dial(ref engine.PeerRef) {
	h.w.after(ms(h.r, 100, 900), func() {
		e := h.dialing[ref]
		if e == nil {
			return // given up
		}
		delete(h.dialing, ref)
		p, isPuppet := e.(*puppet)
		if h.r.IntN(10) == 0 || isPuppet && p.link != nil {
			h.step(engine.Input{Kind: engine.PeerClosed, Peer: ref})
			return
		}
		l := h.w.link(h, e)
		if isPuppet {
			h.open(ref, l, p.id, true, true)
			p.opened(l)
			return
		}
		other := e.(*chaosHost)
		other.refs++
		h.open(ref, l, other.id, true, true)
		other.open(other.refs, l, h.id, false, true)
	})
}

// accept is an offer of a neighbour's own. Signalling may not know its peer ID.
func (h *chaosHost) accept(p *puppet, id bt.PeerID, known bool) {
	l := h.w.link(h, p)
	h.refs++
	p.opened(l)
	h.open(h.refs, l, id, false, known)
}

func (h *chaosHost) open(ref engine.PeerRef, l *chaosLink, id bt.PeerID, initiator, known bool) {
	h.conns[ref] = &conn{ref: ref, link: l, id: id}
	h.byLink[l] = ref
	in := engine.Input{Kind: engine.PeerConnected, Peer: ref}
	if known {
		in.Data = id[:]
	}
	if initiator {
		in.Flags = engine.FlagInitiator
	}
	h.step(in)
}

// hangUp closes a channel of which the engine is not to hear again.
func (h *chaosHost) hangUp(ref engine.PeerRef) bool {
	c := h.conns[ref]
	if c == nil {
		return false
	}
	delete(h.conns, ref)
	delete(h.byLink, c.link)
	c.link.close(h)
	return true
}

func (h *chaosHost) lost(l *chaosLink) {
	if ref, ok := h.byLink[l]; ok {
		h.hangUp(ref)
		h.step(engine.Input{Kind: engine.PeerClosed, Peer: ref})
	}
}

// The bounds of a host's queues, as the real ones have them.
const (
	chaosQueueHigh = engine.SendQueueLow
	chaosSendMax   = 8 << 20
)

func (h *chaosHost) send(ref engine.PeerRef, b []byte) {
	c := h.conns[ref]
	if c == nil {
		return
	}
	side := c.link.side(h)
	if c.link.queued[side]+len(b) > chaosSendMax {
		h.hangUp(ref)
		h.step(engine.Input{Kind: engine.PeerClosed, Peer: ref})
		return
	}
	c.link.send(side, b)
	h.touched = append(h.touched, ref)
}

// reportQueue tells of a queue above the mark, and of its fall to it.
func (h *chaosHost) reportQueue(ref engine.PeerRef) {
	c := h.conns[ref]
	if c == nil || c.link.queued[c.link.side(h)] <= chaosQueueHigh {
		return
	}
	n := c.link.queued[c.link.side(h)]
	h.step(engine.Input{Kind: engine.SendQueue, Peer: ref, Length: uint32(n)})
	if c.draining {
		return
	}
	c.draining = true
	var look func()
	look = func() {
		if h.conns[ref] != c {
			return
		}
		n := c.link.queued[c.link.side(h)]
		if n > chaosQueueHigh {
			h.w.after(100_000, look)
			return
		}
		c.draining = false
		h.step(engine.Input{Kind: engine.SendQueue, Peer: ref, Length: uint32(n)})
	}
	h.w.after(100_000, look)
}

func (h *chaosHost) hears(l *chaosLink, data []byte) {
	ref, ok := h.byLink[l]
	for ok && len(data) > 0 {
		c := h.conns[ref]
		if c == nil {
			return
		}
		if c.want > 0 {
			data = h.takePayload(c, data)
		} else {
			data = h.takeHead(c, data)
		}
	}
}

func (h *chaosHost) takePayload(c *conn, b []byte) []byte {
	n := min(c.want, len(b))
	c.want -= n
	if p := c.payload; p != nil {
		p.data = append(p.data, b[:min(n, p.length-len(p.data))]...)
		if c.want == 0 {
			c.payload = nil
			h.keep(engine.Input{Kind: engine.Hashed, Peer: c.ref, Piece: p.piece, Begin: p.begin}, p.data)
		}
	}
	return b[n:]
}

// takeHead collects a handshake, a message, or a piece message's header, and tells the engine.
func (h *chaosHost) takeHead(c *conn, b []byte) []byte {
	need := 4
	if !c.shaken {
		need = wire.HandshakeSize
	} else if len(c.rest) >= 4 {
		n := int(binary.BigEndian.Uint32(c.rest))
		switch {
		case len(c.rest) == 4:
			need = 5 // the id
		case c.rest[4] == byte(wire.Piece):
			need = 4 + wire.PieceHeaderSize
			if n < wire.PieceHeaderSize || n > wire.PieceHeaderSize+bt.BlockSize {
				need = -1
			}
		default:
			need = 4 + n
		}
		if n > 1<<20 {
			need = -1
		}
	}
	if need < 0 {
		h.hangUp(c.ref)
		h.step(engine.Input{Kind: engine.PeerClosed, Peer: c.ref})
		return nil
	}
	take := min(need-len(c.rest), len(b))
	c.rest = append(c.rest, b[:take]...)
	b = b[take:]
	if len(c.rest) < need {
		return b
	}
	in := engine.Input{Kind: engine.MessageReceived, Peer: c.ref, Data: c.rest}
	switch {
	case !c.shaken:
		c.shaken = true
		in.Flags = engine.FlagHandshake
	case need == 4 && binary.BigEndian.Uint32(c.rest) == 0: // a keepalive
		c.rest = nil
		return b
	case need == 4, need == 5 && (c.rest[4] == byte(wire.Piece) || binary.BigEndian.Uint32(c.rest) != 1):
		return b // not whole yet
	case c.rest[4] == byte(wire.Piece):
		c.want = int(binary.BigEndian.Uint32(c.rest)) - wire.PieceHeaderSize
		in.Data, in.Length = c.rest[4:], uint32(c.want)
	default:
		in.Data = c.rest[4:]
	}
	c.rest = nil
	h.step(in)
	return b
}
