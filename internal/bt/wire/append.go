package wire

import (
	"encoding/binary"

	"essaim/internal/bt"
)

// The Append functions append one message with its length prefix, and allocate only where b has no room left.

// AppendKeepalive appends the message of length 0, which keeps a silent connection open.
func AppendKeepalive(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// AppendChoke tells the peer that its requests will not be answered.
func AppendChoke(b []byte) []byte { return head(b, Choke, 0) }

// AppendUnchoke tells the peer that they will.
func AppendUnchoke(b []byte) []byte { return head(b, Unchoke, 0) }

// AppendInterested tells the peer that it has what we lack.
func AppendInterested(b []byte) []byte { return head(b, Interested, 0) }

// AppendNotInterested tells the peer that it has not.
func AppendNotInterested(b []byte) []byte { return head(b, NotInterested, 0) }

// AppendHave tells the peer of one verified piece.
func AppendHave(b []byte, piece uint32) []byte { return number(b, Have, piece) }

// AppendBitfield tells the peer of all verified pieces: bits as ValidBitfield wants them. First message only.
func AppendBitfield(b, bits []byte) []byte {
	return append(head(b, Bitfield, len(bits)), bits...)
}

// AppendHaveAll stands for a bitfield of ones (BEP 6).
func AppendHaveAll(b []byte) []byte { return head(b, HaveAll, 0) }

// AppendHaveNone stands for a bitfield of zeros (BEP 6).
func AppendHaveNone(b []byte) []byte { return head(b, HaveNone, 0) }

// AppendRequest asks for a block.
func AppendRequest(b []byte, r Request) []byte { return block(b, RequestBlock, r) }

// AppendCancel takes a request back.
func AppendCancel(b []byte, r Request) []byte { return block(b, Cancel, r) }

// AppendReject refuses a request (BEP 6).
func AppendReject(b []byte, r Request) []byte { return block(b, Reject, r) }

// AppendPieceHeader appends the 13 bytes that come before length bytes of a block's data.
func AppendPieceHeader(b []byte, piece, begin, length uint32) []byte {
	b = head(b, Piece, 8+int(length))
	b = binary.BigEndian.AppendUint32(b, piece)
	return binary.BigEndian.AppendUint32(b, begin)
}

// AppendPort names the peer's port of the distributed hash table (BEP 5).
func AppendPort(b []byte, port uint16) []byte {
	return binary.BigEndian.AppendUint16(head(b, Port, 2), port)
}

// AppendSuggest names a piece that is cheap to serve (BEP 6).
func AppendSuggest(b []byte, piece uint32) []byte { return number(b, Suggest, piece) }

// AppendAllowedFast names a piece that is served even while choking (BEP 6).
func AppendAllowedFast(b []byte, piece uint32) []byte { return number(b, AllowedFast, piece) }

// AppendExtended appends an extension's message; id is the number that the receiver chose for it (BEP 10).
func AppendExtended(b []byte, id uint8, payload []byte) []byte {
	b = append(head(b, Extended, 1+len(payload)), id)
	return append(b, payload...)
}

// AppendHashRequest asks for hashes (BEP 52).
func AppendHashRequest(b []byte, r bt.HashRequest) []byte { return hashes(b, HashRequest, r, nil) }

// AppendHashes answers r, with what bt.Tree.Answer returned (BEP 52).
func AppendHashes(b []byte, r bt.HashRequest, answer []bt.Digest) []byte {
	return hashes(b, Hashes, r, answer)
}

// AppendHashReject refuses r (BEP 52).
func AppendHashReject(b []byte, r bt.HashRequest) []byte { return hashes(b, HashReject, r, nil) }

// head appends the length prefix and the id of a message whose payload has so many bytes.
func head(b []byte, id ID, payload int) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(1+payload)), byte(id))
}

func number(b []byte, id ID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(head(b, id, 4), n)
}

func block(b []byte, id ID, r Request) []byte {
	b = head(b, id, 12)
	b = binary.BigEndian.AppendUint32(b, r.Piece)
	b = binary.BigEndian.AppendUint32(b, r.Begin)
	return binary.BigEndian.AppendUint32(b, r.Length)
}

func hashes(b []byte, id ID, r bt.HashRequest, answer []bt.Digest) []byte {
	b = head(b, id, hashRequestSize+32*len(answer))
	b = append(b, r.Root[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Base)
	b = binary.BigEndian.AppendUint32(b, r.Index)
	b = binary.BigEndian.AppendUint32(b, r.Length)
	b = binary.BigEndian.AppendUint32(b, r.Proof)
	return bt.AppendDigests(b, answer)
}
