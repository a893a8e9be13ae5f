package native

import (
	"encoding/binary"
	"math"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// The framing of BEP 3, and our bounds on it.
const (
	handshakeSize = 68
	pieceID       = 7
	pieceHead     = 9 // id, index, begin
	pieceMax      = pieceHead + bt.BlockSize
	messageMax    = 1 << 20
	servedMax     = 128 << 10 // of one request; more is a fault that the engine punishes
)

// peer is one channel and the place in its stream of bytes. A message is kept only until it is whole, a payload only
// if the engine asked for its digest, and neither before its length is known to be allowed.
type peer struct {
	ref     engine.PeerRef
	ch      channel
	gone    bool
	touched bool

	measureAt engine.Instant // not again before then

	shaken  bool
	rest    []byte // a head that is not whole yet: handshake, length prefix, message, or length and piece header
	want    int    // bytes of the payload under way that are still to come
	payload *payload
}

// payload is a block on its way from a peer, wanted by the engine.
type payload struct {
	piece, begin uint32
	data         []byte
}

// connected tells the engine of an open channel. id is the 20-byte peer ID that signalling promised, or empty.
func (c *core) connected(ref engine.PeerRef, ch channel, id []byte, initiator bool) {
	flags := engine.Flags(0)
	if initiator {
		flags = engine.FlagInitiator
	}
	c.connectedAs(ref, ch, id, flags)
}

// connectedAs is connected with PeerConnected's flags.
func (c *core) connectedAs(ref engine.PeerRef, ch channel, id []byte, flags engine.Flags) {
	c.peers[ref] = &peer{ref: ref, ch: ch}
	c.step(engine.Input{Kind: engine.PeerConnected, Peer: ref, Data: id, Flags: flags})
}

// disconnected tells the engine that a channel ended, or that none came of a dial.
func (c *core) disconnected(ref engine.PeerRef) {
	if p := c.peers[ref]; p != nil {
		c.dropPeer(p)
	}
	c.step(engine.Input{Kind: engine.PeerClosed, Peer: ref})
}

// received takes bytes of a peer's channel, in whatever pieces they come.
func (c *core) received(ref engine.PeerRef, b []byte) {
	p := c.peers[ref]
	for p != nil && !p.gone && len(b) > 0 {
		if p.want > 0 {
			b = c.takePayload(p, b)
		} else {
			b = c.takeHead(p, b)
		}
	}
}

// takePayload consumes what belongs to the payload under way.
func (c *core) takePayload(p *peer, b []byte) []byte {
	n := min(p.want, len(b))
	p.want -= n
	if p.payload != nil {
		x := p.payload
		x.data = append(x.data, b[:min(n, cap(x.data)-len(x.data))]...) // more than was asked for is skipped
		if p.want == 0 {
			p.payload = nil
			c.keep(x.piece, x.begin, x.data, engine.Input{Peer: p.ref})
			c.run()
		}
	}
	return b[n:]
}

// takeHead collects until a handshake, a message, or a piece message's header is whole, and gives it to the engine.
func (c *core) takeHead(p *peer, b []byte) []byte {
	need := c.need(p)
	n := min(need-len(p.rest), len(b))
	if len(p.rest) == 0 && n == need && need > 5 {
		c.deliver(p, b[:n]) // whole already: no copy
		return b[n:]
	}
	p.rest = append(p.rest, b[:n]...)
	b = b[n:]
	if len(p.rest) < need {
		return b
	}
	switch more := c.need(p); {
	case more < 0:
		c.closePeer(p)
		c.run()
	case more == 0: // keepalive
		p.rest = p.rest[:0]
		c.step(engine.Input{Kind: engine.MessageReceived, Peer: p.ref})
	case more == len(p.rest):
		msg := p.rest
		p.rest = nil
		c.deliver(p, msg)
		if !p.gone && p.rest == nil && cap(msg) <= 256 {
			p.rest = msg[:0]
		}
	}
	return b
}

// need is how many bytes the head under way has in all, as far as is known by now: first the length prefix, then
// the id, then all. It is -1 for what is not allowed and 0 for a keepalive.
func (c *core) need(p *peer) int {
	if !p.shaken {
		return handshakeSize
	}
	if len(p.rest) < 4 {
		return 4
	}
	switch n := binary.BigEndian.Uint32(p.rest); {
	case n == 0:
		return 0
	case n > messageMax:
		return -1
	case len(p.rest) < 5:
		return 5
	case p.rest[4] != pieceID:
		return 4 + int(n)
	case n < pieceHead || n > pieceMax:
		return -1
	default:
		return 4 + pieceHead
	}
}

// deliver gives a whole head to the engine: the handshake, or a message with its length prefix.
func (c *core) deliver(p *peer, head []byte) {
	if !p.shaken {
		p.shaken = true
		c.step(engine.Input{Kind: engine.MessageReceived, Peer: p.ref, Flags: engine.FlagHandshake, Data: head})
		return
	}
	msg := head[4:]
	in := engine.Input{Kind: engine.MessageReceived, Peer: p.ref, Data: msg}
	if msg[0] == pieceID {
		// Said before the engine answers, so that its Hash finds the payload, and the skipping its length.
		p.want = int(binary.BigEndian.Uint32(head)) - pieceHead
		in.Length = uint32(p.want)
	}
	if wire.ID(msg[0]) == wire.Hashes {
		c.heardHashes(msg)
	}
	c.step(in)
}

// heardHashes keeps what a peer's answer to a hash request says, if it is true; whether it was asked for is the engine's affair.
func (c *core) heardHashes(msg []byte) {
	m, err := wire.Parse(msg)
	if err != nil {
		return
	}
	for i := range c.title.Files {
		if c.title.Files[i].Root == m.Hashes.Root {
			c.learned(uint32(i), m.Hashes, m.Payload)
		}
	}
}

// hashPayload is Hash for the payload that the peer has just announced.
func (c *core) hashPayload(o *engine.Output) {
	p := c.peers[o.Peer]
	if p == nil || p.want == 0 || p.payload != nil || int(o.Length) > p.want {
		return
	}
	p.payload = &payload{piece: o.Piece, begin: o.Begin, data: takeBlock(int(o.Length))}
}

// owner is a channel that may keep what it is given.
type owner interface {
	// SendOwned is Send of a takeMessage, which is the channel's from now on, for giveMessage when it has gone.
	SendOwned(b []byte) error
}

// send queues bytes for a peer; one that lets them pile up is closed.
func (c *core) send(p *peer, b []byte) {
	c.sent(p, p.ch.Queued()+len(b) <= sendMax && p.ch.Send(b) == nil)
}

// sendOwned is send of a takeMessage, which is gone afterwards.
func (c *core) sendOwned(p *peer, b []byte) {
	if p.ch.Queued()+len(b) > sendMax {
		c.sent(p, false)
		return
	}
	if o, ok := p.ch.(owner); ok {
		c.sent(p, o.SendOwned(b) == nil)
		return
	}
	c.sent(p, p.ch.Send(b) == nil)
	giveMessage(b)
}

// sent notes that something was queued for a peer, or closes it.
func (c *core) sent(p *peer, ok bool) {
	if !ok {
		c.closePeer(p)
		return
	}
	if !p.touched {
		p.touched = true
		c.touched = append(c.touched, p.ref)
	}
}

func (c *core) reportQueue(p *peer) {
	if n := p.ch.Queued(); n > queueHigh {
		c.then(engine.Input{Kind: engine.SendQueue, Peer: p.ref, Length: uint32(n)})
	}
}

// drained says that a peer's queue fell to queueHigh or below.
func (c *core) drained(ref engine.PeerRef) {
	if p := c.peers[ref]; p != nil {
		c.step(engine.Input{Kind: engine.SendQueue, Peer: ref, Length: uint32(p.ch.Queued())})
	}
}

// sendBlock sends a stored block, and zeros for what lies past the file's end.
func (c *core) sendBlock(o *engine.Output) {
	p := c.peers[o.Peer]
	if p == nil || o.Length > servedMax {
		return
	}
	b := takeMessage(4 + pieceHead + int(o.Length))
	binary.BigEndian.PutUint32(b, pieceHead+o.Length)
	b[4] = pieceID
	binary.BigEndian.PutUint32(b[5:], o.Piece)
	binary.BigEndian.PutUint32(b[9:], o.Begin)
	data := b[4+pieceHead:]
	if size := c.files.pieceSize(o.Piece); int64(o.Begin) < size {
		clear(data[min(int64(len(data)), size-int64(o.Begin)):])
		data = data[:min(int64(len(data)), size-int64(o.Begin))]
		if err := c.readStored(o.Piece, data, int64(o.Begin)); err != nil {
			giveMessage(b)
			if c.ended {
				return // refused
			}
			c.lose(o.Piece, engine.Input{Peer: o.Peer, Begin: o.Begin, Length: o.Length})
			return
		}
		c.stats.SentBytes += int64(len(data))
	} else {
		clear(data)
	}
	if c.corrupt != nil {
		c.corrupt(b[4+pieceHead:])
	}
	c.sendOwned(p, b)
	if now := c.out.now(); !p.gone && now >= p.measureAt {
		p.measureAt = now + measureEvery
		c.out.measure(p.ref)
	}
}

// measured tells the engine what a round trip to a peer takes.
func (c *core) measured(ref engine.PeerRef, rtt time.Duration) {
	if c.peers[ref] != nil && rtt > 0 {
		c.step(engine.Input{Kind: engine.PathMeasured, Peer: ref, Length: uint32(min(rtt.Microseconds(), math.MaxUint32))})
	}
}
