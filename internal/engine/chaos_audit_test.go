package engine_test

import (
	"encoding/binary"
	"fmt"
	"strings"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

// The bounds that hold at every step, whoever misbehaves.
const (
	peersBound    = 32          // connections and dials
	liveBound     = 128         // requests outstanding at one peer
	fetchesBound  = 16          // range requests under way
	hashesBound   = 64          // hash requests under way
	idleTickBound = 60          // ticks in a second of which nothing follows
	announceBound = 40          // announces in a minute, beside those that a change of policy calls for
	hedgeQuiet    = 400_000     // a fetch may be doubled when it brought nothing for so long
	digestPatient = 3 * second  // a block whose digest is later may be fetched again
	graceAfter    = 25 * second // what faults left behind (rests, hung fetches, peers on trial) may last so long after the end of faults
	rangeConstant = 4 * second  // beyond what plain HTTP takes, to deliver the player a range, whatever peers do
	looseConstant = 20 * second // the same for a range that lies anywhere in the film: nobody will stall for it soon
	keptSeconds   = 90          // of film that may be kept unverified,
	keptPieces    = 80          // and pieces
	traceLength   = 30          // steps shown when an invariant fails
)

// audit watches one engine's boundary, and knows nothing of its inside.
type audit struct {
	h         *chaosHost
	latest    engine.Instant
	opened    bool
	sharing   bool
	uploads   bool
	peers     map[engine.PeerRef]*auditPeer
	count     int
	readers   map[engine.Ref]*auditReader
	order     []engine.Ref // of readers
	refused   bool         // the origin answered 403, 404 or 410
	usedRef   map[engine.Ref]bool
	gets      map[engine.Ref]*auditGet
	stock     []bool // pieces that the engine was told it has
	held      int
	storing   []bool
	checking  []bool                       // Check was said, and not answered
	accepted  []bool                       // the piece that is to be stored is what was found
	arrivedAt map[[2]uint32]engine.Instant // blocks that the origin brought, and no cause since to ask for them again
	ticks     []engine.Instant             // idle ones of the last second
	spoken    []engine.Instant             // announces of the last minute
	trace     []string
	bound     int            // outputs of this step
	worst     engine.Instant // the longest that a range took
	close     int            // percent of the time that it was allowed, at most
}

type auditReader struct {
	engine.Input
	asked engine.Instant // the world's clock
	limit engine.Instant
}

// auditGet is a request of the engine's to the origin that is under way.
type auditGet struct {
	engine.Output
	got     int64
	movedAt engine.Instant // the engine's clock
}

func newAudit(h *chaosHost) *audit {
	n := h.w.film.pieces()
	return &audit{
		h: h, peers: map[engine.PeerRef]*auditPeer{}, readers: map[engine.Ref]*auditReader{}, usedRef: map[engine.Ref]bool{},
		stock: make([]bool, n), storing: make([]bool, n), checking: make([]bool, n), accepted: make([]bool, n), gets: map[engine.Ref]*auditGet{}, arrivedAt: map[[2]uint32]engine.Instant{}, latest: -1 << 62,
	}
}

func (a *audit) fail(format string, args ...any) {
	a.h.w.fail("%s at %.3f s: %s\n%s", a.h.id, float64(a.h.w.now)/1e6, fmt.Sprintf(format, args...), strings.Join(a.trace, "\n"))
}

// before takes note of what the engine is about to be told.
func (a *audit) before(now engine.Instant, in *engine.Input) {
	w := a.h.w
	a.latest = max(a.latest, now)
	w.steps++
	w.buf = record.AppendStep(w.buf[:0], now, in)
	w.digest.Write(w.buf)
	if len(a.trace) >= 2*traceLength {
		a.trace = append(a.trace[:0], a.trace[traceLength:]...)
	}
	a.trace = append(a.trace, inputLine(now, in))
	a.bound = a.outputsBound(in)
	switch in.Kind {
	case engine.TitleOpened:
		a.opened = true
	case engine.StoreRestored:
		for d := in.Data; len(d) >= 4; d = d[4:] {
			a.have(binary.BigEndian.Uint32(d))
		}
	case engine.RangeWanted:
		a.readers[in.Ref] = &auditReader{Input: *in, asked: w.now, limit: a.plainHTTP(in)}
		a.order = append(a.order, in.Ref)
	case engine.RangeCancelled:
		a.forget(in.Ref)
	case engine.PolicyChanged:
		a.sharing = in.Flags&engine.FlagPeers != 0
		a.uploads = a.sharing && in.Flags&engine.FlagUpload != 0
		a.spoken = a.spoken[:0]
	case engine.Introduced, engine.PeerConnected:
		p := a.peers[in.Peer]
		if p == nil {
			p = newAuditPeer(a, in.Peer)
			a.peers[in.Peer] = p
			a.count++
		}
		p.connected = p.connected || in.Kind == engine.PeerConnected
		p.named = p.named || len(in.Data) == len(p.id)
		copy(p.id[:], in.Data)
	case engine.PeerClosed:
		a.gone(in.Peer)
	case engine.MessageReceived:
		if p := a.peers[in.Peer]; p != nil {
			p.heard(in)
		}
	case engine.FetchFailed:
		a.refused = a.refused || in.Reason == 403 || in.Reason == 404 || in.Reason == 410
		delete(a.gets, in.Ref)
	case engine.FetchProgress, engine.FetchDone:
		a.arrived(in)
	case engine.HashesReceived:
		delete(a.gets, in.Ref)
	case engine.Hashed:
		if a.h.w.film.tainted(in) {
			a.excuse(in.Piece) // a wrong block makes every block of its piece suspect
		}
	case engine.Checked:
		a.checking[in.Piece] = false
	case engine.Stored:
		a.have(in.Piece)
	case engine.Evicted:
		if a.stock[in.Piece] {
			a.stock[in.Piece] = false
			a.held--
		}
		a.storing[in.Piece] = false
		a.excuse(in.Piece)
	}
}

// outputsBound is how many outputs a step may have: an answer for all that peers asked for, a cancel for all that was
// asked of them and as many requests anew, a discard for all that is kept, and a few messages for each peer and reader.
func (a *audit) outputsBound(in *engine.Input) int {
	n := 128 + a.h.keptLen/bt.BlockSize + len(a.readers)
	for _, p := range a.peers {
		n += 80 + 2*len(p.live) + 2*len(p.wishes)
	}
	if in.Kind == engine.StoreRestored {
		n += len(in.Data) / 4 * (2 + a.count)
	}
	n += 20 * (2 + a.count) // what is put out at once, and who is told
	return n
}

// tainted reports whether a block's digest is not that of the film's bytes.
func (f *film) tainted(in *engine.Input) bool {
	file, at, _ := f.block(in.Piece, in.Begin)
	return f.leaves[file][at/bt.BlockSize] != in.Digest
}

func (a *audit) have(piece uint32) {
	a.storing[piece] = false
	if !a.stock[piece] {
		a.stock[piece] = true
		a.held++
	}
}

func (a *audit) forget(ref engine.Ref) {
	delete(a.readers, ref)
	for i, r := range a.order {
		if r == ref {
			a.order = append(a.order[:i], a.order[i+1:]...)
			return
		}
	}
}

func (a *audit) gone(ref engine.PeerRef) {
	if a.peers[ref] != nil {
		delete(a.peers, ref)
		a.count--
	}
}

// plainHTTP is what a range may take, by plain HTTP and with a constant on top, beside all that others want.
func (a *audit) plainHTTP(in *engine.Input) engine.Instant {
	bytes := int64(1 << 20) // what the engine may be fetching ahead, and again after liars
	for _, r := range a.readers {
		bytes += r.To - r.From + 2*int64(a.h.w.film.title.PieceLength)
	}
	bytes += in.To - in.From + 2*int64(a.h.w.film.title.PieceLength)
	constant := engine.Instant(rangeConstant)
	if a.h.player.readers[in.Ref].loose {
		constant = looseConstant
	}
	return constant + engine.Instant(2*bytes*1_000_000/int64(a.h.w.originRate))
}

// arrived takes note of the blocks that a fetch has brought whole, as the engine is told.
func (a *audit) arrived(in *engine.Input) {
	x := a.gets[in.Ref]
	if x == nil {
		return
	}
	got := int64(in.Length)
	if in.Kind == engine.FetchDone {
		got = x.To - x.From
	}
	if got > x.got {
		x.movedAt = a.latest
	}
	for at := x.From + x.got/bt.BlockSize*bt.BlockSize; at < x.To && min(at+bt.BlockSize, x.To) <= x.From+got; at += bt.BlockSize {
		a.arrivedAt[a.key(x.File, at)] = a.latest
	}
	x.got = max(x.got, got)
}

// key is the block at a byte of a file.
func (a *audit) key(file uint32, at int64) [2]uint32 {
	t := &a.h.w.film.title
	return [2]uint32{t.Files[file].FirstPiece + uint32(at/int64(t.PieceLength)), uint32(at % int64(t.PieceLength))}
}

// excuse: there is cause to fetch any block of a piece again.
func (a *audit) excuse(piece uint32) {
	for at := uint32(0); at < a.h.w.film.title.PieceLength; at += bt.BlockSize {
		delete(a.arrivedAt, [2]uint32{piece, at})
	}
}

// after judges what the engine answered.
func (a *audit) after(now engine.Instant, in *engine.Input, out []engine.Output) {
	w := a.h.w
	acts := 0
	for i := range out {
		o := &out[i]
		w.buf = record.AppendOutput(w.buf[:0], o)
		w.digest.Write(w.buf)
		a.trace = append(a.trace, outputLine(o))
		if o.Kind != engine.Note {
			acts++
		}
		a.judge(in, o)
	}
	if w.onStep != nil {
		w.onStep(a.h, now, in, out)
	}
	if len(out) > a.bound {
		a.fail("%d outputs of one step, more than %d", len(out), a.bound)
	}
	w.most.outputs = max(w.most.outputs, len(out)*100/a.bound)
	a.settled(in, out)
	if err := a.h.engine.Recount(); err != nil {
		a.fail("%v", err)
	}
	at, ok := a.h.engine.Deadline()
	if a.opened && (!ok || at <= a.latest) {
		a.fail("the deadline is %d µs after the latest step's time", at-a.latest)
	}
	if in.Kind == engine.Tick && acts == 0 {
		a.idleTick()
	}
}

// idleTick counts the ticks of which nothing followed.
func (a *audit) idleTick() {
	a.ticks = append(a.ticks, a.latest)
	for a.latest-a.ticks[0] > second {
		a.ticks = a.ticks[1:]
	}
	if len(a.ticks) > idleTickBound {
		a.fail("%d ticks in a second of which nothing followed", len(a.ticks))
	}
}

// settled holds what must be true when a step is over.
func (a *audit) settled(in *engine.Input, out []engine.Output) {
	if a.count > peersBound {
		a.fail("%d peers", a.count)
	}
	if !a.sharing && a.count > 0 {
		a.fail("%d peers though sharing is off", a.count)
	}
	for d := in.Data; in.Kind == engine.Revoked && len(d) >= 20; d = d[20:] {
		for _, p := range a.peers {
			if p.named && string(p.id[:]) == string(d[:20]) {
				a.fail("peer %d stays though it was revoked", p.ref)
			}
		}
	}
	fetches, hashes := 0, 0
	for _, g := range a.gets {
		if g.Kind == engine.FetchRange {
			fetches++
		} else {
			hashes++
		}
	}
	if in.Kind == engine.FetchDone {
		delete(a.gets, in.Ref)
	}
	if fetches > fetchesBound || hashes > hashesBound {
		a.fail("%d fetches and %d hash requests under way", fetches, hashes)
	}
	f := a.h.w.film
	if most := keptPieces*int(f.title.PieceLength) + f.bytesPerSecond()*keptSeconds; a.h.keptLen > most {
		a.fail("%d bytes are kept unverified, more than %d", a.h.keptLen, most)
	}
	if in.Kind == engine.MessageReceived && in.Flags&engine.FlagHandshake == 0 && in.Data[0] == byte(wire.Piece) {
		n := 0
		for i := range out {
			if o := &out[i]; (o.Kind == engine.Hash || o.Kind == engine.Discard) && o.Peer == in.Peer {
				n++
			}
		}
		if p := a.peers[in.Peer]; p != nil && (n > 1 || n == 0 && p.fast) {
			a.fail("a payload was answered by %d of Hash and Discard", n)
		}
	}
}

// judge holds one output against the contract.
func (a *audit) judge(in *engine.Input, o *engine.Output) {
	switch o.Kind {
	case engine.RangeReady:
		a.rangeReady(o)
	case engine.RangeFailed:
		a.rangeFailed(o)
	case engine.FetchRange, engine.RequestHashes:
		a.requested(o)
	case engine.CancelFetch:
		if a.gets[o.Ref] == nil {
			a.fail("a fetch is cancelled that is not under way: %d", o.Ref)
		}
		delete(a.gets, o.Ref)
	case engine.Announce:
		if o.Flags == 0 {
			a.spoken = append(a.spoken, a.latest)
			for a.latest-a.spoken[0] > 60*second {
				a.spoken = a.spoken[1:]
			}
			if len(a.spoken) > announceBound {
				a.fail("%d announces in a minute", len(a.spoken))
			}
		}
		if !a.sharing && o.Flags&engine.FlagStopped == 0 {
			a.fail("an announce though sharing is off")
		}
	case engine.Discard:
		if o.Peer == 0 {
			delete(a.arrivedAt, [2]uint32{o.Piece, o.Begin})
			return
		}
		a.peerOf(o)
	case engine.Hash:
		a.hash(in, o)
	case engine.Evict:
		if a.stock[o.Piece] {
			a.stock[o.Piece] = false
			a.held--
		}
	case engine.Check:
		if a.stock[o.Piece] || a.storing[o.Piece] || a.checking[o.Piece] {
			a.fail("piece %d is to be looked at, which is stored, or being looked at", o.Piece)
		}
		a.checking[o.Piece] = true
	case engine.Store:
		a.accepted[o.Piece] = in.Kind == engine.Checked && in.Piece == o.Piece
		if a.stock[o.Piece] || a.storing[o.Piece] {
			a.fail("piece %d is to be stored twice", o.Piece)
		}
		a.storing[o.Piece] = true
	case engine.Dial:
		p := a.peerOf(o)
		if p.connected || p.dialled {
			a.fail("a dial to a peer that is connected, or dialled already")
		}
		p.dialled = true
	case engine.ClosePeer:
		a.peerOf(o)
		a.gone(o.Peer)
	case engine.SendMessage:
		a.peerOf(o).said(o)
	case engine.SendBlock:
		a.peerOf(o).gave(o)
	}
}

// peerOf is the peer that an output names, which must be there.
func (a *audit) peerOf(o *engine.Output) *auditPeer {
	p := a.peers[o.Peer]
	if p == nil {
		a.fail("an output names peer %d, which is gone", o.Peer)
	}
	return p
}

func (a *audit) rangeReady(o *engine.Output) {
	r := a.readers[o.Ref]
	if r == nil {
		a.fail("reader %d is answered, and does not wait", o.Ref)
	}
	f := a.h.w.film
	if int(r.File) >= len(f.files) || r.From < 0 || r.From >= r.To || r.To > int64(len(f.files[r.File])) {
		a.fail("reader %d of a range that is none is told that it is ready", o.Ref)
	}
	for at := r.From; at < r.To; at += bt.BlockSize - at%bt.BlockSize {
		key := a.key(r.File, at-at%bt.BlockSize)
		if k := a.h.kept[key]; !a.stock[key[0]] && (k == nil || !k.told || a.storing[key[0]]) {
			a.fail("reader %d is told that its range is ready, and piece %d is neither stored nor kept at %d", o.Ref, key[0], key[1])
		}
	}
	a.worst, a.close = max(a.worst, a.waited(r)), max(a.close, int(a.waited(r)*100/r.limit))
	a.forget(o.Ref)
}

func (a *audit) rangeFailed(o *engine.Output) {
	r := a.readers[o.Ref]
	if r == nil {
		a.fail("reader %d is answered, and does not wait", o.Ref)
	}
	f := a.h.w.film
	bad := int(r.File) >= len(f.files) || r.From < 0 || r.From >= r.To || r.To > int64(len(f.files[r.File]))
	switch {
	case bad && o.Reason == engine.ReasonBadRange:
	case !bad && o.Reason == engine.ReasonUnavailable && a.refused && a.h.w.waitedSince(r.asked) == 0:
	default:
		a.fail("reader %d failed with reason %d; its range is bad: %v; the origin refused: %v", o.Ref, o.Reason, bad, a.refused)
	}
	a.forget(o.Ref)
}

// waited is how long a reader has waited while nothing but peers and the network was at fault.
func (a *audit) waited(r *auditReader) engine.Instant { return a.h.w.waitedSince(r.asked) }

// waitedSince is the time since asked during which the origin and the host were healthy.
func (w *chaos) waitedSince(asked engine.Instant) engine.Instant {
	if w.faults.any(passing...) {
		if !w.healed {
			return 0
		}
		asked = max(asked, w.healedAt+graceAfter)
	}
	return max(w.now-asked, 0)
}

// overdue fails when a reader waits for longer than plain HTTP and the constant allow.
func (a *audit) overdue() {
	for _, ref := range a.order {
		if r := a.readers[ref]; a.waited(r) > r.limit {
			a.fail("reader %d has waited %.1f s for bytes %d-%d of file %d; %.1f s are allowed", ref, float64(a.waited(r))/1e6, r.From, r.To, r.File, float64(r.limit)/1e6)
		}
	}
}

// requested checks a request to the origin: that it can be, and that nothing is fetched twice without cause.
func (a *audit) requested(o *engine.Output) {
	f := a.h.w.film
	if o.Ref == 0 || a.usedRef[o.Ref] {
		a.fail("the reference %d was used before", o.Ref)
	}
	a.usedRef[o.Ref] = true
	a.gets[o.Ref] = &auditGet{Output: *o, movedAt: a.latest}
	if o.Kind == engine.RequestHashes {
		return
	}
	size := int64(len(f.files[o.File]))
	if o.Source != 0 || o.From < 0 || o.From >= o.To || o.To > size || o.From%bt.BlockSize != 0 || o.To%bt.BlockSize != 0 && o.To != size {
		a.fail("a fetch of bytes %d-%d of file %d, which has %d", o.From, o.To, o.File, size)
	}
	for at := o.From; at < o.To; at += bt.BlockSize {
		key := a.key(o.File, at)
		if a.stock[key[0]] || a.storing[key[0]] {
			a.fail("piece %d is fetched though it is stored", key[0])
		}
		for ref, g := range a.gets {
			if ref != o.Ref && g.Kind == engine.FetchRange && g.File == o.File && at >= g.From+g.got/bt.BlockSize*bt.BlockSize && at < g.To && a.latest-g.movedAt < hedgeQuiet {
				a.fail("piece %d at %d is fetched while the fetch %d is bringing it", key[0], key[1], ref)
			}
		}
		since, there := a.arrivedAt[key]
		k := a.h.kept[key]
		if there && (k != nil && k.told || a.latest-since < digestPatient) {
			a.fail("piece %d at %d is fetched again without cause: it came %d ms ago", key[0], key[1], (a.latest-since)/1000)
		}
	}
}

// hash checks that a digest is asked only of bytes that were asked for.
func (a *audit) hash(in *engine.Input, o *engine.Output) {
	f := a.h.w.film
	if int(o.Length) != f.blockLength(o.Piece, o.Begin) || o.Length == 0 {
		a.fail("a digest is asked of %d bytes of piece %d at %d", o.Length, o.Piece, o.Begin)
	}
	if o.Peer != 0 {
		p := a.peerOf(o)
		if in.Kind != engine.MessageReceived || in.Peer != o.Peer || !p.fresh || p.freshAt != [2]uint32{o.Piece, o.Begin} || in.Length != o.Length {
			a.fail("a payload is accepted from peer %d that nobody asked for, or that is not coming", o.Peer)
		}
		return
	}
	g := a.gets[o.Ref]
	if g == nil || g.Kind != engine.FetchRange {
		a.fail("a digest is asked of bytes of fetch %d, which is not under way", o.Ref)
	}
	if file, at, n := f.block(o.Piece, o.Begin); uint32(file) != g.File || int64(at) < g.From || int64(at+n) > g.To {
		a.fail("a digest is asked of a block outside fetch %d", o.Ref)
	}
}
