package engine

import (
	"essaim/internal/bt"
	"essaim/internal/bt/wire"
)

// The hashes that we need ourselves: chunks of piece layers, and the leaves of pieces that failed or of which a reader wants little. The
// origin is asked for them while it is well; peers when it is not, or when it keeps us waiting. Whoever answers, not a digest is believed
// before all of them lead to the file's root.

// hashRequest is one answer that is lacked.
type hashRequest struct {
	ref    Ref     // of a RequestHashes under way; 0: the origin is not asked just now
	peer   PeerRef // who was asked as well, or instead; 0: nobody
	file   uint32
	piece  uint32 // for the sake of which it is asked (torrent-wide number)
	leaves bool   // of that piece; else the chunk of the layer that holds it
	req    bt.HashRequest
	tries  int     // that the origin failed
	sent   Instant // to the origin
	asked  Instant // of the peer
	retry  Instant // until then the origin is not asked again
}

// The limits of hash requests.
const (
	hashTriesMax   = 4       // for leaves; layers are asked for as long as they are needed
	hashRetry      = 500_000 // microseconds, doubling
	hashRequestMax = 32
	hashSlow       = 700_000    // the origin may keep an answer for so long before a peer is asked as well
	hashPatience   = 2_000_000  // and a peer for so long, before the next is
	hashRest       = 10_000_000 // a peer that refused or kept silent is not asked again for so long
	hashOwedMax    = 4          // answers that one peer may owe
)

// askLayer asks for the chunk of the piece layer that holds the file's n-th piece, unless that is under way.
func (e *Engine) askLayer(file uint32, n int) {
	f := &e.files[file]
	if f.knows(n) {
		return
	}
	req := f.known.LayerRequest(n)
	for i := range e.hashes {
		if h := &e.hashes[i]; !h.leaves && h.file == file && h.req.Index == req.Index {
			return
		}
	}
	e.askHashes(hashRequest{file: file, piece: f.FirstPiece + uint32(n), req: req})
}

// askLeaves asks for the true leaves of the file's n-th piece, unless that is under way.
func (e *Engine) askLeaves(file uint32, n int, f *fileState) {
	piece := f.FirstPiece + uint32(n)
	for i := range e.hashes {
		if h := &e.hashes[i]; h.leaves && h.piece == piece {
			return
		}
	}
	e.askHashes(hashRequest{file: file, piece: piece, leaves: true, req: f.known.LeavesRequest(n)})
}

func (e *Engine) askHashes(h hashRequest) {
	if len(e.hashes) >= hashRequestMax {
		if h.leaves {
			e.leavesPostponed(h.piece)
		}
		return
	}
	e.hashes = append(e.hashes, h)
	e.driveHashes(&e.hashes[len(e.hashes)-1])
}

// driveHashes asks whoever should be asked now.
func (e *Engine) driveHashes(h *hashRequest) {
	_, resting := e.origin.Resting(int64(e.now))
	well := !resting && e.origin.Failures() == 0 && h.tries == 0
	if h.peer == 0 && (h.ref == 0 && !well || h.ref != 0 && e.now-h.sent > hashSlow) {
		e.askProver(h)
	}
	if h.ref == 0 && h.peer == 0 && e.now >= h.retry {
		h.ref = Ref(e.fetches.NextRef())
		h.sent = e.now
		e.emit(Output{Kind: RequestHashes, Ref: h.ref, File: h.file, Base: h.req.Base, Index: h.req.Index, Length: h.req.Length, Proof: h.req.Proof})
	}
}

// retryHashes asks anew for what failed and has rested, and asks others where an answer is late.
func (e *Engine) retryHashes() {
	for i := range e.hashes {
		e.driveHashes(&e.hashes[i])
	}
}

// askProver asks a peer that has the piece and speaks v2: the one that owes the fewest answers.
func (e *Engine) askProver(h *hashRequest) {
	if h.req.Length > bt.KnownChunk {
		return
	}
	var best *peer
	for _, p := range e.peers {
		if !p.ready || !p.proves || !p.has(h.piece) || e.now < p.hashRest || len(p.hashOwed) >= hashOwedMax || p.owesHashes(h.req) >= 0 {
			continue
		}
		if best == nil || len(p.hashOwed) < len(best.hashOwed) {
			best = p
		}
	}
	if best == nil {
		return
	}
	h.peer, h.asked = best.ref, e.now
	best.hashOwed = append(best.hashOwed, h.req)
	at := len(e.arena)
	e.arena = wire.AppendHashRequest(e.arena, h.req)
	e.sendFrom(best, at)
}

// owesHashes is the place of a request among those that a peer owes an answer to, or -1.
func (p *peer) owesHashes(r bt.HashRequest) int {
	for i := range p.hashOwed {
		if p.hashOwed[i] == r {
			return i
		}
	}
	return -1
}

// settleHashes takes note that a peer answered a request; false: it owed no such answer.
func (p *peer) settleHashes(r bt.HashRequest) bool {
	i := p.owesHashes(r)
	if i < 0 {
		return false
	}
	p.hashOwed = append(p.hashOwed[:i], p.hashOwed[i+1:]...)
	return true
}

func (e *Engine) findHashes(ref Ref) int {
	for i := range e.hashes {
		if e.hashes[i].ref == ref && ref != 0 {
			return i
		}
	}
	return -1
}

// hashesOf is the request that a peer was asked to answer, or -1.
func (e *Engine) hashesOf(ref PeerRef, r bt.HashRequest) int {
	for i := range e.hashes {
		if e.hashes[i].peer == ref && e.hashes[i].req == r {
			return i
		}
	}
	return -1
}

// hashesReceived takes the origin's answer.
func (e *Engine) hashesReceived(in *Input) {
	i := e.findHashes(in.Ref)
	if i < 0 {
		return
	}
	e.hashes[i].ref = 0
	if digests, err := bt.ParseDigests(in.Data); err != nil || !e.hashesTrue(&e.hashes[i], digests) {
		e.hashesFailed(i)
	}
}

// hashesCame takes a peer's answer; false: nobody asked for it. One that does not lead to the root is a lie that only its sender can have
// told: it is banned at once, though the answer may have come from elsewhere meanwhile.
func (e *Engine) hashesCame(p *peer, r bt.HashRequest, payload []byte) bool {
	if !p.settleHashes(r) {
		return false
	}
	digests, err := bt.ParseDigests(payload)
	i := e.hashesOf(p.ref, r)
	switch {
	case err == nil && i >= 0:
		if !e.hashesTrue(&e.hashes[i], digests) {
			e.ban(p, ReasonBadData)
		}
	case err != nil || r.Check(e.files[e.fileOfRoot(r.Root)].blocks, digests) != nil:
		e.ban(p, ReasonBadData)
	}
	return true
}

// hashesRefused: a peer has no answer; false: it was not asked. Others are asked.
func (e *Engine) hashesRefused(p *peer, r bt.HashRequest) bool {
	if !p.settleHashes(r) {
		return false
	}
	p.hashRest = e.now + hashRest
	if i := e.hashesOf(p.ref, r); i >= 0 {
		e.hashes[i].peer = 0
		e.driveHashes(&e.hashes[i])
	}
	return true
}

// unaskHashes: a peer that was asked is gone.
func (e *Engine) unaskHashes(ref PeerRef) {
	for i := range e.hashes {
		if e.hashes[i].peer == ref {
			e.hashes[i].peer = 0
			e.stale = true
		}
	}
}

// hashesTrue believes an answer that leads to the root, and ends the request; false for any other.
func (e *Engine) hashesTrue(h *hashRequest, digests []bt.Digest) bool {
	f := &e.files[h.file]
	if f.known.Learn(h.req, digests) != nil {
		return false
	}
	done := *h
	for i := range e.hashes {
		if &e.hashes[i] == h {
			e.hashes = append(e.hashes[:i], e.hashes[i+1:]...)
			break
		}
	}
	if done.ref != 0 {
		e.emit(Output{Kind: CancelFetch, Ref: done.ref}) // a peer was quicker
	}
	if done.leaves {
		e.leavesCame(done.piece, digests[:done.req.Length])
	} else {
		for k := 0; k < len(e.active); k++ {
			if a := &e.active[k]; e.stock.fileOf[a.piece] == uint16(done.file) {
				e.verify(a)
			}
		}
	}
	e.stale = true
	return true
}

// hashesFailed: the origin did not answer, or wrongly.
func (e *Engine) hashesFailed(i int) {
	h := &e.hashes[i]
	h.ref = 0
	h.tries++
	wait := Instant(hashRetry) << min(h.tries-1, 4)
	h.retry = e.now + wait/2 + wait*Instant(e.next()>>16)/65536
	if h.peer != 0 {
		return
	}
	if h.leaves && h.tries >= hashTriesMax {
		piece := h.piece
		e.hashes = append(e.hashes[:i], e.hashes[i+1:]...)
		e.leavesMissing(piece)
		return
	}
	e.driveHashes(h)
}

// expireHashes gives up on answers that do not come, to ask again, or others.
func (e *Engine) expireHashes() {
	for i := len(e.hashes) - 1; i >= 0; i-- {
		h := &e.hashes[i]
		if h.peer != 0 && e.now-h.asked >= hashPatience {
			if p := e.peer(h.peer); p != nil {
				p.hashRest = e.now + hashRest
			}
			h.peer = 0
			e.driveHashes(h)
		}
		if h.ref != 0 && e.now-h.sent >= fetchTimeout {
			e.emit(Output{Kind: CancelFetch, Ref: h.ref})
			e.hashesFailed(i)
		}
	}
}
