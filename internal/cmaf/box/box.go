// Package box reads the boxes of the ISO base media file format (ISO/IEC 14496-12). Whoever uses it reads files that ffmpeg made
// of anything, so every size is checked against what holds it, nesting and numbers are bounded, and nothing here panics.
package box

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed is wrapped by every error about a file's content.
var ErrMalformed = errors.New("not a well-formed track file")

// Malformed is an error that wraps ErrMalformed.
func Malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// The bounds of what is read.
const (
	BoxesMax = 1 << 20  // boxes of one file at its top level: six hours of two-second segments have 22,000
	DepthMax = 8        // the deepest box that anybody reads lies at 7
	SizeMax  = 16 << 20 // bytes of a box that is read whole: moov, sidx, moof
)

// A Box is a box's place in the file, and its header's length.
type Box struct {
	Kind         string // four characters
	Offset, Size int64  // in bytes; Size includes the header
	Header       int64  // 8 or 16
}

// End is the offset of the first byte after b.
func (b Box) End() int64 { return b.Offset + b.Size }

// Read reads the header at offset; the box must end at or before limit.
func Read(r io.ReaderAt, offset, limit int64) (Box, error) {
	var h [16]byte
	if limit-offset < 8 {
		return Box{}, Malformed("%d stray bytes at %d", limit-offset, offset)
	}
	n := min(int64(len(h)), limit-offset)
	if _, err := r.ReadAt(h[:n], offset); err != nil && !errors.Is(err, io.EOF) {
		return Box{}, fmt.Errorf("read at %d: %w", offset, err)
	}
	b, err := Parse(h[:n], limit-offset)
	if err != nil {
		return Box{}, err
	}
	b.Offset = offset
	return b, nil
}

// Parse reads a box header from p's beginning; room is how many bytes the box may take. The box's Offset is 0.
func Parse(p []byte, room int64) (Box, error) {
	if len(p) < 8 {
		return Box{}, Malformed("box header cut short")
	}
	x := Box{Kind: string(p[4:8]), Size: int64(binary.BigEndian.Uint32(p)), Header: 8}
	switch x.Size {
	case 0: // to the end of what holds it
		x.Size = room
	case 1:
		if len(p) < 16 {
			return Box{}, Malformed("box header cut short")
		}
		large := binary.BigEndian.Uint64(p[8:])
		if large > 1<<62 {
			return Box{}, Malformed("%q claims %d bytes", x.Kind, large)
		}
		x.Size, x.Header = int64(large), 16
	}
	if x.Size < x.Header || x.Size > room {
		return Box{}, Malformed("%q claims %d of %d bytes", x.Kind, x.Size, room)
	}
	return x, nil
}

// Payload reads a box's content whole.
func (b Box) Payload(r io.ReaderAt) ([]byte, error) {
	n := b.Size - b.Header
	if n > SizeMax {
		return nil, Malformed("%q of %d bytes is too large", b.Kind, n)
	}
	p := make([]byte, n)
	if _, err := r.ReadAt(p, b.Offset+b.Header); err != nil && (!errors.Is(err, io.EOF) || n > 0) {
		return nil, fmt.Errorf("read %q at %d: %w", b.Kind, b.Offset, err)
	}
	return p, nil
}

// Children calls visit for each box in p, which is a container's content; offset is p's place in the file, depth how many
// containers hold it. It stops at visit's first error.
func Children(p []byte, offset int64, depth int, visit func(b Box, p []byte, depth int) error) error {
	if depth > DepthMax {
		return Malformed("boxes nested deeper than %d", DepthMax)
	}
	for at := int64(0); at < int64(len(p)); {
		b, err := Parse(p[at:], int64(len(p))-at)
		if err != nil {
			return err
		}
		b.Offset = offset + at
		if err := visit(b, p[at+b.Header:at+b.Size], depth+1); err != nil {
			return err
		}
		at += b.Size
	}
	return nil
}

// A Cursor reads big-endian numbers; past the end it yields zeros and remembers.
type Cursor struct {
	P     []byte // what is left
	Short bool   // something was asked for that was not there
}

// Take reads n bytes; past the end, up to 16 zeros.
func (c *Cursor) Take(n int) []byte {
	if n > len(c.P) {
		c.Short = true
		c.P = nil
		return make([]byte, min(n, 16))
	}
	b := c.P[:n]
	c.P = c.P[n:]
	return b
}

// Skip passes over n bytes.
func (c *Cursor) Skip(n int) {
	if n > len(c.P) {
		c.Short, c.P = true, nil
		return
	}
	c.P = c.P[n:]
}

// U8 reads one byte.
func (c *Cursor) U8() uint8 { return c.Take(1)[0] }

// U16 reads two bytes.
func (c *Cursor) U16() uint16 { return binary.BigEndian.Uint16(c.Take(2)) }

// U32 reads four bytes.
func (c *Cursor) U32() uint32 { return binary.BigEndian.Uint32(c.Take(4)) }

// U64 reads eight bytes.
func (c *Cursor) U64() uint64 { return binary.BigEndian.Uint64(c.Take(8)) }

// Full reads a full box's version and flags.
func (c *Cursor) Full() (version uint8, flags uint32) {
	v := c.U32()
	return uint8(v >> 24), v & 0xffffff
}

// Word reads 8 bytes for version 1 and above, else 4.
func (c *Cursor) Word(version uint8) uint64 {
	if version > 0 {
		return c.U64()
	}
	return uint64(c.U32())
}
