package native

import (
	"slices"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// BansMax is how many of the peers that were banned are remembered by name.
const BansMax = 32

// Ban says who was banned, and whether a hash proved that it lied; otherwise it had a part in two pieces that failed.
type Ban struct {
	PeerID bt.PeerID
	Proven bool
}

// Stats counts what a host did since it was opened.
type Stats struct {
	OriginBytes int64 // media bytes that HTTP sources sent, wasted ones included
	PeerBytes   int64 // bytes of blocks that peers sent and that were digested
	CachedBytes int64 // bytes of pieces that the store held at the start
	SentBytes   int64 // media bytes sent to peers, pads left out
	WastedBytes int64 // bytes that arrived twice
	BadBlocks   int   // blocks that did not match their hashes
	Banned      int   // peers that were banned
	Bans        []Ban // the first BansMax of them
	Pieces      int   // pieces verified and stored
	Peers       int   // peers of the moment, handshake done
	Connections int   // RTCPeerConnections made in all

	Met [announce.FateBudget + 1]int // what became of introductions, by fate

	fetched int64
}

func (s *Stats) count(o *engine.Output) {
	switch o.Note {
	case engine.NoteBlock:
		if o.Peer != 0 {
			s.PeerBytes += int64(o.Length)
		}
	case engine.NotePiece:
		s.Pieces++
	case engine.NoteRestored:
		s.CachedBytes += int64(o.Length)
	case engine.NoteBadBlock:
		s.BadBlocks++
	case engine.NoteBanned:
		s.Banned++
		if len(s.Bans) < BansMax && len(o.Data) == len(bt.PeerID{}) {
			s.Bans = append(s.Bans, Ban{PeerID: bt.PeerID(o.Data), Proven: o.Reason == engine.ReasonBadData})
		}
	case engine.NotePeerUp:
		s.Peers++
	case engine.NotePeerDown:
		s.Peers--
	case engine.NoteWasted:
		s.WastedBytes += int64(o.Length)
	}
}

// taken is a copy for the outside.
func (s *Stats) taken() Stats {
	t := *s
	t.OriginBytes = s.fetched
	t.Bans = slices.Clone(s.Bans)
	return t
}
