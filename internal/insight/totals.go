package insight

import (
	"math"
	"strconv"
	"strings"
	"time"

	"essaim/internal/vod"
)

// What is counted, in the order of counters.
const (
	originBytes = iota
	peerBytes
	relayedBytes
	cachedBytes
	sentBytes
	wastedBytes
	playedMs
	stalls
	stalledMs
	startupMs
	switches
	failures
	badBlocks
	met
	metConnected
	metAnswer
	metICE
	metDTLS
	metChannel
	metBudget
	countersLen
)

// counters are the columns that play_totals and traffic share.
var counters = [countersLen]string{
	"origin_bytes", "peer_bytes", "relayed_bytes", "cached_bytes", "sent_bytes", "wasted_bytes", "played_ms", "stalls", "stalled_ms",
	"startup_ms", "switches", "failures", "bad_blocks", "met", "met_connected", "met_answer", "met_ice", "met_dtls", "met_channel",
	"met_budget",
}

// totals are a session's counts.
type totals [countersLen]int64

func totalsOf(h *vod.Heartbeat) *totals {
	t := totals{
		originBytes: h.OriginBytes, peerBytes: h.PeerBytes, relayedBytes: h.RelayedBytes, cachedBytes: h.CachedBytes,
		sentBytes: h.SentBytes, wastedBytes: h.WastedBytes, playedMs: h.PlayedMs, stalls: int64(h.Stalls), stalledMs: h.StalledMs,
		startupMs: h.StartupMs, switches: int64(h.Switches), failures: int64(h.Failures), badBlocks: int64(h.BadBlocks),
	}
	if m := h.Met; m != nil {
		for k, n := range []int{m.Introduced, m.Connected, m.Answer, m.ICE, m.DTLS, m.Channel, m.Budget} {
			t[met+k] = int64(n)
		}
	}
	return &t
}

// raise makes each count the larger of two: totals only grow, so the order in which they come does not matter.
func (t *totals) raise(o *totals) {
	for k := range t {
		t[k] = max(t[k], o[k])
	}
}

func (t *totals) less(o *totals) (d totals) {
	for k := range t {
		d[k] = t[k] - o[k]
	}
	return d
}

// state is a row of play_totals.
type state struct {
	title       string
	group       vod.Group
	bucket      int
	network     int64
	height      int
	film        int64
	began, seen int64 // ms
	position    int64
	continued   bool
	quarantined bool
	totals      totals
}

// What a session may claim at most. Whoever claims more is left out of every figure.
const (
	// linkRate is in bytes a second: what a gigabit line carries. The time is this service's, not the player's.
	linkRate = 125_000_000
	// linkSlack is what may come before a second has passed.
	linkSlack = 64 << 20
	// filmTimes is how many times a session may receive the film, all its renditions together: jumps back into what a small
	// cache has dropped need it again.
	filmTimes = 2
	filmSlack = 16 << 20
	// speedMax is how much faster than the clock a film may be played, and playedSlack how far it may be ahead of it.
	speedMax    = 4
	playedSlack = 60_000
)

// plausible says whether an honest player can have counted so.
func (s *state) plausible() bool {
	t := &s.totals
	elapsed := max(0, s.seen-s.began)
	link := linkSlack + min(elapsed, math.MaxInt64/linkRate)/1000*linkRate + elapsed%1000*linkRate/1000
	received := t[originBytes] + t[peerBytes]
	switch {
	case t[relayedBytes] > t[peerBytes], t[wastedBytes] > received:
		return false
	case received > link, t[sentBytes] > link:
		return false
	case s.film > 0 && (received > filmTimes*s.film+filmSlack || t[cachedBytes] > filmTimes*s.film+filmSlack):
		return false
	case t[stalledMs] > elapsed+playedSlack, t[startupMs] > elapsed+playedSlack:
		return false
	}
	return true
}

// quality is what a session adds to its bucket.
type quality struct {
	sessions, started, well, startupMs, startupLog, playedMs, stalls, stalledMs int64
}

func (s *state) quality() (q quality) {
	if s.quarantined {
		return q
	}
	t := &s.totals
	q = quality{playedMs: t[playedMs], stalls: t[stalls], stalledMs: t[stalledMs]}
	if s.continued { // its start was another session's
		return q
	}
	q.sessions = 1
	if t[startupMs] > 0 {
		q.started = 1
		q.startupMs = t[startupMs]
		q.startupLog = int64(math.Round(math.Log(float64(t[startupMs])) * 1000))
		if t[failures] == 0 {
			q.well = 1
		}
	}
	return q
}

func (q quality) less(o quality) quality {
	return quality{
		q.sessions - o.sessions, q.started - o.started, q.well - o.well, q.startupMs - o.startupMs, q.startupLog - o.startupLog,
		q.playedMs - o.playedMs, q.stalls - o.stalls, q.stalledMs - o.stalledMs,
	}
}

func (q quality) plus(o quality) quality {
	return quality{
		q.sessions + o.sessions, q.started + o.started, q.well + o.well, q.startupMs + o.startupMs, q.startupLog + o.startupLog,
		q.playedMs + o.playedMs, q.stalls + o.stalls, q.stalledMs + o.stalledMs,
	}
}

// otherNetwork stands for networks that are not told apart.
const otherNetwork = -1

// span is what a row of traffic covers.
type span string

// length in milliseconds.
func (s span) length() int64 {
	switch s {
	case "minute":
		return 60_000
	case "hour":
		return 3_600_000
	}
	return 86_400_000
}

// floor is the beginning of the span that t is in, in milliseconds.
func floor(t time.Time, s span) int64 { return floorMs(t.UnixMilli(), s) }

func floorMs(ms int64, s span) int64 { return ms - ((ms%s.length())+s.length())%s.length() }

// marks are n placeholders from $from on.
func marks(from, n int) string {
	var b strings.Builder
	for k := range n {
		if k > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(from+k))
	}
	return b.String()
}

// each writes something for every counter.
func each(f func(name string) string) string {
	list := make([]string, countersLen)
	for k, name := range counters {
		list[k] = f(name)
	}
	return strings.Join(list, ", ")
}

// columns are the counters' names, with a prefix.
func columns(prefix string) string { return each(func(name string) string { return prefix + name }) }
