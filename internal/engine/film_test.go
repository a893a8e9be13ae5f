package engine_test

import (
	"crypto/sha256"
	"sync"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
)

// film is a made-up title with its bytes and hash trees.
type film struct {
	title   engine.Title
	files   [][]byte
	trees   []*bt.Tree
	leaves  [][]bt.Digest // of each file; only of films for chaos
	indexes []index.Index
}

var films sync.Map // those made so far: nobody changes one

// newFilm makes one video file of the given seconds and bytes per second, and an audio file at a tenth of that.
func newFilm(seconds, rate int, pieceLength uint32) *film {
	key := [3]int{seconds, rate, int(pieceLength)}
	f, ok := films.Load(key)
	if !ok {
		f, _ = films.LoadOrStore(key, makeFilm(seconds, rate, pieceLength))
	}
	return f.(*film)
}

func makeFilm(seconds, rate int, pieceLength uint32) *film {
	f := &film{title: engine.Title{PieceLength: pieceLength, InfoHash: bt.InfoHash{1}, InfoHashV2: bt.InfoHash{2}}}
	next := uint32(0)
	for k, r := range []int{rate, rate / 10} {
		head := 1000
		data := make([]byte, head+seconds*r)
		x := uint64(k + 1)
		for i := range data {
			x = x*6364136223846793005 + 1442695040888963407
			data[i] = byte(x >> 56)
		}
		var leaves []bt.Digest
		for at := 0; at < len(data); at += bt.BlockSize {
			leaves = append(leaves, sha256.Sum256(data[at:min(at+bt.BlockSize, len(data))]))
		}
		bpp := int(pieceLength / bt.BlockSize)
		tree := bt.NewTree(leaves, bpp)
		f.files = append(f.files, data)
		f.trees = append(f.trees, tree)
		f.title.Files = append(f.title.Files, engine.TitleFile{Size: uint64(len(data)), Root: tree.Root(), FirstPiece: next, Track: engine.TrackKind(k + 1)})
		next += uint32((len(data) + int(pieceLength) - 1) / int(pieceLength))
		var x2 index.Index
		for s := 0; s < seconds; s += 2 {
			d := min(2, seconds-s)
			x2 = append(x2, index.Segment{From: uint64(head + s*r), To: uint64(head + (s+d)*r), StartMs: uint32(s * 1000), DurationMs: uint32(d * 1000)})
		}
		f.indexes = append(f.indexes, x2)
	}
	return f
}

// pieces is the number of pieces of all files.
func (f *film) pieces() int {
	last := len(f.files) - 1
	return int(f.title.Files[last].FirstPiece) + (len(f.files[last])+int(f.title.PieceLength)-1)/int(f.title.PieceLength)
}

func (f *film) block(piece, begin uint32) (file int, at, length int) {
	for i := len(f.title.Files) - 1; i >= 0; i-- {
		if t := &f.title.Files[i]; piece >= t.FirstPiece {
			at = int(piece-t.FirstPiece)*int(f.title.PieceLength) + int(begin)
			return i, at, min(bt.BlockSize, len(f.files[i])-at)
		}
	}
	panic("no such piece")
}
