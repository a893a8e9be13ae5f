package origin

import (
	"context"
	"errors"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

const (
	// titlesFresh is how long the origin may take to notice that a title changed: the bound for revocations.
	titlesFresh = 5 * time.Second
	titlesMax   = 1024
	// titlesStale is how long what was known last is believed while the catalogue cannot be read: as long as tickets are.
	titlesStale = vod.TicketGrace
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
	f, fresh := c.look(id)
	if fresh {
		return f.title, nil
	}
	t, err := c.titles.Get(ctx, id)
	if err != nil {
		f, err = c.former(f, err)
		return f.title, err
	}
	c.keep(id, found{title: &t})
	return &t, nil
}

func (c *catalogue) byRoot(ctx context.Context, root bt.Digest) (*vod.Title, *vod.File, error) {
	known, fresh := c.look(root)
	if fresh {
		return known.title, known.file, nil
	}
	t, f, err := c.titles.ByRoot(ctx, root)
	if err != nil {
		known, err = c.former(known, err)
		return known.title, known.file, err
	}
	c.keep(root, found{title: &t, file: &f})
	return &t, &f, nil
}

func (c *catalogue) bySwarm(ctx context.Context, h bt.InfoHash) (*vod.Title, error) {
	f, fresh := c.look(h)
	if fresh {
		return f.title, nil
	}
	t, err := c.titles.BySwarm(ctx, h)
	if err != nil {
		f, err = c.former(f, err)
		return f.title, err
	}
	c.keep(h, found{title: &t})
	return &t, nil
}

// look is what is known, the zero value for nothing, and whether it is fresh.
func (c *catalogue) look(key any) (f found, fresh bool) {
	now := c.clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	f = c.known[key]
	return f, now.Before(f.until)
}

// former is what was known last, where err says no more than that the catalogue cannot be read: a film that runs goes on.
func (c *catalogue) former(f found, err error) (found, error) {
	if f.title == nil || errors.Is(err, vod.ErrNotFound) || !c.clock().Before(f.until.Add(titlesStale)) {
		return found{}, err
	}
	return f, nil
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
