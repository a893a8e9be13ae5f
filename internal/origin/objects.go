package origin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"essaim/internal/vod"
)

// objectMax bounds a small object in memory.
const objectMax = 4 << 20

// serveObject answers /objects/{sha256}: small immutable objects (posters, subtitles, storyboards). Posters, and all of open titles,
// are for anyone who knows the digest; the rest for members. The digest is checked, so that what has rotted on the disk is not served.
func (o *Origin) serveObject(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("sha256")
	if len(name) != 2*sha256.Size || strings.Trim(name, "0123456789abcdef") != "" {
		o.refuse(w, r, vod.ErrNotFound)
		return
	}
	open, err := o.allowObject(r, name)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	data, err := readAll(r.Context(), o.blobs, vod.KeySmall(name), objectMax)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != name {
		o.refuse(w, r, fmt.Errorf("object %s: its bytes have changed", name))
		return
	}
	kind := http.DetectContentType(data)
	switch {
	case strings.HasPrefix(kind, "image/"):
	case bytes.HasPrefix(data, []byte("WEBVTT\n")):
		kind = "text/vtt; charset=utf-8"
	default:
		kind = "application/octet-stream" // never a page
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	if open {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
		h.Set("Vary", "Authorization, Cookie")
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // who has gone needs no error
}

// allowObject decides whether r may read a small object, and whether everybody may. It returns vod.ErrNotFound for what no
// title has, and vod.ErrUnauthorized.
func (o *Origin) allowObject(r *http.Request, name string) (open bool, err error) {
	use, err := o.objects.ObjectUse(r.Context(), name)
	if err != nil || use.Open {
		return use.Open, err
	}
	ticket, ok := o.ticket(r)
	if ok && slices.Contains(use.Titles, ticket.Title) || o.member != nil && o.member(r) {
		return false, nil
	}
	return false, fmt.Errorf("%w: %s is for members", vod.ErrUnauthorized, name)
}
