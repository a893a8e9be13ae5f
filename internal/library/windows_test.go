package library

import (
	"errors"
	"testing"
	"time"

	"essaim/internal/vod"
)

func TestTitlesOutsideOfTheirWindowAreNotThere(t *testing.T) {
	l := newLibrary(t)
	now := epoch
	l.clock = func() time.Time { return now }
	x := title("soon", 1, true)
	publish(t, l, x)
	w := vod.Window{From: epoch.Add(time.Hour), Until: epoch.Add(2 * time.Hour)}
	if err := l.Windows().SetWindow(t.Context(), "soon", w); err != nil {
		t.Fatal(err)
	}
	publish(t, l, x) // a new version keeps the window
	if got, err := l.Windows().Window(t.Context(), "soon"); err != nil || got != w {
		t.Errorf("window %+v, %v", got, err)
	}
	for step, there := range []bool{false, true, false} {
		list, err := l.List(t.Context(), true)
		if err != nil || (len(list) == 1) != there {
			t.Errorf("step %d: %d titles, %v", step, len(list), err)
		}
		_, get := l.Get(t.Context(), "soon")
		_, _, byRoot := l.ByRoot(t.Context(), x.Version.Files[0].Root)
		_, bySwarm := l.BySwarm(t.Context(), x.Version.InfoHashV1)
		_, bySwarm2 := l.BySwarm(t.Context(), x.Version.InfoHashV2.Truncated())
		_, torrent := l.Torrent(t.Context(), "soon")
		for i, err := range []error{get, byRoot, bySwarm, bySwarm2, torrent} {
			if there && err != nil || !there && !errors.Is(err, vod.ErrNotFound) {
				t.Errorf("step %d, reader %d: %v", step, i, err)
			}
		}
		now = now.Add(time.Hour)
	}
	if err := l.Windows().SetWindow(t.Context(), "soon", vod.Window{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Get(t.Context(), "soon"); err != nil {
		t.Errorf("without a window: %v", err)
	}
}

func TestWindowsThatCannotBeAreRefused(t *testing.T) {
	l := newLibrary(t)
	publish(t, l, title("film", 1, false))
	if err := l.Windows().SetWindow(t.Context(), "film", vod.Window{From: epoch, Until: epoch}); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("an empty window: %v", err)
	}
	if err := l.Windows().SetWindow(t.Context(), "none", vod.Window{}); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("no title: %v", err)
	}
	if _, err := l.Windows().Window(t.Context(), "none"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("no title: %v", err)
	}
}
