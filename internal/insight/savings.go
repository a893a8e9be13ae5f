package insight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// daysMax bounds a report.
const daysMax = 400

// tally is a row of a report while it is summed up.
type tally struct {
	row     vod.SavingsRow
	bound   float64
	crowd   float64
	shared  float64                    // played ms of the sharing group
	reached map[string]map[int]reached // title → height
}

// reached is how far into a rendition of a film somebody came.
type reached struct{ ms int64 }

func (t *tally) reach(title string, height int, ms int64) {
	if t.reached == nil {
		t.reached = map[string]map[int]reached{}
	}
	if t.reached[title] == nil {
		t.reached[title] = map[int]reached{}
	}
	t.reached[title][height] = reached{max(t.reached[title][height].ms, ms)}
}

// tallies are the rows of a report by their keys, and the total.
type tallies struct {
	by    vod.SavingsBy
	rows  map[string]*tally
	total tally
}

func dayOf(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.DateOnly) }

// of are the rows that a day's figures of a title belong to.
func (t *tallies) of(day int64, title string) [2]*tally {
	key := title
	if t.by == vod.ByDay {
		key = dayOf(day)
	}
	r := t.rows[key]
	if r == nil {
		r = &tally{row: vod.SavingsRow{Key: key}}
		t.rows[key] = r
	}
	return [2]*tally{r, &t.total}
}

// Savings implements vod.Savings.
func (i *Insight) Savings(ctx context.Context, from, to time.Time, by vod.SavingsBy) (r vod.SavingsReport, err error) {
	first, end := floor(from, "day"), floor(to, "day")+span("day").length()
	if by != vod.ByDay && by != vod.ByTitle {
		return r, fmt.Errorf("%w: rows by %q: want day or title", vod.ErrInvalid, by)
	}
	if n := (end - first) / span("day").length(); n < 1 || n > daysMax {
		return r, fmt.Errorf("%w: want 1 to %d days", vod.ErrInvalid, daysMax)
	}
	policy, err := i.Policy(ctx)
	if err != nil {
		return r, err
	}
	r = vod.SavingsReport{
		From: dayOf(first), To: dayOf(end - 1), Price: policy.Policy.PricePerGB, Currency: policy.Policy.Currency, Rows: []vod.SavingsRow{},
	}
	t := tallies{by: by, rows: map[string]*tally{}}
	err = i.c.Store.Read(ctx, func(tx sqlstore.Querier) error {
		if err := t.traffic(ctx, tx, first, end); err != nil {
			return err
		}
		if err := t.counted(ctx, tx, first, end); err != nil {
			return err
		}
		groups, err := readQuality(ctx, tx, first, end)
		r.Comparison = compare(groups)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("sum up savings: %w", err)
	}
	sizes := filmSizes{i.c.Titles, map[string]*vod.Version{}}
	for _, row := range t.rows {
		if err := row.finish(ctx, &sizes, r.Price); err != nil {
			return r, err
		}
		r.Rows = append(r.Rows, row.row)
	}
	slices.SortFunc(r.Rows, func(a, b vod.SavingsRow) int { return strings.Compare(a.Key, b.Key) })
	if err := t.total.finish(ctx, &sizes, r.Price); err != nil {
		return r, err
	}
	r.Total = t.total.row
	return r, nil
}

func (t *tallies) traffic(ctx context.Context, tx sqlstore.Querier, from, to int64) error {
	rows, err := tx.QueryContext(ctx, `SELECT at_ms - at_ms % 86400000, title, height, SUM(sessions), SUM(quarantined), MAX(reach_ms), SUM(bound_bytes),
			SUM(crowd_ms), SUM(CASE WHEN grp = 'sharing' THEN played_ms ELSE 0 END), `+each(func(n string) string { return "SUM(" + n + ")" })+`
		FROM traffic WHERE span IN ('minute', 'hour', 'day') AND at_ms >= $1 AND at_ms < $2 GROUP BY 1, 2, 3`, from, to)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var day, sessions, quarantined, reach, bounded, crowded, shared int64
		var title string
		var height int
		var n totals
		dest := []any{&day, &title, &height, &sessions, &quarantined, &reach, &bounded, &crowded, &shared}
		for k := range n {
			dest = append(dest, &n[k])
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for _, r := range t.of(day, title) {
			r.row.Sessions += sessions
			r.row.Quarantined += quarantined
			r.row.PlayedMs += n[playedMs]
			r.row.OriginBytes += n[originBytes]
			r.row.PeerBytes += n[peerBytes]
			r.row.RelayedBytes += n[relayedBytes]
			r.row.WastedBytes += n[wastedBytes]
			r.row.CachedBytes += n[cachedBytes]
			r.row.SentBytes += n[sentBytes]
			r.row.Introductions += n[met]
			r.row.Connected += n[metConnected]
			r.bound += float64(bounded)
			r.crowd += float64(crowded) / 1000
			r.shared += float64(shared)
			if n[originBytes]+n[peerBytes] > 0 {
				r.reach(title, height, reach)
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	crowds, err := hourlyCrowds(ctx, tx, from, to)
	if err != nil {
		return err
	}
	for k, c := range crowds {
		for _, r := range t.of(k.day, k.title) {
			r.bound += c.bound
			r.crowd += c.crowd
		}
	}
	return nil
}

func (t *tallies) counted(ctx context.Context, tx sqlstore.Querier, from, to int64) error {
	rows, err := tx.QueryContext(ctx, `SELECT day_ms, title, bytes FROM origin_counts WHERE day_ms >= $1 AND day_ms < $2`, from, to)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var day, bytes int64
		var title string
		if err := rows.Scan(&day, &title, &bytes); err != nil {
			return err
		}
		for _, r := range t.of(day, title) {
			r.row.CountedBytes += bytes
		}
	}
	return rows.Err()
}

// finish works out what follows from the sums.
func (t *tally) finish(ctx context.Context, sizes *filmSizes, price float64) error {
	r := &t.row
	// What came twice is taken off what viewers gave, whoever sent it: the saving is not told larger than it was.
	r.AvoidedBytes = max(0, r.PeerBytes-r.RelayedBytes-r.WastedBytes)
	r.AvoidedAmount = float64(r.AvoidedBytes) * price / 1e9
	r.Offload = share(float64(r.AvoidedBytes), float64(r.OriginBytes+r.PeerBytes-r.WastedBytes))
	r.Bound = share(t.bound, float64(r.OriginBytes+r.PeerBytes))
	r.Crowd = share(t.crowd, t.shared)
	r.Discrepancy = share(float64(r.PeerBytes-r.SentBytes), float64(r.PeerBytes))
	once, known := 0.0, len(t.reached) > 0
	for title, heights := range t.reached {
		n, ok, err := sizes.once(ctx, title, heights)
		if err != nil {
			return err
		}
		once, known = once+n, known && ok
	}
	if known && once > 0 {
		copies := float64(r.OriginBytes+r.RelayedBytes) / once
		r.OriginCopies = &copies
	}
	return nil
}

func share(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return part / whole
}

// filmSizes remembers versions for the time of one report.
type filmSizes struct {
	titles vod.Titles
	known  map[string]*vod.Version
}

// once is how many bytes of a film were watched, each counted once: of every rendition that was watched, and of one audio
// track, what lies before the furthest place that anybody came to. false for a title that is gone.
func (s *filmSizes) once(ctx context.Context, title string, heights map[int]reached) (float64, bool, error) {
	v, ok := s.known[title]
	if !ok && s.titles != nil {
		switch t, err := s.titles.Get(ctx, vod.TitleID(title)); {
		case err == nil:
			v = &t.Version
		case !errors.Is(err, vod.ErrNotFound):
			return 0, false, fmt.Errorf("find the size of %s: %w", title, err)
		}
		s.known[title] = v
	}
	if v == nil {
		return 0, false, nil
	}
	part := func(ms int64) float64 { return min(1, float64(ms)/float64(v.DurationMs)) }
	var sum, furthest float64
	for height, to := range heights {
		furthest = max(furthest, part(to.ms))
		var size int64
		for i := range v.Files {
			f := &v.Files[i]
			// Who does not say what it watches watches the smallest.
			if f.Kind == vod.Video && (f.Height == height || height == 0 && (size == 0 || f.Size < size)) {
				size = f.Size
			}
		}
		sum += float64(size) * part(to.ms)
	}
	for i := range v.Files {
		if v.Files[i].Kind == vod.Audio {
			sum += float64(v.Files[i].Size) * furthest
			break
		}
	}
	return sum, true, nil
}
