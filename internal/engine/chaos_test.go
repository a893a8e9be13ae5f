package engine_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

var (
	chaosSeed    = flag.Int64("seed", -1, "play the chaos run of this seed alone")
	chaosSeeds   = flag.Int("seeds", 0, "how many chaos runs to play (0: a few dozen, fewer under the race detector)")
	chaosFrom    = flag.Uint64("from", 0, "the first seed of the chaos runs")
	chaosWithout = flag.String("without", "", "faults to leave out of chaos runs, separated by commas: for finding which of them matter")
	chaosTrace   = flag.Bool("steps", false, "print every step of a chaos run; use it with -seed")
)

// keptSeeds holds the seeds that once failed, one a line with what they found.
const keptSeeds = "testdata/seeds/chaos.txt"

// TestChaos plays made-up worlds with named faults, each from a seed, and holds every step of every engine against the
// invariants of audit: nothing unverified stored, sent or delivered, nothing lost, nothing fetched twice from the origin
// without cause, everything bounded, the protocols kept, and progress while the origin lives. Seeds that once failed are
// played first (testdata/seeds/chaos.txt: add yours).
func TestChaos(t *testing.T) {
	seeds := kept(t)
	switch {
	case *chaosSeed >= 0:
		seeds = []uint64{uint64(*chaosSeed)}
	default:
		n := *chaosSeeds
		if n == 0 {
			n = 60
			if raceDetector {
				n = 8
			}
		}
		for i := range uint64(n) {
			seeds = append(seeds, *chaosFrom+i)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	began, steps, film := time.Now(), 0, 0
	var slowest engine.Instant
	outputs, closest := 0, 0
	for range min(runtime.GOMAXPROCS(0), 8) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(seeds) {
					return
				}
				seed := seeds[i]
				w, err := playChaos(seed)
				if err == nil && i%16 == 0 {
					if again, err2 := playChaos(seed); err2 != nil || again.digest.Sum64() != w.digest.Sum64() {
						err = fmt.Errorf("the same seed gave other outputs (%v)", err2)
					}
				}
				mu.Lock()
				if err != nil {
					t.Errorf("seed %d (%s):\n%v\nto see it again: go test ./internal/engine -run 'TestChaos$' -seed %d", seed, w.faults, err, seed)
				}
				steps, film = steps+w.steps, film+int(w.now/second)
				outputs = max(outputs, w.most.outputs)
				for _, h := range w.hosts {
					slowest, closest = max(slowest, h.audit.worst), max(closest, h.audit.close)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d seeds, %d steps, %d s of virtual time in %.1f s; at most %d %% of the outputs allowed; slowest range %.1f s, or %d %% of what it was allowed",
		len(seeds), steps, film, time.Since(began).Seconds(), outputs, float64(slowest)/1e6, closest)
}

// kept reads the seeds that once failed.
func kept(t *testing.T) (seeds []uint64) {
	f, err := os.Open(keptSeeds)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		field, _, _ := strings.Cut(lines.Text(), " ")
		if field == "" || field[0] == '#' {
			continue
		}
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", keptSeeds, err)
		}
		seeds = append(seeds, n)
	}
	return seeds
}

// playChaos plays one run: a time of faults, then one in which only the network and the neighbours misbehave, to the film's
// end, and at last the orderly end of sharing.
func playChaos(seed uint64) (w *chaos, err error) {
	w = &chaos{seed: seed, faults: drawFaults(seed, strings.Split(*chaosWithout, ","))}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case violation:
			err = fmt.Errorf("%s", string(r))
		default:
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	w.open()
	if *chaosTrace {
		w.onStep = printStep
	}
	never := func() bool { return false }
	w.watch()
	w.run(ms(stream(seed, "healing"), 8000, 30_000), never)
	w.heal()
	w.run(w.now+graceAfter+engine.Instant(w.film.seconds())*3*second+120*second, w.whole)
	if !w.whole() {
		for _, h := range w.hosts {
			if p := h.player; !p.whole {
				h.audit.fail("the film is not delivered whole: at %d ms, segments %d and %d of %d", p.posMs, p.tracks[0].next, p.tracks[1].next, len(w.film.indexes[0]))
			}
		}
	}
	w.close()
	return w, nil
}

// watch looks twice a second for ranges that wait too long.
func (w *chaos) watch() {
	w.after(500_000, w.watch)
	for _, h := range w.hosts {
		h.audit.overdue()
	}
}

func (w *chaos) heal() {
	w.healed, w.healedAt = true, w.now
	for _, h := range w.hosts {
		h.heal()
	}
}

func (w *chaos) whole() bool {
	for _, h := range w.hosts {
		if !h.player.whole {
			return false
		}
	}
	return true
}

// close ends uploading, after which no request of a fast peer may be left unanswered, and then sharing.
func (w *chaos) close() {
	for _, h := range w.hosts {
		h.step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers})
		for _, p := range h.audit.peers {
			for q, wish := range p.wishes {
				if p.fast && wish.least > 0 {
					h.audit.fail("peer %d has no answer to its request %+v", p.ref, q)
				}
			}
		}
	}
	for _, h := range w.hosts {
		h.step(engine.Input{Kind: engine.PolicyChanged})
		for _, ref := range append([]engine.Ref(nil), h.audit.order...) {
			h.player.cancel(ref)
		}
	}
}

// TestChaosEngineStaysSmall measures the heap that an engine holds at the end of a run full of faults.
func TestChaosEngineStaysSmall(t *testing.T) {
	const most = 4 << 20
	for _, seed := range []uint64{1, 2, 3} {
		w, err := playChaos(seed)
		if err != nil {
			t.Skip("TestChaos tells why")
		}
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		with := heap()
		for _, h := range w.hosts {
			h.engine = nil
		}
		if held := int64(with - heap()); held > most*int64(len(w.hosts)) {
			t.Errorf("seed %d: %d engines hold %d bytes", seed, len(w.hosts), held)
		}
		runtime.KeepAlive(w)
	}
}

func printStep(h *chaosHost, now engine.Instant, in *engine.Input, out []engine.Output) {
	fmt.Printf("%s %s\n", h.id, inputLine(now, in))
	for i := range out {
		fmt.Println(outputLine(&out[i]))
	}
}

// inputLine is an input for people.
func inputLine(now engine.Instant, in *engine.Input) string {
	names := [...]string{
		engine.TitleOpened: "title", engine.IndexLoaded: "index", engine.StoreRestored: "restored", engine.RangeWanted: "want",
		engine.RangeCancelled: "cancel", engine.Introduced: "introduced", engine.PeerConnected: "connected", engine.PeerClosed: "closed",
		engine.Revoked: "revoked", engine.MessageReceived: "message", engine.SendQueue: "queue", engine.FetchProgress: "progress",
		engine.FetchDone: "done", engine.FetchFailed: "failed", engine.Hashed: "hashed", engine.HashesReceived: "hashes", engine.Stored: "stored",
		engine.Evicted: "evicted", engine.PlaybackMoved: "moved", engine.Seeked: "seeked", engine.RenditionChosen: "chosen",
		engine.PolicyChanged: "policy", engine.Tick: "tick", engine.SwarmCounted: "count", engine.PathMeasured: "path",
		engine.StoreFound: "found", engine.Checked: "checked", engine.StoreBounded: "bounded",
		engine.PieceHashed: "piecehashed",
	}
	name := fmt.Sprint("input ", in.Kind)
	if int(in.Kind) < len(names) {
		name = names[in.Kind]
	}
	return fmt.Sprintf("%12.3f %s peer=%d ref=%d file=%d piece=%d begin=%d length=%d from=%d to=%d flags=%d reason=%d %s", float64(now)/1e6, name,
		in.Peer, in.Ref, in.File, in.Piece, in.Begin, in.Length, in.From, in.To, in.Flags, in.Reason, messageText(in.Data, in.Kind == engine.MessageReceived))
}

// outputLine is an output for people.
func outputLine(o *engine.Output) string {
	names := [...]string{
		engine.RangeReady: "ready", engine.RangeFailed: "fail", engine.FetchRange: "fetch", engine.CancelFetch: "cancelfetch", engine.Dial: "dial",
		engine.ClosePeer: "close", engine.Announce: "announce", engine.SendMessage: "send", engine.SendBlock: "block", engine.Discard: "discard",
		engine.Hash: "hash", engine.RequestHashes: "askhashes", engine.Store: "store", engine.Evict: "evict", engine.Note: "note",
		engine.Check: "check", engine.EvictFile: "evictfile", engine.Mark: "mark",
		engine.HashPiece: "hashpiece",
	}
	name := fmt.Sprint("output ", o.Kind)
	if int(o.Kind) < len(names) {
		name = names[o.Kind]
	}
	data := o.Data
	if o.Kind == engine.SendMessage && len(data) > 4 && len(data) != wire.HandshakeSize {
		data = data[4:]
	}
	return fmt.Sprintf("               > %s note=%d peer=%d ref=%d file=%d piece=%d begin=%d length=%d from=%d to=%d flags=%d reason=%d %s", name,
		o.Note, o.Peer, o.Ref, o.File, o.Piece, o.Begin, o.Length, o.From, o.To, o.Flags, o.Reason, messageText(data, o.Kind == engine.SendMessage))
}

func messageText(b []byte, message bool) string {
	if m, err := wire.Parse(b); message && err == nil {
		return fmt.Sprintf("id %d %+v", m.ID, m.Request)
	}
	return fmt.Sprintf("%.24x", b)
}
