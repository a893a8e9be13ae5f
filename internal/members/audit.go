package members

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"essaim/internal/vod"
)

const (
	auditMax  = 100_000 // entries kept: 20 MB
	auditWord = 300     // bytes of one of an entry's texts
)

// record writes an entry of the audit log, in the transaction that it tells of.
func (m *Members) record(ctx context.Context, tx *sql.Tx, by vod.Actor, action, subject, detail string) error {
	r, err := tx.ExecContext(ctx, `
		INSERT INTO audit (at_ms, actor, name, device, action, subject, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		m.clock().UnixMilli(), by.Member, cut(by.Name), cut(by.Device), action, cut(subject), cut(detail))
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	number, err := r.LastInsertId()
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM audit WHERE number <= $1`, number-auditMax); err != nil {
		return fmt.Errorf("shorten audit log: %w", err)
	}
	return nil
}

// cut bounds a text of the log, at a character's end.
func cut(s string) string { return cutTo(s, auditWord) }

// cutTo is s in at most so many bytes, and an ellipsis.
func cutTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
