// Package seeder makes `essaim serve` a BitTorrent peer over TCP: one port, and every open title behind it, to which v1, v2 and
// hybrid clients come by either info hash (BEP 3, 6, 9, 10, 21, 52).
//
// It must get right that titles which are not open are no different from titles that do not exist, also when they were open a
// moment ago; that a title costs nothing until somebody asks for it; and that what the disk has lost is not passed on, since
// every block is held against its leaf before it leaves.
package seeder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
)

const (
	// seatsMax bounds the seats of all titles. One takes some 100 kB, and its metainfo.
	seatsMax = 256
	// seatsPerTitle bounds those of one title: 192 peers, who have one another besides.
	seatsPerTitle = 8
	// checkEvery is how soon a title that was withdrawn, or is no longer open, loses its peers.
	checkEvery = 5 * time.Second
	// idleAfter is how long a title without peers stays open.
	idleAfter = 2 * time.Minute
	// lookEvery is how often it is looked whether there is an open title yet.
	lookEvery = 10 * time.Second
)

// Config is what a Seeder needs. All of the first group is required.
type Config struct {
	Titles vod.Titles
	Blobs  blob.Store
	// Origin is the prefix of media/{root} and hashes/{root}, where peers' requests for hashes are looked up that the seeder does
	// not know itself.
	Origin string

	Log *slog.Logger // nil: slog.Default
	// Listener bounds connections; its Find is not looked at.
	Listener native.ListenerConfig
	// Public is the address under which clients are told of us; an address that is not set is the one at which they reached the
	// tracker, a port that is not set the listener's.
	Public netip.AddrPort
}

// Seeder seeds open titles. Use New, then Serve.
type Seeder struct {
	c    Config
	log  *slog.Logger
	port atomic.Uint32 // 0: nobody listens
	// after is time.After; tests have their own.
	after func(time.Duration) <-chan time.Time

	mu     sync.Mutex
	seats  map[place]*seat
	closed bool
}

// place is where a seat is: one of a title's. A seat's engine takes engine.PeersMax peers, which is right for a viewer; a seed has more
// to give, so that a title gets another seat when all that it has are taken.
type place struct {
	title vod.TitleID
	n     int // from 0 to below seatsPerTitle
}

// seat is one title that is seeded, to so many peers.
type seat struct {
	ready   chan struct{} // closed when host or err is set
	host    *native.Host
	err     error
	version string
	busy    time.Time // when it last had peers, or was asked for
	told    bool      // that it is refused: sweep's
}

// New returns a seeder that Serve puts to work.
func New(c Config) *Seeder {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Seeder{c: c, log: c.Log, after: time.After, seats: map[place]*seat{}}
}

// Serve waits until there is an open title, opens its port then with listen, and seeds until ctx ends.
func (s *Seeder) Serve(ctx context.Context, listen func() (net.Listener, error)) error {
	for !s.anyOpen(ctx) {
		select {
		case <-s.after(lookEvery):
		case <-ctx.Done():
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	ln, err := listen()
	if err != nil {
		return fmt.Errorf("seed open titles: %w", err)
	}
	at, _ := netip.ParseAddrPort(ln.Addr().String())
	s.port.Store(uint32(at.Port()))
	defer s.port.Store(0)
	s.log.InfoContext(ctx, "seeding open titles to BitTorrent clients", "address", ln.Addr().String())
	c := s.c.Listener
	c.Find = s.find
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		s.check(ctx)
	}()
	err = native.NewListener(c).Serve(ctx, ln)
	<-checked
	s.closeAll()
	return err
}

func (s *Seeder) anyOpen(ctx context.Context) bool {
	titles, err := s.c.Titles.List(ctx, true)
	if err != nil {
		s.log.WarnContext(ctx, "seeder cannot read the catalogue", "error", err)
	}
	return len(titles) > 0
}

// Peer is the address at which clients find us who reached the service at local; false while nobody listens, or where it is not
// known. It is what tracker.HTTPConfig wants.
func (s *Seeder) Peer(local netip.Addr) (netip.AddrPort, bool) {
	port, ip := uint16(s.port.Load()), s.c.Public.Addr()
	if port == 0 {
		return netip.AddrPort{}, false
	}
	if p := s.c.Public.Port(); p != 0 {
		port = p
	}
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = local
	}
	return netip.AddrPortFrom(ip, port), ip.IsValid() && !ip.IsUnspecified()
}

// find is native.ListenerConfig's.
func (s *Seeder) find(ctx context.Context, h bt.InfoHash) *native.Host {
	t, err := s.c.Titles.BySwarm(ctx, h)
	if err != nil {
		if !errors.Is(err, vod.ErrNotFound) {
			s.log.WarnContext(ctx, "seeder cannot look up a swarm", "info_hash", h.String(), "error", err)
		}
		return nil
	}
	if !t.Open {
		return nil
	}
	for n := range seatsPerTitle {
		x := s.sit(ctx, &t, n)
		if x == nil {
			return nil
		}
		select {
		case <-x.ready:
		case <-ctx.Done():
			return nil
		}
		if x.host == nil || x.host.Refused() != nil {
			return nil
		}
		if !x.host.Full() {
			return x.host
		}
	}
	return nil // who comes now finds peers enough at the tracker
}

// sit returns the title's n-th seat, and begins to open it where it is new; nil where there is no room.
func (s *Seeder) sit(ctx context.Context, t *vod.Title, n int) *seat {
	at := place{t.ID, n}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.seats[at]; x != nil && x.version == t.Version.ID {
		x.busy = time.Now()
		return x
	}
	if s.closed || s.seats[at] != nil || len(s.seats) >= seatsMax { // of another version: check will close it
		return nil
	}
	x := &seat{ready: make(chan struct{}), version: t.Version.ID, busy: time.Now()}
	s.seats[at] = x
	title := *t
	ctx = context.WithoutCancel(ctx) // others may wait for it too
	go func() {
		defer close(x.ready)
		if x.host, x.err = s.open(ctx, &title); x.err != nil {
			s.log.ErrorContext(ctx, "a title cannot be seeded", "title", title.ID, "error", x.err)
		}
	}()
	return x
}

// open starts a host over the title's stored files.
func (s *Seeder) open(ctx context.Context, t *vod.Title) (_ *native.Host, err error) {
	b, err := s.c.Titles.Torrent(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	torrent, err := metainfo.Parse(b)
	if err != nil {
		return nil, err
	}
	v := &t.Version
	if torrent.InfoHash != v.InfoHashV1 || torrent.InfoHashV2 != v.InfoHashV2 || torrent.Private {
		return nil, errors.New("its torrent is another's, or private")
	}
	title := engine.Title{PieceLength: v.PieceLength, InfoHash: v.InfoHashV1, InfoHashV2: v.InfoHashV2.Truncated()}
	var files []native.Published
	defer func() {
		if err != nil {
			for _, f := range files {
				err = errors.Join(err, f.Close())
			}
		}
	}()
	for i := range v.Files {
		f := &v.Files[i]
		title.Files = append(title.Files, engine.TitleFile{Size: uint64(f.Size), Root: f.Root, FirstPiece: f.FirstPiece})
		p, err := s.file(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		files = append(files, p)
	}
	store, err := native.NewPublished(&title, files)
	if err != nil {
		return nil, err
	}
	return native.Open(ctx, native.Config{
		Title: title, Origins: []string{s.c.Origin}, Store: store, Info: torrent.Info, OwnUplink: true,
		Policy: native.Policy{Peers: true, Upload: true},
	})
}

// file opens a stored file and its leaves.
func (s *Seeder) file(ctx context.Context, f *vod.File) (native.Published, error) {
	media, err := s.c.Blobs.Open(ctx, vod.KeyMedia(f.Root))
	if err != nil {
		return native.Published{}, err
	}
	leaves, err := s.c.Blobs.Open(ctx, vod.KeyLeaves(f.Root))
	if err != nil {
		return native.Published{}, errors.Join(err, media.Close())
	}
	closing := func(list ...io.Closer) func() error {
		return func() error {
			var errs []error
			for _, c := range list {
				errs = append(errs, c.Close())
			}
			return errors.Join(errs...)
		}
	}
	if media.Size() != f.Size {
		return native.Published{}, errors.Join(fmt.Errorf("%d bytes are stored, %d published", media.Size(), f.Size), closing(media, leaves)())
	}
	return native.Published{Media: media, Leaves: leaves, Close: closing(media, leaves)}, nil
}

// check closes, every few seconds until ctx ends, the seats that nobody needs, and those whose title is not open any more.
func (s *Seeder) check(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.sweep(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Seeder) sweep(ctx context.Context) {
	s.mu.Lock()
	seats := maps.Clone(s.seats)
	s.mu.Unlock()
	for at, x := range seats {
		id := at.title
		select {
		case <-x.ready:
		default:
			continue
		}
		t, err := s.c.Titles.Get(ctx, id)
		gone := errors.Is(err, vod.ErrNotFound) || err == nil && (!t.Open || t.Version.ID != x.version)
		if !gone && x.host != nil && s.quarantined(ctx, id, x) {
			continue
		}
		peers := x.host != nil && x.host.Stats().Peers > 0
		s.mu.Lock()
		if peers {
			x.busy = time.Now()
		}
		gone = gone || x.host == nil || time.Since(x.busy) > idleAfter
		if gone {
			delete(s.seats, at)
		}
		s.mu.Unlock()
		if gone {
			s.end(x)
		}
	}
}

// quarantined says whether a seat's title was found to be at odds with itself. It keeps its seat, so that nobody opens it anew, until
// there is another version; and that is told once.
func (s *Seeder) quarantined(ctx context.Context, id vod.TitleID, x *seat) bool {
	err := x.host.Refused()
	if err != nil && !x.told {
		x.told = true
		s.log.ErrorContext(ctx, "a title's torrent is at odds with itself and is not seeded; ingest the film anew", "title", id, "error", err)
	}
	return err != nil
}

// end closes a seat's host.
func (s *Seeder) end(x *seat) {
	<-x.ready
	if x.host == nil {
		return
	}
	if err := x.host.Close(); err != nil {
		s.log.Warn("close a seeded title", "error", err)
	}
}

func (s *Seeder) closeAll() {
	s.mu.Lock()
	s.closed = true
	seats := s.seats
	s.seats = map[place]*seat{}
	s.mu.Unlock()
	for _, x := range seats {
		s.end(x)
	}
}
