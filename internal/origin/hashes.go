package origin

import (
	"container/list"
	"context"
	"fmt"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/vod"
)

// firstMax is how many piece hashes a play session brings along: 16 KiB, BEP 52's advice for one request, and some
// minutes of film.
const firstMax = 512

// serveHashes answers GET /hashes/{root}: BEP 52's hash request over HTTP.
func (o *Origin) serveHashes(w http.ResponseWriter, r *http.Request) {
	a, err := o.allow(r)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	request, err := hashRequest(a.file.Root, r.URL.RawQuery)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	tree, err := o.trees.of(r.Context(), a.title, a.file)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	hashes, err := tree.Answer(request)
	if err != nil {
		o.refuse(w, r, fmt.Errorf("%w: %w", vod.ErrInvalid, err))
		return
	}
	body := bt.AppendDigests(nil, hashes)
	h := w.Header()
	o.setPolicy(r, h, a.title)
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // who has gone needs no error
}

// hashRequest reads base, index, length and proof, each given once.
func hashRequest(root bt.Digest, rawQuery string) (bt.HashRequest, error) {
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return bt.HashRequest{}, fmt.Errorf("%w: malformed query", vod.ErrInvalid)
	}
	request := bt.HashRequest{Root: root}
	for name, into := range map[string]*uint32{
		"base": &request.Base, "index": &request.Index, "length": &request.Length, "proof": &request.Proof,
	} {
		n, err := strconv.ParseUint(q.Get(name), 10, 32)
		if err != nil || len(q[name]) != 1 {
			return bt.HashRequest{}, fmt.Errorf("%w: %s", vod.ErrInvalid, name)
		}
		*into = uint32(n)
	}
	return request, nil
}

// FirstHashes implements vod.FirstHashes.
func (o *Origin) FirstHashes(ctx context.Context, t *vod.Title, f *vod.File) (*vod.PlayHashes, error) {
	tree, err := o.trees.of(ctx, t, f)
	if err != nil {
		return nil, fmt.Errorf("first hashes of %s: %w", f.Path, err)
	}
	pieces := len(tree.PieceLayer())
	if pieces == 0 {
		return nil, nil
	}
	perPiece := int(t.Version.PieceLength / bt.BlockSize)
	base := uint32(bits.TrailingZeros(uint(perPiece)))
	length := uint32(min(firstMax, 1<<bits.Len(uint(pieces-1))))
	proof := bt.FullProof(base, length, tree.Blocks(), perPiece)
	hashes, err := tree.Answer(bt.HashRequest{Root: f.Root, Base: base, Length: length, Proof: proof})
	if err != nil {
		return nil, fmt.Errorf("first hashes of %s: %w", f.Path, err)
	}
	return &vod.PlayHashes{Base: base, Length: length, Proof: proof, Hashes: bt.AppendDigests(nil, hashes)}, nil
}

const (
	// treesMax bounds the leaves that are kept: three films of 30 GB, or very many small ones.
	treesMax = 256 << 20
	// leavesMax is the leaf layer of a file of 1 TB.
	leavesMax = 2 << 30
)

// trees keeps the hash trees that were used last. A tree is used only if it leads to the file's root: what has rotted
// on the disk is an error and not an answer.
type trees struct {
	blobs blob.Store
	mu    sync.Mutex
	byKey map[treeKey]*list.Element
	used  list.List // of *treeEntry, the latest first
	bytes int64
}

// treeKey: the same file may be in torrents of different piece lengths.
type treeKey struct {
	root     bt.Digest
	perPiece int
}

type treeEntry struct {
	key   treeKey
	bytes int64
	load  func() (*bt.Tree, error)
}

func newTrees(blobs blob.Store) *trees {
	return &trees{blobs: blobs, byKey: map[treeKey]*list.Element{}}
}

// of is the tree of t's file f. Several who ask for it at once wait for one loading.
func (s *trees) of(ctx context.Context, t *vod.Title, f *vod.File) (*bt.Tree, error) {
	key := treeKey{f.Root, int(t.Version.PieceLength / bt.BlockSize)}
	s.mu.Lock()
	e := s.byKey[key]
	if e == nil {
		// Others may wait for this loading, so it outlives the request that began it.
		ctx := context.WithoutCancel(ctx)
		size := f.Size
		entry := &treeEntry{key: key, bytes: int64(bt.Blocks(size)) * 32}
		entry.load = sync.OnceValues(func() (*bt.Tree, error) { return loadTree(ctx, s.blobs, key, size) })
		e = s.used.PushFront(entry)
		s.byKey[key] = e
		s.bytes += entry.bytes
		for s.bytes > treesMax && s.used.Len() > 1 {
			s.drop(s.used.Back())
		}
	}
	s.used.MoveToFront(e)
	s.mu.Unlock()
	tree, err := e.Value.(*treeEntry).load()
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.byKey[key] == e {
			s.drop(e) // the next request tries again
		}
	}
	return tree, err
}

func (s *trees) drop(e *list.Element) {
	entry := e.Value.(*treeEntry)
	s.used.Remove(e)
	delete(s.byKey, entry.key)
	s.bytes -= entry.bytes
}

func loadTree(ctx context.Context, blobs blob.Store, key treeKey, size int64) (*bt.Tree, error) {
	data, err := readAll(ctx, blobs, vod.KeyLeaves(key.root), leavesMax)
	if err != nil {
		return nil, fmt.Errorf("leaves of %s: %v", key.root, err) // %v: a published file's leaves are never "not found"
	}
	leaves, err := bt.ParseDigests(data)
	if err != nil {
		return nil, fmt.Errorf("leaves of %s: %w", key.root, err)
	}
	if len(leaves) == 0 || len(leaves) != bt.Blocks(size) {
		return nil, fmt.Errorf("leaves of %s: %d for a file of %d bytes", key.root, len(leaves), size)
	}
	tree := bt.NewTree(leaves, key.perPiece)
	if tree.Root() != key.root {
		return nil, fmt.Errorf("leaves of %s: they lead to %s", key.root, tree.Root())
	}
	return tree, nil
}
