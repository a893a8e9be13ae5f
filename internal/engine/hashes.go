package engine

import "essaim/internal/bt"

// hashRequest is a RequestHashes under way or to be repeated.
type hashRequest struct {
	ref    Ref // 0: waits for retryAt
	file   uint32
	piece  uint32 // leaves of this piece (torrent-wide number); layer requests leave it 0
	leaves bool
	req    bt.HashRequest
	tries  int
	sent   Instant
	retry  Instant
}

// The limits of hash requests.
const (
	layerChunk     = 512 // BEP 52 advises at most 512 per request
	hashTriesMax   = 4   // for leaves; layers are asked for as long as they are needed
	hashRetry      = 500_000
	hashRequestMax = 32
)

// askLayer asks for the chunk of the piece layer that holds the file's n-th piece, unless that is under way.
func (e *Engine) askLayer(file uint32, n int) {
	f := &e.files[file]
	if f.known[n] {
		return
	}
	width := 1
	for width < f.pieces {
		width *= 2
	}
	length := min(width, layerChunk)
	index := n / length * length
	for i := range e.hashes {
		h := &e.hashes[i]
		if !h.leaves && h.file == file && int(h.req.Index) == index {
			return
		}
	}
	base := uint32(0)
	for 1<<base < f.blocksPerPiece {
		base++
	}
	e.askHashes(hashRequest{file: file, req: bt.HashRequest{
		Root: f.Root, Base: base, Index: uint32(index), Length: uint32(length),
		Proof: bt.FullProof(base, uint32(length), f.blocks, f.blocksPerPiece),
	}})
}

// askLeaves asks for the true leaves of the file's n-th piece.
func (e *Engine) askLeaves(file uint32, n int, f *fileState) {
	length := uint32(f.width())
	e.askHashes(hashRequest{file: file, piece: f.FirstPiece + uint32(n), leaves: true, req: bt.HashRequest{
		Root: f.Root, Index: uint32(n * f.blocksPerPiece), Length: length,
		Proof: bt.FullProof(0, length, f.blocks, f.blocksPerPiece),
	}})
}

func (e *Engine) askHashes(h hashRequest) {
	if len(e.hashes) >= hashRequestMax {
		if h.leaves {
			e.leavesPostponed(h.piece)
		}
		return
	}
	e.hashes = append(e.hashes, h)
	e.sendHashRequest(&e.hashes[len(e.hashes)-1])
}

func (e *Engine) sendHashRequest(h *hashRequest) {
	h.ref = Ref(e.fetches.NextRef())
	h.tries++
	h.sent = e.now
	e.emit(Output{Kind: RequestHashes, Ref: h.ref, File: h.file, Base: h.req.Base, Index: h.req.Index, Length: h.req.Length, Proof: h.req.Proof})
}

func (e *Engine) findHashes(ref Ref) int {
	for i := range e.hashes {
		if e.hashes[i].ref == ref && ref != 0 {
			return i
		}
	}
	return -1
}

// hashesReceived checks an answer against the file's root before believing a word of it.
func (e *Engine) hashesReceived(in *Input) {
	i := e.findHashes(in.Ref)
	if i < 0 {
		return
	}
	h := e.hashes[i]
	f := &e.files[h.file]
	digests, err := bt.ParseDigests(in.Data)
	if err == nil {
		err = h.req.Check(f.blocks, digests)
	}
	if err != nil {
		e.hashesFailed(i)
		return
	}
	e.hashes = append(e.hashes[:i], e.hashes[i+1:]...)
	if h.leaves {
		e.leavesCame(h.piece, digests[:h.req.Length])
		return
	}
	for k := range int(h.req.Length) {
		n := int(h.req.Index) + k
		if n >= f.pieces {
			break
		}
		f.layer[n], f.known[n] = digests[k], true
	}
	for k := 0; k < len(e.active); k++ {
		if a := &e.active[k]; e.stock.fileOf[a.piece] == uint16(h.file) {
			e.verify(a)
		}
	}
	e.stale = true
}

func (e *Engine) hashesFailed(i int) {
	h := &e.hashes[i]
	if h.leaves && h.tries >= hashTriesMax {
		piece := h.piece
		e.hashes = append(e.hashes[:i], e.hashes[i+1:]...)
		e.leavesMissing(piece)
		return
	}
	h.ref = 0
	wait := Instant(hashRetry) << min(h.tries-1, 4)
	h.retry = e.now + wait/2 + wait*Instant(e.next()>>16)/65536
}

// expireHashes gives up requests that nobody answers, to try again.
func (e *Engine) expireHashes() {
	for i := len(e.hashes) - 1; i >= 0; i-- {
		if h := &e.hashes[i]; h.ref != 0 && e.now-h.sent >= fetchTimeout {
			e.emit(Output{Kind: CancelFetch, Ref: h.ref})
			e.hashesFailed(i)
		}
	}
}

// retryHashes repeats what failed and has rested.
func (e *Engine) retryHashes() {
	for i := range e.hashes {
		if h := &e.hashes[i]; h.ref == 0 && e.now >= h.retry {
			e.sendHashRequest(h)
		}
	}
}
