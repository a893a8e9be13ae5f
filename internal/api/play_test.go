package api

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

func (b *browser) play(id, body string) (p vod.PlaySession) {
	b.t.Helper()
	b.want(200, &p, "POST", "/api/v1/titles/"+id+"/play", body)
	return p
}

func TestPlayBringsAllThatAPlayerNeeds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) {
		c.Policy = NewPolicy(vod.PlayPolicy{P2P: true, LAN: true, UplinkKbps: 2000})
		c.ICE = []string{"stun:127.0.0.1:3478"}
	})
	film := h.films["open"]
	f := film.Version.Files[0]
	p := h.browser().play("open", `{"share":true}`)
	if p.Title != "open" || p.Name != film.Name || p.DurationMs != 4000 || p.InfoHash != film.Version.InfoHashV1.String() ||
		p.InfoHashV2 != film.Version.ID || p.PieceLength != 32<<10 || p.Manifest != "<MPD/>" || len(p.ID) != 32 {
		t.Errorf("session %+v", p)
	}
	if !reflect.DeepEqual(p.Nodes, vod.PlayNodes{
		Origins: []string{"/"}, Trackers: []string{"/tracker"}, ICE: []string{"stun:127.0.0.1:3478"}, Announce: []string{"/announce"},
	}) {
		t.Errorf("nodes %+v", p.Nodes)
	}
	if p.Policy != (vod.PlayPolicy{P2P: true, Upload: true, LAN: true, UplinkKbps: 2000}) {
		t.Errorf("policy %+v", p.Policy)
	}
	got := p.Files[0]
	if got.Path != f.Path || got.Root != f.Root.String() || got.Size != f.Size || got.Height != 360 ||
		!reflect.DeepEqual(got.Segments, [][4]uint64{{800, 70_000, 0, 2000}, {70_000, 140_000, 2000, 2000}}) {
		t.Errorf("file %+v", got)
	}
	digests, err := bt.ParseDigests(got.First.Hashes)
	if err != nil {
		t.Fatal(err)
	}
	request := bt.HashRequest{Root: f.Root, Base: got.First.Base, Index: got.First.Index, Length: got.First.Length, Proof: got.First.Proof}
	if err := request.Check(bt.Blocks(f.Size), digests); err != nil {
		t.Errorf("first hashes: %v", err)
	}
	if p.Tickets.ExpiresMs != 600_000 {
		t.Errorf("tickets last %d ms", p.Tickets.ExpiresMs)
	}
	for audience, token := range map[vod.Audience]string{vod.AudienceMedia: p.Tickets.Media, vod.AudienceSwarm: p.Tickets.Swarm} {
		ticket, err := h.tickets.Check(audience, token)
		if err != nil || ticket.PlaySession != p.ID || ticket.Title != "open" || ticket.Version != film.Version.ID || ticket.Member != "" {
			t.Errorf("%s ticket: %+v, %v", audience, ticket, err)
		}
	}
	if q := h.browser().play("open", `{"share":true}`); q.ID == p.ID {
		t.Error("two sessions have one id")
	}
}

func TestConsentIsNeverAssumed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	demo := newHouse(t, func(c *Config) { c.Demo = &Demo{} })
	for _, c := range []struct {
		h    *house
		body string
		want bool
	}{
		{h, `{"share":true}`, true},
		{h, `{"share":false}`, false},
		{h, `{}`, false},
		{demo, `{"share":true}`, true},
		{demo, `{"share":false}`, false},
		{demo, `{}`, true},
	} {
		p := c.h.browser().play("open", c.body)
		if p.Policy.P2P != c.want || p.Policy.Upload != c.want {
			t.Errorf("%s: %+v", c.body, p.Policy)
		}
	}
}

func TestMembersTitlesInTheClearHaveNoSwarm(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	p := b.play("closed", `{"share":true}`)
	if p.Policy.P2P || p.Policy.Upload || p.Tickets.Swarm != "" || len(p.Nodes.Trackers) != 0 || len(p.Nodes.ICE) != 0 {
		t.Errorf("session %+v %+v %+v", p.Policy, p.Tickets, p.Nodes)
	}
	ticket, err := h.tickets.Check(vod.AudienceMedia, p.Tickets.Media)
	if err != nil || ticket.Member == "" || ticket.Device == "" {
		t.Errorf("ticket %+v, %v", ticket, err)
	}
	path := "/media/" + p.Files[0].Root
	h.browser().refused(401, "unauthorized", "GET", path, "")
	resp, body := h.browser().do("GET", path, "", "Authorization", "Bearer "+p.Tickets.Media)
	if resp.StatusCode != 200 || int64(len(body)) != p.Files[0].Size {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	// The session's cookie alone opens no media: a picture in another site's page would carry it.
	b.refused(401, "unauthorized", "GET", path, "")
}

func (b *browser) beat(session, ticket string) (r vod.HeartbeatReply) {
	b.t.Helper()
	b.want(200, &r, "POST", "/api/v1/play/"+session+"/heartbeat", report, "Authorization", "Bearer "+ticket)
	return r
}

const report = `{"position_ms":1000,"origin_bytes":5,"peer_bytes":6,"sent_bytes":7,"stalls":0,"stalled_ms":0,"startup_ms":300,"bad_blocks":0}`

func TestPeersThatAPlayerBannedAreLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newHouse(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	b := h.browser()
	p := b.play("open", `{"share":true}`)
	path := "/api/v1/play/" + p.ID + "/heartbeat"
	auth := []string{"Authorization", "Bearer " + p.Tickets.Media}
	liar, suspect := strings.Repeat("ab", 20), strings.Repeat("cd", 20)
	with := func(banned string) string { return strings.TrimSuffix(report, "}") + `,"banned":[` + banned + `]}` }
	one := `{"peer_id":"` + liar + `","proven":true}`
	two := one + `,{"peer_id":"` + suspect + `","proven":false}`
	for _, body := range []string{with(one), with(one), with(two), report} {
		b.want(200, new(vod.HeartbeatReply), "POST", path, body, auth...)
	}
	for id, want := range map[string]string{liar: "proven=true", suspect: "proven=false"} {
		lines := 0
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, id) && strings.Contains(line, want) && strings.Contains(line, "session="+p.ID) {
				lines++
			}
		}
		if lines != 1 {
			t.Errorf("%s was logged %d times:\n%s", id, lines, log.String())
		}
	}
	for _, bad := range []string{`{"peer_id":"AB","proven":true}`, `{"peer_id":"` + strings.Repeat("x", 40) + `","proven":true}`, strings.Repeat(one+",", 32) + one} {
		t.Logf("refuse %.80s", bad)
		b.refused(422, "invalid", "POST", path, with(bad), auth...)
	}
	// Others in every report: the log ends where the bound is.
	for n := range 100 {
		b.want(200, new(vod.HeartbeatReply), "POST", path, with(fmt.Sprintf(`{"peer_id":"%040x","proven":true}`, n)), auth...)
	}
	if n := strings.Count(log.String(), "banned a peer"); n != vod.BannedMax {
		t.Errorf("%d lines of one session's log", n)
	}
}

func TestHeartbeatRenewsTicketsAndBringsThePolicy(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	p := b.play("open", `{"share":true}`)
	if r := b.beat(p.ID, p.Tickets.Media); r.Tickets != nil || r.HeartbeatMs != 30_000 || p.HeartbeatMs != 30_000 || !r.Policy.P2P {
		t.Errorf("before half of its life: %+v", r)
	}
	h.clock.Advance(5 * time.Minute)
	r := b.beat(p.ID, p.Tickets.Media)
	if !r.Policy.P2P || !r.Policy.Upload || r.Tickets == nil || r.Tickets.ExpiresMs != 600_000 || r.Tickets.Swarm == "" {
		t.Errorf("reply %+v", r)
	}
	h.clock.Advance(9 * time.Minute) // the first ticket has ended, the new one has not
	if _, err := h.tickets.Check(vod.AudienceMedia, r.Tickets.Media); err != nil {
		t.Error(err)
	}
	path := "/api/v1/play/" + p.ID + "/heartbeat"
	b.refused(401, "unauthorized", "POST", path, report, "Authorization", "Bearer "+p.Tickets.Media)

	h.api.policy.Set(vod.PlayPolicy{P2P: false})
	if got := b.beat(p.ID, r.Tickets.Media); got.Policy.P2P || got.Policy.Upload {
		t.Errorf("after the switch: %+v", got.Policy)
	}
	if got := b.play("open", `{"share":true}`); got.Policy.P2P || got.Policy.Upload {
		t.Errorf("a new session after the switch: %+v", got.Policy)
	}
}

func TestHeartbeatIsForTheSessionsOwnTicket(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	p, q := b.play("open", `{}`), b.play("open", `{}`)
	path := "/api/v1/play/" + p.ID + "/heartbeat"
	b.refused(401, "unauthorized", "POST", path, report)
	b.refused(401, "unauthorized", "POST", path, report, "Authorization", "Bearer x")
	b.refused(401, "unauthorized", "POST", path, report, "Authorization", "Bearer "+p.Tickets.Swarm)
	b.refused(403, "forbidden", "POST", path, report, "Authorization", "Bearer "+q.Tickets.Media)
	b.refused(400, "invalid", "POST", path, strings.Replace(report, "1000", "-1", 1), "Authorization", "Bearer "+p.Tickets.Media)
}

func TestHeartbeatOfAMembersOnlyTitleEndsWithTheSession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	p := b.play("closed", `{}`)
	b.beat(p.ID, p.Tickets.Media)
	path := "/api/v1/play/" + p.ID + "/heartbeat"
	h.browser().refused(401, "unauthorized", "POST", path, report, "Authorization", "Bearer "+p.Tickets.Media)
	h.browser().signIn().refused(401, "unauthorized", "POST", path, report, "Authorization", "Bearer "+p.Tickets.Media)
	if resp, _ := b.do("DELETE", "/api/v1/session", ""); resp.StatusCode != 204 {
		t.Fatal(resp.StatusCode)
	}
	b.refused(401, "unauthorized", "POST", path, report, "Authorization", "Bearer "+p.Tickets.Media)
}

func TestARestartOfTheServiceHarmsNoPlaySession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	path := func(p *vod.PlaySession) string { return "/api/v1/play/" + p.ID + "/heartbeat" }
	for body, shares := range map[string]bool{report: false, share(true): true, share(false): false} {
		p := b.play("open", `{"share":true}`)
		h.api.plays = newPlays(h.clock.Now)
		h.clock.Advance(5 * time.Minute)
		var r vod.HeartbeatReply
		b.want(200, &r, "POST", path(&p), body, "Authorization", "Bearer "+p.Tickets.Media)
		if r.Policy.P2P != shares || r.Policy.Upload != shares || r.Tickets == nil {
			t.Errorf("%s: %+v", body, r)
		}
	}
	p := b.play("closed", `{}`)
	h.api.plays = newPlays(h.clock.Now)
	b.beat(p.ID, p.Tickets.Media)
	if n := b.streams(); len(n) != 1 || n[0].Session != p.ID {
		t.Errorf("streams %+v", n)
	}
}

// share is a report with the viewer's answer.
func share(yes bool) string {
	return fmt.Sprintf(`%s,"share":%v}`, strings.TrimSuffix(report, "}"), yes)
}

func TestConsentIsGivenAndTakenBackWithAHeartbeat(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	p := b.play("open", `{}`)
	for _, yes := range []bool{true, false} {
		var r vod.HeartbeatReply
		b.want(200, &r, "POST", "/api/v1/play/"+p.ID+"/heartbeat", share(yes), "Authorization", "Bearer "+p.Tickets.Media)
		if r.Policy.P2P != yes {
			t.Errorf("said %v: %+v", yes, r.Policy)
		}
		if r := b.beat(p.ID, p.Tickets.Media); r.Policy.P2P != yes { // unsaid it stays
			t.Errorf("after %v: %+v", yes, r.Policy)
		}
	}
}

func TestPlaySessionsAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	p := newPlays(h.clock.Now)
	for range playsMax + 100 {
		p.add(play{id: newSessionID()})
	}
	if len(p.byID) > playsMax {
		t.Errorf("%d sessions", len(p.byID))
	}
	h.clock.Advance(2 * playIdle)
	p.add(play{id: "new"})
	if len(p.byID) != 1 {
		t.Errorf("%d sessions after they all were idle", len(p.byID))
	}
}

func TestOperatorSeesTrafficAndSwitchesPeersOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	p := b.play("open", `{"share":true}`)
	_, body := b.do("GET", "/media/"+p.Files[0].Root, "", "Range", "bytes=100-50099", "Authorization", "Bearer "+p.Tickets.Media)
	_, more := b.do("GET", "/media/"+p.Files[0].Root, "", "Range", "bytes=0-9")
	token, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: h.clock.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	auth := []string{"Authorization", "Bearer " + token}
	for _, path := range []string{"/api/v1/operator/traffic", "/api/v1/operator/policy"} {
		b.refused(403, "forbidden", "GET", path, "") // a viewer's cookie is not enough
		b.refused(401, "unauthorized", "GET", path, "", "Authorization", "Bearer "+p.Tickets.Media)
	}
	var traffic struct {
		OriginBytes int64            `json:"origin_bytes"`
		Titles      map[string]int64 `json:"titles"`
		Sessions    map[string]int64 `json:"sessions"`
	}
	b.want(200, &traffic, "GET", "/api/v1/operator/traffic", "", auth...)
	if total := int64(len(body) + len(more)); traffic.OriginBytes != total || traffic.Titles["open"] != total || traffic.Sessions[p.ID] != 50_000 {
		t.Errorf("traffic %+v, received %d", traffic, total)
	}
	b.refused(403, "forbidden", "PUT", "/api/v1/operator/policy", `{"p2p":false,"uplink_kbps":0}`)
	var policy PolicyBody
	b.want(200, &policy, "PUT", "/api/v1/operator/policy", `{"p2p":false,"uplink_kbps":500}`, auth...)
	b.want(200, &policy, "GET", "/api/v1/operator/policy", "", auth...)
	if policy.P2P || policy.UplinkKbps != 500 {
		t.Errorf("policy %+v", policy)
	}
	if r := b.beat(p.ID, p.Tickets.Media); r.Policy.P2P || r.Policy.UplinkKbps != 500 {
		t.Errorf("heartbeat %+v", r.Policy)
	}
}

func TestNoSessionWithoutACookieInURLs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser().signIn()
	r, err := http.NewRequest("GET", h.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := b.client.Jar.Cookies(r.URL)[0].Value
	h.browser().refused(401, "unauthorized", "GET", "/api/v1/me?essaim_session="+token, "")
	h.browser().refused(401, "unauthorized", "GET", "/api/v1/me", "", "Authorization", "Bearer "+token)
}

// follow has the house's revocations heard, as a node does.
func (h *house) follow() {
	ready := make(chan struct{})
	go h.members.Follow(h.t.Context(), slog.New(slog.DiscardHandler), func() { close(ready) }, h.tickets.Revoke)
	<-ready
}

// revoked waits until a ticket is.
func (h *house) revoked(token string) {
	h.t.Helper()
	for ctx := h.t.Context(); ; {
		if _, err := h.tickets.Check(vod.AudienceMedia, token); errors.Is(err, vod.ErrTicketRevoked) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			h.t.Fatal("the ticket is good to the end of the test")
		}
	}
}

func TestSigningOutRevokesTheTicketsOfThatDevice(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.follow()
	b, other := h.browser().signIn(), h.browser().signIn()
	p, q := b.play("open", `{}`), other.play("closed", `{}`)
	if resp, _ := b.do("DELETE", "/api/v1/session", ""); resp.StatusCode != 204 {
		t.Fatalf("sign out: %d", resp.StatusCode)
	}
	h.revoked(p.Tickets.Media)
	b.refused(410, "signed_out", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
	other.beat(q.ID, q.Tickets.Media)
}

func TestOperatorRevokesAMemberAndAStranger(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.follow()
	b, stranger := h.browser().signIn(), h.browser()
	p, q, other := b.play("closed", `{}`), stranger.play("open", `{}`), stranger.play("open", `{}`)
	token, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: h.clock.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	const path = "/api/v1/operator/revocations"
	operator := []string{"Authorization", "Bearer " + token}
	for body, code := range map[string]int{`{}`: 400, `{"member":"ada","session":"x"}`: 400, `{"member":"nobody"}`: 404} {
		if resp, data := b.do("POST", path, body, operator...); resp.StatusCode != code {
			t.Errorf("%s: %d %s", body, resp.StatusCode, data)
		}
	}
	b.refused(403, "forbidden", "POST", path, `{"member":"ada"}`)
	var got struct{ Ended int }
	b.want(200, &got, "POST", path, `{"member":"Ada"}`, operator...)
	if got.Ended != 1 {
		t.Errorf("%d sessions ended", got.Ended)
	}
	b.want(200, &got, "POST", path, `{"session":"`+q.ID+`"}`, operator...)
	h.revoked(p.Tickets.Media)
	h.revoked(q.Tickets.Media)
	b.refused(401, "unauthorized", "GET", "/api/v1/me", "")
	stranger.beat(other.ID, other.Tickets.Media)
}

func TestWhoWatchesThePolicyHearsOfEachChange(t *testing.T) {
	t.Parallel()
	p := NewPolicy(vod.PlayPolicy{P2P: true})
	var heard []bool
	p.Watch(func(now vod.PlayPolicy) { heard = append(heard, now.P2P) })
	p.Set(vod.PlayPolicy{})
	p.Set(vod.PlayPolicy{P2P: true})
	if !slices.Equal(heard, []bool{true, false, true}) {
		t.Errorf("heard %v", heard)
	}
}

func TestMembersMeetInTheSwarmOfAnEncryptedTitle(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Titles = protected{c.Titles} })
	b := h.browser().signIn()
	p := b.play("closed", `{"share":true}`)
	if !p.Policy.P2P || !p.Policy.Upload || len(p.Nodes.Trackers) != 1 || len(p.Nodes.Announce) != 0 {
		t.Errorf("session %+v %+v", p.Policy, p.Nodes)
	}
	ticket, err := h.tickets.Check(vod.AudienceSwarm, p.Tickets.Swarm)
	if err != nil || ticket.Member == "" || ticket.Title != "closed" {
		t.Errorf("ticket %+v, %v", ticket, err)
	}
	if p := b.play("closed", `{"share":false}`); p.Policy.P2P || p.Policy.Upload {
		t.Errorf("without consent: %+v", p.Policy)
	}
	h.browser().refused(401, "unauthorized", "POST", "/api/v1/titles/closed/play", `{"share":true}`)
}
