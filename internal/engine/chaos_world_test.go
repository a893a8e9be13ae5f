package engine_test

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

// violation is what a run panics with when an invariant does not hold.
type violation string

// chaos is a virtual world for one run: one to three engines with their hosts (audited at every step), made-up
// neighbours, an origin, and links between them on which messages suffer.
type chaos struct {
	seed    uint64
	faults  faultSet
	film    *film
	now     engine.Instant
	seq     int
	queue   events
	hosts   []*chaosHost
	puppets []*puppet
	net     *rand.Rand
	digest  hash.Hash64 // of all inputs and outputs, in order
	buf     []byte

	originRate int // bytes per second of all fetches together
	healedAt   engine.Instant
	healed     bool
	steps      int
	most       struct{ outputs int }                                                         // percent of the bound
	onStep     func(h *chaosHost, now engine.Instant, in *engine.Input, out []engine.Output) // for traces
}

func (w *chaos) fail(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

func (w *chaos) after(d engine.Instant, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + max(d, 0), w.seq, do})
}

// run lets time pass until the given instant, or until done says so.
func (w *chaos) run(until engine.Instant, done func() bool) {
	for len(w.queue) > 0 && w.queue[0].at <= until && !done() {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	if !done() {
		w.now = until
	}
}

// ms is a duration drawn from [from, to) milliseconds.
func ms(r *rand.Rand, from, to int) engine.Instant {
	return engine.Instant(from*1000 + r.IntN((to-from)*1000))
}

// open draws the film, the hosts and the neighbours.
func (w *chaos) open() {
	r := stream(w.seed, "world")
	w.film, w.net, w.digest = chaosFilm(stream(w.seed, "film")), stream(w.seed, "net"), fnv.New64a()
	w.originRate = w.film.bytesPerSecond()*(2+r.IntN(4)) + 100_000
	for n := range 1 + r.IntN(3)*r.IntN(2) {
		w.hosts = append(w.hosts, newChaosHost(w, n))
	}
	for n := range r.IntN(9) {
		w.puppets = append(w.puppets, newPuppet(w, n, w.hosts[r.IntN(len(w.hosts))]))
	}
}

// end is one side of a link.
type end interface {
	hears(l *chaosLink, data []byte)
	lost(l *chaosLink)
}

// chaosLink is a data channel: a stream of messages each way, which the faults of the network befall.
type chaosLink struct {
	w      *chaos
	ends   [2]end
	rate   engine.Instant // bytes per second, each way
	lag    [2]engine.Instant
	busy   [2]engine.Instant
	queued [2]int
	last   [2]engine.Instant // arrival of the latest message: the order is kept unless a fault breaks it
	dead   bool
	silent bool // nothing arrives any more, and nobody is told
	stuck  bool // side 1 reads nothing: what side 0 sends stays queued
}

func (w *chaos) link(a, b end) *chaosLink {
	l := &chaosLink{w: w, ends: [2]end{a, b}, rate: engine.Instant(40_000 + w.net.IntN(1_500_000))}
	if w.faults.hits(w.net, netSlow, 0.7) {
		l.rate = engine.Instant(1_000 + w.net.IntN(10_000))
	}
	l.lag[0] = ms(w.net, 1, 120)
	l.lag[1] = l.lag[0]
	return l
}

func (l *chaosLink) side(e end) int {
	if l.ends[0] == e {
		return 0
	}
	return 1
}

// send queues a message (which nobody changes afterwards), and lets the network have its way with it.
func (l *chaosLink) send(from int, data []byte) {
	if l.dead {
		return
	}
	w := l.w
	l.queued[from] += len(data)
	if l.stuck && from == 0 {
		return
	}
	l.busy[from] = max(l.busy[from], w.now) + engine.Instant(len(data))*1_000_000/l.rate
	size := len(data)
	w.after(l.busy[from]-w.now, func() { l.queued[from] -= size })
	arrive := max(l.busy[from]+l.lag[from], l.last[from])
	deliver := func(at engine.Instant, data []byte) {
		w.after(at-w.now, func() {
			if !l.dead && !l.silent {
				l.ends[1-from].hears(l, data)
			}
		})
	}
	f, r := w.faults, w.net
	switch {
	case f.hits(r, netDrop, 0.02):
		if r.IntN(2) == 0 {
			l.fade()
		}
		return
	case f.hits(r, netCut, 0.005):
		w.after(arrive-w.now, func() { l.close(nil) })
		deliver(arrive, data[:r.IntN(len(data)+1)])
		return
	case f.hits(r, netCorrupt, 0.02):
		data = append([]byte(nil), data...)
		at := r.IntN(len(data))
		if r.IntN(2) == 0 {
			at = r.IntN(min(len(data), 20)) // the fields rather than the payload
		}
		data[at] ^= 1 << r.IntN(8)
	case f.hits(r, netTruncate, 0.01):
		data = data[:r.IntN(len(data))]
	case f.hits(r, netDuplicate, 0.03):
		deliver(arrive+ms(r, 0, 300), data)
	case f.hits(r, netReorder, 0.05):
		deliver(arrive+ms(r, 0, 500), data)
		return
	case f.hits(r, netDelay, 0.004):
		arrive += ms(r, 1000, 12_000)
	}
	l.last[from] = arrive
	deliver(arrive, data)
}

// fade makes the link silent; it may die later, or never.
func (l *chaosLink) fade() {
	l.silent = true
	if d := l.w.net.IntN(60); d < 40 {
		l.w.after(engine.Instant(d)*second, func() { l.close(nil) })
	}
}

// close ends the link for whoever did not close it.
func (l *chaosLink) close(by end) {
	if l.dead {
		return
	}
	l.dead = true
	for side, e := range l.ends {
		if e != by {
			l.w.after(l.lag[1-side], func() { e.lost(l) })
		}
	}
}

// frameHead is a piece message's prefix and header.
func frameHead(piece, begin uint32, payload int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(9+payload))
	b = append(b, 7)
	b = binary.BigEndian.AppendUint32(b, piece)
	return binary.BigEndian.AppendUint32(b, begin)
}

// blockLength is the length of the block at begin of a piece, 0 where there is none.
func (f *film) blockLength(piece, begin uint32) int {
	if int(piece) >= f.pieces() || begin%bt.BlockSize != 0 || int(begin) >= f.pieceSize(piece) {
		return 0
	}
	return min(bt.BlockSize, f.pieceSize(piece)-int(begin))
}

func (f *film) bytesPerSecond() int {
	n := 0
	for _, data := range f.files {
		n += len(data)
	}
	return n / f.seconds()
}
