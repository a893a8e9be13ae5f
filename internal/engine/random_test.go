package engine_test

import (
	"math/rand/v2"
	"testing"

	"essaim/internal/engine"
)

// TestRandomWorlds plays films with random neighbours (honest, lying, silent), arrivals, connections that close and a
// world whose origin goes away for a while. Whatever happens, only the film's own bytes are stored (checkPiece), the film is
// delivered whole, and what a fault costs is bounded: no stall unless the origin was away. The seed is printed on failure.
func TestRandomWorlds(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := newWorld(t, newFilm(40, 30_000+r.IntN(80_000), 32<<10<<r.IntN(3)))
		away := r.IntN(3) == 0
		for range r.IntN(4) {
			s := w.join()
			s.share(true)
			s.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
			fillStore(s)
			s.lie, s.mute = r.IntN(3) == 0, r.IntN(4) == 0
		}
		if r.IntN(3) == 0 {
			w.badOrigin = r.IntN(3)
		}
		var players []*viewer
		for range 1 + r.IntN(4) {
			v := w.join()
			v.share(r.IntN(5) > 0)
			players = append(players, v)
			for _, other := range w.viewers {
				if other != v && r.IntN(3) > 0 {
					v.meet(other)
				}
			}
			v.play()
			w.run(w.now + engine.Instant(r.IntN(6_000_000)))
			if r.IntN(2) == 0 {
				for ref := range engine.PeerRef(3) {
					if v.links[ref] != nil {
						v.close(ref)
						v.step(engine.Input{Kind: engine.PeerClosed, Peer: ref})
					}
				}
			}
		}
		if away {
			w.originDown = true
			w.run(w.now + 6*second)
			w.originDown = false
		}
		w.run(w.now + 120*second)
		for i, v := range players {
			if away || w.badOrigin > 0 {
				v.stalls = 0
			}
			v.sawAll(t)
			if t.Failed() {
				t.Fatalf("seed %d, player %d of %d", seed, i, len(players))
			}
		}
	}
}

// FuzzStep throws messages of any shape at an engine with one peer: it must neither panic nor store anything.
func FuzzStep(f *testing.F) {
	f.Add([]byte{5, 4, 0, 0, 0, 1, 1, 1, 14})
	f.Add([]byte{13, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 64, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newScript(t)
		for _, line := range [][]string{
			{"film", "20s", "20000", "piece=32768"},
			{"policy", "peers", "upload"},
			{"choose", "0"},
			{"connect", "1", "alice"},
			{"say", "1", "handshake", "alice"},
		} {
			for _, in := range s.inputs(line) {
				s.engine.Step(s.now, in, nil)
			}
		}
		for len(data) > 1 {
			n := min(int(data[0]), len(data)-1)
			in := engine.Input{Kind: engine.MessageReceived, Peer: 1, Data: data[1 : 1+n], Length: 16384}
			data = data[1+n:]
			s.now += 1000
			for _, o := range s.engine.Step(s.now, in, nil) {
				if o.Kind == engine.Store {
					t.Fatal("a piece was stored out of nothing")
				}
			}
		}
	})
}
