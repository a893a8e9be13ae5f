package engine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// chaosPlayer wants segment after segment, ten seconds ahead, and is handled by a restless viewer while the faults last.
type chaosPlayer struct {
	h       *chaosHost
	r       *rand.Rand
	posMs   int64
	rate    int64 // thousandths
	paused  bool
	tracks  [2]chaosTrack // video, audio
	readers map[engine.Ref]*chaosReader
	nextRef engine.Ref
	loose   int // readers that are not the tracks'
	whole   bool
}

type chaosTrack struct {
	file  uint32
	next  int
	endMs int64 // of what was delivered on end
	ref   engine.Ref
	idle  engine.Instant // until then it asks for nothing
}

// chaosReader is a range that was wanted.
type chaosReader struct {
	ref      engine.Ref
	file     uint32
	from, to int64
	loose    bool // not the play head's
	then     func(ok bool)
}

func newChaosPlayer(h *chaosHost) *chaosPlayer {
	p := &chaosPlayer{h: h, r: stream(h.w.seed, fmt.Sprintf("player of %s", h.id)), rate: 1000, readers: map[engine.Ref]*chaosReader{}}
	p.tracks[1].file = 2
	h.w.after(ms(p.r, 0, 5000), func() {
		h.step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload})
	})
	h.w.after(ms(p.r, 0, 3000), func() {
		for _, t := range p.tracks {
			h.step(engine.Input{Kind: engine.RenditionChosen, File: t.file})
		}
		p.clock()
	})
	if h.w.faults[userRead] > 0 {
		h.w.after(ms(p.r, 0, 3000), p.read)
	}
	return p
}

// clock moves the play head and asks for what is due, every fifth of a second.
func (p *chaosPlayer) clock() {
	p.h.w.after(200_000, p.clock)
	end := min(p.tracks[0].endMs, p.tracks[1].endMs)
	if !p.paused && end > p.posMs {
		p.posMs = min(p.posMs+200*p.rate/1000, end)
	}
	for k := range p.tracks {
		p.ask(&p.tracks[k])
	}
	in := engine.Input{Kind: engine.PlaybackMoved, From: p.posMs, To: max(end, p.posMs), Length: uint32(p.rate)}
	if p.paused {
		in.Flags = engine.FlagPaused
	}
	p.h.step(in)
	if !p.h.w.healed {
		p.fidget()
	}
	x := p.h.w.film.indexes[0]
	if p.h.w.healed && p.tracks[0].next == len(x) && p.tracks[1].next == len(x) {
		p.whole = true
	}
}

// ask wants a track's next segment, unless it is far ahead.
func (p *chaosPlayer) ask(t *chaosTrack) {
	x := p.h.w.film.indexes[t.file]
	if t.ref != 0 || t.next >= len(x) || int64(x[t.next].StartMs)-p.posMs > 10_000 || p.h.w.now < t.idle {
		return
	}
	s := x[t.next]
	t.ref = p.want(t.file, int64(s.From), int64(s.To), false, func(ok bool) {
		t.ref = 0
		if ok {
			t.next++
			t.endMs = int64(s.StartMs + s.DurationMs)
		} else {
			t.idle = p.h.w.now + 500_000
		}
	})
}

func (p *chaosPlayer) want(file uint32, from, to int64, loose bool, then func(bool)) engine.Ref {
	p.nextRef++
	ref := p.nextRef
	p.readers[ref] = &chaosReader{ref: ref, file: file, from: from, to: to, loose: loose, then: then}
	p.h.step(engine.Input{Kind: engine.RangeWanted, Ref: ref, File: file, From: from, To: to})
	return ref
}

func (p *chaosPlayer) cancel(ref engine.Ref) {
	if p.readers[ref] != nil {
		delete(p.readers, ref)
		p.h.step(engine.Input{Kind: engine.RangeCancelled, Ref: ref})
	}
}

// ready takes a range out of the store: the taint check of what is delivered.
func (p *chaosPlayer) ready(ref engine.Ref) {
	rd := p.readers[ref]
	delete(p.readers, ref)
	f := p.h.w.film
	pl := int64(f.title.PieceLength)
	for at := rd.from; at < rd.to; {
		piece := f.title.Files[rd.file].FirstPiece + uint32(at/pl)
		data, off := p.h.store[piece], at%pl
		end := min(at-off+pl, rd.to)
		if data == nil { // the host keeps what is proven of it
			key := [2]uint32{piece, uint32(off / bt.BlockSize * bt.BlockSize)}
			if k := p.h.kept[key]; k != nil && k.told {
				end = min(at-off%bt.BlockSize+bt.BlockSize, rd.to)
				data = append(make([]byte, key[1], key[1]+bt.BlockSize), k.data...)
			}
		}
		if int64(len(data)) < off+end-at || !bytes.Equal(data[off:off+end-at], f.files[rd.file][at:end]) {
			p.h.w.fail("reader %d was told that its range is ready, but piece %d is not stored or differs from the film", ref, piece)
		}
		at = end
	}
	p.h.w.after(0, func() { rd.then(true) })
}

func (p *chaosPlayer) failed(ref engine.Ref) {
	rd := p.readers[ref]
	delete(p.readers, ref)
	p.h.w.after(0, func() { rd.then(false) })
}

func (p *chaosPlayer) seek(toMs int64) {
	for k := range p.tracks {
		t := &p.tracks[k]
		p.cancel(t.ref)
		t.ref, t.next, t.endMs = 0, int(toMs/2000), toMs
	}
	p.posMs = toMs
	p.h.step(engine.Input{Kind: engine.Seeked, From: toMs})
}

// fidget is what the viewer does with the player.
func (p *chaosPlayer) fidget() {
	f, r := p.h.w.faults, p.r
	if f.hits(r, userSeek, 0.1) {
		p.seek(r.Int64N(int64(p.h.w.film.seconds()) * 1000))
	}
	if f.hits(r, userSwitch, 0.1) {
		t := &p.tracks[0]
		t.file = 1 - t.file
		if r.IntN(2) == 0 {
			p.cancel(t.ref)
			t.ref = 0
		}
		p.h.step(engine.Input{Kind: engine.RenditionChosen, File: t.file})
	}
	if f.hits(r, userPause, 0.1) {
		p.paused = !p.paused
		p.rate = int64(500 * (1 + r.IntN(4)))
	}
}

// read is another reader: of a random range of any file, cancelled at random, and sometimes one that cannot be.
func (p *chaosPlayer) read() {
	w, r := p.h.w, p.r
	w.after(ms(r, 100, 3000), p.read)
	if p.loose >= 4 || p.whole {
		return
	}
	file := uint32(r.IntN(len(w.film.files)))
	size := int64(len(w.film.files[file]))
	from := r.Int64N(size)
	to := min(from+1+r.Int64N(200_000), size)
	switch r.IntN(12) {
	case 0:
		to = size + 1
	case 1:
		from, to = to, from
	case 2:
		file += 3
	case 3:
		from = -1
	}
	p.loose++
	ref := p.want(file, from, to, true, func(bool) { p.loose-- })
	if r.IntN(3) == 0 {
		w.after(ms(r, 0, 2000), func() {
			if p.readers[ref] != nil {
				p.cancel(ref)
				p.loose--
			}
		})
	}
}

// heal plays from a random place to the end, at rest.
func (p *chaosPlayer) heal() {
	p.paused, p.rate = false, 1000
	to := int64(0)
	if length := int64(p.h.w.film.seconds()) * 1000; p.r.IntN(2) == 0 || length > 80_000 {
		to = max(0, length-40_000)
	}
	p.seek(to)
}
