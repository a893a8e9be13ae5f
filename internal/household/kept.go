package household

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"essaim/internal/vod"
)

// List implements vod.Profiles.
func (p *Profiles) List(ctx context.Context, profile string) ([]vod.TitleID, error) {
	rows, err := p.db.Reader().QueryContext(ctx,
		`SELECT title_id FROM profile_titles WHERE profile_id = $1 ORDER BY added_ms DESC, title_id LIMIT $2`, profile, vod.ListMax)
	if err != nil {
		return nil, fmt.Errorf("list what is kept: %w", err)
	}
	defer rows.Close()
	list := []vod.TitleID{}
	for rows.Next() {
		var id vod.TitleID
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list what is kept: %w", err)
		}
		list = append(list, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list what is kept: %w", err)
	}
	return list, nil
}

// Keep implements vod.Profiles.
func (p *Profiles) Keep(ctx context.Context, m vod.Member, profile string, title vod.TitleID) error {
	return p.write(ctx, "keep "+string(title), m, func(tx *sql.Tx) error {
		if err := owned(ctx, tx, m.ID, profile); err != nil {
			return err
		}
		n := 0
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM profile_titles WHERE profile_id = $1 AND title_id <> $2`, profile,
			title).Scan(&n); err != nil {
			return err
		}
		if n >= vod.ListMax {
			return fmt.Errorf("%w: the list has %d titles", vod.ErrConflict, n)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO profile_titles (profile_id, title_id, added_ms) VALUES ($1, $2, $3)
			ON CONFLICT (profile_id, title_id) DO NOTHING`, profile, title, p.clock().UnixMilli())
		return err
	})
}

// Drop implements vod.Profiles.
func (p *Profiles) Drop(ctx context.Context, profile string, title vod.TitleID) error {
	return p.remove(ctx, "profile_titles", profile, title)
}

const positionColumns = `SELECT title_id, position_ms, duration_ms, audio, subtitles, at_ms FROM watch_positions `

// Positions implements vod.Profiles.
func (p *Profiles) Positions(ctx context.Context, profile string, most int) ([]vod.Position, error) {
	rows, err := p.db.Reader().QueryContext(ctx, positionColumns+`WHERE profile_id = $1 ORDER BY at_ms DESC, title_id LIMIT $2`, profile, most)
	if err != nil {
		return nil, fmt.Errorf("list positions: %w", err)
	}
	defer rows.Close()
	list := []vod.Position{}
	for rows.Next() {
		x, err := scanPosition(rows)
		if err != nil {
			return nil, fmt.Errorf("list positions: %w", err)
		}
		list = append(list, x)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list positions: %w", err)
	}
	return list, nil
}

// Position implements vod.Profiles.
func (p *Profiles) Position(ctx context.Context, profile string, title vod.TitleID) (vod.Position, error) {
	x, err := scanPosition(p.db.Reader().QueryRowContext(ctx, positionColumns+`WHERE profile_id = $1 AND title_id = $2`, profile, title))
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return vod.Position{}, fmt.Errorf("position in %s: %w", title, err)
	}
	return x, nil
}

func scanPosition(row scanner) (x vod.Position, err error) {
	var at int64
	err = row.Scan(&x.Title, &x.PositionMs, &x.DurationMs, &x.Audio, &x.Subtitles, &at)
	x.At = time.UnixMilli(at).UTC()
	return x, err
}

// Save implements vod.Profiles. A clock that goes back, as when another node's is slow, does not keep a position from being
// the newest: whoever speaks last is right.
func (p *Profiles) Save(ctx context.Context, m vod.Member, profile string, x vod.Position) error {
	if x.DurationMs == 0 || !x.Title.Valid() || !vod.ValidLanguage(x.Audio) || !vod.ValidLanguage(x.Subtitles) {
		return fmt.Errorf("save position in %s: %w", x.Title, vod.ErrInvalid)
	}
	x.PositionMs = min(x.PositionMs, x.DurationMs)
	return p.write(ctx, "save position in "+string(x.Title), m, func(tx *sql.Tx) error {
		if err := owned(ctx, tx, m.ID, profile); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO watch_positions (profile_id, title_id, position_ms, duration_ms, audio, subtitles, at_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (profile_id, title_id) DO UPDATE SET position_ms = excluded.position_ms, duration_ms = excluded.duration_ms,
				audio = excluded.audio, subtitles = excluded.subtitles, at_ms = excluded.at_ms`,
			profile, x.Title, x.PositionMs, x.DurationMs, x.Audio, x.Subtitles, p.clock().UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM watch_positions WHERE profile_id = $1 AND title_id <> $2 AND title_id NOT IN (
			SELECT title_id FROM watch_positions WHERE profile_id = $1 AND title_id <> $2 ORDER BY at_ms DESC, title_id LIMIT $3)`,
			profile, x.Title, vod.PositionsMax-1)
		return err
	})
}

// Forget implements vod.Profiles.
func (p *Profiles) Forget(ctx context.Context, profile string, title vod.TitleID) error {
	return p.remove(ctx, "watch_positions", profile, title)
}

func (p *Profiles) remove(ctx context.Context, table, profile string, title vod.TitleID) error {
	err := p.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE profile_id = $1 AND title_id = $2`, profile, title)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget %s: %w", title, err)
	}
	return nil
}
