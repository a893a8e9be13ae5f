package rehearse

import (
	"slices"
	"time"
)

// goal is how much film a player wants ahead: Shaka's default.
const goal = 10 * time.Second

// clock is the simulated player's: where its film is, and what it suffered. It takes the time as an argument.
//
// It starts when the first segment of every track is there, runs while there is film, and stands still where a track has
// none: a stall, until every track has its next segment.
type clock struct {
	film    time.Duration   // its length
	ends    []time.Duration // by track: until where film was delivered
	opened  time.Time       // when play was pressed
	last    time.Time       // until when it was advanced
	pos     time.Duration
	startup time.Duration // negative: not started
	dry     bool
	stalls  int
	stalled time.Duration
	stopped bool // nobody watches any more
}

func newClock(film time.Duration, tracks int, opened time.Time) *clock {
	return &clock{film: film, ends: make([]time.Duration, tracks), opened: opened, last: opened, startup: -1}
}

// buffered is until where there is film in all tracks.
func (c *clock) buffered() time.Duration { return slices.Min(c.ends) }

func (c *clock) started() bool  { return c.startup >= 0 }
func (c *clock) finished() bool { return c.started() && c.pos >= c.film }

// runs reports whether the film moves.
func (c *clock) runs() bool { return c.started() && !c.dry && !c.finished() }

// advance moves the clock to now.
func (c *clock) advance(now time.Time) {
	if c.stopped {
		return
	}
	dt := now.Sub(c.last)
	c.last = now
	switch {
	case !c.started() || c.finished():
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

// delivered says that a track's film was delivered up to end.
func (c *clock) delivered(track int, end time.Duration, now time.Time) {
	c.advance(now)
	if c.stopped {
		return
	}
	c.ends[track] = min(end, c.film)
	if c.buffered() <= c.pos {
		return
	}
	c.dry = false
	if !c.started() {
		c.startup = now.Sub(c.opened)
	}
}

// stop ends it for good: what happens later does not count.
func (c *clock) stop(now time.Time) {
	c.advance(now)
	c.stopped = true
}

// event is when the clock next changes of itself, counted from when it was advanced: it ends or runs dry. Zero: never.
func (c *clock) event() time.Duration {
	if !c.runs() {
		return 0
	}
	return max(c.buffered()-c.pos, 1)
}
