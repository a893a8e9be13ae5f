package engine_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// says has a peer say a whole message.
func (s *stepper) says(ref engine.PeerRef, message []byte) {
	s.give(engine.Input{Kind: engine.MessageReceived, Peer: ref, Data: message[4:]})
}

func (s *stepper) give(in engine.Input) {
	for _, o := range s.engine.Step(s.now, in, nil) {
		o.Data = slices.Clone(o.Data)
		s.out = append(s.out, o)
	}
}

// hashMessages takes the messages 21 to 23 out of what was sent since the last call, and all else with them.
func (s *stepper) hashMessages(id wire.ID) (list []wire.Message) {
	for _, o := range s.out {
		if o.Kind != engine.SendMessage || len(o.Data) < 5 || len(o.Data) == wire.HandshakeSize {
			continue
		}
		if m, err := wire.Parse(o.Data[4:]); err == nil && m.ID == id {
			list = append(list, m)
		}
	}
	s.out = nil
	return list
}

// hashPieces does what HashPiece outputs say, and returns how many there were. rotten flips a bit of what the store gives back.
func (s *stepper) hashPieces(rotten bool) (n int) {
	for len(s.out) > 0 {
		out := s.out
		s.out = nil
		again := false
		for _, o := range out {
			if o.Kind != engine.HashPiece {
				s.out = append(s.out, o)
				continue
			}
			n++
			again = true
			in := engine.Input{Kind: engine.PieceHashed, Ref: o.Ref, Piece: o.Piece}
			for begin := uint32(0); begin < s.film.title.PieceLength; begin += bt.BlockSize {
				file, at, size := s.film.block(o.Piece, begin)
				if size <= 0 {
					break
				}
				sum := sha256.Sum256(s.film.files[file][at : at+size])
				if rotten {
					sum[0] ^= 1
				}
				in.Data = append(in.Data, sum[:]...)
			}
			s.give(in)
		}
		if !again {
			break
		}
	}
	return n
}

// answerHashes answers the hash requests to the origin that were said since the last call, truly.
func (s *stepper) answerHashes() {
	out := s.out
	s.out = nil
	for _, o := range out {
		if o.Kind != engine.RequestHashes {
			continue
		}
		r := bt.HashRequest{Root: s.film.title.Files[o.File].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof}
		hashes, err := s.film.trees[o.File].Answer(r)
		if err != nil {
			s.t.Fatal(err)
		}
		s.give(engine.Input{Kind: engine.HashesReceived, Ref: o.Ref, Data: bt.AppendDigests(nil, hashes)})
	}
}

// newProver is an engine that has the first file whole and knows its piece layer, and a peer that it serves.
func newProver(t *testing.T) *stepper {
	s := newStepper(t, "film 60s 100000 piece=65536", "policy peers upload", "choose 0", "moved 0s buffered=0s")
	s.answerHashes()
	s.line(fmt.Sprintf("restored 0-%d", s.film.title.Files[1].FirstPiece-1))
	for _, line := range []string{"connect 1 alice", "say 1 handshake alice", "say 1 have-none"} {
		s.line(line)
	}
	s.out = nil
	return s
}

func TestPeersGetPieceHashesAndLeavesThatLeadToTheRoot(t *testing.T) {
	s := newProver(t)
	tree, f := s.film.trees[0], s.film.title.Files[0]
	known := bt.NewKnown(f.Root, tree.Blocks(), 4)
	last := int(s.film.title.Files[1].FirstPiece) - 1
	requests := []bt.HashRequest{
		known.LayerRequest(0), known.LeavesRequest(0), known.LeavesRequest(7), known.LeavesRequest(last),
		{Root: f.Root, Base: 2, Index: 8, Length: 8, Proof: 6},
		{Root: f.Root, Base: 2, Index: 0, Length: 2, Proof: 0},
		{Root: f.Root, Base: 0, Index: 64, Length: 64, Proof: 8},
		{Root: f.Root, Base: 0, Index: 10, Length: 2, Proof: 8},
		{Root: f.Root, Base: 0, Index: uint32(tree.Blocks() / 64 * 64), Length: 64, Proof: 8},
	}
	for _, r := range requests {
		s.says(1, wire.AppendHashRequest(nil, r))
		s.hashPieces(false)
		got := s.hashMessages(wire.Hashes)
		want, err := tree.Answer(r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if len(got) != 1 || got[0].Hashes != r {
			t.Fatalf("%+v: %d answers", r, len(got))
		}
		if digests, _ := bt.ParseDigests(got[0].Payload); !slices.Equal(digests, want) {
			t.Errorf("%+v: another answer than the tree's", r)
		}
	}
}

func TestHashRequestsThatCannotBeAnsweredAreRejected(t *testing.T) {
	s := newProver(t)
	f, audio := s.film.title.Files[0], s.film.title.Files[1]
	for name, r := range map[string]bt.HashRequest{
		"another root":            {Root: bt.Digest{1}, Base: 2, Length: 2},
		"length of 1":             {Root: f.Root, Base: 2, Length: 1},
		"length of 3":             {Root: f.Root, Base: 2, Length: 3},
		"length of 0":             {Root: f.Root, Base: 2},
		"length over 512":         {Root: f.Root, Length: 1024},
		"index out of step":       {Root: f.Root, Base: 2, Index: 1, Length: 2},
		"index past the end":      {Root: f.Root, Base: 2, Index: 1 << 20, Length: 2},
		"index that wraps":        {Root: f.Root, Base: 2, Index: 1<<32 - 2, Length: 2},
		"a layer between":         {Root: f.Root, Base: 1, Length: 2},
		"a layer above the root":  {Root: f.Root, Base: 1 << 31, Length: 2},
		"more proof than layers":  {Root: f.Root, Base: 2, Length: 2, Proof: 100},
		"hashes not known":        {Root: audio.Root, Base: 2, Length: 2},
		"leaves of what it lacks": {Root: audio.Root, Length: 4},
	} {
		s.says(1, wire.AppendHashRequest(nil, r))
		if n := s.hashPieces(false); n != 0 {
			t.Errorf("%s: %d pieces were digested", name, n)
		}
		if got := s.hashMessages(wire.HashReject); len(got) != 1 || got[0].Hashes != r {
			t.Errorf("%s: %d rejects", name, len(got))
		}
	}
	s.line("policy peers") // it may no longer serve
	s.out = nil
	s.says(1, wire.AppendHashRequest(nil, bt.HashRequest{Root: f.Root, Base: 2, Length: 2}))
	if got := s.hashMessages(wire.HashReject); len(got) != 1 {
		t.Error("hashes were served though nothing may be")
	}
}

func TestPieceThatRottedIsPutOutAndNotProven(t *testing.T) {
	s := newProver(t)
	f := s.film.title.Files[0]
	known := bt.NewKnown(f.Root, s.film.trees[0].Blocks(), 4)
	s.says(1, wire.AppendHashRequest(nil, known.LeavesRequest(3)))
	s.hashPieces(true)
	evicted := slices.ContainsFunc(s.out, func(o engine.Output) bool { return o.Kind == engine.Evict && o.Piece == 3 })
	if rejects := s.hashMessages(wire.HashReject); !evicted || len(rejects) != 1 {
		t.Errorf("evicted: %v, %d rejects", evicted, len(rejects))
	}
}

// TestHashRequestFloodCostsABoundedAmountOfHashing has as many peers as there can be ask for leaves without pause.
func TestHashRequestFloodCostsABoundedAmountOfHashing(t *testing.T) {
	s := newProver(t)
	f := s.film.title.Files[0]
	known := bt.NewKnown(f.Root, s.film.trees[0].Blocks(), 4)
	for n := 2; n <= 24; n++ {
		s.line(fmt.Sprintf("connect %d peer%d", n, n))
		s.line(fmt.Sprintf("say %d handshake peer%d", n, n))
		s.line(fmt.Sprintf("say %d have-none", n))
	}
	s.out = nil
	digested, dropped, asked, waiting := 0, 0, 0, 0
	const seconds = 10
	gone := map[engine.PeerRef]bool{}
	for range seconds * 10 {
		s.now += second / 10
		for ref := engine.PeerRef(1); ref <= 24; ref++ {
			for k := 0; k < 30 && !gone[ref]; k++ {
				r := known.LeavesRequest((k + int(ref)*7) % 80)
				if k%2 == 0 {
					r = known.LayerRequest(0)
				}
				s.says(ref, wire.AppendHashRequest(nil, r))
				asked++
				for _, o := range s.out {
					if o.Kind == engine.ClosePeer && o.Reason == engine.ReasonFlood {
						gone[o.Peer] = true
						dropped++
					}
					if o.Kind == engine.HashPiece {
						waiting++
					}
				}
				if waiting > 16+24 {
					t.Fatalf("%d pieces wait for digests at once", waiting)
				}
				digested += s.hashPieces(false)
				waiting, s.out = 0, nil
			}
		}
	}
	if most := (16<<20 + seconds*4<<20) / (64 << 10); digested > most {
		t.Errorf("%d pieces were digested for %d requests in %d s, more than %d", digested, asked, seconds, most)
	}
	if dropped != 24 {
		t.Errorf("%d of 24 flooding peers were dropped", dropped)
	}
}

// newAsker is an engine that lacks everything, whose origin is away, and a peer that has everything and speaks v2. It returns the
// hash request that the peer got.
func newAsker(t *testing.T) (*stepper, bt.HashRequest) {
	s := newStepper(t, "film 60s 100000 piece=65536", "policy peers", "connect 1 alice", "say 1 handshake alice v2", "say 1 have-all",
		"choose 0", "moved 0s buffered=0s")
	failed := engine.Ref(0)
	for _, o := range s.out {
		if o.Kind == engine.RequestHashes {
			failed = o.Ref
		}
	}
	if len(s.hashMessages(wire.HashRequest)) != 0 || failed == 0 {
		t.Fatal("a peer was asked for hashes though the origin is well, or nobody was")
	}
	s.give(engine.Input{Kind: engine.FetchFailed, Ref: failed, Reason: 503})
	asked := s.hashMessages(wire.HashRequest)
	if len(asked) != 1 {
		t.Fatalf("%d peers were asked for hashes that the origin does not give", len(asked))
	}
	return s, asked[0].Hashes
}

// banned reports how the peer was judged by what was said since the last call.
func (s *stepper) banned() (banned bool, closed engine.Reason) {
	for _, o := range s.out {
		if o.Kind == engine.Note && o.Note == engine.NoteBanned {
			banned = true
		}
		if o.Kind == engine.ClosePeer {
			closed = o.Reason
		}
	}
	return banned, closed
}

func TestHashesWithAWrongUncleBanTheSender(t *testing.T) {
	s, r := newAsker(t)
	good, err := s.film.trees[0].Answer(r)
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(at int) []bt.Digest {
		bad := slices.Clone(good)
		bad[at][31] ^= 0x80
		return bad
	}
	reversed := slices.Clone(good)
	slices.Reverse(reversed)
	for name, bad := range map[string][]bt.Digest{
		"a wrong node": flipped(3), "the last wrong": flipped(len(good) - 1), "one short": good[:len(good)-1],
		"one too many": append(slices.Clone(good), bt.Digest{}), "one alone": good[:1], "out of order": reversed,
	} {
		s, r := newAsker(t)
		s.says(1, wire.AppendHashes(nil, r, bad))
		if banned, closed := s.banned(); !banned || closed != engine.ReasonBadData {
			t.Errorf("%s: banned: %v, closed with reason %d", name, banned, closed)
		}
		s.line("connect 2 alice")
		if _, closed := s.banned(); closed != engine.ReasonBadData {
			t.Errorf("%s: it may come back", name)
		}
	}

	// With uncles, of a leaf request.
	tree := s.film.trees[0]
	known := bt.NewKnown(tree.Root(), tree.Blocks(), 4)
	leaves := known.LeavesRequest(5)
	good, _ = tree.Answer(leaves)
	for at := range good {
		bad := slices.Clone(good)
		bad[at][0] ^= 1
		if known.Learn(leaves, bad) == nil {
			t.Errorf("digest %d of leaves and uncles is wrong, and was believed", at)
		}
	}
}

func TestTrueHashesOfAPeerAreBelieved(t *testing.T) {
	s, r := newAsker(t)
	good, _ := s.film.trees[0].Answer(r)
	s.says(1, wire.AppendHashes(nil, r, good))
	if banned, closed := s.banned(); banned || closed != 0 {
		t.Fatalf("banned: %v, closed with reason %d", banned, closed)
	}
	s.out = nil
	s.now += 3 * second
	s.line("tick")
	if n := s.said(engine.RequestHashes); n != 0 || len(s.hashMessages(wire.HashRequest)) != 0 {
		t.Error("what is known was asked for again")
	}
}

func TestHashesNobodyAskedForCloseTheConnection(t *testing.T) {
	s, r := newAsker(t)
	other := r
	other.Proof++
	good, _ := s.film.trees[0].Answer(r)
	s.says(1, wire.AppendHashes(nil, other, good))
	if banned, closed := s.banned(); banned || closed != engine.ReasonProtocol {
		t.Errorf("banned: %v, closed with reason %d", banned, closed)
	}
	s, r = newAsker(t)
	s.says(1, wire.AppendHashReject(nil, r))
	if _, closed := s.banned(); closed != 0 {
		t.Errorf("a reject closed the connection with reason %d", closed)
	}
	s.says(1, wire.AppendHashReject(nil, r))
	if _, closed := s.banned(); closed != engine.ReasonProtocol {
		t.Errorf("a second reject of one request: closed with reason %d", closed)
	}
}

func TestHashesThatTheOriginKeepsBackAreAskedOfAPeerToo(t *testing.T) {
	s := newStepper(t, "film 60s 100000 piece=65536", "policy peers", "connect 1 alice", "say 1 handshake alice v2", "say 1 have-all",
		"choose 0", "moved 0s buffered=0s")
	s.out = nil
	for range 10 {
		s.now += second / 10
		s.line("tick")
	}
	asked := s.hashMessages(wire.HashRequest)
	if len(asked) != 1 {
		t.Fatalf("after a second of silence %d requests went to peers", len(asked))
	}
	good, _ := s.film.trees[0].Answer(asked[0].Hashes)
	s.says(1, wire.AppendHashes(nil, asked[0].Hashes, good))
	if s.said(engine.CancelFetch) == 0 {
		t.Error("the origin is still asked for what a peer has answered")
	}
}

func TestPeersThatSpeakNoV2AreNotAskedForHashes(t *testing.T) {
	s := newStepper(t, "film 60s 100000 piece=65536", "policy peers", "connect 1 alice", "say 1 handshake alice", "say 1 have-all",
		"choose 0", "moved 0s buffered=0s")
	for range 30 {
		s.now += second / 10
		s.line("tick")
	}
	if n := len(s.hashMessages(wire.HashRequest)); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// TestAFilmPlaysFromPeersAloneHashesIncluded takes the origin away before a viewer comes, whose only neighbour has seen the film.
func TestAFilmPlaysFromPeersAloneHashesIncluded(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 64<<10))
	a := w.join()
	a.share(true)
	a.play()
	w.run(75 * second)
	a.sawAll(t)
	w.originDown = true
	origin := w.originBytes
	b := w.join()
	b.share(true)
	b.meet(a)
	b.play()
	w.run(160 * second)
	b.sawAll(t)
	if w.originBytes != origin {
		t.Error("the origin was there after all")
	}
}

// audioFilm lasts five minutes, and a piece of its sound a quarter of a minute.
func audioFilm() *film { return newFilm(300, 160_000, 256<<10) }

// TestStartInTheMiddleOfAPieceWaitsForItsOwnBlocksAlone seeks into a piece of sound that lasts 16 s, over a slow origin: the first two
// seconds are there long before the piece could be.
func TestStartInTheMiddleOfAPieceWaitsForItsOwnBlocksAlone(t *testing.T) {
	w := newWorld(t, audioFilm())
	w.originRate = 64 << 10
	v := w.join()
	v.step(engine.Input{Kind: engine.RenditionChosen, File: 1})
	v.step(engine.Input{Kind: engine.Seeked, From: 40_000})
	x := w.film.indexes[1][20]
	var got []byte
	at := engine.Instant(0)
	v.readers[1] = func() { got, at = v.read(1, x), w.now }
	v.step(engine.Input{Kind: engine.RangeWanted, Ref: 1, File: 1, From: int64(x.From), To: int64(x.To)})
	w.run(3 * second)
	if !slices.Equal(got, w.film.files[1][x.From:x.To]) {
		t.Fatal("the range was not delivered within three seconds, or not as it is")
	}
	if v.fromKept == 0 || at > 1800_000 {
		t.Errorf("delivered after %d ms, %d blocks of it from a piece that was not whole; the piece takes 4 s", at/1000, v.fromKept)
	}
	w.run(12 * second)
	if piece := w.film.title.Files[1].FirstPiece + uint32(x.From)>>18; v.store[piece] == nil {
		t.Error("the rest of the piece never came")
	}
}

// TestWrongBlockOfAnUrgentRangeIsRefusedBeforeThePieceIsWhole has a liar bring what a reader waits for: it is banned by the block's leaf,
// at once, and the origin brings the block.
func TestWrongBlockOfAnUrgentRangeIsRefusedBeforeThePieceIsWhole(t *testing.T) {
	s := newStepper(t, "film 300s 160000 piece=262144", "policy peers", "connect 1 liar", "say 1 handshake liar", "say 1 have-all", "say 1 unchoke",
		"at 5s", "seek 40s")
	s.out = nil
	s.line("choose 1")
	x := s.film.indexes[1][20]
	s.line(fmt.Sprintf("want 1 file=1 %d-%d", x.From, x.To))
	asked, fetched, out := []wire.Request(nil), int64(0), s.out
	s.answerHashes()
	for _, o := range out { // the origin is away: the peer is all there is
		if o.Kind == engine.FetchRange {
			fetched += o.To - o.From
			s.give(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref, Reason: 503})
		}
	}
	s.out = append(s.out, out...)
	asked = append(asked, s.asked()...)
	for range 20 {
		s.now += second / 5
		s.line("tick")
		asked = append(asked, s.asked()...)
	}
	if fetched > 128<<10 {
		t.Errorf("%d bytes were fetched at once for a range of %d", fetched, x.To-x.From)
	}
	if len(asked) == 0 {
		t.Fatal("the peer was asked for nothing")
	}
	q := asked[0]
	if first := s.film.title.Files[1].FirstPiece + uint32(x.From)>>18; q.Piece != first || uint64(q.Begin)+uint64(q.Length) <= x.From&(256<<10-1) {
		t.Fatalf("asked for %+v first", q)
	}
	s.line(fmt.Sprintf("say 1 piece %d %d %d", q.Piece, q.Begin, q.Length))
	s.line(fmt.Sprintf("hash 1 piece=%d begin=%d bad", q.Piece, q.Begin))
	if banned, closed := s.banned(); !banned || closed != engine.ReasonBadData {
		t.Errorf("a block that its leaf refutes: banned %v, closed with reason %d", banned, closed)
	}
	if s.said(engine.RangeReady) != 0 {
		t.Error("the range was delivered")
	}
}

// TestSuspectIsBannedAtItsSecondFailedPiece has a peer spoil pieces while nobody gives the leaves that would name it.
func TestSuspectIsBannedAtItsSecondFailedPiece(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "policy peers", "connect 1 suspect", "say 1 handshake suspect", "say 1 have-all",
		"at 3s", "choose 0", "moved 0s buffered=0s")
	s.answerHashes()
	s.line("say 1 unchoke")
	failed := map[uint32]bool{}
	var ban *engine.Output
	for range 400 {
		out := s.out
		s.out = nil
		for i := range out {
			o := &out[i]
			switch {
			case o.Kind == engine.Note && o.Note == engine.NoteBanned:
				ban = o
			case o.Kind == engine.RequestHashes:
				failed[o.Index] = true
				s.give(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref, Reason: 503})
			case o.Kind == engine.FetchRange:
				s.give(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref, Reason: 503})
			case o.Kind == engine.SendMessage && len(o.Data) == 17 && wire.ID(o.Data[4]) == wire.RequestBlock:
				m, err := wire.Parse(o.Data[4:])
				if err != nil {
					t.Fatal(err)
				}
				s.line(fmt.Sprintf("say 1 piece %d %d %d", m.Request.Piece, m.Request.Begin, m.Request.Length))
				s.line(fmt.Sprintf("hash 1 piece=%d begin=%d bad", m.Request.Piece, m.Request.Begin))
			}
		}
		if ban != nil {
			break
		}
		s.now += second / 10
		s.line("tick")
	}
	if ban == nil || ban.Reason != engine.ReasonSuspect || string(ban.Data) != string(peerID("suspect")) {
		t.Fatalf("ban %+v after %d failed pieces", ban, len(failed))
	}
	if len(failed) < 2 {
		t.Error("banned at the first strike")
	}
	s.out = nil
	s.line("connect 2 suspect")
	if _, closed := s.banned(); closed != engine.ReasonBadData {
		t.Error("it may come back")
	}
}

// TestPeersThatLieInOneBlockOfAHundredAreBannedByIt has two of three neighbours spoil a block now and then, now the one, now the other,
// in the same pieces as honest blocks of the third.
func TestPeersThatLieInOneBlockOfAHundredAreBannedByIt(t *testing.T) {
	w := newWorld(t, newFilm(120, 100_000, 64<<10))
	n := 0
	list := seeds(w, 3, func(s *viewer) {
		if n++; n < 3 {
			s.lieEvery = 100
		}
	})
	b := w.join()
	b.share(true)
	for _, s := range list {
		b.meet(s)
	}
	w.run(2 * second)
	b.play()
	w.run(140 * second)
	b.sawAll(t)
	for i, s := range list {
		banned := slices.ContainsFunc(b.banned, func(ref engine.PeerRef) bool { return b.met[ref] == s.id })
		if lies := s.lieEvery > 0 && s.sent >= s.lieEvery; banned != lies {
			t.Errorf("neighbour %d sent %d blocks, lied: %v, banned: %v", i, s.sent, lies, banned)
		}
	}
	if len(b.banned) == 0 {
		t.Error("nobody came to lie")
	}
}
