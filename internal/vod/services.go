package vod

import (
	"context"
	"time"

	"essaim/internal/bt"
)

// Titles is the catalogue, as its readers see it. Only published titles are visible.
type Titles interface {
	// List returns published titles, newest first; with openOnly, the open ones.
	List(ctx context.Context, openOnly bool) ([]Title, error)
	// Get returns ErrNotFound for what is not published.
	Get(ctx context.Context, id TitleID) (Title, error)
	// ByRoot finds the published title that holds a file with this v2 root.
	ByRoot(ctx context.Context, root bt.Digest) (Title, File, error)
	// BySwarm finds the published title whose v1, or truncated v2, info hash this is.
	BySwarm(ctx context.Context, h bt.InfoHash) (Title, error)
	// Torrent returns the metainfo file of a title's current version.
	Torrent(ctx context.Context, id TitleID) ([]byte, error)
}

// Objects says whom small objects are for: a poster is everybody's who knows its digest, what an open title has beside its
// film too; the subtitles and storyboards of members' titles are not.
type Objects interface {
	// ObjectUse returns ErrNotFound for what no published title has.
	ObjectUse(ctx context.Context, sha256 string) (ObjectUse, error)
}

// ObjectUse is whom a small object is for.
type ObjectUse struct {
	Open   bool
	Titles []TitleID // otherwise, the titles that have it: for whoever has a ticket to one, or is signed in
}

// Publisher puts finished versions before the public, atomically.
type Publisher interface {
	// Publish replaces or creates the title; ErrConflict where the ID is taken by another title.
	Publish(ctx context.Context, t Title, torrent []byte) error
}

// Members answers who somebody is.
type Members interface {
	// SignIn opens a device session; ErrUnauthorized, or a LaterError after too many tries for a name or from a network.
	SignIn(ctx context.Context, name, password string, from Visit) (token string, s DeviceSession, err error)
	SignOut(ctx context.Context, token string) error
	Session(ctx context.Context, token string) (DeviceSession, error) // ErrUnauthorized
	// RevokeMember ends all device sessions of the member of that name, and with them their tickets, and says how many
	// there were; ErrNotFound for no such member. They may sign in again.
	RevokeMember(ctx context.Context, name string) (int, error)
	// RevokePlay ends the tickets of one play session, known or not.
	RevokePlay(ctx context.Context, session string) error
}

// Tickets issues and checks tickets.
type Tickets interface {
	Issue(t Ticket) (string, error)
	// Check returns ErrUnauthorized for anything but a valid, unexpired ticket of that audience that was not revoked;
	// with it ErrTicketExpired or ErrTicketRevoked where nothing else is wrong.
	Check(audience Audience, token string) (Ticket, error)
}

// Relays issues what relays' servers ask for.
type Relays interface {
	// RelayCredentials are those of a play session until its ticket's end; the zero end is ten minutes from now.
	RelayCredentials(t Ticket) (RelayTicket, error)
}

// Traffic is the origin's own count of media bytes, taken where they are written to sockets.
type Traffic interface {
	// Snapshot returns the bytes sent since the service started.
	Snapshot() TrafficReport
}

// TrafficReport counts media bytes sent by the origin. What rehearsals received is in ByRehearsal alone.
type TrafficReport struct {
	OriginBytes int64
	ByTitle     map[TitleID]int64
	BySession   map[string]int64 // play session → bytes
	ByRehearsal map[RehearsalLabel]int64
}

// Throttle bounds the origin's media bytes per second; 0 is no bound. It may change at any time.
type Throttle interface {
	SetRate(bytesPerSecond int64)
	Rate() int64
}

// SwarmDoor is the tracker as its operator sees it.
type SwarmDoor interface {
	// SetStopped closes every socket and refuses new ones, or opens again.
	SetStopped(stopped bool)
	Stopped() bool
	// Swarms says how many peers each swarm has.
	Swarms() map[bt.InfoHash]int
}

// SwarmNews is what a tracker tells its open sockets at once, without waiting for their next announce.
type SwarmNews interface {
	// Revoke closes the sockets of whoever shows a revoked ticket, lets none such in again, and has everybody who may be
	// connected to them told to drop them.
	Revoke(list []Revocation)
	// SetPeers is the operator's switch: without peers, all of our viewers are told to drop theirs, nobody is introduced
	// and nothing is relayed.
	SetPeers(allowed bool)
	// SetOff is the same for some titles and some networks, until it is called again: our viewers there are told to drop
	// theirs, and are introduced to nobody.
	SetOff(titles []TitleID, networks Networks)
}

// Clock is the time of departments; tests inject their own.
type Clock func() time.Time

// KeyMedia is the object key of a media file with this v2 root.
func KeyMedia(root bt.Digest) string { return "media/" + root.String() }

// KeyLeaves is the object key of that file's leaf layer: 32 bytes for each 16 KiB block, in order.
func KeyLeaves(root bt.Digest) string { return "leaves/" + root.String() }

// KeySmall is the object key of a small content-addressed object (posters), named by its SHA-256.
func KeySmall(sha256 string) string { return "small/" + sha256 }
