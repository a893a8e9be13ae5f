package sim

import (
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
)

// body is an event that leaves the origin.
type body struct {
	at    instant
	to    uint32
	bytes int64
}

// bodies asks a world's origin, which nobody else does, for n bytes for each of the viewers at 0, and returns when each of its
// events leaves the origin, and how much it brings to whom.
func bodies(w *world, n int64, until instant) []body {
	s := w.shards[0]
	s.queue = queue{}
	for _, d := range w.devices {
		d.to(event{at: 0, dst: originActor, kind: evGet, conn: uint32(d.player.film), a: 1, b: 0, c: n})
	}
	if w.scene.FreezeIn > 0 {
		w.origin.freezeAt(instant(w.scene.FreezeIn.Microseconds()) / 2)
	}
	var list []body
	var e event
	for len(s.queue.heap) > 0 && s.queue.heap[0].at <= until {
		s.queue.pop(&e)
		s.now = e.at
		if e.kind == evBody {
			list = append(list, body{e.at - w.delay, e.dst, e.b})
			continue
		}
		w.handle(&e)
	}
	return list
}

func TestFirstByteComesAfterTwoRoundTripsOfSetUpAndOneOfTheRequest(t *testing.T) {
	w := stepped(t, 1, "http", "flash-8", "viewers=1", "film=10s")
	first := instant(0)
	w.play(0, func(e *event) {
		if e.kind == evBody && first == 0 {
			first = e.at
		}
	})
	if came := first - w.devices[0].arrived; came != 6*40*millisecond {
		t.Errorf("the first byte came %v after play, want three round trips of 80 ms", duration(came))
	}
}

func TestOriginDoublesItsWindowEachRoundTrip(t *testing.T) {
	w := stepped(t, 1, "http", "flash-8", "viewers=1", "film=60s", "down=1000M")
	rtt := 2 * w.delay
	sent := make([]int64, 6)
	for _, b := range bodies(w, 10_000_000, 6*rtt) {
		if round := int(b.at / rtt); round < len(sent) {
			sent[round] += b.bytes
		}
	}
	want := int64(windowFirst)
	for round, n := range sent {
		if n < want-1_460 || n > want+1_460 {
			t.Errorf("round %d: %d bytes, want %d give or take a segment", round, n, want)
		}
		want *= 2
	}
}

func TestOriginKeepsToTheDownlink(t *testing.T) {
	w := stepped(t, 1, "http", "flash-8", "viewers=1", "film=60s", "down=8M")
	sum := int64(0)
	for _, b := range bodies(w, 10_000_000, 5*second) {
		sum += b.bytes
	}
	if sum > 5_000_000+chunkBytes || sum < 4_500_000 {
		t.Errorf("%d bytes in 5 s over a downlink of 1 MB/s", sum)
	}
}

func TestOriginsCapIsSharedFairlyAndKept(t *testing.T) {
	w := stepped(t, 1, "http", "flash-8", "viewers=5", "film=60s", "origin=4M")
	list := bodies(w, 10_000_000, 10*second)
	to := map[uint32]int64{}
	sum, from := int64(0), 0
	for i, b := range list {
		to[b.to] += b.bytes
		sum += b.bytes
		for list[from].at <= b.at-second {
			from++
		}
		window := int64(0)
		for _, x := range list[from : i+1] {
			window += x.bytes
		}
		if window > 500_000+chunkCapped {
			t.Fatalf("%d bytes in the second to %v", window, duration(b.at))
		}
	}
	if sum < 4_900_000 {
		t.Errorf("%d bytes in 10 s, the cap is 5,000,000", sum)
	}
	for viewer, n := range to {
		if n < sum/5-2*chunkCapped || n > sum/5+2*chunkCapped {
			t.Errorf("viewer %d got %d of %d bytes", viewer, n, sum)
		}
	}
}

func TestFrozenOriginSendsNothing(t *testing.T) {
	for _, set := range [][]string{{"origin=0"}, {"origin=16M"}} {
		w := stepped(t, 1, "http", "hiccup", append(set, "viewers=3", "film=120s", "freeze=4s", "freeze_in=10s", "down=8M")...)
		after := false
		for _, b := range bodies(w, 25_000_000, 20*second) {
			if b.at > 5*second && b.at < 9*second {
				t.Fatalf("%v: bytes left at %v, within the freeze", set, duration(b.at))
			}
			after = after || b.at >= 9*second && b.at < 9100*millisecond
		}
		if !after {
			t.Errorf("%v: nothing left just after the freeze", set)
		}
	}
}

func TestOriginsRateFalls(t *testing.T) {
	w := stepped(t, 1, "http", "flash-8", "viewers=2", "film=120s", "fall_at=5s", "fall_to=800k")
	sum := int64(0)
	for _, b := range bodies(w, 25_000_000, 15*second) {
		if b.at > 5*second {
			sum += b.bytes
		}
	}
	if sum < 950_000 || sum > 1_000_000+2*chunkBytes {
		t.Errorf("%d bytes in the 10 s after the fall to 100,000 a second", sum)
	}
}

func TestTwoConnectionsShareAnUplinkBlockByBlock(t *testing.T) {
	w := stepped(t, 1, "essaim", "flash-8", "viewers=3", "film=30s")
	w.play(second, nil)
	w.shards[0].queue = queue{}
	d := w.devices[0]
	s := d.seats[0]
	var to []uint32
	for i := range uint32(2) {
		n := d.newConn(s, s.refs+100, firstViewer+1+i, 0)
		s.refs++
		d.conns[n].state, d.conns[n].measured = connOpen, w.end
		d.conns[n].first, d.conns[n].sent = 1, 1<<30 // slow start is over
		to = append(to, n)
	}
	began := d.now()
	for i := range uint32(10) {
		for _, n := range to {
			d.queue(s, n, outgoing{block: true, piece: i, bytes: bt.BlockSize})
		}
	}
	var order []uint32
	var last instant
	var e event
	for q := &w.shards[0].queue; len(q.heap) > 0; {
		q.pop(&e)
		w.shards[0].now = e.at
		if e.kind == evMessage && e.src == d.id {
			order = append(order, e.dst)
			last = e.at - w.delay
		} else if e.dst == d.id {
			w.handle(&e)
		}
	}
	if len(order) != 20 {
		t.Fatalf("%d blocks arrived of 20", len(order))
	}
	for i := 2; i < len(order); i++ {
		if order[i] == order[i-1] {
			t.Fatalf("the uplink's order is %v", order)
		}
	}
	block := outgoing{block: true, bytes: bt.BlockSize}
	want := instant(20 * block.wireBytes() * 1_000_000 / d.up)
	if took := last - began; took < want-millisecond || took > want+millisecond {
		t.Errorf("20 blocks took %v, want %v", duration(took), duration(want))
	}
}

// TestUplinkCarriesNoMoreThanItCan measures a crowd: over any second, no more blocks than the uplink carries.
func TestUplinkCarriesNoMoreThanItCan(t *testing.T) {
	w := stepped(t, 1, "essaim", "flash-8", "film=60s", "up=2M")
	type sent struct {
		at    instant
		bytes int64
	}
	of := map[uint32][]sent{}
	total := 0
	w.play(0, func(e *event) {
		if e.kind == evMessage && e.size == 0 && e.data == nil {
			block := outgoing{block: true, bytes: uint32(e.c)}
			of[e.src] = append(of[e.src], sent{e.at - w.delay, block.wireBytes()})
			total++
		}
	})
	if total < 100 {
		t.Fatalf("%d blocks make no test", total)
	}
	for src, list := range of {
		from, window := 0, int64(0)
		for _, x := range list {
			window += x.bytes
			for list[from].at <= x.at-second {
				window -= list[from].bytes
				from++
			}
			if window > 250_000+list[from].bytes {
				t.Fatalf("viewer %d sent %d bytes in the second to %v over 250,000 a second", src, window, duration(x.at))
			}
		}
	}
}

func TestNATsKeepPairsApart(t *testing.T) {
	w := stepped(t, 2, "essaim", "flash-8", "film=20s", "nat=0.5")
	met := 0
	w.play(0, nil)
	for _, d := range w.devices {
		for _, c := range d.conns {
			both := d.symmetric && w.devices[c.peer-firstViewer].symmetric
			if both && (c.hello || c.sent > 0 || c.state == connOpen) {
				t.Errorf("%d and %d are behind such NATs, and met", d.id, c.peer)
			}
			if c.hello {
				met++
			}
		}
	}
	if met == 0 {
		t.Error("nobody met anybody")
	}
	r := simulate(t, 2, "flash-8", "film=20s", "nat=1")
	if f := r.Run.Figures(); f.PeerBytes != 0 {
		t.Errorf("%d bytes passed between NATs", f.PeerBytes)
	}
}

func TestConnectingTakesEightDelaysAndTheWork(t *testing.T) {
	w := stepped(t, 1, "essaim", "restless", "viewers=12", "film=40s", "spread=10s")
	announced := map[uint32]instant{}
	least := instant(1 << 40)
	w.play(0, func(e *event) {
		switch e.kind {
		case evAnnounce:
			if _, ok := announced[e.src]; !ok {
				announced[e.src] = e.at - w.delay
			}
		case evOpen:
			c := w.devices[e.dst-firstViewer].conns[e.conn]
			a, okA := announced[e.dst]
			b, okB := announced[c.peer]
			if !okA || !okB {
				t.Fatalf("%d and %d connect before they announced", e.dst, c.peer)
			}
			least = min(least, e.at-max(a, b))
		}
	})
	if want := 8*w.delay + 100*millisecond; least < want || least > 20*w.delay+100*millisecond {
		t.Errorf("the fastest connection took %v from the later announce on, want %v at least", duration(least), duration(want))
	}
}

func TestLeaversAreNoticed(t *testing.T) {
	for _, silently := range []bool{false, true} {
		w := stepped(t, 1, "essaim", "flash-8", "film=120s")
		leaver := w.devices[3]
		leaver.player.leaveAt, leaver.player.silently = 20*second, silently
		open := func() (n int) {
			for _, d := range w.devices {
				for _, c := range d.conns {
					if !d.gone && c.peer == leaver.id && c.state == connOpen {
						n++
					}
				}
			}
			return n
		}
		w.play(20*second-1, nil)
		if open() == 0 {
			t.Fatal("nobody is connected to the leaver")
		}
		notice := 20*second + w.delay
		if silently {
			w.play(notice+second, nil)
			if open() == 0 {
				t.Error("one who left without a word is missed at once")
			}
			notice += 15 * second
		}
		w.play(notice, nil)
		if n := open(); n > 0 {
			t.Errorf("silently %v: %d still think that they are connected", silently, n)
		}
	}
}

func TestHandsDoTheSameForTheTwin(t *testing.T) {
	type mood struct {
		at instant
		a  int64
	}
	moods := func(policy string) map[uint32][]mood {
		of := map[uint32][]mood{}
		w := stepped(t, 5, policy, "restless", "viewers=10", "film=60s", "seeks=200", "pauses=200")
		w.play(0, func(e *event) {
			if e.kind == evMood && (e.a == moodSeek || e.a == moodPause) {
				of[e.dst] = append(of[e.dst], mood{e.at, e.a})
			}
		})
		return of
	}
	p2p, http := moods("essaim"), moods("http")
	compared := 0
	for id, a := range p2p {
		b := http[id]
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("viewer %d: %v with peers, %v without", id, a[i], b[i])
			}
			compared++
		}
	}
	if compared < 30 {
		t.Errorf("%d seeks and pauses make no test", compared)
	}
}

func TestWrongBytesThatReachThePlayerAreCounted(t *testing.T) {
	w := stepped(t, 1, "essaim", "flash-8", "viewers=1", "film=10s")
	w.play(w.devices[0].arrived, nil)
	s := w.devices[0].seats[0]
	s.tainted = map[uint32]bool{0: true, 70: true}
	w.play(0, nil)
	if bad := w.result().Figures().BadBytesDelivered; bad != 2*bt.BlockSize {
		t.Errorf("%d bad bytes, want two blocks", bad)
	}
}

func TestPollutersBlocksAreRefuted(t *testing.T) {
	w := stepped(t, 1, "essaim", "flash-8", "film=40s", "polluters=0.4")
	sent := 0
	w.play(0, func(e *event) {
		if e.kind == evMessage && e.bad {
			sent++
		}
	})
	if sent == 0 {
		t.Fatal("no wrong block was sent")
	}
	for i, v := range w.result().Viewers {
		if v.BadBytes != 0 || v.Startup < 0 || v.Watched.Seconds() != 40 {
			t.Errorf("viewer %d: %d bad bytes, start-up %v, watched %v", i, v.BadBytes, v.Startup, v.Watched)
		}
	}
}

func TestClaimersClaimAndServeNothingOfIt(t *testing.T) {
	w := stepped(t, 1, "essaim", "stagger-8", "film=40s", "spread=2s", "claimers=0.4")
	claims := map[uint32]pieceRange{}
	w.play(0, func(e *event) {
		if e.kind != evMessage || w.devices[e.src-firstViewer].manner != claimer {
			return
		}
		if e.size == 0 && e.data == nil {
			if claims[e.src].has(uint32(e.a)) {
				t.Fatalf("%d serves piece %d, which it claims", e.src, e.a)
			}
			return
		}
		// Told beside the engine's own messages: length, 20, the receiver's number for it, type.
		if b := e.small[:e.size]; len(b) > 6 && b[4] == byte(wire.Extended) && b[5] == theirEssaim {
			m, err := wire.ParseEssaim(b[6:])
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind == wire.EssaimFetching && m.WithinMs == claimWithin {
				was, now := claims[e.src], pieceRange{m.Piece, m.Piece + uint32(m.Pieces)}
				if was.to > 0 {
					now.from = min(now.from, was.from)
				}
				claims[e.src] = now
			}
		}
	})
	if len(claims) == 0 {
		t.Fatal("nobody claims anything")
	}
	for _, v := range w.result().Viewers {
		if v.Watched.Seconds() != 40 {
			t.Errorf("one watched %v of 40 s", v.Watched)
		}
	}
}
