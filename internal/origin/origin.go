// Package origin serves media bytes and hash layers over HTTP. It must never send a byte of a title that is not open to
// anyone without a ticket for it, count exactly what sockets accept, keep all media under one rate, and drop readers
// that stall without dropping those that the rate makes wait.
package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/vod"
)

// Config is what an origin needs. Titles, Tickets, Blobs and Clock are required.
type Config struct {
	Titles  vod.Titles
	Tickets vod.Tickets
	Blobs   blob.Store
	Clock   vod.Clock
	Log     *slog.Logger  // nil: slog.Default
	Rate    int64         // bytes per second of all media together; 0 is no bound
	Stall   time.Duration // a socket that accepts nothing for so long is closed; 0: 30 s
	// SeedsPerAddress bounds the web seed transfers of one IPv4 address or IPv6 /64 at once; 0: 16.
	SeedsPerAddress int
	// Pages are the web origins (scheme, host and port) of other servers whose pages may read members' titles here, with a ticket;
	// nil: none. It is called with every request.
	Pages func() []string
	// Objects says whom small objects are for; nil: none are served.
	Objects vod.Objects
	// Member reports whether a request is a signed-in member's, by its cookie; nil: nobody is.
	Member func(r *http.Request) bool
}

// stallDefault is twice the longest pause of TCP's retransmissions that a phone's change of network costs.
const stallDefault = 30 * time.Second

// Origin serves /media/{root}, /hashes/{root} and /objects/{sha256}, and open titles as web seeds below /seed/. It is safe for concurrent use.
type Origin struct {
	titles  *catalogue
	tickets vod.Tickets
	blobs   blob.Store
	log     *slog.Logger
	stall   time.Duration
	clock   vod.Clock
	bucket  *bucket
	counts  *counts
	trees   *trees
	seeds   addresses
	pages   func() []string
	objects vod.Objects
	member  func(r *http.Request) bool
	mux     *http.ServeMux
}

var (
	_ http.Handler    = (*Origin)(nil)
	_ vod.Traffic     = (*Origin)(nil)
	_ vod.Throttle    = (*Origin)(nil)
	_ vod.FirstHashes = (*Origin)(nil)
)

// New returns an origin over c.
func New(c Config) *Origin {
	o := &Origin{
		titles: newCatalogue(c.Titles, c.Clock), tickets: c.Tickets, blobs: c.Blobs, log: c.Log, stall: c.Stall, clock: c.Clock,
		bucket: newBucket(c.Rate), counts: newCounts(c.Clock), trees: newTrees(c.Blobs), pages: c.Pages,
		objects: c.Objects, member: c.Member, mux: http.NewServeMux(),
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	if o.stall <= 0 {
		o.stall = stallDefault
	}
	o.mux.HandleFunc("GET /media/{root}", o.serveMedia) // and HEAD
	o.mux.HandleFunc("OPTIONS /media/{root}", o.servePreflight)
	o.mux.HandleFunc("GET /hashes/{root}", o.serveHashes)
	o.mux.HandleFunc("OPTIONS /hashes/{root}", o.servePreflight)
	if o.objects != nil {
		o.mux.HandleFunc("GET /objects/{sha256}", o.serveObject)
	}
	o.seeds = addresses{max: c.SeedsPerAddress, held: map[netip.Prefix]int{}}
	if o.seeds.max <= 0 {
		o.seeds.max = seedsPerAddressDefault
	}
	o.mux.HandleFunc("GET /seed/{version}/{name}/{path...}", o.serveSeed)
	o.mux.HandleFunc("OPTIONS /seed/{version}/{name}/{path...}", o.serveSeedPreflight)
	return o
}

// ServeHTTP implements http.Handler.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.mux.ServeHTTP(w, r) }

// SetRate implements vod.Throttle. Transfers that wait feel the new rate at once.
func (o *Origin) SetRate(bytesPerSecond int64) { o.bucket.SetRate(bytesPerSecond) }

// Rate implements vod.Throttle.
func (o *Origin) Rate() int64 { return o.bucket.Rate() }

// Snapshot implements vod.Traffic. When there are very many play sessions or rehearsals, those that have long received
// nothing are missing.
func (o *Origin) Snapshot() vod.TrafficReport { return o.counts.snapshot() }

// access is what a request may read: one file, as part of one title.
type access struct {
	title   *vod.Title
	file    *vod.File
	session string // the play session it counts for; empty without a ticket
	// rehearsal is the label that it counts for instead of title and session; empty for viewers.
	rehearsal vod.RehearsalLabel
	pad       bool // of a web seed: zeros, which no file holds
}

// allow decides whether r may read the file with its root. It returns vod.ErrNotFound, or vod.ErrUnauthorized for a
// file of members-only titles and no ticket for a version that holds it.
func (o *Origin) allow(r *http.Request) (access, error) {
	root, err := bt.ParseDigest(r.PathValue("root"))
	if err != nil || root.String() != r.PathValue("root") {
		return access{}, fmt.Errorf("%w: no such root", vod.ErrNotFound)
	}
	// The ticket's own title comes first: several titles may hold the file.
	ticket, ok := o.ticket(r)
	if ok {
		t, err := o.titles.get(r.Context(), ticket.Title)
		switch {
		case errors.Is(err, vod.ErrNotFound):
		case err != nil:
			return access{}, err
		case t.Version.ID == ticket.Version:
			for i := range t.Version.Files {
				if t.Version.Files[i].Root == root {
					return access{title: t, file: &t.Version.Files[i], session: ticket.PlaySession, rehearsal: ticket.Rehearsal}, nil
				}
			}
		}
	}
	t, f, err := o.titles.byRoot(r.Context(), root)
	if err != nil {
		return access{}, err
	}
	if !t.Open {
		return access{}, fmt.Errorf("%w: %s is for ticket holders", vod.ErrUnauthorized, t.ID)
	}
	// A rehearsal that asks for more than its title's files is a rehearsal still.
	return access{title: t, file: f, rehearsal: ticket.Rehearsal}, nil
}

// ticket reads the request's media ticket. One that is not valid is as good as none: open titles need none, and for the
// others none is refused.
func (o *Origin) ticket(r *http.Request) (vod.Ticket, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return vod.Ticket{}, false
	}
	ticket, err := o.tickets.Check(vod.AudienceMedia, token)
	return ticket, err == nil
}

// setPolicy says who may keep and read the answer: anyone's cache and page for open titles, this browser's for others.
func (o *Origin) setPolicy(r *http.Request, h http.Header, t *vod.Title) {
	if t.Open {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Content-Range, Content-Length, Accept-Ranges, ETag")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		return
	}
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("Vary", "Authorization")
	if site, ok := o.page(r); ok {
		h.Set("Vary", "Authorization, Origin")
		h.Set("Access-Control-Allow-Origin", site)
		h.Set("Access-Control-Expose-Headers", "Content-Range, Content-Length, Accept-Ranges, ETag")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
}

// page is the web origin of the page that asks, if it is one of Config.Pages.
func (o *Origin) page(r *http.Request) (string, bool) {
	site := r.Header.Get("Origin")
	return site, site != "" && o.pages != nil && slices.Contains(o.pages(), site)
}

// servePreflight answers what a browser asks before a page of another site reads an open title (Fetch, CORS). For other
// titles it answers without permission.
func (o *Origin) servePreflight(w http.ResponseWriter, r *http.Request) {
	if site, ok := o.page(r); ok { // whatever it asks for: a ticket says the rest
		permit(w.Header())
		w.Header().Set("Access-Control-Allow-Origin", site)
		w.Header().Set("Vary", "Origin")
	} else if root, err := bt.ParseDigest(r.PathValue("root")); err == nil {
		if t, _, err := o.titles.byRoot(r.Context(), root); err == nil && t.Open {
			permit(w.Header())
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuse answers with the problem that err is, and logs what is the service's own fault.
func (o *Origin) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		return // nobody listens any more
	case errors.Is(err, vod.ErrNotFound), errors.Is(err, blob.ErrNotFound):
		problem(w, http.StatusNotFound, "not_found", "There is nothing here.")
	case errors.Is(err, vod.ErrUnauthorized):
		w.Header().Set("WWW-Authenticate", `Bearer realm="essaim media"`)
		problem(w, http.StatusUnauthorized, "unauthorized", "This title needs a ticket: sign in and press play again.")
	case errors.Is(err, vod.ErrInvalid):
		problem(w, http.StatusBadRequest, "invalid", "The request asks for what cannot be.")
	default:
		o.log.ErrorContext(r.Context(), "origin", "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "unavailable", "The file cannot be read just now. Try again.")
	}
}
