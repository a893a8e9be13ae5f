package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/engine"
	"essaim/internal/host/native"
)

// benchEndCmd is one end of bench node, in a process of its own. It obeys lines on standard input, and ends with it.
type benchEndCmd struct {
	Folder  string `required:"" type:"path" help:"With the film."`
	Place   string `required:"" help:"Address of the trackers and the hashes."`
	Over    string `required:"" enum:"tcp,webrtc" help:"tcp or webrtc."`
	Take    bool   `help:"Take the film, rather than serve it."`
	Profile string `type:"path" help:"Write a processor profile there."`
}

// endTold is what it prints when it is ready, and again for each line: the serving end its time so far, the other what taking the
// film took.
type endTold struct {
	Address     string  `json:"address,omitempty"` // where TCP peers come
	CPUSeconds  float64 `json:"cpu_s"`
	Seconds     float64 `json:"seconds"`
	PeerBytes   int64   `json:"peer_bytes"`
	OriginBytes int64   `json:"origin_bytes"`
}

// Run serves, or takes, until standard input ends.
func (c *benchEndCmd) Run() error { return c.run(os.Stdin, os.Stdout) }

func (c *benchEndCmd) run(in io.Reader, out io.Writer) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop, err := profileTo(c.Profile)
	if err != nil {
		return err
	}
	defer stop()
	lines := make(chan struct{})
	go func() {
		defer cancel() // also while a peer is waited for
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			lines <- struct{}{}
		}
	}()
	say := json.NewEncoder(out).Encode
	if c.Take {
		err = c.take(ctx, lines, say)
	} else {
		err = c.serve(ctx, lines, say)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// config is what both ends share.
func (c *benchEndCmd) config(title engine.Title) native.Config {
	cfg := native.Config{Title: title, Origins: []string{c.Place}, LAN: true, OwnUplink: true, Policy: native.Policy{Peers: true, Upload: true}}
	if c.Over == "webrtc" {
		cfg.Trackers = []string{"ws" + strings.TrimPrefix(c.Place, "http") + "/tracker"}
	}
	return cfg
}

// serve serves the film as `essaim serve` does: from its file, each block held against its leaf.
func (c *benchEndCmd) serve(ctx context.Context, lines <-chan struct{}, say func(any) error) (err error) {
	title, torrent, _, err := nodeTitle(c.Folder)
	if err != nil {
		return err
	}
	media, err := os.Open(filepath.Join(c.Folder, nodeFilm))
	if err != nil {
		return err
	}
	defer media.Close()
	leaves, err := os.Open(filepath.Join(c.Folder, nodeLeaves))
	if err != nil {
		return err
	}
	defer leaves.Close()
	cfg := c.config(title)
	if cfg.Store, err = native.NewPublished(&title, []native.Published{{Media: media, Leaves: leaves}}); err != nil {
		return err
	}
	if c.Over == "tcp" {
		cfg.Info = torrent.Info
	}
	h, err := native.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	told := endTold{}
	if c.Over == "tcp" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		told.Address = ln.Addr().String()
		l := native.NewListener(native.ListenerConfig{Find: func(_ context.Context, x bt.InfoHash) *native.Host { return h }})
		listening := make(chan error, 1)
		go func() { listening <- l.Serve(ctx, ln) }()
		defer func() { err = errors.Join(err, <-listening) }()
	}
	if err := say(told); err != nil {
		return err
	}
	for range lines {
		if err := say(endTold{CPUSeconds: cpuTime().Seconds()}); err != nil {
			return err
		}
	}
	return nil
}

// Reads of the taking end.
const (
	endReads = 8       // at once
	endRead  = 4 << 20 // bytes of each
)

// take connects, and at a line takes the film into a cache on the disk, as `essaim watch` does.
func (c *benchEndCmd) take(ctx context.Context, lines <-chan struct{}, say func(any) error) (err error) {
	title, _, _, err := nodeTitle(c.Folder)
	if err != nil {
		return err
	}
	cache, err := os.MkdirTemp(c.Folder, "cache-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cache)) }()
	cfg := c.config(title)
	if cfg.Store, err = native.NewDisk(cache, &title, 0); err != nil {
		return err
	}
	if c.Over == "tcp" {
		cfg.Announce, cfg.PeerPort = []string{c.Place + "/announce"}, 1
	}
	up := make(chan struct{}, 1)
	cfg.Note = func(o engine.Output) {
		if o.Note == engine.NotePeerUp {
			select {
			case up <- struct{}{}:
			default:
			}
		}
	}
	h, err := native.Open(ctx, cfg)
	if err != nil {
		return errors.Join(err, cfg.Store.Close())
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	h.Rendition(0)
	h.Moved(native.Playback{Position: -20 * time.Second, Paused: true}) // in no hurry: the origin is for those who are
	select {
	case <-up:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("the other host could not be reached within a minute")
	}
	if err := say(endTold{}); err != nil {
		return err
	}
	if _, ok := <-lines; !ok {
		return nil
	}
	began, cpu := time.Now(), cpuTime()
	if err := takeAll(ctx, h, int64(title.Files[0].Size)); err != nil {
		return err
	}
	took, spent, s := time.Since(began), cpuTime()-cpu, h.Stats()
	if err := say(endTold{CPUSeconds: spent.Seconds(), Seconds: took.Seconds(), PeerBytes: s.PeerBytes, OriginBytes: s.OriginBytes}); err != nil {
		return err
	}
	<-lines
	return nil
}

// takeAll reads the film from its beginning to its end, several parts at once.
func takeAll(ctx context.Context, h *native.Host, size int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var next int64
	var first error
	var all sync.WaitGroup
	for range endReads {
		all.Go(func() {
			for {
				mu.Lock()
				from := next
				next += endRead
				mu.Unlock()
				if from >= size {
					return
				}
				if _, err := h.ReadRange(ctx, 0, from, min(from+endRead, size)); err != nil {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("take the film: %w", err)
					}
					mu.Unlock()
					cancel()
					return
				}
			}
		})
	}
	all.Wait()
	return first
}
