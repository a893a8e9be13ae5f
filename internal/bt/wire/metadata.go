package wire

import (
	"math"

	"essaim/internal/bt/bencode"
)

// MetadataPiece is how much of an info dictionary one message holds, in bytes; the last one holds the rest (BEP 9).
const MetadataPiece = 16 << 10

// MetadataKind is the type of an ut_metadata message.
type MetadataKind uint8

// The types of BEP 9.
const (
	MetadataRequest MetadataKind = 0
	MetadataData    MetadataKind = 1
	MetadataReject  MetadataKind = 2
)

// Metadata is a parsed ut_metadata message.
type Metadata struct {
	Kind  MetadataKind
	Piece uint32
	Total uint32 // MetadataData: bytes of the whole dictionary
	Data  []byte // MetadataData
}

// AppendMetadata appends m as a whole message; id is the peer's number for ExtMetadata.
func AppendMetadata(b []byte, id uint8, m Metadata) []byte {
	entries := []bencode.Entry{
		{Key: "msg_type", Value: bencode.Int(int64(m.Kind))},
		{Key: "piece", Value: bencode.Int(int64(m.Piece))},
	}
	if m.Kind == MetadataData {
		entries = append(entries, bencode.Entry{Key: "total_size", Value: bencode.Int(int64(m.Total))})
	}
	dict := bencode.AppendDict(nil, entries...)
	b = append(head(b, Extended, 1+len(dict)+len(m.Data)), id)
	b = append(b, dict...)
	return append(b, m.Data...)
}

// ParseMetadata reads the payload of an extended message under our number for ExtMetadata. Types that it does not know it
// returns as they are; numbers below zero or beyond 32 bits, data longer than a piece, and data after any other message are
// ErrLength.
func ParseMetadata(payload []byte) (Metadata, error) {
	dict, rest, err := bencode.ParsePrefix(payload)
	if err != nil {
		return Metadata{}, err
	}
	number := func(key string, max int64) (int64, bool) {
		n, ok := dict.Get(key).Int()
		return n, ok && n >= 0 && n <= max
	}
	kind, ok := number("msg_type", math.MaxUint8)
	piece, ok2 := number("piece", math.MaxUint32)
	if !ok || !ok2 || len(rest) > MetadataPiece {
		return Metadata{}, ErrLength
	}
	m := Metadata{Kind: MetadataKind(kind), Piece: uint32(piece)}
	if m.Kind == MetadataData {
		total, ok := number("total_size", metadataSizeMax)
		if !ok {
			return Metadata{}, ErrLength
		}
		m.Total, m.Data = uint32(total), rest
	} else if len(rest) > 0 {
		return Metadata{}, ErrLength
	}
	return m, nil
}
