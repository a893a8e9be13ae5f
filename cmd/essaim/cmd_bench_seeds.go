package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"essaim/internal/bt"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/tracker"
	"essaim/internal/vod"
)

// benchSeedsCmd is the other end of `essaim bench engine`: an origin, a tracker and two seeds, until its input ends.
type benchSeedsCmd struct {
	Seconds int     `default:"30" help:"Length of the film."`
	Rate    bitRate `default:"8M" help:"Its bit rate."`
}

// Validate implements kong's interface of that name.
func (c *benchSeedsCmd) Validate() error { return checkBenchFilm(c.Seconds, c.Rate) }

// Run serves until standard input ends, which it does with the process that started this one.
func (c *benchSeedsCmd) Run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := serveSeeds(ctx, newBenchFilm(c.Seconds, c.Rate.BytesPerSecond(), benchPieceLength), os.Stdout)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// benchSeeds is how many a viewer streams from.
const benchSeeds = 2

// serveSeeds runs until ctx ends. When every seed holds the whole film, it writes one line to ready: the place's address.
func serveSeeds(ctx context.Context, film *benchFilm, ready io.Writer) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	door := tracker.New(tracker.Config{Titles: benchTitles{film: film}, LAN: true})
	mux := http.NewServeMux()
	mux.Handle("/tracker", door)
	mux.HandleFunc("GET /media/{root}", film.serveMedia)
	mux.HandleFunc("GET /hashes/{root}", film.serveHashes)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		gone, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = door.Shutdown(gone) // what is left closes with the server
		err = errors.Join(err, server.Close())
		<-served
	}()
	place := "http://" + listener.Addr().String()
	for range benchSeeds {
		h, err := native.Open(ctx, film.config(place))
		if err != nil {
			return err
		}
		defer h.Close()
		h.Rendition(0)
		for at := int64(0); at < int64(len(film.data)); at += 1 << 20 {
			if _, err := h.ReadRange(ctx, 0, at, min(at+1<<20, int64(len(film.data)))); err != nil {
				return fmt.Errorf("fill a seed: %w", err)
			}
		}
	}
	if _, err := fmt.Fprintln(ready, place); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// config is a host's that takes the film from the given place.
func (f *benchFilm) config(place string) native.Config {
	return native.Config{
		Title: f.title, Indexes: [][]byte{f.index.AppendBinary(nil)},
		Origins: []string{place}, Trackers: []string{"ws" + strings.TrimPrefix(place, "http") + "/tracker"},
		Policy: native.Policy{Peers: true, Upload: true}, LAN: true,
	}
}

func (f *benchFilm) serveMedia(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}

func (f *benchFilm) serveHashes(w http.ResponseWriter, r *http.Request) {
	ask := bt.HashRequest{Root: f.title.Files[0].Root}
	for name, to := range map[string]*uint32{"base": &ask.Base, "index": &ask.Index, "length": &ask.Length, "proof": &ask.Proof} {
		n, err := strconv.ParseUint(r.URL.Query().Get(name), 10, 32)
		if err != nil {
			http.Error(w, "malformed "+name, http.StatusBadRequest)
			return
		}
		*to = uint32(n)
	}
	digests, err := f.tree.Answer(ask)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(bt.AppendDigests(nil, digests))
}

// benchTitles is a catalogue of one open title, as much of it as a tracker asks for.
type benchTitles struct {
	vod.Titles
	film *benchFilm
}

// BySwarm implements vod.Titles.
func (t benchTitles) BySwarm(_ context.Context, h bt.InfoHash) (vod.Title, error) {
	if h != t.film.title.InfoHash && h != t.film.title.InfoHashV2 {
		return vod.Title{}, vod.ErrNotFound
	}
	v := vod.Version{InfoHashV1: t.film.title.InfoHash, PieceLength: t.film.title.PieceLength}
	copy(v.InfoHashV2[:], t.film.title.InfoHashV2[:])
	return vod.Title{ID: "bench", Open: true, Version: v}, nil
}

// startSeeds starts the seeds' process and waits until they are full. stop ends it.
func startSeeds(ctx context.Context, command func(context.Context) *exec.Cmd) (place string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	c := command(ctx)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		cancel()
		return "", nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		cancel()
		return "", nil, err
	}
	if err := c.Start(); err != nil {
		cancel()
		return "", nil, fmt.Errorf("start the seeds: %w", err)
	}
	stop = func() {
		in.Close() // they end by themselves,
		slow := time.AfterFunc(5*time.Second, cancel)
		_ = c.Wait() // or are ended
		slow.Stop()
		cancel()
	}
	slow := time.AfterFunc(time.Minute, cancel)
	line, err := bufio.NewReader(out).ReadString('\n')
	slow.Stop()
	if err == nil && !strings.HasPrefix(line, "http://") {
		err = fmt.Errorf("they say %q", line)
	}
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("start the seeds: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// streamed is what streaming the film cost.
type streamed struct {
	cpu, inStep time.Duration
	steps       int64
	stats       native.Stats
}

// playerAhead is how much film a player wants to have.
const playerAhead = 10 * time.Second

// stream plays the film in real time, from the moment at which both seeds are connected.
func stream(ctx context.Context, film *benchFilm, place string) (streamed, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	meter := &stepMeter{engine: engine.New()}
	up, connected := 0, make(chan struct{})
	config := film.config(place)
	config.Engine = meter
	config.Note = func(o engine.Output) {
		if o.Note == engine.NotePeerUp {
			if up++; up == benchSeeds {
				close(connected)
			}
		}
	}
	h, err := native.Open(ctx, config)
	if err != nil {
		return streamed{}, err
	}
	defer h.Close()
	h.Rendition(0)
	h.Moved(native.Playback{Position: -20 * time.Second, Paused: true}) // in no hurry yet
	select {
	case <-connected:
	case <-time.After(30 * time.Second):
		return streamed{}, errors.New("stream: the seeds could not be reached within 30 s")
	case <-ctx.Done():
		return streamed{}, ctx.Err()
	}
	runtime.GC() // of what came before
	cpu, inStep, steps := cpuTime(), meter.cpu.Load(), meter.steps.Load()
	if err := play(ctx, h, film); err != nil {
		return streamed{}, err
	}
	return streamed{
		cpu: cpuTime() - cpu, inStep: time.Duration(meter.cpu.Load() - inStep), steps: meter.steps.Load() - steps, stats: h.Stats(),
	}, nil
}

// play is a player: it reads the film's segments up to playerAhead before what it shows, and tells where it is four times a second.
func play(ctx context.Context, h *native.Host, film *benchFilm) error {
	beat := time.NewTicker(250 * time.Millisecond)
	defer beat.Stop()
	var began time.Time // of playback: with the first segment
	var buffered time.Duration
	moved := func() (position time.Duration) {
		if !began.IsZero() {
			position = min(time.Since(began), buffered)
		}
		h.Moved(native.Playback{Position: position, BufferedEnd: buffered, Rate: 1, Paused: began.IsZero()})
		return position
	}
	moved()
	for _, s := range film.index {
		for buffered-moved() >= playerAhead {
			select {
			case <-beat.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		data, err := h.ReadRange(ctx, 0, int64(s.From), int64(s.To))
		if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		if !bytes.Equal(data, film.data[s.From:s.To]) {
			return fmt.Errorf("stream: bytes from %d on are not the film's", s.From)
		}
		if began.IsZero() {
			began = time.Now()
		}
		buffered = time.Duration(s.StartMs+s.DurationMs) * time.Millisecond
	}
	moved()
	return nil
}

// stepMeter is an engine whose processor time is counted. The clock's own cost is counted too, half a microsecond or so each time.
type stepMeter struct {
	engine     *engine.Engine
	cpu, steps atomic.Int64
}

// Step implements native.Stepper.
func (m *stepMeter) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	runtime.LockOSThread() // whose clock it is
	began := threadTime()
	out = m.engine.Step(now, in, out)
	m.cpu.Add(int64(threadTime() - began))
	runtime.UnlockOSThread()
	m.steps.Add(1)
	return out
}

// Deadline implements native.Stepper.
func (m *stepMeter) Deadline() (engine.Instant, bool) { return m.engine.Deadline() }

// threadTime is the processor time that the calling thread has taken.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
