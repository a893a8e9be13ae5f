package edge

import (
	"context"
	"fmt"
	"time"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

// catalogue is the plan as the rooms that serve see it: titles of which the edge holds all, and nothing once its certificate has
// ended.
type catalogue struct {
	e       *Edge
	viewers bool // what is not out yet, or no more, is not there
}

var _ vod.Titles = catalogue{}

// Titles is what the edge can serve: to viewers, or to other edges, which may hold a title before its hour.
func (e *Edge) Titles(viewers bool) vod.Titles { return catalogue{e, viewers} }

// Store holds the media of Titles. What it reads was checked.
func (e *Edge) Store() blob.Store { return e.store }

// shown reports whether t is served now.
func (c catalogue) shown(t *planned, now time.Time) bool {
	if c.viewers && (t.FromMs > now.UnixMilli() || t.UntilMs != 0 && t.UntilMs <= now.UnixMilli()) {
		return false
	}
	return c.e.holds(t)
}

// holds reports whether all of a title is here.
func (e *Edge) holds(t *planned) bool {
	for i := range t.title.Version.Files {
		if f := &t.title.Version.Files[i]; !e.store.whole(f.Root, f.Size) {
			return false
		}
	}
	return true
}

// list is all that is planned, what is most wanted first.
func (e *Edge) list() []*planned {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*planned, 0, len(e.order))
	for _, id := range e.order {
		all = append(all, e.titles[id])
	}
	return all
}

func (c catalogue) find(match func(t *planned) bool) (*planned, error) {
	if !c.e.lapsed() {
		now := c.e.Now()
		for _, t := range c.e.list() {
			if match(t) && c.shown(t, now) {
				return t, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: this edge does not hold it", vod.ErrNotFound)
}

// List implements vod.Titles.
func (c catalogue) List(_ context.Context, openOnly bool) ([]vod.Title, error) {
	var list []vod.Title
	now := c.e.Now()
	for _, t := range c.e.list() {
		if (t.Open || !openOnly) && !c.e.lapsed() && c.shown(t, now) {
			list = append(list, t.title)
		}
	}
	return list, nil
}

// Get implements vod.Titles.
func (c catalogue) Get(_ context.Context, id vod.TitleID) (vod.Title, error) {
	t, err := c.find(func(t *planned) bool { return t.ID == id })
	if err != nil {
		return vod.Title{}, err
	}
	return t.title, nil
}

// ByRoot implements vod.Titles. Where several titles hold the file, an open one is found before the others.
func (c catalogue) ByRoot(_ context.Context, root bt.Digest) (vod.Title, vod.File, error) {
	has := func(t *planned) *vod.File {
		for i := range t.title.Version.Files {
			if f := &t.title.Version.Files[i]; f.Root == root {
				return f
			}
		}
		return nil
	}
	t, err := c.find(func(t *planned) bool { return t.Open && has(t) != nil })
	if err != nil {
		t, err = c.find(func(t *planned) bool { return has(t) != nil })
	}
	if err != nil {
		return vod.Title{}, vod.File{}, err
	}
	return t.title, *has(t), nil
}

// BySwarm implements vod.Titles.
func (c catalogue) BySwarm(_ context.Context, h bt.InfoHash) (vod.Title, error) {
	t, err := c.find(func(t *planned) bool {
		return t.title.Version.InfoHashV1 == h || t.title.Version.InfoHashV2.Truncated() == h
	})
	if err != nil {
		return vod.Title{}, err
	}
	return t.title, nil
}

// Torrent implements vod.Titles: it is asked of the service, for open titles.
func (c catalogue) Torrent(ctx context.Context, id vod.TitleID) ([]byte, error) {
	var b []byte
	if err := c.e.ask(ctx, "GET", control.PathTorrent+string(id), []byte(nil), &b); err != nil {
		return nil, fmt.Errorf("torrent of %s: %w", id, err)
	}
	return b, nil
}
