package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

const billingSecret = "a secret that only the two of us know"

// member makes an account with a role.
func (h *house) member(name string, role vod.Role) vod.Member {
	h.t.Helper()
	m, err := h.members.Add(h.t.Context(), name, password)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.members.Directory().SetRole(h.t.Context(), vod.Actor{Name: vod.ActorAdmin}, m.ID, role); err != nil {
		h.t.Fatal(err)
	}
	m.Role = role
	return m
}

// tokenOf is what stands behind the # of a link.
func tokenOf(t *testing.T, l MadeLink) string {
	t.Helper()
	_, token, ok := strings.Cut(l.Path, "#")
	if !ok || len(token) < 40 || !strings.HasPrefix(l.Path, "/join#") {
		t.Fatalf("link %+v", l)
	}
	return token
}

func TestFirstOperatorInvitesAndTheInvitedIsInHerHands(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	token, _, err := h.members.Links().Operator(t.Context(), vod.Actor{Name: vod.ActorService}, true)
	if err != nil {
		t.Fatal(err)
	}
	operator, invited := h.browser(), h.browser()
	var link LinkBody
	operator.want(200, &link, "POST", "/api/v1/links/look", `{"token":"`+token+`"}`)
	if link.Kind != vod.LinkOperator {
		t.Errorf("link %+v", link)
	}
	use := func(token, name, password string) string {
		return fmt.Sprintf(`{"token":%q,"name":%q,"password":%q}`, token, name, password)
	}
	operator.refused(400, "weak_password", "POST", "/api/v1/links/use", use(token, "grace", "short"))
	operator.refused(409, "name_taken", "POST", "/api/v1/links/use", use(token, "Ada", password))
	var me Me
	operator.want(200, &me, "POST", "/api/v1/links/use", use(token, "grace", password))
	if me.Role != vod.Operator || me.Name != "grace" {
		t.Errorf("me %+v", me)
	}
	invited.refused(404, "link_dead", "POST", "/api/v1/links/use", use(token, "eve", password))

	var plan PlanBody
	operator.want(200, &plan, "PUT", "/api/v1/operator/plans/small", `{"name":"Small","all_titles":false,"titles":["closed"],"streams":1,"highest":"sd"}`)
	var plans struct{ Plans []PlanBody }
	operator.want(200, &plans, "GET", "/api/v1/operator/plans", "")
	if len(plans.Plans) != 2 || plans.Plans[0].ID != "small" || plans.Plans[0].Titles[0] != "closed" {
		t.Errorf("plans %+v", plans)
	}
	var made MadeLink
	operator.want(200, &made, "POST", "/api/v1/operator/links", `{"plan":"small","note":"for Bob"}`)
	var open struct{ Links []OpenLink }
	operator.want(200, &open, "GET", "/api/v1/operator/links", "")
	if len(open.Links) != 1 || open.Links[0].Note != "for Bob" {
		t.Errorf("links %+v", open)
	}
	invited.want(200, &me, "POST", "/api/v1/links/use", use(tokenOf(t, made), "bob", password))
	var account AccountBody
	invited.want(200, &account, "GET", "/api/v1/account", "")
	if account.Name != "bob" || account.Plan.Name != "Small" || account.Subscription.State != vod.Active || !account.Watches {
		t.Errorf("account %+v", account)
	}

	operator.want(200, &made, "POST", "/api/v1/operator/links", `{}`)
	if resp, body := operator.do("DELETE", "/api/v1/operator/links/"+made.ID, ""); resp.StatusCode != 204 {
		t.Errorf("withdraw: %d %s", resp.StatusCode, body)
	}
	invited.refused(404, "link_dead", "POST", "/api/v1/links/look", `{"token":"`+tokenOf(t, made)+`"}`)

	var list struct{ Members []MemberBody }
	operator.want(200, &list, "GET", "/api/v1/operator/members?like=bo&limit=5", "")
	if len(list.Members) != 1 || list.Members[0].ID != me.ID || list.Members[0].Devices != 1 || list.Members[0].Subscription.Plan != "small" {
		t.Errorf("members %+v", list)
	}
	bob := "/api/v1/operator/members/" + me.ID
	var sub SubscriptionBody
	operator.want(200, &sub, "PUT", bob+"/subscription", `{"plan":"standard","state":"past_due","until":"2026-01-02T04:00:00Z"}`)
	operator.want(200, &sub, "GET", bob+"/subscription", "")
	if sub.State != vod.PastDue || !sub.Until.Equal(time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)) {
		t.Errorf("subscription %+v", sub)
	}
	operator.refused(400, "invalid", "PUT", bob+"/subscription", `{"plan":"none","state":"active"}`)
	operator.refused(409, "conflict", "DELETE", "/api/v1/operator/plans/standard", "")
	if resp, body := operator.do("DELETE", "/api/v1/operator/plans/small", ""); resp.StatusCode != 204 {
		t.Errorf("remove plan: %d %s", resp.StatusCode, body)
	}
	var role RoleBody
	operator.want(200, &role, "PUT", bob+"/role", `{"role":"editor"}`)
	invited.want(200, &me, "GET", "/api/v1/me", "")
	if me.Role != vod.Editor {
		t.Errorf("role %s", me.Role)
	}
	var ended EndedBody
	operator.want(200, &ended, "DELETE", bob+"/devices", "")
	if ended.Ended != 1 {
		t.Errorf("ended %d", ended.Ended)
	}
	invited.refused(401, "unauthorized", "GET", "/api/v1/account", "")
	operator.want(200, &made, "POST", bob+"/reset", "")
	invited.want(200, &me, "POST", "/api/v1/links/use", use(tokenOf(t, made), "", "battery staple"))
	var grace struct{ Members []MemberBody }
	operator.want(200, &grace, "GET", "/api/v1/operator/members?like=grace", "")
	operator.refused(409, "conflict", "PUT", "/api/v1/operator/members/"+grace.Members[0].ID+"/role", `{"role":"viewer"}`)
	if resp, body := operator.do("DELETE", bob, ""); resp.StatusCode != 204 {
		t.Errorf("remove member: %d %s", resp.StatusCode, body)
	}
	invited.refused(401, "unauthorized", "GET", "/api/v1/account", "")

	var log struct{ Entries []AuditBody }
	operator.want(200, &log, "GET", "/api/v1/operator/audit?limit=200", "")
	seen, all := map[string]bool{}, ""
	for _, e := range log.Entries {
		seen[e.Name+" "+e.Action] = true
		all += fmt.Sprintf("%+v", e)
	}
	for _, want := range []string{
		"service operator-link.add", "grace member.add", "grace plan.put", "grace invitation.add", "bob member.add", "grace invitation.remove",
		"grace member.subscription", "grace plan.remove", "grace member.role", "grace member.sign-out", "grace member.reset", "bob account.reset",
		"grace member.remove",
	} {
		if !seen[want] {
			t.Errorf("the audit log has no %q", want)
		}
	}
	if strings.Contains(all, tokenOf(t, made)) || strings.Contains(all, token) || strings.Contains(all, password) {
		t.Error("the audit log holds a secret")
	}
	var page struct{ Entries []AuditBody }
	operator.want(200, &page, "GET", fmt.Sprintf("/api/v1/operator/audit?limit=1&before=%d", log.Entries[0].Number), "")
	if len(page.Entries) != 1 || page.Entries[0] != log.Entries[1] {
		t.Errorf("page %+v", page)
	}
}

func TestMemberSeesDevicesAndSignsThemOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	here, there := h.browser().signIn(), h.browser()
	resp, body := there.do("POST", "/api/v1/session", `{"name":"ada","password":"`+password+`"}`, "User-Agent",
		"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0")
	if resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	var list struct{ Devices []DeviceBody }
	here.want(200, &list, "GET", "/api/v1/account/devices", "")
	if len(list.Devices) != 2 {
		t.Fatalf("devices %+v", list)
	}
	other := list.Devices[0]
	if other.Current {
		other = list.Devices[1]
	}
	if other.Name != "Firefox · Linux" || other.Current {
		t.Errorf("the other device %+v", other)
	}
	if resp, body := here.do("DELETE", "/api/v1/account/devices/"+other.ID, ""); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	there.refused(401, "unauthorized", "GET", "/api/v1/me", "")
	here.refused(404, "not_found", "DELETE", "/api/v1/account/devices/"+other.ID, "")
	here.refused(403, "wrong_password", "PUT", "/api/v1/account/password", `{"current":"wrong","password":"battery staple"}`)
	here.refused(400, "weak_password", "PUT", "/api/v1/account/password", `{"current":"`+password+`","password":"short"}`)
	there.signIn()
	if resp, body := here.do("PUT", "/api/v1/account/password", `{"current":"`+password+`","password":"battery staple"}`); resp.StatusCode != 204 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	there.refused(401, "unauthorized", "GET", "/api/v1/me", "")
	var ended EndedBody
	here.want(200, &ended, "DELETE", "/api/v1/account/devices", "")
	if ended.Ended != 1 {
		t.Errorf("ended %d", ended.Ended)
	}
	here.refused(401, "unauthorized", "GET", "/api/v1/me", "")
}

func TestSignUpIsForWhomTheOperatorSays(t *testing.T) {
	t.Parallel()
	rule := SignUpInvitation
	h := newHouse(t, func(c *Config) { c.People.SignUp = rule })
	b := h.browser()
	var said struct {
		SignUp SignUp `json:"sign_up"`
	}
	b.want(200, &said, "GET", "/api/v1/sign-up", "")
	if said.SignUp != SignUpInvitation {
		t.Errorf("%+v", said)
	}
	const body = `{"name":"bob","password":"` + password + `"}`
	b.refused(403, "sign_up_closed", "POST", "/api/v1/sign-up", body)
	token, _, err := h.members.Links().Invite(t.Context(), vod.Actor{Name: vod.ActorAdmin}, vod.Link{})
	if err != nil {
		t.Fatal(err)
	}
	h.api.c.People.SignUp = SignUpClosed
	b.refused(404, "link_dead", "POST", "/api/v1/links/look", `{"token":"`+token+`"}`)
	b.refused(404, "link_dead", "POST", "/api/v1/links/use", `{"token":"`+token+`","name":"bob","password":"`+password+`"}`)
	h.api.c.People.SignUp = SignUpOpen
	var me Me
	b.want(200, &me, "POST", "/api/v1/sign-up", body)
	if me.Role != vod.Viewer {
		t.Errorf("me %+v", me)
	}
	h.browser().refused(409, "name_taken", "POST", "/api/v1/sign-up", body)
	h.browser().refused(400, "weak_password", "POST", "/api/v1/sign-up", `{"name":"carl","password":"x"}`)
}

func TestTitlesAreThereInTheirWindowOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.member("ed", vod.Editor)
	editor, viewer := h.browser().signInAs("ed"), h.browser().signIn()
	until := h.clock.Now().Add(time.Hour).Format(time.RFC3339)
	var w WindowBody
	editor.want(200, &w, "PUT", "/api/v1/operator/titles/open/window", `{"until":"`+until+`"}`)
	editor.refused(404, "not_found", "PUT", "/api/v1/operator/titles/none/window", `{}`)
	editor.refused(400, "invalid", "PUT", "/api/v1/operator/titles/open/window", `{"from":"`+until+`","until":"`+until+`"}`)
	for step, there := range []bool{true, false} {
		var list struct{ Titles []TitleSummary }
		viewer.want(200, &list, "GET", "/api/v1/titles", "")
		if (len(list.Titles) == 2) != there {
			t.Errorf("step %d: %+v", step, list)
		}
		resp, _ := h.browser().do("POST", "/api/v1/titles/open/play", `{}`)
		if want := map[bool]int{true: 200, false: 404}[there]; resp.StatusCode != want {
			t.Errorf("step %d: play %d", step, resp.StatusCode)
		}
		if !there { // a member may have been watching it
			viewer.refused(403, "not_available", "POST", "/api/v1/titles/open/play", `{}`)
		}
		root := h.films["open"].Version.Files[0].Root.String()
		if resp, _ := viewer.do("GET", "/media/"+root, "", "Range", "bytes=0-9"); (resp.StatusCode == http.StatusPartialContent) != there {
			t.Errorf("step %d: media %d", step, resp.StatusCode)
		}
		var staff struct{ Titles []StaffTitle }
		editor.want(200, &staff, "GET", "/api/v1/operator/titles", "")
		if len(staff.Titles) != 2 || staff.Titles[1].ID != "open" || staff.Titles[1].Shown != there {
			t.Errorf("step %d: editors see %+v", step, staff)
		}
		h.clock.Advance(time.Hour)
	}
	from := h.clock.Now().Add(time.Hour).Format(time.RFC3339)
	editor.want(200, &w, "PUT", "/api/v1/operator/titles/open/window", `{"from":"`+from+`"}`)
	viewer.refused(404, "not_found", "POST", "/api/v1/titles/open/play", `{}`) // it is not told of before
	editor.refused(403, "not_available", "POST", "/api/v1/titles/open/play", `{}`)
}

func signature(at time.Time, body, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

func event(id string, sequence int, state vod.SubscriptionState) string {
	return fmt.Sprintf(`{"id":%q,"sequence":%d,"name":"ada","plan":"standard","state":%q}`, id, sequence, state)
}

func TestBillingEventsMustBeSignedNowAndByThePartner(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b, now := h.browser(), h.clock.Now()
	const path = "/hooks/billing"
	body := event("e1", 1, vod.Ended)
	good := signature(now, body, billingSecret)
	for name, header := range map[string]string{
		"none": "", "no time": strings.Replace(good, "t=", "x=", 1), "another secret": signature(now, body, "guess"),
		"another body": signature(now, event("e2", 1, vod.Ended), billingSecret), "too old": signature(now.Add(-billingTolerance-time.Second), body, billingSecret),
		"from the future":         signature(now.Add(billingTolerance+time.Second), body, billingSecret),
		"an old one made younger": strings.Replace(signature(now.Add(-time.Hour), body, billingSecret), fmt.Sprint(now.Add(-time.Hour).Unix()), fmt.Sprint(now.Unix()), 1),
		"no hexadecimal":          fmt.Sprintf("t=%d,v1=zz", now.Unix()), "cut short": good[:len(good)-2], "empty": fmt.Sprintf("t=%d,v1=", now.Unix()),
	} {
		if resp, answer := b.do("POST", path, body, "Essaim-Signature", header); resp.StatusCode != 401 || !strings.Contains(string(answer), "bad_signature") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, answer)
		}
	}
	ada, err := h.members.Directory().ByName(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := h.members.Plans().Of(t.Context(), ada.ID); err != nil || s.State != vod.Active {
		t.Errorf("after forgeries: %+v, %v", s, err)
	}
	var got struct{ Applied bool }
	b.want(200, &got, "POST", path, body, "Essaim-Signature", fmt.Sprintf("%s,v1=%s", good, strings.Repeat("ab", 32)))
	if !got.Applied {
		t.Error("not applied")
	}
	b.want(200, &got, "POST", path, body, "Essaim-Signature", good) // a replay within the tolerance
	if got.Applied {
		t.Error("applied twice")
	}
	if s, err := h.members.Plans().Of(t.Context(), ada.ID); err != nil || s.State != vod.Ended {
		t.Errorf("subscription %+v, %v", s, err)
	}
	body = `{"id":"e9","sequence":1,"name":"nobody","plan":"standard","state":"active"}`
	b.refused(404, "not_found", "POST", path, body, "Essaim-Signature", signature(now, body, "the secret before"))
	h.api.c.People.BillingSecrets = nil
	b.refused(404, "not_found", "POST", path, event("e3", 3, vod.Active), "Essaim-Signature", signature(now, event("e3", 3, vod.Active), billingSecret))
}

func TestShuffledDuplicatedBillingEventsEndWithTheLatest(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	states := []vod.SubscriptionState{vod.Trial, vod.Active, vod.PastDue, vod.Active, vod.PastDue, vod.Ended}
	var order []int
	for range 3 {
		for i := range states {
			order = append(order, i)
		}
	}
	shuffle := rand.New(rand.NewSource(1))
	shuffle.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	latest := -1
	for _, i := range order {
		body := event(fmt.Sprint("e", i), i+1, states[i])
		var got struct{ Applied bool }
		b.want(200, &got, "POST", "/hooks/billing", body, "Essaim-Signature", signature(h.clock.Now(), body, billingSecret))
		if got.Applied != (i > latest) {
			t.Errorf("order %v: event %d after %d: applied %v", order, i, latest, got.Applied)
		}
		latest = max(latest, i)
		h.clock.Advance(time.Minute)
	}
	ada, err := h.members.Directory().ByName(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := h.members.Plans().Of(t.Context(), ada.ID); err != nil || s.State != vod.Ended {
		t.Errorf("subscription %+v, %v", s, err)
	}
}

func TestDevicesAreNamedAfterWhatTheyCallThemselves(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0":                                                                  "Firefox · Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0":           "Edge · Windows",
		"Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36":                            "Chrome · Android",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1": "Safari · iPhone",
		"Mozilla/5.0 (SMART-TV; Linux; Tizen 9.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/4.0 Chrome/156.0.0.0 TV Safari/537.36":    "Samsung Internet · TV",
		"curl/8.5.0": "curl", "": "", "<script>alert(1)</script>": "",
	} {
		if got := deviceName(agent); got != want {
			t.Errorf("%s: %q, want %q", agent, got, want)
		}
	}
}

func TestVisitorsNetworksAreKnownUnlessAProxyHidesThem(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.77:1": "192.0.2.0/24", "[2001:db8:1:2::3]:1": "2001:db8:1::/48", "[::ffff:192.0.2.77]:1": "192.0.2.0/24", "[fe80::1%eth0]:1": "fe80::/48",
		"nonsense": "invalid Prefix",
	} {
		r := &http.Request{RemoteAddr: address, Header: http.Header{}}
		if got := visitOf(r, false).Network.String(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		if visitOf(r, true).Network.IsValid() {
			t.Errorf("%s is known behind a proxy", address)
		}
	}
}
