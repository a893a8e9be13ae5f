// Package license keeps the content keys of protected titles and says who gets which. It must get right that a key leaves it
// only towards the packager that encrypts with it and the member whose plan includes it; that at rest every key is sealed
// with a master key that is not in the database; that no key is ever used for two tiers or two versions; and that a refusal
// tells a key that exists from one that does not to nobody.
package license

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// KeysConfig is what Keys needs. DB, Masters and Clock are required.
type KeysConfig struct {
	DB      *sqlstore.Store
	Masters *Masters
	Clock   vod.Clock
	// Random is where key names and keys come from; nil: crypto/rand. Tests alone set it, to know a key that they look for.
	Random io.Reader
}

// Keys keeps content keys in the database, sealed. It is safe for concurrent use, by several processes too.
type Keys struct {
	db      *sqlstore.Store
	masters *Masters
	clock   vod.Clock
	random  io.Reader
}

var _ vod.ContentKeys = (*Keys)(nil)

// NewKeys returns the content keys kept in the database of c.
func NewKeys(c KeysConfig) *Keys {
	k := &Keys{db: c.DB, masters: c.Masters, clock: c.Clock, random: c.Random}
	if k.random == nil {
		k.random = rand.Reader
	}
	return k
}

const (
	jobMax = 200 // bytes of a job's name
	most   = 16  // keys drawn or opened at once: a ladder has four tiers
)

// Draw implements vod.ContentKeys. The first key of all makes a master key where there is none.
func (k *Keys) Draw(ctx context.Context, job string, tiers []vod.Tier) ([]vod.ContentKey, error) {
	if job == "" || len(job) > jobMax || len(tiers) > most {
		return nil, fmt.Errorf("draw keys: %w: a job of %d bytes and %d tiers", vod.ErrInvalid, len(job), len(tiers))
	}
	for _, t := range tiers {
		if !t.Valid() {
			return nil, fmt.Errorf("draw keys: %w: tier %q", vod.ErrInvalid, t)
		}
	}
	keys := make([]vod.ContentKey, len(tiers))
	// One transaction: of two processes that resume a job at once, the second finds the first's keys.
	err := k.db.Write(ctx, func(tx *sql.Tx) error {
		m, err := k.sealing(ctx, tx)
		if err != nil {
			return err
		}
		for i, t := range tiers {
			if keys[i], err = k.one(ctx, tx, m, job, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("draw keys: %w", err)
	}
	return keys, nil
}

// one is the job's key for t, made if there is none.
func (k *Keys) one(ctx context.Context, tx *sql.Tx, m *master, job string, t vod.Tier) (vod.ContentKey, error) {
	r := row{job: job, tier: t}
	var kid string
	err := tx.QueryRowContext(ctx, `SELECT kid, master, sealed FROM content_keys WHERE job = $1 AND tier = $2`, job, t).
		Scan(&kid, &r.master, &r.sealed)
	if err == nil {
		if r.kid, err = vod.ParseKID(kid); err != nil {
			return vod.ContentKey{}, err
		}
		return k.unseal(&r)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return vod.ContentKey{}, err
	}
	fresh := vod.ContentKey{Tier: t}
	if _, err := io.ReadFull(k.random, fresh.KID[:]); err != nil {
		return vod.ContentKey{}, fmt.Errorf("draw a key's name: %w", err)
	}
	if _, err := io.ReadFull(k.random, fresh.Key[:]); err != nil {
		return vod.ContentKey{}, fmt.Errorf("draw a key: %w", err)
	}
	r.kid = fresh.KID
	r.seal(m, &fresh)
	_, err = tx.ExecContext(ctx,
		`INSERT INTO content_keys (kid, job, tier, master, sealed, created_ms) VALUES ($1, $2, $3, $4, $5, $6)`,
		r.kid.String(), r.job, r.tier, r.master, r.sealed, k.clock().UnixMilli())
	if err != nil {
		return vod.ContentKey{}, fmt.Errorf("keep a key: %w", err)
	}
	return fresh, nil
}

// Open implements vod.ContentKeys. ErrMaster where the master key is not at hand.
func (k *Keys) Open(ctx context.Context, kids []vod.KID) ([]vod.ContentKey, error) {
	if len(kids) > most {
		return nil, fmt.Errorf("open keys: %w: %d at once", vod.ErrInvalid, len(kids))
	}
	keys := make([]vod.ContentKey, len(kids))
	for i, kid := range kids {
		key, err := k.open(ctx, kid)
		if errors.Is(err, ErrMaster) { // a rotation may have come to its end since the row was read
			key, err = k.open(ctx, kid)
		}
		if err != nil {
			return nil, fmt.Errorf("open key %s: %w", kid, err)
		}
		keys[i] = key
	}
	return keys, nil
}

func (k *Keys) open(ctx context.Context, kid vod.KID) (vod.ContentKey, error) {
	r := row{kid: kid}
	err := k.db.Reader().QueryRowContext(ctx, `SELECT job, tier, master, sealed FROM content_keys WHERE kid = $1`, kid.String()).
		Scan(&r.job, &r.tier, &r.master, &r.sealed)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return vod.ContentKey{}, err
	}
	return k.unseal(&r)
}

// Discard implements vod.ContentKeys.
func (k *Keys) Discard(ctx context.Context, job string) error {
	err := k.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM content_keys WHERE job = $1`, job)
		return err
	})
	if err != nil {
		return fmt.Errorf("discard keys: %w", err)
	}
	return nil
}

// Check reports whether the master key that seals now is at hand, and nil where no key was ever sealed.
func (k *Keys) Check(ctx context.Context) error {
	id, err := current(ctx, k.db.Reader())
	if err != nil || id == "" {
		return err
	}
	_, err = k.masters.find(id)
	return err
}

// current is the name of the master key that seals; empty where there was none yet.
func current(ctx context.Context, tx sqlstore.Querier) (id string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT id FROM master_keys ORDER BY number DESC LIMIT 1`).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for the master key's name: %w", err)
	}
	return id, nil
}

// sealing is the master key that seals: the one that the database names, whatever this process read at its start; on first
// use the first one there is, which may have to be made.
func (k *Keys) sealing(ctx context.Context, tx *sql.Tx) (*master, error) {
	id, err := current(ctx, tx)
	if err != nil {
		return nil, err
	}
	if id != "" {
		return k.masters.find(id)
	}
	m, err := k.masters.first()
	if err != nil {
		return nil, err
	}
	return m, k.appoint(ctx, tx, m.id)
}

// appoint has the master key of that name seal from now on.
func (k *Keys) appoint(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO master_keys (number, id, since_ms)
		SELECT COALESCE(MAX(number), 0) + 1, $1, $2 FROM master_keys`, id, k.clock().UnixMilli())
	if err != nil {
		return fmt.Errorf("name the master key: %w", err)
	}
	return nil
}

// row is a sealed key as the database has it.
type row struct {
	kid    vod.KID
	job    string
	tier   vod.Tier
	master string
	sealed []byte
}

// bound is what a sealed key is tied to: moved to another row it does not open.
func (r *row) bound() []byte {
	b := append([]byte("essaim content key 1\x00"), r.kid[:]...)
	for _, s := range []string{string(r.tier), r.master, r.job} {
		b = append(append(b, byte(len(s))), s...)
	}
	return b
}

func (r *row) seal(m *master, key *vod.ContentKey) {
	r.master = m.id
	r.sealed = m.aead.Seal(nil, nil, key.Key[:], r.bound())
}

// unseal opens r with whichever master key sealed it.
func (k *Keys) unseal(r *row) (vod.ContentKey, error) {
	m, err := k.masters.find(r.master)
	if err != nil {
		return vod.ContentKey{}, err
	}
	plain, err := m.aead.Open(nil, nil, r.sealed, r.bound())
	key := vod.ContentKey{KID: r.kid, Tier: r.tier}
	if err != nil || len(plain) != len(key.Key) {
		return vod.ContentKey{}, errors.New("a sealed key does not open: its row in the database was damaged or changed; restore it from a backup")
	}
	copy(key.Key[:], plain)
	return key, nil
}
