package vod

import (
	"context"
	"time"
)

// PlanStandard is the plan that exists from the start, and that members get who are given no other: all titles.
const PlanStandard = "standard"

// Plan is what members on it may watch.
type Plan struct {
	ID        string // 1 to 64 lower-case letters, digits and hyphens
	Name      string // 1 to 100 characters
	AllTitles bool
	Titles    []TitleID // those included where AllTitles is false, in order
	Streams   int       // at once, 1 to 1000
	Highest   Tier      // of the pictures
}

// SubscriptionState is how it stands between a member and a plan.
type SubscriptionState string

// The states. In all but the last the member may watch.
const (
	Trial   SubscriptionState = "trial"
	Active  SubscriptionState = "active"
	PastDue SubscriptionState = "past_due" // not paid yet, and not cut off either
	Ended   SubscriptionState = "ended"
)

// Valid reports whether s is one of the states.
func (s SubscriptionState) Valid() bool {
	switch s {
	case Trial, Active, PastDue, Ended:
		return true
	}
	return false
}

// Subscription is a member's plan.
type Subscription struct {
	Plan  string
	State SubscriptionState
	Until time.Time // when it ends by itself; zero: not before something changes
}

// Watches reports whether the subscription lets its member watch at that time.
func (s *Subscription) Watches(now time.Time) bool {
	return s.State.Valid() && s.State != Ended && (s.Until.IsZero() || now.Before(s.Until))
}

// Plans keeps plans and who is on them.
type Plans interface {
	// List returns all plans, in the order of their IDs.
	List(ctx context.Context) ([]Plan, error)
	// Put makes a plan, or changes the one of that ID: for everybody on it at once. ErrInvalid.
	Put(ctx context.Context, by Actor, p Plan) error
	// Remove takes a plan away. ErrNotFound; ErrConflict while somebody is on it, and for PlanStandard.
	Remove(ctx context.Context, by Actor, id string) error
	// Of is the subscription of the member of that ID; ErrNotFound.
	Of(ctx context.Context, member string) (Subscription, error)
	// Subscribe gives the member of that ID a subscription; ErrNotFound for no such member, ErrInvalid for no such plan.
	Subscribe(ctx context.Context, by Actor, member string, s Subscription) error
	// Bill applies an event of the billing system, and says whether it changed anything: one that came before, or after a
	// later one, does not. ErrNotFound for no such member, ErrInvalid for no such plan.
	Bill(ctx context.Context, e BillingEvent) (bool, error)
}

// BillingEvent is what a billing system says of a member.
type BillingEvent struct {
	ID       string // unique among its events
	Sequence int64  // positive, and greater than that of all earlier events of this member
	Member   string // ID; or
	Name     string // the name
	Subscription
}

// Actor is who does something, as the audit log names them.
type Actor struct {
	Member string // ID; empty for no member
	Name   string // the member's, or one of the Actor… constants
	Device string // the device session, in words
}

// The names of actors that are no members.
const (
	ActorToken   = "token"   // whoever holds an operator's token
	ActorAdmin   = "admin"   // whoever may open the database: essaim admin
	ActorBilling = "billing" // the billing system
	ActorService = "service" // the program itself
)

// Window is when a title may be seen and played. Zero times are no bounds.
type Window struct {
	From  time.Time // inclusive
	Until time.Time // exclusive
}

// Open reports whether w is open at that time.
func (w Window) Open(now time.Time) bool {
	return (w.From.IsZero() || !now.Before(w.From)) && (w.Until.IsZero() || now.Before(w.Until))
}

// Over reports whether w has closed for good.
func (w Window) Over(now time.Time) bool { return !w.Until.IsZero() && !now.Before(w.Until) }

// String is w in words, for the audit log.
func (w Window) String() string {
	words := func(t time.Time) string {
		if t.IsZero() {
			return "–"
		}
		return t.UTC().Format(time.RFC3339)
	}
	return "from " + words(w.From) + ", until " + words(w.Until)
}

// TitleWindow is a title with its window, open or not.
type TitleWindow struct {
	ID        TitleID
	Name      string
	Open      bool // to all, as Title.Open
	Published time.Time
	Withdrawn time.Time // zero: it is not
	Window    Window
}

// Windows keeps when titles may be seen.
type Windows interface {
	// List returns all titles that were published, also those withdrawn since, with their windows, the newest first.
	List(ctx context.Context) ([]TitleWindow, error)
	// Window is the title's; ErrNotFound for what is not published.
	Window(ctx context.Context, id TitleID) (Window, error)
	// SetWindow changes it, for everybody at once; ErrNotFound, and ErrInvalid for one that ends before it begins.
	SetWindow(ctx context.Context, id TitleID, w Window) error
	// Withdraw takes the title from everybody, whatever its window, until Restore or its next publication; ErrNotFound. Its
	// players have to be told: PlayEnds.EndTitle.
	Withdraw(ctx context.Context, id TitleID) error
	// Restore undoes Withdraw; ErrNotFound for what was never published.
	Restore(ctx context.Context, id TitleID) error
}
