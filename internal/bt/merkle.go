package bt

import (
	"errors"
	"math/bits"
)

// The hash tree of a file (BEP 52). Layer 0 holds the leaves, one SHA-256 digest for each 16 KiB block; it is padded
// with zero digests to the next power of two, and every layer above hashes pairs:
//
//	layer 3                root
//	layer 2          a               b            piece layer, when a piece is 4 blocks
//	layer 1      .       .       .       p1
//	layer 0    l0  l1  l2  l3  l4  l5   0   0     leaves of a file of 6 blocks, and padding (p0 = 0)
//
// A node that covers padding only is the same in every tree: p0 is 32 zero bytes, p(n+1) = SHA-256(pn pn). That is why
// padding is never written out here, neither in memory nor when it is hashed.

// layersMax bounds the height of a tree: block numbers fit 32 bits.
const layersMax = 33

// padding[n] is the node of layer n which covers no block.
var padding = func() (p [layersMax]Digest) {
	for n := 1; n < layersMax; n++ {
		p[n] = join(&p[n-1], &p[n-1])
	}
	return p
}()

// join is the node above left and right.
func join(left, right *Digest) Digest {
	var pair [64]byte
	copy(pair[:32], left[:])
	copy(pair[32:], right[:])
	return sum64(&pair)
}

// Blocks is the number of 16 KiB blocks, the last of them perhaps short, in a file of size bytes; 0 for size ≤ 0.
func Blocks(size int64) int {
	if size <= 0 {
		return 0
	}
	return int((size-1)/BlockSize + 1)
}

// Fold is the root of the balanced tree over width leaves, of which those missing are zero digests (BEP 52). With a
// piece's leaves and the blocks in a piece it is the piece's node in the piece layer. It allocates one scratch slice,
// and none up to 32 leaves. It panics unless width is a power of two that is no less than len(leaves).
func Fold(leaves []Digest, width int) Digest {
	var few [16]Digest
	scratch := few[:]
	if need := (len(leaves) + 1) / 2; need > len(scratch) {
		scratch = make([]Digest, need)
	}
	return foldFrom(scratch, leaves, 0, width)
}

// FoldInto is Fold without allocation. It overwrites scratch, which must have room for half the leaves, rounded up
// (it panics otherwise); scratch may be the leaves themselves when they are no longer needed.
func FoldInto(scratch, leaves []Digest, width int) Digest {
	return foldFrom(scratch, leaves, 0, width)
}

// foldFrom folds nodes of the given layer, padded to width nodes with that layer's padding.
func foldFrom(scratch, nodes []Digest, layer, width int) Digest {
	if width < 1 || width&(width-1) != 0 || width < len(nodes) {
		panic("bt: a tree's width must be a power of two and hold its nodes")
	}
	if len(nodes) == 0 {
		return padding[layer+log2(width)]
	}
	for ; width > 1; width /= 2 {
		n := len(nodes)
		for i := 0; i+1 < n; i += 2 {
			scratch[i/2] = join(&nodes[i], &nodes[i+1])
		}
		if n&1 != 0 {
			scratch[n/2] = join(&nodes[n-1], &padding[layer])
		}
		nodes = scratch[:(n+1)/2]
		layer++
	}
	return nodes[0]
}

// PieceLayer is the layer of a file's tree whose nodes cover one piece each, without its padding, as "piece layers"
// holds it (BEP 52). It is nil for a file of one piece or less, which has no such layer. It panics unless
// blocksPerPiece is a power of two.
func PieceLayer(leaves []Digest, blocksPerPiece int) []Digest {
	mustPieceBlocks(blocksPerPiece)
	if len(leaves) <= blocksPerPiece {
		return nil
	}
	layer := make([]Digest, 0, (len(leaves)+blocksPerPiece-1)/blocksPerPiece)
	scratch := make([]Digest, (blocksPerPiece+1)/2)
	for from := 0; from < len(leaves); from += blocksPerPiece {
		to := min(from+blocksPerPiece, len(leaves))
		layer = append(layer, FoldInto(scratch, leaves[from:to], blocksPerPiece))
	}
	return layer
}

// FileRoot is the "pieces root" of a file with these leaves (BEP 52); the zero digest for a file without any, which
// has none. The tree of a file of one piece or less is padded to the next power of two of its own blocks. The length
// of a piece never changes the root: it only lets the tree be folded piece by piece. FileRoot panics unless
// blocksPerPiece is a power of two.
func FileRoot(leaves []Digest, blocksPerPiece int) Digest {
	if layer := PieceLayer(leaves, blocksPerPiece); layer != nil {
		return LayerRoot(layer, blocksPerPiece)
	}
	return Fold(leaves, nextPower(len(leaves)))
}

// LayerRoot is the root of the file whose piece layer this is: what "piece layers" must lead to (BEP 52). It panics
// unless blocksPerPiece is a power of two.
func LayerRoot(layer []Digest, blocksPerPiece int) Digest {
	mustPieceBlocks(blocksPerPiece)
	scratch := make([]Digest, (len(layer)+1)/2)
	return foldFrom(scratch, layer, log2(blocksPerPiece), nextPower(len(layer)))
}

var errDigests = errors.New("bt: want whole 32-byte digests")

// AppendDigests appends digests as BEP 52 concatenates them, 32 bytes each.
func AppendDigests(b []byte, digests []Digest) []byte {
	for i := range digests {
		b = append(b, digests[i][:]...)
	}
	return b
}

// ParseDigests reads what AppendDigests wrote; it refuses a length that is no multiple of 32.
func ParseDigests(b []byte) ([]Digest, error) {
	if len(b)%32 != 0 {
		return nil, errDigests
	}
	digests := make([]Digest, len(b)/32)
	for i := range digests {
		copy(digests[i][:], b[32*i:])
	}
	return digests, nil
}

func mustPieceBlocks(n int) {
	if n < 1 || n&(n-1) != 0 {
		panic("bt: blocks per piece must be a power of two")
	}
}

// log2 is the exponent of a power of two.
func log2(n int) int { return bits.TrailingZeros(uint(n)) }

// nextPower is the least power of two that is no less than n, and 1 for n = 0.
func nextPower(n int) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1))
}
