package synthetic

import (
	"encoding/binary"
	"fmt"
	"io"

	"essaim/internal/vod"
)

// The form of every synthetic film. Its clock has a thousand ticks for each of 25 frames in a second.
const (
	segments      = 90
	frames        = 50 // of a segment: two seconds
	frameTicks    = 1000
	timescale     = 25 * frameTicks
	segmentTicks  = frames * frameTicks
	width, height = 1280, 720

	syncFlags    = 0x02000000 // depends on no other sample (ISO/IEC 14496-12, 8.8.3.1)
	nonSyncFlags = 0x01010000 // depends on others, and is no sync sample
)

// The rates that a synthetic film may have, in bits per second: at the lowest a frame is some hundred bytes, at the highest
// the film is 1.1 GB.
const (
	RateMin = 100_000
	RateMax = 50_000_000
)

// File is the one track file of a synthetic film of 180 s. Nothing of it is kept: every byte follows from its place and the
// rate. It is an io.ReaderAt, and safe for concurrent use.
type File struct {
	rate    int64
	head    []byte // ftyp, moov and sidx
	segment int64  // bytes of each
}

// NewFile returns the file of a rate in bits per second, which its segments have exactly. Another rate than RateMin to
// RateMax is vod.ErrInvalid.
func NewFile(rate int64) (*File, error) {
	if rate < RateMin || rate > RateMax {
		return nil, fmt.Errorf("%w: a synthetic film of %d bit/s: want %d to %d", vod.ErrInvalid, rate, RateMin, RateMax)
	}
	f := &File{rate: rate, segment: rate * segmentTicks / timescale / 8}
	f.head = append(initialisation(), index(f.segment)...)
	return f, nil
}

// Size is the file's length in bytes.
func (f *File) Size() int64 { return int64(len(f.head)) + segments*f.segment }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read a synthetic film at %d: %w", off, vod.ErrInvalid)
	}
	for n < len(p) && off < f.Size() {
		k := f.part(p[n:], off)
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// part fills p from off to the end of what lies there: the head, a segment's boxes or its payload.
func (f *File) part(p []byte, off int64) int {
	if off < int64(len(f.head)) {
		return copy(p, f.head[off:])
	}
	i, at := (off-int64(len(f.head)))/f.segment, (off-int64(len(f.head)))%f.segment
	boxes := fragment(i, f.segment)
	if at < int64(len(boxes)) {
		return copy(p, boxes[at:])
	}
	p = p[:min(int64(len(p)), f.segment-at)]
	f.noise(p, off)
	return len(p)
}

// noise fills p with the payload at off: eight bytes to a word, each word a number that its place, counted on from a start
// that differs by rate, is mixed to (the finalizer of SplitMix64, Steele, Lea and Flood 2014).
func (f *File) noise(p []byte, off int64) {
	var word [8]byte
	for len(p) > 0 {
		z := (uint64(off/8) + 1 + uint64(f.rate)<<32) * 0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.LittleEndian.PutUint64(word[:], z^z>>31)
		n := copy(p, word[off%8:])
		p, off = p[n:], off+int64(n)
	}
}

// box wraps its content's parts into a box of ISO/IEC 14496-12.
func box(kind string, parts ...[]byte) []byte {
	b := append(make([]byte, 4, 64), kind...)
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// full is a box with a version and flags.
func full(kind string, version uint8, flags uint32, parts ...[]byte) []byte {
	return box(kind, append([][]byte{u32(uint32(version)<<24 | flags)}, parts...)...)
}

func u32(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func zeros(n int) []byte { return make([]byte, n) }

// initialisation is ftyp and moov (ISO/IEC 14496-12, 4.3 and 8.2), with the brand of CMAF (ISO/IEC 23000-19, 7.2).
func initialisation() []byte {
	matrix := u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
	movie := full("mvhd", 0, 0, u32(0, 0, timescale, 0, 0x10000, 0x01000000), zeros(8), matrix, zeros(24), u32(2))
	header := full("tkhd", 0, 3, u32(0, 0, 1, 0, 0), zeros(16), matrix, u32(width<<16, height<<16))
	media := box("mdia",
		full("mdhd", 0, 0, u32(0, 0, timescale, 0, 0x55c40000)), // language "und"
		full("hdlr", 0, 0, zeros(4), []byte("vide"), zeros(12), []byte("synthetic\x00")),
		box("minf",
			full("vmhd", 0, 1, zeros(8)),
			box("dinf", full("dref", 0, 0, u32(1), full("url ", 0, 1))),
			box("stbl",
				full("stsd", 0, 0, u32(1), sampleEntry()),
				full("stts", 0, 0, u32(0)), full("stsc", 0, 0, u32(0)), full("stsz", 0, 0, u32(0, 0)), full("stco", 0, 0, u32(0)),
			),
		),
	)
	return append(
		box("ftyp", []byte("iso6"), u32(0), []byte("iso6cmfc")),
		box("moov", movie, box("trak", header, media), box("mvex", full("trex", 0, 0, u32(1, 1, 0, 0, 0))))...,
	)
}

// sampleEntry is an avc1 whose configuration (ISO/IEC 14496-15, 5.3.3) has vod.SyntheticCodec's profile and level, and no
// parameter sets.
func sampleEntry() []byte {
	resolution := u32(72<<16, 72<<16, 0)
	return box("avc1",
		zeros(6), []byte{0, 1}, zeros(16), u32(width<<16|height), resolution, []byte{0, 1}, zeros(32), []byte{0, 24, 0xff, 0xff},
		box("avcC", []byte{1, 0, 0, 0, 0xff, 0xe0, 0}),
	)
}

// index is the sidx (ISO/IEC 14496-12, 8.16.3) of segments of equal length.
func index(segment int64) []byte {
	parts := [][]byte{u32(1, timescale), u64(0), u64(0), u32(segments)}
	for range segments {
		parts = append(parts, u32(uint32(segment), segmentTicks, 0x90000000)) // begins with a stream access point of type 1
	}
	return full("sidx", 1, 0, parts...)
}

// fragment is segment i's moof, and its mdat's header.
func fragment(i, segment int64) []byte {
	const moofSize, mdatHeader = 8 + 16 + 8 + 24 + 20 + 24 + 4*frames, 8
	payload := segment - moofSize - mdatHeader
	sizes := make([]uint32, frames)
	for k := range sizes {
		sizes[k] = uint32(payload / frames)
	}
	sizes[frames-1] += uint32(payload % frames)
	moof := box("moof",
		full("mfhd", 0, 0, u32(uint32(i)+1)),
		box("traf",
			full("tfhd", 0, 0x20028, u32(1, frameTicks, nonSyncFlags)), // default-base-is-moof, duration, flags
			full("tfdt", 1, 0, u64(uint64(i)*segmentTicks)),
			full("trun", 0, 0x205, u32(frames, moofSize+mdatHeader, syncFlags), u32(sizes...)), // offset, first flags, sizes
		),
	)
	return append(append(moof, u32(uint32(payload+mdatHeader))...), "mdat"...)
}
