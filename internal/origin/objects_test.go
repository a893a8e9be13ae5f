package origin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"essaim/internal/vod"
)

// small stores a small object and returns its name.
func (h *house) small(data []byte) string {
	h.t.Helper()
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	if err := h.blobs.Put(h.t.Context(), vod.KeySmall(name), bytes.NewReader(data)); err != nil {
		h.t.Fatal(err)
	}
	return name
}

// decorate publishes a title of the house again, with these objects.
func (h *house) decorate(id vod.TitleID, poster, subtitles, storyboard string) {
	h.t.Helper()
	title := h.films[id]
	title.Poster = poster
	title.Subtitles = []vod.Subtitle{{Lang: "fr", Object: subtitles}}
	title.Storyboard = &vod.Storyboard{Object: storyboard, IntervalMs: 1000, Pictures: 1, Across: 1, Width: 16, Height: 9}
	if err := h.library.Publish(h.t.Context(), title, []byte("d4:infod4:name1:xee")); err != nil {
		h.t.Fatal(err)
	}
}

var (
	picture = []byte("\x89PNG\r\n\x1a\n and so on")
	page    = []byte("<!DOCTYPE html><script>alert(1)</script>")
	words   = []byte("WEBVTT\n\n00:01.000 --> 00:02.000\nx\n")
)

func TestObjectsAreServedAndChecked(t *testing.T) {
	h := newHouse(t, nil)
	rotten := strings.Repeat("ab", 32)
	if err := h.blobs.Put(t.Context(), vod.KeySmall(rotten), strings.NewReader("other bytes")); err != nil {
		t.Fatal(err)
	}
	h.decorate("open", h.small(picture), h.small(words), h.small(page))
	h.decorate("closed", rotten, h.small(words), rotten)
	for want, data := range map[string][]byte{"image/png": picture, "application/octet-stream": page, "text/vtt; charset=utf-8": words} {
		resp, body := h.do("GET", "/objects/"+h.small(data))
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != want || !bytes.Equal(body, data) || !strings.HasPrefix(resp.Header.Get("Cache-Control"), "public,") {
			t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
		}
	}
	resp, body := h.do("GET", "/objects/"+rotten)
	h.problem(resp, body, 503, "unavailable")
	unused := h.small([]byte("no title has it"))
	for _, name := range []string{strings.Repeat("cd", 32), "x", "..%2fmedia", unused} {
		resp, body := h.do("GET", "/objects/"+name)
		h.problem(resp, body, 404, "not_found")
	}
}

// Who knows the digest of what tells a film's story gets it with a ticket for the film, or signed in; a poster is everybody's.
func TestSubtitlesAndStoryboardsOfMembersTitlesAreForMembers(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Member = func(r *http.Request) bool { c, err := r.Cookie("s"); return err == nil && c.Value == "ada" }
	})
	poster, subtitles, storyboard := h.small(picture), h.small(words), h.small(page)
	h.decorate("closed", poster, subtitles, storyboard)
	if resp, _ := h.do("GET", "/objects/"+poster); resp.StatusCode != 200 {
		t.Errorf("the poster: %d", resp.StatusCode)
	}
	closed, open := h.ticket("closed", "s1"), h.ticket("open", "s2")
	for _, name := range []string{subtitles, storyboard} {
		for _, header := range [][]string{nil, {"Authorization", "Bearer " + open}, {"Authorization", "Bearer x"}, {"Cookie", "s=bob"}} {
			resp, body := h.do("GET", "/objects/"+name, header...)
			h.problem(resp, body, 401, "unauthorized")
		}
		for _, header := range [][]string{{"Authorization", "Bearer " + closed}, {"Cookie", "s=ada"}} {
			resp, body := h.do("GET", "/objects/"+name, header...)
			if sum := sha256.Sum256(body); resp.StatusCode != 200 || hex.EncodeToString(sum[:]) != name ||
				!strings.HasPrefix(resp.Header.Get("Cache-Control"), "private,") || resp.Header.Get("Vary") != "Authorization, Cookie" {
				t.Errorf("%v: %d %v", header, resp.StatusCode, resp.Header)
			}
		}
	}
	if err := h.library.Withdraw(t.Context(), "closed"); err != nil {
		t.Fatal(err)
	}
	resp, body := h.do("GET", "/objects/"+subtitles, "Cookie", "s=ada")
	h.problem(resp, body, 404, "not_found")
}
