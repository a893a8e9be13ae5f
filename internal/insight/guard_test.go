package insight

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"essaim/internal/vod"
)

// evenings draws viewers minute after minute, and says after how many minutes an alarm came; 0 for none.
func evenings(w *world, minutes, sharers int, worse, slower float64, alarm func(*groups) bool) int {
	var g groups
	for minute := 1; minute <= minutes; minute++ {
		for range sharers {
			w.viewer(&g.sharing, worse, slower)
		}
		if w.random.IntN(3) == 0 {
			w.viewer(&g.holdOut, 1, 1)
		}
		if alarm(&g) {
			return minute
		}
	}
	return 0
}

// TestGuardIsNotMisledByLookingEveryMinute draws days on which sharing does no harm, and looks every minute of them. An
// ordinary test would raise an alarm on many of them; the guard may on one in a thousand here.
func TestGuardIsNotMisledByLookingEveryMinute(t *testing.T) {
	const days, minutes, chance = 40, 300, 1e-3
	for name, habits := range map[string]world{
		"ordinary":    {stalls: 0.8, failed: 0.03, start: math.Log(600)},
		"rare events": {stalls: 0.02, failed: 0.002, start: math.Log(600)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alarms, ordinary := 0, 0
			for seed := range uint64(days) {
				w := habits
				w.random = rand.New(rand.NewPCG(seed, 3))
				misled := false
				if evenings(&w, minutes, 3, 1, 1, func(g *groups) bool {
					for _, c := range compare(*g) {
						misled = misled || c.Known && (c.Low > 0 && c.Measure != "startup_ms" || c.Low > 1)
					}
					return harmIn(g, chance) != nil
				}) > 0 {
					t.Logf("seed %d: an alarm", seed)
					alarms++
				}
				if misled {
					ordinary++
				}
			}
			t.Logf("%d days of %d looks, seeds 0 to %d: %d alarms; a 95 %% interval at each look would have raised %d", days, minutes, days-1, alarms, ordinary)
			if alarms > 0 {
				t.Errorf("%d alarms in %d days without harm", alarms, days)
			}
			if ordinary < days/10 {
				t.Errorf("an ordinary test is misled on %d days: these days prove nothing", ordinary)
			}
		})
	}
}

func TestGuardFindsHarm(t *testing.T) {
	for name, h := range map[string]struct{ worse, slower float64 }{
		"stalls and failures doubled": {2, 1},
		"starts a third slower":       {1, 1.33},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				w := world{random: rand.New(rand.NewPCG(seed, 4)), stalls: 0.8, failed: 0.03, start: math.Log(600)}
				minute := evenings(&w, 3000, 3, h.worse, h.slower, func(g *groups) bool { return harmIn(g, 1e-4) != nil })
				if minute == 0 {
					t.Errorf("seed %d: nothing is found in %d minutes", seed, 3000)
				} else {
					t.Logf("seed %d: found after %d viewers, about %d of them held out", seed, minute*10/3, minute/3)
				}
			}
		})
	}
}

func TestGuardSwitchesPeersOffAndSaysWhy(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	look := func() *vod.PolicyVersion {
		t.Helper()
		v, err := b.room.Guard(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	harmful := func() {
		random := rand.New(rand.NewPCG(1, 1))
		for k := range 1600 {
			group, stalls := vod.GroupSharing, 4+random.IntN(5)
			if k%4 == 0 {
				group, stalls = vod.GroupHoldOut, random.IntN(3)
			}
			b.room.Opened(vod.PlayOpened{Session: fmt.Sprint(b.now.Unix(), k), Title: "film", Group: group, Bucket: k / 4 % vod.Buckets, At: b.now.Add(-3600e9)})
			b.room.Reported(vod.PlayReported{Session: fmt.Sprint(b.now.Unix(), k), Title: "film", At: b.now, Report: vod.Heartbeat{StartupMs: 300 + int64(k%100), PlayedMs: 3_600_000, Stalls: stalls, StalledMs: 100}})
		}
		b.flush()
	}
	if v := look(); v != nil {
		t.Fatalf("alarm without a viewer: %+v", v)
	}
	harmful()
	if _, err := b.room.ChangePolicy(ctx, "ada", "not now", func(p *vod.OperatorPolicy) error { p.AutoOff = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if v := look(); v != nil {
		t.Fatalf("alarm of a guard that is off: %+v", v)
	}
	if _, err := b.room.ChangePolicy(ctx, "ada", "now", func(p *vod.OperatorPolicy) error { p.AutoOff = true; return nil }); err != nil {
		t.Fatal(err)
	}
	v := look()
	if v == nil || v.Policy.P2P || v.Who != vod.ActorService || !strings.Contains(v.Why, "stall more often: 5.97") || !strings.Contains(v.Why, "1200 and 400 sessions of today") {
		t.Fatalf("%+v", v)
	}
	t.Log(v.Why)
	if again := look(); again != nil {
		t.Errorf("switched off twice: %+v", again)
	}
	// Switched on again, the same sessions raise no other alarm, but those of the next day do.
	if _, err := b.room.ChangePolicy(ctx, "ada", "mended", func(p *vod.OperatorPolicy) error { p.P2P = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if v := look(); v != nil {
		t.Errorf("%+v", v)
	}
	b.now = b.now.AddDate(0, 0, 1)
	harmful()
	if v := look(); v == nil || v.Policy.P2P {
		t.Errorf("%+v", v)
	}
}

// TestOneViewersReportsMoveNoGuard has one viewer of each group report as badly as the API lets it.
func TestOneViewersReportsMoveNoGuard(t *testing.T) {
	w := world{random: rand.New(rand.NewPCG(5, 5)), stalls: 0.8, failed: 0.03, start: math.Log(600)}
	var g groups
	for range 4000 {
		w.viewer(&g.sharing, 1, 1)
	}
	for range 400 {
		w.viewer(&g.holdOut, 1, 1)
	}
	for _, n := range []int64{1_000, 1_000_000, 1_000_000_000} {
		lying := g
		lying.sharing[7] = lying.sharing[7].plus(quality{sessions: 200, started: 200, startupLog: 200 * 11_000, stalls: n, playedMs: 3_600_000})
		if h := harmIn(&lying, 1e-3); h != nil {
			t.Errorf("%d stalls of one viewer: %+v", n, h)
		}
	}
}
