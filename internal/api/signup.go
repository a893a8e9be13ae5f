package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"essaim/internal/vod"
)

type signUpRuleOutput struct {
	Body struct {
		SignUp SignUp `json:"sign_up" enum:"open,invitation,closed" doc:"Who may make an account."`
	}
}

type linkInput struct {
	Body struct {
		Token string `json:"token" maxLength:"100" doc:"What stands behind the # of the link."`
	}
}

// LinkBody is what a one-time link is for.
type LinkBody struct {
	Kind    vod.LinkKind `json:"kind" enum:"invitation,operator,reset"`
	Role    vod.Role     `json:"role,omitempty" doc:"Of the new account."`
	Name    string       `json:"name,omitempty" doc:"Of the account whose password is set anew."`
	Expires time.Time    `json:"expires"`
}

type linkOutput struct {
	Body LinkBody
}

type useLinkInput struct {
	Body struct {
		Token    string `json:"token" maxLength:"100"`
		Name     string `json:"name,omitempty" maxLength:"200" doc:"Of the new account."`
		Password string `json:"password" maxLength:"1000"`
	}
}

func (s *Server) registerSignUp() {
	p := s.c.People
	register(s, op("sign-up-rule", "GET", "/api/v1/sign-up", "Who may make an account", 200),
		func(context.Context, *struct{}) (*signUpRuleOutput, error) {
			out := &signUpRuleOutput{}
			out.Body.SignUp = p.SignUp
			return out, nil
		})
	register(s, op("sign-up", "POST", "/api/v1/sign-up", "Make an account, where anybody may, and sign in", 200),
		func(ctx context.Context, in *signInInput) (*signInOutput, error) {
			if p.SignUp != SignUpOpen {
				return nil, newProblem(http.StatusForbidden, "sign_up_closed", "Accounts are made by invitation here.")
			}
			token, d, err := p.Accounts.SignUp(ctx, in.Body.Name, in.Body.Password, visitorOf(ctx).visit)
			if err != nil {
				return nil, weak(taken(err))
			}
			return s.signedIn(ctx, token, d), nil
		})
	register(s, op("look-at-link", "POST", "/api/v1/links/look", "What a one-time link is for", 200),
		func(ctx context.Context, in *linkInput) (*linkOutput, error) {
			l, err := s.link(ctx, in.Body.Token)
			if err != nil {
				return nil, err
			}
			return &linkOutput{Body: LinkBody{Kind: l.Kind, Role: l.Role, Name: l.Name, Expires: l.Expires}}, nil
		})
	register(s, op("use-link", "POST", "/api/v1/links/use", "Set the password of the account that the link is for, and sign in", 200),
		func(ctx context.Context, in *useLinkInput) (*signInOutput, error) {
			if _, err := s.link(ctx, in.Body.Token); err != nil {
				return nil, err
			}
			token, d, err := p.Accounts.UseLink(ctx, in.Body.Token, in.Body.Name, in.Body.Password, visitorOf(ctx).visit)
			if err != nil {
				return nil, weak(taken(dead(err)))
			}
			return s.signedIn(ctx, token, d), nil
		})
}

// link is a one-time link that may be used now. One that was used, has expired, never was, or invites to a service that is
// closed meanwhile, all look alike.
func (s *Server) link(ctx context.Context, token string) (vod.Link, error) {
	l, err := s.c.People.Accounts.Link(ctx, token)
	if err == nil && l.Kind == vod.LinkInvitation && s.c.People.SignUp == SignUpClosed {
		err = vod.ErrNotFound
	}
	return l, dead(err)
}

// dead says that a link is no good.
func dead(err error) error {
	if errors.Is(err, vod.ErrNotFound) {
		return newProblem(http.StatusNotFound, "link_dead", "This link has been used or has expired. Ask for a new one.")
	}
	return err
}

// taken says that a name is another's.
func taken(err error) error {
	if errors.Is(err, vod.ErrConflict) {
		return newProblem(http.StatusConflict, "name_taken", "That name is taken. Choose another.")
	}
	return err
}
