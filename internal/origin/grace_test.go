package origin

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/members"
	"essaim/internal/vod"
)

// failing is a catalogue that can be made to fail, as where the database does not answer.
type failing struct {
	vod.Titles
	broken atomic.Bool
}

func (f *failing) Get(ctx context.Context, id vod.TitleID) (vod.Title, error) {
	if f.broken.Load() {
		return vod.Title{}, vod.ErrUnavailable
	}
	return f.Titles.Get(ctx, id)
}

func (f *failing) ByRoot(ctx context.Context, root bt.Digest) (vod.Title, vod.File, error) {
	if f.broken.Load() {
		return vod.Title{}, vod.File{}, vod.ErrUnavailable
	}
	return f.Titles.ByRoot(ctx, root)
}

// away is an issuer that has been away since a time.
type away struct{ since time.Time }

func (a away) Away() (time.Time, bool) { return a.since, true }

func TestAFilmThatRunsGoesOnWhileTheDatabaseIsAway(t *testing.T) {
	titles := &failing{}
	h := newHouse(t, func(c *Config) { titles.Titles = c.Titles; c.Titles = titles })
	root := h.file("closed", 0).Root.String()
	running, revoked := h.ticket("closed", "running"), h.ticket("closed", "revoked")
	status := func(token string) int {
		t.Helper()
		resp, _ := h.do("GET", "/media/"+root, "Authorization", "Bearer "+token, "Range", "bytes=0-9")
		return resp.StatusCode
	}
	if got := status(running); got != 206 {
		t.Fatal(got)
	}
	h.clock.Advance(members.TicketLife / 2)
	titles.broken.Store(true)
	h.tickets.SetIssuer(away{h.clock.Now()})
	h.tickets.Revoke([]vod.Revocation{{PlaySession: "revoked"}})
	h.clock.Advance(50 * time.Minute)
	if got := status(running); got != 206 {
		t.Errorf("fifty minutes later: %d", got)
	}
	if got := status(revoked); got != 401 && got != 503 {
		t.Errorf("a revoked one: %d", got)
	}
	if got := status("x"); got == 206 || got == 200 {
		t.Errorf("no ticket: %d", got)
	}
	h.clock.Advance(20 * time.Minute)
	if got := status(running); got == 206 {
		t.Error("beyond the grace it plays on")
	}
}
