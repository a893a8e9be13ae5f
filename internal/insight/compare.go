package insight

import (
	"context"
	"math"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// Viewers are dealt into groups, not sessions, and one viewer's sessions resemble one another: the same line, the same
// machine. So the unit of which the variance is taken is a bucket of viewers, not a session: each group's figure is a ratio
// of sums over its buckets (stalls over hours; logarithms of start-up times over starts; failed over begun), and its
// variance is that of a ratio estimator, linearised, over the buckets. The difference of two independent groups is about
// normal; with few buckets its tails are Student's, with Welch's degrees of freedom.

// measure is one of the things that are compared.
type measure struct {
	name string
	// parts are what is divided by what, of one bucket.
	parts func(q quality) (over, under float64)
	// events is how many things happened that the figure is made of.
	events func(q quality) float64
	ratio  bool // groups are compared by the ratio of what exp makes of their figures
}

var measures = []measure{
	{
		name:   "stalls_per_hour",
		parts:  func(q quality) (float64, float64) { return float64(q.stalls), float64(q.playedMs) / 3_600_000 },
		events: func(q quality) float64 { return float64(q.stalls) },
	},
	{
		name:   "startup_ms",
		parts:  func(q quality) (float64, float64) { return float64(q.startupLog) / 1000, float64(q.started) },
		events: func(q quality) float64 { return float64(q.started) },
		ratio:  true,
	},
	{
		name:   "failed_share",
		parts:  func(q quality) (float64, float64) { return float64(q.sessions - q.well), float64(q.sessions) },
		events: func(q quality) float64 { return float64(q.sessions - q.well) },
	},
}

// arm is a group's buckets.
type arm [vod.Buckets]quality

func (a *arm) sum() (s quality) {
	for _, q := range a {
		s = s.plus(q)
	}
	return s
}

// groups are the two that are compared.
type groups struct{ sharing, holdOut arm }

// readQuality reads the buckets of the sessions that began in some time.
func readQuality(ctx context.Context, tx sqlstore.Querier, from, to int64) (g groups, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT grp, bucket, SUM(sessions), SUM(started), SUM(well), SUM(startup_ms), SUM(startup_log), SUM(played_ms),
		SUM(stalls), SUM(stalled_ms) FROM quality WHERE day_ms >= $1 AND day_ms < $2 AND grp <> 'none' GROUP BY grp, bucket`, from, to)
	if err != nil {
		return g, err
	}
	defer rows.Close()
	for rows.Next() {
		var group vod.Group
		var bucket int
		var q quality
		if err := rows.Scan(&group, &bucket, &q.sessions, &q.started, &q.well, &q.startupMs, &q.startupLog, &q.playedMs, &q.stalls, &q.stalledMs); err != nil {
			return g, err
		}
		if bucket < 0 || bucket >= vod.Buckets {
			continue
		}
		if group == vod.GroupSharing {
			g.sharing[bucket] = q
		} else {
			g.holdOut[bucket] = q
		}
	}
	return g, rows.Err()
}

// estimate is a ratio of sums over buckets.
type estimate struct {
	value, variance float64
	buckets         int     // that hold anything
	under           float64 // the denominator's sum
}

// estimateOf is the ratio of an arm, with the variance of the linearised ratio estimator over its buckets.
func estimateOf(a *arm, m *measure) (e estimate) {
	var over, under float64
	for _, q := range a {
		y, x := m.parts(q)
		over, under = over+y, under+x
		if x > 0 {
			e.buckets++
		}
	}
	if under <= 0 {
		return e
	}
	e.value, e.under = over/under, under
	if e.buckets > 1 {
		e.variance = residuals(a, m, e.value) / (under * under) * float64(e.buckets) / float64(e.buckets-1)
	}
	return e
}

// residuals is the sum of the squared distances of an arm's buckets from a ratio.
func residuals(a *arm, m *measure, ratio float64) (sum float64) {
	for _, q := range a {
		y, x := m.parts(q)
		d := y - ratio*x
		sum += d * d
	}
	return sum
}

// bucketsMin is below how many filled buckets no interval is given.
const bucketsMin = 8

// compare makes the comparisons of a report, each with the 95 % confidence interval of its difference.
func compare(g groups) []vod.Comparison {
	list := make([]vod.Comparison, 0, len(measures))
	sharing, holdOut := g.sharing.sum(), g.holdOut.sum()
	for i := range measures {
		m := &measures[i]
		a, b := estimateOf(&g.sharing, m), estimateOf(&g.holdOut, m)
		c := vod.Comparison{
			Measure: m.name, Sharing: a.value, HoldOut: b.value, SharingSessions: sharing.sessions, HoldOutSessions: holdOut.sessions,
		}
		v := a.variance + b.variance
		if c.Known = a.buckets >= bucketsMin && b.buckets >= bucketsMin && v > 0; c.Known {
			freedom := v * v / (a.variance*a.variance/float64(a.buckets-1) + b.variance*b.variance/float64(b.buckets-1))
			half := student975(freedom) * math.Sqrt(v)
			c.Difference = a.value - b.value
			c.Low, c.High = c.Difference-half, c.Difference+half
			if m.ratio {
				c.Difference, c.Low, c.High = math.Exp(c.Difference), math.Exp(c.Low), math.Exp(c.High)
			}
		}
		if m.ratio {
			c.Sharing, c.HoldOut = whole(a, math.Exp(a.value)), whole(b, math.Exp(b.value))
		}
		list = append(list, c)
	}
	return list
}

// whole is v where there is anything that it was made of.
func whole(e estimate, v float64) float64 {
	if e.under > 0 {
		return v
	}
	return 0
}

// student975 is the 97.5 % quantile of Student's distribution, by the expansion of Cornish and Fisher (Abramowitz and
// Stegun 26.7.5): within 0.1 % from 5 degrees of freedom on.
func student975(freedom float64) float64 {
	const z = 1.959963984540054
	n := max(freedom, 3)
	return z + (z*z*z+z)/(4*n) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*n*n) +
		(3*math.Pow(z, 7)+19*math.Pow(z, 5)+17*z*z*z-15*z)/(384*n*n*n)
}
