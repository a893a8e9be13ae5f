package rehearse

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

func TestDownlinkPassesItsRateHoweverManyShareIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, readers, each = 100_000, 4, 50
		d := &downlink{rate: rate}
		begun := time.Now()
		var all sync.WaitGroup
		for range readers {
			all.Go(func() {
				for range each {
					if err := d.take(t.Context(), 5000); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		want := time.Duration(readers*each*5000) * time.Second / rate
		if took := time.Since(begun); took < want-creditTime || took > want {
			t.Errorf("took %s, not %s", took, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.take(ctx, 10*rate); err == nil {
			t.Error("waited longer than it should")
		}
	})
}

func TestDownlinkWithoutRateWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if err := new(downlink).take(t.Context(), 1<<30); err != nil || time.Since(begun) != 0 {
			t.Error(err, time.Since(begun))
		}
	})
}

func TestSlowDownlinkReadsOftenEnoughForAHostsIdleTime(t *testing.T) {
	for _, rate := range []int64{1, 1000, 2_500_000, 1 << 40} {
		d := &downlink{rate: rate}
		if n := d.chunk(); n < chunkMin || n > chunkMax {
			t.Errorf("%d B/s: %d bytes at once", rate, n)
		}
	}
}

func TestAccountTellsWhoWasSentWhatAnotherHad(t *testing.T) {
	p := testPart(100)
	a := newAccount(p, 3)
	root := p.tracks[0].root.String()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("x", testHead+100*testSegment)))
	}))
	defer server.Close()
	get := func(viewer int, root, bytes string) {
		t.Helper()
		line := newTransport(viewer, a, 0)
		defer line.close()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/x/media/"+root, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes != "" {
			req.Header.Set("Range", "bytes="+bytes)
		}
		resp, err := line.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	get(0, root, "0-32767")
	get(0, root, "0-16383")                      // its own, once more
	get(1, root, "16384-49151")                  // half of it the first's
	get(2, root, "16390-16399")                  // ten of the first's
	get(2, bt.Digest{9}.String(), "0-99")        // another file
	get(2, root, "")                             // no range: not as hosts ask
	get(2, p.tracks[1].root.String(), "0-16383") // another track
	for viewer, want := range []int64{0, 16384, 10} {
		if got := a.of(viewer); got != want {
			t.Errorf("viewer %d: %d bytes, not %d", viewer, got, want)
		}
	}
	// Film beyond 20 s begins at byte 100 + 10 · 1000.
	if late, want := a.lateBytes(), int64(32768-10100+16384-10100+32768+10+16384-10100); late != want {
		t.Errorf("%d bytes beyond 20 s, not %d", late, want)
	}
}

func TestPartEndsWithTheSecondsAsked(t *testing.T) {
	session := func() *vod.PlaySession {
		s := &vod.PlaySession{
			Title: "noise", DurationMs: 60_000, PieceLength: 32 << 10,
			InfoHash: strings.Repeat("1", 40), InfoHashV2: strings.Repeat("2", 64),
		}
		first := uint32(0)
		for i, f := range []vod.PlayFile{
			{Path: "audio.mp4", Kind: vod.Audio}, {Path: "video-360p.mp4", Kind: vod.Video, Height: 360}, {Path: "video-720p.mp4", Kind: vod.Video, Height: 720},
		} {
			f.Root, f.FirstPiece = strings.Repeat(string(rune('a'+i)), 64), first
			f.Size = 100 + 30*1000
			first++
			for k := range uint64(30) {
				f.Segments = append(f.Segments, [4]uint64{100 + k*1000, 100 + (k+1)*1000, k * 2000, 2000})
			}
			s.Files = append(s.Files, f)
		}
		return s
	}
	p, err := newPart(session(), 7*second, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.tracks) != 2 || p.tracks[0].path != "video-720p.mp4" || p.tracks[1].path != "audio.mp4" || p.film != 7*second || p.bytes != 2*4100 {
		t.Errorf("%+v", p)
	}
	if even, err := newPart(session(), 6*second, 0); err != nil || even.bytes != 2*3100 {
		t.Errorf("6 s are %+v, %v", even, err)
	}
	if x := p.indexes(); len(x) != 3 || len(x[0]) != 4*24 || x[1] != nil || len(x[2]) != 4*24 {
		t.Errorf("the engine is told of %d, %d and %d bytes of index", len(x[0]), len(x[1]), len(x[2]))
	}
	if n := p.upTo(4 * second); n != 2*2100 {
		t.Errorf("4 s are %d bytes", n)
	}
	if p, err := newPart(session(), time.Hour, 360); err != nil || p.film != 60*second || p.tracks[0].path != "video-360p.mp4" || p.bytes != 2*30100 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := newPart(session(), second, 144); err == nil {
		t.Error("took a rendition that is higher than asked")
	}
	s := session()
	for i := range s.Files {
		s.Files[i].Segments = nil
	}
	if _, err := newPart(s, second, 0); err == nil {
		t.Error("took a title without segments")
	}
	s = session()
	s.Files[0].Size = 3 << 30
	s.Files[0].Segments[29][1] = 3 << 30
	if _, err := newPart(s, time.Minute, 0); err == nil {
		t.Error("took more than memory has")
	}
}
