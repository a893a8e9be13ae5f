package members

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"essaim/internal/vod"
)

// revoked are the revocations after number last, which must be readable.
func revoked(t *testing.T, m *Members, last int64) ([]vod.Revocation, int64) {
	t.Helper()
	list, last, err := m.Revocations(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	return list, last
}

func TestEveryWayToEndADeviceSessionRevokesItsTickets(t *testing.T) {
	for name, end := range map[string]func(m *Members, member vod.Member, token string) error{
		"sign-out": func(m *Members, _ vod.Member, token string) error { return m.SignOut(t.Context(), token) },
		"a new password": func(m *Members, member vod.Member, _ string) error {
			_, err := m.Put(t.Context(), member.Name, "another horse")
			return err
		},
		"the operator": func(m *Members, member vod.Member, _ string) error {
			n, err := m.RevokeMember(t.Context(), " ADA")
			if n != 1 {
				t.Errorf("%d sessions ended", n)
			}
			return err
		},
		"too many sessions": func(m *Members, member vod.Member, _ string) error {
			for range sessionsMax {
				if _, _, err := m.openSession(t.Context(), member, vod.Visit{}); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		m, clock := newMembers(t)
		ada, bob := add(t, m, "ada", "correct horse"), add(t, m, "bob", "correct horse")
		token, s, err := m.openSession(t.Context(), ada, vod.Visit{})
		if err != nil {
			t.Fatal(err)
		}
		other, _, err := m.openSession(t.Context(), bob, vod.Visit{})
		if err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
		if list, _ := revoked(t, m, 0); len(list) != 0 {
			t.Errorf("%s: before, %v", name, list)
		}
		if err := end(m, ada, token); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := vod.EndSignedOut
		if name == "the operator" {
			want = vod.EndRevoked
		}
		list, last := revoked(t, m, 0)
		if !slices.Equal(list, []vod.Revocation{{Device: s.ID, Why: want}}) {
			t.Errorf("%s: revoked %v, want that of device %s", name, list, s.ID)
		}
		if list, _ := revoked(t, m, last); len(list) != 0 {
			t.Errorf("%s: told twice: %v", name, list)
		}
		if _, err := m.Session(t.Context(), other); err != nil {
			t.Errorf("%s: another member's session: %v", name, err)
		}
	}
}

func TestRevocationsAreForgottenWhenNoTicketIsLeft(t *testing.T) {
	m, clock := newMembers(t)
	if err := m.RevokePlay(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	if list, _ := revoked(t, m, 0); !slices.Equal(list, []vod.Revocation{{PlaySession: "p1", Why: vod.EndRevoked}}) {
		t.Errorf("revoked %v", list)
	}
	clock.Advance(vod.RevocationLife)
	if list, _ := revoked(t, m, 0); len(list) != 0 {
		t.Errorf("after their time: %v", list)
	}
}

func TestNobodyIsRevokedByAnImpossibleName(t *testing.T) {
	m, _ := newMembers(t)
	if err := m.RevokePlay(t.Context(), ""); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("no play session: %v", err)
	}
	if _, err := m.RevokeMember(t.Context(), "nobody"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("no member: %v", err)
	}
	if list, _ := revoked(t, m, 0); len(list) != 0 {
		t.Errorf("revoked %v", list)
	}
}

func TestFollowerHearsOfTheOldFirstAndOfTheNewFromAnyProgram(t *testing.T) {
	m, clock := newMembers(t)
	if err := m.RevokePlay(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan []vod.Revocation, 9), make(chan struct{})
	ready := make(chan struct{})
	go func() {
		defer close(ended)
		m.Follow(ctx, slog.New(slog.DiscardHandler), func() { close(ready) }, func(list []vod.Revocation) { heard <- list })
	}()
	<-ready
	if list := <-heard; !slices.Equal(list, []vod.Revocation{{PlaySession: "before", Why: vod.EndRevoked}}) {
		t.Errorf("first %v", list)
	}
	// As another program would: on the same database, not through m.
	if err := New(m.db, clock.Now).RevokePlay(t.Context(), "after"); err != nil {
		t.Fatal(err)
	}
	if list := <-heard; !slices.Equal(list, []vod.Revocation{{PlaySession: "after", Why: vod.EndRevoked}}) {
		t.Errorf("then %v", list)
	}
	cancel()
	<-ended
}

func TestRevokedTicketsAreRefusedAndOthersAreNot(t *testing.T) {
	clock := newClock()
	tickets, err := OpenTickets(t.TempDir(), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	check := func(session, device string) error {
		token, err := tickets.Issue(vod.Ticket{Audience: vod.AudienceSwarm, PlaySession: session, Device: device})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tickets.Check(vod.AudienceSwarm, token)
		return err
	}
	tickets.Revoke([]vod.Revocation{{Device: "d1"}, {PlaySession: "p1"}, {}})
	for _, c := range []struct {
		session, device string
		revoked         bool
	}{{"p2", "d1", true}, {"p1", "d2", true}, {"p1", "", true}, {"p2", "d2", false}, {"d1", "p1", false}, {"", "", false}} {
		if err := check(c.session, c.device); errors.Is(err, vod.ErrTicketRevoked) != c.revoked || errors.Is(err, vod.ErrUnauthorized) != c.revoked {
			t.Errorf("session %q on device %q: %v", c.session, c.device, err)
		}
	}
	clock.Advance(vod.RevocationLife)
	tickets.Revoke(nil)
	if err := check("p1", "d1"); err != nil {
		t.Errorf("after their time: %v", err)
	}
}

func TestExpiredTicketSaysSo(t *testing.T) {
	clock := newClock()
	tickets, err := OpenTickets(t.TempDir(), clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := tickets.Issue(vod.Ticket{Audience: vod.AudienceSwarm, PlaySession: "p"})
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(TicketLife)
	if _, err := tickets.Check(vod.AudienceSwarm, token); !errors.Is(err, vod.ErrTicketExpired) || !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("expired: %v", err)
	}
	if _, err := tickets.Check(vod.AudienceSwarm, token[:len(token)-4]+"AAAA"); errors.Is(err, vod.ErrTicketExpired) {
		t.Error("a forged ticket is called expired")
	}
}
