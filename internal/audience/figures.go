package audience

import (
	"math"
	"slices"
	"time"
)

// Figures are a run's, by the names of `--json`. Seconds are of wall or virtual time or of film, a gigabyte is 10^9 bytes,
// and shares lie in [0, 1]. None is ever infinite or not a number.
type Figures struct {
	Viewers             int      `json:"viewers"`
	OriginCopies        float64  `json:"origin_copies"`                     // origin's media bytes ÷ bytes of what was watched once
	OriginCopiesAfter20 *float64 `json:"origin_copies_after_20s,omitempty"` // the same for film beyond its first 20 s
	DuplicateSeconds    float64  `json:"duplicate_seconds"`                 // S: film fetched from the origin though another had it, mean per viewer
	Offload             float64  `json:"offload"`                           // share of delivered media bytes that did not come from the origin
	OffloadBound        *float64 `json:"offload_bound,omitempty"`
	StartupP50S         float64  `json:"startup_p50_s"`
	StartupP95S         float64  `json:"startup_p95_s"`
	NeverStarted        int      `json:"never_started"`
	StallsPerViewer     float64  `json:"stalls_per_viewer"`
	StallRatio          float64  `json:"stall_ratio"` // time stalled ÷ (time stalled + film played)
	WasteRatio          float64  `json:"waste_ratio"` // bytes that came in vain ÷ bytes that came
	BadBytesDelivered   int64    `json:"bad_bytes_delivered"`
	UploadedGBP50       float64  `json:"uploaded_gb_p50"`
	UploadedGBP99       float64  `json:"uploaded_gb_p99"`
	OriginBytes         int64    `json:"origin_bytes"`
	PeerBytes           int64    `json:"peer_bytes"`
}

// Figures computes the run's. A quotient without a denominator is 0. Percentiles are by nearest rank.
//
// A viewer who never started counts in never_started, and takes part in the start-up percentiles with the time it waited:
// leaving it out would reward losing viewers.
//
// duplicate_seconds is (origin_copies − 1) · film time ÷ (viewers − 1) for one title, from copies = 1 + (N − 1) · S / D; for
// several it is what each fetched though another had been sent it (DuplicateBytes), at the mean bitrate, mean per viewer.
//
// offload is 1 − origin's bytes ÷ delivered bytes. Delivered is what came from origin, peers and the viewers' own caches
// without what came in vain, so an origin's byte that is wasted counts against it and a peer's does not count for it.
func (r *Run) Figures() Figures {
	var origin, peer, cached, wasted, duplicate int64
	var stalls int
	var stalled, watched time.Duration
	f := Figures{Viewers: len(r.Viewers)}
	sent := make([]int64, len(r.Viewers))
	for i := range r.Viewers {
		v := &r.Viewers[i]
		origin += v.OriginBytes
		peer += v.PeerBytes
		cached += v.CachedBytes
		wasted += v.WastedBytes
		duplicate += v.DuplicateBytes
		stalls += v.Stalls
		stalled += v.Stalled
		watched += v.Watched
		sent[i] = v.SentBytes
		f.BadBytesDelivered += v.BadBytes
		if v.Startup < 0 {
			f.NeverStarted++
		}
	}
	came := origin + peer
	if r.OriginBytes >= 0 {
		origin = r.OriginBytes
	}
	f.OriginBytes, f.PeerBytes = origin, peer
	f.OriginCopies = quotient(float64(origin), float64(r.FilmBytes))
	if r.OriginBytesAfter20s >= 0 && r.FilmBytesAfter20s > 0 {
		f.OriginCopiesAfter20 = new(quotient(float64(r.OriginBytesAfter20s), float64(r.FilmBytesAfter20s)))
	}
	switch {
	case r.FilmBytes <= 0 || r.FilmTime <= 0 || len(r.Viewers) < 2:
	case r.Titles <= 1:
		f.DuplicateSeconds = quotient(max(float64(origin)/float64(r.FilmBytes)-1, 0)*r.FilmTime.Seconds(), float64(len(r.Viewers)-1))
	default:
		f.DuplicateSeconds = quotient(float64(duplicate)*r.FilmTime.Seconds()/float64(r.FilmBytes), float64(len(r.Viewers)))
	}
	if delivered := origin + peer + cached - wasted; delivered > 0 {
		f.Offload = round(max(0, 1-float64(origin)/float64(delivered)))
	}
	if r.OffloadBound >= 0 && r.OffloadBound <= 1 {
		f.OffloadBound = new(round(r.OffloadBound))
	}
	startups := r.startups()
	f.StartupP50S = round(percentile(startups, 50).Seconds())
	f.StartupP95S = round(percentile(startups, 95).Seconds())
	f.StallsPerViewer = quotient(float64(stalls), float64(len(r.Viewers)))
	f.StallRatio = quotient(stalled.Seconds(), (stalled + watched).Seconds())
	f.WasteRatio = quotient(float64(wasted), float64(came))
	slices.Sort(sent)
	f.UploadedGBP50 = float64(percentile(sent, 50)) / 1e9
	f.UploadedGBP99 = float64(percentile(sent, 99)) / 1e9
	return f
}

// startups are the viewers' start-up times from the shortest to the longest, with the time waited of those who never started.
func (r *Run) startups() []time.Duration {
	out := make([]time.Duration, len(r.Viewers))
	for i := range r.Viewers {
		out[i] = r.startup(&r.Viewers[i])
	}
	slices.Sort(out)
	return out
}

// startup is v's start-up time, or how long it waited in vain.
func (r *Run) startup(v *Viewer) time.Duration {
	switch {
	case v.Startup >= 0:
		return v.Startup
	case v.Waited > 0:
		return v.Waited
	}
	return max(r.end()-v.Arrived, 0)
}

// end is when the run was last looked at.
func (r *Run) end() time.Duration {
	if n := len(r.Samples); n > 0 {
		return r.Samples[n-1].At
	}
	var last time.Duration
	for i := range r.Viewers {
		v := &r.Viewers[i]
		last = max(last, v.Arrived+max(v.Startup, 0)+v.Stalled+v.Watched)
	}
	return last
}

// percentile is the value of nearest rank in sorted, the least that p percent of the values do not exceed; 0 of none.
func percentile[T any](sorted []T, p int) T {
	if len(sorted) == 0 {
		var zero T
		return zero
	}
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}

// quotient is a ÷ b to nine decimals, and 0 where that is no number.
func quotient(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return round(a / b)
}

// round cuts to nine decimals, so that processors that fuse multiplication and addition print the same figure.
func round(v float64) float64 {
	if v = math.Round(v*1e9) / 1e9; math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
