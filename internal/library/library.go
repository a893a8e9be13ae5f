// Package library keeps the catalogue: titles, their published versions, files and torrents. It must show a version
// whole or not at all, and never show what is not published, or not at the time.
package library

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// Library is the catalogue in the database. It is safe for concurrent use.
type Library struct {
	db    *sqlstore.Store
	clock vod.Clock
}

var (
	_ vod.Titles    = (*Library)(nil)
	_ vod.Publisher = (*Library)(nil)
	_ vod.Catalogue = (*Library)(nil)
)

// New returns the catalogue kept in db. The clock dates titles that come without a date.
func New(db *sqlstore.Store, clock vod.Clock) *Library { return &Library{db: db, clock: clock} }

// Publish implements vod.Publisher. A title is the same title when ID and name are the same: publishing it again
// replaces its version, at once for all readers. Two films whose names lead to one ID are a conflict, and so is a
// version that another title has published. What no title could be is refused with vod.ErrInvalid.
// What is told of a title stays where t.About tells nothing, and so does its summary where t has none.
func (l *Library) Publish(ctx context.Context, t vod.Title, torrent []byte) error {
	if err := t.Validate(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if len(torrent) == 0 {
		return fmt.Errorf("publish %s: %w: no torrent", t.ID, vod.ErrInvalid)
	}
	if t.Published.IsZero() {
		t.Published = l.clock()
	}
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		if err := makeWay(ctx, tx, &t); err != nil {
			return err
		}
		if err := refuseConflict(ctx, tx, &t); err != nil {
			return err
		}
		return write(ctx, tx, &t, torrent)
	})
	if err != nil {
		return fmt.Errorf("publish %s: %w", t.ID, err)
	}
	return nil
}

// Withdraw takes a title out of the catalogue until it is restored or published again. Its media stay in the store.
// Withdrawing what is not there, or has been withdrawn, is no error.
func (l *Library) Withdraw(ctx context.Context, id vod.TitleID) error {
	err := l.Windows().Withdraw(ctx, id)
	if errors.Is(err, vod.ErrNotFound) {
		return nil
	}
	return err
}

// makeWay removes for good what was withdrawn and would stand in the way of t: another film of its ID, or of its version.
func makeWay(ctx context.Context, tx *sql.Tx, t *vod.Title) error {
	v := &t.Version
	if _, err := tx.ExecContext(ctx, `DELETE FROM titles WHERE withdrawn_ms <> 0 AND (id = $1 AND name <> $2 OR id <> $1 AND id IN
		(SELECT title_id FROM versions WHERE id = $3 OR info_hash_v1 = $4 OR info_hash_v2 = $5))`,
		t.ID, t.Name, v.ID, v.InfoHashV1.String(), v.InfoHashV2.Truncated().String()); err != nil {
		return fmt.Errorf("remove what was withdrawn: %w", err)
	}
	return nil
}

func refuseConflict(ctx context.Context, tx *sql.Tx, t *vod.Title) error {
	var name string
	err := tx.QueryRowContext(ctx, `SELECT name FROM titles WHERE id = $1`, t.ID).Scan(&name)
	if err == nil && name != t.Name {
		return fmt.Errorf("%w: %q has this id", vod.ErrConflict, name)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look for the title: %w", err)
	}
	var other string
	v := &t.Version
	err = tx.QueryRowContext(ctx,
		`SELECT title_id FROM versions WHERE title_id <> $1 AND (id = $2 OR info_hash_v1 = $3 OR info_hash_v2 = $4)`,
		t.ID, v.ID, v.InfoHashV1.String(), v.InfoHashV2.Truncated().String()).Scan(&other)
	if err == nil {
		return fmt.Errorf("%w: title %s has this version", vod.ErrConflict, other)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look for the version: %w", err)
	}
	return nil
}

func write(ctx context.Context, tx *sql.Tx, t *vod.Title, torrent []byte) error {
	v := &t.Version
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO titles (id, name, summary, open, poster, published_ms) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, open = excluded.open,
			summary = CASE WHEN excluded.summary = '' THEN titles.summary ELSE excluded.summary END, poster = excluded.poster, published_ms = excluded.published_ms,
			withdrawn_ms = 0`,
		t.ID, t.Name, t.Summary, flag(t.Open), t.Poster, t.Published.UnixMilli()); err != nil {
		return fmt.Errorf("write title: %w", err)
	}
	if err := writeExtras(ctx, tx, t); err != nil {
		return err
	}
	if t.About.IsZero() {
		if err := fold(ctx, tx, t.ID); err != nil {
			return err
		}
	} else if err := writeAbout(ctx, tx, t.ID, &t.About); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM versions WHERE title_id = $1`, t.ID); err != nil {
		return fmt.Errorf("remove the old version: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO versions (id, title_id, info_hash_v1, info_hash_v2, piece_length, duration_ms, scheme, manifest, torrent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		v.ID, t.ID, v.InfoHashV1.String(), v.InfoHashV2.Truncated().String(), v.PieceLength, v.DurationMs, v.Scheme, v.Manifest,
		torrent); err != nil {
		return fmt.Errorf("write version: %w", err)
	}
	for i := range v.Files {
		f := &v.Files[i]
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO files (version_id, position, path, size, root, first_piece, kind, codec, bandwidth, width, height,
				kid, segments)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			v.ID, i, f.Path, f.Size, f.Root.String(), f.FirstPiece, f.Kind, f.Codec, f.Bandwidth, f.Width, f.Height,
			kidText(f.KID), f.Index.AppendBinary([]byte{})); err != nil {
			return fmt.Errorf("write file %s: %w", f.Path, err)
		}
	}
	return nil
}

// kidText is how a key's name is kept: empty for none.
func kidText(k vod.KID) string {
	if k.IsZero() {
		return ""
	}
	return k.String()
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

const titleColumns = aboutColumns + `, v.duration_ms, v.id, v.info_hash_v1, v.piece_length, v.scheme, v.manifest`

const titleFrom = ` FROM titles t JOIN versions v ON v.title_id = t.id LEFT JOIN series s ON s.id = t.series_id `

// shown is the condition that a title is not withdrawn, and its window open at the time $2.
const shown = ` t.withdrawn_ms = 0 AND t.from_ms <= $2 AND (t.until_ms = 0 OR t.until_ms > $2) `

// List implements vod.Titles.
func (l *Library) List(ctx context.Context, openOnly bool) ([]vod.Title, error) {
	titles := []vod.Title{}
	err := l.db.Read(ctx, func(tx sqlstore.Querier) error {
		rows, err := tx.QueryContext(ctx, `SELECT `+titleColumns+titleFrom+
			`WHERE t.open >= $1 AND`+shown+`ORDER BY t.published_ms DESC, t.id`, flag(openOnly), l.clock().UnixMilli())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			t, err := scanTitle(rows)
			if err != nil {
				return err
			}
			titles = append(titles, t)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for i := range titles {
			if titles[i].Version.Files, err = files(ctx, tx, titles[i].Version.ID); err != nil {
				return err
			}
			if err := readExtras(ctx, tx, &titles[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list titles: %w", err)
	}
	return titles, nil
}

// Get implements vod.Titles.
func (l *Library) Get(ctx context.Context, id vod.TitleID) (vod.Title, error) {
	t, err := l.one(ctx, `WHERE t.id = $1 AND`+shown, id, l.clock().UnixMilli())
	if err != nil {
		return t, fmt.Errorf("title %s: %w", id, err)
	}
	return t, nil
}

// ByRoot implements vod.Titles. Where several titles hold the file, an open one is found before the others.
func (l *Library) ByRoot(ctx context.Context, root bt.Digest) (vod.Title, vod.File, error) {
	t, err := l.one(ctx, `WHERE v.id IN (SELECT version_id FROM files WHERE root = $1) AND`+shown+
		`ORDER BY t.open DESC, t.published_ms DESC, t.id LIMIT 1`, root.String(), l.clock().UnixMilli())
	if err != nil {
		return t, vod.File{}, fmt.Errorf("file %s: %w", root, err)
	}
	for _, f := range t.Version.Files {
		if f.Root == root {
			return t, f, nil
		}
	}
	return vod.Title{}, vod.File{}, fmt.Errorf("file %s: %w", root, vod.ErrNotFound)
}

// BySwarm implements vod.Titles.
func (l *Library) BySwarm(ctx context.Context, h bt.InfoHash) (vod.Title, error) {
	t, err := l.one(ctx, `WHERE (v.info_hash_v1 = $1 OR v.info_hash_v2 = $1) AND`+shown, h.String(), l.clock().UnixMilli())
	if err != nil {
		return t, fmt.Errorf("swarm %s: %w", h, err)
	}
	return t, nil
}

// Torrent implements vod.Titles.
func (l *Library) Torrent(ctx context.Context, id vod.TitleID) ([]byte, error) {
	var torrent []byte
	err := l.db.Reader().QueryRowContext(ctx, `SELECT v.torrent`+titleFrom+`WHERE t.id = $1 AND`+shown, id,
		l.clock().UnixMilli()).Scan(&torrent)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("torrent of %s: %w", id, err)
	}
	return torrent, nil
}

func (l *Library) one(ctx context.Context, where string, args ...any) (t vod.Title, err error) {
	err = l.db.Read(ctx, func(tx sqlstore.Querier) error {
		t, err = scanTitle(tx.QueryRowContext(ctx, `SELECT `+titleColumns+titleFrom+where, args...))
		if errors.Is(err, sql.ErrNoRows) {
			return vod.ErrNotFound
		}
		if err != nil {
			return err
		}
		if t.Version.Files, err = files(ctx, tx, t.Version.ID); err != nil {
			return err
		}
		return readExtras(ctx, tx, &t)
	})
	if err != nil {
		return vod.Title{}, err
	}
	return t, nil
}

type scanner interface{ Scan(dest ...any) error }

func scanTitle(row scanner) (t vod.Title, err error) {
	var v vod.Version
	var v1 string
	if t, err = scanAbout(row, &v.ID, &v1, &v.PieceLength, &v.Scheme, &v.Manifest); err != nil {
		return t, err
	}
	v.DurationMs = t.Version.DurationMs
	if v.InfoHashV1, err = bt.ParseInfoHash(v1); err != nil {
		return t, fmt.Errorf("v1 info hash of %s: %w", t.ID, err)
	}
	if v.InfoHashV2, err = bt.ParseInfoHashV2(v.ID); err != nil {
		return t, fmt.Errorf("v2 info hash of %s: %w", t.ID, err)
	}
	t.Version = v
	return t, nil
}

func files(ctx context.Context, tx sqlstore.Querier, version string) ([]vod.File, error) {
	rows, err := tx.QueryContext(ctx, `
		SELECT path, size, root, first_piece, kind, codec, bandwidth, width, height, kid, segments
		FROM files WHERE version_id = $1 ORDER BY position`, version)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []vod.File
	for rows.Next() {
		var f vod.File
		var root, kid string
		var segments []byte
		if err := rows.Scan(&f.Path, &f.Size, &root, &f.FirstPiece, &f.Kind, &f.Codec, &f.Bandwidth, &f.Width, &f.Height,
			&kid, &segments); err != nil {
			return nil, err
		}
		if f.Root, err = bt.ParseDigest(root); err != nil {
			return nil, fmt.Errorf("root of %s: %w", f.Path, err)
		}
		if kid != "" {
			if f.KID, err = vod.ParseKID(kid); err != nil {
				return nil, fmt.Errorf("key of %s: %w", f.Path, err)
			}
		}
		if f.Index, err = index.Parse(segments); err != nil {
			return nil, fmt.Errorf("segments of %s: %w", f.Path, err)
		}
		found = append(found, f)
	}
	return found, rows.Err()
}
