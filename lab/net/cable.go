package main

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// frameMax is more than an Ethernet frame of the usual size has.
const frameMax = 2 << 10

// waitingMax is how many frames may be on a cable in one direction: at 100 Mbit/s and 1,500 bytes, a second's.
const waitingMax = 8192

// cable carries frames between two ends, each way with the same delay, and in order. Its length is all that it models: rates
// are the shapers' affair, whose queues are in front of it. Frames are lost while it is cut, as on a road that is closed,
// and where more are under way than it holds.
type cable struct {
	a, b  io.ReadWriteCloser // one whole frame for each Read and Write
	delay time.Duration
	cut   atomic.Bool
	lost  atomic.Int64 // frames
	open  sync.WaitGroup
	over  chan struct{}
	once  sync.Once
}

// newCable lays a cable, which carries until it is closed.
func newCable(a, b io.ReadWriteCloser, delay time.Duration) *cable {
	c := &cable{a: a, b: b, delay: delay, over: make(chan struct{})}
	c.direction(a, b)
	c.direction(b, a)
	return c
}

// onCable is a frame and when it is to come out.
type onCable struct {
	due  time.Time
	data []byte
}

func (c *cable) direction(from io.Reader, to io.Writer) {
	way := make(chan onCable, waitingMax)
	c.open.Go(func() {
		defer close(way)
		buf := make([]byte, frameMax)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			if c.cut.Load() {
				c.lost.Add(1)
				continue
			}
			select {
			case way <- onCable{time.Now().Add(c.delay), append([]byte(nil), buf[:n]...)}:
			default:
				c.lost.Add(1)
			}
		}
	})
	c.open.Go(func() {
		for f := range way {
			if wait := time.Until(f.due); wait > 0 {
				timer := time.NewTimer(wait)
				select {
				case <-timer.C:
				case <-c.over:
					timer.Stop()
					continue // nobody is there any more
				}
			}
			if _, err := to.Write(f.data); err != nil {
				c.lost.Add(1) // an end that is down takes nothing
			}
		}
	})
}

// close takes the cable away and waits until nothing moves on it.
func (c *cable) close() error {
	var err error
	c.once.Do(func() {
		close(c.over)
		err = errors.Join(c.a.Close(), c.b.Close())
	})
	c.open.Wait()
	return err
}
