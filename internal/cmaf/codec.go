package cmaf

import (
	"fmt"

	"essaim/internal/cmaf/box"
)

// sampleEntry reads the first entry of a stsd box: what the track holds, and its RFC 6381 codec string.
func (t *Track) sampleEntry(p []byte, depth int) error {
	c := &box.Cursor{P: p}
	c.Full()
	if n := c.U32(); n != 1 || c.Short {
		return box.Malformed("%d sample descriptions, want one", n)
	}
	return box.Children(c.P, 0, depth, func(b box.Box, p []byte, depth int) error {
		c := &box.Cursor{P: p}
		c.Skip(8) // reserved, data reference
		kind, video := b.Kind, true
		switch kind {
		case "avc1", "avc3", "vp09", "av01", "encv":
			c.Skip(16)
			t.Width, t.Height = int(c.U16()), int(c.U16())
			c.Skip(50)
		case "mp4a", "Opus", "enca":
			video = false
			c.Skip(8)
			t.Channels = int(c.U16())
			c.Skip(6)
			t.SampleRate = int(c.U32() >> 16)
		default:
			return unplayable(kind)
		}
		if c.Short {
			return box.Malformed("%q cut short", kind)
		}
		if video != t.Video {
			return box.Malformed("%q in a track of the other kind", kind)
		}
		if kind == "encv" || kind == "enca" {
			var err error
			if kind, err = t.protection(c.P, depth); err != nil {
				return err
			}
		}
		switch kind {
		case "avc1", "avc3", "vp09", "av01", "mp4a":
		case "Opus":
			t.Codec = "opus"
		default:
			return unplayable(kind)
		}
		err := box.Children(c.P, 0, depth, func(b2 box.Box, p []byte, _ int) error { return t.configuration(kind, b2.Kind, p) })
		if err == nil && t.Codec == "" {
			err = box.Malformed("%q without its configuration", kind)
		}
		return err
	})
}

func unplayable(kind string) error {
	return box.Malformed("codec %q is not one that browsers play", kind)
}

// protection reads from an encrypted sample entry's boxes how it is encrypted (ISO/IEC 14496-12, 8.12; ISO/IEC 23001-7, 8.2), and
// returns the kind that the entry had before.
func (t *Track) protection(p []byte, depth int) (kind string, err error) {
	var visit func(b box.Box, p []byte, depth int) error
	visit = func(b box.Box, p []byte, depth int) error {
		c := &box.Cursor{P: p}
		switch b.Kind {
		case "sinf", "schi":
			return box.Children(p, 0, depth, visit)
		case "frma":
			kind = string(c.Take(4))
		case "schm":
			c.Full()
			t.Scheme = string(c.Take(4))
		case "tenc":
			c.Full()
			c.Skip(4) // pattern, protected, IV size
			copy(t.KID[:], c.Take(16))
		}
		if c.Short {
			return box.Malformed("%q cut short", b.Kind)
		}
		return nil
	}
	err = box.Children(p, 0, depth, visit)
	if err == nil && (kind == "" || t.Scheme == "" || t.KID == [16]byte{}) {
		err = box.Malformed("an encrypted track that does not say how")
	}
	return kind, err
}

// configuration turns a decoder configuration into the codec string.
func (t *Track) configuration(entry, kind string, p []byte) error {
	c := &box.Cursor{P: p}
	switch kind {
	case "avcC": // ISO/IEC 14496-15: version, profile, constraints, level
		c.U8()
		a, b, l := c.U8(), c.U8(), c.U8()
		t.Codec = fmt.Sprintf("%s.%02x%02x%02x", entry, a, b, l)
	case "vpcC": // VP Codec ISO Media File Format Binding 1.0
		c.Full()
		profile, level, depth := c.U8(), c.U8(), c.U8()>>4
		t.Codec = fmt.Sprintf("vp09.%02d.%02d.%02d", profile, level, depth)
	case "av1C": // AV1 Codec ISO Media File Format Binding 1.2
		c.U8()
		a, b := c.U8(), c.U8()
		tier, depth := "M", 8
		if b&0x80 != 0 {
			tier = "H"
		}
		if b&0x40 != 0 {
			if depth = 10; b&0x20 != 0 {
				depth = 12
			}
		}
		t.Codec = fmt.Sprintf("av01.%d.%02d%s.%02d", a>>5, a&31, tier, depth)
	case "esds":
		s, err := esds(c)
		if err != nil {
			return err
		}
		t.Codec = s
	default:
		return nil
	}
	if c.Short {
		return box.Malformed("%q cut short", kind)
	}
	return nil
}

// esds reads an elementary stream descriptor (ISO/IEC 14496-1, 7.2.6) as far as the audio object type.
func esds(c *box.Cursor) (string, error) {
	c.Full()
	object := uint8(0)
	for len(c.P) > 0 && !c.Short {
		tag, n := c.U8(), 0
		for range 4 {
			b := c.U8()
			n = n<<7 | int(b&0x7f)
			if b&0x80 == 0 {
				break
			}
		}
		if n > len(c.P) {
			return "", box.Malformed("descriptor %d claims %d bytes", tag, n)
		}
		switch tag {
		case 3: // ES: identifier, flags, and what the flags add
			c.U16()
			flags := c.U8()
			if flags&0x80 != 0 {
				c.U16()
			}
			if flags&0x40 != 0 {
				c.Skip(int(c.U8()))
			}
			if flags&0x20 != 0 {
				c.U16()
			}
		case 4: // decoder configuration
			object = c.U8()
			c.Skip(12)
		case 5: // decoder specific: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2)
			if object != 0x40 {
				return "", box.Malformed("audio of object type %#x is not AAC", object)
			}
			v := c.U16()
			kind := int(v >> 11)
			if kind == 31 {
				kind = 32 + int(v>>5&63)
			}
			if c.Short {
				return "", box.Malformed("audio configuration cut short")
			}
			return fmt.Sprintf("mp4a.40.%d", kind), nil
		default:
			c.Skip(n)
		}
	}
	return "", box.Malformed("no audio configuration")
}
