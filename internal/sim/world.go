package sim

import (
	"context"
	"encoding/binary"
	"math"
	"runtime"
	"sort"
	"strconv"
	"sync"
	"time"

	"essaim/internal/audience"
	"essaim/internal/bt"
)

// The actors that are no viewers.
const (
	originActor  = 0
	trackerActor = 1
	firstViewer  = 2
)

// manyViewers is from where on two shards are worth their barriers.
const manyViewers = 600

// world is a scene under way.
type world struct {
	scene   *Scene
	policy  string
	seed    uint64
	films   []*film
	shards  []*shard
	devices []*device
	origin  *origin
	tracker *tracker
	samples []audience.Sample
	delay   instant
	end     instant // no longer than this
	ended   instant // when it did end
}

// shard is the events of some of the actors. Which, makes no difference to what happens.
type shard struct {
	world *world
	queue queue
	now   instant
	out   [][]event // for other shards
	left  int       // viewers who have not ended
	count int64     // events handled

	rows    []row    // by actor
	due     []uint32 // actors with events before the horizon
	actor   uint32   // whose events are being handled, nobody's or
	horizon instant  // those before this
	own     queue    // what it has caused itself to happen before that
}

// row is the events of one actor that are to be handled, in their order: a list through the queue's slab.
type row struct{ first, last, n uint32 }

const nobody = math.MaxUint32

// shardsFor is how many shards are worth their barriers.
func shardsFor(viewers int) int {
	if viewers < manyViewers {
		return 1
	}
	return max(1, min(2, runtime.GOMAXPROCS(0)))
}

func newWorld(s *Scene, policy string, seed uint64, shards int) *world {
	w := &world{scene: s, policy: policy, seed: seed, delay: instant(s.Delay.Microseconds())}
	for range shards {
		w.shards = append(w.shards, &shard{world: w, out: make([][]event, shards), rows: make([]row, s.Viewers+firstViewer), actor: nobody})
	}
	w.films = make([]*film, s.Titles)
	w.origin = newOrigin(w)
	w.tracker = newTracker(w)
	w.crowd()
	return w
}

func (w *world) shard(actor uint32) *shard { return w.shards[int(actor)%len(w.shards)] }

// crowd draws who comes when, to what, and how they are. Whatever the policy is, the same seed draws the same.
func (w *world) crowd() {
	s := w.scene
	c := chance(w.seed*0x9e3779b97f4a7c15 + 1)
	weights := make([]float64, s.Titles)
	sum := 0.0
	for i := range weights {
		sum += math.Pow(float64(i+1), -s.Zipf)
		weights[i] = sum
	}
	draw := func() int {
		return min(sort.SearchFloat64s(weights, c.unit()*sum), s.Titles-1)
	}
	last := instant(0)
	for i := range s.Viewers {
		d := &device{w: w, id: uint32(firstViewer + i), chance: chance(c.Uint64()), up: s.Up.Bytes(), down: s.Down.Bytes()}
		d.moods = chance(mix(uint64(d.chance)))
		d.sh = w.shard(d.id)
		spread := s.Spread.Microseconds()
		var at instant
		switch s.Arrival {
		case "stagger":
			at = instant(int64(i) * spread)
			c.Uint64()
		default:
			at = instant(c.below(spread + 1))
		}
		last = max(last, at)
		d.player.film = draw()
		d.share = c.unit() < s.Consent
		d.symmetric = c.unit() < s.NAT
		kind := c.unit()
		for _, m := range []struct {
			manner manner
			share  float64
		}{{polluter, s.Polluters}, {freeRider, s.FreeRiders}, {stalled, s.Stalled}, {claimer, s.Claimers}, {silent, s.Silent}} {
			if kind < m.share {
				d.manner = m.manner
				break
			}
			kind -= m.share
		}
		d.player.leaveAt = instant(math.MaxInt64)
		if c.unit() < s.Leave {
			d.player.leaveAt = at + instant(c.unit()*float64(s.Film.Microseconds()))
			d.player.silently = c.unit() < 0.5
		}
		w.film(d.player.film)
		w.cache(d, draw)
		d.arrived = at
		w.devices = append(w.devices, d)
		d.sh.left++
		d.self(event{at: at, kind: evArrive})
	}
	play := s.Film
	if s.Played > 0 {
		play = min(play, s.Played)
	}
	w.end = last + 3*instant((play+s.Linger).Microseconds()) + 600*second
	if s.FreezeIn > 0 {
		w.origin.freezeAt(instant(s.FreezeIn.Microseconds()) / 2)
	}
}

// cache gives a device the films that it watched before: the last ones whole, and the end of the one before them.
func (w *world) cache(d *device, draw func() int) {
	room := int64(w.scene.Cache * 1e9)
	for tries := 0; room > 0 && tries < 20; tries++ {
		t := draw()
		if t == d.player.film || d.cachedTitle(t) {
			continue
		}
		f := w.film(t)
		piece := int64(f.title.PieceLength)
		n := min(int64(f.pieces), room/piece)
		if n == 0 {
			break
		}
		d.cached = append(d.cached, cached{film: t, from: f.pieces - int(n)})
		room -= n * piece
	}
}

// film makes a film when it is first asked for. Only crowd may ask for a new one.
func (w *world) film(i int) *film {
	if w.films[i] == nil {
		w.films[i] = newFilm(i, w.scene)
	}
	return w.films[i]
}

// peerID names a viewer's engine; whose reads it.
func (w *world) peerID(actor uint32, seat int) (id bt.PeerID) {
	copy(id[:], "-ES0001-")
	binary.BigEndian.PutUint32(id[8:], actor)
	binary.BigEndian.PutUint16(id[12:], uint16(seat))
	copy(id[14:], "sim000")
	return id
}

func whose(id bt.PeerID) (actor uint32, seat uint16) {
	return binary.BigEndian.Uint32(id[8:]), binary.BigEndian.Uint16(id[12:])
}

// run plays the scene to its end, and calls progress with virtual time.
func (w *world) run(ctx context.Context, progress func(done, total time.Duration)) error {
	every := max(second, w.expected()/600)
	next := instant(0)
	for {
		from := instant(math.MaxInt64)
		left := 0
		for _, s := range w.shards {
			if len(s.queue.heap) > 0 {
				from = min(from, s.queue.heap[0].at)
			}
			left += s.left
		}
		if left == 0 || from > w.end {
			for _, s := range w.shards {
				w.ended = max(w.ended, s.now)
			}
			w.ended = min(w.ended, w.end)
			w.sample(w.ended)
			return nil
		}
		for from >= next {
			w.sample(next)
			next += every
			if err := ctx.Err(); err != nil {
				return err
			}
			if progress != nil {
				progress(duration(min(next, w.expected())), duration(w.expected()))
			}
		}
		w.advance(min(from+w.delay, next))
	}
}

// expected is about how long the scene lasts.
func (w *world) expected() instant {
	d := w.scene.Film
	if w.scene.Played > 0 {
		d = min(d, w.scene.Played)
	}
	last := w.scene.Spread
	if w.scene.Arrival == "stagger" {
		last *= time.Duration(w.scene.Viewers - 1)
	}
	return instant((last + d + w.scene.Linger).Microseconds()) + 2*second
}

func duration(t instant) time.Duration { return time.Duration(t) * time.Microsecond }

// advance handles all events before horizon, which no event from another actor can still come before.
func (w *world) advance(horizon instant) {
	if len(w.shards) == 1 {
		w.shards[0].work(horizon)
		return
	}
	var wait sync.WaitGroup
	for _, s := range w.shards[1:] {
		wait.Add(1)
		go func() { defer wait.Done(); s.work(horizon) }()
	}
	w.shards[0].work(horizon)
	wait.Wait()
	for _, s := range w.shards {
		for to, list := range s.out {
			for i := range list {
				w.shards[to].queue.push(&list[i])
				list[i].data = nil
			}
			s.out[to] = list[:0]
		}
	}
}

// work handles all events before horizon. As none of them can concern another actor than the one who causes it, each actor's are
// handled at one go: what happens is the same, and its memory is fetched once and not for every event.
func (s *shard) work(horizon instant) {
	q := &s.queue
	for len(q.heap) > 0 && q.heap[0].at < horizon {
		i := q.take()
		actor := q.slab[i].dst
		r := &s.rows[actor]
		if r.n == 0 {
			r.first = i
			s.due = append(s.due, actor)
		} else {
			q.next[r.last] = i
		}
		r.last = i
		r.n++
	}
	s.horizon = horizon
	for _, actor := range s.due {
		s.actor = actor
		s.play(&s.rows[actor])
	}
	s.actor, s.due = nobody, s.due[:0]
	s.now = horizon - 1
}

// play handles one actor's events, and those before the horizon that come of them.
func (s *shard) play(r *row) {
	q := &s.queue
	var e event
	for r.n > 0 || len(s.own.heap) > 0 {
		i := r.first
		if r.n > 0 && (len(s.own.heap) == 0 || !s.own.heap[0].beforeEvent(&q.slab[i])) {
			r.first = q.next[i]
			r.n--
			e = q.slab[i]
			q.release(i)
		} else {
			s.own.pop(&e)
		}
		s.now = e.at
		s.count++
		s.world.handle(&e)
	}
}

// handle has an event's actor deal with it.
func (w *world) handle(e *event) {
	switch e.dst {
	case originActor:
		w.origin.handle(e)
	case trackerActor:
		w.tracker.handle(e)
	default:
		w.devices[e.dst-firstViewer].handle(e)
	}
}

// keep takes an event of an actor of this shard.
func (s *shard) keep(e *event) {
	if e.dst == s.actor && e.at < s.horizon {
		s.own.push(e)
	} else {
		s.queue.push(e)
	}
}

// post sends an event from an actor of this shard.
func (s *shard) post(e *event) {
	to := int(e.dst) % len(s.world.shards)
	if s.world.shards[to] == s {
		s.keep(e)
		return
	}
	s.out[to] = append(s.out[to], *e)
}

// sample looks at everyone. It runs between the shards' work.
func (w *world) sample(at instant) {
	if at == math.MaxInt64 {
		return
	}
	x := audience.Sample{At: duration(at), OriginBytes: w.origin.sentBytes}
	var ahead []int64
	for _, d := range w.devices {
		x.PeerBytes += d.stats.PeerBytes
		p := &d.player
		switch {
		case d.gone || at < d.arrived || p.ended:
		case p.startedAt < 0:
			x.Waiting++
		default:
			if p.playing {
				x.Playing++
			} else if !p.pausing {
				x.Stalled++
			}
			ahead = append(ahead, p.ahead(at))
		}
	}
	if n := len(ahead); n > 0 {
		sort.Slice(ahead, func(i, j int) bool { return ahead[i] < ahead[j] })
		x.BufferP5 = time.Duration(ahead[n/20]) * time.Millisecond
		x.BufferP50 = time.Duration(ahead[n/2]) * time.Millisecond
	}
	w.samples = append(w.samples, x)
}

// result sums up.
func (w *world) result() *audience.Run {
	r := &audience.Run{Samples: w.samples, OffloadBound: -1, OriginBytes: w.origin.sentBytes, OriginBytesAfter20s: w.origin.sentAfter20}
	watched := make([][]instant, len(w.films)) // by film and segment: not 0 if somebody watched it
	for _, d := range w.devices {
		d.player.settle(w.ended)
		if d.manner.attacks() {
			r.OriginBytes -= w.origin.by[d.id-firstViewer].sent
			r.OriginBytesAfter20s -= w.origin.by[d.id-firstViewer].after20
			continue
		}
		v := d.stats
		if d.manner != honest {
			v.Name = strconv.Itoa(int(d.id)-firstViewer+1) + ", " + d.manner.String()
		}
		v.Watched = time.Duration(d.player.watched) * time.Millisecond
		if !d.gone {
			d.player.giveUp(&v, d.arrived, w.ended)
		}
		v.Arrived = duration(d.arrived)
		v.Startup = -1
		if d.player.startedAt >= 0 {
			v.Startup = duration(d.player.startedAt - d.arrived)
		}
		v.OriginBytes = w.origin.by[d.id-firstViewer].sent
		v.DuplicateBytes = w.origin.by[d.id-firstViewer].duplicate
		r.Viewers = append(r.Viewers, v)
		had := &watched[d.player.film]
		for k, at := range d.player.entered {
			if at != 0 {
				if *had == nil {
					*had = make([]instant, len(d.player.entered))
				}
				(*had)[k] = at
			}
		}
	}
	for n, had := range watched {
		if had != nil {
			r.Titles++
		}
		f := w.films[n]
		for k, at := range had {
			if at == 0 {
				continue
			}
			from, to := f.segment(k)
			r.FilmTime += segment
			r.FilmBytes += to - from
			r.FilmBytesAfter20s += f.beyond20(from, to)
		}
	}
	return r
}
