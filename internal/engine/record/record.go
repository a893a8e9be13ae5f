// Package record is the one binary form of the engine's inputs and outputs: what crosses the WebAssembly boundary,
// what the flight recorder keeps, what fuzzing starts from and what a replay reads. It must lose nothing, refuse
// what is malformed, and cost next to nothing: every record has one fixed head, and data behind it.
//
//	offset size  input           output
//	0      4     size            size       of the whole record, head and data, little-endian like all numbers here
//	4      1     kind            kind
//	5      1     0               note
//	6      2     flags           flags
//	8      2     reason          reason
//	10     2     0               source
//	12     4     peer            peer
//	16     4     ref             ref
//	20     4     file            file
//	24     4     piece           piece
//	28     4     begin           begin
//	32     4     length          length
//	36     4     0               index
//	40     8     from            from       signed
//	48     8     to              to         signed
//	56     4     0               base
//	60     4     0               proof
//	64     32    digest          (none)
//	96/64  n     data            data
package record

import (
	"encoding/binary"
	"errors"

	"essaim/internal/engine"
)

// The sizes of the heads, in bytes, and the largest record that Next accepts.
const (
	InputHead  = 96
	OutputHead = 64
	SizeMax    = 4 << 20
)

// ErrMalformed is returned for bytes that are no record.
var ErrMalformed = errors.New("record: malformed")

var le = binary.LittleEndian

func head(b []byte, size int, kind, note byte, flags engine.Flags, reason engine.Reason) {
	le.PutUint32(b, uint32(size))
	b[4], b[5] = kind, note
	le.PutUint16(b[6:], uint16(flags))
	le.PutUint16(b[8:], uint16(reason))
}

func refs(b []byte, peer engine.PeerRef, ref engine.Ref, file, piece, begin, length uint32, from, to int64) {
	le.PutUint32(b[12:], uint32(peer))
	le.PutUint32(b[16:], uint32(ref))
	le.PutUint32(b[20:], file)
	le.PutUint32(b[24:], piece)
	le.PutUint32(b[28:], begin)
	le.PutUint32(b[32:], length)
	le.PutUint64(b[40:], uint64(from))
	le.PutUint64(b[48:], uint64(to))
}

// AppendInput appends in's record to b.
func AppendInput(b []byte, in *engine.Input) []byte {
	n := len(b)
	b = append(b, make([]byte, InputHead)...)
	h := b[n:]
	head(h, InputHead+len(in.Data), byte(in.Kind), 0, in.Flags, in.Reason)
	refs(h, in.Peer, in.Ref, in.File, in.Piece, in.Begin, in.Length, in.From, in.To)
	copy(h[64:], in.Digest[:])
	return append(b, in.Data...)
}

// AppendOutput appends out's record to b.
func AppendOutput(b []byte, out *engine.Output) []byte {
	n := len(b)
	b = append(b, make([]byte, OutputHead)...)
	h := b[n:]
	head(h, OutputHead+len(out.Data), byte(out.Kind), byte(out.Note), out.Flags, out.Reason)
	le.PutUint16(h[10:], out.Source)
	refs(h, out.Peer, out.Ref, out.File, out.Piece, out.Begin, out.Length, out.From, out.To)
	le.PutUint32(h[36:], out.Index)
	le.PutUint32(h[56:], out.Base)
	le.PutUint32(h[60:], out.Proof)
	return append(b, out.Data...)
}

// next cuts one record of the given head size off b.
func next(b []byte, headSize int) (rec, rest []byte, err error) {
	if len(b) < headSize {
		return nil, nil, ErrMalformed
	}
	size := le.Uint32(b)
	if size < uint32(headSize) || size > SizeMax || uint64(size) > uint64(len(b)) {
		return nil, nil, ErrMalformed
	}
	return b[:size], b[size:], nil
}

// NextInput reads the first record of b into in, whose Data then points into b, and returns the rest of b.
func NextInput(b []byte, in *engine.Input) (rest []byte, err error) {
	r, rest, err := next(b, InputHead)
	if err != nil {
		return nil, err
	}
	*in = engine.Input{
		Kind: engine.InputKind(r[4]), Flags: engine.Flags(le.Uint16(r[6:])), Reason: engine.Reason(le.Uint16(r[8:])),
		Peer: engine.PeerRef(le.Uint32(r[12:])), Ref: engine.Ref(le.Uint32(r[16:])),
		File: le.Uint32(r[20:]), Piece: le.Uint32(r[24:]), Begin: le.Uint32(r[28:]), Length: le.Uint32(r[32:]),
		From: int64(le.Uint64(r[40:])), To: int64(le.Uint64(r[48:])), Data: r[InputHead:],
	}
	copy(in.Digest[:], r[64:])
	return rest, nil
}

// NextOutput reads the first record of b into out, whose Data then points into b, and returns the rest of b.
func NextOutput(b []byte, out *engine.Output) (rest []byte, err error) {
	r, rest, err := next(b, OutputHead)
	if err != nil {
		return nil, err
	}
	*out = engine.Output{
		Kind: engine.OutputKind(r[4]), Note: engine.NoteKind(r[5]), Flags: engine.Flags(le.Uint16(r[6:])),
		Reason: engine.Reason(le.Uint16(r[8:])), Source: le.Uint16(r[10:]),
		Peer: engine.PeerRef(le.Uint32(r[12:])), Ref: engine.Ref(le.Uint32(r[16:])),
		File: le.Uint32(r[20:]), Piece: le.Uint32(r[24:]), Begin: le.Uint32(r[28:]), Length: le.Uint32(r[32:]),
		Index: le.Uint32(r[36:]), Base: le.Uint32(r[56:]), Proof: le.Uint32(r[60:]),
		From: int64(le.Uint64(r[40:])), To: int64(le.Uint64(r[48:])), Data: r[OutputHead:],
	}
	return rest, nil
}
