// Package audience turns what each of a crowd of viewers lived through into the figures by which delivery is judged, and
// into a page that shows them. `essaim sim` and `essaim rehearse` share it, so that a figure means the same in both.
//
// It must get right: that every figure is a plain number under one name, that nothing is divided by zero, that what was not
// measured is left out instead of being reported as zero, that the same run always gives the same bytes, and that a name out
// of a run or a setting never becomes markup on the page.
package audience

import "time"

// Viewer is what one viewer lived through.
type Viewer struct {
	Name    string
	Arrived time.Duration // since the run began: when play was pressed
	Startup time.Duration // from play to the first segment delivered; negative: never
	// Waited is how long a viewer who never started waited for it. 0: to the end of the run, which is its last sample.
	Waited  time.Duration
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
	// FilmBytes is what was watched, each byte once, summed over titles; FilmTime its length, summed over titles likewise.
	FilmBytes int64
	FilmTime  time.Duration
	// Titles is how many films were watched; 0 means one.
	Titles int
	// OriginBytes is the origin's own count of media bytes, with those beyond the first 20 s of film apart (negative: not
	// counted; the viewers' counts then stand for the whole, and the part beyond 20 s is left out).
	OriginBytes         int64
	OriginBytesAfter20s int64
	FilmBytesAfter20s   int64
	// OffloadBound is what an omniscient scheduler could have reached, in [0, 1]; negative: unknown.
	OffloadBound float64
}
