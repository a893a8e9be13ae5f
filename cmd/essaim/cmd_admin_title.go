package main

import (
	"context"
	"fmt"

	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/vod"
)

// withdrawCmd takes a title out of the catalogue.
type withdrawCmd struct {
	Title string `arg:"" help:"The title's id."`
	dataFolder
}

// Help says what stays.
func (c *withdrawCmd) Help() string {
	return "Players of the title, strangers' too, stop within five seconds, beside a running service or without one: from then on its tickets open " +
		"neither media nor swarm nor licence. Its media and keys stay where they are; what viewers hold of a title for members stays encrypted. " +
		"The command restore gives it back."
}

// Run withdraws it. Whoever repeats what failed half-way has the players told all the same.
func (c *withdrawCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, l *library.Library) (map[string]any, string, error) {
		id := vod.TitleID(c.Title)
		if err := l.Windows().Withdraw(ctx, id); err != nil {
			return nil, "", noTitle(c.Title, err)
		}
		if err := m.EndTitle(ctx, id, vod.EndWithdrawn); err != nil {
			return nil, "", fmt.Errorf("it is withdrawn, but its players are not told: %w", err)
		}
		err := m.Directory().Record(ctx, byAdmin, "title.withdraw", c.Title, "")
		return map[string]any{"title": c.Title}, fmt.Sprintf("%s is withdrawn. Its players stop within five seconds.", c.Title), err
	})
}

// restoreCmd gives a withdrawn title back.
type restoreCmd struct {
	Title string `arg:"" help:"The title's id."`
	dataFolder
}

// Run restores it.
func (c *restoreCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, l *library.Library) (map[string]any, string, error) {
		if err := l.Windows().Restore(ctx, vod.TitleID(c.Title)); err != nil {
			return nil, "", noTitle(c.Title, err)
		}
		err := m.Directory().Record(ctx, byAdmin, "title.restore", c.Title, "")
		return map[string]any{"title": c.Title}, fmt.Sprintf("%s is back, for whom its window and the plans give it.", c.Title), err
	})
}

func noTitle(id string, err error) error { return fmt.Errorf("there is no title %q: %w", id, err) }
