package origin

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/vod"
)

const (
	// sessionsMax bounds the play sessions that are counted one by one, in 10 MB; beyond it the longest idle are
	// forgotten. Totals and titles never are.
	sessionsMax = 50_000
	// rehearsalsMax bounds the rehearsals whose bytes are remembered; beyond it the longest idle is forgotten.
	rehearsalsMax = 256
)

// counts counts media bytes as sockets accept them. What a rehearsal receives is no viewer's: it counts for the rehearsal
// and for nothing else.
type counts struct {
	clock      vod.Clock
	total      atomic.Int64
	mu         sync.Mutex
	titles     map[vod.TitleID]*atomic.Int64
	sessions   map[string]*idleCount
	rehearsals map[vod.RehearsalLabel]*idleCount
}

// idleCount is a count that may be forgotten.
type idleCount struct {
	bytes atomic.Int64
	last  time.Time // of the last request; under counts.mu
}

// counter adds to all that one transfer counts for: up to three, the others nil.
type counter [3]*atomic.Int64

func (c counter) add(n int64) {
	if n <= 0 {
		return
	}
	for _, to := range c {
		if to != nil {
			to.Add(n)
		}
	}
}

func newCounts(clock vod.Clock) *counts {
	return &counts{
		clock: clock, titles: map[vod.TitleID]*atomic.Int64{}, sessions: map[string]*idleCount{},
		rehearsals: map[vod.RehearsalLabel]*idleCount{},
	}
}

// of is the counter for a transfer.
func (c *counts) of(a *access) counter {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.rehearsal != "" {
		return counter{remembered(c.rehearsals, a.rehearsal, now, rehearsalsMax)}
	}
	t := c.titles[a.title.ID]
	if t == nil {
		t = new(atomic.Int64)
		c.titles[a.title.ID] = t
	}
	if a.session == "" {
		return counter{&c.total, t}
	}
	return counter{&c.total, t, remembered(c.sessions, a.session, now, sessionsMax)}
}

// remembered is the count of key. When there are limit others, the tenth of them that has been idle longest is dropped:
// anyone may press play, so that neither memory nor the time spent here may grow with what they do.
func remembered[K ~string](known map[K]*idleCount, key K, now time.Time, limit int) *atomic.Int64 {
	n := known[key]
	if n == nil {
		if len(known) >= limit {
			used := make([]int64, 0, len(known))
			for _, n := range known {
				used = append(used, n.last.UnixNano())
			}
			slices.Sort(used)
			idle := used[limit/10]
			maps.DeleteFunc(known, func(_ K, n *idleCount) bool { return n.last.UnixNano() < idle })
			if len(known) >= limit { // all came at once
				clear(known)
			}
		}
		n = &idleCount{}
		known[key] = n
	}
	n.last = now
	return &n.bytes
}

func (c *counts) snapshot() vod.TrafficReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := vod.TrafficReport{
		OriginBytes: c.total.Load(), ByTitle: make(map[vod.TitleID]int64, len(c.titles)),
		BySession: make(map[string]int64, len(c.sessions)), ByRehearsal: make(map[vod.RehearsalLabel]int64, len(c.rehearsals)),
	}
	for id, n := range c.titles {
		r.ByTitle[id] = n.Load()
	}
	for id, s := range c.sessions {
		r.BySession[id] = s.bytes.Load()
	}
	for label, n := range c.rehearsals {
		r.ByRehearsal[label] = n.bytes.Load()
	}
	return r
}
