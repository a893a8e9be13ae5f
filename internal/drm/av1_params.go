package drm

// rest reads an uncompressed header from behind tile_info to its end (5.9.2). from is the frame whose state it goes on with, or one of
// the state that stands at the beginning.
func (a *av1) rest(b *bitReader, f, from *av1Frame) {
	s := a.seq
	baseQ, plain := a.quantizer(b)
	segmented := a.segmentation(b, f, from)
	if baseQ > 0 && b.flag() { // delta_q_params and delta_lf_params
		b.skip(2)
		if !f.intraCopy && b.flag() {
			b.skip(3)
		}
	}
	lossless := plain
	for _, x := range f.segments {
		q := baseQ
		if segmented && x.enabled {
			q = min(max(q+x.delta, 0), 255)
		}
		lossless = lossless && q == 0
	}
	if !lossless && !f.intraCopy {
		a.loopFilter(b)
		if s.cdef {
			a.cdefParams(b)
		}
	}
	if !(lossless && f.width == f.upscaled) && !f.intraCopy && s.restored {
		a.restoration(b)
	}
	if !lossless {
		b.bit() // transform mode
	}
	if !f.intra() {
		if b.flag() && a.skipMode(f) { // compound references
			b.bit()
		}
		if !f.resilient && s.warped {
			b.bit()
		}
	}
	b.bit() // reduced transform set
	a.globalMotion(b, f, from)
	a.filmGrain(b, f)
}

// quantizer reads quantization_params (5.9.12); plain says that no plane's quantizer differs from the base.
func (a *av1) quantizer(b *bitReader) (base int, plain bool) {
	base, plain = int(b.u(8)), true
	delta := func() {
		if b.flag() && b.su(7) != 0 {
			plain = false
		}
	}
	delta()
	if !a.seq.mono {
		apart := a.seq.separateUV && b.flag()
		delta()
		delta()
		if apart {
			delta()
			delta()
		}
	}
	if b.flag() { // matrices
		b.skip(8)
		if a.seq.separateUV {
			b.skip(4)
		}
	}
	return base, plain
}

// segmentation reads segmentation_params (5.9.14).
func (a *av1) segmentation(b *bitReader, f, from *av1Frame) bool {
	if !b.flag() {
		return false
	}
	f.segments = from.segments
	update := true
	if f.primary != primaryNone {
		if b.flag() {
			b.bit()
		}
		update = b.flag()
	}
	if !update {
		return true
	}
	for i := range f.segments {
		f.segments[i] = av1Segment{}
		for j, n := range [8]int{9, 7, 7, 7, 7, 3, 0, 0} {
			if !b.flag() {
				continue
			}
			if j > 0 {
				b.skip(n)
			} else {
				f.segments[i] = av1Segment{true, b.su(n)}
			}
		}
	}
	return true
}

// loopFilter reads loop_filter_params (5.9.11).
func (a *av1) loopFilter(b *bitReader) {
	if levels := b.u(12); levels != 0 && !a.seq.mono {
		b.skip(12)
	}
	b.skip(3)
	b.deltas(8 + 2)
}

// cdefParams reads cdef_params (5.9.19).
func (a *av1) cdefParams(b *bitReader) {
	b.skip(2)
	each := 12
	if a.seq.mono {
		each = 6
	}
	b.skip(each << b.u(2))
}

// restoration reads lr_params (5.9.20).
func (a *av1) restoration(b *bitReader) {
	luma, chroma := b.u(2) != 0, false
	if !a.seq.mono {
		chroma = b.u(4) != 0
	}
	if !luma && !chroma {
		return
	}
	if b.flag() && !a.seq.large {
		b.bit()
	}
	if a.seq.subX && a.seq.subY && chroma {
		b.bit()
	}
}

// skipMode reports whether skip_mode_params (5.9.22) has a bit.
func (a *av1) skipMode(f *av1Frame) bool {
	if !a.seq.orderHint {
		return false
	}
	before, behind, second := -1, false, false
	var hint uint32
	for _, r := range f.refs {
		order := a.refs[r].order
		switch d := a.distance(order, f.order); {
		case d < 0 && (before < 0 || a.distance(order, hint) > 0):
			before, hint = 0, order
		case d > 0:
			behind = true
		}
	}
	if before < 0 || behind {
		return before == 0
	}
	for _, r := range f.refs {
		second = second || a.distance(a.refs[r].order, hint) < 0
	}
	return second
}

// globalMotion reads global_motion_params (5.9.24).
func (a *av1) globalMotion(b *bitReader, f, from *av1Frame) {
	f.motion = standstill()
	if f.intra() {
		return
	}
	for ref := 1; ref < len(f.motion); ref++ {
		if !b.flag() {
			continue
		}
		m, prev := &f.motion[ref], &from.motion[ref]
		zoom := b.flag()
		translation := !zoom && b.flag()
		if !translation {
			m[2], m[3] = alpha(b, prev[2], true), alpha(b, prev[3], false)
			if zoom {
				m[4], m[5] = -m[3], m[2]
			} else {
				m[4], m[5] = alpha(b, prev[4], false), alpha(b, prev[5], true)
			}
		}
		abs, precision := 12, 6
		if translation {
			abs, precision = 9, 3
			if !f.precise {
				abs, precision = abs-1, precision-1
			}
		}
		for i := range 2 {
			m[i] = subexp(b, 1<<abs, prev[i]>>(16-precision)) << (16 - precision)
		}
	}
}

// alpha reads one of the parameters that turn and scale (read_global_param, 5.9.25); one on the diagonal is counted from 1.
func alpha(b *bitReader, prev int, diagonal bool) int {
	sub, round := 0, 0
	if diagonal {
		sub, round = 1<<15, 1<<16
	}
	return subexp(b, 1<<12, prev>>1-sub)<<1 + round
}

// subexp is decode_signed_subexp_with_ref (5.9.26 to 5.9.28) of numbers from -most to most.
func subexp(b *bitReader, most, ref int) int {
	n := 2*most + 1
	ref += most
	v := 0
	for i, base := 0, 0; ; i++ {
		size := 3
		if i > 0 {
			size = 3 + i - 1
		}
		if n <= base+3<<size || b.short {
			v = base + b.ns(n-base)
			break
		}
		if !b.flag() {
			v = base + int(b.u(size))
			break
		}
		base += 1 << size
	}
	if 2*ref <= n {
		return recenter(ref, v) - most
	}
	return n - 1 - recenter(n-1-ref, v) - most
}

// recenter is inverse_recenter (5.9.29).
func recenter(r, v int) int {
	switch {
	case v > 2*r:
		return v
	case v&1 != 0:
		return r - (v+1)>>1
	}
	return r + v>>1
}

// filmGrain reads film_grain_params (5.9.30).
func (a *av1) filmGrain(b *bitReader, f *av1Frame) {
	if !a.seq.grain || !f.shown && !f.showable || !b.flag() {
		return
	}
	b.skip(16)
	if f.kind == av1Inter && !b.flag() {
		b.skip(3)
		return
	}
	luma := int(b.u(4))
	b.skip(16 * luma)
	fromLuma := !a.seq.mono && b.flag()
	var chroma [2]int
	if !a.seq.mono && !fromLuma && (!a.seq.subX || !a.seq.subY || luma > 0) {
		for i := range chroma {
			chroma[i] = int(b.u(4))
			b.skip(16 * chroma[i])
		}
	}
	b.skip(2)
	lag := int(b.u(2))
	coefficients := 2 * lag * (lag + 1)
	if luma > 0 {
		b.skip(8 * coefficients)
		coefficients++
	}
	for _, n := range chroma {
		if fromLuma || n > 0 {
			b.skip(8 * coefficients)
		}
	}
	b.skip(4)
	for _, n := range chroma {
		if n > 0 {
			b.skip(25)
		}
	}
	b.skip(2)
}
