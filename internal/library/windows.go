package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"essaim/internal/vod"
)

// Windows keeps when titles may be seen. It is safe for concurrent use.
type Windows struct{ l *Library }

var _ vod.Windows = Windows{}

// Windows is the part of the catalogue that editors see, whatever the time.
func (l *Library) Windows() Windows { return Windows{l} }

// List implements vod.Windows.
func (w Windows) List(ctx context.Context) ([]vod.TitleWindow, error) {
	rows, err := w.l.db.Reader().QueryContext(ctx,
		`SELECT id, name, open, published_ms, from_ms, until_ms, withdrawn_ms FROM titles ORDER BY published_ms DESC, id`)
	if err != nil {
		return nil, fmt.Errorf("list windows: %w", err)
	}
	defer rows.Close()
	list := []vod.TitleWindow{}
	for rows.Next() {
		var t vod.TitleWindow
		var published, from, until, withdrawn int64
		if err := rows.Scan(&t.ID, &t.Name, &t.Open, &published, &from, &until, &withdrawn); err != nil {
			return nil, fmt.Errorf("list windows: %w", err)
		}
		t.Published, t.Window = fromMs(published), vod.Window{From: fromMs(from), Until: fromMs(until)}
		t.Withdrawn = fromMs(withdrawn)
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list windows: %w", err)
	}
	return list, nil
}

// Window implements vod.Windows.
func (w Windows) Window(ctx context.Context, id vod.TitleID) (vod.Window, error) {
	var from, until int64
	err := w.l.db.Reader().QueryRowContext(ctx, `SELECT from_ms, until_ms FROM titles WHERE id = $1 AND withdrawn_ms = 0`, id).
		Scan(&from, &until)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return vod.Window{}, fmt.Errorf("window of %s: %w", id, err)
	}
	return vod.Window{From: fromMs(from), Until: fromMs(until)}, nil
}

// SetWindow implements vod.Windows. Outside of it no reader finds the title: its list, its bytes, its swarm and its torrent
// are gone until it opens again. A new version keeps the window.
func (w Windows) SetWindow(ctx context.Context, id vod.TitleID, window vod.Window) error {
	from, until := toMs(window.From), toMs(window.Until)
	if from < 0 || until < 0 || until != 0 && until <= from {
		return fmt.Errorf("window of %s: %w: it must end after it begins", id, vod.ErrInvalid)
	}
	if err := w.update(ctx, `from_ms = $2, until_ms = $3`, id, from, until); err != nil {
		return fmt.Errorf("window of %s: %w", id, err)
	}
	return nil
}

// Withdraw implements vod.Windows. A title that was withdrawn before keeps the date.
func (w Windows) Withdraw(ctx context.Context, id vod.TitleID) error {
	if err := w.update(ctx, `withdrawn_ms = CASE WHEN withdrawn_ms = 0 THEN $2 ELSE withdrawn_ms END`, id,
		w.l.clock().UnixMilli()); err != nil {
		return fmt.Errorf("withdraw %s: %w", id, err)
	}
	return nil
}

// Restore implements vod.Windows.
func (w Windows) Restore(ctx context.Context, id vod.TitleID) error {
	if err := w.update(ctx, `withdrawn_ms = 0`, id); err != nil {
		return fmt.Errorf("restore %s: %w", id, err)
	}
	return nil
}

// update sets columns of the title, by one of this file's own texts; vod.ErrNotFound where there is none. The title's ID is $1.
func (w Windows) update(ctx context.Context, set string, id vod.TitleID, args ...any) error {
	return w.l.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE titles SET `+set+` WHERE id = $1`, append([]any{id}, args...)...)
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		if err == nil && n == 0 {
			err = vod.ErrNotFound
		}
		return err
	})
}

// fromMs reads a time as the database keeps it, 0 for none.
func fromMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// toMs is what fromMs reads.
func toMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
