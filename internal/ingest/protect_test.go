package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"essaim/internal/blob/mem"
	"essaim/internal/cmaf"
	"essaim/internal/vod"
)

// ring is a vod.ContentKeys in memory.
type ring struct {
	jobs map[string]map[vod.Tier]vod.ContentKey
	err  error
}

func (r *ring) Draw(_ context.Context, job string, tiers []vod.Tier) (list []vod.ContentKey, err error) {
	if r.jobs == nil {
		r.jobs = map[string]map[vod.Tier]vod.ContentKey{}
	}
	if r.jobs[job] == nil {
		r.jobs[job] = map[vod.Tier]vod.ContentKey{}
	}
	for _, t := range tiers {
		k, ok := r.jobs[job][t]
		if !ok {
			k.Tier = t
			rand.Read(k.KID[:])
			rand.Read(k.Key[:])
			r.jobs[job][t] = k
		}
		list = append(list, k)
	}
	return list, r.err
}

func (r *ring) Open(_ context.Context, kids []vod.KID) (list []vod.ContentKey, err error) {
	for _, kid := range kids {
		for _, tiers := range r.jobs {
			for _, k := range tiers {
				if k.KID == kid {
					list = append(list, k)
				}
			}
		}
	}
	if len(list) != len(kids) {
		return nil, vod.ErrNotFound
	}
	return list, nil
}

func (r *ring) Discard(_ context.Context, job string) error {
	delete(r.jobs, job)
	return nil
}

// object reads an object of a store whole.
func object(t testing.TB, s *mem.Store, key string) []byte {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFilmForMembersIsEncryptedWithOneKeyForEachTier(t *testing.T) {
	t.Parallel()
	for _, scheme := range []vod.Scheme{vod.CBCS, vod.CENC} {
		t.Run(string(scheme), func(t *testing.T) {
			t.Parallel()
			keys := &ring{}
			req := Request{File: filmFile(t, "b-frames.mp4"), Name: "A film"}
			if scheme != vod.CBCS { // which is what it is without a word
				req.Scheme = scheme
			}
			res, objects := ingestWith(t, req, keys)
			v := res.Title.Version
			if v.Scheme != scheme || len(v.Files) != 2 || len(keys.jobs) != 1 {
				t.Fatalf("scheme %q, %d files, %d jobs", v.Scheme, len(v.Files), len(keys.jobs))
			}
			for _, f := range v.Files {
				drawn, err := keys.Open(t.Context(), []vod.KID{f.KID})
				if err != nil || drawn[0].Tier != f.Tier() {
					t.Errorf("%s: key %s: %v", f.Path, f.KID, err)
				}
				b := object(t, objects, vod.KeyMedia(f.Root))
				x, err := cmaf.Read(bytes.NewReader(b), int64(len(b)))
				if err != nil || x.Scheme != string(scheme) || vod.KID(x.KID) != f.KID || x.Codec != f.Codec {
					t.Errorf("%s: %+v, %v", f.Path, x, err)
				}
				uuid := f.KID.String()
				uuid = strings.Join([]string{uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]}, "-")
				if !strings.Contains(v.Manifest, `value="`+string(scheme)+`" xmlns:cenc="urn:mpeg:cenc:2013" cenc:default_KID="`+uuid+`"`) {
					t.Errorf("the manifest does not name the key of %s:\n%s", f.Path, v.Manifest)
				}
			}
			if v.Files[0].KID == v.Files[1].KID {
				t.Error("sound and picture have one key")
			}
		})
	}
}

func TestFilmForMembersWithoutKeysIsRefused(t *testing.T) {
	t.Parallel()
	job, err := Prepare(t.Context(), Request{File: filmFile(t, "silent.mp4"), Name: "A film"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(t.TempDir(), "tmp")
	objects, pub := mem.New(), &shelf{}
	if _, err := job.Run(t.Context(), Stores{Objects: objects, Publisher: pub, Temp: temp}, nil); err == nil || !strings.Contains(err.Error(), "keys") {
		t.Errorf("without a keeper of keys: %v", err)
	}
	broken := errors.New("the master key is missing")
	_, err = job.Run(t.Context(), Stores{Objects: objects, Publisher: pub, Keys: &ring{err: broken}, Temp: temp}, nil)
	if !errors.Is(err, broken) {
		t.Errorf("with a broken one: %v", err)
	}
	if pub.title.ID != "" {
		t.Error("it was published all the same")
	}
	if _, err := os.Stat(temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("working folder left behind (%v)", err)
	}
}

func TestKeysOfWhatWasNotPublishedAreDiscarded(t *testing.T) {
	t.Parallel()
	job, err := Prepare(t.Context(), Request{File: filmFile(t, "silent.mp4"), Name: "A film"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := &ring{}
	pub := &shelf{err: errors.New("the database is locked")}
	if _, err := job.Run(t.Context(), Stores{Objects: mem.New(), Publisher: pub, Keys: keys, Temp: filepath.Join(t.TempDir(), "tmp")}, nil); err == nil {
		t.Fatal("published")
	}
	if len(keys.jobs) != 0 {
		t.Error("their keys were kept")
	}
}

func TestProtectGoesOnWhereItWasBrokenOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	film := filmFile(t, "b-frames.mp4")
	job, err := Prepare(t.Context(), Request{File: film, Name: "A film"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tracks := job.plan.tracks
	if err := job.film.tools.pack(t.Context(), job.film, job.plan.tasks()[0], "", dir, func(string, float64) {}); err != nil {
		t.Fatal(err)
	}
	keys, read := &ring{}, func(k Track) []byte {
		b, err := os.ReadFile(filepath.Join(dir, k.Path))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ctx, stop := context.WithCancel(t.Context())
	err = Protect(ctx, dir, vod.CENC, tracks, keys, "job", func(float64) {
		if _, err := os.Stat(filepath.Join(dir, tracks[1].Path+".encrypted")); err == nil { // the second file has begun
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("broken off: %v", err)
	}
	first, second := read(tracks[0]), read(tracks[1])
	if err := Protect(t.Context(), dir, vod.CENC, tracks, keys, "job", nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, read(tracks[0])) || bytes.Equal(second, read(tracks[1])) {
		t.Error("what was finished is encrypted again, or what was not is left")
	}
	if list, err := filepath.Glob(filepath.Join(dir, "*.encrypted")); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
	if err := Protect(t.Context(), dir, vod.CENC, tracks, keys, "another job", nil); err == nil {
		t.Error("another job's keys were put over it")
	}
}

// pirate turns an encrypted track file into what it would be were it in the clear: the sample entry gets its old name, and what speaks of
// encryption is hidden.
func pirate(t *testing.T, file []byte) []byte {
	t.Helper()
	b := bytes.Clone(file)
	at := bytes.Index(b, []byte("frma"))
	if at < 0 {
		t.Fatal("the file is in the clear")
	}
	was := b[at+4 : at+8]
	for _, kind := range []string{"encv", "enca"} {
		if at := bytes.Index(b, []byte(kind)); at >= 0 {
			copy(b[at:], was)
		}
	}
	for _, kind := range []string{"sinf", "senc", "saiz", "saio", "pssh"} {
		for at := 0; ; at += 4 {
			n := bytes.Index(b[at:], []byte(kind))
			if n < 0 {
				break
			}
			at += n
			copy(b[at:], "free")
		}
	}
	return b
}

// seen is what ffmpeg makes of a track file, whatever it complains of: its frames as 32 × 18 grey pixels, or its sound at 8 kHz.
func seen(t *testing.T, file []byte, kind vod.Kind) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "track.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-v", "quiet", "-i", name, "-f", "rawvideo", "-vf", "scale=32:18", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-"}
	if kind == vod.Audio {
		args = []string{"-v", "quiet", "-i", name, "-f", "u8", "-ac", "1", "-ar", "8000", "-"}
	}
	out, _ := exec.Command("ffmpeg", args...).Output() // it may fail: that is what is hoped for
	return out
}

// alike is how much two recordings go up and down together, from 0 to 1; the shorter one counts.
func alike(a, b []byte) float64 {
	n := min(len(a), len(b))
	var sa, sb, saa, sbb, sab float64
	for i := range n {
		x, y := float64(a[i]), float64(b[i])
		sa, sb, saa, sbb, sab = sa+x, sb+y, saa+x*x, sbb+y*y, sab+x*y
	}
	k := float64(n)
	spread := math.Sqrt((k*saa - sa*sa) * (k*sbb - sb*sb))
	if n == 0 || spread == 0 {
		return 0
	}
	return math.Abs(k*sab-sa*sb) / spread
}

// What lies in the folder is what the origin sends and viewers pass on, so this is a captured swarm and a stolen disk at once.
func TestWhatIsStoredShowsNothingWithoutTheKey(t *testing.T) {
	t.Parallel()
	moving := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4,format=yuv420p", "-f", "lavfi", "-i", "aevalsrc=0.4*sin(1000*t*(1+t)):s=48000:d=4"}
	for codec, c := range map[string]struct {
		schemes []vod.Scheme
		args    []string
	}{
		"h264.mp4":  {[]vod.Scheme{vod.CBCS, vod.CENC}, []string{"-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-c:a", "aac"}},
		"intra.mp4": {[]vod.Scheme{vod.CBCS}, []string{"-c:v", "libx264", "-profile:v", "baseline", "-g", "1", "-c:a", "aac"}},
		"vp9.webm":  {[]vod.Scheme{vod.CBCS}, []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"}},
		"av1.mp4":   {[]vod.Scheme{vod.CBCS}, []string{"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "50", "-keyint_min", "50", "-c:a", "aac"}},
	} {
		film := filepath.Join(t.TempDir(), codec)
		run(t, "ffmpeg", append(append(slices.Clone(moving), c.args...), film)...)
		clear, objects := ingestWith(t, Request{File: film, Name: "Open", Open: true}, nil)
		for _, scheme := range c.schemes {
			t.Run(codec+" "+string(scheme), func(t *testing.T) {
				t.Parallel()
				res, locked := ingestWith(t, Request{File: film, Name: "Closed", Scheme: scheme}, &ring{})
				for i, f := range res.Title.Version.Files {
					was := seen(t, object(t, objects, vod.KeyMedia(clear.Title.Version.Files[i].Root)), f.Kind)
					if len(was) < 20_000 || alike(was, was) < 0.99 {
						t.Fatalf("%s: in the clear %d bytes are seen", f.Path, len(was))
					}
					file := object(t, locked, vod.KeyMedia(f.Root))
					if got := alike(was, seen(t, pirate(t, file), f.Kind)); got > 0.3 {
						t.Errorf("%s: without the key it is %.2f alike", f.Path, got)
					}
				}
			})
		}
	}
}
