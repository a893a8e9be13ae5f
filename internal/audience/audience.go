// Package audience turns what each of a crowd of viewers lived through into the figures by which delivery is judged, and
// into a page that shows them. `essaim sim` and `essaim rehearse` share it, so that a figure means the same in both.
//
// It must get right: that every figure is a plain number under one name, that nothing is divided by zero, and that what
// was not measured is left out instead of being reported as zero.
package audience

import "time"

// Viewer is what one viewer lived through.
type Viewer struct {
	Name    string
	Arrived time.Duration // since the run began: when play was pressed
	Startup time.Duration // from play to the first segment delivered; negative: never
	Stalls  int
	Stalled time.Duration
	Watched time.Duration // of film, played

	OriginBytes int64 // media bytes that the origin sent it, wasted ones included
	PeerBytes   int64 // media bytes of peers, digested
	CachedBytes int64 // media bytes watched out of what it held at the start
	SentBytes   int64 // media bytes given to peers
	WastedBytes int64 // media bytes that came twice, or that nobody wanted any more
	BadBytes    int64 // bytes delivered to the player that are not the film's
	// DuplicateBytes is what it fetched from the origin though another viewer of the same film had been sent it before.
	DuplicateBytes int64
}

// Sample is the whole crowd at one moment.
type Sample struct {
	At          time.Duration
	OriginBytes int64 // so far, of all
	PeerBytes   int64
	Playing     int // viewers whose film runs
	Waiting     int // viewers who wait for the start
	Stalled     int
	BufferP5    time.Duration // contiguous verified film ahead, the worst-off twentieth's best
	BufferP50   time.Duration
}

// Run is one crowd's evening.
type Run struct {
	Viewers []Viewer
	Samples []Sample // in order of time; may be empty
	// FilmBytes is what was watched, each byte once, summed over titles; FilmTime its length.
	FilmBytes int64
	FilmTime  time.Duration
	// OriginBytes is the origin's own count of media bytes, with those beyond the first 20 s of film apart (negative: not counted).
	OriginBytes         int64
	OriginBytesAfter20s int64
	FilmBytesAfter20s   int64
	// OffloadBound is what an omniscient scheduler could have reached, in [0, 1]; negative: unknown.
	OffloadBound float64
}

// Figures are a run's, by the names of `--json`.
type Figures struct {
	Viewers             int      `json:"viewers"`
	OriginCopies        float64  `json:"origin_copies"`               // origin's media bytes ÷ bytes of what was watched once
	OriginCopiesAfter20 *float64 `json:"origin_copies_after_20s,omitempty"` // the same for film beyond its first 20 s
	DuplicateSeconds    float64  `json:"duplicate_seconds"`           // S: film fetched from the origin though another had it, mean per viewer
	Offload             float64  `json:"offload"`                     // share of delivered media bytes that did not come from the origin
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
