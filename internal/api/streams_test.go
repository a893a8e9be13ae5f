package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/vod"
)

// streams are what the signed-in member watches.
func (b *browser) streams() []StreamBody {
	b.t.Helper()
	var out struct{ Streams []StreamBody }
	b.want(200, &out, "GET", "/api/v1/streams", "")
	return out.Streams
}

// plans are entitlements that a test changes.
type plans struct {
	mu sync.Mutex
	e  vod.Entitlement
	no error
}

func (p *plans) set(e vod.Entitlement, no error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.e, p.no = e, no
}

func (p *plans) Entitlement(context.Context, string, vod.TitleID) (vod.Entitlement, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.e, p.no
}

func planHouse(t *testing.T, streams int) (*house, *plans) {
	p := &plans{e: vod.Entitlement{Streams: streams, Highest: vod.TierUHD}}
	h := newHouse(t, func(c *Config) { c.Entitlements = p })
	h.follow()
	return h, p
}

func goodbye() string { return strings.TrimSuffix(report, "}") + `,"last":true}` }

func TestAMemberWatchesOnNoMoreScreensThanThePlanHas(t *testing.T) {
	t.Parallel()
	h, _ := planHouse(t, 2)
	devices := []*browser{h.browser().signIn(), h.browser().signIn(), h.browser().signIn()}
	first := devices[0].play("closed", `{}`)
	h.clock.Advance(time.Second)
	devices[1].play("closed", `{}`)
	devices[2].play("open", `{}`) // which everybody may
	resp, body := devices[2].do("POST", "/api/v1/titles/closed/play", `{}`)
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil || resp.StatusCode != 409 || p.Code != "too_many_streams" || len(p.Streams) != 2 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	if s := p.Streams[0]; s.Session != first.ID || s.Title != "closed" || s.Name != "The closed film" || s.Here || s.Began.IsZero() {
		t.Errorf("stream %+v", s)
	}
	// They stop the other one, whose player learns why, and may begin.
	if resp, _ := devices[2].do("DELETE", "/api/v1/streams/"+first.ID, ""); resp.StatusCode != 204 {
		t.Errorf("stop: %d", resp.StatusCode)
	}
	devices[2].play("closed", `{}`)
	h.revoked(first.Tickets.Media)
	devices[0].refused(410, "taken_over", "POST", "/api/v1/play/"+first.ID+"/heartbeat", report, "Authorization", "Bearer "+first.Tickets.Media)
	devices[0].refused(409, "too_many_streams", "POST", "/api/v1/titles/closed/play", `{}`)
}

func TestOnlyTheirOwnStreamsAreAMembersToSeeAndStop(t *testing.T) {
	t.Parallel()
	h, _ := planHouse(t, 1)
	if _, err := h.members.Add(t.Context(), "bob", password); err != nil {
		t.Fatal(err)
	}
	ada, bob := h.browser().signIn(), h.browser()
	bob.want(200, new(Me), "POST", "/api/v1/session", `{"name":"bob","password":"`+password+`"}`)
	p := ada.play("closed", `{}`)
	if list := bob.streams(); len(list) != 0 {
		t.Errorf("bob sees %+v", list)
	}
	bob.refused(404, "not_found", "DELETE", "/api/v1/streams/"+p.ID, "")
	h.browser().refused(401, "unauthorized", "DELETE", "/api/v1/streams/"+p.ID, "")
	h.browser().refused(401, "unauthorized", "GET", "/api/v1/streams", "")
	ada.beat(p.ID, p.Tickets.Media)
	if list := ada.streams(); len(list) != 1 || !list[0].Here {
		t.Errorf("ada sees %+v", list)
	}
	bob.play("closed", `{}`) // each has a place of their own
}

func TestGoodbyeFreesThePlaceAtOnceAndEndsTheTickets(t *testing.T) {
	t.Parallel()
	h, _ := planHouse(t, 1)
	one, other := h.browser().signIn(), h.browser().signIn()
	p := one.play("closed", `{}`)
	other.refused(409, "too_many_streams", "POST", "/api/v1/titles/closed/play", `{}`)
	one.want(200, new(vod.HeartbeatReply), "POST", "/api/v1/play/"+p.ID+"/heartbeat", goodbye(), "Authorization", "Bearer "+p.Tickets.Media)
	other.play("closed", `{}`)
	h.revoked(p.Tickets.Media)
	one.refused(401, "unauthorized", "GET", "/media/"+p.Files[0].Root, "", "Authorization", "Bearer "+p.Tickets.Media)
	one.refused(410, "left", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
}

func TestAReloadedPageReplacesItsOwnStream(t *testing.T) {
	t.Parallel()
	h, _ := planHouse(t, 1)
	b := h.browser().signIn()
	p, q := b.play("closed", `{}`), b.play("closed", `{}`)
	h.revoked(p.Tickets.Media)
	b.refused(410, "taken_over", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
	b.beat(q.ID, q.Tickets.Media)
}

func TestSigningOutFreesThePlace(t *testing.T) {
	t.Parallel()
	h, _ := planHouse(t, 1)
	one, other := h.browser().signIn(), h.browser().signIn()
	one.play("closed", `{}`)
	if resp, _ := one.do("DELETE", "/api/v1/session", ""); resp.StatusCode != 204 {
		t.Fatal(resp.StatusCode)
	}
	other.play("closed", `{}`)
}

func TestAPlayerThatLapsedGoesOnWhereThereIsRoomAndStopsWhereNot(t *testing.T) {
	t.Parallel()
	h, _ := planHouse(t, 1)
	one, other := h.browser().signIn(), h.browser().signIn()
	p := one.play("closed", `{}`)
	h.clock.Advance(4 * time.Minute)
	one.beat(p.ID, p.Tickets.Media) // nobody needed the place
	h.clock.Advance(4 * time.Minute)
	other.play("closed", `{}`)
	h.revoked(p.Tickets.Media)
	one.refused(410, "taken_over", "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
}

func TestAPlanThatEndsEndsTheFilmAtTheNextHeartbeatAtTheLatest(t *testing.T) {
	t.Parallel()
	for want, no := range map[Code]error{"plan_ended": vod.ErrPlanEnded, "not_included": vod.ErrNotIncluded, "not_available": vod.ErrNotAvailable} {
		h, plans := planHouse(t, 1)
		b := h.browser().signIn()
		p := b.play("closed", `{}`)
		plans.set(vod.Entitlement{}, fmt.Errorf("%w: %w", vod.ErrForbidden, no))
		b.refused(410, want, "POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media)
		h.revoked(p.Tickets.Media)
		b.refused(403, want, "POST", "/api/v1/titles/closed/play", `{}`)
		if list := b.streams(); len(list) != 0 {
			t.Errorf("%s: %+v", want, list)
		}
		b.play("open", `{}`)
	}
}

func TestNoTicketOutlivesThePlan(t *testing.T) {
	t.Parallel()
	h, plans := planHouse(t, 1)
	plans.set(vod.Entitlement{Streams: 1, Until: h.clock.Now().Add(3 * time.Minute)}, nil)
	p := h.browser().signIn().play("closed", `{}`)
	if p.Tickets.ExpiresMs != (3 * time.Minute).Milliseconds() {
		t.Errorf("tickets last %d ms", p.Tickets.ExpiresMs)
	}
}

func TestAFilmThatRunsGoesOnWhereStreamsCannotBeWritten(t *testing.T) {
	t.Parallel()
	h, plans := planHouse(t, 1)
	b := h.browser().signIn()
	p := b.play("closed", `{}`)
	h.api.c.Streams = brokenStreams{h.members}
	b.beat(p.ID, p.Tickets.Media)
	if resp, _ := b.do("POST", "/api/v1/titles/closed/play", `{}`); resp.StatusCode != 500 {
		t.Errorf("a start that cannot be counted: %d", resp.StatusCode)
	}
	plans.set(vod.Entitlement{}, errors.New("the disk is on fire"))
	if resp, _ := b.do("POST", "/api/v1/play/"+p.ID+"/heartbeat", report, "Authorization", "Bearer "+p.Tickets.Media); resp.StatusCode != 500 {
		t.Errorf("a database that cannot be read: %d", resp.StatusCode) // which players outlast
	}
}

// brokenStreams cannot write.
type brokenStreams struct{ vod.Streams }

func (brokenStreams) Begin(context.Context, vod.Stream, int) error { return errors.New("disk full") }

func (brokenStreams) Beat(context.Context, string) error { return errors.New("disk full") }

// events opens the session's stream of events, and returns what reads its next event: kind and data.
func (h *house) events(p *vod.PlaySession) func() (string, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), "GET", h.server.URL+"/api/v1/play/"+p.ID+"/events", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+p.Tickets.Media)
	resp, err := h.server.Client().Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		h.t.Fatalf("events: %d %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (kind, data string) {
		for lines.Scan() && lines.Text() != "" {
			if k, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				kind = k
			}
			if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				data = d
			}
		}
		return kind, data
	}
}

// followNews has players hear as well.
func (h *house) followNews() {
	ready := make(chan struct{})
	go h.members.Follow(h.t.Context(), h.api.log, func() { close(ready) }, func(list []vod.Revocation) {
		h.tickets.Revoke(list)
		h.api.Revoke(list)
	})
	<-ready
}

func TestAPageWithoutATrackerHearsOfEveryEndAtOnce(t *testing.T) {
	t.Parallel()
	for want, end := range map[vod.PlayEnd]func(h *house, b *browser, p *vod.PlaySession) error{
		vod.EndRevoked: func(h *house, _ *browser, p *vod.PlaySession) error { return h.members.RevokePlay(t.Context(), p.ID) },
		vod.EndSignedOut: func(_ *house, b *browser, _ *vod.PlaySession) error {
			b.do("DELETE", "/api/v1/session", "")
			return nil
		},
		vod.EndWithdrawn: func(h *house, _ *browser, p *vod.PlaySession) error {
			return h.members.EndTitle(t.Context(), p.Title, vod.EndWithdrawn)
		},
		vod.EndTakenOver: func(_ *house, b *browser, _ *vod.PlaySession) error { b.play("closed", `{}`); return nil },
		vod.EndPlanEnded: func(h *house, b *browser, _ *vod.PlaySession) error {
			var me Me
			b.want(200, &me, "GET", "/api/v1/me", "")
			_, err := h.members.EndMember(t.Context(), me.ID, func(vod.Stream) vod.PlayEnd { return vod.EndPlanEnded })
			return err
		},
	} {
		h := newHouse(t, nil)
		h.followNews()
		b := h.browser().signIn()
		p := b.play("closed", `{}`)
		next := h.events(&p)
		if kind, _ := next(); kind != "policy" {
			t.Fatalf("%s: first %q", want, kind)
		}
		if err := end(h, b, &p); err != nil {
			t.Fatal(err)
		}
		if kind, data := next(); kind != "ended" || data != `{"code":"`+string(want)+`"}` {
			t.Errorf("%s: heard %q %s", want, kind, data)
		}
		if kind, _ := next(); kind != "" {
			t.Errorf("%s: %q after the end", want, kind)
		}
	}
}

func TestAWithdrawalIsTheOnlyEndThatStrangersAndTheirNeighboursShare(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.followNews()
	stranger, p := h.browser(), vod.PlaySession{}
	p = stranger.play("open", `{}`)
	next := h.events(&p)
	next()
	other := stranger.play("open", `{}`)
	if err := h.members.RevokePlay(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	h.revoked(other.Tickets.Media)
	if err := h.members.EndTitle(t.Context(), "open", vod.EndWithdrawn); err != nil {
		t.Fatal(err)
	}
	if kind, data := next(); kind != "ended" || !strings.Contains(data, "withdrawn") {
		t.Errorf("heard %q %s", kind, data)
	}
}

func TestAPageHearsOfTheOperatorsSwitch(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	p := h.browser().play("open", `{"share":true}`)
	next := h.events(&p)
	for _, allowed := range []bool{true, false, true} {
		var got vod.PlayPolicy
		if kind, data := next(); kind != "policy" || json.Unmarshal([]byte(data), &got) != nil || got.P2P != allowed {
			t.Errorf("heard %q %+v, want %v", kind, got, allowed)
		}
		h.api.policy.Set(vod.PlayPolicy{P2P: !allowed})
	}
}

func TestEventsAreForTheSessionsOwnTicketAndBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	p, q := b.play("open", `{}`), b.play("open", `{}`)
	path := "/api/v1/play/" + p.ID + "/events"
	b.refused(401, "unauthorized", "GET", path, "")
	b.refused(401, "unauthorized", "GET", path, "", "Authorization", "Bearer "+p.Tickets.Swarm)
	b.refused(403, "forbidden", "GET", path, "", "Authorization", "Bearer "+q.Tickets.Media)
	// A second stream of a session ends the first.
	first := h.events(&p)
	first()
	second := h.events(&p)
	second()
	if kind, _ := first(); kind != "" {
		t.Errorf("the first goes on: %q", kind)
	}
	// The service's end ends them, and none begins.
	h.api.SetReady(false)
	if kind, _ := second(); kind != "" {
		t.Errorf("after the service stopped: %q", kind)
	}
	b.refused(503, "unavailable", "GET", path, "", "Authorization", "Bearer "+p.Tickets.Media)

	ls := newListeners()
	for i := range eventsMax {
		l, err := ls.enter(vod.Ticket{PlaySession: fmt.Sprint(i)})
		if (err == nil) != (i < eventsMax/2) {
			t.Fatalf("stranger %d: %v", i, err)
		}
		if i == 0 {
			ls.exit(l)
			ls.exit(l) // once only
			if _, err := ls.enter(vod.Ticket{PlaySession: "0"}); err != nil {
				t.Error(err)
			}
		}
	}
	for i := range eventsPerMember + 1 {
		if _, err := ls.enter(vod.Ticket{PlaySession: fmt.Sprint("m", i), Member: "m"}); (err == nil) != (i < eventsPerMember) {
			t.Errorf("member's %d: %v", i, err)
		}
	}
}
