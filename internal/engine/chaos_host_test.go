package engine_test

import (
	"bytes"
	"crypto/sha256"
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

func (h *chaosHost) hash(o *engine.Output, in *engine.Input) {
	if o.Peer == 0 {
		if g := h.fetches[o.Ref]; g != nil {
			g.hash(o)
		}
		return
	}
	if c := h.conns[o.Peer]; c != nil && c.want > 0 && in.Kind == engine.MessageReceived && in.Peer == o.Peer {
		c.payload = &payloadInto{piece: o.Piece, begin: o.Begin, length: int(o.Length)}
	}
}

// keep digests a whole block, and keeps it unless one is kept.
func (h *chaosHost) keep(in engine.Input, data []byte) {
	key := [2]uint32{in.Piece, in.Begin}
	if !h.w.healed && h.w.faults.hits(h.r, hostRoom, 0.2) {
		return
	}
	if h.kept[key] != nil || h.store[in.Piece] != nil {
		return
	}
	k := &keptBlock{data: data}
	h.kept[key] = k
	h.keptLen += len(data)
	in.Digest = sha256.Sum256(data)
	d := ms(h.r, 0, 20)
	if !h.w.healed && h.w.faults.hits(h.r, hostDigest, 0.2) {
		d = ms(h.r, 0, 14_000)
	}
	h.w.after(d, func() {
		if h.kept[key] == k {
			k.told = true
			h.step(in)
		}
	})
}

func (h *chaosHost) dropKept(piece, begin uint32) {
	key := [2]uint32{piece, begin}
	if k := h.kept[key]; k != nil {
		h.keptLen -= len(k.data)
		delete(h.kept, key)
	}
}

// remember is what earlier visits left, told at once or late, and a bound on the store, in some runs.
func (h *chaosHost) remember(n int) {
	w, r := h.w, stream(h.w.seed, fmt.Sprintf("found %d", n))
	if r.IntN(3) == 0 {
		limit := int64(len(w.film.files[0])) * int64(5+r.IntN(90)) / 100
		in := engine.Input{Kind: engine.StoreBounded, From: limit, To: limit * int64(r.IntN(2))}
		in.Data = engine.AppendShelf(nil, []engine.Shelved{{Ref: 1, Members: r.Uint32(), Copies: r.Uint32(), Idle: r.Uint32(), Bytes: uint64(r.IntN(int(limit)))}})
		h.step(in)
	}
	if r.IntN(3) > 0 {
		return
	}
	late, share, verified := ms(r, 0, 12_000)*engine.Instant(r.IntN(2)), r.Float64(), r.IntN(4) == 0
	w.after(late, func() {
		in := engine.Input{Kind: engine.StoreFound}
		if verified {
			in.Kind = engine.StoreRestored
		}
		for piece := range uint32(w.film.pieces()) {
			if r.Float64() >= share || h.store[piece] != nil || h.audit.storing[piece] {
				continue
			}
			data := bytes.Clone(w.film.piece(piece))
			in.Data = binary.BigEndian.AppendUint32(in.Data, piece)
			if verified {
				h.store[piece] = data
				h.stored = append(h.stored, piece)
				continue
			}
			if w.faults.hits(r, diskRot, 0.5) {
				switch r.IntN(3) {
				case 0:
					data[r.IntN(len(data))] ^= 1
				case 1:
					data = data[:r.IntN(len(data))]
				default:
					data = bytes.Clone(w.film.piece(uint32(r.IntN(w.film.pieces()))))
				}
			}
			h.found[piece] = data
		}
		h.step(in)
	})
}

// check digests what is there of a piece from an earlier visit.
func (h *chaosHost) check(piece uint32) {
	d := ms(h.r, 0, 20)
	if !h.w.healed && h.w.faults.hits(h.r, diskHang, 0.3) {
		if h.r.IntN(2) == 0 {
			return
		}
		d = ms(h.r, 0, 14_000)
	}
	h.w.after(d, func() {
		var leaves []byte
		for rest := h.found[piece]; len(rest) > 0; rest = rest[min(bt.BlockSize, len(rest)):] {
			sum := sha256.Sum256(rest[:min(bt.BlockSize, len(rest))])
			leaves = append(leaves, sum[:]...)
		}
		h.step(engine.Input{Kind: engine.Checked, Piece: piece, Data: leaves})
	})
}

func (h *chaosHost) storePiece(piece uint32) {
	var data []byte
	if h.audit.accepted[piece] {
		data = h.found[piece]
		if !bytes.Equal(data, h.w.film.piece(piece)) {
			h.w.fail("wrong bytes of piece %d, found in the store, were taken for right", piece)
		}
		h.putPiece(piece, data)
		return
	}
	for at := 0; at < h.w.film.pieceSize(piece); at += bt.BlockSize {
		key := [2]uint32{piece, uint32(at)}
		k := h.kept[key]
		if k == nil || !k.told {
			h.w.fail("piece %d is to be stored, but its block at %d is not kept", piece, at)
		}
		data = append(data, k.data...)
		h.dropKept(piece, uint32(at))
	}
	if !bytes.Equal(data, h.w.film.piece(piece)) {
		h.w.fail("wrong bytes of piece %d were stored", piece)
	}
	h.putPiece(piece, data)
}

func (h *chaosHost) putPiece(piece uint32, data []byte) {
	delete(h.found, piece)
	d := ms(h.r, 0, 10)
	if !h.w.healed && h.w.faults.hits(h.r, diskSlow, 0.3) {
		d = ms(h.r, 0, 6000)
	}
	full := !h.w.healed && h.w.faults.hits(h.r, diskFull, 0.5)
	if !full {
		h.store[piece] = data
	}
	h.w.after(d, func() {
		if full {
			h.step(engine.Input{Kind: engine.Evicted, Piece: piece})
			return
		}
		h.stored = append(h.stored, piece)
		h.step(engine.Input{Kind: engine.Stored, Piece: piece})
	})
}

// lose makes a stored piece vanish.
func (h *chaosHost) lose(piece uint32) {
	delete(h.store, piece)
	for i, n := range h.stored {
		if n == piece {
			h.stored = append(h.stored[:i], h.stored[i+1:]...)
			break
		}
	}
	h.step(engine.Input{Kind: engine.Evicted, Piece: piece})
}

// mishap is what befalls the host by itself, now and then.
func (h *chaosHost) mishap() {
	w, f, r := h.w, h.w.faults, h.r
	w.after(ms(r, 200, 1500), h.mishap)
	if len(w.hosts) > 1 && r.IntN(8) == 0 {
		if other := w.hosts[r.IntN(len(w.hosts))]; other != h {
			h.introduce(other, other.id)
		}
	}
	h.measure()
	if w.healed {
		return
	}
	if f.hits(r, diskEvict, 0.5) && len(h.stored) > 0 {
		h.lose(h.stored[r.IntN(len(h.stored))])
	}
	if f.hits(r, clockJump, 0.03) {
		h.skew += ms(r, 1000, 400_000)
		h.setTimer()
	}
	if f.hits(r, clockRepeat, 0.1) && w.now >= h.frozen {
		h.frozenAt = h.clock()
		h.frozen = w.now + ms(r, 100, 3000)
	}
	if f.hits(r, userPolicy, 0.1) {
		in := engine.Input{Kind: engine.PolicyChanged, Flags: engine.Flags(r.IntN(4)) * engine.FlagPeers}
		if r.IntN(2) == 0 {
			in.Length = uint32(50 + r.IntN(5000))
		}
		h.step(in)
	}
	if f.hits(r, userRevoke, 0.05) && len(w.puppets) > 0 {
		id := w.puppets[r.IntN(len(w.puppets))].id
		h.step(engine.Input{Kind: engine.Revoked, Data: id[:]})
	}
}

// measure says what hosts measure: round trips, and the size of the swarm.
func (h *chaosHost) measure() {
	r := h.r
	wild := h.w.faults.hits(r, hostCount, 0.5)
	for ref := range h.refs + 1 {
		if h.conns[ref] == nil || r.IntN(2) == 0 {
			continue
		}
		in := engine.Input{Kind: engine.PathMeasured, Peer: ref, Length: uint32(20_000 + r.IntN(60_000))}
		if wild {
			in.Length = r.Uint32() >> r.IntN(32)
		}
		h.step(in)
	}
	if r.IntN(10) == 0 {
		in := engine.Input{Kind: engine.SwarmCounted, Length: uint32(len(h.w.hosts) + len(h.w.puppets))}
		if wild {
			in.Length = r.Uint32() >> r.IntN(32)
		}
		h.step(in)
	}
}

// heal ends the host's own faults.
func (h *chaosHost) heal() {
	h.frozen = 0
	h.skew = max(h.skew, h.audit.latest-h.w.now)
	in := engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload}
	if h.r.IntN(2) == 0 {
		in.Length = uint32(100 + h.r.IntN(3000))
	}
	h.step(in)
	for _, g := range h.fetches {
		g.rate = 0 // what hangs goes on hanging
	}
	h.player.heal()
}
