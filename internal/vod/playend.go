package vod

import (
	"context"
	"errors"
	"time"
)

// PlayEnd is why a play session ended although its player would have gone on. Players say it in plain words, so these
// words never change.
type PlayEnd string

// Why play sessions end.
const (
	EndRevoked      PlayEnd = "revoked"       // by the operator
	EndSignedOut    PlayEnd = "signed_out"    // of the device session that began it
	EndPlanEnded    PlayEnd = "plan_ended"    // ErrPlanEnded
	EndNotIncluded  PlayEnd = "not_included"  // ErrNotIncluded, after a change of plan
	EndNotAvailable PlayEnd = "not_available" // ErrNotAvailable: the title's window has closed
	EndWithdrawn    PlayEnd = "withdrawn"     // the title is published no more
	EndTakenOver    PlayEnd = "taken_over"    // the member watches elsewhere instead
	EndPlanChanged  PlayEnd = "plan_changed"  // the plan gives less than the session began with: the player is to begin another
	EndLeft         PlayEnd = "left"          // the player said goodbye: nobody is there to be told
)

// PlayEndOf is why a play session ends of which Entitlements says err; empty for nil, and for errors that end nothing,
// such as a database that does not answer.
func PlayEndOf(err error) PlayEnd {
	switch {
	case errors.Is(err, ErrPlanEnded):
		return EndPlanEnded
	case errors.Is(err, ErrNotIncluded):
		return EndNotIncluded
	case errors.Is(err, ErrNotAvailable):
		return EndNotAvailable
	}
	return ""
}

// PlayEnds ends running play sessions on all nodes, from any program that shares their database: within five seconds their
// tickets open nothing, their streams count no more, and their players stop and say why.
type PlayEnds interface {
	// EndPlay ends one play session, known or not.
	EndPlay(ctx context.Context, session string, why PlayEnd) error
	// EndMember ends those of a member's streams for which over returns a reason, and says how many. After a change of
	// plan: over asks Entitlements about the stream's title, and returns PlayEndOf the error. over must not use the database
	// to write.
	EndMember(ctx context.Context, member string, over func(Stream) PlayEnd) (int, error)
	// EndTitle tells all players of a title, strangers' too, to stop. Call it once the title is published no more: from
	// then on its tickets open nothing.
	EndTitle(ctx context.Context, title TitleID, why PlayEnd) error
}

// PlayNews is what a node tells the players of running play sessions at once, without waiting for their next heartbeat.
type PlayNews interface {
	// Revoke tells the players whom the revocations concern that their sessions have ended, and why.
	Revoke(list []Revocation)
}

// Issuer says whether the service that issues and renews tickets can be reached. While it cannot, a ticket that was good
// when it went away is accepted for TicketGrace beyond its end: viewers could not renew it.
type Issuer interface {
	// Away reports since when the issuer has not been reached; ok is false while it can be.
	Away() (since time.Time, ok bool)
}

// TicketGrace is how long a ticket is good beyond its end while its issuer is away.
const TicketGrace = time.Hour

// Over reports whether a ticket that was checked before is good no more at now, its revocation aside. issuer may be nil: it
// is always there then.
func (t *Ticket) Over(now time.Time, issuer Issuer) bool {
	if now.Before(t.Expires) {
		return false
	}
	if issuer == nil || !t.graced() || !now.Before(t.Expires.Add(TicketGrace)) {
		return true
	}
	// Who let a ticket expire while it could still be renewed had stopped watching.
	since, away := issuer.Away()
	return !away || !t.Expires.After(since)
}

// graced reports whether t's audience is one of those that carry a running film.
func (t *Ticket) graced() bool {
	return t.Audience == AudienceMedia || t.Audience == AudienceSwarm || t.Audience == AudienceRelay
}
