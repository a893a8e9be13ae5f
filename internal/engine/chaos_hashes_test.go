package engine_test

import (
	"crypto/sha256"
	"slices"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// hashWishesBound is how many hash requests the engine may have outstanding at one peer.
const hashWishesBound = 8

// hashPiece is the host's HashPiece: it digests a stored piece after a while, or finds that the piece has gone.
func (h *chaosHost) hashPiece(o *engine.Output) {
	ref, piece := o.Ref, o.Piece
	d := ms(h.r, 0, 20)
	if !h.w.healed && h.w.faults.hits(h.r, hostDigest, 0.2) {
		d = ms(h.r, 0, 14_000)
	}
	h.w.after(d, func() {
		in := engine.Input{Kind: engine.PieceHashed, Ref: ref, Piece: piece}
		data := h.store[piece]
		for at := 0; at < len(data); at += bt.BlockSize {
			sum := sha256.Sum256(data[at:min(at+bt.BlockSize, len(data))])
			in.Data = append(in.Data, sum[:]...)
		}
		h.step(in)
	})
}

// hashesWanted is a puppet's answer to the engine's hash request.
func (p *puppet) hashesWanted(q bt.HashRequest) {
	t, r := p.traits, p.hashR
	var answer []bt.Digest
	for _, tree := range p.w.film.trees {
		if tree.Root() == q.Root {
			answer, _ = tree.Answer(q)
		}
	}
	switch {
	case t.hits(r, peerStall, 0.7):
		return
	case answer == nil || t.hits(r, peerReject, 0.9):
		p.send(wire.AppendHashReject(nil, q))
		return
	case t.hits(r, peerForge, 0.8):
		switch r.IntN(6) {
		case 0, 1:
			answer[r.IntN(len(answer))][r.IntN(32)] ^= 1 << r.IntN(8)
		case 2:
			answer = answer[:len(answer)-1]
		case 3:
			answer = append(answer, bt.Digest{1})
		case 4:
			slices.Reverse(answer)
		case 5:
			q.Index++ // an answer to what nobody asked
		}
	}
	p.send(wire.AppendHashes(nil, q, answer))
	if t.hits(r, peerUnasked, 0.2) {
		p.send(wire.AppendHashes(nil, q, answer))
	}
}

// askHashes asks the engine for hashes, of which some exist.
func (p *puppet) askHashes() {
	f, r := p.w.film, p.hashR
	k := r.IntN(len(f.trees))
	blocks, perPiece := f.trees[k].Blocks(), int(f.title.PieceLength/bt.BlockSize)
	known := bt.NewKnown(f.trees[k].Root(), blocks, perPiece)
	n := r.IntN((blocks + perPiece - 1) / perPiece)
	q := known.LayerRequest(n)
	if r.IntN(2) == 0 {
		q = known.LeavesRequest(n)
	}
	if p.traits.hits(r, peerAbuse, 0.5) {
		switch r.IntN(5) {
		case 0:
			q.Root[0] ^= 1
		case 1:
			q.Base = r.Uint32() >> r.IntN(32)
		case 2:
			q.Index = r.Uint32() >> r.IntN(32)
		case 3:
			q.Length = r.Uint32() >> r.IntN(32)
		case 4:
			q.Proof = r.Uint32() >> r.IntN(32)
		}
	}
	many := 1
	if p.traits.hits(r, peerFlood, 0.1) {
		many = 300
	}
	for range many {
		p.send(wire.AppendHashRequest(nil, q))
	}
}

// hashesAsked judges a hash request of the engine's.
func (p *auditPeer) hashesAsked(q bt.HashRequest) {
	f := p.a.h.w.film
	file := slices.IndexFunc(f.trees, func(t *bt.Tree) bool { return t.Root() == q.Root })
	if file < 0 {
		p.fail("a hash request for a file that is none")
		return
	}
	if answer, err := f.trees[file].Answer(q); err != nil || q.Check(f.trees[file].Blocks(), answer) != nil || q.Length > 512 {
		p.fail("a hash request that nobody can answer: %+v", q)
	}
	if p.hashLive[q] {
		p.fail("the same hash request twice: %+v", q)
	}
	p.hashLive[q] = true
	if len(p.hashLive) > hashWishesBound {
		p.fail("%d hash requests outstanding", len(p.hashLive))
	}
}

// hashesGiven judges hashes, or a reject of them, that the engine sends.
func (p *auditPeer) hashesGiven(m *wire.Message) {
	if p.hashWishes[m.Hashes] == 0 {
		p.fail("message %d for hashes that it did not ask for: %+v", m.ID, m.Hashes)
	}
	p.hashWishes[m.Hashes]--
	if m.ID == wire.HashReject {
		return
	}
	if !p.a.uploads {
		p.fail("hashes though nothing may be served")
	}
	for _, tree := range p.a.h.w.film.trees {
		if tree.Root() != m.Hashes.Root {
			continue
		}
		want, err := tree.Answer(m.Hashes)
		if got, _ := bt.ParseDigests(m.Payload); err == nil && slices.Equal(got, want) {
			return
		}
	}
	p.fail("hashes that are not the film's: %+v", m.Hashes)
}
