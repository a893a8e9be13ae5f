package main

import (
	"bufio"
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

// ingestProcess runs essaim ingest in a process of its own, which is killed when it writes a line that begins with until.
func ingestProcess(t *testing.T, until string, args ...string) (out, log string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"ingest"}, args...)...)
	var text bytes.Buffer
	cmd.Stdout = &text
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		log += lines.Text() + "\n"
		if until != "" && strings.HasPrefix(lines.Text(), until) {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	err = cmd.Wait() // before it, what was written may not be there
	return text.String(), log, err
}

func TestKilledIngestIsListedResumedAndCancelled(t *testing.T) {
	dir := t.TempDir()
	film, data := filepath.Join(dir, "film.mkv"), filepath.Join(dir, "data")
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x720:r=25:d=4", "-f", "lavfi", "-i", "sine=d=4", "-c:v", "mpeg2video", "-c:a", "ac3", film}
	if b, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, b)
	}
	jobs := func() []ingestJob {
		t.Helper()
		out, log, err := ingestProcess(t, "", "--data", data, "--list", "--json")
		var l ingestList
		if err != nil || json.Unmarshal([]byte(out), &l) != nil || strings.Count(out, "\n") != 1 {
			t.Fatalf("list: %v in %q, %q", err, out, log)
		}
		return l.Jobs
	}
	if _, log, err := ingestProcess(t, "encoding 480p", film, "--data", data, "--preset", "ultrafast"); err == nil {
		t.Fatalf("not killed: %s", log)
	}
	found := jobs()
	if len(found) != 1 || found[0].State != "stopped" || found[0].Title != "film" || found[0].File != film {
		t.Fatalf("jobs %+v", found)
	}
	if _, log, err := ingestProcess(t, "encrypting", "--data", data, "--resume"); err == nil || strings.Contains(log, "encoding 720p") {
		t.Fatalf("resumed: %v: %s", err, log)
	}
	out, log, err := ingestProcess(t, "", film, "--data", data, "--preset", "ultrafast", "--json") // the same again goes on
	var r ingestReport
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || len(r.Files) != 3 || !strings.Contains(log, "Going on with job "+found[0].ID) || strings.Contains(log, "encoding") {
		t.Fatalf("resumed: %v: %q, %s", err, out, log)
	}
	if found := jobs(); len(found) != 1 || found[0].State != "done" {
		t.Errorf("jobs %+v", found)
	}
	if _, _, err := ingestProcess(t, "encoding 480p", film, "--data", data, "--title", "Another"); err == nil {
		t.Fatal("not killed")
	}
	found = jobs()
	if len(found) != 2 {
		t.Fatalf("jobs %+v", found)
	}
	if _, log, err := ingestProcess(t, "", "--data", data, "--cancel", found[1].ID); err != nil {
		t.Errorf("cancel: %v: %s", err, log)
	}
	if found := jobs(); len(found) != 1 {
		t.Errorf("jobs %+v", found)
	}
	if _, err := os.Stat(filepath.Join(data, "tmp")); !os.IsNotExist(err) {
		t.Errorf("working folder left behind: %v", err)
	}
	if _, log, err := ingestProcess(t, "", "--data", data, "--resume"); err == nil || !strings.Contains(log, "no unfinished job") {
		t.Errorf("resume: %v: %s", err, log)
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
