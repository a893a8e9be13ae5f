package sim

import "testing"

// TestSybilsOfOneNetworkDoNotTakeTheFilmAway is row 33 of the threats: half of a crowd is one party's, at addresses of one
// network (see tracker.place), and sends wrong bytes. The introductions that go elsewhere carry the film.
func TestSybilsOfOneNetworkDoNotTakeTheFilmAway(t *testing.T) {
	r := simulate(t, 1, "flash-8", "viewers=24", "polluters=0.5", "film=60s")
	f := r.Run.Figures()
	if f.BadBytesDelivered != 0 || f.NeverStarted != 0 || extra(t, r, "never_ended") != 0 {
		t.Errorf("%d wrong bytes reach players, %d films never start, %v never end", f.BadBytesDelivered, f.NeverStarted, extra(t, r, "never_ended"))
	}
	// 0.78 measured, 0.77 where the tracker does not know who belongs together; alone with the origin it would be 0.
	if f.Offload < 0.7 {
		t.Errorf("honest neighbours carry %.2f of the film, want 0.7", f.Offload)
	}
	if s := extra(t, r, "stalled_over_http_max_s"); s > 0.5 {
		t.Errorf("somebody stalls %.2f s longer than by HTTP", s)
	}
}

// TestEclipsedViewerPlaysOn is row 34: all neighbours send wrong bytes, or take requests and never answer.
func TestEclipsedViewerPlaysOn(t *testing.T) {
	for _, set := range []string{"polluters=0.95", "stalled=0.95"} {
		r := simulate(t, 1, "flash-8", "viewers=20", set, "film=60s")
		f := r.Run.Figures()
		if f.BadBytesDelivered != 0 || f.NeverStarted != 0 || extra(t, r, "never_ended") != 0 {
			t.Errorf("%s: %d wrong bytes reach players, %d films never start, %v never end", set, f.BadBytesDelivered, f.NeverStarted, extra(t, r, "never_ended"))
		}
		if s := extra(t, r, "stalled_over_http_max_s"); s > 0.5 {
			t.Errorf("%s: somebody stalls %.2f s longer than by HTTP", set, s)
		}
	}
}
