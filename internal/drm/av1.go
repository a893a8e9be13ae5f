package drm

import "essaim/internal/cmaf/box"

// av1 splits samples of AV1: open bitstream units (OBUs), of which tiles alone are protected (AV1 Codec ISO Media File Format Binding
// 1.3, 4.2): with cenc the whole blocks at a tile's end, with cbcs all of it. A tile lies behind a header whose length depends on
// what was said about the frames before, so headers are parsed and what they say is kept (av1_frame.go). Section numbers are of the AV1
// Bitstream & Decoding Process Specification.
type av1 struct {
	seq   *av1Sequence
	refs  [8]av1Frame
	frame av1Frame // whose tiles are next
	open  bool     // some of them are yet to come
	layer uint32   // temporal and spatial, as the OBU's extension has them
}

// OBU types (6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuTileGroup         = 4
	obuFrame             = 6
	obuRedundantHeader   = 7
	obuTileList          = 8
)

// newAV1 reads an AV1 codec configuration record (AV1 Codec ISO Media File Format Binding, 2.3.3).
func newAV1(record []byte) (*av1, error) {
	if len(record) < 4 {
		return nil, box.Malformed("AV1 configuration cut short")
	}
	a := &av1{}
	return a, a.units(record[4:], nil)
}

func (a *av1) split(p []byte, l *layout) error {
	a.open = false
	return a.units(p, l)
}

// units walks through OBUs (5.3); l is nil for those of the configuration.
func (a *av1) units(p []byte, l *layout) error {
	noted := 0 // of p, in l
	for at := 0; at < len(p); {
		kind, extended, sized := p[at]>>3&15, p[at]>>2&1 != 0, p[at]>>1&1 != 0
		at++
		a.layer = 0
		if extended {
			if at == len(p) {
				return box.Malformed("an OBU cut short")
			}
			a.layer = uint32(p[at])
			at++
		}
		size := len(p) - at
		if sized {
			n, length := leb128(p[at:])
			if length == 0 || n > size-length {
				return box.Malformed("an OBU cut short")
			}
			at, size = at+length, n
		}
		tiles, err := a.unit(kind, extended, p[at:at+size])
		if err != nil {
			return err
		}
		if len(tiles) > 0 && l == nil {
			return box.Malformed("tiles in the configuration of AV1")
		}
		for _, t := range tiles {
			l.add(at+t.from-noted, t.to-t.from)
			noted = at + t.to
		}
		at += size
	}
	return nil
}

// leb128 reads a number (4.10.5) and says how many bytes it has; none if it cannot be.
func leb128(p []byte) (n, length int) {
	for i := range min(len(p), 5) {
		n |= int(p[i]&0x7f) << (7 * i)
		if p[i]&0x80 == 0 {
			return n, i + 1
		}
	}
	return 0, 0
}

// unit reads an OBU's payload and returns where its tiles are.
func (a *av1) unit(kind byte, extended bool, p []byte) ([]span, error) {
	switch kind {
	case obuSequenceHeader:
		seq, err := readAV1Sequence(p)
		if err == nil {
			a.seq = seq
		}
		return nil, err
	case obuTemporalDelimiter:
		a.open = false
		return nil, nil
	case obuTileList:
		return nil, box.Malformed("AV1 with tile lists, which browsers do not play")
	case obuFrameHeader, obuFrame, obuRedundantHeader, obuTileGroup:
	default:
		return nil, nil
	}
	if a.seq == nil {
		return nil, box.Malformed("a frame of AV1 before its sequence header")
	}
	if point := a.seq.points[0].idc; extended && point != 0 && !a.within(point) {
		return nil, box.Malformed("AV1 in layers, of which not all are shown")
	}
	header := 0
	if kind != obuTileGroup && !a.open {
		b := &bitReader{p: p}
		existing, err := a.header(b)
		if err != nil {
			return nil, err
		}
		if b.short {
			return nil, box.Malformed("a frame header of AV1 cut short")
		}
		if existing {
			return nil, nil
		}
		a.open, header = true, b.bytes()
	} else if kind == obuFrame {
		return nil, box.Malformed("a frame of AV1 within another")
	}
	if kind == obuFrameHeader || kind == obuRedundantHeader {
		return nil, nil
	}
	if !a.open {
		return nil, box.Malformed("tiles of AV1 without a frame")
	}
	return a.tiles(p, header)
}

// within reports whether the OBU's layer belongs to an operating point.
func (a *av1) within(point uint32) bool {
	temporal, spatial := a.layer>>5, a.layer>>3&3
	return point>>temporal&1 != 0 && point>>(spatial+8)&1 != 0
}

// tiles are those of a tile group that begins at from in p and ends where p does (5.11.1).
func (a *av1) tiles(p []byte, from int) (list []span, err error) {
	f := &a.frame
	all := f.tileCols * f.tileRows
	first, last := 0, all-1
	b := &bitReader{p: p[from:]}
	if all > 1 && b.flag() {
		first, last = int(b.u(f.tileBits)), int(b.u(f.tileBits))
	}
	at := from + b.bytes()
	if b.short || first > last || last >= all {
		return nil, box.Malformed("tiles %d to %d of %d", first, last, all)
	}
	for i := first; i <= last; i++ {
		n := len(p) - at
		if i < last {
			if n < f.tileSizeBytes {
				return nil, box.Malformed("a tile cut short")
			}
			size := 1
			for j := range f.tileSizeBytes {
				size += int(p[at+j]) << (8 * j)
			}
			if at += f.tileSizeBytes; size > len(p)-at {
				return nil, box.Malformed("a tile of %d bytes in %d", size, len(p)-at)
			}
			n = size
		}
		list = append(list, span{at, at + n})
		at += n
	}
	if last == all-1 {
		a.keep()
		a.open = false
	}
	return list, nil
}

// keep puts the frame that is complete into the slots that it is meant for (7.20).
func (a *av1) keep() {
	for i := range a.refs {
		if a.frame.refresh>>i&1 != 0 {
			a.refs[i] = a.frame
		}
	}
}

// av1Sequence is what a sequence header says about frame headers (5.5).
type av1Sequence struct {
	reduced                  bool // of a still picture
	points                   []av1Point
	model, equalPicture      bool // decoder model; pictures of equal length
	removalBits, timeBits    int
	widthBits, heightBits    int
	width, height            int
	idBits, deltaIDBits      int // of frames; 0: not numbered
	large                    bool
	warped, orderHint, mvs   bool
	screenTools, integerMV   uint32 // 2: each frame says so itself
	orderBits                int
	superres, cdef, restored bool
	mono, separateUV         bool
	subX, subY               bool
	grain                    bool
}

// av1Point is an operating point.
type av1Point struct {
	idc   uint32
	model bool
}

const eachFrameSays = 2

func readAV1Sequence(p []byte) (*av1Sequence, error) {
	b := &bitReader{p: p}
	s := &av1Sequence{screenTools: eachFrameSays, integerMV: eachFrameSays}
	profile := b.u(3)
	b.bit()
	if s.reduced = b.flag(); s.reduced {
		b.skip(5)
		s.points = []av1Point{{}}
	} else {
		s.readPoints(b)
	}
	s.widthBits, s.heightBits = int(b.u(4))+1, int(b.u(4))+1
	s.width, s.height = int(b.u(s.widthBits))+1, int(b.u(s.heightBits))+1
	if !s.reduced && b.flag() {
		s.deltaIDBits = int(b.u(4)) + 2
		s.idBits = int(b.u(3)) + s.deltaIDBits + 1
	}
	s.large = b.flag()
	b.skip(2)
	if !s.reduced {
		b.skip(2)
		s.warped = b.flag()
		b.bit()
		if s.orderHint = b.flag(); s.orderHint {
			b.bit()
			s.mvs = b.flag()
		}
		if !b.flag() {
			s.screenTools = b.bit()
		}
		if s.screenTools > 0 && !b.flag() {
			s.integerMV = b.bit()
		}
		if s.orderHint {
			s.orderBits = int(b.u(3)) + 1
		}
	}
	s.superres, s.cdef, s.restored = b.flag(), b.flag(), b.flag()
	s.readColors(b, profile)
	s.grain = b.flag()
	if b.short || profile > 2 {
		return nil, box.Malformed("a sequence header of AV1 that cannot be")
	}
	return s, nil
}

// readPoints reads timing, decoder model and operating points.
func (s *av1Sequence) readPoints(b *bitReader) {
	delayBits := 0
	if b.flag() {
		b.skip(64)
		if s.equalPicture = b.flag(); s.equalPicture {
			b.uvlc()
		}
		if s.model = b.flag(); s.model {
			delayBits = int(b.u(5)) + 1
			b.skip(32)
			s.removalBits, s.timeBits = int(b.u(5))+1, int(b.u(5))+1
		}
	}
	delay := b.flag()
	for range b.u(5) + 1 {
		x := av1Point{idc: b.u(12)}
		if b.u(5) > 7 {
			b.bit()
		}
		if s.model {
			if x.model = b.flag(); x.model {
				b.skip(2*delayBits + 1)
			}
		}
		if delay && b.flag() {
			b.skip(4)
		}
		s.points = append(s.points, x)
	}
}

// readColors reads color_config (5.5.2).
func (s *av1Sequence) readColors(b *bitReader, profile uint32) {
	high, twelve := b.flag(), false
	if profile == 2 && high {
		twelve = b.flag()
	}
	if profile != 1 {
		s.mono = b.flag()
	}
	primaries, transfer, matrix := uint32(2), uint32(2), uint32(2)
	if b.flag() {
		primaries, transfer, matrix = b.u(8), b.u(8), b.u(8)
	}
	switch {
	case s.mono:
		b.bit()
		s.subX, s.subY = true, true
		return
	case primaries == 1 && transfer == 13 && matrix == 0: // sRGB
	default:
		b.bit()
		switch {
		case profile == 0:
			s.subX, s.subY = true, true
		case profile == 2 && twelve:
			if s.subX = b.flag(); s.subX {
				s.subY = b.flag()
			}
		case profile == 2:
			s.subX = true
		}
		if s.subX && s.subY {
			b.skip(2)
		}
	}
	s.separateUV = b.flag()
}
