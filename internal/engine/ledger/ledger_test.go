package ledger

import "testing"

func TestMeterMeasuresASteadyRate(t *testing.T) {
	var m Meter
	for ms := int64(0); ms < 5000; ms += 10 {
		m.Add(ms*1000, 1000) // 100,000 bytes per second
	}
	if r := m.Rate(4_999_000); r < 95_000 || r > 105_000 {
		t.Errorf("rate %d, want about 100000", r)
	}
	if m.Total() != 500_000 {
		t.Errorf("total %d", m.Total())
	}
}

func TestMeterForgetsAfterTwoSecondsOfSilence(t *testing.T) {
	var m Meter
	m.Add(1_000_000, 1<<20)
	if r := m.Rate(4_000_000); r != 0 {
		t.Errorf("rate %d after three silent seconds", r)
	}
}

func TestYoungMeterIsNotTakenForASlowOne(t *testing.T) {
	var m Meter
	m.Add(10_000_000, 25_000)
	if r := m.Rate(10_100_000); r != 100_000 {
		t.Errorf("rate %d after 25000 bytes in the first quarter of a second, want 100000", r)
	}
}

func TestBucketHoldsItsRateOverTime(t *testing.T) {
	var b Bucket
	b.SetRate(0, 100_000, 32<<10)
	sent := int64(0)
	for us := int64(0); us < 10_000_000; us += 1_000 {
		for b.Take(us, 16<<10) {
			sent += 16 << 10
		}
	}
	if sent < 1_000_000-16<<10 || sent > 1_000_000+64<<10 {
		t.Errorf("%d bytes in ten seconds at 100000 bytes per second", sent)
	}
}

func TestBucketSaysWhenItIsReady(t *testing.T) {
	var b Bucket
	b.SetRate(0, 1_000, 16<<10)
	for b.Take(0, 16<<10) {
	}
	at := b.ReadyAt(0, 16<<10)
	if b.Take(at-1_000_000, 16<<10) {
		t.Error("ready a second before it said")
	}
	if !b.Take(at, 16<<10) {
		t.Error("not ready when it said")
	}
}

func TestZeroBucketLetsEverythingThrough(t *testing.T) {
	var b Bucket
	if !b.Take(0, 1<<40) || b.ReadyAt(5, 1<<40) != 5 {
		t.Error("the zero bucket holds something back")
	}
}
