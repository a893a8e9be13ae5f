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
