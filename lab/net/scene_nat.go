package main

import (
	"context"
	"slices"
	"time"
)

// natHomes are of each kind, and natQuiet is how long is waited for attempts beyond the first: longer than viewers take to announce
// again.
const (
	natHomes = 4
	natQuiet = 75 * time.Second
)

// natScene has viewers behind both kinds of routers meet in one swarm, and counts which pairs came together. Between two of which
// at least one is symmetric only a relay could help where the other is port-restricted: they are tried once, and not again.
func natScene(ctx context.Context, l *lab) (fields, error) {
	var seats []seat
	for i := range 2 * natHomes {
		kind := cone
		if i%2 == 1 {
			kind = symmetric
		}
		seats = append(seats, seat{home: l.plan.add(i/natHomes, home{nat: kind})})
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
	// Everyone is introduced to everyone, and who cannot connect knows after fifteen seconds.
	tried := time.Duration(len(seats))*apart + 45*time.Second
	if err := c.until(ctx, tried); err != nil {
		return nil, err
	}
	first := c.attempts()
	if err := c.until(ctx, tried+natQuiet); err != nil {
		return nil, err
	}
	later := c.attempts()
	pairs, met := c.pairs(time.Now())
	var f fields
	l.common(&f, backboneKbps)
	f.add("viewers", len(seats))
	for _, k := range []string{"cone_cone", "cone_symmetric", "symmetric_symmetric"} {
		f.add(k+"_pairs", pairs[k])
		f.add(k+"_connected", met[k])
		f.add(k+"_rate", share(int64(met[k]), int64(pairs[k])))
	}
	all := pairs["cone_cone"] + pairs["cone_symmetric"] + pairs["symmetric_symmetric"]
	joined := met["cone_cone"] + met["cone_symmetric"] + met["symmetric_symmetric"]
	f.add("relay_only_pairs", all-joined)
	f.add("connections_made", first) // one on each side of a pair
	f.add("connections_made_per_pair", round(float64(first)/2/float64(max(all, 1)), 3))
	f.add("connections_made_later", later-first)
	f.add("later_s", natQuiet.Seconds())
	end0, end1 := c.lived(0, time.Now()), c.lived(1, time.Now())
	f.add("stalls_per_viewer", round(float64(end0.stalls+end1.stalls)/float64(len(seats)), 3))
	return f, nil
}

// attempts are the connections that all viewers have made so far.
func (c *crowd) attempts() (n int) {
	for _, v := range c.viewers {
		n += v.now().Connections
	}
	return n
}

// pairs counts the native viewers' pairs by their routers' kinds, and those that had come together by a time.
func (c *crowd) pairs(until time.Time) (all, met map[string]int) {
	all, met = map[string]int{}, map[string]int{}
	for i, v := range c.viewers {
		for _, w := range c.viewers[:i] {
			kind := string(v.seat.home.nat) + "_" + string(w.seat.home.nat)
			if v.seat.home.nat != w.seat.home.nat {
				kind = "cone_symmetric"
			}
			all[kind]++
			if a, b := v.at(until), w.at(until); slices.Contains(a.Met, b.ID) || slices.Contains(b.Met, a.ID) {
				met[kind]++
			}
		}
	}
	return all, met
}
