package engine

import (
	"encoding/binary"

	"essaim/internal/bt"
	"essaim/internal/engine/keeper"
	"essaim/internal/engine/picker"
)

// The cache: what the host's store holds from earlier visits, and what must leave it. It must get right that nothing found
// counts before it is digested and compared with the title's hashes; that a store that is slow, worn or lying costs no more
// than a fetch; and that what is being played is never put out.

// The pace of looking at what was found. In microseconds:
const (
	checksMax  = 8         // pieces being digested for a reader or the window
	sweepMax   = 2         // and for neighbours' sake
	sweepEvery = 25_000    // one piece each: 10 MB/s of 256 KiB pieces, a small share of a processor
	checkSlow  = 1_500_000 // what takes longer is fetched meanwhile
	checkLost  = 60_000_000
)

// What is never put out: the film around the play head, in milliseconds.
const (
	keepBehindMs = 10_000
	keepAheadMs  = picker.WindowMs
)

// The pace of eviction and of Mark.
const (
	roomShare = 32 // once over the bound, a 32nd of it is freed at a time, so that the search for what to put out is rare
	victims   = 16 // pieces put out by one search
	markEvery = 60_000_000
)

// oneself is how many viewers this one counts for where a piece lies ahead of its own play head: it will want it for certain.
const oneself = 4 * keeper.One

// cache is what the engine knows of the host's store beyond the pieces that it holds.
type cache struct {
	limit   int64 // bytes that the store may hold; 0: no bound was told
	ahead   int64 // of them ahead of the play head; 0: no bound
	others  []Shelved
	checks  []checking
	sweep   uint32 // the next piece that the sweep looks at
	sweptAt Instant
	fullAt  int64 // what was used when nothing more could be put out; 0: never
	markAt  Instant
}

// checking is a Check under way.
type checking struct {
	piece uint32
	at    Instant
}

// Shelved is what the store holds of another file.
type Shelved struct {
	Ref     uint32 // the host's name for it
	Members uint32 // viewers in its swarm, when it was last watched (Mark)
	Copies  uint32 // of each of its pieces that they held then, in sixteenths (Mark)
	Idle    uint32 // seconds since then
	Bytes   uint64
}

const shelvedSize = 24

// AppendShelf appends the form of other files that StoreBounded carries, big-endian: ref (4), members (4), copies (4),
// idle (4), bytes (8) of each.
func AppendShelf(b []byte, list []Shelved) []byte {
	for i := range list {
		s := &list[i]
		b = binary.BigEndian.AppendUint32(b, s.Ref)
		b = binary.BigEndian.AppendUint32(b, s.Members)
		b = binary.BigEndian.AppendUint32(b, s.Copies)
		b = binary.BigEndian.AppendUint32(b, s.Idle)
		b = binary.BigEndian.AppendUint64(b, s.Bytes)
	}
	return b
}

// storeBounded takes the host's word on how much room there is.
func (e *Engine) storeBounded(in *Input) {
	c := &e.cache
	c.limit, c.ahead, c.fullAt = max(in.From, 0), max(in.To, 0), 0
	c.others = c.others[:0]
	for b := in.Data; len(b) >= shelvedSize; b = b[shelvedSize:] {
		c.others = append(c.others, Shelved{
			Ref: binary.BigEndian.Uint32(b), Members: binary.BigEndian.Uint32(b[4:]), Copies: binary.BigEndian.Uint32(b[8:]),
			Idle: binary.BigEndian.Uint32(b[12:]), Bytes: min(binary.BigEndian.Uint64(b[16:]), 1<<50),
		})
	}
	if c.markAt == 0 {
		c.markAt = e.now + markEvery/4
	}
	e.stale = true
}

// foundStored notes what the store may hold. A piece of which something came meanwhile goes on being fetched.
func (e *Engine) foundStored(data []byte) {
	for ; len(data) >= 4; data = data[4:] {
		piece := binary.BigEndian.Uint32(data)
		if !e.stock.valid(piece) || e.stock.status[piece] != pieceLacked || e.checkOf(piece) >= 0 {
			continue
		}
		if a := e.findActive(piece); a != nil && (a.kept > 0 || a.hashing > 0) {
			continue
		}
		e.setStatus(piece, pieceFound)
	}
	e.cache.sweep, e.cache.fullAt = 0, 0
	e.stale = true
}

func (e *Engine) checkOf(piece uint32) int {
	for i := range e.cache.checks {
		if e.cache.checks[i].piece == piece {
			return i
		}
	}
	return -1
}

// check has pieces digested that were found: those of the plan in its order; others now and then, to be offered to neighbours.
func (e *Engine) check() {
	if e.stock.found == 0 {
		return
	}
	for i := range e.wants {
		w := &e.wants[i]
		if e.stock.status[w.Piece] != pieceFound {
			continue
		}
		if f, n := e.locate(w.Piece); !f.knows(n) {
			e.askLayer(w.File, n)
			continue
		}
		switch {
		case len(e.cache.checks) < checksMax:
			e.beginCheck(w.Piece)
		case w.Class != picker.Window && e.now-e.cache.checks[0].at >= checkSlow:
			e.giveUpFound(w.Piece) // the store does not answer, and the player will not wait for it
		}
	}
	if at, ok := e.sweepAt(); ok && e.now >= at {
		e.cache.sweptAt = e.now
		e.sweepOn()
	}
}

// sweepAt is when the sweep looks at its next piece; false while there is nobody to offer it to, or nothing to look at.
func (e *Engine) sweepAt() (Instant, bool) {
	if e.stock.found == 0 || !e.uploads || len(e.peers) == 0 && e.members < 2 || len(e.cache.checks) >= sweepMax || e.cache.sweep >= uint32(len(e.stock.status)) {
		return 0, false
	}
	return e.cache.sweptAt + sweepEvery, true
}

func (e *Engine) sweepOn() {
	for ; e.cache.sweep < uint32(len(e.stock.status)); e.cache.sweep++ {
		piece := e.cache.sweep
		if e.stock.status[piece] != pieceFound {
			continue
		}
		if f, n := e.locate(piece); !f.knows(n) {
			e.askLayer(uint32(e.stock.fileOf[piece]), n)
			e.cache.sweptAt = e.now + paceBusy
			return
		}
		e.beginCheck(piece)
		e.cache.sweep++
		return
	}
}

func (e *Engine) beginCheck(piece uint32) {
	e.setStatus(piece, pieceChecking)
	e.cache.checks = append(e.cache.checks, checking{piece: piece, at: e.now})
	e.order(Check, piece, 0)
}

// giveUpFound makes a found piece lacked: it is fetched like any other, and written over what was found.
func (e *Engine) giveUpFound(piece uint32) {
	e.setStatus(piece, pieceLacked)
	e.stale = true
}

// expireChecks lets what the store is slow to read be fetched meanwhile.
func (e *Engine) expireChecks() {
	for i := len(e.cache.checks) - 1; i >= 0; i-- {
		c := e.cache.checks[i]
		if e.now-c.at >= checkSlow && e.stock.status[c.piece] == pieceChecking {
			e.giveUpFound(c.piece)
		}
		if e.now-c.at >= checkLost {
			e.cache.checks = append(e.cache.checks[:i], e.cache.checks[i+1:]...)
		}
	}
}

// checked compares a piece that was found with its hash. What is wrong is put out, and fetched if it is wanted.
func (e *Engine) checked(in *Input) {
	i := e.checkOf(in.Piece)
	if i < 0 {
		return
	}
	e.cache.checks = append(e.cache.checks[:i], e.cache.checks[i+1:]...)
	e.idle = false
	good := e.matches(in.Piece, in.Data)
	switch e.stock.status[in.Piece] {
	case pieceLacked: // it took long, and is being fetched
		if !good {
			e.order(Evict, in.Piece, 0)
			return
		}
	case pieceChecking:
		if !good {
			e.setStatus(in.Piece, pieceLeaving)
			e.order(Evict, in.Piece, 0)
			return
		}
	default:
		return // it came otherwise, or is gone
	}
	e.discardKept(in.Piece)
	e.setStatus(in.Piece, pieceAccepted)
	e.order(Store, in.Piece, 0)
}

// matches folds a piece's leaves and compares them with its proven hash.
func (e *Engine) matches(piece uint32, leaves []byte) bool {
	f, n := e.locate(piece)
	digests, err := bt.ParseDigests(leaves)
	want, known := f.known.Piece(n)
	return err == nil && len(digests) == f.blocksIn(n) && known && bt.Fold(digests, f.width()) == want
}

// withinBounds leaves of the plan what fits into the store's share for what lies ahead, counting what it holds there
// already. What the player needs within the floor is never left out.
func (e *Engine) withinBounds(wants []picker.Want) []picker.Want {
	if e.cache.ahead == 0 {
		return wants
	}
	room := e.cache.ahead
	for i := range e.files {
		if !e.picker.Chosen(uint32(i)) {
			continue
		}
		first, end := e.picker.Around(uint32(i), int64(e.now), 0, keepAheadMs)
		for n := first; n < end; n++ {
			if e.stock.status[n] != pieceLacked {
				room -= int64(e.pieceBytes(n))
			}
		}
	}
	for i := range wants {
		if e.stock.status[wants[i].Piece] == pieceLacked {
			room -= int64(e.pieceBytes(wants[i].Piece))
		}
		if room < 0 && wants[i].Class == picker.Window {
			return wants[:i]
		}
	}
	return wants
}

// makeRoom has the host put out what is worth least while the store holds more than it may: pieces of this title, or all of
// another file.
func (e *Engine) makeRoom() {
	c := &e.cache
	if c.limit == 0 {
		return
	}
	if e.now >= c.markAt {
		c.markAt = e.now + markEvery
		e.mark()
	}
	used := e.stock.used
	for i := range c.others {
		used += int64(c.others[i].Bytes)
	}
	// Where nothing could be put out there is no use in looking again before more has come.
	if used <= c.limit || c.fullAt > 0 && used <= c.fullAt+c.limit/roomShare/4 {
		return
	}
	c.fullAt = 0
	goal := c.limit - c.limit/roomShare
	var list [victims]victim
	n := e.leastWorth(list[:])
	for at := 0; used > goal; {
		other := e.leastOther()
		switch {
		case other >= 0 && (at == n || c.others[other].worth() <= list[at].worth):
			used -= int64(c.others[other].Bytes)
			e.emit(Output{Kind: EvictFile, Ref: Ref(c.others[other].Ref)})
			c.others = append(c.others[:other], c.others[other+1:]...)
		case at < n:
			piece := list[at].piece
			at++
			used -= int64(e.pieceBytes(piece))
			e.order(Evict, piece, 0)
			e.unhold(piece, pieceLeaving)
		default:
			if used > c.limit && n < victims {
				c.fullAt = used
			}
			return
		}
	}
}

func (s *Shelved) worth() uint64 {
	return keeper.Item{Want: min(s.Members, 1<<24) * keeper.One, Copies: s.Copies, Idle: s.Idle}.Worth()
}

// leastOther is the other file that is worth least, or -1.
func (e *Engine) leastOther() int {
	best := -1
	for i := range e.cache.others {
		if best < 0 || e.cache.others[i].worth() < e.cache.others[best].worth() {
			best = i
		}
	}
	return best
}

// victim is a piece that may be put out.
type victim struct {
	piece uint32
	worth uint64
}

// leastWorth fills list with those pieces of the title that are worth least and not being played, the least first, and
// returns how many there are.
func (e *Engine) leastWorth(list []victim) int {
	n := 0
	crowd := e.crowdOf()
	head := e.picker.PositionMs(int64(e.now))
	for i := range e.files {
		f := &e.files[i]
		first, end := e.picker.Around(uint32(i), int64(e.now), -keepBehindMs, keepAheadMs)
		if !e.picker.Chosen(uint32(i)) {
			first, end = 0, 0
		}
		for k := range f.pieces {
			piece := f.FirstPiece + uint32(k)
			if s := e.stock.status[piece]; s != pieceStored && s != pieceFound || piece >= first && piece < end {
				continue
			}
			filmMs := e.picker.FilmMs(uint32(i), piece)
			item := crowd.item(uint32(i), filmMs, uint32(e.stock.holders[piece]))
			if e.picker.Chosen(uint32(i)) && filmMs >= head {
				item.Want += oneself
			}
			w := item.Worth()
			if n == len(list) && w >= list[n-1].worth || e.picker.Waited(uint32(i), piece) {
				continue
			}
			if n < len(list) {
				n++
			}
			at := n - 1
			for ; at > 0 && list[at-1].worth > w; at-- {
				list[at] = list[at-1]
			}
			list[at] = victim{piece, w}
		}
	}
	return n
}

// crowd is what is known of the others in the swarm.
type crowd struct {
	neighbours uint32
	members    uint32 // others, as many as the neighbours at least
	heads      [peersMax]int64
	files      [peersMax]uint32 // the rendition that each plays
	known      int              // how many said where they are
	video      func(file uint32) bool
}

func (e *Engine) crowdOf() crowd {
	c := crowd{video: func(file uint32) bool { return e.files[file].Track == TrackVideo }}
	for _, p := range e.peers {
		if !p.ready {
			continue
		}
		c.neighbours++
		if p.playing && c.known < len(c.heads) {
			c.heads[c.known], c.files[c.known] = p.head(e.now), p.playFile
			c.known++
		}
	}
	c.members = max(c.neighbours, max(e.members, 1)-1)
	return c
}

// item is a piece of that file and film time, of which so many neighbours have a copy: how many of all are yet to come to it,
// and how many have it, as the neighbours show it.
func (c *crowd) item(file uint32, filmMs int64, holders uint32) keeper.Item {
	want := c.neighbours - uint32(c.known) // who keeps silent may want anything
	for i := range c.known {
		if c.heads[i] <= filmMs && (!c.video(file) || c.files[i] == file) {
			want++
		}
	}
	want = min(want, c.neighbours-min(holders, c.neighbours))
	return keeper.Item{Want: c.scaled(want), Copies: c.scaled(holders)}
}

// scaled turns a number of neighbours into one of all others, in sixteenths.
func (c *crowd) scaled(n uint32) uint32 {
	return uint32(uint64(n) * uint64(min(c.members, 1<<20)) * keeper.One / uint64(max(c.neighbours, 1)))
}

// mark has the host write down what the files' swarm is like, for a later visit to judge by.
func (e *Engine) mark() {
	crowd := e.crowdOf()
	for i := range e.files {
		f := &e.files[i]
		held, holders := uint64(0), uint64(0)
		for k := range f.pieces {
			if piece := f.FirstPiece + uint32(k); e.stock.status[piece] != pieceLacked {
				held++
				holders += uint64(e.stock.holders[piece])
			}
		}
		if held == 0 {
			continue
		}
		copies := holders * uint64(min(crowd.members, 1<<20)) * keeper.One / (held * uint64(max(crowd.neighbours, 1)))
		e.emit(Output{Kind: Mark, File: uint32(i), Length: crowd.members, Index: uint32(min(copies, 1<<30))})
	}
}
