package rehearse

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"essaim/internal/vod"
)

func TestCutSessionEndsWithThePartAndHasItsRenditionAlone(t *testing.T) {
	p := testPart(2) // 4 s
	p.tracks[0].path, p.tracks[1].path = "video-720p.mp4", "audio.mp4"
	s := &vod.PlaySession{DurationMs: 8000, Files: []vod.PlayFile{
		{Path: "audio.mp4", Kind: vod.Audio}, {Path: "video-360p.mp4", Kind: vod.Video}, {Path: "video-720p.mp4", Kind: vod.Video},
	}}
	for i := range s.Files {
		for k := range uint64(4) {
			s.Files[i].Segments = append(s.Files[i].Segments, [4]uint64{k * 10, k*10 + 10, k * 2000, 2000})
		}
	}
	const head, low, high, audio = `<MPD type="static" mediaPresentationDuration="PT8S">`,
		"<Representation id=\"l\">\n<BaseURL>video-360p.mp4</BaseURL></Representation>",
		"<Representation id=\"h\">\n<BaseURL>video-720p.mp4</BaseURL></Representation>",
		"<Representation id=\"a\">\n<BaseURL>audio.mp4</BaseURL></Representation>"
	s.Manifest = head + low + high + audio
	p.cut(s)
	if want := strings.Replace(head, "PT8S", "PT4.000S", 1) + high + audio; s.Manifest != want {
		t.Errorf("the manifest is %s", s.Manifest)
	}
	for _, f := range s.Files {
		if len(f.Segments) != 2 {
			t.Errorf("%s has %d segments", f.Path, len(f.Segments))
		}
	}
	if s.DurationMs != 4000 {
		t.Errorf("it lasts %d ms", s.DurationMs)
	}
}

func TestJudgeComparesRangesThatPagesTellOf(t *testing.T) {
	j := newJudge()
	for i, want := range []bool{true, true, false, true, true} {
		d := [...]struct {
			path     string
			from, to int64
			digest   string
		}{{"a", 0, 9, "x"}, {"a", 0, 9, "x"}, {"a", 0, 9, "y"}, {"b", 0, 9, "y"}, {"a", 9, 19, "y"}}[i]
		if got := j.range256(d.path, d.from, d.to, d.digest); got != want {
			t.Errorf("%v: %v", d, got)
		}
	}
}

// proxied is a proxy to a service that answers 64 KiB, and a client that goes through it.
func proxied(t *testing.T, bytesPerSecond int64) (*proxy, *httptest.Server, *http.Client) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("x", 64<<10)))
	}))
	t.Cleanup(server.Close)
	p, err := newProxy(newTransport(0, newAccount(testPart(100), 1), bytesPerSecond), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	at, err := url.Parse(p.address())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(at)}
	t.Cleanup(transport.CloseIdleConnections)
	return p, server, &http.Client{Transport: transport}
}

func TestProxyLeadsToTheServiceOnly(t *testing.T) {
	p, server, client := proxied(t, 0)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it led elsewhere") }))
	defer other.Close()
	for address, want := range map[string]int{server.URL: http.StatusOK, other.URL: http.StatusForbidden} {
		resp, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d", address, resp.StatusCode)
		}
		// The same by a tunnel, as for https and WebSockets.
		host := strings.TrimPrefix(address, "http://")
		c, err := net.Dial("tcp", strings.TrimPrefix(p.address(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host)
		lines := bufio.NewReader(c)
		if resp, err = http.ReadResponse(lines, &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != want {
			t.Fatalf("tunnel to %s: %v, %v", address, resp, err)
		}
		if want != http.StatusOK {
			continue
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
		if resp, err = http.ReadResponse(lines, nil); err != nil || resp.ContentLength != 64<<10 {
			t.Fatalf("through the tunnel: %v, %v", resp, err)
		}
	}
}

func TestProxyKeepsToTheDownlink(t *testing.T) {
	_, server, client := proxied(t, 256<<10)
	begun := time.Now()
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != 64<<10 || err != nil {
		t.Fatal(n, err)
	}
	if took := time.Since(begun); took < 240*time.Millisecond-creditTime {
		t.Errorf("a quarter of a second's bytes took %s", took)
	}
}

func TestProxyClosesWhatGoesThroughIt(t *testing.T) {
	p, server, _ := proxied(t, 1)
	host := strings.TrimPrefix(server.URL, "http://")
	c, err := net.Dial("tcp", strings.TrimPrefix(p.address(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host)
	if _, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect}); err != nil {
		t.Fatal(err)
	}
	p.close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel is open still")
	}
}
