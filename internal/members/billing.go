package members

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"essaim/internal/vod"
)

const (
	billingIDMax = 200                 // bytes
	billingKept  = 90 * 24 * time.Hour // how long events are remembered: longer than any sender tries again
)

// Bill implements vod.Plans. An event changes nothing if it was taken before, or if one with a greater or equal sequence
// was. Deliveries may therefore come in any order, and any number of times: the member ends up where the latest puts
// them. What cannot be applied is not remembered, so that it can once the member or the plan exists.
func (p Plans) Bill(ctx context.Context, e vod.BillingEvent) (applied bool, err error) {
	if e.ID == "" || len(e.ID) > billingIDMax || e.Sequence <= 0 || (e.Member == "") == (e.Name == "") {
		return false, fmt.Errorf("billing event: %w: want an id, a positive sequence, and a member's ID or name", vod.ErrInvalid)
	}
	err = p.m.write(ctx, func(tx *sql.Tx) error {
		applied = false
		now := p.m.clock()
		if _, err := tx.ExecContext(ctx, `DELETE FROM billing_events WHERE at_ms <= $1`,
			now.Add(-billingKept).UnixMilli()); err != nil {
			return err
		}
		n, err := affected(tx.ExecContext(ctx,
			`INSERT INTO billing_events (id, at_ms) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, e.ID, now.UnixMilli()))
		if err != nil || n == 0 {
			return err
		}
		if e.Member == "" {
			err := tx.QueryRowContext(ctx, `SELECT id FROM members WHERE name_key = $1`, nameKey(e.Name)).Scan(&e.Member)
			if errors.Is(err, sql.ErrNoRows) {
				return vod.ErrNotFound
			}
			if err != nil {
				return err
			}
		}
		if err := checkSubscription(ctx, tx, &e.Subscription); err != nil {
			return err
		}
		n, err = affected(tx.ExecContext(ctx, `
			UPDATE subscriptions SET plan_id = $2, state = $3, until_ms = $4, sequence = $5
			WHERE member_id = $1 AND sequence < $5`, e.Member, e.Plan, e.State, toMs(e.Until), e.Sequence))
		if err != nil {
			return err
		}
		if n == 0 { // a later one was here, or there is no such member
			var there int
			err := tx.QueryRowContext(ctx, `SELECT 1 FROM members WHERE id = $1`, e.Member).Scan(&there)
			if errors.Is(err, sql.ErrNoRows) {
				return vod.ErrNotFound
			}
			return err
		}
		applied = true
		return p.m.record(ctx, tx, vod.Actor{Name: vod.ActorBilling}, "member.subscription", e.Member,
			subscriptionWords(&e.Subscription))
	})
	if err != nil {
		return false, fmt.Errorf("billing event: %w", err)
	}
	return applied, nil
}
