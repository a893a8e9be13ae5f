package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// writeExtras replaces the title's subtitles and storyboard.
func writeExtras(ctx context.Context, tx *sql.Tx, t *vod.Title) error {
	for _, table := range []string{"subtitles", "storyboards"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE title_id = $1`, t.ID); err != nil {
			return fmt.Errorf("remove the old %s: %w", table, err)
		}
	}
	for i, s := range t.Subtitles {
		if _, err := tx.ExecContext(ctx, `INSERT INTO subtitles (title_id, position, lang, label, object) VALUES ($1, $2, $3, $4, $5)`,
			t.ID, i, s.Lang, s.Label, s.Object); err != nil {
			return fmt.Errorf("write subtitle: %w", err)
		}
	}
	if b := t.Storyboard; b != nil {
		if _, err := tx.ExecContext(ctx, `INSERT INTO storyboards (title_id, object, interval_ms, pictures, across, width, height)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, t.ID, b.Object, b.IntervalMs, b.Pictures, b.Across, b.Width, b.Height); err != nil {
			return fmt.Errorf("write storyboard: %w", err)
		}
	}
	return nil
}

var _ vod.Objects = (*Library)(nil)

// ObjectUse implements vod.Objects. What belongs to titles outside of their windows, or withdrawn, is nobody's, but a poster:
// editors see those.
func (l *Library) ObjectUse(ctx context.Context, sha256 string) (use vod.ObjectUse, err error) {
	rows, err := l.db.Reader().QueryContext(ctx, `SELECT '', 1 FROM titles WHERE poster = $1
		UNION SELECT t.id, t.open FROM titles t WHERE`+shown+`AND (
			t.id IN (SELECT title_id FROM subtitles WHERE object = $1) OR t.id IN (SELECT title_id FROM storyboards WHERE object = $1))`,
		sha256, l.clock().UnixMilli())
	if err != nil {
		return use, fmt.Errorf("whom object %s is for: %w", sha256, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id vod.TitleID
		var open bool
		if err := rows.Scan(&id, &open); err != nil {
			return use, fmt.Errorf("whom object %s is for: %w", sha256, err)
		}
		use.Open = use.Open || open
		if id != "" {
			use.Titles = append(use.Titles, id)
		}
	}
	if err := rows.Err(); err != nil {
		return use, fmt.Errorf("whom object %s is for: %w", sha256, err)
	}
	if !use.Open && len(use.Titles) == 0 {
		return use, fmt.Errorf("object %s: %w", sha256, vod.ErrNotFound)
	}
	return use, nil
}

// readExtras adds the title's subtitles and storyboard.
func readExtras(ctx context.Context, tx sqlstore.Querier, t *vod.Title) error {
	rows, err := tx.QueryContext(ctx, `SELECT lang, label, object FROM subtitles WHERE title_id = $1 ORDER BY position`, t.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s vod.Subtitle
		if err := rows.Scan(&s.Lang, &s.Label, &s.Object); err != nil {
			return err
		}
		t.Subtitles = append(t.Subtitles, s)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	var b vod.Storyboard
	err = tx.QueryRowContext(ctx, `SELECT object, interval_ms, pictures, across, width, height FROM storyboards WHERE title_id = $1`, t.ID).
		Scan(&b.Object, &b.IntervalMs, &b.Pictures, &b.Across, &b.Width, &b.Height)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		t.Storyboard = &b
	}
	return err
}
