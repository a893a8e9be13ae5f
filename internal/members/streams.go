package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	// streamLapse is how long a stream counts that is not heard of. Players send a heartbeat every 30 s, hidden ones once a
	// minute, and what is written of them may be a minute old; the rest is for heartbeats that get lost, and for nodes whose
	// clocks differ.
	streamLapse = 3 * time.Minute
	// streamWrite is how old the written time of a stream may grow before a heartbeat writes it again: each write waits for
	// the disk.
	streamWrite = time.Minute
)

var (
	_ vod.Streams  = (*Members)(nil)
	_ vod.PlayEnds = (*Members)(nil)
)

// Begin implements vod.Streams. A stream of the same device and title is replaced: its page was reloaded, or its title is
// watched in two windows, of which the first then stops. Where all places are taken, one that has lapsed makes room. Whoever
// loses their place loses their tickets with it, so that nobody watches who does not count. vod.ErrUnauthorized for no such
// member.
func (m *Members) Begin(ctx context.Context, s vod.Stream, most int) error {
	if s.Session == "" || len(s.Session) > playSessionMax {
		return fmt.Errorf("begin stream: %w: a play session of 1 to %d characters", vod.ErrInvalid, playSessionMax)
	}
	err := m.write(ctx, func(tx *sql.Tx) error {
		// Writing the member's own row makes who else begins for them wait, in databases where writers do not wait anyway.
		locked, err := tx.ExecContext(ctx, `UPDATE members SET name = name WHERE id = $1`, s.Member)
		if err != nil {
			return err
		}
		if n, err := locked.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, vod.ErrUnauthorized)
		}
		open, err := streamsOf(ctx, tx, s.Member)
		if err != nil {
			return err
		}
		now := m.streamTime(open)
		var rest []vod.Stream
		for _, o := range open {
			switch {
			case o.Session == s.Session:
				return m.renew(ctx, tx, s.Session, now)
			case o.Device == s.Device && o.Title == s.Title:
				if err := m.endPlay(ctx, tx, o.Session, vod.EndTakenOver); err != nil {
					return err
				}
			default:
				rest = append(rest, o)
			}
		}
		for len(rest) >= most {
			i := longestSilent(rest)
			if i < 0 || now.Sub(rest[i].Seen) <= streamLapse {
				return fmt.Errorf("%w: %w: %d of %d", vod.ErrConflict, vod.ErrTooManyStreams, len(rest), most)
			}
			if err := m.endPlay(ctx, tx, rest[i].Session, vod.EndTakenOver); err != nil {
				return err
			}
			rest = append(rest[:i], rest[i+1:]...)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO streams (session, member_id, device, title, version, highest, began_ms, seen_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $7)`, s.Session, s.Member, s.Device, string(s.Title), s.Version, s.Highest, now.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("begin stream: %w", err)
	}
	return nil
}

// longestSilent is the index of the stream that was not heard of for longest, -1 for none.
func longestSilent(list []vod.Stream) int {
	at := -1
	for i := range list {
		if at < 0 || list[i].Seen.Before(list[at].Seen) {
			at = i
		}
	}
	return at
}

// streamTime is the time by which a member's streams are judged: this node's, but never before what another has written, so
// that a node whose clock is behind does not take running streams for lapsed once it has renewed one.
func (m *Members) streamTime(open []vod.Stream) time.Time {
	now := m.clock()
	for i := range open {
		if open[i].Seen.After(now) {
			now = open[i].Seen
		}
	}
	return now
}

func (m *Members) renew(ctx context.Context, tx *sql.Tx, session string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE streams SET seen_ms = $1 WHERE session = $2 AND seen_ms < $1`, now.UnixMilli(), session)
	return err
}

// Beat implements vod.Streams. It writes once in streamWrite.
func (m *Members) Beat(ctx context.Context, session string) error {
	var seen int64
	err := m.db.Reader().QueryRowContext(ctx, `SELECT seen_ms FROM streams WHERE session = $1`, session).Scan(&seen)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	now := m.clock()
	if err == nil && now.Sub(time.UnixMilli(seen)) >= streamWrite {
		err = m.db.Write(ctx, func(tx *sql.Tx) error { return m.renew(ctx, tx, session, now) })
	}
	if err != nil {
		return fmt.Errorf("renew stream: %w", err)
	}
	return nil
}

// End implements vod.Streams. The tickets of the play session end as well: who has said goodbye does not go on.
func (m *Members) End(ctx context.Context, session string) error {
	err := m.write(ctx, func(tx *sql.Tx) error {
		ended, err := tx.ExecContext(ctx, `DELETE FROM streams WHERE session = $1`, session)
		if err != nil {
			return err
		}
		if n, err := ended.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return m.revoke(ctx, tx, vod.Revocation{PlaySession: session, Why: vod.EndLeft})
	})
	if err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	return nil
}

// Of implements vod.Streams. Streams that have lapsed are not among them.
func (m *Members) Of(ctx context.Context, member string) ([]vod.Stream, error) {
	all, err := streamsOf(ctx, m.db.Reader(), member)
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	now := m.streamTime(all)
	var open []vod.Stream
	for _, s := range all {
		if now.Sub(s.Seen) <= streamLapse {
			open = append(open, s)
		}
	}
	return open, nil
}

// streamsOf are a member's streams, oldest first, lapsed ones among them.
func streamsOf(ctx context.Context, q sqlstore.Querier, member string) ([]vod.Stream, error) {
	rows, err := q.QueryContext(ctx, `SELECT session, device, title, version, highest, began_ms, seen_ms FROM streams
		WHERE member_id = $1 ORDER BY began_ms, session`, member)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []vod.Stream
	for rows.Next() {
		s := vod.Stream{Member: member}
		var began, seen int64
		if err := rows.Scan(&s.Session, &s.Device, &s.Title, &s.Version, &s.Highest, &began, &seen); err != nil {
			return nil, err
		}
		s.Began, s.Seen = time.UnixMilli(began).UTC(), time.UnixMilli(seen).UTC()
		list = append(list, s)
	}
	return list, rows.Err()
}

// EndPlay implements vod.PlayEnds. A name that no play session can have is vod.ErrInvalid.
func (m *Members) EndPlay(ctx context.Context, session string, why vod.PlayEnd) error {
	if session == "" || len(session) > playSessionMax {
		return fmt.Errorf("end play session: %w: a name of 1 to %d characters", vod.ErrInvalid, playSessionMax)
	}
	err := m.write(ctx, func(tx *sql.Tx) error { return m.endPlay(ctx, tx, session, why) })
	if err != nil {
		return fmt.Errorf("end play session: %w", err)
	}
	return nil
}

// endPlay ends a play session within a transaction.
func (m *Members) endPlay(ctx context.Context, tx *sql.Tx, session string, why vod.PlayEnd) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM streams WHERE session = $1`, session); err != nil {
		return err
	}
	return m.revoke(ctx, tx, vod.Revocation{PlaySession: session, Why: why})
}

// EndMember implements vod.PlayEnds.
func (m *Members) EndMember(ctx context.Context, member string, over func(vod.Stream) vod.PlayEnd) (int, error) {
	open, err := streamsOf(ctx, m.db.Reader(), member)
	if err != nil {
		return 0, fmt.Errorf("end streams: %w", err)
	}
	n := 0
	why := make([]vod.PlayEnd, len(open))
	for i := range open {
		if why[i] = over(open[i]); why[i] != "" {
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	err = m.write(ctx, func(tx *sql.Tx) error {
		for i := range open {
			if why[i] != "" {
				if err := m.endPlay(ctx, tx, open[i].Session, why[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("end streams: %w", err)
	}
	return n, nil
}

// EndTitle implements vod.PlayEnds.
func (m *Members) EndTitle(ctx context.Context, title vod.TitleID, why vod.PlayEnd) error {
	if !title.Valid() {
		return fmt.Errorf("end title: %w: %q", vod.ErrInvalid, title)
	}
	err := m.write(ctx, func(tx *sql.Tx) error {
		if err := m.revoke(ctx, tx, vod.Revocation{Title: title, Why: why}); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM streams WHERE title = $1`, string(title))
		return err
	})
	if err != nil {
		return fmt.Errorf("end title: %w", err)
	}
	return nil
}
