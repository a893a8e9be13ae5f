package library

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	searchWordsMax = 8   // of a question: more are not looked at
	candidatesMax  = 300 // titles that match, of which the best are told
)

// letters that are no letter with an accent, and are written as others where they are not at hand.
var letters = strings.NewReplacer("ß", "ss", "œ", "oe", "æ", "ae", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "ı", "i")

// folded is text in small letters without accents, each run of anything but letters and digits as one space.
func folded(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFKD.String(letters.Replace(strings.ToLower(text))) {
		switch {
		case unicode.Is(unicode.Mn, r): // an accent
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if gap && b.Len() > 0 {
				b.WriteByte(' ')
			}
			gap = false
			b.WriteRune(unicode.ToLower(r))
		default: // l'été is two words
			gap = true
		}
	}
	return b.String()
}

// The parts of what a title is found by are marked, so that a word of its name tells more than one of its people.
const (
	markName   = "\x01"
	markPeople = "\x02"
	markGenre  = "\x03"
)

// haystack is what a title is found by: each word behind a mark and a space.
func haystack(name, series string, people []credit, genres string) string {
	var b strings.Builder
	add := func(mark, text string) {
		for word := range strings.FieldsSeq(folded(text)) {
			b.WriteString(mark + word)
		}
	}
	add(markName, name)
	add(markName, series)
	for _, p := range people {
		add(markPeople, p.Name)
	}
	for g := range strings.FieldsFuncSeq(genres, func(r rune) bool { return r == ',' }) {
		add(markGenre, vod.Genres[vod.Genre(g)])
	}
	return b.String() + markName // not empty, whatever the name: it has been written
}

// fold writes down what a title is found by.
func fold(ctx context.Context, tx *sql.Tx, id vod.TitleID) error {
	return foldAll(ctx, tx, id, "")
}

// foldAll writes down what a title is found by, and all episodes of a series, if one is named.
func foldAll(ctx context.Context, tx *sql.Tx, id, series vod.TitleID) error {
	rows, err := tx.QueryContext(ctx, `SELECT t.id, t.name, COALESCE(s.name, ''), t.credits, t.genres FROM titles t
		LEFT JOIN series s ON s.id = t.series_id WHERE t.id = $1 OR t.series_id = $2 AND t.series_id <> ''`, id, series)
	if err != nil {
		return fmt.Errorf("read what titles are found by: %w", err)
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var id, name, series, credits, genres string
		if err := rows.Scan(&id, &name, &series, &credits, &genres); err != nil {
			return fmt.Errorf("read what titles are found by: %w", err)
		}
		var people []credit
		if err := json.Unmarshal([]byte(credits), &people); err != nil {
			return fmt.Errorf("people of %s: %w", id, err)
		}
		found[id] = haystack(name, series, people, genres)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read what titles are found by: %w", err)
	}
	rows.Close()
	for _, id := range slices.Sorted(maps.Keys(found)) {
		if _, err := tx.ExecContext(ctx, `UPDATE titles SET folded = $2 WHERE id = $1`, id, found[id]); err != nil {
			return fmt.Errorf("write what titles are found by: %w", err)
		}
	}
	return nil
}

// Search implements vod.Catalogue.
func (l *Library) Search(ctx context.Context, v vod.View, text string, most int) ([]vod.Title, error) {
	words := strings.Fields(folded(text))
	words = words[:min(len(words), searchWordsMax)]
	if len(words) == 0 {
		return []vod.Title{}, nil
	}
	if err := l.foldOld(ctx); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	where, args := l.seen(v)
	score := ""
	for _, w := range words {
		// Only letters and digits are left of a word: none of LIKE's own signs.
		for _, mark := range []string{markName, markPeople, markGenre} {
			args = append(args, "%"+mark+w+"%")
		}
		n := len(args)
		where += fmt.Sprintf(` AND (t.folded LIKE $%d OR t.folded LIKE $%d OR t.folded LIKE $%d)`, n-2, n-1, n)
		score += fmt.Sprintf(` + CASE WHEN t.folded LIKE $%d THEN 4 WHEN t.folded LIKE $%d THEN 2 ELSE 1 END`, n-2, n-1)
	}
	args = append(args, markName+words[0]+"%")
	list, err := l.cards(ctx, where+fmt.Sprintf(` ORDER BY 0%s + CASE WHEN t.folded LIKE $%d THEN 2 ELSE 0 END DESC, t.published_ms DESC, t.id LIMIT %d`,
		score, len(args), candidatesMax), args, true, most)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return list, nil
}

// foldOld writes down what titles are found by that were published before anything was searched for.
func (l *Library) foldOld(ctx context.Context) error {
	var old []vod.TitleID
	err := l.db.Read(ctx, func(tx sqlstore.Querier) error {
		rows, err := tx.QueryContext(ctx, `SELECT id FROM titles WHERE folded = '' LIMIT 1000`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id vod.TitleID
			if err := rows.Scan(&id); err != nil {
				return err
			}
			old = append(old, id)
		}
		return rows.Err()
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return l.db.Write(ctx, func(tx *sql.Tx) error {
		for _, id := range old {
			if err := fold(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// mostFirst are the genres that are counted, those of most titles first.
func mostFirst(count map[vod.Genre]int) []vod.Genre {
	list := slices.AppendSeq([]vod.Genre{}, maps.Keys(count))
	slices.SortFunc(list, func(a, b vod.Genre) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
	return list
}
