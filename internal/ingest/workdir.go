package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A workdir is a folder for one run, locked as long as the run lives, so that what a killed run left can be told from what
// another one is using.
type workdir struct {
	path string
	lock *os.File
}

// newWorkdir sweeps away what dead runs left in parent, and makes a folder there.
func newWorkdir(parent string) (*workdir, error) {
	if err := os.MkdirAll(parent, 0o750); err != nil {
		return nil, fmt.Errorf("make the working folder: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(parent, "ingest-*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if w, err := lockDir(path); err == nil {
			if err := w.remove(); err != nil {
				return nil, fmt.Errorf("clear an old working folder: %w", err)
			}
		}
	}
	for range 10 { // another run may sweep a folder away before it is locked
		path, err := os.MkdirTemp(parent, "ingest-")
		if err != nil {
			return nil, fmt.Errorf("make the working folder: %w", err)
		}
		if w, err := lockDir(path); err == nil {
			return w, nil
		}
	}
	return nil, errors.New("make the working folder: it is swept away each time")
}

// jobDir is the folder of a job's work.
func jobDir(parent, id string) string { return filepath.Join(parent, "job-"+id) }

// openJobdir locks the folder of a job, and makes it if it is missing; ErrBusy where another process holds it.
func openJobdir(parent, id string) (*workdir, error) {
	path := jobDir(parent, id)
	busy := 0
	for range 10 { // another job's end may take the parent away in between
		if err := os.MkdirAll(path, 0o750); err != nil {
			return nil, fmt.Errorf("make the working folder: %w", err)
		}
		w, err := lockDir(path)
		if err == nil {
			ours, err1 := w.lock.Stat()
			there, err2 := os.Stat(path)
			if err1 == nil && err2 == nil && os.SameFile(ours, there) {
				return w, nil
			}
			w.lock.Close() // whoever held it has taken it away meanwhile
			continue
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if busy++; busy == 3 { // once may be somebody who only looks
				return nil, ErrBusy
			}
			time.Sleep(turnPause / 2)
			continue
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("lock the working folder: %w", err)
		}
	}
	return nil, errors.New("make the working folder: it is swept away each time")
}

// waitDir waits for a job's folder, for half a minute at most, and locks it. Where there is none it makes one.
func waitDir(ctx context.Context, path string) (*workdir, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		w, err := openJobdir(filepath.Dir(path), strings.TrimPrefix(filepath.Base(path), "job-"))
		if !errors.Is(err, ErrBusy) {
			return w, err
		}
		select {
		case <-time.After(turnPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// notes is the file that names the objects which a job has added to the store, one a line.
const notes = "added"

// note writes down, before it happens, that an object is added to the store.
func (w *workdir) note(key string) error {
	f, err := os.OpenFile(filepath.Join(w.path, notes), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(key + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(w.path)
}

// noted is what note wrote down. A last line cut short by a crash named what was not added yet.
func (w *workdir) noted() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(w.path, notes))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	lines := strings.Split(string(b), "\n")
	return lines[:len(lines)-1], nil
}

// forget drops what note wrote down.
func (w *workdir) forget() error {
	if err := os.Remove(filepath.Join(w.path, notes)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir brings a folder's entries to the disk.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// release gives the folder up and leaves it as it is.
func (w *workdir) release() error { return w.lock.Close() }

func lockDir(path string) (*workdir, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return &workdir{path, f}, nil
}

// turnPause is how often a run that waits for its turn looks again.
const turnPause = 100 * time.Millisecond

// turn waits until no other run is storing and publishing: one whose publication fails takes back the objects that it
// added, which another might have found there and counted on meanwhile. done gives the turn to the next.
func (w *workdir) turn(ctx context.Context) (done func(), err error) {
	f, err := os.Open(filepath.Dir(w.path)) // it stays while our own folder is in it
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			select {
			case <-time.After(turnPause):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		f.Close()
		return nil, fmt.Errorf("wait for others to publish: %w", err)
	}
}

// remove deletes the folder, and its parent if nothing else is in it.
func (w *workdir) remove() error {
	err := os.RemoveAll(w.path)
	w.lock.Close()
	_ = os.Remove(filepath.Dir(w.path)) // refused while others work there
	return err
}
