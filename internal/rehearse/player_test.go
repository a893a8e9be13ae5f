package rehearse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
	"essaim/internal/host/native"
)

// Segments of the films here, in bytes; each begins with so much before the first.
const (
	testSegment = 1000
	testHead    = 100
)

// testPart is two tracks of so many segments of 2 s.
func testPart(segments int) *part {
	p := &part{film: time.Duration(2*segments) * second}
	for file := range uint32(2) {
		t := track{file: file, path: fmt.Sprint("track ", file), root: bt.Digest{byte(file + 1)}}
		for i := range segments {
			from := uint64(testHead + i*testSegment)
			t.segments = append(t.segments, index.Segment{From: from, To: from + testSegment, StartMs: uint32(2000 * i), DurationMs: 2000})
		}
		p.tracks = append(p.tracks, t)
		p.title.Files = append(p.title.Files, engine.TitleFile{Size: uint64(testHead + segments*testSegment)})
	}
	p.bytes = p.upTo(p.film)
	return p
}

// slowMedia answers each read after a time.
type slowMedia struct {
	took   func(file uint32, from int64) time.Duration
	answer func(file uint32, from, to int64) ([]byte, error) // nil: zeros
	opened time.Time

	mu     sync.Mutex
	reads  [2][]mediaRead
	open   [2]int
	most   int
	moved  []native.Playback
	chosen []uint32
}

type mediaRead struct {
	from, to int64
	at       time.Duration
}

func (m *slowMedia) ReadRange(ctx context.Context, file uint32, from, to int64) ([]byte, error) {
	m.mu.Lock()
	m.reads[file] = append(m.reads[file], mediaRead{from, to, time.Since(m.opened)})
	m.open[file]++
	m.most = max(m.most, m.open[file])
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.open[file]--
		m.mu.Unlock()
	}()
	if err := pause(ctx, m.took(file, from)); err != nil {
		return nil, err
	}
	if m.answer != nil {
		return m.answer(file, from, to)
	}
	return make([]byte, to-from), nil
}

func (m *slowMedia) Moved(p native.Playback) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved = append(m.moved, p)
}

func (m *slowMedia) Rendition(file uint32) { m.chosen = append(m.chosen, file) }

// played runs a player to its end, or for at most so long.
func played(t *testing.T, m *slowMedia, p *part, most time.Duration) (*player, error) {
	t.Helper()
	m.opened = time.Now()
	pl := newPlayer(m, p, newJudge(), m.opened)
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	return pl, pl.play(ctx)
}

func TestPlayerWantsTenSecondsAheadOneSegmentAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{took: func(uint32, int64) time.Duration { return 100 * time.Millisecond }}
		pl, err := played(t, m, testPart(15), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(m.opened); took < 30*second || took > 31*second {
			t.Errorf("30 s of film took %s", took)
		}
		if c := pl.clock; c.startup != 100*time.Millisecond || c.stalls != 0 || c.pos != 30*second {
			t.Errorf("%+v", c)
		}
		if m.most != 1 {
			t.Errorf("%d requests of a track at once", m.most)
		}
		for file, reads := range m.reads {
			if len(reads) != 15 || reads[0].from != 0 || reads[0].to != testHead+testSegment {
				t.Fatalf("track %d: %v", file, reads)
			}
			for i, r := range reads {
				if i > 0 && r.from != reads[i-1].to {
					t.Errorf("track %d: segment %d is read from %d on", file, i, r.from)
				}
				// film at 2i s is wanted when the head, which started after 0.1 s, is ten seconds before it
				due := max(time.Duration(2*i)*second-goal+100*time.Millisecond, 0)
				if late := r.at - due; late < 0 || late > second/2+lookEvery {
					t.Errorf("track %d: segment %d is wanted after %s, not %s", file, i, r.at, due)
				}
			}
		}
		last := m.moved[len(m.moved)-1]
		if !last.Paused || last.Position != 30*second || len(m.chosen) != 2 {
			t.Errorf("the host last heard %+v, of the tracks %v", last, m.chosen)
		}
		for i := 1; i < len(m.moved); i++ {
			if m.moved[i].Position-m.moved[i-1].Position > tellEvery+lookEvery {
				t.Errorf("the host heard nothing from %s to %s", m.moved[i-1].Position, m.moved[i].Position)
			}
		}
	})
}

func TestPlayerStallsWhereATrackIsLateAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{took: func(file uint32, from int64) time.Duration {
			if file == 1 && from == testHead+5*testSegment { // film at 10 s
				return 20 * second
			}
			return 100 * time.Millisecond
		}}
		pl, err := played(t, m, testPart(10), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		// It is asked for when the head starts, at the latest after 0.5 s of film, and the head waits for it at 10 s.
		c := pl.clock
		if c.stalls != 1 || c.stalled < 10*second || c.stalled > 11*second {
			t.Errorf("%+v", c)
		}
		told := false
		for _, p := range m.moved {
			told = told || p.Position == 10*second && p.Rate == 0 && p.BufferedEnd == 10*second
		}
		if !told {
			t.Error("the host did not hear of the stall")
		}
	})
}

func TestPlayerAsksAgainWhereNobodyHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		m := &slowMedia{took: func(uint32, int64) time.Duration { return 0 }}
		m.answer = func(file uint32, from, to int64) ([]byte, error) {
			if file == 0 && from == 0 {
				if tries++; tries <= 3 {
					return nil, fmt.Errorf("read: %w", native.ErrUnavailable)
				}
			}
			return make([]byte, to-from), nil
		}
		pl, err := played(t, m, testPart(2), time.Hour)
		if err != nil || pl.clock.startup != 3*retryEvery {
			t.Errorf("%+v, %v", pl.clock, err)
		}
	})
}

func TestPlayerEndsWithItsHostAndItsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slowMedia{took: func(uint32, int64) time.Duration { return 0 }}
		m.answer = func(uint32, int64, int64) ([]byte, error) { return nil, native.ErrClosed }
		if _, err := played(t, m, testPart(2), time.Hour); !errors.Is(err, native.ErrClosed) {
			t.Error(err)
		}
		m = &slowMedia{took: func(uint32, int64) time.Duration { return time.Hour }}
		pl, err := played(t, m, testPart(2), time.Minute)
		if !errors.Is(err, context.DeadlineExceeded) || pl.clock.started() {
			t.Errorf("%+v, %v", pl.clock, err)
		}
	})
}

func TestJudgeFindsWhoWasDeliveredSomethingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, j := testPart(3), newJudge()
		for i, want := range []int64{0, 0, testSegment} {
			m := &slowMedia{took: func(uint32, int64) time.Duration { return 0 }, opened: time.Now()}
			m.answer = func(file uint32, from, to int64) ([]byte, error) {
				b := make([]byte, to-from)
				if i == 2 && file == 1 && from == testHead+testSegment {
					b[7] = 1
				}
				return b, nil
			}
			pl := newPlayer(m, p, j, m.opened)
			if err := pl.play(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, bad := pl.state(); bad != want {
				t.Errorf("viewer %d: %d bad bytes", i, bad)
			}
		}
	})
}

func TestViewGivesOnlyWhatThisViewerPut(t *testing.T) {
	s := newShelf()
	a, b := s.view(), s.view()
	if _, err := a.Put(3, []byte("film")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2)
	if b.Has(3) || b.ReadAt(3, buf, 0) == nil {
		t.Error("a viewer holds what another put")
	}
	if err := a.ReadAt(3, buf, 2); err != nil || string(buf) != "lm" {
		t.Errorf("%q, %v", buf, err)
	}
	for _, off := range []int64{-1, 3} {
		if a.ReadAt(3, buf, off) == nil {
			t.Errorf("read from %d on", off)
		}
	}
	if _, err := b.Put(3, []byte("fake")); err != nil {
		t.Fatal(err)
	}
	if err := b.ReadAt(3, buf, 2); err != nil || string(buf) != "ke" {
		t.Errorf("what differs was not kept apart: %q, %v", buf, err)
	}
	if err := a.Delete(3); err != nil || a.Has(3) || !b.Has(3) {
		t.Error("one viewer's deletion is not its own alone")
	}
}
