package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
