package main

import (
	"slices"
	"time"
)

// goal is how much film a player wants ahead: Shaka's default.
const goal = 10 * time.Second

// clock is a simulated player's: where its film is and what it suffered. It takes the time as an argument. It starts when
// every track has its first segment, and stands still, a stall, where a track has none until all have the next.
type clock struct {
	film    time.Duration
	ends    []time.Duration // by track: until where film was delivered
	pressed time.Time
	last    time.Time
	pos     time.Duration
	startup time.Duration // negative: not started
	dry     bool
	stalls  int
	stalled time.Duration
}

func newClock(film time.Duration, tracks int, pressed time.Time) *clock {
	return &clock{film: film, ends: make([]time.Duration, tracks), pressed: pressed, last: pressed, startup: -1}
}

func (c *clock) buffered() time.Duration { return slices.Min(c.ends) }
func (c *clock) finished() bool          { return c.startup >= 0 && c.pos >= c.film }
func (c *clock) runs() bool              { return c.startup >= 0 && !c.dry && !c.finished() }

// advance moves the clock to now.
func (c *clock) advance(now time.Time) {
	dt := now.Sub(c.last)
	c.last = now
	switch {
	case c.startup < 0 || c.finished():
	case c.dry:
		c.stalled += dt
	default:
		step := min(dt, c.buffered()-c.pos)
		c.pos += step
		if short := dt - step; short > 0 && !c.finished() {
			c.dry = true
			c.stalls++
			c.stalled += short
		}
	}
}

// delivered says that a track's film came up to end.
func (c *clock) delivered(track int, end time.Duration, now time.Time) {
	c.advance(now)
	c.ends[track] = min(end, c.film)
	if c.buffered() <= c.pos {
		return
	}
	c.dry = false
	if c.startup < 0 {
		c.startup = now.Sub(c.pressed)
	}
}
