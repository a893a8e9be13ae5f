package bt

// KnownChunk is how many neighbouring nodes of a piece layer prove one another: what one hash request brings, by BEP 52's advice.
const KnownChunk = 512

// Known is what has been proven so far of a file's tree, from the piece layer up: enough to judge pieces, and to pass proofs on to
// others, without the leaves. It keeps the piece layer and, of the layers above, those from a chunk of KnownChunk pieces up (what lies
// between is folded when asked for); 32 bytes a piece, and 1/256 more. It must never hold a node that does not lead to the root.
//
//	height    root                 given
//	  …       x           x        above[1]: parents and uncles of chunks
//	          x     x     x     ?  above[0]: one node a chunk
//	          (folded on demand)
//	base      xxxxx xxxxx xxxxx ?????    layer: one node a piece
type Known struct {
	root          Digest
	blocks        int
	perPiece      int
	base, height  int // the piece layer and the root's; both the root's for a file of one piece
	layer         []Digest
	knows         []bool
	above         [][]Digest
	aboveKnows    [][]bool
	pieces, chunk int // chunk: the layer of above[0], base + log2(KnownChunk)
}

// NewKnown knows the root alone of a file of so many blocks (at least one), which for a file of one piece is all there is to know.
// It panics unless blocksPerPiece is a power of two.
func NewKnown(root Digest, blocks, blocksPerPiece int) *Known {
	mustPieceBlocks(blocksPerPiece)
	k := &Known{root: root, blocks: blocks, perPiece: blocksPerPiece, base: log2(blocksPerPiece), height: treeHeight(blocks)}
	k.pieces = (blocks + blocksPerPiece - 1) / blocksPerPiece
	if k.pieces <= 1 {
		k.pieces, k.base = 1, k.height
	}
	k.layer, k.knows = make([]Digest, k.pieces), make([]bool, k.pieces)
	if k.pieces == 1 {
		k.layer[0], k.knows[0] = root, true
	}
	k.chunk = k.base + log2(KnownChunk)
	for layer := k.chunk; layer < k.height; layer++ {
		n := (k.pieces-1)>>(layer-k.base) + 1
		k.above, k.aboveKnows = append(k.above, make([]Digest, n)), append(k.aboveKnows, make([]bool, n))
	}
	return k
}

// Piece is the hash of the file's n-th piece, if that is known: its node in the piece layer, or the root of a file of one piece.
func (k *Known) Piece(n int) (Digest, bool) { return k.layer[n], k.knows[n] }

// Width is the number of leaves, padding included, under a piece's node: a file of one piece is padded to the next power of two of its
// own blocks.
func (k *Known) Width() int { return 1 << k.base }

// LayerRequest asks for the chunk of the piece layer that holds the n-th piece, with all that leads to the root. A file of one piece
// has no such layer, and nothing to ask for.
func (k *Known) LayerRequest(n int) HashRequest {
	length := min(nextPower(k.pieces), KnownChunk)
	r := HashRequest{Root: k.root, Base: uint32(k.base), Index: uint32(n / length * length), Length: uint32(length)}
	r.Proof = FullProof(r.Base, r.Length, k.blocks, k.perPiece)
	return r
}

// LeavesRequest asks for the leaves of the n-th piece, with all that leads to the root. A piece of one block has none beside its hash.
func (k *Known) LeavesRequest(n int) HashRequest {
	r := HashRequest{Root: k.root, Index: uint32(n * k.perPiece), Length: uint32(k.Width())}
	r.Proof = FullProof(0, r.Length, k.blocks, k.perPiece)
	return r
}

// Learn checks an answer as HashRequest.Check does, and keeps what it proves. It returns Check's error, having kept nothing.
func (k *Known) Learn(r HashRequest, hashes []Digest) error {
	if r.Root != k.root {
		return ErrHashRequest
	}
	if err := r.Check(k.blocks, hashes); err != nil {
		return err
	}
	if int(r.Base) == k.base {
		for i := range int(r.Length) {
			k.keep(k.base, int(r.Index)+i, &hashes[i])
		}
	}
	node := Fold(hashes[:r.Length], int(r.Length))
	layer, index := int(r.Base)+log2(int(r.Length)), int(r.Index/r.Length)
	k.keep(layer, index, &node)
	for i := int(r.Length); i < len(hashes); i++ {
		k.keep(layer, index^1, &hashes[i])
		if index&1 == 0 {
			node = join(&node, &hashes[i])
		} else {
			node = join(&hashes[i], &node)
		}
		layer, index = layer+1, index>>1
		k.keep(layer, index, &node)
	}
	return nil
}

// keep remembers a proven node, if its layer is one of those kept and it covers more than padding.
func (k *Known) keep(layer, index int, d *Digest) {
	switch {
	case layer == k.base && index < k.pieces:
		k.layer[index], k.knows[index] = *d, true
	case layer >= k.chunk && layer < k.height && index < len(k.above[layer-k.chunk]):
		k.above[layer-k.chunk][index], k.aboveKnows[layer-k.chunk][index] = *d, true
	}
}

// CanAnswer reports whether r is a request that the file has and that peers may make: of the leaves or of the piece layer, of at most
// KnownChunk nodes.
func (k *Known) CanAnswer(r HashRequest) bool {
	return r.Root == k.root && r.Length <= KnownChunk && r.valid(k.blocks) && servedLayer(r.Base, k.blocks, k.perPiece)
}

// Answer appends the answer to r to dst, as far as it follows from what is known and from the leaves given, which begin at block first;
// false where something is lacking, or r cannot be answered. For what lies between pieces and chunks it folds at most KnownChunk nodes.
func (k *Known) Answer(dst []Digest, r HashRequest, first int, leaves []Digest) ([]Digest, bool) {
	if !k.CanAnswer(r) {
		return dst, false
	}
	for i := range int(r.Length) {
		d, ok := k.node(int(r.Base), int(r.Index)+i, first, leaves)
		if !ok {
			return dst, false
		}
		dst = append(dst, d)
	}
	layer, index := int(r.Base)+log2(int(r.Length)), int(r.Index/r.Length)
	for range r.uncles() {
		d, ok := k.node(layer, index^1, first, leaves)
		if !ok {
			return dst, false
		}
		dst = append(dst, d)
		layer, index = layer+1, index>>1
	}
	return dst, true
}

// node is a node of the padded tree, if it is known or follows from the leaves.
func (k *Known) node(layer, index, first int, leaves []Digest) (Digest, bool) {
	switch {
	case layer == k.height:
		return k.root, index == 0
	case index > (k.blocks-1)>>layer:
		return padding[layer], true
	case layer < k.base:
		from, to := index<<layer, min((index+1)<<layer, k.blocks)
		if from < first || to > first+len(leaves) {
			return Digest{}, false
		}
		return Fold(leaves[from-first:to-first], 1<<layer), true
	case layer == k.base:
		return k.layer[index], k.knows[index]
	case layer >= k.chunk:
		return k.above[layer-k.chunk][index], k.aboveKnows[layer-k.chunk][index]
	}
	width := 1 << (layer - k.base)
	from, to := index*width, min((index+1)*width, k.pieces)
	for n := from; n < to; n++ {
		if !k.knows[n] {
			return Digest{}, false
		}
	}
	var scratch [KnownChunk / 2]Digest
	return foldFrom(scratch[:], k.layer[from:to], k.base, width), true
}
