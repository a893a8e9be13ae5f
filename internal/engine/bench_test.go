package engine_test

import (
	"crypto/sha256"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// BenchmarkStepBlockPath is what one block from one of eight peers costs: header, digest, the requests that follow and, once in
// sixteen blocks, storing and (so that there is always something to ask for) eviction. Step must not allocate on it.
func BenchmarkStepBlockPath(b *testing.B) {
	f := newFilm(40, 200_000, 256<<10)
	s := &script{film: f, engine: engine.New()}
	title := f.title
	title.PeerID, title.Seed = bt.PeerID(peerID("us")), 1
	digests := make([]bt.Digest, 0, len(f.files[0])/bt.BlockSize+1)
	for at := 0; at < len(f.files[0]); at += bt.BlockSize {
		digests = append(digests, sha256.Sum256(f.files[0][at:min(at+bt.BlockSize, len(f.files[0]))]))
	}
	type owed struct {
		peer engine.PeerRef
		wire.Request
	}
	var out []engine.Output
	var queue []owed
	var evict []uint32
	step := func(in engine.Input) {
		out = s.engine.Step(s.now, in, out[:0])
		for i := range out {
			switch o := &out[i]; o.Kind {
			case engine.SendMessage:
				if len(o.Data) == 17 && wire.ID(o.Data[4]) == wire.RequestBlock {
					m, _ := wire.Parse(o.Data[4:])
					queue = append(queue, owed{o.Peer, m.Request})
				}
			case engine.Store:
				evict = append(evict, o.Piece)
			}
		}
	}
	step(engine.Input{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)})
	step(engine.Input{Kind: engine.IndexLoaded, Data: f.indexes[0].AppendBinary(nil)})
	step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload})
	step(engine.Input{Kind: engine.PlaybackMoved, To: 15_000, Flags: engine.FlagPaused, Length: 1000})
	step(engine.Input{Kind: engine.RenditionChosen})
	for p := engine.PeerRef(1); p <= 8; p++ {
		id := peerID("peer " + string(rune('0'+p)))
		hello := wire.AppendHandshake(nil, wire.Handshake{InfoHash: title.InfoHash, PeerID: bt.PeerID(id), Fast: true})
		step(engine.Input{Kind: engine.PeerConnected, Peer: p, Data: id})
		step(engine.Input{Kind: engine.MessageReceived, Flags: engine.FlagHandshake, Peer: p, Data: hello})
		step(engine.Input{Kind: engine.MessageReceived, Peer: p, Data: wire.AppendHaveAll(nil)[4:]})
		step(engine.Input{Kind: engine.MessageReceived, Peer: p, Data: wire.AppendUnchoke(nil)[4:]})
	}
	layer := bt.HashRequest{Root: title.Files[0].Root, Base: 4, Length: 32}
	answer, err := f.trees[0].Answer(layer)
	if err != nil {
		b.Fatal(err)
	}
	step(engine.Input{Kind: engine.HashesReceived, Ref: 1, Data: bt.AppendDigests(nil, answer)})
	var head [13]byte
	next := 0
	block := func() {
		if next == len(queue) {
			b.Fatal("nothing is asked for any more")
		}
		o := queue[next]
		if next++; next == 1024 {
			next = copy(queue, queue[next:])
			queue, next = queue[:next], 0
		}
		s.now += 2_000
		message := wire.AppendPieceHeader(head[:0], o.Piece, o.Begin, o.Length)
		step(engine.Input{Kind: engine.MessageReceived, Peer: o.peer, Data: message[4:], Length: o.Length})
		step(engine.Input{Kind: engine.Hashed, Peer: o.peer, Piece: o.Piece, Begin: o.Begin, Digest: digests[(o.Piece*title.PieceLength+o.Begin)/bt.BlockSize]})
		for len(evict) > 0 {
			piece := evict[0]
			evict = append(evict[:0], evict[1:]...)
			step(engine.Input{Kind: engine.Stored, Piece: piece})
			step(engine.Input{Kind: engine.Evicted, Piece: piece})
		}
	}
	for range 2_000 {
		block() // until all that grows has grown
	}
	b.ReportAllocs()
	for b.Loop() {
		block()
	}
}
