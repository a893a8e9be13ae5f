package drm

import (
	"encoding/binary"
	"math"
	"slices"

	"essaim/internal/cmaf/box"
)

// A splitter knows the samples of one codec, in decoding order: it tells l which of a sample's bytes stay in the clear.
type splitter interface {
	split(sample []byte, l *layout) error
}

// span is a protected stretch of a sample.
type span struct{ from, to int }

const (
	ivSize   = 8         // of a sample's own initialization vector, with cenc
	auxMax   = 255       // of what saiz can say of one sample
	sencHead = 8 + 4 + 4 // a senc box before its entries
)

// A layout collects, sample by sample, where a fragment's samples are encrypted: as the ranges by which they are, and as the entries
// by which they are decrypted again (ISO/IEC 23001-7, 7.2).
type layout struct {
	scheme Scheme
	parts  bool // samples have clear parts (subsamples)

	// align makes protected ranges whole blocks, by leaving up to 15 bytes more in the clear before them: with cenc always, as CMAF
	// (ISO/IEC 23000-19) wants it; with cbcs where the codec says so.
	align bool

	entries []byte // senc's
	sizes   []byte // saiz's
	count   int    // samples so far

	clear  int // bytes noted as clear, not yet written as an entry
	at     int // in the sample
	subs   int // entries of this sample
	entry  []byte
	ranges []span
}

func (l *layout) reset(s Scheme, parts bool) {
	l.scheme, l.parts = s, parts
	l.entries, l.sizes, l.count = l.entries[:0], l.sizes[:0], 0
}

// begin begins a sample.
func (l *layout) begin() {
	l.clear, l.at, l.subs, l.entry, l.ranges, l.align = 0, 0, 0, l.entry[:0], l.ranges[:0], l.scheme == CENC
}

// whole notes a sample without clear parts.
func (l *layout) whole(n int) { l.ranges = append(l.ranges, span{0, n}) }

// add notes the next bytes of the sample: some in the clear, and some behind them protected.
func (l *layout) add(clear, protected int) {
	if l.align {
		clear += protected % 16
		protected -= protected % 16
	}
	l.clear += clear
	l.at += clear
	if protected > 0 {
		l.ranges = append(l.ranges, span{l.at, l.at + protected})
		l.push(protected)
		l.at += protected
	}
}

func (l *layout) push(protected int) {
	put := func(clear, protected int) {
		l.subs++
		l.entry = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(l.entry, uint16(clear)), uint32(protected))
	}
	for ; l.clear > math.MaxUint16; l.clear -= math.MaxUint16 {
		put(math.MaxUint16, 0)
	}
	put(l.clear, protected)
	l.clear = 0
}

// end ends a sample of n bytes and returns what of it is to be encrypted; the result is good until the next begin.
func (l *layout) end(iv uint64, n int) ([]span, error) {
	if l.parts {
		if l.at > n {
			return nil, box.Malformed("%d bytes of a sample of %d", l.at, n)
		}
		if l.clear += n - l.at; l.clear > 0 {
			l.push(0)
		}
	}
	before := len(l.entries)
	if l.scheme == CENC {
		l.entries = binary.BigEndian.AppendUint64(l.entries, iv)
	}
	if l.parts {
		l.entries = binary.BigEndian.AppendUint16(l.entries, uint16(l.subs))
		l.entries = append(l.entries, l.entry...)
	}
	size := len(l.entries) - before
	if size > auxMax {
		return nil, box.Malformed("a picture in %d parts: at most %d can be encrypted, so it must be encoded anew", l.subs, (auxMax-ivSize-2)/6)
	}
	l.sizes = append(l.sizes, byte(size))
	l.count++
	return l.ranges, nil
}

// appendTo appends the fragment's boxes: senc, saiz and saio; none where every sample has the track's IV and no clear parts. b
// begins with the moof.
func (l *layout) appendTo(b []byte) []byte {
	if len(l.entries) == 0 {
		return b
	}
	flags := byte(0)
	if l.parts {
		flags = 2
	}
	at := uint32(len(b) + sencHead)
	count := binary.BigEndian.AppendUint32(nil, uint32(l.count))
	b = append(b, boxOf("senc", []byte{0, 0, 0, flags}, count, l.entries)...)
	each, sizes := l.sizes[0], l.sizes
	if slices.Max(sizes) == slices.Min(sizes) {
		sizes = nil
	} else {
		each = 0
	}
	b = append(b, boxOf("saiz", make([]byte, 4), []byte{each}, count, sizes)...)
	return append(b, boxOf("saio", []byte{0, 0, 0, 0, 0, 0, 0, 1}, binary.BigEndian.AppendUint32(nil, at))...)
}
