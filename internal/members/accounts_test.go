package members

import (
	"database/sql"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/vod"
)

var discard = slog.New(slog.DiscardHandler)

// quick has passwords compared and hashed without argon2's work, for tests that are about something else.
func quick(m *Members) {
	m.matching = func(password, hash string) (bool, error) { return "plain:"+password == hash, nil }
	m.hashed = func(password string) (string, error) { return "plain:" + password, nil }
}

func signIn(t *testing.T, m *Members, name, password, device string) (string, vod.DeviceSession) {
	t.Helper()
	token, s, err := m.SignIn(t.Context(), name, password, vod.Visit{Device: device})
	if err != nil {
		t.Fatal(err)
	}
	return token, s
}

func TestDevicesAreListedAndEndOneByOneAndTogether(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	add(t, m, "ada", "correct horse")
	add(t, m, "eve", "battery staple")
	phone, onPhone := signIn(t, m, "ada", "correct horse", "Firefox · Android")
	clock.Advance(time.Hour)
	laptop, onLaptop := signIn(t, m, "ada", "correct horse", "Chrome · Linux")
	clock.Advance(time.Hour)
	if _, err := m.Session(t.Context(), phone); err != nil { // seen now
		t.Fatal(err)
	}
	a := m.Accounts()
	list, err := a.Devices(t.Context(), onPhone.Member.ID)
	if err != nil || len(list) != 2 || list[0].ID != onPhone.ID || list[0].Name != "Firefox · Android" || !list[0].Seen.Equal(clock.Now()) ||
		list[1].ID != onLaptop.ID || !list[1].Seen.Equal(clock.Now().Add(-time.Hour)) {
		t.Errorf("devices %+v, %v", list, err)
	}
	_, evil := signIn(t, m, "eve", "battery staple", "")
	if err := a.EndDevice(t.Context(), evil, onPhone.ID); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("another's device: %v", err)
	}
	if err := a.EndDevice(t.Context(), onPhone, onLaptop.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Session(t.Context(), laptop); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("the device that was signed out: %v", err)
	}
	if n, err := a.EndDevices(t.Context(), onPhone); n != 1 || err != nil {
		t.Errorf("ended %d, %v", n, err)
	}
	if _, err := m.Session(t.Context(), phone); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("signed out everywhere: %v", err)
	}
	if list, err := a.Devices(t.Context(), evil.Member.ID); err != nil || len(list) != 1 {
		t.Errorf("eve's devices: %+v, %v", list, err)
	}
}

func TestSightingsAreWrittenNowAndThen(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	add(t, m, "ada", "correct horse")
	token, s := signIn(t, m, "ada", "correct horse", "x")
	seen := func() (ms int64) {
		if err := m.db.Reader().QueryRowContext(t.Context(), `SELECT seen_ms FROM device_sessions WHERE id = $1`, s.ID).Scan(&ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	opened := clock.Now()
	clock.Advance(time.Hour)
	if _, err := m.Session(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if seen() != opened.UnixMilli() {
		t.Error("a request wrote to the database")
	}
	m.writeSightings(t.Context(), discard)
	if seen() != clock.Now().UnixMilli() {
		t.Error("not written")
	}
}

func TestPasswordChangesOnlyForWhoKnowsTheOldAndEndsOtherSessions(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	ada := add(t, m, "ada", "correct horse")
	here, s := signIn(t, m, "ada", "correct horse", "here")
	there, _ := signIn(t, m, "ada", "correct horse", "there")
	reset, _, err := m.Links().Reset(t.Context(), admin, ada.ID)
	if err != nil {
		t.Fatal(err)
	}
	a := m.Accounts()
	if err := a.SetPassword(t.Context(), s, "correct horse", "short"); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("a short one: %v", err)
	}
	for i := range triesFree {
		if err := a.SetPassword(t.Context(), s, "wrong", "battery staple"); !errors.Is(err, vod.ErrUnauthorized) {
			t.Errorf("try %d: %v", i, err)
		}
	}
	var later *vod.LaterError
	if err := a.SetPassword(t.Context(), s, "correct horse", "battery staple"); !errors.As(err, &later) {
		t.Errorf("guessing on: %v", err)
	}
	clock.Advance(pauseMax)
	if err := a.SetPassword(t.Context(), s, "correct horse", "battery staple"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Session(t.Context(), here); err != nil {
		t.Errorf("the session that changed it: %v", err)
	}
	if _, err := m.Session(t.Context(), there); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("another session: %v", err)
	}
	if _, err := a.Link(t.Context(), reset); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("a reset link made before: %v", err)
	}
	if _, _, err := m.SignIn(t.Context(), "ada", "battery staple", vod.Visit{}); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

func TestInvitationIsUsedOnceUnderRace(t *testing.T) {
	m, _ := newMembers(t)
	quick(m)
	token, made, err := m.Links().Invite(t.Context(), admin, vod.Link{Role: vod.Editor, Note: "for Grace"})
	if err != nil || len(token) != 43 || made.Plan != vod.PlanStandard {
		t.Fatalf("%+v, %v", made, err)
	}
	a := m.Accounts()
	if l, err := a.Link(t.Context(), token); err != nil || l != made {
		t.Errorf("link %+v, %v, want %+v", l, err, made)
	}
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for i := range cap(results) {
		wg.Go(func() {
			_, s, err := a.UseLink(t.Context(), token, string(rune('a'+i)), "correct horse", vod.Visit{})
			if err == nil && s.Member.Role != vod.Editor {
				t.Errorf("role %s", s.Member.Role)
			}
			results <- err
		})
	}
	wg.Wait()
	used := 0
	for range cap(results) {
		if err := <-results; err == nil {
			used++
		} else if !errors.Is(err, vod.ErrNotFound) {
			t.Errorf("too late: %v", err)
		}
	}
	if list, err := m.Directory().List(t.Context(), "", "", 100); used != 1 || err != nil || len(list) != 1 {
		t.Errorf("%d used it; members %+v, %v", used, list, err)
	}
}

func TestLinksEndAndAreWithdrawnAndSayNothingOfTheDead(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	invite := func() (string, vod.Link) {
		token, l, err := m.Links().Invite(t.Context(), admin, vod.Link{Expires: clock.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return token, l
	}
	used, _ := invite()
	withdrawn, l := invite()
	expired, _ := invite()
	a := m.Accounts()
	if _, _, err := a.UseLink(t.Context(), used, "ada", "short", vod.Visit{}); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("a short password: %v", err)
	}
	if _, _, err := a.UseLink(t.Context(), used, "ada", "correct horse", vod.Visit{}); err != nil {
		t.Fatalf("after a mistake: %v", err)
	}
	if _, _, err := a.UseLink(t.Context(), expired, "Ada", "correct horse", vod.Visit{}); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("a name that is taken: %v", err)
	}
	if err := m.Links().Withdraw(t.Context(), admin, l.ID); err != nil {
		t.Fatal(err)
	}
	if list, err := m.Links().List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("open links: %+v, %v", list, err)
	}
	clock.Advance(time.Hour)
	words := map[string]bool{}
	for _, token := range []string{used, withdrawn, expired, "", "never was", strings.Repeat("x", 10_000)} {
		_, look := a.Link(t.Context(), token)
		_, _, use := a.UseLink(t.Context(), token, "eve", "correct horse", vod.Visit{})
		if !errors.Is(look, vod.ErrNotFound) || !errors.Is(use, vod.ErrNotFound) {
			t.Errorf("%.10s: %v, %v", token, look, use)
		}
		words[look.Error()+use.Error()] = true
	}
	if len(words) != 1 {
		t.Errorf("dead links can be told apart: %v", words)
	}
	for _, bad := range []vod.Link{
		{Role: "king"}, {Plan: "none"}, {Note: strings.Repeat("x", 201)}, {Expires: clock.Now()}, {Expires: clock.Now().AddDate(1, 0, 0)},
	} {
		if _, _, err := m.Links().Invite(t.Context(), admin, bad); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestResetLinkSetsThePasswordAndEndsEverySession(t *testing.T) {
	m, _ := newMembers(t)
	quick(m)
	ada := add(t, m, "ada", "correct horse")
	old, _ := signIn(t, m, "ada", "correct horse", "old")
	first, _, err := m.Links().Reset(t.Context(), admin, ada.ID)
	if err != nil {
		t.Fatal(err)
	}
	token, l, err := m.Links().Reset(t.Context(), admin, ada.ID)
	if err != nil || l.Name != "ada" {
		t.Fatalf("%+v, %v", l, err)
	}
	a := m.Accounts()
	if _, err := a.Link(t.Context(), first); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("the link before: %v", err)
	}
	_, s, err := a.UseLink(t.Context(), token, "", "battery staple", vod.Visit{Device: "new"})
	if err != nil || s.Member != ada {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := m.Session(t.Context(), old); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("the session before: %v", err)
	}
	signIn(t, m, "ada", "battery staple", "")
	if _, _, err := m.Links().Reset(t.Context(), admin, "nobody"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("nobody's: %v", err)
	}
}

func TestFirstOperatorsLinkIsGoodForAnHourAndTheLastOne(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	l := m.Links()
	service := vod.Actor{Name: vod.ActorService}
	former, _, err := l.Operator(t.Context(), service, true)
	if err != nil {
		t.Fatal(err)
	}
	token, made, err := l.Operator(t.Context(), service, true)
	if err != nil || !made.Expires.Equal(clock.Now().Add(time.Hour)) {
		t.Fatalf("%+v, %v", made, err)
	}
	a := m.Accounts()
	if _, _, err := a.UseLink(t.Context(), former, "eve", "correct horse", vod.Visit{}); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("the link of an earlier start: %v", err)
	}
	_, s, err := a.UseLink(t.Context(), token, "ada", "correct horse", vod.Visit{})
	if err != nil || s.Member.Role != vod.Operator {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, _, err := l.Operator(t.Context(), service, true); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("with an operator: %v", err)
	}
	second, _, err := l.Operator(t.Context(), admin, false)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	if _, err := a.Link(t.Context(), second); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("after an hour: %v", err)
	}
}

func TestServiceIsNeverLeftWithoutItsLastOperator(t *testing.T) {
	m, _ := newMembers(t)
	quick(m)
	ada, eve := add(t, m, "ada", "correct horse"), add(t, m, "eve", "correct horse")
	d := m.Directory()
	role := func(member vod.Member, role vod.Role) error { return d.SetRole(t.Context(), admin, member.ID, role) }
	if err := role(ada, vod.Operator); err != nil {
		t.Fatal(err)
	}
	if err := role(ada, vod.Viewer); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("taking the last one's role: %v", err)
	}
	if err := d.Remove(t.Context(), admin, ada.ID); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("removing the last one: %v", err)
	}
	if err := role(eve, vod.Operator); err != nil {
		t.Fatal(err)
	}
	token, _ := signIn(t, m, "ada", "correct horse", "")
	if err := d.Remove(t.Context(), admin, ada.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Session(t.Context(), token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("a removed member's session: %v", err)
	}
	if err := role(ada, vod.Editor); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("a removed member: %v", err)
	}
	if err := role(eve, "king"); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("no role: %v", err)
	}
}

func TestDirectoryIsReadPageByPage(t *testing.T) {
	m, _ := newMembers(t)
	quick(m)
	for _, name := range []string{"Ada", "bob", "Eve_1", "eve%2"} {
		add(t, m, name, "correct horse")
	}
	names := func(like, after string, most int) (got string) {
		list, err := m.Directory().List(t.Context(), like, after, most)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			got += e.Name + " "
		}
		return got
	}
	for _, c := range []struct {
		like, after string
		most        int
		want        string
	}{
		{"", "", 2, "Ada bob "},
		{"", "bob", 2, "eve%2 Eve_1 "},
		{"EVE", "", 9, "eve%2 Eve_1 "},
		{"_", "", 9, "Eve_1 "},
		{"%", "", 9, "eve%2 "},
		{`\`, "", 9, ""},
	} {
		if got := names(c.like, c.after, c.most); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestAuditLogSaysWhoDidWhatAndIsBounded(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	ada := add(t, m, "ada", "correct horse")
	by := vod.Actor{Member: "m1", Name: "grace", Device: "Firefox · Linux"}
	if err := m.Directory().SetRole(t.Context(), by, ada.ID, vod.Editor); err != nil {
		t.Fatal(err)
	}
	token, _, err := m.Links().Invite(t.Context(), by, vod.Link{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.Directory().Entries(t.Context(), 0, 10)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	want := vod.AuditEntry{Number: list[1].Number, At: clock.Now(), By: by, Action: "member.role", Subject: "ada", Detail: "editor, was viewer"}
	if list[1] != want {
		t.Errorf("%+v, want %+v", list[1], want)
	}
	for _, e := range list {
		if strings.Contains(e.Subject+e.Detail, token) || strings.Contains(e.Detail, "correct horse") {
			t.Errorf("a secret in %+v", e)
		}
	}
	if page, err := m.Directory().Entries(t.Context(), list[0].Number, 1); err != nil || len(page) != 1 || page[0] != list[1] {
		t.Errorf("the next page: %+v, %v", page, err)
	}
	if err := m.db.Write(t.Context(), func(tx *sql.Tx) error { // as if there had been many
		_, err := tx.ExecContext(t.Context(), `UPDATE audit SET number = number + $1 WHERE number = $2`, auditMax, list[0].Number)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := m.Directory().Record(t.Context(), by, "x", strings.Repeat("é", 1000), ""); err != nil {
		t.Fatal(err)
	}
	list, err = m.Directory().Entries(t.Context(), 0, 10)
	if err != nil || len(list) != 2 || len(list[0].Subject) > auditWord+3 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestFailedSignInsAreSlowedDownByNetwork(t *testing.T) {
	m, clock := newMembers(t)
	quick(m)
	add(t, m, "ada", "correct horse")
	bad, good := vod.Visit{Network: netip.MustParsePrefix("192.0.2.0/24")}, vod.Visit{Network: netip.MustParsePrefix("198.51.100.0/24")}
	try := func(name, password string, from vod.Visit) error {
		_, _, err := m.SignIn(t.Context(), name, password, from)
		return err
	}
	for range 3 * networkFree { // who succeeds is not counted
		if err := try("ada", "correct horse", bad); err != nil {
			t.Fatal(err)
		}
	}
	for i := range networkFree {
		if err := try("name"+string(rune('a'+i)), "wrong", bad); !errors.Is(err, vod.ErrUnauthorized) {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	pause := pauseFirst
	for i := range 5 {
		var later *vod.LaterError
		if err := try("other"+string(rune('a'+i)), "wrong", bad); !errors.As(err, &later) || later.After != pause {
			t.Fatalf("yet another name: %v, want to wait %s", err, pause)
		}
		clock.Advance(pause)
		if err := try("other"+string(rune('a'+i)), "wrong", bad); !errors.Is(err, vod.ErrUnauthorized) {
			t.Fatalf("after %s: %v", pause, err)
		}
		pause = min(2*pause, networkPause)
	}
	if err := try("ada", "correct horse", good); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
}

func TestSignUpsFromOneNetworkAreSlowedDown(t *testing.T) {
	m, _ := newMembers(t)
	quick(m)
	from := vod.Visit{Network: netip.MustParsePrefix("192.0.2.0/24")}
	a := m.Accounts()
	for i := range signUpsFree {
		name := "ada"
		if i > 1 {
			name += string(rune('a' + i))
		}
		_, s, err := a.SignUp(t.Context(), name, "correct horse", from)
		if taken := i == 1; taken != errors.Is(err, vod.ErrConflict) || !taken && (err != nil || s.Member.Role != vod.Viewer) {
			t.Fatalf("%d: %+v, %v", i, s, err)
		}
	}
	var later *vod.LaterError
	if _, _, err := a.SignUp(t.Context(), "zoe", "correct horse", from); !errors.As(err, &later) {
		t.Errorf("one more: %v", err)
	}
	if _, _, err := a.SignUp(t.Context(), "zoe", "short", vod.Visit{}); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("a short password: %v", err)
	}
}

// Where anybody may sign up, a list of names cannot be gone through: a network finds out about a few, taken or free, and what is
// found costs as much as an account. Whose names are free does not wait.
func TestNobodyGoesThroughAListOfNamesBySigningUp(t *testing.T) {
	for hidden, from := range map[bool]vod.Visit{false: {Network: netip.MustParsePrefix("192.0.2.0/24")}, true: {}} {
		m, clock := newMembers(t)
		quick(m)
		a := m.Accounts()
		add(t, m, "ada", "correct horse")
		known, waits := 0, 0
		for start := clock.Now(); clock.Now().Sub(start) < 24*time.Hour; {
			_, _, err := a.SignUp(t.Context(), "ada", "correct horse", from)
			var later *vod.LaterError
			switch {
			case errors.Is(err, vod.ErrConflict):
				known++
			case errors.As(err, &later):
				waits++
				clock.Advance(later.After)
			default:
				t.Fatal(err)
			}
		}
		if most := map[bool]int{false: 20, true: 1500}[hidden]; known > most || waits == 0 {
			t.Errorf("hidden %v: %d names in a day, after %d refusals", hidden, known, waits)
		}
		other := vod.Visit{Network: netip.MustParsePrefix("198.51.100.0/24")}
		for _, name := range []string{"bea", "cy", "dora", "eve", "finn", "gus", "hal"} {
			if _, _, err := a.SignUp(t.Context(), name, "correct horse", other); err != nil {
				t.Errorf("%s, from elsewhere: %v", name, err)
			}
		}
	}
}
