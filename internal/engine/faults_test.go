package engine_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// seeds joins so many viewers that have the whole film, each made as said.
func seeds(w *world, n int, made func(*viewer)) (list []*viewer) {
	for range n {
		s := w.join()
		s.share(true)
		made(s)
		s.step(engine.Input{Kind: engine.StoreRestored, Data: restoredData(w.film.pieces())})
		fillStore(s)
		list = append(list, s)
	}
	return list
}

func TestPeersThatEndNoBlockStallNothing(t *testing.T) {
	w := newWorld(t, newFilm(60, 100_000, 32<<10))
	w.originRate = 300_000
	list := seeds(w, 6, func(s *viewer) { s.choppy = true })
	b := w.join()
	b.share(true)
	for _, s := range list {
		b.meet(s)
	}
	w.run(second)
	b.play()
	w.run(80 * second)
	b.sawAll(t)
}

// TestShortOriginIsNoWorseForBadNeighbours gives a viewer an origin of 1.2 times the bitrate. Playback without peers would begin
// after 1.7 s with the first segments alone and never stall; the engine may take its pieces' rounding longer, and the time to find out
// what its neighbours are worth.
func TestShortOriginIsNoWorseForBadNeighbours(t *testing.T) {
	upload := func(kbps uint32) func(*viewer) {
		return func(s *viewer) {
			s.step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload, Length: kbps})
		}
	}
	for _, c := range []struct {
		name string
		n    int
		made func(*viewer)
		most engine.Instant // after which it must have started
	}{
		{"none", 0, nil, 2_300_000},
		{"silent", 6, func(s *viewer) { s.mute = true }, 2_300_000},
		{"ending no block", 6, func(s *viewer) { s.choppy = true }, 2_300_000},
		{"lying", 6, func(s *viewer) { s.lie = true }, 2_300_000},
		{"choking", 6, func(s *viewer) { s.step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers}) }, 2_300_000},
		{"slow", 6, upload(160), 3_300_000}, // they promise together what the origin gives, and take a while to show that it is all
		{"one, very slow", 1, upload(40), 2_300_000},
	} {
		w := newWorld(t, newFilm(60, 100_000, 32<<10))
		w.originAll = 132_000
		list := seeds(w, c.n, func(s *viewer) { c.made(s) })
		b := w.join()
		b.share(true)
		for _, s := range list {
			b.meet(s)
		}
		b.play()
		w.run(80 * second)
		b.sawAll(t)
		if b.started > c.most {
			t.Errorf("started after %d ms", b.started/1000)
		}
		if t.Failed() {
			t.Fatalf("with neighbours: %s", c.name)
		}
	}
}

// stepper plays inputs into a script's engine, and keeps what it answered.
type stepper struct {
	*script
	out []engine.Output
}

func newStepper(t *testing.T, lines ...string) *stepper {
	s := &stepper{script: newScript(t)}
	for _, line := range lines {
		s.line(line)
	}
	return s
}

func (s *stepper) line(line string) {
	for _, in := range s.inputs(strings.Fields(line)) {
		for _, o := range s.engine.Step(s.now, in, nil) {
			o.Data = bytes.Clone(o.Data)
			s.out = append(s.out, o)
		}
	}
}

// asked takes the requests out of what was said since the last call.
func (s *stepper) asked() (list []wire.Request) {
	for _, o := range s.out {
		if o.Kind == engine.SendMessage && len(o.Data) == 17 && wire.ID(o.Data[4]) == wire.RequestBlock {
			if m, err := wire.Parse(o.Data[4:]); err == nil {
				list = append(list, m.Request)
			}
		}
	}
	s.out = nil
	return list
}

func (s *stepper) said(kind engine.OutputKind) (n int) {
	for _, o := range s.out {
		if o.Kind == kind {
			n++
		}
	}
	return n
}

func TestFetchExpiresThoughInputsNeverPause(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "want 1 file=0 0-20000")
	for range 100 {
		s.now += second / 10
		s.line("moved 0s buffered=0s")
	}
	if s.said(engine.CancelFetch) == 0 {
		t.Error("a fetch that brought nothing for ten seconds was not given up")
	}
}

func TestSilentPeerIsDroppedThoughInputsNeverPause(t *testing.T) {
	s := newStepper(t, "film 120s 20000 piece=32768", "policy peers", "connect 1 alice", "say 1 handshake alice", "say 1 bitfield all",
		"moved 0s buffered=20s", "choose 0", "say 1 unchoke")
	for range 400 {
		s.now += second / 10
		s.line("moved 0s buffered=20s")
	}
	if s.said(engine.ClosePeer) == 0 {
		t.Error("a peer that never answered was kept")
	}
}

func TestHashRequestThatNobodyAnswersIsRepeated(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "want 1 file=0 0-20000")
	for range 100 {
		s.now += second / 10
		s.line("tick")
	}
	if n := s.said(engine.RequestHashes); n != 2 {
		t.Errorf("asked %d times for hashes in ten seconds, want 2", n)
	}
}

func TestUploadsEndAtOnceWhenPolicySaysSo(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "restored 0-9", "policy peers upload uplink=100", "connect 1 alice",
		"say 1 handshake alice", "say 1 interested")
	for n := range 10 {
		s.line("say 1 request " + strconv.Itoa(n) + " 0 16384")
	}
	s.out = nil
	s.line("policy peers")
	for range 50 {
		s.now += second / 10
		s.line("tick")
	}
	if n := s.said(engine.SendBlock); n > 0 {
		t.Errorf("%d blocks were sent after uploading was forbidden", n)
	}
}

func TestShortUplinkIsSharedEvenly(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "restored 0-30", "policy peers upload uplink=600", "connect 1 alice",
		"say 1 handshake alice", "say 1 interested", "connect 2 bob", "say 2 handshake bob", "say 2 interested")
	for _, p := range []string{"1", "2"} {
		for n := range 30 {
			s.line("say " + p + " request " + strconv.Itoa(n) + " 0 16384")
		}
	}
	sent := map[engine.PeerRef]int{}
	for range 50 {
		s.now += second / 10
		s.line("tick")
	}
	for _, o := range s.out {
		if o.Kind == engine.SendBlock {
			sent[o.Peer]++
		}
	}
	if d := sent[1] - sent[2]; d > 2 || d < -2 {
		t.Errorf("one was sent %d blocks, the other %d", sent[1], sent[2])
	}
}

func TestEngineSleepsUntilALargeRequestMayBeServed(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=131072", "restored 0-5", "policy peers upload uplink=600", "connect 1 alice",
		"say 1 handshake alice", "say 1 interested", "say 1 request 0 0 131072", "say 1 request 1 0 131072")
	s.now += 1_600_000
	s.line("tick")
	if at, _ := s.engine.Deadline(); at-s.now < second/10 {
		t.Errorf("wants to be called after %d µs, long before there is a budget", at-s.now)
	}
}

func TestReaderOfNothingIsDropped(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "restored 0-30", "policy peers upload", "connect 1 alice", "say 1 handshake alice",
		"say 1 interested")
	for n := range 20 {
		s.line("say 1 request " + strconv.Itoa(n) + " 0 16384")
	}
	s.line("queue 1 262144")
	for range 20 {
		s.now += second
		s.line("say 1 have 3")
		s.line("queue 1 262144")
	}
	if s.said(engine.ClosePeer) > 0 {
		t.Fatal("closed too early")
	}
	for range 12 {
		s.now += second
		s.line("say 1 have 3")
	}
	if s.said(engine.ClosePeer) == 0 {
		t.Error("a peer that reads nothing for thirty seconds was kept")
	}
}

func TestSteadyReaderIsKept(t *testing.T) {
	s := newStepper(t, "film 60s 20000 piece=32768", "restored 0-30", "policy peers upload", "connect 1 alice", "say 1 handshake alice",
		"say 1 interested")
	for range 60 {
		s.now += second
		s.line("say 1 request 3 0 16384")
		s.line("queue 1 20000")
		s.line("queue 1 16384") // it has moved, and is still not empty
	}
	if s.said(engine.ClosePeer) > 0 {
		t.Error("a peer whose queue is never empty, and always moves, was dropped")
	}
}

// TestCancelledRequestsAreForgottenInTheEnd is about clients that answer no cancel, against BEP 6.
func TestCancelledRequestsAreForgottenInTheEnd(t *testing.T) {
	s := newStepper(t, "film 400s 20000 piece=32768", "policy peers", "at 3s", "connect 1 alice", "say 1 handshake alice", "say 1 bitfield all",
		"choose 0", "moved 0s buffered=20s", "say 1 unchoke")
	first := s.asked()[0]
	for k := range 200 {
		s.now += second / 100
		s.line("seek " + strconv.Itoa(100+200*(k%2)) + "s")
		s.line("moved " + strconv.Itoa(100+200*(k%2)) + "s buffered=" + strconv.Itoa(120+200*(k%2)) + "s")
	}
	if n := len(s.asked()); n < 400 {
		t.Fatalf("%d requests, too few to tell", n)
	}
	s.line("say 1 piece " + strconv.Itoa(int(first.Piece)) + " " + strconv.Itoa(int(first.Begin)) + " " + strconv.Itoa(bt.BlockSize))
	if s.said(engine.ClosePeer) == 0 {
		t.Error("the first of hundreds of requests was still remembered")
	}
}

func TestAnswerSettlesTheRequestThatStillStands(t *testing.T) {
	s := newStepper(t, "film 120s 20000 piece=32768", "policy peers", "at 3s", "connect 1 alice", "say 1 handshake alice", "say 1 bitfield all",
		"choose 0", "moved 0s buffered=20s", "say 1 unchoke")
	first := s.asked()
	s.line("seek 60s")
	s.line("moved 60s buffered=80s")
	far := s.asked()
	for _, r := range far { // this client answers no cancel
		s.line("say 1 piece " + strconv.Itoa(int(r.Piece)) + " " + strconv.Itoa(int(r.Begin)) + " " + strconv.Itoa(int(r.Length)))
	}
	s.line("choose 1") // audio only, of which there is little: nothing else will be asked for
	s.line("seek 0s")
	s.line("moved 0s buffered=20s")
	for range 40 {
		for _, r := range s.asked() {
			s.line("say 1 piece " + strconv.Itoa(int(r.Piece)) + " " + strconv.Itoa(int(r.Begin)) + " " + strconv.Itoa(int(r.Length)))
			s.line("hash 1 piece=" + strconv.Itoa(int(r.Piece)) + " begin=" + strconv.Itoa(int(r.Begin)))
		}
	}
	s.now += 3 * second
	s.line("tick")
	for _, o := range s.out {
		if o.Kind == engine.SendMessage && len(o.Data) > 4 && wire.ID(o.Data[4]) == wire.Cancel {
			t.Fatalf("a peer that answered everything was taken for stuck (first asked: %v)", first)
		}
	}
}

func TestSeekWithinAFetchDoesNotWaitForWhatLiesBefore(t *testing.T) {
	s := newStepper(t, "film 60s 100000 piece=32768", "choose 0")
	s.out = nil
	s.line("seek 4s")
	cancelled := s.said(engine.CancelFetch)
	for _, o := range s.out {
		if o.Kind == engine.FetchRange && o.File == 0 && o.From > 300_000 && cancelled == 1 {
			return
		}
	}
	t.Error("what plays now comes after 400 kB that nobody wants any more")
}

// TestHalfPiecesAreLetGo seeks through a film whose peer brings the first block of every piece and never the second.
func TestHalfPiecesAreLetGo(t *testing.T) {
	s := newStepper(t, "film 900s 10000 piece=32768", "policy peers", "at 3s", "connect 1 alice", "say 1 handshake alice", "say 1 bitfield all",
		"choose 0", "say 1 unchoke")
	kept := map[[2]uint32]bool{}
	brought, most := 0, 0
	for k := range 160 {
		s.now += second / 10
		at := strconv.Itoa(5 * k)
		s.line("seek " + at + "s")
		s.line("moved " + at + "s buffered=" + at + "s")
		for range 4 {
			for _, o := range s.out {
				if o.Kind == engine.Discard && o.Peer == 0 {
					delete(kept, [2]uint32{o.Piece, o.Begin})
				}
			}
			for _, r := range s.asked() {
				if name := strconv.Itoa(int(r.Piece)); r.Begin == 0 && !kept[[2]uint32{r.Piece}] {
					s.line("say 1 piece " + name + " 0 16384")
					s.line("hash 1 piece=" + name + " begin=0")
					kept[[2]uint32{r.Piece}] = true
					brought++
				} else {
					s.line("say 1 reject " + name + " " + strconv.Itoa(int(r.Begin)) + " " + strconv.Itoa(int(r.Length)))
				}
			}
		}
		most = max(most, len(kept))
	}
	if brought < 70 || most > 110 {
		t.Errorf("%d blocks were brought, and up to %d kept", brought, most)
	}
}
