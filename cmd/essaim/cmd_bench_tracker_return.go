package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"essaim/internal/host/native"
	"essaim/internal/members"
)

// ReturnBench is the outcome of bench tracker --kill. Times count from the tracker's return.
type ReturnBench struct {
	Connections int     `json:"connections"`
	AwaySeconds float64 `json:"away_s"`
	P50         float64 `json:"back_p50_s"`
	P95         float64 `json:"back_p95_s"`
	All         float64 `json:"back_all_s"`
	Peak        int     `json:"peak_tries_per_s"` // the most tries to connect in any second
	Swarms      int     `json:"in_swarms"`        // whom the new tracker counts
	CPUSeconds  float64 `json:"cpu_s"`            // what taking them all back cost it
}

// comeBack kills the tracker under its connections.
func (c *benchTrackerCmd) comeBack(ctx context.Context) (_ *ReturnBench, err error) {
	p, err := c.start(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	told("%d connections", c.Connections)
	all, err := c.crowd(ctx, p.Plain, false, true, c.Connections, 0)
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	addr := p.Plain
	told("the tracker is killed")
	_ = p.cmd.Process.Kill()
	_ = p.end() // says that it was killed
	var mu sync.Mutex
	var back []time.Time
	tries := map[int64]int{}
	tickets, err := members.OpenTickets(c.data, time.Now)
	if err != nil {
		return nil, err
	}
	killed := time.Now()
	var done sync.WaitGroup
	for i, old := range all {
		done.Go(func() {
			<-old.lost
			_ = old.conn.Close()
			for n := 0; ; n++ {
				timer := time.NewTimer(native.TrackerRetry(n, rand.Int64N))
				select {
				case <-timer.C:
				case <-ctx.Done():
					timer.Stop()
					return
				}
				mu.Lock()
				tries[int64(time.Since(killed).Seconds())]++
				mu.Unlock()
				k, err := call(ctx, addr, false, i)
				if err != nil {
					continue
				}
				k.hash, k.offers, k.answers = old.hash, old.offers, old.answers
				go k.listen()
				r, err := c.hello(tickets, true, i, 0)
				if err == nil && k.send(r) == nil && k.await(1, 10*time.Second) {
					mu.Lock()
					all[i] = k
					back = append(back, time.Now())
					mu.Unlock()
					return
				}
				_ = k.conn.Close()
			}
		})
	}
	select {
	case <-time.After(c.Away):
	case <-ctx.Done():
	}
	if p, err = c.start(ctx, addr); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	returned := time.Now()
	told("it is back")
	ended := make(chan struct{})
	go func() { done.Wait(); close(ended) }()
	for every := time.NewTicker(5 * time.Second); ; {
		select {
		case <-every.C:
			mu.Lock()
			told("%.0f s: %d are back", time.Since(returned).Seconds(), len(back))
			mu.Unlock()
			continue
		case <-ended:
			every.Stop()
		}
		break
	}
	defer hangUp(all)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	state, err := p.ask("state")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(back, time.Time.Compare)
	at := func(q float64) float64 {
		return max(0, back[int(q*float64(len(back)-1))].Sub(returned).Round(10*time.Millisecond).Seconds())
	}
	b := &ReturnBench{
		Connections: c.Connections, AwaySeconds: c.Away.Seconds(), P50: at(0.5), P95: at(0.95), All: at(1), Swarms: state.Sockets,
		CPUSeconds: state.CPUSeconds,
	}
	for _, n := range tries {
		b.Peak = max(b.Peak, n)
	}
	return b, nil
}
