package main

import (
	"math"
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
	if x.Quarantined != 0 || x.PeerBytes == 0 || math.Abs(x.Discrepancy) > 0.01 {
		t.Errorf("%d quarantined; %d bytes received and %d sent", x.Quarantined, x.PeerBytes, x.SentBytes)
	}
	if want := float64(x.AvoidedBytes) / float64(4*s.size()); math.Abs(x.Offload-want) > 0.01 {
		t.Errorf("offload %v; viewers gave one another %v of four films", x.Offload, want)
	}
}
