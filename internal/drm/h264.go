package drm

import (
	"essaim/internal/cmaf/box"
)

// h264 splits samples of H.264: NAL units behind their lengths (ISO/IEC 14496-15, 5.3.2). Slices are protected behind their headers,
// which ISO/IEC 23001-7 (10.4.2 for cbcs, and 10.1's advice for cenc) has in the clear because decoders parse them before they decrypt; so
// slice headers are parsed, and with them the parameter sets that say how they read. All other units stay in the clear.
type h264 struct {
	lengthSize int
	sps        [32]*h264SPS
	pps        [256]*h264PPS
}

// h264SPS is what a sequence parameter set says about slice headers (H.264, 7.3.2.1.1).
type h264SPS struct {
	planes       bool // colour planes are coded apart
	chroma       uint32
	frameNumBits int
	pocType      uint32
	pocBits      int
	deltaPOCZero bool
	framesOnly   bool
}

// h264PPS is what a picture parameter set says about them (7.3.2.2).
type h264PPS struct {
	sps           uint32
	cabac         bool
	bottomPOC     bool
	groups        bool // slice groups
	refs          [2]uint32
	weighted      bool
	weightedB     uint32
	deblocking    bool
	redundantPics bool
}

// newH264 reads an AVC decoder configuration record (ISO/IEC 14496-15, 5.3.3.1).
func newH264(record []byte) (*h264, error) {
	c := &box.Cursor{P: record}
	c.Skip(4)
	h := &h264{lengthSize: int(c.U8()&3) + 1}
	if h.lengthSize == 3 {
		return nil, box.Malformed("NAL unit lengths of 3 bytes")
	}
	for _, mask := range []uint8{31, 255} {
		for range c.U8() & mask {
			if err := h.unit(c.Take(int(c.U16()))); err != nil {
				return nil, err
			}
		}
	}
	if c.Short {
		return nil, box.Malformed("H.264 configuration cut short")
	}
	return h, nil
}

func (h *h264) split(p []byte, l *layout) error {
	for len(p) > 0 {
		n := 0
		if len(p) < h.lengthSize {
			return box.Malformed("a NAL unit's length cut short")
		}
		for _, b := range p[:h.lengthSize] {
			n = n<<8 | int(b)
		}
		p = p[h.lengthSize:]
		if n > len(p) {
			return box.Malformed("a NAL unit of %d bytes in %d", n, len(p))
		}
		clear, err := h.clear(p[:n])
		if err != nil {
			return err
		}
		l.add(h.lengthSize+clear, n-clear)
		p = p[n:]
	}
	return nil
}

// clear is how many bytes of a NAL unit stay in the clear.
func (h *h264) clear(unit []byte) (int, error) {
	if len(unit) == 0 {
		return 0, nil
	}
	switch unit[0] & 31 {
	case 1, 5:
		return h.slice(unit)
	case 2, 3, 4:
		return 0, box.Malformed("H.264 with data partitioning, which browsers do not play")
	case 19, 20, 21: // slices of transparency and of further views, which browsers pass over
		return min(4, len(unit)), nil
	}
	return len(unit), h.unit(unit)
}

// unit takes notice of a parameter set, and of nothing else.
func (h *h264) unit(unit []byte) error {
	if len(unit) == 0 {
		return nil
	}
	b := &bitReader{p: unit[1:], escaped: true}
	switch unit[0] & 31 {
	case 7:
		return h.readSPS(b)
	case 8:
		return h.readPPS(b)
	}
	return nil
}

func (h *h264) readSPS(b *bitReader) error {
	profile := b.u(8)
	b.skip(16)
	id := b.ue()
	s := &h264SPS{chroma: 1}
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if s.chroma = b.ue(); s.chroma == 3 {
			s.planes = b.flag()
		}
		b.ue()
		b.ue()
		b.bit()
		if b.flag() { // scaling lists
			lists := 8
			if s.chroma == 3 {
				lists = 12
			}
			for i := range lists {
				if b.flag() {
					skipScalingList(b, i)
				}
			}
		}
	}
	s.frameNumBits = int(b.ue()) + 4
	switch s.pocType = b.ue(); s.pocType {
	case 0:
		s.pocBits = int(b.ue()) + 4
	case 1:
		s.deltaPOCZero = b.flag()
		b.se()
		b.se()
		for n := b.ue(); n > 0 && !b.short; n-- {
			b.se()
		}
	}
	b.ue()
	b.bit()
	b.ue()
	b.ue()
	s.framesOnly = b.flag()
	if b.short || id >= uint32(len(h.sps)) || s.frameNumBits > 16 || s.pocBits > 16 || s.chroma > 3 || s.pocType > 2 {
		return box.Malformed("a sequence parameter set that cannot be")
	}
	h.sps[id] = s
	return nil
}

// skipScalingList reads over a scaling list (7.3.2.1.1.1).
func skipScalingList(b *bitReader, list int) {
	size := 16
	if list >= 6 {
		size = 64
	}
	last, next := int32(8), int32(8)
	for range size {
		if next != 0 {
			code := b.ue()
			delta := int32((code + 1) / 2)
			if code%2 == 0 {
				delta = -delta
			}
			next = (last + delta + 256) % 256
		}
		if next != 0 {
			last = next
		}
	}
}

func (h *h264) readPPS(b *bitReader) error {
	id := b.ue()
	s := &h264PPS{sps: b.ue()}
	s.cabac = b.flag()
	s.bottomPOC = b.flag()
	if s.groups = b.ue() > 0; !s.groups {
		s.refs = [2]uint32{b.ue() + 1, b.ue() + 1}
		s.weighted = b.flag()
		s.weightedB = b.u(2)
		b.se()
		b.se()
		b.se()
		s.deblocking = b.flag()
		b.bit()
		s.redundantPics = b.flag()
	}
	if b.short || id >= uint32(len(h.pps)) || s.sps >= uint32(len(h.sps)) || max(s.refs[0], s.refs[1]) > 32 {
		return box.Malformed("a picture parameter set that cannot be")
	}
	h.pps[id] = s
	return nil
}

// Slice types (H.264, table 7-6), modulo 5.
const (
	sliceP = iota
	sliceB
	sliceI
	sliceSP
	sliceSI
)

// slice is the length in bytes of a slice's NAL unit header and slice header (7.3.3), the last of them perhaps shared with the slice's data.
func (h *h264) slice(unit []byte) (int, error) {
	kind, reference := unit[0]&31, unit[0]>>5&3 != 0
	idr := kind == 5
	b := &bitReader{p: unit[1:], escaped: true}
	b.ue() // first macroblock
	slice := b.ue() % 5
	id := b.ue()
	if b.short || id >= uint32(len(h.pps)) || h.pps[id] == nil || h.sps[h.pps[id].sps] == nil {
		return 0, box.Malformed("a slice without its parameter sets")
	}
	p := h.pps[id]
	s := h.sps[p.sps]
	if p.groups {
		return 0, box.Malformed("H.264 with slice groups, which browsers do not play")
	}
	if s.planes {
		b.skip(2)
	}
	b.skip(s.frameNumBits)
	field := false
	if !s.framesOnly {
		if field = b.flag(); field {
			b.bit()
		}
	}
	if idr {
		b.ue()
	}
	switch {
	case s.pocType == 0:
		b.skip(s.pocBits)
		if p.bottomPOC && !field {
			b.se()
		}
	case s.pocType == 1 && !s.deltaPOCZero:
		b.se()
		if p.bottomPOC && !field {
			b.se()
		}
	}
	if p.redundantPics {
		b.ue()
	}
	h.references(b, p, s, slice)
	if reference {
		marking(b, idr)
	}
	if p.cabac && slice != sliceI && slice != sliceSI {
		b.ue()
	}
	b.se()
	if slice == sliceSP || slice == sliceSI {
		if slice == sliceSP {
			b.bit()
		}
		b.se()
	}
	if p.deblocking && b.ue() != 1 {
		b.se()
		b.se()
	}
	if b.short {
		return 0, box.Malformed("a slice header cut short")
	}
	return 1 + b.bytes(), nil
}

// references reads over which pictures a slice refers to, and with what weights (7.3.3.1, 7.3.3.2).
func (h *h264) references(b *bitReader, p *h264PPS, s *h264SPS, slice uint32) {
	lists := 0
	refs := p.refs
	switch slice {
	case sliceB:
		b.bit()
		lists = 2
	case sliceP, sliceSP:
		lists = 1
	}
	if lists > 0 && b.flag() {
		for i := range lists {
			refs[i] = b.ue() + 1
		}
	}
	for range lists {
		if !b.flag() {
			continue
		}
		for !b.short {
			op := b.ue()
			if op == 3 {
				break
			}
			b.ue()
		}
	}
	if lists == 1 && !p.weighted || lists == 2 && p.weightedB != 1 || lists == 0 {
		return
	}
	chroma := s.chroma != 0 && !s.planes
	b.ue()
	if chroma {
		b.ue()
	}
	for _, n := range refs[:lists] {
		for ; n > 0 && !b.short; n-- {
			if b.flag() {
				b.se()
				b.se()
			}
			if chroma && b.flag() {
				for range 4 {
					b.se()
				}
			}
		}
	}
}

// marking reads over what becomes of decoded pictures (7.3.3.3).
func marking(b *bitReader, idr bool) {
	if idr {
		b.skip(2)
		return
	}
	if !b.flag() {
		return
	}
	for !b.short {
		op := b.ue()
		switch op {
		case 0:
			return
		case 3:
			b.ue()
			b.ue()
		case 1, 2, 4, 6:
			b.ue()
		}
	}
}
