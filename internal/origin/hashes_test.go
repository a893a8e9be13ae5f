package origin

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

func TestHashesLeadToTheRoot(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("open", 0)
	blocks := bt.Blocks(f.Size)
	for _, c := range []struct{ base, index, length uint32 }{{1, 0, 2}, {1, 8, 8}, {1, 0, 32}, {0, 0, 2}, {0, 42, 2}, {0, 0, 64}} {
		proof := bt.FullProof(c.base, c.length, blocks, perPiece)
		resp, body := h.do("GET", fmt.Sprintf("/hashes/%s?base=%d&index=%d&length=%d&proof=%d", f.Root, c.base, c.index, c.length, proof))
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%+v: %d %s", c, resp.StatusCode, body)
		}
		if got := resp.Header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
			t.Errorf("Cache-Control %q", got)
		}
		digests, err := bt.ParseDigests(body)
		if err != nil {
			t.Fatal(err)
		}
		if err := (bt.HashRequest{Root: f.Root, Base: c.base, Index: c.index, Length: c.length, Proof: proof}).Check(blocks, digests); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if n := h.origin.Snapshot().OriginBytes; n != 0 {
		t.Errorf("hashes were counted as media: %d", n)
	}
}

func TestHashRequestsOutsideTheTreeAreRefused(t *testing.T) {
	h := newHouse(t, nil)
	path := "/hashes/" + h.file("open", 0).Root.String()
	for _, q := range []string{
		"", "base=1", "base=1&index=0&length=2", "base=1&index=0&length=2&proof=x", "base=-1&index=0&length=2&proof=0",
		"base=1&base=1&index=0&length=2&proof=0", "base=2&index=0&length=2&proof=0", "base=1&index=1&length=2&proof=0",
		"base=1&index=0&length=3&proof=0", "base=1&index=0&length=0&proof=0", "base=0&index=0&length=128&proof=0",
		"base=0&index=0&length=4294967295&proof=0", "base=0&index=4294967294&length=2&proof=0", "base=1&index=0&length=2&proof=9",
		"base=4294967295&index=0&length=2&proof=0", "base=1&index=0&length=2&proof=99999999999", "base=%zz&index=0&length=2&proof=0",
	} {
		resp, body := h.do("GET", path+"?"+q)
		h.problem(resp, body, 400, "invalid")
	}
	one := h.file("open", 2) // of a single block
	resp, body := h.do("GET", "/hashes/"+one.Root.String()+"?base=0&index=0&length=2&proof=0")
	h.problem(resp, body, 400, "invalid")
}

func TestFirstHashesVerifyTheFirstPieces(t *testing.T) {
	h := newHouse(t, nil)
	title := h.films["open"]
	for i := range title.Version.Files {
		f := &title.Version.Files[i]
		got, err := h.origin.FirstHashes(t.Context(), &title, f)
		if err != nil {
			t.Fatal(err)
		}
		if f.Size <= pieceLength {
			if got != nil {
				t.Errorf("%s has one piece, and first hashes %+v", f.Path, got)
			}
			continue
		}
		digests, err := bt.ParseDigests(got.Hashes)
		if err != nil {
			t.Fatal(err)
		}
		request := bt.HashRequest{Root: f.Root, Base: got.Base, Index: got.Index, Length: got.Length, Proof: got.Proof}
		if err := request.Check(bt.Blocks(f.Size), digests); err != nil {
			t.Errorf("%s: %+v: %v", f.Path, request, err)
		}
		if pieces := uint32((f.Size + pieceLength - 1) / pieceLength); got.Length < pieces {
			t.Errorf("%s: %d of %d pieces", f.Path, got.Length, pieces)
		}
	}
}

func TestFirstHashesOfALongFileAreBounded(t *testing.T) {
	h := newHouse(t, nil)
	blocks := 1500*perPiece + 1
	leaves := make([]bt.Digest, blocks)
	for i := range leaves {
		leaves[i] = bt.Digest{0: byte(i), 1: byte(i >> 8), 31: 1}
	}
	root := bt.FileRoot(leaves, perPiece)
	if err := h.blobs.Put(t.Context(), vod.KeyLeaves(root), bytes.NewReader(bt.AppendDigests(nil, leaves))); err != nil {
		t.Fatal(err)
	}
	title := vod.Title{ID: "long", Version: vod.Version{PieceLength: pieceLength}}
	f := vod.File{Path: "long.mp4", Size: int64(blocks)*bt.BlockSize - 5, Root: root}
	got, err := h.origin.FirstHashes(t.Context(), &title, &f)
	if err != nil {
		t.Fatal(err)
	}
	digests, _ := bt.ParseDigests(got.Hashes)
	if err := (bt.HashRequest{Root: root, Base: got.Base, Length: got.Length, Proof: got.Proof}).Check(blocks, digests); err != nil || got.Length != 512 {
		t.Errorf("length %d: %v", got.Length, err)
	}
}

func TestRottenLeavesAreNotServed(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("open", 0)
	key := vod.KeyLeaves(f.Root)
	good := bt.AppendDigests(nil, nil)
	o, err := h.blobs.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	good = append(good, make([]byte, o.Size())...)
	if _, err := o.ReadAt(good, 0); err != nil {
		t.Fatal(err)
	}
	replace := func(data []byte) {
		t.Helper()
		if err := h.blobs.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if data == nil {
			return
		}
		if err := h.blobs.Put(t.Context(), key, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	path := "/hashes/" + f.Root.String() + "?base=1&index=0&length=2&proof=0"
	flipped := bytes.Clone(good)
	flipped[100] ^= 1
	for name, data := range map[string][]byte{"flipped": flipped, "short": good[:len(good)-32], "torn": good[:len(good)-1], "missing": nil} {
		replace(data)
		resp, body := h.do("GET", path)
		if t.Log(name); strings.Contains(string(body), "leaves") {
			t.Errorf("%s: tells too much: %s", name, body)
		}
		h.problem(resp, body, 503, "unavailable")
	}
	replace(good) // what failed once is tried again
	if resp, body := h.do("GET", path); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestTreesAreDroppedWhenTooMany(t *testing.T) {
	h := newHouse(t, nil)
	trees := h.origin.trees
	title := h.films["open"]
	for i := range title.Version.Files {
		if _, err := trees.of(t.Context(), &title, &title.Version.Files[i]); err != nil {
			t.Fatal(err)
		}
	}
	trees.bytes += treesMax // as if many had been loaded
	closed := h.films["closed"]
	if _, err := trees.of(t.Context(), &closed, &closed.Version.Files[0]); err != nil {
		t.Fatal(err)
	}
	if trees.used.Len() != 1 || len(trees.byKey) != 1 {
		t.Errorf("%d trees kept", trees.used.Len())
	}
}
