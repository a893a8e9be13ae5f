package origin

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"essaim/internal/vod"
)

// seed asks for a file of a version as a web seed client does.
func (h *house) seed(method string, v vod.Version, path string, header ...string) (*http.Response, []byte) {
	h.t.Helper()
	return h.do(method, "/seed/"+v.ID+"/any-name/"+path, header...)
}

func TestWebSeedServesAnOpenTitleByNameAndRange(t *testing.T) {
	h := newHouse(t, nil)
	v := h.films["open"].Version
	for i := range v.Files {
		f := &v.Files[i]
		resp, got := h.seed("GET", v, f.Path, "Range", "bytes=8000-8999")
		if resp.StatusCode != 206 || !bytes.Equal(got, h.bytes[f.Root][8000:9000]) {
			t.Errorf("%s: %d, %d bytes", f.Path, resp.StatusCode, len(got))
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
			t.Errorf("pages of other sites may not read it: %v", resp.Header)
		}
	}
	resp, _ := h.seed("OPTIONS", v, v.Files[0].Path, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "GET")
	for _, name := range []string{"Range", "Cache-Control", "User-Agent"} { // what WebTorrent sends
		if !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s is not allowed: %v", name, resp.Header)
		}
	}
	h.server.Close() // a byte may be read before it is counted
	if got := h.origin.Snapshot(); got.OriginBytes != 3000 || got.ByTitle["open"] != 3000 {
		t.Errorf("counted %+v", got)
	}
}

func TestWebSeedServesTheTitlesPadsAsZeros(t *testing.T) {
	h := newHouse(t, nil)
	v := h.films["open"].Version
	pad := -v.Files[0].Size & (pieceLength - 1)
	resp, got := h.seed("GET", v, ".pad/"+strconv.FormatInt(pad, 10))
	if resp.StatusCode != 200 || !bytes.Equal(got, make([]byte, pad)) {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(got))
	}
	resp, got = h.seed("GET", v, ".pad/"+strconv.FormatInt(pad, 10), "Range", "bytes=1-100")
	if resp.StatusCode != 206 || len(got) != 100 {
		t.Errorf("a part of a pad: %d, %d bytes", resp.StatusCode, len(got))
	}
	for _, n := range []string{"0", "-1", strconv.FormatInt(pad+1, 10), "0" + strconv.FormatInt(pad, 10), "9223372036854775807", "x"} {
		if resp, _ := h.seed("GET", v, ".pad/"+n); resp.StatusCode != 404 {
			t.Errorf("a pad of %s bytes: %d", n, resp.StatusCode)
		}
	}
}

func TestWebSeedOfWhatIsNotOpenIsNotFound(t *testing.T) {
	h := newHouse(t, nil)
	open, closed := h.films["open"].Version, h.films["closed"].Version
	for _, x := range []struct {
		v    vod.Version
		path string
	}{
		{closed, closed.Files[0].Path},
		{closed, closed.Files[1].Path}, // which the open title has too, at an address of its own
		{closed, ".pad/" + strconv.FormatInt(-closed.Files[0].Size&(pieceLength-1), 10)},
		{open, "none.mp4"},
		{open, "%2e%2e/" + open.Files[0].Path},
		{vod.Version{ID: strings.ToUpper(open.ID[:4]) + "f" + open.ID[5:]}, open.Files[0].Path},
		{vod.Version{ID: "x"}, open.Files[0].Path},
	} {
		ticket := h.ticket("closed", "p1")
		if resp, _ := h.seed("GET", x.v, x.path, "Authorization", "Bearer "+ticket); resp.StatusCode != 404 {
			t.Errorf("%s of %s: %d", x.path, x.v.ID, resp.StatusCode)
		}
	}
	if resp, _ := h.seed("OPTIONS", closed, closed.Files[0].Path); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("pages of other sites are let in")
	}
	if n := h.origin.Snapshot().OriginBytes; n != 0 {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestWebSeedRefusesManyRanges(t *testing.T) {
	h := newHouse(t, nil)
	v := h.films["open"].Version
	many := "bytes=0-1" + strings.Repeat(",3-9", 999)
	for _, header := range []string{many, "bytes=5-2", "bytes=99999999-", "bytes=-0", "bytes=a-b"} {
		if resp, _ := h.seed("GET", v, v.Files[0].Path, "Range", header); resp.StatusCode != 416 {
			t.Errorf("%.30s: %d", header, resp.StatusCode)
		}
	}
}

// held is a client that takes nothing until it is let go.
type held struct {
	*httptest.ResponseRecorder
	begun, free chan struct{}
}

func (w *held) Write(b []byte) (int, error) {
	close(w.begun)
	<-w.free
	return w.ResponseRecorder.Write(b)
}

func TestOneAddressHoldsSoManyWebSeedTransfersAndNoMore(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.SeedsPerAddress = 2 })
	v := h.films["open"].Version
	ask := func(w http.ResponseWriter, from string) {
		r := httptest.NewRequest("GET", "/seed/"+v.ID+"/n/"+v.Files[2].Path, nil)
		r.RemoteAddr = from
		h.origin.ServeHTTP(w, r)
	}
	status := func(from string) int {
		w := httptest.NewRecorder()
		ask(w, from)
		return w.Code
	}
	var ended []chan struct{}
	let := make(chan struct{})
	for _, from := range []string{"[2001:db8::1]:1", "[2001:db8::2]:2"} {
		w := &held{httptest.NewRecorder(), make(chan struct{}), let}
		end := make(chan struct{})
		ended = append(ended, end)
		go func() {
			defer close(end)
			ask(w, from)
		}()
		<-w.begun
	}
	if got := status("[2001:db8::3]:3"); got != 429 {
		t.Errorf("a third transfer of the same /64: %d", got)
	}
	if got := status("192.0.2.1:4"); got != 200 {
		t.Errorf("another address: %d", got)
	}
	close(let)
	for _, end := range ended {
		<-end
	}
	if got := status("[2001:db8::3]:3"); got != 200 {
		t.Errorf("after they ended: %d", got)
	}
}
