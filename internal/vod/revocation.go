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

// Revocation ends tickets before their time: those of one device session, because somebody signed out, or those of one
// play session. Exactly one of the two is set.
type Revocation struct {
	Device      string
	PlaySession string
}

// RevocationLife is how long a revocation is remembered: longer than any ticket that was issued before it, or while it came
// about, is good for.
const RevocationLife = 2 * time.Hour

// Revoked is what is revoked at the moment. The zero value is empty. It is not safe for concurrent use.
type Revoked struct {
	until map[Revocation]time.Time
	swept time.Time
}

// Add remembers revocations for RevocationLife from now.
func (r *Revoked) Add(now time.Time, list []Revocation) {
	if r.until == nil {
		r.until = map[Revocation]time.Time{}
	}
	if now.Sub(r.swept) > time.Minute {
		r.swept = now
		for key, until := range r.until {
			if !now.Before(until) {
				delete(r.until, key)
			}
		}
	}
	for _, one := range list {
		if (one.Device == "") != (one.PlaySession == "") {
			r.until[one] = now.Add(RevocationLife)
		}
	}
}

// Covers reports whether a ticket is revoked.
func (r *Revoked) Covers(t *Ticket) bool {
	if t.Device != "" {
		if _, ok := r.until[Revocation{Device: t.Device}]; ok {
			return true
		}
	}
	if t.PlaySession != "" {
		if _, ok := r.until[Revocation{PlaySession: t.PlaySession}]; ok {
			return true
		}
	}
	return false
}
