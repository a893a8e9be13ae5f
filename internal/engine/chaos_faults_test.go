package engine_test

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/engine"
)

// fault names one thing that can go wrong in a chaos run. Every run draws which are on, and how strong (1 to 3).
type fault string

// The faults. A run's line names those that were on: `drop=2 lie=1 …`.
const (
	// Of the network, per message on its way in either direction.
	netDrop      fault = "drop"      // a message is lost for good, or the channel falls silent and dies later
	netDuplicate fault = "duplicate" // a message comes twice
	netReorder   fault = "reorder"   // a message comes after those that follow it
	netCorrupt   fault = "corrupt"   // a bit is flipped: prefix, id, fields, payload or handshake
	netTruncate  fault = "truncate"  // a message lacks its end, and the stream goes on with the next
	netDelay     fault = "delay"     // all that comes from now on is seconds late
	netCut       fault = "cut"       // the channel ends in the middle of everything
	netSlow      fault = "thin"      // links of a few kB/s

	// Of peers: what some of the neighbours do.
	peerLie     fault = "lie"       // wrong bytes
	peerStall   fault = "stall"     // requests are taken and not answered
	peerHalf    fault = "half"      // a payload begins and does not end
	peerFlood   fault = "flood"     // messages without end
	peerClaim   fault = "claim"     // haves for what it lacks
	peerFlap    fault = "flap"      // choke and unchoke at random
	peerUnasked fault = "unasked"   // pieces that nobody asked for, or twice
	peerReject  fault = "reject"    // every request is refused
	peerNoise   fault = "noise"     // extension messages of random content, unknown messages, hash requests
	peerAbuse   fault = "abuse"     // requests out of bounds, out of turn, and twice
	peerPlain   fault = "plain"     // no fast extension, no extension protocol
	peerShake   fault = "handshake" // wrong info hash, wrong peer ID, wrong protocol, none, or too late
	peerLeave   fault = "leave"     // goes without a word, or with one, and comes back
	peerGreedy  fault = "greedy"    // asks for everything and reads nothing
	peerForget  fault = "forget"    // takes back what it said it had (BEP 54)
	peerForge   fault = "forge"     // hashes that do not lead to the root, or that nobody asked for
	peerPromise fault = "promise"   // says that it fetches pieces, and never does; lies about its play head

	// Of the origin, per fetch.
	originError  fault = "error"  // 500, 502, 503, or the network
	originRefuse fault = "refuse" // 403, 404, 410
	originHang   fault = "hang"   // an answer that never comes, or stops
	originSlow   fault = "slow"   // some kB/s
	originShort  fault = "short"  // a body that ends early
	originWrong  fault = "wrong"  // wrong bytes
	originHashes fault = "hashes" // hash requests refused, unanswered, or answered wrongly

	// Of the host: its disk, its processor, its clock.
	diskFull    fault = "full"    // Store is answered by Evicted
	diskSlow    fault = "disk"    // Stored comes late
	diskEvict   fault = "evict"   // pieces vanish
	diskRot     fault = "rot"     // what an earlier visit left is torn, or another piece's
	diskHang    fault = "deaf"    // Check is answered late or never
	hostDigest  fault = "digest"  // digests come late
	hostRoom    fault = "room"    // blocks that are to be digested are dropped in silence, for want of room
	hostCount   fault = "count"   // the tracker's and the clock's measures (swarm, round trips) are wild
	clockJump   fault = "jump"    // minutes pass at once
	clockRepeat fault = "repeat"  // the clock stands still for a while
	clockBack   fault = "back"    // the clock runs backwards
	clockTardy  fault = "tardy"   // Tick comes late
	userSeek    fault = "seek"    // seeks
	userSwitch  fault = "switch"  // rendition switches
	userRead    fault = "readers" // several readers of random ranges, cancelled at random, some out of bounds
	userPolicy  fault = "policy"  // sharing and uploading go on and off, uplink limits change
	userRevoke  fault = "revoke"  // neighbours are revoked
	userPause   fault = "pause"   // pauses, and other rates
)

var allFaults = []fault{
	netDrop, netDuplicate, netReorder, netCorrupt, netTruncate, netDelay, netCut, netSlow,
	peerLie, peerStall, peerHalf, peerFlood, peerClaim, peerFlap, peerUnasked, peerReject, peerNoise, peerAbuse, peerPlain, peerShake,
	peerLeave, peerGreedy, peerForget, peerPromise, peerForge,
	originError, originRefuse, originHang, originSlow, originShort, originWrong, originHashes,
	diskFull, diskSlow, diskEvict, diskRot, diskHang, hostDigest, hostRoom, hostCount, clockJump, clockRepeat, clockBack, clockTardy,
	userSeek, userSwitch, userRead, userPolicy, userRevoke, userPause,
}

// passing are the faults that end when a run heals: from then on the origin is healthy and the host sound, whatever the
// network and the neighbours do, and every range must come in bounded time.
var passing = []fault{
	originError, originRefuse, originHang, originSlow, originShort, originWrong, originHashes,
	diskFull, diskSlow, diskEvict, diskHang, hostDigest, hostRoom, clockJump, clockRepeat, clockBack, clockTardy,
	userSeek, userSwitch, userPolicy, userRevoke, userPause,
}

// faultSet is which faults are on, and how strong.
type faultSet map[fault]int

// stream is a source of chance of its own for each purpose, so that a new fault does not change what old seeds mean.
func stream(seed uint64, purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// drawFaults chooses for a seed: few faults in some runs, most in others, for what many hide, few show.
func drawFaults(seed uint64, without []string) faultSet {
	s := faultSet{}
	share := stream(seed, "share").Float64()
	share *= share
	for _, f := range allFaults {
		r := stream(seed, "fault "+string(f))
		if r.Float64() < 0.05+0.7*share && !slices.Contains(without, string(f)) {
			s[f] = 1 + r.IntN(3)
		}
	}
	return s
}

func (s faultSet) String() string {
	var parts []string
	for _, f := range allFaults {
		if s[f] > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", f, s[f]))
		}
	}
	if len(parts) == 0 {
		return "no fault"
	}
	return strings.Join(parts, " ")
}

// hits draws whether a fault strikes; at strength 3 it does so with the given chance, at 1 with a quarter of it.
func (s faultSet) hits(r *rand.Rand, f fault, chance float64) bool {
	switch s[f] {
	case 0:
		return false
	case 1:
		chance /= 4
	case 2:
		chance /= 2
	}
	return r.Float64() < chance
}

// any reports whether one of the faults is on.
func (s faultSet) any(list ...fault) bool {
	return slices.ContainsFunc(list, func(f fault) bool { return s[f] > 0 })
}

// chaosFilm draws a title: sizes, piece length, renditions and rates differ, down to files of less than a block.
func chaosFilm(r *rand.Rand) *film {
	seconds := 16 + r.IntN(50)
	pieceLength := uint32(bt.BlockSize) << r.IntN(5)
	f := &film{title: engine.Title{PieceLength: pieceLength, InfoHash: bt.InfoHash{1}, InfoHashV2: bt.InfoHash{2}}}
	rate := 8_000 + r.IntN(70_000)
	if r.IntN(8) == 0 { // long beside the window, so that what is kept must be let go again
		seconds, rate = 400+r.IntN(500), 2_000+r.IntN(8_000)
	}
	next := uint32(0)
	for k, bps := range []int{rate, rate / 2, 500 + rate/12} {
		head := 100 + r.IntN(1000)
		data := make([]byte, head+seconds*bps)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		var leaves []bt.Digest
		for at := 0; at < len(data); at += bt.BlockSize {
			leaves = append(leaves, sha256.Sum256(data[at:min(at+bt.BlockSize, len(data))]))
		}
		tree := bt.NewTree(leaves, int(pieceLength/bt.BlockSize))
		track := engine.TrackVideo
		if k == 2 {
			track = engine.TrackAudio
		}
		f.files, f.trees, f.leaves = append(f.files, data), append(f.trees, tree), append(f.leaves, leaves)
		f.title.Files = append(f.title.Files, engine.TitleFile{Size: uint64(len(data)), Root: tree.Root(), FirstPiece: next, Track: track})
		next += uint32((len(data) + int(pieceLength) - 1) / int(pieceLength))
		var x index.Index
		for s := 0; s < seconds; s += 2 {
			d := min(2, seconds-s)
			x = append(x, index.Segment{From: uint64(head + s*bps), To: uint64(head + (s+d)*bps), StartMs: uint32(s * 1000), DurationMs: uint32(d * 1000)})
		}
		f.indexes = append(f.indexes, x)
	}
	return f
}

// pieceSize is the number of the file's bytes in a piece.
func (f *film) pieceSize(piece uint32) int {
	file, at, _ := f.block(piece, 0)
	return min(int(f.title.PieceLength), len(f.files[file])-at)
}

// piece is the true content of a piece.
func (f *film) piece(piece uint32) []byte {
	file, at, _ := f.block(piece, 0)
	return f.files[file][at : at+f.pieceSize(piece)]
}

// bytesOf is what an honest peer answers to a request: the piece's bytes, and zeros past the file's end (BEP 47).
func (f *film) bytesOf(piece, begin, length uint32) []byte {
	b := make([]byte, length)
	if p := f.piece(piece); int(begin) < len(p) {
		copy(b, p[begin:])
	}
	return b
}

func (f *film) seconds() int {
	x := f.indexes[0]
	return int(x[len(x)-1].StartMs+x[len(x)-1].DurationMs) / 1000
}
