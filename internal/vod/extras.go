package vod

// Subtitle is a text track of a title: a WebVTT file among the small objects, no part of the torrent, so that a corrected
// one does not split a swarm.
type Subtitle struct {
	Lang   string // BCP 47; empty: not known
	Label  string // plain text, as the file's maker named it; may be empty
	Object string // lower-case SHA-256
}

// Storyboard is one JPEG with small pictures of a film, row by row, for whoever seeks.
type Storyboard struct {
	Object     string // lower-case SHA-256
	IntervalMs uint32 // of film from one picture to the next; the first is of the beginning
	Pictures   int
	Across     int // pictures in a row
	Width      int // of each picture, in pixels
	Height     int
}

// SubtitlesMax bounds the text tracks of a title.
const SubtitlesMax = 64

// validExtras reports whether what goes with a title is named as it must be.
func (t *Title) validExtras() bool {
	if len(t.Subtitles) > SubtitlesMax {
		return false
	}
	for _, s := range t.Subtitles {
		if !isSHA256(s.Object) || len(s.Lang) > 35 || len(s.Label) > 200 {
			return false
		}
	}
	b := t.Storyboard
	return b == nil || isSHA256(b.Object) && b.IntervalMs > 0 && b.Pictures > 0 && b.Across > 0 && b.Width > 0 && b.Height > 0
}
