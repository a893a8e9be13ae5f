package insight

import (
	"math"
	"math/rand/v2"
	"testing"

	"essaim/internal/vod"
)

// world draws viewers of known habits. A viewer's sessions resemble one another, as one household's line does.
type world struct {
	random                *rand.Rand
	stalls, failed, start float64 // per hour; share; mean of the logarithm of start-up times in ms
}

// viewer adds all sessions of one viewer to an arm; worse raises stalls and failures by a factor, slower start-up times.
func (w *world) viewer(a *arm, worse, slower float64) {
	bucket := w.random.IntN(vod.Buckets)
	line := math.Exp(0.6*w.random.NormFloat64() - 0.18) // its mean is 1
	offset := 0.4 * w.random.NormFloat64()
	for range 1 + w.random.IntN(6) {
		q := quality{sessions: 1}
		if w.random.Float64() >= w.failed*worse {
			q.started, q.well = 1, 1
			ms := math.Exp(w.start + math.Log(slower) + offset + 0.3*w.random.NormFloat64())
			q.startupLog = int64(math.Round(math.Log(ms) * 1000))
			hours := 0.1 + 1.9*w.random.Float64()
			q.playedMs = int64(hours * 3_600_000)
			q.stalls = poisson(w.random, w.stalls*line*worse*hours)
		}
		a[bucket] = a[bucket].plus(q)
	}
}

func poisson(random *rand.Rand, mean float64) (n int64) {
	for p := random.Float64(); p > math.Exp(-mean); n++ {
		p *= random.Float64()
	}
	return n
}

// TestIntervalsHoldTheTruthNineteenTimesInTwenty draws a world whose difference is known many times over.
func TestIntervalsHoldTheTruthNineteenTimesInTwenty(t *testing.T) {
	const seed, worlds, sharers, heldOut = 11, 500, 800, 120
	t.Logf("seed %d", seed)
	w := world{random: rand.New(rand.NewPCG(seed, 0)), stalls: 0.8, failed: 0.03, start: math.Log(600)}
	const worse, slower = 1.3, 1.1
	truth := map[string]float64{"stalls_per_hour": 0.8*worse - 0.8, "startup_ms": slower, "failed_share": 0.03*worse - 0.03}
	held, naive := map[string]int{}, map[string]int{}
	for range worlds {
		var g groups
		for range sharers {
			w.viewer(&g.sharing, worse, slower)
		}
		for range heldOut {
			w.viewer(&g.holdOut, 1, 1)
		}
		for k, c := range compare(g) {
			if !c.Known {
				t.Fatalf("nothing is known of %s", c.Measure)
			}
			if c.Low <= truth[c.Measure] && truth[c.Measure] <= c.High {
				held[c.Measure]++
			}
			// Against the mistake: start-up times as if each session were a viewer of its own.
			if measures[k].ratio {
				n := float64(g.holdOut.sum().started)
				half := 1.96 * 0.5 / math.Sqrt(n)
				if math.Abs(math.Log(c.Difference)-math.Log(slower)) <= half {
					naive[c.Measure]++
				}
			}
		}
	}
	for name, n := range held {
		if share := float64(n) / worlds; share < 0.92 || share > 0.98 {
			t.Errorf("the intervals of %s hold the truth in %.1f %%", name, 100*share)
		} else {
			t.Logf("the intervals of %s hold the truth in %.1f %%", name, 100*share)
		}
	}
	if share := float64(naive["startup_ms"]) / worlds; share > 0.93 {
		t.Errorf("sessions taken for viewers would have held it in %.1f %%: the test does not tell", 100*share)
	}
}

func TestTooFewViewersAreComparedWithoutAnInterval(t *testing.T) {
	var g groups
	for b := range bucketsMin - 1 {
		g.holdOut[b] = quality{sessions: 1, started: 1, well: 1, startupLog: 6000, playedMs: 1000}
	}
	for b := range g.sharing {
		g.sharing[b] = quality{sessions: 1, started: 1, well: 1, startupLog: int64(6000 + b), playedMs: 1000, stalls: int64(b % 2)}
	}
	for _, c := range compare(g) {
		if c.Known || c.Low != 0 || c.High != 0 || c.HoldOutSessions != bucketsMin-1 {
			t.Errorf("%+v", c)
		}
	}
	for _, c := range compare(groups{}) {
		if c.Known || math.IsNaN(c.Sharing+c.HoldOut+c.Difference) {
			t.Errorf("%+v", c)
		}
	}
}

func TestStudentsQuantile(t *testing.T) {
	for freedom, want := range map[float64]float64{5: 2.5706, 10: 2.2281, 30: 2.0423, 1e6: 1.96} {
		if got := student975(freedom); math.Abs(got-want) > 0.003*want {
			t.Errorf("%v degrees: %v, want %v", freedom, got, want)
		}
	}
}

func TestBoundIsTheDesigns(t *testing.T) {
	for c, want := range map[float64]float64{0: 0, 1e-9: 0, 0.1: 0.048, 1: 0.368, 5: 0.801, 50: 0.98} {
		if got := bound(c); math.Abs(got-want) > 0.001 {
			t.Errorf("%v viewers: %v, want %v", c, got, want)
		}
	}
}
