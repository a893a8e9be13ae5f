package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

// operatorToken is the header of who holds an operator's token that lasts for life.
func (h *house) operatorToken(life time.Duration) []string {
	h.t.Helper()
	token, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: h.clock.Now().Add(life)})
	if err != nil {
		h.t.Fatal(err)
	}
	return []string{"Authorization", "Bearer " + token}
}

func (b *browser) rehearse(id, label string, auth []string) (p vod.PlaySession) {
	b.t.Helper()
	b.want(200, &p, "POST", "/api/v1/titles/"+id+"/play", `{"rehearsal":"`+label+`","share":true}`, auth...)
	return p
}

func TestRehearsalNeedsNoAccountAndCarriesItsLabel(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.ICE = []string{"stun:127.0.0.1:3478"} })
	auth := h.operatorToken(time.Hour)
	for _, id := range []string{"open", "closed"} {
		b := h.browser()
		p := b.rehearse(id, "Evening-1", auth)
		if !p.Policy.P2P || !p.Policy.Upload || !p.Policy.LAN || len(p.Nodes.ICE) != 1 || len(p.Nodes.Trackers) != 1 {
			t.Fatalf("%s: %+v %+v", id, p.Policy, p.Nodes)
		}
		check := func(tickets vod.PlayTickets) {
			t.Helper()
			for audience, token := range map[vod.Audience]string{vod.AudienceMedia: tickets.Media, vod.AudienceSwarm: tickets.Swarm} {
				got, err := h.tickets.Check(audience, token)
				if err != nil || got.Rehearsal != "Evening-1" || got.PlaySession != p.ID || string(got.Title) != id ||
					got.Version != h.films[vod.TitleID(id)].Version.ID || got.Member != "rehearsal:Evening-1" {
					t.Errorf("%s: %s ticket %+v, %v", id, audience, got, err)
				}
			}
		}
		check(p.Tickets)
		tracker, pass, ok := strings.Cut(p.Nodes.Trackers[0], "?rehearsal=")
		pass, err := url.QueryUnescape(pass)
		if err != nil || !ok || tracker != "/tracker" {
			t.Fatalf("%s: tracker %q", id, p.Nodes.Trackers[0])
		}
		got, err := h.tickets.Check(vod.AudienceRehearsal, pass)
		if err != nil || got.Rehearsal != "Evening-1" || got.Title != "" || got.PlaySession != "" {
			t.Errorf("%s: pass %+v, %v", id, got, err)
		}
		for _, other := range []vod.Audience{vod.AudienceMedia, vod.AudienceSwarm, vod.AudienceOperator} {
			if _, err := h.tickets.Check(other, pass); err == nil {
				t.Errorf("%s: the pass, which stands in an address, is a ticket for %s", id, other)
			}
		}
		h.clock.Advance(9 * time.Minute)
		r := b.beat(p.ID, p.Tickets.Media)
		if !r.Policy.P2P || !r.Policy.Upload || r.Tickets.ExpiresMs != 600_000 {
			t.Errorf("%s: heartbeat %+v", id, r)
		}
		check(*r.Tickets)
	}
}

func TestRehearsalObeysConsentAndPolicy(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	auth := h.operatorToken(time.Hour)
	var p vod.PlaySession
	for _, body := range []string{`{"rehearsal":"a","share":false}`, `{"rehearsal":"a"}`} {
		h.browser().want(200, &p, "POST", "/api/v1/titles/open/play", body, auth...)
		if p.Policy.P2P || p.Policy.Upload {
			t.Errorf("%s: %+v", body, p.Policy)
		}
	}
	h.api.policy.Set(vod.PlayPolicy{P2P: false})
	if p := h.browser().rehearse("open", "a", auth); p.Policy.P2P || p.Policy.Upload {
		t.Errorf("peers are off: %+v", p.Policy)
	}
}

func TestRehearsalIsForOperatorsOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	const path, body = "/api/v1/titles/open/play", `{"rehearsal":"evening-1","share":true}`
	member := h.browser().signIn()
	viewer := member.play("open", `{"share":true}`)
	rehearsing := h.browser().rehearse("open", "evening-1", h.operatorToken(time.Hour))
	member.refused(401, "unauthorized", "POST", path, body)
	for name, token := range map[string]string{
		"media": viewer.Tickets.Media, "swarm": viewer.Tickets.Swarm, "rehearsal's media": rehearsing.Tickets.Media,
		"pass": strings.TrimPrefix(rehearsing.Nodes.Trackers[0], "/tracker?rehearsal="), "nonsense": "x",
	} {
		t.Run(name, func(t *testing.T) {
			h.browser().refused(401, "unauthorized", "POST", path, body, "Authorization", "Bearer "+token)
		})
	}
	ended := h.operatorToken(time.Minute)
	h.clock.Advance(time.Minute)
	h.browser().refused(401, "unauthorized", "POST", path, body, ended...)
	if _, data := h.browser().do("POST", path, body); !strings.Contains(string(data), "essaim admin token") {
		t.Errorf("it does not say what to do: %s", data)
	}
	// The token alone makes no member: without a label it changes nothing.
	h.browser().refused(401, "unauthorized", "POST", "/api/v1/titles/closed/play", `{"share":true}`, h.operatorToken(time.Hour)...)
	h.browser().refused(404, "not_found", "POST", "/api/v1/titles/none/play", body, h.operatorToken(time.Hour)...)
}

func TestRehearsalLabelIsShortAndPlain(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	auth := h.operatorToken(time.Hour)
	h.browser().rehearse("open", strings.Repeat("Z", 64), auth)
	for _, label := range []string{`""`, `"` + strings.Repeat("z", 65) + `"`, `"a b"`, `"a_b"`, `"é"`, `"a\n"`, `7`} {
		h.browser().refused(422, "invalid", "POST", "/api/v1/titles/open/play", `{"rehearsal":`+label+`,"share":true}`, auth...)
	}
}

func TestOpenRehearsalsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	auth := h.operatorToken(time.Hour)
	b := h.browser()
	for i := range vod.RehearsalsMax - 1 {
		if !h.api.rehearsals.add(play{id: fmt.Sprint(i), until: h.clock.Now().Add(time.Hour)}) {
			t.Fatalf("refused after %d", i)
		}
	}
	p := b.rehearse("open", "a", auth)
	const path, body = "/api/v1/titles/open/play", `{"rehearsal":"a","share":true}`
	b.refused(503, "too_many_rehearsals", "POST", path, body, auth...)
	b.play("open", `{"share":true}`) // viewers are not turned away
	h.clock.Advance(9 * time.Minute)
	r := b.beat(p.ID, p.Tickets.Media)
	b.refused(503, "too_many_rehearsals", "POST", path, body, auth...)
	h.clock.Advance(time.Minute) // the others' tickets have ended
	b.rehearse("open", "a", auth)
	if n := len(h.api.rehearsals.byID); n != 2 {
		t.Errorf("%d are remembered, want the two that are open", n)
	}
	b.beat(p.ID, r.Tickets.Media)
}

func TestRehearsalEndsWithTheOperatorsToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	auth := h.operatorToken(12 * time.Minute)
	b := h.browser()
	p := b.rehearse("closed", "a", auth)
	h.clock.Advance(5 * time.Minute)
	r := b.beat(p.ID, p.Tickets.Media)
	if r.Tickets.ExpiresMs != (7 * time.Minute).Milliseconds() {
		t.Errorf("tickets last %d ms beyond a token of 7 minutes", r.Tickets.ExpiresMs)
	}
	h.clock.Advance(7 * time.Minute)
	b.refused(401, "unauthorized", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+r.Tickets.Media)
}

func TestRehearsalOfAFormerStartOfTheServiceIsOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	p := b.rehearse("open", "a", h.operatorToken(time.Hour))
	h.api.rehearsals = newRehearsals(h.clock.Now)
	b.refused(401, "unauthorized", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
	if len(h.api.plays.byID) != 0 {
		t.Error("it goes on as a viewer's")
	}
}

func TestOperatorSeesRehearsalsApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	auth := h.operatorToken(time.Hour)
	b := h.browser()
	get := func(p *vod.PlaySession, span string) {
		t.Helper()
		if resp, _ := b.do("GET", "/media/"+p.Files[0].Root, "", "Range", "bytes="+span, "Authorization", "Bearer "+p.Tickets.Media); resp.StatusCode != 206 {
			t.Fatal(resp.StatusCode)
		}
	}
	one, two, viewer := b.rehearse("open", "one", auth), b.rehearse("closed", "two", auth), b.play("open", `{}`)
	get(&one, "0-99")
	get(&two, "0-49999")
	get(&viewer, "0-6")
	h.clock.Advance(ticketLife / 2)
	one.Tickets = *b.beat(one.ID, one.Tickets.Media).Tickets
	get(&one, "0-99")
	var got struct {
		OriginBytes int64            `json:"origin_bytes"`
		Titles      map[string]int64 `json:"titles"`
		Sessions    map[string]int64 `json:"sessions"`
		Rehearsals  map[string]struct {
			OriginBytes int64 `json:"origin_bytes"`
		} `json:"rehearsals"`
	}
	b.want(200, &got, "GET", "/api/v1/operator/traffic", "", auth...)
	if len(got.Rehearsals) != 2 || got.Rehearsals["one"].OriginBytes != 200 || got.Rehearsals["two"].OriginBytes != 50_000 {
		t.Errorf("rehearsals %+v", got.Rehearsals)
	}
	if got.OriginBytes != 7 || len(got.Titles) != 1 || got.Titles["open"] != 7 || len(got.Sessions) != 1 || got.Sessions[viewer.ID] != 7 {
		t.Errorf("viewers %+v", got)
	}
}

func TestTitleTellsThatItIsSynthetic(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	film := h.films["closed"]
	film.Version.Files = []vod.File{film.Version.Files[0]}
	film.Version.Files[0].Codec = vod.SyntheticCodec
	if err := h.library.Publish(t.Context(), film, []byte("torrent")); err != nil {
		t.Fatal(err)
	}
	auth := h.operatorToken(time.Hour)
	for id, want := range map[string]bool{"open": false, "closed": true} {
		var got struct {
			ID        string `json:"id"`
			Synthetic bool   `json:"synthetic"`
		}
		h.browser().want(200, &got, "GET", "/api/v1/titles/"+id, "", auth...)
		if got.ID != id || got.Synthetic != want {
			t.Errorf("%+v", got)
		}
	}
	h.browser().refused(401, "unauthorized", "GET", "/api/v1/titles/closed", "")
	h.browser().refused(401, "unauthorized", "GET", "/api/v1/titles/closed", "", "Authorization", "Bearer x")
	h.browser().refused(404, "not_found", "GET", "/api/v1/titles/none", "", auth...)
}
