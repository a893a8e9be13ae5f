package api

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPagesAreServedAtTheirAddresses(t *testing.T) {
	t.Parallel()
	service, demo := newHouse(t, nil), newHouse(t, func(c *Config) { c.Demo = &Demo{} })
	for path, want := range map[string][2]string{ // title in a service, title in a demonstration; "" for 404
		"/": {"Essaim", "Essaim"}, "/title/open": {"Essaim", "Essaim"}, "/watch/open": {"Essaim", "Essaim"}, "/sign-in": {"Essaim", "Essaim"},
		"/room": {"", "Room"}, "/viewer": {"", "Viewer"}, "/room/viewer?n=1": {"", "Viewer"},
		"/title/": {}, "/title/a/b": {}, "/none": {}, "/room.html": {}, "/viewer.html": {}, "/index.html": {}, "/.keep": {},
		"/engine.wasm.br": {}, "/assets/": {}, "/assets/none.js": {},
	} {
		for i, h := range []*house{service, demo} {
			resp, body := h.browser().do("GET", path, "", "Accept-Encoding", "identity")
			if want[i] == "" {
				if resp.StatusCode != 404 || resp.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s: %d %s", path, resp.StatusCode, body)
				}
				continue
			}
			if resp.StatusCode != 200 || !strings.Contains(string(body), "<title>"+want[i]+"<") ||
				resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Cache-Control") != "no-cache" {
				t.Errorf("%s: %d %v %s", path, resp.StatusCode, resp.Header, body)
			}
		}
	}
	resp, body := service.browser().do("GET", "/none", "", "Accept", "text/html,*/*")
	if resp.StatusCode != 404 || !strings.Contains(string(body), "<title>Essaim<") {
		t.Errorf("a lost visitor: %d %s", resp.StatusCode, body)
	}
}

func TestAssetsComeCompressedAndStay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.browser()
	for _, c := range []struct {
		path, accept, kind, cache, encoding, body string
	}{
		{"/engine.wasm", "gzip, deflate, br", "application/wasm", "no-cache", "br", "packed wasm"},
		{"/engine.wasm", "br;q=0.5", "application/wasm", "no-cache", "br", "packed wasm"},
		{"/engine.wasm", "gzip, br;q=0", "application/wasm", "no-cache", "", "\x00asm plain"},
		{"/engine.wasm", "identity", "application/wasm", "no-cache", "", "\x00asm plain"},
		{"/assets/index-IYqAT8QX.js", "br", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "", "console.log(1)"},
		{"/assets/tokens-DakeqvwB.css", "br", "text/css; charset=utf-8", "public, max-age=31536000, immutable", "", "body{}"},
	} {
		resp, body := b.do("GET", c.path, "", "Accept-Encoding", c.accept)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != c.kind || resp.Header.Get("Cache-Control") != c.cache ||
			resp.Header.Get("Content-Encoding") != c.encoding || string(body) != c.body {
			t.Errorf("%s with %q: %d %v %q", c.path, c.accept, resp.StatusCode, resp.Header, body)
		}
		again, body := b.do("GET", c.path, "", "Accept-Encoding", c.accept, "If-None-Match", resp.Header.Get("ETag"))
		if again.StatusCode != 304 || len(body) != 0 {
			t.Errorf("%s again: %d", c.path, again.StatusCode)
		}
	}
	if resp, _ := b.do("POST", "/engine.wasm", ""); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

func TestEveryAnswerCarriesTheSafetyHeaders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, path := range []string{"/", "/engine.wasm", "/api/v1/titles", "/api/v1/none", "/none", "/media/x", "/healthz"} {
		resp, _ := h.browser().do("GET", path, "")
		csp := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'self';", "script-src 'self' 'wasm-unsafe-eval';", "style-src 'self';", "object-src 'none';", "base-uri 'none';",
			"frame-ancestors 'none'", "connect-src 'self' wss://127.0.0.1:",
		} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: CSP %q lacks %q", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe-inline") || strings.Contains(csp, "'unsafe-eval'") || strings.Contains(csp, "*") {
			t.Errorf("%s: CSP %q", path, csp)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %s %q", path, name, got)
			}
		}
	}
	demo := newHouse(t, func(c *Config) { c.Demo = &Demo{} })
	resp, _ := demo.browser().do("GET", "/room", "")
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'self'") {
		t.Errorf("the room's frames: %q", csp)
	}
}

func TestPolicyNamesNoHostThatCouldBeMore(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost:8080": true, "essaim.example": true, "[::1]:8080": true, "127.0.0.1": true,
		"a b": false, "x;script-src *": false, "*": false, "a,b": false, "": false, "h:123456": false, "[::1": false,
	} {
		if hostForm.MatchString(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

func TestProgramWithoutItsWebAppSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config) { c.Pages = fstest.MapFS{".keep": {}} })
	h.browser().refused(http.StatusServiceUnavailable, "not_built", "GET", "/", "")
}
