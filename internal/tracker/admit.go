package tracker

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

// address is whom a connection is counted against: an IPv4 address, or the /64 of an IPv6 one, which one household holds.
type address struct {
	prefix netip.Prefix
	local  bool // this machine: a proxy in front of us, or a test
}

func addressOf(remote string) address {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return address{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return address{prefix: prefix, local: ip.IsLoopback()}
}

// pass is the label of the rehearsal whose pass the request bears; empty for none that is good.
func (t *Tracker) pass(r *http.Request) vod.RehearsalLabel {
	token := r.URL.Query().Get("rehearsal")
	if token == "" {
		return ""
	}
	ticket, err := t.cfg.Tickets.Check(vod.AudienceRehearsal, token)
	if err != nil || !ticket.Rehearsal.Valid() {
		return ""
	}
	return ticket.Rehearsal
}

// foreign says whether a page that is not ours opened the connection. Programs send no Origin.
func foreign(r *http.Request, hosts []string) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || len(origins) > 1 || u.Host == "" {
		return true
	}
	if strings.EqualFold(u.Host, r.Host) {
		return false
	}
	for _, h := range hosts {
		if strings.EqualFold(u.Host, h) {
			return false
		}
	}
	return true
}

// bucket is a token bucket: burst at once, and one more in every.
type bucket struct {
	every time.Duration
	burst int
	full  time.Time // when it will be full again
}

func (b *bucket) allow(now time.Time) bool {
	if b.full.Before(now) {
		b.full = now
	}
	if b.full.Sub(now) > time.Duration(b.burst-1)*b.every {
		return false
	}
	b.full = b.full.Add(b.every)
	return true
}

const (
	// titleFresh is how long a title's answer is believed: how soon a title withdrawn loses its swarm.
	titleFresh = 5 * time.Second
	// titlesMax bounds what is remembered; info hashes nobody knows are remembered too, as they are what floods bring.
	titlesMax = 4096
)

// titles remembers vod.Titles' answers for a moment: a busy swarm announces many times a second.
type titles struct {
	from  vod.Titles
	clock vod.Clock

	mu    sync.Mutex
	known map[bt.InfoHash]titleEntry
}

type titleEntry struct {
	id      vod.TitleID
	version string
	open    bool
	missing bool
	until   time.Time
}

// get returns vod.ErrNotFound for a swarm of no published title; other errors are the catalogue's.
func (t *titles) get(ctx context.Context, h bt.InfoHash) (titleEntry, error) {
	now := t.clock()
	t.mu.Lock()
	e, ok := t.known[h]
	t.mu.Unlock()
	if !ok || now.After(e.until) {
		title, err := t.from.BySwarm(ctx, h)
		if err != nil && !errors.Is(err, vod.ErrNotFound) {
			return titleEntry{}, err
		}
		e = titleEntry{
			id: title.ID, version: title.Version.ID, open: title.Open,
			missing: err != nil, until: now.Add(titleFresh),
		}
		t.mu.Lock()
		if len(t.known) >= titlesMax {
			clear(t.known)
		}
		t.known[h] = e
		t.mu.Unlock()
	}
	if e.missing {
		return titleEntry{}, vod.ErrNotFound
	}
	return e, nil
}
