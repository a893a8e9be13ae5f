package engine

import (
	"encoding/binary"
	"errors"

	"essaim/internal/bt"
)

// TrackKind says what a file carries.
type TrackKind uint8

// The kinds of track.
const (
	TrackOther TrackKind = iota
	TrackVideo
	TrackAudio
)

// TitleFile is one file of a title's torrent (pads left out).
type TitleFile struct {
	Size       uint64
	Root       bt.Digest // its v2 pieces root
	FirstPiece uint32    // its first piece's number in the torrent; files begin on a piece (BEP 47, BEP 52)
	Track      TrackKind
}

// Title is what the engine must know of a title version before anything else.
type Title struct {
	PieceLength uint32 // a power of two, at least bt.BlockSize
	InfoHash    bt.InfoHash
	InfoHashV2  bt.InfoHash // truncated
	PeerID      bt.PeerID   // ours
	Seed        uint64      // of all chance in the engine
	Files       []TitleFile
}

const titleVersion = 1

var errTitle = errors.New("engine: malformed title")

// AppendBinary appends the form that TitleOpened carries, big-endian: version 1 (1 byte), 0, number of files (2),
// piece length (4), v1 info hash (20), truncated v2 info hash (20), peer ID (20), seed (8); then for each file
// size (8), root (32), first piece (4), track kind (1).
func (t *Title) AppendBinary(b []byte) []byte {
	b = append(b, titleVersion, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Files)))
	b = binary.BigEndian.AppendUint32(b, t.PieceLength)
	b = append(b, t.InfoHash[:]...)
	b = append(b, t.InfoHashV2[:]...)
	b = append(b, t.PeerID[:]...)
	b = binary.BigEndian.AppendUint64(b, t.Seed)
	for i := range t.Files {
		f := &t.Files[i]
		b = binary.BigEndian.AppendUint64(b, f.Size)
		b = append(b, f.Root[:]...)
		b = binary.BigEndian.AppendUint32(b, f.FirstPiece)
		b = append(b, byte(f.Track))
	}
	return b
}

// The fixed sizes of the binary form.
const (
	titleHeadSize = 76
	titleFileSize = 45
)

// ParseTitle reads what AppendBinary wrote, and refuses what cannot be: a piece length that is no power of two,
// files that are empty or overlap, more than 2^24 pieces.
func ParseTitle(b []byte) (Title, error) {
	var t Title
	if len(b) < titleHeadSize || b[0] != titleVersion {
		return t, errTitle
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	t.PieceLength = binary.BigEndian.Uint32(b[4:])
	copy(t.InfoHash[:], b[8:])
	copy(t.InfoHashV2[:], b[28:])
	copy(t.PeerID[:], b[48:])
	t.Seed = binary.BigEndian.Uint64(b[68:])
	pl := t.PieceLength
	if len(b) != titleHeadSize+n*titleFileSize || pl < bt.BlockSize || pl > 64<<20 || pl&(pl-1) != 0 {
		return t, errTitle
	}
	t.Files = make([]TitleFile, n)
	next := uint64(0)
	for i := range t.Files {
		r := b[titleHeadSize+i*titleFileSize:]
		f := &t.Files[i]
		f.Size = binary.BigEndian.Uint64(r)
		copy(f.Root[:], r[8:])
		f.FirstPiece = binary.BigEndian.Uint32(r[40:])
		f.Track = TrackKind(r[44])
		if f.Size == 0 || f.Size > 1<<44 || uint64(f.FirstPiece) < next {
			return t, errTitle
		}
		next = uint64(f.FirstPiece) + (f.Size+uint64(pl)-1)/uint64(pl)
		if next > 1<<24 {
			return t, errTitle
		}
	}
	return t, nil
}
