package origin

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// bucket is a token bucket that many transfers share. Transfers are served in the order in which they asked; as each
// asks for one chunk at a time, all move at the same pace. golang.org/x/time/rate would not do: there a wait keeps the
// end that it was given, so that after a change of rate transfers go on at the old one.
type bucket struct {
	rate atomic.Int64 // bytes per second, 0 without bound; written under mu

	mu     sync.Mutex
	tokens float64 // bytes that may be sent now
	filled time.Time
	queue  list.List // of *waiter
	timer  *time.Timer
}

type waiter struct {
	n     int
	ready chan struct{} // closed when the tokens are taken
}

// burstTime is how much unused rate may be saved up: enough for a timer's lateness, little enough not to be seen in a
// measurement of the rate.
const burstTime = 100 * time.Millisecond

func newBucket(rate int64) *bucket {
	b := &bucket{filled: time.Now()}
	b.timer = time.AfterFunc(time.Hour, b.wake)
	b.timer.Stop()
	b.SetRate(rate)
	return b
}

// Rate is the bound in bytes per second, 0 for none.
func (b *bucket) Rate() int64 { return b.rate.Load() }

// SetRate changes the bound, at once for those who wait too. A negative rate is none.
func (b *bucket) SetRate(rate int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.rate.Store(max(0, rate))
	b.tokens = min(b.tokens, b.burst())
	b.serve()
}

// take waits until n bytes may be sent, or until ctx is done, and returns its error then.
func (b *bucket) take(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.rate.Load() == 0 {
		return nil
	}
	b.mu.Lock()
	w := &waiter{n: n, ready: make(chan struct{})}
	place := b.queue.PushBack(w)
	b.serve()
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.ready: // granted at this very moment: others may have it
		b.tokens += float64(n)
	default:
		b.queue.Remove(place)
	}
	b.serve()
	return ctx.Err()
}

func (b *bucket) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve()
}

// burst is the most that the bucket holds.
func (b *bucket) burst() float64 {
	return max(chunkThrottled, float64(b.rate.Load())*burstTime.Seconds())
}

func (b *bucket) fill() {
	now := time.Now()
	b.tokens = min(b.burst(), b.tokens+now.Sub(b.filled).Seconds()*float64(b.rate.Load()))
	b.filled = now
}

// serve grants what the tokens allow, first come, first served, and sets the timer for the next.
func (b *bucket) serve() {
	b.fill()
	b.timer.Stop()
	for e := b.queue.Front(); e != nil; e = b.queue.Front() {
		w := e.Value.(*waiter)
		if rate := b.rate.Load(); rate > 0 {
			// A chunk cut before there was a bound may be larger than the bucket: it goes when the bucket is full, and
			// leaves a debt.
			if lack := min(float64(w.n), b.burst()) - b.tokens; lack > 0 {
				b.timer.Reset(time.Duration(lack/float64(rate)*float64(time.Second)) + time.Microsecond)
				return
			}
			b.tokens -= float64(w.n)
		}
		close(w.ready)
		b.queue.Remove(e)
	}
}
