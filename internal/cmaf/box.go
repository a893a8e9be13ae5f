// Package cmaf reads and describes track files: one fragmented MP4 (ISO/IEC 14496-12, CMAF) for each rendition, with
// one segment index (sidx) in front of all fragments, every segment beginning on a key frame. It must get right what
// players rely on without asking again: exact byte ranges, codec strings and the moment at which each track begins.
// Files come from ffmpeg, which may have read anything, so every size is checked and nothing here panics.
package cmaf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed is wrapped by every error about a file's content.
var ErrMalformed = errors.New("not a well-formed track file")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

const (
	boxesMax = 1 << 20  // of one file at its top level: six hours of two-second segments have 22,000
	depthMax = 8        // the deepest box read here lies at 7
	boxMax   = 16 << 20 // bytes of a box that is read whole: moov, sidx, moof
)

// A box is an ISO base media file format box: its place in the file, and its header's length.
type box struct {
	kind         string
	offset, size int64 // size includes the header
	header       int64
}

func (b box) end() int64 { return b.offset + b.size }

// readBox reads the header at offset; the box must end at or before limit.
func readBox(r io.ReaderAt, offset, limit int64) (box, error) {
	var h [16]byte
	if limit-offset < 8 {
		return box{}, malformed("%d stray bytes at %d", limit-offset, offset)
	}
	n := min(int64(len(h)), limit-offset)
	if _, err := r.ReadAt(h[:n], offset); err != nil && !errors.Is(err, io.EOF) {
		return box{}, fmt.Errorf("read at %d: %w", offset, err)
	}
	b, err := parseHeader(h[:n], limit-offset)
	if err != nil {
		return box{}, err
	}
	b.offset = offset
	return b, nil
}

// parseHeader reads a box header from b's beginning; room is how many bytes the box may take.
func parseHeader(b []byte, room int64) (box, error) {
	if len(b) < 8 {
		return box{}, malformed("box header cut short")
	}
	x := box{kind: string(b[4:8]), size: int64(binary.BigEndian.Uint32(b)), header: 8}
	switch x.size {
	case 0: // to the end of what holds it
		x.size = room
	case 1:
		if len(b) < 16 {
			return box{}, malformed("box header cut short")
		}
		large := binary.BigEndian.Uint64(b[8:])
		if large > 1<<62 {
			return box{}, malformed("%q claims %d bytes", x.kind, large)
		}
		x.size, x.header = int64(large), 16
	}
	if x.size < x.header || x.size > room {
		return box{}, malformed("%q claims %d of %d bytes", x.kind, x.size, room)
	}
	return x, nil
}

// payload reads a box's content whole.
func (b box) payload(r io.ReaderAt) ([]byte, error) {
	n := b.size - b.header
	if n > boxMax {
		return nil, malformed("%q of %d bytes is too large", b.kind, n)
	}
	p := make([]byte, n)
	if _, err := r.ReadAt(p, b.offset+b.header); err != nil && (!errors.Is(err, io.EOF) || n > 0) {
		return nil, fmt.Errorf("read %q at %d: %w", b.kind, b.offset, err)
	}
	return p, nil
}

// children calls visit for each box in p, which is a container's content; offset is p's place in the file. It stops at
// visit's first error.
func children(p []byte, offset int64, depth int, visit func(b box, p []byte, depth int) error) error {
	if depth > depthMax {
		return malformed("boxes nested deeper than %d", depthMax)
	}
	for at := int64(0); at < int64(len(p)); {
		b, err := parseHeader(p[at:], int64(len(p))-at)
		if err != nil {
			return err
		}
		b.offset = offset + at
		if err := visit(b, p[at+b.header:at+b.size], depth+1); err != nil {
			return err
		}
		at += b.size
	}
	return nil
}

// A cursor reads big-endian numbers; past the end it yields zeros and remembers.
type cursor struct {
	p     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.p) {
		c.short = true
		c.p = nil
		return make([]byte, min(n, 16))
	}
	b := c.p[:n]
	c.p = c.p[n:]
	return b
}

func (c *cursor) skip(n int) {
	if n > len(c.p) {
		c.short, c.p = true, nil
		return
	}
	c.p = c.p[n:]
}

func (c *cursor) u8() uint8   { return c.take(1)[0] }
func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

// full reads a full box's version and flags.
func (c *cursor) full() (version uint8, flags uint32) {
	v := c.u32()
	return uint8(v >> 24), v & 0xffffff
}

// word reads 8 bytes for version 1 and above, else 4.
func (c *cursor) word(version uint8) uint64 {
	if version > 0 {
		return c.u64()
	}
	return uint64(c.u32())
}
