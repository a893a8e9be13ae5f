package library

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// aboutColumns are what scanAbout reads first; after them comes v.duration_ms.
const aboutColumns = `t.id, t.name, t.summary, t.open, t.poster, t.published_ms, t.year, t.age, t.language, t.genres, t.credits,
	t.series_id, COALESCE(s.name, ''), t.season, t.episode`

// credit is how a vod.Credit is kept.
type credit struct {
	Name string  `json:"name"`
	Job  vod.Job `json:"job"`
	Part string  `json:"part,omitempty"`
}

// scanAbout reads a title as a catalogue shows it, and then more.
func scanAbout(row scanner, more ...any) (t vod.Title, err error) {
	var published int64
	var genres, credits string
	var age int
	a := &t.About
	e := &a.Episode
	into := append([]any{
		&t.ID, &t.Name, &t.Summary, &t.Open, &t.Poster, &published, &a.Year, &age, &a.Language, &genres, &credits,
		&e.Series, &e.Name, &e.Season, &e.Episode, &t.Version.DurationMs,
	}, more...)
	if err := row.Scan(into...); err != nil {
		return t, err
	}
	t.Published = time.UnixMilli(published).UTC()
	if age >= 0 {
		a.Age = vod.Age{Set: true, Years: age}
	}
	for g := range strings.FieldsFuncSeq(genres, func(r rune) bool { return r == ',' }) {
		a.Genres = append(a.Genres, vod.Genre(g))
	}
	var kept []credit
	if err := json.Unmarshal([]byte(credits), &kept); err != nil {
		return t, fmt.Errorf("people of %s: %w", t.ID, err)
	}
	for _, c := range kept {
		a.Credits = append(a.Credits, vod.Credit{Name: c.Name, Job: c.Job, Part: c.Part})
	}
	return t, nil
}

// SetAbout implements vod.Catalogue.
func (l *Library) SetAbout(ctx context.Context, id vod.TitleID, a vod.About, summary string) error {
	err := a.Validate()
	if err == nil && len(summary) > 20_000 {
		err = fmt.Errorf("%w: the summary is too long", vod.ErrInvalid)
	}
	if err == nil {
		err = l.db.Write(ctx, func(tx *sql.Tx) error {
			if summary != "" {
				if _, err := tx.ExecContext(ctx, `UPDATE titles SET summary = $2 WHERE id = $1`, id, summary); err != nil {
					return err
				}
			}
			return writeAbout(ctx, tx, id, &a)
		})
	}
	if err != nil {
		return fmt.Errorf("say of %s what it is: %w", id, err)
	}
	return nil
}

// writeAbout replaces what is told of a title, and what it is found by.
func writeAbout(ctx context.Context, tx *sql.Tx, id vod.TitleID, a *vod.About) error {
	var other string
	e := &a.Episode
	err := tx.QueryRowContext(ctx, `SELECT id FROM titles WHERE series_id = $1 AND season = $2 AND episode = $3 AND id <> $4 AND series_id <> ''`,
		e.Series, e.Season, e.Episode, id).Scan(&other)
	if err == nil {
		return fmt.Errorf("%w: title %s is that episode", vod.ErrConflict, other)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if e.Series != "" {
		if _, err := tx.ExecContext(ctx, `INSERT INTO series (id, name, summary) VALUES ($1, $2, '')
			ON CONFLICT (id) DO UPDATE SET name = excluded.name`, e.Series, e.Name); err != nil {
			return err
		}
	}
	genres := ""
	for _, g := range a.Genres {
		genres += string(g) + ","
	}
	if genres != "" {
		genres = "," + genres
	}
	kept := make([]credit, len(a.Credits))
	for i, c := range a.Credits {
		kept[i] = credit{c.Name, c.Job, c.Part}
	}
	credits, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	age := -1
	if a.Age.Set {
		age = a.Age.Years
	}
	r, err := tx.ExecContext(ctx, `UPDATE titles SET year = $2, age = $3, language = $4, genres = $5, credits = $6, series_id = $7, season = $8,
		episode = $9 WHERE id = $1`, id, a.Year, age, a.Language, genres, string(credits), e.Series, e.Season, e.Episode)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		err = vod.ErrNotFound
	}
	if err != nil {
		return err
	}
	return foldAll(ctx, tx, id, e.Series)
}

// SetSeries implements vod.Catalogue.
func (l *Library) SetSeries(ctx context.Context, s vod.Series) error {
	e := vod.About{Episode: vod.Episode{Series: s.ID, Name: s.Name, Episode: 1}}
	err := e.Validate()
	if err == nil && (s.ID == "" || len(s.Summary) > 20_000) {
		err = fmt.Errorf("%w: a series has an ID, and a summary that is not too long", vod.ErrInvalid)
	}
	if err == nil {
		err = l.db.Write(ctx, func(tx *sql.Tx) error {
			r, err := tx.ExecContext(ctx, `UPDATE series SET name = $2, summary = $3 WHERE id = $1`, s.ID, s.Name, s.Summary)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err == nil && n == 0 {
				err = vod.ErrNotFound
			}
			if err != nil {
				return err
			}
			return foldAll(ctx, tx, "", s.ID)
		})
	}
	if err != nil {
		return fmt.Errorf("series %s: %w", s.ID, err)
	}
	return nil
}

// Series implements vod.Catalogue.
func (l *Library) Series(ctx context.Context, v vod.View, id vod.TitleID) (vod.Series, error) {
	s := vod.Series{ID: id}
	where, args := l.seen(v)
	err := l.db.Reader().QueryRowContext(ctx, `SELECT s.name, s.summary`+titleFrom+where+` AND s.id = $4 LIMIT 1`, append(args, id)...).
		Scan(&s.Name, &s.Summary)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return vod.Series{}, fmt.Errorf("series %s: %w", id, err)
	}
	return s, nil
}

// seen is the condition of what v is shown now, rehearsals' titles left out, and its arguments $1 to $3.
func (l *Library) seen(v vod.View) (where string, args []any) {
	limit := vod.AgeMax + 1 // that of nobody
	rated := ` AND (t.age <= $3)`
	if v.Limit.Set {
		limit, rated = v.Limit.Years, ` AND t.age BETWEEN 0 AND $3`
	}
	return `WHERE t.open >= $1 AND` + shown + rated + ` AND NOT EXISTS (
		SELECT 1 FROM files f WHERE f.version_id = v.id AND f.codec = '` + vod.SyntheticCodec + `')`, []any{flag(v.OpenOnly), l.clock().UnixMilli(), limit}
}

// Shelf implements vod.Catalogue.
func (l *Library) Shelf(ctx context.Context, v vod.View, s vod.Shelf) ([]vod.Title, error) {
	where, args := l.seen(v)
	order := ` ORDER BY t.published_ms DESC, t.id`
	switch {
	case s.Genre != "":
		where += ` AND t.genres LIKE $4`
		args = append(args, "%,"+string(s.Genre)+",%")
	case s.Series != "":
		where += ` AND t.series_id = $4`
		args = append(args, s.Series)
		order = ` ORDER BY t.season, t.episode`
	case s.IDs != nil:
		if len(s.IDs) > vod.PositionsMax {
			return nil, fmt.Errorf("shelf: %w: %d titles by their IDs", vod.ErrInvalid, len(s.IDs))
		}
		return l.named(ctx, where, args, s)
	}
	list, err := l.cards(ctx, where+order, args, s.Once, s.Most)
	if err != nil {
		return nil, fmt.Errorf("shelf: %w", err)
	}
	return list, nil
}

// named are the titles with the IDs of s, in their order.
func (l *Library) named(ctx context.Context, where string, args []any, s vod.Shelf) ([]vod.Title, error) {
	if len(s.IDs) == 0 {
		return []vod.Title{}, nil
	}
	marks := make([]string, len(s.IDs))
	for i, id := range s.IDs {
		args = append(args, id)
		marks[i] = fmt.Sprintf("$%d", len(args))
	}
	found, err := l.cards(ctx, where+` AND t.id IN (`+strings.Join(marks, ", ")+`)`, args, false, len(s.IDs))
	if err != nil {
		return nil, fmt.Errorf("shelf: %w", err)
	}
	byID := map[vod.TitleID]vod.Title{}
	for i := range found {
		byID[found[i].ID] = found[i]
	}
	list, once := []vod.Title{}, map[vod.TitleID]bool{}
	for _, id := range s.IDs {
		t, ok := byID[id]
		series := t.About.Episode.Series
		if !ok || len(list) == s.Most || s.Once && once[series] {
			continue
		}
		once[series] = series != ""
		list = append(list, t)
	}
	return list, nil
}

// cards reads titles as the catalogue shows them, at most so many, with once each series' first alone.
func (l *Library) cards(ctx context.Context, rest string, args []any, once bool, most int) ([]vod.Title, error) {
	return cardsOf(ctx, l.db.Reader(), rest, args, once, most)
}

func cardsOf(ctx context.Context, q sqlstore.Querier, rest string, args []any, once bool, most int) ([]vod.Title, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+aboutColumns+`, v.duration_ms`+titleFrom+rest, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list, seen := []vod.Title{}, map[vod.TitleID]bool{}
	for len(list) < most && rows.Next() {
		t, err := scanAbout(rows)
		if err != nil {
			return nil, err
		}
		series := t.About.Episode.Series
		if once && seen[series] {
			continue
		}
		seen[series] = series != ""
		list = append(list, t)
	}
	return list, rows.Err()
}

// Genres implements vod.Catalogue.
func (l *Library) Genres(ctx context.Context, v vod.View) ([]vod.Genre, error) {
	where, args := l.seen(v)
	rows, err := l.db.Reader().QueryContext(ctx, `SELECT t.genres, COUNT(*)`+titleFrom+where+` AND t.genres <> '' GROUP BY t.genres`, args...)
	if err != nil {
		return nil, fmt.Errorf("list genres: %w", err)
	}
	defer rows.Close()
	count := map[vod.Genre]int{}
	for rows.Next() {
		var genres string
		var n int
		if err := rows.Scan(&genres, &n); err != nil {
			return nil, fmt.Errorf("list genres: %w", err)
		}
		for g := range strings.FieldsFuncSeq(genres, func(r rune) bool { return r == ',' }) {
			count[vod.Genre(g)] += n
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list genres: %w", err)
	}
	return mostFirst(count), nil
}
