package engine_test

import (
	"slices"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// FuzzHashMessages sends an engine hash messages of any content. As an answer to what it asked, only the truth is believed, and all else
// bans its sender; as an answer to anything else, it closes the connection. A request is answered by the truth or by a reject, whatever
// it asks for, and the host may say of the blocks what it likes.
func FuzzHashMessages(f *testing.F) {
	tree := newFilm(60, 100_000, 64<<10).trees[0]
	known := bt.NewKnown(tree.Root(), tree.Blocks(), 4)
	for _, r := range []bt.HashRequest{known.LayerRequest(0), known.LeavesRequest(3), {Base: 2, Index: 8, Length: 8, Proof: 6}} {
		r.Root = tree.Root()
		answer, err := tree.Answer(r)
		if err != nil {
			f.Fatal(err)
		}
		data := bt.AppendDigests(nil, answer)
		f.Add(uint8(0), r.Base, r.Index, r.Length, r.Proof, data)
		f.Add(uint8(1), r.Base, r.Index, r.Length, r.Proof, data[:len(data)-32])
		f.Add(uint8(2), r.Base, r.Index, r.Length, r.Proof, data[:4*32])
	}
	for _, n := range []uint32{0, 1, 3, 512, 513, 1 << 16, 1 << 31, 1<<32 - 1} {
		f.Add(uint8(2), uint32(0), n, n, n, []byte{1})
		f.Add(uint8(2), n, uint32(0), uint32(2), n, []byte{})
		f.Add(uint8(1), n, n, n, n, []byte{1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, way uint8, base, index, length, proof uint32, data []byte) {
		r := bt.HashRequest{Root: tree.Root(), Base: base, Index: index, Length: length, Proof: proof}
		switch way % 3 {
		case 0: // an answer to what was asked
			s, asked := newAsker(t)
			payload := data[:len(data)/32*32]
			want, _ := tree.Answer(asked)
			got, _ := bt.ParseDigests(payload)
			if len(payload) == 0 {
				return // no such message: wire refuses it
			}
			s.says(1, wire.AppendHashes(nil, asked, got))
			if banned, _ := s.banned(); banned == slices.Equal(got, want) {
				t.Fatalf("%d hashes, true: %v; banned: %v", len(got), !banned, banned)
			}
		case 1: // an answer to anything else, of any length
			s, asked := newAsker(t)
			if r == asked {
				return // it may be right
			}
			message := wire.AppendHashes(nil, r, nil)[4:]
			s.give(engine.Input{Kind: engine.MessageReceived, Peer: 1, Data: append(message, data...)})
			if _, closed := s.banned(); closed == engine.ReasonNone {
				t.Fatalf("%+v was taken, where %+v was asked", r, asked)
			}
		case 2: // a request; and what the host says of the pieces
			s := newProver(t)
			s.says(1, wire.AppendHashRequest(nil, r))
			for range 300 {
				at := slices.IndexFunc(s.out, func(o engine.Output) bool { return o.Kind == engine.HashPiece })
				if at < 0 {
					break
				}
				o := s.out[at]
				s.out = slices.Delete(s.out, at, at+1)
				if len(data)%2 == 0 {
					s.give(engine.Input{Kind: engine.PieceHashed, Ref: o.Ref, Piece: o.Piece, Data: data})
				} else {
					s.out = append(s.out, o)
					s.hashPieces(false)
				}
			}
			hashes, rejects := 0, 0
			for _, o := range s.out {
				if o.Kind != engine.SendMessage {
					continue
				}
				m, err := wire.Parse(o.Data[4:])
				if err != nil {
					t.Fatal(err)
				}
				switch m.ID {
				case wire.Hashes:
					hashes++
					got, _ := bt.ParseDigests(m.Payload)
					if want, err := tree.Answer(r); m.Hashes != r || err != nil || !slices.Equal(got, want) {
						t.Fatalf("%+v was answered wrongly", r)
					}
				case wire.HashReject:
					rejects++
				}
			}
			if hashes+rejects != 1 {
				t.Fatalf("%+v has %d answers and %d rejects", r, hashes, rejects)
			}
		}
	})
}
