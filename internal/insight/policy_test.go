package insight

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"essaim/internal/vod"
)

func TestPolicyIsVersionedWithWhoAndWhyAndOutlivesARestart(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	v, err := b.room.Policy(ctx)
	if err != nil || v.Version != 0 || !v.Policy.P2P || v.Policy.HoldOutPPM != 50_000 {
		t.Fatalf("%+v, %v", v, err)
	}
	for k := range 3 {
		v, err = b.room.ChangePolicy(ctx, "ada", fmt.Sprintf("limit\n%d", k), func(p *vod.OperatorPolicy) error { p.UplinkKbps = 1000 + k; return nil })
		if err != nil || v.Version != int64(k+1) || v.Who != "ada" || v.Why != fmt.Sprintf("limit %d", k) || !v.At.Equal(b.now) {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	b.restart()
	if again, err := b.room.Policy(ctx); err != nil || fmt.Sprint(again) != fmt.Sprint(v) {
		t.Errorf("%+v, %v; want %+v", again, err, v)
	}
	// What changes nothing is no version.
	if same, err := b.room.ChangePolicy(ctx, "bob", "", func(p *vod.OperatorPolicy) error { return nil }); err != nil || same.Version != 3 || same.Who != "ada" {
		t.Errorf("%+v, %v", same, err)
	}
	list, err := b.room.PolicyVersions(ctx, 3, 10)
	if err != nil || len(list) != 2 || list[0].Version != 2 || list[0].Policy.UplinkKbps != 1001 {
		t.Errorf("%+v, %v", list, err)
	}
	for name, change := range map[string]func(*vod.OperatorPolicy) error{
		"too large a hold-out": func(p *vod.OperatorPolicy) error { p.HoldOutPPM = 600_000; return nil },
		"no network":           func(p *vod.OperatorPolicy) error { p.NetworksOff = []string{"ASx"}; return nil },
		"no title":             func(p *vod.OperatorPolicy) error { p.TitlesOff = []vod.TitleID{"../x"}; return nil },
		"no price":             func(p *vod.OperatorPolicy) error { p.PricePerGB = math.NaN(); return nil },
	} {
		if _, err := b.room.ChangePolicy(ctx, "ada", "", change); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := b.room.ChangePolicy(ctx, " ", "", func(*vod.OperatorPolicy) error { return nil }); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("nobody: %v", err)
	}
}

func TestPolicyOfAnotherProgramIsFollowed(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := make(chan vod.PolicyVersion, 10)
	done := make(chan struct{})
	go func() { defer close(done); b.room.FollowPolicy(ctx, func(v vod.PolicyVersion) { heard <- v }) }()
	if v := <-heard; v.Version != 0 {
		t.Fatalf("%+v", v)
	}
	other := New(Config{Store: b.db, Clock: b.clock})
	if _, err := other.ChangePolicy(ctx, "ada", "because", func(p *vod.OperatorPolicy) error { p.P2P = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if v := <-heard; v.Version != 1 || v.Policy.P2P {
		t.Errorf("%+v", v)
	}
	cancel()
	<-done
}

func TestViewersAreDrawnOnceAndForAll(t *testing.T) {
	b := newBench(t)
	salt, err := b.room.Salt(t.Context())
	if err != nil || len(salt) != saltLen {
		t.Fatal(salt, err)
	}
	b.restart()
	if again, err := b.room.Salt(t.Context()); err != nil || !bytes.Equal(again, salt) {
		t.Fatal("other groups are drawn after a restart", err)
	}
	salt = []byte("a salt that is the same in every run of this test")
	p := vod.DefaultPolicy()
	held, buckets := 0, map[int]int{}
	const viewers = 40_000
	for k := range viewers {
		d := vod.DrawOf(salt, fmt.Sprint("member-", k))
		if d != vod.DrawOf(salt, fmt.Sprint("member-", k)) {
			t.Fatal("drawn twice")
		}
		if p.GroupOf(d) == vod.GroupHoldOut {
			held++
			buckets[d.Bucket]++
		}
	}
	if share := float64(held) / viewers; share < 0.045 || share > 0.055 || len(buckets) != vod.Buckets {
		t.Errorf("%.1f %% are held out, in %d buckets", 100*share, len(buckets))
	}
	// Who may use peers while few may does so when more may, and who is held out stays so.
	few := p
	few.SharePPM = 200_000
	for k := range 2000 {
		d := vod.DrawOf(salt, fmt.Sprint("member-", k))
		if g := few.GroupOf(d); g != vod.GroupNone && g != p.GroupOf(d) {
			t.Fatalf("%v becomes %v", g, p.GroupOf(d))
		}
	}
	if other := vod.DrawOf([]byte("another"), "member-1"); other == vod.DrawOf(salt, "member-1") {
		t.Error("the salt does not matter")
	}
}

func TestNetworksAreSystemsAndPrefixes(t *testing.T) {
	p := vod.OperatorPolicy{NetworksOff: []string{"as64500", "192.0.2.7/24", "2001:db8::/32", "AS64500"}}
	if err := p.Check(); err != nil || fmt.Sprint(p.NetworksOff) != "[192.0.2.0/24 2001:db8::/32 AS64500]" {
		t.Fatal(p.NetworksOff, err)
	}
	off := p.Off()
	for _, test := range []struct {
		ip     string
		number uint32
		want   bool
	}{
		{"192.0.2.200", 0, true},
		{"::ffff:192.0.2.1", 1, true},
		{"192.0.3.1", 0, false},
		{"198.51.100.1", 64500, true},
		{"2001:db8:1::1", 0, true},
		{"2001:db9::1", 64501, false},
	} {
		if got := off.Has(netip.MustParseAddr(test.ip), test.number); got != test.want {
			t.Errorf("%s of AS%d: %v", test.ip, test.number, got)
		}
	}
}
