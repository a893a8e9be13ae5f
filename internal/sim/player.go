package sim

import (
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
	ref       int64   // of the request under way, 0: none
	refs      int64
	got, want int64 // plain: bytes
	timer     int64 // number of the wake-up that counts
}

func (p *player) open(d *device, f *film) {
	p.f, p.startedAt, p.movedAt = f, -1, d.now()
	s := d.w.scene
	if s.Seeks > 0 {
		d.self(event{at: d.now() + instant(d.chance.below(int64(2*3600e6/s.Seeks))), kind: evMood, a: moodSeek})
	}
	if s.Pauses > 0 {
		d.self(event{at: d.now() + instant(d.chance.below(int64(2*3600e6/s.Pauses))), kind: evMood, a: moodPause})
	}
	if p.leaveAt > d.now() && p.leaveAt < d.w.end {
		d.self(event{at: p.leaveAt, kind: evLeave})
	}
}

func (p *player) endMs() int64 {
	last := p.f.index[len(p.f.index)-1]
	return int64(last.StartMs + last.DurationMs)
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

func (p *player) settle(now instant) { p.posMs, p.movedAt = p.at(now), now }

// request asks for the next segment when the buffer has room for it.
func (p *player) request(d *device) {
	if p.ref != 0 || p.next >= len(p.f.index) || p.ended {
		return
	}
	now := d.now()
	if room := p.ahead(now) - aheadMs; room >= 0 {
		if p.playing {
			p.wakeAt(d, now+instant(room+1)*1000)
		}
		return
	}
	seg := p.f.index[p.next]
	from := int64(seg.From)
	if p.next == 0 {
		from = 0 // with the init segment
	}
	p.refs++
	p.ref = p.refs
	if p.plain {
		p.got, p.want = 0, int64(seg.To)-from
		d.to(event{at: d.connected() + d.w.delay, dst: originActor, kind: evGet, conn: uint32(p.f.number), a: p.ref, b: from, c: int64(seg.To)})
		return
	}
	d.seats[0].step(engine.Input{Kind: engine.RangeWanted, Ref: engine.Ref(p.ref), From: from, To: int64(seg.To)})
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
		seg := p.f.index[p.next]
		for b := int64(seg.From) / blockSize; b <= int64(seg.To-1)/blockSize; b++ {
			if s.tainted[uint32(b)] {
				d.stats.BadBytes += blockSize
			}
		}
	}
	p.delivered(d)
}

func (p *player) delivered(d *device) {
	now := d.now()
	p.settle(now)
	p.ref = 0
	seg := p.f.index[p.next]
	p.ends = int64(seg.StartMs + seg.DurationMs)
	p.next++
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
	d.stats.Watched = duration(instant(p.posMs) * 1000)
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
	d.stats.Watched = max(d.stats.Watched, duration(instant(p.at(d.now()))*1000))
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
	case moodPause:
		length := instant(d.chance.below(60e6))
		next := now + length + instant(d.chance.below(int64(2*3600e6/s.Pauses)))
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
		to := d.chance.below(int64(len(p.f.index)))
		d.self(event{at: now + instant(d.chance.below(int64(2*3600e6/s.Seeks))), kind: evMood, a: moodSeek})
		if p.startedAt < 0 {
			return
		}
		p.seek(d, int(to))
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
	p.posMs = int64(p.f.index[to].StartMs)
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
