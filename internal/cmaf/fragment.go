package cmaf

import (
	"encoding/binary"
	"fmt"
	"io"

	"essaim/internal/cmaf/box"
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
	first    int64 // composition offset of the earliest presented sample, from decode
	sync     bool  // the first sample is a sync sample
	bytes    int64 // of all samples
	data     int64 // where the samples begin in the file
	samples  uint32
}

// fragments reads every moof and holds it against the sidx.
func (t *Track) fragments(r io.ReaderAt) error {
	t.found = make([]span, len(t.Segments))
	boxes := 0
	for i, s := range t.Segments {
		seen := 0
		for at := s.From; at < s.To; {
			if boxes++; boxes > box.BoxesMax {
				return box.Malformed("more than %d boxes", box.BoxesMax)
			}
			b, err := box.Read(r, at, s.To)
			if err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
			at = b.End()
			switch b.Kind {
			case "styp", "free":
				continue
			case "moof":
			default:
				return box.Malformed("segment %d begins with %q instead of moof", i, b.Kind)
			}
			p, err := b.Payload(r)
			if err != nil {
				return err
			}
			f, err := t.moof(p, b)
			if err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
			data, err := box.Read(r, at, s.To)
			if err != nil {
				return fmt.Errorf("segment %d: %w", i, err)
			}
			if data.Kind != "mdat" || f.data != data.Offset+data.Header || f.bytes > data.Size-data.Header {
				return box.Malformed("segment %d: samples do not lie in the mdat behind their moof", i)
			}
			at = data.End()
			start := int64(f.decode) + f.first
			if start < 0 {
				return box.Malformed("segment %d begins before its clock", i)
			}
			if seen == 0 {
				if !f.sync {
					return box.Malformed("segment %d does not begin on a key frame", i)
				}
				t.found[i].start = uint64(start)
			}
			t.found[i].end = f.decode + f.duration
			seen++
		}
		if seen == 0 {
			return box.Malformed("segment %d has no fragment", i)
		}
	}
	return nil
}

// A span is when a segment plays according to its fragments, in ticks.
type span struct{ start, end uint64 }

func (t *Track) moof(p []byte, b box.Box) (f fragment, err error) {
	trafs, trexs := 0, t.trex
	visit := func(x box.Box, p []byte, _ int) error {
		c := &box.Cursor{P: p}
		switch x.Kind {
		case "tfhd":
			_, flags := c.Full()
			if id := c.U32(); id != t.trackID {
				return box.Malformed("fragment of track %d", id)
			}
			if flags&1 != 0 {
				return box.Malformed("absolute data offsets")
			}
			if flags&2 != 0 {
				c.U32()
			}
			for bit, v := range []*uint32{&trexs.duration, &trexs.size, &trexs.flags} {
				if flags&(8<<bit) != 0 {
					*v = c.U32()
				}
			}
		case "tfdt":
			v, _ := c.Full()
			f.decode, f.wide = c.Word(v), v > 0
			f.decodeAt = x.Offset + x.Header + 4
			t.decodeAt, t.decode = append(t.decodeAt, f.decodeAt), append(t.decode, f.decode)
			if f.decode > 1<<60 || !f.wide {
				return box.Malformed("decode time out of range")
			}
		case "trun":
			return f.run(c, trexs, b)
		}
		if c.Short {
			return box.Malformed("%q cut short", x.Kind)
		}
		return nil
	}
	err = box.Children(p, b.Offset+b.Header, 0, func(x box.Box, p []byte, depth int) error {
		if x.Kind != "traf" {
			return nil
		}
		trafs++
		return box.Children(p, x.Offset+x.Header, depth, visit)
	})
	if err == nil && (trafs != 1 || f.samples == 0 || f.decodeAt == 0) {
		err = box.Malformed("a fragment of %d tracks and %d samples", trafs, f.samples)
	}
	return f, err
}

// run reads a track run (ISO/IEC 14496-12, 8.8.8).
func (f *fragment) run(c *box.Cursor, d defaults, moof box.Box) error {
	_, flags := c.Full()
	n := c.U32()
	offset := int32(0)
	if flags&1 != 0 {
		offset = int32(c.U32())
	}
	firstFlags, each := uint32(0), 0
	if flags&4 != 0 {
		firstFlags = c.U32()
	}
	for bit := range 4 {
		if flags&(0x100<<bit) != 0 {
			each += 4
		}
	}
	if c.Short || uint64(n)*uint64(each) != uint64(len(c.P)) || n > 1<<22 {
		return box.Malformed("a run of %d samples in %d bytes", n, len(c.P))
	}
	if f.samples == 0 {
		f.data = moof.Offset + int64(offset)
	}
	for i := range n {
		s := d
		for bit, v := range []*uint32{&s.duration, &s.size, &s.flags} {
			if flags&(0x100<<bit) != 0 {
				*v = c.U32()
			}
		}
		if i == 0 && flags&4 != 0 {
			s.flags = firstFlags
		}
		cts := int64(0)
		if flags&0x800 != 0 {
			cts = int64(int32(c.U32()))
		}
		if f.samples == 0 {
			f.sync = s.flags&nonSync == 0
		}
		if at := int64(f.duration) + cts; f.samples == 0 || at < f.first {
			f.first = at
		}
		f.samples++
		f.duration += uint64(s.duration)
		f.bytes += int64(s.size)
	}
	return nil
}

// Settle reads a track file as Read does, but believes its fragments and corrects, in place, what else tells the time: the
// sidx gets the fragments' exact times (ffmpeg's own is short by the samples with which an audio encoder primes itself),
// and everything moves later by delay ticks, for a track that begins after the film does. The file must have the 64-bit
// forms that MuxArgs yields.
func Settle(f interface {
	io.ReaderAt
	io.WriterAt
}, size int64, delay uint64,
) (*Track, error) {
	t, err := read(f, size)
	if err != nil {
		return nil, err
	}
	return t, t.settle(f, delay)
}

func (t *Track) settle(f interface {
	io.ReaderAt
	io.WriterAt
}, delay uint64,
) error {
	if delay > 1<<50 {
		return box.Malformed("a delay of %d ticks", delay)
	}
	head := make([]byte, t.IndexTo-t.IndexFrom)
	if _, err := f.ReadAt(head, t.IndexFrom); err != nil {
		return fmt.Errorf("read sidx: %w", err)
	}
	if head[8] == 0 || len(head) != sidxHead+12*len(t.Segments) {
		return box.Malformed("a sidx in another form than ours")
	}
	for i := range t.Segments {
		s := &t.Segments[i]
		s.Start = t.found[i].start + delay
		end := t.found[i].end + delay
		if i+1 < len(t.found) {
			end = t.found[i+1].start + delay
		}
		if end <= s.Start || end-s.Start > 1<<31 {
			return box.Malformed("segment %d does not end after it begins", i)
		}
		s.Duration = end - s.Start
		binary.BigEndian.PutUint32(head[sidxHead+12*i+4:], uint32(s.Duration))
	}
	binary.BigEndian.PutUint64(head[20:], t.Segments[0].Start)
	if _, err := f.WriteAt(head, t.IndexFrom); err != nil {
		return fmt.Errorf("write sidx: %w", err)
	}
	if delay == 0 {
		return nil
	}
	for i, at := range t.decodeAt {
		t.decode[i] += delay
		if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, t.decode[i]), at); err != nil {
			return fmt.Errorf("write decode time: %w", err)
		}
	}
	for i := range t.found {
		t.found[i].start += delay
		t.found[i].end += delay
	}
	return nil
}

// sidxHead is the length of a version 1 sidx box before its references: box header 8, version and flags 4, reference 4, timescale
// 4, earliest presentation time 8, first offset 8, count 4.
const sidxHead = 40
