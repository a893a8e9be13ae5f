package drm

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// Of video, cbcs encrypts the first block of every ten (ISO/IEC 23001-7, 10.4.2).
const (
	cryptBlocks = 1
	skipBlocks  = 9
)

// counter encrypts a sample's ranges as one stream (ISO/IEC 23001-7, 9.4): the IV fills the first half of the counter block, and the
// blocks are counted in the other.
func (e *encryptor) counter(p []byte, ranges []span, iv uint64) {
	var block [16]byte
	binary.BigEndian.PutUint64(block[:], iv)
	stream := cipher.NewCTR(e.block, block[:])
	for _, r := range ranges {
		stream.XORKeyStream(p[r.from:r.to], p[r.from:r.to])
	}
}

// chain encrypts each of a sample's ranges as a chain of its own that begins with the track's IV (ISO/IEC 23001-7, 9.6). What is
// less than a block at a range's end stays in the clear.
func (e *encryptor) chain(p []byte, ranges []span) {
	for _, r := range ranges {
		b := p[r.from:r.to]
		b = b[:len(b)&^15]
		if !e.track.video {
			if len(b) > 0 {
				cipher.NewCBCEncrypter(e.block, e.fixed[:]).CryptBlocks(b, b)
			}
			continue
		}
		last := e.fixed[:]
		for len(b) > 0 {
			for range min(cryptBlocks, len(b)/16) {
				subtle.XORBytes(b[:16], b[:16], last)
				e.block.Encrypt(b[:16], b[:16])
				last, b = b[:16], b[16:]
			}
			b = b[min(skipBlocks*16, len(b)):]
		}
	}
}
