package engine

import (
	"essaim/internal/bt"
	"essaim/internal/engine/ledger"
)

// PeersMax is how many peers one engine keeps up with: as many as a viewer's uplink is good for, with each of whom it reckons in every
// decision. Who has more to give opens several engines of one title.
const PeersMax = peersMax

// The limits of what one engine keeps up with.
const (
	peersMax        = 24
	pipelineMin     = 2         // requests, of blocks of bt.BlockSize
	pipelineMax     = 64        // the same
	pipelineTimeUs  = 1_000_000 // a pipeline holds about a second of the peer's rate
	rateUnknown     = 256 << 10 // bytes per second assumed of a peer that has not sent yet
	handshakeLimit  = 15_000_000
	firstBlock      = 600_000   // within which a peer must have brought its first block to be waited for
	snubAfter       = 2_000_000 // silence with requests outstanding
	snubbedFor      = 5_000_000
	snubsMax        = 4
	ghostsMax       = 256         // cancelled requests whose answer is waited for; clients there are that give none
	silenceMax      = 150_000_000 // BEP 3: keepalives come every two minutes
	keepaliveEvery  = 55_000_000
	servedQueueMax  = 512        // requests kept for one peer; our reqq
	requestMax      = 128 << 10  // bytes that one request may ask for
	sendQueueStuck  = 30_000_000 // a peer that takes nothing of what is queued for so long is dropped
	rejectsFlood    = 200        // requests out of place, in ten seconds, before the peer is dropped
	messagesPerTurn = 4_000      // small messages a peer may send per ten seconds
)

// request is one block that a peer owes us.
type request struct {
	piece, block uint32
	at           Instant
	cancelled    bool // we no longer want it; the answer may be a piece or a reject (BEP 6)
}

// peer is one connection.
type peer struct {
	ref       PeerRef
	id        bt.PeerID
	idKnown   bool // signalling promised it
	connected bool
	far       bool   // in another network, as the tracker says
	ready     bool   // the handshake came and was right
	listed    bool   // its bitfield, have-all or have-none came, or another message instead
	fast      bool   // both sides know BEP 6
	unit      uint32 // bytes of a block
	since     Instant

	bits         []uint64
	useful       int // pieces it has and we lack
	dontHave     uint8
	metadata     uint8 // its number for ut_metadata, 0: it has none
	metadataSent int   // bytes
	amChoking    bool
	peerChoking  bool
	amInterested bool
	peerInterest bool
	chokeChanged Instant
	owed         []request
	owedLive     int
	service              // what it asked of us, and how that goes: serve.go
	queued       uint32  // bytes in the host's hands: as reported, and what went out since
	reported     uint32  // as the host said last
	handed       int64   // bytes of all sent that were not in the host's hands any more, and
	handedAt     Instant // when that last grew
	rate         ledger.Meter
	sent         ledger.Meter
	asked        Instant // it was first asked for something
	moved        Instant // it last brought a block, or the first request went out
	heard        Instant // it last said anything
	told         Instant // we last said anything
	snubbed      Instant // until then it gets no requests
	snubs        int     // silences since it last brought a block; with any it gets one request at a time
	rejects      int
	essaim       uint8   // its number for our extension, 0: it has none
	playing      bool    // it said where its play head is:
	playMs       int64   // milliseconds of film, at
	playAt       Instant // then, moving at
	playRate     int64   // thousandths, in
	playFile     uint32
	claims       int     // of its claims to fetch that stand
	claimedAt    Instant // when it last made one
	claimFor     Instant // for how long, as it said
	broken       int     // that were not kept
	kept         int
	prover               // hashes, both ways: proofs.go and hashes.go
	turn         Instant // of the flood count
	turnMessages int
	newsDue      Instant // when its bucket of haves and lt_donthaves is full again
}

func (e *Engine) peer(ref PeerRef) *peer {
	for i := range e.refs {
		if e.refs[i] == ref {
			return e.peers[i]
		}
	}
	return nil
}

func (e *Engine) addPeer(p *peer) {
	e.peers, e.refs = append(e.peers, p), append(e.refs, p.ref)
}

func (p *peer) has(piece uint32) bool {
	i := int(piece >> 6)
	return i < len(p.bits) && p.bits[i]>>(piece&63)&1 == 1
}

// usable: it would answer a request now.
func (p *peer) usable(now Instant) bool { return p.ready && !p.peerChoking && now >= p.snubbed }

// reliable: it is usable, and the last that was asked of it came. The origin waits for no others.
func (p *peer) reliable(now Instant) bool {
	if p.rate.Total() == 0 && p.owedLive > 0 && now-p.asked > firstBlock {
		return false // it has never brought anything
	}
	return p.usable(now) && p.snubs == 0
}

// room is how many more requests it may be given.
func (p *peer) room(now Instant) int {
	if !p.usable(now) {
		return 0
	}
	least, most := int64(pipelineMin), int64(pipelineMax)
	if p.unit > bt.BlockSize {
		least, most = max(least*bt.BlockSize/int64(p.unit), 1), max(most*bt.BlockSize/int64(p.unit), 1) // as many bytes
	}
	limit := least + p.rate.Rate(int64(now))*pipelineTimeUs/1_000_000/int64(p.unit)
	if p.snubs > 0 {
		limit = 1
	}
	return int(min(limit, most)) - p.owedLive
}

// cost is the time, in microseconds, after which one more block would come from it.
func (p *peer) cost(now int64) int64 {
	rate := p.rate.Rate(now)
	if rate == 0 {
		rate = rateUnknown
	}
	return int64(p.owedLive+1) * int64(p.unit) * 1_000_000 / max(rate, 1024)
}

func (p *peer) owes(piece, block uint32) bool {
	for i := range p.owed {
		if r := &p.owed[i]; r.piece == piece && r.block == block && !r.cancelled {
			return true
		}
	}
	return false
}

// introduced: the tracker proposed a peer and we are to make the offer.
func (e *Engine) introduced(in *Input) {
	if len(in.Data) != 20 || in.Peer == 0 || e.peer(in.Peer) != nil {
		return
	}
	id := bt.PeerID(in.Data)
	if reason := e.unwelcome(id); reason != ReasonNone {
		e.emit(Output{Kind: ClosePeer, Peer: in.Peer, Reason: reason})
		return
	}
	e.addPeer(&peer{ref: in.Peer, id: id, idKnown: true, since: e.now, unit: e.unit, amChoking: true, peerChoking: true})
	e.emit(Output{Kind: Dial, Peer: in.Peer})
}

// unwelcome says why a peer may not join, if so.
func (e *Engine) unwelcome(id bt.PeerID) Reason {
	switch {
	case !e.sharing:
		return ReasonPolicy
	case id == e.title.PeerID:
		return ReasonWrongPeer
	case e.trust.Banned(id):
		return ReasonBadData
	case len(e.peers) >= peersMax || e.trust.Shunned(id):
		return ReasonUseless
	}
	for _, p := range e.peers {
		if p.idKnown && p.id == id {
			return ReasonDuplicate
		}
	}
	return ReasonNone
}

// connected: the channel is open. Both sides say their handshake at once (BEP 3).
func (e *Engine) connected(in *Input) {
	p := e.peer(in.Peer)
	if p == nil {
		if in.Peer == 0 {
			return
		}
		p = &peer{ref: in.Peer, unit: e.unit, amChoking: true, peerChoking: true}
		if len(in.Data) == 20 {
			p.id, p.idKnown = bt.PeerID(in.Data), true
		}
		reason := ReasonNone
		if p.idKnown {
			reason = e.unwelcome(p.id)
		} else if !e.sharing {
			reason = ReasonPolicy
		} else if len(e.peers) >= peersMax {
			reason = ReasonUseless
		}
		if reason != ReasonNone {
			e.emit(Output{Kind: ClosePeer, Peer: in.Peer, Reason: reason})
			return
		}
		e.addPeer(p)
	}
	if p.connected {
		return
	}
	p.connected, p.far = true, in.Flags&FlagFar != 0
	p.since, p.heard, p.told, p.turn = e.now, e.now, e.now, e.now
	p.bits = make([]uint64, (len(e.stock.status)+63)/64)
	e.sendHandshake(p, in.Flags&FlagV2 != 0)
}

// drop closes a peer of our own accord.
func (e *Engine) drop(p *peer, reason Reason) {
	e.emit(Output{Kind: ClosePeer, Peer: p.ref, Reason: reason})
	e.forget(p, reason)
}

// ban drops a peer for good, with all that it gave and nobody has proven: one that was proven a liar (ReasonBadData), or one that is
// suspected for the second time (ReasonSuspect).
func (e *Engine) ban(p *peer, reason Reason) {
	e.bitten()
	e.liedAt = max(e.now, 1)
	e.trust.Convict(p.id)
	e.note(NoteBanned, Output{Peer: p.ref, Reason: reason, Data: e.keep(p.id[:])})
	e.drop(p, reason)
	e.disown(p.ref)
}

// wary is how long neighbours are trusted less after one was silent, lied or broke its word, in microseconds.
const wary = 60_000_000

// bitten notes that a neighbour kept us waiting or lied. With the second in a while, the origin is asked earlier.
func (e *Engine) bitten() {
	if e.bites > 0 && e.now-e.bittenAt > wary {
		e.bites = 0
	}
	e.bites++
	e.bittenAt = e.now
}

func (e *Engine) shy() bool { return e.bites > 1 && e.now-e.bittenAt <= wary }

// forget removes a peer: what it owed is anyone's again.
func (e *Engine) forget(p *peer, reason Reason) {
	for i := range e.peers {
		if e.peers[i] == p {
			e.peers, e.refs = append(e.peers[:i], e.peers[i+1:]...), append(e.refs[:i], e.refs[i+1:]...)
			e.without(p)
			break
		}
	}
	for i := range p.owed {
		e.release(&p.owed[i])
	}
	e.unhashFrom(p.ref)
	e.disclaim(p)
	e.forgetProofs(p.ref)
	e.unaskHashes(p.ref)
	for n := range e.stock.holders {
		if p.has(uint32(n)) {
			e.stock.holders[n]--
		}
	}
	if p.ready {
		e.note(NotePeerDown, Output{Peer: p.ref, Reason: reason})
	}
	e.stale, e.chokedAt = true, 0
}

// release makes a request's block anyone's again.
func (e *Engine) release(r *request) {
	if r.cancelled {
		return
	}
	if a := e.findActive(r.piece); a != nil && a.blocks[r.block].asked > 0 {
		a.blocks[r.block].asked--
	}
}

// unhashFrom: payloads that were still on their way from a peer will not come, or too late.
func (e *Engine) unhashFrom(ref PeerRef) {
	for i := range e.active {
		a := &e.active[i]
		for b := range a.blocks {
			if a.blocks[b].from == ref && a.hashing > 0 {
				e.unhash(a, b)
			}
		}
	}
}

// hashingFrom: a peer has begun to send a block and not ended, or the host has not digested it yet.
func (e *Engine) hashingFrom(ref PeerRef) bool {
	for i := range e.active {
		a := &e.active[i]
		for b := range a.blocks {
			if a.hashing > 0 && a.blocks[b].state == blockHashing && a.blocks[b].from == ref {
				return true
			}
		}
	}
	return false
}

func (e *Engine) revoked(data []byte) {
	for ; len(data) >= 20; data = data[20:] {
		id := bt.PeerID(data[:20])
		for i := len(e.peers) - 1; i >= 0; i-- {
			if p := e.peers[i]; p.id == id {
				e.drop(p, ReasonRevoked)
			}
		}
	}
}

// learn records that a peer has a piece.
func (e *Engine) learn(p *peer, piece uint32) {
	if p.has(piece) {
		return
	}
	p.bits[piece>>6] |= 1 << (piece & 63)
	e.stock.holders[piece]++
	if e.stock.Lacks(piece) {
		p.useful++
	}
	if e.stock.claimBy[piece] == p.ref {
		e.unclaim(p, piece)
		p.kept++
	}
}

// unlearn records that a peer no longer has a piece (BEP 54).
func (e *Engine) unlearn(p *peer, piece uint32) {
	if !p.has(piece) {
		return
	}
	p.bits[piece>>6] &^= 1 << (piece & 63)
	e.stock.holders[piece]--
	if e.stock.Lacks(piece) {
		p.useful--
	}
	e.cancelOwed(p, func(r *request) bool { return r.piece == piece }) // others may have what it owes of it
	e.idle = false
}

// expirePeers ends what has been silent for too long, and lets others have what a stuck peer owes.
func (e *Engine) expirePeers() {
	for i := len(e.peers) - 1; i >= 0; i-- {
		p := e.peers[i]
		switch {
		case !p.connected:
			continue // the host's own time-out ends a dial
		case !p.ready && e.now-p.since > handshakeLimit, p.ready && e.now-p.heard > silenceMax:
			e.drop(p, ReasonTimeout)
			continue
		case p.reported > SendQueueLow && e.now-p.handedAt > sendQueueStuck:
			e.drop(p, ReasonTimeout)
			continue
		case e.now-p.moved > snubAfter && (p.owedLive > 0 || e.hashingFrom(p.ref)):
			p.snubs++
			e.bitten()
			if p.snubs > snubsMax {
				e.trust.Shun(p.id)
				e.drop(p, ReasonTimeout)
				continue
			}
			p.snubbed = e.now + snubbedFor
			e.cancelOwed(p, func(*request) bool { return true })
			e.unhashFrom(p.ref)
			e.stale = true
		}
		if p.ready && e.now-p.told > keepaliveEvery {
			e.send(p, keepalive[:])
		}
	}
}

// cancelStaleRequests takes back requests for what the plan no longer wants.
func (e *Engine) cancelStaleRequests() {
	for _, p := range e.peers {
		if p.owedLive > 0 {
			e.cancelOwed(p, func(r *request) bool { return !e.wanted(r.piece) })
		}
	}
}

// cancelOthers takes back a block's requests to all but the peer that brought it.
func (e *Engine) cancelOthers(piece, block uint32, but PeerRef) {
	for _, p := range e.peers {
		if p.ref != but && p.owedLive > 0 {
			e.cancelOwed(p, func(r *request) bool {
				if r.piece != piece || r.block != block {
					return false
				}
				if p.moved <= r.at && e.now-r.at > hedgeUrgent {
					p.snubs = max(p.snubs, 1) // another was asked later, and was quicker
				}
				return true
			})
		}
	}
}

// cancelOwed sends cancels for the live requests that which picks. With BEP 6 the peer still answers each, with the
// piece or a reject, so the entry stays; without, it may keep silent, so it goes.
func (e *Engine) cancelOwed(p *peer, which func(*request) bool) {
	for i := 0; i < len(p.owed); i++ {
		r := &p.owed[i]
		if r.cancelled || !which(r) {
			continue
		}
		e.release(r)
		r.cancelled = true
		p.owedLive--
		e.sendCancel(p, r)
		if !p.fast {
			p.owed = append(p.owed[:i], p.owed[i+1:]...)
			i--
		}
	}
	for i := 0; len(p.owed)-p.owedLive > ghostsMax; { // the oldest will not be answered any more
		if p.owed[i].cancelled {
			p.owed = append(p.owed[:i], p.owed[i+1:]...)
		} else {
			i++
		}
	}
}
