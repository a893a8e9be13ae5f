package rehearse

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"essaim/internal/host/native"
)

// testSeat plays after a time; it fails, or goes on for ever.
type testSeat struct {
	crowd  *crowd
	took   time.Duration
	err    error
	mu     sync.Mutex
	clock  *clock
	closed time.Duration // since the crowd began
}

func (s *testSeat) play(ctx context.Context) error {
	s.mu.Lock()
	s.clock.delivered(0, s.clock.film, time.Now())
	s.mu.Unlock()
	if err := pause(ctx, s.took); err != nil {
		return err
	}
	return s.err
}

func (s *testSeat) state() (clock, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.advance(time.Now())
	return *s.clock, 0
}

func (s *testSeat) stats() native.Stats { return native.Stats{OriginBytes: 100, PeerBytes: 50} }

func (s *testSeat) close() error {
	s.closed = time.Since(s.crowd.began)
	return nil
}

// testCrowd is of viewers who come a second apart and play 10 s, one for each of took.
func testCrowd(seats []*testSeat) *crowd {
	p := testPart(5)
	c := &crowd{options: Options{Film: p.film}, part: p, account: newAccount(p, len(seats)), began: time.Now()}
	for i := range seats {
		c.viewers = append(c.viewers, &viewer{crowd: c, number: i, arrives: time.Duration(i) * second})
	}
	c.sit = func(_ context.Context, v *viewer) (seat, error) {
		s := seats[v.number]
		s.crowd, s.clock = c, newClock(p.film, 1, time.Now())
		return s, nil
	}
	return c
}

func TestViewersServeUntilTheLastHasFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seats := []*testSeat{{took: 10 * second}, {took: 15 * second}, {took: 10 * second}}
		c := testCrowd(seats)
		var told []Progress
		c.options.Progress = func(p Progress) { told = append(told, p) }
		if err := c.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, s := range seats {
			if s.closed != 16*second {
				t.Errorf("viewer %d left after %s", i, s.closed)
			}
		}
		r := c.found()
		if len(r.Viewers) != 3 || r.FilmTime != 10*second || r.FilmBytes != c.part.bytes || len(r.Samples) < 15 {
			t.Errorf("%+v", r)
		}
		for i, v := range r.Viewers {
			if v.Arrived != time.Duration(i)*second || v.Startup != 0 || v.Watched != 10*second || v.OriginBytes != 100 {
				t.Errorf("%+v", v)
			}
		}
		first, last := told[0], told[len(told)-1]
		if first.Arrived < 1 || first.Left < 10*second || last.Ended != 3 || last.Played != last.Total || last.Left != 0 {
			t.Errorf("told of %+v first and of %+v last", first, last)
		}
	})
}

func TestViewerGivesUpAndHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seats := []*testSeat{{took: time.Hour}, {took: 10 * second}}
		c := testCrowd(seats)
		if err := c.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if patience := patienceTimes*c.part.film + patienceMore; seats[1].closed != patience {
			t.Errorf("it ended after %s, not %s", seats[1].closed, patience)
		}
		if !c.viewers[0].gaveUp || c.viewers[1].gaveUp {
			t.Error("who gave up is not who lost patience")
		}
	})
}

func TestStoppedCrowdLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seats := []*testSeat{{took: 10 * second}, {took: 10 * second}, {took: 10 * second}}
		c := testCrowd(seats)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := c.run(ctx); !errors.Is(err, ErrStopped) {
			t.Error(err)
		}
		if seats[0].closed != 1500*time.Millisecond || seats[1].closed != seats[0].closed || seats[2].crowd != nil {
			t.Errorf("%+v", seats)
		}
		if r := c.found(); len(r.Viewers) != 2 || c.viewers[0].gaveUp {
			t.Errorf("%+v", r)
		}
	})
}

func TestFaultOfOneViewerEndsTheRehearsal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := errors.New("fault")
		c := testCrowd([]*testSeat{{took: 10 * second}, {took: second, err: fault}})
		if err := c.run(t.Context()); !errors.Is(err, fault) || err.Error() != "viewer 2: fault" {
			t.Error(err)
		}
		if took := time.Since(c.began); took != 2*second {
			t.Errorf("it took %s", took)
		}
	})
}
