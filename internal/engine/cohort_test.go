package engine

import (
	"testing"

	"essaim/internal/engine/picker"
)

// chosenOf is how many of a cohort are to fetch the piece that plays after so many ms.
func chosenOf(size, piece uint32, aheadMs int64) (n uint32) {
	for place := range size {
		e := Engine{cohort: cohort{1, place, size}}
		if e.chosen(&picker.Want{Piece: piece, AheadMs: aheadMs}) {
			n++
		}
	}
	return n
}

func TestOneOrTwoOfManyAreChosenWhereThereIsTime(t *testing.T) {
	for _, size := range []uint32{17, 64, 100, 128, 500, 3000} {
		for piece := range uint32(50) {
			if n := chosenOf(size, piece, 12_000); n < 1 || n > 2 {
				t.Errorf("%d of %d are chosen for piece %d", n, size, piece)
			}
		}
	}
}

func TestTheNearerAPieceTheMoreAreChosen(t *testing.T) {
	for _, size := range []uint32{17, 128, 500} {
		last := uint32(0)
		for ahead := int64(8_000); ahead >= 0; ahead -= 250 {
			n := chosenOf(size, 5, ahead)
			if n < last {
				t.Errorf("of %d, %d are chosen at %d ms, and %d were before", size, n, ahead, last)
			}
			last = n
		}
		if last < size/cohortLeast {
			t.Errorf("of %d, %d are chosen at the last moment", size, last)
		}
	}
}

func TestThoseWhoKnowDifferentSizesMostlyAgree(t *testing.T) {
	fetched := 0
	for piece := range uint32(96) {
		for place := range uint32(110) {
			e := Engine{cohort: cohort{1, place, 100 + place%10}} // some have not heard of the last ones yet
			if e.chosen(&picker.Want{Piece: piece, AheadMs: 12_000}) {
				fetched++
			}
		}
	}
	if fetched < 96 || fetched > 2*96 {
		t.Errorf("96 pieces are fetched %d times", fetched)
	}
}
