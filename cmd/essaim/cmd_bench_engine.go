package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
)

// benchEngineCmd measures what the engine costs: a block's way through it, and its share of a viewer's processor time.
type benchEngineCmd struct {
	Runs    int     `default:"5" help:"Runs of each measurement; the medians are reported."`
	Blocks  int     `default:"50000" help:"Blocks of 16 KiB that pass through the engine in a run."`
	Seconds int     `default:"30" help:"Length of the film that a viewer streams in a run; the first 10 s are fetched at once."`
	Rate    bitRate `default:"8M" help:"The film's bit rate, in bits per second: 8M, 2500k."`
	JSON    bool    `name:"json" help:"Print one JSON object."`
}

// EngineBench is the outcome of RunEngineBench.
type EngineBench struct {
	NsPerBlock     float64 `json:"ns_per_block"`     // of Step, for a block of 16 KiB: its header, its digest, and what follows
	AllocsPerBlock float64 `json:"allocs_per_block"` // of the whole process meanwhile
	CPUShare       float64 `json:"cpu_share"`        // processor time in Step ÷ that of the process, while it streams from two seeds
	CPUSeconds     float64 `json:"cpu_s"`            // the process's, of a run
	StepNs         float64 `json:"step_ns"`          // processor time of a Step while streaming, on average
	PeerShare      float64 `json:"peer_share"`       // of the bytes that the viewer got, those from the seeds
	MbitPerS       float64 `json:"mbit_per_s"`       // the film's
	FilmSeconds    int     `json:"film_s"`
	Cores          int     `json:"cores"`
	Runs           int     `json:"runs"`
}

const (
	benchBlocksMax = 100_000_000
	benchFilmMax   = 128 << 20 // it is held in memory, four times
)

// Validate implements kong's interface of that name.
func (c *benchEngineCmd) Validate() error {
	if c.Runs < 1 || c.Runs > benchRunsMax || c.Blocks < 1 || c.Blocks > benchBlocksMax {
		return fmt.Errorf("--runs must be 1 to %d, and --blocks 1 to %d", benchRunsMax, benchBlocksMax)
	}
	return checkBenchFilm(c.Seconds, c.Rate)
}

func checkBenchFilm(seconds int, rate bitRate) error {
	if seconds < 2 || seconds > 3600 || rate < 100_000 || rate > 1e9 || int64(seconds)*rate.BytesPerSecond() > benchFilmMax {
		return fmt.Errorf("--seconds must be 2 to 3600 and --rate 100k to 1G, and the film %d MiB at most", benchFilmMax>>20)
	}
	return nil
}

// Run measures and prints.
func (c *benchEngineCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	seeds := func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, self, "bench", "seeds", "--seconds", strconv.Itoa(c.Seconds), "--rate", strconv.FormatInt(int64(c.Rate), 10))
	}
	b, err := RunEngineBench(ctx, *c, seeds, os.Stderr)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted; there is no result")
	case err != nil:
		return err
	case c.JSON:
		return json.NewEncoder(os.Stdout).Encode(b)
	}
	fmt.Printf("A block through the engine: %.0f ns, %.3f allocations\n", b.NsPerBlock, b.AllocsPerBlock)
	fmt.Printf("Streaming %g Mbit/s from two seeds: %.1f %% of the viewer's processor time in the engine\n", b.MbitPerS, 100*b.CPUShare)
	fmt.Printf("  %.2f s of processor time in all for %d s of film; %.0f %% of the bytes came from the seeds; a step took %.1f µs\n",
		b.CPUSeconds, b.FilmSeconds, 100*b.PeerShare, b.StepNs/1000)
	return nil
}

// RunEngineBench measures c.Runs times. seeds is the command that runs the seeds, in a process of their own (benchSeedsCmd's Run),
// so that this process's time is the viewer's alone. Progress goes to log.
func RunEngineBench(ctx context.Context, c benchEngineCmd, seeds func(context.Context) *exec.Cmd, log io.Writer) (EngineBench, error) {
	var ns, allocs, share, cpu, step, peers []float64
	for run := range c.Runs {
		n, a, err := blockPath(ctx, c.Blocks)
		if err != nil {
			return EngineBench{}, err
		}
		ns, allocs = append(ns, n), append(allocs, a)
		fmt.Fprintf(log, "blocks, run %d of %d: %.0f ns, %.3f allocations\n", run+1, c.Runs, n, a)
	}
	film := newBenchFilm(c.Seconds, c.Rate.BytesPerSecond(), benchPieceLength)
	from, stop, err := startSeeds(ctx, seeds)
	if err != nil {
		return EngineBench{}, err
	}
	defer stop()
	for run := range c.Runs {
		s, err := stream(ctx, film, from)
		if err != nil {
			return EngineBench{}, err
		}
		share, cpu = append(share, s.inStep.Seconds()/s.cpu.Seconds()), append(cpu, s.cpu.Seconds())
		step = append(step, float64(s.inStep.Nanoseconds())/float64(max(s.steps, 1)))
		peers = append(peers, float64(s.stats.PeerBytes)/float64(max(s.stats.PeerBytes+s.stats.OriginBytes, 1)))
		fmt.Fprintf(log, "streaming, run %d of %d: %.1f %% of %.2f s of processor time in %d steps; %.0f %% of the bytes from the seeds\n",
			run+1, c.Runs, 100*share[run], cpu[run], s.steps, 100*peers[run])
	}
	return EngineBench{
		NsPerBlock: median(ns), AllocsPerBlock: median(allocs), CPUShare: median(share), CPUSeconds: median(cpu), StepNs: median(step),
		PeerShare: median(peers), MbitPerS: float64(c.Rate) / 1e6, FilmSeconds: c.Seconds, Cores: runtime.GOMAXPROCS(0), Runs: c.Runs,
	}, nil
}

// benchFilm is a film of one file, random bytes, in segments of two seconds. The same arguments give the same film in any process.
type benchFilm struct {
	title   engine.Title
	data    []byte
	tree    *bt.Tree
	digests []bt.Digest // of each block
	index   index.Index
}

// benchHead is what stands before the first segment, as an initialisation segment and an index would.
const benchHead = 1000

func newBenchFilm(seconds int, bytesPerSecond int64, pieceLength uint32) *benchFilm {
	f := &benchFilm{data: make([]byte, benchHead+int64(seconds)*bytesPerSecond)}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(f.data) // it never fails
	for at := 0; at < len(f.data); at += bt.BlockSize {
		f.digests = append(f.digests, sha256.Sum256(f.data[at:min(at+bt.BlockSize, len(f.data))]))
	}
	f.tree = bt.NewTree(f.digests, int(pieceLength/bt.BlockSize))
	for s := 0; s < seconds; s += 2 {
		end := min(s+2, seconds)
		f.index = append(f.index, index.Segment{
			From: benchHead + uint64(int64(s)*bytesPerSecond), To: benchHead + uint64(int64(end)*bytesPerSecond),
			StartMs: uint32(s * 1000), DurationMs: uint32((end - s) * 1000),
		})
	}
	f.title = engine.Title{
		PieceLength: pieceLength, InfoHash: bt.InfoHash{1}, InfoHashV2: bt.InfoHash{2},
		Files: []engine.TitleFile{{Size: uint64(len(f.data)), Root: f.tree.Root(), Track: engine.TrackVideo}},
	}
	return f
}

// blockPath passes n blocks from eight peers through a fresh engine, and returns the time and the allocations of each. What is
// stored is evicted at once, so that there is always something to ask for.
func blockPath(ctx context.Context, n int) (ns, allocs float64, err error) {
	p := newBlockPipe()
	for range 2_000 { // until all that grows has grown
		if err := p.block(); err != nil {
			return 0, 0, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for i := range n {
		if i%4096 == 0 && ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		if err := p.block(); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return float64(took.Nanoseconds()) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
}

// blockPipe is an engine and eight peers who have everything and answer every request.
type blockPipe struct {
	film   *benchFilm
	engine *engine.Engine
	now    engine.Instant
	out    []engine.Output
	owed   []owedBlock // oldest first, from next on
	next   int
	stored []uint32
	hashes []engine.Output
	head   []byte // of a piece message
}

type owedBlock struct {
	peer engine.PeerRef
	wire.Request
}

func newBlockPipe() *blockPipe {
	p := &blockPipe{film: newBenchFilm(40, 200_000, benchPieceLength), engine: engine.New()}
	title := p.film.title
	title.Seed = 1
	copy(title.PeerID[:], "-ES0001-bench.viewer")
	p.step(engine.Input{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)})
	p.step(engine.Input{Kind: engine.IndexLoaded, Data: p.film.index.AppendBinary(nil)})
	p.step(engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload})
	p.step(engine.Input{Kind: engine.PlaybackMoved, To: 15_000, Flags: engine.FlagPaused, Length: 1000})
	p.step(engine.Input{Kind: engine.RenditionChosen})
	for ref := engine.PeerRef(1); ref <= 8; ref++ {
		var id bt.PeerID
		copy(id[:], "-ES0001-bench.seed."+strconv.Itoa(int(ref)))
		hello := wire.AppendHandshake(nil, wire.Handshake{InfoHash: title.InfoHash, PeerID: id, Fast: true})
		p.step(engine.Input{Kind: engine.PeerConnected, Peer: ref, Data: id[:]})
		p.step(engine.Input{Kind: engine.MessageReceived, Flags: engine.FlagHandshake, Peer: ref, Data: hello})
		p.step(engine.Input{Kind: engine.MessageReceived, Peer: ref, Data: wire.AppendHaveAll(nil)[4:]})
		p.step(engine.Input{Kind: engine.MessageReceived, Peer: ref, Data: wire.AppendUnchoke(nil)[4:]})
	}
	return p
}

// step applies in and notes what is asked of the peers and the host.
func (p *blockPipe) step(in engine.Input) {
	p.out = p.engine.Step(p.now, in, p.out[:0])
	for i := range p.out {
		switch o := &p.out[i]; o.Kind {
		case engine.SendMessage:
			if len(o.Data) == 17 && wire.ID(o.Data[4]) == wire.RequestBlock {
				m, _ := wire.Parse(o.Data[4:]) // the engine's own message is well formed
				p.owed = append(p.owed, owedBlock{o.Peer, m.Request})
			}
		case engine.Store:
			p.stored = append(p.stored, o.Piece)
		case engine.RequestHashes:
			p.hashes = append(p.hashes, *o)
		}
	}
}

var errNothingAsked = errors.New("bench: the engine asks for nothing any more")

// block answers the oldest request.
func (p *blockPipe) block() error {
	for len(p.hashes) > 0 {
		o := p.hashes[0]
		p.hashes = append(p.hashes[:0], p.hashes[1:]...)
		answer, err := p.film.tree.Answer(bt.HashRequest{
			Root: p.film.title.Files[0].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof,
		})
		if err != nil {
			return fmt.Errorf("bench: the engine asks for hashes: %w", err)
		}
		p.step(engine.Input{Kind: engine.HashesReceived, Ref: o.Ref, Data: bt.AppendDigests(nil, answer)})
	}
	if p.next == len(p.owed) {
		return errNothingAsked
	}
	o := p.owed[p.next]
	if p.next++; p.next == 1024 {
		n := copy(p.owed, p.owed[p.next:])
		p.owed, p.next = p.owed[:n], 0
	}
	p.now += 2_000
	p.head = wire.AppendPieceHeader(p.head[:0], o.Piece, o.Begin, o.Length)
	p.step(engine.Input{Kind: engine.MessageReceived, Peer: o.peer, Data: p.head[4:], Length: o.Length})
	digest := p.film.digests[(o.Piece*benchPieceLength+o.Begin)/bt.BlockSize]
	p.step(engine.Input{Kind: engine.Hashed, Peer: o.peer, Piece: o.Piece, Begin: o.Begin, Digest: digest})
	for len(p.stored) > 0 {
		piece := p.stored[0]
		p.stored = append(p.stored[:0], p.stored[1:]...)
		p.step(engine.Input{Kind: engine.Stored, Piece: piece})
		p.step(engine.Input{Kind: engine.Evicted, Piece: piece})
	}
	return nil
}
