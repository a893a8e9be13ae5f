package drm

import "essaim/internal/cmaf/box"

// vp9 splits samples of VP9: one frame, or several with an index behind them (a superframe). Each frame's uncompressed header stays in
// the clear, and the index; protected are whole blocks (VP Codec ISO Media File Format Binding 1.0, "Sample Encryption"). Where a header
// ends depends on the sizes of the frames it refers to, so these are kept. Section numbers are of the VP9 Bitstream &
// Decoding Process Specification 0.6.
type vp9 struct {
	width [8]uint32 // of the frame in each slot; 0 for none
}

func (v *vp9) split(p []byte, l *layout) error {
	l.align = true
	frames, err := superframe(p)
	if err != nil {
		return err
	}
	for _, n := range frames {
		clear, err := v.header(p[:n])
		if err != nil {
			return err
		}
		l.add(clear, n-clear)
		p = p[n:]
	}
	return nil
}

// superframe is the sizes of the frames in a sample (Annex B).
func superframe(p []byte) ([]int, error) {
	if len(p) == 0 {
		return nil, nil
	}
	marker := p[len(p)-1]
	count, width := int(marker&7)+1, int(marker>>3&3)+1
	size := 2 + count*width
	if marker>>5 != 6 || len(p) < size || p[len(p)-size] != marker {
		return []int{len(p)}, nil
	}
	index, left := p[len(p)-size+1:len(p)-1], len(p)-size
	var frames []int
	for ; len(index) > 0; index = index[width:] {
		n := 0
		for i := range width {
			n |= int(index[i]) << (8 * i)
		}
		if n > left {
			return nil, box.Malformed("a frame of %d bytes in a superframe with %d left", n, left)
		}
		left -= n
		if n > 0 {
			frames = append(frames, n)
		}
	}
	if left > 0 {
		return nil, box.Malformed("%d bytes of a superframe belong to no frame", left)
	}
	return frames, nil
}

// header is the length in bytes of a frame's uncompressed header (6.2).
func (v *vp9) header(p []byte) (int, error) {
	b := &bitReader{p: p}
	marker := b.u(2)
	profile := b.u(1) | b.u(1)<<1
	if profile == 3 {
		b.bit()
	}
	if marker != 2 || b.short {
		return 0, box.Malformed("no frame of VP9")
	}
	if b.flag() { // show an existing frame
		b.skip(3)
		return b.bytes(), nil
	}
	key := !b.flag()
	shown, resilient := b.flag(), b.flag()
	width, refresh := uint32(0), uint32(0xff)
	intra := false
	if !key {
		intra = !shown && b.flag()
		if !resilient {
			b.skip(2)
		}
	}
	switch {
	case key:
		b.skip(24)
		vp9Colors(b, profile)
		width = vp9Size(b)
	case intra:
		b.skip(24)
		if profile > 0 {
			vp9Colors(b, profile)
		}
		refresh = b.u(8)
		width = vp9Size(b)
	default:
		refresh = b.u(8)
		width = v.sizeOfRefs(b)
		b.bit()
		if !b.flag() { // interpolation filter
			b.skip(2)
		}
	}
	if width == 0 {
		return 0, box.Malformed("a frame of VP9 that refers to one that is not there")
	}
	if !resilient {
		b.skip(2)
	}
	b.skip(2)
	vp9Filters(b)
	vp9Segments(b)
	vp9Tiles(b, width)
	if b.u(16) == 0 || b.short {
		return 0, box.Malformed("a frame header of VP9 cut short")
	}
	for i := range v.width {
		if refresh>>i&1 != 0 {
			v.width[i] = width
		}
	}
	return b.bytes(), nil
}

// vp9Colors reads color_config (6.2.2).
func vp9Colors(b *bitReader, profile uint32) {
	if profile >= 2 {
		b.bit()
	}
	const rgb = 7
	if b.u(3) != rgb {
		b.bit()
		if profile&1 == 1 {
			b.skip(3)
		}
	} else if profile&1 == 1 {
		b.bit()
	}
}

// vp9Size reads frame_size and render_size (6.2.3, 6.2.4) and returns the width.
func vp9Size(b *bitReader) uint32 {
	width := b.u(16) + 1
	b.skip(16)
	if b.flag() {
		b.skip(32)
	}
	return width
}

// sizeOfRefs reads which frames are referred to, and frame_size_with_refs (6.2.5); 0 where there is none.
func (v *vp9) sizeOfRefs(b *bitReader) uint32 {
	var refs [3]uint32
	for i := range refs {
		refs[i] = b.u(3)
		b.bit()
	}
	for _, r := range refs {
		if b.flag() {
			if b.flag() { // render size
				b.skip(32)
			}
			return v.width[r]
		}
	}
	return vp9Size(b)
}

// vp9Filters reads loop_filter_params and quantization_params (6.2.8, 6.2.9).
func vp9Filters(b *bitReader) {
	b.skip(9)
	b.deltas(4 + 2)
	b.skip(8)
	for range 3 {
		if b.flag() {
			b.skip(5)
		}
	}
}

// vp9Segments reads segmentation_params (6.2.11).
func vp9Segments(b *bitReader) {
	if !b.flag() {
		return
	}
	if b.flag() {
		for range 7 {
			if b.flag() {
				b.skip(8)
			}
		}
		if b.flag() {
			for range 3 {
				if b.flag() {
					b.skip(8)
				}
			}
		}
	}
	if !b.flag() {
		return
	}
	b.bit()
	for range 8 {
		for _, n := range [...]int{8 + 1, 6 + 1, 2, 0} {
			if b.flag() {
				b.skip(n)
			}
		}
	}
}

// vp9Tiles reads tile_info (6.2.13).
func vp9Tiles(b *bitReader, width uint32) {
	blocks := (width + 63) / 64
	least, most := 0, 1
	for 64<<least < blocks {
		least++
	}
	for blocks>>most >= 4 {
		most++
	}
	most--
	for n := least; n < most && b.flag(); n++ {
	}
	if b.flag() {
		b.bit()
	}
}
