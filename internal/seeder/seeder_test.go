package seeder

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
	"essaim/internal/library"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/vod"
)

// town is a catalogue on a real database with a seeder before it, on a port of the loopback.
type town struct {
	t      *testing.T
	titles *library.Library
	blobs  *mem.Store
	seeder *Seeder
	at     chan net.Addr
}

func newTown(t *testing.T) *town {
	db, err := sqltest.Open(t.Context(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	x := &town{t: t, titles: library.New(db, time.Now), blobs: mem.New(), at: make(chan net.Addr, 1)}
	x.seeder = New(Config{Titles: x.titles, Blobs: x.blobs, Origin: "http://127.0.0.1:1", Log: slog.New(slog.DiscardHandler)})
	return x
}

// serve starts the seeder, and returns where it listens.
func (x *town) serve() string {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- x.seeder.Serve(ctx, func() (net.Listener, error) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				x.at <- ln.Addr()
			}
			return ln, err
		})
	}()
	x.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			x.t.Error(err)
		}
		if n := x.open(); n != 0 {
			x.t.Errorf("%d titles are still open", n)
		}
	})
	return (<-x.at).String()
}

// open is how many seats there are.
func (x *town) open() int {
	x.seeder.mu.Lock()
	defer x.seeder.mu.Unlock()
	return len(x.seeder.seats)
}

// publish makes a title of one file and puts it before the public.
func (x *town) publish(id vod.TitleID, open bool) vod.Title { return x.publishAs(id, open, nil) }

// publishAs is publish of a torrent in which edit, unless it is nil, has changed bytes.
func (x *town) publishAs(id vod.TitleID, open bool, edit func(m *metainfo.Torrent)) vod.Title {
	x.t.Helper()
	data := make([]byte, 100_000)
	_, _ = rand.Read(data)
	m, err := metainfo.Create(x.t.Context(), []metainfo.Source{{Path: "video.mp4", Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}}, metainfo.Options{Name: string(id), Private: !open})
	if err != nil {
		x.t.Fatal(err)
	}
	f := &m.Files[0]
	if edit != nil {
		leaves := f.Leaves
		edit(m)
		if m, err = metainfo.Parse(m.Bytes); err != nil {
			x.t.Fatal(err)
		}
		f = &m.Files[0]
		f.Leaves = leaves
	}
	for key, b := range map[string][]byte{vod.KeyMedia(f.Root): data, vod.KeyLeaves(f.Root): bt.AppendDigests(nil, f.Leaves)} {
		if err := x.blobs.Put(x.t.Context(), key, bytes.NewReader(b)); err != nil {
			x.t.Fatal(err)
		}
	}
	t := vod.Title{ID: id, Name: string(id), Open: open, Version: vod.Version{
		ID: m.InfoHashV2.String(), InfoHashV1: m.InfoHash, InfoHashV2: m.InfoHashV2, PieceLength: m.PieceLength, DurationMs: 1000,
		Files: []vod.File{{Path: f.Path, Size: f.Size, Root: f.Root, Kind: vod.Video, Codec: "avc1.64001e", Bandwidth: 1}},
	}}
	if err := x.titles.Publish(x.t.Context(), t, m.Bytes); err != nil {
		x.t.Fatal(err)
	}
	return t
}

// comes says a handshake, and reads until the seeder has answered with one and with what it has.
func (x *town) comes(at string, h bt.InfoHash) (net.Conn, error) {
	return x.comesFrom("127.0.0.1", at, h)
}

func (x *town) comesFrom(from, at string, h bt.InfoHash) (net.Conn, error) {
	x.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", at)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs shall end
	hello := wire.Handshake{InfoHash: h, Fast: true}
	_, _ = rand.Read(hello.PeerID[:])
	if _, err := c.Write(wire.AppendHandshake(nil, hello)); err != nil {
		x.t.Fatal(err)
	}
	_, err = io.ReadFull(c, make([]byte, wire.HandshakeSize+5)) // and have-all
	return c, err
}

func TestOpenTitlesAreSeededByEitherHashAndOthersAreNotThere(t *testing.T) {
	x := newTown(t)
	open, shut := x.publish("open", true), x.publish("shut", false)
	at := x.serve()
	for _, h := range []bt.InfoHash{open.Version.InfoHashV1, open.Version.InfoHashV2.Truncated()} {
		if _, err := x.comes(at, h); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
	for _, h := range []bt.InfoHash{shut.Version.InfoHashV1, shut.Version.InfoHashV2.Truncated(), {1}} {
		if _, err := x.comes(at, h); err != io.EOF {
			t.Errorf("%s: %v", h, err)
		}
	}
	if n := x.open(); n != 1 {
		t.Errorf("%d titles are open", n)
	}
}

func TestATitleThatIsNoLongerOpenLosesItsPeers(t *testing.T) {
	x := newTown(t)
	first, second := x.publish("first", true), x.publish("second", true)
	at := x.serve()
	a, err := x.comes(at, first.Version.InfoHashV1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x.comes(at, second.Version.InfoHashV1)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.titles.Withdraw(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	x.publish("second", false) // a new version, for members
	x.seeder.sweep(t.Context())
	for name, c := range map[string]net.Conn{"withdrawn": a, "for members": b} {
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, h := range []bt.InfoHash{first.Version.InfoHashV1, second.Version.InfoHashV1} {
		if _, err := x.comes(at, h); err != io.EOF {
			t.Errorf("%s: %v", h, err)
		}
	}
}

func TestATitleWhoseFilesAreGoneIsNotSeeded(t *testing.T) {
	x := newTown(t)
	title := x.publish("open", true)
	at := x.serve()
	if err := x.blobs.Delete(t.Context(), vod.KeyLeaves(title.Version.Files[0].Root)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.comes(at, title.Version.InfoHashV1); err != io.EOF {
		t.Error(err)
	}
}

func TestATorrentAtOddsWithItselfIsQuarantined(t *testing.T) {
	x := newTown(t)
	bad := x.publishAs("bad", true, func(m *metainfo.Torrent) {
		m.Bytes[bytes.Index(m.Bytes, m.Pieces[0][:])] ^= 1
	})
	good := x.publish("good", true)
	at := x.serve()
	c, err := x.comes(at, bad.Version.InfoHashV1)
	if err != nil {
		t.Fatal(err)
	}
	ask := wire.AppendRequest(wire.AppendInterested(nil), wire.Request{Length: bt.BlockSize})
	if _, err := c.Write(ask); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(c); err != nil || len(said) > 1000 {
		t.Errorf("%d bytes came, %v", len(said), err)
	}
	for range 2 { // and it stays so
		x.seeder.sweep(t.Context())
		if _, err := x.comes(at, bad.Version.InfoHashV2.Truncated()); err != io.EOF {
			t.Error(err)
		}
	}
	if _, err := x.comes(at, good.Version.InfoHashV1); err != nil {
		t.Error("another title:", err)
	}
	x.publish("bad", true) // ingested anew
	x.seeder.sweep(t.Context())
	if n := x.open(); n != 1 {
		t.Errorf("%d seats", n)
	}
}

func TestATitleHasRoomForMorePeersThanOneEngine(t *testing.T) {
	x := newTown(t)
	open := x.publish("open", true)
	at := x.serve()
	const more = engine.PeersMax + 6
	for n := range more { // of five households: eight of one are let in
		if _, err := x.comesFrom(fmt.Sprintf("127.0.0.%d", 2+n%5), at, open.Version.InfoHashV1); err != nil {
			t.Fatalf("peer %d: %v", n, err)
		}
	}
	if n := x.open(); n != 2 {
		t.Errorf("%d seats", n)
	}
	if err := x.titles.Withdraw(t.Context(), "open"); err != nil {
		t.Fatal(err)
	}
	x.seeder.sweep(t.Context())
	if n := x.open(); n != 0 {
		t.Errorf("%d seats of what is withdrawn", n)
	}
}

// TestWithoutAnOpenTitleNobodyListens looks for an open title several times, by a clock of the test's own, before one is published.
func TestWithoutAnOpenTitleNobodyListens(t *testing.T) {
	x := newTown(t)
	x.publish("shut", false)
	looks := &counted{Library: x.titles, lists: make(chan struct{})}
	x.seeder.c.Titles = looks
	tick := make(chan time.Time)
	x.seeder.after = func(time.Duration) <-chan time.Time { return tick }
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- x.seeder.Serve(ctx, func() (net.Listener, error) {
			close(opened)
			return net.Listen("tcp", "127.0.0.1:0")
		})
	}()
	local := netip.MustParseAddr("192.0.2.1")
	for range 3 {
		<-looks.lists // it has looked
		select {
		case <-opened:
			t.Fatal("a port is opened")
		case tick <- time.Time{}: // and waits to look again
		}
		if _, ok := x.seeder.Peer(local); ok {
			t.Error("an address is told")
		}
	}
	<-looks.lists
	x.publish("open", true)
	tick <- time.Time{}
	<-looks.lists
	<-opened // so that what came before shows something
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// counted is a library that tells whenever all open titles were asked for.
type counted struct {
	*library.Library
	lists chan struct{}
}

func (c *counted) List(ctx context.Context, open bool) ([]vod.Title, error) {
	list, err := c.Library.List(ctx, open)
	c.lists <- struct{}{}
	return list, err
}

func TestTheAddressToldIsTheOneSetOrTheOneReached(t *testing.T) {
	local := netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		public, want string
		local        netip.Addr
	}{
		{"", "192.0.2.1:6881", local},
		{"198.51.100.1:0", "198.51.100.1:6881", local},
		{"198.51.100.1:7000", "198.51.100.1:7000", netip.Addr{}},
		{"", "", netip.Addr{}},
	} {
		public, _ := netip.ParseAddrPort(c.public)
		s := New(Config{Public: public})
		s.port.Store(6881)
		if got, ok := s.Peer(c.local); ok != (c.want != "") || ok && got.String() != c.want {
			t.Errorf("%+v: %v, %v", c, got, ok)
		}
	}
}
