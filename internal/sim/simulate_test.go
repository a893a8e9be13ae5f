package sim

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// scene is a scene with settings changed.
func scene(t *testing.T, name string, set ...string) *Scene {
	t.Helper()
	s, ok := Lookup(name)
	if !ok {
		t.Fatalf("no scene %s", name)
	}
	for _, x := range set {
		k, v, _ := strings.Cut(x, "=")
		if err := s.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	return &s
}

// simulate plays a scene with settings changed. A failure names what reproduces it.
func simulate(t *testing.T, seed uint64, name string, set ...string) *Result {
	t.Helper()
	return simulateOn(t, Options{Seed: seed}, name, set...)
}

func simulateOn(t *testing.T, o Options, name string, set ...string) *Result {
	t.Helper()
	r, err := Simulate(context.Background(), *scene(t, name, set...), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			line := ""
			for _, x := range set {
				line += " --set " + x
			}
			t.Logf("again: essaim sim --scene %s --seed %d%s", name, o.Seed, line)
		}
	})
	return r
}

// extra is one of a result's extra numbers.
func extra(t *testing.T, r *Result, name string) float64 {
	t.Helper()
	for _, x := range r.Extra {
		if x.Name == name {
			return x.Value
		}
	}
	t.Fatalf("no number %s", name)
	return 0
}

// stepped is a world of one shard that is played event by event.
func stepped(t *testing.T, seed uint64, policy, name string, set ...string) *world {
	t.Helper()
	s := scene(t, name, set...)
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	return newWorld(s, policy, seed, 1)
}

// play handles events until everybody has left, or until the given moment if it is not 0. It shows each event before it is handled.
func (w *world) play(until instant, see func(e *event)) {
	s := w.shards[0]
	var e event
	for len(s.queue.heap) > 0 && s.left > 0 && s.queue.heap[0].at <= w.end && (until == 0 || s.queue.heap[0].at <= until) {
		s.queue.pop(&e)
		s.now = e.at
		if see != nil {
			see(&e)
		}
		w.handle(&e)
	}
}

var mixed = []string{"viewers=12", "film=40s", "spread=15s", "polluters=0.1", "claimers=0.1", "freeriders=0.1", "titles=2", "cache=0.005", "consent=0.9"}

func TestSameSeedGivesTheSameBytesOnOneShardAndOnTwo(t *testing.T) {
	var first []byte
	for _, shards := range []int{1, 1, 2, 2, 3} {
		got, err := json.Marshal(simulateOn(t, Options{Seed: 3, shards: shards}, "restless", append(mixed, "switches=100")...))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		} else if string(got) != string(first) {
			t.Fatalf("%d shards give\n%s\nthe first run gave\n%s", shards, got, first)
		}
	}
	other, err := json.Marshal(simulate(t, 4, "restless", append(mixed, "switches=100")...))
	if err != nil {
		t.Fatal(err)
	}
	if string(other) == string(first) {
		t.Error("another seed gives the same")
	}
}

// TestWholePiecesPlayTheSameEveningInFewerEvents holds a crowd that asks for whole pieces of 64 KiB against the same crowd that asks for
// blocks: as deterministic, as safe from wrong bytes, nearly the same figures, and it says so.
func TestWholePiecesPlayTheSameEveningInFewerEvents(t *testing.T) {
	set := []string{"viewers=24", "spread=20s", "film=40s", "titles=2", "cache=0", "polluters=0.05"}
	whole := append([]string{"unit=piece"}, set...)
	blocks := simulate(t, 5, "evening-100", set...)
	pieces := simulateOn(t, Options{Seed: 5, shards: 1}, "evening-100", whole...)
	again := simulateOn(t, Options{Seed: 5, shards: 2}, "evening-100", whole...)
	a, b := pieces.Run.Figures(), blocks.Run.Figures()
	if x, y := again.Run.Figures(), extra(t, again, "events"); x.OriginBytes != a.OriginBytes || x.PeerBytes != a.PeerBytes || y != extra(t, pieces, "events") {
		t.Error("two shards give something else than one")
	}
	if a.BadBytesDelivered != 0 || a.NeverStarted != 0 || extra(t, pieces, "never_ended") != 0 {
		t.Errorf("%d bad bytes, %d never started, %v never ended", a.BadBytesDelivered, a.NeverStarted, extra(t, pieces, "never_ended"))
	}
	if math.Abs(a.Offload-b.Offload) > 0.1 {
		t.Errorf("offload is %v with pieces, %v with blocks", a.Offload, b.Offload)
	}
	if x, y := extra(t, pieces, "events"), extra(t, blocks, "events"); x > 0.8*y {
		t.Errorf("%v events with pieces, %v with blocks", x, y)
	}
	if !strings.Contains(pieces.Note, "64 KiB") || blocks.Note != "" {
		t.Errorf("the notes are %q with pieces, %q with blocks", pieces.Note, blocks.Note)
	}
}

// TestSwitchingRenditionsCostsNoStallWhereTheOriginIsAmple: eight viewers together change over every 10 s on average.
func TestSwitchingRenditionsCostsNoStallWhereTheOriginIsAmple(t *testing.T) {
	r := simulate(t, 2, "flash-8", "film=1m", "switches=360")
	for i, v := range r.Run.Viewers {
		if v.Stalls != 0 || v.Watched != time.Minute {
			t.Errorf("viewer %d stalled %d times and watched %v", i, v.Stalls, v.Watched)
		}
	}
	if extra(t, r, "worse_than_http") != 0 || extra(t, r, "requests_given_up") != 0 {
		t.Errorf("%v fare worse than by plain HTTP, %v requests were given up", extra(t, r, "worse_than_http"), extra(t, r, "requests_given_up"))
	}
	if r.Run.FilmTime <= 70*time.Second || r.Run.FilmTime > 2*time.Minute {
		t.Errorf("of both renditions together %v were watched: nobody switched", r.Run.FilmTime)
	}
	if f := r.Run.Figures(); r.Run.OffloadBound <= 0 || f.Offload > r.Run.OffloadBound || f.Offload < 0.5 {
		t.Errorf("offload is %v, the bound %v", f.Offload, r.Run.OffloadBound)
	}
}

func TestSecondRenditionLiesBehindTheFirstFromAPieceOn(t *testing.T) {
	f := newFilm(0, scene(t, "flash-8", "film=30s", "switches=1", "seconds=28s"))
	if len(f.renditions) != 2 || f.segments != 14 {
		t.Fatalf("%d renditions of %d segments, want 2 of 14", len(f.renditions), f.segments)
	}
	a, b := &f.renditions[0], &f.renditions[1]
	piece := int64(f.title.PieceLength)
	if b.base < a.size || b.base%piece != 0 || b.base != int64(f.title.Files[1].FirstPiece)*piece || f.size != b.base+b.size {
		t.Errorf("the second rendition begins at %d behind %d bytes, its first piece is %d", b.base, a.size, f.title.Files[1].FirstPiece)
	}
	if from, to := f.segment(13); from != headBytes+13*500_000 || to != headBytes+14*500_000 || f.at(to-1) != a {
		t.Errorf("the first's last segment is %d to %d", from, to)
	}
	if from, to := f.segment(14); from != b.base || to != b.base+headBytes+250_000 || f.at(from) != b {
		t.Errorf("the second's first segment is %d to %d, it begins at %d", from, to, b.base)
	}
	if n := f.beyond20(b.base, b.base+b.size); n != 10*125_000 {
		t.Errorf("%d bytes of the second lie beyond 20 s, want 10 s of them", n)
	}
	if at := f.closed(int(f.title.Files[1].FirstPiece)); at != a.played {
		t.Errorf("without what lies between, the second begins at %d, want %d", at, a.played)
	}
}

func TestVeryLargeScenesSayThatTheyAskForWholePieces(t *testing.T) {
	for _, name := range Names() {
		if s, _ := Lookup(name); s.Viewers > 2_000 && (s.note() == "" || !strings.Contains(s.Doc(), "whole pieces")) {
			t.Errorf("%s has %d viewers and says %q", name, s.Viewers, s.Doc())
		}
	}
}

func TestSimulateEndsWhenItsContextDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	called := 0
	_, err := Simulate(ctx, *scene(t, "flash-8"), Options{Seed: 1, Progress: func(done, total time.Duration) {
		if called++; called == 3 {
			cancel()
		}
		if done > total {
			t.Errorf("%v of %v are done", done, total)
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestFlashIsPlayedToTheEndByEveryone(t *testing.T) {
	r := simulate(t, 1, "flash-8", "film=60s")
	for i, v := range r.Run.Viewers {
		if v.Startup < 0 || v.Watched != time.Minute || v.BadBytes != 0 {
			t.Errorf("viewer %d: start-up %v, watched %v, %d bad bytes", i, v.Startup, v.Watched, v.BadBytes)
		}
	}
	if r.Run.Titles != 1 || r.Run.FilmTime != time.Minute || r.Run.FilmBytes != headBytes+60*250_000 || r.Run.FilmBytesAfter20s != 40*250_000 {
		t.Errorf("%d titles, %v, %d bytes, %d of them after 20 s", r.Run.Titles, r.Run.FilmTime, r.Run.FilmBytes, r.Run.FilmBytesAfter20s)
	}
	if extra(t, r, "requests_given_up") != 0 || extra(t, r, "never_ended") != 0 {
		t.Error("requests were given up, or viewers never ended")
	}
	if f := r.Twin.Figures(); f.OriginCopies != 8 || f.PeerBytes != 0 || f.Offload != 0 {
		t.Errorf("plain HTTP: %v copies, %d of peers", f.OriginCopies, f.PeerBytes)
	}
}

func TestFilmOfSeveralTitlesIsTheSumOfWhatWasWatched(t *testing.T) {
	r := simulate(t, 2, "evening-100", "viewers=6", "titles=3", "film=20s", "spread=1m", "cache=0")
	w := stepped(t, 2, "http", "evening-100", "viewers=6", "titles=3", "film=20s", "spread=1m", "cache=0")
	titles := map[int]bool{}
	for _, d := range w.devices {
		titles[d.player.film] = true
	}
	n := len(titles)
	if n < 2 {
		t.Fatal("the seed makes no test: one title")
	}
	if r.Run.Titles != n || r.Run.FilmTime != time.Duration(n)*20*time.Second || r.Run.FilmBytes != int64(n)*(headBytes+20*250_000) {
		t.Errorf("%d titles of %d, %v, %d bytes", r.Run.Titles, n, r.Run.FilmTime, r.Run.FilmBytes)
	}
	// By plain HTTP each of a film's viewers but the first fetches all of it again.
	duplicate := int64(0)
	for _, v := range r.Twin.Viewers {
		duplicate += v.DuplicateBytes
	}
	if whole := int64(6-n) * (headBytes + 20*250_000); duplicate > whole || duplicate < whole*95/100 {
		t.Errorf("%d bytes fetched again, want about %d", duplicate, whole)
	}
}

func TestWhoWaitsInVainIsAccountedFor(t *testing.T) {
	// 8 kbit/s for two segments of 2 Mbit/s: 500 s for the first, and the second does not come before the scene ends.
	r := simulate(t, 1, "flash-8", "viewers=1", "film=4s", "origin=8k", "policy=http")
	v := r.Run.Viewers[0]
	if v.Startup < 480*time.Second || v.Stalls != 1 || v.Stalled < 80*time.Second || v.Watched != 2*time.Second {
		t.Errorf("start-up %v, %d stalls of %v, watched %v", v.Startup, v.Stalls, v.Stalled, v.Watched)
	}
	if extra(t, r, "never_ended") != 1 {
		t.Error("it is said to have ended")
	}
	r = simulate(t, 1, "flash-8", "viewers=2", "film=4s", "origin=8k", "policy=http")
	for _, v := range r.Run.Viewers {
		if v.Startup >= 0 || v.Waited < 600*time.Second {
			t.Errorf("start-up %v, waited %v", v.Startup, v.Waited)
		}
	}
}

func TestSetRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"viewer", "8", `no setting "viewer"; there are viewers, arrival`},
		{"", "8", `no setting ""`},
		{"Viewers", "8", "no setting"},
		{"name", "x", "no setting"},
		{"viewers", "eight", "whole number"},
		{"viewers", "-1", "whole number"},
		{"viewers", "1.5", "whole number"},
		{"spread", "10", "duration"},
		{"spread", "-1s", "duration"},
		{"up", "4G", "bits per second"},
		{"up", "-1", "bits per second"},
		{"up", "NaN", "bits per second"},
		{"nat", "half", "number"},
		{"nat", "NaN", "number"},
		{"nat", "+Inf", "number"},
		{"nat", "-0.1", "number"},
	} {
		s := *scene(t, "flash-8")
		before := s
		err := s.Set(c.name, c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%s: %v, want %s", c.name, c.value, err, c.want)
		}
		if s != before {
			t.Errorf("%s=%s changed the scene", c.name, c.value)
		}
	}
}

func TestSettingsAreWhatSetTakes(t *testing.T) {
	for _, name := range Names() {
		s := *scene(t, name)
		if err := s.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s.Doc() == "" || s.Name() != name {
			t.Errorf("%s: name %q, doc %q", name, s.Name(), s.Doc())
		}
		again := s
		for _, x := range s.Settings() {
			if x.Doc == "" {
				t.Errorf("the setting %s is not explained", x.Name)
			}
			if err := again.Set(x.Name, x.Value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if again != s {
			t.Errorf("%s set to its own settings is %+v, was %+v", name, again, s)
		}
	}
}

func TestSimulateRefusesWhatCannotBePlayed(t *testing.T) {
	for _, c := range []struct {
		set  string
		want string
	}{
		{"viewers=0", "viewers"},
		{"viewers=200001", "viewers"},
		{"arrival=never", "arrival"},
		{"policy=torrent", "policy"},
		{"consent=1.1", "consent"},
		{"polluters=2", "polluters"},
		{"titles=0", "titles"},
		{"film=1s", "film"},
		{"film=3s", "film"},
		{"piece=48", "piece"},
		{"piece=8", "piece"},
		{"unit=segment", "unit"},
		{"bitrate=1k", "bitrate"},
		{"down=0", "down"},
		{"up=0", "up"},
		{"delay=0s", "delay"},
		{"fall_at=10s", "fall_to"},
		{"freeze_in=1s freeze=1s", "freeze"},
	} {
		s := scene(t, "flash-8", strings.Fields(c.set)...)
		r, err := Simulate(context.Background(), *s, Options{})
		if err == nil || r != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.set, err)
		}
	}
	if _, ok := Lookup("flash"); ok {
		t.Error("a scene of no such name")
	}
}
