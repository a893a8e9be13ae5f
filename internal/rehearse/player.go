package rehearse

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"essaim/internal/host/native"
)

// The player's rhythm.
const (
	tellEvery  = time.Second // the host hears of the play head at least so often
	lookEvery  = 20 * time.Millisecond
	retryEvery = time.Second
	readMax    = 16 << 20 // what a host reads at once
)

// media is the host as a player sees it.
type media interface {
	ReadRange(ctx context.Context, file uint32, from, to int64) ([]byte, error)
	Moved(p native.Playback)
	Rendition(file uint32)
}

// player plays a part in real time without showing it: whole segments, one request per track at a time, ten seconds ahead.
type player struct {
	host   media
	part   *part
	judge  *judge
	change chan struct{} // has room for one: the clock was told something

	mu    sync.Mutex
	clock *clock
	bad   int64
}

func newPlayer(host media, p *part, j *judge, pressed time.Time) *player {
	return &player{host: host, part: p, judge: j, change: make(chan struct{}, 1), clock: newClock(p.film, len(p.tracks), pressed)}
}

// play returns nil when the film was played to the part's end, else when ctx ends or the host does.
func (p *player) play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	errs := make(chan error, len(p.part.tracks))
	var readers sync.WaitGroup
	defer func() {
		p.mu.Lock()
		p.clock.stop(time.Now())
		p.mu.Unlock()
		cancel()
		readers.Wait()
	}()
	for i := range p.part.tracks {
		p.host.Rendition(p.part.tracks[i].file)
	}
	p.tell()
	for i := range p.part.tracks {
		readers.Go(func() {
			if err := p.read(ctx, i); err != nil {
				errs <- err
			}
		})
	}
	for {
		over, next := p.tell()
		if over {
			return nil
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-p.change:
			timer.Stop()
		case err := <-errs:
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// tell moves the clock and reports it to the host. It returns whether the film has ended, and when to look again.
func (p *player) tell() (over bool, next time.Duration) {
	p.mu.Lock()
	c := p.clock
	c.advance(time.Now())
	over, next = c.finished(), tellEvery
	if at := c.event(); at > 0 {
		next = min(next, at)
	}
	to := native.Playback{Position: c.pos, BufferedEnd: c.buffered(), Rate: 1, Paused: over}
	if !c.runs() {
		to.Rate = 0
	}
	p.mu.Unlock()
	p.host.Moved(to)
	return over, next
}

// read takes one track's segments in order.
func (p *player) read(ctx context.Context, track int) error {
	t := &p.part.tracks[track]
	from := int64(0) // the first request brings the initialisation segment and the index too
	for i := range t.segments {
		s := &t.segments[i]
		if err := p.room(ctx, startOf(s)); err != nil {
			return err
		}
		sum := p.judge.begin()
		for to := int64(s.To); from < to; {
			b, err := p.host.ReadRange(ctx, t.file, from, min(to, from+readMax))
			if errors.Is(err, native.ErrUnavailable) { // a player asks again
				if err := pause(ctx, retryEvery); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", t.path, err)
			}
			from += int64(len(b))
			sum.add(b)
		}
		end := endOf(s)
		if i == len(t.segments)-1 {
			end = p.part.film // tracks end at slightly different times
		}
		same := sum.agrees(t.file, i)
		p.mu.Lock()
		if !same {
			p.bad += sum.bytes
		}
		p.clock.delivered(track, end, time.Now())
		p.mu.Unlock()
		select {
		case p.change <- struct{}{}:
		default:
		}
	}
	return nil
}

// room returns when the player wants film that begins at a time of film.
func (p *player) room(ctx context.Context, start time.Duration) error {
	for {
		p.mu.Lock()
		p.clock.advance(time.Now())
		early := start - p.clock.pos - goal
		p.mu.Unlock()
		if early < 0 {
			return ctx.Err()
		}
		if err := pause(ctx, max(early, lookEvery)); err != nil { // the film may stand still meanwhile: look again
			return err
		}
	}
}

// state is a copy of the clock of the moment, and how many bytes were delivered that are not the film's.
func (p *player) state() (c clock, bad int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock.advance(time.Now())
	c = *p.clock
	c.ends = []time.Duration{c.buffered()}
	return c, p.bad
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
