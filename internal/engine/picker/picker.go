// Package picker decides what is wanted, how soon, and in which order. It must put what the player is about to
// miss before everything else, spread the rest so that neighbours in step do not all ask for the same, and forget
// the past at once when the viewer seeks. It knows bytes and film time, never peers or sockets.
package picker

import (
	"cmp"
	"slices"

	"essaim/internal/cmaf/index"
)

// The horizons, in milliseconds of film from the play head.
const (
	// UrgentMs: what is lacked nearer than this is about to be missed; two peers may be asked for it.
	UrgentMs = 5_000
	// FloorMs: what lies nearer is refilled from the origin when peers do not deliver. The player's own goal
	// of 10 s and one segment more, so that what the player asks for is there already.
	FloorMs = 13_000
	// SpreadMs: from here on down to the floor, a piece that no neighbour has is fetched from the origin by
	// whoever's timer runs out first.
	SpreadMs = 52_000
	// WindowMs: farther ahead nothing is asked of anybody.
	WindowMs = 64_000
)

// Class says how badly a piece is wanted.
type Class uint8

// The classes, most pressing first.
const (
	Urgent Class = iota // the player would stall
	Floor               // the origin may be asked when peers do not deliver
	Window              // peers, and the origin by timer
)

// Want is one piece that is lacked.
type Want struct {
	Piece   uint32
	File    uint32
	Class   Class
	Holders uint16 // peers known to have it
	AheadMs int64  // of the play head; 0 or less: now
}

// Stock answers what the picker must ask of others.
type Stock interface {
	Lacks(piece uint32) bool
	Holders(piece uint32) int
}

// Shelf answers what can be read by now.
type Shelf interface {
	// Readable reports whether bytes [from, to) of a piece can.
	Readable(piece uint32, from, to int64) bool
}

// File is what the picker must know of a file.
type File struct {
	Size       int64
	FirstPiece uint32
}

type reader struct {
	ref      uint32
	file     uint32
	from, to int64
}

type track struct {
	File
	index  index.Index
	chosen bool
}

// Picker holds playback, readers and chosen renditions of one title. The zero value wants nothing.
type Picker struct {
	pieceLength int64
	tracks      []track
	readers     []reader
	seed        uint64
	planned     []uint32 // by piece: the last plan that holds it
	plan        uint32

	positionMs int64 // at movedAt
	bufferedMs int64 // end of the player's buffer
	movedAt    int64 // microseconds
	rate       int64 // thousandths
	paused     bool
}

// Open says what the title holds. seed spreads the timers: it must differ from viewer to viewer.
func (p *Picker) Open(pieceLength int64, files []File, seed uint64) {
	p.pieceLength, p.seed, p.rate, p.paused = pieceLength, seed, 1000, true
	p.tracks = make([]track, len(files))
	for i, f := range files {
		p.tracks[i].File = f
		if n := f.FirstPiece + uint32((f.Size+pieceLength-1)/pieceLength); int(n) > len(p.planned) {
			p.planned = make([]uint32, n)
		}
	}
}

// Load gives a file's segment index.
func (p *Picker) Load(file uint32, x index.Index) { p.tracks[file].index = x }

// Moved reports playback: position and end of buffer in ms, rate in thousandths, at now in microseconds.
func (p *Picker) Moved(now, positionMs, bufferedMs, rate int64, paused bool) {
	p.movedAt, p.positionMs, p.bufferedMs, p.rate, p.paused = now, positionMs, bufferedMs, rate, paused
}

// Seeked moves the play head; the player's buffer is taken for empty until it says otherwise.
func (p *Picker) Seeked(now, positionMs int64) {
	p.movedAt, p.positionMs, p.bufferedMs = now, positionMs, positionMs
}

// Choose marks file as the rendition now played, in place of the others listed as alternatives.
func (p *Picker) Choose(file uint32, alternative func(other uint32) bool) {
	for i := range p.tracks {
		if uint32(i) == file {
			p.tracks[i].chosen = true
		} else if alternative(uint32(i)) {
			p.tracks[i].chosen = false
		}
	}
}

// Playing is the play head at now, in ms of film, and how fast it moves, in thousandths.
func (p *Picker) Playing(now int64) (ms, rate int64) {
	ms = p.PositionMs(now)
	if p.paused || ms >= max(p.bufferedMs, p.positionMs) {
		return ms, 0
	}
	return ms, p.rate
}

// BytesPerSecond is what the chosen renditions need on average; 0 while that is unknown.
func (p *Picker) BytesPerSecond() int64 {
	sum := int64(0)
	for i := range p.tracks {
		if t := &p.tracks[i]; t.chosen && len(t.index) > 0 {
			first, last := t.index[0], t.index[len(t.index)-1]
			sum += int64(last.To-first.From) * 1000 / max(int64(last.StartMs+last.DurationMs-first.StartMs), 1)
		}
	}
	return sum
}

// Pieces is the first and the last piece of a range of bytes of a file. The range must not be empty.
func (p *Picker) Pieces(file uint32, from, to int64) (first, last uint32) {
	r := reader{file: file, from: from, to: to}
	return p.pieces(&r)
}

// Around is the first piece of a file and the one after the last that hold film from fromMs to toMs, both counted from
// the play head at now in ms of film. Empty for a file without an index.
func (p *Picker) Around(file uint32, now, fromMs, toMs int64) (first, end uint32) {
	t := &p.tracks[file]
	pos := p.PositionMs(now)
	a, b := t.segmentAt(max(pos+fromMs, 0)), t.segmentAt(max(pos+toMs, 0))
	if a == len(t.index) {
		return 0, 0
	}
	b = min(b, len(t.index)-1)
	first, end = p.Pieces(file, int64(t.index[a].From), min(int64(t.index[b].To), t.Size))
	return first, end + 1
}

// Waited reports whether a reader waits for a piece of a file.
func (p *Picker) Waited(file, piece uint32) bool {
	for i := range p.readers {
		if r := &p.readers[i]; r.file == file {
			if first, last := p.pieces(r); piece >= first && piece <= last {
				return true
			}
		}
	}
	return false
}

// Chosen reports whether a file is among those now played.
func (p *Picker) Chosen(file uint32) bool { return p.tracks[file].chosen }

// Want adds a reader's range, in bytes of the file, or replaces the one it had.
func (p *Picker) Want(ref, file uint32, from, to int64) {
	p.Cancel(ref)
	p.readers = append(p.readers, reader{ref, file, from, to})
}

// Cancel forgets a reader.
func (p *Picker) Cancel(ref uint32) {
	for i := range p.readers {
		if p.readers[i].ref == ref {
			p.readers = append(p.readers[:i], p.readers[i+1:]...)
			return
		}
	}
}

// Reader is the i-th of the readers that wait: what it waits for, in bytes of the file; false where there are not so many.
func (p *Picker) Reader(i int) (file uint32, from, to int64, ok bool) {
	if i >= len(p.readers) {
		return 0, 0, 0, false
	}
	r := &p.readers[i]
	return r.file, r.from, r.to, true
}

// Soon is what of a chosen file plays within UrgentMs and is not in the player's buffer, in bytes of the file; none (0, 0) of others.
func (p *Picker) Soon(file uint32, now int64) (from, to int64) {
	t := &p.tracks[file]
	if !t.chosen {
		return 0, 0
	}
	pos := p.PositionMs(now)
	for i := t.segmentAt(max(pos, p.bufferedMs)); i < len(t.index) && int64(t.index[i].StartMs)-pos < UrgentMs; i++ {
		if to == 0 {
			from = int64(t.index[i].From)
		}
		to = min(int64(t.index[i].To), t.Size)
	}
	return from, to
}

// Ready returns the first reader whose whole range can be read, and forgets it.
func (p *Picker) Ready(s Shelf) (ref uint32, ok bool) {
next:
	for i := range p.readers {
		r := &p.readers[i]
		first, last := p.pieces(r)
		for n := first; n <= last; n++ {
			at := int64(n-p.tracks[r.file].FirstPiece) * p.pieceLength
			if !s.Readable(n, max(r.from-at, 0), min(r.to-at, p.pieceLength)) {
				continue next
			}
		}
		ref = r.ref
		p.Cancel(ref)
		return ref, true
	}
	return 0, false
}

// Waiting reports whether any reader waits.
func (p *Picker) Waiting() bool { return len(p.readers) > 0 }

// WaitingFor calls yield with every waiting reader's reference and file.
func (p *Picker) WaitingFor(yield func(ref, file uint32)) {
	for i := range p.readers {
		yield(p.readers[i].ref, p.readers[i].file)
	}
}

// PositionMs is the play head at now, extrapolated from the last report but never past the player's buffer.
func (p *Picker) PositionMs(now int64) int64 {
	if p.paused || now <= p.movedAt {
		return p.positionMs
	}
	at := p.positionMs + (now-p.movedAt)*p.rate/1_000_000
	return min(at, max(p.bufferedMs, p.positionMs))
}

// Plan appends to dst everything wanted at now that is lacked, most pressing first, each piece once.
func (p *Picker) Plan(dst []Want, now int64, s Stock) []Want {
	pos := p.PositionMs(now)
	base := len(dst)
	for i := range p.readers {
		r := &p.readers[i]
		first, last := p.pieces(r)
		for n := first; n <= last; n++ {
			if s.Lacks(n) {
				class, ahead := Floor, p.pieceMs(r.file, n)-pos
				if ahead < UrgentMs {
					class = Urgent
				}
				dst = append(dst, Want{Piece: n, File: r.file, Class: class, AheadMs: min(ahead, FloorMs), Holders: uint16(s.Holders(n))})
			}
		}
	}
	for f := range p.tracks {
		if p.tracks[f].chosen {
			dst = p.ahead(dst, uint32(f), pos, s)
		}
	}
	list := dst[base:]
	slices.SortFunc(list, compare)
	// The more pressing of two wants for a piece stands.
	p.plan++
	kept := 0
	for i := range list {
		if seen := &p.planned[list[i].Piece]; *seen != p.plan {
			*seen = p.plan
			list[kept] = list[i]
			kept++
		}
	}
	return dst[:base+kept]
}

// ahead adds what the chosen file lacks from the end of the player's own buffer to the end of the window.
func (p *Picker) ahead(dst []Want, file uint32, pos int64, s Stock) []Want {
	t := &p.tracks[file]
	last := t.FirstPiece + uint32((t.Size-1)/p.pieceLength)
	scale := max(p.rate, 1000)
	for i := t.segmentAt(max(pos, p.bufferedMs)); i < len(t.index); i++ {
		seg := &t.index[i]
		ahead := (int64(seg.StartMs) - pos) * 1000 / scale
		if ahead > WindowMs {
			break
		}
		a := t.FirstPiece + uint32(int64(seg.From)/p.pieceLength)
		b := min(t.FirstPiece+uint32((int64(seg.To)-1)/p.pieceLength), last)
		for n := a; n <= b; n++ {
			if !s.Lacks(n) {
				continue
			}
			class := Window
			switch {
			case ahead < UrgentMs:
				class = Urgent
			case ahead < FloorMs:
				class = Floor
			}
			dst = append(dst, Want{Piece: n, File: file, Class: class, AheadMs: ahead, Holders: uint16(s.Holders(n))})
		}
	}
	return dst
}

// rarityMs is the width of a stretch of the window within which the rarer piece comes first.
const rarityMs = 8_000

// compare orders wants by class; within the window by stretch, then rarity; then by time, then by place.
func compare(a, b Want) int {
	if a.Class != b.Class {
		return int(a.Class) - int(b.Class)
	}
	if a.Class == Window {
		if x, y := a.AheadMs/rarityMs, b.AheadMs/rarityMs; x != y {
			return cmp.Compare(x, y)
		}
		if a.Holders != b.Holders {
			return cmp.Compare(a.Holders, b.Holders)
		}
	}
	if a.AheadMs != b.AheadMs {
		return cmp.Compare(a.AheadMs, b.AheadMs)
	}
	return cmp.Compare(a.Piece, b.Piece)
}

// TimerMs is how far ahead of the play head a piece that no neighbour has is fetched from the origin by this viewer:
// a truncated exponential between the floor and SpreadMs, drawn from hash(piece, viewer), as in the feedback-suppression
// timers of reliable multicast (Nonnenmacher and Biersack, 1999). Most timers fire late; the few early ones spare
// the rest. The more viewers there are (0: unknown), the steeper, so that about one is early whatever their number. Where
// viewers came together when their play head was at sinceMs, a piece is spread over a third of what lay between then and the floor: their
// horizon grows by half of the time that passes, and so a piece comes into it when two thirds of that are over.
func (p *Picker) TimerMs(piece uint32, sinceMs int64, viewers uint32) int64 {
	// -ln(u) in 1/65536, u in (0,1]; 45426 = ln 2 · 65536.
	h := mix(p.seed ^ uint64(piece)*0x9e3779b97f4a7c15)
	e := (int64(32<<16) - log2(uint32(h>>32)|1)) * 45426 >> 16
	steep := int64(9 << 16)
	if viewers > 0 {
		steep = max(log2(2*min(viewers, 1<<20)), 1<<16) * 45426 >> 16
	}
	x := min(e<<16/steep, 65536)
	file := p.fileOf(piece)
	spread := max(min((p.pieceMs(file, piece)-sinceMs-FloorMs)/3, SpreadMs-FloorMs), 0)
	return FloorMs + spread*x>>16
}

func (p *Picker) fileOf(piece uint32) uint32 {
	for f := len(p.tracks) - 1; f > 0; f-- {
		if piece >= p.tracks[f].FirstPiece {
			return uint32(f)
		}
	}
	return 0
}

// log2 is the binary logarithm of v in 1/65536, by repeated squaring: no floats, so equal on every processor.
func log2(v uint32) int64 {
	n := int64(31)
	for v&(1<<31) == 0 {
		v <<= 1
		n--
	}
	out := n << 16
	x := uint64(v)
	for bit := int64(1 << 15); bit > 1<<7; bit >>= 1 {
		x = x * x >> 31
		if x >= 1<<32 {
			x >>= 1
			out += bit
		}
	}
	return out
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood, 2014).
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (p *Picker) pieces(r *reader) (first, last uint32) {
	t := &p.tracks[r.file]
	return t.FirstPiece + uint32(r.from/p.pieceLength), t.FirstPiece + uint32((r.to-1)/p.pieceLength)
}

// pieceMs is the film time at which a piece's first byte is needed.
func (p *Picker) pieceMs(file, piece uint32) int64 {
	t := &p.tracks[file]
	at := uint64(int64(piece-t.FirstPiece) * p.pieceLength)
	lo, hi := 0, len(t.index)
	for lo < hi { // the first segment that ends after at
		mid := (lo + hi) / 2
		if t.index[mid].To > at {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo == len(t.index) || at < t.index[lo].From && lo == 0 {
		return 0
	}
	return int64(t.index[lo].StartMs)
}

// FilmMs is the film time, in milliseconds, at which a piece's first byte is needed; 0 before the file's index is known.
func (p *Picker) FilmMs(file, piece uint32) int64 { return p.pieceMs(file, piece) }

// segmentAt is the number of the segment that plays at ms, or len(index) past the end.
func (t *track) segmentAt(ms int64) int {
	lo, hi := 0, len(t.index)
	for lo < hi {
		mid := (lo + hi) / 2
		if int64(t.index[mid].StartMs)+int64(t.index[mid].DurationMs) > ms {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}
