package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"essaim/internal/blob"
	"essaim/internal/blob/dir"
	"essaim/internal/library"
	"essaim/internal/license"
	"essaim/internal/sqlstore"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// A desk is what the processes of a job share: database, store, catalogue and keys.
type desk struct {
	Stores
	db     *sqlstore.Store
	titles *library.Library
}

// openDesk opens the desk in folder; a process that dies at a given point (see killer) dies there.
func openDesk(ctx context.Context, folder, dieAt string) (*desk, error) {
	db, err := sqltest.Open(ctx, filepath.Join(folder, "essaim.db"))
	if err != nil {
		return nil, err
	}
	objects, err := dir.Open(filepath.Join(folder, "objects"))
	if err != nil {
		return nil, err
	}
	masters, err := license.OpenMasters("", filepath.Join(folder, "master-key"), nil)
	if err != nil {
		return nil, err
	}
	d := &desk{db: db, titles: library.New(db, time.Now)}
	k := &killer{Store: objects, titles: d.titles, at: dieAt}
	d.Stores = Stores{
		Objects: k, Titles: d.titles, Publisher: k, Temp: filepath.Join(folder, "tmp"),
		Keys: license.NewKeys(license.KeysConfig{DB: db, Masters: masters, Clock: time.Now}),
	}
	d.Jobs = NewJobs(db, time.Now, d.Temp)
	return d, nil
}

// killer is a store and a publisher that end their process, as the kernel would, at a point: "put 3" before the third object
// is put, "publish" before and "published" after the title is, "step hashing" when that step begins.
type killer struct {
	blob.Store
	titles *library.Library
	at     string
	puts   int
	full   error // if set, what every Put fails with
}

func (k *killer) point(name string) {
	if name == k.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k *killer) Put(ctx context.Context, key string, r io.Reader) error {
	k.puts++
	k.point(fmt.Sprint("put ", k.puts))
	if k.full != nil && k.puts > 2 {
		return k.full
	}
	return k.Store.Put(ctx, key, r)
}

func (k *killer) Publish(ctx context.Context, t vod.Title, torrent []byte) error {
	k.point("publish")
	if err := k.titles.Publish(ctx, t, torrent); err != nil {
		return err
	}
	k.point("published")
	return nil
}

// ladderFilm is a film of which two pictures and a sound are encoded.
func ladderFilm(t *testing.T) string { return filmFile(t, "ladder.mkv") }

// jobProcess is a process that works on a job: new for a path, resumed for an ID. It tells the steps that it begins.
func jobProcess(folder, what, dieAt string) error {
	ctx := context.Background()
	d, err := openDesk(ctx, folder, dieAt)
	if err != nil {
		return err
	}
	var j *Job
	if filepath.IsAbs(what) {
		j, err = Prepare(ctx, Request{File: what, Name: "A film", Preset: "ultrafast"}, nil)
	} else {
		j, err = d.Jobs.Resume(ctx, what, nil)
	}
	if err != nil {
		return err
	}
	step := ""
	_, err = j.Run(ctx, d.Stores, func(s string, done float64) {
		if s != step {
			step = s
			fmt.Println(s)
			d.Objects.(*killer).point("step " + s)
		}
	})
	return err
}

// inAnotherProcess runs jobProcess in a process of its own, and returns the steps that it told.
func inAnotherProcess(t *testing.T, folder, what, dieAt string) (steps []string, err error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "job", folder, what, dieAt)
	var msg bytes.Buffer
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if msg.Len() > 0 {
		err = errors.New(strings.TrimSpace(msg.String()))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), err
}

// keyNames are the names of the keys that a job has drawn.
func keyNames(t *testing.T, d *desk, job string) []vod.KID {
	t.Helper()
	keys, err := d.Keys.Draw(t.Context(), keysOf(job), []vod.Tier{vod.TierAudio, vod.TierSD, vod.TierHD})
	if err != nil {
		t.Fatal(err)
	}
	var kids []vod.KID
	for _, k := range keys {
		kids = append(kids, k.KID)
	}
	return kids
}

func onlyJob(t *testing.T, d *desk) Record {
	t.Helper()
	all, err := d.Jobs.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%d jobs, %v", len(all), err)
	}
	return all[0]
}

// nothingLeft checks that no file of a job, no object and no title is there.
func nothingLeft(t *testing.T, d *desk) {
	t.Helper()
	if err := d.Objects.List(t.Context(), "", func(key string, _ int64) bool { t.Errorf("left %s", key); return true }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.Temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("working folder left behind: %v", err)
	}
	if all, err := d.titles.List(t.Context(), false); err != nil || len(all) > 0 {
		t.Errorf("%d titles published, %v", len(all), err)
	}
}

func TestJobKilledAnywhereGoesOnWithWhatIsFinishedAndTheSameKeys(t *testing.T) {
	t.Parallel()
	folder, film := t.TempDir(), ladderFilm(t)
	d, err := openDesk(t.Context(), folder, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	points := []string{
		"step encoding 720p", "step encoding 480p", "step encoding sound", "step encrypting", "step hashing", "step storing",
		"put 1", "put 4", "step checking", "publish", "published",
	}
	what := film
	var kids []vod.KID
	type kept struct {
		info os.FileInfo
		at   string
	}
	finished := map[string]kept{}
	for _, point := range points {
		steps, err := inAnotherProcess(t, folder, what, point)
		if err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("%s: not killed: %v, having %v", point, err, steps)
		}
		r := onlyJob(t, d)
		if r.State != Stopped || what != film && what != r.ID {
			t.Fatalf("%s: job %+v", point, r)
		}
		what = r.ID
		if point == "step encrypting" {
			kids = keyNames(t, d, r.ID)
		}
		for _, s := range steps {
			if f, ok := finished[s]; ok {
				t.Errorf("killed at %s: %s was done again, which was finished before %s", point, s, f.at)
			}
		}
		for _, name := range []string{"video-720p.mp4", "video-480p.mp4", "audio.mp4"} {
			step := map[string]string{"v": "encoding " + strings.TrimSuffix(strings.TrimPrefix(name, "video-"), ".mp4"), "a": "encoding sound"}[name[:1]]
			info, err := os.Stat(filepath.Join(jobDir(d.Temp, r.ID), "tracks", name))
			if err != nil {
				if _, ok := finished[step]; ok {
					t.Errorf("killed at %s: %s is gone", point, name)
				}
				continue
			}
			// Until they are encrypted, which replaces them, finished tracks are the very same files.
			if f, ok := finished[step]; ok && kids == nil && (!os.SameFile(f.info, info) || !f.info.ModTime().Equal(info.ModTime())) {
				t.Errorf("killed at %s: %s was touched", point, name)
			}
			if _, ok := finished[step]; !ok {
				finished[step] = kept{info, point}
			}
		}
		if all, err := d.titles.List(t.Context(), false); err != nil || (len(all) > 0) != (point == "published") {
			t.Errorf("killed at %s: %d titles, %v", point, len(all), err)
		}
	}
	if len(finished) != 3 {
		t.Errorf("finished: %v", finished)
	}
	before, err := d.titles.Get(t.Context(), "a-film")
	if err != nil {
		t.Fatal(err)
	}
	if steps, err := inAnotherProcess(t, folder, what, ""); err != nil {
		t.Fatal(err, steps)
	}
	title, err := d.titles.Get(t.Context(), "a-film")
	if err != nil {
		t.Fatal(err)
	}
	if title.Version.ID != before.Version.ID || title.Version.Scheme != vod.CBCS {
		t.Errorf("version %s, scheme %q", title.Version.ID, title.Version.Scheme)
	}
	for _, f := range title.Version.Files {
		if !slices.Contains(kids, f.KID) {
			t.Errorf("%s has another key than at first", f.Path)
		}
	}
	if r := onlyJob(t, d); r.State != Done || r.Version != title.Version.ID {
		t.Errorf("job %+v", r)
	}
	if _, err := os.Stat(d.Temp); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("working folder left behind: %v", err)
	}
	held, err := heldObjects(t.Context(), d.titles)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Objects.List(t.Context(), "", func(key string, _ int64) bool {
		if !held[key] {
			t.Errorf("left %s", key)
		}
		return true
	}); err != nil {
		t.Error(err)
	}
}

func TestCancelledJobLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"step encoding 480p", "put 4", "publish"} {
		folder := t.TempDir()
		d, err := openDesk(t.Context(), folder, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := inAnotherProcess(t, folder, ladderFilm(t), point); err == nil {
			t.Fatal("not killed")
		}
		r := onlyJob(t, d)
		kids := keyNames(t, d, r.ID)
		if err := d.Jobs.Cancel(t.Context(), r.ID, d.Stores); err != nil {
			t.Fatal(err)
		}
		nothingLeft(t, d)
		if _, err := d.Keys.Open(t.Context(), kids); !errors.Is(err, vod.ErrNotFound) {
			t.Errorf("its keys are still there: %v", err)
		}
		if _, err := d.Jobs.Get(t.Context(), r.ID); !errors.Is(err, vod.ErrNotFound) {
			t.Errorf("the job is still there: %v", err)
		}
		d.db.Close()
	}
}

func TestRunningJobIsCancelledFromElsewhere(t *testing.T) {
	t.Parallel()
	d, err := openDesk(t.Context(), t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	j, err := Prepare(t.Context(), Request{File: ladderFilm(t), Name: "A film", Preset: "ultrafast"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	_, err = j.Run(t.Context(), d.Stores, func(step string, _ float64) {
		if step == "hashing" && len(asked) == 0 && cap(asked) == 1 {
			asked = make(chan error, 2)
			if err := d.Jobs.set(t.Context(), j.id, Cancelling, "", ""); err != nil {
				t.Error(err)
			}
			go func() { asked <- d.Jobs.Cancel(context.WithoutCancel(t.Context()), j.id, d.Stores) }()
		}
	})
	if !errors.Is(err, ErrCancelled) {
		t.Errorf("the run ended with %v", err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	nothingLeft(t, d)
}

func TestCancellingWhatIsPublishedTakesNothingAway(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, err := openDesk(t.Context(), folder, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	if _, err := inAnotherProcess(t, folder, ladderFilm(t), "published"); err == nil {
		t.Fatal("not killed")
	}
	r := onlyJob(t, d)
	for range 2 { // before it is known to be done, and after
		if err := d.Jobs.Cancel(t.Context(), r.ID, d.Stores); !errors.Is(err, vod.ErrConflict) {
			t.Errorf("cancel: %v", err)
		}
	}
	title, err := d.titles.Get(t.Context(), "a-film")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range title.Version.Files {
		if _, err := d.Keys.Open(t.Context(), []vod.KID{f.KID}); err != nil {
			t.Errorf("key of %s: %v", f.Path, err)
		}
		o, err := d.Objects.Open(t.Context(), vod.KeyMedia(f.Root))
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
			continue
		}
		o.Close()
	}
	if r := onlyJob(t, d); r.State != Done {
		t.Errorf("job is %s", r.State)
	}
}

func TestFailuresAreClearAndTheJobGoesOnOnceTheirCauseIsGone(t *testing.T) { // by itself: it kills whatever ffmpeg this program runs
	source, err := os.ReadFile(ladderFilm(t))
	if err != nil {
		t.Fatal(err)
	}
	film := filepath.Join(t.TempDir(), "film.mkv")
	when := time.Now().Add(-time.Hour)
	put := func() {
		if err := os.WriteFile(film, source, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(film, when, when); err != nil {
			t.Fatal(err)
		}
	}
	put()
	d, err := openDesk(t.Context(), t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	j, err := Prepare(t.Context(), Request{File: film, Name: "A film", Preset: "ultrafast"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	disk := d.Objects.(*killer)
	at := func(step string, do func()) Progress {
		done := false
		return func(s string, _ float64) {
			if s == step && !done {
				done = true
				do()
			}
		}
	}
	check := func(what string, err error, want error) {
		t.Helper()
		if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
		r := onlyJob(t, d)
		if r.State != Failed || r.Error == "" {
			t.Errorf("%s: job is %s, %q", what, r.State, r.Error)
		}
		if err := d.Objects.List(t.Context(), "", func(key string, _ int64) bool { t.Errorf("%s: left %s", what, key); return true }); err != nil {
			t.Error(err)
		}
		if all, err := d.titles.List(t.Context(), false); err != nil || len(all) > 0 {
			t.Errorf("%s: %d titles published, %v", what, len(all), err)
		}
	}

	// ffmpeg dies: its process, found by the folder that it writes to, is killed.
	_, err = j.Run(t.Context(), d.Stores, at("encoding 480p", func() { go killChildren(t) }))
	check("ffmpeg was killed", err, errKilled)

	_, err = j.Run(t.Context(), d.Stores, at("encoding 480p", func() {
		if err := os.Remove(film); err != nil {
			t.Error(err)
		}
	}))
	check("the film vanished", err, errGone)
	if _, err := d.Jobs.Resume(t.Context(), j.id, nil); !errors.Is(err, errGone) {
		t.Errorf("resumed without the film: %v", err)
	}
	put()
	now := time.Now()
	if err := os.Chtimes(film, now, now); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Jobs.Resume(t.Context(), j.id, nil); !errors.Is(err, errChanged) {
		t.Errorf("resumed with another film: %v", err)
	}
	put()

	disk.full, disk.puts = fmt.Errorf("write: %w", syscall.ENOSPC), 0
	_, err = j.Run(t.Context(), d.Stores, nil)
	check("the disk is full", err, ErrDiskFull)

	disk.full = nil
	again, err := d.Jobs.Resume(t.Context(), j.id, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Run(t.Context(), d.Stores, func(s string, _ float64) {
		if strings.HasPrefix(s, "encoding") {
			t.Errorf("%s again", s)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if r := onlyJob(t, d); r.State != Done || r.Error != "" {
		t.Errorf("job %+v", r)
	}
}

// killChildren kills this process's children, once there are any, as the kernel does where memory runs out.
func killChildren(t *testing.T) {
	for t.Context().Err() == nil {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Error(err)
			return
		}
		for _, task := range tasks {
			b, err := os.ReadFile(filepath.Join("/proc/self/task", task.Name(), "children"))
			if err != nil {
				continue
			}
			for _, child := range strings.Fields(string(b)) {
				if id, err := strconv.Atoi(child); err == nil {
					_ = syscall.Kill(id, syscall.SIGKILL)
					return
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func TestTheSameRequestGoesOnWithItsJobAndAnotherDoesNot(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, err := openDesk(t.Context(), folder, "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.db.Close()
	if _, err := inAnotherProcess(t, folder, ladderFilm(t), "step encoding 720p"); err == nil {
		t.Fatal("not killed")
	}
	for i, request := range []Request{
		{File: ladderFilm(t), Name: "A film", Preset: "ultrafast"},
		{File: ladderFilm(t), Name: "A film", Preset: "fast"},
		{File: ladderFilm(t), Name: "Another"},
	} {
		want := i == 0
		j, err := Prepare(t.Context(), request, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, found, err := d.Jobs.Adopt(t.Context(), j); err != nil || found != want || (j.KeptID() != "") != want {
			t.Errorf("%+v: %v, %v", request, found, err)
		}
	}
	// Two processes never work on one job.
	held, err := openJobdir(d.Temp, onlyJob(t, d).ID)
	if err != nil {
		t.Fatal(err)
	}
	defer held.release() //nolint:errcheck // the test's folder goes with it
	if r := onlyJob(t, d); r.State != Running {
		t.Errorf("a job that is worked on is %s", r.State)
	}
	if _, err := d.Jobs.Resume(t.Context(), onlyJob(t, d).ID, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("resumed a job that is worked on: %v", err)
	}
}
