// Package announce is the codec of WebTorrent's tracker protocol, JSON over WebSocket, both ways: clients append a
// Request and parse a Message, trackers parse a Request and append a Reply, a Relayed, a Scrape or a Failure.
//
// It must get right: binary strings, in which each byte is one code point (latin1) and a length of exactly 20 is
// part of the syntax, since one malformed offer_id makes other clients drop their whole tracker connection; the
// bounds on size, depth and numbers, so that no message costs more than reading it once; and that nothing is passed
// on which was not read, so that what a tracker relays is always well formed. It is pure: no network, no clock.
package announce

import (
	"errors"

	"essaim/internal/bt"
)

// Bounds of the protocol as we speak it.
const (
	// MessageMax is the largest message either way, in bytes.
	MessageMax = 64 << 10
	// SDPMax is the largest session description, in bytes; those of data channels take less than 2 KiB.
	SDPMax = 8 << 10
	// OffersMax is the most offers that one announce may hold (the reference tracker's bound).
	OffersMax = 82
	// ScrapeMax is the most info hashes that one scrape may name.
	ScrapeMax = 64
	// TicketMax is the longest ticket, in bytes.
	TicketMax = 4 << 10
	// MeetMax is the most introductions, and the most revocations, that one reply may hold.
	MeetMax = 64
	// OutcomesMax is the most outcomes that one announce may hold.
	OutcomesMax = 64
	// depthMax is how deep values may nest; the protocol itself needs four.
	depthMax = 16
	// numberMax bounds every count, 2⁵³: what JavaScript counts exactly.
	numberMax = 1 << 53
	// textMax is the longest failure or warning that is read, in bytes.
	textMax = 1 << 10
)

// Unknown is the value of Left and NumWant when the client did not say.
const Unknown = -1

// OfferID names one offer. The offerer chooses it at random.
type OfferID [20]byte

// Event is what an announce tells about its sender.
type Event uint8

// The events. Whatever else a client writes is EventUpdate.
const (
	EventUpdate Event = iota
	EventStarted
	EventStopped
	EventCompleted
	EventPaused // BEP 21: has what it wants, and stays to upload
)

// Kind says which of the forms of a client's message a Request is.
type Kind uint8

// The kinds of Request, each with the fields that it uses beside InfoHash and PeerID.
const (
	// KindAnnounce: Event, Uploaded, Downloaded, Left, NumWant, Offers, Viewer.
	KindAnnounce Kind = iota
	// KindOffer, our own viewers' form: To, OfferID, SDP. An offer to the one peer that the tracker introduced.
	KindOffer
	// KindAnswer: To (who offered), OfferID, SDP.
	KindAnswer
	// KindScrape: InfoHashes, and no PeerID.
	KindScrape
	// KindStill, our own viewers' form, where Introductions.Still allows it: nothing but that the peer is still there, and all else as
	// it said and would be by now: its play head has moved with the clock. It is answered if it is refused, and else need not be.
	KindStill
)

// Request is a message from a client to a tracker.
type Request struct {
	Kind       Kind
	InfoHash   bt.InfoHash
	PeerID     bt.PeerID
	Event      Event
	Uploaded   int64 // bytes
	Downloaded int64 // bytes
	Left       int64 // bytes; 0: a seed; Unknown: the client has no metadata yet
	NumWant    int   // introductions wanted; Unknown: as many as the tracker thinks right
	Offers     []Offer
	To         bt.PeerID
	OfferID    OfferID
	SDP        string
	Text       Text // of the same; set by ParseRequestInto instead of SDP
	InfoHashes []bt.InfoHash
	Viewer     *Viewer // our extension; nil for any other client

	// HasInfoHash is set by ParseRequest, also when it fails; AppendRequest does not look at it.
	HasInfoHash bool

	viewer *Viewer // to be used again by ParseRequestInto
}

// Offer is a speculative offer, for whomever the tracker chooses.
type Offer struct {
	ID   OfferID
	SDP  string
	Text Text // set by ParseRequestInto instead of SDP
}

// Text is a JSON string as it stands in a message, quotes and escapes included, of which only the end has been found: it is read
// with Unquote, or by who knows what to expect. It is part of the message, and holds no longer than that.
type Text []byte

// Viewer is what one of our own viewers adds to an announce, under "essaim". It then sends no speculative offers:
// the tracker names whom to meet and the viewer makes an offer to each (KindOffer).
type Viewer struct {
	Ticket     string // for the audience "swarm"; empty: none
	Text       []byte // the same, unquoted; set by ParseRequestInto instead of Ticket
	PositionMs int64  // play head, milliseconds of film
	Rendition  int    // file index of the rendition played
	UplinkKbps int    // what it can upload, kbit/s; 0: unknown
	// Outcomes are what became of introductions, those not told before.
	Outcomes []Outcome

	still bool // the message is of KindStill
}

// Outcome says what became of a connection to a peer that the tracker introduced.
type Outcome struct {
	PeerID bt.PeerID
	Fate   Fate
}

// Fate is what became of an introduction.
type Fate uint8

// The fates, in the order in which a connection passes through them.
const (
	// FateConnected: the channel opened.
	FateConnected Fate = iota
	// FateAnswer: the offer was not answered.
	FateAnswer
	// FateICE: no path was found (RFC 8445).
	FateICE
	// FateDTLS: there was a path, and the handshake on it failed (RFC 8827).
	FateDTLS
	// FateChannel: the connection stood, and no data channel opened.
	FateChannel
	// FateBudget: one of the two had no connection to spare.
	FateBudget
)

// fates are the words that stand for them in messages.
var fates = [...]string{"connected", "answer", "ice", "dtls", "channel", "budget"}

// String is the word for a fate in messages.
func (f Fate) String() string {
	if int(f) < len(fates) {
		return fates[f]
	}
	return "unknown"
}

// Message is a message from a tracker to a client: exactly one field is set.
type Message struct {
	Reply   *Reply
	Relayed *Relayed
	Scrape  *Scrape
	Failure *Failure
}

// Reply answers an announce. Messages of KindOffer and KindAnswer have no reply.
type Reply struct {
	InfoHash   bt.InfoHash
	Interval   int // seconds until the next announce; 0: not said
	Complete   int // seeds, the client included
	Incomplete int // other peers, the client included
	Warning    string
	Viewer     *Introductions // our extension; nil from any other tracker
}

// Introductions is what our tracker adds to the reply to one of our own viewers, under "essaim".
type Introductions struct {
	Meet    []Meet
	Revoked []bt.PeerID // peers to drop at once
	// PeersOff: the operator forbids peers from now on. All are to be dropped, and none to be met.
	PeersOff bool
	Cohort   Cohort
	// Still, if it is not 0, lets the viewer renew its announce on this connection by a message of KindStill. The tracker says
	// something at least every so many seconds then, so that a viewer who hears nothing knows it for dead.
	Still int

	far bool // Relayed's, while a message is read
}

// Cohort is the viewer's place among those who are in step with it.
type Cohort struct {
	ID    uint32 // 0: it is in none
	Place uint32 // from 0
	Size  uint32 // so far
}

// Meet names a peer to connect to.
type Meet struct {
	PeerID bt.PeerID
	Offer  bool // we make the offer; false: an offer will come
	Far    bool // it is in another network than we, as far as the tracker knows
}

// Relayed is another peer's offer or answer, passed on by the tracker.
type Relayed struct {
	InfoHash bt.InfoHash
	From     bt.PeerID
	OfferID  OfferID
	Answer   bool // false: an offer
	Far      bool // of an offer to one of our own viewers: as in Meet; told under "essaim"
	SDP      string
}

// Scrape answers a scrape, in the order of the request.
type Scrape struct {
	Files       []ScrapeFile
	MinInterval int // seconds between scrapes; 0: not said
}

// ScrapeFile counts one swarm.
type ScrapeFile struct {
	InfoHash   bt.InfoHash
	Complete   int
	Incomplete int
	Downloaded int
}

// Failure says that a request was refused. The socket may stay open.
type Failure struct {
	Scrape      bool // the refused request was a scrape
	Reason      string
	InfoHash    bt.InfoHash
	HasInfoHash bool // false where the request could not be read that far
}

// Errors of parsing. Their texts are what a tracker answers as "failure reason". All else that Parse returns wraps ErrSyntax.
var (
	ErrSyntax     = errors.New("invalid JSON")
	ErrTooLarge   = errors.New("message too large")
	ErrAction     = errors.New("invalid action")
	ErrInfoHash   = errors.New("invalid info_hash")
	ErrPeerID     = errors.New("invalid peer_id")
	ErrToPeerID   = errors.New("invalid to_peer_id")
	ErrOfferID    = errors.New("invalid offer_id")
	ErrOffer      = errors.New("invalid offer")
	ErrAnswer     = errors.New("invalid answer")
	ErrOffers     = errors.New("too many offers")
	ErrNumber     = errors.New("number out of range")
	ErrExtension  = errors.New("invalid essaim extension")
	ErrScrape     = errors.New("name 1 to 64 info hashes to scrape")
	ErrIncomplete = errors.New("to_peer_id without offer or answer")
)
