// Package ledger measures what flows, and bounds it: a Meter per source, a Bucket that holds a rate, a Path per peer that
// remembers round trips, and the Governor of the uplink. All of it is in integers, so that the same inputs give the same
// estimate on every processor, and cheap enough to run on every block.
package ledger

// slot is the width of one of a Meter's slots, in microseconds; slots of them make its memory.
const (
	slot  = 250_000
	slots = 8
)

// Meter estimates a rate over the last two seconds. The zero value is ready.
type Meter struct {
	counts [slots]int64
	last   int64 // number of the newest slot since time zero
	first  int64 // number of the slot of the first Add, plus one; 0: nothing yet
	total  int64
}

// Add records n bytes at now (microseconds). Time must not run backwards; if it does, n counts as of the newest slot.
func (m *Meter) Add(now, n int64) {
	m.turn(now)
	if m.first == 0 {
		m.first = m.last + 1
	}
	m.counts[m.last%slots] += n
	m.total += n
}

// Rate is the estimate at now, in bytes per second; 0 when nothing came lately.
func (m *Meter) Rate(now int64) int64 {
	if m.first == 0 {
		return 0
	}
	m.turn(now)
	var sum int64
	for _, c := range m.counts {
		sum += c
	}
	// A young meter divides by its own age, so that a new peer is not taken for a slow one.
	age := m.last - (m.first - 1) + 1
	if age > slots {
		age = slots
	}
	return sum * 1_000_000 / (age * slot)
}

// Total is all that was ever added, in bytes.
func (m *Meter) Total() int64 { return m.total }

func (m *Meter) turn(now int64) {
	n := now / slot
	if n <= m.last {
		return
	}
	if n-m.last >= slots {
		m.counts = [slots]int64{}
	} else {
		for i := m.last + 1; i <= n; i++ {
			m.counts[i%slots] = 0
		}
	}
	m.last = n
}

// Bucket is a token bucket in integers: it holds a rate over time while letting a short burst through.
// The zero value lets everything through.
type Bucket struct {
	rate   int64 // bytes per second; 0: no limit
	burst  int64 // bytes
	tokens int64 // bytes, may be negative
	at     int64 // microseconds
	rem    int64 // of the division, so that slow rates lose nothing
}

// SetRate bounds the bucket to rate bytes per second (0: no bound) with the given burst in bytes. A bucket that had a
// bound keeps what was in it, so that changing the bound often gives nothing away.
func (b *Bucket) SetRate(now, rate, burst int64) {
	switch {
	case b.rate == rate && b.burst == burst:
	case b.rate == 0 || rate == 0:
		*b = Bucket{rate: rate, burst: burst, tokens: burst, at: now}
	default:
		b.fill(now)
		b.rate, b.burst, b.tokens, b.rem = rate, burst, min(b.tokens, burst), 0
	}
}

// Limit is the bucket's rate in bytes per second, 0 for none.
func (b *Bucket) Limit() int64 { return b.rate }

// Take reports whether n bytes may go now, and takes them if so. What is larger than the burst may go when the bucket is full.
func (b *Bucket) Take(now, n int64) bool {
	if b.rate == 0 {
		return true
	}
	b.fill(now)
	if b.tokens < n && b.tokens < b.burst {
		return false
	}
	b.tokens -= n
	return true
}

// ReadyAt is the earliest moment at which Take(n) may succeed, in microseconds.
func (b *Bucket) ReadyAt(now, n int64) int64 {
	if b.rate == 0 {
		return now
	}
	b.fill(now)
	need := min(n, b.burst) - b.tokens
	if need <= 0 {
		return now
	}
	return now + need*1_000_000/b.rate + 1
}

func (b *Bucket) fill(now int64) {
	if now <= b.at {
		return
	}
	d := min(now-b.at, 60_000_000)
	b.at = now
	p := d*b.rate + b.rem
	b.tokens += p / 1_000_000
	b.rem = p % 1_000_000
	if b.tokens >= b.burst {
		b.tokens, b.rem = b.burst, 0
	}
}
