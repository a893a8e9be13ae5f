package watch

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"
	"sort"
	"sync"
	"time"

	"essaim/internal/cmaf/index"
)

// The play head's constants, in milliseconds of film.
const (
	bufferMs = 10_000 // in real time, what is read ahead of the head: what players hold
	// easeMs: as fast as it comes there is no head to hurry for. What is read is said to be needed so long from now, which
	// leaves peers their chance before the origin and lets the engine fetch on ahead.
	easeMs = 20_000
)

// head is where playback would be: a clock that runs at Speed while there is film in all tracks' buffers.
type head struct {
	mu      sync.Mutex
	speed   float64
	total   int64   // ms of film
	ends    []int64 // by track: until where it was read, ms of film
	pos     float64 // ms of film, at time last
	last    time.Time
	opened  time.Time
	startup int64 // ms; -1: not begun
	stalls  int
	stalled float64 // ms
	dry     bool
	seeding time.Time // until when; zero: not
}

func (h *head) open(speed float64, tracks int, totalMs int64) {
	now := time.Now()
	h.speed, h.total, h.ends, h.last, h.opened, h.startup = speed, totalMs, make([]int64, tracks), now, now, -1
}

func (h *head) buffered() int64 {
	end := h.ends[0]
	for _, e := range h.ends {
		end = min(end, e)
	}
	return end
}

// advance moves the clock; what it could not move is a stall, once it has begun and unless the film has ended.
func (h *head) advance(now time.Time) {
	dt := float64(now.Sub(h.last).Microseconds()) / 1000 * h.speed
	h.last = now
	if h.startup < 0 || h.speed == 0 || !h.seeding.IsZero() {
		return
	}
	room := float64(h.buffered()) - h.pos
	h.pos += min(dt, room)
	if short := dt - room; short > 0 && h.buffered() < h.total {
		if !h.dry {
			h.stalls++
		}
		h.dry = true
		h.stalled += short / h.speed
	} else {
		h.dry = false
	}
}

// read says that a track was read up to end.
func (h *head) read(track int, now time.Time, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advance(now)
	h.ends[track] = max(h.ends[track], end)
	if h.startup < 0 && h.buffered() > 0 {
		h.startup = now.Sub(h.opened).Milliseconds()
	}
	if h.buffered() > int64(h.pos) {
		h.dry = false
	}
}

// at is the head's position and the buffer's end in ms of film, and the rate at which it runs now.
func (h *head) at(now time.Time) (pos, end int64, rate float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end = h.buffered()
	if h.speed == 0 {
		return end - easeMs, end, 0
	}
	h.advance(now)
	if h.startup >= 0 && !h.dry && h.seeding.IsZero() {
		rate = h.speed
	}
	return int64(h.pos), end, rate
}

// wait returns when film at ms may be asked for: at once, or in real time when the buffer has room for it.
func (h *head) wait(ctx context.Context, ms int64) error {
	for {
		h.mu.Lock()
		h.advance(time.Now())
		early := float64(ms) - h.pos - bufferMs
		speed := h.speed
		h.mu.Unlock()
		if speed == 0 || early <= 0 {
			return ctx.Err()
		}
		// The head may stand still meanwhile, so look again.
		timer := time.NewTimer(time.Duration(max(early/speed, 10)) * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// play returns when the film has been played to its end.
func (h *head) play(ctx context.Context) error { return h.wait(ctx, h.total+bufferMs) }

// finish ends playback: what follows is seeding.
func (h *head) finish(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advance(time.Now())
	h.seeding = until
}

// phase says whether it is seeding, and until when.
func (h *head) phase() (Phase, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seeding.IsZero() {
		return Reading, time.Time{}
	}
	return Seeding, h.seeding
}

// quality is the number of stalls, their time and the start-up's in ms.
func (h *head) quality(now time.Time) (stalls int, stalledMs, startupMs int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stalls, int64(h.stalled), max(h.startup, 0)
}

// segmentAt is the number of the segment that holds byte at, or the one after it; len(x) past the last.
func segmentAt(x index.Index, at int64) int {
	return sort.Search(len(x), func(i int) bool { return int64(x[i].To) > at })
}

// startMs is the film time for which byte at is needed.
func startMs(x index.Index, at int64) int64 {
	i := segmentAt(x, at)
	if i == len(x) || int64(x[i].From) > at {
		return 0 // what lies before the first segment
	}
	return int64(x[i].StartMs)
}

// endMs is until when there is film if bytes up to at are there.
func endMs(x index.Index, at, durationMs int64) int64 {
	i := segmentAt(x, at)
	if i == len(x) {
		return durationMs
	}
	return int64(x[i].StartMs)
}

// summer writes and hashes.
type summer struct {
	w io.Writer
	h hash.Hash
}

func newSummer(w io.Writer) *summer { return &summer{w, sha256.New()} }

// Write writes b to the file and the digest.
func (s *summer) Write(b []byte) (int, error) {
	s.h.Write(b)
	return s.w.Write(b)
}

// Sum is the SHA-256 of all that was written.
func (s *summer) Sum() []byte { return s.h.Sum(nil) }
