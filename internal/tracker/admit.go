package tracker

import (
	"context"
	"errors"
	"math"
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

// network is the larger part of the net that an address lies in: whoever has one address of a /24, or one /64 of a /48, may
// well have them all.
func (a address) network() netip.Prefix {
	bits := 24
	if a.prefix.Addr().Is6() {
		bits = 48
	}
	p, _ := a.prefix.Addr().Prefix(bits)
	return p
}

const (
	// arrivalEvery is how often an address may connect anew, when it has used up twice what it may hold at once.
	arrivalEvery = time.Second
	// arrivalsMax bounds how many addresses' arrivals are remembered.
	arrivalsMax = 8192
	// networkShare is how many addresses' worth of connections a network may hold.
	networkShare = 16
	// strangerShare is the part of an address' connections, one in so many, that may announce without a ticket.
	strangerShare = 4
)

// callers counts connections by whence they come. It belongs to the tracker's mu.
type callers struct {
	perAddress int
	addresses  map[address]int
	networks   map[netip.Prefix]int
	strangers  map[address]int // of them, those that announced without a ticket
	arrivals   map[address]*bucket
}

func newCallers(perAddress int) callers {
	return callers{
		perAddress: perAddress, addresses: make(map[address]int), networks: make(map[netip.Prefix]int),
		strangers: make(map[address]int), arrivals: make(map[address]*bucket),
	}
}

// unbounded says that all come from one address, that of a proxy.
func (c *callers) unbounded() bool { return c.perAddress > math.MaxInt/networkShare }

// enter counts a connection, unless there are too many or they come too fast.
func (c *callers) enter(from address, now time.Time) bool {
	if c.unbounded() {
		return true
	}
	if c.addresses[from] >= c.perAddress || c.networks[from.network()] >= networkShare*c.perAddress {
		return false
	}
	b := c.arrivals[from]
	if b == nil {
		if len(c.arrivals) >= arrivalsMax {
			for key, old := range c.arrivals {
				if !old.full.After(now) {
					delete(c.arrivals, key)
				}
			}
			if len(c.arrivals) >= arrivalsMax {
				return false // a flood from everywhere: those who are in stay, the others come later
			}
		}
		b = &bucket{every: arrivalEvery, burst: 2 * c.perAddress}
		c.arrivals[from] = b
	}
	if !b.allow(now) {
		return false
	}
	c.addresses[from]++
	c.networks[from.network()]++
	return true
}

// estrange counts a connection among those without a ticket; false when there are too many.
func (c *callers) estrange(from address) bool {
	if c.unbounded() {
		return true
	}
	if c.strangers[from] >= max(1, c.perAddress/strangerShare) {
		return false
	}
	c.strangers[from]++
	return true
}

// Connected says whether somebody at that address has a connection to the tracker, so that the address is known to be its own: nobody
// can open one in another's name. It says no where addresses are not known, as behind a proxy.
func (t *Tracker) Connected(ip netip.Addr) bool {
	at := addressOf(netip.AddrPortFrom(ip, 0).String())
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.callers.addresses[at] > 0
}

// exit gives back what enter and estrange took.
func (c *callers) exit(from address, stranger bool) {
	if c.unbounded() {
		return
	}
	less(c.addresses, from)
	less(c.networks, from.network())
	if stranger {
		less(c.strangers, from)
	}
}

func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
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
	e, ok := t.remembered(h)
	if !ok {
		title, err := t.from.BySwarm(ctx, h)
		if err != nil && !errors.Is(err, vod.ErrNotFound) {
			// While the catalogue cannot be read, what was known last holds as long as tickets do: who plays goes on.
			if e.id != "" && t.clock().Before(e.until.Add(vod.TicketGrace)) {
				return e, nil
			}
			return titleEntry{}, err
		}
		e = titleEntry{
			id: title.ID, version: title.Version.ID, open: title.Open,
			missing: err != nil, until: t.clock().Add(titleFresh),
		}
		t.mu.Lock()
		if len(t.known) >= titlesMax {
			clear(t.known)
		}
		t.known[h] = e
		t.mu.Unlock()
	}
	return e.known()
}

// remembered is what was answered lately.
func (t *titles) remembered(h bt.InfoHash) (titleEntry, bool) {
	t.mu.Lock()
	e, ok := t.known[h]
	t.mu.Unlock()
	return e, ok && !t.clock().After(e.until)
}

// known is the entry, or vod.ErrNotFound where there is no such title.
func (e titleEntry) known() (titleEntry, error) {
	if e.missing {
		return titleEntry{}, vod.ErrNotFound
	}
	return e, nil
}
