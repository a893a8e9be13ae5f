package license

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"essaim/internal/vod"
)

// LicencesConfig is what Licences needs. All but the last group is required.
type LicencesConfig struct {
	Keys   vod.ContentKeys
	Titles vod.Titles
	Clock  vod.Clock
	Log    *slog.Logger

	Plans     vod.Entitlements    // nil: members may have the keys of every title, in every tier
	Upstreams map[string]Upstream // commercial systems by name, for instance "widevine"
}

// Licences answers who gets which key. It is safe for concurrent use.
type Licences struct {
	c     LicencesConfig
	asked limiter

	granted, refused, limited, failed, forwarded atomic.Int64
}

var _ vod.Licences = (*Licences)(nil)

// NewLicences returns licences for the titles of c.
func NewLicences(c LicencesConfig) *Licences {
	return &Licences{c: c, asked: limiter{clock: c.Clock, buckets: map[string]*bucket{}}}
}

// How often keys are asked for. A player asks once, or once for the sound and once for the pictures, and after a reload again.
const (
	sessionBurst = 10
	sessionEvery = 3 * time.Second
	memberBurst  = 60 // all of a member's sessions together
	memberEvery  = time.Second
)

// License implements vod.Licences.
func (l *Licences) License(ctx context.Context, t vod.Ticket, kids []vod.KID) (keys []vod.ContentKey, err error) {
	defer func() { l.count(ctx, "", t, kids, err) }()
	if len(kids) == 0 || len(kids) > most {
		return nil, fmt.Errorf("licence: %w: %d keys asked for", vod.ErrInvalid, len(kids))
	}
	mine, err := l.entitled(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("licence: %w", err)
	}
	var wanted []vod.KID
	for _, kid := range kids {
		if mine[kid] {
			wanted = append(wanted, kid)
			delete(mine, kid) // once is enough
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("licence: %w: none of these keys", vod.ErrForbidden)
	}
	if keys, err = l.c.Keys.Open(ctx, wanted); err != nil {
		return nil, fmt.Errorf("licence: %w: %v", errOurs, err) //nolint:errorlint // the cause's own code would say which keys exist
	}
	return keys, nil
}

// Forward implements vod.Licences. The vendor is told which keys the member may have; what a challenge asks for is for the
// vendor alone to read.
func (l *Licences) Forward(ctx context.Context, system string, t vod.Ticket, challenge []byte) (answer []byte, err error) {
	up, ok := l.c.Upstreams[system]
	if !ok {
		return nil, fmt.Errorf("licence: %w: no upstream for this system", vod.ErrNotFound)
	}
	l.forwarded.Add(1)
	grant := Grant{Title: t.Title, Version: t.Version, Session: t.PlaySession}
	defer func() { l.count(ctx, system, t, grant.KIDs, err) }()
	if len(challenge) == 0 || len(challenge) > challengeMax {
		return nil, fmt.Errorf("licence: %w: a challenge of %d bytes", vod.ErrInvalid, len(challenge))
	}
	mine, err := l.entitled(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("licence: %w", err)
	}
	grant.KIDs = sorted(mine)
	if answer, err = up.License(ctx, challenge, grant); err != nil {
		return nil, fmt.Errorf("licence: %w", err)
	}
	return answer, nil
}

// errOurs marks a fault of the service's: the viewer is to try again, the operator to look.
var errOurs = fmt.Errorf("%w: a key is not at hand", vod.ErrUnavailable)

// entitled are the names of the keys that the ticket's holder may have now.
func (l *Licences) entitled(ctx context.Context, t vod.Ticket) (map[vod.KID]bool, error) {
	if t.Audience != vod.AudienceLicense || t.Member == "" || t.PlaySession == "" || t.Rehearsal != "" {
		return nil, fmt.Errorf("%w: not a member's licence ticket", vod.ErrForbidden)
	}
	wait := max(l.asked.take("session "+t.PlaySession, sessionBurst, sessionEvery), l.asked.take("member "+t.Member, memberBurst, memberEvery))
	if wait > 0 {
		return nil, &vod.LaterError{After: wait}
	}
	title, err := l.c.Titles.Get(ctx, t.Title)
	if errors.Is(err, vod.ErrNotFound) { // withdrawn
		return nil, fmt.Errorf("%w: %w", vod.ErrForbidden, vod.ErrNotAvailable)
	}
	if err != nil {
		return nil, err
	}
	if title.Version.ID != t.Version {
		return nil, fmt.Errorf("%w: the ticket is for another version", vod.ErrForbidden)
	}
	highest := vod.TierUHD
	if l.c.Plans != nil {
		e, err := l.c.Plans.Entitlement(ctx, t.Member, t.Title)
		if err != nil {
			return nil, err
		}
		highest = e.Highest
	}
	mine := map[vod.KID]bool{}
	for i := range title.Version.Files {
		f := &title.Version.Files[i]
		if !f.KID.IsZero() && (f.Tier() == vod.TierAudio || f.Tier().Within(highest)) {
			mine[f.KID] = true
		}
	}
	if len(mine) == 0 {
		return nil, fmt.Errorf("%w: no keys to this title", vod.ErrForbidden)
	}
	return mine, nil
}

// count counts and logs one request: whose and for which keys, never a key.
func (l *Licences) count(ctx context.Context, system string, t vod.Ticket, kids []vod.KID, err error) {
	level, what, counter := slog.LevelInfo, "licence", &l.granted
	var later *vod.LaterError
	switch {
	case err == nil:
	case errors.Is(err, errOurs), errors.Is(err, vod.ErrUpstream):
		level, what, counter = slog.LevelError, "licence failed", &l.failed
	case errors.As(err, &later):
		level, what, counter = slog.LevelWarn, "licence asked for too often", &l.limited
	case errors.Is(err, vod.ErrForbidden), errors.Is(err, vod.ErrUnauthorized), errors.Is(err, vod.ErrInvalid):
		level, what, counter = slog.LevelWarn, "licence refused", &l.refused
	default:
		level, what, counter = slog.LevelError, "licence failed", &l.failed
	}
	counter.Add(1)
	names := make([]string, 0, min(len(kids), most))
	for _, kid := range kids[:min(len(kids), most)] {
		names = append(names, kid.String())
	}
	args := []any{"session", t.PlaySession, "member", t.Member, "title", t.Title, "kids", strings.Join(names, ",")}
	if system != "" {
		args = append(args, "system", system)
	}
	if err != nil {
		args = append(args, "error", err)
	}
	l.c.Log.Log(ctx, level, what, args...)
}

// Report implements vod.Licences.
func (l *Licences) Report() vod.LicenceReport {
	return vod.LicenceReport{
		Granted: l.granted.Load(), Refused: l.refused.Load(), Limited: l.limited.Load(), Failed: l.failed.Load(),
		Forwarded: l.forwarded.Load(),
	}
}
