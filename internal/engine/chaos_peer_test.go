package engine_test

import (
	"fmt"
	"math/rand/v2"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// puppet is a made-up neighbour. Without traits it is an honest BitTorrent client; each trait breaks its manners in one way.
type puppet struct {
	w      *chaos
	r      *rand.Rand
	hashR  *rand.Rand // of hash requests alone
	host   *chaosHost
	id     bt.PeerID
	ids    int
	traits faultSet
	have   []bool
	rate   int // bytes per second that it sends

	link      *chaosLink
	shaken    bool // the engine's handshake came
	fast      bool
	choking   bool // we choke the engine
	theyChoke bool
	wants     []wire.Request // what the engine asked of us
	busy      bool           // an answer is being made
	asked     []wire.Request // what we asked of the engine
	theirs    map[uint32]bool
	theirList []uint32
	extIDs    []wire.Extension // the engine's
}

func newPuppet(w *chaos, n int, h *chaosHost) *puppet {
	p := &puppet{
		w: w, r: stream(w.seed, fmt.Sprintf("puppet %d", n)), hashR: stream(w.seed, fmt.Sprintf("puppet %d hashes", n)), host: h, traits: faultSet{}, have: make([]bool, w.film.pieces()),
	}
	for _, f := range allFaults {
		if s := w.faults[f]; s > 0 && p.r.IntN(4) < s {
			p.traits[f] = s
		}
	}
	share := p.r.IntN(3) // none, some, all
	for i := range p.have {
		p.have[i] = share == 2 || share == 1 && p.r.IntN(2) == 0
	}
	p.rate = 10_000 + p.r.IntN(400_000)
	p.rename(n)
	w.after(ms(p.r, 0, 8000), p.come)
	w.after(ms(p.r, 100, 600), p.act)
	return p
}

func (p *puppet) rename(n int) { copy(p.id[:], fmt.Sprintf("-XX%04d-%012d", n, p.ids)) }

// come tries to get a channel: by an introduction that the engine may dial, or by an offer of its own.
func (p *puppet) come() {
	if p.link != nil {
		return
	}
	if p.r.IntN(4) == 0 && p.ids < 3 {
		p.ids++
		copy(p.id[12:], fmt.Sprintf("%08d", p.ids))
	}
	if p.r.IntN(2) == 0 {
		p.host.introduce(p, p.id)
	} else {
		p.host.accept(p, p.id, p.r.IntN(3) > 0)
	}
	p.w.after(ms(p.r, 2000, 12_000), p.come)
}

func (p *puppet) opened(l *chaosLink) {
	p.link, p.shaken, p.choking, p.theyChoke = l, false, true, true
	p.wants, p.asked, p.busy = nil, nil, false
	p.theirs, p.theirList, p.extIDs = map[uint32]bool{}, nil, nil
	l.stuck = p.traits.hits(p.r, peerGreedy, 0.8)
	h := wire.Handshake{InfoHash: p.w.film.title.InfoHash, PeerID: p.id, Extended: true, Fast: true, V2: p.hashR.IntN(3) > 0}
	if p.r.IntN(3) == 0 {
		h.InfoHash = p.w.film.title.InfoHashV2
	}
	if p.traits.hits(p.r, peerPlain, 0.9) {
		h.Fast, h.Extended = false, p.r.IntN(2) == 0
	}
	p.fast = h.Fast
	if p.traits.hits(p.r, peerShake, 0.6) {
		switch p.r.IntN(7) {
		case 0:
			h.InfoHash[3]++
		case 1:
			h.PeerID[19]++
		case 2:
			h.PeerID = p.host.id
		case 3:
			return // none
		case 4:
			p.send(wire.AppendHave(nil, 1))
		case 5:
			b := wire.AppendHandshake(nil, h)
			b[p.r.IntN(20)]++
			p.send(b)
			return
		case 6:
			p.send(wire.AppendHandshake(nil, h)) // twice
		}
	}
	p.send(wire.AppendHandshake(nil, h))
}

func (p *puppet) send(b []byte) {
	if p.link != nil {
		p.link.send(p.link.side(p), b)
	}
}

func (p *puppet) lost(l *chaosLink) {
	if p.link == l {
		p.link = nil
		p.w.after(ms(p.r, 500, 8000), p.come)
	}
}

func (p *puppet) hears(l *chaosLink, data []byte) {
	if p.link != l {
		return
	}
	if !p.shaken {
		if h, err := wire.ParseHandshake(data); err == nil {
			p.shaken, p.fast = true, p.fast && h.Fast
			p.greet()
		}
		return
	}
	if len(data) <= 4 {
		return
	}
	m, err := wire.Parse(data[4:])
	if err != nil {
		return
	}
	switch m.ID {
	case wire.Choke:
		p.theyChoke = true
		if !p.fast {
			p.asked = nil
		}
	case wire.Unchoke:
		p.theyChoke = false
		p.ask()
	case wire.Interested:
		if !p.traits.hits(p.r, peerFlap, 0.5) {
			p.choking = false
			p.send(wire.AppendUnchoke(nil))
		}
	case wire.Have:
		p.learn(m.Request.Piece)
	case wire.HaveAll:
		for n := range p.have {
			p.learn(uint32(n))
		}
	case wire.Bitfield:
		for n := range p.have {
			if n/8 < len(m.Payload) && m.Payload[n/8]&(0x80>>(n%8)) != 0 {
				p.learn(uint32(n))
			}
		}
	case wire.RequestBlock:
		p.wanted(m.Request)
	case wire.HashRequest:
		p.hashesWanted(m.Hashes)
	case wire.Cancel:
		for i, q := range p.wants {
			if q == m.Request {
				p.wants = append(p.wants[:i], p.wants[i+1:]...)
				p.reject(q)
				break
			}
		}
	case wire.Piece, wire.Reject:
		for i, q := range p.asked {
			if q.Piece == m.Request.Piece && q.Begin == m.Request.Begin {
				p.asked = append(p.asked[:i], p.asked[i+1:]...)
				break
			}
		}
		p.ask()
	case wire.Extended:
		if h, err := wire.ParseExtHandshake(m.Payload); err == nil && m.ExtID == 0 {
			p.extIDs = append(p.extIDs, h.Extensions...)
		}
	}
}

func (p *puppet) learn(piece uint32) {
	if !p.theirs[piece] {
		p.theirs[piece] = true
		p.theirList = append(p.theirList, piece)
	}
}

// greet follows the engine's handshake.
func (p *puppet) greet() {
	if p.traits[peerPlain] == 0 {
		p.send(wire.AppendExtHandshake(nil, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtEssaim, ID: 9}, {Name: wire.ExtDontHave, ID: 7}}, Version: "puppet"}))
	}
	bits, count := make([]byte, (len(p.have)+7)/8), 0
	for n, has := range p.have {
		if has || p.traits.hits(p.r, peerClaim, 0.5) {
			bits[n/8] |= 0x80 >> (n % 8)
			count++
		}
	}
	switch {
	case count == len(p.have) && p.fast:
		p.send(wire.AppendHaveAll(nil))
	case count == 0 && p.fast:
		p.send(wire.AppendHaveNone(nil))
	default:
		p.send(wire.AppendBitfield(nil, bits))
	}
	p.send(wire.AppendInterested(nil))
}

func (p *puppet) reject(q wire.Request) {
	if p.fast {
		p.send(wire.AppendReject(nil, q))
	}
}

// wanted takes the engine's request.
func (p *puppet) wanted(q wire.Request) {
	t, r := p.traits, p.r
	switch {
	case t.hits(r, peerStall, 0.7):
	case p.choking || t.hits(r, peerReject, 0.9):
		p.reject(q)
	case !t.hits(r, peerClaim, 0.2) && !p.have[min(int(q.Piece), len(p.have)-1)]:
		p.reject(q)
	case len(p.wants) < 500:
		p.wants = append(p.wants, q)
		if !p.busy {
			p.busy = true
			p.answer(p.link)
		}
	}
}

// answer sends what was asked first, at the puppet's rate, and goes on with the next.
func (p *puppet) answer(l *chaosLink) {
	p.w.after(engine.Instant(bt.BlockSize*1_000_000/p.rate), func() {
		if p.link != l {
			return
		}
		if len(p.wants) == 0 {
			p.busy = false
			return
		}
		q := p.wants[0]
		p.wants = p.wants[1:]
		p.give(q)
		p.answer(l)
	})
}

// give sends a block, or what the traits make of it.
func (p *puppet) give(q wire.Request) {
	f, t, r := p.w.film, p.traits, p.r
	if int(q.Piece) >= f.pieces() || q.Length == 0 || q.Length > bt.BlockSize {
		p.reject(q)
		return
	}
	b := append(frameHead(q.Piece, q.Begin, int(q.Length)), f.bytesOf(q.Piece, q.Begin, q.Length)...)
	switch {
	case t.hits(r, peerLie, 0.5):
		b[13+r.IntN(len(b)-13)] ^= 1 << r.IntN(8)
	case t.hits(r, peerHalf, 0.2):
		p.send(b[:13+r.IntN(len(b)-13)])
		if r.IntN(2) == 0 {
			p.link.fade()
		}
		return
	case t.hits(r, peerUnasked, 0.1):
		p.send(b)
	}
	p.send(b)
}

// ask requests blocks of the engine: four at once, or as many as a greedy one can.
func (p *puppet) ask() {
	most := 4
	if p.traits[peerGreedy] > 0 {
		most = 300
	}
	for n := 0; !p.theyChoke && len(p.theirList) > 0 && len(p.asked) < most && n < most; n++ {
		piece := p.theirList[p.r.IntN(len(p.theirList))]
		if int(piece) >= len(p.have) {
			return
		}
		begin := uint32(p.r.IntN((p.w.film.pieceSize(piece)+bt.BlockSize-1)/bt.BlockSize)) * bt.BlockSize
		q := wire.Request{Piece: piece, Begin: begin, Length: min(bt.BlockSize, p.w.film.title.PieceLength-begin)}
		p.asked = append(p.asked, q)
		p.send(wire.AppendRequest(nil, q))
		if p.r.IntN(8) == 0 { // it changes its mind; the answer is a reject, or the block if that was quicker
			p.send(wire.AppendCancel(nil, q))
		}
	}
}

// act is what a puppet does of its own accord, a few times a second.
func (p *puppet) act() {
	p.w.after(ms(p.r, 100, 600), p.act)
	if p.link == nil {
		return
	}
	t, r, pieces := p.traits, p.r, len(p.have)
	n := uint32(r.IntN(pieces))
	if t.hits(r, peerLeave, 0.05) {
		switch r.IntN(3) {
		case 0:
			p.link.fade()
		default:
			l := p.link
			l.close(p)
			p.lost(l)
			return
		}
	}
	if !p.shaken {
		return
	}
	if r.IntN(4) == 0 && !p.have[n] {
		p.have[n] = true
		p.send(wire.AppendHave(nil, n))
	}
	if r.IntN(3) == 0 {
		p.ask()
	}
	if p.hashR.IntN(5) == 0 {
		p.askHashes()
	}
	if r.IntN(20) == 0 {
		p.send(wire.AppendKeepalive(nil))
	}
	if t.hits(r, peerClaim, 0.3) {
		p.send(wire.AppendHave(nil, n))
	}
	if t.hits(r, peerForget, 0.3) && len(p.extIDs) > 0 {
		p.send(wire.AppendDontHave(nil, p.extIDs[r.IntN(len(p.extIDs))].ID, n))
		p.have[n] = false
	}
	if t.hits(r, peerFlap, 0.3) {
		p.flap()
	}
	if t.hits(r, peerFlood, 0.01) {
		for range 1000 * (1 + r.IntN(7)) {
			p.send(wire.AppendHave(nil, n))
		}
	}
	if t.hits(r, peerUnasked, 0.05) {
		q := wire.Request{Piece: n, Length: uint32(p.w.film.blockLength(n, 0))}
		p.give(q)
	}
	if t.hits(r, peerPromise, 0.5) || r.IntN(10) == 0 {
		p.promise(n)
	}
	if t.hits(r, peerNoise, 0.3) {
		p.noise()
	}
	if t.hits(r, peerAbuse, 0.3) {
		p.abuse(n)
	}
}

func (p *puppet) flap() {
	if p.choking = p.r.IntN(2) == 0; !p.choking {
		p.send(wire.AppendUnchoke(nil))
		return
	}
	p.send(wire.AppendChoke(nil))
	for _, q := range p.wants {
		p.reject(q)
	}
	p.wants = nil
}

// promise says where it plays and, with that trait, that it fetches what it will never have.
func (p *puppet) promise(n uint32) {
	r := p.r
	for _, e := range p.extIDs {
		if e.Name != wire.ExtEssaim {
			continue
		}
		m := wire.Essaim{Kind: wire.EssaimPlaying, File: uint16(r.IntN(3)), PositionMs: uint32(r.IntN(60_000)), Rate: 1000}
		if p.traits[peerPromise] > 0 {
			switch r.IntN(3) {
			case 0:
				m = wire.Essaim{Kind: wire.EssaimFetching, Piece: n, Pieces: uint16(1 + r.IntN(1<<(1+r.IntN(15)))), WithinMs: uint16(r.Uint32())}
			case 1:
				m = wire.Essaim{Kind: wire.EssaimUnfetching, Piece: n, Pieces: uint16(1 + r.IntN(1000))}
			case 2:
				m.File, m.PositionMs, m.Rate = uint16(r.Uint32()), r.Uint32(), uint16(r.Uint32())
			}
		}
		p.send(wire.AppendEssaim(nil, e.ID, m))
	}
}

// noise says what BEP 10 lets one say, and messages that nobody knows.
func (p *puppet) noise() {
	r := p.r
	b := make([]byte, r.IntN(60))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	switch r.IntN(6) {
	case 0:
		p.send(wire.AppendExtended(nil, 0, b))
	case 1:
		if len(p.extIDs) > 0 {
			p.send(wire.AppendExtended(nil, p.extIDs[r.IntN(len(p.extIDs))].ID, b))
		}
	case 2:
		p.send(wire.AppendExtended(nil, byte(r.Uint32()), b))
	case 3:
		p.send(wire.AppendHashRequest(nil, bt.HashRequest{Root: p.w.film.title.Files[0].Root, Length: 2}))
	case 4:
		p.send(append([]byte{0, 0, 0, byte(1 + len(b)), 200}, b...))
	case 5:
		p.send(wire.AppendExtHandshake(nil, wire.ExtHandshake{
			Extensions: []wire.Extension{{Name: "ut_x", ID: 3}, {Name: wire.ExtDontHave, ID: byte(r.IntN(4))}}, RequestQueue: uint32(r.IntN(3)),
		}))
	}
}

// abuse asks for what it must not.
func (p *puppet) abuse(n uint32) {
	r := p.r
	q := wire.Request{Piece: n, Length: bt.BlockSize}
	switch r.IntN(8) {
	case 0:
		q.Piece += uint32(len(p.have))
	case 1:
		q.Length = 0
	case 2:
		q.Length = 1 << (17 + r.IntN(14))
	case 3:
		q.Begin = uint32(r.Uint64())
	case 4:
		p.send(wire.AppendCancel(nil, q))
		return
	case 5:
		q.Begin, q.Length = uint32(r.IntN(100)), uint32(1+r.IntN(1000))
	case 6:
		p.send(wire.AppendReject(nil, q))
		return
	case 7:
		p.send(wire.AppendRequest(nil, q)) // twice
	}
	p.send(wire.AppendRequest(nil, q))
}
