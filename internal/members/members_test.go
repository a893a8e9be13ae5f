package members

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newMembers(t *testing.T) (*Members, *clock) {
	t.Helper()
	db, err := sqltest.Open(t.Context(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c := newClock()
	return New(db, c.Now), c
}

func add(t *testing.T, m *Members, name, password string) vod.Member {
	t.Helper()
	member, err := m.Add(t.Context(), name, password)
	if err != nil {
		t.Fatal(err)
	}
	return member
}

func TestMemberSignsInAndOut(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "Ada", "correct horse")
	token, s, err := m.SignIn(t.Context(), " ada", "correct horse", vod.Visit{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Member != ada || len(token) != 43 || !s.Expires.Equal(clock.Now().Add(sessionLife)) {
		t.Errorf("session %+v, token of %d characters", s, len(token))
	}
	got, err := m.Session(t.Context(), token)
	if err != nil || got != s {
		t.Errorf("session: %+v, %v, want %+v", got, err, s)
	}
	if err := m.SignOut(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Session(t.Context(), token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("after signing out: %v", err)
	}
	if err := m.SignOut(t.Context(), token); err != nil {
		t.Errorf("signing out again: %v", err)
	}
}

func TestSessionExpires(t *testing.T) {
	m, clock := newMembers(t)
	add(t, m, "ada", "correct horse")
	token, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{})
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(sessionLife)
	if _, err := m.Session(t.Context(), token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("an expired session: %v", err)
	}
}

func TestSessionsOfOneMemberAreBounded(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	var tokens []string
	for range sessionsMax + 2 {
		token, _, err := m.openSession(t.Context(), ada, vod.Visit{})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
		clock.Advance(time.Second)
	}
	for i, token := range tokens {
		_, err := m.Session(t.Context(), token)
		if open, want := err == nil, i >= 2; open != want {
			t.Errorf("session %d open: %v", i, open)
		}
	}
}

func TestDatabaseHoldsNeitherPasswordsNorTokens(t *testing.T) {
	m, _ := newMembers(t)
	add(t, m, "ada", "correct horse")
	token, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{})
	if err != nil {
		t.Fatal(err)
	}
	var hash, stored string
	if err := m.db.Reader().QueryRowContext(t.Context(),
		`SELECT m.password_hash, s.token_sha256 FROM members m JOIN device_sessions s ON s.member_id = m.id`).
		Scan(&hash, &stored); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("password kept as %q", hash)
	}
	if stored == token || len(stored) != 64 {
		t.Errorf("token kept as %q", stored)
	}
}

func TestUnknownNameCostsWhatAWrongPasswordCosts(t *testing.T) {
	m, _ := newMembers(t)
	add(t, m, "ada", "correct horse")
	var hashed []string
	matching := m.matching
	m.matching = func(password, hash string) (bool, error) {
		hashed = append(hashed, hash[:strings.LastIndex(hash[:strings.LastIndexByte(hash, '$')], "$")])
		return matching(password, hash)
	}
	_, _, wrong := m.SignIn(t.Context(), "ada", "wrong horse", vod.Visit{})
	_, _, unknown := m.SignIn(t.Context(), "eve", "wrong horse", vod.Visit{})
	if !errors.Is(wrong, vod.ErrUnauthorized) || unknown == nil || wrong.Error() != unknown.Error() {
		t.Errorf("wrong password: %v\nunknown name: %v", wrong, unknown)
	}
	if len(hashed) != 2 || hashed[0] != hashed[1] {
		t.Errorf("compared with %q: want the same work twice", hashed)
	}
}

func TestFailedSignInsAreSlowedDownByName(t *testing.T) {
	m, clock := newMembers(t)
	add(t, m, "ada", "correct horse")
	m.matching = func(password, _ string) (bool, error) { return password == "correct horse", nil }
	try := func(name, password string) error {
		_, _, err := m.SignIn(t.Context(), name, password, vod.Visit{})
		return err
	}
	for _, name := range []string{"ada", "nobody"} { // names that do not exist behave alike
		for i := range triesFree {
			if err := try(name, "wrong"); !errors.Is(err, vod.ErrUnauthorized) {
				t.Fatalf("%s, try %d: %v", name, i, err)
			}
		}
		pause := pauseFirst
		for range 10 {
			var later *vod.LaterError
			if err := try(name, "correct horse"); !errors.As(err, &later) || later.After != pause || !errors.Is(err, vod.ErrUnavailable) {
				t.Fatalf("%s: %v, %+v, want to wait %v", name, err, later, pause)
			}
			clock.Advance(pause)
			if err := try(name, "wrong"); !errors.Is(err, vod.ErrUnauthorized) {
				t.Fatalf("%s after %v: %v", name, pause, err)
			}
			pause = min(2*pause, pauseMax)
		}
	}
	clock.Advance(pauseMax)
	if err := try("ADA", "correct horse"); err != nil {
		t.Fatalf("the right password after the pause: %v", err)
	}
	if err := try("ada", "wrong"); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("after success the count starts again: %v", err)
	}
}

func TestTriesAreBounded(t *testing.T) {
	clock := newClock()
	tr := newTries(clock.Now, triesFree, pauseMax)
	for i := range triesMax + 1000 {
		tr.begin(strings.Repeat("x", i%100) + string(rune('a'+i%26)) + time.Duration(i).String())
	}
	if len(tr.byName) > triesMax {
		t.Errorf("%d names", len(tr.byName))
	}
}

func TestHashingIsBounded(t *testing.T) {
	m, _ := newMembers(t)
	add(t, m, "ada", "correct horse")
	for range hashersMax {
		m.hashers <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := m.SignIn(ctx, "ada", "correct horse", vod.Visit{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with all places taken and no time left: %v", err)
	}
}

func TestAddRefusesWhatCannotBe(t *testing.T) {
	m, _ := newMembers(t)
	add(t, m, "Ada", "correct horse")
	for _, c := range []struct {
		name, password string
		want           error
	}{
		{"ada", "another horse", vod.ErrConflict},
		{"", "correct horse", vod.ErrInvalid},
		{"a\nb", "correct horse", vod.ErrInvalid},
		{strings.Repeat("x", 65), "correct horse", vod.ErrInvalid},
		{"bob", "short", vod.ErrInvalid},
		{"bob", strings.Repeat("x", 513), vod.ErrInvalid},
	} {
		if _, err := m.Add(t.Context(), c.name, c.password); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestPutChangesThePasswordAndEndsSessions(t *testing.T) {
	m, _ := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	token, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Put(t.Context(), "ada", "battery staple")
	if err != nil || again.ID != ada.ID {
		t.Fatalf("%+v, %v", again, err)
	}
	if _, err := m.Session(t.Context(), token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("the old session: %v", err)
	}
	if _, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{}); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("the old password: %v", err)
	}
	if _, _, err := m.SignIn(t.Context(), "ada", "battery staple", vod.Visit{}); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

func TestDeletingAMemberEndsSessions(t *testing.T) {
	m, _ := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	token, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DELETE FROM members WHERE id = $1`, ada.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Session(t.Context(), token); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("session: %v", err)
	}
}

func TestFloodOfSignInsIsTurnedAway(t *testing.T) {
	m, _ := newMembers(t)
	add(t, m, "ada", "correct horse")
	for range waitersMax {
		m.waiters <- struct{}{}
	}
	for range 2 * triesFree { // none of them is a failed try
		if _, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{}); !errors.Is(err, vod.ErrUnavailable) {
			t.Fatalf("with all places taken: %v", err)
		}
	}
	<-m.waiters
	for range 2 { // the place is given back
		if _, _, err := m.SignIn(t.Context(), "ada", "correct horse", vod.Visit{}); err != nil {
			t.Error(err)
		}
	}
}
