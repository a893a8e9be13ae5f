package drm

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ffmpegDecodes is the MD5 of everything that ffmpeg decodes of a file, in the clear or with a key.
func ffmpegDecodes(t *testing.T, file []byte, key string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "track.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-v", "error", "-xerror"}
	if key != "" {
		args = append(args, "-decryption_key", key)
	}
	out, err := exec.Command("ffmpeg", append(args, "-i", name, "-f", "md5", "-")...).CombinedOutput()
	if err != nil {
		return "an error"
	}
	return string(out)
}

// ffmpeg's demuxer knows both schemes (its muxer writes cenc alone, and no fragments' senc), and reads a fragment's entries out of senc or
// through saiz and saio, whichever comes first. What it does not forgive, and browsers do, is an entry that another box describes
// differently: it believes senc's own flag about subsamples, not saiz's sizes, and then decrypts lengths and headers too. A trial
// that it refused failed there; so each fragment's boxes are held against one another in every test (checkAux).
func TestFfmpegDecryptsWhatWasEncrypted(t *testing.T) {
	for _, c := range codecs {
		clear := sample(t, c.name)
		want := ffmpegDecodes(t, clear, "")
		for _, s := range []Scheme{CBCS, CENC} {
			t.Run(fmt.Sprint(c.name, " ", s), func(t *testing.T) {
				o := options(s, 3)
				file := encrypted(t, clear, o)
				if got := ffmpegDecodes(t, file, hex.EncodeToString(o.Key[:])); got != want {
					t.Errorf("decodes to %s, in the clear to %s", got, want)
				}
				o.Key[5]++
				if got := ffmpegDecodes(t, file, hex.EncodeToString(o.Key[:])); got == want {
					t.Error("another key decodes it as well")
				}
			})
		}
	}
}
