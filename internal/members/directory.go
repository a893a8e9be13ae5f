package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"essaim/internal/vod"
)

// directoryPage is how many members, or entries of the audit log, are read at once, at most.
const directoryPage = 200

// Directory is the operators' view of the members. It is safe for concurrent use.
type Directory struct{ m *Members }

var (
	_ vod.Directory = Directory{}
	_ vod.AuditLog  = Directory{}
)

// Directory is the part of the accounts that belongs to operators.
func (m *Members) Directory() Directory { return Directory{m} }

// likely makes a pattern of LIKE that finds s anywhere, whatever is in it; \ escapes.
func likely(s string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) + "%"
}

// List implements vod.Directory.
func (d Directory) List(ctx context.Context, like, after string, most int) ([]vod.MemberEntry, error) {
	now := d.m.clock()
	rows, err := d.m.db.Reader().QueryContext(ctx, `
		SELECT m.id, m.name, m.role, m.created_ms, s.plan_id, s.state, s.until_ms,
			(SELECT COUNT(*) FROM device_sessions x WHERE x.member_id = m.id AND x.expires_ms > $1)
		FROM members m JOIN subscriptions s ON s.member_id = m.id
		WHERE m.name_key > $2 AND m.name_key LIKE $3 ESCAPE '\' ORDER BY m.name_key LIMIT $4`,
		now.UnixMilli(), nameKey(after), likely(nameKey(like)), min(max(most, 1), directoryPage))
	if err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	defer rows.Close()
	list := []vod.MemberEntry{}
	for rows.Next() {
		var e vod.MemberEntry
		var created, until int64
		if err := rows.Scan(&e.ID, &e.Name, &e.Role, &created, &e.Plan, &e.State, &until, &e.Devices); err != nil {
			return nil, fmt.Errorf("list members: %w", err)
		}
		e.Created, e.Until = fromMs(created), fromMs(until)
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return list, nil
}

// ByName is the member of that name; vod.ErrNotFound.
func (d Directory) ByName(ctx context.Context, name string) (vod.Member, error) {
	member, _, err := d.m.byName(ctx, nameKey(name))
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return vod.Member{}, fmt.Errorf("member: %w", err)
	}
	return member, nil
}

// change runs f on the member of that ID, in a transaction; vod.ErrNotFound.
func (d Directory) change(ctx context.Context, id string, f func(tx *sql.Tx, member vod.Member) error) error {
	return d.m.write(ctx, func(tx *sql.Tx) error {
		member := vod.Member{ID: id}
		err := tx.QueryRowContext(ctx, `SELECT name, role FROM members WHERE id = $1`, id).Scan(&member.Name, &member.Role)
		if errors.Is(err, sql.ErrNoRows) {
			err = vod.ErrNotFound
		}
		if err != nil {
			return err
		}
		return f(tx, member)
	})
}

// keepOne refuses to go on without an operator.
func keepOne(ctx context.Context, tx *sql.Tx, member *vod.Member) error {
	if member.Role != vod.Operator {
		return nil
	}
	var others int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM members WHERE role = 'operator' AND id <> $1`, member.ID).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return fmt.Errorf("%w: %s is the last operator; make another first", vod.ErrConflict, member.Name)
	}
	return nil
}

// SetRole implements vod.Directory.
func (d Directory) SetRole(ctx context.Context, by vod.Actor, member string, role vod.Role) error {
	if !role.May(vod.Viewer) {
		return fmt.Errorf("set role: %w: a role is viewer, editor or operator", vod.ErrInvalid)
	}
	err := d.change(ctx, member, func(tx *sql.Tx, m vod.Member) error {
		if role == m.Role {
			return nil
		}
		if err := keepOne(ctx, tx, &m); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE members SET role = $1 WHERE id = $2`, role, member); err != nil {
			return err
		}
		return d.m.record(ctx, tx, by, "member.role", m.Name, fmt.Sprintf("%s, was %s", role, m.Role))
	})
	if err != nil {
		return fmt.Errorf("set role: %w", err)
	}
	return nil
}

// SignOut implements vod.Directory.
func (d Directory) SignOut(ctx context.Context, by vod.Actor, member string) (n int, err error) {
	err = d.change(ctx, member, func(tx *sql.Tx, m vod.Member) error {
		ended, err := d.m.endSessions(ctx, tx, `member_id = $1`, member)
		if err != nil {
			return err
		}
		n = int(ended)
		return d.m.record(ctx, tx, by, "member.sign-out", m.Name, fmt.Sprintf("%d sessions", n))
	})
	if err != nil {
		return 0, fmt.Errorf("sign member out: %w", err)
	}
	return n, nil
}

// Remove implements vod.Directory.
func (d Directory) Remove(ctx context.Context, by vod.Actor, member string) error {
	err := d.change(ctx, member, func(tx *sql.Tx, m vod.Member) error {
		if err := keepOne(ctx, tx, &m); err != nil {
			return err
		}
		if _, err := d.m.endSessions(ctx, tx, `member_id = $1`, member); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM members WHERE id = $1`, member); err != nil {
			return err
		}
		return d.m.record(ctx, tx, by, "member.remove", m.Name, "")
	})
	if err != nil {
		return fmt.Errorf("remove member: %w", err)
	}
	return nil
}

// Record implements vod.AuditLog.
func (d Directory) Record(ctx context.Context, by vod.Actor, action, subject, detail string) error {
	return d.m.db.Write(ctx, func(tx *sql.Tx) error { return d.m.record(ctx, tx, by, action, subject, detail) })
}

// Entries implements vod.AuditLog.
func (d Directory) Entries(ctx context.Context, before int64, most int) ([]vod.AuditEntry, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	rows, err := d.m.db.Reader().QueryContext(ctx, `
		SELECT number, at_ms, actor, name, device, action, subject, detail FROM audit WHERE number < $1
		ORDER BY number DESC LIMIT $2`, before, min(max(most, 1), directoryPage))
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	defer rows.Close()
	list := []vod.AuditEntry{}
	for rows.Next() {
		var e vod.AuditEntry
		var at int64
		if err := rows.Scan(&e.Number, &at, &e.By.Member, &e.By.Name, &e.By.Device, &e.Action, &e.Subject, &e.Detail); err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		e.At = fromMs(at)
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return list, nil
}
