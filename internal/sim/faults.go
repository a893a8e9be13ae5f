package sim

import (
	"math"

	"essaim/internal/bt/wire"
)

const (
	// theirEssaim is the engine's number for wire.ExtEssaim, under which it wants to be told (BEP 10).
	theirEssaim = 2
	// claimAhead is for how much film a claimer claims, in ms: what the engine looks ahead.
	claimAhead = 60_000
	// claimWithin is when it says that it will have it, in ms.
	claimWithin = 500
)

// pieceRange is pieces from from up to to, exclusive.
type pieceRange struct{ from, to uint32 }

func (r pieceRange) has(piece uint32) bool { return piece >= r.from && piece < r.to }

// claim has a claimer say to everyone that it fetches what lies ahead of its play head. It never does for their sake: what it
// has claimed once, it serves nobody. The message goes beside what the engine says, which knows nothing of it.
func (s *seat) claim() {
	first := s.d.player.rendition * s.film.segments
	last := s.film.segments - 1
	at := s.d.player.at(s.d.now())
	from, _ := s.film.segment(first + min(int(at/segment.Milliseconds()), last))
	_, to := s.film.segment(first + min(int((at+claimAhead)/segment.Milliseconds()), last))
	piece := int64(s.film.title.PieceLength)
	now := pieceRange{uint32(from / piece), uint32((to + piece - 1) / piece)}
	if s.claimed.to == 0 {
		s.claimed = now
	}
	s.claimed = pieceRange{min(s.claimed.from, now.from), max(s.claimed.to, now.to)}
	message := wire.AppendEssaim(nil, theirEssaim, wire.Essaim{
		Kind: wire.EssaimFetching, Piece: now.from, Pieces: uint16(min(now.to-now.from, math.MaxUint16)), WithinMs: claimWithin,
	})
	for n := range s.d.conns {
		c := &s.d.conns[n]
		if c.seat == s.n && c.state == connOpen && c.hello {
			s.d.queue(s, uint32(n), newOutgoing(message))
		}
	}
}
