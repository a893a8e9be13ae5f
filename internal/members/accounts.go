package members

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"essaim/internal/vod"
)

// Accounts is what people do with their own accounts. It is safe for concurrent use.
type Accounts struct{ m *Members }

var _ vod.Accounts = Accounts{}

// Accounts is the part of the accounts that belongs to their owners.
func (m *Members) Accounts() Accounts { return Accounts{m} }

const (
	sightingEvery = time.Minute      // a session that is used is noted so often
	sightingsKept = 30 * time.Second // before they are written
	sightingsMax  = 20_000           // between two writings: 2 MB
)

// sightings are the sessions seen since the last were written: a page's every request must not write to the database. The
// zero value is empty.
type sightings struct {
	mu      sync.Mutex
	at      map[string]time.Time // by session, not written yet
	noted   map[string]time.Time // by session, lately
	written time.Time
}

func (s *sightings) note(session string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at, s.noted = map[string]time.Time{}, map[string]time.Time{}
	}
	if last, ok := s.noted[session]; ok && now.Sub(last) < sightingEvery {
		return
	}
	if len(s.noted) >= sightingsMax {
		clear(s.noted)
	}
	s.noted[session] = now
	if len(s.at) < sightingsMax {
		s.at[session] = now
	}
}

// of is when the session was seen, if that is not written yet.
func (s *sightings) of(session string) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[session]
	return at, ok
}

// take returns what there is to write, when it is time for it.
func (s *sightings) take(now time.Time) map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.at) == 0 || now.Sub(s.written) < sightingsKept {
		return nil
	}
	all := s.at
	s.at, s.written = map[string]time.Time{}, now
	return all
}

// writeSightings writes down which sessions were seen, now and then. What cannot be written is forgotten: it is told to
// owners for their orientation, and nothing else.
func (m *Members) writeSightings(ctx context.Context, log *slog.Logger) {
	all := m.sightings.take(m.clock())
	if all == nil {
		return
	}
	err := m.db.Write(ctx, func(tx *sql.Tx) error {
		for session, at := range all {
			if _, err := tx.ExecContext(ctx, `UPDATE device_sessions SET seen_ms = $2 WHERE id = $1 AND seen_ms < $2`, session,
				at.UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		log.WarnContext(ctx, "write down which devices were seen", "error", err)
	}
}

// Devices implements vod.Accounts.
func (a Accounts) Devices(ctx context.Context, member string) ([]vod.Device, error) {
	rows, err := a.m.db.Reader().QueryContext(ctx, `
		SELECT id, device, created_ms, CASE WHEN seen_ms > created_ms THEN seen_ms ELSE created_ms END, expires_ms FROM device_sessions
		WHERE member_id = $1 AND expires_ms > $2`, member, a.m.clock().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer rows.Close()
	list := []vod.Device{}
	for rows.Next() {
		var d vod.Device
		var opened, seen, expires int64
		if err := rows.Scan(&d.ID, &d.Name, &opened, &seen, &expires); err != nil {
			return nil, fmt.Errorf("list devices: %w", err)
		}
		d.Opened, d.Seen, d.Expires = fromMs(opened), fromMs(seen), fromMs(expires)
		if at, ok := a.m.sightings.of(d.ID); ok && at.After(d.Seen) {
			d.Seen = at.UTC()
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	slices.SortFunc(list, func(x, y vod.Device) int {
		return cmp.Or(y.Seen.Compare(x.Seen), y.Opened.Compare(x.Opened), strings.Compare(x.ID, y.ID))
	})
	return list, nil
}

// actorOf is the owner of a device session.
func actorOf(s *vod.DeviceSession) vod.Actor {
	return vod.Actor{Member: s.Member.ID, Name: s.Member.Name, Device: s.Device}
}

// EndDevice implements vod.Accounts.
func (a Accounts) EndDevice(ctx context.Context, s vod.DeviceSession, id string) error {
	err := a.m.write(ctx, func(tx *sql.Tx) error {
		n, err := a.m.endSessions(ctx, tx, `id = $1 AND member_id = $2`, id, s.Member.ID)
		if err == nil && n == 0 {
			err = vod.ErrNotFound
		}
		if err != nil {
			return err
		}
		return a.m.record(ctx, tx, actorOf(&s), "account.end-device", s.Member.Name, "")
	})
	if err != nil {
		return fmt.Errorf("end device session: %w", err)
	}
	return nil
}

// EndDevices implements vod.Accounts.
func (a Accounts) EndDevices(ctx context.Context, s vod.DeviceSession) (n int, err error) {
	err = a.m.write(ctx, func(tx *sql.Tx) error {
		ended, err := a.m.endSessions(ctx, tx, `member_id = $1`, s.Member.ID)
		if err != nil {
			return err
		}
		n = int(ended)
		return a.m.record(ctx, tx, actorOf(&s), "account.end-devices", s.Member.Name, fmt.Sprintf("%d sessions", n))
	})
	if err != nil {
		return 0, fmt.Errorf("end device sessions: %w", err)
	}
	return n, nil
}

// hash is a password's, made when one of the few places to hash in is free; vod.ErrInvalid for one that cannot be.
func (m *Members) hash(ctx context.Context, password string) (hash string, err error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	err = m.hashing(ctx, func() (err error) {
		hash, err = m.hashed(password)
		return err
	})
	return hash, err
}

// SetPassword implements vod.Accounts.
func (a Accounts) SetPassword(ctx context.Context, s vod.DeviceSession, current, password string) error {
	if err := a.setPassword(ctx, &s, current, password); err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	return nil
}

// Confirm implements vod.Accounts.
func (a Accounts) Confirm(ctx context.Context, s vod.DeviceSession, password string) error {
	if _, err := a.confirm(ctx, &s, password); err != nil {
		return fmt.Errorf("confirm password: %w", err)
	}
	return nil
}

// confirm refuses with vod.ErrUnauthorized what is not the present password, and returns that one's hash.
func (a Accounts) confirm(ctx context.Context, s *vod.DeviceSession, password string) (hash string, err error) {
	m := a.m
	leave, err := m.enter()
	if err != nil {
		return "", err
	}
	defer leave()
	// Whoever finds a device signed in has as few tries at its owner's password as at the door.
	key := nameKey(s.Member.Name)
	if wait := m.tries.begin(key); wait > 0 {
		return "", &vod.LaterError{After: wait}
	}
	_, hash, err = m.byName(ctx, key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", vod.ErrUnauthorized
	}
	if err != nil {
		return "", err
	}
	match := false
	if len(password) <= passwordMax {
		if err := m.hashing(ctx, func() (err error) {
			match, err = m.matching(password, hash)
			return err
		}); err != nil {
			return "", err
		}
	}
	if !match {
		return "", fmt.Errorf("%w: that is not the present password", vod.ErrUnauthorized)
	}
	m.tries.succeed(key)
	return hash, nil
}

func (a Accounts) setPassword(ctx context.Context, s *vod.DeviceSession, current, password string) error {
	m := a.m
	if err := checkPassword(password); err != nil {
		return err
	}
	old, err := a.confirm(ctx, s, current)
	if err != nil {
		return err
	}
	hash, err := m.hash(ctx, password)
	if err != nil {
		return err
	}
	return m.write(ctx, func(tx *sql.Tx) error {
		// Of two who change it at once, the second no longer knows the present one.
		n, err := affected(tx.ExecContext(ctx, `UPDATE members SET password_hash = $1 WHERE id = $2 AND password_hash = $3`, hash,
			s.Member.ID, old))
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: that is not the present password", vod.ErrUnauthorized)
		}
		if err != nil {
			return err
		}
		if _, err := m.endSessions(ctx, tx, `member_id = $1 AND id <> $2`, s.Member.ID, s.ID); err != nil {
			return err
		}
		// A link that somebody had made before would undo the change.
		if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE member_id = $1`, s.Member.ID); err != nil {
			return err
		}
		return m.record(ctx, tx, actorOf(s), "account.password", s.Member.Name, "")
	})
}

// SignUp implements vod.Accounts. Where there is no mail by which to settle it elsewhere, that a name is taken cannot be
// hidden from who wants it: the answer costs what a new account costs, and a network gets so few that they are worth nothing.
func (a Accounts) SignUp(ctx context.Context, name, password string, from vod.Visit) (token string, s vod.DeviceSession, err error) {
	token, s, err = a.signUp(ctx, name, password, from)
	if err != nil {
		return "", vod.DeviceSession{}, fmt.Errorf("sign up: %w", err)
	}
	return token, s, nil
}

func (a Accounts) signUp(ctx context.Context, name, password string, from vod.Visit) (token string, s vod.DeviceSession, err error) {
	m := a.m
	name = strings.TrimSpace(name)
	if err := errors.Join(checkName(name), checkPassword(password)); err != nil {
		return "", s, err
	}
	leave, err := m.enter()
	if err != nil {
		return "", s, err
	}
	defer leave()
	if wait := m.signUps.begin(networkKey(from.Network)); wait > 0 {
		return "", s, &vod.LaterError{After: wait}
	}
	if wait := m.taken.begin(from.Network); wait > 0 {
		m.signUps.undo(networkKey(from.Network))
		return "", s, &vod.LaterError{After: wait}
	}
	defer func() {
		if !errors.Is(err, vod.ErrConflict) {
			m.taken.undo(from.Network)
		}
	}()
	hash, err := m.hash(ctx, password)
	if err != nil {
		return "", s, err
	}
	err = m.write(ctx, func(tx *sql.Tx) error {
		member := vod.Member{ID: newID(), Name: name, Role: vod.Viewer}
		if err := m.signUpIn(ctx, tx, vod.Actor{Member: member.ID, Name: name, Device: from.Device}, member, hash, vod.PlanStandard); err != nil {
			return err
		}
		token, s, err = m.insertSession(ctx, tx, member, from)
		return err
	})
	return token, s, err
}

// signUpIn writes a new member, in a transaction; vod.ErrConflict for a name that is taken.
func (m *Members) signUpIn(ctx context.Context, tx *sql.Tx, by vod.Actor, member vod.Member, hash, plan string) error {
	var there int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM members WHERE name_key = $1`, nameKey(member.Name)).Scan(&there)
	if err == nil {
		return fmt.Errorf("%w: there is a member of that name already", vod.ErrConflict)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return m.insert(ctx, tx, by, member, hash, plan)
}
