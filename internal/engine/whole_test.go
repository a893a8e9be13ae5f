package engine_test

import (
	"crypto/sha256"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
)

// TestWholePiecesAreAskedForVerifiedAndServedWhole follows a piece of 64 KiB through an engine whose block is the piece: one request
// brings it, its digest is its leaf, a wrong one bans who sent it, and a peer may ask for all of it.
func TestWholePiecesAreAskedForVerifiedAndServedWhole(t *testing.T) {
	const pieceLength, pieces = 64 << 10, 5
	size := uint64(pieces*pieceLength - 1_000)
	leaves := make([]bt.Digest, pieces)
	for i := range leaves {
		leaves[i] = sha256.Sum256([]byte{byte(i)})
	}
	tree := bt.NewTree(leaves, 1)
	title := engine.Title{
		PieceLength: pieceLength, InfoHash: bt.InfoHash{1}, InfoHashV2: bt.InfoHash{2}, PeerID: bt.PeerID(peerID("us")), Seed: 1,
		Files: []engine.TitleFile{{Size: size, Root: tree.Root(), Track: engine.TrackVideo}},
	}
	coded := index.Index{{From: 0, To: size, StartMs: 0, DurationMs: 4_000}}
	e := engine.NewWith(engine.Options{WholePieces: true})
	now := engine.Instant(0)
	asked := map[engine.PeerRef][]wire.Request{}
	var hashes, stores, blocks, banned []engine.Output
	step := func(in engine.Input) {
		queue := []engine.Input{in}
		for ; len(queue) > 0; queue = queue[1:] {
			for _, o := range e.Step(now, queue[0], nil) {
				switch o.Kind {
				case engine.SendMessage:
					if m, err := wire.Parse(o.Data[4:]); len(o.Data) == 17 && err == nil && m.ID == wire.RequestBlock {
						asked[o.Peer] = append(asked[o.Peer], m.Request)
					}
				case engine.RequestHashes:
					answer, err := tree.Answer(bt.HashRequest{Root: tree.Root(), Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof})
					if err != nil {
						t.Fatalf("the engine asks for hashes that are not: %v", err)
					}
					queue = append(queue, engine.Input{Kind: engine.HashesReceived, Ref: o.Ref, Data: bt.AppendDigests(nil, answer)})
				case engine.Hash:
					hashes = append(hashes, o)
				case engine.Store:
					stores = append(stores, o)
					queue = append(queue, engine.Input{Kind: engine.Stored, Piece: o.Piece})
				case engine.SendBlock:
					blocks = append(blocks, o)
				case engine.Note:
					if o.Note == engine.NoteBanned {
						banned = append(banned, o)
					}
				}
			}
		}
	}
	join := func(p engine.PeerRef, name string, has []byte) {
		hello := wire.AppendHandshake(nil, wire.Handshake{InfoHash: title.InfoHash, PeerID: bt.PeerID(peerID(name)), Fast: true})
		step(engine.Input{Kind: engine.PeerConnected, Peer: p, Data: peerID(name)})
		step(engine.Input{Kind: engine.MessageReceived, Flags: engine.FlagHandshake, Peer: p, Data: hello})
		step(engine.Input{Kind: engine.MessageReceived, Peer: p, Data: has[4:]})
		step(engine.Input{Kind: engine.MessageReceived, Peer: p, Data: wire.AppendUnchoke(nil)[4:]})
	}
	bring := func(p engine.PeerRef, r wire.Request, digest bt.Digest) {
		head := wire.AppendPieceHeader(nil, r.Piece, r.Begin, r.Length)
		step(engine.Input{Kind: engine.MessageReceived, Peer: p, Data: head[4:], Length: r.Length})
		step(engine.Input{Kind: engine.Hashed, Peer: p, Piece: r.Piece, Begin: r.Begin, Digest: digest})
	}
	step(engine.Input{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)})
	step(engine.Input{Kind: engine.IndexLoaded, Data: coded.AppendBinary(nil)})
	step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload})
	join(1, "alice", wire.AppendHaveAll(nil))
	join(2, "mallory", wire.AppendHaveAll(nil))
	step(engine.Input{Kind: engine.RenditionChosen})
	step(engine.Input{Kind: engine.PlaybackMoved, Length: 1000, Flags: engine.FlagPaused})
	if len(asked[1]) == 0 || len(asked[2]) == 0 {
		t.Fatalf("of two peers that have all, %v was asked", asked)
	}
	for _, r := range append(asked[1], asked[2]...) {
		want := uint32(min(pieceLength, size-uint64(r.Piece)*pieceLength))
		if r.Begin != 0 || r.Length != want {
			t.Errorf("request of piece %d is for %d bytes from %d, want %d from 0", r.Piece, r.Length, r.Begin, want)
		}
	}
	good := asked[1][0]
	bring(1, good, leaves[good.Piece])
	if len(hashes) != 1 || hashes[0].Length != good.Length || len(stores) != 1 || stores[0].Piece != good.Piece {
		t.Fatalf("a right piece led to hashes %v and stores %v, want one of each of piece %d", hashes, stores, good.Piece)
	}
	join(3, "bob", wire.AppendHaveNone(nil))
	step(engine.Input{Kind: engine.MessageReceived, Peer: 3, Data: wire.AppendInterested(nil)[4:]})
	step(engine.Input{Kind: engine.MessageReceived, Peer: 3, Data: wire.AppendRequest(nil, good)[4:]})
	if len(blocks) != 1 || blocks[0].Peer != 3 || blocks[0].Piece != good.Piece || blocks[0].Length != good.Length {
		t.Errorf("a request for a whole piece brought %v, want piece %d in one block", blocks, good.Piece)
	}
	bring(2, asked[2][0], bt.Digest{1})
	if len(stores) != 1 || len(banned) != 1 || banned[0].Peer != 2 {
		t.Errorf("a wrong piece led to stores %v and bans %v, want no store more, and its sender banned", stores, banned)
	}
}
