package engine

import (
	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine/ledger"
)

// Answers to peers' hash requests (BEP 52). Of the piece layer we pass on what was proven to us. Leaves we do not keep: they are 32 bytes
// a block, and most are never asked for; the host digests the blocks of a stored piece again. Both cost us hashing that a request does
// not cost its sender, so each peer has a budget of it, and all of them together have one.

// The limits of answering, in bytes hashed, and in requests.
const (
	proofsRate    = 1 << 20 // a second, for one peer
	proofsBurst   = 4 << 20
	proofsRateAll = 4 << 20 // for all together
	proofsAllMax  = 16 << 20
	proofsMax     = 16         // requests for leaves that wait for digests
	proofsOfPeer  = 4          // the same of one peer
	proofsQueue   = 256 << 10  // a peer for which more is queued gets no proofs on top
	proofPatience = 10_000_000 // microseconds in which the host must have digested a piece
)

// proof is a request for leaves whose pieces the host digests, one after another.
type proof struct {
	peer   PeerRef
	ref    Ref // of the HashPiece under way
	file   uint32
	req    bt.HashRequest
	first  int // of its pieces within the file
	last   int
	next   int // the one under way
	since  Instant
	leaves []bt.Digest
}

// hashesWished answers a peer's hash request: with hashes now or when the host has digested pieces, or with a reject.
func (e *Engine) hashesWished(p *peer, r bt.HashRequest) {
	file := e.fileOfRoot(r.Root)
	if file < 0 || !e.uploads || p.reported > proofsQueue || !e.files[file].known.CanAnswer(r) {
		e.rejectHashes(p, r)
		return
	}
	f := &e.files[file]
	layer := f.pieces > 1 && 1<<r.Base == f.blocksPerPiece
	work := (int64(r.Length) + bt.KnownChunk) * 2 * int64(len(bt.Digest{}))
	job := proof{peer: p.ref, file: uint32(file), req: r, since: e.now}
	if !layer {
		job.first = int(r.Index) / f.blocksPerPiece
		job.last = min((int(r.Index)+int(r.Length)-1)/f.blocksPerPiece, f.pieces-1)
		job.next = job.first
		for n := job.first; n <= job.last; n++ {
			if e.stock.Lacks(f.FirstPiece+uint32(n)) || !f.knows(n) {
				e.learnFor(file, n, n)
				e.rejectHashes(p, r)
				return
			}
			work += int64(e.pieceBytes(f.FirstPiece + uint32(n)))
		}
		if job.first > job.last || len(e.proofs) >= proofsMax || e.proofsFor(p.ref) >= proofsOfPeer {
			e.rejectHashes(p, r)
			return
		}
	}
	if !e.mayProve(p, work) {
		e.rejectHashes(p, r)
		return
	}
	if layer {
		e.sendProof(p, file, r, 0, nil)
		return
	}
	e.proofs = append(e.proofs, job)
	e.digestNext(&e.proofs[len(e.proofs)-1])
}

// mayProve takes so much work out of the peer's budget and everyone's; false: there is not so much left in one of them.
func (e *Engine) mayProve(p *peer, work int64) bool {
	now := int64(e.now)
	p.proving.SetRate(now, proofsRate, proofsBurst)
	e.proving.SetRate(now, proofsRateAll, proofsAllMax)
	if e.proving.ReadyAt(now, work) > now || !p.proving.Take(now, work) {
		return false
	}
	e.proving.Take(now, work)
	return true
}

func (e *Engine) fileOfRoot(root bt.Digest) int {
	for i := range e.files {
		if e.files[i].Root == root {
			return i
		}
	}
	return -1
}

func (e *Engine) proofsFor(ref PeerRef) (n int) {
	for i := range e.proofs {
		if e.proofs[i].peer == ref {
			n++
		}
	}
	return n
}

// digestNext has the host digest the piece that a job is at.
func (e *Engine) digestNext(job *proof) {
	job.ref = Ref(e.fetches.NextRef())
	e.emit(Output{Kind: HashPiece, Ref: job.ref, Piece: e.files[job.file].FirstPiece + uint32(job.next)})
}

// pieceHashed takes the leaves of a stored piece, and answers who asked for them when all are there. What the store gave back must still
// be what was stored: a piece that has rotted is put out, and never served again.
func (e *Engine) pieceHashed(in *Input) {
	i := e.findProof(in.Ref)
	if i < 0 {
		return
	}
	job := &e.proofs[i]
	f := &e.files[job.file]
	piece := f.FirstPiece + uint32(job.next)
	whole := e.matches(piece, in.Data)
	if !whole && len(in.Data) > 0 && e.stock.status[piece] == pieceStored {
		e.order(Evict, piece, 0)
		e.unhold(piece, pieceLeaving)
	}
	p := e.peer(job.peer)
	if !whole || p == nil || !e.uploads {
		r := job.req
		e.endProof(i)
		if p != nil {
			e.rejectHashes(p, r)
		}
		return
	}
	leaves, _ := bt.ParseDigests(in.Data) // it matched
	job.leaves = append(job.leaves, leaves...)
	if job.next < job.last {
		job.next++
		e.digestNext(job)
		return
	}
	done := *job
	e.endProof(i)
	e.sendProof(p, int(done.file), done.req, done.first*f.blocksPerPiece, done.leaves)
}

func (e *Engine) findProof(ref Ref) int {
	for i := range e.proofs {
		if e.proofs[i].ref == ref {
			return i
		}
	}
	return -1
}

func (e *Engine) endProof(i int) { e.proofs = append(e.proofs[:i], e.proofs[i+1:]...) }

// sendProof answers from what is known and the leaves given, which begin at block first; where that does not suffice, with a reject.
func (e *Engine) sendProof(p *peer, file int, r bt.HashRequest, first int, leaves []bt.Digest) {
	answer, ok := e.files[file].known.Answer(e.answer[:0], r, first, leaves)
	e.answer = answer[:0]
	if !ok {
		if len(leaves) == 0 {
			e.learnFor(file, int(r.Index), int(r.Index+r.Length)-1)
		}
		e.rejectHashes(p, r)
		return
	}
	at := len(e.arena)
	e.arena = wire.AppendHashes(e.arena, r, answer)
	e.sendFrom(p, at)
}

// learnFor asks for the hashes of the pieces that we could prove to others but for them: pieces that a cache brought along. Who asked
// is refused this time.
func (e *Engine) learnFor(file, from, to int) {
	f := &e.files[file]
	for n := from; n <= to && n < f.pieces && len(e.hashes) < hashRequestMax/2; n++ {
		if !f.knows(n) && !e.stock.Lacks(f.FirstPiece+uint32(n)) {
			e.askLayer(uint32(file), n)
			return
		}
	}
}

// rejectHashes refuses a request. Who asks for too many that cannot be answered is dropped, as for blocks.
func (e *Engine) rejectHashes(p *peer, r bt.HashRequest) {
	p.rejects++
	if p.rejects > rejectsFlood {
		e.drop(p, ReasonFlood)
		return
	}
	at := len(e.arena)
	e.arena = wire.AppendHashReject(e.arena, r)
	e.sendFrom(p, at)
}

// expireProofs refuses what the host did not digest in time.
func (e *Engine) expireProofs() {
	for i := len(e.proofs) - 1; i >= 0; i-- {
		if i >= len(e.proofs) || e.now-e.proofs[i].since < proofPatience {
			continue // dropping a peer ends all its jobs
		}
		p, r := e.peer(e.proofs[i].peer), e.proofs[i].req
		e.endProof(i)
		if p != nil {
			e.rejectHashes(p, r)
		}
	}
}

// forgetProofs ends the jobs of a peer that is gone.
func (e *Engine) forgetProofs(ref PeerRef) {
	for i := len(e.proofs) - 1; i >= 0; i-- {
		if e.proofs[i].peer == ref {
			e.endProof(i)
		}
	}
}

// prover is what hash requests leave behind at a peer, both ways.
type prover struct {
	proves   bool             // it speaks v2, or our extension: it may be asked for hashes
	hashOwed []bt.HashRequest // asked of it and not answered yet
	hashRest Instant          // until then it is not asked for hashes
	proving  ledger.Bucket    // what we hash for it
}
