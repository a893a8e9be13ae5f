package native

import (
	"encoding/binary"
	"math"

	"essaim/internal/bt/announce"
	"essaim/internal/engine"
)

// Stepper is the engine as a host sees it: engine.New() in earnest, a script in tests.
type Stepper interface {
	Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output
	Deadline() (engine.Instant, bool)
}

// channel is one peer's open data channel, as the core needs it. Its methods do not block.
type channel interface {
	// Send queues b as one message. b may be used again afterwards.
	Send(b []byte) error
	// Queued is how many bytes wait to be handed to the network.
	Queued() int
	// Close ends the channel. Nothing need be told of it afterwards.
	Close()
}

// outside is what the core asks of the world. Its methods do not block, and do not call back.
type outside interface {
	now() engine.Instant
	// get begins an HTTP GET; what comes of it is told by head, body, end and fail with f.
	get(f *fetch)
	// abort gives up a GET that has not ended.
	abort(f *fetch)
	// measure begins to measure the round trip to a peer; what comes of it, if anything does, is told by measured.
	measure(p engine.PeerRef)
	dial(p engine.PeerRef)
	// undial forgets a peer that was introduced, and gives up a dial of which nothing came yet.
	undial(p engine.PeerRef)
	// announce tells the tracker; want is how many introductions we ask for.
	announce(positionMs int64, rendition, want uint32, flags engine.Flags)
	// answer ends a read: with data, or with an error.
	answer(r engine.Ref, data []byte, err error)
	// refuse ends the host: the title's torrent is at odds with itself.
	refuse(err error)
	// noted passes on a Note; the output's Data holds during the call only.
	noted(o *engine.Output)
}

// Bounds of what a core keeps in memory beside its store.
const (
	keptMax     = 256 << 20           // unverified blocks, in bytes; what comes beyond them is dropped, and asked for again
	sendMax     = 8 << 20             // queued for one peer; who never reads is closed
	queueHigh   = engine.SendQueueLow // above this a peer's queue is reported
	readsMax    = 256                 // reads that wait at once
	readMax     = 16 << 20            // bytes of one read
	fetchBufMax = 64 << 20            // bytes of one FetchRange
)

// measureEvery is how often the round trip to a peer that blocks go to is measured, in microseconds.
const measureEvery = 1_000_000

// core does what an engine says. It belongs to one goroutine; every method returns when all that follows has been done.
type core struct {
	title  engine.Title
	files  layout
	engine Stepper
	out    outside
	store  Store

	peers   map[engine.PeerRef]*peer
	fetches map[engine.Ref]*fetch
	reads   map[engine.Ref]readRange
	readRef engine.Ref
	kept    map[uint32]*keptPiece
	keptLen int
	shelf   Shelf           // the store, if it is one
	checked map[uint32]bool // found pieces whose digests the engine was told
	halves  halves
	scratch []byte // for a piece, where the store keeps no hold of what it was given
	limit   int64  // as it was told the engine

	queue   []engine.Input // inputs that outputs led to, yet to be stepped
	outputs []engine.Output
	touched []engine.PeerRef // peers sent to during one Step
	corrupt func([]byte)     // tests only
	stats   Stats
	ended   bool
}

type readRange struct {
	file     uint32
	from, to int64
}

func newCore(t engine.Title, e Stepper, s Store, w outside) *core {
	shelf, _ := s.(Shelf)
	return &core{
		shelf: shelf, checked: map[uint32]bool{},
		title: t, files: newLayout(&t), engine: e, store: s, out: w,
		peers: map[engine.PeerRef]*peer{}, fetches: map[engine.Ref]*fetch{},
		reads: map[engine.Ref]readRange{}, kept: map[uint32]*keptPiece{},
	}
}

// counted tells the engine how many peers the tracker counts in the swarm: seeds and others. Both count us, so that a sum
// of zero is an answer without counts. And it tells it which cohort the tracker counts us into.
func (c *core) counted(complete, incomplete int, in announce.Cohort) {
	if n := uint64(max(complete, 0)) + uint64(max(incomplete, 0)); n > 0 {
		c.step(engine.Input{Kind: engine.SwarmCounted, Length: uint32(min(n, math.MaxUint32)), File: in.ID, Piece: in.Place, Begin: in.Size})
	}
}

// open tells the engine of the title, of the files' indexes where they are known, and of what the store holds.
func (c *core) open(indexes [][]byte) {
	c.step(engine.Input{Kind: engine.TitleOpened, Data: c.title.AppendBinary(nil)})
	for i, x := range indexes {
		if len(x) > 0 {
			c.step(engine.Input{Kind: engine.IndexLoaded, File: uint32(i), Data: x})
		}
	}
	c.tellRoom()
	if held := c.store.Pieces(); len(held) > 0 {
		c.then(engine.Input{Kind: engine.StoreRestored, Data: pieceList(held)})
	}
	if c.shelf != nil {
		if found := c.shelf.Found(); len(found) > 0 {
			c.then(engine.Input{Kind: engine.StoreFound, Data: pieceList(found)})
		}
	}
	c.run()
}

// pieceList is the form that StoreRestored and StoreFound carry.
func pieceList(pieces []uint32) []byte {
	data := make([]byte, 0, 4*len(pieces))
	for _, p := range pieces {
		data = binary.BigEndian.AppendUint32(data, p)
	}
	return data
}

// tellRoom tells the engine how much the store may hold, and what else lies there.
func (c *core) tellRoom() {
	limit, ahead := c.store.Room()
	c.limit = limit
	in := engine.Input{Kind: engine.StoreBounded, From: limit, To: ahead}
	if c.shelf != nil {
		in.Data = engine.AppendShelf(nil, c.shelf.Others())
	}
	c.then(in)
}

// step gives the engine one input, and does all that follows from it. It is for what comes from outside only.
func (c *core) step(in engine.Input) {
	c.then(in)
	c.run()
}

// then has the engine told of something when the outputs of the moment are done.
func (c *core) then(in engine.Input) { c.queue = append(c.queue, in) }

// run steps all queued inputs, and those that they lead to.
func (c *core) run() {
	for i := 0; i < len(c.queue) && !c.ended; i++ { // grows meanwhile
		c.once(c.queue[i])
	}
	clear(c.queue)
	c.queue = c.queue[:0]
}

func (c *core) once(in engine.Input) {
	c.outputs = c.engine.Step(c.out.now(), in, c.outputs[:0])
	for i := range c.outputs {
		c.do(&c.outputs[i])
	}
	for _, ref := range c.touched {
		if p := c.peers[ref]; p != nil {
			p.touched = false
			c.reportQueue(p)
		}
	}
	c.touched = c.touched[:0]
}

func (c *core) do(o *engine.Output) {
	switch o.Kind {
	case engine.RangeReady:
		c.rangeReady(o.Ref)
	case engine.RangeFailed:
		if _, ok := c.reads[o.Ref]; ok {
			delete(c.reads, o.Ref)
			c.out.answer(o.Ref, nil, reasonError(o.Reason))
		}
	case engine.FetchRange:
		c.fetchRange(o)
	case engine.RequestHashes:
		c.requestHashes(o)
	case engine.CancelFetch:
		if f := c.fetches[o.Ref]; f != nil {
			c.dropFetch(f)
		}
	case engine.Dial:
		c.out.dial(o.Peer)
	case engine.ClosePeer:
		if p := c.peers[o.Peer]; p != nil {
			c.dropPeer(p)
		} else {
			c.out.undial(o.Peer)
		}
	case engine.Announce:
		want := o.Length
		if o.Flags&engine.FlagStopped != 0 {
			want = 0 // who leaves meets nobody
		}
		c.out.announce(o.From, o.File, want, o.Flags)
	case engine.SendMessage:
		if p := c.peers[o.Peer]; p != nil {
			c.send(p, o.Data)
		}
	case engine.SendBlock:
		c.sendBlock(o)
	case engine.Discard:
		if o.Peer == 0 {
			c.dropKept(o.Piece, o.Begin)
		}
		// A payload that is not asked for by Hash is skipped anyway.
	case engine.Hash:
		c.hash(o)
	case engine.HashPiece:
		c.hashPiece(o)
	case engine.Store:
		c.storePiece(o.Piece)
	case engine.Evict:
		c.lose(o.Piece, engine.Input{})
	case engine.Check:
		c.check(o.Piece)
	case engine.EvictFile:
		if c.shelf != nil {
			_ = c.shelf.RemoveOther(uint32(o.Ref)) // what cannot be removed is found again at the next visit
		}
	case engine.Mark:
		if c.shelf != nil {
			_ = c.shelf.Mark(o.File, o.Length, o.Index) // no more than a hint
		}
	case engine.Note:
		c.note(o)
	}
}

// tick steps the engine if its deadline has come.
func (c *core) tick() {
	if at, ok := c.engine.Deadline(); ok && at <= c.out.now() {
		c.step(engine.Input{Kind: engine.Tick})
	}
}

// read asks for bytes of a file; the answer comes through outside. The reference is new each time.
func (c *core) read(file uint32, from, to int64) engine.Ref {
	c.readRef++
	ref := c.readRef
	c.reads[ref] = readRange{file: file, from: from, to: to}
	c.step(engine.Input{Kind: engine.RangeWanted, Ref: ref, File: file, From: from, To: to})
	return ref
}

// cancelRead forgets a read that still waits.
func (c *core) cancelRead(ref engine.Ref) {
	if _, ok := c.reads[ref]; ok {
		delete(c.reads, ref)
		c.step(engine.Input{Kind: engine.RangeCancelled, Ref: ref})
	}
}

func (c *core) rangeReady(ref engine.Ref) {
	r, ok := c.reads[ref]
	if !ok {
		return
	}
	data := make([]byte, r.to-r.from)
	if err := c.files.eachPiece(r.file, r.from, r.to, func(piece uint32, off, at, n int64) error {
		if !c.store.Has(piece) && c.readKept(piece, data[at:at+n], off) {
			return nil
		}
		err := c.readStored(piece, data[at:at+n], off)
		if err != nil {
			c.lose(piece, engine.Input{}) // the disk lost it: never serve it again
		}
		return err
	}); err != nil {
		if c.ended {
			return // refused
		}
		// the engine has it fetched
		c.then(engine.Input{Kind: engine.RangeWanted, Ref: ref, File: r.file, From: r.from, To: r.to})
		return
	}
	delete(c.reads, ref)
	c.out.answer(ref, data, nil)
}

// dropPeer closes a channel of which the engine is not to hear again.
func (c *core) dropPeer(p *peer) {
	delete(c.peers, p.ref)
	p.gone = true
	p.payload = nil
	p.rest = nil
	p.ch.Close()
}

// closePeer closes a channel by our own decision, or because it is closed already, and says so.
func (c *core) closePeer(p *peer) {
	if !p.gone {
		c.dropPeer(p)
		c.then(engine.Input{Kind: engine.PeerClosed, Peer: p.ref})
	}
}

func (c *core) note(o *engine.Output) {
	c.stats.count(o)
	c.out.noted(o)
}
