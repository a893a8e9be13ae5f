package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// line is a household's uplink with a deep queue, as modems have: what we and others send waits in one line.
type line struct {
	rate   int64 // bytes per second
	others int64 // bytes per second that somebody else in the house sends
	queue  int64 // bytes
	path   Path
	now    int64
	sent   int64
	worst  int64 // the longest wait in the queue since it was last set to 0, in microseconds
}

const (
	step = 10_000
	base = 40_000 // of a round trip
)

// run sends as fast as g allows for so many seconds, with a round trip measured every second.
func (l *line) run(g *Governor, seconds int64) {
	for end := l.now + seconds*1_000_000; l.now < end; l.now += step {
		sent := int64(0)
		for g.Take(l.now, blockSize) && sent < l.rate/10 {
			sent += blockSize
		}
		if sent > 0 {
			g.Left(l.now, sent)
		}
		l.sent += sent
		l.queue = max(0, l.queue+sent+(l.others-l.rate)*step/1_000_000)
		wait := l.queue * 1_000_000 / l.rate
		l.worst = max(l.worst, wait)
		if g.Due(l.now) {
			l.path.Measured(l.now, base+wait)
			least, latest, ok := l.path.Delay()
			if !ok {
				panic("no delay after a measurement")
			}
			g.Adjust(l.now, []int64{least}, []int64{latest}, 0, base)
		}
	}
}

// governed is a governor that has seen a first round trip, before there is a queue.
func governed() *Governor {
	g := new(Governor)
	g.Adjust(0, []int64{0}, []int64{0}, 0, base)
	return g
}

// mean is what was sent per second in a run of so many seconds.
func (l *line) mean(g *Governor, seconds int64) int64 {
	before := l.sent
	l.run(g, seconds)
	return (l.sent - before) / seconds
}

func TestGovernorFillsAnIdleLineWithoutDelayingIt(t *testing.T) {
	for _, rate := range []int64{125_000, 500_000, 5_000_000} {
		g := governed()
		l := &line{rate: rate}
		l.run(g, 60)
		l.worst = 0
		mean := l.mean(g, 60)
		if mean < rate*6/10 || l.worst > 3*Target+blockSize*1_000_000/rate {
			t.Errorf("line of %d: %d bytes per second, the longest wait %d ms", rate, mean, l.worst/1000)
		}
	}
}

func TestGovernorYieldsWhenDelayRises(t *testing.T) {
	g := governed()
	l := &line{rate: 500_000}
	l.run(g, 60)
	l.others = 400_000 // a call begins
	l.run(g, 15)
	l.worst = 0
	mean := l.mean(g, 60)
	if mean > 110_000 {
		t.Errorf("%d bytes per second beside a call that leaves 100000", mean)
	}
	if l.worst > 3*Target {
		t.Errorf("the call waits %d ms", l.worst/1000)
	}
	if mean < 30_000 {
		t.Errorf("%d bytes per second, of the 100000 that the call leaves", mean)
	}
}

func TestGovernorReturnsWhenTheCallEnds(t *testing.T) {
	g := governed()
	l := &line{rate: 500_000, others: 450_000}
	l.run(g, 60)
	if u := g.Uplink(); u > 100_000 {
		t.Fatalf("%d bytes per second during the call", u)
	}
	l.others = 0
	l.run(g, 30)
	if mean := l.mean(g, 10); mean < 350_000 {
		t.Errorf("%d bytes per second, half a minute after the call ended", mean)
	}
}

func TestGovernorNeverPassesTheLimit(t *testing.T) {
	var g Governor
	g.SetLimit(0, 100_000)
	l := &line{rate: 5_000_000}
	if mean := l.mean(&g, 60); mean > 101_000 || mean < 90_000 {
		t.Errorf("%d bytes per second under a limit of 100000", mean)
	}
	g.SetLimit(l.now, 20_000)
	if mean := l.mean(&g, 60); mean > 20_500 {
		t.Errorf("%d bytes per second under a limit of 20000", mean)
	}
}

func TestGovernorNeverFallsBelowTheFloor(t *testing.T) {
	g := governed()
	l := &line{rate: 125_000, others: 124_000}
	l.run(g, 60)
	if mean := l.mean(g, 60); mean < RateFloor*9/10 || g.Uplink() < RateFloor {
		t.Errorf("%d bytes per second; %d allowed", mean, g.Uplink())
	}
}

func TestGovernorReliesOnTheLimitAloneWhereNothingIsMeasured(t *testing.T) {
	var g Governor
	for now := int64(0); now < 60_000_000; now += 1_000_000 {
		g.Left(now, 1_000)
		g.Adjust(now, nil, nil, 0, 0)
	}
	if g.Uplink() != 0 || !g.Take(60_000_000, 1<<40) {
		t.Errorf("bound to %d without a limit", g.Uplink())
	}
	g.SetLimit(60_000_000, 200_000)
	g.Adjust(61_000_000, nil, nil, 0, 0)
	if g.Uplink() != 200_000 {
		t.Errorf("bound to %d under a limit of 200000", g.Uplink())
	}
}

// trace plays a script of looks, one a second: bytes that left, delays in milliseconds, and whether the host still held 300,000.
func trace(g *Governor, from int64, looks []string) string {
	var b strings.Builder
	for i, look := range looks {
		now := from + int64(i+1)*1_000_000
		var delays []int64
		var left int64
		var held int64
		for j, w := range strings.Fields(look) {
			switch {
			case w == "backlog":
				held = 300_000
			case j == 0:
				_, _ = fmt.Sscan(w, &left)
			default:
				var ms int64
				_, _ = fmt.Sscan(w, &ms)
				delays = append(delays, ms*1000)
			}
		}
		for k := range int64(4) { // spread, as it leaves
			g.Left(now-1_000_000+k*250_000, left/4)
		}
		g.Adjust(now, delays, slices.Clone(delays), held, base)
		fmt.Fprintf(&b, "%s -> %d\n", look, g.Uplink())
	}
	return b.String()
}

func TestGovernorTrace(t *testing.T) {
	var g Governor
	got := trace(&g, 0, []string{
		"400000", "400000 0", "400000 30", "400000 60", "400000 90", "300000 200", "100000 200",
		"100000", "100000 0 0 500", "100000 0 500 500", "100000 0", "100000 0", "100000 0", "100000 0", "100000 0", "0 0",
	})
	want := `400000 -> 0
400000 0 -> 525000
400000 30 -> 656250
400000 60 -> 656250
400000 90 -> 355469
300000 200 -> 88868
100000 200 -> 22217
100000 -> 22217
100000 0 0 500 -> 33325
100000 0 500 500 -> 16384
100000 0 -> 24576
100000 0 -> 36864
100000 0 -> 50304
100000 0 -> 51876
100000 0 -> 53497
0 0 -> 55168
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOneSlowReceiverDoesNotSlowTheOthers(t *testing.T) {
	var g Governor
	trace(&g, 0, []string{"400000 0 0 0"})
	before := g.Uplink()
	trace(&g, 1_000_000, []string{"400000 0 5 900", "400000 0 900 5", "400000 900 5 5"})
	if g.Uplink() < before {
		t.Errorf("%d fell to %d because one in three is late", before, g.Uplink())
	}
	trace(&g, 4_000_000, []string{"400000 0 900 900"})
	if g.Uplink() >= before {
		t.Errorf("%d did not fall though two in three are late", g.Uplink())
	}
}

func TestGovernorStandsStillWhileItSeesNothing(t *testing.T) {
	var g Governor
	trace(&g, 0, []string{"400000 100", "100000 100", "50000 100"})
	before := g.Uplink()
	trace(&g, 3_000_000, []string{"50000", "50000", "50000", "50000"})
	if g.Uplink() != before {
		t.Errorf("%d became %d unseen", before, g.Uplink())
	}
	looks := make([]string, 20)
	for i := range looks {
		looks[i] = "50000"
	}
	trace(&g, 7_000_000, looks)
	if g.Uplink() <= before {
		t.Error("it stands still for ever where round trips are not measured any more")
	}
}

func TestGovernorFollowsTheHostsQueue(t *testing.T) {
	var g Governor
	trace(&g, 0, []string{"800000", "400000 backlog", "400000 backlog", "400000 backlog"})
	if u := g.Uplink(); u < 300_000 || u > 400_000 {
		t.Errorf("%d bytes per second though the host gets rid of 400000", u)
	}
	if h := g.Hands(4_000_000); h < 300_000/4 || h > 400_000/2 {
		t.Errorf("%d bytes in its hands, which is not a quarter to a half of a second", h)
	}
}

func TestChangingTheRateGivesNothingAway(t *testing.T) {
	var b Bucket
	b.SetRate(0, 100_000, 50_000)
	sent := int64(0)
	for now := int64(0); now < 10_000_000; now += 10_000 {
		b.SetRate(now, 100_000+now%20_000, 50_000)
		for b.Take(now, 1_000) {
			sent += 1_000
		}
	}
	if sent > 1_160_000 {
		t.Errorf("%d bytes in ten seconds at about 105000 a second", sent)
	}
}

func TestPathKnowsDelayAboveTheBestOfTheLastMinutes(t *testing.T) {
	var p Path
	if _, _, ok := p.Delay(); ok {
		t.Error("it knows a delay before any measurement")
	}
	now := int64(5_000_000)
	p.Measured(now, 0)
	if n, _ := p.Latest(); n > 0 {
		t.Error("an unknown round trip counts as one")
	}
	p.Measured(now, 30_000)
	if d, _, ok := p.Delay(); !ok || d != 0 {
		t.Errorf("delay %d after the first", d)
	}
	p.Measured(now+1_000_000, 90_000)
	if d, _, _ := p.Delay(); d != 0 {
		t.Errorf("delay %d after one late answer", d)
	}
	p.Measured(now+2_000_000, 100_000)
	if d, _, _ := p.Delay(); d != 60_000 {
		t.Errorf("delay %d after two late answers, want 60000", d)
	}
	// The route has changed for good: within ten minutes that is what is normal.
	for s := int64(3); s < 12*60; s++ {
		p.Measured(now+s*1_000_000, 100_000)
	}
	if d, _, _ := p.Delay(); d != 0 {
		t.Errorf("delay %d ten minutes after the route changed", d)
	}
}

func TestPathRemembersItsBestThroughALongCall(t *testing.T) {
	var p Path
	p.Measured(1_000_000, 30_000)
	for s := int64(2); s < 9*60; s++ {
		p.Measured(s*1_000_000, 150_000)
	}
	if d, _, _ := p.Delay(); d != 120_000 {
		t.Errorf("delay %d after nine minutes of it, want 120000", d)
	}
}
