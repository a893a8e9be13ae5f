package trust

import (
	"testing"

	"essaim/internal/bt"
)

func TestConvictIsBannedAtOnce(t *testing.T) {
	var b Book
	b.Convict(bt.PeerID{1})
	if !b.Banned(bt.PeerID{1}) || b.Banned(bt.PeerID{2}) {
		t.Error("the wrong peers are banned")
	}
}

func TestSuspectIsBannedAtTheSecondStrike(t *testing.T) {
	var b Book
	if b.Suspect(bt.PeerID{1}) {
		t.Error("banned at the first strike")
	}
	if !b.Suspect(bt.PeerID{1}) || !b.Banned(bt.PeerID{1}) {
		t.Error("not banned at the second strike")
	}
}

func TestBookStaysBounded(t *testing.T) {
	var b Book
	for i := range 10_000 {
		b.Suspect(bt.PeerID{byte(i), byte(i >> 8)})
	}
	if len(b.entries) > remembered {
		t.Errorf("%d entries", len(b.entries))
	}
}
