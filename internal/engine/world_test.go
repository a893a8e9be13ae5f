package engine_test

import (
	"bytes"
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

// event is something that will happen.
type event struct {
	at  engine.Instant
	seq int
	do  func()
}
type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any     { x := (*q)[len(*q)-1]; *q = (*q)[:len(*q)-1]; return x }

// world runs viewers on a virtual clock. Unlike the simulator it moves real bytes, so that what is delivered can be
// compared with the film.
type world struct {
	t       *testing.T
	film    *film
	now     engine.Instant
	seq     int
	queue   events
	viewers []*viewer

	originBytes int64
	originRate  int64 // bytes per second of one fetch
	originAll   int64 // and of all together; 0: no limit
	originBusy  engine.Instant
	originDown  bool
	recorded    int // number of the viewer whose flight is recorded; 0: none
	badOrigin   int // so many of its blocks come with a flipped bit
}

func newWorld(t *testing.T, f *film) *world { return &world{t: t, film: f, originRate: 4 << 20} }

func (w *world) after(d engine.Instant, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, do})
}

func (w *world) run(until engine.Instant) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// viewer is a player, an engine and its host.
type viewer struct {
	w        *world
	id       bt.PeerID
	engine   *engine.Engine
	met      map[engine.PeerRef]bt.PeerID
	flight   []byte // recorded when not nil
	links    map[engine.PeerRef]*link
	refs     engine.PeerRef
	kept     map[[2]uint32][]byte
	store    map[uint32][]byte
	found    map[uint32][]byte // from an earlier visit
	hung     bool              // the store answers no Check
	left     []engine.Ref      // EvictFile
	marks    []engine.Output
	most     int64 // bytes stored at most
	tookBack int   // messages of lt_donthave sent
	fetch    map[engine.Ref]bool
	tick     engine.Instant

	lie        bool
	lieEvery   int // of the blocks that it sends, every so-manieth is wrong; 0: none
	sent       int
	mute       bool // accepts requests and never answers
	choppy     bool // begins to send a block, and never ends it
	readers    map[engine.Ref]func()
	nextReader engine.Ref
	delivered  [2][]byte
	position   int64 // ms
	playing    bool
	stalls     int
	started    engine.Instant
	began      engine.Instant
	fromPeers  int
	fromOrigin int
	fromKept   int // blocks read before their piece was whole
	banned     []engine.PeerRef
	closed     []engine.Reason
	gone       bool
}

type link struct {
	other *viewer
	ref   engine.PeerRef // theirs
	hello bool           // they have sent their handshake
	busy  engine.Instant // until then the wire carries something else
}

func (w *world) join() *viewer {
	v := &viewer{
		w: w, engine: engine.New(), met: map[engine.PeerRef]bt.PeerID{}, links: map[engine.PeerRef]*link{}, kept: map[[2]uint32][]byte{}, store: map[uint32][]byte{}, found: map[uint32][]byte{},
		fetch: map[engine.Ref]bool{}, readers: map[engine.Ref]func(){}, began: w.now, started: -1,
	}
	copy(v.id[:], fmt.Sprintf("-ES0001-%012d", len(w.viewers)))
	title := w.film.title
	title.PeerID, title.Seed = v.id, uint64(len(w.viewers)+1)*7919
	w.viewers = append(w.viewers, v)
	if w.recorded == len(w.viewers) {
		v.flight = []byte{}
	}
	v.step(engine.Input{Kind: engine.TitleOpened, Data: title.AppendBinary(nil)})
	for i, x := range w.film.indexes {
		v.step(engine.Input{Kind: engine.IndexLoaded, File: uint32(i), Data: x.AppendBinary(nil)})
	}
	return v
}

func (v *viewer) share(on bool) {
	in := engine.Input{Kind: engine.PolicyChanged}
	if on {
		in.Flags = engine.FlagPeers | engine.FlagUpload
	}
	v.step(in)
}

func (v *viewer) step(in engine.Input) {
	if v.gone {
		return
	}
	for _, o := range v.apply(in) {
		v.do(o)
	}
	if at, ok := v.engine.Deadline(); ok && at != v.tick {
		v.tick = at
		v.w.after(at-v.w.now, func() {
			if v.tick == at {
				v.tick = 0
				v.step(engine.Input{Kind: engine.Tick})
			}
		})
	}
}

// apply steps the engine and returns outputs that will last.
func (v *viewer) apply(in engine.Input) []engine.Output {
	if v.flight != nil {
		v.flight = record.AppendStep(v.flight, v.w.now, &in)
	}
	out := v.engine.Step(v.w.now, in, nil)
	for i := range out {
		out[i].Data = bytes.Clone(out[i].Data)
	}
	return out
}

// delay of one way between viewers, and of connecting, in microseconds; and a link's speed.
const (
	delay       = 20_000
	connectTime = 400_000
	linkRate    = 500_000 // bytes per second
)

func (v *viewer) connect(to *viewer, ref engine.PeerRef) {
	w := v.w
	w.after(connectTime, func() {
		to.refs++
		theirs := 1000 + to.refs
		v.links[ref] = &link{other: to, ref: theirs}
		to.links[theirs] = &link{other: v, ref: ref}
		v.step(engine.Input{Kind: engine.PeerConnected, Peer: ref, Data: to.id[:], Flags: engine.FlagInitiator})
		to.step(engine.Input{Kind: engine.PeerConnected, Peer: theirs, Data: v.id[:]})
	})
}

func (v *viewer) meet(to *viewer) {
	v.refs++
	v.met[v.refs] = to.id
	v.step(engine.Input{Kind: engine.Introduced, Peer: v.refs, Data: to.id[:]})
}

func (v *viewer) close(ref engine.PeerRef) {
	if l := v.links[ref]; l != nil {
		delete(v.links, ref)
		v.w.after(delay, func() {
			if l.other.links[l.ref] != nil {
				delete(l.other.links, l.ref)
				l.other.step(engine.Input{Kind: engine.PeerClosed, Peer: l.ref})
			}
		})
	}
}

// carry brings bytes to the other side at the link's speed.
func (v *viewer) carry(ref engine.PeerRef, size int, arrive func(to *viewer, theirs engine.PeerRef)) {
	l := v.links[ref]
	if l == nil {
		return
	}
	l.busy = max(l.busy, v.w.now) + engine.Instant(size*1_000_000/linkRate)
	v.w.after(l.busy-v.w.now+delay, func() {
		if l.other.links[l.ref] != nil {
			arrive(l.other, l.ref)
		}
	})
}

func (v *viewer) do(o engine.Output) {
	w := v.w
	switch o.Kind {
	case engine.Dial:
		for _, x := range w.viewers {
			if x.id == v.met[o.Peer] {
				v.connect(x, o.Peer)
			}
		}
	case engine.ClosePeer:
		v.closed = append(v.closed, o.Reason)
		v.close(o.Peer)
	case engine.SendMessage:
		if m, err := wire.Parse(o.Data[min(4, len(o.Data)):]); err == nil && m.ID == wire.Extended && m.ExtID == 1 && len(o.Data) == 10 {
			v.tookBack++
		}
		v.carry(o.Peer, len(o.Data), func(to *viewer, theirs engine.PeerRef) { to.hear(theirs, o.Data) })
	case engine.SendBlock:
		v.sendBlock(o)
	case engine.FetchRange:
		v.fetchRange(o)
	case engine.CancelFetch:
		delete(v.fetch, o.Ref)
	case engine.RequestHashes:
		f := w.film
		req := bt.HashRequest{Root: f.title.Files[o.File].Root, Base: o.Base, Index: o.Index, Length: o.Length, Proof: o.Proof}
		w.after(3*delay, func() {
			hashes, err := f.trees[o.File].Answer(req)
			if err != nil || w.originDown {
				v.step(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref})
				return
			}
			v.step(engine.Input{Kind: engine.HashesReceived, Ref: o.Ref, Data: bt.AppendDigests(nil, hashes)})
		})
	case engine.Store:
		var piece []byte
		for at := uint32(0); ; at += bt.BlockSize {
			b, ok := v.kept[[2]uint32{o.Piece, at}]
			if !ok {
				break
			}
			piece = append(piece, b...)
			delete(v.kept, [2]uint32{o.Piece, at})
		}
		if piece == nil {
			piece = v.found[o.Piece]
		}
		delete(v.found, o.Piece)
		v.checkPiece(o.Piece, piece)
		v.store[o.Piece] = piece
		v.most = max(v.most, v.holds())
		w.after(500, func() { v.step(engine.Input{Kind: engine.Stored, Piece: o.Piece}) })
	case engine.HashPiece:
		in := engine.Input{Kind: engine.PieceHashed, Ref: o.Ref, Piece: o.Piece}
		for at := 0; at < len(v.store[o.Piece]); at += bt.BlockSize {
			sum := sha256.Sum256(v.store[o.Piece][at:min(at+bt.BlockSize, len(v.store[o.Piece]))])
			in.Data = append(in.Data, sum[:]...)
		}
		w.after(1000, func() { v.step(in) })
	case engine.Discard:
		if o.Peer == 0 {
			delete(v.kept, [2]uint32{o.Piece, o.Begin})
		}
	case engine.Check:
		if v.hung {
			return
		}
		var leaves []byte
		for rest := v.found[o.Piece]; len(rest) > 0; rest = rest[min(bt.BlockSize, len(rest)):] {
			sum := sha256.Sum256(rest[:min(bt.BlockSize, len(rest))])
			leaves = append(leaves, sum[:]...)
		}
		w.after(1000, func() { v.step(engine.Input{Kind: engine.Checked, Piece: o.Piece, Data: leaves}) })
	case engine.Evict:
		delete(v.store, o.Piece)
		delete(v.found, o.Piece)
		w.after(0, func() { v.step(engine.Input{Kind: engine.Evicted, Piece: o.Piece}) })
	case engine.EvictFile:
		v.left = append(v.left, o.Ref)
	case engine.Mark:
		v.marks = append(v.marks, o)
	case engine.RangeReady:
		f := v.readers[o.Ref]
		delete(v.readers, o.Ref)
		w.after(0, f)
	case engine.Note:
		switch o.Note {
		case engine.NoteBlock:
			if o.Peer == 0 {
				v.fromOrigin += int(o.Length)
			} else {
				v.fromPeers += int(o.Length)
			}
		case engine.NoteBanned:
			v.banned = append(v.banned, o.Peer)
		}
	}
}

// holds is how many bytes the store has.
func (v *viewer) holds() (n int64) {
	for _, b := range v.store {
		n += int64(len(b))
	}
	for _, b := range v.found {
		n += int64(len(b))
	}
	return n
}

// checkPiece is the taint check: nothing but the film's own bytes may be stored.
func (v *viewer) checkPiece(piece uint32, got []byte) {
	file, at, _ := v.w.film.block(piece, 0)
	whole := v.w.film.files[file]
	if want := whole[at:min(at+int(v.w.film.title.PieceLength), len(whole))]; !bytes.Equal(got, want) {
		v.w.t.Fatalf("piece %d was stored with wrong bytes", piece)
	}
}

func (v *viewer) hear(ref engine.PeerRef, data []byte) {
	l := v.links[ref]
	if !l.hello {
		l.hello = true
		v.step(engine.Input{Kind: engine.MessageReceived, Flags: engine.FlagHandshake, Peer: ref, Data: data})
		return
	}
	if len(data) > 4 {
		v.step(engine.Input{Kind: engine.MessageReceived, Peer: ref, Data: data[4:]})
	}
}

func (v *viewer) sendBlock(o engine.Output) {
	if v.mute {
		return
	}
	piece := bytes.Clone(v.store[o.Piece][o.Begin : o.Begin+o.Length])
	v.sent++
	if v.lie || v.lieEvery > 0 && v.sent%v.lieEvery == 0 {
		piece[len(piece)/2] ^= 1
	}
	v.carry(o.Peer, len(piece)+13, func(to *viewer, theirs engine.PeerRef) {
		head := wire.AppendPieceHeader(nil, o.Piece, o.Begin, o.Length)
		out := to.apply(engine.Input{Kind: engine.MessageReceived, Peer: theirs, Data: head[4:], Length: o.Length})
		accepted := false
		for _, x := range out {
			if x.Kind == engine.Hash {
				accepted = true
				continue
			}
			to.do(x)
		}
		if accepted && !v.choppy {
			to.keep(engine.Input{Kind: engine.Hashed, Peer: theirs, Piece: o.Piece, Begin: o.Begin}, piece)
		}
	})
	v.w.after(delay, func() { v.step(engine.Input{Kind: engine.SendQueue, Peer: o.Peer}) })
}

func (v *viewer) keep(in engine.Input, data []byte) {
	key := [2]uint32{in.Piece, in.Begin}
	if _, ok := v.kept[key]; ok {
		return
	}
	v.kept[key] = data
	in.Digest = sha256.Sum256(data)
	v.w.after(100, func() { v.step(in) })
}

func (v *viewer) fetchRange(o engine.Output) {
	w := v.w
	v.fetch[o.Ref] = true
	size := int(o.To - o.From)
	var more func(got int)
	more = func(got int) {
		if !v.fetch[o.Ref] {
			return
		}
		if w.originDown {
			delete(v.fetch, o.Ref)
			v.step(engine.Input{Kind: engine.FetchFailed, Ref: o.Ref})
			return
		}
		got = min(got+10_000, size)
		in := engine.Input{Kind: engine.FetchProgress, Ref: o.Ref, Length: uint32(got)}
		if got == size {
			in.Kind = engine.FetchDone
			delete(v.fetch, o.Ref)
		}
		out := v.apply(in)
		for _, x := range out {
			if x.Kind != engine.Hash {
				v.do(x)
				continue
			}
			file, at, n := w.film.block(x.Piece, x.Begin)
			w.originBytes += int64(n)
			data := bytes.Clone(w.film.files[file][at : at+n])
			if w.badOrigin > 0 {
				w.badOrigin--
				data[0] ^= 1
			}
			v.keep(engine.Input{Kind: engine.Hashed, Ref: x.Ref, Piece: x.Piece, Begin: x.Begin}, data)
		}
		if got < size {
			w.after(w.originPause(), func() { more(got) })
		}
	}
	w.after(2*delay+w.originPause(), func() { more(0) })
}

// originPause is when the origin has the next 10,000 bytes for a fetch: in turn, where all share a rate.
func (w *world) originPause() engine.Instant {
	d := engine.Instant(10_000 * 1_000_000 / w.originRate)
	if w.originAll > 0 {
		w.originBusy = max(w.originBusy, w.now) + engine.Instant(10_000*1_000_000/w.originAll)
		d = max(d, w.originBusy-w.now)
	}
	return d
}

// play reads segment after segment as a player does that wants ten seconds ahead, starts with two, and stalls at none.
func (v *viewer) play() {
	v.step(engine.Input{Kind: engine.RenditionChosen, File: 0})
	v.step(engine.Input{Kind: engine.RenditionChosen, File: 1})
	var ends [2]int64
	for k := range 2 {
		x := v.w.film.indexes[k]
		var next func(i int)
		next = func(i int) {
			if i == len(x) {
				ends[k] = 1 << 40
				return
			}
			if int64(x[i].StartMs)-v.position > 10_000 {
				v.w.after(100_000, func() { next(i) })
				return
			}
			v.nextReader++
			ref := v.nextReader
			v.readers[ref] = func() {
				v.delivered[k] = append(v.delivered[k], v.read(k, x[i])...)
				ends[k] = int64(x[i].StartMs + x[i].DurationMs)
				next(i + 1)
			}
			v.step(engine.Input{Kind: engine.RangeWanted, Ref: ref, File: uint32(k), From: int64(x[i].From), To: int64(x[i].To)})
		}
		next(0)
	}
	last := int64(v.w.film.indexes[0][len(v.w.film.indexes[0])-1].StartMs) + 2000
	var clock func()
	clock = func() {
		end := min(ends[0], ends[1])
		switch {
		case v.position >= last:
			return
		case !v.playing && end >= v.position+2000 || end > last:
			if !v.playing && v.started < 0 {
				v.started = v.w.now
			}
			v.playing = true
		case v.playing && v.position+100 > end:
			v.playing = false
			v.stalls++
		}
		if v.playing {
			v.position += 100
		}
		in := engine.Input{Kind: engine.PlaybackMoved, From: v.position, To: min(end, last), Length: 1000}
		if !v.playing {
			in.Flags = engine.FlagPaused
		}
		v.step(in)
		v.w.after(100_000, clock)
	}
	clock()
}

// read takes a segment out of the store.
func (v *viewer) read(file int, s index.Segment) []byte {
	var b []byte
	pl := uint64(v.w.film.title.PieceLength)
	for at := s.From; at < s.To; {
		number := v.w.film.title.Files[file].FirstPiece + uint32(at/pl)
		piece := v.store[number]
		if block := v.kept[[2]uint32{number, uint32(at % pl / bt.BlockSize * bt.BlockSize)}]; piece == nil && block != nil {
			v.fromKept++
			end := min(at+uint64(len(block))-at%pl%bt.BlockSize, s.To)
			b = append(b, block[at%pl%bt.BlockSize:][:end-at]...)
			at = end
			continue
		}
		end := min(at/pl*pl+uint64(len(piece)), s.To)
		if end <= at {
			v.w.t.Fatalf("piece %d is not in the store though its range was said to be ready", at/pl)
		}
		b = append(b, piece[at%pl:end-at/pl*pl]...)
		at = end
	}
	return b
}

// sawAll checks that the whole film was delivered, byte for byte, without a stall.
func (v *viewer) sawAll(t *testing.T) {
	t.Helper()
	for k := range 2 {
		want := v.w.film.files[k][v.w.film.indexes[k][0].From:]
		if !bytes.Equal(v.delivered[k], want) {
			t.Errorf("file %d: %d bytes delivered, want %d, or they differ", k, len(v.delivered[k]), len(want))
		}
	}
	if v.stalls > 0 {
		t.Errorf("%d stalls", v.stalls)
	}
}

func restoredData(pieces int) []byte {
	var b []byte
	for n := range pieces {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b
}
