package engine

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/cmaf/index"
)

// server is an engine that holds a whole film of a minute, two seconds a piece, and serves it.
type server struct {
	t   *testing.T
	e   *Engine
	now Instant
	out []Output

	queue []int64   // in the host's hands, by peer
	deaf  []PeerRef // they take nothing of what is queued for them
}

const (
	servedPieces      = 30
	servedPieceLength = 64 << 10
)

func newServer(t *testing.T, limitKbps uint32) *server {
	t.Helper()
	title := Title{PieceLength: servedPieceLength, InfoHash: bt.InfoHash{1}, InfoHashV2: bt.InfoHash{2}, Seed: 1}
	title.PeerID[0] = 'u'
	title.Files = []TitleFile{{Size: servedPieces * servedPieceLength, Root: bt.Digest{1}, Track: TrackVideo}}
	var x index.Index
	var held []byte
	for i := range uint64(servedPieces) {
		x = append(x, index.Segment{From: i * servedPieceLength, To: (i + 1) * servedPieceLength, StartMs: uint32(i) * 2000, DurationMs: 2000})
		held = binary.BigEndian.AppendUint32(held, uint32(i))
	}
	s := &server{t: t, e: New(), now: 1_000_000}
	s.step(Input{Kind: TitleOpened, Data: title.AppendBinary(nil)})
	s.step(Input{Kind: IndexLoaded, Data: x.AppendBinary(nil)})
	s.step(Input{Kind: StoreRestored, Data: held})
	s.step(Input{Kind: PolicyChanged, Flags: FlagPeers | FlagUpload, Length: limitKbps})
	return s
}

// step gives one input and returns what was done, notes left out.
func (s *server) step(in Input) []Output {
	s.t.Helper()
	var did []Output
	for _, o := range s.e.Step(s.now, in, nil) {
		if o.Kind != Note {
			did = append(did, o)
		}
	}
	s.out = append(s.out, did...)
	s.report(did)
	return did
}

// report says SendQueue as a host does that gets rid of nothing by itself.
func (s *server) report(did []Output) {
	s.t.Helper()
	if s.queue == nil {
		return
	}
	for _, o := range did {
		if o.Kind == SendBlock {
			s.queue[o.Peer] += int64(o.Length) + 13
		}
	}
	for _, p := range slices.Clone(s.e.peers) {
		if q := s.queue[p.ref]; q > SendQueueLow && slices.ContainsFunc(did, func(o Output) bool { return o.Kind == SendBlock && o.Peer == p.ref }) {
			s.step(Input{Kind: SendQueue, Peer: p.ref, Length: uint32(q)})
		}
	}
}

// join brings a peer that is interested.
func (s *server) join(ref PeerRef) {
	s.t.Helper()
	id := make([]byte, 20)
	id[0], id[1] = 'p', byte(ref)
	s.step(Input{Kind: PeerConnected, Peer: ref, Data: id})
	s.step(Input{Kind: MessageReceived, Flags: FlagHandshake, Peer: ref, Data: wire.AppendHandshake(nil, wire.Handshake{InfoHash: s.e.title.InfoHash, PeerID: bt.PeerID(id), Fast: true})})
	s.step(Input{Kind: MessageReceived, Peer: ref, Data: wire.AppendHaveNone(nil)[4:]})
	s.step(Input{Kind: MessageReceived, Peer: ref, Data: wire.AppendInterested(nil)[4:]})
}

// ask has a peer request blocks 0 to n-1 of a piece.
func (s *server) ask(ref PeerRef, piece uint32, n int) {
	s.t.Helper()
	for b := range uint32(n) {
		s.step(Input{Kind: MessageReceived, Peer: ref, Data: wire.AppendRequest(nil, wire.Request{Piece: piece, Begin: b * bt.BlockSize, Length: bt.BlockSize})[4:]})
	}
}

// pass lets time go by until t, doing what the engine's deadline asks for.
func (s *server) pass(t Instant) {
	s.t.Helper()
	for {
		at, ok := s.e.Deadline()
		if !ok || at > t {
			break
		}
		s.now = max(s.now, at)
		s.step(Input{Kind: Tick})
	}
	s.now = t
}

// blocks lists to whom blocks went since the last call, in order.
func (s *server) blocks() (to []Output) {
	for _, o := range s.out {
		if o.Kind == SendBlock {
			to = append(to, o)
		}
	}
	s.out = nil
	return to
}

func (s *server) plays(ref PeerRef, ms int64) {
	p := s.e.peer(ref)
	p.playing, p.playMs, p.playAt, p.playRate = true, ms, s.now, 1000
}

func TestBlockThatTheHostHasLostIsRefused(t *testing.T) {
	s := newServer(t, 0)
	s.join(1)
	s.ask(1, 0, 1)
	if sent := s.blocks(); len(sent) != 1 {
		t.Fatalf("%d blocks sent", len(sent))
	}
	lost := wire.Request{Piece: 0, Length: bt.BlockSize}
	did := s.step(Input{Kind: Evicted, Peer: 1, Piece: lost.Piece, Begin: lost.Begin, Length: lost.Length})
	reject := wire.AppendReject(nil, lost)
	if !slices.ContainsFunc(did, func(o Output) bool { return o.Kind == SendMessage && o.Peer == 1 && bytes.Contains(o.Data, reject) }) {
		t.Errorf("no reject: %+v", did)
	}
	if s.ask(1, 0, 1); len(s.blocks()) > 0 {
		t.Error("the piece is served still")
	}
}

func TestNearerDeadlineIsServedFirst(t *testing.T) {
	s := newServer(t, 1000) // 125,000 bytes per second: a block in 131 ms
	s.join(1)
	s.join(2)
	s.join(3)
	s.plays(1, 0)
	s.plays(2, 30_000) // of 3 nothing is known
	s.ask(1, 9, 1)     // spends the burst
	s.blocks()
	s.ask(1, 10, 3) // needed in 20 s
	s.ask(3, 1, 2)  // needed nobody knows when: counts as in 10 s
	s.ask(2, 16, 3) // needed in 2 s
	s.pass(s.now + 1_500_000)
	var order []PeerRef
	for _, o := range s.blocks() {
		order = append(order, o.Peer)
	}
	want := []PeerRef{2, 2, 2, 3, 3, 1, 1, 1}
	if len(order) != len(want) {
		t.Fatalf("served %v, want %v", order, want)
	}
	for i := range want {
		if order[i] != want[i] {
			t.Fatalf("served %v, want %v", order, want)
		}
	}
}

func TestOnePeersWishesAreServedInTheOrderOfTheFilm(t *testing.T) {
	s := newServer(t, 1000)
	s.join(1)
	s.ask(1, 20, 1)
	s.blocks()
	s.ask(1, 12, 2)
	s.ask(1, 5, 2)
	s.pass(s.now + 1_000_000)
	var pieces []uint32
	for _, o := range s.blocks() {
		pieces = append(pieces, o.Piece)
	}
	if len(pieces) != 4 || pieces[0] != 5 || pieces[1] != 5 || pieces[2] != 12 || pieces[3] != 12 {
		t.Errorf("pieces %v, want 5 5 12 12", pieces)
	}
}

func TestNobodyStarves(t *testing.T) {
	s := newServer(t, 2000) // enough for four slots
	for ref := PeerRef(1); ref <= 4; ref++ {
		s.join(ref)
	}
	s.plays(1, 0)
	s.plays(2, 0)
	s.ask(3, 25, 4)
	s.plays(3, 0) // 50 s ahead
	s.ask(4, 25, 4)
	last := map[PeerRef]Instant{1: s.now, 2: s.now, 3: s.now, 4: s.now}
	got := map[PeerRef]int{}
	piece := uint32(0)
	for end := s.now + 20_000_000; s.now < end; s.pass(s.now + 50_000) {
		if len(s.e.peer(1).wishes) == 0 { // 1 and 2 always want what is needed at once
			s.ask(1, piece%20, 4)
			s.ask(2, piece%20, 4)
			s.plays(1, int64(piece%20)*2000)
			s.plays(2, int64(piece%20)*2000)
			piece++
		}
		if len(s.e.peer(3).wishes) == 0 {
			s.ask(3, 26, 4)
		}
		if len(s.e.peer(4).wishes) == 0 {
			s.ask(4, 26, 4)
		}
		for _, o := range s.blocks() {
			got[o.Peer]++
			last[o.Peer] = s.now
		}
		for ref, at := range last {
			if s.now-at > 2_700_000 {
				t.Fatalf("peer %d got nothing for %d ms", ref, (s.now-at)/1000)
			}
		}
	}
	if got[1] < 3*got[3] || got[2] < 3*got[4] {
		t.Errorf("urgent ones got %d and %d blocks, the others %d and %d", got[1], got[2], got[3], got[4])
	}
}

func TestNothingIsUploadedWherePolicyForbidsIt(t *testing.T) {
	s := newServer(t, 1000)
	s.join(1)
	s.ask(1, 3, 4)
	if len(s.blocks()) == 0 {
		t.Fatal("nothing is served though it is allowed")
	}
	did := s.step(Input{Kind: PolicyChanged, Flags: FlagPeers})
	choked, rejected := 0, 0
	for _, o := range did {
		if o.Kind == SendMessage && len(o.Data) > 4 {
			switch wire.ID(o.Data[4]) {
			case wire.Choke:
				choked++
			case wire.Reject:
				rejected++
			}
		}
	}
	if choked != 1 || rejected == 0 {
		t.Errorf("%d chokes and %d rejects in the Step that forbade uploading", choked, rejected)
	}
	s.join(2)
	s.ask(1, 4, 4)
	s.ask(2, 4, 4)
	s.pass(s.now + 30_000_000)
	for _, o := range s.out {
		if o.Kind == SendBlock || o.Kind == SendMessage && len(o.Data) > 4 && wire.ID(o.Data[4]) == wire.Unchoke {
			t.Fatalf("output of kind %d to peer %d though policy forbids uploading", o.Kind, o.Peer)
		}
	}
}

func TestPolicyThatForbidsUploadingFromTheStartUnchokesNobody(t *testing.T) {
	s := newServer(t, 0)
	s.step(Input{Kind: PolicyChanged, Flags: FlagPeers})
	s.out = nil
	s.join(1)
	s.ask(1, 1, 2)
	s.pass(s.now + 15_000_000)
	for _, o := range s.out {
		if o.Kind == SendBlock || o.Kind == SendMessage && len(o.Data) > 4 && wire.ID(o.Data[4]) == wire.Unchoke {
			t.Fatalf("output of kind %d though uploading was never allowed", o.Kind)
		}
	}
}

// serveAll has n peers ask without end for seconds, over a host whose queue to each drains at rate, and with the round
// trip that rtt says, in microseconds; it returns the bytes per second that went out in the last half of that time, and the most
// that lay in the host's hands in it.
func serveAll(s *server, n int, rate int64, seconds int64, rtt func(held int64) uint32) (mean, held int64) {
	if s.queue == nil {
		s.queue = make([]int64, n+1)
	}
	queue := s.queue
	piece := uint32(0)
	begin, sent := s.now, int64(0)
	for end := s.now + Instant(seconds)*1_000_000; s.now < end; s.pass(s.now + 20_000) {
		piece++
		for ref := 1; ref <= n; ref++ {
			if p := s.e.peer(PeerRef(ref)); !p.amChoking && len(p.wishes) < 8 {
				s.ask(p.ref, piece%servedPieces, 4)
			}
		}
		for _, o := range s.blocks() {
			if s.now-begin > Instant(seconds)*500_000 {
				sent += int64(o.Length)
			}
		}
		all, waiting := int64(0), int64(0)
		for ref, q := range queue {
			all += q
			if q > 0 && !slices.Contains(s.deaf, PeerRef(ref)) {
				waiting++
			}
		}
		if s.now-begin > Instant(seconds)*500_000 {
			held = max(held, all)
		}
		for ref := 1; ref <= n && waiting > 0; ref++ {
			if slices.Contains(s.deaf, PeerRef(ref)) {
				continue
			}
			was := queue[ref]
			queue[ref] = max(0, was-rate*20/1000/waiting)
			if was > SendQueueLow && queue[ref] <= SendQueueLow {
				s.step(Input{Kind: SendQueue, Peer: PeerRef(ref), Length: uint32(queue[ref])})
			}
		}
		if s.now%1_000_000 < 20_000 && rtt != nil {
			for ref := 1; ref <= n; ref++ {
				s.step(Input{Kind: PathMeasured, Peer: PeerRef(ref), Length: rtt(all)})
			}
		}
	}
	return sent * 2 / seconds, held
}

func unchoked(s *server) (n int) {
	for _, p := range s.e.peers {
		if !p.amChoking {
			n++
		}
	}
	return n
}

func TestSlotsFollowMeasuredUplink(t *testing.T) {
	for _, c := range []struct {
		rate     int64
		from, to int
	}{{70_000, 2, 3}, {200_000, 4, 7}, {2_000_000, 10, 10}} {
		s := newServer(t, 0)
		for ref := PeerRef(1); ref <= 20; ref++ {
			s.join(ref)
		}
		if n := unchoked(s); n != 8 {
			t.Fatalf("%d slots before anything is measured, want 8", n)
		}
		serveAll(s, 20, c.rate, 60, nil)
		if n := unchoked(s); n < c.from || n > c.to {
			t.Errorf("uplink of %d: %d slots, want %d to %d", c.rate, n, c.from, c.to)
		}
	}
}

func TestHostHoldsNoMoreThanHalfASecondOfTheUplink(t *testing.T) {
	for _, rate := range []int64{125_000, 500_000, 2_500_000} {
		s := newServer(t, 0)
		for ref := PeerRef(1); ref <= 8; ref++ {
			s.join(ref)
		}
		mean, held := serveAll(s, 8, rate, 60, nil)
		if most := max(rate/2, 6*(bt.BlockSize+13)); held > most { // blocks are not divided, nor seen below the mark
			t.Errorf("uplink of %d: %d bytes in the host's hands, want at most %d", rate, held, most)
		}
		if mean < rate*3/4 {
			t.Errorf("uplink of %d: %d bytes per second went out", rate, mean)
		}
	}
}

func TestServingYieldsToRisingRoundTrips(t *testing.T) {
	s := newServer(t, 0)
	for ref := PeerRef(1); ref <= 4; ref++ {
		s.join(ref)
	}
	calm, _ := serveAll(s, 4, 5_000_000, 20, func(int64) uint32 { return 40_000 })
	busy, _ := serveAll(s, 4, 5_000_000, 20, func(int64) uint32 { return 240_000 })
	if busy > 32<<10 || calm < 10*busy {
		t.Errorf("%d bytes per second at 40 ms, %d at 240 ms", calm, busy)
	}
	again, _ := serveAll(s, 4, 5_000_000, 60, func(int64) uint32 { return 40_000 })
	if again < calm/2 {
		t.Errorf("%d bytes per second when round trips are as before, %d before", again, calm)
	}
}

func TestOneLatePeerDoesNotSlowTheOthers(t *testing.T) {
	s := newServer(t, 0)
	for ref := PeerRef(1); ref <= 3; ref++ {
		s.join(ref)
	}
	i := 0
	mean, _ := serveAll(s, 3, 5_000_000, 30, func(int64) uint32 {
		i++
		if i%3 == 0 && i > 9 {
			return 900_000
		}
		return 40_000
	})
	if mean < 500_000 {
		t.Errorf("%d bytes per second though two of three are near", mean)
	}
}

func TestSlowReceiverTakesNoRoomFromTheOthers(t *testing.T) {
	s := newServer(t, 0)
	for ref := PeerRef(1); ref <= 4; ref++ {
		s.join(ref)
	}
	s.deaf = []PeerRef{2}
	mean, _ := serveAll(s, 4, 500_000, 20, nil)
	if mean < 375_000 {
		t.Errorf("%d bytes per second over an uplink of 500000 though one of four takes nothing", mean)
	}
}

// A page that is closed says nothing: for as long as its connection takes to be given up, it takes nothing.
func TestThoseWhoHaveJustGoneDoNotSlowTheOneWhoIsThere(t *testing.T) {
	s := newServer(t, 0)
	for ref := PeerRef(1); ref <= 3; ref++ {
		s.join(ref)
	}
	serveAll(s, 3, 500_000, 10, func(int64) uint32 { return 4_000 })
	s.deaf = []PeerRef{1, 2}
	mean, _ := serveAll(s, 3, 500_000, 20, func(int64) uint32 { return 4_000 })
	if mean < 250_000 {
		t.Errorf("%d bytes per second to the one who is there, over an uplink of 500000", mean)
	}
}

// quiet makes a peer one that took requests and never answered.
func (s *server) quiet(ref PeerRef) { s.e.peer(ref).snubs = 1 }

func TestWhoNeverAnswersIsServedLast(t *testing.T) {
	s := newServer(t, 1000)
	s.join(1)
	s.join(2)
	s.plays(1, 18_000)
	s.plays(2, 0)
	s.quiet(1)
	s.ask(2, 5, 1) // spends the burst
	s.blocks()
	s.ask(1, 10, 2) // needed in 2 s
	s.ask(2, 10, 2) // needed in 20 s
	s.pass(s.now + 1_500_000)
	var order []PeerRef
	for _, o := range s.blocks() {
		order = append(order, o.Peer)
	}
	if want := []PeerRef{2, 2, 1, 1}; !slices.Equal(order, want) {
		t.Errorf("served %v, want %v", order, want)
	}
}

func TestWhoNeverAnswersGetsASlotOnlyWhereNobodyElseWantsIt(t *testing.T) {
	s := newServer(t, 0)
	for ref := range PeerRef(12) {
		s.join(1 + ref)
	}
	for ref := PeerRef(1); ref <= 8; ref++ {
		s.quiet(ref)
	}
	s.pass(s.now + 25_000_000)
	served := 0
	for _, p := range s.e.peers {
		if !p.amChoking {
			served++
		}
		if p.ref > 8 && p.amChoking {
			t.Errorf("peer %d waits for those who never answer", p.ref)
		}
	}
	if served != 8 {
		t.Errorf("%d slots are used, want 8: what is left over is theirs", served)
	}
}
