package sim

import (
	"essaim/internal/audience"
	"essaim/internal/engine"
)

// aheadMs is how much film the player wants to hold: Shaka's goal.
const aheadMs = 10_000

// The moods of a viewer.
const (
	moodPause = iota
	moodResume
	moodSeek
	moodClaim
	moodRetry
	moodSwitch
)

// player is the element and its buffer: whole segments, one request at a time, starts with one, wants 10 s ahead.
type player struct {
	film     int
	f        *film
	plain    bool // fetches by itself: plain HTTP
	leaveAt  instant
	silently bool

	startedAt instant // -1: not yet
	posMs     int64   // at movedAt
	movedAt   instant
	playing   bool
	pausing   bool // by the viewer's wish
	ended     bool
	waiting   instant // since when it lacks film, 0: it does not
	ends      int64   // ms of film, end of the contiguous buffer
	next      int     // segment to ask for
	rendition int     // of which it is to be
	asked     int     // the one under way, as film.segment counts
	held      []uint8 // by segment: the rendition that came
	ref       int64   // of the request under way, 0: none
	refs      int64
	got, want int64 // plain: bytes
	watched   int64 // ms of film played in all, whatever is played twice counting twice
	// entered is when the play head first came to each segment, as film.segment counts; 0: never.
	entered  []instant
	failures int // requests that the engine gave up
}

func (p *player) open(d *device, f *film) {
	p.f, p.startedAt, p.movedAt = f, -1, d.now()
	p.entered = make([]instant, f.segments*len(f.renditions))
	p.held = make([]uint8, f.segments)
	s := d.w.scene
	if s.Seeks > 0 {
		d.self(event{at: d.now() + instant(d.moods.below(int64(2*3600e6/s.Seeks))), kind: evMood, a: moodSeek})
	}
	if s.Pauses > 0 {
		d.self(event{at: d.now() + instant(d.moods.below(int64(2*3600e6/s.Pauses))), kind: evMood, a: moodPause})
	}
	if s.Switches > 0 {
		d.self(event{at: d.now() + instant(d.moods.below(int64(2*3600e6/s.Switches))), kind: evMood, a: moodSwitch})
	}
	if p.leaveAt > d.now() && p.leaveAt < d.w.end {
		d.self(event{at: p.leaveAt, kind: evLeave})
	}
}

func (p *player) endMs() int64 {
	return int64(p.f.segments) * segment.Milliseconds()
}

// at is the play head at now.
func (p *player) at(now instant) int64 {
	if !p.playing {
		return p.posMs
	}
	return min(p.posMs+int64(now-p.movedAt)/1000, p.ends)
}

// ahead is the film in the buffer, in ms.
func (p *player) ahead(now instant) int64 { return p.ends - p.at(now) }

// settle makes now the moment from which the play head is counted.
func (p *player) settle(now instant) {
	if !p.playing {
		p.movedAt = now
		return
	}
	to := p.at(now)
	per := segment.Milliseconds()
	for k := p.posMs / per; k*per < to; k++ {
		if at := &p.entered[int(p.held[k])*p.f.segments+int(k)]; *at == 0 {
			*at = p.movedAt + instant(max(0, k*per-p.posMs))*1000
		}
	}
	moved := to - p.posMs
	p.watched += moved
	p.posMs = to
	p.movedAt += instant(moved) * 1000 // no part of a millisecond gets lost
	if to == p.ends {
		p.movedAt = now
	}
}

// giveUp ends the account of a viewer who leaves, or is there at the end: it may have waited in vain.
func (p *player) giveUp(v *audience.Viewer, arrived, now instant) {
	switch {
	case p.ended:
	case p.startedAt < 0:
		v.Waited = max(duration(now-arrived), 1)
	case p.waiting > 0:
		v.Stalled += duration(now - p.waiting)
	}
}

// failed: the engine gave up what the player wants. That must not be while the origin lives, and is counted; players ask again.
func (p *player) failed(d *device, ref int64) {
	if ref != p.ref {
		return
	}
	p.failures++
	p.ref = 0
	d.self(event{at: d.now() + second, kind: evMood, a: moodRetry})
}

// request asks for the next segment when the buffer has room for it.
func (p *player) request(d *device) {
	if p.ref != 0 || p.next >= p.f.segments || p.ended {
		return
	}
	now := d.now()
	if room := p.ahead(now) - aheadMs; room >= 0 {
		if p.playing {
			p.wakeAt(d, now+instant(room+1)*1000)
		}
		return
	}
	p.asked = p.rendition*p.f.segments + p.next
	from, to := p.f.segment(p.asked)
	p.refs++
	p.ref = p.refs
	if p.plain {
		p.got, p.want = 0, to-from
		d.to(event{at: d.connected() + d.w.delay, dst: originActor, kind: evGet, conn: uint32(p.f.number), a: p.ref, b: from, c: to})
		return
	}
	base := p.f.renditions[p.rendition].base
	d.seats[0].step(engine.Input{Kind: engine.RangeWanted, Ref: engine.Ref(p.ref), File: uint32(p.rendition), From: from - base, To: to - base})
}

// body takes plain HTTP's bytes.
func (p *player) body(d *device, ref, n int64) {
	if ref != p.ref {
		d.stats.WastedBytes += n
		return
	}
	if p.got += n; p.got == p.want {
		p.delivered(d)
	}
}

// ready: the engine holds the range.
func (p *player) ready(d *device, ref int64) {
	if ref != p.ref {
		return
	}
	s := d.seats[0]
	if s.tainted != nil {
		from, to := p.f.segment(p.asked)
		for b := from / p.f.unit; b <= (to-1)/p.f.unit; b++ {
			if s.tainted[uint32(b)] {
				d.stats.BadBytes += p.f.unit
			}
		}
	}
	p.delivered(d)
}

func (p *player) delivered(d *device) {
	now := d.now()
	p.settle(now)
	p.ref = 0
	p.held[p.next] = uint8(p.asked / p.f.segments)
	p.next++
	p.ends = int64(p.next) * segment.Milliseconds()
	if p.startedAt < 0 {
		p.startedAt = now
	}
	if p.waiting > 0 {
		d.stats.Stalled += duration(now - p.waiting)
		p.waiting = 0
	}
	if !p.pausing {
		p.playing = true
	}
	p.told(d)
	p.request(d)
	p.watchEnd(d)
}

// watchEnd comes back when the buffer has run out.
func (p *player) watchEnd(d *device) {
	if p.playing {
		p.wakeAt(d, d.now()+instant(p.ahead(d.now()))*1000)
	}
}

// wakeAt schedules a look at the player; many may be under way, and looking once too often does no harm.
func (p *player) wakeAt(d *device, at instant) {
	d.self(event{at: max(at, d.now()+1), kind: evPlayer})
}

func (p *player) wake(d *device, _ int64) {
	now := d.now()
	if p.ended || !p.playing {
		return
	}
	if p.ahead(now) > 0 {
		if p.ref == 0 && p.ahead(now) < aheadMs {
			p.request(d)
		}
		return
	}
	p.settle(now)
	if p.posMs >= p.endMs() {
		p.ended, p.playing = true, false
		p.told(d)
		d.self(event{at: now + instant(d.w.scene.Linger.Microseconds()) + 1, kind: evLeave})
		return
	}
	p.playing = false
	p.waiting = now
	d.stats.Stalls++
	p.told(d)
}

// told gives the engine the media event.
func (p *player) told(d *device) {
	if p.plain {
		return
	}
	in := engine.Input{Kind: engine.PlaybackMoved, From: p.posMs, To: p.ends, Length: 1000}
	if !p.playing {
		in.Flags = engine.FlagPaused
	}
	d.seats[0].step(in)
}

// mood is what the viewer does with the controls.
func (p *player) mood(d *device, what int64) {
	now := d.now()
	s := d.w.scene
	if what == moodClaim {
		d.seats[0].claim()
		d.self(event{at: now + second, kind: evMood, a: moodClaim})
		return
	}
	if p.ended {
		return
	}
	switch what {
	case moodRetry:
		p.request(d)
	case moodPause:
		length := instant(d.moods.below(60e6))
		next := now + length + instant(d.moods.below(int64(2*3600e6/s.Pauses)))
		d.self(event{at: next, kind: evMood, a: moodPause})
		if p.startedAt < 0 || p.waiting > 0 {
			return
		}
		p.settle(now)
		p.playing, p.pausing = false, true
		d.self(event{at: now + length, kind: evMood, a: moodResume})
		p.told(d)
	case moodResume:
		p.pausing = false
		if p.ahead(now) > 0 {
			p.settle(now)
			p.playing = true
			p.told(d)
			p.request(d)
			p.watchEnd(d)
		} else if p.waiting == 0 {
			p.waiting = now
		}
	case moodSeek:
		to := d.moods.below(int64(p.f.segments))
		d.self(event{at: now + instant(d.moods.below(int64(2*3600e6/s.Seeks))), kind: evMood, a: moodSeek})
		if p.startedAt < 0 {
			return
		}
		p.seek(d, int(to))
	case moodSwitch:
		d.self(event{at: now + instant(d.moods.below(int64(2*3600e6/s.Switches))), kind: evMood, a: moodSwitch})
		p.change(d)
	}
}

// change goes over to the other rendition, from the next segment on that it asks for. What it holds it plays.
func (p *player) change(d *device) {
	p.rendition = 1 - p.rendition
	if !p.plain {
		d.seats[0].step(engine.Input{Kind: engine.RenditionChosen, File: uint32(p.rendition)})
	}
}

func (p *player) seek(d *device, to int) {
	now := d.now()
	p.settle(now)
	if p.ref != 0 {
		if p.plain {
			d.to(event{at: d.connected() + d.w.delay, dst: originActor, kind: evCancel, a: p.ref})
		} else {
			d.seats[0].step(engine.Input{Kind: engine.RangeCancelled, Ref: engine.Ref(p.ref)})
		}
		p.ref = 0
	}
	p.posMs = int64(to) * segment.Milliseconds()
	p.movedAt, p.ends, p.next, p.playing = now, p.posMs, to, false
	if p.waiting == 0 && !p.pausing {
		p.waiting = now
	}
	if !p.plain {
		d.seats[0].step(engine.Input{Kind: engine.Seeked, From: p.posMs})
	}
	p.told(d)
	p.request(d)
}
