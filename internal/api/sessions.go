package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"essaim/internal/vod"
)

const cookieName = "essaim_session"

// cookieNameFor is the session cookie's name: under TLS, with the prefix that makes browsers refuse one set by a
// neighbouring host or without Secure (RFC 6265bis, __Host-).
func cookieNameFor(secure bool) string {
	if secure {
		return "__Host-" + cookieName
	}
	return cookieName
}

// sessionCookie is the cookie that keeps token for life; the empty token removes it. Its end is told as a span of time,
// which needs no agreement of clocks.
func sessionCookie(secure bool, token string, life time.Duration) http.Cookie {
	c := http.Cookie{
		Name: cookieNameFor(secure), Value: token, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode,
	}
	c.MaxAge = max(1, int(life.Seconds()))
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// session is the visitor's device session; vod.ErrUnauthorized for a stranger.
func (s *Server) session(ctx context.Context) (vod.DeviceSession, error) {
	token := visitorOf(ctx).token
	if token == "" {
		return vod.DeviceSession{}, vod.ErrUnauthorized
	}
	return s.c.Members.Session(ctx, token)
}

// sessionOrStranger is the visitor's device session, the zero value for a stranger.
func (s *Server) sessionOrStranger(ctx context.Context) (vod.DeviceSession, error) {
	d, err := s.session(ctx)
	if errors.Is(err, vod.ErrUnauthorized) {
		return vod.DeviceSession{}, nil
	}
	return d, err
}

// Me is who is signed in.
type Me struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	Role vod.Role `json:"role" enum:"viewer,editor,operator"`
}

func meOf(d *vod.DeviceSession) Me {
	return Me{ID: d.Member.ID, Name: d.Member.Name, Role: d.Member.Role}
}

type meOutput struct {
	Body Me
}

type signInInput struct {
	Body struct {
		Name     string `json:"name" maxLength:"200"`
		Password string `json:"password" maxLength:"1000"`
	}
}

type signInOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      Me
}

type signOutOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

func (s *Server) registerSessions() {
	register(s, op("sign-in", "POST", "/api/v1/session", "Sign in", 200),
		func(ctx context.Context, in *signInInput) (*signInOutput, error) {
			token, d, err := s.c.Members.SignIn(ctx, in.Body.Name, in.Body.Password, visitorOf(ctx).visit)
			if errors.Is(err, vod.ErrUnauthorized) {
				return nil, newProblem(http.StatusUnauthorized, "wrong_credentials", "That name and password do not go together.")
			}
			if err != nil {
				return nil, err
			}
			return s.signedIn(ctx, token, d), nil
		})
	register(s, op("sign-out", "DELETE", "/api/v1/session", "Sign out", 204),
		func(ctx context.Context, _ *struct{}) (*signOutOutput, error) {
			v := visitorOf(ctx)
			if v.token != "" {
				if err := s.c.Members.SignOut(ctx, v.token); err != nil {
					return nil, err
				}
			}
			return &signOutOutput{SetCookie: sessionCookie(v.secure, "", 0)}, nil
		})
	register(s, op("me", "GET", "/api/v1/me", "Who is signed in", 200, "session"),
		func(ctx context.Context, _ *struct{}) (*meOutput, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			return &meOutput{Body: meOf(&d)}, nil
		})
}

// signedIn hands out the new session, and ends the one that the browser had: nobody can prepare a session for another
// to sign in to.
func (s *Server) signedIn(ctx context.Context, token string, d vod.DeviceSession) *signInOutput {
	v := visitorOf(ctx)
	if v.token != "" {
		if err := s.c.Members.SignOut(ctx, v.token); err != nil {
			s.log.WarnContext(ctx, "end the former session", "error", err)
		}
	}
	return &signInOutput{
		SetCookie: sessionCookie(v.secure, token, d.Expires.Sub(s.c.Clock())), Body: meOf(&d),
	}
}

type demoOutput struct {
	Body struct {
		Members []string `json:"members" doc:"Who signs in with one click."`
		Sharing bool     `json:"sharing" doc:"Viewers have agreed to share unless they say no."`
	}
}

type demoSignInInput struct {
	Body struct {
		Name string `json:"name" maxLength:"200"`
	}
}

func (s *Server) registerDemo() {
	register(s, op("demo", "GET", "/api/v1/demo", "What a demonstration offers; elsewhere 404", 200),
		func(context.Context, *struct{}) (*demoOutput, error) {
			out := &demoOutput{}
			out.Body.Members, out.Body.Sharing = s.c.Demo.Members, true
			return out, nil
		})
	register(s, op("demo-sign-in", "POST", "/demo/sign-in", "Sign in with one click, in a demonstration only", 200),
		func(ctx context.Context, in *demoSignInInput) (*signInOutput, error) {
			if !slices.Contains(s.c.Demo.Members, in.Body.Name) {
				return nil, vod.ErrNotFound
			}
			token, d, err := s.c.Demo.SignIn(ctx, in.Body.Name, visitorOf(ctx).visit)
			if err != nil {
				return nil, err
			}
			return s.signedIn(ctx, token, d), nil
		})
}
