package engine_test

import (
	"fmt"
	"testing"

	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// meet connects a neighbour that serves us, in our network or in another.
func (s *stepper) meet(ref int, far bool, has string) {
	in := engine.Input{Kind: engine.PeerConnected, Peer: engine.PeerRef(ref), Data: peerID(fmt.Sprint("p", ref))}
	if far {
		in.Flags = engine.FlagFar
	}
	s.out = append(s.out, s.engine.Step(s.now, in, nil)...)
	s.line(fmt.Sprintf("say %d handshake p%d", ref, ref))
	s.line(fmt.Sprintf("say %d %s", ref, has))
	s.line(fmt.Sprintf("say %d unchoke", ref))
}

// askedOf is asked by peer: which pieces.
func (s *stepper) askedOf() map[engine.PeerRef]map[uint32]bool {
	list := map[engine.PeerRef]map[uint32]bool{}
	for _, o := range s.out {
		if o.Kind == engine.SendMessage && len(o.Data) == 17 && wire.ID(o.Data[4]) == wire.RequestBlock {
			if m, err := wire.Parse(o.Data[4:]); err == nil {
				if list[o.Peer] == nil {
					list[o.Peer] = map[uint32]bool{}
				}
				list[o.Peer][m.Request.Piece] = true
			}
		}
	}
	s.out = nil
	return list
}

func TestAnotherNetworkIsAskedForNothingThatOursHas(t *testing.T) {
	s := newStepper(t, "film 60s 250000 piece=32768", "policy peers")
	for n := 1; n <= 6; n++ {
		s.meet(n, n > 2, "bitfield all")
	}
	s.line("at 3s")
	s.out = nil
	s.line("moved 0s buffered=20s")
	s.line("choose 0")
	asked := s.askedOf()
	if len(asked[1])+len(asked[2]) == 0 {
		t.Error("our own network was asked for nothing")
	}
	for ref := engine.PeerRef(3); ref <= 6; ref++ {
		if len(asked[ref]) > 0 {
			t.Errorf("neighbour %d, in another network, was asked for %v", ref, asked[ref])
		}
	}
}

func TestWithNobodyNearTheOtherNetworkIsAskedAtOnce(t *testing.T) {
	s := newStepper(t, "film 60s 250000 piece=32768", "policy peers")
	for n := 1; n <= 4; n++ {
		s.meet(n, true, "bitfield all")
	}
	s.line("at 3s")
	s.out = nil
	s.line("moved 0s buffered=20s")
	s.line("choose 0")
	blocks := 0
	for _, pieces := range s.askedOf() {
		blocks += len(pieces)
	}
	if blocks < 3 {
		t.Errorf("%d pieces were asked for", blocks)
	}
}

// TestOneOfOurNetworkFetchesWhatOnlyAnotherHas: of two who will want it each takes every other piece, so that it crosses once; what is due
// soon is not waited for.
func TestOneOfOurNetworkFetchesWhatOnlyAnotherHas(t *testing.T) {
	for _, c := range []struct {
		buffered string
		all      bool
	}{{"5s", false}, {"0s", true}} {
		s := newStepper(t, "film 60s 250000 piece=32768", "policy peers")
		s.meet(1, false, "have-none")
		for n := 2; n <= 5; n++ {
			s.meet(n, true, "bitfield all")
		}
		hear := func(message []byte) {
			s.out = append(s.out, s.engine.Step(s.now, engine.Input{Kind: engine.MessageReceived, Peer: 1, Data: message[4:]}, nil)...)
		}
		hear(wire.AppendExtHandshake(nil, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtEssaim, ID: 9}}}))
		s.line("at 3s")
		hear(wire.AppendEssaim(nil, 2, wire.Essaim{Kind: wire.EssaimPlaying, Rate: 1000}))
		s.out = nil
		s.line("moved 0s buffered=" + c.buffered)
		s.line("choose 0")
		first, last, asked := uint32(1<<31), uint32(0), map[uint32]bool{}
		for _, pieces := range s.askedOf() {
			for n := range pieces {
				first, last, asked[n] = min(first, n), max(last, n), true
			}
		}
		if len(asked) < 2 {
			t.Fatalf("%d pieces were asked for with %s in the buffer", len(asked), c.buffered)
		}
		if whole := len(asked) == int(last-first+1); whole != c.all {
			t.Errorf("with %s in the buffer pieces %d to %d were asked for, %d of them", c.buffered, first, last, len(asked))
		}
	}
}
