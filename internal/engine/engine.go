// Package engine decides, for one title in one viewer, what to ask of whom and when: it is the whole of Essaim's
// delivery policy and of its BitTorrent behaviour (BEP 3, 6, 10, 52, 54). It is a machine without hands: Step takes
// one thing that happened and returns what must be done; a host (browser, native program, simulator) does it.
//
// What it must get right: no byte is delivered, stored or passed on before it is verified against the title's v2
// roots, whoever sent it; no fault of a peer, a tracker or a cache stalls a film that the origin alone would play;
// nothing grows without bound, whatever a peer sends; and the same inputs give the same outputs everywhere, so
// nothing here reads a clock, starts a goroutine, walks a map or uses floating point.
//
// Payload bytes never come here. The host keeps them by block, hashes them, and tells their digests.
package engine

import (
	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine/fetcher"
	"essaim/internal/engine/ledger"
	"essaim/internal/engine/picker"
	"essaim/internal/engine/trust"
)

// Engine is one title's machine. Use New. It is not safe for concurrent use: one goroutine owns it.
type Engine struct {
	now   Instant
	title Title
	info  []byte // the info dictionary, if peers may have it
	open  bool

	files  []fileState
	stock  stock
	cache  cache
	active []activePiece // pieces of which something was asked or kept
	picker picker.Picker
	wants  []picker.Want // the plan of plannedAt
	line   []int32       // those of them that peers are asked for, in order
	// stale: the plan must be made anew before the next assignment; idle: nothing changed since the last one.
	stale, idle bool
	plannedMs   int64   // the play head then
	lateAt      Instant // when something will be late that is not yet
	plannedAt   Instant
	plans       uint32
	expiredAt   Instant // when time-outs were last looked at

	peers []*peer
	refs  []PeerRef // theirs, side by side: most inputs name one
	serving
	trust    trust.Book
	bites    int     // neighbours' faults, and
	bittenAt Instant // the last one
	liedAt   Instant // when one was last found to lie; 0: never
	origin   fetcher.Source
	refused  Reason // the status with which the origin last refused, 0 since it last worked
	fetches  fetcher.Table
	pace     fetcher.Pace
	members  uint32  // viewers in the swarm, ourselves among them, by the tracker's count; 0: unknown
	cohort   cohort  // those who are in step with us, as the tracker counts them
	crowded  bool    // neighbours in this part of the film are known
	crowdAt  Instant // since then
	crowdMs  int64   // our play head when timers began
	told     told
	hashes   []hashRequest
	proofs   []proof       // leaves that peers asked for
	proving  ledger.Bucket // what is hashed for peers
	answer   []bt.Digest   // scratch
	down     ledger.Meter  // all useful bytes

	sharing  bool // peers allowed
	uploads  bool // may serve
	uplink   ledger.Governor
	chokedAt Instant
	turn     int // whom among the peers serve looks at next

	openedAt   Instant
	announceAt Instant
	announced  int
	rendition  uint32

	options Options
	unit    uint32 // bytes of a block: what is asked for at a time, and the leaf of the hash tree

	out   []Output // being appended to during Step
	arena []byte   // backs the Data of this Step's outputs
	chance
}

// New returns an engine that waits for TitleOpened.
func New() *Engine { return NewWith(Options{}) }

// Options make an engine other than those that viewers run. They are for simulations.
type Options struct {
	// UrgentOnly asks the origin only for what is urgent, and leaves all the rest to peers: the baseline of schedulers that do not
	// look at their neighbours.
	UrgentOnly bool
	// WholePieces makes the piece the block: requests ask for whole pieces, Hash and Hashed speak of them, and the hash tree's
	// leaves are theirs. Nothing else understands such an engine; very large crowds take several times fewer steps with it.
	WholePieces bool
}

// NewWith returns an engine with these options that waits for TitleOpened.
func NewWith(o Options) *Engine { return &Engine{options: o, unit: bt.BlockSize} }

// Step applies in, which happened at now, and appends the actions that follow to out. The Data of what it appends
// holds until the next Step. now must not run backwards; if it does it is taken for the latest instant seen.
func (e *Engine) Step(now Instant, in Input, out []Output) []Output {
	if now > e.now {
		e.now = now
	}
	e.out, e.arena = out, e.arena[:0]
	if in.Kind == TitleOpened {
		e.openTitle(in.Data)
	} else if e.open {
		e.drained()
		e.apply(&in)
		e.settle(in.Kind)
	}
	out, e.out = e.out, nil
	return out
}

// The pace of Tick: how long the engine may sleep, in microseconds.
const (
	paceBusy    = 200_000   // something is under way or a reader waits
	pacePlaying = 500_000   // the play head moves
	paceLate    = 20_000    // something will be late unless the origin is asked
	paceIdle    = 5_000_000 // only keepalives and announces
)

// Deadline reports when the host must call Step with Tick if nothing happens first; false before a title is open.
func (e *Engine) Deadline() (Instant, bool) {
	if !e.open {
		return 0, false
	}
	pace := Instant(paceIdle)
	switch {
	case e.picker.Waiting() || e.pressing() || len(e.hashes) > 0 || len(e.cache.checks) > 0:
		pace = paceBusy
	case len(e.wants) > 0 || len(e.active) > 0 || len(e.fetches.All()) > 0:
		pace = pacePlaying
	}
	at := e.now + pace
	if e.sharing && e.announceAt < at {
		at = e.announceAt
	}
	if t, ok := e.sweepAt(); ok && t < at {
		at = t
	}
	if e.lateAt < at {
		at = max(e.lateAt, e.now+paceLate)
	}
	if t, ok := e.serveAt(); ok && t < at {
		at = t
	}
	return max(at, e.now+1_000), true
}

// pressing: something is lacked that the player will ask for soon.
func (e *Engine) pressing() bool {
	for i := range e.wants {
		if e.wants[i].Class == picker.Window {
			return false
		}
		if e.stock.status[e.wants[i].Piece] == pieceLacked {
			return true
		}
	}
	return false
}

func (e *Engine) openTitle(data []byte) {
	t, err := ParseTitle(data)
	if err != nil || e.open {
		return
	}
	e.title, e.open, e.openedAt = t, true, e.now
	if e.options.WholePieces {
		e.unit = t.PieceLength
	}
	e.seed(t.Seed)
	e.files = make([]fileState, len(t.Files))
	pf := make([]picker.File, len(t.Files))
	pieces := uint32(0)
	for i := range t.Files {
		f := &e.files[i]
		f.open(&t.Files[i], t.PieceLength, e.unit)
		pf[i] = picker.File{Size: int64(t.Files[i].Size), FirstPiece: t.Files[i].FirstPiece}
		pieces = t.Files[i].FirstPiece + uint32(f.pieces)
	}
	e.stock.open(pieces, e.files)
	e.picker.Open(int64(t.PieceLength), pf, t.Seed)
	e.stale = true
}

func (e *Engine) apply(in *Input) {
	switch in.Kind {
	case IndexLoaded:
		if x, err := index.Parse(in.Data); err == nil && int(in.File) < len(e.files) {
			e.picker.Load(in.File, x)
			e.stale = true
		}
	case StoreRestored:
		e.restored(in.Data)
	case StoreFound:
		e.foundStored(in.Data)
	case Checked:
		e.checked(in)
	case InfoLoaded:
		e.infoLoaded(in.Data)
	case StoreBounded:
		e.storeBounded(in)
	case RangeWanted:
		e.rangeWanted(in)
	case RangeCancelled:
		e.picker.Cancel(uint32(in.Ref))
		e.stale = true
	case Introduced:
		e.introduced(in)
	case PeerConnected:
		e.connected(in)
	case PeerClosed:
		if p := e.peer(in.Peer); p != nil {
			e.forget(p, in.Reason)
		}
	case Revoked:
		e.revoked(in.Data)
	case MessageReceived:
		if p := e.peer(in.Peer); p != nil {
			e.received(p, in)
		}
	case SendQueue:
		if p := e.peer(in.Peer); p != nil {
			e.queueReported(p, in.Length)
		}
	case PathMeasured:
		if p := e.peer(in.Peer); p != nil {
			p.path.Measured(int64(e.now), int64(in.Length))
		}
	case FetchProgress, FetchDone:
		e.fetched(in)
	case FetchFailed:
		e.fetchFailed(in)
	case Hashed:
		e.hashed(in)
	case HashesReceived:
		e.hashesReceived(in)
	case PieceHashed:
		e.pieceHashed(in)
	case Stored:
		e.stored(in.Piece)
	case Evicted:
		e.evicted(in.Piece)
		e.unsent(in)
	case PlaybackMoved:
		defer e.tellPlaying(in.Flags&FlagPaused != 0)
		e.picker.Moved(int64(e.now), in.From, in.To, int64(in.Length), in.Flags&FlagPaused != 0)
		e.stale = true
	case Seeked:
		e.picker.Seeked(int64(e.now), in.From)
		e.crowded, e.cohort = false, cohort{}
		e.stale = true
		e.tellPlaying(true)
	case RenditionChosen:
		e.choose(in.File)
	case PolicyChanged:
		e.policy(in)
	case Tick:
		e.stale = e.stale || e.now-e.plannedAt >= paceBusy
		e.idle = false
	case SwarmCounted:
		e.members = in.Length
		if in.File != 0 {
			e.cohort = cohort{in.File, in.Piece, in.Begin}
			e.tellPlaying(false)
		}
	}
}

// settle brings everything that follows from a change to rest: readers that can be answered, the plan, requests,
// uploads, timers.
func (e *Engine) settle(kind InputKind) {
	for {
		ref, ok := e.picker.Ready(shelf{e})
		if !ok {
			break
		}
		e.emit(Output{Kind: RangeReady, Ref: Ref(ref)})
	}
	if kind == Tick || e.now-e.expiredAt >= paceBusy { // a stream of inputs puts Tick off, and must not put these off
		e.expiredAt, e.idle = e.now, false
		e.expirePeers()
		e.expireBlocks()
		e.expireFetches()
		e.expireHashes()
		e.expireChecks()
		e.expireProofs()
	}
	if e.stale || e.now-e.plannedAt > pacePlaying {
		e.plan()
	}
	e.check()
	e.makeRoom()
	if !e.idle || e.now >= e.lateAt {
		e.assign()
		e.idle = true
	}
	e.rechoke()
	e.serve()
	e.announce()
}

func (e *Engine) rangeWanted(in *Input) {
	if int(in.File) >= len(e.files) || in.From < 0 || in.To <= in.From || uint64(in.To) > e.files[in.File].Size {
		e.emit(Output{Kind: RangeFailed, Ref: in.Ref, Reason: ReasonBadRange})
		return
	}
	e.picker.Want(uint32(in.Ref), in.File, in.From, in.To)
	e.stale = true
}

// choose makes file the rendition of its track; other files of the same kind of track are no longer fetched ahead.
func (e *Engine) choose(file uint32) {
	if int(file) >= len(e.files) {
		return
	}
	kind := e.title.Files[file].Track
	e.picker.Choose(file, func(other uint32) bool { return e.title.Files[other].Track == kind })
	if kind == TrackVideo {
		e.rendition = file
	}
	e.stale = true
}

func (e *Engine) policy(in *Input) {
	e.sharing = in.Flags&FlagPeers != 0
	e.uploads = e.sharing && in.Flags&FlagUpload != 0
	e.uplink.SetLimit(int64(e.now), int64(in.Length)*1000/8)
	e.chokedAt = 0
	if !e.sharing {
		for len(e.peers) > 0 {
			e.drop(e.peers[len(e.peers)-1], ReasonPolicy)
		}
		if e.announced > 0 {
			e.announced = 0
			e.emit(Output{Kind: Announce, Flags: FlagStopped, From: e.picker.PositionMs(int64(e.now)), File: e.rendition})
		}
	} else if e.announced == 0 {
		e.announceAt = e.now
	}
	e.stale = true
}

// The pace of announces, in microseconds: quick at first, when neighbours matter most.
const (
	announceFirst  = 10_000_000
	announceSteady = 30_000_000
	neighboursGoal = 10 // up to where others are asked for; as newcomers find us too, the mean comes to twice this
)

func (e *Engine) announce() {
	if !e.sharing || e.now < e.announceAt {
		return
	}
	var flags Flags
	if e.announced == 0 {
		flags = FlagStarted
	}
	e.announced++
	wait := Instant(announceSteady)
	if e.announced < 3 && len(e.peers) == 0 {
		wait = announceFirst
	}
	e.announceAt = e.now + wait
	e.emit(Output{Kind: Announce, Flags: flags, From: e.picker.PositionMs(int64(e.now)), File: e.rendition, Length: uint32(max(neighboursGoal-len(e.peers), 0))})
}

func (e *Engine) emit(o Output) { e.out = append(e.out, o) }

// order emits what is to be done with a piece, or with its block at begin.
func (e *Engine) order(kind OutputKind, piece, begin uint32) {
	e.emit(Output{Kind: kind, Piece: piece, Begin: begin})
}

// note tells what happened to whoever draws or counts it.
func (e *Engine) note(kind NoteKind, o Output) {
	o.Kind, o.Note = Note, kind
	e.emit(o)
}

// keep copies b into this Step's arena.
func (e *Engine) keep(b []byte) []byte {
	n := len(e.arena)
	e.arena = append(e.arena, b...)
	return e.arena[n:len(e.arena):len(e.arena)]
}

// chance is the engine's only randomness: splitmix64 from the title's seed (Steele, Lea, Flood, 2014).
type chance struct{ state uint64 }

func (c *chance) seed(s uint64) { c.state = s }

func (c *chance) next() uint32 {
	c.state += 0x9e3779b97f4a7c15
	z := c.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32((z ^ z>>31) >> 32)
}
