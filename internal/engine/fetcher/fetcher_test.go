package fetcher

import "testing"

func TestSourceRestsLongerAfterEachFailure(t *testing.T) {
	var s Source
	last := int64(0)
	for range 4 {
		s.Failed(0, 1<<31)
		until, resting := s.Resting(0)
		if !resting || until <= last {
			t.Errorf("rests until %d after %d failures, %d before", until, s.Failures(), last)
		}
		last = until
	}
	for range 20 {
		s.Failed(0, 1<<32-1)
	}
	if until, _ := s.Resting(0); until > restMax*3/2 {
		t.Errorf("rests %d µs", until)
	}
	s.Worked()
	if _, resting := s.Resting(0); resting || s.Failures() != 0 {
		t.Error("still resting after it worked")
	}
}

func TestViewersWhoFailedTogetherDoNotReturnTogether(t *testing.T) {
	var a, b Source
	a.Failed(0, 0)
	b.Failed(0, 1<<32-1)
	ua, _ := a.Resting(0)
	ub, _ := b.Resting(0)
	if ub-ua < restMin/2 {
		t.Errorf("rests of %d and %d", ua, ub)
	}
}

func TestTableCoversOnlyWhatIsStillToCome(t *testing.T) {
	var table Table
	f := table.Begin(0, 1, 100, 200)
	f.Seen = 50
	for at, want := range map[int64]bool{99: false, 100: false, 149: false, 150: true, 199: true, 200: false} {
		if got := table.Covers(1, at); got != want {
			t.Errorf("byte %d: %v", at, got)
		}
	}
	if table.Covers(2, 150) {
		t.Error("another file's byte is covered")
	}
	if _, ok := table.End(f.Ref); !ok || table.Covers(1, 150) || table.Find(f.Ref) != nil {
		t.Error("the fetch did not end")
	}
}
