package native

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestWaitsForALostTrackerDoubleFromFifteenSecondsToTwoMinutes(t *testing.T) {
	for n, want := range []time.Duration{15, 30, 60, 120, 120, 120} {
		var below int64
		if d := TrackerRetry(n, func(b int64) int64 { below = b; return b - 1 }); d != want*time.Second {
			t.Errorf("try %d: at most %v, want %v s", n, d, want)
		}
		if d := TrackerRetry(n, func(int64) int64 { return 0 }); d != want*time.Second/15 {
			t.Errorf("try %d: at least %v", n, d)
		}
		if below != int64(14*want*time.Second/15)+1 {
			t.Errorf("try %d: drawn from %d", n, below)
		}
	}
	if d := TrackerRetry(1_000_000, func(b int64) int64 { return b - 1 }); d != 2*time.Minute {
		t.Errorf("after a long time: %v", d)
	}
}

// TestCrowdComesBackSoonAndNotAtOnce is the rule for a crowd of 18,000 that lost its tracker at one moment, for as long as the
// tracker is away. A try while it is away costs nothing but the wait.
func TestCrowdComesBackSoonAndNotAtOnce(t *testing.T) {
	const crowd = 18_000
	for _, away := range []time.Duration{0, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute} {
		t.Run(fmt.Sprint("away for ", away), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var back []time.Duration // since the tracker returned
			perSecond := map[int]int{}
			for range crowd {
				at := time.Duration(0)
				for n := 0; ; n++ {
					at += TrackerRetry(n, rng.Int64N)
					perSecond[int(at/time.Second)]++
					if at >= away {
						break
					}
				}
				back = append(back, at-away)
			}
			slices.Sort(back)
			most := 0
			for _, n := range perSecond {
				most = max(most, n)
			}
			t.Logf("half are back after %.1f s, 95 %% after %.1f s, all after %.1f s; at most %d tries in a second",
				back[crowd/2].Seconds(), back[crowd*95/100].Seconds(), back[crowd-1].Seconds(), most)
			// Evenly over fourteen seconds would be 1,286; who tries again while it is away comes on top.
			if most > crowd/8 {
				t.Errorf("%d tries in one second", most)
			}
			if away > 5*time.Second {
				return // who was away for long is not rushed
			}
			if p95 := back[crowd*95/100]; p95 > 30*time.Second {
				t.Errorf("95 %% are back after %v", p95)
			}
			if all := back[crowd-1]; all > 60*time.Second {
				t.Errorf("the last is back after %v", all)
			}
		})
	}
}
