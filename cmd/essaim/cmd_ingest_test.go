package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

// ingestOutput runs the command and returns what it wrote.
func ingestOutput(t *testing.T, c ingestCmd) (out, log string, err error) {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	err = c.run(context.Background(), files[0], files[1])
	var text [2]string
	for i, f := range files {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return text[0], text[1], err
}

func TestIngestWritesOneJSONObject(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is missing: scripts/tools.sh test installs it")
	}
	dir := t.TempDir()
	film := filepath.Join(dir, "film.mp4")
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x54:r=25:d=5", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", film}
	if b, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, b)
	}
	out, log, err := ingestOutput(t, ingestCmd{Film: film, Title: "Cinq secondes", Data: filepath.Join(dir, "data"), JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	var r ingestReport
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("%v in %q", err, out)
	}
	if r.ID != "cinq-secondes" || len(r.InfoHashV1) != 40 || len(r.InfoHashV2) != 64 || r.Open || r.Reencoded || r.DurationMs != 5000 {
		t.Errorf("%+v", r)
	}
	if len(r.Files) != 1 || r.Files[0].Path != "video-54p.mp4" || r.Files[0].Size == 0 || len(r.Files[0].Root) != 64 {
		t.Errorf("files %+v", r.Files)
	}
	if r.Scheme != vod.CBCS || !strings.Contains(log, "Members only, encrypted (cbcs)") {
		t.Errorf("does not say what members-only means: %q", log)
	}
}

func TestIngestOfWhatIsNoFilmMakesNoDataFolder(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is missing: scripts/tools.sh test installs it")
	}
	dir := t.TempDir()
	film, data := filepath.Join(dir, "film.mp4"), filepath.Join(dir, "data")
	if err := os.WriteFile(film, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, log, err := ingestOutput(t, ingestCmd{Film: film, Data: data, JSON: true})
	if err == nil || out != "" || log != "" || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, wrote %q and %q", err, out, log)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Error("the data folder was made")
	}
}

func TestIngestProgressIsSparseWithoutATerminal(t *testing.T) {
	var log bytes.Buffer
	at := time.Unix(0, 0)
	show := lineProgress(&log, func() time.Time { at = at.Add(time.Second); return at })
	for i := range 31 {
		show("encoding", float64(i)/40)
	}
	show("hashing", 0)
	if got := log.String(); got != "encoding\nencoding: 25 %, 30s left\nencoding: 50 %, 20s left\nencoding: 75 %, 10s left\nhashing\n" {
		t.Errorf("wrote %q", got)
	}
}
