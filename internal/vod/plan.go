package vod

import (
	"context"
	"errors"
	"time"
)

// Why somebody who is signed in may not watch. They come with ErrForbidden, the last with ErrConflict.
var (
	ErrPlanEnded      = errors.New("the plan has ended")
	ErrNotIncluded    = errors.New("the plan does not include this title")
	ErrNotAvailable   = errors.New("the title is not available now")
	ErrTooManyStreams = errors.New("too many streams at once")
)

// Role is what a member may do in the service.
type Role string

// The roles, each of which may do what the one before may.
const (
	Viewer   Role = "viewer"
	Editor   Role = "editor"   // titles and ingest
	Operator Role = "operator" // everything
)

// May reports whether a member of role r may do what needs the role least.
func (r Role) May(least Role) bool {
	rank := func(r Role) int {
		switch r {
		case Viewer:
			return 1
		case Editor:
			return 2
		case Operator:
			return 3
		}
		return 0
	}
	return rank(r) > 0 && rank(r) >= rank(least)
}

// Entitlement is what a member's plan gives for one title at the moment.
type Entitlement struct {
	Streams int       // at once, at least 1
	Highest Tier      // of the pictures
	Until   time.Time // when it ends by itself at the latest; zero: not before something changes
}

// Entitlements answers what members may watch.
type Entitlements interface {
	// Entitlement is what the member of that ID may watch of a title that is not open. With ErrForbidden: ErrPlanEnded,
	// ErrNotIncluded or ErrNotAvailable; ErrUnauthorized for no such member.
	Entitlement(ctx context.Context, member string, title TitleID) (Entitlement, error)
}

// Stream is a running play session of a member, as the limit of streams counts it.
type Stream struct {
	Session string // the play session
	Member  string
	Device  string
	Title   TitleID
	Version string
	Highest Tier // of the pictures that its player was told it may have; empty where that is not known
	Began   time.Time
	Seen    time.Time // of the last heartbeat
}

// Streams counts the members' running play sessions, all nodes' together.
type Streams interface {
	// Begin opens a stream unless the member has most open already, in one transaction: ErrTooManyStreams. Streams not
	// heard of for some minutes count no more. Beginning the same session again only renews it.
	Begin(ctx context.Context, s Stream, most int) error
	// Beat renews a stream; ErrNotFound for one that ended meanwhile.
	Beat(ctx context.Context, session string) error
	// End closes a stream, known or not.
	End(ctx context.Context, session string) error
	// Of lists a member's open streams, oldest first.
	Of(ctx context.Context, member string) ([]Stream, error)
}
