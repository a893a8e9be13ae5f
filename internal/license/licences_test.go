package license

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/vod"
)

// titles is a catalogue of protected titles.
type titles struct {
	vod.Titles
	byID map[vod.TitleID]vod.Title
}

func (x *titles) Get(_ context.Context, id vod.TitleID) (vod.Title, error) {
	t, ok := x.byID[id]
	if !ok {
		return t, vod.ErrNotFound
	}
	return t, nil
}

// plans gives everybody the same.
type plans struct {
	highest vod.Tier
	err     error
}

func (p *plans) Entitlement(context.Context, string, vod.TitleID) (vod.Entitlement, error) {
	return vod.Entitlement{Streams: 1, Highest: p.highest}, p.err
}

// office is a service with two protected titles of three tiers each.
type office struct {
	*Licences
	*bench
	keys  []vod.ContentKey // of "film", by tier
	other []vod.ContentKey
	plans plans
	now   time.Time
	log   bytes.Buffer
	list  *titles
}

func newOffice(t *testing.T, upstreams map[string]Upstream) *office {
	t.Helper()
	o := &office{bench: newBench(t), now: clock(), plans: plans{highest: vod.TierUHD}, list: &titles{byID: map[vod.TitleID]vod.Title{}}}
	k := o.bench.keys("")
	o.keys, o.other = o.draw(k, "one"), o.draw(k, "two")
	for id, keys := range map[vod.TitleID][]vod.ContentKey{"film": o.keys, "other": o.other} {
		o.list.byID[id] = vod.Title{ID: id, Version: vod.Version{ID: string(id) + " 1", Scheme: vod.CBCS, Files: []vod.File{
			{Kind: vod.Audio, KID: keys[0].KID},
			{Kind: vod.Video, Height: 480, KID: keys[1].KID},
			{Kind: vod.Video, Height: 360, KID: keys[1].KID},
			{Kind: vod.Video, Height: 1080, KID: keys[2].KID},
		}}}
	}
	o.Licences = NewLicences(LicencesConfig{
		Keys: k, Titles: o.list, Clock: func() time.Time { return o.now }, Plans: &o.plans, Upstreams: upstreams,
		Log: slog.New(slog.NewTextHandler(&o.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return o
}

// ticket is a member's licence ticket for "film".
func ticket() vod.Ticket {
	return vod.Ticket{Audience: vod.AudienceLicense, PlaySession: "s1", Member: "m1", Device: "d1", Title: "film", Version: "film 1"}
}

func TestAMemberGetsTheKeysOfTheTicketsTitleAndNoOthers(t *testing.T) {
	o := newOffice(t, nil)
	kids := kidsOf(o.keys)
	got, err := o.License(t.Context(), ticket(), append(slices.Clone(kids), kids[0], o.other[0].KID, vod.KID{1}))
	if err != nil || !slices.Equal(got, o.keys) {
		t.Fatalf("%v, %v", got, err)
	}
	if r := o.Report(); r != (vod.LicenceReport{Granted: 1}) {
		t.Errorf("counted %+v", r)
	}
}

func TestAPlanOpensNoTierAboveItsOwn(t *testing.T) {
	o := newOffice(t, nil)
	o.plans.highest = vod.TierSD
	got, err := o.License(t.Context(), ticket(), kidsOf(o.keys))
	if err != nil || !slices.Equal(got, o.keys[:2]) {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := o.License(t.Context(), ticket(), kidsOf(o.keys[2:])); !errors.Is(err, vod.ErrForbidden) {
		t.Errorf("the tier above alone: %v", err)
	}
}

// TestRefusalsTellNothing: a key that exists and one that does not are refused in the same words.
func TestRefusalsTellNothing(t *testing.T) {
	o := newOffice(t, nil)
	_, exists := o.License(t.Context(), ticket(), kidsOf(o.other))
	_, unknown := o.License(t.Context(), ticket(), []vod.KID{{1}, {2}, {3}})
	if !errors.Is(exists, vod.ErrForbidden) || !errors.Is(unknown, vod.ErrForbidden) || exists.Error() != unknown.Error() {
		t.Errorf("one that exists: %v; one that does not: %v", exists, unknown)
	}
	if r := o.Report(); r.Refused != 2 || r.Granted != 0 {
		t.Errorf("counted %+v", r)
	}
	if !strings.Contains(o.log.String(), "level=WARN msg=\"licence refused\" session=s1") {
		t.Errorf("logged %s", o.log.String())
	}
}

func TestWhoMayNotHaveKeysGetsNone(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*vod.Ticket, *office)
		want   error
	}{
		"a stranger":          {func(t *vod.Ticket, _ *office) { t.Member = "" }, vod.ErrForbidden},
		"a rehearsal":         {func(t *vod.Ticket, _ *office) { t.Rehearsal = "r" }, vod.ErrForbidden},
		"a media ticket":      {func(t *vod.Ticket, _ *office) { t.Audience = vod.AudienceMedia }, vod.ErrForbidden},
		"no session":          {func(t *vod.Ticket, _ *office) { t.PlaySession = "" }, vod.ErrForbidden},
		"another version":     {func(t *vod.Ticket, _ *office) { t.Version = "film 0" }, vod.ErrForbidden},
		"another title":       {func(t *vod.Ticket, _ *office) { t.Title, t.Version = "other", "other 1" }, vod.ErrForbidden},
		"a withdrawn title":   {func(_ *vod.Ticket, o *office) { delete(o.list.byID, "film") }, vod.ErrNotAvailable},
		"a plan that ended":   {func(_ *vod.Ticket, o *office) { o.plans.err = forbidden(vod.ErrPlanEnded) }, vod.ErrPlanEnded},
		"a plan without it":   {func(_ *vod.Ticket, o *office) { o.plans.err = forbidden(vod.ErrNotIncluded) }, vod.ErrNotIncluded},
		"a title in the open": {func(_ *vod.Ticket, o *office) { clearAll(o, "film") }, vod.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, nil)
			x := ticket()
			c.change(&x, o)
			if got, err := o.License(t.Context(), x, kidsOf(o.keys)); !errors.Is(err, c.want) || len(got) > 0 {
				t.Errorf("%v, %v", got, err)
			}
			if r := o.Report(); r != (vod.LicenceReport{Refused: 1}) {
				t.Errorf("counted %+v", r)
			}
		})
	}
}

func forbidden(err error) error { return fmt.Errorf("%w: %w", vod.ErrForbidden, err) }

func clearAll(o *office, id vod.TitleID) {
	t := o.list.byID[id]
	for i := range t.Version.Files {
		t.Version.Files[i].KID = vod.KID{}
	}
}

func TestTheNumberOfKeysAskedForIsBounded(t *testing.T) {
	o := newOffice(t, nil)
	for _, kids := range [][]vod.KID{nil, make([]vod.KID, 17)} {
		if _, err := o.License(t.Context(), ticket(), kids); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%d: %v", len(kids), err)
		}
	}
}

func TestWhoAsksTooOftenWaits(t *testing.T) {
	o := newOffice(t, nil)
	ask := func(session string) error {
		x := ticket()
		x.PlaySession = session
		_, err := o.License(t.Context(), x, kidsOf(o.keys))
		return err
	}
	for range sessionBurst {
		if err := ask("s1"); err != nil {
			t.Fatal(err)
		}
	}
	var later *vod.LaterError
	if err := ask("s1"); !errors.As(err, &later) || later.After != sessionEvery {
		t.Fatalf("one too many: %v", err)
	}
	if err := ask("s2"); err != nil {
		t.Errorf("another session must wait too: %v", err)
	}
	o.now = o.now.Add(sessionEvery)
	if err := ask("s1"); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	for i := range 100 { // new sessions do not make it endless
		if err := ask(fmt.Sprint("many ", i)); err != nil {
			if !errors.As(err, &later) {
				t.Fatal(err)
			}
			if r := o.Report(); r.Limited != 2 || r.Granted > memberBurst+3 {
				t.Errorf("counted %+v", r)
			}
			return
		}
	}
	t.Error("a member who begins sessions without end may ask without end")
}

func TestTheLimitersMemoryIsBounded(t *testing.T) {
	l := limiter{clock: clock, buckets: map[string]*bucket{}}
	for i := range bucketsMax + 1000 {
		l.take(fmt.Sprint(i), 1, time.Second)
	}
	if len(l.buckets) > bucketsMax {
		t.Errorf("%d names are remembered", len(l.buckets))
	}
}

func TestAMissingMasterKeyIsTheServicesFault(t *testing.T) {
	o := newOffice(t, nil)
	o.Licences.c.Keys = o.bench.keys(NewMaster())
	_, err := o.License(t.Context(), ticket(), kidsOf(o.keys))
	if !errors.Is(err, vod.ErrUnavailable) || errors.Is(err, vod.ErrForbidden) || errors.Is(err, vod.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if r := o.Report(); r.Failed != 1 || !strings.Contains(o.log.String(), "restore it from its backup") {
		t.Errorf("counted %+v, logged %s", r, o.log.String())
	}
}

// vendor stands in for a commercial system's licence server.
func vendor(t *testing.T, c HTTPConfig, answer http.HandlerFunc) (*office, *HTTPUpstream) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	c.URL = s.URL + "/widevine"
	up, err := NewHTTPUpstream(c)
	if err != nil {
		t.Fatal(err)
	}
	return newOffice(t, map[string]Upstream{"widevine": up}), up
}

func TestAChallengeGoesToTheVendorAndItsAnswerBack(t *testing.T) {
	var got struct {
		challenge []byte
		header    http.Header
	}
	o, _ := vendor(t, HTTPConfig{Headers: map[string]string{"X-Api-Key": "hunter2"}}, func(w http.ResponseWriter, r *http.Request) {
		got.challenge, _ = io.ReadAll(r.Body)
		got.header = r.Header
		w.Write([]byte{0, 1, 255})
	})
	o.plans.highest = vod.TierSD
	challenge := []byte{8, 4, 0, 200}
	a, err := o.Forward(t.Context(), "widevine", ticket(), challenge)
	if err != nil || !bytes.Equal(a, []byte{0, 1, 255}) {
		t.Fatalf("%v, %v", a, err)
	}
	kids := sorted(map[vod.KID]bool{o.keys[0].KID: true, o.keys[1].KID: true})
	for name, want := range map[string]string{
		"X-Api-Key": "hunter2", "X-Essaim-Kids": kids[0].String() + "," + kids[1].String(), "X-Essaim-Title": "film",
		"X-Essaim-Session": "s1",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	if !bytes.Equal(got.challenge, challenge) {
		t.Errorf("the vendor got %v", got.challenge)
	}
	if r := o.Report(); r != (vod.LicenceReport{Granted: 1, Forwarded: 1}) {
		t.Errorf("counted %+v", r)
	}
	if strings.Contains(o.log.String(), "hunter2") {
		t.Error("the operator's secret is in the log")
	}
}

func TestOnlyWhoMayHaveKeysReachesTheVendor(t *testing.T) {
	var asked atomic.Int32
	o, _ := vendor(t, HTTPConfig{}, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.Write([]byte("x")) })
	stranger := ticket()
	stranger.Member = ""
	if _, err := o.Forward(t.Context(), "widevine", stranger, []byte("c")); !errors.Is(err, vod.ErrForbidden) {
		t.Errorf("a stranger: %v", err)
	}
	for _, c := range [][]byte{nil, make([]byte, challengeMax+1)} {
		if _, err := o.Forward(t.Context(), "widevine", ticket(), c); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("a challenge of %d bytes: %v", len(c), err)
		}
	}
	if _, err := o.Forward(t.Context(), "fairplay", ticket(), []byte("c")); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("a system that was not set up: %v", err)
	}
	for range sessionBurst {
		if _, err := o.Forward(t.Context(), "widevine", ticket(), []byte("c")); err != nil {
			t.Fatal(err)
		}
	}
	var later *vod.LaterError
	if _, err := o.Forward(t.Context(), "widevine", ticket(), []byte("c")); !errors.As(err, &later) || errors.Is(err, vod.ErrUpstream) {
		t.Errorf("one too many: %v", err)
	}
	if asked.Load() != sessionBurst {
		t.Errorf("the vendor was asked %d times", asked.Load())
	}
}

func TestAVendorsFaultIsToldAsOneWithATimeToWait(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another host was asked") }))
	defer elsewhere.Close()
	hang := make(chan struct{})
	defer close(hang)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		wait   time.Duration
	}{
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.Write([]byte("hunter2"))
		}, retryAfter},
		"busy": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(503)
		}, 17 * time.Second},
		"a redirect elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, retryAfter},
		"a redirect that drops the challenge": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusFound)
		}, retryAfter},
		"redirects without end": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/widevine", http.StatusTemporaryRedirect)
		}, retryAfter},
		"nothing":          {func(http.ResponseWriter, *http.Request) {}, retryAfter},
		"too much":         {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, answerMax+1)) }, retryAfter},
		"no end":           {func(_ http.ResponseWriter, r *http.Request) { waitFor(r, hang) }, retryAfter},
		"a cut connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, retryAfter},
	} {
		t.Run(name, func(t *testing.T) {
			limit := 10 * time.Second
			if name == "no end" {
				limit = 50 * time.Millisecond
			}
			o, _ := vendor(t, HTTPConfig{Time: limit}, c.answer)
			_, err := o.Forward(t.Context(), "widevine", ticket(), []byte("challenge"))
			var later *vod.LaterError
			if !errors.Is(err, vod.ErrUpstream) || !errors.As(err, &later) || later.After != c.wait {
				t.Errorf("%v", err)
			}
			if r := o.Report(); r != (vod.LicenceReport{Failed: 1, Forwarded: 1}) {
				t.Errorf("counted %+v", r)
			}
			if strings.Contains(o.log.String()+fmt.Sprint(err), "hunter2") {
				t.Error("what the vendor said is in the log")
			}
		})
	}
}

func waitFor(r *http.Request, end chan struct{}) {
	_, _ = io.Copy(io.Discard, r.Body) // only then is the client's leaving noticed
	select {
	case <-r.Context().Done():
	case <-end:
	}
}

func TestUpstreamsThatWouldGiveSecretsAwayAreRefused(t *testing.T) {
	for _, c := range []HTTPConfig{
		{URL: "http://licence.example/"},
		{URL: "https://user:hunter2@licence.example/"},
		{URL: "file:///etc/passwd"},
		{URL: "licence.example"},
		{URL: "https://licence.example/", Headers: map[string]string{"X-Key": "hunter2\r\nHost: other"}},
		{URL: "https://licence.example/", Headers: map[string]string{"X Key": "hunter2"}},
	} {
		if _, err := NewHTTPUpstream(c); err == nil {
			t.Errorf("%q was taken", c.URL)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
	if _, err := NewHTTPUpstream(HTTPConfig{URL: "https://licence.example/?key=1"}); err != nil {
		t.Error(err)
	}
}
