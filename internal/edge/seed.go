package edge

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
)

const (
	// hostsMax bounds the titles that are seeded: each takes some 100 kB and a socket to the tracker, which lets 64 of one address in.
	hostsMax  = 48
	seedEvery = 5 * time.Second
)

// hosts are the engines that seed whole titles.
type hosts struct {
	changed chan struct{} // what is whole, or planned, is another

	mu   sync.Mutex
	by   map[string]*seat      // by version
	sent map[vod.TitleID]int64 // by seats that were closed
}

type seat struct {
	title  vod.Title
	host   *native.Host
	rotten int64 // count of repairs when it was opened
}

func (h *hosts) init() {
	h.changed = make(chan struct{}, 1)
	h.by, h.sent = map[string]*seat{}, map[vod.TitleID]int64{}
}

// seed keeps a host for each title that is whole, until ctx ends.
func (e *Edge) seed(ctx context.Context) {
	every := time.NewTicker(seedEvery)
	defer every.Stop()
	for {
		e.arrange(ctx)
		select {
		case <-every.C:
		case <-e.hosts.changed:
		case <-ctx.Done():
			e.closeHosts(func(string, *seat) bool { return true })
			return
		}
	}
}

// arrange opens hosts for what is whole, and closes those of what is not to be served.
func (e *Edge) arrange(ctx context.Context) {
	viewers := catalogue{e, true}
	now := e.Now()
	peers := e.peersAllowed() && !e.lapsed()
	wanted := map[string]*planned{}
	for _, t := range e.list() {
		if peers && len(wanted) < hostsMax && t.Swarm != "" && viewers.shown(t, now) && !e.isRottenTitle(t) {
			wanted[t.Version] = t
		}
	}
	repaired := e.repaired.Load()
	e.closeHosts(func(version string, s *seat) bool {
		return wanted[version] == nil || s.host.Refused() != nil || s.rotten != repaired
	})
	for version, t := range wanted {
		e.hosts.mu.Lock()
		s := e.hosts.by[version]
		e.hosts.mu.Unlock()
		if s != nil || ctx.Err() != nil {
			continue
		}
		if err := e.openSeat(ctx, t); err != nil {
			e.log.WarnContext(ctx, "a title cannot be seeded", "title", t.ID, "error", err)
		}
	}
}

func (e *Edge) peersAllowed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.P2P && e.state.Plan != nil
}

func (e *Edge) isRottenTitle(t *planned) bool {
	for i := range t.title.Version.Files {
		if e.isRotten(t.title.Version.Files[i].Root) {
			return true
		}
	}
	return false
}

// openSeat starts a host over a title's files.
func (e *Edge) openSeat(ctx context.Context, t *planned) (err error) {
	v := &t.title.Version
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
		m, err := e.store.Open(ctx, vod.KeyMedia(f.Root))
		if err != nil {
			return err
		}
		l, err := e.store.Open(ctx, vod.KeyLeaves(f.Root))
		if err != nil {
			return errors.Join(err, m.Close())
		}
		files = append(files, native.Published{Media: m, Leaves: l, Close: closeBoth(m, l)})
	}
	config := native.Config{
		Title: title, Origins: []string{e.own}, OwnUplink: true, LAN: e.c.LAN, Policy: native.Policy{Peers: true, Upload: true},
		Tickets: func() native.Tickets {
			now := e.current(t)
			return native.Tickets{Media: now.Media, Swarm: now.Swarm}
		},
	}
	config.Trackers, config.Announce, config.ICE = e.nodes()
	if t.Open {
		config.PeerPort = e.c.PeerPort
		b, err := catalogue{e, true}.Torrent(ctx, t.ID)
		if err != nil {
			return err
		}
		torrent, err := metainfo.Parse(b)
		if err != nil {
			return err
		}
		if torrent.InfoHash != v.InfoHashV1 || torrent.InfoHashV2 != v.InfoHashV2 || torrent.Private {
			return errors.New("its torrent is another's, or private")
		}
		config.Info = torrent.Info
	} else {
		config.Announce = nil
	}
	if e.c.PeerPort == 0 {
		config.Announce = nil
	}
	if config.Store, err = native.NewPublished(&title, files); err != nil {
		return err
	}
	host, err := native.Open(context.WithoutCancel(ctx), config) // closeHosts ends it, with a goodbye to the tracker
	if err != nil {
		return err
	}
	e.hosts.mu.Lock()
	defer e.hosts.mu.Unlock()
	e.hosts.by[t.Version] = &seat{title: t.title, host: host, rotten: e.repaired.Load()}
	return nil
}

func closeBoth(a, b io.Closer) func() error {
	return func() error { return errors.Join(a.Close(), b.Close()) }
}

// nodes are the plan's trackers, announce addresses and STUN servers, made absolute.
func (e *Edge) nodes() (trackers, announce, ice []string) {
	e.mu.Lock()
	p := e.state.Plan
	base := e.id.Service
	e.mu.Unlock()
	if p == nil {
		return nil, nil, nil
	}
	if p.Public != "" {
		base = p.Public
	}
	u, err := url.Parse(base + "/")
	if err != nil {
		return nil, nil, nil
	}
	absolute := func(list []string, socket bool) (out []string) {
		for _, ref := range list {
			at, err := u.Parse(ref)
			if err != nil {
				continue
			}
			text := at.String()
			if rest, ok := strings.CutPrefix(text, "http"); ok && socket {
				text = "ws" + rest
			}
			out = append(out, text)
		}
		return out
	}
	located := vod.PlayNodes{ICE: p.ICE}
	located.Locate(u.Hostname())
	return absolute(p.Trackers, true), absolute(p.Announce, false), located.ICE
}

// closeHosts closes the seats that which names.
func (e *Edge) closeHosts(which func(string, *seat) bool) {
	e.hosts.mu.Lock()
	var list []*seat
	for at, s := range e.hosts.by {
		if which(at, s) {
			list = append(list, s)
			delete(e.hosts.by, at)
		}
	}
	e.hosts.mu.Unlock()
	for _, s := range list {
		if err := s.host.Close(); err != nil {
			e.log.Warn("close a seeded title", "error", err)
		}
		e.hosts.mu.Lock()
		e.hosts.sent[s.title.ID] += s.host.Stats().SentBytes
		e.hosts.mu.Unlock()
	}
}

// Find is native.ListenerConfig's: the host of an open title for a client that comes over TCP.
func (e *Edge) Find(_ context.Context, h bt.InfoHash) *native.Host {
	e.hosts.mu.Lock()
	defer e.hosts.mu.Unlock()
	for _, s := range e.hosts.by {
		v := &s.title.Version
		if s.title.Open && (v.InfoHashV1 == h || v.InfoHashV2.Truncated() == h) && !s.host.Full() {
			return s.host
		}
	}
	return nil
}

// served is what peers were sent, by title, and how many there are.
func (e *Edge) served() (sent map[vod.TitleID]int64, peers int) {
	e.hosts.mu.Lock()
	seats := make([]*seat, 0, len(e.hosts.by))
	sent = map[vod.TitleID]int64{}
	for id, n := range e.hosts.sent {
		sent[id] = n
	}
	for _, s := range e.hosts.by {
		seats = append(seats, s)
	}
	e.hosts.mu.Unlock()
	for _, s := range seats {
		stats := s.host.Stats()
		sent[s.title.ID] += stats.SentBytes
		peers += stats.Peers
	}
	return sent, peers
}

// Report is how the edge stands.
func (e *Edge) Report() (r vod.EdgeReport) {
	sent, peers := e.served()
	r = vod.EdgeReport{
		Started: e.started.UnixMilli(), Version: e.c.Version, QuotaBytes: e.c.Quota, Peers: peers,
		FilledBytes: e.filled.Load(), FromEdges: e.fromEdges.Load(), Rotten: e.rotten.Load(), Repaired: e.repaired.Load(),
	}
	if t := e.trouble.Load(); t != nil {
		r.Trouble = *t
	}
	var http vod.TrafficReport
	if e.traffic != nil {
		http = e.traffic.Snapshot()
		r.HTTPBytes = http.OriginBytes
	}
	for _, n := range sent {
		r.PeerBytes += n
	}
	for _, t := range e.list() {
		h := vod.EdgeHolding{Title: t.ID, Version: t.Version, HTTPBytes: http.ByTitle[t.ID], PeerBytes: sent[t.ID]}
		for i := range t.title.Version.Files {
			f := &t.title.Version.Files[i]
			h.Size += f.Size
			if e.store.whole(f.Root, f.Size) {
				h.Bytes += f.Size
			}
		}
		r.PlannedBytes += h.Size
		r.HeldBytes += h.Bytes
		r.Titles = append(r.Titles, h)
	}
	return r
}

// writeStatus tells how the edge stands, for `essaim edge status`.
func (e *Edge) writeStatus() error {
	s := Status{
		ID: e.id.ID, Name: e.id.Name, Service: e.id.Service, URL: e.c.URL, AtMs: e.c.Clock().UnixMilli(),
		CertEndsMs: e.cert.Load().Leaf.NotAfter.UnixMilli(), EdgeReport: e.Report(),
	}
	e.mu.Lock()
	s.SyncedMs, s.OffsetMs = e.state.SyncedMs, e.state.OffsetMs
	e.mu.Unlock()
	if f := e.filling.Load(); f != nil {
		s.Filling = *f
	}
	s.TitlesPlan = len(s.Titles)
	for i := range s.Titles {
		if s.Titles[i].Whole() {
			s.TitlesWhole++
		}
	}
	return saveStatus(e.c.Dir, &s)
}
