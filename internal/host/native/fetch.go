package native

import (
	"fmt"
	"net/http"
	"strconv"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// fetch is one GET: a range of a media file, or an answered hash request.
type fetch struct {
	ref    engine.Ref
	source int    // index of the HTTP source
	path   string // below the source's prefix
	hashes bool
	asked  bt.HashRequest // of hashes
	file   uint32
	from   int64 // bytes of the file
	to     int64

	headed   bool
	over     bool
	data     []byte // what came; blocks that were digested are nil in blocks but remain here until the end
	told     int    // the last FetchProgress
	limit    int    // bytes of body allowed
	least    int    // bytes of body needed, of a hash request
	pending  []hashWait
	transfer any // outside's own
}

// hashWait is a Hash whose bytes have not come yet.
type hashWait struct{ piece, begin, length uint32 }

// rangeHeader is the Range header, empty for a hash request.
func (f *fetch) rangeHeader() string {
	if f.hashes {
		return ""
	}
	return "bytes=" + strconv.FormatInt(f.from, 10) + "-" + strconv.FormatInt(f.to-1, 10)
}

func (c *core) fetchRange(o *engine.Output) {
	n := o.To - o.From
	if int(o.File) >= len(c.title.Files) || c.fetches[o.Ref] != nil || n <= 0 || n > fetchBufMax {
		c.then(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref, Reason: http.StatusRequestedRangeNotSatisfiable})
		return
	}
	f := &fetch{
		ref: o.Ref, source: int(o.Source), file: o.File, from: o.From, to: o.To, limit: int(n),
		path: "/media/" + c.title.Files[o.File].Root.String(),
	}
	c.fetches[f.ref] = f
	c.out.get(f)
}

func (c *core) requestHashes(o *engine.Output) {
	if int(o.File) >= len(c.title.Files) || c.fetches[o.Ref] != nil || o.Length == 0 || o.Length > 8192 {
		c.then(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref, Reason: http.StatusBadRequest})
		return
	}
	asked := bt.HashRequest{Root: c.title.Files[o.File].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof}
	if b := c.prove(o.File, asked); b != nil {
		c.then(engine.Input{Kind: engine.HashesReceived, Ref: o.Ref, Data: b})
		return
	}
	f := &fetch{
		ref: o.Ref, source: int(o.Source), hashes: true, asked: asked, file: o.File, least: int(o.Length) * len(bt.Digest{}),
		path: fmt.Sprintf("/hashes/%s?base=%d&index=%d&length=%d&proof=%d", c.title.Files[o.File].Root, o.Base, o.Index, o.Length, o.Proof),
	}
	f.limit = f.least + 64*len(bt.Digest{}) // no tree has more levels
	c.fetches[f.ref] = f
	c.out.get(f)
}

// dropFetch gives a fetch up, and forgets it.
func (c *core) dropFetch(f *fetch) {
	if c.fetches[f.ref] == f {
		delete(c.fetches, f.ref)
	}
	f.data, f.pending = nil, nil
	if !f.over {
		f.over = true
		c.out.abort(f)
	}
}

// failFetch gives a fetch up and says so. reason: the HTTP status, 0 for body and network.
func (c *core) failFetch(f *fetch, reason int) {
	if !f.over {
		f.over = true
		c.out.abort(f)
	}
	c.endFetch(f, engine.Input{Kind: engine.FetchFailed, Ref: f.ref, Reason: engine.Reason(reason)})
}

// endFetch says the last of a fetch. Its bytes last until all that follows has been done.
func (c *core) endFetch(f *fetch, in engine.Input) {
	f.pending = nil
	c.step(in)
	if c.fetches[f.ref] == f {
		delete(c.fetches, f.ref)
	}
	f.data = nil
}

func (c *core) live(f *fetch) bool { return c.fetches[f.ref] == f && !f.over }

// head takes the response's status and its Content-Range header.
func (c *core) head(f *fetch, status int, contentRange string) {
	if !c.live(f) || f.headed {
		return
	}
	f.headed = true
	if f.hashes {
		if status != http.StatusOK {
			c.failFetch(f, status)
		}
		return
	}
	want := fmt.Sprintf("bytes %d-%d/%d", f.from, f.to-1, c.title.Files[f.file].Size)
	if status != http.StatusPartialContent || contentRange != want {
		c.failFetch(f, status)
	}
}

// body takes some bytes of the response's body.
func (c *core) body(f *fetch, b []byte) {
	if !c.live(f) {
		return
	}
	if len(f.data)+len(b) > f.limit {
		c.failFetch(f, 0)
		return
	}
	f.data = append(f.data, b...)
	if f.hashes {
		return
	}
	c.stats.fetched += int64(len(b))
	c.hashArrived(f)
	c.run()
	if n := len(f.data); n/bt.BlockSize > f.told/bt.BlockSize || n == f.limit {
		f.told = n
		c.step(engine.Input{Kind: engine.FetchProgress, Ref: f.ref, Length: uint32(n)})
	}
}

// end says that the response's body ended as HTTP says it should.
func (c *core) end(f *fetch) {
	if !c.live(f) {
		return
	}
	f.over = true
	n := len(f.data)
	switch {
	case f.hashes && (n < f.least || n%len(bt.Digest{}) != 0), !f.hashes && n != f.limit:
		c.failFetch(f, 0)
	case f.hashes:
		c.learned(f.file, f.asked, f.data)
		c.endFetch(f, engine.Input{Kind: engine.HashesReceived, Ref: f.ref, Data: f.data})
	default:
		c.endFetch(f, engine.Input{Kind: engine.FetchDone, Ref: f.ref})
	}
}

// fail says that the network broke the fetch.
func (c *core) fail(f *fetch) {
	if c.live(f) {
		f.over = true
		c.failFetch(f, 0)
	}
}

// hashFetched is Hash for a block out of a fetch.
func (c *core) hashFetched(o *engine.Output) {
	f := c.fetches[o.Ref]
	if f == nil || f.hashes {
		return
	}
	w := hashWait{piece: o.Piece, begin: o.Begin, length: o.Length}
	if !c.hashNow(f, w) && !f.over && len(f.pending) < fetchBufMax/bt.BlockSize {
		f.pending = append(f.pending, w)
	}
}

// hashArrived digests what waited and has come.
func (c *core) hashArrived(f *fetch) {
	n := 0
	for _, w := range f.pending {
		if !c.hashNow(f, w) {
			f.pending[n] = w
			n++
		}
	}
	f.pending = f.pending[:n]
}

// hashNow reports whether nothing is left to wait for: the block was digested, or lies outside the fetch.
func (c *core) hashNow(f *fetch, w hashWait) bool {
	file, start, ok := c.files.find(w.piece)
	from := start + int64(w.begin) - f.from
	to := from + int64(w.length)
	if !ok || uint32(file) != f.file || from < 0 || to > f.to-f.from {
		return true
	}
	if to > int64(len(f.data)) {
		return false
	}
	c.keep(w.piece, w.begin, append([]byte(nil), f.data[from:to]...), engine.Input{Ref: f.ref})
	return true
}
