// Package sim plays whole evenings of viewers under virtual time: the very same engine, thousands of it, over links, NATs,
// an origin and a tracker's memory that are simulated, with faults by name. It is one more host of the engine.
//
// It must get right: that a seed gives the same bytes out, whatever the machine and however many cores; that the player, the origin
// and the links are the same for the engine and for plain HTTP, so that one can be held against the other, viewer by viewer; and that what
// setting up a connection costs is charged. The account of what is simulated, and of how cost grows, is in docs/simulator.md.
package sim

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"essaim/internal/audience"
)

// Options say how to play a scene.
type Options struct {
	Seed uint64
	// Progress hears how much of the expected virtual time is done. It is called from the caller's goroutine. nil: nobody does.
	Progress func(done, total time.Duration)
	shards   int // 0: as many as are worth it; what happens is the same
}

// Result is what came of a scene.
type Result struct {
	Run   *audience.Run
	Twin  *audience.Run // the same scene and seed, by plain HTTP
	Extra []Extra       // what only a simulator can say
	Note  string        // how the run differs from earnest, empty if it does not
}

// Extra is one more number.
type Extra struct {
	Name  string
	Value float64
}

// Simulate plays the scene, and plays it again by plain HTTP. The error is ctx's, or says which setting is wrong.
func Simulate(ctx context.Context, s Scene, o Options) (*Result, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	shards := cmp.Or(o.shards, shardsFor(s.Viewers))
	twin := newWorld(&s, "http", o.Seed, shards)
	twinDone := make(chan error, 1)
	go func() { twinDone <- twin.run(ctx, nil) }()
	w := newWorld(&s, s.Policy, o.Seed, shards)
	err := w.run(ctx, o.Progress)
	if twinErr := <-twinDone; err == nil {
		err = twinErr
	}
	if err != nil {
		return nil, err
	}
	r := &Result{Run: w.result(), Twin: twin.result()}
	if s.Polluters+s.Stalled+s.Claimers == 0 { // who attacks is not counted in the offload, and would be in the bound
		r.Run.OffloadBound = offloadBound(twin)
	}
	r.Extra = compare(w, r)
	r.Note = s.note()
	return r, nil
}

// note says how the scene differs from earnest beyond what docs/simulator.md says of all scenes; empty if it does not.
func (s *Scene) note() string {
	if s.Unit == "piece" {
		return fmt.Sprintf("Viewers ask one another for whole pieces of %d KiB, not for blocks of 16 KiB.", s.Piece)
	}
	return ""
}

// slack is how much worse than plain HTTP a viewer may fare.
const slack = 50 * time.Millisecond

// compare holds each viewer against itself on plain HTTP.
func compare(w *world, r *Result) []Extra {
	var startup, stalled time.Duration
	worse := 0.0
	for i := range r.Run.Viewers {
		a, b := &r.Run.Viewers[i], &r.Twin.Viewers[i]
		x, y := a.Startup-b.Startup, a.Stalled-b.Stalled
		switch {
		case a.Startup < 0 && b.Startup >= 0:
			x = math.MaxInt64
		case b.Startup < 0:
			x = 0
		}
		startup, stalled = max(startup, x), max(stalled, y)
		if x > slack || y > slack {
			worse++
		}
	}
	events, failures, unended := int64(0), 0, 0
	for _, d := range w.devices {
		failures += d.player.failures
		if !d.gone {
			unended++
		}
	}
	for _, s := range w.shards {
		events += s.count
	}
	return []Extra{
		{"worse_than_http", worse},
		{"startup_over_http_max_s", startup.Seconds()},
		{"stalled_over_http_max_s", stalled.Seconds()},
		{"hash_bytes", float64(w.origin.hashesSent)},
		{"requests_given_up", float64(failures)},
		{"never_ended", float64(unended)},
		{"events", float64(events)},
	}
}
