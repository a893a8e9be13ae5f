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

// film is one title. It has no bytes; what stands for a block's digest is drawn from its number, and the tree over these is true.
type film struct {
	number  int
	title   engine.Title // of a viewer: PeerID and Seed are to be set
	size    int64
	index   index.Index
	coded   []byte   // the index, as IndexLoaded carries it
	unit    int64    // bytes of a block: what engines ask for at a time
	tree    *bt.Tree // its leaves are the blocks
	pieces  int
	after20 int64 // where the film beyond its first 20 s begins
	played  int64 // bytes up to which viewers play
	// sent says, by block, to whom the origin has sent all of it: the viewer's number from 1, 0 for nobody, or sentToSeveral.
	// It is the origin's alone.
	sent []uint32
}

func newFilm(number int, s *Scene) *film {
	f := &film{number: number}
	per := int64(segment/time.Second) * s.Bitrate.Bytes()
	n := int64(s.Film / segment)
	f.size = headBytes + n*per
	piece := int64(s.Piece) << 10
	f.unit = bt.BlockSize
	if s.Unit == "piece" {
		f.unit = piece
	}
	for i := range n {
		f.index = append(f.index, index.Segment{
			From: uint64(headBytes + i*per), To: uint64(headBytes + (i+1)*per),
			StartMs: uint32(i * segment.Milliseconds()), DurationMs: uint32(segment.Milliseconds()),
		})
	}
	if s.Played > 0 && s.Played < s.Film {
		f.index = f.index[:(s.Played+segment-1)/segment]
	}
	f.played = int64(f.index[len(f.index)-1].To)
	f.coded = f.index.AppendBinary(nil)
	f.after20 = f.size
	if k := int(20 * time.Second / segment); k < len(f.index) {
		f.after20 = int64(f.index[k].From)
	}
	leaves := make([]bt.Digest, (f.size+f.unit-1)/f.unit)
	for i := range leaves {
		leaves[i] = f.leaf(uint32(i))
	}
	f.tree = bt.NewTree(leaves, int(piece/f.unit))
	f.pieces = int((f.size + piece - 1) / piece)
	f.title = engine.Title{PieceLength: uint32(piece), Files: []engine.TitleFile{{Size: uint64(f.size), Root: f.tree.Root(), Track: engine.TrackVideo}}}
	binary.BigEndian.PutUint32(f.title.InfoHash[:], uint32(number+1))
	binary.BigEndian.PutUint32(f.title.InfoHashV2[:], uint32(number+1))
	f.title.InfoHashV2[19] = 2
	return f
}

// segment is where in the file the k-th segment lies; the init segment goes with the first.
func (f *film) segment(k int) (from, to int64) {
	if k > 0 {
		from = int64(f.index[k].From)
	}
	return from, int64(f.index[k].To)
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
