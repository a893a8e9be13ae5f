package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"essaim/internal/vod"
)

const (
	operatorLinkLife = time.Hour
	resetLinkLife    = 24 * time.Hour
	invitationLife   = 7 * 24 * time.Hour // where who invites names no end
	invitationMax    = 90 * 24 * time.Hour

	linksMax = 10_000 // that can be used at once
	noteMax  = 200    // characters
	tokenMax = 100    // bytes of a link's token that are looked at
)

// Links makes one-time links. It is safe for concurrent use.
type Links struct{ m *Members }

var _ vod.Links = Links{}

// Links is the part of the accounts by which others come to have one.
func (m *Members) Links() Links { return Links{m} }

// Invite implements vod.Links. Without a role it invites a viewer, without a plan to the standard one, and without an end
// for a week.
func (l Links) Invite(ctx context.Context, by vod.Actor, want vod.Link) (string, vod.Link, error) {
	now := l.m.clock()
	made := vod.Link{
		ID: newID(), Kind: vod.LinkInvitation, Role: want.Role, Plan: want.Plan, Note: strings.TrimSpace(want.Note), Expires: want.Expires,
	}
	if made.Role == "" {
		made.Role = vod.Viewer
	}
	if made.Plan == "" {
		made.Plan = vod.PlanStandard
	}
	if made.Expires.IsZero() {
		made.Expires = now.Add(invitationLife)
	}
	switch {
	case !made.Role.May(vod.Viewer):
		return "", made, fmt.Errorf("invite: %w: a role is viewer, editor or operator", vod.ErrInvalid)
	case utf8.RuneCountInString(made.Note) > noteMax || !printable(made.Note):
		return "", made, fmt.Errorf("invite: %w: a note has at most %d printable characters", vod.ErrInvalid, noteMax)
	case !made.Expires.After(now) || made.Expires.After(now.Add(invitationMax)):
		return "", made, fmt.Errorf("invite: %w: an invitation ends within %d days", vod.ErrInvalid, invitationMax/(24*time.Hour))
	}
	token, made, err := l.put(ctx, made, func(tx *sql.Tx) error {
		if err := checkSubscription(ctx, tx, &vod.Subscription{Plan: made.Plan, State: vod.Active}); err != nil {
			return err
		}
		return l.m.record(ctx, tx, by, "invitation.add", made.ID, fmt.Sprintf("%s, %s, %q", made.Role, made.Plan, made.Note))
	})
	if err != nil {
		return "", made, fmt.Errorf("invite: %w", err)
	}
	return token, made, nil
}

// Reset implements vod.Links.
func (l Links) Reset(ctx context.Context, by vod.Actor, member string) (string, vod.Link, error) {
	made := vod.Link{ID: newID(), Kind: vod.LinkReset, Member: member, Expires: l.m.clock().Add(resetLinkLife)}
	token, made, err := l.put(ctx, made, func(tx *sql.Tx) error {
		var name string
		err := tx.QueryRowContext(ctx, `SELECT name FROM members WHERE id = $1`, member).Scan(&name)
		if errors.Is(err, sql.ErrNoRows) {
			return vod.ErrNotFound
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE member_id = $1`, member); err != nil {
			return err
		}
		return l.m.record(ctx, tx, by, "member.reset", name, "a link was made")
	})
	if err != nil {
		return "", made, fmt.Errorf("reset password: %w", err)
	}
	return token, made, nil
}

// Operator makes a link for a new account with the role operator, good for an hour, and ends those made before. With first,
// it returns vod.ErrConflict where there is an operator already.
func (l Links) Operator(ctx context.Context, by vod.Actor, first bool) (string, vod.Link, error) {
	made := vod.Link{
		ID: newID(), Kind: vod.LinkOperator, Role: vod.Operator, Plan: vod.PlanStandard, Expires: l.m.clock().Add(operatorLinkLife),
	}
	token, made, err := l.put(ctx, made, func(tx *sql.Tx) error {
		var operators int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM members WHERE role = 'operator'`).Scan(&operators); err != nil {
			return err
		}
		if first && operators > 0 {
			return fmt.Errorf("%w: there is an operator already", vod.ErrConflict)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE kind = 'operator'`); err != nil {
			return err
		}
		return l.m.record(ctx, tx, by, "operator-link.add", made.ID, "")
	})
	if err != nil {
		return "", made, fmt.Errorf("operator's link: %w", err)
	}
	return token, made, nil
}

// put writes a link, once with has agreed, in one transaction.
func (l Links) put(ctx context.Context, made vod.Link, with func(tx *sql.Tx) error) (string, vod.Link, error) {
	token, now := newToken(), l.m.clock()
	made.Expires = fromMs(made.Expires.UnixMilli())
	err := l.m.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM links WHERE expires_ms <= $1`, now.UnixMilli()); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM links`).Scan(&n); err != nil {
			return err
		}
		if n >= linksMax {
			return fmt.Errorf("%w: there are %d open links; withdraw some", vod.ErrConflict, n)
		}
		if err := with(tx); err != nil {
			return err
		}
		var member any
		if made.Member != "" {
			member = made.Member
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO links (token_sha256, id, kind, role, plan_id, member_id, note, created_ms, expires_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			tokenKey(token), made.ID, made.Kind, made.Role, made.Plan, member, made.Note, now.UnixMilli(), made.Expires.UnixMilli())
		return err
	})
	if err == nil && made.Member != "" {
		err = l.m.db.Reader().QueryRowContext(ctx, `SELECT name FROM members WHERE id = $1`, made.Member).Scan(&made.Name)
	}
	if err != nil {
		return "", vod.Link{}, err
	}
	return token, made, nil
}

const linkColumns = `l.id, l.kind, l.role, l.plan_id, l.member_id, COALESCE(m.name, ''), l.note, l.expires_ms
	FROM links l LEFT JOIN members m ON m.id = l.member_id `

func scanLink(row interface{ Scan(dest ...any) error }) (l vod.Link, err error) {
	var member sql.NullString
	var expires int64
	err = row.Scan(&l.ID, &l.Kind, &l.Role, &l.Plan, &member, &l.Name, &l.Note, &expires)
	l.Member, l.Expires = member.String, fromMs(expires)
	return l, err
}

// List implements vod.Links.
func (l Links) List(ctx context.Context) ([]vod.Link, error) {
	rows, err := l.m.db.Reader().QueryContext(ctx, `SELECT `+linkColumns+`WHERE l.expires_ms > $1 ORDER BY l.created_ms DESC, l.id`,
		l.m.clock().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	defer rows.Close()
	list := []vod.Link{}
	for rows.Next() {
		link, err := scanLink(rows)
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		list = append(list, link)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return list, nil
}

// Withdraw implements vod.Links.
func (l Links) Withdraw(ctx context.Context, by vod.Actor, id string) error {
	err := l.m.db.Write(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `DELETE FROM links WHERE id = $1`, id))
		if err == nil && n == 0 {
			err = vod.ErrNotFound
		}
		if err != nil {
			return err
		}
		return l.m.record(ctx, tx, by, "invitation.remove", id, "")
	})
	if err != nil {
		return fmt.Errorf("withdraw link: %w", err)
	}
	return nil
}

// Link implements vod.Accounts. A link that was used, has expired or never was is looked for in the same way.
func (a Accounts) Link(ctx context.Context, token string) (vod.Link, error) {
	l, err := a.link(ctx, token)
	if err != nil {
		return vod.Link{}, fmt.Errorf("one-time link: %w", err)
	}
	return l, nil
}

func (a Accounts) link(ctx context.Context, token string) (vod.Link, error) {
	if len(token) > tokenMax {
		token = ""
	}
	l, err := scanLink(a.m.db.Reader().QueryRowContext(ctx, `SELECT `+linkColumns+`WHERE l.token_sha256 = $1 AND l.expires_ms > $2`,
		tokenKey(token), a.m.clock().UnixMilli()))
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	return l, err
}

// UseLink implements vod.Accounts. Nothing is used up where a name is taken or a password too short.
func (a Accounts) UseLink(ctx context.Context, token, name, password string, from vod.Visit) (session string, s vod.DeviceSession, err error) {
	session, s, err = a.useLink(ctx, token, name, password, from)
	if err != nil {
		return "", vod.DeviceSession{}, fmt.Errorf("use one-time link: %w", err)
	}
	return session, s, nil
}

func (a Accounts) useLink(ctx context.Context, token, name, password string, from vod.Visit) (session string, s vod.DeviceSession, err error) {
	m := a.m
	link, err := a.link(ctx, token)
	if err != nil {
		return "", s, err
	}
	name = strings.TrimSpace(name)
	if link.Kind != vod.LinkReset {
		if err := checkName(name); err != nil {
			return "", s, err
		}
	}
	leave, err := m.enter()
	if err != nil {
		return "", s, err
	}
	defer leave()
	hash, err := m.hash(ctx, password)
	if err != nil {
		return "", s, err
	}
	err = m.write(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, `DELETE FROM links WHERE token_sha256 = $1 AND expires_ms > $2`, tokenKey(token),
			m.clock().UnixMilli()))
		if err == nil && n == 0 { // somebody was faster
			err = vod.ErrNotFound
		}
		if err != nil {
			return err
		}
		member := vod.Member{ID: newID(), Name: name, Role: link.Role}
		by := vod.Actor{Member: member.ID, Name: name, Device: from.Device}
		if link.Kind == vod.LinkReset {
			member, err = m.reset(ctx, tx, link.Member, hash, from)
		} else {
			err = m.signUpIn(ctx, tx, by, member, hash, link.Plan)
		}
		if err != nil {
			return err
		}
		session, s, err = m.insertSession(ctx, tx, member, from)
		return err
	})
	if err == nil && link.Kind == vod.LinkReset {
		m.tries.succeed(nameKey(s.Member.Name))
	}
	return session, s, err
}

// reset sets the password of a member who has lost it, and ends their sessions, in a transaction.
func (m *Members) reset(ctx context.Context, tx *sql.Tx, id, hash string, from vod.Visit) (member vod.Member, err error) {
	err = tx.QueryRowContext(ctx, `SELECT id, name, role FROM members WHERE id = $1`, id).Scan(&member.ID, &member.Name, &member.Role)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return member, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE members SET password_hash = $1 WHERE id = $2`, hash, id); err != nil {
		return member, err
	}
	if _, err := m.endSessions(ctx, tx, `member_id = $1`, id); err != nil {
		return member, err
	}
	by := vod.Actor{Member: id, Name: member.Name, Device: from.Device}
	return member, m.record(ctx, tx, by, "account.reset", member.Name, "by a link")
}
