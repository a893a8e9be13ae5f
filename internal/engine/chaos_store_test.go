package engine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

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
