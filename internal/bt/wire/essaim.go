package wire

import "encoding/binary"

// ExtEssaim is the name, in BEP 10's handshake, of what Essaim's viewers tell one another beside BitTorrent. Its messages,
// all numbers big-endian:
//
//	playing    0  file (2)  play head, ms of film (4)  rate, thousandths (2)  cohort (4)  its size (4)
//	fetching   1  first piece (4)  pieces (2)  expected to take, ms (2)
//	unfetching 2  first piece (4)  pieces (2)
//
// playing says where the sender's play head is and how fast it moves (0: it stands), so that neighbours know who will want
// what, and when; and the largest size that it knows of the cohort which the tracker counts it into, so that all its members come to
// know. fetching says that the sender asks the origin for these pieces now, so that others need not; unfetching takes it back.
// Receivers ignore types that they do not know.
const ExtEssaim = "es_swarm"

// EssaimKind is the type of an ExtEssaim message.
type EssaimKind uint8

// The types.
const (
	EssaimPlaying EssaimKind = iota
	EssaimFetching
	EssaimUnfetching
)

// Essaim is a parsed ExtEssaim message. Kind says which fields count.
type Essaim struct {
	Kind       EssaimKind
	File       uint16 // Playing
	PositionMs uint32 // Playing
	Rate       uint16 // Playing: thousandths
	Cohort     uint32 // Playing: its ID; 0: in none
	Size       uint32 // Playing: of the cohort
	Piece      uint32 // Fetching, Unfetching: the first one
	Pieces     uint16 // Fetching, Unfetching: at least 1
	WithinMs   uint16 // Fetching
}

// AppendEssaim appends m as a whole message; id is the peer's number for ExtEssaim.
func AppendEssaim(b []byte, id uint8, m Essaim) []byte {
	b = append(head(b, Extended, 1+m.Kind.size()), id, byte(m.Kind))
	if m.Kind == EssaimPlaying {
		b = binary.BigEndian.AppendUint16(b, m.File)
		b = binary.BigEndian.AppendUint32(b, m.PositionMs)
		b = binary.BigEndian.AppendUint16(b, m.Rate)
		b = binary.BigEndian.AppendUint32(b, m.Cohort)
		return binary.BigEndian.AppendUint32(b, m.Size)
	}
	b = binary.BigEndian.AppendUint32(b, m.Piece)
	b = binary.BigEndian.AppendUint16(b, m.Pieces)
	if m.Kind == EssaimFetching {
		b = binary.BigEndian.AppendUint16(b, m.WithinMs)
	}
	return b
}

// ParseEssaim reads the payload of an extended message under our number for ExtEssaim. Of a type that it does not know it
// returns the Kind alone; known ones of another length, or of no pieces, are ErrLength.
func ParseEssaim(b []byte) (Essaim, error) {
	if len(b) == 0 {
		return Essaim{}, ErrLength
	}
	m := Essaim{Kind: EssaimKind(b[0])}
	if m.Kind > EssaimUnfetching {
		return m, nil
	}
	if len(b) != m.Kind.size() {
		return Essaim{}, ErrLength
	}
	b = b[1:]
	if m.Kind == EssaimPlaying {
		m.File, m.PositionMs, m.Rate = binary.BigEndian.Uint16(b), binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint16(b[6:])
		m.Cohort, m.Size = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
		return m, nil
	}
	m.Piece, m.Pieces = binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:])
	if m.Kind == EssaimFetching {
		m.WithinMs = binary.BigEndian.Uint16(b[6:])
	}
	if m.Pieces == 0 {
		return Essaim{}, ErrLength
	}
	return m, nil
}

// size is a message's payload, type included.
func (k EssaimKind) size() int {
	switch k {
	case EssaimPlaying:
		return 17
	case EssaimUnfetching:
		return 7
	}
	return 9
}
