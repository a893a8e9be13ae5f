package members

import (
	"net/netip"
	"sync"
	"time"

	"essaim/internal/vod"
)

const (
	triesFree   = 4                // failures before the first pause: typing errors
	pauseFirst  = time.Second      // it doubles with each failure
	pauseMax    = time.Minute      // long enough to stop guessing, short enough not to lock a member out
	triesForget = 15 * time.Minute // without a try
	triesMax    = 20_000           // names, or networks, remembered at once: 2 MB

	// A network may be a household's or a whole town's behind one address: it gets more tries, and shorter pauses.
	networkFree  = 30
	networkPause = 10 * time.Second
	// Accounts made from one network, where anybody may sign up.
	signUpsFree  = 10
	signUpsPause = 5 * time.Minute
)

// networkKey is the form in which networks are compared; empty for an unknown one.
func networkKey(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.Masked().String()
}

// tries counts failed sign-ins by name, or by network. Names that do not exist count as well, or the pause would tell which
// do. An empty key is nobody's, and not counted.
type tries struct {
	clock   vod.Clock
	free    int           // failures before the first pause
	longest time.Duration // of the pauses
	mu      sync.Mutex
	byName  map[string]*try
}

type try struct {
	failed int
	last   time.Time
	until  time.Time // no try before it
}

func newTries(clock vod.Clock, free int, longest time.Duration) *tries {
	return &tries{clock: clock, free: free, longest: longest, byName: map[string]*try{}}
}

// begin counts a try as failed and returns 0, or returns how long to wait if it comes too soon.
func (t *tries) begin(name string) time.Duration {
	if name == "" {
		return 0
	}
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
	if over := e.failed - t.free; over >= 0 {
		e.until = now.Add(min(t.longest, pauseFirst<<min(over, 10)))
	}
	return 0
}

func (t *tries) succeed(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, name)
}

// undo takes a try back that was none, or that succeeded where success does not forget the others.
func (t *tries) undo(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.byName[name]; e != nil && e.failed > 0 {
		e.failed--
		if e.failed < t.free {
			e.until = time.Time{}
		}
	}
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
