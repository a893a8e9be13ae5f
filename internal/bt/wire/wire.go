// Package wire is the peer protocol's codec: BEP 3, 6, 10, 52 (messages 21 to 23) and 54.
//
// A connection begins with a handshake of 68 bytes each way:
//
//	 0      1                     20         28          48        68
//	+----+-----------------------+----------+-----------+---------+
//	| 19 | "BitTorrent protocol" | reserved | info hash | peer ID |
//	+----+-----------------------+----------+-----------+---------+
//
// and goes on with messages, whose numbers are all big-endian:
//
//	+------------+----+---------+
//	| length (4) | id | payload |     length counts id and payload; 0 is a keepalive, which has neither
//	+------------+----+---------+
//
//	id  name            payload
//	 0  choke           –
//	 1  unchoke         –
//	 2  interested      –
//	 3  not interested  –
//	 4  have            piece(4)
//	 5  bitfield        one bit a piece, the high bit first, spare bits zero
//	 6  request         piece(4) begin(4) length(4)
//	 7  piece           piece(4) begin(4) data
//	 8  cancel          piece(4) begin(4) length(4)
//	 9  port            port(2)                                          BEP 5
//	13  suggest         piece(4)                                         BEP 6
//	14  have all        –                                                BEP 6
//	15  have none       –                                                BEP 6
//	16  reject          piece(4) begin(4) length(4)                      BEP 6
//	17  allowed fast    piece(4)                                         BEP 6
//	20  extended        extension id(1) payload                          BEP 10
//	21  hash request    root(32) base(4) index(4) length(4) proof(4)     BEP 52
//	22  hashes          the request's 48 bytes, then 32 for each hash    BEP 52
//	23  hash reject     the request's 48 bytes                           BEP 52
//
// It must get right that no input, however made, panics, allocates by what a length field claims, or is read past its
// end, and that what Parse accepts is what the Append functions write. What the numbers may be (which pieces exist, how
// long a request may be, who may speak when) only the engine knows.
package wire

import (
	"encoding/binary"
	"errors"

	"essaim/internal/bt"
)

// ID is a message's first byte.
type ID uint8

// The messages that Parse knows.
const (
	Choke         ID = 0
	Unchoke       ID = 1
	Interested    ID = 2
	NotInterested ID = 3
	Have          ID = 4
	Bitfield      ID = 5
	RequestBlock  ID = 6
	Piece         ID = 7
	Cancel        ID = 8
	Port          ID = 9
	Suggest       ID = 13
	HaveAll       ID = 14
	HaveNone      ID = 15
	Reject        ID = 16
	AllowedFast   ID = 17
	Extended      ID = 20
	HashRequest   ID = 21
	Hashes        ID = 22
	HashReject    ID = 23
)

// Sizes in bytes.
const (
	PrefixSize      = 4       // of the length before a message
	PieceHeaderSize = 9       // of a piece message's id, piece and begin
	hashRequestSize = 32 + 16 // of what the messages 21 to 23 begin with, after the id
)

// Errors of Parse.
var (
	ErrEmpty  = errors.New("wire: empty message")
	ErrLength = errors.New("wire: message of the wrong length")
)

// Request names a block: the payload of request, cancel and reject.
type Request struct {
	Piece  uint32
	Begin  uint32 // bytes from the piece's start
	Length uint32 // bytes
}

// Message is one parsed message. ID says which other fields count.
type Message struct {
	ID      ID
	ExtID   uint8          // Extended: the extension's id, 0 for the handshake of BEP 10
	Request Request        // RequestBlock, Cancel, Reject; Piece (no Length); Have, Suggest, AllowedFast (Piece alone)
	Port    uint16         // Port
	Hashes  bt.HashRequest // HashRequest, Hashes, HashReject
	Payload []byte         // Bitfield; Piece: the data; Extended; Hashes: 32 bytes a hash; of unknown messages, all
}

// Parse reads one message without its length prefix. It returns ErrEmpty for none (a keepalive never gets here) and
// ErrLength for a known message of another length than it must have. A message that Parse does not know is no error:
// BEP 3 and 10 leave room for them, and receivers ignore them. Payload shares memory with msg. Of a piece message its
// first PieceHeaderSize bytes are enough.
func Parse(msg []byte) (Message, error) {
	if len(msg) == 0 {
		return Message{}, ErrEmpty
	}
	m, b := Message{ID: ID(msg[0])}, msg[1:]
	ok := true
	switch m.ID {
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		ok = len(b) == 0
	case Have, Suggest, AllowedFast:
		if ok = len(b) == 4; ok {
			m.Request.Piece = binary.BigEndian.Uint32(b)
		}
	case RequestBlock, Cancel, Reject:
		if ok = len(b) == 12; ok {
			m.Request = Request{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])}
		}
	case Piece:
		if ok = len(b) >= 8; ok {
			m.Request = Request{Piece: binary.BigEndian.Uint32(b), Begin: binary.BigEndian.Uint32(b[4:])}
			m.Payload = b[8:]
		}
	case Port:
		if ok = len(b) == 2; ok {
			m.Port = binary.BigEndian.Uint16(b)
		}
	case Extended:
		if ok = len(b) >= 1; ok {
			m.ExtID, m.Payload = b[0], b[1:]
		}
	case HashRequest, HashReject:
		if ok = len(b) == hashRequestSize; ok {
			m.Hashes = parseHashRequest(b)
		}
	case Hashes:
		if ok = len(b) > hashRequestSize && (len(b)-hashRequestSize)%32 == 0; ok {
			m.Hashes, m.Payload = parseHashRequest(b), b[hashRequestSize:]
		}
	default:
		m.Payload = b
	}
	if !ok {
		return Message{}, ErrLength
	}
	return m, nil
}

func parseHashRequest(b []byte) bt.HashRequest {
	return bt.HashRequest{
		Root:   bt.Digest(b[:32]),
		Base:   binary.BigEndian.Uint32(b[32:]),
		Index:  binary.BigEndian.Uint32(b[36:]),
		Length: binary.BigEndian.Uint32(b[40:]),
		Proof:  binary.BigEndian.Uint32(b[44:]),
	}
}

// ValidBitfield reports whether b can be the bitfield of a torrent of so many pieces: its length fits, and its spare
// bits are zero (BEP 3).
func ValidBitfield(b []byte, pieces int) bool {
	if pieces < 0 || len(b) != (pieces+7)/8 {
		return false
	}
	spare := 8*len(b) - pieces
	return spare == 0 || b[len(b)-1]&(1<<spare-1) == 0
}
