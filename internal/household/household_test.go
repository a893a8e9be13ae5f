package household

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/members"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// home is a household in a real database, under a clock that stands still until it is moved.
type home struct {
	*Profiles
	t       *testing.T
	members *members.Members
	now     time.Time
	ada     vod.Member
}

func newHome(t *testing.T) *home {
	t.Helper()
	db, err := sqltest.Open(t.Context(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	h := &home{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	clock := func() time.Time { return h.now }
	h.Profiles, h.members = New(db, clock), members.New(db, clock)
	h.ada = h.member("ada")
	return h
}

func (h *home) member(name string) vod.Member {
	h.t.Helper()
	m, err := h.members.Add(h.t.Context(), name, "correct horse")
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

func (h *home) device(name string) vod.DeviceSession {
	h.t.Helper()
	_, d, err := h.members.SignIn(h.t.Context(), name, "correct horse", vod.Visit{})
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

func (h *home) add(p vod.Profile) vod.Profile {
	h.t.Helper()
	made, err := h.Add(h.t.Context(), h.ada, p)
	if err != nil {
		h.t.Fatal(err)
	}
	return made
}

func (h *home) save(title vod.TitleID, at uint32) {
	h.t.Helper()
	err := h.Save(h.t.Context(), h.ada, h.ada.ID, vod.Position{Title: title, PositionMs: at, DurationMs: 100_000, Audio: "fr"})
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestAMemberHasAProfileBeforeAnythingIsKept(t *testing.T) {
	h := newHome(t)
	want := []vod.Profile{{ID: h.ada.ID, Name: "ada"}}
	for _, step := range []string{"before anything was written", "after"} {
		list, err := h.Of(t.Context(), h.ada)
		if err != nil || !slices.Equal(list, want) {
			t.Errorf("%s: %+v, %v", step, list, err)
		}
		p, chosen, err := h.Current(t.Context(), h.device("ada"))
		if err != nil || chosen || p != want[0] {
			t.Errorf("%s: current %+v, %v, %v", step, p, chosen, err)
		}
		h.save("film", 1)
	}
	kid := h.add(vod.Profile{Name: " Zoé ", Limit: vod.Age{Set: true}, Language: "fr"})
	if kid.Name != "Zoé" {
		t.Errorf("made %+v", kid)
	}
	if list, err := h.Of(t.Context(), h.ada); err != nil || !slices.Equal(list, append(want, kid)) {
		t.Errorf("with a second: %+v, %v", list, err)
	}
}

func TestEachDeviceHasTheProfileThatItChose(t *testing.T) {
	h := newHome(t)
	kid := h.add(vod.Profile{Name: "Kid", Limit: vod.Age{Set: true, Years: 6}})
	tv, phone := h.device("ada"), h.device("ada")
	if err := h.Choose(t.Context(), tv, kid.ID); err != nil {
		t.Fatal(err)
	}
	if p, chosen, err := h.Current(t.Context(), tv); err != nil || !chosen || p != kid {
		t.Errorf("television: %+v, %v, %v", p, chosen, err)
	}
	if p, chosen, err := h.Current(t.Context(), phone); err != nil || chosen || p.ID != h.ada.ID {
		t.Errorf("telephone: %+v, %v, %v", p, chosen, err)
	}
	h.member("bob")
	if err := h.Choose(t.Context(), h.device("bob"), kid.ID); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("another household's: %v", err)
	}
}

func TestAChildsDeviceKeepsALimitWhenItsProfileGoes(t *testing.T) {
	h := newHome(t)
	kid := h.add(vod.Profile{Name: "Kid", Limit: vod.Age{Set: true, Years: 10}})
	teen := h.add(vod.Profile{Name: "Teen", Limit: vod.Age{Set: true, Years: 12}})
	tv := h.device("ada")
	if err := h.Choose(t.Context(), tv, kid.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), h.ada, kid.ID); err != nil {
		t.Fatal(err)
	}
	if p, _, err := h.Current(t.Context(), tv); err != nil || p != teen {
		t.Errorf("after the first went: %+v, %v", p, err)
	}
	if err := h.Remove(t.Context(), h.ada, h.ada.ID); err != nil { // the first made may go too
		t.Fatal(err)
	}
	if err := h.Remove(t.Context(), h.ada, teen.ID); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("the last: %v", err)
	}
	if p, _, err := h.Current(t.Context(), tv); err != nil || p != teen {
		t.Errorf("the last is still there: %+v, %v", p, err)
	}
}

func TestProfilesThatCannotBeAreRefused(t *testing.T) {
	h := newHome(t)
	for _, p := range []vod.Profile{
		{},
		{Name: " "},
		{Name: strings.Repeat("x", 41)},
		{Name: "a\nb"},
		{Name: "a", Limit: vod.Age{Set: true, Years: -1}},
		{Name: "a", Limit: vod.Age{Set: true, Years: 22}},
		{Name: "a", Language: "<fr>"},
	} {
		if _, err := h.Add(t.Context(), h.ada, p); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("add %+v: %v", p, err)
		}
		p.ID = h.ada.ID
		if err := h.Change(t.Context(), h.ada, p); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("change %+v: %v", p, err)
		}
	}
	for range vod.ProfilesMax - 1 {
		h.add(vod.Profile{Name: "Guest"})
	}
	if _, err := h.Add(t.Context(), h.ada, vod.Profile{Name: "one too many"}); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("one too many: %v", err)
	}
}

func TestWhatIsKeptIsTheOwnersAlone(t *testing.T) {
	h := newHome(t)
	bob := h.member("bob")
	h.save("film", 7)
	p := vod.Position{Title: "film", PositionMs: 9, DurationMs: 10}
	for what, err := range map[string]error{
		"save":   h.Save(t.Context(), bob, h.ada.ID, p),
		"keep":   h.Keep(t.Context(), bob, h.ada.ID, "film"),
		"change": h.Change(t.Context(), bob, vod.Profile{ID: h.ada.ID, Name: "bob's"}),
		"remove": h.Remove(t.Context(), bob, h.ada.ID),
	} {
		if !errors.Is(err, vod.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if at, err := h.Position(t.Context(), h.ada.ID, "film"); err != nil || at.PositionMs != 7 {
		t.Errorf("ada is at %+v, %v", at, err)
	}
	if _, err := h.Position(t.Context(), bob.ID, "film"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("bob has begun: %v", err)
	}
}

func TestWhoSpeaksLastIsRightAndAlmostTheEndIsSeen(t *testing.T) {
	h := newHome(t)
	h.save("film", 90_000)
	h.now = h.now.Add(-time.Minute) // another node's clock is slow
	h.save("film", 1_000)
	at, err := h.Position(t.Context(), h.ada.ID, "film")
	if err != nil || at.PositionMs != 1_000 || at.Audio != "fr" || !at.At.Equal(h.now) || at.Watched() {
		t.Errorf("at %+v, %v", at, err)
	}
	for position, seen := range map[uint32]bool{95_000: false, 95_001: true, 1 << 31: true} {
		h.save("film", position)
		if at, err = h.Position(t.Context(), h.ada.ID, "film"); err != nil || at.Watched() != seen || at.PositionMs > at.DurationMs {
			t.Errorf("%d ms: %+v, %v", position, at, err)
		}
	}
	for _, p := range []vod.Position{{Title: "film"}, {Title: "No", DurationMs: 1}, {Title: "film", DurationMs: 1, Audio: "a b"}} {
		if err := h.Save(t.Context(), h.ada, h.ada.ID, p); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("save %+v: %v", p, err)
		}
	}
	if err := h.Forget(t.Context(), h.ada.ID, "film"); err != nil {
		t.Fatal(err)
	}
	if list, err := h.Positions(t.Context(), h.ada.ID, 10); err != nil || len(list) != 0 {
		t.Errorf("forgotten: %+v, %v", list, err)
	}
}

func TestPositionsAndListsAreBounded(t *testing.T) {
	h := newHome(t)
	// What is there already goes in at once: 500 transactions would take their time.
	if err := h.fill("watch_positions (profile_id, title_id, at_ms, position_ms, duration_ms, audio, subtitles)", ", 0, 1, '', ''", vod.PositionsMax); err != nil {
		t.Fatal(err)
	}
	if err := h.fill("profile_titles (profile_id, title_id, added_ms)", "", vod.ListMax); err != nil {
		t.Fatal(err)
	}
	h.save("new", 5)
	list, err := h.Positions(t.Context(), h.ada.ID, 1000)
	if err != nil || len(list) != vod.PositionsMax || list[0].Title != "new" || list[len(list)-1].Title != "film-1" {
		t.Errorf("%d positions, %v", len(list), err)
	}
	if err := h.Keep(t.Context(), h.ada, h.ada.ID, "new"); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("keep one too many: %v", err)
	}
	if err := h.Keep(t.Context(), h.ada, h.ada.ID, "film-3"); err != nil {
		t.Errorf("keep what is there: %v", err)
	}
	if err := h.Drop(t.Context(), h.ada.ID, "film-3"); err != nil {
		t.Fatal(err)
	}
	if err := h.Keep(t.Context(), h.ada, h.ada.ID, "new"); err != nil {
		t.Errorf("keep after there is room: %v", err)
	}
	kept, err := h.List(t.Context(), h.ada.ID)
	if err != nil || len(kept) != vod.ListMax || kept[0] != "new" || slices.Contains(kept, "film-3") {
		t.Errorf("%d kept, %v", len(kept), err)
	}
}

// fill writes n rows of ada's, film-0 the oldest.
func (h *home) fill(into, rest string, n int) error {
	h.save("film-0", 0) // so that her profile is written
	if err := h.Forget(h.t.Context(), h.ada.ID, "film-0"); err != nil {
		return err
	}
	var values []string
	for i := range n {
		values = append(values, fmt.Sprintf("('%s', 'film-%d', %d%s)", h.ada.ID, i, i+1, rest))
	}
	return h.db.Write(h.t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(h.t.Context(), `INSERT INTO `+into+` VALUES `+strings.Join(values, ", ")+` ON CONFLICT DO NOTHING`)
		return err
	})
}
