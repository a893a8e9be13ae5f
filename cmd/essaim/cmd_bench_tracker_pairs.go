package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/members"
)

// pairs has viewers meet as ours do, and counts what was relayed for each pair that met.
func (c *benchTrackerCmd) pairs(ctx context.Context) (offers, answers float64, err error) {
	const viewers, rounds = 50, 5
	told("%d of our own viewers meet", viewers)
	p, err := c.start(ctx, "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	all, err := c.crowd(ctx, p.Plain, false, true, viewers, announce.Unknown)
	if err != nil {
		return 0, 0, err
	}
	defer hangUp(all)
	tickets, err := members.OpenTickets(c.data, time.Now)
	if err != nil {
		return 0, 0, err
	}
	type pair [2]bt.PeerID
	met := map[pair]bool{}
	for round := range rounds {
		for i, k := range all {
			if round > 0 {
				r, err := c.hello(tickets, true, i, announce.Unknown)
				if err != nil {
					return 0, 0, err
				}
				r.Event = announce.EventUpdate
				if err := k.send(r); err != nil || !k.await(1, 10*time.Second) {
					return 0, 0, errors.Join(err, errors.New("bench: a viewer is not answered"))
				}
			}
			for _, id := range slices.Clone(k.meet) {
				two := pair{k.id, id}
				if string(id[:]) < string(k.id[:]) {
					two = pair{id, k.id}
				}
				met[two] = true
				var offer announce.OfferID
				copy(offer[:], id[:])
				if err := k.send(&announce.Request{Kind: announce.KindOffer, To: id, OfferID: offer, SDP: benchSDP}); err != nil || !k.await(1, 10*time.Second) {
					return 0, 0, errors.Join(err, errors.New("bench: an offer is not answered"))
				}
			}
			k.meet = k.meet[:0]
		}
	}
	if len(met) == 0 {
		return 0, 0, errors.New("bench: nobody met")
	}
	return float64(all[0].offers.Load()) / float64(len(met)), float64(all[0].answers.Load()) / float64(len(met)), nil
}
