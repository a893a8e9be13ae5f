package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// stream is a play session of the member on a device of its own.
func stream(member vod.Member, name string) vod.Stream {
	return vod.Stream{Session: name, Member: member.ID, Device: "device of " + name, Title: "film", Version: "v1"}
}

// sessions are the names of the member's open streams.
func sessions(t *testing.T, m *Members, member vod.Member) (names []string) {
	t.Helper()
	list, err := m.Of(t.Context(), member.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		names = append(names, s.Session)
	}
	return names
}

func begin(t *testing.T, m *Members, s vod.Stream, most int) {
	t.Helper()
	if err := m.Begin(t.Context(), s, most); err != nil {
		t.Fatalf("%s: %v", s.Session, err)
	}
}

// TestTwentyStartsAtOnceOnTwoNodesOpenAsManyStreamsAsThePlanHas: the nodes have a connection pool each on one file, and clocks
// that differ by a minute.
func TestTwentyStartsAtOnceOnTwoNodesOpenAsManyStreamsAsThePlanHas(t *testing.T) {
	const most, starts = 3, 20
	name := filepath.Join(t.TempDir(), "essaim.db")
	var nodes []*Members
	for _, ahead := range []time.Duration{0, time.Minute} {
		db, err := sqltest.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		c := newClock()
		c.Advance(ahead)
		nodes = append(nodes, New(db, c.Now))
	}
	ada := add(t, nodes[0], "ada", "correct horse")
	for round := range 3 {
		var wg sync.WaitGroup
		errs := make([]error, starts)
		for i := range starts {
			wg.Go(func() { errs[i] = nodes[i%2].Begin(t.Context(), stream(ada, fmt.Sprint(round, "-", i)), most) })
		}
		wg.Wait()
		var open []string
		for i, err := range errs {
			switch {
			case err == nil:
				open = append(open, fmt.Sprint(round, "-", i))
			case !errors.Is(err, vod.ErrTooManyStreams) || !errors.Is(err, vod.ErrConflict):
				t.Errorf("start %d: %v", i, err)
			}
		}
		if len(open) != most {
			t.Errorf("%d streams, want %d", len(open), most)
		}
		for i, m := range nodes {
			got := sessions(t, m, ada)
			slices.Sort(got)
			if slices.Sort(open); !slices.Equal(got, open) {
				t.Errorf("node %d knows of %v, want %v", i, got, open)
			}
		}
		for i, s := range open { // ended where they did not begin
			if err := nodes[i%2].End(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAStreamThatIsNotHeardOfMakesRoomAndLosesItsTickets(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	begin(t, m, stream(ada, "one"), 2)
	begin(t, m, stream(ada, "two"), 2)
	for range 4 {
		clock.Advance(time.Minute)
		if err := m.Beat(t.Context(), "two"); err != nil {
			t.Fatal(err)
		}
	}
	if got := sessions(t, m, ada); !slices.Equal(got, []string{"two"}) {
		t.Errorf("open: %v", got)
	}
	// It has its place until somebody else needs it: who was only out of reach plays on.
	if list, _ := revoked(t, m, 0); len(list) != 0 {
		t.Errorf("revoked %v", list)
	}
	begin(t, m, stream(ada, "three"), 2)
	list, _ := revoked(t, m, 0)
	if !slices.Equal(list, []vod.Revocation{{PlaySession: "one", Why: vod.EndTakenOver}}) {
		t.Errorf("revoked %v", list)
	}
	if err := m.Beat(t.Context(), "one"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("the one that lapsed: %v", err)
	}
	if err := m.Begin(t.Context(), stream(ada, "four"), 2); !errors.Is(err, vod.ErrTooManyStreams) {
		t.Errorf("a third: %v", err)
	}
}

func TestLostHeartbeatsCostNoPlace(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	begin(t, m, stream(ada, "one"), 1)
	clock.Advance(30 * time.Second)
	if err := m.Beat(t.Context(), "one"); err != nil { // not written yet
		t.Fatal(err)
	}
	clock.Advance(2 * time.Minute) // four are lost
	if err := m.Begin(t.Context(), stream(ada, "two"), 1); !errors.Is(err, vod.ErrTooManyStreams) {
		t.Errorf("err %v", err)
	}
	if err := m.Beat(t.Context(), "one"); err != nil {
		t.Error(err)
	}
}

func TestAReloadedPageCountsOnceAndItsFormerSessionEnds(t *testing.T) {
	m, _ := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	before, after := stream(ada, "before"), stream(ada, "after")
	after.Device = before.Device
	begin(t, m, before, 1)
	begin(t, m, after, 1)
	begin(t, m, after, 1) // the same again only renews
	if got := sessions(t, m, ada); !slices.Equal(got, []string{"after"}) {
		t.Errorf("open: %v", got)
	}
	list, _ := revoked(t, m, 0)
	if !slices.Equal(list, []vod.Revocation{{PlaySession: "before", Why: vod.EndTakenOver}}) {
		t.Errorf("revoked %v", list)
	}
	// Another title on the same device is another stream.
	other := stream(ada, "other")
	other.Device, other.Title = before.Device, "film-2"
	if err := m.Begin(t.Context(), other, 1); !errors.Is(err, vod.ErrTooManyStreams) {
		t.Errorf("another title: %v", err)
	}
	// Who was refused has changed nothing.
	if got := sessions(t, m, ada); !slices.Equal(got, []string{"after"}) {
		t.Errorf("open: %v", got)
	}
}

func TestAClockThatIsBehindEndsNobodysStream(t *testing.T) {
	m, clock := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	behind := newClock()
	late := New(m.db, behind.Now)
	clock.Advance(10 * time.Minute) // m is ten minutes ahead of late
	begin(t, m, stream(ada, "one"), 2)
	begin(t, late, stream(ada, "two"), 2)
	if got := sessions(t, m, ada); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("open: %v", got)
	}
	if err := late.Begin(t.Context(), stream(ada, "three"), 2); !errors.Is(err, vod.ErrTooManyStreams) {
		t.Errorf("err %v", err)
	}
	if err := m.Begin(t.Context(), stream(ada, "three"), 2); !errors.Is(err, vod.ErrTooManyStreams) {
		t.Errorf("err %v", err)
	}
}

func TestEveryEndClosesTheStreamAndSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(m *Members, token string, member vod.Member) error
		want []vod.Revocation
	}{
		"goodbye": {
			func(m *Members, _ string, _ vod.Member) error { return m.End(t.Context(), "s") },
			[]vod.Revocation{{PlaySession: "s", Why: vod.EndLeft}},
		},
		"stopped from elsewhere": {
			func(m *Members, _ string, _ vod.Member) error {
				return m.EndPlay(t.Context(), "s", vod.EndTakenOver)
			},
			[]vod.Revocation{{PlaySession: "s", Why: vod.EndTakenOver}},
		},
		"sign-out": {
			func(m *Members, token string, _ vod.Member) error { return m.SignOut(t.Context(), token) },
			[]vod.Revocation{{Device: "d", Why: vod.EndSignedOut}},
		},
		"the plan": {
			func(m *Members, _ string, member vod.Member) error {
				n, err := m.EndMember(t.Context(), member.ID, func(s vod.Stream) vod.PlayEnd {
					return vod.PlayEndOf(fmt.Errorf("%s: %w: %w", s.Title, vod.ErrForbidden, vod.ErrPlanEnded))
				})
				if n != 1 {
					t.Errorf("%d ended", n)
				}
				return err
			},
			[]vod.Revocation{{PlaySession: "s", Why: vod.EndPlanEnded}},
		},
		"withdrawal": {
			func(m *Members, _ string, _ vod.Member) error {
				return m.EndTitle(t.Context(), "film", vod.EndWithdrawn)
			},
			[]vod.Revocation{{Title: "film", Why: vod.EndWithdrawn}},
		},
	} {
		m, _ := newMembers(t)
		ada := add(t, m, "ada", "correct horse")
		token, device, err := m.openSession(t.Context(), ada, vod.Visit{})
		if err != nil {
			t.Fatal(err)
		}
		s := stream(ada, "s")
		s.Device = device.ID
		begin(t, m, s, 1)
		if err := c.end(m, token, ada); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range c.want {
			if c.want[i].Device != "" {
				c.want[i].Device = device.ID
			}
		}
		if list, _ := revoked(t, m, 0); !slices.Equal(list, c.want) {
			t.Errorf("%s: revoked %v, want %v", name, list, c.want)
		}
		if got := sessions(t, m, ada); len(got) != 0 {
			t.Errorf("%s: still open: %v", name, got)
		}
	}
}

func TestWhatAPlanStillAllowsPlaysOn(t *testing.T) {
	m, _ := newMembers(t)
	ada := add(t, m, "ada", "correct horse")
	begin(t, m, stream(ada, "s"), 1)
	n, err := m.EndMember(t.Context(), ada.ID, func(vod.Stream) vod.PlayEnd { return vod.PlayEndOf(vod.ErrUnavailable) })
	if n != 0 || err != nil || len(sessions(t, m, ada)) != 1 {
		t.Errorf("%d ended, %v", n, err)
	}
}

func TestNobodyBeginsAStreamForWhoIsNoMember(t *testing.T) {
	m, _ := newMembers(t)
	if err := m.Begin(t.Context(), vod.Stream{Session: "s", Member: "nobody"}, 1); !errors.Is(err, vod.ErrUnauthorized) {
		t.Errorf("no member: %v", err)
	}
	if err := m.Begin(t.Context(), vod.Stream{Member: "nobody"}, 1); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("no session: %v", err)
	}
	if err := m.End(t.Context(), "unknown"); err != nil {
		t.Errorf("an unknown stream's end: %v", err)
	}
	if list, _ := revoked(t, m, 0); len(list) != 0 {
		t.Errorf("revoked %v", list)
	}
}

func TestTheIssuerIsAwayWhileTheDatabaseIsSilentAndALittleLonger(t *testing.T) {
	m, clock := newMembers(t)
	away := func(want bool, since time.Time) {
		t.Helper()
		if got, ok := m.Away(); ok != want || ok && !got.Equal(since) {
			t.Errorf("away %v since %v, want %v since %v", ok, got, want, since)
		}
	}
	clock.Advance(time.Hour)
	away(false, time.Time{}) // nobody follows: nothing is known
	m.reached.now(clock.Now())
	clock.Advance(awayAfter)
	m.reached.now(clock.Now())
	away(false, time.Time{})
	went := clock.Now()
	clock.Advance(awayAfter + time.Second)
	away(true, went)
	clock.Advance(20 * time.Minute)
	away(true, went)
	m.reached.now(clock.Now()) // back: players have yet to renew
	away(true, went)
	clock.Advance(awayAfter + time.Second)
	away(true, went) // and gone again, before they could
	m.reached.now(clock.Now())
	for range int(awayStill/awayAfter) + 1 {
		clock.Advance(awayAfter)
		m.reached.now(clock.Now())
	}
	away(false, time.Time{})
}

func TestFollowingTellsWhetherTheIssuerIsThere(t *testing.T) {
	m, _ := newMembers(t)
	db := m.db
	synctest.Test(t, func(t *testing.T) {
		m := New(db, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		ready := make(chan struct{})
		go m.Follow(ctx, slog.New(slog.DiscardHandler), func() { close(ready) }, func([]vod.Revocation) {})
		<-ready
		time.Sleep(time.Minute)
		if since, away := m.Away(); away {
			t.Errorf("away since %v", since)
		}
		cancel()
		synctest.Wait()
		time.Sleep(2 * awayAfter) // as where the database hangs
		if _, away := m.Away(); !away {
			t.Error("nobody noticed")
		}
	})
}
