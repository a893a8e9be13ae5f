package origin

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

// seedsPerAddressDefault bounds the transfers that one visitor's web seed clients hold at once: two browsers running
// WebTorrent, which opens four each, and a BitTorrent client or two.
const seedsPerAddressDefault = 16

// serveSeed answers GET and HEAD of /seed/{version}/{name}/{path}: an open title as a web seed (BEP 19), for clients to
// which a URL list of /seed/{version}/ was told. The version makes every address immutable; the torrent's name, which
// clients append, is not looked at. Pads (BEP 47) are there too, since WebTorrent asks for them: /.pad/N is N zeros.
func (o *Origin) serveSeed(w http.ResponseWriter, r *http.Request) {
	a, err := o.allowSeed(r)
	if err != nil {
		o.refuse(w, r, err)
		return
	}
	leave, ok := o.seeds.enter(r.RemoteAddr)
	if !ok {
		o.setPolicy(r, w.Header(), a.title)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusTooManyRequests, "busy", "This address has too many transfers under way. Try again when some have ended.")
		return
	}
	defer leave()
	o.serveFile(w, r, a)
}

// allowSeed finds the open title's file, or pad, that r names. What is not open is not found, whoever asks: BitTorrent
// clients have no tickets.
func (o *Origin) allowSeed(r *http.Request) (access, error) {
	title, err := o.seeded(r)
	if err != nil {
		return access{}, err
	}
	path := r.PathValue("path")
	for i := range title.Version.Files {
		if f := &title.Version.Files[i]; f.Path == path {
			return access{title: title, file: f}, nil
		}
	}
	if n, ok := strings.CutPrefix(path, ".pad/"); ok {
		if size, err := strconv.ParseInt(n, 10, 64); err == nil && strconv.FormatInt(size, 10) == n && hasPad(&title.Version, size) {
			return access{title: title, file: &vod.File{Path: path, Size: size}, pad: true}, nil
		}
	}
	return access{}, fmt.Errorf("%w: %s holds no %.80q", vod.ErrNotFound, title.ID, path)
}

// seeded is the open title whose version r names.
func (o *Origin) seeded(r *http.Request) (*vod.Title, error) {
	version, err := bt.ParseInfoHashV2(r.PathValue("version"))
	if err != nil || version.String() != r.PathValue("version") {
		return nil, fmt.Errorf("%w: no such version", vod.ErrNotFound)
	}
	title, err := o.titles.bySwarm(r.Context(), version.Truncated())
	if err != nil {
		return nil, err
	}
	if !title.Open || title.Version.InfoHashV2 != version {
		return nil, fmt.Errorf("%w: no open title has this version", vod.ErrNotFound)
	}
	return title, nil
}

// hasPad says whether one of the version's files is followed by so many zeros.
func hasPad(v *vod.Version, size int64) bool {
	for i := range v.Files {
		if size > 0 && -v.Files[i].Size&int64(v.PieceLength-1) == size {
			return true
		}
	}
	return false
}

// serveSeedPreflight answers what a browser asks before a page of another site fetches from a web seed. WebTorrent sends
// headers of its own.
func (o *Origin) serveSeedPreflight(w http.ResponseWriter, r *http.Request) {
	if _, err := o.seeded(r); err == nil {
		permit(w.Header())
	}
	w.WriteHeader(http.StatusNoContent)
}

// permit lets pages of other sites send the headers that players and WebTorrent send.
func permit(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, If-Range, Range, User-Agent")
	h.Set("Access-Control-Max-Age", "86400")
}

// zeros is what pads hold, without end.
type zeros struct{}

// ReadAt implements io.ReaderAt.
func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// padding is a pad's content, as an object of the store's.
type padding struct{ *io.SectionReader }

// Close implements io.Closer.
func (padding) Close() error { return nil }

// addresses counts the transfers under way by IPv4 address or IPv6 /64, which one household holds.
type addresses struct {
	max  int
	mu   sync.Mutex
	held map[netip.Prefix]int
}

// enter takes a place, which leave gives back; false where the address holds all of its own.
func (a *addresses) enter(remote string) (leave func(), ok bool) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return func() {}, true // no socket: a test's, or a server of another kind
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	key, _ := ip.Prefix(bits)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[key] >= a.max {
		return nil, false
	}
	a.held[key]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.held[key]--; a.held[key] == 0 {
			delete(a.held, key)
		}
	}, true
}
