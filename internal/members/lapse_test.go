package members

import (
	"context"
	"maps"
	"testing"
	"time"

	"essaim/internal/vod"
)

// ends are the reasons for which play sessions and titles have ended.
func ends(t *testing.T, m *Members) map[string]vod.PlayEnd {
	t.Helper()
	list, _, err := m.Revocations(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]vod.PlayEnd{}
	for _, r := range list {
		got[r.PlaySession+string(r.Title)] = r.Why
	}
	return got
}

func watch(t *testing.T, m *Members, member vod.Member, session string, title vod.TitleID) {
	t.Helper()
	if err := m.Begin(t.Context(), vod.Stream{Session: session, Member: member.ID, Device: session, Title: title, Version: "v"}, 9); err != nil {
		t.Fatal(err)
	}
}

func TestPlanThatEndsEndsItsStreamsAndNoOthers(t *testing.T) {
	m, clock := newMembers(t)
	small := vod.Plan{ID: "small", Name: "Small", Titles: []vod.TitleID{"a", "b"}, Streams: 4, Highest: vod.TierHD}
	if err := m.Plans().Put(t.Context(), admin, small); err != nil {
		t.Fatal(err)
	}
	until := clock.Now().Add(time.Minute)
	people := map[string]vod.Member{}
	for name, s := range map[string]vod.Subscription{
		"timed": {Plan: "small", State: vod.Trial, Until: until}, "lasting": {Plan: "small", State: vod.PastDue},
		"staff": {Plan: "small", State: vod.Ended},
	} {
		people[name] = add(t, m, name, "correct horse")
		subscribe(t, m, people[name], s)
		watch(t, m, people[name], name+"-a", "a")
		watch(t, m, people[name], name+"-b", "b")
	}
	if err := m.Directory().SetRole(t.Context(), admin, people["staff"].ID, vod.Editor); err != nil {
		t.Fatal(err)
	}
	want := map[string]vod.PlayEnd{}
	check := func(step string) {
		t.Helper()
		m.lapse(t.Context(), discard)
		if got := ends(t, m); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
	check("before")
	clock.Advance(time.Minute)
	want["timed-a"], want["timed-b"] = vod.EndPlanEnded, vod.EndPlanEnded
	check("when its time is over")
	small.Titles = []vod.TitleID{"b"}
	if err := m.Plans().Put(t.Context(), admin, small); err != nil {
		t.Fatal(err)
	}
	want["lasting-a"] = vod.EndNotIncluded
	check("when the plan lost a title")
	subscribe(t, m, people["lasting"], vod.Subscription{Plan: "small", State: vod.Ended})
	want["lasting-b"] = vod.EndPlanEnded
	check("when its state ended")
	if list, err := m.Of(t.Context(), people["lasting"].ID); err != nil || len(list) != 0 {
		t.Errorf("streams left: %v, %v", list, err)
	}
}

// Who was told of better pictures than the plan has now, and nobody else, is to begin anew.
func TestPlanThatIsLoweredEndsTheSessionsThatHadMore(t *testing.T) {
	m, _ := newMembers(t)
	plan := vod.Plan{ID: "good", Name: "Good", AllTitles: true, Streams: 9, Highest: vod.TierUHD}
	put := func(highest vod.Tier) {
		t.Helper()
		plan.Highest = highest
		if err := m.Plans().Put(t.Context(), admin, plan); err != nil {
			t.Fatal(err)
		}
	}
	put(vod.TierUHD)
	ada, ed := add(t, m, "ada", "correct horse"), add(t, m, "ed", "correct horse")
	subscribe(t, m, ada, vod.Subscription{Plan: "good", State: vod.Active})
	subscribe(t, m, ed, vod.Subscription{Plan: "good", State: vod.Active})
	if err := m.Directory().SetRole(t.Context(), admin, ed.ID, vod.Editor); err != nil {
		t.Fatal(err)
	}
	begin := func(who vod.Member, session string, highest vod.Tier) {
		t.Helper()
		s := vod.Stream{Session: session, Member: who.ID, Device: session, Title: "film", Version: "v", Highest: highest}
		if err := m.Begin(t.Context(), s, 9); err != nil {
			t.Fatal(err)
		}
	}
	for _, tier := range []vod.Tier{vod.TierUHD, vod.TierHD, vod.TierSD, ""} {
		begin(ada, "ada-"+string(tier), tier)
	}
	begin(ed, "ed", vod.TierUHD) // for their work, whatever the plan
	want := map[string]vod.PlayEnd{}
	for _, step := range []struct {
		to   vod.Tier
		ends string
	}{{vod.TierUHD, ""}, {vod.TierHD, "ada-uhd"}, {vod.TierUHD, ""}, {vod.TierSD, "ada-hd"}} {
		put(step.to)
		if step.ends != "" {
			want[step.ends] = vod.EndPlanChanged
		}
		m.lapse(t.Context(), discard)
		if got := ends(t, m); !maps.Equal(got, want) {
			t.Errorf("up to %s: %v, want %v", step.to, got, want)
		}
	}
}

func TestWindowThatClosesEndsItsTitlesStreams(t *testing.T) {
	m, clock := newMembers(t)
	m.windows = windows{
		"film": {Until: clock.Now().Add(time.Minute)}, "old": {Until: clock.Now().Add(-time.Hour)}, "always": {},
	}
	for step, want := range []map[string]vod.PlayEnd{{}, {"film": vod.EndNotAvailable}, {"film": vod.EndNotAvailable}} {
		m.lapse(t.Context(), discard)
		if got := ends(t, m); !maps.Equal(got, want) {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
		clock.Advance(time.Minute)
	}
}

func TestRunningPlayersHearOfAPlanThatEndsByItself(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	subscribe(t, m, ada, vod.Subscription{Plan: vod.PlanStandard, State: vod.Active, Until: clock.Now().Add(time.Hour)})
	watch(t, m, ada, "s1", "film")
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	ready, told := make(chan struct{}), make(chan vod.Revocation, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Follow(ctx, discard, func() { close(ready) }, func(list []vod.Revocation) {
			for _, r := range list {
				told <- r
			}
		})
	}()
	<-ready
	clock.Advance(time.Hour)
	select {
	case r := <-told:
		if r != (vod.Revocation{PlaySession: "s1", Why: vod.EndPlanEnded}) {
			t.Errorf("told %+v", r)
		}
	case <-ctx.Done():
		t.Error("nobody was told")
	}
	stop()
	<-done
}
