package members

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"essaim/internal/vod"
)

func issue(t *testing.T, tickets *Tickets, ticket vod.Ticket) string {
	t.Helper()
	token, err := tickets.Issue(ticket)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestKeysRotateByThemselvesAndOldOnesOutliveTheirLongestTicket(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	log := slog.New(slog.DiscardHandler)
	tickets := openTickets(t, dir, c)
	c.Advance(KeyLife - time.Second)
	long := issue(t, tickets, vod.Ticket{Audience: vod.AudienceOperator, Expires: c.Now().Add(TicketMax)})
	if err := tickets.keep(log); err != nil || len(tickets.keys) != 1 {
		t.Fatalf("a second early: %d keys, %v", len(tickets.keys), err)
	}
	c.Advance(time.Second)
	if err := tickets.keep(log); err != nil || len(tickets.keys) != 2 {
		t.Fatalf("%d keys, %v", len(tickets.keys), err)
	}
	if tickets.keys.signer(c.Now()) != tickets.keys[1] {
		t.Error("the new key does not sign")
	}
	// The last ticket that the old key signed, and the grace after it: until then it is believed.
	c.Advance(TicketMax - 2*time.Second)
	if err := tickets.keep(log); err != nil {
		t.Fatal(err)
	}
	if _, err := tickets.Check(vod.AudienceOperator, long); err != nil {
		t.Errorf("signed with the former key: %v", err)
	}
	c.Advance(vod.TicketGrace + 2*time.Second)
	if err := tickets.keep(log); err != nil || !tickets.keys[0].made.Equal(newClock().Now()) {
		t.Errorf("the first key was removed within the grace: %v", err)
	}
	c.Advance(keyOverlap)
	if err := tickets.keep(log); err != nil {
		t.Fatal(err)
	}
	for _, k := range tickets.keys {
		if k.made.Equal(newClock().Now()) {
			t.Error("the first key is still there")
		}
	}
	if files, _ := os.ReadDir(filepath.Join(dir, keysFolder)); len(files) != len(tickets.keys) {
		t.Errorf("%d files for %d keys", len(files), len(tickets.keys))
	}
}

func TestNoTicketOutlivesItsKey(t *testing.T) {
	c := newClock()
	_, err := openTickets(t, t.TempDir(), c).Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: c.Now().Add(TicketMax + time.Second)})
	if !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("err %v", err)
	}
}

func TestProgramsOnOneFolderBelieveARotationAtOnce(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	service := openTickets(t, dir, c)
	before := issue(t, service, media)
	c.Advance(time.Minute)
	other := openTickets(t, dir, c)
	if _, err := other.Rotate(false); err != nil {
		t.Fatal(err)
	}
	after := issue(t, other, media)
	for name, token := range map[string]string{"before": before, "after": after} {
		if _, err := service.Check(vod.AudienceMedia, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := other.Check(vod.AudienceMedia, token); err != nil {
			t.Errorf("%s, where it was rotated: %v", name, err)
		}
	}
	if k := service.keys.signer(c.Now()); k.kid != other.keys[1].kid {
		t.Error("the service still signs with the former key")
	}
}

func TestForgettingOldKeysEndsWhatTheySigned(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	service := openTickets(t, dir, c)
	before := issue(t, service, media)
	c.Advance(time.Minute)
	if _, err := openTickets(t, dir, c).Rotate(true); err != nil {
		t.Fatal(err)
	}
	onlyKey(t, dir)
	if err := service.keep(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Check(vod.AudienceMedia, before); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("err %v", err)
	}
	if _, err := service.Check(vod.AudienceMedia, issue(t, service, media)); err != nil {
		t.Errorf("a new one: %v", err)
	}
}

// TestAnInterruptedRotationLeavesWhatWorks stops a rotation at each of its steps: as a kill does, leaving the files of that
// moment.
func TestAnInterruptedRotationLeavesWhatWorks(t *testing.T) {
	for step, leave := range map[string]func(folder string) error{
		"an empty file": func(f string) error { return os.WriteFile(filepath.Join(f, newKeys+"1"), nil, 0o600) },
		"half of a key": func(f string) error {
			return os.WriteFile(filepath.Join(f, newKeys+"2"), []byte("-----BEGIN P"), 0o600)
		},
		"two keys":       func(f string) error { _, err := makeKey(f, newClock().Now().Add(time.Second)); return err },
		"nothing at all": func(string) error { return nil },
	} {
		dir, c := t.TempDir(), newClock()
		service := openTickets(t, dir, c)
		before := issue(t, service, media)
		folder := filepath.Join(dir, keysFolder)
		if err := leave(folder); err != nil {
			t.Fatal(err)
		}
		c.Advance(2 * time.Second)
		again := openTickets(t, dir, c)
		if _, err := again.Check(vod.AudienceMedia, before); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		if _, err := service.Check(vod.AudienceMedia, issue(t, again, media)); err != nil {
			t.Errorf("%s: signed afterwards: %v", step, err)
		}
		// What was left is cleared away once nobody can be at work on it.
		old := c.Now().Add(-2 * time.Hour)
		files, _ := filepath.Glob(filepath.Join(folder, newKeys+"*"))
		for _, name := range files {
			if err := os.Chtimes(name, old, old); err != nil {
				t.Fatal(err)
			}
		}
		if err := again.keep(slog.New(slog.DiscardHandler)); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		if left, _ := filepath.Glob(filepath.Join(folder, newKeys+"*")); len(left) > 0 {
			t.Errorf("%s: left %v", step, left)
		}
	}
}

func TestTheKeyOfAFormerVersionIsKept(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	token := issue(t, openTickets(t, dir, c), media)
	if err := os.Rename(onlyKey(t, dir), filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := openTickets(t, dir, c).Check(vod.AudienceMedia, token); err != nil {
		t.Error(err)
	}
	onlyKey(t, dir)
}

func TestARunningServiceKeepsItsKeysWhereTheFolderCannotBeRead(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	service := openTickets(t, dir, c)
	if err := os.RemoveAll(filepath.Join(dir, keysFolder)); err != nil {
		t.Fatal(err)
	}
	if err := service.keep(slog.New(slog.DiscardHandler)); err == nil {
		t.Error("nothing was said of it")
	}
	if _, err := service.Check(vod.AudienceMedia, issue(t, service, media)); err != nil {
		t.Error(err)
	}
}

func TestKeepingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	openTickets(t, t.TempDir(), newClock()).Keep(ctx, slog.New(slog.DiscardHandler))
}

// issuerAway is an issuer that has been away since a time.
type issuerAway struct{ since time.Time }

func (i issuerAway) Away() (time.Time, bool) { return i.since, !i.since.IsZero() }

func TestTicketsOutliveAnIssuerThatIsAway(t *testing.T) {
	const life = TicketLife
	for _, c := range []struct {
		name     string
		audience vod.Audience
		away     time.Duration // after the ticket was issued
		at       time.Duration
		revoked  bool
		want     bool
	}{
		{"while it is there", vod.AudienceMedia, -1, life, false, false},
		{"a ticket that was good when it went", vod.AudienceMedia, life - time.Second, life, false, true},
		{"up to an hour", vod.AudienceMedia, life / 2, life + vod.TicketGrace - time.Second, false, true},
		{"no longer than an hour", vod.AudienceMedia, life / 2, life + vod.TicketGrace, false, false},
		{"a ticket that had ended before it went", vod.AudienceMedia, life + time.Second, life + 2*time.Second, false, false},
		{"the swarm's too", vod.AudienceSwarm, life / 2, 2 * life, false, true},
		{"keys are not given out late", vod.AudienceLicense, life / 2, life, false, false},
		{"nor orders taken", vod.AudienceOperator, life / 2, life, false, false},
		{"a revoked one never", vod.AudienceMedia, life / 2, life, true, false},
		{"a revoked one never, good or not", vod.AudienceMedia, life / 2, life / 2, true, false},
	} {
		clock := newClock()
		tickets := openTickets(t, t.TempDir(), clock)
		ticket := media
		ticket.Audience = c.audience
		token := issue(t, tickets, ticket)
		if c.away >= 0 {
			tickets.SetIssuer(issuerAway{clock.Now().Add(c.away)})
		} else {
			tickets.SetIssuer(issuerAway{})
		}
		clock.Advance(c.at)
		if c.revoked {
			tickets.Revoke([]vod.Revocation{{PlaySession: "p1", Why: vod.EndPlanEnded}})
		}
		_, err := tickets.Check(c.audience, token)
		if (err == nil) != c.want || err != nil && !errors.Is(err, vod.ErrUnauthorized) {
			t.Errorf("%s: %v", c.name, err)
		}
		if why := new(vod.RevokedError); c.revoked && (!errors.As(err, &why) || why.Why != vod.EndPlanEnded) {
			t.Errorf("%s: the reason is lost: %v", c.name, err)
		}
	}
}
