package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	for _, scheme := range []vod.Scheme{vod.CBCS, vod.CENC} {
		t.Run(string(scheme), func(t *testing.T) {
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
