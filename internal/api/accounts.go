package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"essaim/internal/vod"
)

// AccountBody is what a member sees of their own account.
type AccountBody struct {
	Me
	Subscription SubscriptionBody `json:"subscription"`
	Plan         PlanBody         `json:"plan"`
	Watches      bool             `json:"watches" doc:"The subscription lets them watch at the moment."`
}

// SubscriptionBody is a member's plan.
type SubscriptionBody struct {
	Plan  string                `json:"plan" maxLength:"64" doc:"The plan's ID."`
	State vod.SubscriptionState `json:"state" enum:"trial,active,past_due,ended"`
	Until *time.Time            `json:"until,omitempty" doc:"When it ends by itself; absent: not before something changes."`
}

func subscriptionBody(s *vod.Subscription) SubscriptionBody {
	return SubscriptionBody{Plan: s.Plan, State: s.State, Until: optional(s.Until)}
}

func (b *SubscriptionBody) subscription() vod.Subscription {
	return vod.Subscription{Plan: b.Plan, State: b.State, Until: timeOf(b.Until)}
}

// optional is t as a body has it: nil for the zero time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// timeOf is what optional makes.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

type accountOutput struct {
	Body AccountBody
}

// DeviceBody is one of a member's device sessions.
type DeviceBody struct {
	ID      string    `json:"id"`
	Name    string    `json:"name" doc:"What it calls itself, such as Firefox · Linux; empty where that is not known."`
	Opened  time.Time `json:"opened"`
	Seen    time.Time `json:"seen" doc:"To about a minute."`
	Current bool      `json:"current" doc:"The one that asks."`
}

type devicesOutput struct {
	Body struct {
		Devices []DeviceBody `json:"devices" nullable:"false" doc:"The one seen last first."`
	}
}

type deviceInput struct {
	ID string `path:"id" maxLength:"64"`
}

type endedOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      EndedBody
}

// EndedBody says how many device sessions ended.
type EndedBody struct {
	Ended int `json:"ended"`
}

type passwordInput struct {
	Body struct {
		Current  string `json:"current" maxLength:"1000"`
		Password string `json:"password" maxLength:"1000" doc:"At least 8 characters."`
	}
}

func (s *Server) registerAccount() {
	p := s.c.People
	register(s, op("account", "GET", "/api/v1/account", "One's own account and plan", 200, "session"), s.account)
	register(s, op("devices", "GET", "/api/v1/account/devices", "Where one is signed in", 200, "session"),
		func(ctx context.Context, _ *struct{}) (*devicesOutput, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			list, err := p.Accounts.Devices(ctx, d.Member.ID)
			if err != nil {
				return nil, err
			}
			out := &devicesOutput{}
			out.Body.Devices = make([]DeviceBody, len(list))
			for i, x := range list {
				out.Body.Devices[i] = DeviceBody{ID: x.ID, Name: x.Name, Opened: x.Opened, Seen: x.Seen, Current: x.ID == d.ID}
			}
			return out, nil
		})
	register(s, op("end-device", "DELETE", "/api/v1/account/devices/{id}", "Sign one of them out", 204, "session"),
		func(ctx context.Context, in *deviceInput) (*struct{}, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			return nil, p.Accounts.EndDevice(ctx, d, in.ID)
		})
	register(s, op("end-devices", "DELETE", "/api/v1/account/devices", "Sign out everywhere, here too", 200, "session"),
		func(ctx context.Context, _ *struct{}) (*endedOutput, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			n, err := p.Accounts.EndDevices(ctx, d)
			if err != nil {
				return nil, err
			}
			return &endedOutput{SetCookie: sessionCookie(visitorOf(ctx).secure, "", 0), Body: EndedBody{Ended: n}}, nil
		})
	register(s, op("set-password", "PUT", "/api/v1/account/password", "Change one's password, which ends all other sessions", 204, "session"),
		func(ctx context.Context, in *passwordInput) (*struct{}, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			err = p.Accounts.SetPassword(ctx, d, in.Body.Current, in.Body.Password)
			if errors.Is(err, vod.ErrUnauthorized) {
				return nil, newProblem(http.StatusForbidden, "wrong_password", "That is not your present password.")
			}
			return nil, weak(err)
		})
}

// weak says of a name or password that cannot be which of them it is; other errors it leaves as they are.
func weak(err error) error {
	if errors.Is(err, vod.ErrInvalid) {
		return newProblem(http.StatusBadRequest, "weak_password",
			"A name has 1 to 64 characters, a password at least 8 (and at most 512 bytes).")
	}
	return err
}

func (s *Server) account(ctx context.Context, _ *struct{}) (*accountOutput, error) {
	d, err := s.session(ctx)
	if err != nil {
		return nil, err
	}
	sub, err := s.c.People.Plans.Of(ctx, d.Member.ID)
	if err != nil {
		return nil, err
	}
	plans, err := s.c.People.Plans.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &accountOutput{Body: AccountBody{Me: meOf(&d), Subscription: subscriptionBody(&sub), Watches: sub.Watches(s.c.Clock())}}
	for i := range plans {
		if plans[i].ID == sub.Plan {
			out.Body.Plan = planBody(&plans[i])
		}
	}
	return out, nil
}
