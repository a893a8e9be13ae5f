package insight

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"essaim/internal/vod"
)

// The guard switches peers off by itself where viewers who may share fare worse than those who were held out, beyond chance.
// It looks every minute, so an ordinary test would sooner or later take chance for harm. Its bound is one that holds at all
// times together: the number of sessions is divided into epochs in each of which it grows by a quarter; the k-th has
// 6/(π²k²) of the chance of error that may be spent in all, so that the sum is no more than that; and within an epoch the
// bound is raised as the reflection principle asks for a sum that may cross at any time: by the root of the growth, with
// half of the chance. (This is stitching as in Howard, Ramdas, McAuliffe and Sekhon 2021, with a normal sum.) So looking
// more often, or again after a restart, costs nothing, and there is no state to keep.
const (
	guardEvery = time.Minute
	// tolerance is how much worse is not worth the switch: a twentieth, as for the time to the first frame.
	tolerance = 0.05
	// growth of an epoch, and the number of sessions with which the first begins.
	growth     = 1.25
	epochFirst = 50
	// eventsMin is below how many expected events of a kind in the smaller group nothing is said of that kind: where they
	// are fewer, their sum is not normal.
	eventsMin = 20
)

// watchFor is a time since whose beginning sessions are compared, and the chance of a false alarm in each such time, over all
// measures: in all, one in about twenty years.
type watchFor struct {
	name   string
	since  func(now time.Time) time.Time
	chance float64
}

var watches = []watchFor{
	{"today", func(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour) }, 1e-4},
	{"this month", func(now time.Time) time.Time {
		y, m, _ := now.UTC().Date()
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	}, 1e-3},
}

// harm is what the guard found.
type harm struct {
	measure            string
	sharing, holdOut   float64
	sessions, heldBack int64
}

// harmIn compares groups, and returns what is worse for those who share beyond chance, nil for nothing. chance is that of a
// false alarm, over all measures and however often the same growing groups are looked at.
func harmIn(g *groups, chance float64) *harm {
	sharing, holdOut := g.sharing.sum(), g.holdOut.sum()
	if sharing.sessions <= 0 || holdOut.sessions <= 0 {
		return nil
	}
	n := float64(sharing.sessions) * float64(holdOut.sessions) / float64(sharing.sessions+holdOut.sessions)
	if n < epochFirst {
		return nil
	}
	k := 1 + math.Floor(math.Log(n/epochFirst)/math.Log(growth))
	spend := chance / float64(len(measures)) * 6 / (math.Pi * math.Pi * k * k)
	for i := range measures {
		m := &measures[i]
		a, b := estimateOf(&g.sharing, m), estimateOf(&g.holdOut, m)
		buckets := min(a.buckets, b.buckets)
		if buckets < bucketsMin {
			continue
		}
		// Student's tails are heavier than the normal ones, by the first terms of Cornish's and Fisher's expansion.
		z := normalQuantile(spend / 2)
		f := float64(buckets - 1)
		z += (z*z*z+z)/(4*f) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*f*f)
		z *= math.Sqrt(growth)
		d, variance := distance(g, m, &a, &b)
		if variance > 0 && d > z*math.Sqrt(variance) {
			h := &harm{m.name, a.value, b.value, sharing.sessions, holdOut.sessions}
			if m.ratio {
				h.sharing, h.holdOut = math.Exp(a.value), math.Exp(b.value)
			}
			return h
		}
	}
	return nil
}

// distance is how much worse than tolerable the sharing group is, and the variance of that; 0 where it cannot be told.
func distance(g *groups, m *measure, a, b *estimate) (d, variance float64) {
	if m.ratio {
		return a.value - b.value - math.Log1p(tolerance), a.variance + b.variance
	}
	// Counts: their variance is that of the boundary itself, at which the groups differ by the tolerance, taken from both.
	// The hold-out group alone may have seen none, whose variance would be none.
	const worse = 1 + tolerance
	rate := (a.value*a.under + b.value*b.under) / (worse*a.under + b.under)
	if rate*min(a.under*worse, b.under) < eventsMin {
		return 0, 0
	}
	dispersion := (residuals(&g.sharing, m, rate*worse)/worse + residuals(&g.holdOut, m, rate)) / (a.under + b.under)
	return a.value - worse*b.value, worse*dispersion/a.under + worse*worse*dispersion/b.under
}

// normalQuantile is what a standard normal variable exceeds with that chance.
func normalQuantile(chance float64) float64 { return math.Sqrt2 * math.Erfinv(1-2*chance) }

// why says it to the operator.
func (h *harm) why(when string) string {
	what := map[string]string{
		"stalls_per_hour": "stall more often: %.2f times an hour against %.2f",
		"startup_ms":      "wait longer for the first picture: %.0f ms against %.0f ms",
		"failed_share":    "fail to play more often: %.4f of their sessions against %.4f",
	}[h.measure]
	return fmt.Sprintf("switched off by itself: viewers who share "+what+" of those held out, in %d and %d sessions of %s, which is beyond chance",
		h.sharing, h.holdOut, h.sessions, h.heldBack, when)
}

// errNoGuard is why the guard changes nothing.
var errNoGuard = errors.New("the guard is off, or peers are")

// Guard looks whether viewers who share fare worse, and switches peers off if they do; then it returns the new version of the
// policy, else nil. After it has done so, sessions of that day no longer count: who switches peers on again is believed to
// have mended something.
func (i *Insight) Guard(ctx context.Context) (*vod.PolicyVersion, error) {
	policy, err := i.Policy(ctx)
	if err != nil || !policy.Policy.P2P || !policy.Policy.AutoOff {
		return nil, err
	}
	now := i.c.Clock()
	after, err := i.lastAlarm(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range watches {
		from := max(floor(w.since(now), "day"), after)
		g, err := readQuality(ctx, i.c.Store.Reader(), from, floor(now, "day")+span("day").length())
		if err != nil {
			return nil, fmt.Errorf("look how viewers fare: %w", err)
		}
		h := harmIn(&g, w.chance)
		if h == nil {
			continue
		}
		v, err := i.ChangePolicy(ctx, vod.ActorService, h.why(w.name), func(p *vod.OperatorPolicy) error {
			if !p.P2P || !p.AutoOff {
				return errNoGuard
			}
			p.P2P = false
			return nil
		})
		if errors.Is(err, errNoGuard) {
			return nil, nil
		}
		return &v, err
	}
	return nil, nil
}

// lastAlarm is the end of the day on which the guard last switched peers off, 0 for never.
func (i *Insight) lastAlarm(ctx context.Context) (after int64, err error) {
	err = i.c.Store.Reader().QueryRowContext(ctx, `SELECT COALESCE(MAX(at_ms), -1) FROM policy_versions WHERE who = $1`, vod.ActorService).Scan(&after)
	if err != nil {
		return 0, fmt.Errorf("look for the last alarm: %w", err)
	}
	if after < 0 {
		return 0, nil
	}
	return floorMs(after, "day") + span("day").length(), nil
}
