package engine

import "essaim/internal/bt"

// Instant is a moment on the host's monotonic clock, in microseconds since an epoch of the host's choosing.
type Instant int64

// InputKind names what happened. The set is closed.
type InputKind uint8

// The inputs. Each line lists the fields of Input that carry its meaning; all others are zero.
const (
	_ InputKind = iota
	// TitleOpened: Data = Title.AppendBinary. First, and once.
	TitleOpened
	// IndexLoaded: File, Data = AppendIndex. Where a file's segments lie in time.
	IndexLoaded
	// StoreRestored: Data = big-endian uint32 piece numbers that the host's store already holds, verified. At any time: what
	// was kept of them meanwhile is discarded.
	StoreRestored
	// RangeWanted: Ref = reader, File, From, To (bytes of the file, To exclusive). One range per reader and time.
	RangeWanted
	// RangeCancelled: Ref = reader.
	RangeCancelled
	// Introduced: Peer = a new reference chosen by the host, Data = its 20-byte peer ID. We may dial it.
	Introduced
	// PeerConnected: Peer, Data = the 20-byte peer ID that signalling promised (empty: unknown),
	// Flags&FlagInitiator when we made the offer, Flags&FlagV2 where we are to answer under the v2 info hash, since the peer
	// began with it or can (BEP 52), Flags&FlagFar when the tracker says that it is in another network than ours. A peer that was
	// Introduced keeps its reference.
	PeerConnected
	// PeerClosed: Peer. The channel is gone, or a Dial failed.
	PeerClosed
	// Revoked: Data = 20-byte peer IDs, concatenated, that must be dropped.
	Revoked
	// MessageReceived: Peer, Data = the message without its length prefix. With Flags&FlagHandshake, Data = the
	// 68 bytes of BEP 3's handshake. Of a piece message (id 7) Data = id, index and begin only (9 bytes),
	// Length = the payload's size, sent before the payload has been read; the answer holds Hash or Discard for it.
	MessageReceived
	// SendQueue: Peer, Length = payload and message bytes queued for it and not yet handed to the network. Said when that is
	// above SendQueueLow after a Step that sent to it, and when it has fallen to SendQueueLow or below.
	SendQueue
	// FetchProgress: Ref = fetch, Length = bytes received so far in all.
	FetchProgress
	// FetchDone: Ref. All bytes arrived.
	FetchDone
	// FetchFailed: Ref (a FetchRange or a RequestHashes), Reason = what the source answered: an HTTP status or 0 for the network.
	FetchFailed
	// Hashed: Peer or Ref as in the Hash output, Piece, Begin, Digest = SHA-256 of that block's bytes. The host now keeps the block.
	Hashed
	// HashesReceived: Ref, Data = concatenated 32-byte digests, answering RequestHashes.
	HashesReceived
	// Stored: Piece. It can be read and served from now on.
	Stored
	// Evicted: Piece. It no longer can: the host lost it, or did what Evict said. With Peer, Begin and Length where that was found
	// out by a SendBlock, for which nothing was sent.
	Evicted
	// PlaybackMoved: From = position, To = end of the player's own contiguous buffer (both ms of film),
	// Length = playback rate in thousandths, Flags&FlagPaused.
	PlaybackMoved
	// Seeked: From = new position in ms. A PlaybackMoved may follow.
	Seeked
	// RenditionChosen: File. The rendition that the player now asks for (one input per track).
	RenditionChosen
	// PolicyChanged: Flags&FlagPeers: peers allowed; Flags&FlagUpload: may serve; Length = uplink limit in kbit/s, 0 for none.
	PolicyChanged
	// Tick: the deadline came.
	Tick
	// SwarmCounted: Length = how many peers the tracker counts in the swarm, ourselves among them. File = the cohort of viewers in
	// step that it counts us into (0: it did not say), Piece = our place in it, from 0, Begin = its size.
	SwarmCounted
	// PathMeasured: Peer, Length = the smoothed round-trip time to it in microseconds, 0 for unknown. Said about once a
	// second of each peer that SendBlocks go to, where the host can measure it.
	PathMeasured
	// StoreFound: Data = big-endian uint32 piece numbers that the host's store may hold from earlier visits. Nothing vouches for
	// them: each is digested (Check) before it counts, those first that are needed first.
	StoreFound
	// Checked: Piece, Data = the concatenated SHA-256 digests of its blocks as they are stored, in order, answering Check. No
	// Data: it cannot be read.
	Checked
	// StoreBounded: From = how many bytes the store may hold, To = how many of them ahead of the play head (0: no bound), Data =
	// AppendShelf of what it holds of other files. At any time; the last one holds.
	StoreBounded
	// PieceHashed: Ref, Piece, Data = the SHA-256 of each of the piece's blocks, in order, concatenated, answering HashPiece; no Data: the
	// store does not hold the piece any more.
	PieceHashed
	// InfoLoaded: Data = the title's info dictionary, which the host has checked against both info hashes. Peers who ask get it
	// (BEP 9); without, nobody does.
	InfoLoaded
	inputKinds
)

// SendQueueLow is the length of a peer's queue above which hosts report it (SendQueue), in bytes: one block without its head,
// so that at most one block a peer lies unseen in the host's hands.
const SendQueueLow = 16 << 10

// OutputKind names what the host must do. The set is closed.
type OutputKind uint8

// The outputs. Each line lists the fields of Output that carry its meaning.
const (
	_ OutputKind = iota
	// RangeReady: Ref = reader. Every byte it wanted is verified: stored, or in blocks that the host keeps of a piece which is not whole.
	RangeReady
	// RangeFailed: Ref = reader, Reason.
	RangeFailed
	// FetchRange: Ref = fetch, Source = index of the HTTP source (0: the origin), File, From, To (bytes of the file, whole blocks).
	FetchRange
	// CancelFetch: Ref.
	CancelFetch
	// Dial: Peer. Make an offer to it through the tracker.
	Dial
	// ClosePeer: Peer, Reason.
	ClosePeer
	// Announce: From = play head in ms, File = rendition, Length = how many introductions are wanted, Flags&FlagStarted / FlagCompleted / FlagStopped.
	Announce
	// SendMessage: Peer, Data = the bytes to send, framed already.
	SendMessage
	// SendBlock: Peer, Piece, Begin, Length. The host sends a piece message with the stored bytes; what lies
	// past the file's end within the piece (BEP 47 pads) is zeros.
	SendBlock
	// Discard: Peer, Piece, Begin: skip the payload of the piece message just announced. Peer 0: drop the kept bytes of that block.
	Discard
	// Hash: Piece, Begin, Length; of a payload (Peer) or of a fetch (Ref). Digest the block when all its bytes are there,
	// keep them if none are kept for it, and say Hashed; if some are kept already, drop the new ones and say nothing.
	Hash
	// RequestHashes: Ref, Source, File, Index, Base, Length, Proof: BEP 52's hash request, over HTTP.
	RequestHashes
	// Store: Piece. Verified: move its kept blocks to the store, in place of whatever is there of it; or, after Check, count
	// what is there as the piece. Then say Stored; or, if that cannot be, drop them and say Evicted.
	Store
	// Evict: Piece, verified or found, then say Evicted.
	Evict
	// Note: Note = what, and the fields that its own line names. For logs, reports and drawings; nothing depends on it.
	Note
	// Check: Piece, which was StoreFound. Digest its blocks as they are stored, and say Checked. Until Store nothing of it may be
	// read or served.
	Check
	// EvictFile: Ref = one of the other files that StoreBounded listed. Remove all that is stored of it.
	EvictFile
	// Mark: File, Length = how many viewers its swarm has, Index = how many copies of a piece they hold, in sixteenths. To be
	// written down beside the file's pieces: it comes back in a later visit's StoreBounded.
	Mark
	// HashPiece: Ref, Piece. Digest every block of a stored piece, in the background, and say PieceHashed.
	HashPiece
	outputKinds
)

// NoteKind says what a Note output tells.
type NoteKind uint8

// The notes.
const (
	_ NoteKind = iota
	// NoteBlock: a block's bytes arrived and were digested; Peer (0: an HTTP source), Piece, Begin, Length.
	NoteBlock
	// NotePiece: a piece was verified and stored; Piece, Peer = who gave most of it (0: an HTTP source), Length = its bytes.
	NotePiece
	// NoteRestored: a piece came from the host's cache; Piece, Length.
	NoteRestored
	// NoteEvicted: Piece.
	NoteEvicted
	// NoteSent: a block was handed to a peer; Peer, Piece, Begin, Length.
	NoteSent
	// NoteBadBlock: a block did not match its hash; Peer (0: an HTTP source), Piece, Begin.
	NoteBadBlock
	// NoteBanned: Peer, Data = its peer ID, Reason: ReasonBadData where a hash proved that it lied, ReasonSuspect where it had a part in
	// two pieces that failed.
	NoteBanned
	// NotePeerUp: the handshake succeeded; Peer, Data = its peer ID.
	NotePeerUp
	// NotePeerDown: Peer, Reason.
	NotePeerDown
	// NoteUrgent: a piece had to be asked of the origin because its deadline was near; Piece.
	NoteUrgent
	// NoteWasted: verified or useless bytes arrived twice; Peer (0: an HTTP source), Length.
	NoteWasted
	noteKinds
)

// Reason says why something ended. Zero means that no fault is claimed.
type Reason uint16

// The reasons of ClosePeer, RangeFailed and the notes.
const (
	ReasonNone        Reason = iota
	ReasonProtocol           // it broke BEP 3, 6 or 10
	ReasonBadData            // it sent bytes that their hash refutes, or hashes that do not lead to the root
	ReasonWrongSwarm         // the handshake named another info hash
	ReasonWrongPeer          // the handshake named another peer ID, or our own
	ReasonTimeout            // it was silent for too long
	ReasonFlood              // it asked or said too much
	ReasonPolicy             // sharing is off
	ReasonRevoked            // its right, or ours, ended
	ReasonUseless            // neither has what the other lacks
	ReasonDuplicate          // a second channel to the same peer
	ReasonUnavailable        // no source has it
	ReasonBadRange           // the range lies outside the file
	ReasonSuspect            // it had a part in two pieces that failed, and no leaves could be had to name who lied
)

// Flags qualify an Input or an Output.
type Flags uint16

// The flags.
const (
	FlagInitiator Flags = 1 << iota
	FlagHandshake
	FlagPaused
	FlagPeers
	FlagUpload
	FlagStarted
	FlagCompleted
	FlagStopped
	FlagV2
	FlagFar
)

// PeerRef is the host's name for a connection to a peer, never reused; 0 is nobody.
type PeerRef uint32

// Ref is a reader's, a fetch's or a hash request's name. Readers are named by the host, the others by the engine.
type Ref uint32

// Input is one thing that happened. Kind says which fields count. Data is read during Step and not kept.
type Input struct {
	Kind   InputKind
	Flags  Flags
	Reason Reason
	Peer   PeerRef
	Ref    Ref
	File   uint32
	Piece  uint32
	Begin  uint32
	Length uint32
	From   int64
	To     int64
	Digest bt.Digest
	Data   []byte
}

// Output is one thing to do. Kind says which fields count. Data belongs to the engine and holds until the next Step.
type Output struct {
	Kind   OutputKind
	Note   NoteKind
	Flags  Flags
	Reason Reason
	Source uint16
	Peer   PeerRef
	Ref    Ref
	File   uint32
	Piece  uint32
	Begin  uint32
	Length uint32
	Index  uint32
	Base   uint32
	Proof  uint32
	From   int64
	To     int64
	Data   []byte
}
