package sim

import (
	"encoding/binary"
	"time"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
)

// segment is what a player asks for at a time.
const segment = 2 * time.Second

// headBytes lie before a film's first segment: the init segment and the index.
const headBytes = 1_000

// film is one title. It has no bytes; what stands for a block's digest is drawn from its number, and the trees over these are true. Its
// files, one for each rendition, lie one behind the other, each from the beginning of a piece on, as in a torrent: a place in the film
// is a byte of all that.
type film struct {
	number     int
	title      engine.Title // of a viewer: PeerID and Seed are to be set
	renditions []rendition
	segments   int   // of each rendition
	size       int64 // where the last rendition ends
	unit       int64 // bytes of a block: what engines ask for at a time
	pieces     int
	// sent says, by 16 KiB, to whom the origin has sent all of it: the viewer's number from 1, 0 for nobody, or sentToSeveral.
	// It is the origin's alone.
	sent []uint32
}

// rendition is one of a film's files.
type rendition struct {
	base    int64 // its place in the film
	size    int64
	index   index.Index
	coded   []byte   // the index, as IndexLoaded carries it
	tree    *bt.Tree // its leaves are the blocks
	after20 int64    // where in the file what lies beyond the first 20 s begins
	played  int64    // bytes of the file up to which viewers play
}

// end is where in the film the rendition ends.
func (r *rendition) end() int64 { return r.base + r.size }

func newFilm(number int, s *Scene) *film {
	piece := int64(s.Piece) << 10
	f := &film{number: number, unit: bt.BlockSize, title: engine.Title{PieceLength: uint32(piece)}}
	if s.Unit == "piece" {
		f.unit = piece
	}
	f.add(s, s.Bitrate)
	if s.Switches > 0 {
		f.add(s, s.Bitrate/2)
	}
	binary.BigEndian.PutUint32(f.title.InfoHash[:], uint32(number+1))
	binary.BigEndian.PutUint32(f.title.InfoHashV2[:], uint32(number+1))
	f.title.InfoHashV2[19] = 2
	return f
}

// add appends a rendition.
func (f *film) add(s *Scene, rate Rate) {
	piece := int64(f.title.PieceLength)
	per := int64(segment/time.Second) * rate.Bytes()
	n := int64(s.Film / segment)
	r := rendition{base: int64(f.pieces) * piece, size: headBytes + n*per}
	for i := range n {
		r.index = append(r.index, index.Segment{
			From: uint64(headBytes + i*per), To: uint64(headBytes + (i+1)*per),
			StartMs: uint32(i * segment.Milliseconds()), DurationMs: uint32(segment.Milliseconds()),
		})
	}
	if s.Played > 0 && s.Played < s.Film {
		r.index = r.index[:(s.Played+segment-1)/segment]
	}
	r.played = int64(r.index[len(r.index)-1].To)
	r.coded = r.index.AppendBinary(nil)
	r.after20 = r.size
	if k := int(20 * time.Second / segment); k < len(r.index) {
		r.after20 = int64(r.index[k].From)
	}
	leaves := make([]bt.Digest, (r.size+f.unit-1)/f.unit)
	for i := range leaves {
		leaves[i] = f.leaf(uint32(r.base/f.unit) + uint32(i))
	}
	r.tree = bt.NewTree(leaves, int(piece/f.unit))
	f.title.Files = append(f.title.Files, engine.TitleFile{
		Size: uint64(r.size), Root: r.tree.Root(), FirstPiece: uint32(f.pieces), Track: engine.TrackVideo,
	})
	f.pieces += int((r.size + piece - 1) / piece)
	f.segments, f.size = len(r.index), r.end()
	f.renditions = append(f.renditions, r)
}

// segment is where in the film its k-th segment lies, those of the first rendition first; the init segment goes with the first of each.
func (f *film) segment(k int) (from, to int64) {
	r := &f.renditions[k/f.segments]
	k %= f.segments
	if k > 0 {
		from = int64(r.index[k].From)
	}
	return r.base + from, r.base + int64(r.index[k].To)
}

// at is the rendition to which a place in the film belongs.
func (f *film) at(place int64) *rendition {
	n := len(f.renditions) - 1
	for n > 0 && place < f.renditions[n].base {
		n--
	}
	return &f.renditions[n]
}

// beyond20 is how many of the bytes from from up to to, of one rendition, lie beyond the first 20 s.
func (f *film) beyond20(from, to int64) int64 {
	r := f.at(from)
	return max(0, to-max(from, r.base+r.after20))
}

// block is the number of the block that begins in a piece at begin.
func (f *film) block(piece, begin uint32) uint32 {
	return uint32((int64(piece)*int64(f.title.PieceLength) + int64(begin)) / f.unit)
}

// leaf stands for the digest of a block's bytes.
func (f *film) leaf(block uint32) (d bt.Digest) {
	x := uint64(f.number)<<32 | uint64(block)
	for i := 0; i < len(d); i += 8 {
		x = mix(x + 0x9e3779b97f4a7c15)
		binary.BigEndian.PutUint64(d[i:], x)
	}
	return d
}

// digest is what a host says of a block that came, right or wrong.
func (f *film) digest(piece, begin uint32, bad bool) bt.Digest {
	d := f.leaf(f.block(piece, begin))
	if bad {
		d[0] ^= 1
	}
	return d
}
