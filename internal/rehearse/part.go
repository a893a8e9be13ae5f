package rehearse

import (
	"cmp"
	"fmt"
	"time"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
	"essaim/internal/vod"
	"essaim/internal/watch"
)

// partMax bounds the part of a film that a rehearsal holds in memory, once for all its viewers.
const partMax = 2 << 30

// part is what of a title is rehearsed: the first stretch of one rendition and of the first audio track.
type part struct {
	title  engine.Title
	tracks []track
	film   time.Duration // its length
	bytes  int64         // initialisation segments and indexes included
}

// track is one file of the part.
type track struct {
	file     uint32
	root     bt.Digest
	path     string
	segments index.Index // those that begin within the part
}

// newPart reads a play session. height: the highest rendition of at most so many lines; 0: the highest there is.
func newPart(s *vod.PlaySession, film time.Duration, height int) (*part, error) {
	title, indexes, err := watch.ReadSession(s)
	if err != nil {
		return nil, fmt.Errorf("play %s: %w", s.Title, err)
	}
	video, audio := -1, -1
	for i := range s.Files {
		f := &s.Files[i]
		switch {
		case len(indexes[i]) == 0: // nobody could play it
		case f.Kind == vod.Audio && audio < 0:
			audio = i
		case f.Kind == vod.Video && (height == 0 || f.Height <= height) && (video < 0 || better(f, &s.Files[video])):
			video = i
		}
	}
	if video < 0 && height > 0 {
		return nil, fmt.Errorf("%s has no rendition of %d lines or fewer", s.Title, height)
	}
	p := &part{title: title, film: min(film, time.Duration(s.DurationMs)*time.Millisecond)}
	for _, i := range []int{video, audio} {
		if i < 0 {
			continue
		}
		t := track{file: uint32(i), root: title.Files[i].Root, path: s.Files[i].Path}
		for _, g := range indexes[i] {
			if startOf(&g) < p.film {
				t.segments = append(t.segments, g)
			}
		}
		if len(t.segments) > 0 {
			p.tracks = append(p.tracks, t)
			p.bytes += int64(t.segments[len(t.segments)-1].To)
		}
	}
	if len(p.tracks) == 0 {
		return nil, fmt.Errorf("%s has nothing to play", s.Title)
	}
	if p.bytes > partMax {
		return nil, fmt.Errorf("so much of %s is %d MB, and %d MB are held at most: ask for fewer --seconds, or less --height", s.Title, p.bytes>>20, partMax>>20)
	}
	return p, nil
}

func better(a, b *vod.PlayFile) bool {
	return cmp.Or(cmp.Compare(a.Height, b.Height), cmp.Compare(a.Bandwidth, b.Bandwidth)) > 0
}

// indexes are what the engine is told of the files. It wants nothing of which it does not know when it plays, so that what
// lies beyond the part, and the other renditions, is not fetched ahead.
func (p *part) indexes() [][]byte {
	list := make([][]byte, len(p.title.Files))
	for _, t := range p.tracks {
		list[t.file] = t.segments.AppendBinary(nil)
	}
	return list
}

// upTo is how many bytes of the part play before a time of film, with what lies before the first segments.
func (p *part) upTo(film time.Duration) (n int64) {
	for i := range p.tracks {
		n += int64(p.tracks[i].byteAt(film))
	}
	return n
}

// byteAt is where in its file the first segment begins that plays at a time of film or later; the part's end past the last.
func (t *track) byteAt(film time.Duration) uint64 {
	for i := range t.segments {
		if startOf(&t.segments[i]) >= film {
			return t.segments[i].From
		}
	}
	return t.segments[len(t.segments)-1].To
}

func startOf(s *index.Segment) time.Duration { return time.Duration(s.StartMs) * time.Millisecond }

func endOf(s *index.Segment) time.Duration {
	return time.Duration(int64(s.StartMs)+int64(s.DurationMs)) * time.Millisecond
}
