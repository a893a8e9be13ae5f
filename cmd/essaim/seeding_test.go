package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/watch"
)

// seeded is a whole service on a folder of its own, with an open title, that seeds over TCP until stop is called.
type seeded struct {
	*service
	node *node
	stop func()
}

func newSeeded(t *testing.T) *seeded {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := seeding{BitTorrent: "127.0.0.1:0"}
	n, err := openNode(t.Context(), nodeConfig{data: t.TempDir(), log: slog.New(slog.DiscardHandler), lan: true, url: urlOf(ln.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	s := &seeded{service: &service{url: urlOf(ln.Addr()), origin: n.origin, data: map[string][]byte{}}, node: n}
	s.publish(t, n.library, n.objects)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx, ln) }()
	if s.stop, err = c.start(ctx, ln.Addr().String(), n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		s.stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *seeded) get(t *testing.T, path string) []byte {
	t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", path, resp.StatusCode, b, err)
	}
	return b
}

// libtorrent is a running client of testdata/libtorrent_client.py.
type libtorrent struct {
	t      *testing.T
	folder string
	in     io.WriteCloser
	out    *bufio.Scanner
}

// python finds an interpreter that has libtorrent, or skips the test.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import libtorrent").Run() == nil {
			return name
		}
	}
	t.Skip("libtorrent is missing: apt-get install python3-libtorrent")
	return ""
}

func newLibtorrent(t *testing.T, source string) *libtorrent {
	t.Helper()
	x := &libtorrent{t: t, folder: t.TempDir()}
	cmd := exec.Command(python(t), "testdata/libtorrent_client.py", source, x.folder)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if x.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x.out = bufio.NewScanner(out)
	t.Cleanup(func() {
		x.in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("libtorrent: %v\n%s", err, said.String())
		}
	})
	return x
}

// says waits for the line that has a key.
func (x *libtorrent) says(key string) map[string]any {
	x.t.Helper()
	for x.out.Scan() {
		var line map[string]any
		if err := json.Unmarshal(x.out.Bytes(), &line); err != nil {
			x.t.Fatalf("%s: %v", x.out.Bytes(), err)
		}
		if line["failed"] != nil {
			x.t.Fatalf("libtorrent: %s", x.out.Bytes())
		}
		if line[key] != nil {
			return line
		}
	}
	x.t.Fatalf("libtorrent ended before it said %q", key)
	return nil
}

// has checks that what it downloaded is the title, by its own count and on the disk.
func (x *libtorrent) has(s *seeded) {
	x.t.Helper()
	meta, done := x.says("metadata"), x.says("done")
	v := s.title.Version
	if meta["v1"] != v.InfoHashV1.String() || meta["v2"] != v.InfoHashV2.String() {
		x.t.Errorf("%v", meta)
	}
	if n := done["downloaded"].(float64); n < float64(s.size()) || done["failed_bytes"] != 0.0 {
		x.t.Errorf("%v of a title of %d", done, s.size())
	}
	for path, data := range s.data {
		got, err := os.ReadFile(filepath.Join(x.folder, "noise", path))
		if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
			x.t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
}

func TestLibtorrentDownloadsFromServeAndSeedsToOurViewer(t *testing.T) {
	t.Parallel()
	python(t)
	s := newSeeded(t)
	file := filepath.Join(t.TempDir(), "noise.torrent")
	if err := os.WriteFile(file, s.get(t, "/api/v1/titles/noise/torrent"), 0o600); err != nil {
		t.Fatal(err)
	}
	var title struct{ Magnet string }
	if err := json.Unmarshal(s.get(t, "/api/v1/titles/noise"), &title); err != nil {
		t.Fatal(err)
	}
	first := newLibtorrent(t, title.Magnet)
	first.has(s)
	first.in.Close()
	second := newLibtorrent(t, file)
	second.has(s)
	if sent := s.origin.Snapshot().OriginBytes; sent != 0 {
		t.Errorf("the origin sent %d bytes by HTTP", sent)
	}

	s.stop() // from here on libtorrent is the only seed
	to := filepath.Join(t.TempDir(), "film.mp4")
	res, err := watch.Run(t.Context(), watch.Options{
		Server: s.url, Title: "noise", To: to, Speed: 6, Share: true, Listen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(second.in, "\n"); err != nil {
		t.Fatal(err)
	}
	uploaded := second.says("uploaded")["uploaded"].(float64)
	t.Logf("our viewer took %d bytes from libtorrent, which counts %.0f sent, and %d from the origin, of %d",
		res.PeerBytes, uploaded, res.OriginBytes, s.size())
	if res.PeerBytes < s.size()/4 || uploaded < float64(res.PeerBytes) || res.BadBlocks != 0 {
		t.Errorf("%+v", res)
	}
	for _, o := range res.Outputs {
		if b, err := os.ReadFile(o.File); err != nil || sha256.Sum256(b) != sha256.Sum256(s.data[o.Path]) {
			t.Errorf("%s: %v", o.Path, err)
		}
	}
}

// TestWhatLibtorrentSeedsReachesAViewerOverWebRTC: the native viewer speaks both, and hands on what it takes over TCP to one that speaks
// WebRTC alone, as browsers do. The origin is so slow that the film cannot come from there.
func TestWhatLibtorrentSeedsReachesAViewerOverWebRTC(t *testing.T) {
	t.Parallel()
	python(t)
	s := newSeeded(t)
	file := filepath.Join(t.TempDir(), "noise.torrent")
	if err := os.WriteFile(file, s.get(t, "/api/v1/titles/noise/torrent"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := newLibtorrent(t, file)
	theirs.has(s)
	s.stop()
	s.origin.SetRate(s.size() / 200)

	ctx, cancel := context.WithCancel(t.Context())
	seeding, bridged := make(chan struct{}), make(chan watch.Result, 1)
	var once sync.Once
	go func() {
		defer close(bridged)
		defer once.Do(func() { close(seeding) })
		r, err := watch.Run(ctx, watch.Options{
			Server: s.url, Title: "noise", To: filepath.Join(t.TempDir(), "bridge.mp4"), Share: true, Listen: "127.0.0.1:0", Seed: time.Hour,
			Progress: func(p watch.Progress) {
				if p.Phase == watch.Seeding {
					once.Do(func() { close(seeding) })
				}
			},
		})
		if err != nil {
			t.Error(err)
		}
		bridged <- r
	}()
	defer cancel()
	<-seeding
	last, err := watch.Run(t.Context(), watch.Options{
		Server: s.url, Title: "noise", To: filepath.Join(t.TempDir(), "film.mp4"), Share: true, // it listens nowhere: no TCP
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.same(&last); err != nil {
		t.Error(err)
	}
	cancel()
	bridge := <-bridged
	t.Logf("of %d bytes the bridge took %d from libtorrent and sent %d; the last viewer got %d from it, and %d from the origin",
		s.size(), bridge.PeerBytes, bridge.SentBytes, last.PeerBytes, last.OriginBytes)
	if bridge.PeerBytes < s.size()/2 || last.PeerBytes < s.size()/2 || bridge.SentBytes < last.PeerBytes {
		t.Errorf("bridge %+v, last %+v", bridge, last)
	}
}

func TestSettingsForBitTorrentClients(t *testing.T) {
	for _, x := range []struct{ setting, service, want string }{
		{":6881", "127.0.0.1:8080", "127.0.0.1:6881"},
		{":6881", "[::]:80", "[::]:6881"},
		{"0.0.0.0:0", "127.0.0.1:8080", "0.0.0.0:0"},
		{"off", "127.0.0.1:8080", ""},
		{"6881", "127.0.0.1:8080", "error"},
	} {
		c := seeding{BitTorrent: x.setting}
		got, err := c.address(x.service)
		if err != nil {
			got = "error"
		}
		if got != x.want || (err != nil) != (c.Validate() != nil) {
			t.Errorf("%s beside %s: %q, %v, %v", x.setting, x.service, got, err, c.Validate())
		}
	}
	for setting, ok := range map[string]bool{"": true, "192.0.2.1": true, "192.0.2.1:7000": true, "[2001:db8::1]:1": true, "films.example": false, ":1": false} {
		if err := (&seeding{BitTorrent: "off", BitTorrentPublic: setting}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", setting, err)
		}
	}
}
