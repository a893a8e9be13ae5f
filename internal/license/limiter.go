package license

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"essaim/internal/vod"
)

// bucketsMax bounds a limiter: 6 MB.
const bucketsMax = 40_000

// limiter bounds how often something is asked for, by name.
type limiter struct {
	clock   vod.Clock
	mu      sync.Mutex
	buckets map[string]*bucket
}

// bucket is full at the time in it, as a bucket of tokens that refills in time.
type bucket struct {
	full time.Time
}

// take takes one of name's burst tokens, which come back one every so often; or says how long to wait for one.
func (l *limiter) take(name string, burst int, every time.Duration) time.Duration {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[name]
	if b == nil {
		l.makeRoom(now)
		b = &bucket{}
		l.buckets[name] = b
	}
	if b.full.Before(now) {
		b.full = now
	}
	if wait := b.full.Add(every).Sub(now) - time.Duration(burst)*every; wait > 0 {
		return wait
	}
	b.full = b.full.Add(every)
	return 0
}

// makeRoom drops what is full again, and in a flood of names some that are not.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < bucketsMax {
		return
	}
	for name, b := range l.buckets {
		if !b.full.After(now) {
			delete(l.buckets, name)
		}
	}
	for name := range l.buckets {
		if len(l.buckets) < bucketsMax*9/10 {
			return
		}
		delete(l.buckets, name)
	}
}

// sorted are the names in the order of their bytes.
func sorted(set map[vod.KID]bool) []vod.KID {
	list := make([]vod.KID, 0, len(set))
	for kid := range set {
		list = append(list, kid)
	}
	slices.SortFunc(list, func(a, b vod.KID) int { return bytes.Compare(a[:], b[:]) })
	return list
}
