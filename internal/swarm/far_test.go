package swarm

import (
	"math/rand/v2"
	"testing"

	"essaim/internal/bt"
)

func TestOnlyKnownAndDifferentNetworksAreFar(t *testing.T) {
	s := New(Limits{}, rand.NewPCG(1, 1))
	hash := bt.InfoHash{1}
	for i, network := range []uint32{21, 21, 22, 0} {
		a := Announce{Swarm: hash, Peer: bt.PeerID{byte(i + 1)}, Socket: Socket(i + 1), Kind: Viewer, Started: true, Place: Place{Network: network}}
		if _, err := s.Announce(Second, &a); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		a, b byte
		far  bool
	}{{1, 2, false}, {1, 3, true}, {3, 1, true}, {1, 4, false}, {4, 3, false}, {1, 9, false}} {
		if got := s.Far(hash, bt.PeerID{c.a}, bt.PeerID{c.b}); got != c.far {
			t.Errorf("peers %d and %d: far %v, want %v", c.a, c.b, got, c.far)
		}
	}
}
