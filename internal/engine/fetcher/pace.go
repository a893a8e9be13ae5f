package fetcher

// Pace measures a source from the fetches under way: how long it takes to begin, and how fast it sends then. The zero value
// knows nothing.
type Pace struct {
	latency int64 // microseconds to the first byte, smoothed; 0: unknown
	least   int64 // the same where nothing is in the way: it falls at once and rises slowly
	bytes   int64
	time    int64 // microseconds in which these came
	last    int64 // when bytes last came
}

// paceMemory is how much sending, in microseconds, the estimate looks back on, more or less.
const paceMemory = 2_000_000

// First records that the first bytes of a fetch begun at began have come.
func (p *Pace) First(now, began int64) {
	took := max(now-began, 1)
	if p.latency == 0 {
		p.latency = took
	} else {
		p.latency += (took - p.latency) / 4
	}
	if p.least == 0 || took < p.least {
		p.least = took
	} else {
		p.least += (took - p.least) / 16
	}
	p.last = max(p.last, now)
}

// Got records n bytes more, the earlier ones of the same fetch having come at before.
func (p *Pace) Got(now, before, n int64) {
	p.bytes += n
	p.time += max(now-max(p.last, before), 0)
	p.last = now
	if p.time > paceMemory {
		p.bytes, p.time = p.bytes/2, p.time/2
	}
}

// Rate is the estimate in bytes per second at now; 0: unknown. waiting is since when the fetch under way that has waited longest has
// brought nothing, 0 for none: a source that falls silent in the middle of a fetch is slow.
func (p *Pace) Rate(now, waiting int64) int64 {
	time := p.time
	if silent := now - max(waiting, p.last); waiting > 0 && silent > 500_000 {
		time += silent
	}
	if p.bytes < 8<<10 {
		return 0
	}
	return p.bytes * 1_000_000 / max(time, 1_000)
}

// Last is when bytes last came.
func (p *Pace) Last() int64 { return p.last }

// Least is the time to the first byte, in microseconds, where neither a connection must be set up nor other bytes are in the way; 0: unknown.
func (p *Pace) Least() int64 { return p.least }

// LatencyMs is the time to the first byte in milliseconds; a guess of 200 while nothing is known.
func (p *Pace) LatencyMs() int64 {
	if p.latency == 0 {
		return 200
	}
	return p.latency / 1000
}
