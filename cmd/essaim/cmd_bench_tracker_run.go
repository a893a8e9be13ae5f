package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/members"
)

// benchBusy is how many callers have an announce under way at a time: enough that the server never waits for the load.
const benchBusy = 64

// benchPaced is the share of the renewals, one in so many, that ask for an answer: it shows that those before it have been read, so
// that none catches up with another of its connection and costs the server no reading of its own.
const benchPaced = 32

// benchLanes is how many callers renew at once: so 256 renewals are on their way at a time, each of a connection of its own.
const benchLanes = 8

// benchKind is what callers say under load.
type benchKind int

const (
	saysOffers   benchKind = iota // announces with offers, as WebTorrent's clients do
	saysAll                       // announces of our own viewers, who make no offers, in full
	saysRenewals                  // that our own viewers are still there
)

// profiles are the files that a load's profile goes to.
var profiles = map[benchKind]string{saysOffers: "offers", saysAll: "viewers", saysRenewals: "renewals"}

// load has a crowd speak to a server of its own, and reports what came of it.
func (c *benchTrackerCmd) load(ctx context.Context, secure bool, kind benchKind, report func(*benchLoad)) (err error) {
	p, err := c.start(ctx, "127.0.0.1:0", c.profile(secure, kind)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	viewers := kind != saysOffers
	all, err := c.crowd(ctx, p.addr(secure), secure, viewers, c.Connections, 0)
	if err != nil {
		return err
	}
	defer hangUp(all)
	l := &benchSpeech{cmd: c, kind: kind, all: all}
	if viewers {
		tickets, err := members.OpenTickets(c.data, time.Now)
		if err != nil {
			return err
		}
		for i := range all {
			// What it said at first, ticket and all.
			r, err := c.hello(tickets, true, i, 0)
			if err != nil {
				return err
			}
			r.Event = announce.EventUpdate
			l.renewals = append(l.renewals, r)
		}
	}
	l.run(ctx, time.Second) // warm
	offers, answers := all[0].offers.Load(), all[0].answers.Load()
	before, err := p.ask("state")
	if err != nil {
		return err
	}
	w := l.run(ctx, time.Duration(c.Seconds)*time.Second)
	after, err := p.ask("state")
	if err != nil {
		return err
	}
	w.cpu = after.CPUSeconds - before.CPUSeconds
	w.offers, w.answers = all[0].offers.Load()-offers, all[0].answers.Load()-answers
	if w.done == 0 || w.cpu <= 0 {
		return errors.Join(ctx.Err(), errors.New("bench: the server answered nothing"))
	}
	report(w)
	return ctx.Err()
}

// benchSpeech is a crowd that speaks.
type benchSpeech struct {
	cmd      *benchTrackerCmd
	kind     benchKind
	all      []*caller
	renewals []*announce.Request // of viewers
}

// run has the crowd speak for so long. Each lane has callers of its own: nobody has two announces under way.
func (l *benchSpeech) run(ctx context.Context, span time.Duration) *benchLoad {
	w := &benchLoad{}
	refused := l.all[0].refused.Load()
	lanes := min(benchBusy, len(l.all))
	if l.kind == saysRenewals {
		lanes = min(benchLanes, max(1, len(l.all)/benchPaced))
	}
	var mu sync.Mutex
	var done sync.WaitGroup
	end := time.Now().Add(span)
	for lane := range lanes {
		done.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(lane), 1))
			for i, n := lane, 1; time.Now().Before(end) && ctx.Err() == nil; i, n = i+lanes, n+1 {
				if i >= len(l.all) {
					i = lane
				}
				var took time.Duration
				var ok, paced bool
				if l.kind == saysRenewals && n%benchPaced != 0 {
					ok = l.all[i].send(&announce.Request{Kind: announce.KindStill}) == nil
				} else {
					took, ok = l.announce(i, rng)
					paced = true
				}
				mu.Lock()
				if ok {
					w.done++
				} else {
					w.failed++
				}
				if ok && paced {
					w.latencies = append(w.latencies, took)
				}
				mu.Unlock()
			}
		})
	}
	done.Wait()
	if l.kind == saysRenewals {
		l.confirm(w)
	}
	w.failed += int(l.all[0].refused.Load() - refused)
	return w
}

// announce has caller i announce, and waits until that is done.
func (l *benchSpeech) announce(i int, rng *rand.Rand) (took time.Duration, ok bool) {
	k, expect := l.all[i], 1
	var r *announce.Request
	if l.kind == saysOffers {
		r = &announce.Request{Left: 1, NumWant: l.cmd.Offers}
		for range l.cmd.Offers {
			var id announce.OfferID
			for b := range id {
				id[b] = byte(rng.Uint32())
			}
			r.Offers = append(r.Offers, announce.Offer{ID: id, SDP: benchSDP})
		}
		expect += l.cmd.Offers
	} else {
		r = l.renewals[i]
		k.settle()
	}
	began := time.Now()
	ok = k.send(r) == nil && k.await(1, 10*time.Second)
	took = time.Since(began)
	return took, ok && k.await(expect-1, 10*time.Second)
}

// confirm has everybody announce once more: what a connection said before its last word that was answered has been heard, and if it
// was refused, that has been said.
func (l *benchSpeech) confirm(w *benchLoad) {
	var good, bad, next atomic.Int64
	var done sync.WaitGroup
	for range min(benchBusy, len(l.all)) {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(l.all); i = int(next.Add(1)) - 1 {
				if _, ok := l.announce(i, nil); ok {
					good.Add(1)
				} else {
					bad.Add(1)
				}
			}
		})
	}
	done.Wait()
	w.done, w.failed = w.done+int(good.Load()), w.failed+int(bad.Load())
}
