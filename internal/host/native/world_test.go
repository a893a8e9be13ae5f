package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// film is a title of two files, and an origin that serves it and counts.
type film struct {
	title engine.Title
	files [][]byte
	trees []*bt.Tree
	info  []byte                                            // of openTitle
	sent  atomic.Int64                                      // media bytes
	fault func(w http.ResponseWriter, r *http.Request) bool // answers instead, when it returns true
}

const testPiece = 64 << 10

func newFilm(t *testing.T, sizes ...int) *film {
	t.Helper()
	f := &film{title: engine.Title{PieceLength: testPiece, Seed: 7}}
	rng := rand.NewChaCha8([32]byte{1})
	copy(f.title.InfoHash[:], "the film's info hash")
	copy(f.title.InfoHashV2[:], "its second info hash")
	piece := uint32(0)
	for i, n := range sizes {
		data := make([]byte, n)
		if _, err := rng.Read(data); err != nil {
			t.Fatal(err)
		}
		var leaves []bt.Digest
		for b := data; len(b) > 0; b = b[min(len(b), bt.BlockSize):] {
			leaves = append(leaves, sha256.Sum256(b[:min(len(b), bt.BlockSize)]))
		}
		tree := bt.NewTree(leaves, testPiece/bt.BlockSize)
		kind := engine.TrackVideo
		if i > 0 {
			kind = engine.TrackAudio
		}
		f.files, f.trees = append(f.files, data), append(f.trees, tree)
		f.title.Files = append(f.title.Files, engine.TitleFile{Size: uint64(n), Root: tree.Root(), FirstPiece: piece, Track: kind})
		piece += uint32((n + testPiece - 1) / testPiece)
	}
	return f
}

func (f *film) size() (n int64) {
	for _, b := range f.files {
		n += int64(len(b))
	}
	return n
}

func (f *film) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.fault != nil && f.fault(w, r) {
		return
	}
	kind, root, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	for i := range f.files {
		if root != f.title.Files[i].Root.String() {
			continue
		}
		switch kind {
		case "media":
			http.ServeContent(&counted{w, &f.sent}, r, "", time.Time{}, bytes.NewReader(f.files[i]))
		case "hashes":
			num := func(name string) uint32 {
				n, _ := strconv.ParseUint(r.URL.Query().Get(name), 10, 32)
				return uint32(n)
			}
			d, err := f.trees[i].Answer(bt.HashRequest{
				Root: f.title.Files[i].Root, Base: num("base"), Index: num("index"), Length: num("length"), Proof: num("proof"),
			})
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			_, _ = w.Write(bt.AppendDigests(nil, d))
		}
		return
	}
	http.NotFound(w, r)
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// meeting is the least of a tracker: it introduces every viewer to those who came before, and relays.
type meeting struct {
	mu    sync.Mutex
	socks map[bt.PeerID]*websocket.Conn
	seen  chan announce.Request   // of kind announce, when somebody listens
	bend  func(sdp string) string // what becomes of a description on its way; nil: nothing
}

func newMeeting() *meeting {
	return &meeting{socks: map[bt.PeerID]*websocket.Conn{}, seen: make(chan announce.Request, 100)}
}

func (m *meeting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(announce.MessageMax)
	var me bt.PeerID
	defer func() {
		m.mu.Lock()
		if m.socks[me] == c {
			delete(m.socks, me)
		}
		m.mu.Unlock()
	}()
	for {
		_, b, err := c.Read(r.Context())
		if err != nil {
			return
		}
		req, err := announce.ParseRequest(b)
		if err != nil {
			return
		}
		m.mu.Lock()
		me = req.PeerID
		m.socks[me] = c
		out, to := []byte(nil), c
		if req.Kind == announce.KindAnnounce {
			reply := announce.Reply{InfoHash: req.InfoHash, Interval: 60, Complete: 1, Incomplete: len(m.socks), Viewer: &announce.Introductions{}}
			if req.Event != announce.EventStopped {
				for id := range m.socks {
					if id != me {
						reply.Viewer.Meet = append(reply.Viewer.Meet, announce.Meet{PeerID: id, Offer: true})
					}
				}
			}
			out = announce.AppendReply(nil, &reply)
			select {
			case m.seen <- req:
			default:
			}
		} else {
			to = m.socks[req.To]
			if m.bend != nil {
				req.SDP = m.bend(req.SDP)
			}
			out = announce.AppendRelayed(nil, &announce.Relayed{
				InfoHash: req.InfoHash, From: me, OfferID: req.OfferID, Answer: req.Kind == announce.KindAnswer, SDP: req.SDP,
			})
		}
		m.mu.Unlock()
		if to != nil {
			_ = to.Write(r.Context(), websocket.MessageText, out)
		}
	}
}

// kill ends all sockets without a word.
func (m *meeting) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.socks {
		_ = c.CloseNow()
	}
}

// forget drops what was announced so far.
func (m *meeting) forget() {
	for {
		select {
		case <-m.seen:
		default:
			return
		}
	}
}

// tell sends a peer news of the swarm, unasked.
func (m *meeting) tell(ctx context.Context, to bt.PeerID, h bt.InfoHash, news announce.Introductions) error {
	m.mu.Lock()
	c := m.socks[to]
	m.mu.Unlock()
	if c == nil {
		return fmt.Errorf("%v has no socket", to)
	}
	return c.Write(ctx, websocket.MessageText, announce.AppendReply(nil, &announce.Reply{InfoHash: h, Interval: 60, Viewer: &news}))
}

// place is an origin and a tracker, up.
type place struct {
	film    *film
	meeting *meeting
	origin  string
	tracker string
}

func newPlace(t *testing.T, f *film) *place {
	p := &place{film: f, meeting: newMeeting()}
	o := httptest.NewServer(f)
	t.Cleanup(o.Close)
	m := httptest.NewServer(p.meeting)
	t.Cleanup(m.Close)
	p.origin, p.tracker = o.URL, "ws"+strings.TrimPrefix(m.URL, "http")
	return p
}

func (p *place) config() Config {
	return Config{
		Title: p.film.title, Origins: []string{p.origin}, Trackers: []string{p.tracker}, LAN: true,
		Policy: Policy{Peers: true, Upload: true},
	}
}

func open(t *testing.T, cfg Config) *Host {
	t.Helper()
	h, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// watch reads a whole file and compares it with the film.
func watch(ctx context.Context, h *Host, f *film, file uint32) error {
	sum := sha256.New()
	size := int64(len(f.files[file]))
	for at := int64(0); at < size; at += 1 << 20 {
		b, err := h.ReadRange(ctx, file, at, min(size, at+1<<20))
		if err != nil {
			return err
		}
		sum.Write(b)
	}
	want := sha256.Sum256(f.files[file])
	if got := sum.Sum(nil); !bytes.Equal(got, want[:]) {
		return fmt.Errorf("file %d: got %s, want %s", file, hex.EncodeToString(got), hex.EncodeToString(want[:]))
	}
	return nil
}

// awaitNote returns a Note function and a channel that is closed at the first note of the kind.
func awaitNote(kind engine.NoteKind) (func(engine.Output), <-chan struct{}) {
	ch := make(chan struct{})
	var once sync.Once
	return func(o engine.Output) {
		if o.Note == kind {
			once.Do(func() { close(ch) })
		}
	}, ch
}
