package ingest

import (
	"errors"
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
	codec  Codec   // encoded: what as
	follow bool    // video, encoded: key frames where the film has them, since that is kept beside it
	rate   string  // video, encoded as AV1: frames a second, as a fraction
	group  int     // and how many of them make two seconds
}

// Codec is what is made of a picture that must be encoded, and with it of sound: AAC beside H.264, Opus beside the others.
type Codec string

// The codecs.
const (
	H264 Codec = "h264" // every browser and television plays it; empty stands for it
	VP9  Codec = "vp9"  // a third smaller; not on old Apple devices
	AV1  Codec = "av1"  // half as large; on devices of recent years alone
)

// Valid reports whether c is one of the codecs.
func (c Codec) Valid() bool { return c == H264 || c == VP9 || c == AV1 }

// Samples that ffmpeg's encoders put before the sound, at encodedRate.
const (
	aacPriming  = 1024
	opusPriming = 312
)

// encodedRate is the sample rate of encoded audio.
const encodedRate = 48000

var languageForm = regexp.MustCompile(`^[a-z]{2,3}$`)

// decide plans a film: copy what browsers play, encode the rest. A picture that is kept is the only rendition unless the request
// asks for smaller ones beside it: they cost hours, and split the audience.
func decide(f *film, r *Request) (plan, error) {
	var p plan
	codec := r.Codec
	why := videoReason(f)
	var reasons []string
	if why != "" {
		reasons = append(reasons, why)
	}
	list := heights(f, why != "" || r.Ladder)
	if why == "" {
		codec = Codec(f.video.Codec) // renditions between which players switch are of one codec
		switch {
		case len(list) > 1 && codec == AV1:
			return p, errors.New("smaller renditions cannot be made beside an AV1 picture that is kept as it is: leave out --ladder")
		case len(list) > 1:
			reasons = append(reasons, "smaller renditions were asked for")
		}
		list[0] = f.video.Height
	}
	rate, group := frameRate(&f.video)
	for i, h := range list {
		k := Track{
			Path: fmt.Sprintf("video-%dp.mp4", h), video: true, stream: f.video.Index, encode: why != "" || i > 0,
			width: f.video.Width, height: f.video.Height, codec: codec, follow: why == "",
		}
		if k.encode {
			// Pixels are made square.
			w := float64(f.video.shownWidth()) * float64(h) / float64(f.video.Height)
			k.width, k.height = max(int(math.Round(w/2))*2, 2), max(h&^1, 2)
			k.laced = !progressive(f.video.FieldOrder)
			if codec == AV1 {
				k.rate, k.group = rate, group
				if k.height < 64 || k.width < 64 {
					return p, fmt.Errorf("a picture of %d×%d is too small for AV1: choose another with --codec", k.width, k.height)
				}
			}
		}
		p.tracks = append(p.tracks, k)
	}
	for i, s := range f.audio {
		t := Track{Path: "audio.mp4", stream: s.Index, Start: s.packets.opening - f.video.packets.first}
		if i > 0 {
			t.Path = fmt.Sprintf("audio-%d.mp4", i+1)
		}
		t.adts = s.Codec == "aac"
		t.Lang = language(s.Tags.Language)
		if s.Codec != "aac" && s.Codec != "opus" {
			t.encode = true
			t.codec = r.Codec
			t.from = f.video.packets.first - f.start
			t.Start = -float64(aacPriming) / encodedRate
			if t.codec != H264 {
				t.Start = -float64(opusPriming) / encodedRate
			}
			reasons = append(reasons, fmt.Sprintf("audio is %s, which not all browsers play", strings.ToUpper(s.Codec)))
		}
		p.tracks = append(p.tracks, t)
	}
	p.reason = strings.Join(slices.Compact(reasons), "; ")
	return p, nil
}

// language is a container's word for a language, where it is one: two or three letters.
func language(tag string) string {
	if tag = strings.ToLower(tag); languageForm.MatchString(tag) && tag != "und" {
		return tag
	}
	return ""
}

// shownWidth is how wide the picture is when its pixels are made square.
func (v *stream) shownWidth() int {
	a, b, ok := strings.Cut(v.Aspect, ":")
	if x, y := number(a), number(b); ok && x > 0 && y > 0 && x/y > 0.1 && x/y < 10 {
		return int(math.Round(float64(v.Width) * x / y))
	}
	return v.Width
}

// frameRate is a steady rate for an encoder that wants one, and how many frames make two seconds.
func frameRate(v *stream) (rate string, group int) {
	of := func(s string) float64 {
		a, b, _ := strings.Cut(s, "/")
		if y := number(b); y > 0 {
			return number(a) / y
		}
		return 0
	}
	rate, fps := v.Rate, of(v.Rate)
	if fps < 1 || fps > 61 { // the clock's rate rather than the frames'
		fps = math.Round(min(max(of(v.MeanRate), 10), 60))
		rate = fmt.Sprintf("%.0f/1", fps)
	}
	return rate, int(math.Round(2 * fps))
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
func heights(f *film, ladder bool) []int {
	h := f.video.Height
	if !ladder {
		return []int{h}
	}
	for _, s := range f.video.Sides {
		if q := math.Abs(s.Rotation); q == 90 || q == 270 {
			// ffmpeg turns the picture before it is scaled, and its pixels with it.
			f.video.Width, f.video.Height, h = h, f.video.shownWidth(), f.video.shownWidth()
			f.video.Aspect = ""
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
