package origin

import (
	"context"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

const (
	// titlesFresh is how long the origin may take to notice that a title changed: the bound for revocations.
	titlesFresh = 5 * time.Second
	titlesMax   = 1024
)

// catalogue remembers titles for a moment: a viewer asks for a piece of the same file every second, and reading a long
// film's index from the database costs more than sending the piece. Titles handed out must not be changed.
type catalogue struct {
	titles vod.Titles
	clock  vod.Clock
	mu     sync.Mutex
	known  map[any]found // by vod.TitleID, bt.Digest and bt.InfoHash
}

type found struct {
	title *vod.Title
	file  *vod.File
	until time.Time
}

func newCatalogue(titles vod.Titles, clock vod.Clock) *catalogue {
	return &catalogue{titles: titles, clock: clock, known: map[any]found{}}
}

func (c *catalogue) get(ctx context.Context, id vod.TitleID) (*vod.Title, error) {
	if f, ok := c.look(id); ok {
		return f.title, nil
	}
	t, err := c.titles.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	c.keep(id, found{title: &t})
	return &t, nil
}

func (c *catalogue) byRoot(ctx context.Context, root bt.Digest) (*vod.Title, *vod.File, error) {
	if f, ok := c.look(root); ok {
		return f.title, f.file, nil
	}
	t, f, err := c.titles.ByRoot(ctx, root)
	if err != nil {
		return nil, nil, err
	}
	c.keep(root, found{title: &t, file: &f})
	return &t, &f, nil
}

func (c *catalogue) bySwarm(ctx context.Context, h bt.InfoHash) (*vod.Title, error) {
	if f, ok := c.look(h); ok {
		return f.title, nil
	}
	t, err := c.titles.BySwarm(ctx, h)
	if err != nil {
		return nil, err
	}
	c.keep(h, found{title: &t})
	return &t, nil
}

func (c *catalogue) look(key any) (found, bool) {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.known[key]
	return f, ok && now.Before(f.until)
}

func (c *catalogue) keep(key any, f found) {
	f.until = c.clock().Add(titlesFresh)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= titlesMax {
		clear(c.known)
	}
	c.known[key] = f
}
