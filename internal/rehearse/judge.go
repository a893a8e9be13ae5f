package rehearse

import (
	"bytes"
	"errors"
	"hash/maphash"
	"strconv"
	"sync"
)

// judge compares what viewers were delivered, outside of the engines that verified it: a segment must be the same for all.
type judge struct {
	seed maphash.Seed
	mu   sync.Mutex
	seen map[segmentKey]uint64
	// ranges are of pages, which say digests.
	ranges map[string]string
}

type segmentKey struct {
	file    uint32
	segment int
}

func newJudge() *judge {
	return &judge{seed: maphash.MakeSeed(), seen: map[segmentKey]uint64{}, ranges: map[string]string{}}
}

// verdict is about one segment.
type verdict struct {
	judge *judge
	hash  maphash.Hash
	bytes int64
}

func (j *judge) begin() *verdict {
	v := &verdict{judge: j}
	v.hash.SetSeed(j.seed)
	return v
}

func (v *verdict) add(b []byte) {
	v.hash.Write(b)
	v.bytes += int64(len(b))
}

// agrees reports whether the segment is what the first viewer who had it was delivered.
func (v *verdict) agrees(file uint32, segment int) bool {
	k, sum := segmentKey{file, segment}, v.hash.Sum64()
	v.judge.mu.Lock()
	defer v.judge.mu.Unlock()
	first, ok := v.judge.seen[k]
	if !ok {
		v.judge.seen[k] = sum
		return true
	}
	return first == sum
}

// shelf keeps the verified pieces of all viewers, equal ones once, or memory would bound the crowd. What each viewer holds
// is its own affair: a view gives nothing that was not put into it.
type shelf struct {
	mu     sync.Mutex
	pieces map[uint32][]byte
}

// view is one viewer's store on a shelf. It implements native.Store, and belongs to one goroutine.
type view struct {
	shelf *shelf
	held  map[uint32][]byte
}

var errNoPiece = errors.New("piece not stored")

func newShelf() *shelf { return &shelf{pieces: map[uint32][]byte{}} }

func (s *shelf) view() *view { return &view{s, map[uint32][]byte{}} }

// Pieces is empty: a view is new.
func (v *view) Pieces() []uint32 { return nil }

// Room has no bounds: all viewers share one copy of the film.
func (v *view) Room() (limit, ahead int64) { return 0, 0 }

// Has reports whether the viewer holds a piece.
func (v *view) Has(piece uint32) bool { return v.held[piece] != nil }

// Put keeps a piece; a copy that differs from the others' is kept apart.
func (v *view) Put(piece uint32, data []byte) ([]uint32, error) {
	v.shelf.mu.Lock()
	first, ok := v.shelf.pieces[piece]
	if !ok {
		v.shelf.pieces[piece] = data
	}
	v.shelf.mu.Unlock()
	if ok && bytes.Equal(first, data) {
		data = first
	}
	v.held[piece] = data
	return nil, nil
}

// ReadAt fills p from within a piece that the viewer holds.
func (v *view) ReadAt(piece uint32, p []byte, off int64) error {
	data := v.held[piece]
	if data == nil || off < 0 || off+int64(len(p)) > int64(len(data)) {
		return errNoPiece
	}
	copy(p, data[off:])
	return nil
}

// Delete forgets a piece of this viewer.
func (v *view) Delete(piece uint32) error {
	delete(v.held, piece)
	return nil
}

// Close has nothing to do.
func (v *view) Close() error { return nil }

// range256 is agrees for a range of a file whose digest is known already.
func (j *judge) range256(path string, from, to int64, digest string) bool {
	key := path + "\x00" + strconv.FormatInt(from, 10) + "\x00" + strconv.FormatInt(to, 10)
	j.mu.Lock()
	defer j.mu.Unlock()
	first, ok := j.ranges[key]
	if !ok {
		j.ranges[key] = digest
		return true
	}
	return first == digest
}
