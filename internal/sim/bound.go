package sim

import (
	"math"
	"slices"
)

// What follows bounds from above the share of the delivered bytes that any policy can spare the origin. It knows the whole
// evening beforehand and looks at it from outside: who is there when, wants what by when, holds and uploads what. No engine takes
// part. Why it is a bound is written in docs/simulator.md, "The bound"; each step here may only err towards sparing more.

// guest is one viewer as the bound sees it.
type guest struct {
	from, to instant
	film     int
	// due is by when it must have each segment of its film; 0: it does not want it.
	due    []instant
	takes  int64 // how many bytes of its film it could be brought at most
	uplink int64 // media bytes per second that it can give
	serves bool  // it may and does give
	asks   bool  // it may and does take from peers
	held   []cachedBytes
}

// cachedBytes is a film that a guest holds at arrival, from a place in the file on.
type cachedBytes struct {
	film int
	from int64
}

// foresight is what the bound is drawn from. Guests must be in the order of their arrival.
type foresight struct {
	ends   [][]int64 // by film: where in the file each segment ends
	guests []guest
}

// slot is the grain in which capacity is counted. A want counts from the slot of its viewer's arrival to that of its deadline, both whole.
const slot = second

// bound returns the largest share, in [0, 1], of what is delivered that need not come from the origin; 0 where nothing is.
func (e *foresight) bound() float64 {
	var everyone, askers []int
	askersOf, serversOf := make([][]int, len(e.ends)), make([][]int, len(e.ends))
	var alone, wanted, taken int64
	for i := range e.guests {
		g := &e.guests[i]
		want := int64(0)
		for k := range g.due {
			if g.due[k] > 0 {
				want += e.bytes(g.film, k)
			}
		}
		if g.serves {
			everyone = append(everyone, i)
			serversOf[g.film] = append(serversOf[g.film], i)
			for _, c := range g.held {
				serversOf[c.film] = append(serversOf[c.film], i)
			}
		}
		if !g.asks {
			alone += want
			continue
		}
		askers = append(askers, i)
		askersOf[g.film] = append(askersOf[g.film], i)
		wanted += want
		taken += max(want, g.takes)
	}
	if taken+alone == 0 {
		return 0
	}
	origin := int64(0)
	for film := range e.ends {
		// Both are lower bounds of what the origin sends of this film.
		origin += max(e.first(film, askersOf[film], serversOf[film]), e.unmet(askersOf[film], serversOf[film]))
	}
	origin = min(max(origin, e.unmet(askers, everyone)), wanted)
	return float64(taken-origin) / float64(taken+alone)
}

// bytes is the size of a film's k-th segment, the init segment with the first.
func (e *foresight) bytes(film, k int) int64 {
	if k == 0 {
		return e.ends[film][0]
	}
	return e.ends[film][k] - e.ends[film][k-1]
}

// first is what must come from the origin because nobody within reach holds it. Those who serve fall into runs whose times
// follow on one another without a gap; nothing passes from one run to the next. The earliest deadline of a run's members for a segment
// finds it with a member who held it at arrival and has arrived by then, or else one copy has come from the origin, whichever member
// took it. Who does not serve is spared where anyone who does is there in time.
func (e *foresight) first(film int, askers, servers []int) int64 {
	type run struct {
		from, to     instant
		due, holding []instant // by segment, the earliest; at most math.MaxInt64
	}
	var runs []run
	segments := len(e.ends[film])
	never := func() []instant { return slices.Repeat([]instant{math.MaxInt64}, segments) }
	for _, i := range servers {
		g := &e.guests[i]
		if n := len(runs); n == 0 || g.from > runs[n-1].to {
			runs = append(runs, run{g.from, g.to, never(), never()})
		}
		r := &runs[len(runs)-1]
		r.to = max(r.to, g.to)
		for _, c := range g.held {
			for k := segments - 1; c.film == film && k >= 0 && e.ends[film][k] > c.from; k-- {
				r.holding[k] = min(r.holding[k], g.from)
			}
		}
		if g.film != film || !g.asks {
			continue
		}
		for k, due := range g.due {
			if due > 0 {
				r.due[k] = min(r.due[k], due)
			}
		}
	}
	sum := int64(0)
	for _, r := range runs {
		for k, due := range r.due {
			if due < math.MaxInt64 && r.holding[k] > due {
				sum += e.bytes(film, k)
			}
		}
	}
	for _, i := range askers {
		g := &e.guests[i]
		if g.serves {
			continue
		}
		// The first run that has not ended before it came.
		n, _ := slices.BinarySearchFunc(runs, g.from, func(r run, from instant) int { return int(min(1, max(-1, r.to-from))) })
		for k, due := range g.due {
			if due > 0 && (n == len(runs) || runs[n].from > due) {
				sum += e.bytes(film, k)
			}
		}
	}
	return sum
}

// unmet is how much of what the askers want the servers' uplinks, all taken together, cannot bring between each asker's
// arrival and each segment's deadline. In every slot what is due first goes first, which brings the most (Glover 1967, of
// convex bipartite matchings).
func (e *foresight) unmet(askers, servers []int) int64 {
	if len(askers) == 0 {
		return 0
	}
	begin, end := e.guests[askers[0]].from/slot, instant(0)
	for _, i := range askers {
		for _, due := range e.guests[i].due {
			end = max(end, due/slot+1)
		}
	}
	if end <= begin {
		return 0
	}
	capacity, due := make([]int64, end-begin), make([]int64, end-begin)
	for _, i := range servers {
		g := &e.guests[i]
		for s := max(g.from/slot, begin); s < end && s*slot < g.to; s++ {
			there := min(g.to, (s+1)*slot) - max(g.from, s*slot)
			capacity[s-begin] += (int64(there)*g.uplink + int64(second) - 1) / int64(second)
		}
	}
	missed, next, earliest := int64(0), 0, 0
	for s := range capacity {
		for ; next < len(askers) && int(e.guests[askers[next]].from/slot-begin) <= s; next++ {
			g := &e.guests[askers[next]]
			for k, by := range g.due {
				if by > 0 {
					due[by/slot-begin] += e.bytes(g.film, k)
				}
			}
			earliest = s
		}
		earliest = max(earliest, s)
		for earliest < len(due) && capacity[s] > 0 {
			n := min(due[earliest], capacity[s])
			due[earliest] -= n
			capacity[s] -= n
			if due[earliest] == 0 {
				earliest++
			}
		}
		missed += due[s]
	}
	return missed
}

// closed is the place of a piece where the renditions' segments lie one behind the other with nothing between them.
func (f *film) closed(piece int) int64 {
	at, sum := int64(piece)*int64(f.title.PieceLength), int64(0)
	for i := range f.renditions {
		r := &f.renditions[i]
		if at < r.end() || i == len(f.renditions)-1 {
			return sum + min(max(at-r.base, 0), r.played)
		}
		sum += r.played
	}
	return sum
}

// offloadBound is the bound of a scene that twin has played by plain HTTP: a segment is due when the twin's play head came to
// it, give or take how much worse than HTTP a viewer may fare.
func offloadBound(twin *world) float64 {
	e := &foresight{}
	allow := instant(slack.Microseconds())
	for _, f := range twin.films {
		var ends []int64 // one rendition behind the other, without what lies between them
		if f != nil {
			sum := int64(0)
			for k := range f.segments * len(f.renditions) {
				from, to := f.segment(k)
				sum += to - from
				ends = append(ends, sum)
			}
		}
		e.ends = append(e.ends, ends)
	}
	for _, d := range twin.devices {
		f := d.player.f
		if f == nil {
			continue // it never came
		}
		g := guest{from: d.arrived, to: twin.ended, film: f.number, due: slices.Clone(d.player.entered)}
		if d.gone {
			g.to = d.left
		}
		g.to += allow
		for k := range g.due {
			if g.due[k] > 0 {
				g.due[k] = min(g.due[k]+allow, g.to)
			}
		}
		piece := int64(f.title.PieceLength)
		whole := int64(0)
		for i := range f.renditions {
			r := &f.renditions[i]
			whole += min((r.played+piece-1)/piece*piece, r.size)
		}
		g.takes = min(whole, int64(float64(g.to-g.from)*float64(d.down)/float64(second)))
		full := outgoing{block: true, bytes: uint32(f.unit)}
		g.uplink = (d.up*f.unit + full.wireBytes() - 1) / full.wireBytes()
		g.asks = d.share && d.manner != silent
		g.serves = d.share && (d.manner == honest || d.manner == claimer)
		if g.serves {
			for _, c := range d.cached {
				g.held = append(g.held, cachedBytes{c.film, twin.films[c.film].closed(c.from)})
			}
		}
		e.guests = append(e.guests, g)
	}
	slices.SortStableFunc(e.guests, func(a, b guest) int { return int(a.from - b.from) })
	return e.bound()
}
