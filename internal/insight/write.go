package insight

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"essaim/internal/vod"
)

// unopened is how long a session is taken to have run that nobody saw begin: its opening was lost with a node.
const unopened = 6 * time.Hour

// rowKey names a row of traffic of the minutes.
type rowKey struct {
	at      int64
	title   string
	network int64
	height  int
	group   vod.Group
}

// row is what one batch adds to a row of traffic.
type row struct {
	totals
	sessions, started, quarantined, reach int64
}

// qualityKey names a row of quality.
type qualityKey struct {
	day    int64
	group  vod.Group
	bucket int
}

// sums are what a batch adds.
type sums struct {
	rows    map[rowKey]*row
	quality map[qualityKey]quality
}

func (s *sums) row(k rowKey) *row {
	r := s.rows[k]
	if r == nil {
		r = &row{}
		s.rows[k] = r
	}
	return r
}

var (
	selectState = `SELECT title, grp, bucket, network, height, film_bytes, began_ms, seen_ms, position_ms, continued, quarantined, ` +
		columns("") + ` FROM play_totals WHERE session = $1`
	upsertState = `INSERT INTO play_totals (session, title, grp, bucket, network, height, film_bytes, began_ms, seen_ms, position_ms, continued, quarantined, ` +
		columns("") + `) VALUES (` + marks(1, 12+countersLen) + `) ON CONFLICT (session) DO UPDATE SET grp = excluded.grp, bucket = excluded.bucket,
		began_ms = excluded.began_ms, network = excluded.network, height = excluded.height, film_bytes = excluded.film_bytes, seen_ms = excluded.seen_ms,
		position_ms = excluded.position_ms, continued = excluded.continued, quarantined = excluded.quarantined, ` +
		each(func(n string) string { return n + " = excluded." + n })
	upsertTraffic = `INSERT INTO traffic (span, at_ms, title, network, height, grp, sessions, started, quarantined, reach_ms, bound_bytes, crowd_ms, ` +
		columns("") + `) VALUES ('minute', ` + marks(1, 9) + `, 0, 0, ` + marks(10, countersLen) + `) ` + addTraffic
	addTraffic = `ON CONFLICT (span, at_ms, title, network, height, grp) DO UPDATE SET sessions = traffic.sessions + excluded.sessions,
		started = traffic.started + excluded.started, quarantined = traffic.quarantined + excluded.quarantined,
		reach_ms = CASE WHEN excluded.reach_ms > traffic.reach_ms THEN excluded.reach_ms ELSE traffic.reach_ms END,
		bound_bytes = traffic.bound_bytes + excluded.bound_bytes, crowd_ms = traffic.crowd_ms + excluded.crowd_ms, ` +
		each(func(n string) string { return n + " = traffic." + n + " + excluded." + n })
	upsertQuality = `INSERT INTO quality (day_ms, grp, bucket, sessions, started, well, startup_ms, startup_log, played_ms, stalls, stalled_ms)
		VALUES (` + marks(1, 11) + `) ON CONFLICT (day_ms, grp, bucket) DO UPDATE SET sessions = quality.sessions + excluded.sessions,
		started = quality.started + excluded.started, well = quality.well + excluded.well, startup_ms = quality.startup_ms + excluded.startup_ms,
		startup_log = quality.startup_log + excluded.startup_log, played_ms = quality.played_ms + excluded.played_ms,
		stalls = quality.stalls + excluded.stalls, stalled_ms = quality.stalled_ms + excluded.stalled_ms`
)

// write adds a batch in one transaction.
func (i *Insight) write(ctx context.Context, batch map[string]*waiting) error {
	err := i.c.Store.Write(ctx, func(tx *sql.Tx) error {
		read, err := tx.PrepareContext(ctx, selectState)
		if err != nil {
			return err
		}
		defer read.Close()
		keep, err := tx.PrepareContext(ctx, upsertState)
		if err != nil {
			return err
		}
		defer keep.Close()
		s := sums{rows: map[rowKey]*row{}, quality: map[qualityKey]quality{}}
		for session, w := range batch {
			before, err := readState(ctx, read, session)
			if err != nil {
				return fmt.Errorf("read a session's totals: %w", err)
			}
			after := i.advance(before, w, &s)
			args := []any{
				session, after.title, string(after.group), after.bucket, after.network, after.height, after.film, after.began, after.seen,
				after.position, number(after.continued), number(after.quarantined),
			}
			for _, n := range after.totals {
				args = append(args, n)
			}
			if _, err := keep.ExecContext(ctx, args...); err != nil {
				return fmt.Errorf("keep a session's totals: %w", err)
			}
		}
		return s.write(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("write players' reports: %w", err)
	}
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// readState returns nil for a session that is not known.
func readState(ctx context.Context, read *sql.Stmt, session string) (*state, error) {
	var s state
	dest := []any{
		&s.title, &s.group, &s.bucket, &s.network, &s.height, &s.film, &s.began, &s.seen, &s.position, &s.continued, &s.quarantined,
	}
	for k := range s.totals {
		dest = append(dest, &s.totals[k])
	}
	switch err := read.QueryRowContext(ctx, session).Scan(dest...); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &s, nil
}

// advance is what becomes of a session, nil for a new one, by what waits; what it adds goes to s.
func (i *Insight) advance(before *state, w *waiting, s *sums) state {
	after, isNew := state{}, before == nil
	if isNew {
		after = begin(w)
		before = &state{}
	} else {
		after = *before
	}
	if w.reported && !after.quarantined {
		r := &w.last
		next := w.totals
		if !w.played { // how far the play head came, but no further than the clock
			next[playedMs] = after.totals[playedMs]
			if at := r.At.UnixMilli(); at > after.seen && r.Report.PositionMs > after.position {
				next[playedMs] += min(r.Report.PositionMs-after.position, at-after.seen)
			}
		}
		after.totals.raise(&next)
		if at := r.At.UnixMilli(); at >= after.seen {
			after.seen, after.position = at, r.Report.PositionMs
			if r.Report.Height > 0 {
				after.height = r.Report.Height
			}
			if r.Network != 0 {
				after.network = i.tell(int64(r.Network), r.At)
			}
		}
		if r.DurationMs > 0 {
			after.position = min(after.position, r.DurationMs)
		}
		after.film = max(after.film, r.FilmBytes)
		if after.group == vod.GroupNone && r.Group != "" {
			after.group, after.bucket = r.Group, r.Bucket
		}
		after.continued = after.continued || r.Report.Continued
		after.totals[playedMs] = min(after.totals[playedMs], speedMax*max(0, after.seen-after.began)+playedSlack)
		after.quarantined = !after.plausible()
	} else if w.reported {
		after.seen = max(after.seen, w.last.At.UnixMilli())
	}
	i.sum(before, &after, isNew, s)
	return after
}

// begin is a session of which nothing is known but what waits.
func begin(w *waiting) state {
	if o := w.opened; o != nil {
		at := o.At.UnixMilli()
		return state{
			title: string(o.Title), group: o.Group, bucket: o.Bucket, network: int64(o.Network), film: o.FilmBytes, began: at, seen: at,
		}
	}
	at := w.last.At
	return state{
		title: string(w.last.Title), group: vod.GroupNone, network: int64(w.last.Network), film: w.last.FilmBytes,
		began: at.Add(-unopened).UnixMilli(), seen: at.UnixMilli(),
		continued: true, // its start was not seen, so it must not count as one that failed
	}
}

// sum adds to s what lies between before and after.
func (i *Insight) sum(before, after *state, isNew bool, s *sums) {
	grew := after.totals.less(&before.totals)
	if !isNew {
		s.judge(before, quality{}.less(before.quality()))
	}
	s.judge(after, after.quality())
	started := after.quality().started
	if !isNew {
		started -= before.quality().started
	}
	// The minute is that of the session's clock where it runs on, which is the service's: so a test's too.
	r := s.row(rowKey{floorMs(after.seen, "minute"), after.title, i.tell(after.network, time.UnixMilli(after.seen)), after.height, after.group})
	switch {
	case after.quarantined && !before.quarantined:
		// All that it has claimed is taken back, in the minute in which it was found out.
		grew = (&totals{}).less(&before.totals)
		r.quarantined++
	case after.quarantined:
		grew = totals{}
	default:
		r.reach = max(r.reach, after.position)
	}
	for k, n := range grew {
		r.totals[k] += n
	}
	if isNew && !after.quarantined {
		r.sessions++
	} else if after.quarantined && !before.quarantined && !isNew {
		r.sessions--
	}
	r.started += started
}

// judge adds to the bucket of a session's viewer.
func (s *sums) judge(of *state, q quality) {
	key := qualityKey{floorMs(of.began, "day"), of.group, of.bucket}
	s.quality[key] = s.quality[key].plus(q)
}

// write adds the sums to the tables.
func (s *sums) write(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.PrepareContext(ctx, upsertTraffic)
	if err != nil {
		return err
	}
	defer rows.Close()
	s.fold(rowsMax)
	for k, r := range s.rows {
		if *r == (row{}) {
			continue
		}
		args := []any{k.at, k.title, k.network, k.height, string(k.group), r.sessions, r.started, r.quarantined, r.reach}
		for _, n := range r.totals {
			args = append(args, n)
		}
		if _, err := rows.ExecContext(ctx, args...); err != nil {
			return fmt.Errorf("add to the minute: %w", err)
		}
	}
	buckets, err := tx.PrepareContext(ctx, upsertQuality)
	if err != nil {
		return err
	}
	defer buckets.Close()
	for k, q := range s.quality {
		if q == (quality{}) {
			continue
		}
		if _, err := buckets.ExecContext(ctx, k.day, string(k.group), k.bucket, q.sessions, q.started, q.well, q.startupMs, q.startupLog,
			q.playedMs, q.stalls, q.stalledMs); err != nil {
			return fmt.Errorf("add to the day's quality: %w", err)
		}
	}
	return nil
}

// rowsMax bounds the rows of one batch.
const rowsMax = 4_000

// fold gives up telling networks apart where there would be too many rows: the smallest first.
func (s *sums) fold(most int) {
	if len(s.rows) <= most {
		return
	}
	keys := make([]rowKey, 0, len(s.rows))
	for k := range s.rows {
		if k.network != otherNetwork {
			keys = append(keys, k)
		}
	}
	size := func(k rowKey) int64 { r := s.rows[k]; return r.totals[originBytes] + r.totals[peerBytes] }
	slices.SortFunc(keys, func(a, b rowKey) int {
		return cmp.Or(cmp.Compare(size(a), size(b)), cmp.Compare(a.title, b.title), cmp.Compare(a.network, b.network),
			cmp.Compare(a.height, b.height), cmp.Compare(a.group, b.group), cmp.Compare(a.at, b.at))
	})
	for _, k := range keys {
		if len(s.rows) <= most {
			return
		}
		from, into := s.rows[k], k
		delete(s.rows, k)
		into.network = otherNetwork
		to := s.row(into)
		for n := range from.totals {
			to.totals[n] += from.totals[n]
		}
		to.sessions += from.sessions
		to.started += from.started
		to.quarantined += from.quarantined
		to.reach = max(to.reach, from.reach)
	}
}

// bound is what share of their bytes c viewers at once can have from one another at most, had nobody kept anything: of
// those who are watching, somebody must have fetched each byte. 1 − (1 − e^−c)/c.
func bound(c float64) float64 {
	if c < 1e-6 {
		return max(0, c/2)
	}
	return 1 + math.Expm1(-c)/c
}
