package main

import (
	"context"
	"time"
)

// cutFor is how long the link is cut.
const cutFor = time.Minute

// cutScene cuts the link between the core and A for a minute, three times: with somebody in A who began early enough to hold what
// the others will need; with nobody, everyone having begun within twenty seconds; and with HTTP alone.
func cutScene(ctx context.Context, l *lab) (fields, error) {
	a, _ := l.street()
	if err := l.build(ctx); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	narrow := l.cables[0]
	if l.plan.direct {
		narrow = l.cables[2]
	}
	change := func(since time.Duration) error {
		narrow.cut.Store(since < cutFor)
		return nil
	}
	var f fields
	l.common(&f, 0)
	f.add("cut_s", cutFor.Seconds())
	latest := time.Duration(l.film.seconds*float64(time.Second)) + patience
	early := time.Duration(l.film.seconds*float64(time.Second)) * 3 / 4
	held, err := l.throttled(ctx, a, true, latest, early, change)
	if err != nil {
		return nil, err
	}
	followers := crowd{lab: l, viewers: held.crowd.viewers[1:]}
	end := followers.lived(0, held.ended)
	f.add("viewers", end.viewers)
	f.add("finished", end.finished)
	f.add("stalls_per_viewer", end.stallsPerViewer())
	f.add("stalled_s_per_viewer", end.stalledPerViewer())
	f.add("bad_blocks", end.bad)
	if !l.alone {
		return f, nil
	}
	for _, x := range []struct {
		name  string
		share bool
	}{{"unheld", true}, {"http", false}} {
		r, err := l.throttled(ctx, a, x.share, latest, 0, change)
		if err != nil {
			return nil, err
		}
		end := r.crowd.lived(0, r.ended)
		f.add(x.name+"_viewers", end.viewers)
		f.add(x.name+"_finished", end.finished)
		f.add(x.name+"_stalls_per_viewer", end.stallsPerViewer())
		f.add(x.name+"_stalled_s_per_viewer", end.stalledPerViewer())
	}
	return f, nil
}
