package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/engine"
	"essaim/internal/tracker"
)

// benchNodeCmd measures what it costs a native host to serve: one other native host takes a film from it over the loopback, each in
// a process of its own.
type benchNodeCmd struct {
	MiB     int    `default:"512" name:"mib" help:"Mebibytes of film, read from and written to files in the folder for temporary ones."`
	Runs    int    `default:"3" help:"Runs of each; the medians are reported."`
	Over    string `default:"both" enum:"tcp,webrtc,both" help:"tcp, webrtc or both."`
	Profile string `type:"path" placeholder:"FOLDER" help:"Write processor profiles of both ends there, for go tool pprof."`
	JSON    bool   `name:"json" help:"Print one JSON object."`
}

// NodeBench is the outcome of RunNodeBench. MB are 10^6 bytes of film, GB 10^9; what was not measured is 0.
type NodeBench struct {
	TCPMBPerS          float64 `json:"tcp_mb_per_s"`
	TCPCPUPerGB        float64 `json:"tcp_cpu_s_per_gb"`         // processor time of the serving process
	TCPLeecherCPUPerGB float64 `json:"tcp_leecher_cpu_s_per_gb"` // and of the one that takes, verifies and writes
	RTCMBPerS          float64 `json:"webrtc_mb_per_s"`
	RTCCPUPerGB        float64 `json:"webrtc_cpu_s_per_gb"`
	RTCLeecherCPUPerGB float64 `json:"webrtc_leecher_cpu_s_per_gb"`
	RTCMBPerCPU        float64 `json:"webrtc_mb_per_core_s"` // served, per second of the serving process's processor time
	Bytes              int64   `json:"bytes"`                // of a run
	Cores              int     `json:"cores"`
	Runs               int     `json:"runs"`
}

const nodeMiBMax = 4 << 10 // it stands on the disk twice

// Validate implements kong's interface of that name.
func (c *benchNodeCmd) Validate() error {
	if c.MiB < 1 || c.MiB > nodeMiBMax || c.Runs < 1 || c.Runs > benchRunsMax {
		return fmt.Errorf("--mib must be 1 to %d, and --runs 1 to %d", nodeMiBMax, benchRunsMax)
	}
	return nil
}

// Run measures and prints.
func (c *benchNodeCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := RunNodeBench(ctx, *c, func(ctx context.Context, args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, self, append([]string{"bench", "end"}, args...)...)
	}, os.Stderr)
	switch {
	case err != nil && ctx.Err() != nil:
		return errors.New("interrupted; there is no result")
	case err != nil:
		return err
	}
	return c.print(b, os.Stdout)
}

func (c *benchNodeCmd) print(b NodeBench, to io.Writer) error {
	if c.JSON {
		return json.NewEncoder(to).Encode(b)
	}
	_, err := fmt.Fprintf(to, "TCP: %.0f MB/s, %.1f + %.1f s of processor time per GB to serve and to take\n"+
		"WebRTC: %.0f MB/s, %.1f + %.1f s per GB; %.1f MB served per second of processor time\n",
		b.TCPMBPerS, b.TCPCPUPerGB, b.TCPLeecherCPUPerGB, b.RTCMBPerS, b.RTCCPUPerGB, b.RTCLeecherCPUPerGB, b.RTCMBPerCPU)
	return err
}

// RunNodeBench measures c.Runs times. end is the command of either end (benchEndCmd's Run) with those arguments; the tracker and the
// hashes that the taker asks for are this process's, which is not measured. Progress goes to log.
func RunNodeBench(ctx context.Context, c benchNodeCmd, end func(ctx context.Context, args ...string) *exec.Cmd, log io.Writer) (b NodeBench, err error) {
	b = NodeBench{Cores: runtime.GOMAXPROCS(0), Runs: c.Runs, Bytes: int64(c.MiB) << 20}
	dir, err := os.MkdirTemp("", "essaim-bench-")
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := writeNodeFilm(ctx, dir, b.Bytes); err != nil {
		return b, err
	}
	if c.Profile != "" {
		if err := os.MkdirAll(c.Profile, 0o755); err != nil {
			return b, err
		}
	}
	for _, x := range []struct {
		over               string
		rate, serves, take *float64
	}{{"tcp", &b.TCPMBPerS, &b.TCPCPUPerGB, &b.TCPLeecherCPUPerGB}, {"webrtc", &b.RTCMBPerS, &b.RTCCPUPerGB, &b.RTCLeecherCPUPerGB}} {
		if c.Over != x.over && c.Over != "both" {
			continue
		}
		var rate, serves, takes []float64
		for run := range c.Runs {
			s, t, err := nodeRun(ctx, dir, x.over, c.Profile, end)
			if err != nil {
				return b, fmt.Errorf("bench over %s: %w", x.over, err)
			}
			gb := float64(t.PeerBytes) / 1e9
			rate, serves, takes = append(rate, 1e3*gb/t.Seconds), append(serves, s/gb), append(takes, t.CPUSeconds/gb)
			fmt.Fprintf(log, "%s, run %d of %d: %.0f MB/s, %.2f and %.2f s of processor time per GB\n",
				x.over, run+1, c.Runs, rate[run], serves[run], takes[run])
		}
		*x.rate, *x.serves, *x.take = median(rate), median(serves), median(takes)
	}
	if b.RTCCPUPerGB > 0 {
		b.RTCMBPerCPU = 1e3 / b.RTCCPUPerGB
	}
	return b, nil
}

// The files of a bench: the film, its leaf layer, its torrent.
const (
	nodeFilm    = "film.mp4"
	nodeLeaves  = "leaves"
	nodeTorrent = "film.torrent"
)

// writeNodeFilm writes a film of random bytes into a folder.
func writeNodeFilm(ctx context.Context, dir string, size int64) error {
	name := filepath.Join(dir, nodeFilm)
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), size)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	source := metainfo.Source{Path: nodeFilm, Size: size, Open: func() (io.ReadCloser, error) { return os.Open(name) }}
	t, err := metainfo.Create(ctx, []metainfo.Source{source}, metainfo.Options{Name: "bench", PieceLength: benchPieceLength})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, nodeTorrent), t.Bytes, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, nodeLeaves), bt.AppendDigests(nil, t.Files[0].Leaves), 0o600)
}

// nodeTitle reads what writeNodeFilm wrote of the title.
func nodeTitle(dir string) (t engine.Title, torrent *metainfo.Torrent, leaves []bt.Digest, err error) {
	b, err := os.ReadFile(filepath.Join(dir, nodeTorrent))
	if err != nil {
		return t, nil, nil, err
	}
	if torrent, err = metainfo.Parse(b); err != nil {
		return t, nil, nil, err
	}
	if b, err = os.ReadFile(filepath.Join(dir, nodeLeaves)); err != nil {
		return t, nil, nil, err
	}
	if leaves, err = bt.ParseDigests(b); err != nil {
		return t, nil, nil, err
	}
	f := &torrent.Files[0]
	return engine.Title{
		PieceLength: torrent.PieceLength, InfoHash: torrent.InfoHash, InfoHashV2: torrent.InfoHashV2.Truncated(),
		Files: []engine.TitleFile{{Size: uint64(f.Size), Root: f.Root, Track: engine.TrackVideo}},
	}, torrent, leaves, nil
}

// nodeRun has one host take the film from another, and returns the processor time that serving took, and the taker's account.
func nodeRun(ctx context.Context, dir, over, profile string, end func(context.Context, ...string) *exec.Cmd) (serving float64, t endTold, err error) {
	place, closing, err := openNodePlace(dir)
	if err != nil {
		return 0, t, err
	}
	defer func() { err = errors.Join(err, closing()) }()
	begin := func(name string, args ...string) (*endProcess, error) {
		args = append(args, "--folder", dir, "--place", place.url)
		if profile != "" {
			args = append(args, "--profile", filepath.Join(profile, over+"-"+name+".pprof"))
		}
		return startEnd(ctx, func(ctx context.Context) *exec.Cmd { return end(ctx, args...) })
	}
	seed, err := begin("seed", "--over", over)
	if err != nil {
		return 0, t, err
	}
	defer func() { err = errors.Join(err, seed.end()) }()
	if seed.first.Address != "" {
		at, err := netip.ParseAddrPort(seed.first.Address)
		if err != nil {
			return 0, t, err
		}
		place.seed.Store(&at)
	}
	leech, err := begin("leech", "--over", over, "--take")
	if err != nil {
		return 0, t, err
	}
	defer func() { err = errors.Join(err, leech.end()) }()
	before, err := seed.ask()
	if err != nil {
		return 0, t, err
	}
	if t, err = leech.ask(); err != nil {
		return 0, t, err
	}
	after, err := seed.ask()
	switch {
	case err != nil:
		return 0, t, err
	case t.PeerBytes == 0 || t.OriginBytes != 0:
		return 0, t, fmt.Errorf("%d bytes came from the other host, and %d from elsewhere", t.PeerBytes, t.OriginBytes)
	}
	return after.CPUSeconds - before.CPUSeconds, t, nil
}

// nodePlace is what both ends find at an address: the trackers of both kinds, and the hashes.
type nodePlace struct {
	url  string
	seed atomic.Pointer[netip.AddrPort] // whom HTTP announces are told of, once it is known
}

func openNodePlace(dir string) (p *nodePlace, closing func() error, err error) {
	title, _, leaves, err := nodeTitle(dir)
	if err != nil {
		return nil, nil, err
	}
	film := &benchFilm{title: title, tree: bt.NewTree(leaves, int(title.PieceLength/bt.BlockSize))}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	p = &nodePlace{url: "http://" + ln.Addr().String()}
	door := tracker.New(tracker.Config{Titles: benchTitles{film: film}, LAN: true})
	mux := http.NewServeMux()
	mux.Handle("/tracker", door)
	mux.Handle("/announce", tracker.NewAnnouncer(tracker.HTTPConfig{
		Titles: benchTitles{film: film}, Own: func(netip.Addr) (netip.AddrPort, bool) {
			if at := p.seed.Load(); at != nil {
				return *at, true
			}
			return netip.AddrPort{}, false
		},
	}))
	mux.HandleFunc("GET /hashes/{root}", film.serveHashes)
	mux.HandleFunc("GET /media/{root}", func(w http.ResponseWriter, _ *http.Request) { // so that all comes from the peer
		http.Error(w, "there are peers", http.StatusServiceUnavailable)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	return p, func() error {
		gone, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = door.Shutdown(gone) // what is left closes with the server
		err := server.Close()
		<-served
		return err
	}, nil
}

// endProcess is one end, running.
type endProcess struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	in     io.WriteCloser
	out    *bufio.Scanner
	first  endTold
}

// endWithin is how long an end may take for a word: to connect, or to take the film.
const endWithin = 10 * time.Minute

// startEnd starts an end and waits until it is ready.
func startEnd(ctx context.Context, command func(context.Context) *exec.Cmd) (p *endProcess, err error) {
	ctx, cancel := context.WithCancel(ctx)
	p = &endProcess{cmd: command(ctx), cancel: cancel}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start an end: %w", err)
	}
	p.out = bufio.NewScanner(out)
	if p.first, err = p.next(); err != nil {
		return nil, errors.Join(fmt.Errorf("start an end: %w", err), p.end())
	}
	return p, nil
}

// ask says go on, and waits for the account.
func (p *endProcess) ask() (t endTold, err error) {
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return t, err
	}
	return p.next()
}

func (p *endProcess) next() (t endTold, err error) {
	slow := time.AfterFunc(endWithin, p.cancel)
	defer slow.Stop()
	for p.out.Scan() {
		if line := p.out.Text(); strings.HasPrefix(line, "{") { // others are a test's
			return t, json.Unmarshal([]byte(line), &t)
		}
	}
	return t, errors.New("it has ended")
}

// end lets the process end, and waits until it has.
func (p *endProcess) end() error {
	defer p.cancel()
	_ = p.in.Close()
	slow := time.AfterFunc(20*time.Second, p.cancel)
	defer slow.Stop()
	return p.cmd.Wait()
}
