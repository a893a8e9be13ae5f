package engine

import (
	"essaim/internal/bt/wire"
)

// The numbers under which we want to receive extensions' messages (BEP 10).
const (
	extDontHave = 1
	extEssaim   = 2
	extMetadata = 3
)

// keepalive is BEP 3's empty message.
var keepalive = [4]byte{}

// sendFrom emits the message that was appended to the arena from the given position on.
func (e *Engine) sendFrom(p *peer, from int) {
	p.told = e.now
	e.emit(Output{Kind: SendMessage, Peer: p.ref, Data: e.arena[from:len(e.arena):len(e.arena)]})
}

func (e *Engine) send(p *peer, message []byte) {
	p.told = e.now
	e.emit(Output{Kind: SendMessage, Peer: p.ref, Data: e.keep(message)})
}

// sendHandshake begins a connection, under the v1 info hash with the offer to go on as BEP 52 has it, or under the v2 one.
func (e *Engine) sendHandshake(p *peer, underV2 bool) {
	at := len(e.arena)
	h := wire.Handshake{InfoHash: e.title.InfoHash, PeerID: e.title.PeerID, Extended: true, Fast: true, V2: true}
	if underV2 {
		h.InfoHash = e.title.InfoHashV2
	}
	e.arena = wire.AppendHandshake(e.arena, h)
	e.sendFrom(p, at)
}

// greet follows a good handshake: what we speak, and what we have.
func (e *Engine) greet(p *peer, extended bool) {
	if extended {
		at := len(e.arena)
		e.arena = wire.AppendExtHandshake(e.arena, e.extensions())
		e.sendFrom(p, at)
	}
	at := len(e.arena)
	switch {
	case p.fast && e.stock.count == uint32(len(e.stock.status)):
		e.arena = wire.AppendHaveAll(e.arena)
	case p.fast && e.stock.count == 0:
		e.arena = wire.AppendHaveNone(e.arena)
	case e.stock.count == 0:
		return // BEP 3: an empty bitfield may be left out
	default:
		bits := make([]byte, (len(e.stock.status)+7)/8)
		for n := range e.stock.status {
			if e.stock.status[n] == pieceStored {
				bits[n/8] |= 0x80 >> (n % 8)
			}
		}
		e.arena = wire.AppendBitfield(e.arena, bits)
	}
	e.sendFrom(p, at)
}

func (e *Engine) sendHave(p *peer, piece uint32) {
	at := len(e.arena)
	e.arena = wire.AppendHave(e.arena, piece)
	e.sendFrom(p, at)
}

func (e *Engine) sendDontHave(p *peer, piece uint32) {
	if p.dontHave == 0 {
		return
	}
	at := len(e.arena)
	e.arena = wire.AppendDontHave(e.arena, p.dontHave, piece)
	e.sendFrom(p, at)
}

func (e *Engine) sendRequest(p *peer, piece, block, length uint32) {
	if p.owedLive == 0 {
		p.moved = e.now
	}
	if p.asked == 0 {
		p.asked = e.now
	}
	p.owed = append(p.owed, request{piece: piece, block: block, at: e.now})
	p.owedLive++
	at := len(e.arena)
	e.arena = wire.AppendRequest(e.arena, wire.Request{Piece: piece, Begin: block * e.unit, Length: length})
	e.sendFrom(p, at)
}

func (e *Engine) sendCancel(p *peer, r *request) {
	f, n := e.locate(r.piece)
	at := len(e.arena)
	e.arena = wire.AppendCancel(e.arena, wire.Request{Piece: r.piece, Begin: r.block * e.unit, Length: f.blockLength(n, int(r.block))})
	e.sendFrom(p, at)
}

func (e *Engine) sendReject(p *peer, w wire.Request) {
	if !p.fast {
		return
	}
	at := len(e.arena)
	e.arena = wire.AppendReject(e.arena, w)
	e.sendFrom(p, at)
}

func (e *Engine) sendChoke(p *peer) {
	at := len(e.arena)
	e.arena = wire.AppendChoke(e.arena)
	e.sendFrom(p, at)
}

func (e *Engine) sendUnchoke(p *peer) {
	at := len(e.arena)
	e.arena = wire.AppendUnchoke(e.arena)
	e.sendFrom(p, at)
}

// tellInterest says whether the peer has anything that we lack, when that changed.
func (e *Engine) tellInterest(p *peer) {
	if want := p.useful > 0; want != p.amInterested {
		p.amInterested = want
		at := len(e.arena)
		if want {
			e.arena = wire.AppendInterested(e.arena)
		} else {
			e.arena = wire.AppendNotInterested(e.arena)
		}
		e.sendFrom(p, at)
	}
}

// received judges one message of a peer.
func (e *Engine) received(p *peer, in *Input) {
	p.heard = e.now
	if len(in.Data) == 0 && p.ready {
		return // BEP 3's keepalive
	}
	if in.Flags&FlagHandshake != 0 {
		e.handshake(p, in.Data)
		return
	}
	m, err := wire.Parse(in.Data)
	if !p.ready || err != nil {
		e.drop(p, ReasonProtocol)
		return
	}
	if m.ID != wire.Piece && e.flood(p, m.ID == wire.RequestBlock) {
		e.drop(p, ReasonFlood)
		return
	}
	if !e.hear(p, &m, in.Length) {
		e.drop(p, ReasonProtocol)
		return
	}
	if m.ID != wire.Extended {
		p.listed = true
	}
}

// flood counts small messages in turns of ten seconds.
func (e *Engine) flood(p *peer, request bool) bool {
	if e.now-p.turn > 10_000_000 {
		p.turn, p.turnMessages, p.rejects = e.now, 0, 0
	}
	if request {
		return false // requests have bounds of their own
	}
	p.turnMessages++
	return p.turnMessages > messagesPerTurn+len(e.stock.status) // a store filled at once announces every piece
}

// The token bucket of have and lt_donthave: it holds a store that is filled at once and then some, and fills up at the rate
// of a viewer who caches what a fast line brings.
const (
	newsEvery = 5_000 // microseconds: 200 a second
	newsBurst = 1_000 // beside one for each piece
)

// heedNews takes a token for a have or a lt_donthave; false: the peer has spent all of them, and was dropped.
func (e *Engine) heedNews(p *peer) bool {
	p.newsDue = max(p.newsDue, e.now) + newsEvery
	if p.newsDue-e.now <= Instant(newsBurst+len(e.stock.status))*newsEvery {
		return true
	}
	e.drop(p, ReasonFlood)
	return false
}

func (e *Engine) handshake(p *peer, data []byte) {
	h, err := wire.ParseHandshake(data)
	reason := ReasonNone
	switch {
	case err != nil || p.ready || !p.connected:
		reason = ReasonProtocol
	case h.InfoHash != e.title.InfoHash && h.InfoHash != e.title.InfoHashV2:
		reason = ReasonWrongSwarm
	case h.PeerID == e.title.PeerID || p.idKnown && h.PeerID != p.id:
		reason = ReasonWrongPeer
	case e.trust.Banned(h.PeerID):
		reason = ReasonBadData
	}
	if reason == ReasonNone && !p.idKnown {
		for _, other := range e.peers {
			if other != p && other.idKnown && other.id == h.PeerID {
				reason = ReasonDuplicate
			}
		}
	}
	if reason != ReasonNone {
		e.drop(p, reason)
		return
	}
	p.id, p.idKnown, p.ready, p.fast = h.PeerID, true, true, h.Fast
	p.proves = h.V2 || h.InfoHash == e.title.InfoHashV2
	e.note(NotePeerUp, Output{Peer: p.ref, Data: e.keep(p.id[:])})
	e.greet(p, h.Extended)
	e.stale = true
}

// hear applies one well-formed message; false: it has no place here, and the peer must go.
func (e *Engine) hear(p *peer, m *wire.Message, payload uint32) bool {
	switch m.ID {
	case wire.Choke:
		e.choked(p)
	case wire.Unchoke:
		p.peerChoking = false
		e.refill(p)
	case wire.Interested, wire.NotInterested:
		if want := m.ID == wire.Interested; want != p.peerInterest {
			p.peerInterest = want
			e.chokedAt = 0
		}
	case wire.Have:
		if !e.stock.valid(m.Request.Piece) {
			return false
		}
		if !e.heedNews(p) {
			return true
		}
		e.learn(p, m.Request.Piece)
		e.tellInterest(p)
		if e.wanted(m.Request.Piece) && e.stock.status[m.Request.Piece] == pieceLacked {
			e.refill(p)
		}
	case wire.Bitfield, wire.HaveAll, wire.HaveNone:
		return e.lists(p, m)
	case wire.RequestBlock:
		e.wished(p, m.Request)
	case wire.Cancel:
		e.unwished(p, m.Request)
	case wire.Piece:
		return e.pieceComes(p, m, payload)
	case wire.Reject:
		return p.fast && e.rejected(p, m.Request)
	case wire.Suggest, wire.AllowedFast:
		return p.fast
	case wire.Extended:
		e.extended(p, m)
	case wire.HashRequest:
		e.hashesWished(p, m.Hashes)
	case wire.Hashes:
		return e.hashesCame(p, m.Hashes, m.Payload)
	case wire.HashReject:
		return e.hashesRefused(p, m.Hashes)
	}
	return true
}

// lists takes what a peer has, said at once; only directly after the handshakes, and only once.
func (e *Engine) lists(p *peer, m *wire.Message) bool {
	if p.listed {
		return false
	}
	switch m.ID {
	case wire.HaveNone:
		return p.fast
	case wire.HaveAll:
		if !p.fast {
			return false
		}
		for n := range e.stock.status {
			e.learn(p, uint32(n))
		}
	default:
		if !wire.ValidBitfield(m.Payload, len(e.stock.status)) {
			return false
		}
		for n := range e.stock.status {
			if m.Payload[n/8]&(0x80>>(n%8)) != 0 {
				e.learn(p, uint32(n))
			}
		}
	}
	e.tellInterest(p)
	e.stale = true
	return true
}

// choked: with BEP 6 every request outstanding will be rejected one by one; without, all are gone.
func (e *Engine) choked(p *peer) {
	p.peerChoking, e.idle = true, false
	if p.fast {
		return
	}
	for i := range p.owed {
		e.release(&p.owed[i])
	}
	p.owed, p.owedLive = p.owed[:0], 0
}

// findOwed is the place of a request among those a peer owes, or -1. Of several for one block it is one that was
// cancelled, or one that was not, as asked.
func (p *peer) findOwed(piece, begin uint32, cancelled bool) int {
	found := -1
	for i := range p.owed {
		r := &p.owed[i]
		if r.piece != piece || r.block*p.unit != begin {
			continue
		}
		if r.cancelled == cancelled {
			return i
		}
		found = i
	}
	return found
}

// settleOwed removes a request that was answered.
func (e *Engine) settleOwed(p *peer, i int) (cancelled bool) {
	r := p.owed[i]
	p.owed = append(p.owed[:i], p.owed[i+1:]...)
	if !r.cancelled {
		p.owedLive--
		e.release(&r)
	}
	return r.cancelled
}

// pieceComes accepts or refuses a block's payload before the host reads it.
func (e *Engine) pieceComes(p *peer, m *wire.Message, payload uint32) bool {
	i := p.findOwed(m.Request.Piece, m.Request.Begin, false)
	if i < 0 {
		return !p.fast // BEP 6: an unsolicited piece closes; BEP 3 peers may answer a cancelled request
	}
	r := p.owed[i]
	f, n := e.locate(r.piece)
	if payload != f.blockLength(n, int(r.block)) {
		return false
	}
	e.settleOwed(p, i)
	p.moved, p.snubs = e.now, 0
	a := e.findActive(r.piece)
	defer e.refill(p)
	if e.stock.status[r.piece] != pieceLacked || a == nil || a.leaves || a.blocks[r.block].state != blockLacked {
		e.emit(Output{Kind: Discard, Peer: p.ref, Piece: r.piece, Begin: m.Request.Begin})
		e.note(NoteWasted, Output{Peer: p.ref, Length: payload})
		return true
	}
	e.comes(a, int(r.block), p.ref)
	e.emit(Output{Kind: Hash, Peer: p.ref, File: uint32(e.stock.fileOf[r.piece]), Piece: r.piece, Begin: m.Request.Begin, Length: payload})
	return true
}

// rejected: a peer will not bring a block. One that rejects what it said it has is left alone for a while.
func (e *Engine) rejected(p *peer, r wire.Request) bool {
	i := p.findOwed(r.Piece, r.Begin, true)
	if i < 0 {
		return false
	}
	e.idle = false
	if cancelled := e.settleOwed(p, i); !cancelled && !p.peerChoking {
		p.snubbed = e.now + snubAfter/4
		e.stale = true
	}
	return true
}

func (e *Engine) extended(p *peer, m *wire.Message) {
	switch m.ExtID {
	case 0:
		if h, err := wire.ParseExtHandshake(m.Payload); err == nil {
			if id, listed := h.Lookup(wire.ExtDontHave); listed {
				p.dontHave = id
			}
			if id, listed := h.Lookup(wire.ExtMetadata); listed {
				p.metadata = id
			}
			if id, listed := h.Lookup(wire.ExtEssaim); listed && id != p.essaim {
				p.essaim = id
				p.proves = p.proves || id != 0
				e.meetEssaim(p)
			}
		}
	case extEssaim:
		e.essaim(p, m.Payload)
	case extMetadata:
		e.metadata(p, m.Payload)
	case extDontHave:
		if piece, err := wire.ParseDontHave(m.Payload); err == nil && e.stock.valid(piece) && e.heedNews(p) {
			e.unlearn(p, piece)
			e.tellInterest(p)
		}
	}
}
