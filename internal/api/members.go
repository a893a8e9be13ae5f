package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"essaim/internal/vod"
)

// MemberBody is a member as operators see them.
type MemberBody struct {
	ID           string           `json:"id"`
	Name         string           `json:"name"`
	Role         vod.Role         `json:"role" enum:"viewer,editor,operator"`
	Created      time.Time        `json:"created"`
	Devices      int              `json:"devices" doc:"Signed in."`
	Subscription SubscriptionBody `json:"subscription"`
}

type membersInput struct {
	Like  string `query:"like" maxLength:"64" doc:"A part of the name."`
	After string `query:"after" maxLength:"64" doc:"The last name of the page before."`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
}

type membersOutput struct {
	Body struct {
		Members []MemberBody `json:"members" nullable:"false" doc:"In the order of their names."`
	}
}

type memberInput struct {
	ID string `path:"id" maxLength:"64"`
}

type subscriptionInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body SubscriptionBody
}

type subscriptionOutput struct {
	Body SubscriptionBody
}

// RoleBody is a role.
type RoleBody struct {
	Role vod.Role `json:"role" enum:"viewer,editor,operator"`
}

type roleInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body RoleBody
}

type roleOutput struct {
	Body RoleBody
}

type memberEndedOutput struct {
	Body EndedBody
}

// MadeLink is a one-time link that was just made.
type MadeLink struct {
	ID      string    `json:"id"`
	Path    string    `json:"path" doc:"On this server. What stands behind the # opens it: it is told this once, and goes into no request's address."`
	Expires time.Time `json:"expires"`
}

type madeLinkOutput struct {
	Body MadeLink
}

func madeLink(token string, l *vod.Link) *madeLinkOutput {
	return &madeLinkOutput{Body: MadeLink{ID: l.ID, Path: LinkPath(token), Expires: l.Expires}}
}

// LinkPath is the path, on the server, of a one-time link. The token stands in the fragment, which browsers send to nobody.
func LinkPath(token string) string { return "/join#" + token }

const lastOperator = "This is the last operator. Make another one first."

// conflict says what stands in the way, of an error that is vod.ErrConflict; others it leaves as they are.
func conflict(err error, detail string) error {
	if errors.Is(err, vod.ErrConflict) {
		return newProblem(http.StatusConflict, "conflict", detail)
	}
	return err
}

func (s *Server) registerMembers() {
	p := s.c.People
	register(s, staffOp("list-members", "GET", "/api/v1/operator/members", "Members, page by page", 200),
		func(ctx context.Context, in *membersInput) (*membersOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			list, err := p.Directory.List(ctx, in.Like, in.After, in.Limit)
			if err != nil {
				return nil, err
			}
			out := &membersOutput{}
			out.Body.Members = make([]MemberBody, len(list))
			for i := range list {
				m := &list[i]
				out.Body.Members[i] = MemberBody{
					ID: m.ID, Name: m.Name, Role: m.Role, Created: m.Created, Devices: m.Devices, Subscription: subscriptionBody(&m.Subscription),
				}
			}
			return out, nil
		})
	register(s, staffOp("get-subscription", "GET", "/api/v1/operator/members/{id}/subscription", "A member's plan", 200),
		func(ctx context.Context, in *memberInput) (*subscriptionOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			sub, err := p.Plans.Of(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &subscriptionOutput{Body: subscriptionBody(&sub)}, nil
		})
	register(s, staffOp("set-subscription", "PUT", "/api/v1/operator/members/{id}/subscription",
		"Give a member a plan; what they watch and may not any more stops within five seconds", 200),
		func(ctx context.Context, in *subscriptionInput) (*subscriptionOutput, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			if err := p.Plans.Subscribe(ctx, by, in.ID, in.Body.subscription()); err != nil {
				return nil, err
			}
			return &subscriptionOutput{Body: in.Body}, nil
		})
	register(s, staffOp("set-role", "PUT", "/api/v1/operator/members/{id}/role", "Say what a member may do", 200),
		func(ctx context.Context, in *roleInput) (*roleOutput, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			if err := p.Directory.SetRole(ctx, by, in.ID, in.Body.Role); err != nil {
				return nil, conflict(err, lastOperator)
			}
			return &roleOutput{Body: in.Body}, nil
		})
	register(s, staffOp("sign-member-out", "DELETE", "/api/v1/operator/members/{id}/devices", "Sign a member out everywhere", 200),
		func(ctx context.Context, in *memberInput) (*memberEndedOutput, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			n, err := p.Directory.SignOut(ctx, by, in.ID)
			if err != nil {
				return nil, err
			}
			return &memberEndedOutput{Body: EndedBody{Ended: n}}, nil
		})
	register(s, staffOp("remove-member", "DELETE", "/api/v1/operator/members/{id}", "Delete an account", 204),
		func(ctx context.Context, in *memberInput) (*struct{}, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			return nil, conflict(p.Directory.Remove(ctx, by, in.ID), lastOperator)
		})
	register(s, staffOp("reset-password", "POST", "/api/v1/operator/members/{id}/reset",
		"Make a one-time link for a new password, good for a day", 200),
		func(ctx context.Context, in *memberInput) (*madeLinkOutput, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			token, l, err := p.Links.Reset(ctx, by, in.ID)
			if err != nil {
				return nil, err
			}
			return madeLink(token, &l), nil
		})
}

// InvitationBody is an invitation to be made.
type InvitationBody struct {
	Role    vod.Role   `json:"role,omitempty" enum:"viewer,editor,operator" doc:"viewer, unless it says otherwise."`
	Plan    string     `json:"plan,omitempty" maxLength:"64" doc:"standard, unless it says otherwise."`
	Note    string     `json:"note,omitempty" maxLength:"200" doc:"Whom it is for."`
	Expires *time.Time `json:"expires,omitempty" doc:"In a week, unless it says otherwise; in 90 days at most."`
}

type invitationInput struct {
	Body InvitationBody
}

// OpenLink is a one-time link that nobody has used.
type OpenLink struct {
	ID      string       `json:"id"`
	Kind    vod.LinkKind `json:"kind" enum:"invitation,operator,reset"`
	Role    vod.Role     `json:"role,omitempty"`
	Plan    string       `json:"plan,omitempty"`
	Name    string       `json:"name,omitempty" doc:"Of the member whose password it sets."`
	Note    string       `json:"note,omitempty"`
	Expires time.Time    `json:"expires"`
}

type linksOutput struct {
	Body struct {
		Links []OpenLink `json:"links" nullable:"false" doc:"Newest first."`
	}
}

func (s *Server) registerInvitations() {
	p := s.c.People
	register(s, staffOp("list-links", "GET", "/api/v1/operator/links", "Invitations and other one-time links that nobody has used", 200),
		func(ctx context.Context, _ *struct{}) (*linksOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			list, err := p.Links.List(ctx)
			if err != nil {
				return nil, err
			}
			out := &linksOutput{}
			out.Body.Links = make([]OpenLink, len(list))
			for i, l := range list {
				out.Body.Links[i] = OpenLink{ID: l.ID, Kind: l.Kind, Role: l.Role, Plan: l.Plan, Name: l.Name, Note: l.Note, Expires: l.Expires}
			}
			return out, nil
		})
	register(s, staffOp("invite", "POST", "/api/v1/operator/links", "Invite somebody", 200),
		func(ctx context.Context, in *invitationInput) (*madeLinkOutput, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			token, l, err := p.Links.Invite(ctx, by, vod.Link{
				Role: in.Body.Role, Plan: in.Body.Plan, Note: in.Body.Note, Expires: timeOf(in.Body.Expires),
			})
			if err != nil {
				return nil, err
			}
			return madeLink(token, &l), nil
		})
	register(s, staffOp("withdraw-link", "DELETE", "/api/v1/operator/links/{id}", "Withdraw an invitation", 204),
		func(ctx context.Context, in *memberInput) (*struct{}, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			return nil, p.Links.Withdraw(ctx, by, in.ID)
		})
}
