package cmaf

import (
	"encoding/binary"
	"fmt"
	"io"
)

// defaults of a track's samples, from trex and tfhd.
type defaults struct{ duration, size, flags uint32 }

// nonSync is the sample flag "this is not a sync sample" (ISO/IEC 14496-12, 8.8.3.1).
const nonSync = 0x10000

// A fragment is what a moof says.
type fragment struct {
	decode   uint64 // of its first sample
	decodeAt int64  // where that lies in the file
	wide     bool   // as 64 bits
	duration uint64
	first    int64 // composition offset of the first sample
	sync     bool  // the first sample is a sync sample
	bytes    int64 // of all samples
	data     int64 // where the samples begin in the file
	samples  uint32
}

// fragments reads every moof and holds it against the sidx.
func (t *Track) fragments(r io.ReaderAt) error {
	boxes := 0
	for i, s := range t.Segments {
		seen := 0
		for at := s.From; at < s.To; {
			if boxes++; boxes > boxesMax {
				return malformed("more than %d boxes", boxesMax)
			}
			b, err := readBox(r, at, s.To)
			if err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
			at = b.end()
			switch b.kind {
			case "styp", "free":
				continue
			case "moof":
			default:
				return malformed("segment %d begins with %q instead of moof", i, b.kind)
			}
			p, err := b.payload(r)
			if err != nil {
				return err
			}
			f, err := t.moof(p, b)
			if err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
			data, err := readBox(r, at, s.To)
			if err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
			if data.kind != "mdat" || f.data != data.offset+data.header || f.bytes > data.size-data.header {
				return malformed("segment %d: samples do not lie in the mdat behind their moof", i)
			}
			at = data.end()
			if seen == 0 {
				if err := t.opens(i, f); err != nil {
					return err
				}
			}
			seen++
		}
		if seen == 0 {
			return malformed("segment %d has no fragment", i)
		}
	}
	return nil
}

// opens checks the fragment with which segment i begins.
func (t *Track) opens(i int, f fragment) error {
	if !f.sync {
		return malformed("segment %d does not begin on a key frame", i)
	}
	// The sidx adds up durations; a player seeks by it, so it may be off by no more than a tenth of a second.
	start := int64(f.decode) + f.first
	if off := start - int64(t.Segments[i].Start); off > int64(t.Timescale)/10 || -off > int64(t.Timescale)/10 {
		return malformed("segment %d begins at tick %d, its index says %d", i, start, t.Segments[i].Start)
	}
	return nil
}

func (t *Track) moof(p []byte, b box) (f fragment, err error) {
	trafs, trexs := 0, t.trex
	visit := func(x box, p []byte, _ int) error {
		c := &cursor{p: p}
		switch x.kind {
		case "tfhd":
			_, flags := c.full()
			if id := c.u32(); id != t.trackID {
				return malformed("fragment of track %d", id)
			}
			if flags&1 != 0 {
				return malformed("absolute data offsets")
			}
			if flags&2 != 0 {
				c.u32()
			}
			for bit, v := range []*uint32{&trexs.duration, &trexs.size, &trexs.flags} {
				if flags&(8<<bit) != 0 {
					*v = c.u32()
				}
			}
		case "tfdt":
			v, _ := c.full()
			f.decode, f.wide = c.word(v), v > 0
			f.decodeAt = x.offset + x.header + 4
			t.decodeAt, t.decode = append(t.decodeAt, f.decodeAt), append(t.decode, f.decode)
			if f.decode > 1<<60 || !f.wide {
				return malformed("decode time out of range")
			}
		case "trun":
			return f.run(c, trexs, b)
		}
		if c.short {
			return malformed("%q cut short", x.kind)
		}
		return nil
	}
	err = children(p, b.offset+b.header, 0, func(x box, p []byte, depth int) error {
		if x.kind != "traf" {
			return nil
		}
		trafs++
		return children(p, x.offset+x.header, depth, visit)
	})
	if err == nil && (trafs != 1 || f.samples == 0 || f.decodeAt == 0) {
		err = malformed("a fragment of %d tracks and %d samples", trafs, f.samples)
	}
	return f, err
}

// run reads a track run (ISO/IEC 14496-12, 8.8.8).
func (f *fragment) run(c *cursor, d defaults, moof box) error {
	_, flags := c.full()
	n := c.u32()
	offset := int32(0)
	if flags&1 != 0 {
		offset = int32(c.u32())
	}
	firstFlags, each := uint32(0), 0
	if flags&4 != 0 {
		firstFlags = c.u32()
	}
	for bit := range 4 {
		if flags&(0x100<<bit) != 0 {
			each += 4
		}
	}
	if c.short || uint64(n)*uint64(each) != uint64(len(c.p)) || n > 1<<22 {
		return malformed("a run of %d samples in %d bytes", n, len(c.p))
	}
	if f.samples == 0 {
		f.data = moof.offset + int64(offset)
	}
	for i := range n {
		s := d
		for bit, v := range []*uint32{&s.duration, &s.size, &s.flags} {
			if flags&(0x100<<bit) != 0 {
				*v = c.u32()
			}
		}
		if i == 0 && flags&4 != 0 {
			s.flags = firstFlags
		}
		cts := int64(0)
		if flags&0x800 != 0 {
			cts = int64(int32(c.u32()))
		}
		if f.samples == 0 {
			f.first, f.sync = cts, s.flags&nonSync == 0
		}
		f.samples++
		f.duration += uint64(s.duration)
		f.bytes += int64(s.size)
	}
	return nil
}

// Delay moves everything in the file later by ticks: decode times and sidx, in place. It is for a track that begins after
// the film does. The file must be the one that Read read, in the 64-bit forms that MuxArgs yields.
func (t *Track) Delay(w io.WriterAt, r io.ReaderAt, ticks uint64) error {
	if ticks > 1<<50 {
		return malformed("a delay of %d ticks", ticks)
	}
	var v [1]byte
	if _, err := r.ReadAt(v[:], t.IndexFrom+8); err != nil {
		return fmt.Errorf("read sidx: %w", err)
	}
	if v[0] == 0 {
		return malformed("sidx of version 0")
	}
	put := func(at int64, value uint64) error {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], value)
		_, err := w.WriteAt(b[:], at)
		return err
	}
	// sidx: header 8, version and flags 4, reference 4, timescale 4, then the earliest presentation time.
	if err := put(t.IndexFrom+20, t.Segments[0].Start+ticks); err != nil {
		return err
	}
	for i, at := range t.decodeAt {
		t.decode[i] += ticks
		if err := put(at, t.decode[i]); err != nil {
			return err
		}
	}
	for i := range t.Segments {
		t.Segments[i].Start += ticks
	}
	return nil
}
