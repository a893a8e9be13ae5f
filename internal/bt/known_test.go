package bt

import (
	"slices"
	"testing"
)

// knownFile is a tree of n leaves, and what a viewer knows of it: nothing yet.
func knownFile(n, perPiece int) (*Tree, *Known) {
	t := NewTree(testLeaves(n), perPiece)
	return t, NewKnown(t.Root(), n, perPiece)
}

func mustAnswer(t *testing.T, tree *Tree, r HashRequest) []Digest {
	t.Helper()
	hashes, err := tree.Answer(r)
	if err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return hashes
}

// learnAll teaches every chunk of the piece layer.
func learnAll(t *testing.T, tree *Tree, k *Known) {
	t.Helper()
	for n := range len(k.layer) {
		if _, ok := k.Piece(n); !ok {
			r := k.LayerRequest(n)
			if err := k.Learn(r, mustAnswer(t, tree, r)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWhoLearnedThePieceLayerAnswersWhatTheWholeTreeWould(t *testing.T) {
	for _, c := range [][2]int{{1, 4}, {3, 4}, {4, 4}, {5, 4}, {6, 2}, {7, 1}, {13, 4}, {64, 4}, {65, 4}, {1500, 1}, {2100, 2}} {
		blocks, perPiece := c[0], c[1]
		tree, k := knownFile(blocks, perPiece)
		learnAll(t, tree, k)
		for n, want := range tree.PieceLayer() {
			if got, ok := k.Piece(n); !ok || got != want {
				t.Fatalf("%v: piece %d is not known", c, n)
			}
		}
		requests := 0
		ask := func(r HashRequest) {
			want, err := tree.Answer(r)
			got, ok := k.Answer(nil, r, 0, tree.leaves)
			if r.Length > KnownChunk {
				if ok {
					t.Fatalf("%v: %+v, of more nodes than are answered at once, was", c, r)
				}
				return
			}
			if ok != (err == nil) || ok && !slices.Equal(got, want) {
				t.Fatalf("%v: %+v: answered %v, want %v", c, r, ok, err)
			}
			requests++
		}
		if blocks <= 65 {
			everyRequest(tree.Root(), blocks, perPiece, ask)
		} else {
			for _, base := range []uint32{0, uint32(log2(perPiece))} {
				for length := uint32(2); length <= 1024; length *= 2 {
					for index := uint32(0); index < 4096; index += max(length, 256) {
						for proof := range uint32(12) {
							ask(HashRequest{tree.Root(), base, index, length, proof})
						}
					}
				}
			}
		}
		if requests == 0 && blocks > 1 {
			t.Errorf("%v: nothing was asked", c)
		}
	}
}

func TestAPieceIsProvenByItsLeavesAlone(t *testing.T) {
	tree, k := knownFile(4100, 4) // 1025 pieces: three chunks
	const n = 700
	r := k.LeavesRequest(n)
	hashes := mustAnswer(t, tree, r)
	if err := k.Learn(r, hashes); err != nil {
		t.Fatal(err)
	}
	if got, ok := k.Piece(n); !ok || got != tree.PieceLayer()[n] {
		t.Error("the leaves' fold is not known as the piece's hash")
	}
	if _, ok := k.Piece(n + 1); ok {
		t.Log("the neighbour is known by the proof")
	}
	if _, ok := k.Answer(nil, r, n*4, hashes[:4]); ok {
		t.Error("a proof was given for what lies between piece and chunk, of which nothing is known")
	}
}

func TestNothingIsAnsweredBeyondWhatIsKnown(t *testing.T) {
	tree, k := knownFile(4100, 4)
	first := k.LayerRequest(0)
	if _, ok := k.Answer(nil, first, 0, nil); ok {
		t.Error("who knows nothing answered")
	}
	if err := k.Learn(first, mustAnswer(t, tree, first)); err != nil {
		t.Fatal(err)
	}
	if got, ok := k.Answer(nil, first, 0, nil); !ok || !slices.Equal(got, mustAnswer(t, tree, first)) {
		t.Error("what was learned is not passed on")
	}
	if _, ok := k.Answer(nil, k.LayerRequest(600), 0, nil); ok {
		t.Error("a chunk that was never learned was answered")
	}
	leaves := k.LeavesRequest(3)
	if _, ok := k.Answer(nil, leaves, 0, nil); ok {
		t.Error("leaves were answered out of nothing")
	}
	if got, ok := k.Answer(nil, leaves, 12, tree.leaves[12:16]); !ok || !slices.Equal(got, mustAnswer(t, tree, leaves)) {
		t.Error("the leaves of a piece that is there were not answered")
	}
}

func TestNothingIsLearnedFromAWrongAnswer(t *testing.T) {
	tree, k := knownFile(4100, 4)
	r := k.LayerRequest(0)
	good := mustAnswer(t, tree, r)
	for at := range good {
		bad := slices.Clone(good)
		bad[at][7] ^= 1
		if k.Learn(r, bad) == nil {
			t.Fatalf("a wrong digest at %d was believed", at)
		}
	}
	swapped := slices.Clone(good)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	for name, bad := range map[string][]Digest{"none": nil, "one short": good[:len(good)-1], "one more": append(slices.Clone(good), Digest{}), "swapped": swapped} {
		if k.Learn(r, bad) == nil {
			t.Errorf("%s: believed", name)
		}
	}
	for n := range len(k.layer) {
		if _, ok := k.Piece(n); ok {
			t.Fatalf("piece %d is known, of wrong answers alone", n)
		}
	}
	if k.above[0][0] != (Digest{}) {
		t.Error("a chunk is known, of wrong answers alone")
	}
}

// FuzzKnown feeds a viewer of a small file anything as an answer to anything: what it then knows must be the truth, and what it passes
// on must pass the check.
func FuzzKnown(f *testing.F) {
	tree, _ := knownFile(13, 2)
	for _, r := range []HashRequest{{tree.Root(), 1, 0, 8, 0}, {tree.Root(), 0, 4, 2, 3}, {tree.Root(), 1, 2, 2, 2}} {
		hashes, err := tree.Answer(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.Base, r.Index, r.Length, r.Proof, AppendDigests(nil, hashes))
	}
	f.Add(uint32(1<<31), uint32(1<<31), uint32(1<<31), uint32(1<<31), []byte{})
	f.Fuzz(func(t *testing.T, base, index, length, proof uint32, data []byte) {
		hashes, err := ParseDigests(data)
		if err != nil {
			return
		}
		tree, k := knownFile(13, 2)
		r := HashRequest{tree.Root(), base, index, length, proof}
		learned := k.Learn(r, hashes) == nil
		for n, want := range tree.PieceLayer() {
			if got, ok := k.Piece(n); ok && got != want {
				t.Fatalf("piece %d is known wrongly", n)
			}
		}
		got, ok := k.Answer(nil, r, 0, tree.leaves)
		if ok && learned && !slices.Equal(got, hashes) {
			t.Fatal("the answer differs from what was learned")
		}
		if want, err := tree.Answer(r); ok && (err != nil || !slices.Equal(got, want)) {
			t.Fatal("an answer that the tree would not give")
		}
	})
}
