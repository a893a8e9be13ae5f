package api

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/vod"
)

// recipe says how somebody would reach, by one operation, what is not theirs, and who may.
type recipe struct {
	// for whom it is: everyone, a member (of any role), editor, operator, or owner, who is the member ada alone.
	whom string
	path string // with what is ada's filled in; empty: the operation's own, without parameters
	body string
	// fresh: it ends the session, so that whoever asks has to sign in again.
	fresh bool
	// bearer is the ticket that whoever asks shows: of a play session of their own.
	bearer func(*player) string
	header []string
}

// player is somebody who asks, with a play session of their own.
type player struct {
	*browser
	who  string
	role vod.Role // empty for a stranger
	open vod.PlaySession
}

// recipes are one for each operation of the document. One that is missing fails the test: whoever adds an operation says
// here whom it is for.
func recipes(ada *player, member vod.Member, device, stream, invitation, profile string) map[string]recipe {
	id := "/api/v1/operator/members/" + member.ID
	media := func(p *player) string { return p.open.Tickets.Media }
	const plan = `{"name":"P","all_titles":true,"streams":1,"highest":"sd"}`
	return map[string]recipe{
		"health": {whom: "everyone"}, "ready": {whom: "everyone"}, "demo": {whom: "everyone"}, "sign-up-rule": {whom: "everyone"},
		"home": {whom: "everyone"}, "search": {whom: "everyone"}, "get-series": {whom: "everyone", path: "/api/v1/series/none"},
		"list-titles": {whom: "everyone"}, "sign-out": {whom: "everyone", fresh: true},
		"sign-in":      {whom: "nobody", body: `{"name":"ada","password":"wrong password"}`},
		"demo-sign-in": {whom: "nobody", body: `{"name":"nobody"}`},
		"sign-up":      {whom: "nobody", body: `{"name":"zoe","password":"correct horse"}`}, // it is by invitation here
		"look-at-link": {whom: "nobody", body: `{"token":"` + invitation + `"}`},            // its name is not its token
		"use-link":     {whom: "nobody", body: `{"token":"` + invitation + `","name":"zoe","password":"correct horse"}`},
		"get-title":    {whom: "member", path: "/api/v1/titles/closed"},
		"play":         {whom: "member", path: "/api/v1/titles/closed/play", body: `{}`},
		"get-torrent":  {whom: "nobody", path: "/api/v1/titles/closed/torrent"},

		"me": {whom: "member"}, "account": {whom: "member"}, "devices": {whom: "member"},
		"end-devices":  {whom: "member", fresh: true},
		"set-password": {whom: "nobody", body: `{"current":"not this one","password":"correct horse"}`},
		"end-device":   {whom: "owner", path: "/api/v1/account/devices/" + device},

		"heartbeat":   {whom: "owner", path: "/api/v1/play/" + ada.open.ID + "/heartbeat", body: `{"position_ms":0,"origin_bytes":0,"peer_bytes":0,"sent_bytes":0,"stalls":0,"stalled_ms":0,"startup_ms":0,"bad_blocks":0}`, bearer: media},
		"play-events": {whom: "owner", path: "/api/v1/play/" + ada.open.ID + "/events", bearer: media},

		"list-streams": {whom: "member"},
		"end-stream":   {whom: "owner", path: "/api/v1/streams/" + stream},

		"clearkey": {whom: "owner", path: "/api/v1/license/clearkey", body: `{"kids":["q83vEjRWeJCrze8SNFZ4kA"],"type":"temporary"}`, bearer: media},
		"license":  {whom: "owner", path: "/api/v1/license/widevine", body: "challenge", bearer: media},
		"licenses": {whom: "operator"},

		"join-edge":  {whom: "nobody", body: `{"token":"guessed","request":"AA=="}`},
		"list-edges": {whom: "operator"}, "add-edge": {whom: "operator", body: `{"name":"lyon"}`},
		"revoke-edge": {whom: "operator", path: "/api/v1/operator/edges/0123456789abcdef"},

		"policy-versions": {whom: "operator"}, "savings": {whom: "operator"}, "savings-csv": {whom: "operator"},
		"traffic": {whom: "operator"}, "get-policy": {whom: "operator"}, "list-plans": {whom: "operator"}, "audit": {whom: "operator"},
		"list-members": {whom: "operator"}, "list-links": {whom: "operator"},
		"set-policy":       {whom: "operator", body: `{"p2p":true,"uplink_kbps":0}`},
		"revoke":           {whom: "operator", body: `{"member":"nobody"}`},
		"put-plan":         {whom: "operator", path: "/api/v1/operator/plans/new", body: plan},
		"remove-plan":      {whom: "operator", path: "/api/v1/operator/plans/none"},
		"get-subscription": {whom: "operator", path: id + "/subscription"},
		"set-subscription": {whom: "operator", path: id + "/subscription", body: `{"plan":"standard","state":"active"}`},
		"set-role":         {whom: "operator", path: id + "/role", body: `{"role":"viewer"}`},
		"sign-member-out":  {whom: "operator", path: "/api/v1/operator/members/nobody/devices"},
		"remove-member":    {whom: "operator", path: "/api/v1/operator/members/nobody"},
		"reset-password":   {whom: "operator", path: id + "/reset"},
		"invite":           {whom: "operator", body: `{}`},
		"withdraw-link":    {whom: "operator", path: "/api/v1/operator/links/none"},
		"staff-titles":     {whom: "editor"},
		"set-about":        {whom: "editor", path: "/api/v1/operator/titles/closed/about", body: `{"year":1999}`},
		"set-series":       {whom: "editor", path: "/api/v1/operator/series/none", body: `{"name":"S"}`},
		"set-window":       {whom: "editor", path: "/api/v1/operator/titles/closed/window", body: `{}`},
		"withdraw-title":   {whom: "editor", path: "/api/v1/operator/titles/none/withdraw"},
		"restore-title":    {whom: "editor", path: "/api/v1/operator/titles/closed/restore"},

		"profiles": {whom: "member"}, "add-profile": {whom: "member", body: `{"name":"Kids","age_limit":6}`},
		"change-profile": {whom: "owner", path: "/api/v1/profiles/" + profile, body: `{"name":"Mine"}`},
		"remove-profile": {whom: "owner", path: "/api/v1/profiles/" + profile},
		"choose-profile": {whom: "owner", path: "/api/v1/profiles/" + profile + "/choose", body: `{}`},
		"my-list":        {whom: "member"}, "positions": {whom: "member"},
		"keep-title":      {whom: "member", path: "/api/v1/list/closed"},
		"drop-title":      {whom: "member", path: "/api/v1/list/closed"},
		"put-position":    {whom: "member", path: "/api/v1/positions/closed", body: `{"position_ms":1,"duration_ms":4000}`},
		"get-position":    {whom: "member", path: "/api/v1/positions/closed"},
		"forget-position": {whom: "member", path: "/api/v1/positions/closed"},

		"billing": {
			whom: "nobody", body: event("e", 1, vod.Ended), header: []string{"Essaim-Signature", signature(time.Now(), "", "guess")},
		},
	}
}

// noLicences has keys for nobody: who gets which is package license's to say.
type noLicences struct{ vod.Licences }

// Report implements vod.Licences.
func (noLicences) Report() vod.LicenceReport { return vod.LicenceReport{} }

// may reports whether somebody in that role may do what is for whom.
func may(role vod.Role, whom string) bool {
	switch whom {
	case "everyone":
		return true
	case "member":
		return role.May(vod.Viewer)
	case "editor":
		return role.May(vod.Editor)
	case "operator":
		return role.May(vod.Operator)
	}
	return false // the owner's, and nobody's
}

// TestNobodyReachesWhatIsAnothers goes through every operation of the document, as a stranger, another member, an editor and
// an operator.
func TestNobodyReachesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Demo, c.Licences = &Demo{Members: []string{"ada"}}, noLicences{} })
	h.api.SetReady(true)
	people := map[string]vod.Role{"ada": vod.Viewer, "bob": vod.Viewer, "ed": vod.Editor, "grace": vod.Operator}
	for _, name := range slices.Sorted(maps.Keys(people)) {
		if name != "ada" {
			h.member(name, people[name])
		}
	}
	enter := func(name string) *player {
		p := &player{browser: h.browser(), who: name, role: people[name]}
		if name != "" {
			p.signInAs(name)
		}
		p.open = p.play("open", `{}`)
		return p
	}
	ada := enter("ada")
	var me Me
	ada.want(200, &me, "GET", "/api/v1/me", "")
	var devices struct{ Devices []DeviceBody }
	ada.want(200, &devices, "GET", "/api/v1/account/devices", "")
	_, link, err := h.members.Links().Invite(t.Context(), vod.Actor{Name: vod.ActorAdmin}, vod.Link{})
	if err != nil {
		t.Fatal(err)
	}
	hers := ada.play("closed", `{}`)
	var kid ProfileBody
	ada.want(200, &kid, "POST", "/api/v1/profiles", `{"name":"Ada's child"}`)
	var at PositionBody
	ada.want(200, &at, "PUT", "/api/v1/positions/closed", `{"position_ms":1234,"duration_ms":4000}`)
	book := recipes(ada, vod.Member{ID: me.ID}, devices.Devices[0].ID, hers.ID, link.ID, kid.ID)

	others := []*player{enter(""), enter("bob"), enter("ed"), enter("grace")}
	doc := h.api.OpenAPI()
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			r, ok := book[op.OperationID]
			if !ok {
				t.Errorf("%s %s (%s) has no recipe: say in matrix_test.go how another would reach what is not theirs by it", method, path, op.OperationID)
				continue
			}
			at := r.path
			if at == "" {
				at = path
			}
			if strings.Contains(at, "{") {
				t.Errorf("%s: the recipe names no %s", op.OperationID, at)
				continue
			}
			for i, p := range others {
				header := slices.Clone(r.header)
				if r.bearer != nil {
					header = append(header, "Authorization", "Bearer "+r.bearer(p))
				}
				resp, body := p.do(method, at, r.body, header...)
				if r.fresh {
					others[i] = enter(p.who)
				}
				refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusNotFound
				switch {
				case may(p.role, r.whom) && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || resp.StatusCode >= 500):
					t.Errorf("%s as %q, who may: %d %s", op.OperationID, p.role, resp.StatusCode, body)
				case !may(p.role, r.whom) && !refused:
					t.Errorf("%s as %q, who may not: %d %s", op.OperationID, p.role, resp.StatusCode, body)
				case r.whom == "member" && strings.Contains(string(body), me.ID) || r.whom == "member" && strings.Contains(string(body), devices.Devices[0].ID):
					t.Errorf("%s as %q tells of ada: %s", op.OperationID, p.role, body)
				}
				if p.role == "" && (r.whom == "member" || r.whom == "operator" || r.whom == "editor") && resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s as a stranger: %d, want 401", op.OperationID, resp.StatusCode)
				}
			}
		}
	}
	// What the others tried has changed nothing of hers.
	ada.want(200, &me, "GET", "/api/v1/me", "")
	var account AccountBody
	ada.want(200, &account, "GET", "/api/v1/account", "")
	var household HouseholdBody
	ada.want(200, &household, "GET", "/api/v1/profiles", "")
	if len(household.Profiles) != 2 || household.Profiles[1] != kid || household.Chosen {
		t.Errorf("ada's household is %+v", household)
	}
	ada.want(200, &at, "GET", "/api/v1/positions/closed", "")
	if at.PositionMs != 1234 {
		t.Errorf("ada is at %d ms", at.PositionMs)
	}
	if me.Role != vod.Viewer || account.Subscription.State != vod.Active {
		t.Errorf("ada is %+v", account)
	}
}

// TestATicketOfAnothersSessionOpensNothing has two members show each other's tickets beside their own cookies.
func TestATicketOfAnothersSessionOpensNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.member("bob", vod.Viewer)
	ada, bob := h.browser().signIn(), h.browser().signInAs("bob")
	hers, his := ada.play("closed", `{}`), bob.play("closed", `{}`)
	const report = `{"position_ms":0,"origin_bytes":0,"peer_bytes":0,"sent_bytes":0,"stalls":0,"stalled_ms":0,"startup_ms":0,"bad_blocks":0}`
	for i, c := range []struct {
		by      *browser
		session string
		ticket  string
		want    int
	}{
		{ada, hers.ID, hers.Tickets.Media, 200},
		{bob, his.ID, his.Tickets.Media, 200},
		{bob, hers.ID, hers.Tickets.Media, 401},
		{bob, hers.ID, his.Tickets.Media, 403},
		{h.browser(), hers.ID, hers.Tickets.Media, 401},
		{bob, hers.ID, "", 401},
	} {
		resp, body := c.by.do("POST", fmt.Sprintf("/api/v1/play/%s/heartbeat", c.session), report, "Authorization", "Bearer "+c.ticket)
		if resp.StatusCode != c.want {
			t.Errorf("case %d: %d %s, want %d", i, resp.StatusCode, body, c.want)
		}
	}
}
