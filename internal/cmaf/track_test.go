package cmaf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sample is a track file made by ffmpeg from a test picture or a tone.
func sample(t testing.TB, video bool, codec ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is missing: scripts/tools.sh test installs it")
	}
	src := "sine=frequency=440:sample_rate=48000:duration=7"
	if video {
		src = "testsrc2=s=96x64:r=25:d=7"
	}
	name := filepath.Join(t.TempDir(), "track.mp4")
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", src}, codec...)
	args = append(append(args, MuxArgs(video)...), name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var h264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0"}

func readAll(t testing.TB, b []byte) *Track {
	t.Helper()
	x, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestReadTellsWhatFfmpegWrote(t *testing.T) {
	for _, c := range []struct {
		name, codec string
		video       bool
		args        []string
	}{
		{"H.264", "avc1.", true, h264},
		{"VP9", "vp09.00.", true, []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p", "-g", "50"}},
		{"AAC", "mp4a.40.2", false, []string{"-c:a", "aac"}},
		{"Opus", "opus", false, []string{"-c:a", "libopus"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := sample(t, c.video, c.args...)
			x := readAll(t, b)
			if !strings.HasPrefix(x.Codec, c.codec) || x.Video != c.video {
				t.Errorf("codec %q, video %v", x.Codec, x.Video)
			}
			if c.video && (x.Width != 96 || x.Height != 64) || !c.video && x.SampleRate != 48000 {
				t.Errorf("%d×%d, %d Hz", x.Width, x.Height, x.SampleRate)
			}
			if len(x.Segments) < 4 || x.Segments[0].From != x.IndexTo || x.Segments[len(x.Segments)-1].To != int64(len(b)) {
				t.Errorf("segments %v", x.Segments)
			}
			if string(b[x.IndexFrom+4:x.IndexFrom+8]) != "sidx" || string(b[4:8]) != "ftyp" || x.InitEnd > x.IndexFrom {
				t.Error("ranges are off")
			}
			index := x.Index(0)
			for i, s := range index {
				if string(b[s.From+4:s.From+8]) != "moof" {
					t.Errorf("segment %d does not begin with moof", i)
				}
				if i > 0 && (s.From != index[i-1].To || s.StartMs != index[i-1].StartMs+index[i-1].DurationMs) {
					t.Errorf("gap before segment %d: %v %v", i, index[i-1], s)
				}
			}
			if last := index[len(index)-1]; last.StartMs+last.DurationMs < 6950 || last.StartMs+last.DurationMs > 7080 {
				t.Errorf("ends at %d ms", last.StartMs+last.DurationMs)
			}
		})
	}
}

// file is a byte slice that Settle can write to.
type file struct {
	*bytes.Reader
	b []byte
}

func (f file) WriteAt(p []byte, at int64) (int, error) { return copy(f.b[at:], p), nil }

func TestSettleMakesTheIndexExactAndMovesTheTrack(t *testing.T) {
	b := sample(t, false, "-c:a", "aac")
	x := readAll(t, b)
	if _, err := Settle(file{bytes.NewReader(b), b}, x.Size, 0); err != nil {
		t.Fatal(err)
	}
	y := readAll(t, b)
	for i, s := range y.Segments {
		if s.Start != y.found[i].start {
			t.Errorf("segment %d: index says %d, fragments %d", i, s.Start, y.found[i].start)
		}
	}
	if _, err := Settle(file{bytes.NewReader(b), b}, x.Size, 24000); err != nil {
		t.Fatal(err)
	}
	z := readAll(t, b)
	if z.Segments[0].Start != 24000 || z.found[2].start != y.found[2].start+24000 || z.End() != y.End()+24000 {
		t.Errorf("moved to %d…%d, was %d…%d", z.Segments[0].Start, z.End(), x.Segments[0].Start, x.End())
	}
	if got := z.Index(0)[0].StartMs; got != 500 {
		t.Errorf("first segment at %d ms", got)
	}
	if i := z.Index(24000 + 48000); i[0].StartMs != 0 || i[0].DurationMs >= 2000 || i[1].StartMs != i[0].DurationMs {
		t.Errorf("with a later beginning: %v", i[:2])
	}
}

func TestReadRefusesWhatPlayersWouldStumbleOver(t *testing.T) {
	whole := sample(t, true, h264...)
	x := readAll(t, whole)
	at := func(s string) int { return bytes.Index(whole, []byte(s)) }
	second := int(x.Segments[1].From)
	for name, change := range map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"truncated":         func(b []byte) []byte { return b[:len(b)-100] },
		"cut in the index":  func(b []byte) []byte { return b[:x.IndexFrom+30] },
		"bytes at the end":  func(b []byte) []byte { return append(b, 0, 0, 0, 8, 'f', 'r', 'e', 'e') },
		"no moof":           func(b []byte) []byte { copy(b[second+4:], "mooX"); return b },
		"no key frame":      func(b []byte) []byte { b[bytes.Index(b[second:], []byte("trun"))+second+13] |= 1; return b },
		"sizes that differ": func(b []byte) []byte { b[x.IndexFrom+43]++; return b },
		"index without SAP": func(b []byte) []byte { b[x.IndexFrom+48] = 0; return b },
		"index of indexes":  func(b []byte) []byte { b[x.IndexFrom+40] |= 0x80; return b },
		"another clock":     func(b []byte) []byte { b[x.IndexFrom+19]++; return b },
		"moved in time":     func(b []byte) []byte { b[bytes.Index(b[second:], []byte("tfdt"))+second+10]++; return b },
		"unknown codec":     func(b []byte) []byte { copy(b[at("avc1"+"\x00\x00\x00\x00"):], "zzzz"); return b },
		"an edit list":      func(b []byte) []byte { copy(b[at("tkhd"):], "edts"); return b },
		"huge 64-bit size": func(b []byte) []byte {
			copy(b[second:], "\x00\x00\x00\x01moof\xff\xff\xff\xff\xff\xff\xff\xff")
			return b
		},
		"more samples":       func(b []byte) []byte { b[bytes.Index(b[second:], []byte("trun"))+second+8] = 0xff; return b },
		"a box of no length": func(b []byte) []byte { copy(b[second:], "\x00\x00\x00\x04moof"); return b },
	} {
		t.Run(name, func(t *testing.T) {
			b := change(bytes.Clone(whole))
			if _, err := Read(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	if _, err := exec.LookPath("ffmpeg"); err == nil {
		b := sample(f, false, "-c:a", "aac", "-b:a", "16k")
		f.Add(b)
		x := readAll(f, b)
		f.Add(b[:x.IndexTo])
		f.Add(sample(f, true, h264...)[:4000])
	}
	f.Add([]byte("\x00\x00\x00\x10ftypiso6\x00\x00\x00\x00\x00\x00\x00\x01moov\x00\x00\x00\x00\x00\x00\x00\x20"))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if len(x.Segments) == 0 || x.Timescale == 0 || x.Codec == "" {
			t.Fatalf("accepted %+v", x)
		}
		x.Index(x.Segments[0].Start)
		x.Bandwidth()
		if _, err := Manifest([]Entry{{Path: "a.mp4", Track: x}}); err != nil && x.Video {
			t.Fatal(err)
		}
	})
}

func TestManifestNamesExactRanges(t *testing.T) {
	v, a := sample(t, true, h264...), sample(t, false, "-c:a", "aac")
	tv, ta := readAll(t, v), readAll(t, a)
	m, err := Manifest([]Entry{{"audio.mp4", ta, 1024, "fr"}, {"video-64p.mp4", tv, 0, ""}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"`, `type="static"`, `mediaPresentationDuration="PT7S"`,
		`<Representation id="video-64p" codecs="` + tv.Codec + `"`, `<BaseURL>video-64p.mp4</BaseURL>`, `width="96" height="64"`,
		`mimeType="video/mp4"`, `mimeType="audio/mp4" lang="fr"`, `subsegmentAlignment="true" subsegmentStartsWithSAP="1" startWithSAP="1"`,
		`timescale="48000" presentationTimeOffset="1024"`,
		fmt.Sprintf(`indexRange="%d-%d"`, tv.IndexFrom, tv.IndexTo-1), fmt.Sprintf(`<Initialization range="0-%d"`, ta.InitEnd-1),
	} {
		if !strings.Contains(m, want) {
			t.Errorf("no %s in\n%s", want, m)
		}
	}
	m, err = Manifest([]Entry{{"audio-10.mp4", ta, 0, "x"}, {"audio-2.mp4", ta, 0, "fr"}, {"audio.mp4", ta, 0, "en"}, {"video-64p.mp4", tv, 0, ""}})
	if en, fr, x := strings.Index(m, `lang="en"`), strings.Index(m, `lang="fr"`), strings.Index(m, `lang="x"`); err != nil || en < 0 || en > fr || fr > x {
		t.Errorf("the film's own order of sounds is lost (%v):\n%s", err, m)
	}
	if _, err := Manifest([]Entry{{Path: "audio.mp4", Track: ta}}); err == nil {
		t.Error("a manifest without video was written")
	}
}

func TestBandwidthIsThatOfTheDensestTenSeconds(t *testing.T) {
	x := &Track{Timescale: 1000}
	at, start := int64(0), uint64(0)
	for i := range 30 { // two-second segments of 10 kB, six of 50 kB in the middle
		size := int64(10_000)
		if i >= 10 && i < 16 {
			size = 50_000
		}
		x.Segments = append(x.Segments, Segment{at, at + size, start, 2000})
		at, start = at+size, start+2000
	}
	if got := x.Bandwidth(); got != 200_000 {
		t.Errorf("%d bit/s, want 200000", got)
	}
	x.Segments = x.Segments[:2]
	if got := x.Bandwidth(); got != 40_000 {
		t.Errorf("%d bit/s of a short track, want 40000", got)
	}
}
