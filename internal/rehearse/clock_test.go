package rehearse

import (
	"slices"
	"testing"
	"time"
)

const second = time.Second

func TestArrivalReadsItsOwnForm(t *testing.T) {
	for text, want := range map[string]Arrival{
		"flash": {Flash, second / 2}, "flash=2s": {Flash, 2 * second}, "poisson": {Poisson, time.Minute},
		"poisson=5m": {Poisson, 5 * time.Minute}, "stagger": {Stagger, 10 * second}, "stagger=500ms": {Stagger, second / 2},
	} {
		var a, again Arrival
		if err := a.UnmarshalText([]byte(text)); err != nil || a != want {
			t.Errorf("%s: %v, %v", text, a, err)
		}
		if err := again.UnmarshalText([]byte(a.String())); err != nil || again != a {
			t.Errorf("%s: read back as %v, %v", a, again, err)
		}
	}
	for _, text := range []string{"", "flush", "Flash", "stagger=", "stagger=0s", "stagger=-1s", "stagger=10", "stagger=2h", "flash=1s=2s", "=1s"} {
		var a Arrival
		if err := a.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %v", text, a)
		}
	}
}

func TestArrivalsAreOfTheirKind(t *testing.T) {
	const n = 200
	flash := Arrival{Flash, 500 * time.Millisecond}.Times(n, 1)
	if last := flash[n-1]; last >= 500*time.Millisecond || last < 400*time.Millisecond {
		t.Errorf("the last of a flash came after %s", last)
	}
	for i, at := range (Arrival{Stagger, 5 * second}).Times(4, 1) {
		if at != time.Duration(i)*5*second {
			t.Errorf("viewer %d came at %s", i, at)
		}
	}
	poisson := Arrival{Poisson, time.Minute}.Times(n, 1)
	if last := poisson[n-1]; poisson[0] != 0 || last < 40*second || last > 80*second {
		t.Errorf("a minute's arrivals took from %s to %s", poisson[0], last)
	}
	for _, a := range []Arrival{{Flash, second}, {Poisson, second}} {
		if one := a.Times(n, 1); !slices.IsSorted(one) || !slices.Equal(one, a.Times(n, 1)) || slices.Equal(one, a.Times(n, 2)) {
			t.Errorf("%s: not in order, or not as the seed says", a)
		}
	}
}

func TestClockTellsWhatAViewerSuffers(t *testing.T) {
	type event struct {
		at    time.Duration
		track int // -1: only look
		end   time.Duration
	}
	for name, test := range map[string]struct {
		events           []event
		startup, pos     time.Duration
		stalls           int
		stalled          time.Duration
		finished, moving bool
	}{
		"nothing came":               {[]event{{9 * second, -1, 0}}, -1, 0, 0, 0, false, false},
		"one track is not enough":    {[]event{{second, 0, 2 * second}, {9 * second, -1, 0}}, -1, 0, 0, 0, false, false},
		"starts with both":           {[]event{{second, 0, 2 * second}, {3 * second, 1, 2 * second}, {4 * second, -1, 0}}, 3 * second, second, 0, 0, false, true},
		"runs dry and goes on":       {[]event{{0, 0, 2 * second}, {0, 1, 4 * second}, {5 * second, 0, 4 * second}, {6 * second, -1, 0}}, 0, 3 * second, 1, 3 * second, false, true},
		"still dry":                  {[]event{{0, 0, 2 * second}, {0, 1, 2 * second}, {5 * second, 0, 4 * second}, {6 * second, -1, 0}}, 0, 2 * second, 1, 4 * second, false, false},
		"looking often adds nothing": {[]event{{0, 0, 2 * second}, {0, 1, 2 * second}, {3 * second, -1, 0}, {4 * second, -1, 0}, {5 * second, -1, 0}}, 0, 2 * second, 1, 3 * second, false, false},
		"just in time is no stall":   {[]event{{0, 0, 2 * second}, {0, 1, 4 * second}, {2 * second, 0, 4 * second}, {3 * second, -1, 0}}, 0, 3 * second, 0, 0, false, true},
		"the end is no stall":        {[]event{{0, 0, 20 * second}, {0, 1, 30 * second}, {15 * second, -1, 0}}, 0, 10 * second, 0, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t0 := time.Unix(1, 0)
			c := newClock(10*second, 2, t0)
			for _, e := range test.events {
				if e.track < 0 {
					c.advance(t0.Add(e.at))
				} else {
					c.delivered(e.track, e.end, t0.Add(e.at))
				}
			}
			if c.startup != test.startup || c.pos != test.pos || c.stalls != test.stalls || c.stalled != test.stalled ||
				c.finished() != test.finished || c.runs() != test.moving {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestStoppedClockStandsStill(t *testing.T) {
	t0 := time.Unix(1, 0)
	c := newClock(10*second, 1, t0)
	c.delivered(0, 2*second, t0.Add(second))
	c.stop(t0.Add(2 * second))
	c.delivered(0, 4*second, t0.Add(3*second))
	c.advance(t0.Add(time.Hour))
	if c.pos != second || c.stalls != 0 || c.buffered() != 2*second {
		t.Errorf("%+v", c)
	}
}
