package cmaf

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// An Entry is one track file as a manifest names it.
type Entry struct {
	Path  string // within the torrent; the manifest's BaseURL, and without extension the Representation's id
	Track *Track
	Zero  uint64 // the tick of the track's clock at which the film begins: what comes before is not presented
	Lang  string // BCP 47, empty when unknown
}

// peakSeconds is the stretch over which Bandwidth looks for the worst: about what players keep in their buffers.
const peakSeconds = 10

// Bandwidth is the rate in bits per second at which the track arrives in time: that of its densest run of segments of
// about ten seconds (of all, if the track is shorter), headers included, rounded up to whole kilobits.
func (t *Track) Bandwidth() int {
	var worst float64
	from := 0
	for to := range t.Segments {
		a, b := t.Segments[from], t.Segments[to]
		for from < to && b.Start+b.Duration-t.Segments[from+1].Start >= peakSeconds*uint64(t.Timescale) {
			from++
			a = t.Segments[from]
		}
		span := b.Start + b.Duration - a.Start
		if span >= peakSeconds*uint64(t.Timescale) || to == len(t.Segments)-1 && from == 0 {
			worst = max(worst, float64(b.To-a.From)*8*float64(t.Timescale)/float64(span))
		}
	}
	return int(math.Ceil(worst/1000)) * 1000
}

// DurationMs is the length of the film that these tracks make: until the last of them ends.
func DurationMs(entries []Entry) uint32 {
	var ms uint64
	for _, e := range entries {
		ms = max(ms, e.Track.Ms(e.Track.End()-min(e.Track.End(), e.Zero)))
	}
	return uint32(min(ms, math.MaxUint32))
}

var errNoTracks = errors.New("a film needs a video track")

// Manifest is the DASH on-demand manifest (ISO/IEC 23009-1, profile isoff-on-demand:2011) of these files: one adaptation
// set with all video, one for each audio track, each representation one file whose sidx is the segment list. A track
// whose clock does not begin with the film gets a presentationTimeOffset. An encrypted one says so with its key's name
// (ISO/IEC 23009-1, 5.8.4.1; ISO/IEC 23001-7, 11.2), each representation for itself: the renditions of one set have different keys.
func Manifest(entries []Entry) (string, error) {
	set := func(kind string, n int) xmlSet {
		return xmlSet{ID: n, ContentType: kind, MimeType: kind + "/mp4", Aligned: true, SubSAP: 1, SAP: 1}
	}
	m := xmlMPD{
		NS: "urn:mpeg:dash:schema:mpd:2011", Profiles: "urn:mpeg:dash:profile:isoff-on-demand:2011", Type: "static",
		Duration: seconds(uint64(DurationMs(entries))), Buffer: "PT2S", Period: xmlPeriod{ID: "0", Start: "PT0S"},
	}
	video := set("video", 0)
	var first *Entry
	var audio []xmlSet
	for _, e := range entries {
		r := e.representation()
		if e.Track.Video {
			if first == nil {
				first = &e
			}
			video.Aligned = video.Aligned && aligned(first, &e)
			video.Representations = append(video.Representations, r)
			continue
		}
		a := set("audio", 0)
		a.Lang = e.Lang
		a.Representations = []xmlRepresentation{r}
		audio = append(audio, a)
	}
	if first == nil {
		return "", errNoTracks
	}
	// Players begin with the first sound where the viewer has asked for none: audio.mp4, then audio-2.mp4, then audio-10.mp4.
	slices.SortFunc(audio, func(a, b xmlSet) int {
		x, y := a.Representations[0].BaseURL, b.Representations[0].BaseURL
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	for i := range audio {
		audio[i].ID = i + 1
	}
	m.Period.Sets = append([]xmlSet{video}, audio...)
	b, err := xml.MarshalIndent(m, "", " ")
	if err != nil {
		return "", fmt.Errorf("write manifest: %w", err)
	}
	return xml.Header + string(b) + "\n", nil
}

func (e Entry) representation() xmlRepresentation {
	t := e.Track
	id := e.Path
	if i := strings.LastIndexByte(id, '.'); i > 0 {
		id = id[:i]
	}
	return xmlRepresentation{
		Protections: t.protections(),
		ID:          id, Codecs: t.Codec, Bandwidth: t.Bandwidth(), Width: t.Width, Height: t.Height, SampleRate: t.SampleRate, BaseURL: e.Path,
		Base: xmlSegmentBase{
			Timescale: t.Timescale, Offset: e.Zero, IndexRange: byteRange(t.IndexFrom, t.IndexTo), Exact: true,
			Init: xmlInit{Range: byteRange(0, t.InitEnd)},
		},
	}
}

// clearKeySystem and commonSystem are the schemes of DASH-IF's ClearKey and of the W3C's Common PSSH box.
const (
	clearKeySystem = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
	commonSystem   = "urn:uuid:1077efec-c0b2-4d02-ace3-3c1e52e2fb4b"
)

// protections are the ContentProtection elements of an encrypted track; none for one in the clear. The first says how it is encrypted
// and with which key, the others which key systems are known to open it: no licence server's address, since who plays learns it
// with the play session.
func (t *Track) protections() []xmlProtection {
	if t.Scheme == "" {
		return nil
	}
	k := t.KID
	kid := fmt.Sprintf("%x-%x-%x-%x-%x", k[:4], k[4:6], k[6:8], k[8:10], k[10:])
	return []xmlProtection{
		{System: "urn:mpeg:dash:mp4protection:2011", Value: t.Scheme, NS: "urn:mpeg:cenc:2013", KID: kid},
		{System: clearKeySystem, Value: "ClearKey1.0"},
		{System: commonSystem, Value: "cenc"},
	}
}

// aligned reports whether two renditions can be switched at every segment's beginning: they begin at the same moments of
// film, to a millisecond, which clocks of different rates may differ by.
func aligned(a, b *Entry) bool {
	if len(a.Track.Segments) != len(b.Track.Segments) {
		return false
	}
	at := func(e *Entry, i int) int64 {
		start := e.Track.Segments[i].Start
		return int64(e.Track.Ms(start - min(start, e.Zero)))
	}
	for i := range a.Track.Segments {
		if d := at(a, i) - at(b, i); d < -1 || d > 1 {
			return false
		}
	}
	return true
}

func seconds(ms uint64) string {
	return strings.TrimSuffix(fmt.Sprintf("PT%d.%03d", ms/1000, ms%1000), ".000") + "S"
}

// byteRange is inclusive at both ends, as in HTTP.
func byteRange(from, to int64) string { return fmt.Sprintf("%d-%d", from, to-1) }

type xmlMPD struct {
	XMLName  xml.Name  `xml:"MPD"`
	NS       string    `xml:"xmlns,attr"`
	Profiles string    `xml:"profiles,attr"`
	Type     string    `xml:"type,attr"`
	Duration string    `xml:"mediaPresentationDuration,attr"`
	Buffer   string    `xml:"minBufferTime,attr"`
	Period   xmlPeriod `xml:"Period"`
}

type xmlPeriod struct {
	ID    string   `xml:"id,attr"`
	Start string   `xml:"start,attr"`
	Sets  []xmlSet `xml:"AdaptationSet"`
}

type xmlSet struct {
	ID              int                 `xml:"id,attr"`
	ContentType     string              `xml:"contentType,attr"`
	MimeType        string              `xml:"mimeType,attr"`
	Lang            string              `xml:"lang,attr,omitempty"`
	Aligned         bool                `xml:"subsegmentAlignment,attr"`
	SubSAP          int                 `xml:"subsegmentStartsWithSAP,attr"`
	SAP             int                 `xml:"startWithSAP,attr"`
	Representations []xmlRepresentation `xml:"Representation"`
}

type xmlRepresentation struct {
	ID          string          `xml:"id,attr"`
	Codecs      string          `xml:"codecs,attr"`
	Bandwidth   int             `xml:"bandwidth,attr"`
	Width       int             `xml:"width,attr,omitempty"`
	Height      int             `xml:"height,attr,omitempty"`
	SampleRate  int             `xml:"audioSamplingRate,attr,omitempty"`
	Protections []xmlProtection `xml:"ContentProtection"`
	BaseURL     string          `xml:"BaseURL"`
	Base        xmlSegmentBase  `xml:"SegmentBase"`
}

type xmlProtection struct {
	System string `xml:"schemeIdUri,attr"`
	Value  string `xml:"value,attr"`
	NS     string `xml:"xmlns:cenc,attr,omitempty"`
	KID    string `xml:"cenc:default_KID,attr,omitempty"`
}

type xmlSegmentBase struct {
	Timescale  uint32  `xml:"timescale,attr"`
	Offset     uint64  `xml:"presentationTimeOffset,attr,omitempty"`
	IndexRange string  `xml:"indexRange,attr"`
	Exact      bool    `xml:"indexRangeExact,attr"`
	Init       xmlInit `xml:"Initialization"`
}

type xmlInit struct {
	Range string `xml:"range,attr"`
}
