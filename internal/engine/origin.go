package engine

import (
	"essaim/internal/engine/picker"
)

// How long peers may keep the origin waiting. In microseconds:
const (
	hedgeBegun    = 200_000    // a block that a peer has begun to send
	hedgeFloor    = 1_500_000  // a piece within the floor of which nothing came
	hedgeFloorAll = 4_000_000  // one that came, but not whole
	grace         = 1_300_000  // after opening, for the first neighbours to bring what is not urgent
	crowdTime     = 15_000_000 // neighbours who have just met fill their floors before timers begin
	meeting       = 250_000    // from the first neighbour to the last of those who come together
	meetingMany   = 400_000    // the same for many
	listing       = 500_000    // after the handshake, to say what one has
)

// And in milliseconds of film:
const (
	safetyMs      = 700   // how long before the last moment at which the origin would still make it
	safetyShyMs   = 4_000 // the same after neighbours' faults
	safetyCrowdMs = 150   // the same in a crowd, where much is about to come
	hardMs        = 120   // the same whatever neighbours promise
	lateNever     = 3_600_000
	pressingMs    = 1_500  // where the origin is short: there is no time left to take turns
	leadMs        = 3_000  // and whoever is so far ahead of others
	heldMs        = 8_000  // what neighbours have and do not give is waited for until it is so near
	aloneMs       = 500    // a fetch that takes longer brings nothing of a later time: another file may need the source first
	stepMs        = 2_000  // of few, who is so far behind takes its turn as well: all must count the same
	peersMs       = 300    // how long before its time peers must have brought a piece
	reserveMs     = 3_500  // what a viewer fetches by itself at the start before it waits for the few neighbours there are
	crowdMs       = 20_000 // of film ahead of where neighbours met, for which there are no timers
	meetingMs     = 2_000  // ahead of the play head, there is no time to wait until all have met
	chosenMs      = 30_000 // from here on the one of many who is chosen fetches a piece
	fewMax        = 16     // how many are few
)

// verdict is what the origin is asked for.
type verdict uint8

const (
	leave verdict = iota
	late          // it would not come in time otherwise: with all that is due with it
	ahead         // it is our turn, or our timer, to fetch it for ourselves and our neighbours
)

// survey is what askOrigin finds out on its way through the plan.
type survey struct {
	short   bool            // the origin is too slow for everyone to take all from it
	few     bool            // neighbours there may be, but not many
	rate    int64           // the origin's, in bytes per second
	due     int64           // bytes lacked whose time is not after that of the piece looked at
	next    int             // the first want that due leaves out
	load    [peersMax]int64 // by peer: bytes that it must bring before, as far as nobody else could
	holders int64           // what those who have the piece looked at bring together, in bytes per second
	eta     int64           // when peers will have brought the piece looked at, in ms
	moved   int64           // ms of film since the plan
	slack   int64           // for so long, in ms, nothing more will be late
	stands  bool            // the player stands still for an earlier piece
	skip    int             // wants to leave to others whose turn is before ours; -1: not known yet
}

// askOrigin asks the origin for what peers would not bring in time, for what is ours to fetch ahead, and for nothing else.
func (e *Engine) askOrigin() {
	now := int64(e.now)
	e.lateAt = e.now + lateNever*1000
	if _, resting := e.origin.Resting(now); resting {
		return
	}
	s := survey{short: e.short(), few: e.members > 0 && e.members <= fewMax && len(e.peers) <= fewMax, rate: e.pace.Rate(now, e.fetches.Waiting()), skip: -1}
	if s.rate == 0 {
		s.rate = rateGuess
	}
	s.moved, s.slack = e.picker.PositionMs(now)-e.plannedMs, lateNever
	for i := range e.wants {
		w := &e.wants[i]
		s.stands = s.stands || w.AheadMs <= 0 && e.standsFor(w)
		a := e.findActive(w.Piece)
		if !e.toCome(w, a) {
			continue
		}
		v := e.judge(&s, w, a)
		if v == leave {
			continue
		}
		limit := fetchesLate
		if v == ahead {
			limit = fetchesAhead
			if s.short {
				limit = 1
			}
		}
		if len(e.fetches.All()) >= limit {
			if v == ahead {
				break
			}
			continue
		}
		if s.short && s.stands && w.AheadMs > 0 && e.mates(w, picker.WindowMs) == 0 {
			break // it would only slow down what the player waits for
		}
		if v == late && e.pipeHasRoom(&s, w) || !e.inLine(&s, w) {
			e.fetch(&s, i, v)
		}
	}
	e.lateAt = e.now + Instant(s.slack)*1000
}

// standsFor: the player stands still until the piece has come.
func (e *Engine) standsFor(w *picker.Want) bool {
	_, rate := e.picker.Playing(int64(e.now))
	return w.AheadMs <= 0 && rate == 0 && e.stock.status[w.Piece] == pieceLacked
}

// missing is what is still to come of a piece, in bytes.
func (e *Engine) missing(w *picker.Want) int64 {
	if e.stock.status[w.Piece] != pieceLacked {
		return 0
	}
	n := int64(e.pieceBytes(w.Piece))
	if a := e.findActive(w.Piece); a != nil {
		n -= int64(a.kept) * int64(e.unit)
	}
	return max(n, 0)
}

// judge decides whether the origin is asked for a piece now. It must be called for the plan's pieces in their order.
func (e *Engine) judge(s *survey, w *picker.Want, a *activePiece) verdict {
	for ; s.next < len(e.wants) && e.wants[s.next].Class < picker.Window && e.wants[s.next].AheadMs <= w.AheadMs; s.next++ {
		s.due += e.missing(&e.wants[s.next])
	}
	if w.Class == picker.Window && !(a != nil && a.refuted) {
		return e.judgeWindow(s, w)
	}
	held := e.stock.holders[w.Piece] > 0 && e.burden(s, w)
	if a != nil && a.refuted && !held {
		return late // what a liar spoilt comes again at once, however far ahead it lies
	}
	mates := 0
	if e.sharing {
		mates = e.mates(w, picker.WindowMs)
	}
	claimed := mates > 0 && e.claimStands(w.Piece)
	if s.short && (mates > 0 || held) && !e.options.UrgentOnly {
		switch {
		case held:
			if e.overdue(a) || mates == 0 && s.holders < e.picker.BytesPerSecond()/4 && !s.comes(w) {
				return late
			}
			return leave
		case claimed:
			return leave
		case w.AheadMs < pressingMs && e.mates(w, w.AheadMs+leadMs) == 0:
			return late // it is most pressing for us, who are ahead of all others
		}
		return e.takeTurn(s, w)
	}
	safety := int64(safetyMs)
	if e.shy() {
		safety = safetyShyMs
	} else if mates > 0 && e.massed() {
		safety = safetyCrowdMs
	}
	last := e.pace.LatencyMs() + s.due*1000/s.rate
	if slack := s.ahead(w) - last - safety; slack > 0 {
		s.slack = min(s.slack, slack)
	} else {
		if slack += safety - hardMs; held && slack > 0 && s.comes(w) {
			s.slack = min(s.slack, slack)
			return leave
		}
		return late
	}
	switch {
	case e.options.UrgentOnly:
		return leave
	case held:
		switch {
		case s.comes(w):
			return leave
		case w.Class == picker.Floor && e.overdue(a) && (e.shy() || !e.massed() && e.down.Rate(int64(e.now)) < e.picker.BytesPerSecond()):
			return late
		case w.Class == picker.Urgent && e.now-e.crowdAt > crowdTime:
			return late // neighbours cannot keep the floor full
		case w.Class == picker.Urgent && mates > 0 && !s.short:
			return e.takeTurn(s, w) // those who have it have too many to give it to
		}
		return leave
	case claimed:
		return leave
	case mates == 0:
		if e.expecting() {
			if s.short {
				return late // every second counts
			}
			if s.few && w.AheadMs < reserveMs {
				return ahead
			}
			return leave
		}
		return late
	}
	if e.stock.holders[w.Piece] > 0 && w.AheadMs > heldMs {
		return leave // those who have it may yet give it
	}
	return e.takeTurn(s, w)
}

// comes: at the rate of the moment, peers bring the piece in time, with all that they must bring before.
func (s *survey) comes(w *picker.Want) bool { return s.eta+peersMs < s.ahead(w) }

// ahead is how far the want is from the play head by now, in ms.
func (s *survey) ahead(w *picker.Want) int64 { return w.AheadMs - s.moved }

// burden shares what is to come of a piece out among the peers that have it and serve us, and reckons when they will have brought it,
// after all that only they can bring before. It reports whether there are any.
func (e *Engine) burden(s *survey, w *picker.Want) bool {
	missing := e.missing(w)
	n, soonest := int64(0), int64(0)
	s.holders = 0
	for i, p := range e.peers {
		if !p.has(w.Piece) || !p.reliable(e.now) {
			continue
		}
		rate := p.rate.Rate(int64(e.now))
		if rate == 0 && (p.owedLive == 0 || e.now-p.moved < hedgeUrgent) {
			rate = rateUnknown / 4
		}
		if at := (s.load[i] + missing) * 1000 / max(rate, 1); n == 0 || at < soonest {
			soonest = at
		}
		n++
		s.holders += rate
	}
	if n == 0 {
		return false
	}
	for i, p := range e.peers {
		if p.has(w.Piece) && p.reliable(e.now) {
			s.load[i] += missing / n
		}
	}
	s.eta = soonest
	if n > 1 {
		s.eta = soonest / min(n, int64(4)) // its blocks come from several at once
	}
	return true
}

// takeTurn: nobody has the piece and several want it. Those who are free take one each, in turn.
func (e *Engine) takeTurn(s *survey, w *picker.Want) verdict {
	within := int64(picker.FloorMs)
	if s.short {
		within = picker.SpreadMs
	}
	wait := Instant(meeting)
	if e.massed() {
		wait = meetingMany
	}
	if e.now-e.crowdAt < wait && w.AheadMs > meetingMs {
		return leave // others are about to join; all must see the same neighbours to share the work
	}
	if !s.short {
		if s.few {
			within += stepMs
		}
		if e.massed() && e.chosen(w) || !e.massed() && e.ours(w, within) || e.overlooked(w) {
			return ahead
		}
		return leave
	}
	if s.skip < 0 {
		s.skip = e.turnOf(w, within)
	}
	if s.skip > 0 && !e.overlooked(w) {
		s.skip--
		return leave
	}
	return ahead
}

// judgeWindow: beyond the floor there is time, and the origin is asked by whoever's timer runs out first.
func (e *Engine) judgeWindow(s *survey, w *picker.Want) verdict {
	if e.options.UrgentOnly || !e.sharing || e.stock.holders[w.Piece] > 0 || w.AheadMs > picker.SpreadMs {
		return leave
	}
	if !s.short && e.massed() {
		if w.AheadMs > min(e.horizonMs(), chosenMs) || !e.chosen(w) {
			return leave
		}
	} else if !s.short {
		if !e.crowded || e.now-e.crowdAt < crowdTime {
			e.crowdMs, _ = e.picker.Playing(int64(e.now))
			return leave
		}
		if e.picker.FilmMs(w.File, w.Piece)-e.crowdMs < crowdMs {
			return leave // when they met there was no time for timers to spread over: those within the floor take turns
		}
		if w.AheadMs > e.horizonMs() {
			return leave
		}
		timer := e.picker.TimerMs(w.Piece, e.crowdMs, max(e.members, uint32(len(e.peers)+1)))
		mine := false
		if s.few && uint32(len(e.peers)+1) >= e.members { // all know one another: timers are for when the one whose it is does not fetch it
			if mine = e.ours(w, picker.WindowMs); !mine {
				timer = (timer + picker.FloorMs) / 2
			}
		}
		if !mine && w.AheadMs > timer {
			return leave
		}
	}
	if e.mates(w, picker.WindowMs) == 0 || e.claimStands(w.Piece) {
		return leave
	}
	if s.short {
		return e.takeTurn(s, w)
	}
	return ahead
}

// short: if everyone took all from the origin it would not do. Its own rate is less than twice the film's.
func (e *Engine) short() bool {
	rate := e.pace.Rate(int64(e.now), e.fetches.Waiting())
	return rate > 0 && rate < 2*e.picker.BytesPerSecond()
}

// expecting: neighbours may still come who would spare the origin.
func (e *Engine) expecting() bool {
	if !e.sharing {
		return false
	}
	if e.now-e.openedAt < grace && e.members != 1 {
		return true
	}
	for _, p := range e.peers {
		if p.ready && !p.listed && e.now-p.since < listing {
			return true
		}
	}
	return false
}

// inLine: a fetch under way has yet to bring earlier bytes of the file, or what is wanted more badly, and longer to do so than
// a round trip. Where the source's rate is short, another would only take from it what the player needs sooner.
func (e *Engine) inLine(s *survey, w *picker.Want) bool {
	f, n := e.locate(w.Piece)
	at := f.blockAt(n, 0)
	all := e.fetches.All()
	overlap := e.overlap(s, w)
	for i := range all {
		ft := &all[i]
		left, age := ft.To-ft.From-ft.Got, int64(e.now)-ft.Began
		if ft.Got > 0 && left*age <= ft.Got*overlap {
			continue
		}
		if silent := int64(e.now) - ft.Moved; silent >= fetchQuiet && (e.pace.Last() > ft.Moved || silent >= fetchStuck) {
			continue // it is this fetch that is stuck, and not the source
		}
		if ft.File == w.File && ft.From+ft.Got <= at {
			return true
		}
		if k := e.wantOf(e.files[ft.File].FirstPiece + uint32((ft.From+ft.Seen)/int64(e.title.PieceLength))); k != nil && (k.Class < w.Class || k.AheadMs < w.AheadMs) {
			return true
		}
	}
	return false
}

// overlap is how long before the end of a fetch the next may begin, in microseconds: where the player waits for the one a round trip, for both
// would share the link.
func (e *Engine) overlap(s *survey, w *picker.Want) int64 {
	if s.stands && w.AheadMs > 0 {
		return min(fetchOverlap, e.pace.Least())
	}
	return fetchOverlap
}

// pipeHasRoom: what fetches under way have yet to bring is so little that another request would not wait for it.
func (e *Engine) pipeHasRoom(s *survey, w *picker.Want) bool {
	all, left := e.fetches.All(), int64(0)
	for i := range all {
		left += all[i].To - all[i].From - all[i].Got
	}
	return left*1_000_000 <= s.rate*min(e.overlap(s, w), fetchOverlap/4)
}

// overdue: peers had their chance with a piece that was asked of them.
func (e *Engine) overdue(a *activePiece) bool {
	return a != nil && a.asked > 0 && (e.now-max(a.asked, a.moved) > hedgeFloor || e.now-a.asked > hedgeFloorAll)
}
