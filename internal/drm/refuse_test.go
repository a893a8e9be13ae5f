package drm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"essaim/internal/cmaf"
	"essaim/internal/cmaf/box"
)

func TestOddFilesAreRefusedInOneLine(t *testing.T) {
	whole := sample(t, "H.264")
	at := func(s string) int { return bytes.Index(whole, []byte(s)) }
	for name, change := range map[string]func(b []byte) []byte{
		"empty":                   func([]byte) []byte { return nil },
		"truncated":               func(b []byte) []byte { return b[:len(b)-100] },
		"cut behind the moov":     func(b []byte) []byte { return b[:at("sidx")-4] },
		"encrypted already":       func(b []byte) []byte { return encrypted(t, b, options(CBCS, 1)) },
		"an unknown codec":        func(b []byte) []byte { copy(b[at("avc1\x00\x00\x00\x00"):], "hev1"); return b },
		"no configuration":        func(b []byte) []byte { copy(b[at("avcC"):], "free"); return b },
		"no mdat":                 func(b []byte) []byte { copy(b[at("mdat"):], "free"); return b },
		"two tracks in one moof":  func(b []byte) []byte { copy(b[at("mfhd"):], "traf"); return b },
		"samples in another file": func(b []byte) []byte { binary.BigEndian.PutUint32(b[at("trun")+12:], 1<<30); return b },
		"samples before the mdat": func(b []byte) []byte { binary.BigEndian.PutUint32(b[at("trun")+12:], 8); return b },
		"a huge run":              func(b []byte) []byte { binary.BigEndian.PutUint32(b[at("trun")+8:], 1<<31); return b },
		"a NAL unit too long":     func(b []byte) []byte { binary.BigEndian.PutUint32(b[at("mdat")+4:], 1<<20); return b },
		"a slice without its set": func(b []byte) []byte { copy(b[at("avcC")+9:], "\xe0\x00"); return b },
		"segments that overlap":   func(b []byte) []byte { b[at("sidx")+4+4+4+4+8+8+4+3]++; return b },
		"a sample too large":      func(b []byte) []byte { binary.BigEndian.PutUint32(b[at("trun")+20:], 1<<28); return b },
	} {
		t.Run(name, func(t *testing.T) {
			b := change(bytes.Clone(whole))
			err := Encrypt(t.Context(), &memory{}, bytes.NewReader(b), int64(len(b)), options(CBCS, 2))
			if !errors.Is(err, box.ErrMalformed) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPicturesInTooManyPartsAreRefusedAndNotLeftInTheClear(t *testing.T) {
	b := encode(t, "testsrc2=s=64x720:r=10:d=2.2,format=yuv420p", append([]string{
		"-c:v", "libx264", "-preset", "ultrafast", "-slices", "45", "-g", "20",
	}, cmaf.MuxArgs(true)...))
	err := Encrypt(t.Context(), &memory{}, bytes.NewReader(b), int64(len(b)), options(CENC, 1))
	if !errors.Is(err, box.ErrMalformed) || !strings.Contains(err.Error(), "encoded anew") {
		t.Errorf("error %v", err)
	}
}

func TestEncryptionNeedsASchemeAndAKey(t *testing.T) {
	b := sample(t, "AAC")
	for name, o := range map[string]Options{
		"no scheme":      {KID: [16]byte{1}, Key: [16]byte{1}},
		"another scheme": {Scheme: "cens", KID: [16]byte{1}, Key: [16]byte{1}},
		"no key":         {Scheme: CBCS, KID: [16]byte{1}},
		"no name":        {Scheme: CBCS, Key: [16]byte{1}},
		"no randomness":  {Scheme: CBCS, KID: [16]byte{1}, Key: [16]byte{1}, Random: bytes.NewReader(nil)},
	} {
		if err := Encrypt(t.Context(), &memory{}, bytes.NewReader(b), int64(len(b)), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Encrypt(ctx, &memory{}, bytes.NewReader(b), int64(len(b)), options(CBCS, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("broken off: %v", err)
	}
}

func TestPSSHNamesAllKeysAndStandsBesideOthers(t *testing.T) {
	o := options(CBCS, 1)
	other := append([]byte("\x00\x00\x00\x24pssh\x00\x00\x00\x00"), bytes.Repeat([]byte{0xed}, 24)...)
	o.KIDs = [][16]byte{o.KID, {9: 9}}
	o.PSSH = [][]byte{other}
	file := encrypted(t, sample(t, "Opus"), o)
	found := boxesIn(t, one(t, part{p: file}, "moov"), "pssh")
	if len(found) != 2 || !bytes.Equal(file[found[1].at-8:found[1].at-8+len(other)], other) {
		t.Fatalf("%d pssh boxes", len(found))
	}
	// https://www.w3.org/TR/eme-initdata-cenc/#common-system: version 1, the system's ID, the KIDs, no data.
	want := "\x01\x00\x00\x00\x10\x77\xef\xec\xc0\xb2\x4d\x02\xac\xe3\x3c\x1e\x52\xe2\xfb\x4b\x00\x00\x00\x02" + string(o.KID[:]) + string(o.KIDs[1][:]) + "\x00\x00\x00\x00"
	if got := string(found[0].p); got != want || found[0].at == 0 || len(got)+8 != 68 {
		t.Errorf("common box %x", got)
	}
}

// FuzzEncrypt looks for input that the encryptor dies of, or accepts and writes as something that is not read back.
func FuzzEncrypt(f *testing.F) {
	for _, c := range codecs {
		b := sample(f, c.name)
		f.Add(b[:min(len(b), 6000)], false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, cenc bool) {
		s := CBCS
		if cenc {
			s = CENC
		}
		o := options(s, 1)
		var m memory
		if Encrypt(t.Context(), &m, bytes.NewReader(b), int64(len(b)), o) != nil {
			return
		}
		if _, err := cmaf.Read(bytes.NewReader(b), int64(len(b))); err != nil {
			return
		}
		if _, err := cmaf.Read(bytes.NewReader(m.b), int64(len(m.b))); err != nil {
			t.Fatalf("what was a track file is none any more: %v", err)
		}
	})
}

// FuzzSamples feeds the codecs' parsers with samples that nobody encoded.
func FuzzSamples(f *testing.F) {
	var splitters []func() splitter
	for _, c := range codecs {
		if !c.video {
			continue
		}
		b := sample(f, c.name)
		e, err := newEncryptor(options(CBCS, 1))
		if err != nil {
			f.Fatal(err)
		}
		moov := one(f, part{p: b}, "moov").p
		if _, err := e.moov(moov); err != nil {
			f.Fatal(err)
		}
		splitters = append(splitters, func() splitter {
			e := &encryptor{o: e.o}
			_, _ = e.moov(moov)
			return e.track.split
		})
		list := samplesIn(f, b)
		for _, s := range list[:min(len(list), 3)] {
			f.Add(uint8(len(splitters)-1), s.p, list[1].p)
		}
	}
	f.Fuzz(func(t *testing.T, codec uint8, first, second []byte) {
		split := splitters[int(codec)%len(splitters)]()
		for _, s := range []Scheme{CBCS, CENC} {
			var l layout
			l.reset(s, true)
			for _, p := range [][]byte{first, second} {
				l.begin()
				if split.split(p, &l) != nil {
					return
				}
				ranges, err := l.end(0, len(p))
				if err != nil {
					return
				}
				at := 0
				for _, r := range ranges {
					if r.from < at || r.to > len(p) || s == CENC && (r.to-r.from)%16 != 0 {
						t.Fatalf("ranges %v of a sample of %d", ranges, len(p))
					}
					at = r.to
				}
			}
		}
	})
}
