package sim

import (
	"encoding/binary"

	"essaim/internal/audience"
	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
	"essaim/internal/swarm"
)

// manner is how a viewer treats the others.
type manner uint8

const (
	honest manner = iota
	polluter
	freeRider
	stalled
	claimer
	silent
)

func (m manner) String() string {
	return [...]string{"", "polluter", "free rider", "stalled", "claimer", "silent"}[m]
}

// attacks: it is no viewer whose fare counts. What such a one fetches for itself, having been shut out of the swarm, is its own affair; the
// harm that it does is measured in what happens to the others. Who serves nobody, or says nothing, is a viewer.
func (m manner) attacks() bool { return m == polluter || m == stalled || m == claimer }

// cached is a film that a device holds at arrival, from a piece on.
type cached struct{ film, from int }

// device is a viewer's browser: its links, an engine for the film that plays and for each that it holds, and a player.
type device struct {
	w         *world
	sh        *shard
	id        uint32
	seq       uint32
	chance    chance
	moods     chance // of the viewer's hand alone, so that it does the same whatever the policy is
	up, down  int64  // bytes per second
	share     bool
	symmetric bool
	manner    manner
	cached    []cached
	arrived   instant
	gone      bool
	left      instant // when it was gone

	seats    []*seat // the first is the film that plays
	player   player
	conns    []conn
	upFree   instant
	upArmed  bool
	ready    []uint32 // connections with something queued, in turn
	downFree instant
	httpAt   instant // when the connection to the origin is up
	doorAt   instant // when the tracker's socket is
	stats    audience.Viewer
}

// seat is one engine and what its host keeps for it.
type seat struct {
	d       *device
	n       uint16
	film    *film
	engine  *engine.Engine
	tick    instant
	refs    engine.PeerRef
	met     []meeting
	told    []swarm.Outcome // of introductions, and not yet by an announce
	conn    map[engine.PeerRef]uint32
	fetches []fetch
	hashes  []hashRequest
	queue   []engine.Input
	out     []engine.Output
	touched []uint32
	tainted map[uint32]bool // blocks kept whose bytes are wrong
	payload bool            // the engine wants the payload that it was just told of
	head    [13]byte        // of a block that comes
	claimed pieceRange      // what a claimer has said that it fetches
}

type meeting struct {
	ref engine.PeerRef
	id  bt.PeerID
}

type fetch struct {
	ref       engine.Ref
	got, size int64
}

type hashRequest struct {
	ref  engine.Ref
	file uint32
	req  bt.HashRequest
}

func (d *device) cachedTitle(film int) bool {
	for _, c := range d.cached {
		if c.film == film {
			return true
		}
	}
	return false
}

// self schedules an event of the device's own.
func (d *device) self(e event) {
	d.seq++
	e.src, e.dst, e.seq = d.id, d.id, d.seq
	d.sh.keep(&e)
}

// to sends an event to another actor. It must take the one-way delay at least.
func (d *device) to(e event) {
	d.seq++
	e.src, e.seq = d.id, d.seq
	d.sh.post(&e)
}

func (d *device) now() instant { return d.sh.now }

func (d *device) handle(e *event) {
	if d.gone {
		d.refuse(e)
		return
	}
	switch e.kind {
	case evArrive:
		d.arrive()
	case evPlayer:
		d.player.wake(d, e.a)
	case evMood:
		d.player.mood(d, e.a)
	case evLeave:
		d.leave()
	case evTick:
		d.seats[e.seat].wake(e.at)
	case evUplink:
		d.upArmed = false
		d.transmit()
	case evMessage:
		d.arrives(e)
	case evDeliver:
		d.deliver(e)
	case evBody:
		d.bodyArrives(e)
	case evBodyDeliver:
		d.body(e)
	case evHashes:
		d.hashesCame(e)
	case evMeet:
		s := d.seats[e.seat]
		s.step(engine.Input{Kind: engine.SwarmCounted, Length: uint32(e.a), File: uint32(e.b >> 32), Piece: uint32(e.b), Begin: uint32(e.c)})
		for ids := e.data; len(ids) >= 20; ids = ids[20:] {
			s.introduce(bt.PeerID(ids[:20]))
		}
	case evOffer:
		d.offered(e)
	case evAnswer:
		d.answered(e)
	case evOpen:
		d.opened(e.conn)
	case evDialled:
		if c := &d.conns[e.conn]; c.state == connDialling {
			fate := swarm.FailedAnswer
			if !d.meets(c.peer) {
				fate = swarm.FailedICE
			}
			d.tell(c, fate)
		}
		d.closed(e.conn, true)
	case evClosed:
		d.closed(e.conn, false)
	}
}

// refuse is what a device that has left still does: whoever dials it or talks to it learns that it is gone.
func (d *device) refuse(e *event) {
	if e.kind == evMessage && !d.player.silently && int(e.conn) < len(d.conns) && d.conns[e.conn].state != connDead {
		d.conns[e.conn].state = connDead
		d.to(event{at: d.now() + d.w.delay, dst: d.conns[e.conn].peer, kind: evClosed, conn: d.conns[e.conn].peerConn})
	}
}

// arrive opens the page: play is pressed.
func (d *device) arrive() {
	d.player.open(d, d.w.films[d.player.film])
	if d.w.policy == "http" {
		d.player.plain = true
		d.player.request(d)
		return
	}
	d.open(d.w.films[d.player.film], -1)
	if d.share {
		for _, c := range d.cached {
			d.open(d.w.films[c.film], c.from)
		}
	}
	d.player.request(d)
	if d.manner == claimer {
		d.self(event{at: d.now() + second, kind: evMood, a: moodClaim})
	}
}

// open starts an engine on a film of which everything from a piece on is held; -1: nothing.
func (d *device) open(f *film, from int) {
	s := &seat{d: d, n: uint16(len(d.seats)), film: f, engine: d.w.newEngine(), conn: map[engine.PeerRef]uint32{}}
	d.seats = append(d.seats, s)
	title := f.title
	title.PeerID, title.Seed = d.w.peerID(d.id, int(s.n)), d.chance.Uint64()
	s.step(engine.Input{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)})
	for i := range f.renditions {
		s.step(engine.Input{Kind: engine.IndexLoaded, File: uint32(i), Data: f.renditions[i].coded})
	}
	if from >= 0 {
		var held []byte
		for p := from; p < f.pieces; p++ {
			held = binary.BigEndian.AppendUint32(held, uint32(p))
		}
		s.step(engine.Input{Kind: engine.StoreRestored, Data: held})
	}
	if d.share {
		in := engine.Input{Kind: engine.PolicyChanged, Flags: engine.FlagPeers | engine.FlagUpload, Length: uint32(d.w.scene.Limit / 1000)}
		if d.manner == freeRider {
			in.Flags = engine.FlagPeers
		}
		s.step(in)
	}
	if from < 0 {
		s.step(engine.Input{Kind: engine.RenditionChosen})
	}
}

// leave closes the page.
func (d *device) leave() {
	if d.gone {
		return
	}
	d.gone = true
	d.left = d.now()
	d.sh.left--
	d.player.settle(d.left)
	d.player.giveUp(&d.stats, d.arrived, d.left)
	if !d.player.silently {
		for i := range d.conns {
			c := &d.conns[i]
			if c.state == connOpen {
				c.state = connDead
				d.to(event{at: d.now() + d.w.delay, dst: c.peer, kind: evClosed, conn: c.peerConn})
			}
		}
	} else {
		for i := range d.conns { // ICE finds out: consent expires after 30 s (RFC 7675), browsers say disconnected after 5
			if c := &d.conns[i]; c.state == connOpen {
				c.state = connDead
				d.to(event{at: d.now() + 15*second, dst: c.peer, kind: evClosed, conn: c.peerConn})
			}
		}
	}
	if len(d.seats) > 0 && d.share {
		d.to(event{at: d.now() + d.w.delay, dst: trackerActor, kind: evLeave})
	}
	for _, s := range d.seats {
		for _, f := range s.fetches {
			d.to(event{at: d.now() + d.w.delay, dst: originActor, kind: evCancel, seat: s.n, a: int64(f.ref)})
		}
		s.engine, s.conn = nil, nil
	}
	if d.player.plain && d.player.ref != 0 {
		d.to(event{at: d.now() + d.w.delay, dst: originActor, kind: evCancel, a: d.player.ref})
	}
}

// step gives the seat's engine one input, and does all that follows.
func (s *seat) step(in engine.Input) {
	s.queue = append(s.queue, in)
	if len(s.queue) > 1 {
		return // the loop below is at work
	}
	for i := 0; i < len(s.queue) && !s.d.gone; i++ {
		s.out = s.engine.Step(s.d.now(), s.queue[i], s.out[:0])
		for k := range s.out {
			s.do(&s.out[k])
		}
		for _, n := range s.touched {
			c := &s.d.conns[n]
			c.touched = false
			if c.queued > queueHigh && c.state == connOpen {
				s.queue = append(s.queue, engine.Input{Kind: engine.SendQueue, Peer: c.ref, Length: uint32(c.queued)})
			}
		}
		s.touched = s.touched[:0]
	}
	s.queue = s.queue[:0]
	if s.d.gone {
		return
	}
	s.arm()
}

// arm schedules a look at the engine's deadline. One that is put off later is put off when the look finds it so.
func (s *seat) arm() {
	if at, ok := s.engine.Deadline(); ok && (s.tick == 0 || at < s.tick) {
		s.tick = at
		s.d.self(event{at: at, kind: evTick, seat: s.n})
	}
}

func (s *seat) wake(at instant) {
	if s.tick != at {
		return // an earlier look took its place
	}
	s.tick = 0
	if due, ok := s.engine.Deadline(); ok && due > at {
		s.arm()
		return
	}
	s.step(engine.Input{Kind: engine.Tick})
}

func (s *seat) do(o *engine.Output) {
	d := s.d
	switch o.Kind {
	case engine.RangeReady:
		d.player.ready(d, int64(o.Ref))
	case engine.RangeFailed:
		d.player.failed(d, int64(o.Ref))
	case engine.FetchRange:
		s.fetches = append(s.fetches, fetch{ref: o.Ref, size: o.To - o.From})
		base := s.film.renditions[o.File].base
		d.get(s, int64(o.Ref), base+o.From, base+o.To)
	case engine.CancelFetch:
		s.cancel(o.Ref)
	case engine.RequestHashes:
		req := bt.HashRequest{Root: s.film.title.Files[o.File].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof}
		s.hashes = append(s.hashes, hashRequest{o.Ref, o.File, req})
		d.to(event{at: d.connected() + d.w.delay, dst: originActor, kind: evAsk, seat: s.n, a: int64(o.Ref), b: int64(o.Length)})
	case engine.Dial:
		s.dial(o.Peer)
	case engine.ClosePeer:
		s.hangUp(o.Peer)
	case engine.Announce:
		s.announce(o)
	case engine.SendMessage:
		s.send(o)
	case engine.SendBlock:
		s.sendBlock(o)
	case engine.Hash:
		if o.Peer != 0 {
			s.payload = true // blockCame says its digest
		} else {
			s.queue = append(s.queue, engine.Input{Kind: engine.Hashed, Ref: o.Ref, Piece: o.Piece, Begin: o.Begin, Digest: s.film.digest(o.Piece, o.Begin, false)})
		}
	case engine.Discard:
		if o.Peer == 0 && s.tainted != nil {
			delete(s.tainted, s.film.block(o.Piece, o.Begin))
		}
	case engine.HashPiece:
		s.hashPiece(o)
	case engine.Store:
		s.queue = append(s.queue, engine.Input{Kind: engine.Stored, Piece: o.Piece})
	case engine.Evict:
		s.queue = append(s.queue, engine.Input{Kind: engine.Evicted, Piece: o.Piece})
	case engine.Note:
		s.note(o)
	}
}

// hashPiece says the digests of a stored piece's blocks.
func (s *seat) hashPiece(o *engine.Output) {
	in := engine.Input{Kind: engine.PieceHashed, Ref: o.Ref, Piece: o.Piece}
	from := int64(o.Piece) * int64(s.film.title.PieceLength)
	for begin := int64(0); begin < int64(s.film.title.PieceLength) && from+begin < s.film.size; begin += s.film.unit {
		d := s.film.digest(o.Piece, uint32(begin), false)
		in.Data = append(in.Data, d[:]...)
	}
	s.queue = append(s.queue, in)
}

func (s *seat) note(o *engine.Output) {
	v := &s.d.stats
	switch o.Note {
	case engine.NoteBlock:
		if o.Peer != 0 {
			v.PeerBytes += int64(o.Length)
		}
	case engine.NoteBadBlock:
		if o.Peer != 0 {
			v.WastedBytes += s.film.unit
		}
	case engine.NoteWasted:
		v.WastedBytes += int64(o.Length)
	}
}

// get asks the origin for bytes of the film. The first request sets the connection up.
func (d *device) get(s *seat, ref, from, to int64) {
	d.to(event{at: d.connected() + d.w.delay, dst: originActor, kind: evGet, seat: s.n, conn: uint32(s.film.number), a: ref, b: from, c: to})
}

// connected is when the connection to the origin is up.
func (d *device) connected() instant {
	if d.httpAt == 0 {
		d.httpAt = d.now() + handshakeRTT*2*d.w.delay
	}
	return max(d.now(), d.httpAt)
}

func (s *seat) cancel(ref engine.Ref) {
	for i := range s.fetches {
		if s.fetches[i].ref == ref {
			s.fetches = append(s.fetches[:i], s.fetches[i+1:]...)
			s.d.to(event{at: s.d.connected() + s.d.w.delay, dst: originActor, kind: evCancel, seat: s.n, a: int64(ref)})
			return
		}
	}
	for i := range s.hashes {
		if s.hashes[i].ref == ref {
			s.hashes = append(s.hashes[:i], s.hashes[i+1:]...)
			return
		}
	}
}

// bodyArrives takes the origin's bytes through the downlink.
func (d *device) bodyArrives(e *event) {
	took := instant(e.b * 1_000_000 / d.down)
	d.downFree = max(e.at, d.downFree+took)
	if d.downFree <= e.at {
		d.body(e)
		return
	}
	n := *e
	n.at, n.kind = d.downFree, evBodyDeliver
	d.self(n)
}

func (d *device) body(e *event) {
	if d.player.plain {
		d.player.body(d, e.a, e.b)
		return
	}
	s := d.seats[e.seat]
	for i := range s.fetches {
		f := &s.fetches[i]
		if int64(f.ref) != e.a {
			continue
		}
		before := f.got
		f.got += e.b
		in := engine.Input{Kind: engine.FetchProgress, Ref: f.ref, Length: uint32(f.got)}
		switch {
		case f.got == f.size:
			in.Kind = engine.FetchDone
			s.fetches = append(s.fetches[:i], s.fetches[i+1:]...)
		case before/s.film.unit == f.got/s.film.unit:
			return
		}
		s.step(in)
		return
	}
	d.stats.WastedBytes += e.b // it was cancelled meanwhile
}

func (d *device) hashesCame(e *event) {
	s := d.seats[e.seat]
	for i := range s.hashes {
		if h := s.hashes[i]; int64(h.ref) == e.a {
			s.hashes = append(s.hashes[:i], s.hashes[i+1:]...)
			answer, err := s.film.renditions[h.file].tree.Answer(h.req)
			if err != nil {
				panic("sim: the engine asks for hashes that are not: " + err.Error())
			}
			s.step(engine.Input{Kind: engine.HashesReceived, Ref: h.ref, Data: bt.AppendDigests(nil, answer)})
			return
		}
	}
}

// announce tells the tracker. The first one opens the socket: TCP, TLS, upgrade.
func (s *seat) announce(o *engine.Output) {
	d := s.d
	if d.doorAt == 0 {
		d.doorAt = d.now() + 6*d.w.delay
	}
	var flags int64
	if s.n > 0 {
		flags |= announceSeed
	}
	if o.Flags&engine.FlagStarted != 0 {
		flags |= announceStarted
	}
	if o.Flags&engine.FlagStopped != 0 {
		flags |= announceStopped
	}
	d.to(event{
		at: max(d.now(), d.doorAt) + d.w.delay, dst: trackerActor, kind: evAnnounce, seat: s.n, a: o.From, b: flags,
		c: int64(s.film.number), conn: o.Length, data: appendOutcomes(nil, s.told),
	})
	s.told = s.told[:0]
}

func (s *seat) introduce(id bt.PeerID) {
	s.refs++
	s.met = append(s.met, meeting{s.refs, id})
	s.step(engine.Input{Kind: engine.Introduced, Peer: s.refs, Data: id[:]})
}

// heard gives a peer's message to the engine.
func (s *seat) heard(c *conn, e *event) {
	if e.size == 0 && e.data == nil { // a block: a = piece, b = begin, c = length
		s.blockCame(c, e)
		return
	}
	data := e.data
	if data == nil {
		data = e.small[:e.size] // as long as step lasts, as the engine wants
	}
	in := engine.Input{Kind: engine.MessageReceived, Peer: c.ref, Data: data}
	if !c.hello {
		c.hello = true
		in.Flags = engine.FlagHandshake
	} else if len(data) > 4 {
		in.Data = data[4:]
	} else {
		return
	}
	s.step(in)
}

// blockCame gives a block's header to the engine and, where it wants the payload, its digest.
func (s *seat) blockCame(c *conn, e *event) {
	piece, begin, length := uint32(e.a), uint32(e.b), uint32(e.c)
	s.payload = false
	message := wire.AppendPieceHeader(s.head[:0], piece, begin, length)
	s.step(engine.Input{Kind: engine.MessageReceived, Peer: c.ref, Data: message[4:], Length: length})
	if !s.payload || s.d.gone {
		return
	}
	if e.bad {
		if s.tainted == nil {
			s.tainted = map[uint32]bool{}
		}
		s.tainted[s.film.block(piece, begin)] = true
	} else if s.tainted != nil {
		delete(s.tainted, s.film.block(piece, begin))
	}
	s.step(engine.Input{Kind: engine.Hashed, Peer: c.ref, Piece: piece, Begin: begin, Digest: s.film.digest(piece, begin, e.bad)})
}

func (w *world) newEngine() *engine.Engine {
	return engine.NewWith(engine.Options{UrgentOnly: w.policy == "urgent", WholePieces: w.scene.Unit == "piece"})
}
