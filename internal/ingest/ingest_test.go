package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"essaim/internal/blob/mem"
	"essaim/internal/bt/metainfo"
	"essaim/internal/vod"
)

// films are test films, each made once by ffmpeg: name → arguments. All show a picture that turns from black to white
// while a tone begins, both at flashAt.
const flashAt = 2.0

var (
	picture = []string{"-f", "lavfi", "-i", "color=c=black:s=96x54:r=25:d=9,drawbox=c=white:t=fill:enable=gte(t\\,2)"}
	sound   = []string{"-f", "lavfi", "-i", "aevalsrc=if(gte(t\\,2)\\,0.5*sin(2764*t)\\,0):s=44100:d=9"}
	x264    = []string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p", "-sc_threshold", "0", "-g", "50", "-keyint_min", "50"}
	films   = map[string][][]string{
		"b-frames.mp4":  {picture, sound, x264, {"-c:a", "aac"}},
		"vp9.webm":      {picture, sound, {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "100k", "-g", "50", "-c:a", "libopus"}},
		"long-gops.mp4": {picture, sound, x264, {"-g", "200", "-keyint_min", "200", "-c:a", "aac"}},
		"mpeg2-ac3.mkv": {picture, sound, {"-c:v", "mpeg2video", "-g", "25", "-c:a", "ac3"}},
		"silent.mp4":    {picture, x264},
		"late.mkv":      {picture, {"-itsoffset", "0.5"}, sound, x264, {"-c:a", "aac"}},
		"transport.ts":  {picture, sound, x264, {"-c:a", "aac"}},
		// What cameras, discs and broadcasters leave behind.
		"vfr.mkv":        {{"-f", "lavfi", "-i", "color=c=black:s=96x54:r=30:d=9,drawbox=c=white:t=fill:enable=gte(t\\,2),select=lt(mod(n\\,7)\\,3)+eq(n\\,60)+gt(t\\,8.9)"}, sound, {"-fps_mode", "vfr"}, x264, {"-g", "999", "-keyint_min", "999", "-c:a", "ac3"}},
		"surround.mkv":   {picture, {"-f", "lavfi", "-i", "aevalsrc=" + strings.Repeat("if(gte(t\\,2)\\,0.5*sin(2764*t)\\,0)|", 5) + "0:c=5.1:s=48000:d=9"}, {"-c:v", "mpeg4", "-q:v", "4", "-bf", "2", "-c:a", "ac3"}},
		"anamorphic.mkv": {{"-f", "lavfi", "-i", "color=c=black:s=97x55:r=25:d=9,drawbox=c=white:t=fill:enable=gte(t\\,2),format=yuv444p,scale=97:55,setsar=4/3"}, sound, {"-c:v", "ffv1", "-pix_fmt", "yuv444p", "-c:a", "flac"}},
		"interlaced.ts":  {{"-f", "lavfi", "-i", "color=c=black:s=96x64:r=50:d=9,drawbox=c=white:t=fill:enable=gte(t\\,2),interlace"}, sound, {"-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "4", "-g", "12", "-bf", "2", "-c:a", "mp2"}},
		"late-ac3.mkv":   {picture, {"-itsoffset", "0.5"}, sound, {"-c:v", "mpeg4", "-q:v", "4", "-c:a", "ac3"}},
		"early-ac3.mkv":  {{"-itsoffset", "0.5"}, picture, sound, {"-c:v", "mpeg4", "-q:v", "4", "-c:a", "ac3"}},
		"early.mkv":      {{"-itsoffset", "0.5"}, picture, sound, x264, {"-c:a", "aac"}},
		"tall.mp4":       {{"-f", "lavfi", "-i", "color=c=black:s=64x720:r=25:d=9,drawbox=c=white:t=fill:enable=gte(t\\,2)"}, sound, x264, {"-g", "40", "-keyint_min", "10", "-force_key_frames", "0.4,3.2", "-c:a", "aac"}},
		"ladder.mkv":     {{"-f", "lavfi", "-i", "testsrc2=s=64x720:r=25:d=4"}, {"-f", "lavfi", "-i", "sine=d=4"}, {"-c:v", "mpeg2video", "-q:v", "5", "-c:a", "ac3"}},
		"sound.m4a":      {sound, {"-c:a", "aac"}},
	}
	made struct {
		sync.Mutex
		dir string
	}
)

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "inside" {
		inside[os.Args[2]](os.Args[3])
		return
	}
	if len(os.Args) == 5 && os.Args[1] == "job" {
		if err := jobProcess(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var err error
	if made.dir, err = os.MkdirTemp("", "ingest-films-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(made.dir)
	os.Exit(code)
}

// filmFile makes one of films.
func filmFile(t testing.TB, name string) string {
	t.Helper()
	if _, err := findTools(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	made.Lock()
	defer made.Unlock()
	path := filepath.Join(made.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	args := []string{"-v", "error", "-nostdin"}
	if name == "cut.mp4" { // cut between key frames, which its edit list hides
		whole := filepath.Join(made.dir, "whole.mp4")
		all := append(append(append([]string{"-v", "error"}, picture...), sound...), x264...)
		run(t, "ffmpeg", append(all, "-c:a", "aac", "-af", "adelay=1200", "-vf", "tpad=start_duration=1.2", whole)...)
		run(t, "ffmpeg", "-v", "error", "-ss", "1.2", "-i", whole, "-c", "copy", path)
		return path
	}
	if name == "rotated.mp4" {
		run(t, "ffmpeg", append(append(append([]string{"-v", "error"}, picture...), append(sound, x264...)...), "-c:a", "aac", path+".mp4")...)
		run(t, "ffmpeg", "-v", "error", "-i", path+".mp4", "-c", "copy", "-metadata:s:v:0", "rotate=90", path)
		return path
	}
	for _, a := range films[name] {
		args = append(args, a...)
	}
	run(t, "ffmpeg", append(args, path)...)
	return path
}

func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var msg bytes.Buffer
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, msg.Bytes())
	}
	return out
}

// shelf is a publisher that remembers, or refuses.
type shelf struct {
	vod.Titles
	title   vod.Title
	torrent []byte
	err     error
}

func (s *shelf) Publish(_ context.Context, t vod.Title, torrent []byte) error {
	if s.err == nil {
		s.title, s.torrent = t, torrent
	}
	return s.err
}

func (s *shelf) Get(_ context.Context, id vod.TitleID) (vod.Title, error) {
	if s.title.ID != id {
		return vod.Title{}, vod.ErrNotFound
	}
	return s.title, nil
}

// ingestFilm runs a request into memory and checks what every published title must be.
func ingestFilm(t *testing.T, r Request) (Result, *mem.Store) {
	t.Helper()
	res, objects := ingestWith(t, r, nil)
	if v := &res.Title.Version; v.DurationMs < 8950 || v.DurationMs > 9100 && !strings.HasPrefix(filepath.Base(r.File), "late") {
		t.Errorf("lasts %d ms", v.DurationMs)
	}
	return res, objects
}

// ingestWith is ingestFilm for what needs keys.
func ingestWith(t *testing.T, r Request, keys vod.ContentKeys) (Result, *mem.Store) {
	t.Helper()
	ctx, objects, pub := context.Background(), mem.New(), &shelf{}
	temp := filepath.Join(t.TempDir(), "data", "tmp")
	r.Preset = "ultrafast"
	job, err := Prepare(ctx, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := job.Run(ctx, Stores{Objects: objects, Titles: pub, Publisher: pub, Keys: keys, Temp: temp}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("working folder left behind (%v)", err)
	}
	m, err := metainfo.Parse(pub.torrent)
	if err != nil {
		t.Fatal(err)
	}
	v := pub.title.Version
	if m.Private == r.Open || m.InfoHash != v.InfoHashV1 || m.InfoHashV2 != v.InfoHashV2 || m.PieceLength != 32<<10 {
		t.Errorf("torrent private %v, pieces of %d", m.Private, m.PieceLength)
	}
	for i, f := range v.Files {
		o, err := objects.Open(ctx, vod.KeyMedia(f.Root))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.VerifyFile(ctx, i, o); err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		for n, s := range f.Index {
			if s.DurationMs > 6000 || n+1 < len(f.Index) && f.Kind == vod.Video && s.DurationMs < 1800 {
				t.Errorf("%s: segment %d lasts %d ms", f.Path, n, s.DurationMs)
			}
		}
		if first := f.Index[0].StartMs; f.Kind == vod.Video && first != 0 {
			t.Errorf("%s begins at %d ms", f.Path, first)
		}
		if !strings.Contains(v.Manifest, "<BaseURL>"+f.Path+"</BaseURL>") || !strings.Contains(v.Manifest, `codecs="`+f.Codec+`"`) {
			t.Errorf("manifest does not name %s", f.Path)
		}
	}
	if _, err := objects.Open(ctx, vod.KeySmall(pub.title.Poster)); err != nil {
		t.Errorf("poster: %v", err)
	}
	return res, objects
}

// file finds a title's file and writes it to disk, with the tick of its clock at which the film begins.
func fileOf(t *testing.T, res Result, objects *mem.Store, kind vod.Kind) (path string, zero float64) {
	t.Helper()
	for _, f := range res.Title.Version.Files {
		if f.Kind != kind {
			continue
		}
		o, err := objects.Open(context.Background(), vod.KeyMedia(f.Root))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, f.Size)
		if _, err := o.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(t.TempDir(), f.Path)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, after, ok := strings.Cut(res.Title.Version.Manifest, "<BaseURL>"+f.Path+"</BaseURL>")
		var scale, offset int
		if _, err := fmt.Sscanf(strings.TrimSpace(after), `<SegmentBase timescale="%d" presentationTimeOffset="%d"`, &scale, &offset); err == nil && ok {
			zero = float64(offset) / float64(scale)
		}
		return path, zero
	}
	t.Fatalf("no %s", kind)
	return "", 0
}

// flash is the moment of film at which the picture turns white, and onset that at which the tone begins.
func flashAndOnset(t *testing.T, res Result, objects *mem.Store) (flash, onset float64) {
	t.Helper()
	// The index says that the first frame plays at 0 (ffmpeg, reading the file without its edit list, may say otherwise).
	v, _ := fileOf(t, res, objects, vod.Video)
	first := math.NaN()
	flash, onset = math.NaN(), math.NaN()
	frames := run(t, "ffprobe", "-v", "error", "-f", "lavfi", "-show_entries", "frame=pts_time:frame_tags=lavfi.signalstats.YAVG", "-of", "csv=p=0", "movie="+v+",signalstats")
	for _, line := range strings.Fields(string(frames)) {
		var at, luma float64
		if n, _ := fmt.Sscanf(line, "%g,%g", &at, &luma); n != 2 {
			continue
		}
		if math.IsNaN(first) {
			first = at
		}
		if luma > 128 {
			flash = at - first
			break
		}
	}
	a, zero := fileOf(t, res, objects, vod.Audio)
	const rate = 48000
	pcm := run(t, "ffmpeg", "-v", "error", "-copyts", "-i", a, "-af", fmt.Sprintf("aresample=%d:async=1:first_pts=0", rate), "-ac", "1", "-f", "s16le", "-")
	for i := 0; i+1 < len(pcm); i += 2 {
		if s := int16(binary.LittleEndian.Uint16(pcm[i:])); s > 6000 || s < -6000 {
			onset = float64(i/2)/rate - zero
			break
		}
	}
	return flash, onset
}

func TestFilmsThatBrowsersPlayAreKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, codecs := range map[string]string{
		"b-frames.mp4": "mp4a.40.2 avc1.", "vp9.webm": "opus vp09.00.", "silent.mp4": "avc1.", "late.mkv": "mp4a.40.2 avc1.", "transport.ts": "mp4a.40.2 avc1.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, objects := ingestFilm(t, Request{File: filmFile(t, name), Name: "A film", Open: true})
			if res.Reencoded || res.Reason != "" {
				t.Errorf("encoded anew: %s", res.Reason)
			}
			for i, want := range strings.Fields(codecs) {
				if got := res.Title.Version.Files[i].Codec; !strings.HasPrefix(got, want) {
					t.Errorf("file %d is %s, want %s", i, got, want)
				}
			}
			if len(res.Title.Version.Files) != len(strings.Fields(codecs)) {
				t.Errorf("%d files", len(res.Title.Version.Files))
			}
			if name == "silent.mp4" {
				return
			}
			wantOnset := flashAt
			if name == "late.mkv" {
				wantOnset += 0.5
			}
			flash, onset := flashAndOnset(t, res, objects)
			// A lossy codec smears the onset by some milliseconds; the 23 of an AAC encoder's priming would show.
			if math.Abs(flash-flashAt) > 0.001 || math.Abs(onset-wantOnset) > 0.012 {
				t.Errorf("picture turns at %.4f s, tone begins at %.4f s", flash, onset)
			}
		})
	}
}

func TestOtherFilmsAreEncodedAnewAndItSaysWhy(t *testing.T) {
	t.Parallel()
	for name, why := range map[string]string{
		"long-gops.mp4": "key frames are up to 8.0 s apart, more than 4 s",
		"cut.mp4":       "the film does not begin on a key frame",
		"mpeg2-ac3.mkv": "video is MPEG2VIDEO, which not all browsers play; audio is AC3, which not all browsers play",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, objects := ingestFilm(t, Request{File: filmFile(t, name), Name: "A film", Open: true})
			if !res.Reencoded || res.Reason != why {
				t.Errorf("reason %q", res.Reason)
			}
			for _, f := range res.Title.Version.Files {
				for n, s := range f.Index {
					if f.Kind == vod.Video && s.StartMs != uint32(2000*n) {
						t.Errorf("segment %d begins at %d ms", n, s.StartMs)
					}
				}
			}
			flash, onset := flashAndOnset(t, res, objects)
			if math.Abs(flash-flashAt) > 0.001 || math.Abs(onset-flashAt) > 0.012 {
				t.Errorf("picture turns at %.4f s, tone begins at %.4f s", flash, onset)
			}
		})
	}
}

func TestWhatIsNoFilmIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	whole := map[string][]byte{}
	for _, name := range []string{"b-frames.mp4", "vp9.webm"} {
		b, err := os.ReadFile(filmFile(t, name))
		if err != nil {
			t.Fatal(err)
		}
		whole[name] = b
	}
	front := filepath.Join(t.TempDir(), "front.mp4")
	run(t, "ffmpeg", "-v", "error", "-i", filmFile(t, "b-frames.mp4"), "-c", "copy", "-movflags", "+faststart", front)
	index, err := os.ReadFile(front)
	if err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(t.TempDir(), "canary.txt")
	if err := os.WriteFile(canary, []byte("not to be read"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty.mp4":         {},
		"text.mp4":          []byte("Not a film.\n"),
		"truncated.mp4":     whole["b-frames.mp4"][:len(whole["b-frames.mp4"])*3/4],
		"truncated.webm":    whole["vp9.webm"][:len(whole["vp9.webm"])*3/4],
		"index in front":    index[:len(index)*3/4],
		"header only":       index[:64],
		"playlist.m3u8":     []byte("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://" + canary + "\n#EXT-X-ENDLIST\n"),
		"concat.txt":        []byte("ffconcat version 1.0\nfile " + canary + "\n"),
		"random.webm":       bytes.Repeat([]byte{0x1a, 0x45, 0xdf, 0xa3, 0xff, 7}, 9000),
		"a sound alone.m4a": nil, "missing.mp4": nil, "folder": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			switch {
			case name == "a sound alone.m4a":
				path = filmFile(t, "sound.m4a")
			case name == "folder":
				path = t.TempDir()
			case b != nil:
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			job, err := Prepare(context.Background(), Request{File: path, Name: "A film", Open: true}, nil)
			if err == nil {
				t.Fatalf("accepted: %+v", job.plan)
			}
			if s := err.Error(); strings.ContainsAny(s, "\n\r") || len(s) > 300 || strings.Contains(s, "canary") {
				t.Errorf("not one clear line: %q", s)
			}
		})
	}
}

func TestFailedPublicationLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ctx, objects := context.Background(), mem.New()
	temp := filepath.Join(t.TempDir(), "tmp")
	job, err := Prepare(ctx, Request{File: filmFile(t, "silent.mp4"), Name: "A film", Open: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pub := &shelf{err: errors.New("the disk is full")}
	if _, err := job.Run(ctx, Stores{Objects: objects, Publisher: pub, Temp: temp}, nil); !errors.Is(err, pub.err) {
		t.Errorf("error %v", err)
	}
	if err := objects.List(ctx, "", func(key string, _ int64) bool { t.Errorf("left %s", key); return true }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Error("working folder left behind")
	}
}

// rival is a publisher that sees, while it publishes, whether another run could.
type rival struct {
	shelf
	temp string
	turn error
}

func (r *rival) Publish(ctx context.Context, t vod.Title, torrent []byte) error {
	other, err := newWorkdir(r.temp)
	if err != nil {
		return err
	}
	defer other.remove() //nolint:errcheck // the run itself looks at what is left
	hasty, cancel := context.WithCancel(ctx)
	cancel()
	done, err := other.turn(hasty)
	if r.turn = err; err == nil {
		done()
	}
	return r.shelf.Publish(ctx, t, torrent)
}

func TestNobodyCountsOnObjectsThatMayYetBeTakenBack(t *testing.T) {
	t.Parallel()
	temp := filepath.Join(t.TempDir(), "tmp")
	job, err := Prepare(context.Background(), Request{File: filmFile(t, "silent.mp4"), Name: "A film", Open: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, failure := range []error{errors.New("the disk is full"), nil} { // the turn is given up after both
		pub := &rival{shelf: shelf{err: failure}, temp: temp}
		if _, err := job.Run(context.Background(), Stores{Objects: mem.New(), Publisher: pub, Temp: temp}, nil); !errors.Is(err, failure) {
			t.Error(err)
		}
		if !errors.Is(pub.turn, context.Canceled) {
			t.Errorf("another run's turn came meanwhile: %v", pub.turn)
		}
	}
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Error("working folder left behind")
	}
}

func TestInterruptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	objects, temp := mem.New(), filepath.Join(t.TempDir(), "tmp")
	job, err := Prepare(context.Background(), Request{File: filmFile(t, "long-gops.mp4"), Name: "A film", Preset: "ultrafast", Open: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"encoding", "hashing", "storing"} {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := job.Run(ctx, Stores{Objects: objects, Publisher: &shelf{err: context.Canceled}, Temp: temp}, func(s string, _ float64) {
			if s == step {
				cancel()
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted while %s: %v", step, err)
		}
		if err := objects.List(context.Background(), "", func(key string, _ int64) bool { t.Errorf("left %s", key); return true }); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("working folder left behind while %s", step)
		}
	}
}

func TestWorkOfADeadRunIsSweptAway(t *testing.T) {
	t.Parallel()
	parent := filepath.Join(t.TempDir(), "tmp")
	alive, err := newWorkdir(parent)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(parent, "ingest-dead")
	if err := os.MkdirAll(filepath.Join(dead, "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	next, err := newWorkdir(parent)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a dead run's folder is still there")
	}
	if _, err := os.Stat(alive.path); err != nil {
		t.Error("a living run's folder was swept away")
	}
	if err := errors.Join(alive.remove(), next.remove()); err != nil {
		t.Error(err)
	}
}

func TestTakenIDIsRefusedBeforeAnyWork(t *testing.T) {
	t.Parallel()
	job, err := Prepare(context.Background(), Request{File: filmFile(t, "silent.mp4"), Name: "A film", Open: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pub := &shelf{title: vod.Title{ID: "a-film", Name: "Another film"}}
	_, err = job.Run(context.Background(), Stores{Objects: mem.New(), Titles: pub, Publisher: pub, Temp: t.TempDir()}, func(string, float64) {
		t.Error("work began")
	})
	if !errors.Is(err, vod.ErrConflict) || !strings.Contains(err.Error(), "--id") {
		t.Errorf("error %v", err)
	}
}

func TestTitlesThatNoCatalogueTakesAreRefusedBeforeAnyWork(t *testing.T) {
	t.Parallel()
	file := filmFile(t, "silent.mp4")
	for text, r := range map[string]Request{
		"at most 500":   {Name: strings.Repeat("x", nameMax+1)},
		"summary 20000": {Name: "A film", Summary: strings.Repeat("x", summaryMax+1)},
		"--title":       {Name: "A film \xff"},
		"":              {Name: strings.Repeat("x", nameMax), Summary: strings.Repeat("x", summaryMax)},
	} {
		r.File = file
		_, err := Prepare(context.Background(), r, nil)
		if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	// The bounds are the catalogue's.
	v := vod.Version{ID: strings.Repeat("0", 64), PieceLength: 16 << 10, DurationMs: 1, Files: []vod.File{{Path: "v", Size: 1, Kind: vod.Video}}}
	title := vod.Title{ID: "x", Name: strings.Repeat("x", nameMax), Summary: strings.Repeat("x", summaryMax), Version: v}
	if err := title.Validate(); err != nil {
		t.Error(err)
	}
}

func TestSlugMakesIDs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]vod.TitleID{
		"Essaim, a film of numbered scenes": "essaim-a-film-of-numbered-scenes",
		"  L'Été à la plage!  ":             "lete-a-la-plage",
		"Ça va — 2":                         "ca-va-2",
		"七人の侍":                              "",
		strings.Repeat("ab ", 40):           "ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a",
	} {
		if got := Slug(name); got != want || got != "" && (!idForm.MatchString(string(got)) || len(got) > 64) {
			t.Errorf("Slug(%q) = %q, want %q", name, got, want)
		}
	}
	if _, err := Prepare(context.Background(), Request{File: "x", Name: "七人の侍"}, nil); err == nil || !strings.Contains(err.Error(), "--id") {
		t.Errorf("error %v", err)
	}
}

func TestLadderIsShortAndNeverAboveTheFilm(t *testing.T) {
	t.Parallel()
	for size, want := range map[[2]int]string{
		{3840, 1606}: "video-1080p.mp4 2582×1080, video-720p.mp4 1722×720, video-480p.mp4 1148×480",
		{1920, 1080}: "video-1080p.mp4 1920×1080, video-720p.mp4 1280×720, video-480p.mp4 854×480",
		{1920, 800}:  "video-800p.mp4 1920×800, video-480p.mp4 1152×480",
		{1280, 720}:  "video-720p.mp4 1280×720, video-480p.mp4 854×480",
		{720, 576}:   "video-576p.mp4 720×576, video-360p.mp4 450×360",
		{854, 480}:   "video-480p.mp4 854×480",
		{640, 470}:   "video-470p.mp4 640×470, video-360p.mp4 490×360",
		{321, 241}:   "video-240p.mp4 320×240",
	} {
		f := &film{video: stream{Codec: "hevc", Width: size[0], Height: size[1], PixFmt: "yuv420p"}}
		f.video.packets = packets{n: 1, keyed: true}
		var got []string
		plan, err := decide(f, &Request{Codec: H264})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range plan.tracks {
			got = append(got, fmt.Sprintf("%s %d×%d", k.Path, k.width, k.height))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%v: %s", size, s)
		}
	}
}
