package choker

import (
	"slices"
	"testing"
)

func TestChoose(t *testing.T) {
	const now = 100_000_000
	fresh, old := int64(now-Round/2), int64(now-2*Round)
	tests := map[string]struct {
		peers []Peer
		slots int
		want  []bool
	}{
		"the uninterested get nothing": {[]Peer{{}, {Interested: true}}, 2, []bool{false, true}},
		"a fresh slot is kept before one who waits": {
			[]Peer{{Interested: true, Since: old}, {Interested: true, Unchoked: true, Since: fresh}}, 1, []bool{false, true},
		},
		"after a round the one who waits has its turn": {
			[]Peer{{Interested: true, Unchoked: true, Since: old}, {Interested: true, Since: fresh}}, 1, []bool{false, true},
		},
		"who has waited longest comes first": {
			[]Peer{{Interested: true, Since: fresh}, {Interested: true, Since: old}}, 1, []bool{false, true},
		},
		"with room for all nobody is choked": {
			[]Peer{{Interested: true, Unchoked: true, Since: old}, {Interested: true, Since: fresh}}, 8, []bool{true, true},
		},
		"who comes last waits for all others": {
			[]Peer{{Interested: true, Unchoked: true, Since: fresh, Last: true}, {Interested: true, Unchoked: true, Since: old}}, 1, []bool{false, true},
		},
		"who comes last gets what is left": {[]Peer{{Interested: true, Since: old, Last: true}, {Interested: true, Since: fresh}}, 2, []bool{true, true}},
		"no slots serve nobody":            {[]Peer{{Interested: true, Unchoked: true, Since: fresh}}, 0, []bool{false}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := make([]bool, len(tt.peers))
			Choose(now, tt.peers, tt.slots, got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEveryoneIsServedWithinAFewRounds(t *testing.T) {
	peers := make([]Peer, 10)
	for i := range peers {
		peers[i].Interested = true
	}
	served := make([]int, len(peers))
	serve := make([]bool, len(peers))
	for now := int64(0); now < 10*Round; now += Round {
		Choose(now, peers, 3, serve)
		for i := range peers {
			if serve[i] {
				served[i]++
			}
			if serve[i] != peers[i].Unchoked {
				peers[i].Unchoked, peers[i].Since = serve[i], now
			}
		}
	}
	if slices.Min(served) == 0 {
		t.Errorf("somebody was never served: %v", served)
	}
}

func TestSlotsFollowTheUplinkWithinBounds(t *testing.T) {
	for uplink, want := range map[int64]int{0: 8, -1: 8, 1: 2, 64 << 10: 2, 200_000: 6, 500_000: 10, 100_000_000: 10} {
		if got := Slots(uplink); got != want {
			t.Errorf("%d slots over an uplink of %d bytes per second, want %d", got, uplink, want)
		}
	}
}
