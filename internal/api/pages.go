package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// pages serves the built web app. Everything is read once, at the start: it is inside the program anyway.
type pages struct {
	assets map[string]*asset // by path, without the leading slash
	demo   bool
}

type asset struct {
	kind, etag    string
	cache         string
	plain, brotli []byte // brotli is nil where there is no compressed copy
}

// kinds are named here, because the tables that package mime reads differ from machine to machine.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".json": "application/json", ".map": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml",
	".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif", ".ico": "image/x-icon",
	".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json",
}

func newPages(folder fs.FS, demo bool) (*pages, error) {
	p := &pages{assets: map[string]*asset{}, demo: demo}
	if folder == nil {
		return p, nil
	}
	err := fs.WalkDir(folder, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || strings.HasSuffix(name, ".br") {
			return err
		}
		a := &asset{kind: kinds[path.Ext(name)], cache: "no-cache"} // to be asked for each time, and mostly not sent
		if a.kind == "" {
			a.kind = mime.TypeByExtension(path.Ext(name))
		}
		if a.kind == "" {
			a.kind = "application/octet-stream"
		}
		if a.plain, err = fs.ReadFile(folder, name); err != nil {
			return err
		}
		if a.brotli, err = fs.ReadFile(folder, name+".br"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		sum := sha256.Sum256(a.plain)
		a.etag = hex.EncodeToString(sum[:16])
		if strings.HasPrefix(name, "assets/") { // their names carry a digest of their content
			a.cache = "public, max-age=31536000, immutable"
		}
		p.assets[name] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the web app: %w", err)
	}
	return p, nil
}

// page is the HTML file that answers a path; empty for none.
func (p *pages) page(name string) string {
	switch {
	case name == "/" || name == "/sign-in" || name == "/sign-up" || name == "/join" || name == "/account" || name == "/members" || oneMore(name, "/title/") || oneMore(name, "/watch/"):
		return "index.html"
	case p.demo && name == "/room":
		return "room.html"
	case p.demo && (name == "/viewer" || name == "/room/viewer"):
		return "viewer.html"
	}
	return ""
}

// oneMore reports whether name is the prefix and one more segment.
func oneMore(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && rest != "" && !strings.Contains(rest, "/")
}

// ServeHTTP answers GET and HEAD of pages and assets.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		newProblem(http.StatusMethodNotAllowed, "method", "This can only be read.").write(w)
		return
	}
	name, status := p.page(r.URL.Path), http.StatusOK
	if name == "" {
		name = strings.TrimPrefix(r.URL.Path, "/")
		// The pages have addresses of their own, and what is not the room's visitor's business stays closed.
		if _, ok := p.assets[name]; !ok || strings.HasSuffix(name, ".html") {
			if !strings.Contains(r.Header.Get("Accept"), "text/html") {
				notFound(w, r)
				return
			}
			name, status = "index.html", http.StatusNotFound // whose page for lost visitors it is
		}
	}
	a, ok := p.assets[name]
	if !ok {
		newProblem(http.StatusServiceUnavailable, "not_built",
			"This program was built without its web app: run make build, then start bin/essaim.").write(w)
		return
	}
	a.serve(w, r, status)
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request, status int) {
	h := w.Header()
	body, etag := a.plain, `"`+a.etag+`"`
	if a.brotli != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsBrotli(r.Header.Get("Accept-Encoding")) {
			body, etag = a.brotli, `"`+a.etag+`-br"`
			h.Set("Content-Encoding", "br")
		}
	}
	h.Set("Cache-Control", a.cache)
	h.Set("ETag", etag)
	if status == http.StatusOK {
		for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
			if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == etag {
				h.Del("Content-Encoding")
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who has gone needs no error
	}
}

// acceptsBrotli reads an Accept-Encoding header (RFC 9110, 12.5.3).
func acceptsBrotli(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "br") {
			q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !ok || err == nil && weight > 0
		}
	}
	return false
}
