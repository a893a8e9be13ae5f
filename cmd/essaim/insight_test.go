package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/vod"
	"essaim/internal/watch"
)

// TestSavingsAgreeWithTheOriginsOwnCount has real players take a film from the service and from one another, and holds what
// they report against what the origin counted at its sockets, and what they received from one another against what they sent.
func TestSavingsAgreeWithTheOriginsOwnCount(t *testing.T) {
	t.Parallel()
	s := newService(t)
	seeding, first := s.start(t, watch.Options{Share: true, Seed: 8 * time.Second})
	<-seeding
	_, second := s.start(t, watch.Options{Share: true})
	_, third := s.start(t, watch.Options{Share: true})
	_, alone := s.start(t, watch.Options{})
	for _, result := range []<-chan watch.Result{second, third, alone, first} {
		if _, ok := <-result; !ok {
			t.Fatal("somebody has not seen the film")
		}
	}
	if err := s.insight.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, err := s.insight.Savings(t.Context(), now.AddDate(0, 0, -1), now.AddDate(0, 0, 1), vod.ByTitle)
	if err != nil {
		t.Fatal(err)
	}
	counted := s.origin.Snapshot().ByTitle["noise"]
	x := r.Total
	t.Logf("origin: %d counted, %d claimed; peers: %d received, %d sent; offload %.3f, bound %.3f, copies %.3f", x.CountedBytes, x.OriginBytes,
		x.PeerBytes, x.SentBytes, x.Offload, x.Bound, *x.OriginCopies)
	if x.CountedBytes != counted || counted == 0 {
		t.Errorf("%d bytes of the origin's count of %d are kept", x.CountedBytes, counted)
	}
	if off := math.Abs(float64(x.OriginBytes-counted)) / float64(counted); off > 0.01 {
		t.Errorf("players claim %d bytes of the origin, which counted %d: %.2f %% off", x.OriginBytes, counted, 100*off)
	}
	if x.Quarantined != 0 || x.PeerBytes == 0 || math.Abs(x.Discrepancy) > 0.03 { // what was on its way when a viewer left
		t.Errorf("%d quarantined; %d bytes received and %d sent", x.Quarantined, x.PeerBytes, x.SentBytes)
	}
	if x.Connected == 0 || x.Introductions < x.Connected {
		t.Errorf("%d of %d introductions led to a connection", x.Connected, x.Introductions)
	}
	dir := filepath.Dir(s.file)
	for _, command := range []savingsCmd{{Data: dir, By: "title"}, {Data: dir, By: "title", JSON: true}} {
		var out bytes.Buffer
		if err := command.run(t.Context(), &out, time.Now); err != nil {
			t.Fatal(err)
		}
		var again vod.SavingsReport
		switch {
		case !command.JSON:
			t.Log("\n" + out.String())
			if text := out.String(); !strings.Contains(text, "noise") || !strings.Contains(text, "too few viewers") {
				t.Errorf("printed: %s", text)
			}
		case json.Unmarshal(out.Bytes(), &again) != nil || again.Total.OriginBytes != x.OriginBytes || strings.Count(out.String(), "\n") != 1:
			t.Errorf("printed: %s", out.String())
		}
	}
	if err := (&savingsCmd{Data: dir, By: "day", From: "yesterday"}).run(t.Context(), io.Discard, time.Now); err == nil || !strings.Contains(err.Error(), `--from "yesterday"`) {
		t.Error(err)
	}
	if want := float64(x.AvoidedBytes) / float64(4*s.size()); math.Abs(x.Offload-want) > 0.01 {
		t.Errorf("offload %v; viewers gave one another %v of four films", x.Offload, want)
	}
}

// TestSwitchIsFeltWithinTenSeconds has two real players that are connected, and takes peers away in three ways: each is felt by
// players that hear of it from the tracker, long before their next heartbeat.
func TestSwitchIsFeltWithinTenSeconds(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"everywhere": `{"p2p":false,"why":"a test"}`,
		"title":      `{"titles_off":["noise"],"why":"a test"}`,
		"network":    `{"networks_off":["127.0.0.0/8"],"why":"a test"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			seeding, _ := s.start(t, watch.Options{Share: true, Seed: time.Hour})
			<-seeding
			ctx, leave := context.WithCancel(t.Context())
			met, alone := make(chan struct{}), make(chan struct{})
			var meeting, parting sync.Once
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = watch.Run(ctx, watch.Options{
					Server: s.url, Title: "noise", To: filepath.Join(t.TempDir(), "film.mp4"), Share: true, Speed: 1,
					Progress: func(p watch.Progress) {
						if p.Stats.Peers > 0 {
							meeting.Do(func() { close(met) })
							return
						}
						select {
						case <-met:
							parting.Do(func() { close(alone) })
						default:
						}
					},
				})
			}()
			defer func() { leave(); <-done }()
			wait := func(event <-chan struct{}, what string, most time.Duration) {
				t.Helper()
				select {
				case <-event:
				case <-time.After(most):
					t.Fatalf("%s not within %v", what, most)
				}
			}
			wait(met, "connected", time.Minute)
			token, err := s.tickets.Issue(vod.Ticket{Audience: vod.AudienceOperator, Expires: time.Now().Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.NewRequestWithContext(ctx, "PUT", s.url+"/api/v1/operator/policy", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			before := time.Now()
			resp, err := http.DefaultClient.Do(r)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
			wait(alone, "switched off", 10*time.Second)
			t.Logf("felt after %v", time.Since(before).Round(time.Millisecond))
		})
	}
}
