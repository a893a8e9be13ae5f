package main

import (
	"context"
	"slices"
	"time"
)

// The scene's measures.
const (
	throttledViewers = 10              // in A
	arrivalsApart    = 2 * time.Second // they have begun before, one after the other
	settle           = 6 * time.Second // from the last one's arrival to the fall
	throttledTimes   = 1.2             // times the film's rate is left of the link, for all of them
	patience         = time.Minute     // how much later than planned viewers may finish
)

// street plans A's ten viewers, of whom two share a home and one is a Chromium, and others in B.
func (l *lab) street() (a, b []seat) {
	l.plan.direct = l.link == "origin"
	for i := range throttledViewers - 2 {
		page := i == 3 && l.page
		a = append(a, seat{home: l.plan.add(0, home{page: page}), page: page})
	}
	pair := l.plan.add(0, home{hosts: 2})
	a = append(a, seat{home: pair, host: 0, lan: true}, seat{home: pair, host: 1, lan: true})
	for range l.others {
		b = append(b, seat{home: l.plan.add(1, home{})})
	}
	return a, b
}

// mixed is the order in which they come: B's among A's, neither first nor last.
func mixed(a, b []seat) []seat {
	return slices.Insert(slices.Clone(a), len(a)/2, b...)
}

// fall is one phase of the scene: who came, what was counted, and when.
type fall struct {
	crowd       *crowd
	fell, ended time.Time
	counted     counters // in A, from the fall to the end
}

// throttled lets A's viewers and B's watch, and changes A's link when all have begun. The phase ends when A's have finished, and
// for at the latest. The first of the viewers comes ahead of the others by a time; head: how much.
func (l *lab) throttled(ctx context.Context, seats []seat, share bool, latest, head time.Duration, change func(since time.Duration) error) (f fall, err error) {
	if err := l.throttle(ctx, backboneKbps); err != nil {
		return f, err
	}
	if f.crowd, err = l.arrive(ctx, seats, share, head, arrivalsApart); err != nil {
		return f, err
	}
	defer f.crowd.leave()
	if err := f.crowd.until(ctx, head+time.Duration(len(seats)-1)*arrivalsApart+settle); err != nil {
		return f, err
	}
	before, err := l.count(ctx, 0)
	if err != nil {
		return f, err
	}
	f.fell = time.Now()
	if err := change(0); err != nil {
		return f, err
	}
	l.say("the link fell after %s", f.fell.Sub(f.crowd.began).Round(time.Second))
	for done := false; !done; {
		if err := f.crowd.wait(ctx, time.Since(f.crowd.began)+time.Second, func() bool { return false }); err != nil {
			return f, err
		}
		if err := change(time.Since(f.fell)); err != nil {
			return f, err
		}
		done = f.crowd.all(0, finished) || time.Since(f.fell) >= latest
	}
	f.ended = time.Now()
	after, err := l.count(ctx, 0)
	if err != nil {
		return f, err
	}
	f.counted = after.since(before)
	return f, f.crowd.same()
}

// throttledScene: goal no stall, and 85 % from inside.
func throttledScene(ctx context.Context, l *lab) (fields, error) {
	a, b := l.street()
	if err := l.build(ctx); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	link := int(float64(l.film.kbps) * throttledTimes)
	change := func(since time.Duration) error {
		if since > 0 {
			return nil
		}
		return l.throttle(ctx, link)
	}
	latest := time.Duration(l.film.seconds*float64(time.Second)) + patience
	shared, err := l.throttled(ctx, mixed(a, b), true, latest, 0, change)
	if err != nil {
		return nil, err
	}
	var f fields
	l.common(&f, link)
	shared.tell(&f)
	if !l.alone {
		return f, nil
	}
	alone, err := l.throttled(ctx, mixed(a, b), false, shared.ended.Sub(shared.fell), 0, change)
	if err != nil {
		return nil, err
	}
	alone.tellAlone(&f)
	return f, nil
}

// common are the fields that say what was played where.
func (l *lab) common(f *fields, link int) {
	f.add("machine", machine())
	f.add("film_s", round(l.film.seconds, 1))
	f.add("film_kbps", l.film.kbps)
	if link > 0 {
		f.add("link_kbps", link)
	}
}

// tell adds what A's viewers lived through where they share. inside_share is by the viewers' own counts of media bytes; of a page, which
// does not say from whom it has them, all that its home's router let in of other providers' viewers is held to be media.
// inside_share_floor is what is left where all that came in by A's links is held to be media, headers, acknowledgements and answers of
// every kind included.
func (s *fall) tell(f *fields) {
	before, end := s.crowd.lived(0, s.fell), s.crowd.lived(0, s.ended)
	media := end.media - before.media
	same1, other1, pages1 := s.crowd.byPeer(0, s.fell)
	same2, other2, pages2 := s.crowd.byPeer(0, s.ended)
	f.add("viewers", end.viewers)
	f.add("finished", end.finished)
	f.add("never_started", end.neverStarted)
	f.add("stalls_per_viewer", end.stallsPerViewer())
	f.add("stalled_s_per_viewer", end.stalledPerViewer())
	f.add("stalls_before", before.stalls)
	f.add("startup_p50_s", round(end.startupMedian(), 2))
	origin, other := end.fromOrigin-before.fromOrigin, other2-other1+s.counted.pagePeers
	f.add("inside_share", share(media-origin-other, media))
	f.add("inside_share_floor", share(media-s.counted.outside, media))
	f.add("media_bytes_after", media)
	f.add("uplink_bytes_after", s.counted.outside)
	f.add("uplink_peer_bytes_after", s.counted.outsidePeers)
	f.add("origin_media_after", origin)
	f.add("peer_media_after", end.fromPeers-before.fromPeers)
	f.add("peer_media_same_provider", same2-same1)
	f.add("peer_media_other_provider", other)
	f.add("peer_media_pages", pages2-pages1)
	f.add("bad_blocks", end.bad)
	f.add("seconds_after", round(s.ended.Sub(s.fell).Seconds(), 1))
}

// tellAlone adds what they lived through with HTTP alone, for as long.
func (s *fall) tellAlone(f *fields) {
	end := s.crowd.lived(0, s.ended)
	f.add("http_stalls_per_viewer", end.stallsPerViewer())
	f.add("http_stalled_s_per_viewer", end.stalledPerViewer())
	f.add("http_finished", end.finished)
	f.add("http_uplink_bytes_after", s.counted.outside)
	f.add("http_inside_share", 0)
}

func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return round(max(float64(part)/float64(whole), 0), 4)
}
