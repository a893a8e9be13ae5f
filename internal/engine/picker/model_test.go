package picker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"essaim/internal/cmaf/index"
)

// model is the picker as its contract reads: it keeps what it was told, searches nothing cleverly, and answers by looking at
// every byte range of every segment of every piece. What it plans, the picker must plan.
type model struct {
	pieceLength int64
	files       []File
	indexes     []index.Index
	chosen      []bool
	readers     []reader

	position, buffered, movedAt, rate int64
	paused                            bool
}

func (m *model) playing(now int64) int64 {
	if m.paused || now <= m.movedAt {
		return m.position
	}
	head, end := m.position+(now-m.movedAt)*m.rate/1_000_000, max(m.buffered, m.position)
	return min(head, end)
}

// span is the bytes of its file that a piece holds.
func (m *model) span(file, piece uint32) (from, to int64) {
	from = int64(piece-m.files[file].FirstPiece) * m.pieceLength
	return from, min(from+m.pieceLength, m.files[file].Size)
}

// film is when a piece's first byte is needed: the start of the first segment that ends behind it; 0 for the head of the file.
func (m *model) film(file, piece uint32) int64 {
	at, _ := m.span(file, piece)
	for i, s := range m.indexes[file] {
		if int64(s.To) > at {
			if i == 0 && int64(s.From) > at {
				return 0
			}
			return int64(s.StartMs)
		}
	}
	return 0
}

// before is the order of the plan, in words: the more pressing class; in the window the earlier stretch and in that the rarer; then the
// earlier; then the one that comes first in the title.
func before(a, b Want) bool {
	switch {
	case a.Class != b.Class:
		return a.Class < b.Class
	case a.Class == Window && a.AheadMs/rarityMs != b.AheadMs/rarityMs:
		return a.AheadMs/rarityMs < b.AheadMs/rarityMs
	case a.Class == Window && a.Holders != b.Holders:
		return a.Holders < b.Holders
	case a.AheadMs != b.AheadMs:
		return a.AheadMs < b.AheadMs
	}
	return a.Piece < b.Piece
}

// wants is every reason to want a piece of a file.
func (m *model) wants(now int64, file, piece uint32, s Stock) (list []Want) {
	from, to := m.span(file, piece)
	pos := m.playing(now)
	want := Want{Piece: piece, File: file, Holders: uint16(s.Holders(piece))}
	for _, r := range m.readers {
		if r.file != file || r.to <= from || r.from >= to {
			continue
		}
		w := want
		w.AheadMs, w.Class = m.film(file, piece)-pos, Floor
		if w.AheadMs < UrgentMs {
			w.Class = Urgent
		}
		w.AheadMs = min(w.AheadMs, FloorMs)
		list = append(list, w)
	}
	if !m.chosen[file] {
		return list
	}
	for _, seg := range m.indexes[file] {
		if int64(seg.StartMs+seg.DurationMs) <= max(pos, m.buffered) || int64(seg.To) <= from || int64(seg.From) >= to {
			continue // the player has it, or it is of other pieces
		}
		w := want
		w.AheadMs = (int64(seg.StartMs) - pos) * 1000 / max(m.rate, 1000)
		switch {
		case w.AheadMs > WindowMs:
			continue
		case w.AheadMs < UrgentMs:
			w.Class = Urgent
		case w.AheadMs < FloorMs:
			w.Class = Floor
		default:
			w.Class = Window
		}
		list = append(list, w)
	}
	return list
}

func (m *model) plan(now int64, s Stock) (plan []Want) {
	for f := range m.files {
		for n := m.files[f].FirstPiece; ; n++ {
			from, to := m.span(uint32(f), n)
			if from >= to {
				break
			}
			if !s.Lacks(n) {
				continue
			}
			var best *Want
			for _, w := range m.wants(now, uint32(f), n, s) {
				if best == nil || before(w, *best) {
					best = &w
				}
			}
			if best == nil {
				continue
			}
			at := 0
			for at < len(plan) && before(plan[at], *best) {
				at++
			}
			plan = slices.Insert(plan, at, *best)
		}
	}
	return plan
}

// TestPickerPlansWhatItsModelPlans holds the picker beside the model through random films and random evenings: renditions of other
// lengths and segments, seeks, pauses, speeds, several readers at once, changes of rendition, pieces that come and go.
func TestPickerPlansWhatItsModelPlans(t *testing.T) {
	for seed := range uint64(300) {
		if err := compareWithModel(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func compareWithModel(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	p := &Picker{}
	m := &model{pieceLength: int64(1000 << r.IntN(5)), rate: 1000, paused: true}
	there, holders := shelf{there: map[uint32]bool{}, holders: map[uint32]int{}}, 1+r.IntN(6)
	first := uint32(0)
	for range 1 + r.IntN(3) {
		var x index.Index
		at, ms := uint64(r.IntN(3_000)), uint32(0) // the head comes before the first segment
		for range 1 + r.IntN(60) {
			size, long := uint64(1+r.IntN(9_000)), uint32(100+r.IntN(4_000))
			x = append(x, index.Segment{From: at, To: at + size, StartMs: ms, DurationMs: long})
			at, ms = at+size, ms+long
		}
		f := File{Size: int64(at), FirstPiece: first}
		first += uint32((f.Size + m.pieceLength - 1) / m.pieceLength)
		m.files, m.indexes, m.chosen = append(m.files, f), append(m.indexes, x), append(m.chosen, false)
	}
	p.Open(m.pieceLength, m.files, seed)
	loaded := make([]bool, len(m.files))
	indexes := m.indexes
	m.indexes = make([]index.Index, len(m.files))
	now := int64(0)
	for step := range 150 {
		file := uint32(r.IntN(len(m.files)))
		what := ""
		switch r.IntN(9) {
		case 0:
			what = "load"
			if !loaded[file] {
				loaded[file], m.indexes[file] = true, indexes[file]
				p.Load(file, indexes[file])
			}
		case 1:
			what = "choose"
			alternative := func(other uint32) bool { return other != file && other%2 == file%2 }
			p.Choose(file, alternative)
			for i := range m.chosen {
				m.chosen[i] = uint32(i) == file || m.chosen[i] && !alternative(uint32(i))
			}
		case 2:
			what = "seek"
			to := int64(r.IntN(150_000))
			p.Seeked(now, to)
			m.movedAt, m.position, m.buffered = now, to, to
		case 3:
			what = "move"
			m.movedAt, m.position, m.rate, m.paused = now, m.playing(now), []int64{500, 1000, 1500, 2000}[r.IntN(4)], r.IntN(4) == 0
			m.buffered = m.position + int64(r.IntN(12_000)) - 500
			p.Moved(now, m.position, m.buffered, m.rate, m.paused)
		case 4:
			what = "want"
			ref, from := uint32(r.IntN(4)), r.Int64N(m.files[file].Size)
			to := from + 1 + r.Int64N(min(m.files[file].Size-from, 20_000))
			p.Want(ref, file, from, to)
			m.readers = slices.DeleteFunc(m.readers, func(x reader) bool { return x.ref == ref })
			m.readers = append(m.readers, reader{ref, file, from, to})
		case 5:
			what = "cancel"
			ref := uint32(r.IntN(4))
			p.Cancel(ref)
			m.readers = slices.DeleteFunc(m.readers, func(x reader) bool { return x.ref == ref })
		case 6:
			what = "stock"
			for range r.IntN(20) {
				n := uint32(r.IntN(int(first)))
				there.there[n], there.holders[uint32(r.IntN(int(first)))] = r.IntN(3) > 0, r.IntN(holders)
			}
		default:
			what = "wait"
			now += r.Int64N(6_000_000)
		}
		if got, want := p.PositionMs(now), m.playing(now); got != want {
			return fmt.Errorf("step %d, %s: the play head is at %d, not %d", step, what, got, want)
		}
		got, want := p.Plan(nil, now, there), m.plan(now, there)
		if !slices.Equal(got, want) {
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					return fmt.Errorf("step %d, %s: of %d and %d wants the first to differ are\n%+v\n%+v", step, what, len(got), len(want), got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
				}
			}
		}
	}
	return nil
}
