package api

import (
	"testing"

	"essaim/internal/vod"
)

// A withdrawal reaches the event streams of running players, members' and strangers', and takes the title from everybody until
// it is restored; both are written down.
func TestAWithdrawalEndsRunningPlayersUntilItIsRestored(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.member("ed", vod.Editor)
	h.followNews()
	editor, ada, stranger := h.browser().signInAs("ed"), h.browser().signIn(), h.browser()
	for title, who := range map[string]*browser{"open": stranger, "closed": ada} {
		p := who.play(title, `{}`)
		next := h.events(&p)
		if kind, _ := next(); kind != "policy" {
			t.Fatalf("%s: first %q", title, kind)
		}
		path := "/api/v1/operator/titles/" + title
		var out WithdrawnBody
		editor.want(200, &out, "POST", path+"/withdraw", "")
		if out.Withdrawn == nil || !out.Withdrawn.Equal(h.clock.Now()) {
			t.Errorf("%s: withdrawn %v", title, out.Withdrawn)
		}
		if kind, data := next(); kind != "ended" || data != `{"code":"withdrawn"}` {
			t.Errorf("%s: heard %q %s", title, kind, data)
		}
		who.refused(410, "withdrawn", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
		who.refused(404, "not_found", "POST", "/api/v1/titles/"+title+"/play", `{}`)
		who.refused(404, "not_found", "GET", "/api/v1/titles/"+title, "")

		var listed struct{ Titles []StaffTitle }
		editor.want(200, &listed, "GET", "/api/v1/operator/titles", "")
		for _, x := range listed.Titles {
			if gone := x.ID == vod.TitleID(title); gone != (x.Withdrawn != nil) || gone == x.Shown {
				t.Errorf("%s: the editor sees %+v", title, x)
			}
		}
		out = WithdrawnBody{}
		editor.want(200, &out, "POST", path+"/restore", "")
		if out.Withdrawn != nil {
			t.Errorf("%s: still withdrawn at %v", title, out.Withdrawn)
		}
		who.play(title, `{}`)
	}
	for _, way := range []string{"withdraw", "restore"} {
		editor.refused(404, "not_found", "POST", "/api/v1/operator/titles/none/"+way, "")
		ada.refused(403, "forbidden", "POST", "/api/v1/operator/titles/open/"+way, "")
		stranger.refused(401, "unauthorized", "POST", "/api/v1/operator/titles/open/"+way, "")
	}
	written, err := h.members.Directory().Entries(t.Context(), 0, 50)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, e := range written {
		if e.By.Name == "ed" {
			count[e.Action]++
		}
	}
	if count["title.withdraw"] != 2 || count["title.restore"] != 2 {
		t.Errorf("written down: %v", count)
	}
}

// A plan that is lowered has players of better pictures begin anew, and says what they may have then.
func TestAPlanThatIsLoweredReachesRunningPlayers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.followNews()
	ada := h.browser().signIn()
	p := ada.play("closed", `{}`)
	next := h.events(&p)
	next()
	lower := vod.Plan{ID: vod.PlanStandard, Name: "Standard", AllTitles: true, Streams: 1, Highest: vod.TierSD}
	if err := h.members.Plans().Put(t.Context(), vod.Actor{Name: vod.ActorAdmin}, lower); err != nil {
		t.Fatal(err)
	}
	if kind, data := next(); kind != "ended" || data != `{"code":"plan_changed"}` {
		t.Errorf("heard %q %s", kind, data)
	}
	h.revoked(p.Tickets.Media)
	ada.refused(410, "plan_changed", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
	again := ada.play("closed", `{}`) // its place is free
	if next := h.events(&again); next != nil {
		if kind, _ := next(); kind != "policy" {
			t.Errorf("under the lower plan: %q", kind)
		}
	}
}
