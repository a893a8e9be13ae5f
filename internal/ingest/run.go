package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"essaim/internal/vod"
)

var (
	errGone    = errors.New("the film is gone: put it back where it was")
	errChanged = errors.New("the film has changed since the job began: cancel the job, and take the film in anew")
)

// Resume looks at the film of a job that was broken off or failed, and prepares to go on with it.
func (s *Jobs) Resume(ctx context.Context, id string, p Progress) (*Job, error) {
	r, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if !r.Resumable() {
		if r.State == Done {
			return nil, fmt.Errorf("job %s is done: %w", id, vod.ErrConflict)
		}
		return nil, fmt.Errorf("job %s: %w", id, ErrBusy)
	}
	switch now, err := fingerprint(r.Request.File); {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w (%s)", errGone, r.Request.File)
	case err != nil:
		return nil, fmt.Errorf("cannot read the film: %w", err)
	case now != r.fingerprint:
		return nil, errChanged
	}
	j, err := Prepare(ctx, r.Request, p)
	if err != nil {
		return nil, err
	}
	j.id = id
	return j, nil
}

// Adopt finds a job that was broken off or failed and that asks for the very same, so that j goes on with it.
func (s *Jobs) Adopt(ctx context.Context, j *Job) (Record, bool, error) {
	print, err := fingerprint(j.req.File)
	if err != nil {
		return Record{}, false, fmt.Errorf("cannot read the film: %w", err)
	}
	all, err := s.List(ctx)
	if err != nil {
		return Record{}, false, err
	}
	for _, r := range all {
		if r.Resumable() && r.fingerprint == print && r.Request.same(&j.req) {
			j.id = r.ID
			return r, true, nil
		}
	}
	return Record{}, false, nil
}

// KeptID is the ID of the job as Jobs keeps it, empty before it is kept.
func (j *Job) KeptID() string { return j.id }

// Run packages, hashes, stores and publishes the film; publication is the last step, and nothing is visible before. Without
// s.Jobs, whatever goes wrong, also when ctx ends, the temporary folder and the objects that this run added are gone when it
// returns. With it the job and its finished tracks are kept, so that it can go on, in another process too, without making
// them again; what was added to the store is gone all the same.
func (j *Job) Run(ctx context.Context, s Stores, p Progress) (res Result, err error) {
	if p == nil {
		p = func(string, float64) {}
	}
	if s.Titles != nil {
		switch old, err := s.Titles.Get(ctx, j.req.ID); {
		case err == nil && old.Name != j.req.Name:
			return res, fmt.Errorf("the ID %q belongs to the title %q; choose another with --id: %w", j.req.ID, old.Name, vod.ErrConflict)
		case err != nil && !errors.Is(err, vod.ErrNotFound):
			return res, fmt.Errorf("look up %q: %w", j.req.ID, err)
		}
	}
	if !j.req.Open && s.Keys == nil {
		return res, errors.New("a film for members is encrypted, and there are no keys to do it with")
	}
	if s.Jobs != nil {
		return j.runKept(ctx, s, p)
	}
	work, err := newWorkdir(s.Temp)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, work.remove()) }()
	j.keys = keysOf("once-" + rand.Text())
	res, err = j.work(ctx, s, work, p)
	if err != nil && !j.req.Open { // nothing was published that these keys open
		err = errors.Join(err, s.Keys.Discard(context.WithoutCancel(ctx), j.keys))
	}
	return res, err
}

// runKept is Run for a job that outlives its process.
func (j *Job) runKept(ctx context.Context, s Stores, p Progress) (res Result, err error) {
	print, err := fingerprint(j.req.File)
	if err != nil {
		return res, fmt.Errorf("cannot read the film: %w", err)
	}
	resumed := j.id != ""
	if !resumed {
		r := Record{Request: j.req, Title: j.req.ID, fingerprint: print}
		if err := s.Jobs.create(ctx, &r); err != nil {
			return res, err
		}
		j.id = r.ID
	}
	j.keys = keysOf(j.id)
	work, err := openJobdir(s.Temp, j.id)
	if err != nil {
		return res, err
	}
	if resumed {
		r, err := s.Jobs.restart(ctx, j.id)
		if err == nil && r.fingerprint != print {
			err = errChanged
		}
		if err != nil {
			return res, errors.Join(err, work.release())
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &diary{jobs: s.Jobs, id: j.id, show: p}
	stop := d.keep(ctx, cancel)
	res, err = j.work(ctx, s, work, d.note)
	stop()
	after := context.WithoutCancel(ctx)
	if err == nil {
		return res, errors.Join(s.Jobs.set(after, j.id, Done, "", res.Title.Version.ID), work.remove())
	}
	state, why := Failed, oneLine(err)
	if cause := context.Cause(ctx); cause != nil {
		err, state, why = cause, Stopped, ""
	}
	if !errors.Is(err, ErrCancelled) { // then whoever cancels it clears it away
		if serr := s.Jobs.set(after, j.id, state, why, ""); serr != nil && !errors.Is(serr, ErrCancelled) {
			err = errors.Join(err, serr)
		}
	}
	return res, errors.Join(err, work.release())
}

func oneLine(err error) string {
	return strings.ToValidUTF8(strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; "), "?")
}

// restart takes a job up again.
func (s *Jobs) restart(ctx context.Context, id string) (r Record, err error) {
	// The folder is ours, so what the row says of running is of a process that died.
	found, err := s.list(ctx, `WHERE id = $1 AND state <> 'done'`, id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("job %s: %w", id, vod.ErrNotFound)
	}
	if err != nil {
		return r, err
	}
	return found[0], s.revive(ctx, id)
}

// A diary keeps how far a job is, once a second, and learns from the database whether it is to be given up.
type diary struct {
	jobs *Jobs
	id   string
	show Progress

	mu    sync.Mutex
	step  string
	done  float64
	began time.Time
}

// note takes what a step tells.
func (d *diary) note(step string, done float64) {
	d.mu.Lock()
	if step != d.step {
		d.step, d.began = step, time.Now()
	}
	d.done = done
	d.mu.Unlock()
	d.show(step, done)
}

// keep writes once a second until stop is called.
func (d *diary) keep(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	write := func() {
		d.mu.Lock()
		step, done, spent := d.step, d.done, time.Since(d.began)
		d.mu.Unlock()
		var left time.Duration
		if done > 0.01 && done < 1 {
			left = time.Duration(float64(spent) * (1 - done) / done)
		}
		// A database that cannot be written now, on a full disk for instance, is no reason to stop encoding.
		if err := d.jobs.tell(ctx, d.id, step, done, left); errors.Is(err, ErrCancelled) {
			cancel(ErrCancelled)
		}
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				write()
			}
		}
	}()
	return func() { close(over); <-ended }
}

// work makes what is not made yet, and publishes.
func (j *Job) work(ctx context.Context, s Stores, w *workdir, p Progress) (res Result, err error) {
	defer func() {
		if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrDiskFull) {
			err = fmt.Errorf("%w (%w)", ErrDiskFull, err)
		}
	}()
	dir, err := j.folder(ctx, s, w)
	if err != nil {
		return res, err
	}
	scratch := filepath.Join(w.path, "scratch")
	for _, t := range j.plan.tasks() {
		if err := j.make(ctx, t, dir, scratch, p); err != nil {
			return res, err
		}
	}
	if err := j.unchanged(); err != nil {
		return res, err
	}
	if !j.req.Open {
		if err := Protect(ctx, dir, j.req.Scheme, j.plan.tracks, s.Keys, j.keys, func(done float64) { p("encrypting", done) }); err != nil {
			return res, err
		}
	}
	pk, err := Assemble(ctx, dir, j.req, j.plan.tracks, func(done float64) { p("hashing", done) })
	if err != nil {
		return res, err
	}
	if got := float64(pk.Title.Version.DurationMs) / 1000; got < j.film.length*0.98-1 {
		return res, fmt.Errorf("ffmpeg could read only %.1f of the film's %.1f seconds", got, j.film.length)
	}
	if err := j.extras(ctx, pk, scratch, p); err != nil {
		return res, err
	}
	if err := j.publish(ctx, s, w, pk, p); err != nil {
		return res, fmt.Errorf("publish: %w", err)
	}
	return Result{Title: pk.Title, Reencoded: j.plan.reason != "", Reason: j.plan.reason}, nil
}

// folder is where finished tracks are. Those of another plan, which another ffmpeg or a newer version of this program may
// have led to, are thrown away, and the keys with them: no key may encrypt two films.
func (j *Job) folder(ctx context.Context, s Stores, w *workdir) (string, error) {
	dir, mark := filepath.Join(w.path, "tracks"), filepath.Join(w.path, "plan")
	plan := fmt.Sprintf("%+v %s\n", j.plan.tracks, j.req.Preset)
	if b, err := os.ReadFile(mark); err != nil || string(b) != plan {
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("clear the working folder: %w", err)
		}
		if !j.req.Open {
			if err := s.Keys.Discard(ctx, j.keys); err != nil {
				return "", fmt.Errorf("discard the keys: %w", err)
			}
		}
		if err := os.WriteFile(mark, []byte(plan), 0o600); err != nil {
			return "", fmt.Errorf("keep the plan: %w", err)
		}
	}
	for _, d := range []string{dir, filepath.Join(w.path, "scratch")} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return "", fmt.Errorf("make the working folder: %w", err)
		}
	}
	return dir, syncDir(w.path)
}

// unchanged reports an error where the film is not the one that was looked at.
func (j *Job) unchanged() error {
	st, err := os.Stat(j.film.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w (%s)", errGone, j.film.path)
	case err != nil:
		return fmt.Errorf("cannot read the film: %w", err)
	case st.Size() != j.film.size || !st.ModTime().Equal(j.film.changed):
		return errChanged
	}
	return nil
}

// make carries out one task, unless its tracks are there already. They appear under their names when they are whole and on the
// disk: a name is the mark that the work is done.
func (j *Job) make(ctx context.Context, t task, dir, scratch string, p Progress) error {
	finished := 0
	for _, k := range t.tracks {
		if _, err := os.Stat(filepath.Join(dir, k.Path)); err == nil {
			finished++
		}
	}
	if finished == len(t.tracks) {
		return nil
	}
	if err := j.unchanged(); err != nil {
		return err
	}
	if err := os.RemoveAll(scratch); err != nil {
		return fmt.Errorf("clear the working folder: %w", err)
	}
	if err := os.Mkdir(scratch, 0o750); err != nil {
		return fmt.Errorf("make the working folder: %w", err)
	}
	if err := j.film.tools.pack(ctx, j.film, t, j.req.Preset, scratch, p); err != nil {
		if gone := j.unchanged(); gone != nil && ctx.Err() == nil {
			return gone
		}
		return err
	}
	for _, k := range t.tracks {
		// Its clock is settled now, since that writes into the file.
		made := filepath.Join(scratch, k.Path)
		if _, err := settle(made, k); err != nil {
			return fmt.Errorf("check %s: %w", k.Path, err)
		}
		if err := os.Rename(made, filepath.Join(dir, k.Path)); err != nil {
			return fmt.Errorf("keep %s: %w", k.Path, err)
		}
	}
	return syncDir(dir)
}

// publish stores the package and puts it before the public, or takes back what it stored.
func (j *Job) publish(ctx context.Context, s Stores, w *workdir, pk *Package, p Progress) error {
	done, err := w.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	pk.note = w.note
	_, err = pk.Store(ctx, s.Objects, func(done float64) { p("storing", done) })
	if err == nil {
		err = pk.Verify(ctx, s.Objects, func(done float64) { p("checking", done) })
	}
	if err == nil && s.Jobs != nil {
		err = s.Jobs.set(ctx, j.id, Running, "", pk.Title.Version.ID)
	}
	if err == nil {
		err = s.Publisher.Publish(ctx, pk.Title, pk.Torrent)
	}
	if err == nil {
		return w.forget()
	}
	// The context may be what failed, but what was added must go all the same.
	added, nerr := w.noted()
	if terr := takeBack(context.WithoutCancel(ctx), s, added); nerr != nil || terr != nil {
		return errors.Join(err, nerr, terr)
	}
	return errors.Join(err, w.forget())
}

// takeBack deletes objects that a job added, but for those that a published title holds. The caller has the turn, so that
// nobody is counting on the others.
func takeBack(ctx context.Context, s Stores, added []string) error {
	if len(added) == 0 {
		return nil
	}
	held, err := heldObjects(ctx, s.Titles)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range added {
		if !held[key] {
			errs = append(errs, s.Objects.Delete(ctx, key))
		}
	}
	return errors.Join(errs...)
}

// heldObjects are the keys of all objects that published titles hold.
func heldObjects(ctx context.Context, titles vod.Titles) (map[string]bool, error) {
	held := map[string]bool{}
	if titles == nil {
		return held, nil
	}
	all, err := titles.List(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("look what is published: %w", err)
	}
	for _, t := range all {
		for _, f := range t.Version.Files {
			held[vod.KeyMedia(f.Root)], held[vod.KeyLeaves(f.Root)] = true, true
		}
		held[vod.KeySmall(t.Poster)] = true
		for _, s := range t.Subtitles {
			held[vod.KeySmall(s.Object)] = true
		}
		if t.Storyboard != nil {
			held[vod.KeySmall(t.Storyboard.Object)] = true
		}
	}
	return held, nil
}
