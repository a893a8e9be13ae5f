package members

import (
	"sync"
	"time"

	"essaim/internal/vod"
)

const (
	triesFree   = 4                // failures before the first pause: typing errors
	pauseFirst  = time.Second      // it doubles with each failure
	pauseMax    = time.Minute      // long enough to stop guessing, short enough not to lock a member out
	triesForget = 15 * time.Minute // without a try
	triesMax    = 20_000           // names remembered at once: 2 MB
)

// tries counts failed sign-ins by name. Names that do not exist count as well, or the pause would tell which do.
type tries struct {
	clock  vod.Clock
	mu     sync.Mutex
	byName map[string]*try
}

type try struct {
	failed int
	last   time.Time
	until  time.Time // no try before it
}

func newTries(clock vod.Clock) *tries { return &tries{clock: clock, byName: map[string]*try{}} }

// begin counts a try as failed and returns 0, or returns how long to wait if it comes too soon.
func (t *tries) begin(name string) time.Duration {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byName[name]
	if e != nil && now.Sub(e.last) > triesForget {
		e = nil
	}
	if e == nil {
		t.makeRoom(now)
		e = &try{}
		t.byName[name] = e
	}
	if wait := e.until.Sub(now); wait > 0 {
		return wait
	}
	e.failed++
	e.last = now
	if over := e.failed - triesFree; over >= 0 {
		e.until = now.Add(min(pauseMax, pauseFirst<<min(over, 10)))
	}
	return 0
}

func (t *tries) succeed(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, name)
}

// makeRoom keeps the table bounded: it drops what is forgotten and, in a flood of names, some that are not.
func (t *tries) makeRoom(now time.Time) {
	if len(t.byName) < triesMax {
		return
	}
	for name, e := range t.byName {
		if now.Sub(e.last) > triesForget {
			delete(t.byName, name)
		}
	}
	for name := range t.byName {
		if len(t.byName) < triesMax*9/10 {
			return
		}
		delete(t.byName, name)
	}
}
