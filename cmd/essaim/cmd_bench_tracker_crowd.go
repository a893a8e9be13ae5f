package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/bt/announce"
	"essaim/internal/members"
	"essaim/internal/vod"
)

// doorProcess is a server under measurement.
type doorProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	doorUp
}

// start starts a server, with more arguments of its own.
func (c *benchTrackerCmd) start(ctx context.Context, addr string, more ...string) (*doorProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{"bench", "door", "--data", c.data, "--addr", addr}, more...)
	p := &doorProcess{cmd: exec.CommandContext(ctx, self, args...)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if !p.out.Scan() {
		return nil, errors.Join(errors.New("bench: the server does not start"), p.end())
	}
	if err := json.Unmarshal(p.out.Bytes(), &p.doorUp); err != nil {
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// end lets the server end, and waits until it has.
func (p *doorProcess) end() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

func (p *doorProcess) ask(what string) (s doorState, err error) {
	if _, err = io.WriteString(p.in, what+"\n"); err != nil {
		return s, err
	}
	if !p.out.Scan() {
		return s, errors.New("bench: the server has ended")
	}
	return s, json.Unmarshal(p.out.Bytes(), &s)
}

func (p *doorProcess) addr(secure bool) string {
	if secure {
		return p.TLS
	}
	return p.Plain
}

// crowd connects callers, sixteen at a time, and has each announce once. Viewers show a ticket each.
func (c *benchTrackerCmd) crowd(ctx context.Context, addr string, secure, viewers bool, n, want int) (_ []*caller, err error) {
	tickets, err := members.OpenTickets(c.data, time.Now)
	if err != nil {
		return nil, err
	}
	offers, answers, refused := new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
	all := make([]*caller, n)
	next, failed := atomic.Int64{}, make(chan error, 16)
	var done sync.WaitGroup
	for range cap(failed) {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				k, err := call(ctx, addr, secure, i)
				if err != nil {
					failed <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
				k.hash, k.offers, k.answers, k.refused = doorHash(i/c.Swarm), offers, answers, refused
				all[i] = k
				go k.listen()
				r, err := c.hello(tickets, viewers, i, want)
				if err == nil {
					err = k.send(r)
				}
				if err == nil && !k.await(1, 30*time.Second) {
					err = errors.New("no reply")
				}
				if err != nil {
					failed <- fmt.Errorf("connection %d announces: %w", i, err)
					return
				}
			}
		})
	}
	done.Wait()
	close(failed)
	if err := errors.Join(<-failed, ctx.Err()); err != nil {
		hangUp(all)
		return nil, err
	}
	return all, nil
}

// hello is the first announce of caller i.
func (c *benchTrackerCmd) hello(tickets *members.Tickets, viewer bool, i, want int) (*announce.Request, error) {
	r := &announce.Request{Left: 1, Event: announce.EventStarted, NumWant: want}
	if !viewer {
		return r, nil
	}
	token, err := tickets.Issue(vod.Ticket{
		Audience: vod.AudienceSwarm, PlaySession: "session-" + strconv.Itoa(i), Member: "member-" + strconv.Itoa(i),
		Device: "device-" + strconv.Itoa(i), Title: doorTitle(i / c.Swarm), Version: "v",
	})
	r.Viewer = &announce.Viewer{Ticket: token, PositionMs: int64(i), UplinkKbps: 5000}
	return r, err
}

func hangUp(all []*caller) {
	for _, k := range all {
		if k != nil {
			_ = k.conn.Close()
		}
	}
}
