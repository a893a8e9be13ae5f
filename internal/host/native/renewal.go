package native

import "time"

// How renewals are bounded.
const (
	intervalFirst = 30 * time.Second // between announces, until the tracker says
	intervalMin   = 10 * time.Second
	intervalMax   = 30 * time.Minute
	stillMin      = time.Second // of the tracker's promise to say something
	// driftMax is by how much the play head may be elsewhere than the tracker must think: half of what keeps a viewer in step with its
	// cohort there.
	driftMax = time.Second
)

// word is what to say to the tracker.
type word uint8

const (
	sayNothing word = iota
	sayStill        // that we are still there, and all is as we said
	sayAll
)

// selfie is what an announce says of us that stays true for a while.
type selfie struct {
	position  time.Duration // of film; a seed's says nothing
	rendition int
	uplink    int
	ticket    string
	seed      bool
}

// renewal decides what is said to the tracker whenever the engine would announce, which it does every half minute: all of it when
// something is asked for, has to be told or is not as we said, and else, once in the tracker's interval, only that we are still there,
// if the tracker knows what that means. It belongs to one connection. The browser's host does the same (Renewal in
// web/src/host/renewal.ts); internal/host/hosttest/renewals holds both to it.
type renewal struct {
	said     selfie
	all      time.Duration // when it was said, on the host's clock
	any      time.Duration // when anything was said
	known    bool          // said has been said, and answered
	asked    bool          // and is not answered yet
	interval time.Duration
	promise  time.Duration // within which the tracker says something to who is not answered; 0: it answers everything
}

// next is what to say now, of how we are now; pressing says that there is more to an announce than that: an event, outcomes, or the
// wish to meet somebody.
func (r *renewal) next(now time.Duration, self selfie, pressing bool) word {
	switch {
	case pressing || !r.known || r.asked || !r.true(now, self):
		return sayAll
	case now-r.any < r.interval-r.interval/10: // the engine is not that punctual
		return sayNothing
	case r.promise == 0:
		return sayAll
	}
	return sayStill
}

// true says whether what was said is so: the play head has moved with the clock, and all else has stayed.
func (r *renewal) true(now time.Duration, self selfie) bool {
	then := r.said
	if drift := self.position - then.position - (now - r.all); !self.seed && (drift > driftMax || drift < -driftMax) {
		return false
	}
	self.position = then.position
	return self == then
}

// tell notes what is said now.
func (r *renewal) tell(now time.Duration, w word, self selfie) {
	r.any = now
	if w == sayAll {
		r.said, r.all, r.known, r.asked = self, now, true, true
	}
}

// answered notes a reply, or what the tracker says of the swarm by itself: until when it wants to hear nothing, and its promise, in
// seconds as it says them.
func (r *renewal) answered(interval, still int) {
	r.asked = false
	r.interval = intervalFirst
	if interval > 0 {
		r.interval = max(intervalMin, min(time.Duration(interval)*time.Second, intervalMax))
	}
	r.promise = 0
	if still > 0 {
		r.promise = max(stillMin, min(time.Duration(still)*time.Second, intervalMax))
	}
}

// refused notes that what was said went for nothing.
func (r *renewal) refused() { *r = renewal{} }

// patience is how long the tracker may say nothing at all; 0: for good, but it answers what it is asked.
func (r *renewal) patience() time.Duration { return r.promise + r.promise/2 }
