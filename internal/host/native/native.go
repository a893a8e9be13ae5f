// Package native runs an engine outside of a browser: over WebRTC (pion) and TCP, WebTorrent's tracker protocol, net/http and
// a store in memory or on disk. `essaim watch`, the seeds of `essaim serve` and rehearsals are its uses.
//
// It must get right: what internal/engine/step.go asks of a host, to which internal/host/hosttest holds it; that one
// goroutine owns engine, core and store, and nothing that it calls blocks; that all that it holds is bounded; and that
// Close leaves nothing behind.
package native

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/engine"
)

// Config says what to open and how.
type Config struct {
	Title   engine.Title // a zero PeerID or Seed is drawn at random
	Indexes [][]byte     // by file, in the binary form of cmaf/index (what IndexLoaded carries); may be short or empty
	// Origins are the prefixes of media/{root} and hashes/{root}, absolute, best first. One at least.
	Origins  []string
	Trackers []string // WebSocket addresses, best first; none: no peers
	ICE      []string // STUN addresses, for instance "stun:192.0.2.1:3478"; may be empty
	// Tickets returns the tickets of the moment. It is called often, from several goroutines, and must not block. nil: none.
	Tickets func() Tickets
	Policy  Policy
	// OwnUplink says that nobody else's traffic needs room on this machine's uplink, as on a server: delays are not measured
	// and not yielded to, and the policy's limit alone holds. Households, whose calls and games must not notice, leave it off.
	OwnUplink bool
	// LAN lets peers learn addresses of local networks, this machine's own included.
	LAN bool
	// Store keeps the verified pieces; the host closes it. nil: 256 MiB of memory.
	Store Store
	// Note hears the engine's notes, on the host's goroutine: it must be quick, must not call the host, and may use Data only
	// during the call. nil: nobody does.
	Note func(engine.Output)
	// Engine decides. nil: a new engine.
	Engine Stepper
	// Info is the title's info dictionary, which is then served to peers (BEP 9): for open titles only. It must be the one that the
	// info hashes were taken over, and describe the title's files. With it every piece is held against its v1 hash too before it counts
	// or leaves (BEP 52): where that refutes what the v2 hash takes, the torrent is refused as a whole, and the host ends (Refused).
	Info []byte
	// Announce are trackers' HTTP addresses (BEP 3), for open titles only, where peers that speak TCP are found and told of a
	// Listener's port, which PeerPort names. Empty: none is looked for.
	Announce []string
	PeerPort uint16
	// Client fetches. nil: one of the host's own, which follows no redirect.
	Client *http.Client
	// Jitter draws a duration from [0, n), n > 0, in whatever unit n has, that spreads the announces and reconnections of many
	// viewers; it is called from several goroutines. nil: at random.
	Jitter func(n int64) int64
	// Corrupt may change the payload of each block that is sent. For tests and demonstrations of a lying peer only.
	Corrupt func(block []byte)
}

// Tickets are the signed permissions of a play session; empty ones are not sent.
type Tickets struct{ Media, Swarm string }

// Policy is what operator and viewer allow.
type Policy struct {
	Peers      bool // peers may be used at all; without it no connection to one is made
	Upload     bool // and served
	UplinkKbps int  // kilobits per second; 0: no limit
}

func (p Policy) input() engine.Input {
	in := engine.Input{Kind: engine.PolicyChanged, Length: uint32(max(p.UplinkKbps, 0))}
	if p.Peers {
		in.Flags |= engine.FlagPeers
	}
	if p.Upload {
		in.Flags |= engine.FlagUpload
	}
	return in
}

// Playback is where the player stands.
type Playback struct {
	// Position is of film. A reader that is in no hurry and would rather have peers' bytes puts it well before what it
	// reads, before the film's start if need be.
	Position    time.Duration
	BufferedEnd time.Duration // end of the player's own contiguous buffer, of film
	Rate        float64       // 1: real time
	Paused      bool
}

// Bounds of a host.
const (
	memoryDefault = 256 << 20
	eventsMax     = 256
)

// Host is one title, open. Its methods may be called from any goroutine, but not from Config.Note.
type Host struct {
	cfg     Config
	core    *core
	events  chan func()
	ctx     context.Context // ends when the host does
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the loop has ended
	workers sync.WaitGroup
	epoch   time.Time

	net   *origin
	rtc   *rtc
	door  *tracker
	waits map[engine.Ref]chan<- readAnswer
	early map[engine.Ref]readAnswer // answers that came before their reader could wait
	tcp   tcpLinks

	refused atomic.Pointer[error] // why it ended by itself
}

type readAnswer struct {
	data []byte
	err  error
}

// Open starts a host, which runs until Close; ctx bounds its life too.
func Open(ctx context.Context, cfg Config) (*Host, error) {
	if len(cfg.Origins) == 0 {
		return nil, errors.New("open host: no origin")
	}
	if err := identify(&cfg.Title); err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	if _, err := engine.ParseTitle(cfg.Title.AppendBinary(nil)); err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	torrent, err := checkInfo(&cfg)
	if err != nil {
		return nil, fmt.Errorf("open host: %w", err)
	}
	if cfg.Store == nil {
		cfg.Store = NewMemory(memoryDefault)
	}
	if cfg.Engine == nil {
		cfg.Engine = newEngine()
	}
	if cfg.Tickets == nil {
		cfg.Tickets = func() Tickets { return Tickets{} }
	}
	if cfg.Jitter == nil {
		// Reconnections are spread so that a tracker that comes back is not stormed: chance, not a decision of the engine.
		cfg.Jitter = func(n int64) int64 { return mathrand.Int64N(n) }
	}
	h := &Host{
		cfg: cfg, events: make(chan func(), eventsMax), ended: make(chan struct{}), epoch: time.Now(),
		waits: map[engine.Ref]chan<- readAnswer{}, early: map[engine.Ref]readAnswer{}, tcp: newTCPLinks(),
	}
	h.ctx, h.cancel = context.WithCancel(ctx)
	h.core = newCore(cfg.Title, cfg.Engine, cfg.Store, h)
	h.core.corrupt, h.core.halves.torrent = cfg.Corrupt, torrent
	h.net = newOrigin(h)
	h.rtc = newRTC(h)
	h.door = newTracker(h)
	go h.loop()
	h.seek()
	return h, nil
}

// checkInfo holds the info dictionary, if there is one, against both info hashes (BEP 52) and the title.
func checkInfo(cfg *Config) (*metainfo.Torrent, error) {
	if len(cfg.Info) == 0 {
		return nil, nil
	}
	t, err := metainfo.ParseInfo(cfg.Info)
	if err != nil {
		return nil, err
	}
	alike := t.InfoHash == cfg.Title.InfoHash && t.InfoHashV2.Truncated() == cfg.Title.InfoHashV2 &&
		t.PieceLength == cfg.Title.PieceLength && len(t.Files) == len(cfg.Title.Files)
	for i := 0; alike && i < len(t.Files); i++ {
		f, own := &t.Files[i], &cfg.Title.Files[i]
		alike = uint64(f.Size) == own.Size && f.Root == own.Root && f.FirstPiece == own.FirstPiece
	}
	if !alike {
		return nil, errors.New("the info dictionary is not the title's")
	}
	return t, nil
}

const peerIDLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

// identify draws the peer ID and the seed where they are zero.
func identify(t *engine.Title) error {
	var b [20]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	if t.Seed == 0 {
		t.Seed = binary.BigEndian.Uint64(b[:])
	}
	if t.PeerID == (bt.PeerID{}) {
		copy(t.PeerID[:], "-ES0001-") // BEP 20
		for i, c := range b[8:] {
			t.PeerID[8+i] = peerIDLetters[c&63]
		}
	}
	return nil
}

// PeerID is ours in this swarm.
func (h *Host) PeerID() bt.PeerID { return h.cfg.Title.PeerID }

func (h *Host) loop() {
	defer close(h.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	h.core.open(h.cfg.Indexes)
	if len(h.cfg.Info) > 0 {
		h.core.step(engine.Input{Kind: engine.InfoLoaded, Data: h.cfg.Info})
	}
	h.setPolicy(h.cfg.Policy)
	for {
		wait := time.Hour
		if at, ok := h.core.engine.Deadline(); ok {
			wait = max(0, time.Duration(at-h.now())*time.Microsecond)
		}
		timer.Reset(wait)
		select {
		case f := <-h.events:
			f()
			h.core.tick() // a stream of events must not starve the deadline
		case <-timer.C:
			h.core.tick()
		case <-h.ctx.Done():
			h.core.ended = true
			for ref := range h.waits {
				h.answer(ref, nil, h.closed())
			}
			return
		}
	}
}

// do runs f on the host's goroutine and waits for it. It reports whether f ran.
func (h *Host) do(f func()) bool {
	done := make(chan struct{})
	select {
	case h.events <- func() { f(); close(done) }:
	case <-h.ended:
		return false
	case <-h.ctx.Done():
		return false
	}
	select {
	case <-done:
		return true
	case <-h.ended:
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
}

// now is the host's monotonic clock.
func (h *Host) now() engine.Instant { return engine.Instant(time.Since(h.epoch).Microseconds()) }

// ReadRange returns bytes [from, to) of a file, verified; 16 MiB at most. It waits until they are there, ctx ends, or no
// source has them (ErrUnavailable). Ranges outside the file are ErrRange; after Close, ErrClosed, and what Refused says where it does.
func (h *Host) ReadRange(ctx context.Context, file uint32, from, to int64) ([]byte, error) {
	if err := h.core.files.check(file, from, to); err != nil {
		return nil, err
	}
	answer := make(chan readAnswer, 1)
	var ref engine.Ref
	full := false
	if !h.do(func() {
		if full = len(h.core.reads) >= readsMax; full {
			return
		}
		ref = h.core.read(file, from, to)
		if a, ok := h.early[ref]; ok {
			delete(h.early, ref)
			answer <- a
		} else {
			h.waits[ref] = answer
		}
	}) {
		return nil, h.closed()
	}
	if full {
		return nil, fmt.Errorf("read file %d: more than %d reads at once", file, readsMax)
	}
	select {
	case a := <-answer:
		if a.err != nil {
			return nil, fmt.Errorf("read file %d from byte %d: %w", file, from, a.err)
		}
		return a.data, nil
	case <-ctx.Done():
		h.do(func() {
			delete(h.waits, ref)
			h.core.cancelRead(ref)
		})
		return nil, ctx.Err()
	case <-h.ended:
		select {
		case a := <-answer:
			return a.data, a.err
		default:
			return nil, h.closed()
		}
	}
}

// answer ends a read; it is called on the host's goroutine.
func (h *Host) answer(ref engine.Ref, data []byte, err error) {
	a := readAnswer{data, err}
	if w := h.waits[ref]; w != nil {
		delete(h.waits, ref)
		w <- a // has room for one
		return
	}
	h.early[ref] = a // its reader takes it at once: see ReadRange
}

// Refused says why the host ended by itself: an error that is a metainfo.ErrConflict, where a piece showed that the torrent's v1 and v2
// hashes disagree. nil: it did not.
func (h *Host) Refused() error {
	if err := h.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// closed is what reads fail with once the host has ended.
func (h *Host) closed() error {
	if err := h.Refused(); err != nil {
		return err
	}
	return ErrClosed
}

// refuse is outside's.
func (h *Host) refuse(err error) {
	h.refused.CompareAndSwap(nil, &err)
	h.cancel()
}

// Moved tells where the player stands: on each of its events, and every few seconds.
func (h *Host) Moved(p Playback) {
	in := engine.Input{
		Kind: engine.PlaybackMoved, From: p.Position.Milliseconds(), To: p.BufferedEnd.Milliseconds(),
		Length: uint32(max(0, min(p.Rate*1000, 1e6))),
	}
	if p.Paused {
		in.Flags = engine.FlagPaused
	}
	h.do(func() { h.core.step(in) })
}

// Seeked tells of a jump of the play head.
func (h *Host) Seeked(position time.Duration) {
	h.do(func() { h.core.step(engine.Input{Kind: engine.Seeked, From: position.Milliseconds()}) })
}

// Rendition tells which file of a track the player now asks for.
func (h *Host) Rendition(file uint32) {
	h.do(func() { h.core.step(engine.Input{Kind: engine.RenditionChosen, File: file}) })
}

// SetPolicy changes what is allowed, at once: without Peers, connections are closed and none is made.
func (h *Host) SetPolicy(p Policy) { h.do(func() { h.setPolicy(p) }) }

func (h *Host) setPolicy(p Policy) {
	h.rtc.allow(p.Peers)
	h.door.allow(p.Peers, p.UplinkKbps)
	h.core.step(p.input())
}

// Full reports whether the engine has as many peers as it takes, those counted that have not said their handshake yet. It is true after
// the host has ended.
func (h *Host) Full() bool {
	full := true
	h.do(func() { full = len(h.core.peers) >= engine.PeersMax })
	return full
}

// Stats returns the counts of the moment. After Close they are the last ones.
func (h *Host) Stats() (s Stats) {
	if !h.do(func() { s = h.core.stats.taken() }) {
		<-h.ended
		s = h.core.stats.taken()
	}
	s.Connections = int(h.rtc.made.Load())
	return s
}

// Close ends everything: reads fail with ErrClosed, the tracker hears that we left, connections are closed. It
// returns when all of it is gone.
func (h *Host) Close() error {
	h.do(h.door.leave)
	h.door.wait()
	h.cancel()
	<-h.ended
	h.workers.Wait()
	h.net.close()
	return h.core.store.Close()
}

// noted passes a note on.
func (h *Host) noted(o *engine.Output) {
	h.noteTCP(o)
	if o.Note == engine.NoteBadBlock && o.Peer == 0 {
		h.net.refuted()
	}
	if h.cfg.Note != nil {
		h.cfg.Note(*o)
	}
}

func (h *Host) get(f *fetch)   { h.net.get(f) }
func (h *Host) abort(f *fetch) { h.net.abort(f) }
func (h *Host) measure(p engine.PeerRef) {
	if !h.cfg.OwnUplink {
		h.rtc.measure(p)
	}
}
func (h *Host) dial(p engine.PeerRef)   { h.rtc.dial(p) }
func (h *Host) undial(p engine.PeerRef) { h.rtc.undial(p) }
func (h *Host) announce(positionMs int64, rendition, want uint32, flags engine.Flags) {
	h.door.announce(positionMs, rendition, want, flags)
}

// prefix joins an origin's prefix and a path that begins with a slash.
func prefix(origin, path string) string { return strings.TrimRight(origin, "/") + path }
