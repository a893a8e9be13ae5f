package sim

import (
	"math"
	"slices"
	"testing"
)

// watcher is a guest who comes at from and plays a film of ten segments of 2 s, the first a second later.
func watcher(from instant) guest {
	g := guest{from: from, to: from + 21*second, takes: 1000, uplink: 1e6, serves: true, asks: true}
	for k := range instant(10) {
		g.due = append(g.due, from+(1+2*k)*second)
	}
	return g
}

// play is the bound of guests of a film of ten segments of 100 bytes; a second film is like it.
func play(guests ...guest) float64 {
	e := foresight{guests: guests}
	for range 2 {
		var ends []int64
		for k := range int64(10) {
			ends = append(ends, 100*(k+1))
		}
		e.ends = append(e.ends, ends)
	}
	return e.bound()
}

func with(g guest, change func(*guest)) guest { change(&g); return g }

func holder(from, to instant, heldFrom int64) guest {
	return guest{from: from, to: to, film: 1, uplink: 1e6, serves: true, asks: true, held: []cachedBytes{{0, heldFrom}}}
}

func TestBoundIsWhatHandsCompute(t *testing.T) {
	for _, c := range []struct {
		name string
		of   []guest
		want float64
	}{
		{"eight at once share one copy", slices.Repeat([]guest{watcher(0)}, 8), 7.0 / 8},
		{"one alone", []guest{watcher(0)}, 0},
		{"nobody", nil, 0},
		{"two who never meet", []guest{watcher(0), watcher(22 * second)}, 0},
		{"two who meet in the last second: the first holds all by then", []guest{watcher(0), watcher(21 * second)}, 0.5},
		{"a chain of three, the ends of which never meet", []guest{watcher(0), watcher(15 * second), watcher(30 * second)}, 2.0 / 3},
		{"who held it yesterday", []guest{holder(0, 30*second, 0), watcher(0)}, 1},
		{"who held its second half yesterday", []guest{holder(0, 30*second, 500), watcher(0)}, 0.5},
		{"who held it and has gone", []guest{holder(0, second, 0), watcher(2 * second)}, 0},
		{"who held it and comes after four segments were due", []guest{watcher(0), holder(8*second, 30*second, 0)}, 0.6},
		{"who held it and does not share", []guest{with(holder(0, 30*second, 0), func(g *guest) { g.serves = false }), watcher(0)}, 0},
		{"nobody consents", slices.Repeat([]guest{with(watcher(0), func(g *guest) { g.serves, g.asks = false, false })}, 8), 0},
		{"half consent", append(slices.Repeat([]guest{with(watcher(0), func(g *guest) { g.serves, g.asks = false, false })}, 4), slices.Repeat([]guest{watcher(0)}, 4)...), 3.0 / 8},
		{"a free rider takes", []guest{watcher(0), with(watcher(0), func(g *guest) { g.serves = false })}, 0.5},
		{"free riders alone", slices.Repeat([]guest{with(watcher(0), func(g *guest) { g.serves = false })}, 4), 0},
		{"another film", []guest{watcher(0), with(watcher(0), func(g *guest) { g.film = 1 })}, 0},
		// The last segment is due at 19 s, in the twentieth slot: 4 guests bring at most 4 · 20 · 10 of 4,000 bytes.
		{"uplinks carry a fifth", slices.Repeat([]guest{with(watcher(0), func(g *guest) { g.uplink = 10 })}, 4), 0.2},
		// 25 bytes a second of each of four: 100 a slot. Due are 400 in slots 1, 3, 5 ...: two slots bring 200 of each 400.
		{"what comes after a deadline does not count", slices.Repeat([]guest{with(watcher(0), func(g *guest) { g.uplink = 25 })}, 4), 0.5},
		{"a seeker's gap costs nothing", []guest{watcher(0), with(watcher(0), func(g *guest) { clear(g.due[2:]); g.takes = 200 })}, 200.0 / 1200},
	} {
		if got := play(c.of...); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: the bound is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBoundOfUplinksIsPerFilmAndOfAllTogether(t *testing.T) {
	// Of film 0 two watchers, whose uplinks are nothing; of film 1 two with more than they need, who hold nothing of film 0.
	poor := func(g *guest) { g.uplink = 0 }
	rich := func(g *guest) { g.film = 1 }
	if got := play(with(watcher(0), poor), with(watcher(0), poor), with(watcher(0), rich), with(watcher(0), rich)); math.Abs(got-0.25) > 1e-9 {
		t.Errorf("the rich help the poor with what they do not hold: %v", got)
	}
	// A holder of film 0 who also watches film 1 has one uplink: 50 bytes a second for 20 s, where 1,000 of each film are wanted.
	one := with(watcher(0), func(g *guest) {
		g.film, g.uplink, g.held = 1, 50, []cachedBytes{{0, 0}}
	})
	idle := with(watcher(0), func(g *guest) { g.uplink = 0 })
	got := play(one, idle, with(watcher(0), func(g *guest) { g.film, g.uplink = 1, 0 }))
	if got > 1.0/3+1e-9 {
		t.Errorf("one uplink serves two films at once: %v", got)
	}
}

// TestNoRunBeatsItsBound plays small scenes of every kind: the bound holds whatever the policy is.
func TestNoRunBeatsItsBound(t *testing.T) {
	for _, c := range [][]string{
		{"flash-8", "film=30s"},
		{"stagger-8", "film=30s"},
		{"evening-60", "viewers=40", "titles=4", "film=60s", "spread=2m", "cache=0.02"},
		{"restless", "viewers=12", "film=60s"},
		{"flash-8", "film=30s", "up=500k"},
	} {
		for seed := range uint64(2) {
			r := simulate(t, seed, c[0], c[1:]...)
			f := r.Run.Figures()
			if f.OffloadBound == nil || f.Offload > *f.OffloadBound+1e-9 {
				t.Errorf("%v, seed %d: offload %v, bound %v", c, seed, f.Offload, r.Run.OffloadBound)
			}
		}
	}
}
