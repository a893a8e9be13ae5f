package vod

import (
	"errors"
	"time"
)

// What ends a ticket before its swarm, beside not being one. Both come with ErrUnauthorized.
var (
	ErrTicketExpired = errors.New("the ticket has expired")
	ErrTicketRevoked = errors.New("the ticket was revoked")
)

// RevokedError is ErrTicketRevoked with the reason, for players to show.
type RevokedError struct {
	Why PlayEnd
}

// Error is ErrTicketRevoked's.
func (e *RevokedError) Error() string { return ErrTicketRevoked.Error() }

// Unwrap makes a RevokedError an ErrTicketRevoked.
func (e *RevokedError) Unwrap() error { return ErrTicketRevoked }

// Revocation ends tickets before their time: those of one device session, because somebody signed out, or those of one
// play session. Or it says that a title is published no more, whose tickets open nothing anyway: that is for players
// alone. Exactly one of Device, PlaySession and Title is set.
type Revocation struct {
	Device      string
	PlaySession string
	Title       TitleID
	Why         PlayEnd // empty: EndRevoked
}

// Concerns reports whether r ends the session that t is of.
func (r *Revocation) Concerns(t *Ticket) bool {
	return r.Device != "" && r.Device == t.Device || r.PlaySession != "" && r.PlaySession == t.PlaySession ||
		r.Title != "" && r.Title == t.Title
}

// Reason is r's, EndRevoked where none was given.
func (r *Revocation) Reason() PlayEnd {
	if r.Why == "" {
		return EndRevoked
	}
	return r.Why
}

// RevocationLife is how long a revocation is remembered: longer than any ticket that was issued before it, or while it came
// about, is good for.
const RevocationLife = 2 * time.Hour

// Revoked is what is revoked at the moment. The zero value is empty. It is not safe for concurrent use.
type Revoked struct {
	devices, sessions map[string]revoked
	swept             time.Time
}

// revoked is until when something is, and why.
type revoked struct {
	until time.Time
	why   PlayEnd
}

// Add remembers revocations of tickets for RevocationLife from now.
func (r *Revoked) Add(now time.Time, list []Revocation) {
	if r.devices == nil {
		r.devices, r.sessions = map[string]revoked{}, map[string]revoked{}
	}
	if now.Sub(r.swept) > time.Minute {
		r.swept = now
		for _, all := range []map[string]revoked{r.devices, r.sessions} {
			for key, one := range all {
				if !now.Before(one.until) {
					delete(all, key)
				}
			}
		}
	}
	for _, one := range list {
		entry := revoked{now.Add(RevocationLife), one.Reason()}
		switch {
		case one.Device != "" && one.PlaySession == "":
			r.devices[one.Device] = entry
		case one.PlaySession != "" && one.Device == "":
			r.sessions[one.PlaySession] = entry
		}
	}
}

// Covers reports whether a ticket is revoked.
func (r *Revoked) Covers(t *Ticket) bool { return r.Why(t) != "" }

// Why is the reason for which a ticket is revoked; empty for one that is not. A play session's own goes before its device's.
func (r *Revoked) Why(t *Ticket) PlayEnd {
	if t.PlaySession != "" {
		if one, ok := r.sessions[t.PlaySession]; ok {
			return one.why
		}
	}
	if t.Device != "" {
		if one, ok := r.devices[t.Device]; ok {
			return one.why
		}
	}
	return ""
}
