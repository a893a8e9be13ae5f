package metainfo

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"

	"essaim/internal/bt"
)

// stream is one file on its way through the hashes, and what comes of it.
type stream struct {
	path   string
	size   int64
	open   func() (io.ReadCloser, error)
	padded bool // zeros follow the file's last piece in v1

	leaves []bt.Digest // layer 0; nil where nobody keeps it here
	spill  io.WriterAt // takes layer 0; or nil
	only   bt.Digest   // of a file of one piece: its root
	nodes  []bt.Digest // one for each piece, each folded to a full piece's width
	pieces []HashV1
}

func newStream(path string, size int64, pieceLength uint32, padded bool, open func() (io.ReadCloser, error)) *stream {
	pieces := (size + int64(pieceLength) - 1) / int64(pieceLength)
	return &stream{
		path: path, size: size, open: open, padded: padded,
		nodes:  make([]bt.Digest, pieces),
		pieces: make([]HashV1, pieces),
	}
}

// layer is the file's piece layer, nil for a file of one piece or less.
func (s *stream) layer() []bt.Digest {
	if len(s.nodes) <= 1 {
		return nil
	}
	return s.nodes
}

// root is the file's "pieces root".
func (s *stream) root(blocksPerPiece int) bt.Digest {
	if len(s.nodes) > 1 {
		return bt.LayerRoot(s.nodes, blocksPerPiece)
	}
	return s.only
}

// hashStreams reads every stream once, in order, and fills in its hashes, on all cores. progress, if any, is told how
// many bytes have been read; never by two goroutines at once.
//
// Each worker takes the next piece out of the stream itself, under a lock, and then digests it, block by block with both
// functions, while the others read: so a byte is copied once, into memory that stays in that core's cache. There is one
// worker more than cores, to keep them busy while one waits for the disk.
func hashStreams(ctx context.Context, pieceLength uint32, streams []*stream, progress func(done int64)) error {
	f := &feed{ctx: ctx, pieceLength: int64(pieceLength), streams: streams, progress: progress}
	longest := int64(0)
	for _, s := range streams {
		longest = max(longest, s.size)
	}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) + 1 {
		workers.Go(func() {
			w := newWorker(pieceLength, longest)
			for {
				s, piece, n := f.next(w.buf)
				if s == nil {
					return
				}
				if err := w.digest(s, piece, w.buf[:n]); err != nil {
					f.fail(fmt.Errorf("write the leaves of %s: %w", s.path, err))
					return
				}
			}
		})
	}
	workers.Wait()
	return f.err
}

// feed hands out the pieces of all streams, one after another.
type feed struct {
	ctx         context.Context
	pieceLength int64
	progress    func(done int64)

	mu      sync.Mutex
	streams []*stream     // those not yet finished; the first is being read
	r       io.ReadCloser // of the first stream, nil before it is opened
	offset  int64         // within it
	done    int64
	err     error // the first
}

// fail ends the feed: nothing more is read.
func (f *feed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return
	}
	if f.err = err; f.r != nil {
		f.r.Close() // the error that matters is known already
	}
}

// next reads the next piece into buf. It returns a nil stream at the end, and after an error.
func (f *feed) next(buf []byte) (s *stream, piece, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || len(f.streams) == 0 {
		return nil, 0, 0
	}
	s = f.streams[0]
	n, err := f.read(s, buf)
	if err != nil {
		f.err = fmt.Errorf("hash %s: %w", s.path, err)
		if f.r != nil {
			f.r.Close() // the error that matters is known already
		}
		return nil, 0, 0
	}
	piece = int(f.offset / f.pieceLength)
	f.offset += int64(n)
	f.done += int64(n)
	if f.offset == s.size {
		f.streams, f.r, f.offset = f.streams[1:], nil, 0
	}
	if f.progress != nil {
		f.progress(f.done)
	}
	return s, piece, n
}

// read fills buf with s's next piece; with the last one it makes sure that nothing follows, and closes the file.
func (f *feed) read(s *stream, buf []byte) (n int, err error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	if f.r == nil {
		if f.r, err = s.open(); err != nil {
			f.r = nil
			return 0, err
		}
	}
	n = int(min(f.pieceLength, s.size-f.offset))
	if _, err := io.ReadFull(f.r, buf[:n]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrSize
		}
		return 0, err
	}
	if f.offset+int64(n) < s.size {
		return n, nil
	}
	switch _, err := io.ReadFull(f.r, make([]byte, 1)); {
	case err == nil:
		return 0, ErrSize
	case !errors.Is(err, io.EOF):
		return 0, err
	}
	r := f.r
	f.r = nil
	return n, r.Close()
}

// worker is what one goroutine needs to digest pieces without allocation.
type worker struct {
	buf     []byte
	v1      hash.Hash
	leaves  []bt.Digest
	bytes   []byte // the same, to be spilt
	scratch []bt.Digest
	width   int // blocks in a full piece
}

// newWorker makes a worker for pieces of so many bytes, in files of at most longest bytes.
func newWorker(pieceLength uint32, longest int64) *worker {
	width := int(pieceLength / bt.BlockSize)
	buf := make([]byte, min(int64(pieceLength), longest))
	return &worker{buf, sha1.New(), make([]bt.Digest, width), nil, make([]bt.Digest, (width+1)/2), width}
}

var zeros [bt.BlockSize]byte

// digest fills in what s keeps of a piece. Its error is that of whoever takes the leaves.
func (w *worker) digest(s *stream, piece int, data []byte) error {
	first, n := piece*w.width, 0
	w.v1.Reset()
	for rest := data; len(rest) > 0; n++ {
		block := rest[:min(bt.BlockSize, len(rest))]
		w.v1.Write(block)
		w.leaves[n] = sha256.Sum256(block)
		rest = rest[len(block):]
	}
	if s.padded {
		for missing := w.width*bt.BlockSize - len(data); missing > 0; missing -= len(zeros) {
			w.v1.Write(zeros[:min(missing, len(zeros))])
		}
	}
	w.v1.Sum(s.pieces[piece][:0])
	leaves := w.leaves[:n]
	s.nodes[piece] = bt.FoldInto(w.scratch, leaves, w.width)
	if len(s.nodes) == 1 {
		s.only = bt.FileRoot(leaves, w.width)
	}
	if s.leaves != nil {
		copy(s.leaves[first:], leaves)
	}
	if s.spill == nil {
		return nil
	}
	w.bytes = bt.AppendDigests(w.bytes[:0], leaves)
	_, err := s.spill.WriteAt(w.bytes, int64(first)*sha256.Size)
	return err
}
