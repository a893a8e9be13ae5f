package ledger

// The governor's constants. Times are in microseconds, rates in bytes per second.
const (
	// Target is the queueing delay that our own traffic may cause before the governor gives way: RFC 6817 section 2.3
	// allows 100 ms at most; a call or a game notices less.
	Target = 60_000
	// delayFar is a delay that one measurement is enough to believe.
	delayFar = 3 * Target
	// RateFloor is the least rate while uploading is allowed at all, so that there is something left to measure by.
	RateFloor = 16 << 10
	// rateFirst is allowed when measuring begins, whatever little was sent until then, and is always within reach of growth.
	rateFirst = 256 << 10
	rateMost  = 1 << 33
	// ceilingLeast: resistance met by less than this is not remembered, lest a blip while we send little keep us small.
	ceilingLeast = 64 << 10

	adjustEvery = 1_000_000
	// blindMax: for so long the rate stays as it is while the delay of no served peer becomes known.
	blindMax = 10_000_000

	backlogUs    = 150_000   // the host is backlogged when it needs longer to get rid of what it holds, and it is
	handsUs      = 250_000   // given what it needs so long for, at most
	handsUnknown = 128 << 10 // bytes, while the uplink is not known
	handsLeast   = 32 << 10
	blockSize    = 16 << 10
)

// Governor decides how fast we may send in all, so that whoever shares the uplink with us never notices: LEDBAT's idea
// (RFC 6817) applied to a rate. It must never pass the limit that was set, never fall below RateFloor, yield within a
// few seconds when delays rise and come back when they fall. What it goes by is how many bytes left, how much longer
// than at best round trips take, and whether the host gets rid of what it is given. The zero value lets everything
// through. It is cheap enough to be asked for every block.
type Governor struct {
	bucket   Bucket
	left     Meter
	limit    int64 // as configured; 0: none
	rate     int64 // as measured; 0: nothing was measured that says anything
	adjusted int64 // when, and
	knownAt  int64 // when a delay was last known,
	known    bool  // if ever
	looked   int64 // when the host's queue was last looked at, and
	pressed  bool  // whether it was long
	ceiling  int64 // the rate at which it last met resistance; 0: it never did
	eased    int64 // the delay that the last cut found, or what is left of it; 0: there is none
}

// SetLimit bounds the rate from now on, in bytes per second; 0 or less: by no configured limit.
func (g *Governor) SetLimit(now, limit int64) {
	g.limit = max(0, min(limit, rateMost))
	g.settle(now)
}

// Left records that n bytes were handed to the network by now.
func (g *Governor) Left(now, n int64) { g.left.Add(now, n) }

// Take reports whether n bytes may go now, and takes them if so.
func (g *Governor) Take(now, n int64) bool { return g.bucket.Take(now, n) }

// ReadyAt is the earliest moment at which Take(n) may succeed, in microseconds.
func (g *Governor) ReadyAt(now, n int64) int64 { return g.bucket.ReadyAt(now, n) }

// Uplink is the best knowledge of what may be sent, in bytes per second: what was measured or configured, whichever
// is less. 0: neither.
func (g *Governor) Uplink() int64 { return g.bucket.Limit() }

// Hands is how many bytes should at most lie in the host's hands, for all peers together: a quarter of a second
// of the uplink, or of what leaves where that is not known. What is urgent must not wait longer than that behind what is not.
func (g *Governor) Hands(now int64) int64 {
	if u := g.Uplink(); u > 0 {
		return max(handsLeast, u*handsUs/1_000_000)
	}
	return max(handsUnknown, g.left.Rate(now)*handsUs/1_000_000)
}

// Due reports whether it is time for Adjust: once a second, and at once when something may have been measured first.
func (g *Governor) Due(now int64) bool { return g.rate == 0 || now >= g.DueAt() }

// DueAt is when Adjust must be called at the latest if something is in the host's hands, in microseconds.
func (g *Governor) DueAt() int64 { return g.adjusted + adjustEvery }

// Adjust looks back at the time since the last Adjust, in which something was sent. least and latest are the queueing
// delays of the served peers that were measured in it, as Path.Delay has them, and are sorted; what most of them say counts,
// because one slow receiver says nothing of our uplink. held is how many bytes lie in the host's hands, which in some hosts
// keep what they have sent for a round trip, rtt microseconds, until it is acknowledged.
func (g *Governor) Adjust(now int64, least, latest []int64, held, rtt int64) {
	sure, measured := median(least)
	newest, _ := median(latest)
	if measured {
		g.known, g.knownAt = true, now
	}
	used := g.left.Rate(now)
	backlogged := g.backlogged(now, held, used*(backlogUs+rtt)/1_000_000)
	if g.rate == 0 {
		if !measured && !backlogged {
			return // the limit alone
		}
		g.rate = min(max(rateFirst, used), rateMost)
	}
	g.adjusted = now
	switch {
	case backlogged:
		g.ceiling = max(used, ceilingLeast)
		g.rate = min(g.rate, max(used-used/8, g.rate/2)) // what left is known by fits and starts
	case measured && (sure > Target || newest > delayFar):
		g.cut(max(sure, min(newest, delayFar)), newest, used)
	case !measured && g.known && now-g.knownAt < blindMax:
		// As it is.
	case newest < Target:
		g.grow(newest, used)
	}
	if newest <= Target {
		g.eased = 0
	}
	g.rate = max(g.rate, RateFloor)
	g.settle(now)
}

// backlogged looks once a second whether held bytes are many, and believes it the second time: what was handed over just now
// tells nothing.
func (g *Governor) backlogged(now, held, many int64) bool {
	since := now - g.looked
	if since < adjustEvery {
		return false
	}
	before := g.pressed && since < 3*adjustEvery
	g.looked, g.pressed = now, held > 0 && held >= many
	return before && g.pressed
}

// cut gives way: to a quarter at worst, which a second holds room for, as RFC 6817 section 2.4.2 halves at most once in a round
// trip. What is cut is what was used: an allowance that nobody took caused no delay. While the queue that a cut found
// is emptying, there is no other.
func (g *Governor) cut(delay, newest, used int64) {
	if newest < g.eased-g.eased/8 {
		g.eased = newest
		return
	}
	from := min(g.rate, used+used/4)
	if g.eased == 0 {
		g.ceiling = max(from, ceilingLeast)
	}
	g.eased = newest
	g.rate = from - max(from/16, from*min(delay-Target, delayFar-Target)*3/(4*(delayFar-Target)))
}

// grow raises the rate the more, the farther delay is from the target: quickly to near where it last met resistance, with
// care around there, because what a second's growth does shows a second later, and faster again beyond. But not far
// above what is used (RFC 6817's ALLOWED_INCREASE): an allowance never tried says nothing.
func (g *Governor) grow(delay, used int64) {
	gain := g.rate / 8
	near := g.ceiling * 3 / 4
	switch {
	case g.ceiling == 0:
		gain = g.rate / 2
	case g.rate < near:
		gain = min(g.rate/2, near-g.rate+g.rate/32)
	case g.rate < g.ceiling:
		gain = g.rate / 32
	case g.rate < g.ceiling*5/4:
		gain = g.rate / 16
	}
	grown := g.rate + gain*(Target-delay)/Target
	g.rate = max(g.rate, min(grown, 2*used+rateFirst, rateMost))
}

// settle applies rate and limit to the bucket. A burst is a tenth of a second's worth: what leaves at once queues at once.
func (g *Governor) settle(now int64) {
	rate := g.limit
	if g.rate > 0 {
		if g.limit > 0 {
			g.rate = min(g.rate, g.limit)
		}
		rate = g.rate
	}
	g.bucket.SetRate(now, rate, max(rate/10, blockSize))
}

// median sorts delays and returns the lower one in the middle: it exceeds a bound only if most do.
func median(delays []int64) (int64, bool) {
	for i := 1; i < len(delays); i++ {
		for j := i; j > 0 && delays[j] < delays[j-1]; j-- {
			delays[j], delays[j-1] = delays[j-1], delays[j]
		}
	}
	if len(delays) == 0 {
		return 0, false
	}
	return max(0, delays[(len(delays)-1)/2]), true
}

// The memory of a Path: RFC 6817 section 2.4.2 suggests minima of each of the last ten minutes as the base delay, and
// the least of a few samples as the current one, so that neither a changed route nor one late packet misleads.
const (
	baseMinutes    = 10
	minute         = 60_000_000
	currentSamples = 2
)

// Path is what round trips to one peer took. The zero value knows nothing.
type Path struct {
	base    [baseMinutes]int64 // the least of each minute; 0: none
	current [currentSamples]int64
	newest  int64 // number of the newest minute since time zero
	count   int   // of samples
	at      int64
}

// Measured records that a round trip took rtt microseconds by now; 0 or less says nothing and changes nothing.
func (p *Path) Measured(now, rtt int64) {
	if rtt <= 0 {
		return
	}
	p.turn(now)
	if b := &p.base[p.newest%baseMinutes]; *b == 0 || rtt < *b {
		*b = rtt
	}
	p.current[p.count%currentSamples] = rtt
	p.count++
	p.at = now
}

// Latest is how many measurements there were, and when the last came, in microseconds.
func (p *Path) Latest() (count int, at int64) { return p.count, p.at }

// RTT is the least of the last samples, in microseconds; 0: nothing is known.
func (p *Path) RTT() int64 {
	rtt := p.current[0]
	for _, c := range p.current[1:min(max(p.count, 1), currentSamples)] {
		rtt = min(rtt, c)
	}
	return rtt
}

// Delay is how much longer round trips take now than they did at best within the last minutes, in microseconds: by the
// least of the last samples, which no single late packet raises, and by the latest. False where nothing is known.
func (p *Path) Delay() (least, latest int64, known bool) {
	var base int64
	for _, b := range p.base {
		if b > 0 && (base == 0 || b < base) {
			base = b
		}
	}
	if base == 0 {
		return 0, 0, false
	}
	return p.RTT() - base, p.current[(p.count-1)%currentSamples] - base, true
}

func (p *Path) turn(now int64) {
	n := now / minute
	if n <= p.newest {
		return
	}
	if n-p.newest >= baseMinutes {
		p.base = [baseMinutes]int64{}
	} else {
		for i := p.newest + 1; i <= n; i++ {
			p.base[i%baseMinutes] = 0
		}
	}
	p.newest = n
}
