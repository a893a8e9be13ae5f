package members

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"essaim/internal/vod"
)

var admin = vod.Actor{Name: vod.ActorAdmin}

// windows is a catalogue's windows in memory.
type windows map[vod.TitleID]vod.Window

func (w windows) List(context.Context) (list []vod.TitleWindow, _ error) {
	for id, window := range w {
		list = append(list, vod.TitleWindow{ID: id, Window: window})
	}
	return list, nil
}

func (w windows) Window(_ context.Context, id vod.TitleID) (vod.Window, error) {
	if window, ok := w[id]; ok {
		return window, nil
	}
	return vod.Window{}, vod.ErrNotFound
}

func (w windows) SetWindow(_ context.Context, id vod.TitleID, window vod.Window) error {
	w[id] = window
	return nil
}

func (w windows) Withdraw(_ context.Context, id vod.TitleID) error { delete(w, id); return nil }

func (w windows) Restore(_ context.Context, id vod.TitleID) error { w[id] = vod.Window{}; return nil }

func subscribe(t *testing.T, m *Members, member vod.Member, s vod.Subscription) {
	t.Helper()
	if err := m.Plans().Subscribe(t.Context(), admin, member.ID, s); err != nil {
		t.Fatal(err)
	}
}

func TestMembersHaveTheStandardPlanAndMayWatchEverything(t *testing.T) {
	m, _ := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	e, err := m.Entitlement(t.Context(), ada.ID, "any-film")
	if want := (vod.Entitlement{Streams: 4, Highest: vod.TierUHD}); err != nil || e != want {
		t.Errorf("%+v, %v, want %+v", e, err, want)
	}
	if _, err := m.Entitlement(t.Context(), "nobody", "any-film"); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("no member: %v", err)
	}
}

func TestPlanSaysWhatItsMembersMayWatch(t *testing.T) {
	m, _ := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	p := m.Plans()
	small := vod.Plan{ID: "small", Name: "Small", Titles: []vod.TitleID{"b", "a", "b"}, Streams: 1, Highest: vod.TierSD}
	if err := p.Put(t.Context(), admin, small); err != nil {
		t.Fatal(err)
	}
	subscribe(t, m, ada, vod.Subscription{Plan: "small", State: vod.Active})
	if e, err := m.Entitlement(t.Context(), ada.ID, "a"); err != nil || e.Streams != 1 || e.Highest != vod.TierSD {
		t.Errorf("an included title: %+v, %v", e, err)
	}
	if _, err := m.Entitlement(t.Context(), ada.ID, "c"); !errors.Is(err, vod.ErrForbidden) || !errors.Is(err, vod.ErrNotIncluded) {
		t.Errorf("another: %v", err)
	}
	small.Titles = []vod.TitleID{"c"}
	if err := p.Put(t.Context(), admin, small); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Entitlement(t.Context(), ada.ID, "a"); !errors.Is(err, vod.ErrNotIncluded) {
		t.Errorf("a title that the plan lost: %v", err)
	}
	if err := p.Remove(t.Context(), admin, "small"); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("removing a plan with members: %v", err)
	}
	subscribe(t, m, ada, vod.Subscription{Plan: vod.PlanStandard, State: vod.Active})
	if err := p.Remove(t.Context(), admin, "small"); err != nil {
		t.Errorf("removing it without: %v", err)
	}
	if err := p.Remove(t.Context(), admin, vod.PlanStandard); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("removing the standard plan: %v", err)
	}
	list, err := p.List(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != vod.PlanStandard || !list[0].AllTitles {
		t.Errorf("plans: %+v, %v", list, err)
	}
}

func TestPlansThatCannotBeAreRefused(t *testing.T) {
	m, _ := newMembers(t)
	good := vod.Plan{ID: "p", Name: "P", AllTitles: true, Streams: 1, Highest: vod.TierHD}
	for name, spoil := range map[string]func(*vod.Plan){
		"id": func(p *vod.Plan) { p.ID = "P q" }, "no name": func(p *vod.Plan) { p.Name = " " },
		"control": func(p *vod.Plan) { p.Name = "a\x00b" }, "no stream": func(p *vod.Plan) { p.Streams = 0 },
		"streams": func(p *vod.Plan) { p.Streams = streamsMax + 1 }, "sound only": func(p *vod.Plan) { p.Highest = vod.TierAudio },
		"both":  func(p *vod.Plan) { p.Titles = []vod.TitleID{"a"} },
		"title": func(p *vod.Plan) { p.AllTitles, p.Titles = false, []vod.TitleID{"A b"} },
	} {
		plan := good
		spoil(&plan)
		if err := m.Plans().Put(t.Context(), admin, plan); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ada := add(t, m, "ada", "correct horse")
	for _, s := range []vod.Subscription{
		{Plan: "none", State: vod.Active},
		{Plan: vod.PlanStandard, State: "paused"},
		{Plan: vod.PlanStandard},
		{Plan: vod.PlanStandard, State: vod.Active, Until: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if err := m.Plans().Subscribe(t.Context(), admin, ada.ID, s); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := m.Plans().Subscribe(t.Context(), admin, "nobody", vod.Subscription{Plan: vod.PlanStandard, State: vod.Active}); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("no member: %v", err)
	}
}

func TestSubscriptionEndsByStateAndByTime(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	until := clock.Now().Add(time.Hour)
	for _, state := range []vod.SubscriptionState{vod.Trial, vod.Active, vod.PastDue} {
		subscribe(t, m, ada, vod.Subscription{Plan: vod.PlanStandard, State: state, Until: until})
		if e, err := m.Entitlement(t.Context(), ada.ID, "x"); err != nil || !e.Until.Equal(until) {
			t.Errorf("%s: %+v, %v", state, e, err)
		}
	}
	clock.Advance(time.Hour)
	if _, err := m.Entitlement(t.Context(), ada.ID, "x"); !errors.Is(err, vod.ErrForbidden) || !errors.Is(err, vod.ErrPlanEnded) {
		t.Errorf("past its end: %v", err)
	}
	subscribe(t, m, ada, vod.Subscription{Plan: vod.PlanStandard, State: vod.Ended})
	if _, err := m.Entitlement(t.Context(), ada.ID, "x"); !errors.Is(err, vod.ErrPlanEnded) {
		t.Errorf("ended: %v", err)
	}
	got, err := m.Plans().Of(t.Context(), ada.ID)
	if err != nil || got != (vod.Subscription{Plan: vod.PlanStandard, State: vod.Ended}) {
		t.Errorf("subscription %+v, %v", got, err)
	}
}

func TestWindowsBindEntitlements(t *testing.T) {
	m, clock := newMembers(t)
	from, until := clock.Now().Add(time.Hour), clock.Now().Add(2*time.Hour)
	m.windows = windows{"soon": {From: from, Until: until}, "always": {}}
	ada := add(t, m, "ada", "correct horse")
	for step, want := range []error{vod.ErrNotAvailable, nil, vod.ErrNotAvailable} {
		if e, err := m.Entitlement(t.Context(), ada.ID, "soon"); !errors.Is(err, want) || want != nil && !errors.Is(err, vod.ErrForbidden) ||
			want == nil && !e.Until.Equal(until) {
			t.Errorf("step %d: %+v, %v", step, e, err)
		}
		clock.Advance(time.Hour)
	}
	if _, err := m.Entitlement(t.Context(), ada.ID, "always"); err != nil {
		t.Error(err)
	}
	if _, err := m.Entitlement(t.Context(), ada.ID, "withdrawn"); !errors.Is(err, vod.ErrNotAvailable) {
		t.Errorf("not published: %v", err)
	}
}

func TestBillingEventsMayComeInAnyOrderAndAnyNumberOfTimes(t *testing.T) {
	m, clock := newMembers(t)
	base := clock.Now().Add(24 * time.Hour)
	for round, order := range [][]int{{3, 1, 3, 0, 4, 2, 4, 1}, {4, 3, 2, 1, 0, 0}, {0, 0, 1, 2, 4, 3}} {
		name := string(rune('a' + round))
		member := add(t, m, name, "correct horse")
		var latest int
		for _, i := range order {
			e := vod.BillingEvent{
				ID: fmt.Sprint(name, i), Sequence: int64(i + 1), Member: member.ID,
				Subscription: vod.Subscription{Plan: vod.PlanStandard, State: vod.Active, Until: base.Add(time.Duration(i) * time.Hour)},
			}
			if i == 4 {
				e.State = vod.Ended
			}
			applied, err := m.Plans().Bill(t.Context(), e)
			if err != nil || applied != (i+1 > latest) {
				t.Errorf("%v: event %d after %d: applied %v, %v", order, i+1, latest, applied, err)
			}
			latest = max(latest, i+1)
		}
		if s, err := m.Plans().Of(t.Context(), member.ID); err != nil || s.State != vod.Ended || !s.Until.Equal(base.Add(4*time.Hour)) {
			t.Errorf("%v: %+v, %v", order, s, err)
		}
	}
}

func TestBillingEventForNobodyMayComeAgain(t *testing.T) {
	m, _ := newMembers(t)
	e := vod.BillingEvent{
		ID: "e1", Sequence: 1, Name: "Ada", Subscription: vod.Subscription{Plan: vod.PlanStandard, State: vod.Ended},
	}
	if _, err := m.Plans().Bill(t.Context(), e); !errors.Is(err, vod.ErrNotFound) {
		t.Fatalf("before there is such a member: %v", err)
	}
	ada := add(t, m, "ada", "correct horse")
	if applied, err := m.Plans().Bill(t.Context(), e); err != nil || !applied {
		t.Errorf("afterwards: %v, %v", applied, err)
	}
	if _, err := m.Entitlement(t.Context(), ada.ID, "x"); !errors.Is(err, vod.ErrPlanEnded) {
		t.Errorf("entitlement: %v", err)
	}
	for _, bad := range []vod.BillingEvent{
		{Sequence: 1, Member: "x"}, {ID: "b", Member: "x"}, {ID: "b", Sequence: 1}, {ID: "b", Sequence: 1, Member: "x", Name: "y"},
	} {
		if _, err := m.Plans().Bill(t.Context(), bad); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestPlansAreListedWithTheirTitlesInOrder(t *testing.T) {
	m, _ := newMembers(t)
	if err := m.Plans().Put(t.Context(), admin, vod.Plan{ID: "a", Name: "A", Titles: []vod.TitleID{"z", "b"}, Streams: 2, Highest: vod.TierHD}); err != nil {
		t.Fatal(err)
	}
	list, err := m.Plans().List(t.Context())
	if err != nil || len(list) != 2 || !slices.Equal(list[0].Titles, []vod.TitleID{"b", "z"}) {
		t.Errorf("%+v, %v", list, err)
	}
}
