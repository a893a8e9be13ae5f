package keeper

import (
	"math"
	"testing"
)

func TestWhatManyHoldAndFewWantGoesFirst(t *testing.T) {
	const day = 24 * 3600
	for _, c := range []struct {
		name       string
		gone, kept Item
	}{
		{"as many want both", Item{Want: 10 * One, Copies: 9 * One}, Item{Want: 10 * One, Copies: One}},
		{"as many hold both", Item{Want: One, Copies: 5 * One}, Item{Want: 9 * One, Copies: 5 * One}},
		{"nobody wants either", Item{Copies: 3 * One}, Item{}},
		{"watched longer ago", Item{Want: 5 * One, Idle: 9 * day}, Item{Want: 5 * One, Idle: 8 * day}},
		{"an hour longer ago", Item{Want: 5 * One, Idle: 2 * 3600}, Item{Want: 5 * One, Idle: 3600}},
		{"long ago, and nobody wants it", Item{Idle: 300 * day}, Item{Idle: 2 * day}},
		{"half a copy more", Item{Want: One, Copies: One / 2}, Item{Want: One}},
		{"of long ago, though more wanted it then", Item{Want: 8 * One, Idle: 30 * day}, Item{Want: One}},
	} {
		if g, k := c.gone.Worth(), c.kept.Worth(); g >= k {
			t.Errorf("%s: what should go is worth %d, what should stay %d", c.name, g, k)
		}
	}
}

func TestWorthNeverRisesWithTimeOrCopies(t *testing.T) {
	last := uint64(math.MaxUint64)
	for idle := uint32(0); idle < 60*halfLife; idle += 1800 {
		w := Item{Want: 1000 * One, Copies: One, Idle: idle}.Worth()
		if w > last {
			t.Fatalf("after %d s it is worth %d, before %d", idle, w, last)
		}
		last = w
	}
	last = math.MaxUint64
	for copies := uint32(0); copies < 1<<20; copies += 97 {
		w := Item{Want: math.MaxUint32, Copies: copies}.Worth()
		if w > last {
			t.Fatalf("with %d copies it is worth %d, before %d", copies, w, last)
		}
		last = w
	}
}
