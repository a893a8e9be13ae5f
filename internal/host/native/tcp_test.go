package native

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/bt/metainfo"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// openTitle gives the film a torrent, whose info dictionary takes two messages to send, and its info hashes.
func (f *film) openTitle(t *testing.T) *film {
	return f.openWith(t, func([]byte, []metainfo.HashV1) {})
}

// openWith is openTitle after edit has had its way with the info dictionary; it is told of the v1 hashes.
func (f *film) openWith(t *testing.T, edit func(info []byte, v1 []metainfo.HashV1)) *film {
	t.Helper()
	var sources []metainfo.Source
	for i, data := range f.files {
		sources = append(sources, metainfo.Source{
			Path: fmt.Sprintf("%d.mp4", i), Size: int64(len(data)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		})
	}
	m, err := metainfo.Create(t.Context(), sources, metainfo.Options{Name: "film", PieceLength: testPiece})
	if err != nil {
		t.Fatal(err)
	}
	f.info = fmt.Appendf(bytes.Clone(m.Info[:len(m.Info)-1]), "1:z20000:%se", make([]byte, 20_000)) // a key that nobody knows
	edit(f.info, m.Pieces)
	f.title.InfoHash = sha1.Sum(f.info)
	v2 := bt.InfoHashV2(sha256.Sum256(f.info))
	f.title.InfoHashV2 = v2.Truncated()
	return f
}

// published is a store over the film's own bytes.
func (f *film) published(t *testing.T) Store {
	t.Helper()
	var files []Published
	for i, data := range f.files {
		var leaves []bt.Digest
		for b := data; len(b) > 0; b = b[min(len(b), bt.BlockSize):] {
			leaves = append(leaves, sha256.Sum256(b[:min(len(b), bt.BlockSize)]))
		}
		files = append(files, Published{Media: bytes.NewReader(f.files[i]), Leaves: bytes.NewReader(bt.AppendDigests(nil, leaves))})
	}
	s, err := NewPublished(&f.title, files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seedTCP seeds the film on a port of the loopback.
func seedTCP(t *testing.T, p *place, edit func(*ListenerConfig)) (*Host, netip.AddrPort) {
	t.Helper()
	cfg := p.config()
	cfg.Trackers, cfg.Store, cfg.Info, cfg.OwnUplink = nil, p.film.published(t), p.film.info, true
	h := open(t, cfg)
	c := ListenerConfig{Find: func(_ context.Context, x bt.InfoHash) *Host {
		if x == cfg.Title.InfoHash || x == cfg.Title.InfoHashV2 {
			return h
		}
		return nil
	}}
	if edit != nil {
		edit(&c)
	}
	return h, listenTCP(t, c)
}

func listenTCP(t *testing.T, c ListenerConfig) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := l.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return addrPortOf(ln.Addr())
}

// foreigner is a peer of the test's own.
type foreigner struct {
	t *testing.T
	net.Conn
}

func dialTCP(t *testing.T, from string, to netip.AddrPort) *foreigner {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs shall end
	return &foreigner{t, c}
}

func (s *foreigner) send(b []byte) {
	s.t.Helper()
	if _, err := s.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// greets sends a handshake and returns the answer's.
func (s *foreigner) greets(h wire.Handshake) wire.Handshake {
	s.t.Helper()
	binary.BigEndian.PutUint16(h.PeerID[:], addrPortOf(s.LocalAddr()).Port()) // one for each
	s.send(wire.AppendHandshake(nil, h))
	b := make([]byte, wire.HandshakeSize)
	if _, err := io.ReadFull(s, b); err != nil {
		s.t.Fatal(err)
	}
	got, err := wire.ParseHandshake(b)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// hears returns the next message that is of interest.
func (s *foreigner) hears(interest func(*wire.Message) bool) wire.Message {
	s.t.Helper()
	for {
		var length [4]byte
		if _, err := io.ReadFull(s, length[:]); err != nil {
			s.t.Fatal(err)
		}
		b := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(s, b); err != nil {
			s.t.Fatal(err)
		}
		if len(b) == 0 {
			continue
		}
		m, err := wire.Parse(b)
		if err != nil {
			s.t.Fatal(err)
		}
		if interest(&m) {
			return m
		}
	}
}

// isClosed waits until the other side has closed, without another word.
func (s *foreigner) isClosed(why string) {
	s.t.Helper()
	n, err := io.Copy(io.Discard, s)
	if n > 0 || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		s.t.Errorf("%s: %d bytes, then %v", why, n, err)
	}
}

func isTimeout(err error) bool {
	var x net.Error
	return errors.As(err, &x) && x.Timeout()
}

func TestTCPPeersOfBothVersionsAreAnsweredUnderTheirHash(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000, 5_000).openTitle(t))
	_, at := seedTCP(t, p, nil)
	v1, v2 := p.film.title.InfoHash, p.film.title.InfoHashV2
	for _, x := range []struct {
		name string
		says wire.Handshake
		want bt.InfoHash
	}{
		{"v1", wire.Handshake{InfoHash: v1}, v1},
		{"hybrid, which BEP 52 lets us upgrade", wire.Handshake{InfoHash: v1, V2: true, Extended: true, Fast: true}, v2},
		{"v2", wire.Handshake{InfoHash: v2, Extended: true}, v2},
	} {
		s := dialTCP(t, "", at)
		if got := s.greets(x.says); got.InfoHash != x.want || !got.Extended || !got.Fast || !got.V2 {
			t.Errorf("%s: %+v", x.name, got)
		}
		s.Close()
	}
}

func TestTCPPeersGetTheInfoDictionaryAndEveryBlockPadsIncluded(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000, 5_000).openTitle(t))
	_, at := seedTCP(t, p, nil)
	s := dialTCP(t, "", at)
	s.greets(wire.Handshake{InfoHash: p.film.title.InfoHash, Extended: true, Fast: true})
	m := s.hears(func(m *wire.Message) bool { return m.ID == wire.Extended && m.ExtID == 0 })
	h, err := wire.ParseExtHandshake(m.Payload)
	if err != nil || !h.UploadOnly || int(h.MetadataSize) != len(p.film.info) {
		t.Fatalf("%+v, %v", h, err)
	}
	s.hears(func(m *wire.Message) bool { return m.ID == wire.HaveAll })

	theirs, _ := h.Lookup(wire.ExtMetadata)
	s.send(wire.AppendExtHandshake(nil, wire.ExtHandshake{Extensions: []wire.Extension{{Name: wire.ExtMetadata, ID: 9}}}))
	var info []byte
	answer := func(piece uint32) wire.Metadata {
		s.send(wire.AppendMetadata(nil, theirs, wire.Metadata{Kind: wire.MetadataRequest, Piece: piece}))
		m := s.hears(func(m *wire.Message) bool { return m.ID == wire.Extended && m.ExtID == 9 })
		x, err := wire.ParseMetadata(m.Payload)
		if err != nil || x.Piece != piece {
			t.Fatalf("%+v, %v", x, err)
		}
		return x
	}
	for n := range 2 {
		info = append(info, answer(uint32(n)).Data...)
	}
	if !bytes.Equal(info, p.film.info) {
		t.Errorf("%d bytes of metadata", len(info))
	}
	for _, piece := range []uint32{2, 1 << 31} {
		if x := answer(piece); x.Kind != wire.MetadataReject {
			t.Errorf("piece %d of the metadata: %+v", piece, x)
		}
	}
	given := 2
	for given < 100 && answer(0).Kind == wire.MetadataData {
		given++
	}
	if given > 6 {
		t.Errorf("%d parts of the metadata were given to one peer", given)
	}

	s.send(wire.AppendInterested(nil))
	s.hears(func(m *wire.Message) bool { return m.ID == wire.Unchoke })
	var got []byte
	for begin := range uint32(4) { // the second piece: 34,464 bytes of film, and then a pad
		s.send(wire.AppendRequest(nil, wire.Request{Piece: 1, Begin: begin * bt.BlockSize, Length: bt.BlockSize}))
		got = append(got, s.hears(func(m *wire.Message) bool { return m.ID == wire.Piece }).Payload...)
	}
	want := make([]byte, testPiece)
	copy(want, p.film.files[0][testPiece:])
	if !bytes.Equal(got, want) {
		t.Error("the piece is not the film's with zeros after it")
	}
}

func TestWhatIsNoPeerOfOursIsClosed(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000).openTitle(t))
	_, at := seedTCP(t, p, nil)
	for name, b := range map[string][]byte{
		"another protocol":    bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 8),
		"an encrypted client": bytes.Repeat([]byte{0xa5, 0x5a, 0x17}, 40),
		"another swarm":       wire.AppendHandshake(nil, wire.Handshake{InfoHash: bt.InfoHash{1}}),
	} {
		s := dialTCP(t, "", at)
		s.send(b)
		s.isClosed(name)
	}
	s := dialTCP(t, "", at)
	s.greets(wire.Handshake{InfoHash: p.film.title.InfoHash})
	s.send([]byte{0xff, 0xff, 0xff, 0xff, 20})
	if _, err := io.Copy(io.Discard, s); isTimeout(err) {
		t.Error("a message of 4 GiB was waited for")
	}
}

func TestSlowHandshakesEndAndKeepNobodyOut(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000).openTitle(t))
	_, at := seedTCP(t, p, func(c *ListenerConfig) { c.GreetingTimeout = 2 * time.Second })
	var slow []*foreigner
	for i := range greetingsMax + 100 { // more than may dawdle at once, from many addresses
		s := dialTCP(t, netip.AddrFrom4([4]byte{127, 0, 1, byte(i % 200)}).String(), at)
		s.send([]byte{19})
		slow = append(slow, s)
	}
	honest := dialTCP(t, "", at)
	honest.greets(wire.Handshake{InfoHash: p.film.title.InfoHash})
	for _, s := range slow {
		s.isClosed("one byte of a handshake")
	}
	honest.hears(func(m *wire.Message) bool { return m.ID == wire.Bitfield })
}

func TestOneAddressHoldsSoManyTCPConnections(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000).openTitle(t))
	_, at := seedTCP(t, p, func(c *ListenerConfig) { c.PerAddress = 2 })
	hello := wire.Handshake{InfoHash: p.film.title.InfoHash}
	for range 2 {
		s := dialTCP(t, "", at)
		hello.PeerID[0]++
		s.send(wire.AppendHandshake(nil, hello))
		if _, err := io.ReadFull(s, make([]byte, wire.HandshakeSize)); err != nil {
			t.Fatal(err)
		}
	}
	dialTCP(t, "", at).isClosed("a third connection")
	dialTCP(t, "127.0.0.2", at).greets(wire.Handshake{InfoHash: p.film.title.InfoHash})
}

func TestARottenBlockIsNotServed(t *testing.T) {
	p := newPlace(t, newFilm(t, 3*testPiece).openTitle(t))
	_, at := seedTCP(t, p, nil)
	p.film.files[0][testPiece+bt.BlockSize+5] ^= 1 // the leaves were made before
	s := dialTCP(t, "", at)
	s.greets(wire.Handshake{InfoHash: p.film.title.InfoHash, Fast: true})
	s.send(wire.AppendInterested(nil))
	s.hears(func(m *wire.Message) bool { return m.ID == wire.Unchoke })
	for _, r := range []wire.Request{{Piece: 0, Begin: 100, Length: 20}, {Piece: 1, Begin: bt.BlockSize, Length: bt.BlockSize}, {Piece: 2, Length: bt.BlockSize}} {
		s.send(wire.AppendRequest(nil, r))
	}
	if m := s.hears(func(m *wire.Message) bool { return m.ID == wire.Piece || m.ID == wire.Reject }); m.ID != wire.Piece || !bytes.Equal(m.Payload, p.film.files[0][100:120]) {
		t.Errorf("a sound block of another piece: %v", m.ID)
	}
	if m := s.hears(func(m *wire.Message) bool { return m.ID == wire.Piece }); m.Request.Piece != 2 {
		t.Errorf("the rotten block was sent")
	}
}

func TestHostsFindOneAnotherByAnnouncesAndTradeOverTCP(t *testing.T) {
	p := newPlace(t, newFilm(t, 600_000, 90_000).openTitle(t))
	seeder, at := seedTCP(t, p, nil)
	announced := make(chan announce.HTTPRequest, 10)
	tracker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := announce.ParseHTTPRequest(r.URL.RawQuery)
		if err != nil {
			t.Error(err)
		}
		announced <- req
		_, _ = w.Write(announce.AppendHTTPReply(nil, &announce.HTTPReply{Interval: 60, Peers: []netip.AddrPort{at}}))
	}))
	t.Cleanup(tracker.Close)

	cfg := p.config()
	cfg.Trackers, cfg.Announce, cfg.PeerPort = nil, []string{tracker.URL + "/announce"}, 4321
	up, met := awaitNote(engine.NotePeerUp)
	cfg.Note = up
	h := open(t, cfg)
	<-met
	h.Moved(Playback{Position: -time.Hour, Rate: 1}) // in no hurry: peers' bytes rather than the origin's
	for file := range p.film.files {
		if err := watch(t.Context(), h, p.film, uint32(file)); err != nil {
			t.Fatal(err)
		}
	}
	if s := h.Stats(); s.PeerBytes < p.film.size()/2 || s.Connections != 0 {
		t.Errorf("%+v", s)
	}
	if s := seeder.Stats(); s.SentBytes < p.film.size()/2 {
		t.Errorf("the seeder: %+v", s)
	}
	if first := <-announced; first.Port != 4321 || first.Event != announce.EventStarted || first.Left != p.film.size() || first.InfoHash != p.film.title.InfoHash {
		t.Errorf("%+v", first)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if last := <-announced; last.Event != announce.EventStopped {
		t.Errorf("%+v", last)
	}
}

func TestAForeignInfoDictionaryIsRefused(t *testing.T) {
	p := newPlace(t, newFilm(t, 100_000).openTitle(t))
	cfg := p.config()
	other := newFilm(t, 90_000).openTitle(t)
	asOthers := cfg
	asOthers.Title.InfoHash, asOthers.Title.InfoHashV2 = other.title.InfoHash, other.title.InfoHashV2 // whose files are not the title's
	asOthers.Info = other.info
	cfg.Info = append(bytes.Clone(p.film.info), 'x')
	for name, c := range map[string]Config{"with a byte too many": cfg, "of other files": asOthers} {
		if h, err := Open(t.Context(), c); err == nil {
			h.Close()
			t.Error(name, "it was taken")
		}
	}
}
