package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

const (
	// Lead is how long before its hour a title is on edges' plans.
	Lead = 24 * time.Hour
	// ticketLife is how long tickets of a plan are good for, and ticketsEvery how often an edge gets new ones.
	ticketLife, ticketsEvery = 10 * time.Minute, 4 * time.Minute
	// demandHalf is after how long what was watched counts half.
	demandHalf = 12 * time.Hour
	// freshFor is how long a title that was published counts as asked for, though nobody has been seen to watch it yet.
	freshFor = 14 * 24 * time.Hour
	// heldBonus keeps what an edge holds already, unless something else is worth that much more.
	heldBonus = 1.5
	// planEvery and up to planJitter more is how long a plan stands that nothing but demand would change: minutes at most, so that
	// tickets are renewed in time, and not the same for all edges.
	planEvery, planJitter = 45 * time.Second, 30 * time.Second
	// sourcesMax is how many other edges a title's entry names.
	sourcesMax = 4
)

// demand is how much of each title was watched of late: bytes that viewers were sent, by the origin and by edges, halved every
// demandHalf. It is kept in memory: after a restart what is new counts first.
type demand struct {
	at     time.Time
	by     map[vod.TitleID]float64
	origin map[vod.TitleID]int64 // the origin's count when it was last looked at
}

func newDemand() demand {
	return demand{by: map[vod.TitleID]float64{}, origin: map[vod.TitleID]int64{}}
}

// age takes off what time takes.
func (d *demand) age(now time.Time) {
	if past := now.Sub(d.at); !d.at.IsZero() && past > 0 {
		keep := math.Exp2(-past.Hours() / demandHalf.Hours())
		for id := range d.by {
			if d.by[id] *= keep; d.by[id] < 1 {
				delete(d.by, id)
			}
		}
	}
	d.at = now
}

// traffic adds what the origin has sent viewers.
func (d *demand) traffic(t vod.TrafficReport) {
	for id, n := range t.ByTitle {
		if n > d.origin[id] {
			d.by[id] += float64(n - d.origin[id])
		}
		d.origin[id] = n
	}
}

// edge adds what an edge has sent since it last said.
func (d *demand) edge(_ string, before, now *live) {
	if before == nil || before.report.Started != now.report.Started {
		return // what it served before is not of late, for all we know
	}
	sent := map[vod.TitleID]int64{}
	for _, h := range before.report.Titles {
		sent[h.Title] = h.HTTPBytes + h.PeerBytes
	}
	for _, h := range now.report.Titles {
		if n := h.HTTPBytes + h.PeerBytes - sent[h.Title]; n > 0 {
			d.by[h.Title] += float64(n)
		}
	}
}

// candidate is a title that may be on a plan.
type candidate struct {
	title  vod.Title
	size   int64
	window vod.Window
	soon   bool
	worth  float64 // bytes of the origin's that holding one byte of it spares, about
}

// told is the plan that an edge was told last. To make one costs two signatures a title.
type told struct {
	edition string
	mark    [sha256.Size]byte // of what it was made of, demand left out
	due     time.Time         // when demand is looked at again
}

// stands reports whether the plan need not be made anew for an edge that follows an edition.
func (t *told) stands(edition string, mark [sha256.Size]byte, now time.Time) bool {
	return edition != "" && edition == t.edition && mark == t.mark && now.Before(t.due) && t.due.Sub(now) <= planEvery+planJitter
}

// markOf is another whenever a title came, went or changed, its hour struck, or the edge has more or less room.
func markOf(titles []vod.TitleWindow, quota int64, now time.Time) (mark [sha256.Size]byte) {
	h := sha256.New()
	for i := range titles {
		t := &titles[i]
		w, soon := t.Window, now.Add(Lead)
		fmt.Fprintln(h, t.ID, t.Open, t.Published.UnixMilli(), t.Withdrawn, toMs(w.From), toMs(w.Until), w.Open(now), w.Open(soon))
	}
	fmt.Fprintln(h, quota)
	h.Sum(mark[:0])
	return mark
}

// plan is what an edge is to hold: as much as fits of what is worth most a byte. What is worth most is what is watched most for
// each edge that holds it already; what comes out soon goes before all else.
func (r *Registry) plan(ctx context.Context, l *live, windows []vod.TitleWindow, now time.Time) (*control.Plan, error) {
	list, err := r.candidates(ctx, now, l, windows)
	if err != nil {
		return nil, err
	}
	p := &control.Plan{Titles: []control.Title{}, Trackers: r.c.Trackers, Announce: r.c.Announce, ICE: r.c.ICE, Public: r.c.Public}
	room := l.report.QuotaBytes
	for i := range list {
		c := &list[i]
		if c.size > room || len(p.Titles) == control.PlanMax {
			continue // something smaller may fit
		}
		room -= c.size
		t := control.NewTitle(&c.title)
		t.Soon = c.soon
		t.FromMs, t.UntilMs = toMs(c.window.From), toMs(c.window.Until)
		t.Sources = r.sources(t.Version, l)
		p.Titles = append(p.Titles, t)
	}
	return p, r.sign(p, l.id, now)
}

func toMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// mayLie reports whether a title may lie on edges, which stand in other people's rooms: it is open, or encrypted.
func mayLie(t *vod.Title) bool { return t.Open || t.Version.Scheme != vod.Clear }

// candidates are all such titles that are out or come out soon, the one to hold first before the others.
func (r *Registry) candidates(ctx context.Context, now time.Time, l *live, windows []vod.TitleWindow) ([]candidate, error) {
	out, err := r.c.Titles.List(ctx, false)
	if err != nil {
		return nil, err
	}
	coming, err := r.c.Coming.List(ctx, false)
	if err != nil {
		return nil, err
	}
	window := map[vod.TitleID]vod.Window{}
	for _, w := range windows {
		window[w.ID] = w.Window // of those withdrawn too: they are in neither list
	}
	shown := map[vod.TitleID]bool{}
	for i := range out {
		shown[out[i].ID] = true
	}
	var list []candidate
	for _, t := range out {
		if !mayLie(&t) {
			continue
		}
		list = append(list, candidate{title: t, window: window[t.ID]})
	}
	for _, t := range coming {
		if !shown[t.ID] && mayLie(&t) {
			list = append(list, candidate{title: t, window: window[t.ID], soon: true})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.demand.age(now)
	r.demand.traffic(r.c.Traffic.Snapshot())
	for i := range list {
		c := &list[i]
		for _, f := range c.title.Version.Files {
			c.size += f.Size
		}
		wanted := r.demand.by[c.title.ID]
		if age := now.Sub(c.title.Published); age < freshFor {
			// As if a tenth of it had been watched: less than anything that is.
			wanted += float64(c.size) / 10 * (1 - max(0, age.Hours())/freshFor.Hours())
		}
		others := 0
		for _, o := range r.seen {
			if o.id != l.id && o.whole[c.title.Version.ID] && now.Sub(o.at) <= aliveFor {
				others++
			}
		}
		c.worth = wanted / float64(max(c.size, 1)) / float64(1+others)
		if l.whole[c.title.Version.ID] {
			c.worth *= heldBonus
		}
	}
	slices.SortFunc(list, func(a, b candidate) int {
		if a.soon != b.soon {
			if a.soon {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.worth, a.worth), b.title.Published.Compare(a.title.Published), cmp.Compare(a.title.ID, b.title.ID))
	})
	return list, nil
}

// sources are other edges that hold a version, the nearest first.
func (r *Registry) sources(version string, l *live) []string {
	now := r.c.Clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*live
	for _, o := range r.seen {
		if o.id != l.id && o.node != "" && o.whole[version] && now.Sub(o.at) <= aliveFor {
			list = append(list, o)
		}
	}
	r.byDistance(list, l.from)
	var names []string
	for _, o := range list[:min(len(list), sourcesMax)] {
		names = append(names, o.id+"@"+o.node)
	}
	return names
}

// byDistance sorts edges by how far they are from an address, then by ID.
func (r *Registry) byDistance(list []*live, from netip.Addr) {
	far := func(o *live) int {
		if r.c.Far == nil || !from.IsValid() {
			return 0
		}
		return r.c.Far(o.from, from)
	}
	slices.SortFunc(list, func(a, b *live) int { return cmp.Or(cmp.Compare(far(a), far(b)), cmp.Compare(a.id, b.id)) })
}

// sign names the plan's edition and puts tickets in. An edition lasts no longer than its tickets are fresh.
func (r *Registry) sign(p *control.Plan, id string, now time.Time) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append(b, fmt.Sprint(now.UnixMilli()/ticketsEvery.Milliseconds())...))
	p.Edition = hex.EncodeToString(sum[:8])
	for i := range p.Titles {
		t := &p.Titles[i]
		// The tracker knows a peer by its play session, and lets so many connections of one member in: each title is one.
		one := device(id) + "-" + t.Version[:16]
		ticket := vod.Ticket{
			Audience: vod.AudienceMedia, PlaySession: one, Member: one, Device: device(id), Title: t.ID, Version: t.Version,
			Expires: now.Add(ticketLife),
		}
		if t.Media, err = r.c.Tickets.Issue(ticket); err != nil {
			return err
		}
		if t.FromMs > now.UnixMilli() {
			continue // it has no swarm yet
		}
		ticket.Audience = vod.AudienceSwarm
		if t.Swarm, err = r.c.Tickets.Issue(ticket); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the list of web origins anew; the caller holds the lock.
func (r *Registry) settle() {
	now, sites := r.c.Clock(), map[string]bool{}
	for _, l := range r.seen {
		if site := siteOf(l.url); site != "" && now.Sub(l.at) <= aliveFor {
			sites[site] = true
		}
	}
	r.sites = slices.Sorted(maps.Keys(sites))
}

// sitesMax bounds the web origins in a page's header.
const sitesMax = 64

// Sites implements vod.Edges.
func (r *Registry) Sites() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sites[:min(len(r.sites), sitesMax)])
}

// Near implements vod.Edges.
func (r *Registry) Near(version string, from netip.Addr) []string {
	now := r.c.Clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*live
	for _, l := range r.seen {
		if site := siteOf(l.url); site != "" && l.whole[version] && now.Sub(l.at) <= aliveFor && slices.Contains(r.sites[:min(len(r.sites), sitesMax)], site) {
			list = append(list, l)
		}
	}
	r.byDistance(list, from)
	var urls []string
	for _, l := range list[:min(len(list), nearMax)] {
		urls = append(urls, l.url)
	}
	return urls
}
