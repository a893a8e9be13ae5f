// Package household keeps the people of a household: who they are, up to which age they are shown films, what they keep for
// later and where they have come to. It must never hand one member what is another's, keep no more than the bounds of vod
// allow, and not let a child's device out of its limit while there is another profile with one.
package household

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// nameMax bounds a profile's name, in characters.
const nameMax = 40

// Profiles are the profiles in the database. It is safe for concurrent use.
type Profiles struct {
	db    *sqlstore.Store
	clock vod.Clock
}

var _ vod.Profiles = (*Profiles)(nil)

// New returns the profiles kept in db, dated by clock.
func New(db *sqlstore.Store, clock vod.Clock) *Profiles { return &Profiles{db: db, clock: clock} }

// first is the profile that a member has from the start. It is written when there is something to keep for it.
func first(m vod.Member) vod.Profile {
	name := []rune(m.Name)
	return vod.Profile{ID: m.ID, Name: string(name[:min(len(name), nameMax)])}
}

// Of implements vod.Profiles.
func (p *Profiles) Of(ctx context.Context, m vod.Member) ([]vod.Profile, error) {
	list, err := of(ctx, p.db.Reader(), m.ID)
	if err != nil {
		return nil, fmt.Errorf("list profiles: %w", err)
	}
	if len(list) == 0 {
		list = []vod.Profile{first(m)}
	}
	return list, nil
}

func of(ctx context.Context, q sqlstore.Querier, member string) ([]vod.Profile, error) {
	rows, err := q.QueryContext(ctx,
		`SELECT id, name, age_limit, language FROM profiles WHERE member_id = $1 ORDER BY created_ms, id`, member)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []vod.Profile
	for rows.Next() {
		x, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, rows.Err()
}

type scanner interface{ Scan(dest ...any) error }

func scan(row scanner) (x vod.Profile, err error) {
	limit := 0
	err = row.Scan(&x.ID, &x.Name, &limit, &x.Language)
	if limit >= 0 {
		x.Limit = vod.Age{Set: true, Years: limit}
	}
	return x, err
}

// years is how an age is kept: -1 for none.
func years(a vod.Age) int {
	if !a.Set {
		return -1
	}
	return a.Years
}

// Current implements vod.Profiles.
func (p *Profiles) Current(ctx context.Context, d vod.DeviceSession) (vod.Profile, bool, error) {
	x, err := scan(p.db.Reader().QueryRowContext(ctx, `SELECT p.id, p.name, p.age_limit, p.language
		FROM device_profiles d JOIN profiles p ON p.id = d.profile_id WHERE d.device_id = $1 AND p.member_id = $2`, d.ID, d.Member.ID))
	if err == nil {
		return x, true, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return vod.Profile{}, false, fmt.Errorf("current profile: %w", err)
	}
	list, err := p.Of(ctx, d.Member)
	if err != nil {
		return vod.Profile{}, false, err
	}
	return list[0], false, nil
}

// Choose implements vod.Profiles.
func (p *Profiles) Choose(ctx context.Context, d vod.DeviceSession, id string) error {
	return p.write(ctx, "choose profile", d.Member, func(tx *sql.Tx) error {
		if err := owned(ctx, tx, d.Member.ID, id); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO device_profiles (device_id, profile_id) VALUES ($1, $2)
			ON CONFLICT (device_id) DO UPDATE SET profile_id = excluded.profile_id`, d.ID, id)
		return err
	})
}

// Add implements vod.Profiles.
func (p *Profiles) Add(ctx context.Context, m vod.Member, x vod.Profile) (vod.Profile, error) {
	if err := check(&x); err != nil {
		return vod.Profile{}, fmt.Errorf("add profile: %w", err)
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	x.ID = hex.EncodeToString(id)
	err := p.write(ctx, "add profile", m, func(tx *sql.Tx) error {
		n, last := 0, int64(0)
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*), MAX(created_ms) FROM profiles WHERE member_id = $1`, m.ID).Scan(&n, &last); err != nil {
			return err
		}
		if n >= vod.ProfilesMax {
			return fmt.Errorf("%w: there are %d already", vod.ErrConflict, n)
		}
		// Later than all others, though the clock may not have moved: the first made stays the first.
		_, err := tx.ExecContext(ctx, `INSERT INTO profiles (id, member_id, name, age_limit, language, created_ms)
			VALUES ($1, $2, $3, $4, $5, $6)`, x.ID, m.ID, x.Name, years(x.Limit), x.Language, max(p.clock().UnixMilli(), last+1))
		return err
	})
	return x, err
}

// Change implements vod.Profiles.
func (p *Profiles) Change(ctx context.Context, m vod.Member, x vod.Profile) error {
	if err := check(&x); err != nil {
		return fmt.Errorf("change profile: %w", err)
	}
	return p.write(ctx, "change profile", m, func(tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, `UPDATE profiles SET name = $3, age_limit = $4, language = $5 WHERE id = $1 AND member_id = $2`,
			x.ID, m.ID, x.Name, years(x.Limit), x.Language))
	})
}

// Remove implements vod.Profiles. Devices that had chosen the profile fall back to the first; where it had a limit, to the
// one whose limit is the lowest.
func (p *Profiles) Remove(ctx context.Context, m vod.Member, id string) error {
	return p.write(ctx, "remove profile", m, func(tx *sql.Tx) error {
		list, err := of(ctx, tx, m.ID)
		if err != nil {
			return err
		}
		if len(list) == 1 && list[0].ID == id {
			return fmt.Errorf("%w: it is the last", vod.ErrConflict)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE device_profiles SET profile_id = (
				SELECT id FROM profiles WHERE member_id = $2 AND id <> $1 AND age_limit >= 0 ORDER BY age_limit, id LIMIT 1)
			WHERE profile_id IN (SELECT id FROM profiles WHERE id = $1 AND member_id = $2 AND age_limit >= 0)
				AND EXISTS (SELECT 1 FROM profiles WHERE member_id = $2 AND id <> $1 AND age_limit >= 0)`, id, m.ID); err != nil {
			return err
		}
		return one(tx.ExecContext(ctx, `DELETE FROM profiles WHERE id = $1 AND member_id = $2`, id, m.ID))
	})
}

// write runs f in a transaction in which the member's first profile is written down.
func (p *Profiles) write(ctx context.Context, what string, m vod.Member, f func(tx *sql.Tx) error) error {
	err := p.db.Write(ctx, func(tx *sql.Tx) error {
		x := first(m)
		if _, err := tx.ExecContext(ctx, `INSERT INTO profiles (id, member_id, name, created_ms) SELECT $1, $1, $2, $3
			WHERE NOT EXISTS (SELECT 1 FROM profiles WHERE member_id = $1)`, m.ID, x.Name, p.clock().UnixMilli()); err != nil {
			return err
		}
		return f(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// owned refuses a profile that is not the member's with vod.ErrNotFound.
func owned(ctx context.Context, tx *sql.Tx, member, id string) error {
	n := 0
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM profiles WHERE id = $1 AND member_id = $2`, id, member).Scan(&n)
	if err == nil && n == 0 {
		err = vod.ErrNotFound
	}
	return err
}

// one is vod.ErrNotFound where a statement changed nothing.
func one(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		err = vod.ErrNotFound
	}
	return err
}

// check tidies the name, and refuses with vod.ErrInvalid what no profile can be.
func check(x *vod.Profile) error {
	x.Name = strings.TrimSpace(x.Name)
	switch {
	case x.Name == "" || !utf8.ValidString(x.Name) || utf8.RuneCountInString(x.Name) > nameMax ||
		strings.ContainsFunc(x.Name, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }):
		return fmt.Errorf("%w: a profile's name has 1 to %d characters", vod.ErrInvalid, nameMax)
	case x.Limit.Set && (x.Limit.Years < 0 || x.Limit.Years > vod.AgeMax):
		return fmt.Errorf("%w: an age limit is 0 to %d years", vod.ErrInvalid, vod.AgeMax)
	case !vod.ValidLanguage(x.Language):
		return fmt.Errorf("%w: language %q", vod.ErrInvalid, x.Language)
	}
	return nil
}
