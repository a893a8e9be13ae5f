package drm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"essaim/internal/cmaf"
)

// codecs are the codecs that are encrypted, as ffmpeg is told of them: small pictures, B-frames, several slices or tiles.
var codecs = []struct {
	name  string
	video bool
	args  []string
}{
	{"H.264", true, []string{"-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-slices", "3", "-weightp", "2"}},
	{"H.264 baseline", true, []string{"-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0"}},
	{"VP9", true, []string{"-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "5", "-b:v", "300k", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-tile-columns", "1", "-g", "50"}},
	{"AV1 of libaom", true, []string{"-c:v", "libaom-av1", "-cpu-used", "8", "-b:v", "200k", "-lag-in-frames", "19", "-tiles", "2x2", "-g", "50", "-aom-params", "film-grain-test=1"}},
	{"AV1 of SVT", true, []string{"-c:v", "libsvtav1", "-preset", "8", "-b:v", "200k", "-g", "50"}},
	{"AV1 of rav1e", true, []string{"-c:v", "librav1e", "-speed", "10", "-b:v", "200k", "-g", "50"}},
	{"AAC", false, []string{"-c:a", "aac"}},
	{"Opus", false, []string{"-c:a", "libopus"}},
}

var made sync.Map // sample's, by name

// sample is a track file of that codec, of a test picture or a tone.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	if b, ok := made.Load(name); ok {
		return b.([]byte)
	}
	i := slices.IndexFunc(codecs, func(c struct {
		name  string
		video bool
		args  []string
	},
	) bool {
		return c.name == name
	})
	c := codecs[i]
	src := "sine=frequency=440:sample_rate=48000:duration=3"
	if c.video {
		src = "testsrc2=s=192x144:r=25:d=2.4,format=yuv420p"
	}
	b := encode(t, src, append(c.args, cmaf.MuxArgs(c.video)...))
	made.Store(name, b)
	return b
}

func encode(t testing.TB, src string, args []string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is missing: scripts/tools.sh test installs it")
	}
	name := filepath.Join(t.TempDir(), "track.mp4")
	args = append(append([]string{"-v", "error", "-f", "lavfi", "-i", src}, args...), name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// memory is a file in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if n := int(at) + len(p); n > len(m.b) {
		m.b = append(m.b, make([]byte, n-len(m.b))...)
	}
	return copy(m.b[at:], p), nil
}

// options are such as ingest would use, from a seed.
func options(s Scheme, seed byte) Options {
	r := rand.NewChaCha8([32]byte{seed})
	o := Options{Scheme: s, Random: r}
	r.Read(o.KID[:])
	r.Read(o.Key[:])
	return o
}

func encrypted(t testing.TB, clear []byte, o Options) []byte {
	t.Helper()
	var m memory
	if err := Encrypt(t.Context(), &m, bytes.NewReader(clear), int64(len(clear)), o); err != nil {
		t.Fatal(err)
	}
	return m.b
}

func TestEveryByteComesBackWithTheKey(t *testing.T) {
	for _, c := range codecs {
		for _, s := range []Scheme{CBCS, CENC} {
			t.Run(fmt.Sprint(c.name, " ", s), func(t *testing.T) {
				clear := sample(t, c.name)
				o := options(s, 1)
				file := encrypted(t, clear, o)
				x, err := cmaf.Read(bytes.NewReader(file), int64(len(file)))
				if err != nil {
					t.Fatalf("cmaf does not read it: %v", err)
				}
				was, err := cmaf.Read(bytes.NewReader(clear), int64(len(clear)))
				if err != nil {
					t.Fatal(err)
				}
				if x.Scheme != string(s) || x.KID != o.KID || x.Codec != was.Codec || len(x.Segments) != len(was.Segments) || x.End() != was.End() {
					t.Errorf("%s %x %s, %d segments until %d", x.Scheme, x.KID, x.Codec, len(x.Segments), x.End())
				}
				want, got := decrypted(t, clear, o.Key), decrypted(t, file, o.Key)
				if len(want) != len(got) || len(want) < 60 {
					t.Fatalf("%d samples of %d", len(got), len(want))
				}
				for i := range want {
					if !bytes.Equal(want[i], got[i]) {
						t.Fatalf("sample %d differs", i)
					}
				}
				wrong := o.Key
				wrong[0]++
				if slices.EqualFunc(want, decrypted(t, file, wrong), bytes.Equal) {
					t.Error("another key decrypts it as well")
				}
			})
		}
	}
}
