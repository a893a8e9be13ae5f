package api

import (
	"testing"
	"time"

	"essaim/internal/vod"
)

func TestAHouseholdManagesItsProfiles(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ada := h.browser().signIn()
	var home HouseholdBody
	ada.want(200, &home, "GET", "/api/v1/profiles", "")
	if len(home.Profiles) != 1 || home.Profiles[0].Name != "ada" || home.Current != home.Profiles[0].ID || home.Chosen {
		t.Fatalf("household %+v", home)
	}
	var kid ProfileBody
	ada.want(200, &kid, "POST", "/api/v1/profiles", `{"name":"Zoé","age_limit":0}`)
	ada.want(200, &kid, "PUT", "/api/v1/profiles/"+kid.ID, `{"name":"Zoé","age_limit":6,"language":"fr"}`)
	ada.refused(400, "invalid", "PUT", "/api/v1/profiles/"+kid.ID, `{"name":"  "}`)
	ada.refused(404, "not_found", "PUT", "/api/v1/profiles/none", `{"name":"x"}`)
	ada.want(200, &home, "POST", "/api/v1/profiles/"+kid.ID+"/choose", `{}`)
	if home.Current != kid.ID || !home.Chosen || *home.Profiles[1].AgeLimit != 6 || home.Profiles[1].Language != "fr" {
		t.Errorf("household %+v", home)
	}
}

// A child who holds the device must not get around the limit: neither by choosing another profile nor by changing its own.
func TestAProfileWithALimitIsLeftWithThePasswordOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	ada := h.browser().signIn()
	var home HouseholdBody
	ada.want(200, &home, "GET", "/api/v1/profiles", "")
	first := home.Current
	var kid, baby, teen ProfileBody
	ada.want(200, &kid, "POST", "/api/v1/profiles", `{"name":"Kid","age_limit":6}`)
	ada.want(200, &baby, "POST", "/api/v1/profiles", `{"name":"Baby","age_limit":0}`)
	ada.want(200, &teen, "POST", "/api/v1/profiles", `{"name":"Teen","age_limit":12}`)
	ada.want(200, &home, "POST", "/api/v1/profiles/"+kid.ID+"/choose", `{}`)

	ada.refused(403, "limited", "POST", "/api/v1/profiles", `{"name":"Free"}`)
	ada.refused(403, "limited", "PUT", "/api/v1/profiles/"+kid.ID, `{"name":"Kid"}`)
	ada.refused(403, "limited", "DELETE", "/api/v1/profiles/"+kid.ID, "")
	for _, id := range []string{first, teen.ID} {
		ada.refused(403, "limited", "POST", "/api/v1/profiles/"+id+"/choose", `{}`)
	}
	ada.refused(403, "wrong_password", "POST", "/api/v1/profiles/"+first+"/choose", `{"password":"a guess"}`)
	ada.want(200, &home, "GET", "/api/v1/profiles", "")
	if home.Current != kid.ID || len(home.Profiles) != 4 {
		t.Errorf("household %+v", home)
	}
	ada.want(200, &home, "POST", "/api/v1/profiles/"+baby.ID+"/choose", `{}`) // it is shown less
	h.clock.Advance(time.Minute)                                              // the wrong one lengthens the pause
	ada.want(200, &home, "POST", "/api/v1/profiles/"+first+"/choose", `{"password":"`+password+`"}`)
	if resp, body := ada.do("DELETE", "/api/v1/profiles/"+teen.ID, ""); resp.StatusCode != 204 {
		t.Errorf("remove: %d %s", resp.StatusCode, body)
	}
}

func TestInADemonstrationNobodyNeedsAPasswordToLeaveALimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Demo = &Demo{Members: []string{"ada"}} })
	ada := h.browser().signIn()
	var home HouseholdBody
	ada.want(200, &home, "GET", "/api/v1/profiles", "")
	first := home.Current
	var kid ProfileBody
	ada.want(200, &kid, "POST", "/api/v1/profiles", `{"name":"Kid","age_limit":6}`)
	ada.want(200, &home, "POST", "/api/v1/profiles/"+kid.ID+"/choose", `{}`)
	ada.want(200, &home, "POST", "/api/v1/profiles/"+first+"/choose", `{}`)
	if home.Current != first {
		t.Errorf("household %+v", home)
	}
}

func TestPositionsAndListsAreOfTheProfileThatWatches(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	tv, phone := h.browser().signIn(), h.browser().signIn()
	var at PositionBody
	unbegun := func(b *browser) {
		t.Helper()
		var at PositionBody
		b.want(200, &at, "GET", "/api/v1/positions/closed", "")
		if at.Title != "closed" || at.PositionMs != 0 || at.DurationMs == 0 || at.Watched {
			t.Errorf("a title that nobody has begun is at %+v", at)
		}
	}
	unbegun(tv)
	tv.want(200, &at, "PUT", "/api/v1/positions/closed", `{"position_ms":2000,"duration_ms":4000,"audio":"fr","subtitles":"en"}`)
	if at.Title != "closed" || at.Watched || !at.At.Equal(h.clock.Now()) {
		t.Errorf("saved %+v", at)
	}
	// On another device of the same profile it is there, and what that says next is right for both.
	phone.want(200, &at, "GET", "/api/v1/positions/closed", "")
	if at.PositionMs != 2000 || at.Audio != "fr" || at.Subtitles != "en" {
		t.Errorf("on the telephone %+v", at)
	}
	phone.want(200, &at, "PUT", "/api/v1/positions/closed", `{"position_ms":9000,"duration_ms":4000}`)
	var list struct{ Positions []PositionBody }
	tv.want(200, &list, "GET", "/api/v1/positions?limit=3", "")
	if len(list.Positions) != 1 || list.Positions[0].PositionMs != 4000 || !list.Positions[0].Watched {
		t.Errorf("positions %+v", list)
	}
	if resp, body := tv.do("PUT", "/api/v1/list/closed", ""); resp.StatusCode != 204 {
		t.Errorf("keep: %d %s", resp.StatusCode, body)
	}
	var kept struct{ Titles []vod.TitleID }
	phone.want(200, &kept, "GET", "/api/v1/list", "")
	if len(kept.Titles) != 1 || kept.Titles[0] != "closed" {
		t.Errorf("kept %+v", kept)
	}

	// Another profile of the household has its own.
	var other ProfileBody
	var home HouseholdBody
	tv.want(200, &other, "POST", "/api/v1/profiles", `{"name":"Bob"}`)
	tv.want(200, &home, "POST", "/api/v1/profiles/"+other.ID+"/choose", `{}`)
	unbegun(tv)
	tv.want(200, &kept, "GET", "/api/v1/list", "")
	if len(kept.Titles) != 0 {
		t.Errorf("bob keeps %+v", kept)
	}

	for _, path := range []string{"/api/v1/list/closed", "/api/v1/positions/closed"} {
		if resp, body := phone.do("DELETE", path, ""); resp.StatusCode != 204 {
			t.Errorf("DELETE %s: %d %s", path, resp.StatusCode, body)
		}
	}
	unbegun(phone)
	phone.refused(404, "not_found", "PUT", "/api/v1/positions/none", `{"position_ms":1,"duration_ms":4000}`)
	phone.refused(404, "not_found", "PUT", "/api/v1/list/none", "")
	phone.refused(422, "invalid", "PUT", "/api/v1/positions/closed", `{"position_ms":1,"duration_ms":0}`)
	phone.refused(400, "invalid", "PUT", "/api/v1/positions/closed", `{"position_ms":1,"duration_ms":9,"audio":"<b>"}`)
}
