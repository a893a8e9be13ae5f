package members

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"essaim/internal/vod"
)

// lapsesMax is how many streams one look ends: the next one, a second later, ends more.
const lapsesMax = 1_000

// lapse ends the streams of those who may not watch what they are watching any more, and tells the players of titles whose
// window has closed. It looks at how things are, and not at what has changed: so it does not matter which program changed
// it, whether that program lived to tell, or whether nothing but the time has passed.
func (m *Members) lapse(ctx context.Context, log *slog.Logger) {
	if err := m.lapseStreams(ctx); err != nil && ctx.Err() == nil {
		log.ErrorContext(ctx, "end streams whose plan has ended", "error", err)
	}
	if err := m.lapseWindows(ctx); err != nil && ctx.Err() == nil {
		log.ErrorContext(ctx, "end streams of titles whose window has closed", "error", err)
	}
}

// lapsed are the streams of viewers (editors and operators watch for their work) without an entitlement at the time $1, or
// with less of one than they began with, and why: their plan has ended, their plan does not include the title, or (neither)
// no pictures as good. It is Entitlement's rule for many at once.
const lapsed = `SELECT session, ended, excluded FROM (
	SELECT x.session, s.state = 'ended' OR (s.until_ms <> 0 AND s.until_ms <= $1) AS ended,
		p.all_titles = 0 AND NOT EXISTS (SELECT 1 FROM plan_titles t WHERE t.plan_id = p.id AND t.title_id = x.title) AS excluded,
		x.highest = 'uhd' AND p.highest <> 'uhd' OR x.highest = 'hd' AND p.highest = 'sd' AS lowered
	FROM streams x JOIN members m ON m.id = x.member_id JOIN subscriptions s ON s.member_id = m.id JOIN plans p ON p.id = s.plan_id
	WHERE m.role = 'viewer') AS y
	WHERE ended OR excluded OR lowered ORDER BY session LIMIT $2`

func (m *Members) lapseStreams(ctx context.Context) error {
	why := map[string]vod.PlayEnd{}
	rows, err := m.db.Reader().QueryContext(ctx, lapsed, m.clock().UnixMilli(), lapsesMax)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var session string
		var ended, excluded bool
		if err := rows.Scan(&session, &ended, &excluded); err != nil {
			return err
		}
		switch {
		case ended:
			why[session] = vod.EndPlanEnded
		case excluded:
			why[session] = vod.EndNotIncluded
		default:
			why[session] = vod.EndPlanChanged
		}
	}
	if err := rows.Err(); err != nil || len(why) == 0 {
		return err
	}
	return m.write(ctx, func(tx *sql.Tx) error {
		for session, end := range why {
			if err := m.endPlay(ctx, tx, session, end); err != nil {
				return err
			}
		}
		return nil
	})
}

// closed are the titles whose window was found closed. Only Follow's goroutine uses it.
type closed struct {
	titles map[vod.TitleID]bool // nil: nobody has looked yet
}

func (m *Members) lapseWindows(ctx context.Context) error {
	if m.windows == nil {
		return nil
	}
	list, err := m.windows.List(ctx)
	if err != nil {
		return err
	}
	now, before, first := m.clock(), m.closed.titles, m.closed.titles == nil
	m.closed.titles = map[vod.TitleID]bool{}
	for i := range list {
		id := list[i].ID
		switch {
		case list[i].Window.Open(now), !list[i].Withdrawn.IsZero(): // of the latter they were told then
			continue
		case !first && !before[id]:
			if err := m.EndTitle(ctx, id, vod.EndNotAvailable); err != nil {
				m.closed.titles = before // all of them again
				return fmt.Errorf("end %s: %w", id, err)
			}
		}
		m.closed.titles[id] = true
	}
	return nil
}
