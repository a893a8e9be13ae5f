package sim

import (
	"fmt"
	"sort"
	"time"

	"essaim/internal/audience"
)

func Summary(r *Result) string {
	one := func(run *audience.Run) string {
		var st []time.Duration
		stalls, origin, peer, dup, waste, bad := 0, int64(0), int64(0), int64(0), int64(0), int64(0)
		var stalled time.Duration
		for _, v := range run.Viewers {
			st = append(st, v.Startup)
			stalls += v.Stalls
			stalled += v.Stalled
			origin += v.OriginBytes
			peer += v.PeerBytes
			dup += v.DuplicateBytes
			waste += v.WastedBytes
			bad += v.BadBytes
		}
		sort.Slice(st, func(i, j int) bool { return st[i] < st[j] })
		n := len(st)
		return fmt.Sprintf("copies %.2f after20 %.2f S %.2f start p50 %.2f p95 %.2f max %.2f stalls %d %.1fs offload %.3f waste %.3f bad %d",
			float64(run.OriginBytes)/float64(run.FilmBytes), float64(run.OriginBytesAfter20s)/float64(max(run.FilmBytesAfter20s, 1)),
			float64(dup)/float64(n)/250000, st[n/2].Seconds(), st[n*95/100].Seconds(), st[n-1].Seconds(), stalls, stalled.Seconds(),
			float64(peer)/float64(origin+peer), float64(waste)/float64(origin+peer), bad)
	}
	return one(r.Run) + "\n   http: " + one(r.Twin) + fmt.Sprintf("\n   %v", r.Extra)
}
