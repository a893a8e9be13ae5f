package fetcher

import "testing"

const ms = 1_000

func TestPaceKnowsNothingBeforeBytesHaveCome(t *testing.T) {
	var p Pace
	p.First(200*ms, 0)
	if r := p.Rate(300*ms, 0); r != 0 {
		t.Errorf("%d bytes per second out of the first bytes alone", r)
	}
	if l := p.LatencyMs(); l != 200 {
		t.Errorf("latency of %d ms, want 200", l)
	}
}

func TestPaceLeavesOutTheWaitForTheFirstByte(t *testing.T) {
	var p Pace
	p.First(500*ms, 0)
	for k := int64(1); k <= 10; k++ {
		p.Got((500+k*100)*ms, (400+k*100)*ms, 10_000)
	}
	if r := p.Rate(1_500*ms, 0); r < 99_000 || r > 101_000 {
		t.Errorf("%d bytes per second, want 100000", r)
	}
	// Ten idle seconds, then a fetch that has only begun: the source is not slow for that.
	if r := p.Rate(11_600*ms, 11_500*ms); r < 99_000 {
		t.Errorf("%d bytes per second after a pause", r)
	}
}

func TestPaceOfASourceThatFallsSilentFalls(t *testing.T) {
	var p Pace
	p.First(0, 0)
	p.Got(1_000*ms, 0, 100_000)
	if r := p.Rate(5_000*ms, 1_000*ms); r > 25_000 {
		t.Errorf("%d bytes per second after four seconds of silence", r)
	}
}

func TestPaceCountsTimeOnceForFetchesSideBySide(t *testing.T) {
	var p Pace
	for k := int64(1); k <= 10; k++ {
		p.Got(k*100*ms, (k-1)*100*ms, 5_000)
		p.Got(k*100*ms, (k-1)*100*ms, 5_000)
	}
	if r := p.Rate(1_000*ms, 0); r < 95_000 || r > 105_000 {
		t.Errorf("%d bytes per second, want 100000", r)
	}
}

func TestLeastLatencyFallsAtOnceAndRisesSlowly(t *testing.T) {
	var p Pace
	if got := p.Least(); got != 0 {
		t.Errorf("%d µs though nothing has come", got)
	}
	now := int64(0)
	for _, c := range []struct{ took, want int64 }{
		{240_000, 240_000}, // with the connection's own round trips
		{80_000, 80_000},
		{240_000, 90_000},
		{80_000, 80_000},
	} {
		now += 1_000_000
		p.First(now, now-c.took)
		if got := p.Least(); got != c.want {
			t.Errorf("after %d µs: %d, want %d", c.took, got, c.want)
		}
	}
}
