package engine_test

import (
	"encoding/binary"
	"fmt"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// auditPeer is what a peer and the engine have said to each other, by the protocol's rules alone.
type auditPeer struct {
	a         *audit
	ref       engine.PeerRef
	connected bool
	dialled   bool
	named     bool // id is known
	id        bt.PeerID
	helloOut  bool
	helloIn   bool
	fast      bool // the peer speaks BEP 6, and so does the engine
	weFast    bool
	listedOut bool

	has      []bool           // pieces that the peer claims
	loose    bool             // it used an extension of the engine's that this audit cannot read, and may claim anything by it
	free     map[uint32]bool  // pieces that it lets be asked for though it chokes (BEP 6)
	extIDs   map[uint8]string // the engine's numbers for extensions
	dontHave uint8

	peerChoking bool
	amChoking   bool
	interested  bool
	live        map[wire.Request]int // the engine's requests that are neither answered nor cancelled
	cancelled   map[wire.Request]int
	wishes      map[wire.Request]*wish
	hashLive    map[bt.HashRequest]bool // asked by the engine
	hashWishes  map[bt.HashRequest]int  // asked by the peer
	fresh       bool                    // the piece message of this step answers a request
	freshAt     [2]uint32
}

// wish is a block that the peer asked for. Requests that are repeated before the answer may have one answer or several.
type wish struct {
	least, most int
	since       engine.Instant
}

func newAuditPeer(a *audit, ref engine.PeerRef) *auditPeer {
	return &auditPeer{
		a: a, ref: ref, has: make([]bool, len(a.stock)), free: map[uint32]bool{}, extIDs: map[uint8]string{}, peerChoking: true, amChoking: true,
		live: map[wire.Request]int{}, cancelled: map[wire.Request]int{}, wishes: map[wire.Request]*wish{},
		hashLive: map[bt.HashRequest]bool{}, hashWishes: map[bt.HashRequest]int{},
	}
}

// heard takes note of what the peer says. What is malformed or out of place ends the connection, so it changes nothing.
func (p *auditPeer) heard(in *engine.Input) {
	p.fresh = false
	if in.Flags&engine.FlagHandshake != 0 {
		if h, err := wire.ParseHandshake(in.Data); err == nil {
			p.helloIn, p.fast = true, h.Fast && p.weFast
			p.named, p.id = true, h.PeerID
		}
		return
	}
	m, err := wire.Parse(in.Data)
	if err != nil {
		return
	}
	piece := m.Request.Piece
	known := int(piece) < len(p.has)
	switch m.ID {
	case wire.Choke:
		p.peerChoking = true
		if !p.fast {
			clear(p.live)
		}
	case wire.Unchoke:
		p.peerChoking = false
	case wire.Have:
		if known {
			p.has[piece] = true
		}
	case wire.AllowedFast:
		p.free[piece] = true
	case wire.HaveAll:
		for n := range p.has {
			p.has[n] = true
		}
	case wire.Bitfield:
		if wire.ValidBitfield(m.Payload, len(p.has)) {
			for n := range p.has {
				p.has[n] = p.has[n] || m.Payload[n/8]&(0x80>>(n%8)) != 0
			}
		}
	case wire.Piece:
		q := p.block(m.Request)
		p.fresh = p.answered(p.live, p.cancelled, q)
		p.freshAt = [2]uint32{q.Piece, q.Begin}
	case wire.Reject:
		p.answered(p.cancelled, p.live, p.block(m.Request))
	case wire.RequestBlock:
		w := p.wishes[m.Request]
		if w == nil {
			w = &wish{since: p.a.h.w.now}
			p.wishes[m.Request] = w
		}
		w.least = 1
		w.most++
	case wire.HashRequest:
		p.hashWishes[m.Hashes]++
	case wire.Hashes, wire.HashReject:
		delete(p.hashLive, m.Hashes)
	case wire.Extended:
		p.extension(&m)
	}
}

// block is the whole block that a piece or a reject answers, whatever length it claims.
func (p *auditPeer) block(q wire.Request) wire.Request {
	q.Length = uint32(p.a.h.w.film.blockLength(q.Piece, q.Begin))
	return q
}

func (p *auditPeer) extension(m *wire.Message) {
	if m.ExtID == 0 {
		if h, err := wire.ParseExtHandshake(m.Payload); err == nil {
			if id, listed := h.Lookup(wire.ExtDontHave); listed {
				p.dontHave = id
			}
		}
		return
	}
	switch p.extIDs[m.ExtID] {
	case "":
	case wire.ExtDontHave:
		if n, err := wire.ParseDontHave(m.Payload); err == nil && int(n) < len(p.has) {
			p.has[n] = false
		}
	case wire.ExtEssaim:
		if e, err := wire.ParseEssaim(m.Payload); err == nil && e.Kind > wire.EssaimUnfetching {
			p.loose = true
		}
	default:
		p.loose = true
	}
}

// answered settles one request, preferably of the first kind.
func (p *auditPeer) answered(first, second map[wire.Request]int, q wire.Request) bool {
	for _, m := range []map[wire.Request]int{first, second} {
		if m[q] > 0 {
			m[q]--
			if m[q] == 0 {
				delete(m, q)
			}
			return true
		}
	}
	return false
}

func (p *auditPeer) fail(format string, args ...any) {
	p.a.fail("to peer %d: %s", p.ref, fmt.Sprintf(format, args...))
}

// said judges a message of the engine's.
func (p *auditPeer) said(o *engine.Output) {
	if !p.helloOut {
		h, err := wire.ParseHandshake(o.Data)
		if err != nil || !p.connected || h.PeerID != p.a.h.id || h.InfoHash != p.a.h.w.film.title.InfoHash {
			p.fail("the first message is no handshake of ours")
		}
		p.helloOut, p.weFast = true, h.Fast
		return
	}
	if !p.helloIn {
		p.fail("a message before the peer's handshake came")
	}
	if len(o.Data) < 4 || int(binary.BigEndian.Uint32(o.Data)) != len(o.Data)-4 {
		p.fail("a message is not framed")
	}
	if len(o.Data) == 4 {
		return // a keepalive
	}
	m, err := wire.Parse(o.Data[4:])
	if err != nil {
		p.fail("a malformed message: %v", err)
	}
	f := p.a.h.w.film
	stock := p.a.stock
	switch m.ID {
	case wire.Choke, wire.Unchoke:
		if choke := m.ID == wire.Choke; choke == p.amChoking {
			p.fail("choke or unchoke said twice")
		}
		p.amChoking = m.ID == wire.Choke
		if p.amChoking && !p.fast {
			clear(p.wishes)
		}
	case wire.Interested, wire.NotInterested:
		if want := m.ID == wire.Interested; want == p.interested {
			p.fail("interest said twice")
		}
		p.interested = m.ID == wire.Interested
	case wire.Have:
		if int(m.Request.Piece) >= len(stock) || !stock[m.Request.Piece] {
			p.fail("have of piece %d, which is not stored", m.Request.Piece)
		}
		p.listedOut = true
	case wire.Bitfield, wire.HaveAll, wire.HaveNone:
		p.lists(&m)
	case wire.RequestBlock:
		p.asked(m.Request)
	case wire.Cancel:
		if p.live[m.Request] == 0 {
			p.fail("cancel of %+v, which is not asked for", m.Request)
		}
		p.answered(p.live, p.live, m.Request)
		if len(p.cancelled) < 100_000 {
			p.cancelled[m.Request]++
		}
	case wire.Reject:
		if !p.fast {
			p.fail("reject without the fast extension")
		}
		p.granted(m.Request, "reject")
	case wire.Extended:
		if m.ExtID == 0 {
			h, err := wire.ParseExtHandshake(m.Payload)
			if err != nil {
				p.fail("%v", err)
			}
			for _, e := range h.Extensions {
				p.extIDs[e.ID] = e.Name
			}
			return
		}
		if m.ExtID == p.dontHave {
			if n, err := wire.ParseDontHave(m.Payload); err == nil && int(n) < len(stock) && stock[n] {
				p.fail("don't have of piece %d, which is stored", n)
			}
		}
	case wire.HashRequest:
		p.hashesAsked(m.Hashes)
	case wire.Hashes, wire.HashReject:
		p.hashesGiven(&m)
	case wire.AllowedFast, wire.Suggest:
		if !p.fast || int(m.Request.Piece) >= f.pieces() {
			p.fail("message %d out of place", m.ID)
		}
	default:
		p.fail("message %d", m.ID)
	}
}

// lists checks what the engine says it has: once, first, and true.
func (p *auditPeer) lists(m *wire.Message) {
	a := p.a
	bad := p.listedOut
	switch m.ID {
	case wire.HaveAll:
		bad = bad || !p.fast || a.held != len(a.stock)
	case wire.HaveNone:
		bad = bad || !p.fast || a.held != 0
	default:
		bad = bad || !wire.ValidBitfield(m.Payload, len(a.stock))
		for n := range a.stock {
			bad = bad || a.stock[n] != (m.Payload[n/8]&(0x80>>(n%8)) != 0)
		}
	}
	p.listedOut = true
	if bad {
		p.fail("message %d out of place, or untrue", m.ID)
	}
}

// asked judges a request of the engine's.
func (p *auditPeer) asked(q wire.Request) {
	a := p.a
	n := a.h.w.film.blockLength(q.Piece, q.Begin)
	switch {
	case n == 0 || q.Length != uint32(n) && q.Length != bt.BlockSize:
		p.fail("request of %+v, which is no block", q)
	case a.stock[q.Piece] || a.storing[q.Piece]:
		p.fail("request of piece %d, which is stored", q.Piece)
	case p.peerChoking && !p.free[q.Piece]:
		p.fail("request of %+v though it chokes us", q)
	case !p.has[q.Piece] && !p.loose:
		p.fail("request of piece %d, which it has not", q.Piece)
	case p.live[q] > 0:
		p.fail("request of %+v, twice", q)
	case len(p.live) >= liveBound:
		p.fail("%d requests outstanding", len(p.live))
	}
	p.live[q]++
}

// gave judges a block that the engine sends.
func (p *auditPeer) gave(o *engine.Output) {
	a := p.a
	switch {
	case !p.helloIn || !p.helloOut:
		p.fail("a block before the handshakes")
	case p.amChoking:
		p.fail("a block though we choke it")
	case !a.uploads:
		p.fail("a block though uploading is off")
	case !a.stock[o.Piece] && !a.keeps(o):
		p.fail("a block of piece %d, which is neither stored nor kept", o.Piece)
	}
	p.granted(wire.Request{Piece: o.Piece, Begin: o.Begin, Length: o.Length}, "block")
}

// keeps reports whether the host keeps all blocks of which bytes are to be sent.
func (a *audit) keeps(o *engine.Output) bool {
	for at := o.Begin / bt.BlockSize * bt.BlockSize; at < o.Begin+o.Length; at += bt.BlockSize {
		if k := a.h.kept[[2]uint32{o.Piece, at}]; k == nil || !k.told {
			return false
		}
	}
	return true
}

// granted settles a wish of the peer's.
func (p *auditPeer) granted(q wire.Request, how string) {
	w := p.wishes[q]
	if w == nil || w.most == 0 {
		p.fail("a %s for %+v, which it did not ask for, or not so often", how, q)
	}
	w.most--
	w.least = 0
	if w.most == 0 {
		delete(p.wishes, q)
	}
}
