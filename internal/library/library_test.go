package library

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t *testing.T, name string) *Library {
	t.Helper()
	db, err := sqltest.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return New(db, func() time.Time { return epoch })
}

func newLibrary(t *testing.T) *Library { return open(t, filepath.Join(t.TempDir(), "essaim.db")) }

// title makes a title whose hashes all derive from seed.
func title(id vod.TitleID, seed byte, open bool) vod.Title {
	v2 := bt.InfoHashV2{0: seed, 31: 2}
	return vod.Title{
		ID: id, Name: "The " + string(id), Summary: "Of <b>" + string(id), Open: open,
		Published: epoch.Add(time.Duration(seed) * time.Hour),
		Version: vod.Version{
			ID: v2.String(), InfoHashV1: bt.InfoHash{0: seed, 19: 1}, InfoHashV2: v2, PieceLength: 32 << 10, DurationMs: 4000,
			Manifest: "<MPD/>",
			Files: []vod.File{
				{
					Path: "video-360p.mp4", Size: 70_000, Root: bt.Digest{0: seed, 31: 3}, Kind: vod.Video, Codec: "avc1.64001e",
					Bandwidth: 300_000, Width: 640, Height: 360,
					Index: index.Index{{From: 900, To: 40_000, DurationMs: 2000}, {From: 40_000, To: 70_000, StartMs: 2000, DurationMs: 2000}},
				},
				{
					Path: "audio.mp4", Size: 9_000, Root: bt.Digest{0: 0xaa}, FirstPiece: 3, Kind: vod.Audio, Codec: "mp4a.40.2",
					Bandwidth: 64_000, Index: index.Index{{From: 700, To: 9_000, DurationMs: 4000}},
				},
			},
		},
	}
}

func TestSubtitlesAndStoryboardComeWithTheirTitle(t *testing.T) {
	l := newLibrary(t)
	x := title("one", 1, true)
	object := func(s string) string { return strings.Repeat(s, 64) }
	x.Subtitles = []vod.Subtitle{{Lang: "fr", Label: "Français", Object: object("a")}, {Object: object("b")}}
	x.Storyboard = &vod.Storyboard{Object: object("c"), IntervalMs: 2000, Pictures: 5, Across: 3, Width: 160, Height: 90}
	check := func() {
		t.Helper()
		got, err := l.Get(t.Context(), x.ID)
		if err != nil || !reflect.DeepEqual(got, x) {
			t.Errorf("%+v, %v", got, err)
		}
		if all, err := l.List(t.Context(), false); err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], x) {
			t.Errorf("%+v, %v", all, err)
		}
	}
	publish(t, l, x)
	check()
	// A corrected subtitle leaves the version as it is, and what is there no more is gone.
	x.Subtitles, x.Storyboard = []vod.Subtitle{{Lang: "fr", Object: object("d")}}, nil
	publish(t, l, x)
	check()
	for _, bad := range []vod.Subtitle{{Object: "../x"}, {Object: object("A")}, {Object: object("a"), Lang: strings.Repeat("x", 36)}} {
		y := x
		y.Subtitles = []vod.Subtitle{bad}
		if err := l.Publish(t.Context(), y, []byte("torrent")); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := l.Withdraw(t.Context(), x.ID); err != nil {
		t.Error(err)
	}
}

func publish(t *testing.T, l *Library, x vod.Title) {
	t.Helper()
	if err := l.Publish(t.Context(), x, []byte("torrent of "+x.Version.ID)); err != nil {
		t.Fatal(err)
	}
}

func TestLibraryReturnsWhatWasPublished(t *testing.T) {
	l := newLibrary(t)
	want := title("closed", 1, false)
	want.Version.Scheme = vod.CBCS
	want.Version.Files[0].KID, want.Version.Files[1].KID = vod.KID{1, 2}, vod.KID{15: 3}
	publish(t, l, want)
	publish(t, l, title("open", 2, true))
	was := title("from before titles were encrypted", 3, false)
	was.ID = "clear"
	publish(t, l, was)
	if got, err := l.Get(t.Context(), "clear"); err != nil || !reflect.DeepEqual(got, was) {
		t.Errorf("get: %+v, %v\nwant %+v", got, err, was)
	}

	got, err := l.Get(t.Context(), "closed")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("get: %+v, %v\nwant %+v", got, err, want)
	}
	for _, h := range []bt.InfoHash{want.Version.InfoHashV1, want.Version.InfoHashV2.Truncated()} {
		if got, err := l.BySwarm(t.Context(), h); err != nil || got.ID != "closed" {
			t.Errorf("by swarm %s: %s, %v", h, got.ID, err)
		}
	}
	gotTitle, gotFile, err := l.ByRoot(t.Context(), want.Version.Files[0].Root)
	if err != nil || gotTitle.ID != "closed" || !reflect.DeepEqual(gotFile, want.Version.Files[0]) {
		t.Errorf("by root: %s %+v, %v", gotTitle.ID, gotFile, err)
	}
	if b, err := l.Torrent(t.Context(), "closed"); err != nil || string(b) != "torrent of "+want.Version.ID {
		t.Errorf("torrent: %q, %v", b, err)
	}
}

func TestLibraryFindsAnOpenTitleFirstWhereTwoShareAFile(t *testing.T) {
	l := newLibrary(t)
	publish(t, l, title("open", 1, true))
	publish(t, l, title("closed", 2, false))
	got, f, err := l.ByRoot(t.Context(), bt.Digest{0: 0xaa})
	if err != nil || got.ID != "open" || f.Path != "audio.mp4" {
		t.Errorf("%s %s, %v", got.ID, f.Path, err)
	}
}

func TestLibraryListsNewestFirst(t *testing.T) {
	l := newLibrary(t)
	if got, err := l.List(t.Context(), false); err != nil || got == nil || len(got) != 0 {
		t.Errorf("empty: %v, %v", got, err)
	}
	publish(t, l, title("old", 1, true))
	publish(t, l, title("new", 3, true))
	publish(t, l, title("closed", 2, false))
	ids := func(openOnly bool) (s string) {
		titles, err := l.List(t.Context(), openOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range titles {
			s += string(x.ID) + " "
			if len(x.Version.Files) != 2 {
				t.Errorf("%s has %d files", x.ID, len(x.Version.Files))
			}
		}
		return s
	}
	if got := ids(false); got != "new closed old " {
		t.Errorf("all: %s", got)
	}
	if got := ids(true); got != "new old " {
		t.Errorf("open: %s", got)
	}
}

func TestLibraryReplacesAVersionWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "essaim.db")
	l := open(t, name)
	first, second := title("film", 1, true), title("film", 2, false)
	publish(t, l, first)
	publish(t, open(t, name), second) // by another process
	if got, err := l.Get(t.Context(), "film"); err != nil || !reflect.DeepEqual(got, second) {
		t.Errorf("get: %+v, %v", got, err)
	}
	if _, err := l.BySwarm(t.Context(), first.Version.InfoHashV1); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("the old swarm: %v", err)
	}
	if _, _, err := l.ByRoot(t.Context(), first.Version.Files[0].Root); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("the old file: %v", err)
	}
}

func TestLibraryNeverShowsHalfAVersion(t *testing.T) {
	l := newLibrary(t)
	a, b := title("film", 1, true), title("film", 2, true)
	publish(t, l, a)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			x := a
			if i%2 == 0 {
				x = b
			}
			if err := l.Publish(t.Context(), x, []byte("t")); err != nil {
				t.Error(err)
			}
		}
	})
	for range 40 {
		got, err := l.Get(t.Context(), "film")
		if err != nil || !reflect.DeepEqual(got, a) && !reflect.DeepEqual(got, b) {
			t.Fatalf("a mixture: %+v, %v", got, err)
		}
	}
	wg.Wait()
}

func TestLibraryRefusesConflicts(t *testing.T) {
	l := newLibrary(t)
	publish(t, l, title("film", 1, true))
	other := title("film", 2, true)
	other.Name = "Another film whose name leads to the same id"
	if err := l.Publish(t.Context(), other, []byte("t")); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("same id, other name: %v", err)
	}
	same := title("copy", 1, true)
	if err := l.Publish(t.Context(), same, []byte("t")); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("same version, other title: %v", err)
	}
	if got, _ := l.Get(t.Context(), "film"); got.Name != "The film" {
		t.Errorf("the first is now %q", got.Name)
	}
}

func TestLibraryRefusesWhatCannotBePlayed(t *testing.T) {
	l := newLibrary(t)
	for name, spoil := range map[string]func(x *vod.Title){
		"id":           func(x *vod.Title) { x.ID = "Not/Valid" },
		"name":         func(x *vod.Title) { x.Name = " " },
		"poster":       func(x *vod.Title) { x.Poster = "../x" },
		"version":      func(x *vod.Title) { x.Version.ID = "1" },
		"no files":     func(x *vod.Title) { x.Version.Files = nil },
		"overlap":      func(x *vod.Title) { x.Version.Files[1].FirstPiece = 2 },
		"same path":    func(x *vod.Title) { x.Version.Files[1].Path = x.Version.Files[0].Path },
		"piece length": func(x *vod.Title) { x.Version.PieceLength = 100_000 },
	} {
		x := title("film", 1, true)
		spoil(&x)
		if err := l.Publish(t.Context(), x, []byte("t")); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Publish(t.Context(), title("film", 1, true), nil); !errors.Is(err, vod.ErrInvalid) {
		t.Error("no torrent: accepted")
	}
	if _, err := l.Get(t.Context(), "film"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if _, err := l.Torrent(t.Context(), "film"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("torrent: %v", err)
	}
}

func TestWithdrawnTitleIsGoneUntilItIsRestored(t *testing.T) {
	l := newLibrary(t)
	x := title("film", 1, true)
	publish(t, l, x)
	for range 2 {
		if err := l.Withdraw(t.Context(), "film"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Get(t.Context(), "film"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if _, _, err := l.ByRoot(t.Context(), x.Version.Files[0].Root); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("by root: %v", err)
	}
	if list, err := l.Windows().List(t.Context()); err != nil || len(list) != 1 || list[0].Withdrawn.IsZero() {
		t.Errorf("editors see %+v, %v", list, err)
	}
	if _, err := l.Windows().Window(t.Context(), "film"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("window: %v", err)
	}
	if err := l.Windows().Restore(t.Context(), "film"); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Get(t.Context(), "film"); err != nil || got.Version.ID != x.Version.ID {
		t.Errorf("restored: %+v, %v", got, err)
	}
	for _, way := range []func() error{
		func() error { return l.Windows().Withdraw(t.Context(), "none") },
		func() error { return l.Windows().Restore(t.Context(), "none") },
	} {
		if err := way(); !errors.Is(err, vod.ErrNotFound) {
			t.Errorf("no title: %v", err)
		}
	}
}

func TestWithdrawnTitleMakesWayForAnother(t *testing.T) {
	l := newLibrary(t)
	withdraw := func(id vod.TitleID) {
		t.Helper()
		if err := l.Withdraw(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, l, title("film", 1, true))
	withdraw("film")
	publish(t, l, title("other", 1, true)) // its version is free again
	withdraw("other")
	renamed := title("other", 2, true)
	renamed.Name = "Another film altogether"
	publish(t, l, renamed) // and so is an ID
	withdraw("other")
	publish(t, l, renamed) // to publish is to restore
	if list, err := l.Windows().List(t.Context()); err != nil || len(list) != 1 || list[0].Name != renamed.Name || !list[0].Withdrawn.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
}
