package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/api"
	"essaim/internal/blob"
	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/cmaf/index"
	"essaim/internal/insight"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/origin"
	"essaim/internal/sqlstore"
	"essaim/internal/sqlstore/sqltest"
	"essaim/internal/tracker"
	"essaim/internal/vod"
	"essaim/internal/watch"
)

// service is a real one: catalogue, API, origin and tracker, with one open title of noise.
type service struct {
	url     string
	origin  *origin.Origin
	tracker *tracker.Tracker
	policy  *api.Policy
	title   vod.Title
	data    map[string][]byte // by path
	db      *sqlstore.Store
	tickets *members.Tickets
	insight *insight.Insight
	file    string // the database's
	slower  uint32 // how many times longer the same bytes play; 0: once
}

func newService(t *testing.T) *service { return newServiceOf(t, 1) }

// newServiceOf is newService of a film that lasts so many times a minute.
func newServiceOf(t *testing.T, minutes uint32) *service {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	db, err := sqltest.Open(ctx, filepath.Join(dir, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	tickets, err := members.OpenTickets(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	titles, blobs := library.New(db, time.Now), mem.New()
	s := &service{data: map[string][]byte{}, db: db, tickets: tickets, slower: minutes, file: filepath.Join(dir, "essaim.db")}
	s.publish(t, titles, blobs)
	s.origin = origin.New(origin.Config{Titles: titles, Tickets: tickets, Blobs: blobs, Clock: time.Now})
	s.tracker = tracker.New(tracker.Config{Titles: titles, Tickets: tickets, LAN: true})
	s.insight = insight.New(insight.Config{Store: db, Clock: time.Now, Titles: titles, Traffic: s.origin})
	s.policy = api.NewPolicy(vod.PlayPolicy{P2P: true, LAN: true})
	s.policy.Watch(func(p vod.PlayPolicy) { s.tracker.SetPeers(p.P2P) })
	s.policy.WatchOperator(func(p vod.OperatorPolicy) { s.tracker.SetOff(p.TitlesOff, p.Off()) })
	a, err := api.New(api.Config{
		Titles: titles, Members: members.New(db, time.Now), Tickets: tickets, Traffic: s.origin, Hashes: s.origin, Clock: time.Now,
		Policy: s.policy, Insight: &api.Insight{Reports: s.insight, Savings: s.insight, Book: s.insight},
		Mounts: []api.Mount{
			{Pattern: "/media/", Handler: s.origin},
			{Pattern: "/hashes/", Handler: s.origin},
			{Pattern: "/tracker", Handler: s.tracker, OtherSites: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a)
	t.Cleanup(func() { s.tracker.SetStopped(true); server.Close() })
	s.url = server.URL
	return s
}

// publish makes a film of noise: 60 s, one rendition, one audio track.
func (s *service) publish(t *testing.T, titles vod.Publisher, blobs blob.Store) {
	t.Helper()
	slower := max(s.slower, 1)
	ctx := t.Context()
	const seconds = 60
	var sources []metainfo.Source
	for i, f := range []vod.File{
		{Path: "video-360p.mp4", Size: 8_000_000, Kind: vod.Video, Codec: "avc1.64001e", Bandwidth: 1_066_000, Width: 640, Height: 360},
		{Path: "audio.mp4", Size: 900_000, Kind: vod.Audio, Codec: "mp4a.40.2", Bandwidth: 120_000},
	} {
		b := make([]byte, f.Size)
		if _, err := io.ReadFull(rand.NewChaCha8([32]byte{byte(i)}), b); err != nil {
			t.Fatal(err)
		}
		s.data[f.Path] = b
		const head = 1200 // the initialisation segment and the index
		for k := range int64(seconds / 2) {
			n := (f.Size - head) / (seconds / 2)
			to := head + (k+1)*n
			if k == seconds/2-1 {
				to = f.Size
			}
			f.Index = append(f.Index, index.Segment{From: uint64(head + k*n), To: uint64(to), StartMs: uint32(k*2000) * slower, DurationMs: 2000 * slower})
		}
		s.title.Version.Files = append(s.title.Version.Files, f)
		sources = append(sources, metainfo.Source{Path: f.Path, Size: f.Size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		}})
	}
	m, err := metainfo.Create(ctx, sources, metainfo.Options{Name: "noise", PieceLength: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s.title.ID, s.title.Name, s.title.Open = "noise", "Noise", true
	v := &s.title.Version
	v.ID, v.InfoHashV1, v.InfoHashV2 = m.InfoHashV2.String(), m.InfoHash, m.InfoHashV2
	v.PieceLength, v.DurationMs, v.Manifest = m.PieceLength, seconds*1000*slower, "<MPD/>"
	slices.SortFunc(v.Files, func(a, b vod.File) int { return cmp.Compare(a.Path, b.Path) }) // BEP 52's order
	for i := range v.Files {
		f, from := &v.Files[i], &m.Files[i]
		f.Root, f.FirstPiece = from.Root, from.FirstPiece
		if err := blobs.Put(ctx, vod.KeyMedia(f.Root), bytes.NewReader(s.data[f.Path])); err != nil {
			t.Fatal(err)
		}
		if err := blobs.Put(ctx, vod.KeyLeaves(f.Root), bytes.NewReader(bt.AppendDigests(nil, from.Leaves))); err != nil {
			t.Fatal(err)
		}
	}
	if err := titles.Publish(ctx, s.title, m.Bytes); err != nil {
		t.Fatal(err)
	}
}

func (s *service) size() (n int64) {
	for _, b := range s.data {
		n += int64(len(b))
	}
	return n
}

// start watches in the background; seeding is closed when the film is whole and served.
func (s *service) start(t *testing.T, o watch.Options) (seeding <-chan struct{}, result <-chan watch.Result) {
	t.Helper()
	o.Server, o.Title, o.To = s.url, "noise", filepath.Join(t.TempDir(), "film.mp4")
	up, out := make(chan struct{}), make(chan watch.Result, 1)
	var once sync.Once
	tell := func() { once.Do(func() { close(up) }) }
	o.Progress = func(p watch.Progress) {
		if p.Phase == watch.Seeding {
			tell()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer tell()
		defer close(out)
		r, err := watch.Run(ctx, o)
		if err != nil {
			t.Error(err)
			return
		}
		if err := s.same(&r); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(o.To), "*.p*")); err != nil || len(left) > 0 {
			t.Error("left behind:", left, err)
		}
		out <- r
	}()
	t.Cleanup(func() { cancel(); <-done })
	return up, out
}

// same compares what was written with what was published.
func (s *service) same(r *watch.Result) error {
	if len(r.Outputs) != 2 {
		return fmt.Errorf("outputs: %+v", r.Outputs)
	}
	for _, o := range r.Outputs {
		b, err := os.ReadFile(o.File)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(b); !bytes.Equal(b, s.data[o.Path]) || fmt.Sprintf("%x", sum) != o.SHA256 {
			return fmt.Errorf("%s differs from what was published", o.Path)
		}
	}
	return nil
}

func TestSecondWatchIsFedByTheFirst(t *testing.T) {
	t.Parallel()
	s := newService(t)
	seeding, _ := s.start(t, watch.Options{Share: true, Seed: time.Hour})
	<-seeding
	before := s.origin.Snapshot().OriginBytes
	_, result := s.start(t, watch.Options{Share: true})
	r, ok := <-result
	if !ok {
		return
	}
	sent := s.origin.Snapshot().OriginBytes - before
	t.Logf("film %d bytes; the server sent %d to the second viewer: %+v", s.size(), sent, r)
	if sent*5 > s.size() || r.PeerBytes*5 < s.size()*4 {
		t.Errorf("the server sent %d of %d bytes to the second viewer, peers %d", sent, s.size(), r.PeerBytes)
	}
}

func TestWatchGetsTheFilmDespiteALiar(t *testing.T) {
	t.Parallel()
	s := newService(t)
	seeding, _ := s.start(t, watch.Options{Share: true, Seed: time.Hour, Corrupt: func(b []byte) { b[0] ^= 1 }})
	<-seeding
	_, result := s.start(t, watch.Options{Share: true})
	if r, ok := <-result; ok && (r.Banned != 1 || r.BadBlocks == 0) {
		t.Errorf("%+v", r)
	}
}

func TestWatchWithoutTrackerTakesAllFromTheServer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.tracker.SetStopped(true)
	_, result := s.start(t, watch.Options{Share: true})
	if r, ok := <-result; ok && (r.OriginBytes != s.size() || r.PeerBytes != 0) {
		t.Errorf("%+v", r)
	}
}

func TestWatchWithoutConsentMeetsNobody(t *testing.T) {
	t.Parallel()
	s := newService(t)
	seeding, _ := s.start(t, watch.Options{Share: true, Seed: time.Hour})
	<-seeding
	_, result := s.start(t, watch.Options{})
	if r, ok := <-result; ok && (r.OriginBytes != s.size() || r.PeerBytes != 0) {
		t.Errorf("%+v", r)
	}
}

func TestWatchAtASpeedTakesTheFilmsTime(t *testing.T) {
	t.Parallel()
	s := newService(t)
	_, result := s.start(t, watch.Options{Speed: 20})
	if r, ok := <-result; ok && (r.Seconds < 3 || r.OriginBytes != s.size()) { // 60 s of film at 20 times its speed
		t.Errorf("%+v", r)
	}
}

func TestWatchKeepsNoMoreThanItsQuota(t *testing.T) {
	t.Parallel()
	s := newServiceOf(t, 20) // of which the minute around the reader is kept in any case
	const quota = 2_000_000
	to := filepath.Join(t.TempDir(), "film.mp4")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var most int64
	r, err := watch.Run(ctx, watch.Options{
		Server: s.url, Title: "noise", To: to, Share: true, Cache: quota, Seed: time.Hour,
		Progress: func(p watch.Progress) {
			var size int64
			files, _ := filepath.Glob(filepath.Join(to+".pieces", "*.pieces"))
			for _, name := range files {
				if st, err := os.Stat(name); err == nil {
					size += st.Size()
				}
			}
			if most = max(most, size); p.Phase == watch.Seeding {
				cancel()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.same(&r); err != nil {
		t.Error(err)
	}
	const around = 20*32<<10 + 2*8192 // free slots and what is being written, and the tables, of both files
	if most == 0 || most > quota+around {
		t.Errorf("%d bytes were kept, of a title of %d", most, s.size())
	}
}

func TestWatchSaysWhatIsWrong(t *testing.T) {
	s := newService(t)
	for name, o := range map[string]watch.Options{
		"no such title": {Server: s.url, Title: "nothing"},
		"no server":     {Server: "http://127.0.0.1:1", Title: "noise"},
		"too low":       {Server: s.url, Title: "noise", Height: 100},
		"wrong member":  {Server: s.url, Title: "noise", Name: "nobody", Password: "x"},
		"no title":      {Server: s.url},
		"no name":       {Server: s.url, Title: "../noise"},
	} {
		o.To = filepath.Join(t.TempDir(), "film.mp4")
		if _, err := watch.Run(t.Context(), o); err == nil {
			t.Error(name, "was no error")
		} else if entries, _ := os.ReadDir(filepath.Dir(o.To)); len(entries) > 0 {
			t.Error(name, "left something behind")
		} else {
			t.Log(name+":", err)
		}
	}
}

func TestStoppedWatchGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s := newService(t)
	o := watch.Options{Server: s.url, Title: "noise", To: filepath.Join(t.TempDir(), "film.mp4")}
	s.origin.SetRate(2_000_000)
	ctx, cancel := context.WithCancel(t.Context())
	o.Progress = func(p watch.Progress) {
		if p.Bytes > 0 {
			cancel()
		}
	}
	if _, err := watch.Run(ctx, o); err == nil || ctx.Err() == nil {
		t.Fatal("was not stopped:", err)
	}
	s.origin.SetRate(0)
	o.Progress = nil
	r, err := watch.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.same(&r); err != nil || r.CachedBytes == 0 || r.OriginBytes+r.CachedBytes != s.size() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWatchWritesOnlyWhereAFileMayBe(t *testing.T) {
	s := newService(t)
	dir := t.TempDir()
	for _, name := range []string{"film.mp4", "other.audio.mp4"} { // one for each track
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"film.mp4", "other.mp4"} {
		if _, err := watch.Run(t.Context(), watch.Options{Server: s.url, Title: "noise", To: filepath.Join(dir, name)}); err == nil {
			t.Error(name, "was written over a folder")
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Error("left behind:", left, err)
	}
	if sent := s.origin.Snapshot().OriginBytes; sent != 0 {
		t.Errorf("%d bytes were fetched for nothing", sent)
	}
}

func TestWatchSignsOutWhenDone(t *testing.T) {
	t.Parallel()
	s := newService(t)
	if _, err := members.New(s.db, time.Now).Add(t.Context(), "Ada", "correct horse"); err != nil {
		t.Fatal(err)
	}
	o := watch.Options{Server: s.url, Title: "noise", Name: "ada", Password: "correct horse", To: filepath.Join(t.TempDir(), "film.mp4")}
	if _, err := watch.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	var open int
	if err := s.db.Reader().QueryRowContext(t.Context(), "SELECT count(*) FROM device_sessions").Scan(&open); err != nil || open != 0 {
		t.Errorf("%d sessions left open, %v", open, err)
	}
}

func TestWatchRefusesSpeedsThatAreNone(t *testing.T) {
	for _, speed := range []float64{-1, math.NaN(), math.Inf(1)} {
		err := (&watchCmd{Title: "noise", Server: "http://127.0.0.1:1", To: filepath.Join(t.TempDir(), "film.mp4"), Speed: speed}).Run()
		if err == nil || !strings.Contains(err.Error(), "--speed") {
			t.Errorf("%v: %v", speed, err)
		}
	}
}
