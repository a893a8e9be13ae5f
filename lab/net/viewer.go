package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/client"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
	"essaim/internal/watch"
)

// report is what a viewer tells of itself, every reportEvery, as one line of JSON. What is counted is counted since it began.
type report struct {
	ID          string           `json:"id,omitempty"` // peer ID, in hexadecimal
	PositionMs  int64            `json:"position_ms"`
	AheadMs     int64            `json:"ahead_ms"`
	StartupMs   int64            `json:"startup_ms"` // negative: not started
	Stalls      int              `json:"stalls"`
	StalledMs   int64            `json:"stalled_ms"`
	Dry         bool             `json:"dry,omitempty"`
	Finished    bool             `json:"finished,omitempty"`
	Origin      int64            `json:"origin"` // media bytes over HTTP
	Peer        int64            `json:"peer"`   // media bytes of peers
	Sent        int64            `json:"sent"`
	Wasted      int64            `json:"wasted"` // bytes that came twice
	Bad         int              `json:"bad"`    // blocks that were not what their hashes say
	Peers       int              `json:"peers"`
	Connections int              `json:"connections"`    // RTCPeerConnections made in all
	Met         []string         `json:"met,omitempty"`  // peers that there ever was a handshake with
	From        map[string]int64 `json:"from,omitempty"` // media bytes by peer
	Digest      string           `json:"digest,omitempty"`
}

// The rhythm of a viewer.
const (
	reportEvery = 500 * time.Millisecond
	tellEvery   = 500 * time.Millisecond // the host hears of the play head
	lookEvery   = 20 * time.Millisecond
	againEvery  = time.Second
)

// nativeViewer is one native viewer: the service's own host as a stranger's player of an open title would use it.
type nativeViewer struct {
	client  *client.Client
	session vod.PlaySession
	host    *native.Host
	files   []viewerTrack
	film    time.Duration
	tickets atomic.Pointer[vod.PlayTickets]
	sums    []hash.Hash

	mu    sync.Mutex
	clock *clock

	peers sync.Mutex
	names map[engine.PeerRef]string
	from  map[string]int64
	met   []string
}

// viewerTrack is a file that is played.
type viewerTrack struct {
	file     uint32
	segments index.Index
}

// viewerMain plays the title, and serves on when it has been played, until ctx ends.
func viewerMain(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("viewer", flag.ContinueOnError)
	server := flags.String("server", serviceURL, "the service")
	share := flags.Bool("share", true, "exchange pieces with others")
	lan := flags.Bool("lan", false, "tell peers of addresses in the local network")
	uplink := flags.Int("uplink", 0, "kbit/s given to others at most; 0: no bound but what is measured")
	skip := flags.Duration("skip", 0, "begin so far into the film")
	if err := flags.Parse(args); err != nil {
		return err
	}
	v := &nativeViewer{names: map[engine.PeerRef]string{}, from: map[string]int64{}}
	var err error
	if v.client, err = client.New(*server); err != nil {
		return err
	}
	pressed := time.Now()
	for { // a viewer presses again
		if v.session, err = v.client.Play(ctx, title, *share); err == nil {
			break
		}
		if pause(ctx, againEvery) != nil {
			return err
		}
	}
	t, indexes, err := watch.ReadSession(&v.session)
	if err != nil {
		return err
	}
	v.film = time.Duration(v.session.DurationMs) * time.Millisecond
	binaries := make([][]byte, len(indexes))
	for i, x := range indexes {
		if len(x) > 0 {
			v.files = append(v.files, viewerTrack{uint32(i), x})
			v.sums = append(v.sums, sha256.New())
			binaries[i] = x.AppendBinary(nil)
		}
	}
	if len(v.files) == 0 {
		return errors.New("the title has nothing to play")
	}
	v.clock = newClock(v.film, len(v.files), pressed)
	v.clock.pos = *skip
	v.tickets.Store(&v.session.Tickets)
	policy := v.session.Policy
	if *uplink > 0 {
		policy.UplinkKbps = *uplink
	}
	v.host, err = native.Open(context.WithoutCancel(ctx), native.Config{ // Close ends it, with a goodbye
		Title: t, Indexes: binaries, Origins: v.session.Nodes.Origins, Trackers: v.session.Nodes.Trackers, ICE: v.session.Nodes.ICE,
		Tickets: func() native.Tickets {
			t := v.tickets.Load()
			return native.Tickets{Media: t.Media, Swarm: t.Swarm}
		},
		Policy: native.Policy{Peers: policy.P2P, Upload: policy.Upload, UplinkKbps: policy.UplinkKbps},
		LAN:    *lan || policy.LAN, Note: v.noted,
	})
	if err != nil {
		return err
	}
	for _, f := range v.files {
		v.host.Rendition(f.file)
	}
	playing, stop := context.WithCancel(ctx)
	defer stop()
	var work sync.WaitGroup
	failed := make(chan error, len(v.files))
	for i := range v.files {
		work.Go(func() {
			if err := v.read(playing, i, *skip); err != nil && playing.Err() == nil {
				failed <- err
			}
		})
	}
	work.Go(func() { v.renew(playing) })
	work.Go(func() { v.tell(playing) })
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for err == nil && ctx.Err() == nil {
		select {
		case <-tick.C:
		case err = <-failed:
		case <-ctx.Done():
		}
		if werr := json.NewEncoder(out).Encode(v.report()); werr != nil {
			break
		}
	}
	stop()
	work.Wait()
	closed := make(chan error, 1)
	go func() { closed <- v.host.Close() }()
	select {
	case cerr := <-closed:
		return errors.Join(err, cerr)
	case <-time.After(stopTime / 2): // pion may never end a connection whose set-up it broke off
		return err
	}
}

// noted hears the engine's notes, on the host's goroutine.
func (v *nativeViewer) noted(o engine.Output) {
	v.peers.Lock()
	defer v.peers.Unlock()
	switch o.Note {
	case engine.NotePeerUp:
		name := hex.EncodeToString(o.Data)
		v.names[o.Peer] = name
		v.met = append(v.met, name)
	case engine.NoteBlock:
		if o.Peer != 0 {
			v.from[v.names[o.Peer]] += int64(o.Length)
		}
	}
}

// read takes one track's segments in order, the goal ahead of the play head.
func (v *nativeViewer) read(ctx context.Context, track int, skip time.Duration) error {
	f := &v.files[track]
	from := int64(0) // the initialisation segment and the index come with the first
	for i := range f.segments {
		s := &f.segments[i]
		start, end := time.Duration(s.StartMs)*time.Millisecond, time.Duration(int64(s.StartMs)+int64(s.DurationMs))*time.Millisecond
		if end <= skip {
			from = int64(s.To)
			continue
		}
		for {
			v.mu.Lock()
			v.clock.advance(time.Now())
			early := start - v.clock.pos - goal
			v.mu.Unlock()
			if early < 0 {
				break
			}
			if err := pause(ctx, max(early, lookEvery)); err != nil {
				return err
			}
		}
		for from < int64(s.To) {
			b, err := v.host.ReadRange(ctx, f.file, from, min(int64(s.To), from+8<<20))
			if errors.Is(err, native.ErrUnavailable) { // a player asks again
				if err := pause(ctx, againEvery); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("file %d: %w", f.file, err)
			}
			from += int64(len(b))
			v.mu.Lock()
			v.sums[track].Write(b)
			v.mu.Unlock()
		}
		if i == len(f.segments)-1 {
			end = v.film // tracks end at slightly different times
		}
		v.mu.Lock()
		v.clock.delivered(track, end, time.Now())
		v.mu.Unlock()
	}
	return nil
}

// tell keeps the host informed of the play head.
func (v *nativeViewer) tell(ctx context.Context) {
	for {
		v.mu.Lock()
		c := v.clock
		c.advance(time.Now())
		to := native.Playback{Position: c.pos, BufferedEnd: max(c.buffered(), c.pos), Rate: 1, Paused: c.finished()}
		if !c.runs() {
			to.Rate = 0
		}
		v.mu.Unlock()
		v.host.Moved(to)
		if pause(ctx, tellEvery) != nil {
			return
		}
	}
}

// renew beats, as every player does, at half the tickets' life.
func (v *nativeViewer) renew(ctx context.Context) {
	life := v.session.Tickets.ExpiresMs
	for pause(ctx, time.Duration(life/2)*time.Millisecond) == nil {
		r := v.report()
		reply, err := v.client.Heartbeat(ctx, v.session.ID, v.tickets.Load().Media, vod.Heartbeat{
			PositionMs: r.PositionMs, OriginBytes: r.Origin, PeerBytes: r.Peer, SentBytes: r.Sent,
			Stalls: r.Stalls, StalledMs: r.StalledMs, StartupMs: max(r.StartupMs, 0), BadBlocks: r.Bad,
		})
		if err != nil {
			life = 2 * againEvery.Milliseconds()
			continue
		}
		if reply.Tickets != nil { // always, at half their life
			v.tickets.Store(reply.Tickets)
		}
		life = v.tickets.Load().ExpiresMs
	}
}

func (v *nativeViewer) report() report {
	s := v.host.Stats()
	id := v.host.PeerID()
	v.mu.Lock()
	c := v.clock
	c.advance(time.Now())
	r := report{
		ID: hex.EncodeToString(id[:]), PositionMs: c.pos.Milliseconds(), AheadMs: max(c.buffered()-c.pos, 0).Milliseconds(), StartupMs: -1,
		Stalls: c.stalls, StalledMs: c.stalled.Milliseconds(), Dry: c.dry, Finished: c.finished(),
		Origin: s.OriginBytes, Peer: s.PeerBytes, Sent: s.SentBytes, Wasted: s.WastedBytes, Bad: s.BadBlocks,
		Peers: s.Peers, Connections: s.Connections,
	}
	if c.startup >= 0 {
		r.StartupMs = c.startup.Milliseconds()
	}
	if r.Finished {
		for _, sum := range v.sums {
			r.Digest += hex.EncodeToString(sum.Sum(nil)[:8])
		}
	}
	v.mu.Unlock()
	v.peers.Lock()
	defer v.peers.Unlock()
	r.Met, r.From = append([]string(nil), v.met...), maps.Clone(v.from)
	return r
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
