package insight

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// How long what is kept.
const (
	minutesKept = 6 * time.Hour
	hoursKept   = 31 * 24 * time.Hour // networks are told apart as long
	daysKept    = 10 * 366 * 24 * time.Hour
	// totalsKept is how long a session is remembered that says nothing more: longer than its last ticket is good for, so that
	// nothing of it can be counted twice.
	totalsKept = 24 * time.Hour
	qualityFor = 400 * 24 * time.Hour
	// networksAnHour is how many networks the hours tell apart, those with the most bytes.
	networksAnHour = 100

	rollEvery = 5 * time.Minute
	// hoursAtOnce bounds what one transaction rolls up, so that no reader or writer waits long for it.
	hoursAtOnce = 8
)

// rollUp moves minutes into hours, hours into days, and forgets what is old. Called with flushing held.
func (i *Insight) rollUp(ctx context.Context) error {
	now := i.c.Clock()
	if !i.rolled.IsZero() && now.Sub(i.rolled) < rollEvery {
		return nil
	}
	for {
		more := false
		err := i.c.Store.Write(ctx, func(tx *sql.Tx) (err error) {
			if more, err = rollHours(ctx, tx, floor(now.Add(-minutesKept), "hour")); err != nil || more {
				return err
			}
			if more, err = rollDays(ctx, tx, floor(now.Add(-hoursKept), "day")); err != nil || more {
				return err
			}
			return forget(ctx, tx, now)
		})
		if err != nil {
			return fmt.Errorf("roll up: %w", err)
		}
		if !more {
			break
		}
	}
	i.rolled = now
	return nil
}

func forget(ctx context.Context, tx *sql.Tx, now time.Time) error {
	for _, f := range []struct {
		query  string
		before time.Time
	}{
		{`DELETE FROM play_totals WHERE seen_ms < $1`, now.Add(-totalsKept)},
		{`DELETE FROM traffic WHERE span = 'day' AND at_ms < $1`, now.Add(-daysKept)},
		{`DELETE FROM origin_counts WHERE day_ms < $1`, now.Add(-daysKept)},
		{`DELETE FROM quality WHERE day_ms < $1`, now.Add(-qualityFor)},
	} {
		if _, err := tx.ExecContext(ctx, f.query, f.before.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// starts lists the beginnings of the larger spans in which there are rows of a smaller one, before an end, at most n.
func starts(ctx context.Context, tx *sql.Tx, small, large span, before int64, n int) (list []int64, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT DISTINCT at_ms - at_ms % $1 FROM traffic WHERE span = $2 AND at_ms < $3 ORDER BY 1 LIMIT $4`,
		large.length(), string(small), before, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var at int64
		if err := rows.Scan(&at); err != nil {
			return nil, err
		}
		list = append(list, at)
	}
	return list, rows.Err()
}

// rollHours turns the minutes before an hour into hours, some at a time.
func rollHours(ctx context.Context, tx *sql.Tx, before int64) (more bool, err error) {
	hours, err := starts(ctx, tx, "minute", "hour", before, hoursAtOnce)
	if err != nil {
		return false, err
	}
	for _, hour := range hours {
		to := hour + span("hour").length()
		// The networks with the most bytes; of the hour's rows that are there already, too.
		if _, err := tx.ExecContext(ctx, `INSERT INTO traffic (span, at_ms, title, network, height, grp, sessions, started, quarantined, reach_ms, bound_bytes, crowd_ms, `+columns("")+`)
			SELECT 'hour', CAST($1 AS INTEGER), title, net, height, grp, SUM(sessions), SUM(started), SUM(quarantined), MAX(reach_ms), 0, 0, `+each(func(n string) string { return "SUM(" + n + ")" })+`
			FROM (SELECT *, CASE WHEN network IN (
					SELECT network FROM traffic WHERE span IN ('minute', 'hour') AND at_ms >= $2 AND at_ms < $3
					GROUP BY network ORDER BY SUM(origin_bytes + peer_bytes) DESC, network LIMIT $4)
				THEN network ELSE -1 END AS net FROM traffic WHERE span = 'minute' AND at_ms >= $5 AND at_ms < $6) AS m
			WHERE true GROUP BY title, net, height, grp `+addTraffic, hour, hour, to, networksAnHour, hour, to); err != nil {
			return false, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM traffic WHERE span = 'minute' AND at_ms >= $1 AND at_ms < $2`, hour, to); err != nil {
			return false, err
		}
	}
	return len(hours) == hoursAtOnce, nil
}

// rollDays turns the hours before a day into days, one day at a time. What the viewers of each hour could have had from one
// another is worked out before the hours are gone.
func rollDays(ctx context.Context, tx *sql.Tx, before int64) (more bool, err error) {
	days, err := starts(ctx, tx, "hour", "day", before, 1)
	if err != nil || len(days) == 0 {
		return false, err
	}
	from, to := days[0], days[0]+span("day").length()
	if _, err := tx.ExecContext(ctx, `INSERT INTO traffic (span, at_ms, title, network, height, grp, sessions, started, quarantined, reach_ms, bound_bytes, crowd_ms, `+columns("")+`)
		SELECT 'day', CAST($1 AS INTEGER), title, 0, height, grp, SUM(sessions), SUM(started), SUM(quarantined), MAX(reach_ms), 0, 0, `+each(func(n string) string { return "SUM(" + n + ")" })+`
		FROM traffic WHERE span = 'hour' AND at_ms >= $2 AND at_ms < $3 GROUP BY title, height, grp `+addTraffic, from, from, to); err != nil {
		return false, err
	}
	crowds, err := hourlyCrowds(ctx, tx, from, to)
	if err != nil {
		return false, err
	}
	for k, c := range crowds {
		if _, err := tx.ExecContext(ctx, `UPDATE traffic SET bound_bytes = bound_bytes + $1, crowd_ms = crowd_ms + $2
			WHERE span = 'day' AND at_ms = $3 AND title = $4 AND network = 0 AND height = $5 AND grp = $6`,
			int64(c.bound), int64(c.crowd*1000), from, k.title, k.height, string(vod.GroupSharing)); err != nil {
			return false, err
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM traffic WHERE span = 'hour' AND at_ms >= $1 AND at_ms < $2`, from, to)
	return true, err
}

// crowdKey is what viewers of the same bytes have in common, on one day.
type crowdKey struct {
	day    int64
	title  string
	height int
}

// crowd is what the viewers who share could have given one another.
type crowd struct {
	bound float64 // bytes
	crowd float64 // played ms times the viewers at once
}

// hourlyCrowds works out, hour by hour, how many viewers who share watched the same rendition at once on average: the film
// that they played in the hour divided by the hour.
func hourlyCrowds(ctx context.Context, tx sqlstore.Querier, from, to int64) (map[crowdKey]crowd, error) {
	rows, err := tx.QueryContext(ctx, `SELECT at_ms - at_ms % 3600000, title, height, SUM(played_ms), SUM(origin_bytes + peer_bytes) FROM traffic
		WHERE span IN ('minute', 'hour') AND grp = 'sharing' AND at_ms >= $1 AND at_ms < $2 GROUP BY 1, 2, 3`, from, to)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := map[crowdKey]crowd{}
	for rows.Next() {
		var hour, played, bytes int64
		var k crowdKey
		if err := rows.Scan(&hour, &k.title, &k.height, &played, &bytes); err != nil {
			return nil, err
		}
		k.day = floorMs(hour, "day")
		c := float64(max(0, played)) / float64(span("hour").length())
		sum := list[k]
		sum.bound += float64(max(0, bytes)) * bound(c)
		sum.crowd += float64(max(0, played)) * c
		list[k] = sum
	}
	return list, rows.Err()
}
