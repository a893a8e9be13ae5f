// Package bt holds BitTorrent's words: the identifiers, digests and Merkle trees that every other room
// speaks of. It must get right the arithmetic of BEP 52's hash trees; everything here is pure.
package bt

import (
	"errors"
)

// BlockSize is the unit of requests (BEP 3) and the leaf of a v2 hash tree (BEP 52), in bytes.
const BlockSize = 16 << 10

// Digest is a SHA-256 digest: a leaf, an inner node, or a file's "pieces root" (BEP 52).
type Digest [32]byte

// InfoHash names a swarm on the wire: a v1 info hash, or the first 20 bytes of a v2 one (BEP 52).
type InfoHash [20]byte

// InfoHashV2 is the SHA-256 of the info dictionary (BEP 52).
type InfoHashV2 [32]byte

// PeerID identifies a peer within a swarm (BEP 3, BEP 20).
type PeerID [20]byte

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return toHex(d[:]) }

// String is the info hash in lower-case hexadecimal.
func (h InfoHash) String() string { return toHex(h[:]) }

// String is the info hash in lower-case hexadecimal.
func (h InfoHashV2) String() string { return toHex(h[:]) }

// Truncated is the form of a v2 info hash that handshakes and trackers carry (BEP 52).
func (h InfoHashV2) Truncated() InfoHash { return InfoHash(h[:20]) }

var errHex = errors.New("want lower-case hexadecimal of the right length")

// ParseDigest reads what String wrote.
func ParseDigest(s string) (d Digest, err error) { return d, parseHex(d[:], s) }

// ParseInfoHash reads what String wrote.
func ParseInfoHash(s string) (h InfoHash, err error) { return h, parseHex(h[:], s) }

// ParseInfoHashV2 reads what String wrote.
func ParseInfoHashV2(s string) (h InfoHashV2, err error) { return h, parseHex(h[:], s) }

// Hexadecimal is written out here because encoding/hex imports fmt, a fifth of the engine's weight in a browser.
func toHex(b []byte) string {
	const digits = "0123456789abcdef"
	s := make([]byte, 0, 2*len(b))
	for _, c := range b {
		s = append(s, digits[c>>4], digits[c&15])
	}
	return string(s)
}

func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return errHex
	}
	for i := range dst {
		hi, ok1 := nibble(s[2*i])
		lo, ok2 := nibble(s[2*i+1])
		if !ok1 || !ok2 {
			return errHex
		}
		dst[i] = hi<<4 | lo
	}
	return nil
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
