package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

const (
	streamsMax    = 1000
	planNameMax   = 100   // characters
	planTitlesMax = 5_000 // titles that a plan lists
	plansMax      = 1_000

	// staffStreams is how many streams editors and operators may watch at once: they look at titles for their work, whatever
	// their plan.
	staffStreams = 8
)

// Plans keeps plans and subscriptions. It is safe for concurrent use.
type Plans struct{ m *Members }

var (
	_ vod.Plans        = Plans{}
	_ vod.Entitlements = (*Members)(nil)
)

// Plans is the part of the accounts that says who may watch what.
func (m *Members) Plans() Plans { return Plans{m} }

// Entitlement implements vod.Entitlements. Editors and operators may watch every title, for it is their work; its window
// binds them too.
func (m *Members) Entitlement(ctx context.Context, member string, title vod.TitleID) (vod.Entitlement, error) {
	e, err := m.entitlement(ctx, member, title)
	if err != nil {
		return vod.Entitlement{}, fmt.Errorf("entitlement to %s: %w", title, err)
	}
	return e, nil
}

func (m *Members) entitlement(ctx context.Context, member string, title vod.TitleID) (vod.Entitlement, error) {
	var (
		role     vod.Role
		sub      vod.Subscription
		until    int64
		e        vod.Entitlement
		included bool
	)
	err := m.db.Reader().QueryRowContext(ctx, `
		SELECT m.role, s.state, s.until_ms, p.streams, p.highest,
			p.all_titles = 1 OR EXISTS (SELECT 1 FROM plan_titles t WHERE t.plan_id = p.id AND t.title_id = $2)
		FROM members m JOIN subscriptions s ON s.member_id = m.id JOIN plans p ON p.id = s.plan_id
		WHERE m.id = $1`, member, title).Scan(&role, &sub.State, &until, &e.Streams, &e.Highest, &included)
	if errors.Is(err, sql.ErrNoRows) {
		return e, vod.ErrUnauthorized
	}
	if err != nil {
		return e, err
	}
	now := m.clock()
	sub.Until = fromMs(until)
	switch {
	case role.May(vod.Editor):
		e = vod.Entitlement{Streams: max(e.Streams, staffStreams), Highest: vod.TierUHD}
	case !sub.Watches(now):
		return e, fmt.Errorf("%w: %w", vod.ErrForbidden, vod.ErrPlanEnded)
	case !included:
		return e, fmt.Errorf("%w: %w", vod.ErrForbidden, vod.ErrNotIncluded)
	default:
		e.Until = sub.Until
	}
	if m.windows == nil {
		return e, nil
	}
	w, err := m.windows.Window(ctx, title)
	switch {
	case errors.Is(err, vod.ErrNotFound), err == nil && !w.Open(now):
		return e, fmt.Errorf("%w: %w", vod.ErrForbidden, vod.ErrNotAvailable)
	case err != nil:
		return e, err
	}
	if !w.Until.IsZero() && (e.Until.IsZero() || w.Until.Before(e.Until)) {
		e.Until = w.Until
	}
	return e, nil
}

// fromMs reads a time as the database keeps it, 0 for none.
func fromMs(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// toMs is what fromMs reads.
func toMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func checkPlan(p *vod.Plan) error {
	n := utf8.RuneCountInString(p.Name)
	switch {
	case !vod.TitleID(p.ID).Valid():
		return fmt.Errorf("%w: a plan's id is 1 to 64 lower-case letters, digits and hyphens", vod.ErrInvalid)
	case n < 1 || n > planNameMax || !printable(p.Name):
		return fmt.Errorf("%w: a plan's name has 1 to %d characters", vod.ErrInvalid, planNameMax)
	case p.Streams < 1 || p.Streams > streamsMax:
		return fmt.Errorf("%w: a plan has 1 to %d streams", vod.ErrInvalid, streamsMax)
	case p.Highest != vod.TierSD && p.Highest != vod.TierHD && p.Highest != vod.TierUHD:
		return fmt.Errorf("%w: a plan's highest tier is sd, hd or uhd", vod.ErrInvalid)
	case p.AllTitles && len(p.Titles) > 0 || len(p.Titles) > planTitlesMax:
		return fmt.Errorf("%w: a plan includes all titles, or a list of up to %d", vod.ErrInvalid, planTitlesMax)
	}
	for _, id := range p.Titles {
		if !id.Valid() {
			return fmt.Errorf("%w: %q is no title's id", vod.ErrInvalid, id)
		}
	}
	return nil
}

// List implements vod.Plans.
func (p Plans) List(ctx context.Context) ([]vod.Plan, error) {
	list := []vod.Plan{}
	err := p.m.db.Read(ctx, func(tx sqlstore.Querier) (err error) {
		list, err = readPlans(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", err)
	}
	return list, nil
}

func readPlans(ctx context.Context, tx sqlstore.Querier) ([]vod.Plan, error) {
	list, at := []vod.Plan{}, map[string]int{}
	rows, err := tx.QueryContext(ctx, `SELECT id, name, all_titles, streams, highest FROM plans ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var plan vod.Plan
		if err := rows.Scan(&plan.ID, &plan.Name, &plan.AllTitles, &plan.Streams, &plan.Highest); err != nil {
			return nil, err
		}
		at[plan.ID] = len(list)
		list = append(list, plan)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	titles, err := tx.QueryContext(ctx, `SELECT plan_id, title_id FROM plan_titles ORDER BY plan_id, title_id`)
	if err != nil {
		return nil, err
	}
	defer titles.Close()
	for titles.Next() {
		var plan string
		var title vod.TitleID
		if err := titles.Scan(&plan, &title); err != nil {
			return nil, err
		}
		if i, ok := at[plan]; ok {
			list[i].Titles = append(list[i].Titles, title)
		}
	}
	return list, titles.Err()
}

// Put implements vod.Plans.
func (p Plans) Put(ctx context.Context, by vod.Actor, plan vod.Plan) error {
	plan.Name = strings.TrimSpace(plan.Name)
	if err := checkPlan(&plan); err != nil {
		return fmt.Errorf("put plan: %w", err)
	}
	titles := slices.Compact(slices.Sorted(slices.Values(plan.Titles)))
	err := p.m.write(ctx, func(tx *sql.Tx) error {
		var others int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM plans WHERE id <> $1`, plan.ID).Scan(&others); err != nil {
			return err
		}
		if others >= plansMax {
			return fmt.Errorf("%w: there are %d plans already", vod.ErrConflict, others)
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO plans (id, name, all_titles, streams, highest) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, all_titles = excluded.all_titles,
				streams = excluded.streams, highest = excluded.highest`,
			plan.ID, plan.Name, flag(plan.AllTitles), plan.Streams, plan.Highest); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM plan_titles WHERE plan_id = $1`, plan.ID); err != nil {
			return err
		}
		for _, title := range titles {
			if _, err := tx.ExecContext(ctx, `INSERT INTO plan_titles (plan_id, title_id) VALUES ($1, $2)`, plan.ID,
				title); err != nil {
				return err
			}
		}
		included := fmt.Sprintf("%d titles", len(titles))
		if plan.AllTitles {
			included = "all titles"
		}
		return p.m.record(ctx, tx, by, "plan.put", plan.ID,
			fmt.Sprintf("%s, %d streams, up to %s", included, plan.Streams, plan.Highest))
	})
	if err != nil {
		return fmt.Errorf("put plan %s: %w", plan.ID, err)
	}
	return nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Remove implements vod.Plans. Invitations to the plan bring the standard one then.
func (p Plans) Remove(ctx context.Context, by vod.Actor, id string) error {
	err := p.m.write(ctx, func(tx *sql.Tx) error {
		if id == vod.PlanStandard {
			return fmt.Errorf("%w: the plan %s stays, for members who have no other", vod.ErrConflict, id)
		}
		var on int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM subscriptions WHERE plan_id = $1`, id).Scan(&on); err != nil {
			return err
		}
		if on > 0 {
			return fmt.Errorf("%w: %d members are on this plan", vod.ErrConflict, on)
		}
		if n, err := affected(tx.ExecContext(ctx, `DELETE FROM plans WHERE id = $1`, id)); err != nil {
			return err
		} else if n == 0 {
			return vod.ErrNotFound
		}
		return p.m.record(ctx, tx, by, "plan.remove", id, "")
	})
	if err != nil {
		return fmt.Errorf("remove plan: %w", err)
	}
	return nil
}

// affected is how many rows a statement changed.
func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Of implements vod.Plans.
func (p Plans) Of(ctx context.Context, member string) (s vod.Subscription, err error) {
	var until int64
	err = p.m.db.Reader().QueryRowContext(ctx, `SELECT plan_id, state, until_ms FROM subscriptions WHERE member_id = $1`,
		member).Scan(&s.Plan, &s.State, &until)
	if errors.Is(err, sql.ErrNoRows) {
		err = vod.ErrNotFound
	}
	if err != nil {
		return s, fmt.Errorf("subscription: %w", err)
	}
	s.Until = fromMs(until)
	return s, nil
}

// Subscribe implements vod.Plans. What the billing system says later goes before it.
func (p Plans) Subscribe(ctx context.Context, by vod.Actor, member string, s vod.Subscription) error {
	err := p.m.write(ctx, func(tx *sql.Tx) error {
		if err := checkSubscription(ctx, tx, &s); err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx,
			`UPDATE subscriptions SET plan_id = $2, state = $3, until_ms = $4 WHERE member_id = $1`, member, s.Plan, s.State,
			toMs(s.Until)))
		if err != nil {
			return err
		}
		if n == 0 {
			return vod.ErrNotFound
		}
		return p.m.record(ctx, tx, by, "member.subscription", member, subscriptionWords(&s))
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	return nil
}

func subscriptionWords(s *vod.Subscription) string {
	words := s.Plan + ", " + string(s.State)
	if !s.Until.IsZero() {
		words += ", until " + s.Until.UTC().Format(time.RFC3339)
	}
	return words
}

func checkSubscription(ctx context.Context, tx *sql.Tx, s *vod.Subscription) error {
	if !s.State.Valid() {
		return fmt.Errorf("%w: a subscription is trial, active, past_due or ended", vod.ErrInvalid)
	}
	if !s.Until.IsZero() && (s.Until.UnixMilli() <= 0 || s.Until.Year() > 9999) {
		return fmt.Errorf("%w: an end in the year %d", vod.ErrInvalid, s.Until.Year())
	}
	var there int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM plans WHERE id = $1`, s.Plan).Scan(&there)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: there is no plan %q", vod.ErrInvalid, s.Plan)
	}
	return err
}
