// Package metainfo makes, reads and checks torrent files: hybrids of v1 and v2 (BEP 3, 12, 19, 27, 47, 52), and nothing
// else. A title's version is one of them.
//
//	offset   0          1 piece     2           3           4           5
//	         +-----------+-----------+-----------+-----------+-----------+
//	v1       | audio.mp4             .    | .pad | video-360p.mp4     |      no pad after the last file
//	         +-----------+-----------+-----------+-----------+-----------+
//	v2       | audio.mp4                  |        video-360p.mp4     |      every file begins a piece
//
// It must get right that both halves of a torrent describe the same bytes in the same order, that what Create writes
// others read, and that nothing in a stranger's file (a name, a count, a depth) can hurt its reader.
//
// The order of files is not free: BEP 52 takes it from the keys of "file tree", which bencode sorts as bytes, and the
// v1 list must follow it. A pad after the last file is what libtorrent since 2.0.4 and the reference program write, and
// what libtorrent before it refuses; all accept its absence, and v1 peers then ask for no zeros at the end. So Create
// leaves it out, and Parse takes both.
package metainfo

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"essaim/internal/bt"
)

// Bounds of what Create makes and Parse accepts.
const (
	BytesMax       = 64 << 20 // of a torrent file
	FilesMax       = 10_000   // without pads
	PiecesMax      = 1 << 24
	FileBytesMax   = 1 << 44
	PieceLengthMin = bt.BlockSize
	PieceLengthMax = 64 << 20
	nameBytesMax   = 255
	pathBytesMax   = 1024
	pathPartsMax   = 32
	urlsMax        = 100
	urlBytesMax    = 2048
)

// Errors that callers tell apart; all others mean that the input breaks a rule, and say which.
var (
	// ErrVersion is returned for a "meta version" that is newer than this package, before anything else is looked at.
	ErrVersion = errors.New("metainfo: made for a newer version of BitTorrent")
	// ErrNotHybrid is returned for a torrent of v1 or of v2 alone.
	ErrNotHybrid = errors.New("metainfo: not a hybrid of v1 and v2")
	// ErrConflict is returned, with a MismatchError, for bytes that one half of a torrent takes and the other refutes: v1 and v2
	// describe different files, and viewers of the one would be served what viewers of the other must refuse. BEP 52 wants such a
	// torrent refused as a whole, whatever bytes it comes with.
	ErrConflict = errors.New("metainfo: the v1 and v2 hashes of the torrent disagree; it is refused")
	// ErrSize is returned when a source holds more or fewer bytes than it promised.
	ErrSize = errors.New("metainfo: size differs from what was promised")
)

// Torrent is a hybrid torrent.
type Torrent struct {
	Name        string // the folder's name, or the one file's
	PieceLength uint32 // bytes; a power of two
	Private     bool   // BEP 27
	InfoHash    bt.InfoHash
	InfoHashV2  bt.InfoHashV2
	Files       []File // in torrent order, pads left out
	Pieces      []HashV1
	TailPad     bool     // the v1 half has a pad after the last file
	Trackers    []string // in order of preference
	WebSeeds    []string // BEP 19
	Bytes       []byte   // the torrent file
	Info        []byte   // the info dictionary within Bytes: what the info hashes are taken over, and BEP 9 sends
}

// HashV1 is a piece's SHA-1 (BEP 3), over the pad too where one follows the file in the piece.
type HashV1 = [sha1.Size]byte

// File is one file of a torrent. Its pieces are numbered from FirstPiece on.
type File struct {
	Path       string // within the torrent, joined by '/'
	Size       int64  // bytes, never 0
	Root       bt.Digest
	FirstPiece uint32
	Layer      []bt.Digest // its piece layer; nil for a file of one piece or less
	Leaves     []bt.Digest // its leaf layer; only Create knows it, and only of a source that takes it nowhere else
}

// PieceCount is the number of the file's pieces.
func (f *File) PieceCount(pieceLength uint32) uint32 {
	return uint32((f.Size + int64(pieceLength) - 1) / int64(pieceLength))
}

// ChoosePieceLength is the piece length for a torrent of so many bytes in all. A piece is what can be passed on once it is whole, so
// that small ones spread sooner through a crowd that starts together: 32 KiB up to 64 MB, doubling at 512 MB, 4 GB and 24 GB up to
// 512 KiB, which keeps have messages, bitfields and v1's list of hashes below 70,000 entries for films of any usual length.
func ChoosePieceLength(total int64) uint32 {
	switch {
	case total <= 64e6:
		return 32 << 10
	case total <= 512e6:
		return 64 << 10
	case total <= 4e9:
		return 128 << 10
	case total <= 24e9:
		return 256 << 10
	}
	return 512 << 10
}

func checkPieceLength(n int64) error {
	if n < PieceLengthMin || n > PieceLengthMax || n&(n-1) != 0 {
		return fmt.Errorf("metainfo: piece length %d is no power of two from %d to %d", n, PieceLengthMin, PieceLengthMax)
	}
	return nil
}

// checkName refuses a name that is no plain name of a file or folder on every system that matters.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
	case len(name) > nameBytesMax || !utf8.ValidString(name):
	case strings.ContainsAny(name, "/\\\x7f") || strings.IndexFunc(name, func(r rune) bool { return r < ' ' }) >= 0:
	default:
		return nil
	}
	return fmt.Errorf("metainfo: %.40q cannot be the name of a file", name)
}

func checkPath(parts []string) error {
	bytes := len(parts) - 1
	for _, part := range parts {
		if err := checkName(part); err != nil {
			return err
		}
		bytes += len(part)
	}
	if len(parts) == 0 || len(parts) > pathPartsMax || bytes > pathBytesMax {
		return fmt.Errorf("metainfo: a path of %d parts and %d bytes", len(parts), max(bytes, 0))
	}
	return nil
}

// layout gives files of these sizes their first pieces, and refuses more than the bounds allow.
func layout(files []File, pieceLength uint32) error {
	if len(files) == 0 || len(files) > FilesMax {
		return fmt.Errorf("metainfo: %d files", len(files))
	}
	next := uint32(0)
	for i := range files {
		f := &files[i]
		if f.Size <= 0 || f.Size > FileBytesMax {
			return fmt.Errorf("metainfo: file %q of %d bytes", f.Path, f.Size)
		}
		if (f.Size-1)/int64(pieceLength) >= int64(PiecesMax-next) {
			return fmt.Errorf("metainfo: more than %d pieces", PiecesMax)
		}
		f.FirstPiece = next
		next += f.PieceCount(pieceLength)
	}
	return nil
}

// pad is the number of zeros that follow a file of this size up to the next piece.
func pad(size int64, pieceLength uint32) int64 {
	return -size & int64(pieceLength-1)
}
