// Package index maps a media file's bytes to time: where each segment begins, ends, and plays. It is pure, and
// read by the packager, the players' hosts and the engine alike.
package index

import (
	"encoding/binary"
	"errors"
)

// Segment is one independently decodable stretch of a file.
type Segment struct {
	From, To   uint64 // bytes of the file, To exclusive
	StartMs    uint32 // presentation time of its first frame, in milliseconds of film
	DurationMs uint32
}

// Index is a file's segments in order, without gaps: each begins where the one before it ends, in bytes and in time.
// What lies before the first segment's From is the initialisation segment and the index itself.
type Index []Segment

var errIndex = errors.New("index: malformed")

// AppendBinary appends the form that the engine's IndexLoaded carries: per segment From (8 bytes), To (8),
// StartMs (4), DurationMs (4), big-endian.
func (x Index) AppendBinary(b []byte) []byte {
	for _, s := range x {
		b = binary.BigEndian.AppendUint64(b, s.From)
		b = binary.BigEndian.AppendUint64(b, s.To)
		b = binary.BigEndian.AppendUint32(b, s.StartMs)
		b = binary.BigEndian.AppendUint32(b, s.DurationMs)
	}
	return b
}

// Parse reads what AppendBinary wrote and refuses segments that overlap or run backwards.
func Parse(b []byte) (Index, error) {
	const size = 24
	if len(b)%size != 0 || len(b) > size<<17 {
		return nil, errIndex
	}
	x := make(Index, len(b)/size)
	for i := range x {
		r := b[i*size:]
		x[i] = Segment{
			From: binary.BigEndian.Uint64(r), To: binary.BigEndian.Uint64(r[8:]),
			StartMs: binary.BigEndian.Uint32(r[16:]), DurationMs: binary.BigEndian.Uint32(r[20:]),
		}
		if x[i].To <= x[i].From || i > 0 && (x[i].From < x[i-1].To || x[i].StartMs < x[i-1].StartMs) {
			return nil, errIndex
		}
	}
	return x, nil
}
