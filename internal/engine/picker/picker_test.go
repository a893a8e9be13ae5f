package picker

import (
	"math"
	"slices"
	"testing"

	"essaim/internal/cmaf/index"
)

// shelf is a stock of pieces: which are there, and how many peers have each.
type shelf struct {
	there   map[uint32]bool
	holders map[uint32]int
	partly  bool // of other pieces the first 600 bytes can be read
}

func (s shelf) Lacks(n uint32) bool  { return !s.there[n] }
func (s shelf) Holders(n uint32) int { return s.holders[n] }

// newPicker opens a title with one file of 100 pieces of 1000 bytes, one second of film each, without a head.
func newPicker() *Picker {
	p := &Picker{}
	p.Open(1000, []File{{Size: 100_000}}, 1)
	var x index.Index
	for s := range uint32(100) {
		x = append(x, index.Segment{From: uint64(s) * 1000, To: uint64(s+1) * 1000, StartMs: s * 1000, DurationMs: 1000})
	}
	p.Load(0, x)
	return p
}

func pieces(wants []Want) (list []uint32) {
	for _, w := range wants {
		list = append(list, w.Piece)
	}
	return list
}

func TestNothingIsWantedBeforeARenditionIsChosen(t *testing.T) {
	if w := newPicker().Plan(nil, 0, shelf{}); len(w) != 0 {
		t.Errorf("wants %v", w)
	}
}

func TestPickerPrefersDeadlineOverRarity(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	w := p.Plan(nil, 0, shelf{holders: map[uint32]int{0: 9, 1: 9, 50: 0}})
	if w[0].Piece != 0 || w[0].Class != Urgent || w[1].Piece != 1 {
		t.Errorf("first come %v", w[:2])
	}
}

func TestRarestComesFirstWithinAStretchOfTheWindow(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	holders := map[uint32]int{}
	for n := range uint32(100) {
		holders[n] = 5
	}
	holders[22] = 1
	list := pieces(p.Plan(nil, 0, shelf{holders: holders}))
	if i, j := slices.Index(list, 22), slices.Index(list, 16); i < 0 || i > j {
		t.Errorf("the rare piece comes at %d, its stretch begins at %d", i, j)
	}
}

func TestWhatThePlayerHoldsIsNotFetchedAgain(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	p.Moved(0, 0, 10_000, 1000, false)
	if list := pieces(p.Plan(nil, 0, shelf{})); list[0] != 10 {
		t.Errorf("begins with %v", list[0])
	}
}

func TestNothingBeyondTheWindowIsWanted(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	for _, w := range p.Plan(nil, 0, shelf{}) {
		if w.AheadMs > WindowMs {
			t.Errorf("piece %d is %d ms ahead", w.Piece, w.AheadMs)
		}
	}
}

func TestSeekForgetsThePastAtOnce(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	p.Moved(0, 3_000, 12_000, 1000, false)
	p.Seeked(0, 80_000)
	w := p.Plan(nil, 0, shelf{})
	if w[0].Piece != 80 || w[0].Class != Urgent {
		t.Errorf("begins with %+v", w[0])
	}
}

func TestPlayHeadIsExtrapolatedButNeverPastTheBuffer(t *testing.T) {
	p := newPicker()
	p.Moved(1_000_000, 10_000, 12_000, 1500, false)
	if at := p.PositionMs(2_000_000); at != 11_500 {
		t.Errorf("after a second at 1.5: %d ms", at)
	}
	if at := p.PositionMs(9_000_000); at != 12_000 {
		t.Errorf("beyond the buffer: %d ms", at)
	}
	p.Moved(1_000_000, 10_000, 12_000, 1000, true)
	if at := p.PositionMs(2_000_000); at != 10_000 {
		t.Errorf("paused: %d ms", at)
	}
}

// Readable: pieces that are not there whole can be read up to byte 600.
func (s shelf) Readable(piece uint32, _, to int64) bool {
	return s.there[piece] || s.partly && to <= 600
}

func TestReaderIsReadyWhenWhatItWantsOfAPieceCanBeRead(t *testing.T) {
	p := newPicker()
	p.Want(1, 0, 700, 1_500) // the end of piece 0, and the first 500 bytes of piece 1
	p.Want(2, 0, 2_000, 2_601)
	s := shelf{there: map[uint32]bool{0: true}, partly: true}
	if ref, ok := p.Ready(s); !ok || ref != 1 {
		t.Errorf("reader %d, %v", ref, ok)
	}
	if _, ok := p.Ready(s); ok {
		t.Error("ready though a byte of what it wants cannot be read")
	}
}

func TestReaderIsReadyWhenItsLastPieceCame(t *testing.T) {
	p := newPicker()
	p.Want(7, 0, 500, 2_500)
	s := shelf{there: map[uint32]bool{0: true, 1: true}}
	if _, ok := p.Ready(s); ok {
		t.Error("ready without its last piece")
	}
	s.there[2] = true
	if ref, ok := p.Ready(s); !ok || ref != 7 || p.Waiting() {
		t.Errorf("ref %d, %v", ref, ok)
	}
}

func TestEveryPieceIsWantedOnceThoughSeveralReadersAskForIt(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	p.Want(1, 0, 0, 4_000)
	p.Want(2, 0, 2_000, 6_000)
	list := pieces(p.Plan(nil, 0, shelf{}))
	slices.Sort(list)
	if once := slices.Compact(slices.Clone(list)); len(once) != len(list) {
		t.Errorf("repetitions in %v", list)
	}
}

// TestPlanIsWhatASimplePlannerWouldSay holds the plan against a plain model: all lacked pieces of the window, by class
// and then by time.
func TestPlanIsWhatASimplePlannerWouldSay(t *testing.T) {
	p := newPicker()
	p.Choose(0, func(uint32) bool { return false })
	p.Moved(0, 7_300, 9_000, 1000, false)
	s := shelf{there: map[uint32]bool{11: true, 12: true, 40: true}}
	var want []uint32
	for n := uint32(9); n < 100; n++ {
		if ahead := int64(n)*1000 - 7_300; ahead <= WindowMs && !s.there[n] {
			want = append(want, n)
		}
	}
	if got := pieces(p.Plan(nil, 0, s)); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestLogarithmAgreesWithFloats(t *testing.T) {
	for _, v := range []uint32{1, 2, 3, 7, 100, 65_537, 1 << 31, 1<<32 - 1} {
		if got, want := float64(log2(v))/65536, math.Log2(float64(v)); math.Abs(got-want) > 0.01 {
			t.Errorf("log2(%d) = %f, want %f", v, got, want)
		}
	}
}

func TestTimersAreTruncatedExponentials(t *testing.T) {
	p := newPicker()
	const n = 100_000
	sum := 0.0
	for i := range uint32(n) {
		ms := p.TimerMs(i, -200_000, 0)
		if ms < FloorMs || ms > SpreadMs {
			t.Fatalf("timer of %d ms", ms)
		}
		sum += float64(ms-FloorMs) / (SpreadMs - FloorMs)
	}
	if mean := sum / n; mean < 0.105 || mean > 0.117 {
		t.Errorf("mean %f, want 1/9", mean)
	}
}

func TestTimersDifferFromViewerToViewer(t *testing.T) {
	a, b := newPicker(), newPicker()
	b.seed = 2
	same := 0
	for i := range uint32(1000) {
		if a.TimerMs(i, -200_000, 0) == b.TimerMs(i, -200_000, 0) {
			same++
		}
	}
	if same > 20 {
		t.Errorf("%d of 1000 timers agree", same)
	}
}
