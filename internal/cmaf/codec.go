package cmaf

import "fmt"

// sampleEntry reads the first entry of a stsd box: what the track holds, and its RFC 6381 codec string.
func (t *Track) sampleEntry(p []byte, depth int) error {
	c := &cursor{p: p}
	c.full()
	if n := c.u32(); n != 1 || c.short {
		return malformed("%d sample descriptions, want one", n)
	}
	return children(c.p, 0, depth, func(b box, p []byte, depth int) error {
		c := &cursor{p: p}
		c.skip(8) // reserved, data reference
		video := true
		switch b.kind {
		case "avc1", "avc3", "vp09", "av01":
			c.skip(16)
			t.Width, t.Height = int(c.u16()), int(c.u16())
			c.skip(50)
		case "mp4a", "Opus":
			video = false
			c.skip(8)
			t.Channels = int(c.u16())
			c.skip(6)
			t.SampleRate = int(c.u32() >> 16)
		default:
			return malformed("codec %q is not one that browsers play", b.kind)
		}
		if c.short {
			return malformed("%q cut short", b.kind)
		}
		if video != t.Video {
			return malformed("%q in a track of the other kind", b.kind)
		}
		if b.kind == "Opus" {
			t.Codec = "opus"
		}
		err := children(c.p, 0, depth, func(b2 box, p []byte, _ int) error { return t.configuration(b.kind, b2.kind, p) })
		if err == nil && t.Codec == "" {
			err = malformed("%q without its configuration", b.kind)
		}
		return err
	})
}

// configuration turns a decoder configuration into the codec string.
func (t *Track) configuration(entry, kind string, p []byte) error {
	c := &cursor{p: p}
	switch kind {
	case "avcC": // ISO/IEC 14496-15: version, profile, constraints, level
		c.u8()
		a, b, l := c.u8(), c.u8(), c.u8()
		t.Codec = fmt.Sprintf("%s.%02x%02x%02x", entry, a, b, l)
	case "vpcC": // VP Codec ISO Media File Format Binding 1.0
		c.full()
		profile, level, depth := c.u8(), c.u8(), c.u8()>>4
		t.Codec = fmt.Sprintf("vp09.%02d.%02d.%02d", profile, level, depth)
	case "av1C": // AV1 Codec ISO Media File Format Binding 1.2
		c.u8()
		a, b := c.u8(), c.u8()
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
	if c.short {
		return malformed("%q cut short", kind)
	}
	return nil
}

// esds reads an elementary stream descriptor (ISO/IEC 14496-1, 7.2.6) as far as the audio object type.
func esds(c *cursor) (string, error) {
	c.full()
	object := uint8(0)
	for len(c.p) > 0 && !c.short {
		tag, n := c.u8(), 0
		for range 4 {
			b := c.u8()
			n = n<<7 | int(b&0x7f)
			if b&0x80 == 0 {
				break
			}
		}
		if n > len(c.p) {
			return "", malformed("descriptor %d claims %d bytes", tag, n)
		}
		switch tag {
		case 3: // ES: identifier, flags, and what the flags add
			c.u16()
			flags := c.u8()
			if flags&0x80 != 0 {
				c.u16()
			}
			if flags&0x40 != 0 {
				c.skip(int(c.u8()))
			}
			if flags&0x20 != 0 {
				c.u16()
			}
		case 4: // decoder configuration
			object = c.u8()
			c.skip(12)
		case 5: // decoder specific: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2)
			if object != 0x40 {
				return "", malformed("audio of object type %#x is not AAC", object)
			}
			v := c.u16()
			kind := int(v >> 11)
			if kind == 31 {
				kind = 32 + int(v>>5&63)
			}
			if c.short {
				return "", malformed("audio configuration cut short")
			}
			return fmt.Sprintf("mp4a.40.%d", kind), nil
		default:
			c.skip(n)
		}
	}
	return "", malformed("no audio configuration")
}
