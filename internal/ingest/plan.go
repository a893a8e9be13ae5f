package ingest

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// keyGapMax is the longest stretch without a key frame, in seconds, that is packaged as it is: segments are cut at key
// frames only, and longer ones make starting and seeking slow.
const keyGapMax = 4.0

// A plan says what becomes of each track.
type plan struct {
	tracks []Track
	reason string // why something is encoded anew; empty when nothing is
}

// A task is what one run of ffmpeg makes: a job that is taken up again makes anew only what was not finished.
type task struct {
	name   string // for the operator
	tracks []Track
}

// tasks are the plan's: one for all that is copied, since that costs one reading of the film and little else; one for each
// picture and one for the sound that is encoded.
func (p *plan) tasks() (list []task) {
	add := func(name string, k Track) {
		for i := range list {
			if list[i].name == name {
				list[i].tracks = append(list[i].tracks, k)
				return
			}
		}
		list = append(list, task{name, []Track{k}})
	}
	for _, k := range p.tracks {
		switch {
		case !k.encode:
			add("packaging", k)
		case k.video:
			add(fmt.Sprintf("encoding %dp", k.height), k)
		default:
			add("encoding sound", k)
		}
	}
	return list
}

// A Track is one file of a package in the making.
type Track struct {
	Path  string  // within the torrent
	Lang  string  // BCP 47, empty when unknown
	Start float64 // seconds of film at which the track's first sample plays; negative for what lies before the film

	video  bool
	stream int // of the film
	encode bool
	adts   bool // audio, copied: AAC that may come in ADTS frames
	width  int  // target size of encoded video
	height int
	from   float64 // audio, encoded: where the film begins on the clock that ffmpeg counts from
	laced  bool    // video, encoded: interlaced
}

// aacPriming is the number of samples that ffmpeg's AAC encoder puts before the sound.
const aacPriming = 1024

// encodedRate is the sample rate of encoded audio.
const encodedRate = 48000

var languageForm = regexp.MustCompile(`^[a-z]{2,3}$`)

// decide plans a film: copy what browsers play, encode the rest.
func decide(f *film) plan {
	var p plan
	why := videoReason(f)
	var reasons []string
	if why != "" {
		reasons = append(reasons, why)
	}
	for _, h := range heights(f, why != "") {
		w := f.video.Width
		if h != f.video.Height {
			w = int(math.Round(float64(f.video.Width)*float64(h)/float64(f.video.Height)/2)) * 2
		}
		p.tracks = append(p.tracks, Track{
			Path: fmt.Sprintf("video-%dp.mp4", h), video: true, stream: f.video.Index, encode: why != "",
			width: max(w&^1, 2), height: max(h&^1, 2), laced: !progressive(f.video.FieldOrder),
		})
	}
	for i, s := range f.audio {
		t := Track{Path: "audio.mp4", stream: s.Index, Start: s.packets.opening - f.video.packets.first}
		if i > 0 {
			t.Path = fmt.Sprintf("audio-%d.mp4", i+1)
		}
		t.adts = s.Codec == "aac"
		if l := s.Tags.Language; languageForm.MatchString(l) && l != "und" {
			t.Lang = l
		}
		if s.Codec != "aac" && s.Codec != "opus" {
			t.encode = true
			t.from = f.video.packets.first - f.start
			t.Start = -float64(aacPriming) / encodedRate
			reasons = append(reasons, fmt.Sprintf("audio is %s, which not all browsers play", strings.ToUpper(s.Codec)))
		}
		p.tracks = append(p.tracks, t)
	}
	p.reason = strings.Join(slices.Compact(reasons), "; ")
	return p
}

// videoReason says why the video cannot go to browsers as it is; empty when it can.
func videoReason(f *film) string {
	v, k := &f.video, &f.video.packets
	eight := v.PixFmt == "yuv420p" || v.PixFmt == "yuvj420p"
	switch v.Codec {
	case "h264":
		if !eight {
			return fmt.Sprintf("H.264 with %s pixels, which browsers do not play", v.PixFmt)
		}
	case "vp9":
		if !eight {
			return fmt.Sprintf("VP9 with %s pixels, which not all browsers play", v.PixFmt)
		}
	case "av1":
		if !eight && v.PixFmt != "yuv420p10le" {
			return fmt.Sprintf("AV1 with %s pixels, which not all browsers play", v.PixFmt)
		}
	default:
		return fmt.Sprintf("video is %s, which not all browsers play", strings.ToUpper(v.Codec))
	}
	if !progressive(v.FieldOrder) {
		return "the picture is interlaced"
	}
	for _, s := range v.Sides {
		if s.Rotation != 0 {
			return "the picture is stored rotated"
		}
	}
	if k.untimed > 0 {
		return "its frames do not say when they are shown"
	}
	if !k.keyed || k.hidden > 0 || k.opening > k.first+0.001 {
		return "the film does not begin on a key frame"
	}
	gap := 0.0
	for i, at := range k.keys {
		next := k.end
		if i+1 < len(k.keys) {
			next = k.keys[i+1]
		}
		gap = max(gap, next-at)
	}
	if gap > keyGapMax+0.05 {
		return fmt.Sprintf("key frames are up to %.1f s apart, more than %.0f s", gap, keyGapMax)
	}
	return ""
}

func progressive(order string) bool {
	return order == "" || order == "progressive" || order == "unknown"
}

// rungs are the heights of a ladder below the film's own.
var rungs = []int{720, 480, 360}

// heights are the renditions' heights, from high to low: the film's own where it is copied; where it is encoded, its own or
// 1080, whichever is less, and of 720 and 480 lines what is clearly smaller. A film of fewer than 600 lines gets 360 instead
// of 480. The ladder is short, for viewers of one rendition have nothing to give to those of another.
func heights(f *film, encode bool) []int {
	h := f.video.Height
	if !encode {
		return []int{h}
	}
	for _, s := range f.video.Sides {
		if q := math.Abs(s.Rotation); q == 90 || q == 270 {
			f.video.Width, f.video.Height, h = h, f.video.Width, f.video.Width
			break
		}
	}
	list := []int{max(min(h, 1080)&^1, 2)}
	for _, r := range rungs {
		if last := list[len(list)-1]; r*5 <= last*4 && (r > 360 || last != 480) {
			list = append(list, r)
		}
	}
	return list
}
