package ingest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// State is how a job stands.
type State string

// The states. A job whose process died is kept as running, and told as stopped by List and Get, for nobody holds its folder.
const (
	Running    State = "running"
	Cancelling State = "cancelling" // somebody wants it given up; whoever works on it stops
	Stopped    State = "stopped"
	Failed     State = "failed"
	Done       State = "done"
)

// ErrCancelled ends the run of a job that was cancelled meanwhile.
var ErrCancelled = errors.New("the job was cancelled")

// ErrBusy is returned for a job that another process is working on.
var ErrBusy = errors.New("another process is working on this job")

// A Record is a job as the database keeps it.
type Record struct {
	ID      string
	Request Request
	Title   vod.TitleID
	State   State
	Step    string
	Done    float64       // of the step, 0 to 1
	Left    time.Duration // of the step, estimated; zero: not known
	Error   string        // why it failed, in one line
	Version string        // what it is about to publish, or has published
	Created time.Time
	Updated time.Time

	fingerprint string
}

// Resumable reports whether the job can go on.
func (r *Record) Resumable() bool { return r.State == Stopped || r.State == Failed }

// Jobs keeps jobs in the database. It is safe for concurrent use, across processes too.
type Jobs struct {
	db    *sqlstore.Store
	clock vod.Clock
	temp  string
}

// NewJobs returns the jobs kept in db, whose work lies below the folder temp (Stores.Temp).
func NewJobs(db *sqlstore.Store, clock vod.Clock, temp string) *Jobs { return &Jobs{db, clock, temp} }

// keptDone is how many jobs that are done are remembered.
const keptDone = 100

// create keeps a new job.
func (s *Jobs) create(ctx context.Context, r *Record) error {
	request, err := json.Marshal(r.Request)
	if err != nil {
		return fmt.Errorf("keep the job: %w", err)
	}
	r.ID = strings.ToLower(rand.Text()[:10])
	r.State, r.Created = Running, s.clock()
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO ingest_jobs (id, title_id, source, fingerprint, request, state, step, done_ppm, left_ms, error, version, created_ms, updated_ms)
			VALUES ($1, $2, $3, $4, $5, $6, '', 0, 0, '', '', $7, $7)`,
			r.ID, r.Title, r.Request.File, r.fingerprint, string(request), r.State, r.Created.UnixMilli())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM ingest_jobs WHERE state = $1 AND id NOT IN
			(SELECT id FROM ingest_jobs WHERE state = $1 ORDER BY created_ms DESC LIMIT $2)`, Done, keptDone)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the job: %w", err)
	}
	return nil
}

const jobColumns = `SELECT id, title_id, fingerprint, request, state, step, done_ppm, left_ms, error, version, created_ms, updated_ms FROM ingest_jobs `

// List returns all jobs that are kept, oldest first.
func (s *Jobs) List(ctx context.Context) ([]Record, error) {
	return s.list(ctx, `ORDER BY created_ms, id`)
}

// Get returns a job; vod.ErrNotFound where there is none.
func (s *Jobs) Get(ctx context.Context, id string) (Record, error) {
	found, err := s.list(ctx, `WHERE id = $1`, id)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("job %q: %w", id, vod.ErrNotFound)
	}
	if err != nil {
		return Record{}, err
	}
	return found[0], nil
}

func (s *Jobs) list(ctx context.Context, where string, args ...any) ([]Record, error) {
	rows, err := s.db.Reader().QueryContext(ctx, jobColumns+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	defer rows.Close()
	var found []Record
	for rows.Next() {
		var r Record
		var request string
		var ppm, left, created, updated int64
		if err := rows.Scan(&r.ID, &r.Title, &r.fingerprint, &request, &r.State, &r.Step, &ppm, &left, &r.Error, &r.Version, &created, &updated); err != nil {
			return nil, fmt.Errorf("list jobs: %w", err)
		}
		if err := json.Unmarshal([]byte(request), &r.Request); err != nil {
			return nil, fmt.Errorf("job %s: what was asked for: %w", r.ID, err)
		}
		r.Done, r.Left = float64(ppm)/1e6, time.Duration(left)*time.Millisecond
		r.Created, r.Updated = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
		found = append(found, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	rows.Close()
	for i := range found {
		if r := &found[i]; (r.State == Running || r.State == Cancelling) && !s.held(r.ID) {
			r.State = Stopped
		}
	}
	return found, nil
}

// held reports whether a process works on the job.
func (s *Jobs) held(id string) bool {
	w, err := lockDir(jobDir(s.temp, id))
	if err == nil {
		w.lock.Close()
		return false
	}
	return !errors.Is(err, os.ErrNotExist)
}

// tell keeps how far a step is; ErrCancelled where somebody wants the job given up.
func (s *Jobs) tell(ctx context.Context, id, step string, done float64, left time.Duration) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE ingest_jobs SET step = $2, done_ppm = $3, left_ms = $4, updated_ms = $5 WHERE id = $1 AND state = $6`,
			id, step, int64(done*1e6), left.Milliseconds(), s.clock().UnixMilli(), Running)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return ErrCancelled
	})
	if err != nil {
		return fmt.Errorf("keep the job: %w", err)
	}
	return nil
}

// revive takes a job whose folder the caller holds up again, whatever it was stopped by.
func (s *Jobs) revive(ctx context.Context, id string) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE ingest_jobs SET state = $2, error = '', updated_ms = $3 WHERE id = $1`, id, Running, s.clock().UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the job: %w", err)
	}
	return nil
}

// set changes a job's state, unless it is to be cancelled; ErrCancelled then.
func (s *Jobs) set(ctx context.Context, id string, state State, why, version string) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE ingest_jobs SET state = $2, error = $3, version = $4, updated_ms = $5 WHERE id = $1 AND state <> $6`,
			id, state, why, version, s.clock().UnixMilli(), Cancelling)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return ErrCancelled
	})
	if err != nil {
		return fmt.Errorf("keep the job: %w", err)
	}
	return nil
}

// Cancel gives a job up and leaves nothing of it: no file, no object, no key. A process that works on it is told, and waited
// for. What the job has published already stays, and the job counts as done.
func (s *Jobs) Cancel(ctx context.Context, id string, to Stores) error {
	r, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	if r.State == Done {
		return fmt.Errorf("job %s is done: its title %q is published; to take that back, essaim admin title withdraw %s: %w", id, r.Title, r.Title, vod.ErrConflict)
	}
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE ingest_jobs SET state = $2 WHERE id = $1 AND state <> $3`, id, Cancelling, Done)
		return err
	})
	if err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	w, err := waitDir(ctx, jobDir(s.temp, id))
	if err != nil {
		return fmt.Errorf("cancel job %s: its process goes on: %w", id, err)
	}
	if r, err = s.Get(ctx, id); err != nil || r.State == Done { // meanwhile
		return errors.Join(err, w.remove())
	}
	if r.Version != "" && to.Titles != nil {
		if t, err := to.Titles.Get(ctx, r.Title); err == nil && t.Version.ID == r.Version {
			err := s.db.Write(ctx, func(tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, `UPDATE ingest_jobs SET state = $2 WHERE id = $1`, id, Done)
				return err
			})
			return errors.Join(err, w.remove(), fmt.Errorf("job %s had just published %q, which stays: %w", id, r.Title, vod.ErrConflict))
		}
	}
	if err := s.clear(ctx, w, id, to); err != nil {
		return fmt.Errorf("cancel job %s: %w", id, err)
	}
	return nil
}

// clear takes a job's objects, keys, folder and row away, the row last.
func (s *Jobs) clear(ctx context.Context, w *workdir, id string, to Stores) error {
	done, err := w.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	added, err := w.noted()
	if err != nil {
		return err
	}
	if err := takeBack(ctx, to, added); err != nil {
		return err
	}
	if to.Keys != nil {
		if err := to.Keys.Discard(ctx, keysOf(id)); err != nil && !errors.Is(err, vod.ErrNotFound) {
			return fmt.Errorf("discard the keys: %w", err)
		}
	}
	if err := w.remove(); err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM ingest_jobs WHERE id = $1`, id)
		return err
	})
}

// keysOf is the name under which a job draws its keys.
func keysOf(id string) string { return "ingest-" + id }

// fingerprint tells a film from another, or from itself before it was changed, without reading all of it.
func fingerprint(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	const part = 256 << 10
	h := sha256.New()
	fmt.Fprintf(h, "%d %d\n", st.Size(), st.ModTime().UnixNano())
	for _, at := range []int64{0, max(st.Size()/2-part/2, 0), max(st.Size()-part, 0)} {
		if _, err := io.Copy(h, io.NewSectionReader(f, at, part)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
