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
	// Names found to be taken by who signed up from one network: some twenty on the first day, and then four a day.
	takenFree   = 5
	takenFirst  = time.Minute
	takenPause  = 6 * time.Hour
	takenForget = 24 * time.Hour
	// And by all together whose network a proxy hides, so that none of them can shut the others out for long.
	takenHiddenFree  = 50
	takenHiddenPause = time.Minute
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
	first   time.Duration // pause
	longest time.Duration // of the pauses
	forget  time.Duration // without a try
	mu      sync.Mutex
	byName  map[string]*try
}

type try struct {
	failed int
	last   time.Time
	until  time.Time // no try before it
}

func newTries(clock vod.Clock, free int, longest time.Duration) *tries {
	return &tries{clock: clock, free: free, first: pauseFirst, longest: longest, forget: triesForget, byName: map[string]*try{}}
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
	if e != nil && now.Sub(e.last) > t.forget {
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
		e.until = now.Add(min(t.longest, t.first<<min(over, 10)))
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
		if now.Sub(e.last) > t.forget {
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

// taken counts the names that were found to be taken by those who sign up, by network: nobody can go through a list of names.
type taken struct {
	networks, hidden *tries
}

func newTaken(clock vod.Clock) *taken {
	t := &taken{networks: newTries(clock, takenFree, takenPause), hidden: newTries(clock, takenHiddenFree, takenHiddenPause)}
	t.networks.first, t.networks.forget = takenFirst, takenForget
	t.hidden.forget = takenForget
	return t
}

// of is where a network's names are counted, and its key there.
func (t *taken) of(network netip.Prefix) (*tries, string) {
	if key := networkKey(network); key != "" {
		return t.networks, key
	}
	return t.hidden, "hidden"
}

// begin counts a name as taken and returns 0, or returns how long to wait before the next is looked at.
func (t *taken) begin(network netip.Prefix) time.Duration {
	tries, key := t.of(network)
	return tries.begin(key)
}

// undo takes back what begin counted: the name was free.
func (t *taken) undo(network netip.Prefix) {
	tries, key := t.of(network)
	tries.undo(key)
}
