package drm

import (
	"encoding/binary"

	"essaim/internal/cmaf/box"
)

// A track is what the moov says of the one track.
type track struct {
	kind  string // of the sample entry in the clear, for instance "avc1"
	video bool
	id    uint32
	size  uint32 // of a sample, by default
	split splitter
}

// commonSystem is the system ID of the W3C's Common PSSH box.
var commonSystem = [16]byte{0x10, 0x77, 0xef, 0xec, 0xc0, 0xb2, 0x4d, 0x02, 0xac, 0xe3, 0x3c, 0x1e, 0x52, 0xe2, 0xfb, 0x4b}

// Common is the W3C's Common PSSH box (https://www.w3.org/TR/eme-initdata-cenc/, 4) for keys of these names.
func Common(kids [][16]byte) []byte {
	p := append([]byte{1, 0, 0, 0}, commonSystem[:]...)
	p = binary.BigEndian.AppendUint32(p, uint32(len(kids)))
	for _, k := range kids {
		p = append(p, k[:]...)
	}
	return boxOf("pssh", p, make([]byte, 4))
}

// moov reads the track's description and returns it, the whole box, as that of an encrypted track.
func (e *encryptor) moov(p []byte) ([]byte, error) {
	if e.track.kind != "" {
		return nil, box.Malformed("a second moov")
	}
	out, err := e.describe("moov", p, 0)
	if err != nil {
		return nil, err
	}
	if e.track.kind == "" || e.track.id == 0 {
		return nil, box.Malformed("a file without a track's description")
	}
	return out, nil
}

// describe rewrites a box of the moov, its content p.
func (e *encryptor) describe(kind string, p []byte, depth int) ([]byte, error) {
	c := &box.Cursor{P: p}
	switch kind {
	case "moov", "trak", "mdia", "minf", "stbl", "mvex":
		out := header(kind, 8)
		err := box.Children(p, 0, depth, func(b box.Box, p []byte, depth int) error {
			if b.Kind == "pssh" {
				return box.Malformed("the file is encrypted already")
			}
			child, err := e.describe(b.Kind, p, depth)
			out = append(out, child...)
			return err
		})
		if kind == "moov" {
			out = append(out, Common(e.o.KIDs)...)
			for _, pssh := range e.o.PSSH {
				out = append(out, pssh...)
			}
		}
		binary.BigEndian.PutUint32(out, uint32(len(out)))
		return out, err
	case "tkhd":
		if e.track.id != 0 {
			return nil, box.Malformed("more than one track")
		}
		v, _ := c.Full()
		c.Word(v)
		c.Word(v)
		e.track.id = c.U32()
	case "trex":
		c.Skip(16)
		e.track.size = c.U32()
	case "stsd":
		c.Full()
		if n := c.U32(); n != 1 || c.Short || e.track.kind != "" {
			return nil, box.Malformed("%d sample descriptions, want one", n)
		}
		b, err := box.Parse(c.P, int64(len(c.P)))
		if err != nil {
			return nil, err
		}
		entry, err := e.entry(b.Kind, c.P[b.Header:b.Size])
		return boxOf("stsd", p[:8], entry), err
	}
	if c.Short {
		return nil, box.Malformed("%q cut short", kind)
	}
	return boxOf(kind, p), nil
}

// entry reads a sample entry and returns its encrypted form (ISO/IEC 14496-12, 8.12): the same box under another name, with a sinf
// behind that says what it was and how it is encrypted.
func (e *encryptor) entry(kind string, p []byte) ([]byte, error) {
	t := &e.track
	t.kind = kind
	configuration, fields, name := "", 78, "encv"
	switch kind {
	case "avc1", "avc3":
		configuration = "avcC"
	case "vp09":
		configuration = "vpcC"
	case "av01":
		configuration = "av1C"
	case "mp4a", "Opus":
		fields, name = 28, "enca"
	case "encv", "enca":
		return nil, box.Malformed("the file is encrypted already")
	default:
		return nil, box.Malformed("no way is known to encrypt %q", kind)
	}
	t.video = name == "encv"
	if len(p) < fields {
		return nil, box.Malformed("%q cut short", kind)
	}
	found := false
	err := box.Children(p[fields:], 0, 4, func(b box.Box, p []byte, _ int) (err error) {
		if b.Kind == configuration {
			found = true
			t.split, err = newSplitter(kind, p)
		}
		return err
	})
	if err == nil && !found && configuration != "" {
		err = box.Malformed("%q without its configuration", kind)
	}
	if err != nil {
		return nil, err
	}
	sinf := boxOf("sinf",
		boxOf("frma", []byte(kind)),
		boxOf("schm", make([]byte, 4), []byte(e.o.Scheme), []byte{0, 1, 0, 0}),
		boxOf("schi", e.tenc()))
	return boxOf(name, p, sinf), nil
}

// newSplitter is who knows a video codec's samples; record is the codec's configuration record.
func newSplitter(kind string, record []byte) (splitter, error) {
	switch kind {
	case "avc1", "avc3":
		return newH264(record)
	case "vp09":
		return &vp9{}, nil
	case "av01":
		return newAV1(record)
	}
	return nil, box.Malformed("no way is known to encrypt %q", kind)
}

// tenc is the Track Encryption box (ISO/IEC 23001-7, 8.2).
func (e *encryptor) tenc() []byte {
	p := []byte{0, 0, 0, 0, 0, 0, 1, ivSize}
	if e.o.Scheme == CBCS {
		p[0] = 1 // version: has a pattern
		if e.track.video {
			p[5] = cryptBlocks<<4 | skipBlocks
		}
		p[7] = 0 // no IV of the sample's own
	}
	p = append(p, e.o.KID[:]...)
	if e.o.Scheme == CBCS {
		p = append(append(p, 16), e.fixed[:]...)
	}
	return boxOf("tenc", p)
}
