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
)

// counts counts media bytes as sockets accept them.
type counts struct {
	clock    vod.Clock
	total    atomic.Int64
	mu       sync.Mutex
	titles   map[vod.TitleID]*atomic.Int64
	sessions map[string]*sessionCount
}

type sessionCount struct {
	bytes atomic.Int64
	last  time.Time // of the last request; under counts.mu
}

// counter adds to all that one transfer counts for.
type counter struct {
	total, title *atomic.Int64
	session      *atomic.Int64 // nil without a ticket
}

func (c counter) add(n int64) {
	if n <= 0 {
		return
	}
	c.total.Add(n)
	c.title.Add(n)
	if c.session != nil {
		c.session.Add(n)
	}
}

func newCounts(clock vod.Clock) *counts {
	return &counts{clock: clock, titles: map[vod.TitleID]*atomic.Int64{}, sessions: map[string]*sessionCount{}}
}

// of is the counter for a transfer; session is empty for none.
func (c *counts) of(title vod.TitleID, session string) counter {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.titles[title]
	if t == nil {
		t = new(atomic.Int64)
		c.titles[title] = t
	}
	out := counter{total: &c.total, title: t}
	if session == "" {
		return out
	}
	s := c.sessions[session]
	if s == nil {
		c.forget()
		s = &sessionCount{}
		c.sessions[session] = s
	}
	s.last = now
	out.session = &s.bytes
	return out
}

// forget drops the tenth of the sessions that have been idle longest, when there are too many: anyone may press play, so
// that neither memory nor the time spent here may grow with what they do.
func (c *counts) forget() {
	if len(c.sessions) < sessionsMax {
		return
	}
	ids := slices.SortedFunc(maps.Keys(c.sessions), func(a, b string) int {
		return c.sessions[a].last.Compare(c.sessions[b].last)
	})
	for _, id := range ids[:sessionsMax/10] {
		delete(c.sessions, id)
	}
}

func (c *counts) snapshot() vod.TrafficReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := vod.TrafficReport{
		OriginBytes: c.total.Load(), ByTitle: make(map[vod.TitleID]int64, len(c.titles)),
		BySession: make(map[string]int64, len(c.sessions)),
	}
	for id, n := range c.titles {
		r.ByTitle[id] = n.Load()
	}
	for id, s := range c.sessions {
		r.BySession[id] = s.bytes.Load()
	}
	return r
}
