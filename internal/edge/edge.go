// Package edge is a box near the viewers: it holds the bytes of titles that its service has planned for it, encrypted where the
// title is, and no key; and serves them to browsers over HTTPS and WebRTC, to BitTorrent's clients over TCP, and to other edges.
//
// It must get right: that nothing leaves it, or is kept, that was not held against the title's v2 root, also when the disk has
// changed since; that what the service has revoked ends within seconds, and all else goes on without the service for as long as
// the tickets' grace; and that a kill, a full disk or a wrong clock costs no more than time.
package edge

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/bt"
	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

const (
	syncEvery = 2 * time.Second
	// awayAfter is how long the service is silent before it counts as away, and awayStill how long that lasts after it has come
	// back, for all players to renew their tickets.
	awayAfter, awayStill = 10 * time.Second, 2 * time.Minute
	// rotsMax bounds the blocks that wait to be repaired.
	rotsMax = 4096
)

// Keys is what checks tickets here: members.Verifier.
type Keys interface {
	SetKeys(keys map[string][]byte)
	Revoke(list []vod.Revocation)
	SetIssuer(i vod.Issuer)
}

// Config is what an Edge needs. Dir and Keys are required.
type Config struct {
	Dir string
	// Keys makes what checks tickets here, by the clock that it is given: members.NewVerifier.
	Keys func(clock vod.Clock) Keys

	Quota int64  // bytes of media that it may hold
	Rate  int64  // bytes per second of filling; 0: no bound
	Hours Hours  // when it fills
	Scrub int64  // bytes per second of looking for rot; 0: 2 MB
	URL   string // where browsers reach it; empty: as was said when it joined
	Node  string // HOST:PORT, or :PORT, where other edges reach it; empty: nowhere

	LAN      bool   // addresses of local networks may be offered to peers: in laboratories
	PeerPort uint16 // where BitTorrent's clients reach it over TCP; 0: nowhere
	Version  string // of the program

	Clock func() time.Time // this machine's; nil: time.Now
	Log   *slog.Logger     // nil: slog.Default
}

// Edge is one box. Use Open, Attach, then Run. It is safe for concurrent use.
type Edge struct {
	c       Config
	log     *slog.Logger
	id      identity
	key     ed25519.PrivateKey
	pool    *x509.CertPool
	store   *store
	http    *http.Client // to the service and to other edges
	started time.Time
	keys    Keys
	traffic vod.Traffic // what is served over HTTP; nil: nothing
	own     string      // where this program's own hosts find it, without TLS

	cert atomic.Pointer[tls.Certificate]

	mu     sync.Mutex
	state  saved
	local  time.Time // when state was learned, by this machine's clock; zero: by an earlier run
	titles map[vod.TitleID]*planned
	order  []vod.TitleID
	back   time.Time // when the service came back last, in its time
	gone   time.Time // and when it was last heard of before that
	rots   map[rot]bool

	filled, fromEdges, rotten, repaired atomic.Int64
	trouble, filling                    atomic.Pointer[string]

	changed chan struct{} // the plan is another, or a file became whole
	rotting chan struct{} // there is something to repair
	hosts   hosts

	// write is os.File.WriteAt; tests have fuller disks.
	write func(f writerAt, p []byte, off int64) error
}

type writerAt interface {
	WriteAt(p []byte, off int64) (int, error)
}

// planned is a title of the plan.
type planned struct {
	control.Title
	title vod.Title
}

// Open reads an edge's folder. What the service said last holds until it says something else.
func Open(c Config) (*Edge, error) {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	e := &Edge{
		c: c, log: c.Log, started: c.Clock(), rots: map[rot]bool{}, titles: map[vod.TitleID]*planned{},
		changed: make(chan struct{}, 1), rotting: make(chan struct{}, 1),
		write: func(f writerAt, p []byte, off int64) error { _, err := f.WriteAt(p, off); return err },
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	var cert *tls.Certificate
	var err error
	if e.id, e.key, cert, err = readIdentity(c.Dir); err != nil {
		return nil, err
	}
	if e.c.URL == "" {
		e.c.URL = e.id.URL
	}
	e.cert.Store(cert)
	e.pool = x509.NewCertPool()
	if !e.pool.AppendCertsFromPEM([]byte(e.id.Authority)) {
		return nil, fmt.Errorf("%s names no authority", identityFile)
	}
	if e.store, err = openStore(c.Dir, e.rotted); err != nil {
		return nil, err
	}
	if e.state, err = readState(c.Dir); err != nil {
		e.log.Warn("what the service said is lost, and will be asked for anew", "error", err)
		e.state = saved{}
	}
	e.http = e.newClient()
	e.hosts.init()
	e.keys = c.Keys(e.Now)
	e.keys.SetIssuer(e)
	e.adopt(true)
	return e, nil
}

// Attach says where what is served over HTTP is counted, and how this program itself comes to it (http://127.0.0.1:PORT). It is to
// be called before Run.
func (e *Edge) Attach(traffic vod.Traffic, own string) { e.traffic, e.own = traffic, own }

// Now is the service's time, as far as it is known: this machine's clock, put right by what the service said last. Once it has
// said something, changes of this machine's clock do not count.
func (e *Edge) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now()
}

func (e *Edge) now() time.Time {
	now, offset := e.c.Clock(), time.Duration(e.state.OffsetMs)*time.Millisecond
	if e.local.IsZero() {
		return now.Add(offset)
	}
	return e.local.Round(0).Add(offset + now.Sub(e.local)) // Sub is monotonic
}

// adopt takes over e.state: keys, revocations and plan.
func (e *Edge) adopt(planned bool) {
	e.keys.SetKeys(e.state.Keys)
	var list []vod.Revocation
	for i := range e.state.Revoked {
		list = append(list, e.state.Revoked[i].read())
	}
	e.keys.Revoke(list)
	if planned && e.state.Plan != nil {
		e.plan(e.state.Plan)
	}
}

// plan takes a plan over. What is malformed is passed over.
func (e *Edge) plan(p *control.Plan) {
	titles, order := map[vod.TitleID]*planned{}, []vod.TitleID{}
	for _, t := range p.Titles {
		title, err := t.Read()
		if err != nil {
			e.log.Error("the plan holds a title that cannot be", "title", t.ID, "error", err)
			continue
		}
		titles[t.ID] = &planned{t, title}
		order = append(order, t.ID)
	}
	e.mu.Lock()
	e.titles, e.order = titles, order
	e.mu.Unlock()
	e.tell(e.changed)
}

func (e *Edge) tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Away implements vod.Issuer: while the service is not heard of, running films go on for the tickets' grace.
func (e *Edge) Away() (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, last := e.now(), time.UnixMilli(e.state.SyncedMs)
	switch {
	case e.state.SyncedMs == 0:
		return time.Time{}, false
	case now.Sub(last) > awayAfter:
		return last, true
	case !e.back.IsZero() && now.Sub(e.back) < awayStill:
		return e.gone, true
	}
	return time.Time{}, false
}

// Run keeps the edge: it follows the service, fills, looks for rot, and seeds, until ctx ends. vod.ErrEdgeRevoked ends it too.
func (e *Edge) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	all.Go(func() {
		if err := e.follow(ctx); err != nil {
			cancel(err)
		}
	})
	all.Go(func() { e.fill(ctx) })
	all.Go(func() { e.repair(ctx) })
	all.Go(func() { e.scrub(ctx) })
	all.Go(func() { e.seed(ctx) })
	all.Wait()
	if err := context.Cause(ctx); errors.Is(err, vod.ErrForbidden) {
		return err
	}
	return nil
}

// follow syncs every few seconds, and renews the certificate.
func (e *Edge) follow(ctx context.Context) error {
	every := time.NewTicker(syncEvery)
	defer every.Stop()
	quiet := false
	for {
		err := e.Sync(ctx)
		switch {
		case errors.Is(err, vod.ErrForbidden):
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil && !quiet:
			e.log.WarnContext(ctx, "the service cannot be reached; serving on what it said last", "error", err)
		case err == nil && quiet:
			e.log.InfoContext(ctx, "the service is back")
		}
		quiet = err != nil
		if err := e.writeStatus(); err != nil {
			e.log.ErrorContext(ctx, "tell how it stands", "error", err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Sync tells the service how the edge stands, once, and takes over what it answers; it renews the certificate where that is due.
// vod.ErrEdgeRevoked: the edge is no more.
func (e *Edge) Sync(ctx context.Context) error {
	in := control.Sync{Report: e.Report(), Node: e.c.Node, URL: e.c.URL}
	e.mu.Lock()
	in.Last = e.state.Last
	if e.state.Plan != nil {
		in.Plan = e.state.Plan.Edition
	}
	e.mu.Unlock()
	began := e.c.Clock()
	var news control.News
	if err := e.ask(ctx, http.MethodPost, control.PathSync, in, &news); err != nil {
		return err
	}
	e.mu.Lock()
	if last := time.UnixMilli(e.state.SyncedMs); e.state.SyncedMs != 0 && e.now().Sub(last) > awayAfter {
		e.gone, e.back = last, time.UnixMilli(news.NowMs)
	}
	planned := e.state.learn(&news, began)
	e.local = began
	b, err := json.Marshal(&e.state)
	e.mu.Unlock()
	e.adopt(planned)
	if err == nil {
		err = replaceFile(filepath.Join(e.c.Dir, stateFile), b) // every few seconds
	}
	if err != nil { // it is known all the same, until the next start
		e.log.ErrorContext(ctx, "keep what the service said", "error", err)
	}
	return e.renew(ctx)
}

// renew gets a new certificate with a third of the old one's life left.
func (e *Edge) renew(ctx context.Context) error {
	leaf := e.cert.Load().Leaf
	if left := leaf.NotAfter.Sub(e.Now()); left > leaf.NotAfter.Sub(leaf.NotBefore)/3 {
		return nil
	}
	request, err := requestOf(e.key)
	if err != nil {
		return err
	}
	var b []byte
	if err := e.ask(ctx, http.MethodPost, control.PathRenew, request, &b); err != nil {
		return fmt.Errorf("renew the certificate: %w", err)
	}
	if _, err := checkPair(e.key, string(b), e.id.Authority, e.id.ID, e.Now()); err != nil {
		return fmt.Errorf("renew the certificate: %w", err)
	}
	cert, err := pairOf(e.key, b)
	if err == nil {
		err = writeFile(filepath.Join(e.c.Dir, certificateFile), b)
	}
	if err != nil {
		return fmt.Errorf("renew the certificate: %w", err)
	}
	e.cert.Store(cert)
	e.http.CloseIdleConnections() // which were made with the old one
	e.log.InfoContext(ctx, "the certificate was renewed", "until", cert.Leaf.NotAfter)
	return nil
}

// lapsed reports whether the edge's own certificate has ended: nobody vouches for it any more.
func (e *Edge) lapsed() bool { return !e.Now().Before(e.cert.Load().Leaf.NotAfter) }

// Pages are the web origins whose pages may read members' titles here.
func (e *Edge) Pages() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.state.Pages) > 0 {
		return e.state.Pages
	}
	if site := siteOf(e.id.Service); site != "" {
		return []string{site}
	}
	return nil
}

// rotted notes a block to repair; it is the store's.
func (e *Edge) rotted(r rot) {
	e.mu.Lock()
	known := e.rots[r]
	if !known && len(e.rots) < rotsMax {
		e.rots[r] = true
	}
	e.mu.Unlock()
	if !known {
		e.rotten.Add(1)
		e.log.Error("a block has changed on the disk; it is not served, and fetched again", "root", r.root.String(), "block", r.block)
	}
	e.tell(e.rotting)
}

// isRotten reports whether a file has blocks that wait to be repaired.
func (e *Edge) isRotten(root bt.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.rots {
		if r.root == root {
			return true
		}
	}
	return false
}
