package registry

import (
	"context"
	"errors"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

// Both is two catalogues in one, as the edge port serves them: what is out, and what is out soon. What the first does not have is
// looked for in the second.
type Both struct{ First, Then vod.Titles }

var _ vod.Titles = Both{}

// List implements vod.Titles, of the first.
func (b Both) List(ctx context.Context, openOnly bool) ([]vod.Title, error) {
	return b.First.List(ctx, openOnly)
}

// Get implements vod.Titles.
func (b Both) Get(ctx context.Context, id vod.TitleID) (vod.Title, error) {
	t, err := b.First.Get(ctx, id)
	if errors.Is(err, vod.ErrNotFound) {
		return b.Then.Get(ctx, id)
	}
	return t, err
}

// ByRoot implements vod.Titles.
func (b Both) ByRoot(ctx context.Context, root bt.Digest) (vod.Title, vod.File, error) {
	t, f, err := b.First.ByRoot(ctx, root)
	if errors.Is(err, vod.ErrNotFound) {
		return b.Then.ByRoot(ctx, root)
	}
	return t, f, err
}

// BySwarm implements vod.Titles.
func (b Both) BySwarm(ctx context.Context, h bt.InfoHash) (vod.Title, error) {
	t, err := b.First.BySwarm(ctx, h)
	if errors.Is(err, vod.ErrNotFound) {
		return b.Then.BySwarm(ctx, h)
	}
	return t, err
}

// Torrent implements vod.Titles.
func (b Both) Torrent(ctx context.Context, id vod.TitleID) ([]byte, error) {
	t, err := b.First.Torrent(ctx, id)
	if errors.Is(err, vod.ErrNotFound) {
		return b.Then.Torrent(ctx, id)
	}
	return t, err
}
