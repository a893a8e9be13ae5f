package bt

import (
	"errors"
	"math/bits"
)

// HashesMax bounds the Length of a hash request. BEP 52 advises at most 512; libtorrent answers up to 8192.
const HashesMax = 8192

// Errors of hash requests and their answers. A peer that sends an answer which Check refuses is lying or broken.
var (
	ErrHashRequest = errors.New("bt: no such hash request can be answered")
	ErrHashes      = errors.New("bt: the hashes do not lead to the root")
)

// HashRequest asks for Length neighbouring nodes of layer Base of the tree under Root, from node Index on, with what
// proves them (BEP 52, "hash request").
//
// Base counts layers from the leaves (0). Length is a power of two, at least 2 and at most HashesMax; Index is a
// multiple of it; both may reach into the layer's padding up to its power of two, which is then sent like other nodes.
// A layer of one node cannot be asked for: the node is the root. Proof counts the layers above Base for which the
// answer brings an uncle, the sibling of the node on the way to the root; the first log2(Length)-1 of them are left
// out, because they follow from the nodes asked for. In a tree of height h (the root's layer), Proof < h - Base.
//
//	Base 0, Index 2, Length 2, Proof 2 → l2 l3 | u1 u2
//	                root
//	        .                  u2
//	   u1       .         .         .
//	 l0  l1   l2  l3    l4  l5    l6  l7
type HashRequest struct {
	Root   Digest
	Base   uint32
	Index  uint32
	Length uint32
	Proof  uint32
}

// uncles is the number of digests that follow the Length requested ones. The request must be valid.
func (r HashRequest) uncles() int {
	return max(0, int(r.Proof)-(log2(int(r.Length))-1))
}

// Hashes is the number of digests in the answer, and 0 for a request that cannot be answered.
func (r HashRequest) Hashes(blocks int) int {
	if !r.valid(blocks) {
		return 0
	}
	return int(r.Length) + r.uncles()
}

// valid reports whether a file of so many blocks has what r asks for.
func (r HashRequest) valid(blocks int) bool {
	if blocks < 1 || int64(blocks) > 1<<32 {
		return false
	}
	height := treeHeight(blocks)
	if r.Length < 2 || r.Length > HashesMax || r.Length&(r.Length-1) != 0 || r.Index%r.Length != 0 {
		return false
	}
	if uint64(r.Base) >= uint64(height) {
		return false
	}
	above := uint(height) - uint(r.Base)
	return uint64(r.Index)+uint64(r.Length) <= 1<<above && uint64(r.Proof) < uint64(above)
}

// Check proves that hashes answer r: that the tree of a file of so many blocks, whose root is r.Root, holds the first
// r.Length of them where r asked. It returns ErrHashRequest for a request that such a file does not have or whose Proof
// cannot reach the root (see FullProof), and ErrHashes for any other answer than the true one. It trusts nothing.
func (r HashRequest) Check(blocks int, hashes []Digest) error {
	if !r.valid(blocks) {
		return ErrHashRequest
	}
	uncles := r.uncles()
	if int(r.Base)+log2(int(r.Length))+uncles != treeHeight(blocks) {
		return ErrHashRequest
	}
	if len(hashes) != int(r.Length)+uncles {
		return ErrHashes
	}
	node := Fold(hashes[:r.Length], int(r.Length))
	index := r.Index / r.Length
	for i := int(r.Length); i < len(hashes); i++ {
		if index&1 == 0 {
			node = join(&node, &hashes[i])
		} else {
			node = join(&hashes[i], &node)
		}
		index >>= 1
	}
	if node != r.Root {
		return ErrHashes
	}
	return nil
}

// FullProof is the Proof with which a request for length nodes of layer base brings all that leads to the root: 0 when
// they are the whole layer, padding included. It is 0, too, for what cannot be asked for: a file of one block, and a
// base that is neither the leaves nor the piece layer of such a file. It panics unless blocksPerPiece is a power of two.
func FullProof(base, length uint32, blocks, blocksPerPiece int) uint32 {
	mustPieceBlocks(blocksPerPiece)
	height := treeHeight(blocks)
	if !servedLayer(base, blocks, blocksPerPiece) || uint64(length) >= 1<<(uint(height)-uint(base)) {
		return 0
	}
	return uint32(height) - base - 1
}

// servedLayer reports whether base is a layer that BEP 52 lets a peer ask for: the leaves, or the piece layer of a file
// of more than one piece.
func servedLayer(base uint32, blocks, blocksPerPiece int) bool {
	if base == 0 {
		return blocks > 1
	}
	return blocks > blocksPerPiece && base == uint32(log2(blocksPerPiece))
}

// treeHeight is the layer of the root in the tree of a file of so many blocks.
func treeHeight(blocks int) int {
	if blocks <= 1 {
		return 0
	}
	return bits.Len(uint(blocks - 1))
}

// Tree answers hash requests for one file. It keeps the file's leaves as they were given, and the layers from the piece
// layer up; what lies between is folded when asked for, at most one piece's leaves an answer. It is immutable, so many
// goroutines may use it.
type Tree struct {
	leaves     []Digest
	pieceLayer int        // its number; upper[0] is that layer
	upper      [][]Digest // without padding, up to the root; empty for a file of one piece or less
	root       Digest
	perPiece   int
}

// NewTree builds the tree of a file with these leaves. It keeps the slice, which must not change any more. It panics
// unless blocksPerPiece is a power of two and there is at least one leaf.
func NewTree(leaves []Digest, blocksPerPiece int) *Tree {
	mustPieceBlocks(blocksPerPiece)
	if len(leaves) == 0 {
		panic("bt: an empty file has no tree")
	}
	t := &Tree{leaves: leaves, pieceLayer: log2(blocksPerPiece), perPiece: blocksPerPiece}
	layer := PieceLayer(leaves, blocksPerPiece)
	if layer == nil {
		t.root = Fold(leaves, nextPower(len(leaves)))
		return t
	}
	t.upper = append(t.upper, layer)
	for n := t.pieceLayer; len(layer) > 1; n++ {
		above := make([]Digest, (len(layer)+1)/2)
		for i := range above {
			right := &padding[n]
			if 2*i+1 < len(layer) {
				right = &layer[2*i+1]
			}
			above[i] = join(&layer[2*i], right)
		}
		layer = above
		t.upper = append(t.upper, layer)
	}
	t.root = layer[0]
	return t
}

// Root is the file's "pieces root" (BEP 52).
func (t *Tree) Root() Digest { return t.root }

// Blocks is the number of the file's blocks.
func (t *Tree) Blocks() int { return len(t.leaves) }

// PieceLayer is the file's piece layer without padding, nil for a file of one piece or less. It must not be changed.
func (t *Tree) PieceLayer() []Digest {
	if len(t.upper) == 0 {
		return nil
	}
	return t.upper[0]
}

// Answer is the answer to r: r.Length digests, then the uncles of its proof from below upwards (BEP 52, "hashes"). It
// returns ErrHashRequest, and does no work, for another Root, for a Base that is neither 0 nor the piece layer, and for
// whatever else lies outside the tree.
func (t *Tree) Answer(r HashRequest) ([]Digest, error) {
	if r.Root != t.root || !r.valid(len(t.leaves)) || !servedLayer(r.Base, len(t.leaves), t.perPiece) {
		return nil, ErrHashRequest
	}
	uncles := r.uncles()
	hashes := make([]Digest, 0, int(r.Length)+uncles)
	base := int(r.Base)
	for i := range int(r.Length) {
		hashes = append(hashes, t.node(base, int(r.Index)+i))
	}
	layer := base + log2(int(r.Length))
	index := int(r.Index / r.Length)
	for range uncles {
		hashes = append(hashes, t.node(layer, index^1))
		layer++
		index >>= 1
	}
	return hashes, nil
}

// node is a node of the padded tree. Below the piece layer it costs the folding of the leaves under it.
func (t *Tree) node(layer, index int) Digest {
	if layer >= t.pieceLayer && len(t.upper) > 0 {
		if nodes := t.upper[layer-t.pieceLayer]; index < len(nodes) {
			return nodes[index]
		}
		return padding[layer]
	}
	from := min(index<<layer, len(t.leaves))
	to := min(from+1<<layer, len(t.leaves))
	return Fold(t.leaves[from:to], 1<<layer)
}
