package sim

import (
	"essaim/internal/bt"
	"essaim/internal/swarm"
)

// tracker drives the service's own swarm room.
type tracker struct {
	w      *world
	seq    uint32
	set    *swarm.Set
	chance chance
}

func newTracker(w *world) *tracker {
	t := &tracker{w: w, chance: chance(w.seed + 77)}
	t.set = swarm.New(swarm.Limits{Peers: 1 << 20, SwarmsPerSocket: 64}, &t.chance)
	return t
}

func (t *tracker) post(e event) {
	t.seq++
	e.src, e.seq = trackerActor, t.seq
	t.w.shard(trackerActor).post(&e)
}

// The fields of an announce's event: a = play head in ms, b = these flags, c = film.
const (
	announceSeed = 1 << iota
	announceStarted
	announceStopped
)

func (t *tracker) handle(e *event) {
	now := swarm.Instant(e.at)
	socket := swarm.Socket(e.src)
	switch e.kind {
	case evAnnounce:
		id := t.w.peerID(e.src, int(e.seat))
		hash := t.hash(e)
		if e.b&announceStopped != 0 {
			t.set.Leave(hash, id, socket)
			return
		}
		d := t.w.devices[e.src-firstViewer]
		r, err := t.set.Announce(now, &swarm.Announce{
			Swarm: hash, Peer: id, Socket: socket, Kind: swarm.Viewer, Seed: e.b&announceSeed != 0, Started: e.b&announceStarted != 0,
			PositionMs: e.a, UplinkKbps: int(d.up * 8 / 1000), Want: int(e.conn), // as many as the service thinks right
			Place: t.place(d), Outcomes: outcomes(e.data),
		})
		if err != nil {
			return
		}
		var ids []byte
		for _, id := range r.Meet {
			ids = append(ids, id[:]...)
		}
		t.post(event{at: e.at + t.w.delay, dst: e.src, kind: evMeet, seat: e.seat, data: ids, a: int64(r.Complete + r.Incomplete), b: int64(r.Cohort.ID)<<32 | int64(r.Cohort.Place), c: int64(r.Cohort.Size)})
	case evRelay: // an offer: data = the peer ID, conn = the sender's connection
		to, seat := whose(bt.PeerID(e.data))
		var offer swarm.OfferID
		offer[0], offer[1], offer[2], offer[3] = byte(e.conn>>24), byte(e.conn>>16), byte(e.conn>>8), byte(e.conn)
		if _, err := t.set.Offer(now, t.hash(e), t.w.peerID(e.src, int(e.seat)), socket, bt.PeerID(e.data), offer); err != nil {
			t.post(event{at: e.at + t.w.delay, dst: e.src, kind: evAnswer, conn: e.conn, a: -1})
			return
		}
		t.post(event{at: e.at + t.w.delay, dst: to, kind: evOffer, seat: seat, conn: e.conn, a: int64(e.src), b: int64(e.seat)})
	case evReply: // an answer: data = the offerer's peer ID, conn = its connection, a = the answerer's
		to, seat := whose(bt.PeerID(e.data))
		var offer swarm.OfferID
		offer[0], offer[1], offer[2], offer[3] = byte(e.conn>>24), byte(e.conn>>16), byte(e.conn>>8), byte(e.conn)
		if _, err := t.set.Answer(now, t.hash(e), t.w.peerID(e.src, int(e.seat)), socket, bt.PeerID(e.data), offer); err != nil {
			return
		}
		t.post(event{at: e.at + t.w.delay, dst: to, kind: evAnswer, seat: seat, conn: e.conn, a: e.a})
	case evLeave:
		t.set.CloseSocket(socket)
	}
}

// hash is the swarm of the event's film, c.
func (t *tracker) hash(e *event) bt.InfoHash { return t.w.films[e.c].title.InfoHash }

// place is where a device is in the network. Attackers are one party's, with one network's addresses to give them; viewers
// are everywhere.
func (t *tracker) place(d *device) swarm.Place {
	if d.manner.attacks() {
		return swarm.Place{Prefix: 1}
	}
	return swarm.Place{Prefix: uint64(d.id) + 2}
}

// appendOutcomes writes what an announce tells of introductions, for its event.
func appendOutcomes(dst []byte, told []swarm.Outcome) []byte {
	for _, o := range told {
		dst = append(append(dst, o.Peer[:]...), byte(o.Result))
	}
	return dst
}

func outcomes(data []byte) (told []swarm.Outcome) {
	for ; len(data) > len(bt.PeerID{}); data = data[len(bt.PeerID{})+1:] {
		told = append(told, swarm.Outcome{Peer: bt.PeerID(data[:20]), Result: swarm.Fate(data[20])})
	}
	return told
}
