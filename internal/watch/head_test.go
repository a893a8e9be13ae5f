package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"essaim/internal/cmaf/index"
)

func TestHeadRunsOnlyWhereAllTracksAreBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h head
		h.open(1, 2, 60_000)
		time.Sleep(700 * time.Millisecond)
		h.read(0, time.Now(), 4000)
		time.Sleep(300 * time.Millisecond)
		if pos, end, rate := h.at(time.Now()); pos != 0 || end != 0 || rate != 0 {
			t.Error("ran with one track empty:", pos, end, rate)
		}
		h.read(1, time.Now(), 2000)
		time.Sleep(1500 * time.Millisecond)
		if pos, end, rate := h.at(time.Now()); pos != 1500 || end != 2000 || rate != 1 {
			t.Error(pos, end, rate)
		}
		time.Sleep(time.Second) // half of it without film
		if pos, _, rate := h.at(time.Now()); pos != 2000 || rate != 0 {
			t.Error("ran past the buffer:", pos, rate)
		}
		h.read(1, time.Now(), 4000)
		if stalls, stalled, startup := h.quality(time.Now()); stalls != 1 || stalled != 500 || startup != 1000 {
			t.Error(stalls, stalled, startup)
		}
	})
}

func TestRealTimeReadsNoFurtherAheadThanPlayersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h head
		h.open(2, 1, 60_000)
		h.read(0, time.Now(), 14_000)
		began := time.Now()
		if err := h.wait(t.Context(), 14_000); err != nil { // room for it at 4 s of film, 2 s from now
			t.Fatal(err)
		}
		if d := time.Since(began); d < 1990*time.Millisecond || d > 2100*time.Millisecond {
			t.Error("waited", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.wait(ctx, 60_000); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestFilmsEndIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h head
		h.open(1, 1, 3000)
		h.read(0, time.Now(), 3000)
		if err := h.play(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if pos, _, _ := h.at(time.Now()); pos != 3000 {
			t.Error(pos)
		}
		if stalls, _, _ := h.quality(time.Now()); stalls != 0 {
			t.Error(stalls, "stalls")
		}
	})
}

func TestBytesMapToFilmTime(t *testing.T) {
	x := index.Index{{From: 100, To: 200, StartMs: 0, DurationMs: 2000}, {From: 200, To: 300, StartMs: 2000, DurationMs: 2000}}
	for _, c := range []struct{ at, start, end int64 }{{0, 0, 0}, {150, 0, 0}, {200, 2000, 2000}, {299, 2000, 2000}, {300, 0, 4000}} {
		if s, e := startMs(x, c.at), endMs(x, c.at, 4000); s != c.start || e != c.end {
			t.Errorf("byte %d: %d, %d", c.at, s, e)
		}
	}
}
