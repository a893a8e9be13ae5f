package cmaf

import (
	"io"
	"math"
	"math/bits"

	"essaim/internal/cmaf/box"
	"essaim/internal/cmaf/index"
)

// MuxArgs are the options by which ffmpeg 5.1 writes a track file as this package wants it, between the codec options and the
// output's name: one sidx in front, a fragment for each run of two seconds, cut at key frames and nowhere else, presentation
// from zero without edit lists, and nothing that changes from run to run. Key frames nearer than 1.9 s share a segment.
func MuxArgs(video bool) []string {
	a := []string{
		"-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact", "-flags", "+bitexact",
		"-f", "mp4", "-movflags", "+cmaf+dash+delay_moov+global_sidx+frag_keyframe+skip_trailer", "-use_editlist", "0",
	}
	if video {
		return append(a, "-min_frag_duration", "1900000")
	}
	return append(a, "-frag_duration", "2000000")
}

// A Track is what Read found in a track file.
type Track struct {
	Video      bool   // otherwise audio
	Codec      string // RFC 6381
	Width      int    // video: coded size in pixels
	Height     int
	SampleRate int // audio
	Channels   int
	Scheme     string // of encryption, for instance "cbcs" (ISO/IEC 23001-7); empty: in the clear
	KID        [16]byte
	Timescale  uint32 // ticks per second of all times below
	Size       int64  // bytes of the file

	// InitEnd is where the initialisation segment (ftyp and moov) ends; it begins at 0.
	InitEnd int64
	// IndexFrom and IndexTo delimit the sidx box, IndexTo exclusive.
	IndexFrom, IndexTo int64
	Segments           []Segment

	trackID  uint32
	trex     defaults
	decodeAt []int64 // where each fragment's decode time lies in the file, for Settle
	decode   []uint64
	found    []span // when each segment plays, by its fragments
}

// A Segment is one reference of the sidx: a whole number of fragments, the first sample a key frame.
type Segment struct {
	From, To int64  // bytes of the file, To exclusive
	Start    uint64 // presentation time of its first frame in ticks of the file's own clock
	Duration uint64
}

// End is the presentation time at which the track ends, in ticks.
func (t *Track) End() uint64 {
	s := t.Segments[len(t.Segments)-1]
	return s.Start + s.Duration
}

// Ms turns ticks into milliseconds, rounded down.
func (t *Track) Ms(ticks uint64) uint64 {
	hi, lo := bits.Mul64(ticks, 1000)
	if hi >= uint64(t.Timescale) {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, uint64(t.Timescale))
	return q
}

// Index maps the file's bytes to milliseconds of film, where zero is the tick of the file's clock at which the film begins.
// What plays before it counts as playing at 0.
func (t *Track) Index(zero uint64) index.Index {
	at := func(ticks uint64) uint32 {
		return uint32(min(t.Ms(ticks-min(ticks, zero)), math.MaxUint32))
	}
	x := make(index.Index, len(t.Segments))
	for i, s := range t.Segments {
		start := at(s.Start)
		x[i] = index.Segment{From: uint64(s.From), To: uint64(s.To), StartMs: start, DurationMs: at(s.Start+s.Duration) - start}
	}
	return x
}

// Read reads a track file's boxes and checks its structure: ftyp, moov with one track, sidx, and then segments without
// gap to the file's last byte, each beginning with a moof whose first sample is a sync sample, whose samples lie in its
// mdat, and whose time is what the sidx says to a tenth of a second (a player seeks by it). Errors of content wrap
// ErrMalformed.
func Read(r io.ReaderAt, size int64) (*Track, error) {
	t, err := read(r, size)
	if err != nil {
		return nil, err
	}
	for i, s := range t.Segments {
		if off := int64(t.found[i].start - s.Start); off > int64(t.Timescale)/10 || -off > int64(t.Timescale)/10 {
			return nil, box.Malformed("segment %d begins at tick %d, its index says %d", i, t.found[i].start, s.Start)
		}
	}
	return t, nil
}

// Scan is Read without the comparison of times, for a file that Settle has yet to correct.
func Scan(r io.ReaderAt, size int64) (*Track, error) { return read(r, size) }

// read is Read without the comparison of times.
func read(r io.ReaderAt, size int64) (*Track, error) {
	t := &Track{Size: size}
	var at int64
	for i := 0; ; i++ {
		if i == 8 || at >= size {
			return nil, box.Malformed("no segment index near the beginning")
		}
		b, err := box.Read(r, at, size)
		if err != nil {
			return nil, err
		}
		at = b.End()
		if i == 0 && b.Kind != "ftyp" {
			return nil, box.Malformed("begins with %q instead of ftyp", b.Kind)
		}
		switch b.Kind {
		case "ftyp", "free", "skip":
		case "moov":
			if t.InitEnd != 0 {
				return nil, box.Malformed("a second moov")
			}
			p, err := b.Payload(r)
			if err != nil {
				return nil, err
			}
			if err := t.moov(p, b.Offset+b.Header); err != nil {
				return nil, err
			}
			t.InitEnd = at
		case "sidx":
			if t.InitEnd == 0 {
				return nil, box.Malformed("sidx before moov")
			}
			p, err := b.Payload(r)
			if err != nil {
				return nil, err
			}
			t.IndexFrom, t.IndexTo = b.Offset, at
			if err := t.sidx(p); err != nil {
				return nil, err
			}
			return t, t.fragments(r)
		default:
			return nil, box.Malformed("%q before the segment index", b.Kind)
		}
	}
}

// moov reads the description of the one track.
func (t *Track) moov(p []byte, offset int64) error {
	tracks := 0
	var handler string
	var stsd []byte
	var visit func(b box.Box, p []byte, depth int) error
	visit = func(b box.Box, p []byte, depth int) error {
		c := &box.Cursor{P: p}
		switch b.Kind {
		case "trak":
			tracks++
			fallthrough
		case "mdia", "minf", "stbl", "mvex":
			return box.Children(p, 0, depth, visit)
		case "edts":
			return box.Malformed("an edit list, which players treat differently")
		case "tkhd":
			v, _ := c.Full()
			c.Word(v)
			c.Word(v)
			t.trackID = c.U32()
		case "mdhd":
			v, _ := c.Full()
			c.Word(v)
			c.Word(v)
			t.Timescale = c.U32()
		case "hdlr":
			c.Full()
			c.U32()
			handler = string(c.Take(4))
		case "stsd":
			stsd = p
		case "trex":
			c.Full()
			c.U32()
			c.U32()
			t.trex = defaults{c.U32(), c.U32(), c.U32()}
		}
		if c.Short {
			return box.Malformed("%q cut short", b.Kind)
		}
		return nil
	}
	if err := box.Children(p, offset, 0, visit); err != nil {
		return err
	}
	if tracks != 1 || t.Timescale == 0 || stsd == nil {
		return box.Malformed("%d tracks, want one, with its clock and description", tracks)
	}
	switch handler {
	case "vide":
		t.Video = true
	case "soun":
	default:
		return box.Malformed("a track of kind %q", handler)
	}
	return t.sampleEntry(stsd, 4)
}

// sidx reads the segment index (ISO/IEC 14496-12, 8.16.3).
func (t *Track) sidx(p []byte) error {
	c := &box.Cursor{P: p}
	v, _ := c.Full()
	c.U32()
	if scale := c.U32(); scale != t.Timescale {
		return box.Malformed("segment index counts %d ticks a second, the track %d", scale, t.Timescale)
	}
	start, first := c.Word(v), c.Word(v)
	c.U16()
	n := int(c.U16())
	if c.Short || n == 0 || len(c.P) != 12*n {
		return box.Malformed("segment index of %d references", n)
	}
	if first > uint64(t.Size) || start > 1<<60 {
		return box.Malformed("segment index points outside the file")
	}
	at := t.IndexTo + int64(first)
	t.Segments = make([]Segment, n)
	for i := range t.Segments {
		ref, dur, sap := c.U32(), c.U32(), c.U32()
		if ref>>31 != 0 {
			return box.Malformed("segment index of segment indexes")
		}
		if sap>>31 != 1 {
			return box.Malformed("segment %d does not begin with a stream access point", i)
		}
		if ref == 0 || dur == 0 {
			return box.Malformed("segment %d is empty", i)
		}
		s := Segment{From: at, To: at + int64(ref), Start: start, Duration: uint64(dur)}
		t.Segments[i] = s
		at, start = s.To, start+s.Duration
	}
	if at != t.Size {
		return box.Malformed("segments end at byte %d of %d", at, t.Size)
	}
	return nil
}
