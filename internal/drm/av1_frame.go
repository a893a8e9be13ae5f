package drm

import "essaim/internal/cmaf/box"

// av1Frame is what is kept of a frame: of the one whose tiles are next, and of those that later ones refer to.
type av1Frame struct {
	valid     bool
	kind      uint32
	shown     bool
	showable  bool
	resilient bool
	order     uint32 // hint
	refresh   uint32 // slots that it goes to
	primary   uint32 // which of refs it goes on from; primaryNone for none
	refs      [7]uint32

	upscaled, width, height int
	tools                   bool // for screen content
	intraCopy               bool
	precise                 bool // motion vectors
	motion                  [8][6]int
	segments                [8]av1Segment

	tileCols, tileRows, tileBits, tileSizeBytes int
}

// av1Segment is whether and how a segment's quantizer differs, of all that segments can differ in.
type av1Segment struct {
	enabled bool
	delta   int
}

// Frame types (6.8.2), and what stands for no reference.
const (
	av1Key      = 0
	av1Inter    = 1
	av1Intra    = 2
	av1Switch   = 3
	primaryNone = 7
	allSlots    = 255
)

func (f *av1Frame) intra() bool { return f.kind == av1Key || f.kind == av1Intra }

// standstill are the global motion parameters of no motion.
func standstill() (m [8][6]int) {
	for i := range m {
		m[i] = [6]int{2: 1 << 16, 5: 1 << 16}
	}
	return m
}

// header reads an uncompressed header (5.9.2) into a.frame; existing says that it shows a frame that is there already.
func (a *av1) header(b *bitReader) (existing bool, err error) {
	s := a.seq
	f := &av1Frame{valid: true, shown: true, resilient: true, primary: primaryNone}
	if !s.reduced {
		if b.flag() {
			return true, a.showExisting(b)
		}
		f.kind = b.u(2)
		if f.shown = b.flag(); f.shown {
			a.point(b)
		}
		f.showable = f.kind != av1Key
		if !f.shown {
			f.showable = b.flag()
		}
		if f.kind != av1Switch && (f.kind != av1Key || !f.shown) {
			f.resilient = b.flag()
		}
	}
	if f.kind == av1Key && f.shown {
		for i := range a.refs {
			a.refs[i].valid, a.refs[i].order = false, 0
		}
	}
	noUpdate := b.flag() // of the symbols' probabilities
	if s.screenTools == eachFrameSays {
		f.tools = b.flag()
	} else {
		f.tools = s.screenTools > 0
	}
	whole := f.intra() // motion vectors
	if f.tools {
		if s.integerMV == eachFrameSays {
			whole = b.flag() || whole
		} else {
			whole = s.integerMV > 0 || whole
		}
	}
	b.skip(s.idBits)
	override := f.kind == av1Switch
	if f.kind != av1Switch && !s.reduced {
		override = b.flag()
	}
	f.order = b.u(s.orderBits)
	if !f.intra() && !f.resilient {
		f.primary = b.u(3)
	}
	a.removal(b)
	f.refresh = allSlots
	if f.kind != av1Switch && (f.kind != av1Key || !f.shown) {
		f.refresh = b.u(8)
	}
	if (!f.intra() || f.refresh != allSlots) && f.resilient && s.orderHint {
		for i := range a.refs {
			if order := b.u(s.orderBits); order != a.refs[i].order {
				a.refs[i] = av1Frame{order: order}
			}
		}
	}
	if f.intra() {
		a.size(b, f, override)
		renderSize(b)
		if f.tools && f.upscaled == f.width {
			f.intraCopy = b.flag()
		}
	} else if err := a.inter(b, f, override, whole); err != nil {
		return false, err
	}
	if !s.reduced && !noUpdate {
		b.bit()
	}
	from := av1Frame{motion: standstill()}
	if f.primary != primaryNone {
		if from = a.refs[f.refs[f.primary]]; !from.valid {
			return false, box.Malformed("a frame of AV1 that goes on from one that is not there")
		}
	}
	if err := a.tileInfo(b, f); err != nil {
		return false, err
	}
	a.rest(b, f, &from)
	a.frame = *f
	return false, nil
}

// showExisting reads the rest of a header that shows a frame out of a slot. A key frame is thereby put into all of them.
func (a *av1) showExisting(b *bitReader) error {
	slot := b.u(3)
	a.point(b)
	b.skip(a.seq.idBits)
	f := a.refs[slot]
	if !f.valid {
		return box.Malformed("AV1 that shows a frame that is not there")
	}
	if f.kind == av1Key {
		for i := range a.refs {
			a.refs[i] = f
		}
	}
	return nil
}

// point reads temporal_point_info (5.9.31) where there is one.
func (a *av1) point(b *bitReader) {
	if a.seq.model && !a.seq.equalPicture {
		b.skip(a.seq.timeBits)
	}
}

// removal reads when buffers are emptied.
func (a *av1) removal(b *bitReader) {
	if !a.seq.model || !b.flag() {
		return
	}
	for _, p := range a.seq.points {
		if p.model && (p.idc == 0 || a.within(p.idc)) {
			b.skip(a.seq.removalBits)
		}
	}
}

// size reads frame_size (5.9.5) and what follows from it.
func (a *av1) size(b *bitReader, f *av1Frame, override bool) {
	f.upscaled, f.height = a.seq.width, a.seq.height
	if override {
		f.upscaled, f.height = int(b.u(a.seq.widthBits))+1, int(b.u(a.seq.heightBits))+1
	}
	a.superres(b, f)
}

// superres reads superres_params (5.9.8).
func (a *av1) superres(b *bitReader, f *av1Frame) {
	f.width = f.upscaled
	if a.seq.superres && b.flag() {
		denominator := int(b.u(3)) + 9
		f.width = (f.upscaled*8 + denominator/2) / denominator
	}
}

// renderSize reads render_size (5.9.6).
func renderSize(b *bitReader) {
	if b.flag() {
		b.skip(32)
	}
}

// inter reads what only frames with references have: which, of what size, and how motion is coded.
func (a *av1) inter(b *bitReader, f *av1Frame, override, whole bool) error {
	s := a.seq
	short := s.orderHint && b.flag()
	if short {
		last, golden := b.u(3), b.u(3)
		f.refs = a.frameRefs(f.order, last, golden)
	}
	for i := range f.refs {
		if !short {
			f.refs[i] = b.u(3)
		}
		b.skip(s.deltaIDBits)
	}
	found := false
	if override && !f.resilient {
		for _, r := range f.refs {
			if found = b.flag(); found {
				if !a.refs[r].valid {
					return box.Malformed("a frame of AV1 of the size of one that is not there")
				}
				f.upscaled, f.height = a.refs[r].upscaled, a.refs[r].height
				a.superres(b, f)
				break
			}
		}
	}
	if !found {
		a.size(b, f, override)
		renderSize(b)
	}
	if !whole {
		f.precise = b.flag()
	}
	if !b.flag() { // interpolation filter
		b.skip(2)
	}
	b.bit()
	if !f.resilient && s.mvs {
		b.bit()
	}
	return nil
}

// distance is get_relative_dist (5.9.3).
func (a *av1) distance(x, y uint32) int {
	if a.seq.orderBits == 0 {
		return 0
	}
	d, m := int(x)-int(y), 1<<(a.seq.orderBits-1)
	return d&(m-1) - d&m
}

// frameRefs is set_frame_refs (7.8): the references that an encoder has told by two of them.
func (a *av1) frameRefs(order, last, golden uint32) (refs [7]uint32) {
	var set [7]bool
	var used [8]bool
	var distances [8]int // from this frame; below 0 what is shown before it
	for i := range a.refs {
		distances[i] = a.distance(a.refs[i].order, order)
	}
	take := func(ref int, slot uint32) { refs[ref], set[ref], used[slot] = slot, true, true }
	// best finds the slot not yet used, on one side of the frame, whose distance is greatest or, with least, smallest.
	best := func(before, least bool) (slot uint32, ok bool) {
		for i, d := range distances {
			if used[i] || d < 0 != before {
				continue
			}
			if !ok || least && d < distances[slot] || !least && d >= distances[slot] {
				slot, ok = uint32(i), true
			}
		}
		return slot, ok
	}
	take(0, last)
	take(3, golden)
	for _, x := range []struct {
		ref   int
		least bool
	}{{6, false}, {4, true}, {5, true}} {
		if slot, ok := best(false, x.least); ok {
			take(x.ref, slot)
		}
	}
	for _, ref := range []int{1, 2, 4, 5, 6} {
		if set[ref] {
			continue
		}
		if slot, ok := best(true, false); ok {
			take(ref, slot)
		}
	}
	earliest := uint32(0)
	for i, d := range distances {
		if d < distances[earliest] {
			earliest = uint32(i)
		}
	}
	for ref := range refs {
		if !set[ref] {
			refs[ref] = earliest
		}
	}
	return refs
}

// tileInfo reads tile_info (5.9.15).
func (a *av1) tileInfo(b *bitReader, f *av1Frame) error {
	shift := 6 // of a superblock
	if a.seq.large {
		shift = 7
	}
	blocks := func(n int) int { return ((n+7)&^7 + 1<<shift - 1) >> shift }
	cols, rows := blocks(f.width), blocks(f.height)
	const widthMax, areaMax, tilesMax = 4096, 4096 * 2304, 64
	wide := widthMax >> shift
	area := areaMax >> (2 * shift)
	leastCols := log2(wide, cols)
	least := max(leastCols, log2(area, rows*cols))
	grow := func(n, most int) int {
		for n < most && b.flag() {
			n++
		}
		return n
	}
	var colBits, rowBits int
	if b.flag() { // all of one size
		colBits = grow(leastCols, log2(1, min(cols, tilesMax)))
		each := (cols + 1<<colBits - 1) >> colBits
		f.tileCols = (cols + each - 1) / each
		rowBits = grow(max(least-colBits, 0), log2(1, min(rows, tilesMax)))
		each = (rows + 1<<rowBits - 1) >> rowBits
		f.tileRows = (rows + each - 1) / each
	} else {
		widest := 0
		f.tileCols = 0
		for at := 0; at < cols; f.tileCols++ {
			n := b.ns(min(cols-at, wide)) + 1
			widest = max(widest, n)
			at += n
		}
		colBits = log2(1, f.tileCols)
		area = rows * cols
		if least > 0 {
			area >>= least + 1
		}
		high := max(area/widest, 1)
		f.tileRows = 0
		for at := 0; at < rows; f.tileRows++ {
			at += b.ns(min(rows-at, high)) + 1
		}
		rowBits = log2(1, f.tileRows)
	}
	if b.short || f.tileCols > tilesMax || f.tileRows > tilesMax {
		return box.Malformed("%d × %d tiles", f.tileCols, f.tileRows)
	}
	f.tileBits = colBits + rowBits
	if f.tileBits > 0 {
		b.skip(f.tileBits)
		f.tileSizeBytes = int(b.u(2)) + 1
	}
	return nil
}

// log2 is tile_log2 (5.9.16): the smallest k for which size<<k is at least target.
func log2(size, target int) (k int) {
	for size<<k < target {
		k++
	}
	return k
}
