package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

// protected is a catalogue whose closed film is encrypted.
type protected struct{ vod.Titles }

var (
	filmKID = vod.KID{1, 2, 3, 0xfb, 0xff, 15: 9} // its base64url holds - and _
	filmKey = vod.ContentKey{KID: filmKID, Tier: vod.TierSD, Key: [16]byte{0xfa, 0xce, 0xff, 15: 7}}
)

func (p protected) Get(ctx context.Context, id vod.TitleID) (vod.Title, error) {
	t, err := p.Titles.Get(ctx, id)
	if err == nil && !t.Open {
		t.Version.Scheme = vod.CBCS
		t.Version.Files = slices.Clone(t.Version.Files)
		t.Version.Files[0].KID = filmKID
	}
	return t, err
}

// licences remembers what it was asked, and answers what it is told to.
type licences struct {
	tickets []vod.Ticket
	kids    [][]vod.KID
	system  string
	body    []byte
	err     error
}

func (l *licences) License(_ context.Context, t vod.Ticket, kids []vod.KID) ([]vod.ContentKey, error) {
	l.tickets, l.kids = append(l.tickets, t), append(l.kids, kids)
	if l.err != nil {
		return nil, l.err
	}
	return []vod.ContentKey{filmKey}, nil
}

func (l *licences) Forward(_ context.Context, system string, t vod.Ticket, challenge []byte) ([]byte, error) {
	l.tickets, l.system, l.body = append(l.tickets, t), system, challenge
	return []byte{0, 255, 1}, l.err
}

func (l *licences) Report() vod.LicenceReport {
	return vod.LicenceReport{Granted: 1, Refused: 2, Limited: 3, Failed: 4, Forwarded: 5}
}

func newProtectedHouse(t *testing.T) (*house, *licences) {
	l := &licences{}
	return newHouse(t, func(c *Config) { c.Titles, c.Licences = protected{c.Titles}, l }), l
}

func ask(kids ...string) string {
	return `{"kids":["` + strings.Join(kids, `","`) + `"],"type":"temporary"}`
}

func TestAMembersPlayerLearnsWhereItsKeysAreAndGetsThem(t *testing.T) {
	t.Parallel()
	h, l := newProtectedHouse(t)
	b := h.browser().signIn()
	p := b.play("closed", `{}`)
	if p.Protection == nil || *p.Protection != (vod.Protection{Scheme: vod.CBCS, ClearKey: clearKeyPath}) {
		t.Fatalf("protection %+v", p.Protection)
	}
	if p.Files[0].KID != filmKID.String() {
		t.Errorf("key's name %q", p.Files[0].KID)
	}
	stranger := h.browser() // the ticket says who it is for; no cookie comes from a player in somebody's page
	kid := base64.RawURLEncoding.EncodeToString(filmKID[:])
	var got struct {
		Keys []map[string]string
		Type string
	}
	stranger.want(200, &got, "POST", p.Protection.ClearKey, ask(kid), "Authorization", "Bearer "+p.Tickets.License)
	want := map[string]string{"kty": "oct", "kid": kid, "k": base64.RawURLEncoding.EncodeToString(filmKey.Key[:])}
	if got.Type != "temporary" || len(got.Keys) != 1 || fmt.Sprint(got.Keys[0]) != fmt.Sprint(want) {
		t.Errorf("licence %+v", got)
	}
	if len(l.kids) != 1 || len(l.kids[0]) != 1 || l.kids[0][0] != filmKID {
		t.Errorf("asked for %v", l.kids)
	}
	if x := l.tickets[0]; x.Audience != vod.AudienceLicense || x.PlaySession != p.ID || x.Title != "closed" || x.Version != p.InfoHashV2 || x.Member == "" {
		t.Errorf("ticket %+v", x)
	}
	var reply vod.HeartbeatReply
	h.clock.Advance(5 * time.Minute)
	b.want(200, &reply, "POST", "/api/v1/play/"+p.ID+"/heartbeat", `{"position_ms":1,"origin_bytes":0,"peer_bytes":0,"sent_bytes":0,"stalls":0,"stalled_ms":0,"startup_ms":0,"bad_blocks":0}`,
		"Authorization", "Bearer "+p.Tickets.Media)
	h.clock.Advance(6 * time.Minute)
	stranger.refused(401, "unauthorized", "POST", clearKeyPath, ask(kid), "Authorization", "Bearer "+p.Tickets.License)
	stranger.want(200, &got, "POST", clearKeyPath, ask(kid), "Authorization", "Bearer "+reply.Tickets.License)
}

// sdPlan includes small pictures only.
type sdPlan struct{}

func (sdPlan) Entitlement(context.Context, string, vod.TitleID) (vod.Entitlement, error) {
	return vod.Entitlement{Streams: 1, Highest: vod.TierSD}, nil
}

func TestAPlayerLearnsWhichPicturesThePlanIncludes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Titles, c.Licences, c.Entitlements = protected{c.Titles}, &licences{}, sdPlan{} })
	if p := h.browser().signIn().play("closed", `{}`); p.Protection == nil || p.Protection.MaxHeight != 719 {
		t.Errorf("protection %+v", p.Protection)
	}
	for tier, height := range map[vod.Tier]int{vod.TierSD: 719, vod.TierHD: 1080, vod.TierUHD: 4320} {
		most := tier.MaxHeight()
		if got := vod.TierOf(vod.Video, height); got != tier || most != 0 && most != height || most > 0 && vod.TierOf(vod.Video, most+1) == tier {
			t.Errorf("%s ends at %d lines, and %d lines are %s", tier, most, height, got)
		}
	}
}

func TestOpenTitlesNeedNoKeys(t *testing.T) {
	t.Parallel()
	h, _ := newProtectedHouse(t)
	if p := h.browser().play("open", `{}`); p.Protection != nil || p.Tickets.License != "" || p.Files[0].KID != "" {
		t.Errorf("session %+v", p)
	}
}

func TestNoTicketNoKey(t *testing.T) {
	t.Parallel()
	h, l := newProtectedHouse(t)
	b := h.browser().signIn()
	p := b.play("closed", `{}`)
	kid := base64.RawURLEncoding.EncodeToString(filmKID[:])
	for name, bearer := range map[string]string{
		"nothing": "", "a media ticket": "Bearer " + p.Tickets.Media, "nonsense": "Bearer x", "no bearer": p.Tickets.License,
		"a changed one": "Bearer " + p.Tickets.License[:len(p.Tickets.License)-8] + "AAAAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			b.refused(401, "unauthorized", "POST", clearKeyPath, ask(kid), "Authorization", bearer)
			b.refused(401, "unauthorized", "POST", "/api/v1/license/widevine", "x", "Authorization", bearer, "Content-Type", "application/octet-stream")
		})
	}
	if len(l.tickets) > 0 {
		t.Error("the licences were asked all the same")
	}
}

func TestLicenceRequestsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	h, l := newProtectedHouse(t)
	bearer := "Bearer " + h.browser().signIn().play("closed", `{}`).Tickets.License
	kid := base64.RawURLEncoding.EncodeToString(filmKID[:])
	for _, body := range []string{
		ask(), ask(kid + "=="), ask(kid[:20]), ask(strings.ReplaceAll(strings.ReplaceAll(kid, "-", "+"), "_", "/")), ask(filmKID.String()),
		ask(slices.Repeat([]string{kid}, 17)...), strings.Replace(ask(kid), "temporary", "persistent-license", 1), `{"kids":"` + kid + `"}`, `{`,
	} {
		resp, data := h.browser().do("POST", clearKeyPath, body, "Authorization", bearer)
		if resp.StatusCode != 400 && resp.StatusCode != 422 {
			t.Errorf("%.60s: %d %s", body, resp.StatusCode, data)
		}
	}
	if len(l.kids) > 0 {
		t.Errorf("the licences were asked for %v", l.kids)
	}
}

func TestRefusedAndLimitedLicencesSaySo(t *testing.T) {
	t.Parallel()
	h, l := newProtectedHouse(t)
	b := h.browser()
	bearer := "Bearer " + h.browser().signIn().play("closed", `{}`).Tickets.License
	kid := base64.RawURLEncoding.EncodeToString(filmKID[:])
	l.err = fmt.Errorf("licence: %w: none of these keys", vod.ErrForbidden)
	b.refused(403, "forbidden", "POST", clearKeyPath, ask(kid), "Authorization", bearer)
	l.err = fmt.Errorf("licence: %w: a key is not at hand", vod.ErrUnavailable)
	b.refused(503, "unavailable", "POST", clearKeyPath, ask(kid), "Authorization", bearer)
	l.err = fmt.Errorf("licence: %w", &vod.LaterError{After: 3 * time.Second})
	if resp, _ := b.do("POST", clearKeyPath, ask(kid), "Authorization", bearer); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "3" {
		t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	l.err = fmt.Errorf("licence: %w: %w", vod.ErrUpstream, &vod.LaterError{After: 7 * time.Second})
	resp, _ := b.do("POST", "/api/v1/license/widevine", "x", "Authorization", bearer, "Content-Type", "application/octet-stream")
	if resp.StatusCode != 502 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("%d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

func TestChallengesPassAsTheyAre(t *testing.T) {
	t.Parallel()
	h, l := newProtectedHouse(t)
	bearer := "Bearer " + h.browser().signIn().play("closed", `{}`).Tickets.License
	send := func(system, body string) (*http.Response, []byte) {
		return h.browser().do("POST", "/api/v1/license/"+system, body, "Authorization", bearer, "Content-Type", "application/octet-stream")
	}
	challenge := "\x08\x04\x00\xff" + strings.Repeat("x", 40<<10) // longer than other requests may be
	resp, body := send("widevine", challenge)
	if resp.StatusCode != 200 || !bytes.Equal(body, []byte{0, 255, 1}) || resp.Header.Get("Cache-Control") != "no-store" ||
		resp.Header.Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
	if l.system != "widevine" || string(l.body) != challenge {
		t.Errorf("%s was asked with %d bytes", l.system, len(l.body))
	}
	if resp, _ := send("widevine", strings.Repeat("x", challengeMax+1)); resp.StatusCode != 413 {
		t.Errorf("a challenge that is too long: %d", resp.StatusCode)
	}
	l.err = vod.ErrNotFound
	if resp, _ := send("fairplay", "x"); resp.StatusCode != 404 {
		t.Errorf("a system that was not set up: %d", resp.StatusCode)
	}
}

func TestOperatorsSeeHowManyLicencesWereAskedFor(t *testing.T) {
	t.Parallel()
	h, _ := newProtectedHouse(t)
	token, err := h.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	h.browser().want(200, &got, "GET", "/api/v1/operator/licenses", "", "Authorization", "Bearer "+token)
	if fmt.Sprint(got) != "map[failed:4 forwarded:5 granted:1 limited:3 refused:2]" {
		t.Errorf("%v", got)
	}
	h.browser().signIn().refused(403, "forbidden", "GET", "/api/v1/operator/licenses", "")
}
