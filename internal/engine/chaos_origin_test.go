package engine_test

import (
	"bytes"
	"slices"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// get is one HTTP request: a fetch of bytes or of hashes.
type get struct {
	h        *chaosHost
	ref      engine.Ref
	hashes   bool
	file     uint32
	from, to int64
	got      int64
	stop     int64 // where it ends early, by hang or by failure; to - from: nowhere
	fails    bool
	rate     int   // bytes per second; 0: its share of the origin's
	wrong    int64 // place of a wrong byte; -1: none
	counted  bool  // among those that share the origin's rate
	wait     []engine.Output
}

// get begins what FetchRange or RequestHashes asks.
func (h *chaosHost) get(o *engine.Output) {
	g := &get{h: h, ref: o.Ref, hashes: o.Kind == engine.RequestHashes, file: o.File, from: o.From, to: o.To, wrong: -1}
	h.fetches[g.ref] = g
	w, r := h.w, h.r
	f := w.faults
	if w.healed {
		f = nil
	}
	round := ms(r, 20, 120)
	if g.hashes {
		h.getHashes(g, bt.HashRequest{Root: w.film.title.Files[o.File].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof}, f, round)
		return
	}
	g.stop = g.to - g.from
	switch {
	case f.hits(r, originError, 0.6):
		g.fail(round+ms(r, 0, 1500), []engine.Reason{0, 500, 502, 503, 429}[r.IntN(5)])
		return
	case f.hits(r, originRefuse, 0.6):
		g.fail(round, []engine.Reason{403, 404, 410}[r.IntN(3)])
		return
	case f.hits(r, originHang, 0.3):
		g.stop = r.Int64N(g.stop)
	case f.hits(r, originSlow, 0.5):
		g.rate = 500 + r.IntN(10_000)
	case f.hits(r, originShort, 0.5):
		g.stop, g.fails = r.Int64N(g.stop), true
	case f.hits(r, originWrong, 0.3):
		g.wrong = g.from + r.Int64N(g.stop)
	}
	g.counted = true
	h.live++
	w.after(round, g.more)
}

func (g *get) fail(d engine.Instant, reason engine.Reason) {
	g.h.w.after(d, func() {
		if g.h.fetches[g.ref] == g {
			g.h.endGet(g.ref)
			g.h.step(engine.Input{Kind: engine.FetchFailed, Ref: g.ref, Reason: reason})
		}
	})
}

// more brings the next bytes of a body.
func (g *get) more() {
	h := g.h
	w := h.w
	if h.fetches[g.ref] != g {
		return
	}
	size := g.to - g.from
	n := min(int64(1+h.r.IntN(40_000)), g.stop-g.got)
	rate := g.rate
	if rate == 0 {
		rate = max(w.originRate/max(h.live, 1), 1)
	}
	w.after(engine.Instant(n)*1_000_000/engine.Instant(rate), func() {
		if h.fetches[g.ref] != g {
			return
		}
		g.got += n
		in := engine.Input{Kind: engine.FetchProgress, Ref: g.ref, Length: uint32(g.got)}
		g.wait = slices.DeleteFunc(g.wait, func(o engine.Output) bool { return g.digest(&o) })
		switch {
		case g.got == size && h.r.IntN(2) == 0:
			h.step(in)
			fallthrough
		case g.got == size:
			h.step(engine.Input{Kind: engine.FetchDone, Ref: g.ref})
			h.endGet(g.ref)
		case g.got == g.stop && g.fails:
			if h.r.IntN(2) == 0 {
				h.step(in)
			}
			g.fail(0, 0)
		case g.got == g.stop: // hangs
			h.step(in)
		default:
			h.step(in)
			g.more()
		}
	})
}

func (g *get) hash(o *engine.Output) {
	if !g.digest(o) {
		g.wait = append(g.wait, *o)
	}
}

// digest reports whether the block's bytes were there.
func (g *get) digest(o *engine.Output) bool {
	_, at, n := g.h.w.film.block(o.Piece, o.Begin)
	if int64(at+n) > g.from+g.got {
		return false
	}
	data := bytes.Clone(g.h.w.film.files[g.file][at : at+n])
	if i := g.wrong - int64(at); g.wrong >= 0 && i >= 0 && i < int64(n) {
		data[i] ^= 0x40
	}
	g.h.keep(engine.Input{Kind: engine.Hashed, Ref: g.ref, Piece: o.Piece, Begin: o.Begin}, data)
	return true
}

// endGet forgets a request. What is being digested of it goes on.
func (h *chaosHost) endGet(ref engine.Ref) {
	if g := h.fetches[ref]; g != nil {
		delete(h.fetches, ref)
		if g.counted {
			h.live--
		}
	}
}

func (h *chaosHost) getHashes(g *get, req bt.HashRequest, f faultSet, round engine.Instant) {
	r := h.r
	if f.hits(r, originHashes, 0.9) {
		switch r.IntN(4) {
		case 0:
			g.fail(round, []engine.Reason{0, 404, 500}[r.IntN(3)])
			return
		case 1:
			return // no answer
		}
	} else {
		f = nil
	}
	h.w.after(round, func() {
		if h.fetches[g.ref] != g {
			return
		}
		hashes, err := h.w.film.trees[g.file].Answer(req)
		if err != nil {
			h.w.fail("the hash request %+v is not one that an origin answers: %v", req, err)
		}
		data := bt.AppendDigests(nil, hashes)
		if f != nil { // one of the remaining faults
			if r.IntN(2) == 0 {
				data[r.IntN(len(data))] ^= 1
			} else {
				data = data[:r.IntN(len(data))]
			}
		}
		h.endGet(g.ref)
		h.step(engine.Input{Kind: engine.HashesReceived, Ref: g.ref, Data: data})
	})
}
