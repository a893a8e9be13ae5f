package drm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"essaim/internal/cmaf/box"
)

// A trackRun is what a track run says: how large its samples are, and where they begin.
type trackRun struct {
	at     int   // of its data offset in what is written; 0 for none
	offset int64 // of the first sample, from the moof's beginning
	sizes  []uint32
}

// samplesMax bounds a run's samples.
const samplesMax = 1 << 20

// fragment encrypts the samples behind a moof, and writes both.
func (e *encryptor) fragment(moof box.Box) error {
	p, err := moof.Payload(e.src)
	if err != nil {
		return err
	}
	mdat, err := e.box()
	if err != nil {
		return err
	}
	if mdat.Kind != "mdat" {
		return box.Malformed("%q behind the moof at %d", mdat.Kind, moof.Offset)
	}
	n := mdat.Size - mdat.Header
	if n > fragmentMax {
		return box.Malformed("a fragment of %d bytes at %d is too large", n, moof.Offset)
	}
	if int64(cap(e.samples)) < n {
		e.samples = make([]byte, n+n/4)
	}
	e.samples = e.samples[:n]
	if _, err := e.src.ReadAt(e.samples, mdat.Offset+mdat.Header); err != nil && (!errors.Is(err, io.EOF) || n > 0) {
		return fmt.Errorf("read samples at %d: %w", mdat.Offset, err)
	}
	out, err := e.moof(p, moof, mdat.Offset+mdat.Header)
	if err != nil {
		return fmt.Errorf("fragment at %d: %w", moof.Offset, err)
	}
	if err := e.write(out); err != nil {
		return err
	}
	if err := e.write(header("mdat", 8+len(e.samples))[:8]); err != nil {
		return err
	}
	return e.write(e.samples)
}

// moof encrypts e.samples, which begin at data in src, as the moof's content p describes them, and returns the moof with what is
// needed to decrypt them.
func (e *encryptor) moof(p []byte, b box.Box, data int64) ([]byte, error) {
	out := header("moof", 8)
	trafs := 0
	var runs []trackRun
	err := box.Children(p, 0, 0, func(x box.Box, p []byte, depth int) (err error) {
		if x.Kind != "traf" {
			out = append(out, boxOf(x.Kind, p)...)
			return nil
		}
		trafs++
		out, runs, err = e.traf(out, p, depth, data-b.Offset)
		return err
	})
	if err != nil {
		return nil, err
	}
	if trafs != 1 || len(runs) == 0 {
		return nil, box.Malformed("a fragment of %d tracks and %d runs", trafs, len(runs))
	}
	// The samples now lie behind a larger moof, and an mdat whose header has eight bytes.
	moved := int64(len(out)) + 8 - (data - b.Offset)
	for _, r := range runs {
		if r.at > 0 {
			offset := r.offset + moved
			if offset > 1<<31-1 {
				return nil, box.Malformed("samples %d bytes behind their moof", offset)
			}
			binary.BigEndian.PutUint32(out[r.at:], uint32(offset))
		}
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)))
	return out, nil
}

// traf appends to out the track fragment of content p, with what is needed to decrypt its samples; these begin data bytes behind
// the moof's beginning.
func (e *encryptor) traf(out, p []byte, depth int, data int64) ([]byte, []trackRun, error) {
	from := len(out)
	out = append(out, header("traf", 8)...)
	var runs []trackRun
	size := e.track.size
	err := box.Children(p, 0, depth, func(x box.Box, p []byte, _ int) (err error) {
		switch x.Kind {
		case "senc", "saiz", "saio":
			return box.Malformed("the file is encrypted already")
		case "tfhd":
			size, err = e.tfhd(p)
		case "trun":
			var r trackRun
			r, err = readRun(p, size)
			if r.at > 0 {
				r.at += len(out)
			}
			runs = append(runs, r)
		}
		out = append(out, boxOf(x.Kind, p)...)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if err := e.encrypt(runs, data); err != nil {
		return nil, nil, err
	}
	out = e.layout.appendTo(out)
	binary.BigEndian.PutUint32(out[from:], uint32(len(out)-from))
	return out, runs, nil
}

// tfhd reads the header of a track fragment, and returns its samples' default size.
func (e *encryptor) tfhd(p []byte) (size uint32, err error) {
	c := &box.Cursor{P: p}
	_, flags := c.Full()
	id := c.U32()
	if id != e.track.id {
		return 0, box.Malformed("a fragment of track %d", id)
	}
	if flags&1 != 0 {
		return 0, box.Malformed("absolute data offsets")
	}
	size = e.track.size
	if flags&2 != 0 {
		c.U32()
	}
	if flags&8 != 0 {
		c.U32()
	}
	if flags&16 != 0 {
		size = c.U32()
	}
	if c.Short {
		return 0, box.Malformed("\"tfhd\" cut short")
	}
	return size, nil
}

// readRun reads a track run (ISO/IEC 14496-12, 8.8.8) of content p. Its at is counted from the box's beginning.
func readRun(p []byte, size uint32) (r trackRun, err error) {
	c := &box.Cursor{P: p}
	_, flags := c.Full()
	n := c.U32()
	if flags&1 != 0 {
		r.at, r.offset = 16, int64(int32(c.U32()))
	}
	if flags&4 != 0 {
		c.U32()
	}
	each := 0
	for bit := range 4 {
		if flags&(0x100<<bit) != 0 {
			each += 4
		}
	}
	if c.Short || uint64(n)*uint64(each) != uint64(len(c.P)) || n > samplesMax {
		return r, box.Malformed("a run of %d samples in %d bytes", n, len(c.P))
	}
	r.sizes = make([]uint32, n)
	for i := range r.sizes {
		r.sizes[i] = size
		if flags&0x100 != 0 {
			c.U32()
		}
		if flags&0x200 != 0 {
			r.sizes[i] = c.U32()
		}
		if flags&0x400 != 0 {
			c.U32()
		}
		if flags&0x800 != 0 {
			c.U32()
		}
	}
	return r, nil
}

// encrypt encrypts the samples of these runs in place; the first byte of e.samples lies data bytes behind the moof's beginning.
func (e *encryptor) encrypt(runs []trackRun, data int64) error {
	e.layout.reset(e.o.Scheme, e.track.split != nil)
	at := int64(0) // in e.samples
	for i, r := range runs {
		if r.at > 0 {
			if r.offset-data < at { // a byte of two samples would be encrypted twice
				return box.Malformed("run %d begins before its mdat, or where another has not ended", i)
			}
			at = r.offset - data
		} else if i == 0 {
			return box.Malformed("a run that does not say where its samples are")
		}
		for _, size := range r.sizes {
			if int64(size) > int64(len(e.samples))-at {
				return box.Malformed("samples do not lie in the mdat behind their moof")
			}
			if err := e.sample(e.samples[at : at+int64(size)]); err != nil {
				return err
			}
			at += int64(size)
		}
	}
	return nil
}

// sample encrypts a sample in place and notes what is needed to decrypt it.
func (e *encryptor) sample(p []byte) error {
	l := &e.layout
	l.begin()
	if e.track.split != nil {
		if err := e.track.split.split(p, l); err != nil {
			return fmt.Errorf("sample %d: %w", l.count, err)
		}
	} else {
		l.whole(len(p))
	}
	var iv uint64
	if e.o.Scheme == CENC {
		iv = e.nextIV()
	}
	ranges, err := l.end(iv, len(p))
	if err != nil {
		return fmt.Errorf("sample %d: %w", l.count, err)
	}
	if e.o.Scheme == CENC {
		e.counter(p, ranges, iv)
	} else {
		e.chain(p, ranges)
	}
	return nil
}
