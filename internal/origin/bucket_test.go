package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"essaim/internal/blob"
	"essaim/internal/vod"
)

// pull takes chunks until ctx ends, and adds them to sent.
func pull(ctx context.Context, b *bucket, chunk int, sent *atomic.Int64) {
	for b.take(ctx, chunk) == nil {
		sent.Add(int64(chunk))
	}
}

func TestBucketHoldsTheRateForAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 500_000
		b := newBucket(rate)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var sent [8]atomic.Int64
		var wg sync.WaitGroup
		for i := range sent {
			wg.Go(func() { pull(ctx, b, chunkThrottled, &sent[i]) })
		}
		wg.Wait()
		total, least, most := int64(0), sent[0].Load(), sent[0].Load()
		for i := range sent {
			n := sent[i].Load()
			total, least, most = total+n, min(least, n), max(most, n)
		}
		if total < 20*rate*99/100 || total > 20*rate+64<<10 {
			t.Errorf("sent %d in 20 s at %d a second", total, rate)
		}
		if most-least > chunkThrottled {
			t.Errorf("unfair: between %d and %d", least, most)
		}
	})
}

func TestBucketFollowsARateThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(100_000)
		ctx, cancel := context.WithCancel(t.Context())
		var sent atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() { pull(ctx, b, chunkThrottled, &sent) })
		during := func(d time.Duration) int64 {
			before := sent.Load()
			time.Sleep(d) // the bubble's time
			return sent.Load() - before
		}
		for _, rate := range []int64{100_000, 1_000_000, 20_000} {
			b.SetRate(rate)
			want := rate * 20
			if got := during(20 * time.Second); got < want-2*chunkThrottled || got > want+rate/10+2*chunkThrottled {
				t.Errorf("at %d a second: %d in 20 s", rate, got)
			}
		}
		cancel()
		wg.Wait()
	})
}

func TestBucketLetsWaitersGoWhenTheBoundIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1) // a chunk would take four hours
		done := make(chan error, 4)
		for range 4 {
			go func() { done <- b.take(t.Context(), chunkFree) }()
		}
		synctest.Wait()
		start := time.Now()
		b.SetRate(0)
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v more", waited)
		}
	})
}

func TestBucketForgetsWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(chunkThrottled) // one chunk a second
		ctx, cancel := context.WithCancel(t.Context())
		var gone sync.WaitGroup
		for range 100 {
			gone.Go(func() {
				if err := b.take(ctx, chunkThrottled); !errors.Is(err, context.Canceled) {
					t.Errorf("err %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		gone.Wait()
		start := time.Now()
		if err := b.take(t.Context(), chunkThrottled); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited > 1100*time.Millisecond {
			t.Errorf("waited %v behind those who had gone", waited)
		}
	})
}

func TestBucketServesAChunkLargerThanItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(chunkThrottled)
		start := time.Now()
		for range 2 {
			if err := b.take(t.Context(), chunkFree); err != nil {
				t.Fatal(err)
			}
		}
		// The first goes when the bucket is full, the second when its debt is paid as well.
		if took := time.Since(start).Round(10 * time.Millisecond); took != 9*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// gate is a connection that accepts bytes only when told to, over which the handler's behaviour shows without a socket's
// buffers.
type gate struct {
	header   http.Header
	deadline chan time.Time
	written  atomic.Int64
	limit    int64
}

func (g *gate) Header() http.Header { return g.header }
func (g *gate) WriteHeader(int)     {}
func (g *gate) Write(p []byte) (int, error) {
	n := min(int64(len(p)), g.limit-g.written.Load())
	g.written.Add(n)
	if n < int64(len(p)) {
		return int(n), io.ErrShortWrite
	}
	return int(n), nil
}

func (g *gate) SetWriteDeadline(t time.Time) error {
	select {
	case g.deadline <- t:
	default:
	}
	return nil
}
func (g *gate) Flush() {}

func TestOnlyWhatTheSocketAcceptsIsCounted(t *testing.T) {
	h := newHouse(t, nil)
	f := h.file("open", 0)
	w := &gate{header: http.Header{}, deadline: make(chan time.Time, 1), limit: 200_001}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/media/"+f.Root.String(), nil)
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("recovered %v, want the connection to be aborted", p)
			}
		}()
		h.origin.ServeHTTP(w, r)
	}()
	if got := h.origin.Snapshot(); got.OriginBytes != 200_001 || got.ByTitle["open"] != 200_001 {
		t.Errorf("counted %+v", got)
	}
}

func TestStalledReaderIsDropped(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Stall = 50 * time.Millisecond })
	big := make([]byte, 24<<20) // more than socket buffers hold
	title := h.films["open"]
	title.Version.Files = append([]vod.File(nil), title.Version.Files...)
	f := &title.Version.Files[2]
	f.Root, f.Size = h.store(big), int64(len(big))
	h.publish(title)
	ended := make(chan struct{})
	h.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.origin.ServeHTTP(w, r)
	})
	resp, err := h.server.Client().Do(h.request("GET", "/media/"+f.Root.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-ended // nothing reads the body: without the deadline the handler would never end
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil || n >= f.Size {
		t.Errorf("received %d bytes, %v: want a broken connection", n, err)
	}
	if got := h.origin.Snapshot().OriginBytes; got >= f.Size || got < n {
		t.Errorf("counted %d, received %d", got, n)
	}
}

func TestThrottledReaderIsNotDropped(t *testing.T) {
	// 33 chunks at 1 MB/s wait some 0.5 s in all, ten times the pause that a socket is allowed.
	h := newHouse(t, func(c *Config) { c.Stall, c.Rate = 50*time.Millisecond, 1<<20 })
	f := h.file("open", 0)
	resp, body := h.do("GET", "/media/"+f.Root.String(), "Range", "bytes=0-524287")
	if resp.StatusCode != 206 || len(body) != 524288 {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	// The same connection serves on after the deadline has passed.
	if resp, body := h.do("GET", "/media/"+f.Root.String(), "Range", "bytes=0-9"); resp.StatusCode != 206 || len(body) != 10 {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
}

func TestCancelledRequestStopsAtOnce(t *testing.T) {
	read := make(chan struct{}, 2)
	h := newHouse(t, func(c *Config) { c.Rate, c.Blobs = 1<<10, readSignal{c.Blobs, read} })
	ended := make(chan struct{})
	h.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.origin.ServeHTTP(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	r := h.request("GET", "/media/"+h.file("open", 0).Root.String()).WithContext(ctx)
	answered := make(chan error, 1)
	go func() {
		resp, err := h.server.Client().Do(r)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		answered <- err
	}()
	<-read // the first chunk is ready; only the rate holds it back
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("err %v", err)
	}
	<-ended // at this rate the first chunk alone takes 16 s
	if n := h.origin.Snapshot().OriginBytes; n != 0 {
		t.Errorf("sent %d", n)
	}
}

// readSignal tells when an object is read.
type readSignal struct {
	blob.Store
	read chan struct{}
}

type readSignalObject struct {
	blob.Object
	read chan struct{}
}

func (s readSignal) Open(ctx context.Context, key string) (blob.Object, error) {
	o, err := s.Store.Open(ctx, key)
	return readSignalObject{o, s.read}, err
}

func (o readSignalObject) ReadAt(p []byte, off int64) (int, error) {
	o.read <- struct{}{}
	return o.Object.ReadAt(p, off)
}

func TestSessionsCountedAreBounded(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	counts := newCounts(c.Now)
	name := func(i int) string { return time.Duration(i).String() }
	const flood = 3 * sessionsMax
	film := &vod.Title{ID: "film"}
	for i := range flood {
		c.Advance(time.Millisecond)
		counts.of(&access{title: film, session: "watching"}).add(1) // never the longest idle
		counts.of(&access{title: film, session: name(i)}).add(1)
		if n := len(counts.sessions); n > sessionsMax {
			t.Fatalf("%d sessions kept", n)
		}
	}
	got := counts.snapshot()
	if got.OriginBytes != 2*flood || got.ByTitle["film"] != 2*flood {
		t.Errorf("totals %d, %d", got.OriginBytes, got.ByTitle["film"])
	}
	if got.BySession["watching"] != flood {
		t.Errorf("a session under way counts %d, want %d", got.BySession["watching"], flood)
	}
}

func TestRehearsalsCountedAreBounded(t *testing.T) {
	c := &clock{now: time.Unix(1000, 0)}
	counts := newCounts(c.Now)
	const flood = 3 * rehearsalsMax
	film := &vod.Title{ID: "film"}
	for i := range flood {
		c.Advance(time.Millisecond)
		counts.of(&access{title: film, rehearsal: "running"}).add(1)
		counts.of(&access{title: film, rehearsal: vod.RehearsalLabel("r" + strconv.Itoa(i))}).add(1)
		if n := len(counts.rehearsals); n > rehearsalsMax {
			t.Fatalf("%d rehearsals kept", n)
		}
	}
	got := counts.snapshot()
	if last := vod.RehearsalLabel("r" + strconv.Itoa(flood-1)); got.ByRehearsal["running"] != flood || got.ByRehearsal[last] != 1 {
		t.Errorf("a rehearsal under way counts %d, the last %d", got.ByRehearsal["running"], got.ByRehearsal[last])
	}
	if _, kept := got.ByRehearsal["r0"]; kept {
		t.Error("the longest idle is still there")
	}
}
