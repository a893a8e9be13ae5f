// Package vod holds the service's own words (titles, members, tickets) and the interfaces in which its departments
// meet. It must stay free of technology: no SQL, no HTTP, no WebRTC. Departments import it and never one another.
package vod

import (
	"errors"
	"time"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
)

// Codes of what users can see. Everything else wraps and is internal.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("sign in first")
	ErrForbidden    = errors.New("not allowed")
	ErrInvalid      = errors.New("invalid")
	ErrConflict     = errors.New("conflict")
	ErrUnavailable  = errors.New("unavailable, try again")
)

// Kind says what a file of a title carries.
type Kind string

// The kinds of file.
const (
	Video Kind = "video"
	Audio Kind = "audio"
)

// TitleID is a title's stable public name: lower-case letters, digits and hyphens, 1 to 64 characters.
type TitleID string

// Title is what a catalogue shows, with the version now published.
type Title struct {
	ID         TitleID
	Name       string
	Summary    string
	Open       bool   // anyone may watch, and standard BitTorrent clients may join; otherwise members only
	Poster     string // key of a small object: lower-case SHA-256, empty for none
	Subtitles  []Subtitle
	Storyboard *Storyboard // nil for none
	Published  time.Time
	About      About
	Version    Version
}

// Version is one immutable packaging of a title: a hybrid torrent (BEP 52) whose files are its renditions.
type Version struct {
	ID          string // lower-case v2 info hash
	InfoHashV1  bt.InfoHash
	InfoHashV2  bt.InfoHashV2
	PieceLength uint32
	DurationMs  uint32
	Scheme      Scheme // of all files' encryption; Clear for open titles
	Files       []File // in torrent order, pads left out
	Manifest    string // DASH on-demand manifest whose BaseURLs are the files' paths
}

// File is one rendition or audio track: a CMAF track file, stored under its v2 root.
type File struct {
	Path       string // within the torrent, for instance "video-720p.mp4"
	Size       int64
	Root       bt.Digest
	FirstPiece uint32
	Kind       Kind
	Codec      string // RFC 6381, for instance "avc1.64001f"
	Bandwidth  int    // bits per second, as in the manifest
	Width      int
	Height     int
	KID        KID // of the key that opens it; zero where it is in the clear
	Index      index.Index
}

// Member is a person with an account.
type Member struct {
	ID   string
	Name string
	Role Role
}

// DeviceSession is one signed-in browser or program.
type DeviceSession struct {
	ID      string
	Member  Member
	Device  string // what it is, in words; empty where that is not known
	Expires time.Time
}

// Audience is the service that a ticket opens.
type Audience string

// The audiences. A play session has a ticket for each of the first four.
const (
	AudienceSwarm    Audience = "swarm"
	AudienceMedia    Audience = "media"
	AudienceRelay    Audience = "relay"
	AudienceLicense  Audience = "license"
	AudienceOperator Audience = "operator"
	// AudienceRehearsal lets a rehearsal's connections into the tracker beside the limit of their address, and opens
	// nothing else.
	AudienceRehearsal Audience = "rehearsal"
)

// Ticket is a signed permission, as read after its signature, audience and time were checked. It holds identifiers only.
type Ticket struct {
	Audience    Audience
	PlaySession string
	Member      string         // empty: a stranger, for open titles only
	Rehearsal   RehearsalLabel // of a rehearsal's session; empty for everyone else's
	Device      string
	Title       TitleID
	Version     string
	Expires     time.Time
}
