package main

import (
	"context"
	"time"
)

// crossViewers are in each provider.
const crossViewers = 8

// crossScene: of what viewers give one another, how much crosses from one provider to the other, once all are there. The routers
// count whole packets between homes, whatever they carry.
func crossScene(ctx context.Context, l *lab) (fields, error) {
	var seats []seat
	for i := range 2 * crossViewers { // in turn, so that none of the two is always ahead
		seats = append(seats, seat{home: l.plan.add(i%2, home{}), page: i == 6 && l.page})
	}
	if err := l.build(ctx); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	const apart = time.Second
	c, err := l.arrive(ctx, seats, true, 0, apart)
	if err != nil {
		return nil, err
	}
	defer c.leave()
	if err := c.until(ctx, time.Duration(len(seats)-1)*apart+2*time.Second); err != nil {
		return nil, err
	}
	var before, after [2]counters
	for i := range before {
		if before[i], err = l.count(ctx, i); err != nil {
			return nil, err
		}
	}
	all := time.Now()
	film := time.Duration(l.film.seconds * float64(time.Second))
	if err := c.wait(ctx, film+patience, func() bool { return c.all(0, finished) && c.all(1, finished) }); err != nil {
		return nil, err
	}
	ended := time.Now()
	var inside, cross, outside int64
	for i := range after {
		if after[i], err = l.count(ctx, i); err != nil {
			return nil, err
		}
		d := after[i].since(before[i])
		inside, cross, outside = inside+d.inside, cross+d.outsidePeers, outside+d.outside
	}
	var f fields
	l.common(&f, backboneKbps)
	var sums [2]int64 // by the viewers' own count: same provider, other
	var total lived
	for i := range 2 {
		same1, other1, _ := c.byPeer(i, all)
		same2, other2, _ := c.byPeer(i, ended)
		sums[0], sums[1] = sums[0]+same2-same1, sums[1]+other2-other1
		x, was := c.lived(i, ended), c.lived(i, all)
		total.viewers += x.viewers
		total.finished += x.finished
		total.stalls += x.stalls
		total.bad += x.bad
		total.fromOrigin += x.fromOrigin - was.fromOrigin
		total.fromPeers += x.fromPeers - was.fromPeers
	}
	f.add("viewers", total.viewers)
	f.add("finished", total.finished)
	f.add("stalls_per_viewer", total.stallsPerViewer())
	f.add("cross_share", share(cross, inside+cross))
	f.add("cross_media_share", share(sums[1], sums[0]+sums[1]))
	f.add("inside_bytes", inside)
	f.add("cross_bytes", cross)
	f.add("inside_media", sums[0])
	f.add("cross_media", sums[1])
	f.add("origin_media", total.fromOrigin)
	f.add("peer_media", total.fromPeers)
	f.add("uplink_bytes", outside)
	f.add("bad_blocks", total.bad)
	return f, c.same()
}
