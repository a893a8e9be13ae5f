package license

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"essaim/internal/vod"
)

// Rotation is what Rotate did.
type Rotation struct {
	Master  string // the name of the key that seals now
	Sealed  int    // content keys that were sealed anew
	Resumed bool   // it went on with a rotation that was interrupted
	Dropped int    // master keys that nothing needs any more, and that left the file
}

// resealedAtOnce bounds a transaction: ingest and sign-ins wait for it.
const resealedAtOnce = 200

// Rotate seals all content keys anew: with a new master key that it puts first in the file, or with the first of
// ESSAIM_MASTER_KEY, where the operator has put it. When nothing is left that an older one sealed, the file keeps the new one
// alone. It may be interrupted anywhere and called again, beside running services: at every moment the file holds all keys
// that open something, before the database names them.
func (k *Keys) Rotate(ctx context.Context) (r Rotation, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("rotate the master key: %w", err)
		}
	}()
	var to *master
	err = k.db.Write(ctx, func(tx *sql.Tx) (err error) { // one writer at a time: two rotations do not overwrite each other's file
		to, r.Resumed, err = k.next(ctx, tx)
		return err
	})
	if err != nil {
		return r, err
	}
	r.Master = to.id
	for {
		n, err := k.reseal(ctx, to)
		r.Sealed += n
		if err != nil {
			return r, err
		}
		if n < resealedAtOnce {
			break
		}
	}
	err = k.db.Write(ctx, func(tx *sql.Tx) (err error) {
		r.Dropped, err = k.retire(ctx, tx, to)
		return err
	})
	return r, err
}

// next is the master key to seal with from now on, appointed in the database.
func (k *Keys) next(ctx context.Context, tx *sql.Tx) (to *master, resumed bool, err error) {
	now, err := current(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	if now != "" { // else the first key is made below
		if _, err := k.masters.find(now); err != nil {
			return nil, false, err
		}
	}
	to, err = k.masters.first()
	if err != nil {
		return nil, false, err
	}
	if now == "" {
		return to, false, k.appoint(ctx, tx, to.id)
	}
	if to.id != now { // put first, by the operator or by a rotation that came no farther
		var known int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM master_keys WHERE id = $1`, to.id).Scan(&known); err != nil {
			return nil, false, err
		}
		if known > 0 {
			return nil, false, fmt.Errorf("%w: the first in %s is one that was retired; put a new one first", vod.ErrInvalid, k.masters.where())
		}
		return to, k.masters.file != "", k.appoint(ctx, tx, to.id)
	}
	left, err := k.left(ctx, tx, to)
	if err != nil {
		return nil, false, err
	}
	k.masters.mu.Lock()
	defer k.masters.mu.Unlock()
	if left > 0 || k.masters.file != "" && len(k.masters.list) > 1 {
		return to, true, nil
	}
	if k.masters.file == "" {
		return nil, false, fmt.Errorf("%w: put a new key before the old one in %s, restart the service with both, then rotate; "+
			"`essaim admin keys new` prints a new one", vod.ErrInvalid, MasterEnv)
	}
	keys := []string{NewMaster()}
	for _, m := range k.masters.list {
		keys = append(keys, m.text)
	}
	if err := writeMasters(k.masters.file, true, keys...); err != nil {
		return nil, false, err
	}
	if err := k.masters.read(); err != nil {
		return nil, false, err
	}
	return k.masters.list[0], false, k.appoint(ctx, tx, k.masters.list[0].id)
}

// left counts the keys that another master key seals.
func (k *Keys) left(ctx context.Context, tx *sql.Tx, to *master) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM content_keys WHERE master <> $1`, to.id).Scan(&n)
	return n, err
}

// reseal seals some of the keys that another master key seals, and says how many.
func (k *Keys) reseal(ctx context.Context, to *master) (n int, err error) {
	err = k.db.Write(ctx, func(tx *sql.Tx) error {
		list, err := others(ctx, tx, to)
		if err != nil {
			return err
		}
		for i := range list {
			r := &list[i]
			key, err := k.unseal(r)
			if err != nil {
				return fmt.Errorf("key %s: %w", r.kid, err)
			}
			r.seal(to, &key)
			if _, err := tx.ExecContext(ctx, `UPDATE content_keys SET master = $1, sealed = $2 WHERE kid = $3`,
				r.master, r.sealed, r.kid.String()); err != nil {
				return err
			}
		}
		n = len(list)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func others(ctx context.Context, tx *sql.Tx, to *master) (list []row, err error) {
	rows, err := tx.QueryContext(ctx,
		`SELECT kid, job, tier, master, sealed FROM content_keys WHERE master <> $1 ORDER BY kid LIMIT $2`, to.id, resealedAtOnce)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		var kid string
		if err := rows.Scan(&kid, &r.job, &r.tier, &r.master, &r.sealed); err != nil {
			return nil, err
		}
		if r.kid, err = vod.ParseKID(kid); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// retire leaves to alone in the file, now that nothing needs another. Whoever draws a key meanwhile waits for tx, and seals
// with the one that the database names.
func (k *Keys) retire(ctx context.Context, tx *sql.Tx, to *master) (dropped int, err error) {
	if k.masters.file == "" {
		return 0, nil
	}
	if n, err := k.left(ctx, tx, to); err != nil || n > 0 {
		return 0, err
	}
	if now, err := current(ctx, tx); err != nil || now != to.id { // another rotation has begun, and needs them
		return 0, err
	}
	k.masters.mu.Lock()
	defer k.masters.mu.Unlock()
	if err := k.masters.read(); err != nil {
		return 0, err
	}
	if dropped = len(k.masters.list) - 1; dropped == 0 {
		return 0, nil
	}
	if err := writeMasters(k.masters.file, true, to.text); err != nil {
		return 0, err
	}
	return dropped, k.masters.read()
}
