package insight

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	// versionsKept bounds the versions of the policy that are remembered.
	versionsKept = 10_000
	// reasonMax bounds who and why, in bytes.
	reasonMax = 1_000
	saltLen   = 32
)

// Policy implements vod.PolicyBook.
func (i *Insight) Policy(ctx context.Context) (vod.PolicyVersion, error) {
	v, err := i.policyIn(ctx, i.c.Store.Reader())
	if err != nil {
		return v, fmt.Errorf("read the policy: %w", err)
	}
	return v, nil
}

func (i *Insight) policyIn(ctx context.Context, tx sqlstore.Querier) (vod.PolicyVersion, error) {
	list, err := versions(ctx, tx, `SELECT version, at_ms, who, why, policy FROM policy_versions ORDER BY version DESC LIMIT 1`)
	if err != nil || len(list) > 0 {
		return append(list, vod.PolicyVersion{})[0], err
	}
	if i.c.Initial != nil {
		p := *i.c.Initial
		return vod.PolicyVersion{Policy: p}, p.Check()
	}
	return vod.PolicyVersion{Policy: vod.DefaultPolicy()}, nil
}

func versions(ctx context.Context, tx sqlstore.Querier, query string, args ...any) (list []vod.PolicyVersion, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v vod.PolicyVersion
		var at int64
		var policy string
		if err := rows.Scan(&v.Version, &at, &v.Who, &v.Why, &policy); err != nil {
			return nil, err
		}
		v.At = time.UnixMilli(at).UTC()
		if err := json.Unmarshal([]byte(policy), &v.Policy); err != nil {
			return nil, fmt.Errorf("version %d of the policy cannot be read: %w", v.Version, err)
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// ChangePolicy implements vod.PolicyBook.
func (i *Insight) ChangePolicy(ctx context.Context, who, why string, change func(*vod.OperatorPolicy) error) (v vod.PolicyVersion, err error) {
	if who, why = plain(who), plain(why); who == "" {
		return v, fmt.Errorf("%w: who changes the policy", vod.ErrInvalid)
	}
	err = i.c.Store.Write(ctx, func(tx *sql.Tx) error {
		if v, err = i.policyIn(ctx, tx); err != nil {
			return err
		}
		before, err := json.Marshal(v.Policy)
		if err != nil {
			return err
		}
		if err := change(&v.Policy); err != nil {
			return err
		}
		if err := v.Policy.Check(); err != nil {
			return err
		}
		after, err := json.Marshal(v.Policy)
		if err != nil {
			return err
		}
		if v.Version > 0 && string(before) == string(after) {
			return nil
		}
		v.Version, v.At, v.Who, v.Why = v.Version+1, time.UnixMilli(i.c.Clock().UnixMilli()).UTC(), who, why
		if _, err := tx.ExecContext(ctx, `INSERT INTO policy_versions (version, at_ms, who, why, policy) VALUES ($1, $2, $3, $4, $5)`,
			v.Version, v.At.UnixMilli(), who, why, string(after)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM policy_versions WHERE version <= $1`, v.Version-versionsKept)
		return err
	})
	if err != nil {
		return vod.PolicyVersion{}, fmt.Errorf("change the policy: %w", err)
	}
	return v, nil
}

// plain is s in one line, of bounded length.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > reasonMax {
		s = strings.ToValidUTF8(s[:reasonMax], "")
	}
	return strings.TrimSpace(s)
}

// PolicyVersions implements vod.PolicyBook.
func (i *Insight) PolicyVersions(ctx context.Context, before int64, most int) ([]vod.PolicyVersion, error) {
	if before <= 0 {
		before = 1 << 62
	}
	list, err := versions(ctx, i.c.Store.Reader(), `SELECT version, at_ms, who, why, policy FROM policy_versions WHERE version < $1
		ORDER BY version DESC LIMIT $2`, before, min(max(most, 1), 1000))
	if err != nil {
		return nil, fmt.Errorf("list the policy's versions: %w", err)
	}
	return list, nil
}

// Salt is what viewers are drawn into groups with, made when it is first asked for, and the same for ever: another would
// draw other groups.
func (i *Insight) Salt(ctx context.Context) (salt []byte, err error) {
	fresh := make([]byte, saltLen)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	err = i.c.Store.Write(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT salt FROM policy_salt WHERE one = 1`).Scan(&salt)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		salt = fresh
		_, err = tx.ExecContext(ctx, `INSERT INTO policy_salt (one, salt) VALUES (1, $1)`, salt)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what viewers are drawn with: %w", err)
	}
	return salt, nil
}

// followEvery is how soon another program's change of the policy is noticed.
const followEvery = 2 * time.Second

// FollowPolicy tells of the policy in force, first at once and then whenever it changes, whichever program changed it,
// until ctx is done. While the database does not answer, the last version stays in force.
func (i *Insight) FollowPolicy(ctx context.Context, tell func(vod.PolicyVersion)) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	failed, last := false, int64(-1)
	for {
		v, err := i.Policy(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			i.log.ErrorContext(ctx, "the policy cannot be read; what was in force stays so", "error", err)
		case err == nil && v.Version != last:
			last = v.Version
			tell(v)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
