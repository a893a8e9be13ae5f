package drm

import "math/bits"

// bitReader reads a header bit by bit, the most significant first; past the end it yields zeros and remembers.
type bitReader struct {
	p     []byte
	at    int  // of the next byte
	cur   byte // what is left of the one before, at the top
	left  int  // bits of cur
	short bool

	escaped bool // H.264: a 3 behind two zeros is not part of the content (7.3.1)
	zeros   int
}

func (b *bitReader) bit() uint32 {
	if b.left == 0 {
		if b.at < len(b.p) && b.escaped && b.zeros >= 2 && b.p[b.at] == 3 {
			b.at++
			b.zeros = 0
		}
		if b.at >= len(b.p) {
			b.short = true
			return 0
		}
		b.cur, b.left = b.p[b.at], 8
		b.at++
		if b.zeros++; b.cur != 0 {
			b.zeros = 0
		}
	}
	v := uint32(b.cur >> 7)
	b.cur <<= 1
	b.left--
	return v
}

func (b *bitReader) flag() bool { return b.bit() == 1 }

// u reads n bits, at most 32.
func (b *bitReader) u(n int) uint32 {
	v := uint32(0)
	for range n {
		v = v<<1 | b.bit()
	}
	return v
}

func (b *bitReader) skip(n int) {
	for range n {
		b.bit()
	}
}

// ue reads an unsigned Exp-Golomb code (H.264, 9.1).
func (b *bitReader) ue() uint32 {
	zeros := 0
	for !b.flag() {
		if zeros++; zeros > 31 || b.short {
			b.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + b.u(zeros)
}

// se reads a signed one, of which only the length matters here.
func (b *bitReader) se() { b.ue() }

// bytes is how many bytes have been read, the last perhaps in part.
func (b *bitReader) bytes() int { return b.at }

// uvlc reads over AV1's number of variable length (4.10.3).
func (b *bitReader) uvlc() {
	zeros := 0
	for !b.short && !b.flag() {
		zeros++
	}
	if zeros < 32 {
		b.skip(zeros)
	}
}

// deltas reads over what VP9 and AV1 both add to the strengths of their loop filters: whether, whether anew, and n times perhaps 7 bits.
func (b *bitReader) deltas(n int) {
	if !b.flag() {
		return
	}
	if !b.flag() {
		return
	}
	for range n {
		if b.flag() {
			b.skip(7)
		}
	}
}

// su reads AV1's signed number of n bits (4.10.6).
func (b *bitReader) su(n int) int {
	v := int(b.u(n))
	if v>>(n-1) != 0 {
		v -= 1 << n
	}
	return v
}

// ns reads AV1's number below n (4.10.7), n at least 1.
func (b *bitReader) ns(n int) int {
	w := bits.Len(uint(n))
	m := 1<<w - n
	v := int(b.u(w - 1))
	if v < m {
		return v
	}
	return v<<1 - m + int(b.bit())
}
