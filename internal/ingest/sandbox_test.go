package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test's own program is what runs in the sandbox in some of the tests: its first argument says what it does there.
var inside = map[string]func(canary string){
	"escape": tryToEscape,
	"memory": func(string) {
		var kept [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
			if len(kept) > 1<<12 {
				return
			}
		}
	},
	"cpu": func(string) {
		for n := 0; ; n++ {
			_ = n
		}
	},
	"still": func(string) { time.Sleep(time.Hour) },
	"output": func(string) {
		f, err := os.Create(filepath.Join(insideWork, "endless"))
		if err != nil {
			panic(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	},
}

// tryToEscape does what a film that has taken over ffmpeg would try, and tells what came of each.
func tryToEscape(canary string) {
	got := map[string]string{}
	try := func(name string, err error) {
		got[name] = "done"
		if err != nil {
			got[name] = err.Error()
		}
	}
	_, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	try("socket", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	try("local socket", err)
	try("ptrace", unix.PtraceAttach(1))
	try("mount", unix.Mount("none", insideWork, "tmpfs", 0, ""))
	try("user namespace", unix.Unshare(unix.CLONE_NEWUSER))
	try("process", exec.Command("/usr/bin/true").Run())
	_, err = unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	try("keys", err)
	for name, path := range map[string]string{"write to the root": "/x", "write to the system": "/usr/x", "write beside the film": "/film/x", "write the film": insideFilm} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
		}
		try(name, err)
	}
	for name, path := range map[string]string{"canary": canary, "accounts": "/etc/passwd", "home": "/root", "processes": "/proc/1", "temporary files": "/tmp"} {
		_, err := os.Stat(path)
		try(name, err)
	}
	b, err := os.ReadFile(insideFilm)
	try("read the film", err)
	try("work", os.WriteFile(filepath.Join(insideWork, "made"), b, 0o600))
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		got["environment"] += name + " "
	}
	never, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	got["no new privileges"] = fmt.Sprint(never, err)
	_ = json.NewEncoder(os.Stdout).Encode(got)
}

// boxed are the tools with a sandbox, which the tests need: it is part of what they claim.
func boxed(t *testing.T) tools {
	t.Helper()
	found, err := findTools(t.Context(), false)
	if err != nil {
		t.Fatal(err, "(scripts/tools.sh test installs bubblewrap)")
	}
	return found
}

func runInside(t *testing.T, what, canary string, l limits, out *full) error {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	film := filepath.Join(t.TempDir(), "film.mp4")
	if err := os.WriteFile(film, []byte("a film"), 0o600); err != nil {
		t.Fatal(err)
	}
	return boxed(t).run(t.Context(), &call{program: program, args: []string{"inside", what, canary}, film: film, work: t.TempDir(), limits: l, stdout: out})
}

func TestNothingLeadsOutOfTheSandbox(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "canary.txt")
	if err := os.WriteFile(canary, []byte("not to be read"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ESSAIM_SECRET", "not to be read")
	var out full
	if err := runInside(t, "escape", canary, limits{wall: time.Minute}, &out); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	const refused, absent, readOnly = "operation not permitted", "no such file or directory", "read-only file system"
	for name, want := range map[string]string{
		"socket": refused, "local socket": refused, "ptrace": refused, "mount": refused, "user namespace": refused, "process": refused, "keys": refused,
		"write to the root": readOnly, "write to the system": readOnly, "write beside the film": readOnly, "write the film": readOnly,
		"canary": absent, "accounts": absent, "home": absent, "processes": absent, "temporary files": absent,
		"read the film": "done", "work": "done", "no new privileges": "1 <nil>",
	} {
		if !strings.HasSuffix(got[name], want) {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if strings.Contains(got["environment"], "ESSAIM") || strings.Contains(got["environment"], "HOME") {
		t.Errorf("environment: %s", got["environment"])
	}
}

func TestHogsEndInOneClearLine(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		limits
		want error
	}{
		"memory": {limits{wall: time.Minute, memory: 3 << 30}, errMemory},
		"cpu":    {limits{wall: time.Minute, cpu: time.Second}, errCPU},
		"still":  {limits{wall: time.Minute, idle: 300 * time.Millisecond}, errStill},
		"output": {limits{wall: time.Minute, file: 8 << 20}, errOutput},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if what == "memory" && raceEnabled {
				t.Skip("the race detector reserves more addresses than any limit allows")
			}
			err := runInside(t, what, "", c.limits, nil)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
	if err := runInside(t, "still", "", limits{wall: 300 * time.Millisecond}, nil); !errors.Is(err, errSlow) {
		t.Errorf("error %v", err)
	}
}

// reference gives the tracks of an MP4 a data reference of that kind, in place of "the media are in this file". Its moov must
// come last.
func reference(film []byte, entry []byte) []byte {
	var grow func(b []byte) []byte
	grow = func(b []byte) (out []byte) {
		for len(b) >= 8 {
			n := binary.BigEndian.Uint32(b)
			if int(n) > len(b) || n < 8 {
				return append(out, b...)
			}
			kind, body := string(b[4:8]), b[8:n]
			switch kind {
			case "moov", "trak", "mdia", "minf", "dinf":
				body = grow(body)
			case "dref":
				body = append(slices.Clone(body[:8]), entry...)
			}
			out = binary.BigEndian.AppendUint32(out, uint32(len(body)+8))
			out = append(append(out, kind...), body...)
			b = b[n:]
		}
		return append(out, b...)
	}
	return grow(film)
}

// alias is a Macintosh alias record that names a file, as QuickTime's data references do.
func alias(path string) []byte {
	b := make([]byte, 150)
	name := filepath.Base(path)
	b[50] = byte(len(name))
	copy(b[51:], name)
	b = binary.BigEndian.AppendUint16(b, 2) // what follows is the whole path
	b = binary.BigEndian.AppendUint16(b, uint16(len(path)))
	b = append(b, path...)
	b = append(b, 0xff, 0xff, 0, 0)
	out := binary.BigEndian.AppendUint32(nil, uint32(len(b)+12))
	return append(append(out, "alis\x00\x00\x00\x00"...), b...)
}

func url(address string) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(address)+13))
	return append(append(out, "url \x00\x00\x00\x00"...), address+"\x00"...)
}

// ebml is an element of a Matroska file.
func ebml(id uint32, body ...[]byte) []byte {
	b := bytes.Join(body, nil)
	out := bytes.TrimLeft(binary.BigEndian.AppendUint32(nil, id), "\x00")
	return append(binary.BigEndian.AppendUint64(out, 1<<56|uint64(len(b))), b...)
}

// streams is a Matroska file of so many tracks and no frame.
func streams(n int) []byte {
	var tracks []byte
	for i := range n {
		number := binary.BigEndian.AppendUint32(nil, uint32(i+1))
		tracks = append(tracks, ebml(0xae, ebml(0xd7, number), ebml(0x73c5, number), ebml(0x83, []byte{1}), ebml(0x86, []byte("V_VP8")),
			ebml(0xe0, ebml(0xb0, []byte{16}), ebml(0xba, []byte{16})))...)
	}
	return append(ebml(0x1a45dfa3, ebml(0x4282, []byte("webm"))), ebml(0x18538067, ebml(0x1654ae6b, tracks))...)
}

// vast is a film whose one picture says that it is 65,535 pixels wide and high.
func vast(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.mov")
	run(t, "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=s=16x16:d=0.04", "-c:v", "png", path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := bytes.Index(b, []byte("IHDR")) + 4
	copy(b[header:], "\x00\x00\xff\xff\x00\x00\xff\xff")
	table := bytes.Index(b, []byte("stsd"))
	entry := table + bytes.Index(b[table:], []byte("png ")) + 28
	copy(b[entry:], "\xff\xff\xff\xff")
	return b
}

func TestCraftedFilmsReadNothingElseAndEndInOneLine(t *testing.T) {
	t.Parallel()
	boxed(t)
	// What they point at is a whole film: were it read, it would be taken in.
	canary := filmFile(t, "transport.ts")
	film, err := os.ReadFile(filmFile(t, "b-frames.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	hls := "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:9.0,\nfile://" + canary + "\n#EXT-X-ENDLIST\n"
	crafted := map[string][]byte{
		"playlist.m3u8":    []byte(hls),
		"playlist.mp4":     []byte(hls),
		"playlist.avi":     append([]byte("RIFF\x00\x00\x00\x00AVI LIST"), hls...),
		"concat.ffconcat":  []byte("ffconcat version 1.0\nfile 'file:" + canary + "'\n"),
		"concat.mkv":       []byte("ffconcat version 1.0\nfile 'file:" + canary + "'\n"),
		"manifest.mpd":     []byte(`<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="1"><BaseURL>file://` + canary + `</BaseURL></Representation></AdaptationSet></Period></MPD>`),
		"picture.svg":      []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="file://` + canary + `" width="64" height="64"/></svg>`),
		"script.avs":       []byte("DirectShowSource(\"" + canary + "\")\n"),
		"session.sdp":      []byte("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
		"alias reference":  reference(film, alias(canary)),
		"many streams.mkv": streams(100_000),
		"vast.mov":         vast(t),
	}
	for name, b := range crafted {
		for _, open := range []bool{false, true} { // the lists must do without the sandbox, too
			t.Run(fmt.Sprintf("%s/%v", name, open), func(t *testing.T) {
				t.Parallel()
				if open && name == "many streams.mkv" {
					t.Skip("the same lists, and slow")
				}
				path := filepath.Join(t.TempDir(), strings.ReplaceAll(name, " ", "."))
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				job, err := Prepare(ctx, Request{File: path, Name: "A film", NoSandbox: open}, nil)
				if err == nil {
					t.Fatalf("taken: %+v", job.plan)
				}
				if s := err.Error(); ctx.Err() != nil || strings.ContainsAny(s, "\n\r") || len(s) > 300 || strings.Contains(s, canary) {
					t.Errorf("not one clear line: %q", s)
				} else {
					t.Log(s)
				}
			})
		}
	}
}

func TestReferenceToAnAddressIsNotFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "film.mp4")
	film, err := os.ReadFile(filmFile(t, "silent.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	// ffmpeg takes such a film's own bytes for its media, whatever the reference says.
	if err := os.WriteFile(path, reference(film, url("file://"+filmFile(t, "transport.ts"))), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Prepare(t.Context(), Request{File: path, Name: "A film"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Prepare(t.Context(), Request{File: filmFile(t, "silent.mp4"), Name: "A film"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := got.film.video.packets, want.film.video.packets; g.n != w.n || g.end != w.end {
		t.Errorf("%d frames to %g s, want %d to %g s", g.n, g.end, w.n, w.end)
	}
}

func TestWithoutASandboxFilmsAreRefusedUnlessToldOtherwise(t *testing.T) {
	film := filmFile(t, "silent.mp4")
	// A bubblewrap that cannot make namespaces says so, as it does in many containers.
	bin := t.TempDir()
	for _, name := range []string{"ffmpeg", "ffprobe", "prlimit"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	r := Request{File: film, Name: "A film"}
	if _, err := Prepare(t.Context(), r, nil); !errors.Is(err, ErrNoSandbox) || !strings.Contains(err.Error(), "apt-get install bubblewrap") {
		t.Errorf("without bubblewrap: %v", err)
	}
	const refusing = "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "bwrap"), []byte(refusing), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Prepare(t.Context(), r, nil)
	if !errors.Is(err, ErrNoSandbox) || !strings.Contains(err.Error(), "o permissions to create new namespace") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without namespaces: %v", err)
	}
	r.NoSandbox = true
	if _, err := Prepare(t.Context(), r, nil); err != nil {
		t.Errorf("told to do without: %v", err)
	}
}
