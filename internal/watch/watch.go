// Package watch is the native viewer: it opens a play session, runs a host, and writes the chosen renditions to files,
// as fast as they come or in real time, while it feeds other viewers. It must get right: only verified bytes are
// written, in order and whole; tickets and policy are renewed in time; and it can be stopped at any moment, and
// continued by the same command.
package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"essaim/internal/bt"
	"essaim/internal/client"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
)

// Options say what to watch and how.
type Options struct {
	Server   string
	Name     string // empty: as a stranger, open titles only
	Password string
	Title    vod.TitleID
	// To is where the video track goes, byte for byte as published; the audio goes beside it: "film.mp4" and
	// "film.audio.mp4". Until a track is whole its name ends in ".part". What the swarm brought is kept in To + ".pieces" until
	// both are whole, so that a second try continues the first.
	To     string
	Height int     // the highest rendition that is no higher; 0: the highest there is
	Speed  float64 // times real time; 0: as fast as it comes
	Raw    bool    // take an encrypted title as it is, encrypted
	Share  bool    // the viewer's consent to exchange pieces with others
	// Listen is where BitTorrent clients reach this viewer over TCP, of open titles that it shares: ADDRESS:PORT, port 0 for any.
	// Empty: nowhere, and it looks for none.
	Listen string
	Cache  int64         // bytes that To + ".pieces" may hold; what is played goes first. 0: no bound
	Seed   time.Duration // goes on serving for so long when done
	// Progress is called now and then, from one goroutine at a time. nil: nobody looks.
	Progress func(Progress)
	// Corrupt makes a liar of this viewer. Tests and demonstrations only.
	Corrupt func(block []byte)
}

// Phase says what a viewer is doing.
type Phase string

// The phases.
const (
	Reading Phase = "reading"
	Seeding Phase = "seeding"
)

// Progress is how far a viewer is.
type Progress struct {
	Phase   Phase
	Bytes   int64 // verified and written
	Total   int64
	Elapsed time.Duration
	Left    time.Duration // of the phase; negative: unknown
	Stats   native.Stats
}

// Output is one file that was written.
type Output struct {
	Path   string `json:"path"` // within the title
	File   string `json:"file"` // where it was written
	Size   int64  `json:"size"`
	Root   string `json:"root"`   // v2 pieces root, as published
	SHA256 string `json:"sha256"` // of the file written
}

// Result is what a viewer did. Bytes are media bytes.
type Result struct {
	Title       vod.TitleID `json:"title"`
	Session     string      `json:"session"`
	OriginBytes int64       `json:"origin_bytes"`
	PeerBytes   int64       `json:"peer_bytes"`
	CachedBytes int64       `json:"cached_bytes"`
	SentBytes   int64       `json:"sent_bytes"`
	BadBlocks   int         `json:"bad_blocks"`
	Banned      int         `json:"banned"`
	Seconds     float64     `json:"seconds"` // from play to the last byte, seeding left out
	StartupMs   int64       `json:"startup_ms"`
	Stalls      int         `json:"stalls"`
	StalledMs   int64       `json:"stalled_ms"`
	Outputs     []Output    `json:"outputs"`
}

// Run watches a title to its end. When ctx ends before that, the error is ctx's; during seeding it is no error.
func Run(ctx context.Context, o Options) (Result, error) {
	if !o.Title.Valid() {
		return Result{}, fmt.Errorf("%q is no title's name: it has lower-case letters, digits and hyphens only", o.Title)
	}
	c, err := client.New(o.Server)
	if err != nil {
		return Result{}, err
	}
	if o.Name != "" {
		if _, err := c.SignIn(ctx, o.Name, o.Password); err != nil {
			return Result{}, err
		}
		// Sessions left open would in the end push out those of the member's browsers.
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), signOutTimeout)
			defer cancel()
			_ = c.SignOut(ctx) // else it ends by itself, later
		}()
	}
	s, err := c.Play(ctx, o.Title, o.Share)
	if err != nil {
		return Result{}, err
	}
	if s.Protection != nil && !o.Raw {
		return Result{}, fmt.Errorf("%s is encrypted, and this program cannot open it yet: watch it in a browser, or take it encrypted with --raw", o.Title)
	}
	title, indexes, err := ReadSession(&s)
	if err != nil {
		return Result{}, fmt.Errorf("play %s: %w", o.Title, err)
	}
	v := &viewer{options: &o, client: c, session: &s, started: time.Now()}
	v.tickets.Store(&s.Tickets)
	if v.tracks, err = choose(&s, indexes, &o); err != nil {
		return Result{}, err
	}
	for _, t := range v.tracks { // now, and not when all has come
		if st, err := os.Stat(t.to); err == nil && !st.Mode().IsRegular() {
			return Result{}, fmt.Errorf("%s is there and is not a file: name another", t.to)
		}
	}
	pieces := o.To + ".pieces"
	store, err := native.NewDisk(pieces, &title, o.Cache)
	if err != nil {
		return Result{}, err
	}
	peers, err := listenFor(&o, &s)
	if err != nil {
		return Result{}, errors.Join(err, store.Close())
	}
	var info []byte
	if peers != nil {
		if info, err = infoOf(ctx, c, o.Title, &title); err != nil {
			return Result{}, errors.Join(err, store.Close(), peers.close())
		}
	}
	v.host, err = native.Open(context.WithoutCancel(ctx), native.Config{ // Close ends it, with a goodbye to the tracker
		Announce: s.Nodes.Announce, PeerPort: peers.port(),
		Title: title, Indexes: binaryIndexes(indexes), Origins: s.Nodes.Origins, Trackers: s.Nodes.Trackers, ICE: s.Nodes.ICE,
		Tickets: func() native.Tickets {
			t := v.tickets.Load()
			return native.Tickets{Media: t.Media, Swarm: t.Swarm}
		},
		Policy: policy(s.Policy), LAN: s.Policy.LAN, Store: store, Corrupt: o.Corrupt,
		Info: info,
	})
	if err != nil {
		return Result{}, errors.Join(err, store.Close(), peers.close())
	}
	peers.serve(ctx, v.host, &title)
	res, err := v.run(ctx)
	if refused := v.host.Refused(); refused != nil { // perhaps not before it seeded
		err = refused
	}
	if cerr := peers.close(); err == nil {
		err = cerr
	}
	if cerr := v.host.Close(); err == nil {
		err = cerr
	}
	v.goodbye(ctx) // once nothing is sent any more
	if err == nil {
		err = os.RemoveAll(pieces) // the tracks are whole
	}
	return res, err
}

func policy(p vod.PlayPolicy) native.Policy {
	return native.Policy{Peers: p.P2P, Upload: p.Upload, UplinkKbps: p.UplinkKbps}
}

// ReadSession reads a play session into what a host needs: the title, and by file the segment index, empty where the service
// told none. It refuses what is malformed.
func ReadSession(s *vod.PlaySession) (t engine.Title, indexes []index.Index, err error) {
	t.PieceLength = s.PieceLength
	if t.InfoHash, err = bt.ParseInfoHash(s.InfoHash); err != nil {
		return t, nil, fmt.Errorf("info hash: %w", err)
	}
	v2, err := bt.ParseInfoHashV2(s.InfoHashV2)
	if err != nil {
		return t, nil, fmt.Errorf("v2 info hash: %w", err)
	}
	t.InfoHashV2 = v2.Truncated()
	for i := range s.Files {
		f := &s.Files[i]
		root, err := bt.ParseDigest(f.Root)
		if err != nil {
			return t, nil, fmt.Errorf("root of %s: %w", f.Path, err)
		}
		kind := engine.TrackOther
		switch f.Kind {
		case vod.Video:
			kind = engine.TrackVideo
		case vod.Audio:
			kind = engine.TrackAudio
		}
		t.Files = append(t.Files, engine.TitleFile{Size: uint64(max(f.Size, 0)), Root: root, FirstPiece: f.FirstPiece, Track: kind})
		var x index.Index
		for _, g := range f.Segments {
			x = append(x, index.Segment{From: g[0], To: g[1], StartMs: uint32(g[2]), DurationMs: uint32(g[3])})
		}
		if x, err = index.Parse(x.AppendBinary(nil)); err != nil {
			return t, nil, fmt.Errorf("segments of %s: %w", f.Path, err)
		}
		if n := len(x); n > 0 && x[n-1].To > uint64(f.Size) {
			return t, nil, fmt.Errorf("segments of %s: beyond its end", f.Path)
		}
		indexes = append(indexes, x)
	}
	return t, indexes, nil
}

func binaryIndexes(list []index.Index) (out [][]byte) {
	for _, x := range list {
		out = append(out, x.AppendBinary(nil))
	}
	return out
}

// choose picks one video rendition and the first audio track, and says where they go.
func choose(s *vod.PlaySession, indexes []index.Index, o *Options) ([]*track, error) {
	video, audio := -1, -1
	for i := range s.Files {
		f := &s.Files[i]
		switch {
		case f.Kind == vod.Audio && audio < 0:
			audio = i
		case f.Kind == vod.Video && (o.Height == 0 || f.Height <= o.Height) && (video < 0 || better(f, &s.Files[video])):
			video = i
		}
	}
	if video < 0 && o.Height > 0 {
		return nil, fmt.Errorf("%s has no rendition of %d lines or fewer", s.Title, o.Height)
	}
	var list []*track
	add := func(i int, to string) {
		if i >= 0 {
			list = append(list, &track{file: uint32(i), play: &s.Files[i], index: indexes[i], to: to})
		}
	}
	add(video, o.To)
	if video >= 0 {
		ext := filepath.Ext(o.To)
		add(audio, strings.TrimSuffix(o.To, ext)+".audio"+cmp.Or(ext, ".mp4"))
	} else {
		add(audio, o.To)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has nothing to play", s.Title)
	}
	return list, nil
}

func better(a, b *vod.PlayFile) bool {
	return cmp.Or(cmp.Compare(a.Height, b.Height), cmp.Compare(a.Bandwidth, b.Bandwidth)) > 0
}

// viewer is one run.
type viewer struct {
	options *Options
	client  *client.Client
	session *vod.PlaySession
	host    *native.Host
	tracks  []*track
	tickets atomic.Pointer[vod.PlayTickets]
	head    head
	started time.Time
}

// track is one file on its way.
type track struct {
	file    uint32
	play    *vod.PlayFile
	index   index.Index
	to      string
	written atomic.Int64
	sum     []byte
}

// run reads all tracks at once, reports, and seeds.
func (v *viewer) run(ctx context.Context) (Result, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	v.head.open(v.options.Speed, len(v.tracks), int64(v.session.DurationMs))
	v.tell() // before anything is wanted: it says that there is no hurry, if there is none
	for _, t := range v.tracks {
		v.host.Rendition(t.file)
	}
	beat := make(chan struct{})
	side, over := context.WithCancel(ctx)
	go func() { defer close(beat); v.side(side) }()
	defer func() { over(); <-beat }()

	errs := make(chan error, len(v.tracks))
	for i, t := range v.tracks {
		go func() { errs <- v.read(reading, i, t) }()
	}
	var err error
	for range v.tracks {
		if e := <-errs; e != nil {
			if err == nil {
				err = e
			}
			stop()
		}
	}
	if err == nil {
		err = v.head.play(reading)
	}
	seconds := time.Since(v.started).Seconds()
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	if err == nil {
		v.seed(ctx)
	}
	return v.result(seconds), err
}

// read writes one track.
func (v *viewer) read(ctx context.Context, i int, t *track) (err error) {
	part := t.to + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(part, t.to)
		}
		if err != nil {
			os.Remove(part) // the pieces are kept
		}
	}()
	w := newSummer(f)
	for at := int64(0); at < t.play.Size; {
		to := v.next(t, at)
		if err := v.head.wait(ctx, startMs(t.index, at)); err != nil {
			return err
		}
		b, err := v.host.ReadRange(ctx, t.file, at, to)
		if err != nil {
			return fmt.Errorf("%s: %w", t.play.Path, err)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		at = to
		t.written.Store(at)
		v.head.read(i, time.Now(), endMs(t.index, at, int64(v.session.DurationMs)))
		v.tell()
	}
	v.head.read(i, time.Now(), int64(v.session.DurationMs))
	t.sum = w.Sum()
	return nil
}

// What is asked for at once, in bytes, where the film's time does not matter: little where peers have it, since what a
// reader waits for is what the origin is asked for when they are slow; more where the origin gives it all.
const (
	chunkPeers  = 256 << 10
	chunkOrigin = 1 << 20
	chunkMax    = 16 << 20        // what a host reads at once
	meetTime    = 3 * time.Second // until then peers may yet be found
)

// next is where the read from at on ends: with the segment that holds it in real time, else a chunk further.
func (v *viewer) next(t *track, at int64) int64 {
	if v.options.Speed > 0 {
		if i := segmentAt(t.index, at); i < len(t.index) {
			return min(int64(t.index[i].To), at+chunkMax)
		}
	}
	chunk := int64(chunkOrigin)
	if v.session.Policy.P2P && (time.Since(v.started) < meetTime || v.host.Stats().Peers > 0) {
		chunk = chunkPeers
	}
	return min(t.play.Size, at+chunk)
}

// tell reports the play head to the host.
func (v *viewer) tell() {
	p, end, speed := v.head.at(time.Now())
	v.host.Moved(native.Playback{
		Position: time.Duration(p) * time.Millisecond, BufferedEnd: time.Duration(max(end, 0)) * time.Millisecond,
		Rate: speed, Paused: speed == 0,
	})
}

// seed keeps serving, until its time is over or ctx ends.
func (v *viewer) seed(ctx context.Context) {
	if v.options.Seed <= 0 {
		return
	}
	v.head.finish(time.Now().Add(v.options.Seed))
	v.tell()
	timer := time.NewTimer(v.options.Seed)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (v *viewer) result(seconds float64) Result {
	s := v.host.Stats()
	stalls, stalled, startup := v.head.quality(time.Now())
	r := Result{
		Title: v.session.Title, Session: v.session.ID, Seconds: seconds,
		OriginBytes: s.OriginBytes, PeerBytes: s.PeerBytes, CachedBytes: s.CachedBytes, SentBytes: s.SentBytes,
		BadBlocks: s.BadBlocks, Banned: s.Banned, StartupMs: startup, Stalls: stalls, StalledMs: stalled,
	}
	for _, t := range v.tracks {
		if t.sum != nil {
			r.Outputs = append(r.Outputs, Output{Path: t.play.Path, File: t.to, Size: t.play.Size, Root: t.play.Root, SHA256: fmt.Sprintf("%x", t.sum)})
		}
	}
	return r
}
