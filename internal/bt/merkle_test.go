package bt

import (
	"crypto/sha256"
	"math"
	"math/bits"
	"testing"
)

// testLeaves are n leaves that any other program can reproduce: SHA-256 of one byte, the leaf's number.
func testLeaves(n int) []Digest {
	leaves := make([]Digest, n)
	for i := range leaves {
		leaves[i] = sha256.Sum256([]byte{byte(i)})
	}
	return leaves
}

// plainRoot is the model: it writes the padding out and hashes every pair.
func plainRoot(leaves []Digest, width int) Digest {
	nodes := append(make([]Digest, 0, width), leaves...)
	nodes = nodes[:width]
	for len(nodes) > 1 {
		for i := range len(nodes) / 2 {
			nodes[i] = sha256.Sum256(append(append([]byte{}, nodes[2*i][:]...), nodes[2*i+1][:]...))
		}
		nodes = nodes[:len(nodes)/2]
	}
	return nodes[0]
}

func mustDigest(t *testing.T, s string) Digest {
	t.Helper()
	d, err := ParseDigest(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The roots were computed by an independent program in another language.
func TestFileRootMatchesKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		leaves int
		root   string
	}{
		{1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
		{2, "30e1867424e66e8b6d159246db94e3486778136f7e386ff5f001859d6b8484ab"},
		{3, "7ee5fcde741ff935e2c5fee3f08c8761b800957f20035d9d5dac2897f942a5eb"},
		{5, "41886469306e351e1887e826f9fd0a51c08cfa38881129135e646320e3a134a2"},
		{6, "4e3af77bf9c09c78d7341f5cf79db5a393ba0dd2d7c6dba3864de06ed349f46e"},
		{7, "e786e59f214c92650811727f2f0ed32084c9dda5c8da05586771f586a96953cf"},
		{8, "0727b310f87099c1ba2ec0ba408def82c308237c8577f0bdfd2643e9cc6b7578"},
		{13, "4c6a225fee53fc9a2ac52d385f95607cae55a5f6e233706d3fd1cf6470cb638e"},
		{33, "5b66727096b23435e4f7b6fb29674478c81f939bfd7348de697de6ab1c7f80e0"},
	} {
		want := mustDigest(t, c.root)
		for _, perPiece := range []int{1, 2, 4, 16, 64} {
			if got := FileRoot(testLeaves(c.leaves), perPiece); got != want {
				t.Errorf("FileRoot(%d leaves, %d a piece) = %v, want %v", c.leaves, perPiece, got, want)
			}
			if got := NewTree(testLeaves(c.leaves), perPiece).Root(); got != want {
				t.Errorf("NewTree(%d leaves, %d a piece).Root() = %v, want %v", c.leaves, perPiece, got, want)
			}
		}
	}
}

func TestPieceLayerMatchesKnownAnswers(t *testing.T) {
	layer := PieceLayer(testLeaves(13), 4)
	want := []string{
		"9675e04b4ba9dc81b06e81731e2d21caa2c95557a85dcfa3fff70c9ff0f30b2e",
		"042ad79b36e16fe6feca0b57ca795547c49a510754ec5ff2117ce3ca1713505d",
		"321f11ba3b9bc516f03a0c3010dc16b30359ece107689586f96f2d7766b28a58",
		"c160990c5aa3afb75b42c67eed54aca1692840b4da2052da673e5c28ecaa145e",
	}
	if len(layer) != len(want) {
		t.Fatalf("layer of %d nodes, want %d", len(layer), len(want))
	}
	for i, w := range want {
		if layer[i].String() != w {
			t.Errorf("piece %d: %v, want %v", i, layer[i], w)
		}
	}
}

func TestFileOfOnePieceHasNoPieceLayer(t *testing.T) {
	for n := range 5 {
		if layer := PieceLayer(testLeaves(n), 4); layer != nil {
			t.Errorf("%d leaves: layer of %d nodes", n, len(layer))
		}
	}
}

func TestFoldTakesMissingLeavesAsZeroDigests(t *testing.T) {
	for n := range 70 {
		leaves := testLeaves(n)
		for width := nextPower(n); width <= 256; width *= 2 {
			if Fold(leaves, width) != plainRoot(leaves, width) {
				t.Fatalf("Fold(%d leaves, %d) differs from the plain tree", n, width)
			}
		}
	}
}

func TestFoldIntoDoesNotAllocate(t *testing.T) {
	leaves, scratch := testLeaves(100), make([]Digest, 50)
	want := plainRoot(leaves, 256)
	var got Digest
	if n := testing.AllocsPerRun(10, func() { got = FoldInto(scratch, leaves, 256) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got != want {
		t.Error("wrong root")
	}
	few := leaves[:16]
	if n := testing.AllocsPerRun(10, func() { got = Fold(few, 16) }); n != 0 {
		t.Errorf("Fold of 16 leaves: %v allocations", n)
	}
	if FoldInto(leaves, leaves, 256) != want {
		t.Error("wrong root when the leaves are their own scratch")
	}
}

func TestFoldPanicsOnAnImpossibleWidth(t *testing.T) {
	for _, width := range []int{-1, 0, 2, 3, 5, math.MinInt} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Fold(3 leaves, %d) did not panic", width)
				}
			}()
			Fold(testLeaves(3), width)
		}()
	}
}

func TestBlocksCountsTheShortLastBlock(t *testing.T) {
	for _, c := range []struct {
		size int64
		want int
	}{
		{-1, 0},
		{0, 0},
		{1, 1},
		{BlockSize - 1, 1},
		{BlockSize, 1},
		{BlockSize + 1, 2},
		{5 * BlockSize, 5},
		{1 << 44, 1 << 30},
		{math.MaxInt64, 1 << 49},
	} {
		if got := Blocks(c.size); got != c.want {
			t.Errorf("Blocks(%d) = %d, want %d", c.size, got, c.want)
		}
	}
}

func TestDigestsSurviveConcatenation(t *testing.T) {
	leaves := testLeaves(5)
	b := AppendDigests([]byte{}, leaves)
	got, err := ParseDigests(b)
	if err != nil || len(got) != 5 || got[4] != leaves[4] {
		t.Errorf("ParseDigests = %v, %v", got, err)
	}
	if _, err := ParseDigests(b[:33]); err == nil {
		t.Error("33 bytes were taken for digests")
	}
}

// everyRequest calls yield for all requests that a file of so many blocks has.
func everyRequest(root Digest, blocks, perPiece int, yield func(HashRequest)) {
	height := uint32(bits.Len(uint(nextPower(blocks) - 1)))
	bases := []uint32{0}
	if blocks > perPiece && perPiece > 1 {
		bases = append(bases, uint32(log2(perPiece)))
	}
	for _, base := range bases {
		for length := uint32(2); base < height && length <= 1<<(height-base); length *= 2 {
			for index := uint32(0); index < 1<<(height-base); index += length {
				for proof := range height - base {
					yield(HashRequest{root, base, index, length, proof})
				}
			}
		}
	}
}

func TestAnswerHoldsTheNodesAndTheirUncles(t *testing.T) {
	// The picture at HashRequest, written out by hand.
	leaves := testLeaves(6)
	tree := NewTree(leaves, 2)
	u1 := Fold(leaves[:2], 2)
	u2 := Fold(leaves[4:], 4)
	for _, c := range []struct {
		name                       string
		base, index, length, proof uint32
		want                       []Digest
	}{
		{"leaves alone", 0, 2, 2, 0, []Digest{leaves[2], leaves[3]}},
		{"one uncle", 0, 2, 2, 1, []Digest{leaves[2], leaves[3], u1}},
		{"to the root", 0, 2, 2, 2, []Digest{leaves[2], leaves[3], u1, u2}},
		{"the first proof layer follows from four leaves", 0, 0, 4, 1, leaves[:4]},
		{"four leaves to the root", 0, 0, 4, 2, []Digest{leaves[0], leaves[1], leaves[2], leaves[3], u2}},
		{"into the padding", 0, 4, 4, 2, []Digest{leaves[4], leaves[5], {}, {}, Fold(leaves[:4], 4)}},
		{"padding alone", 0, 6, 2, 0, []Digest{{}, {}}},
		{"the whole layer", 0, 0, 8, 2, []Digest{leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], leaves[5], {}, {}}},
		{"pieces", 1, 2, 2, 1, []Digest{Fold(leaves[4:], 2), padding[1], Fold(leaves[:4], 4)}},
		{"all pieces", 1, 0, 4, 0, []Digest{u1, Fold(leaves[2:4], 2), Fold(leaves[4:], 2), padding[1]}},
	} {
		r := HashRequest{tree.Root(), c.base, c.index, c.length, c.proof}
		got, err := tree.Answer(r)
		if err != nil || len(got) != len(c.want) || r.Hashes(6) != len(c.want) {
			t.Errorf("%s: %d hashes (%v), want %d", c.name, len(got), err, len(c.want))
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: hash %d is %v, want %v", c.name, i, got[i], c.want[i])
			}
		}
	}
}

func TestCheckAcceptsEveryAnswerThatReachesTheRoot(t *testing.T) {
	for _, perPiece := range []int{1, 2, 4} {
		for blocks := 1; blocks <= 19; blocks++ {
			tree := NewTree(testLeaves(blocks), perPiece)
			everyRequest(tree.Root(), blocks, perPiece, func(r HashRequest) {
				hashes, err := tree.Answer(r)
				if err != nil {
					t.Fatalf("%d blocks: Answer(%+v): %v", blocks, r, err)
				}
				full := r.Proof >= FullProof(r.Base, r.Length, blocks, perPiece)
				if err := r.Check(blocks, hashes); (err == nil) != full {
					t.Fatalf("%d blocks: Check(%+v) = %v; its proof is complete: %v", blocks, r, err, full)
				}
			})
		}
	}
}

func TestCheckRefusesEveryFlippedByte(t *testing.T) {
	const blocks = 13
	tree := NewTree(testLeaves(blocks), 4)
	for _, r := range []HashRequest{
		{tree.Root(), 0, 4, 4, FullProof(0, 4, blocks, 4)},
		{tree.Root(), 0, 12, 4, FullProof(0, 4, blocks, 4)},
		{tree.Root(), 2, 2, 2, FullProof(2, 2, blocks, 4)},
		{tree.Root(), 2, 0, 4, FullProof(2, 4, blocks, 4)},
	} {
		hashes, err := tree.Answer(r)
		if err != nil {
			t.Fatal(err)
		}
		for i := range hashes {
			for j := range hashes[i] {
				hashes[i][j] ^= 1
				if r.Check(blocks, hashes) == nil {
					t.Fatalf("%+v: byte %d of hash %d flipped, and accepted", r, j, i)
				}
				hashes[i][j] ^= 1
			}
		}
		if r.Check(blocks, hashes[1:]) == nil || r.Check(blocks, append(hashes, Digest{})) == nil {
			t.Errorf("%+v: a wrong number of hashes was accepted", r)
		}
		if hashes[0], hashes[1] = hashes[1], hashes[0]; r.Check(blocks, hashes) == nil {
			t.Errorf("%+v: swapped hashes were accepted", r)
		}
		if hashes[0], hashes[1] = hashes[1], hashes[0]; r.Check(blocks, hashes) != nil {
			t.Errorf("%+v: the true answer was refused", r)
		}
		moved := r
		if moved.Index ^= r.Length; moved.valid(blocks) && moved.Check(blocks, hashes) == nil {
			t.Errorf("%+v: accepted for a place where the hashes are not", moved)
		}
	}
}

func TestNoRequestOutsideTheTreeIsAnswered(t *testing.T) {
	const blocks = 13 // height 4
	tree := NewTree(testLeaves(blocks), 4)
	root := tree.Root()
	for _, r := range []HashRequest{
		{Digest{}, 0, 0, 2, 0},
		{root, 0, 0, 0, 0},
		{root, 0, 0, 1, 0},
		{root, 0, 0, 3, 0},
		{root, 0, 1, 2, 0},
		{root, 0, 16, 2, 0},
		{root, 0, 0, 32, 0},
		{root, 0, 0, 2 * HashesMax, 0},
		{root, 0, 0, 2, 4},
		{root, 0, math.MaxUint32 - 1, 2, 0},
		{root, 0, 0, 2, math.MaxUint32},
		{root, 1, 0, 2, 0},
		{root, 3, 0, 2, 0},
		{root, 4, 0, 2, 0},
		{root, 2, 0, 2, 2},
		{root, 2, 4, 2, 0},
		{root, math.MaxUint32, 0, 2, 0},
	} {
		if hashes, err := tree.Answer(r); err != ErrHashRequest {
			t.Errorf("Answer(%+v) = %d hashes, %v", r, len(hashes), err)
		}
	}
	if (HashRequest{root, 0, 0, 2, 0}).Check(0, nil) != ErrHashRequest ||
		(HashRequest{root, 0, 0, 2, 0}).Check(-1, nil) != ErrHashRequest ||
		(HashRequest{root, 0, 0, 2, 0}).Check(1, testLeaves(2)) != ErrHashRequest ||
		(HashRequest{root, 0, 0, 2, 0}).Check(math.MaxInt, testLeaves(2)) != ErrHashRequest {
		t.Error("Check took a request that the file does not have")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(uint16(13), uint8(2), uint32(0), uint32(4), uint32(4), uint32(3), []byte{})
	f.Add(uint16(13), uint8(2), uint32(2), uint32(2), uint32(2), uint32(1), []byte{3})
	f.Add(uint16(1), uint8(0), uint32(0), uint32(0), uint32(2), uint32(0), []byte{0, 0})
	f.Add(uint16(65535), uint8(4), uint32(0), uint32(0), uint32(8192), uint32(16), []byte{1})
	f.Add(uint16(300), uint8(4), uint32(math.MaxUint32), uint32(math.MaxUint32), uint32(1<<31), uint32(math.MaxUint32), []byte{9})
	f.Fuzz(func(t *testing.T, n uint16, pieceLog uint8, base, index, length, proof uint32, flips []byte) {
		blocks := int(n)%2000 + 1
		leaves := testLeaves(blocks)
		perPiece := 1 << (pieceLog % 8)
		tree := NewTree(leaves, perPiece)
		r := HashRequest{tree.Root(), base, index, length, proof}
		if err := r.Check(blocks, leaves); err == nil && int(length) != blocks {
			t.Fatalf("%+v: the leaves were taken for an answer", r)
		}
		hashes, err := tree.Answer(r)
		if err != nil {
			return
		}
		if len(hashes) != r.Hashes(blocks) {
			t.Fatalf("%+v: %d hashes, promised %d", r, len(hashes), r.Hashes(blocks))
		}
		if full := proof >= FullProof(base, length, blocks, perPiece); (r.Check(blocks, hashes) == nil) != full {
			t.Fatalf("%+v of %d blocks: Check = %v; its proof is complete: %v", r, blocks, r.Check(blocks, hashes), full)
		}
		changed := make([]Digest, len(hashes))
		copy(changed, hashes)
		same := true
		for i, flip := range flips {
			changed[i%len(changed)][i%32] ^= flip
		}
		for i := range hashes {
			same = same && changed[i] == hashes[i]
		}
		if !same && r.Check(blocks, changed) == nil {
			t.Fatalf("%+v: a changed answer was accepted", r)
		}
	})
}

func BenchmarkFoldPiece(b *testing.B) {
	leaves, scratch := testLeaves(16), make([]Digest, 8)
	b.ReportAllocs()
	for b.Loop() {
		FoldInto(scratch, leaves, 16)
	}
}
