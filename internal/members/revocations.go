package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"essaim/internal/vod"
)

const (
	// followEvery is how often a node looks for revocations that another program wrote: tickets end within 5 s of it.
	followEvery = time.Second
	// followPause is the least time between two batches, so that many who sign out at once are told of together.
	followPause = 500 * time.Millisecond
	// playSessionMax is the longest name of a play session, in bytes.
	playSessionMax = 64
)

// endSessions deletes the device sessions that where names, as a sign-out does, and has their tickets revoked. It belongs to
// a transaction, and says how many there were.
func (m *Members) endSessions(ctx context.Context, tx *sql.Tx, where string, args ...any) (int64, error) {
	return m.endSessionsFor(ctx, tx, vod.EndSignedOut, where, args...)
}

// endSessionsFor is endSessions for any reason.
func (m *Members) endSessionsFor(ctx context.Context, tx *sql.Tx, why vod.PlayEnd, where string, args ...any) (int64, error) {
	now := m.clock()
	if _, err := tx.ExecContext(ctx, `DELETE FROM revocations WHERE until_ms <= $1`, now.UnixMilli()); err != nil {
		return 0, err
	}
	// where is one of this package's own texts; its parameters are numbered from $1.
	ended, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO revocations (device, play_session, until_ms, why)
		SELECT id, '', $%d, $%d FROM device_sessions WHERE %s`, len(args)+1, len(args)+2, where),
		append(slices.Clip(args), now.Add(vod.RevocationLife).UnixMilli(), string(why))...)
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM streams WHERE device IN (SELECT id FROM device_sessions WHERE `+where+`)`,
		args...); err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM device_sessions WHERE `+where, args...); err != nil {
		return 0, err
	}
	return ended.RowsAffected()
}

// revoke adds a revocation within a transaction.
func (m *Members) revoke(ctx context.Context, tx *sql.Tx, r vod.Revocation) error {
	now := m.clock()
	if _, err := tx.ExecContext(ctx, `DELETE FROM revocations WHERE until_ms <= $1`, now.UnixMilli()); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO revocations (device, play_session, title, why, until_ms) VALUES ($1, $2, $3, $4, $5)`,
		r.Device, r.PlaySession, string(r.Title), string(r.Reason()), now.Add(vod.RevocationLife).UnixMilli())
	return err
}

// RevokeMember implements vod.Members.
func (m *Members) RevokeMember(ctx context.Context, name string) (int, error) {
	var n int64
	err := m.write(ctx, func(tx *sql.Tx) error {
		var id string
		err := tx.QueryRowContext(ctx, `SELECT id FROM members WHERE name_key = $1`, nameKey(name)).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("%w: there is no member of that name", vod.ErrNotFound)
		}
		if err == nil {
			n, err = m.endSessionsFor(ctx, tx, vod.EndRevoked, `member_id = $1`, id)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("revoke member: %w", err)
	}
	return int(n), nil
}

// RevokePlay implements vod.Members. A name that no play session can have is vod.ErrInvalid.
func (m *Members) RevokePlay(ctx context.Context, session string) error {
	return m.EndPlay(ctx, session, vod.EndRevoked)
}

// RevokeDevice ends the tickets of one device session, known or not: an edge's, which has none of the members'.
func (m *Members) RevokeDevice(ctx context.Context, device string) error {
	if device == "" || len(device) > playSessionMax {
		return fmt.Errorf("revoke device: %w: no device has that name", vod.ErrInvalid)
	}
	if err := m.write(ctx, func(tx *sql.Tx) error { return m.revoke(ctx, tx, vod.Revocation{Device: device}) }); err != nil {
		return fmt.Errorf("revoke device: %w", err)
	}
	return nil
}

// write is a transaction that may revoke: whoever follows in this program looks at once.
func (m *Members) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	if err := m.db.Write(ctx, f); err != nil {
		return err
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
	return nil
}

// Revocations returns those still in force that were made after number last, in order, and the number of the latest.
func (m *Members) Revocations(ctx context.Context, last int64) ([]vod.Revocation, int64, error) {
	rows, err := m.db.Reader().QueryContext(ctx,
		`SELECT number, device, play_session, title, why FROM revocations WHERE number > $1 AND until_ms > $2 ORDER BY number`, last,
		m.clock().UnixMilli())
	if err != nil {
		return nil, last, fmt.Errorf("read revocations: %w", err)
	}
	defer rows.Close()
	var list []vod.Revocation
	for rows.Next() {
		var r vod.Revocation
		if err := rows.Scan(&last, &r.Device, &r.PlaySession, &r.Title, &r.Why); err != nil {
			return nil, last, fmt.Errorf("read revocations: %w", err)
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, last, fmt.Errorf("read revocations: %w", err)
	}
	return list, last, nil
}

// Follow tells of every revocation, in batches: first of those in force, before it begins to wait, then of new ones, within a
// second where another program made them. It returns when ctx ends. ready, if not nil, is called once after the first.
func (m *Members) Follow(ctx context.Context, log *slog.Logger, ready func(), tell func([]vod.Revocation)) {
	var last int64
	failed := false
	every := time.NewTicker(followEvery)
	defer every.Stop()
	for first := true; ; first = false {
		list, to, err := m.Revocations(ctx, last)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			log.ErrorContext(ctx, "revocations cannot be read; until they can, tickets live to their own end", "error", err)
		case err == nil && failed:
			log.InfoContext(ctx, "revocations can be read again")
		}
		failed = err != nil
		if err == nil {
			m.reached.now(m.clock())
		}
		if err == nil && len(list) > 0 {
			last = to
			tell(list)
		}
		if first && ready != nil {
			ready()
		}
		m.writeSightings(ctx, log)
		m.lapse(ctx, log)
		pause := time.NewTimer(followPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		select {
		case <-every.C:
		case <-m.changed:
		case <-ctx.Done():
			return
		}
	}
}

const (
	// awayAfter is how long the database is silent before this service takes its issuer for away: five looks.
	awayAfter = 5 * time.Second
	// awayStill is how long that lasts after it has come back, for every player to have renewed its tickets: their heartbeats
	// come every 30 s, and within 15 s where one was lost.
	awayStill = 2 * time.Minute
)

// reached knows when the database was read last. Whoever issues and renews tickets needs it, so that by this the services
// beside know whether tickets can be renewed.
type reached struct {
	mu    sync.Mutex
	last  time.Time // zero: nobody follows
	since time.Time // when it was read last before it was last away
	back  time.Time // and first after
}

// now notes that it was read.
func (r *reached) now(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) > awayAfter {
		r.since, r.back = r.last, now
	}
	r.last = now
}

// Away implements vod.Issuer. It is fed by Follow: who does not follow hears that the issuer is there.
func (m *Members) Away() (time.Time, bool) {
	now := m.clock()
	r := &m.reached
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.last.IsZero():
		return time.Time{}, false
	case now.Sub(r.last) > awayAfter:
		if !r.back.IsZero() && r.last.Sub(r.back) < awayStill { // it came back only for a moment
			return r.since, true
		}
		return r.last, true
	case !r.back.IsZero() && now.Sub(r.back) < awayStill:
		return r.since, true
	}
	return time.Time{}, false
}
