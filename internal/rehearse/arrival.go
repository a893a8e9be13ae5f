package rehearse

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// ArrivalKind says how viewers' arrivals are spread.
type ArrivalKind string

// The kinds.
const (
	Flash   ArrivalKind = "flash"   // all within Spread, at random
	Poisson ArrivalKind = "poisson" // at random, independently of each other, Spread in all on average
	Stagger ArrivalKind = "stagger" // one every Spread
)

// Arrival says when viewers press play.
type Arrival struct {
	Kind   ArrivalKind
	Spread time.Duration
}

const spreadMax = time.Hour

// spreads are what a kind's name alone means.
var spreads = map[ArrivalKind]time.Duration{Flash: 500 * time.Millisecond, Poisson: time.Minute, Stagger: 10 * time.Second}

// UnmarshalText reads "flash", "poisson" or "stagger", with "=" and a duration if another spread than the usual one is
// meant: "stagger=10s".
func (a *Arrival) UnmarshalText(text []byte) error {
	kind, value, given := strings.Cut(string(text), "=")
	spread, ok := spreads[ArrivalKind(kind)]
	if !ok {
		return fmt.Errorf("%q is no arrival: want flash, poisson or stagger, or with a time such as stagger=10s", text)
	}
	if given {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 || d > spreadMax {
			return fmt.Errorf("%q: want a time of more than 0 and at most %s after the equals sign, such as 10s", text, spreadMax)
		}
		spread = d
	}
	*a = Arrival{ArrivalKind(kind), spread}
	return nil
}

// String is the form that UnmarshalText reads.
func (a Arrival) String() string { return string(a.Kind) + "=" + a.Spread.String() }

// Times returns when each of n viewers presses play, in order, since the first could have. The same seed gives the same
// times.
func (a Arrival) Times(n int, seed uint64) []time.Duration {
	r := rand.New(rand.NewPCG(seed, 0))
	times := make([]time.Duration, n)
	for i := range times {
		switch a.Kind {
		case Stagger:
			times[i] = time.Duration(i) * a.Spread
		case Poisson: // exponential gaps
			if i > 0 {
				gap := -math.Log(1-r.Float64()) * float64(a.Spread) / float64(n)
				times[i] = times[i-1] + time.Duration(gap)
			}
		default:
			times[i] = time.Duration(r.Int64N(int64(a.Spread)))
		}
	}
	slices.Sort(times)
	return times
}
