package edge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

const (
	scrubDefault = 2_000_000 // bytes per second
	// scrubPause is how long the edge rests between two rounds through all that it holds.
	scrubPause = 10 * time.Minute
	scrubStep  = 1 << 20
)

// scrub reads all that is held, slowly, round after round: what has changed is found before somebody asks for it.
func (e *Edge) scrub(ctx context.Context) {
	rate := e.c.Scrub
	if rate <= 0 {
		rate = scrubDefault
	}
	for {
		e.scrubRound(ctx, rate)
		timer := time.NewTimer(scrubPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// scrubRound reads every whole file once, at so many bytes a second.
func (e *Edge) scrubRound(ctx context.Context, rate int64) {
	buf := make([]byte, scrubStep)
	_ = e.store.List(ctx, "", func(key string, size int64) bool { // it does not fail
		o, err := e.store.Open(ctx, key)
		if err != nil {
			return true // it was dropped meanwhile
		}
		defer o.Close()
		for at := int64(0); at < size; at += scrubStep {
			began := time.Now()
			n, _ := o.ReadAt(buf[:min(scrubStep, size-at)], at) // the store has noted what is rotten
			wait := time.NewTimer(time.Duration(float64(max(n, bt.BlockSize))/float64(rate)*float64(time.Second)) - time.Since(began))
			select {
			case <-wait.C:
			case <-ctx.Done():
				wait.Stop()
				return false
			}
		}
		return true
	})
}

// repair fetches blocks again that were found to have changed, as they are found.
func (e *Edge) repair(ctx context.Context) {
	for {
		left := e.repairAll(ctx)
		var again <-chan time.Time
		if left > 0 {
			again = time.After(retryAfter)
		}
		select {
		case <-e.rotting:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// repairAll tries every block that waits once, and says how many still do.
func (e *Edge) repairAll(ctx context.Context) int {
	e.mu.Lock()
	var list []rot
	for r := range e.rots {
		list = append(list, r)
	}
	e.mu.Unlock()
	for _, r := range list {
		if err := e.repairOne(ctx, r); err != nil {
			if ctx.Err() == nil {
				e.log.WarnContext(ctx, "a block cannot be repaired yet", "root", r.root.String(), "block", r.block, "error", err)
			}
			continue
		}
		e.mu.Lock()
		delete(e.rots, r)
		e.mu.Unlock()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.rots)
}

// repairOne fetches one block, with its leaves if these have changed, and writes it in its place. What is not planned any more is
// dropped instead.
func (e *Edge) repairOne(ctx context.Context, r rot) error {
	var t *planned
	var f *vod.File
	for _, p := range e.list() {
		for i := range p.title.Version.Files {
			if x := &p.title.Version.Files[i]; x.Root == r.root {
				t, f = p, x
			}
		}
	}
	if t == nil {
		return e.store.drop(r.root)
	}
	leaves, err := e.leaves(ctx, t, f)
	if err != nil {
		return err
	}
	from := r.block * bt.BlockSize
	if from < 0 || from >= f.Size {
		return nil
	}
	buf := make([]byte, min(bt.BlockSize, f.Size-from))
	file, err := os.OpenFile(e.store.path(mediaFolder, r.root), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	// With the leaves put right it may be well.
	if _, err := io.ReadFull(io.NewSectionReader(file, from, int64(len(buf))), buf); err == nil && matches(buf, leaves[r.block*sha256.Size:]) {
		e.repaired.Add(1)
		return nil
	}
	if err := e.fetch(ctx, t, f, leaves, buf, from); err != nil {
		return err
	}
	if err := e.write(file, buf, from); err != nil {
		return fmt.Errorf("write %s: %w", r.root, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", r.root, err)
	}
	e.repaired.Add(1)
	e.tell(e.hosts.changed) // whose hosts have put the piece out
	return nil
}
