package wire

import (
	"errors"

	"essaim/internal/bt"
)

// HandshakeSize is the length of a handshake in bytes.
const HandshakeSize = 68

const protocol = "\x13BitTorrent protocol"

// The reserved bits that we know: byte of the eight, and mask.
const (
	reservedExtended, maskExtended = 5, 0x10 // BEP 10
	reservedLast                   = 7
	maskDHT                        = 0x01 // BEP 5
	maskFast                       = 0x04 // BEP 6
	maskV2                         = 0x10 // BEP 52
)

// ErrHandshake is returned for what is no BitTorrent handshake.
var ErrHandshake = errors.New("wire: not a BitTorrent handshake")

// Handshake is how a connection begins (BEP 3).
type Handshake struct {
	InfoHash bt.InfoHash
	PeerID   bt.PeerID
	Extended bool // speaks the extension protocol (BEP 10)
	Fast     bool // speaks the fast extension (BEP 6), in force when both say so
	V2       bool // came with a hybrid's v1 info hash and can go on as a v2 peer (BEP 52)
	DHT      bool // has a node of the distributed hash table (BEP 5)
}

// AppendHandshake appends the 68 bytes of h.
func AppendHandshake(b []byte, h Handshake) []byte {
	var reserved [8]byte
	set := func(on bool, at int, mask byte) {
		if on {
			reserved[at] |= mask
		}
	}
	set(h.Extended, reservedExtended, maskExtended)
	set(h.Fast, reservedLast, maskFast)
	set(h.V2, reservedLast, maskV2)
	set(h.DHT, reservedLast, maskDHT)
	b = append(b, protocol...)
	b = append(b, reserved[:]...)
	b = append(b, h.InfoHash[:]...)
	return append(b, h.PeerID[:]...)
}

// ParseHandshake reads a handshake of exactly 68 bytes, or returns ErrHandshake. Reserved bits that it does not know
// are ignored, as BEP 3 asks.
func ParseHandshake(b []byte) (Handshake, error) {
	if len(b) != HandshakeSize || string(b[:len(protocol)]) != protocol {
		return Handshake{}, ErrHandshake
	}
	reserved := b[len(protocol):]
	return Handshake{
		InfoHash: bt.InfoHash(b[28:48]),
		PeerID:   bt.PeerID(b[48:68]),
		Extended: reserved[reservedExtended]&maskExtended != 0,
		Fast:     reserved[reservedLast]&maskFast != 0,
		V2:       reserved[reservedLast]&maskV2 != 0,
		DHT:      reserved[reservedLast]&maskDHT != 0,
	}, nil
}
