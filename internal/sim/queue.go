package sim

import "essaim/internal/engine"

// instant is virtual time in microseconds.
type instant = engine.Instant

// The units of time.
const (
	millisecond instant = 1_000
	second      instant = 1_000_000
)

// kind says what an event is.
type kind uint8

const (
	evArrive  kind = iota + 1 // the viewer presses play
	evPlayer                  // its player's next moment
	evTick                    // an engine's deadline: seat
	evUplink                  // the uplink is free
	evMessage                 // from a peer: conn
	evDeliver                 // the same, when the downlink has brought it
	evOpen                    // a connection is up: conn
	evClosed                  // a connection ended: conn
	evDialled                 // a dial has failed: conn
	evMeet                    // the tracker names whom to meet: seat, data = peer IDs, a = members, b = cohort and place in it, c = its size
	evOffer                   // of a peer, through the tracker: seat, conn = theirs
	evAnswer                  // conn = ours, a = theirs, -1: none
	evBody                    // the origin's bytes: fetch a, b of them, through the downlink
	evBodyDeliver
	evHashes // an answer to a hash request: fetch a
	evLeave
	evMood // a seek, a pause, or its end

	evGet      // at the origin: fetch a, file bytes b to c
	evCancel   // at the origin: fetch a
	evAsk      // at the origin: hash request a
	evSend     // at the origin: the next bytes
	evAnnounce // at the tracker
	evRelay    // at the tracker: an offer
	evReply    // at the tracker: an answer
)

// event is something that will happen to one actor. Between actors none takes less than the one-way delay.
type event struct {
	at      instant
	src     uint32 // who caused it, and
	seq     uint32 // the how-manieth of its causes: with at they order all events, however many shards there are
	dst     uint32
	kind    kind
	seat    uint16
	size    uint8 // of small
	bad     bool
	conn    uint32
	a, b, c int64
	small   [24]byte
	data    []byte
}

// key orders events.
type key struct {
	at  instant
	src uint64
	i   uint32 // where the event lies
}

func (k *key) before(o *key) bool { return k.at < o.at || k.at == o.at && k.src < o.src }

func (e *event) key(i uint32) key { return key{e.at, uint64(e.src)<<32 | uint64(e.seq), i} }

func (k *key) beforeEvent(e *event) bool {
	o := e.key(0)
	return k.before(&o)
}

// queue is a heap of four children per node over a slab of events.
type queue struct {
	heap []key
	slab []event
	next []uint32 // by place in the slab: links for whoever takes events out of the heap
	free []uint32
}

func (q *queue) push(e *event) {
	var i uint32
	if n := len(q.free); n > 0 {
		i, q.free = q.free[n-1], q.free[:n-1]
		q.slab[i] = *e
	} else {
		i = uint32(len(q.slab))
		q.slab, q.next = append(q.slab, *e), append(q.next, 0)
	}
	k := e.key(i)
	at := len(q.heap)
	q.heap = append(q.heap, k)
	for at > 0 {
		up := (at - 1) / 4
		if !k.before(&q.heap[up]) {
			break
		}
		q.heap[at] = q.heap[up]
		at = up
	}
	q.heap[at] = k
}

// pop copies the earliest event into e. The queue must not be empty.
func (q *queue) pop(e *event) {
	i := q.take()
	*e = q.slab[i]
	q.release(i)
}

// release gives an event's place in the slab to another.
func (q *queue) release(i uint32) {
	q.slab[i].data = nil
	q.free = append(q.free, i)
}

// take takes the earliest event out of the heap and says where in the slab it lies until it is released. The queue must not be empty.
func (q *queue) take() uint32 {
	top := q.heap[0].i
	n := len(q.heap) - 1
	k := q.heap[n]
	q.heap = q.heap[:n]
	if n == 0 {
		return top
	}
	at := 0
	for {
		first := 4*at + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, n); c++ {
			if q.heap[c].before(&q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(&k) {
			break
		}
		q.heap[at] = q.heap[least]
		at = least
	}
	q.heap[at] = k
	return top
}

// chance is splitmix64 (Steele, Lea, Flood, 2014).
type chance uint64

func (c *chance) Uint64() uint64 {
	*c += 0x9e3779b97f4a7c15
	return mix(uint64(*c))
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit draws from [0, 1).
func (c *chance) unit() float64 { return float64(c.Uint64()>>11) / (1 << 53) }

// below draws from 0 to n-1.
func (c *chance) below(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(c.Uint64() % uint64(n))
}
