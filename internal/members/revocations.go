package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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

// endSessions deletes the device sessions that where names, and has their tickets revoked. It belongs to a transaction,
// and says how many there were.
func (m *Members) endSessions(ctx context.Context, tx *sql.Tx, where string, args ...any) (int64, error) {
	now := m.clock()
	if _, err := tx.ExecContext(ctx, `DELETE FROM revocations WHERE until_ms <= $1`, now.UnixMilli()); err != nil {
		return 0, err
	}
	// where is one of this package's own texts; its parameters are numbered from $1.
	ended, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO revocations (device, play_session, until_ms)
		SELECT id, '', $%d FROM device_sessions WHERE %s`, len(args)+1, where),
		append(slices.Clip(args), now.Add(vod.RevocationLife).UnixMilli())...)
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM device_sessions WHERE `+where, args...); err != nil {
		return 0, err
	}
	return ended.RowsAffected()
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
			n, err = m.endSessions(ctx, tx, `member_id = $1`, id)
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
	if session == "" || len(session) > playSessionMax {
		return fmt.Errorf("revoke play session: %w: a name of 1 to %d characters", vod.ErrInvalid, playSessionMax)
	}
	err := m.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO revocations (device, play_session, until_ms) VALUES ('', $1, $2)`, session,
			m.clock().Add(vod.RevocationLife).UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("revoke play session: %w", err)
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
		`SELECT number, device, play_session FROM revocations WHERE number > $1 AND until_ms > $2 ORDER BY number`, last,
		m.clock().UnixMilli())
	if err != nil {
		return nil, last, fmt.Errorf("read revocations: %w", err)
	}
	defer rows.Close()
	var list []vod.Revocation
	for rows.Next() {
		var r vod.Revocation
		if err := rows.Scan(&last, &r.Device, &r.PlaySession); err != nil {
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
		if err == nil && len(list) > 0 {
			last = to
			tell(list)
		}
		if first && ready != nil {
			ready()
		}
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
