package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// end is one end of a cable under test: frames in by a channel, frames out with their times.
type end struct {
	in   chan []byte
	out  chan outFrame
	over chan struct{}
}

type outFrame struct {
	at   time.Time
	data string
}

func newEnd() *end {
	return &end{in: make(chan []byte, waitingMax*2), out: make(chan outFrame, waitingMax*2), over: make(chan struct{})}
}

func (e *end) Read(p []byte) (int, error) {
	select {
	case f := <-e.in:
		return copy(p, f), nil
	case <-e.over:
		return 0, io.EOF
	}
}

func (e *end) Write(p []byte) (int, error) {
	e.out <- outFrame{time.Now(), string(p)}
	return len(p), nil
}

func (e *end) Close() error {
	close(e.over)
	return nil
}

func TestCableDelaysFramesAndKeepsTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnd(), newEnd()
		c := newCable(a, b, 25*time.Millisecond)
		begun := time.Now()
		for _, f := range []string{"one", "two", "three"} {
			a.in <- []byte(f)
		}
		b.in <- []byte("back")
		time.Sleep(10 * time.Millisecond) // virtual
		a.in <- []byte("four")
		for i, want := range []string{"one", "two", "three", "four"} {
			f := <-b.out
			after := 25 * time.Millisecond
			if i == 3 {
				after = 35 * time.Millisecond
			}
			if f.data != want || f.at.Sub(begun) != after {
				t.Errorf("frame %d is %q after %s, want %q after %s", i, f.data, f.at.Sub(begun), want, after)
			}
		}
		if f := <-a.out; f.data != "back" || f.at.Sub(begun) != 25*time.Millisecond {
			t.Errorf("the other way came %q after %s", f.data, f.at.Sub(begun))
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCutCableLosesFramesUntilItIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnd(), newEnd()
		c := newCable(a, b, time.Millisecond)
		c.cut.Store(true)
		a.in <- []byte("lost")
		synctest.Wait()
		c.cut.Store(false)
		a.in <- []byte("kept")
		if f := <-b.out; f.data != "kept" || c.lost.Load() != 1 {
			t.Errorf("%q came, %d frames were lost", f.data, c.lost.Load())
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCableLosesWhatItCannotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEnd(), newEnd()
		c := newCable(a, b, time.Hour)
		for range waitingMax + 100 {
			a.in <- []byte("x")
		}
		synctest.Wait()
		if n := c.lost.Load(); n < 99 || n > 100 { // one may be on its way out already
			t.Errorf("%d frames were lost, want those beyond what it holds: 100", n)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestEveryLinkIsMadeInsideTheLaboratorysOwnNamespaces(t *testing.T) {
	p := &plan{suffix: "test"}
	p.add(0, home{hosts: 2})
	p.add(1, home{nat: symmetric})
	ours := map[string]bool{}
	for _, ns := range p.namespaces() {
		if !strings.HasPrefix(ns, "lab-test-") || ours[ns] {
			t.Errorf("namespace %q", ns)
		}
		ours[ns] = true
	}
	links := p.links()
	if links.namespace != "" {
		t.Fatal("the links are between namespaces")
	}
	for line := range strings.Lines(links.text) {
		f := strings.Fields(line) // link add NAME netns NS type veth peer name NAME netns NS
		if len(f) != 12 || f[3] != "netns" || !ours[f[4]] || f[10] != "netns" || !ours[f[11]] {
			t.Errorf("%q may touch the machine's own network", line)
		}
	}
	for _, list := range [][]script{p.addresses(), p.shapers(), p.filters()} {
		for _, s := range list {
			if !ours[s.namespace] {
				t.Errorf("%s runs in namespace %q: %s", s.program, s.namespace, s.text)
			}
		}
	}
}

func TestHomesHaveAddressesAndPrefixesOfTheirOwn(t *testing.T) {
	p := &plan{suffix: "test"}
	seen := map[string]bool{}
	for i := range 16 {
		h := p.add(i%2, home{})
		want := "26.18."
		if i%2 == 1 {
			want = "26.19."
		}
		if !strings.HasPrefix(h.wan().String(), want) || seen[h.prefix()] || seen[h.router()] || len(h.router()) > 64 {
			t.Errorf("home %d is at %s", i, h.wan())
		}
		seen[h.prefix()], seen[h.router()] = true, true
	}
}

func TestSymmetricRoutersGiveEveryDestinationAnotherPort(t *testing.T) {
	p := &plan{suffix: "test"}
	p.add(0, home{nat: cone})
	p.add(0, home{nat: symmetric})
	list := p.filters()
	if strings.Contains(list[0].text, "random") || !strings.Contains(list[1].text, "masquerade random,fully-random") {
		t.Errorf("cone: %s\nsymmetric: %s", list[0].text, list[1].text)
	}
	for _, s := range list[:2] {
		if !strings.Contains(s.text, `iifname "wan" ct state new drop`) {
			t.Error("who was not spoken to comes in")
		}
	}
}

func TestCountersAreReadAsNftPrintsThem(t *testing.T) {
	const text = `{"nftables": [{"metainfo": {"version": "1.0.6"}},
 {"counter": {"family": "ip", "name": "outside", "table": "lab", "handle": 1, "packets": 3, "bytes": 4200}},
 {"counter": {"family": "ip", "name": "outside_peers", "table": "lab", "handle": 2, "packets": 1, "bytes": 100}},
 {"counter": {"family": "ip", "name": "page_peers", "table": "lab", "handle": 4, "packets": 1, "bytes": 40}},
 {"counter": {"family": "ip", "name": "inside", "table": "lab", "handle": 3, "packets": 9, "bytes": 9000}}]}`
	c, err := readCounters([]byte(text))
	if want := (counters{4200, 100, 40, 9000}); err != nil || c != want {
		t.Errorf("%+v, %v; want %+v", c, err, want)
	}
	if _, err := readCounters([]byte(`{"nftables": []}`)); err == nil {
		t.Error("counters that are not there are zero")
	}
}

func TestClockCountsAStallUntilAllTracksGoOn(t *testing.T) {
	begun := time.Unix(0, 0)
	at := func(s float64) time.Time { return begun.Add(time.Duration(s * float64(time.Second))) }
	c := newClock(10*time.Second, 2, begun)
	c.delivered(0, 4*time.Second, at(0.5))
	if c.startup >= 0 {
		t.Error("started with one track of two")
	}
	c.delivered(1, 2*time.Second, at(1))
	c.advance(at(4)) // 2 s of film, then none of the second track
	if c.startup != time.Second || c.pos != 2*time.Second || c.stalls != 1 || c.stalled != time.Second {
		t.Errorf("%+v", c)
	}
	c.delivered(0, 8*time.Second, at(5))
	if !c.dry {
		t.Error("goes on without the second track")
	}
	c.delivered(1, 10*time.Second, at(6))
	c.delivered(0, 10*time.Second, at(6))
	c.advance(at(14))
	if !c.finished() || c.stalls != 1 || c.stalled != 3*time.Second {
		t.Errorf("%+v", c)
	}
}

func TestWithoutRootNothingIsDone(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("this is root")
	}
	err := run(context.Background(), []string{"--scene", "throttled"}, io.Discard, io.Discard)
	if !errors.Is(err, errRoot) {
		t.Errorf("%v, want %v", err, errRoot)
	}
}

func TestUnknownScenesAndSettingsAreRefused(t *testing.T) {
	for _, args := range [][]string{{}, {"--scene", "none"}, {"--scene", "cut", "--seconds", "1"}, {"--scene", "cut", "--kbps", "9"}, {"--scene", "cut", "more"}, {"--no-such"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); !errors.As(err, new(usageError)) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestResultIsOneFlatObjectInOrder(t *testing.T) {
	var f fields
	f.add("scene", "x")
	f.add("stalls_per_viewer", 0.5)
	f.add("viewers", 10)
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(f); err != nil {
		t.Fatal(err)
	}
	if want := `{"scene":"x","stalls_per_viewer":0.5,"viewers":10}` + "\n"; b.String() != want {
		t.Errorf("%s, want %s", b.String(), want)
	}
}
