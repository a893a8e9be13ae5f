package drm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"essaim/internal/cmaf"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// vector is an encrypted track file and what it is when it is decrypted: for decryptors in other languages, of which the web
// player's reads the same files (web/src/player/decrypt.test.ts).
type vector struct {
	File   string `json:"file"`
	Scheme Scheme `json:"scheme"`
	KID    string `json:"kid"`
	Key    string `json:"key"`
	MDAT   string `json:"mdat_sha256"` // of the contents of all mdat boxes in the clear, one after another
}

// TestTheVectorsAreWhatTheyWere holds the files that other decryptors are tested with against the decryptor of this package.
func TestTheVectorsAreWhatTheyWere(t *testing.T) {
	const dir = "testdata/vectors"
	if *update {
		writeVectors(t, dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil || len(list) != 4 {
		t.Fatalf("%d vectors: %v", len(list), err)
	}
	for _, v := range list {
		file, err := os.ReadFile(filepath.Join(dir, v.File))
		if err != nil {
			t.Fatal(err)
		}
		var key [16]byte
		if _, err := hex.Decode(key[:], []byte(v.Key)); err != nil {
			t.Fatal(err)
		}
		x, ok := readProtection(t, file)
		if !ok || x.scheme != string(v.Scheme) || hex.EncodeToString(x.kid[:]) != v.KID {
			t.Errorf("%s: %+v", v.File, x)
		}
		if got := hex.EncodeToString(sum(decrypted(t, file, key)...)); got != v.MDAT {
			t.Errorf("%s: decrypted to %s", v.File, got)
		}
	}
}

func sum(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func writeVectors(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	clear := map[string][]byte{
		"video": encode(t, "testsrc2=s=160x90:r=12:d=4,format=yuv420p", append([]string{
			"-c:v", "libx264", "-preset", "veryfast", "-crf", "40", "-bf", "2", "-g", "24", "-keyint_min", "24", "-sc_threshold", "0", "-slices", "2",
		}, cmaf.MuxArgs(true)...)),
		"audio": encode(t, "sine=frequency=440:sample_rate=16000:duration=4", append([]string{"-c:a", "aac", "-b:a", "8k"}, cmaf.MuxArgs(false)...)),
	}
	var list []vector
	for i, scheme := range []Scheme{CBCS, CENC} {
		for j, kind := range []string{"video", "audio"} {
			random := rand.NewChaCha8([32]byte{byte(i), byte(j)})
			o := Options{Scheme: scheme, Random: random}
			random.Read(o.KID[:])
			random.Read(o.Key[:])
			file := encrypted(t, clear[kind], o)
			name := fmt.Sprintf("%s-%s.mp4", kind, scheme)
			if err := os.WriteFile(filepath.Join(dir, name), file, 0o644); err != nil {
				t.Fatal(err)
			}
			var mdat [][]byte
			for _, b := range boxesIn(t, part{p: clear[kind]}, "mdat") {
				mdat = append(mdat, b.p)
			}
			if len(mdat) < 2 || bytes.Contains(file, mdat[0]) {
				t.Fatalf("%s: %d fragments", name, len(mdat))
			}
			list = append(list, vector{name, scheme, hex.EncodeToString(o.KID[:]), hex.EncodeToString(o.Key[:]), hex.EncodeToString(sum(mdat...))})
		}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "vectors.json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
