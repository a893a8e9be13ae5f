package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/vod"
)

// SignUp says who may make an account.
type SignUp string

// Who may make an account.
const (
	SignUpOpen       SignUp = "open"       // anybody
	SignUpInvitation SignUp = "invitation" // who was invited
	SignUpClosed     SignUp = "closed"     // nobody: an operator's command makes them
)

// People is what the accounts' part of the API needs. All is required but BillingSecrets.
type People struct {
	Accounts  vod.Accounts
	Links     vod.Links
	Directory vod.Directory
	Audit     vod.AuditLog
	Plans     vod.Plans
	Windows   vod.Windows
	Profiles  vod.Profiles
	SignUp    SignUp
	// BillingSecrets sign the billing system's events: any of them, so that they can be exchanged. None: there is no such
	// system.
	BillingSecrets [][]byte
}

// staff is who does what needs at least that role: a member who has it, or whoever holds an operator's token.
func (s *Server) staff(ctx context.Context, least vod.Role) (vod.Actor, error) {
	v := visitorOf(ctx)
	nobody := newProblem(http.StatusUnauthorized, "unauthorized",
		"Sign in as an operator, or show an operator's token: essaim admin token --role operator.")
	if v.bearer != "" { // it alone counts then: a script whose token is no good must hear of it
		if _, err := s.c.Tickets.Check(vod.AudienceOperator, v.bearer); err != nil {
			return vod.Actor{}, nobody
		}
		return vod.Actor{Name: vod.ActorToken, Device: v.visit.Device}, nil
	}
	d, err := s.session(ctx)
	switch {
	case errors.Is(err, vod.ErrUnauthorized):
		return vod.Actor{}, nobody
	case err != nil:
		return vod.Actor{}, err
	case !d.Member.Role.May(least):
		return vod.Actor{}, vod.ErrForbidden
	}
	return vod.Actor{Member: d.Member.ID, Name: d.Member.Name, Device: d.Device}, nil
}

// operator refuses who is no operator.
func (s *Server) operator(ctx context.Context) error {
	_, err := s.staff(ctx, vod.Operator)
	return err
}

// audited records what another room did for by. What was done stays done where it cannot be written; that is logged.
func (s *Server) audited(ctx context.Context, by vod.Actor, action, subject, detail string) {
	if s.c.People == nil {
		return
	}
	if err := s.c.People.Audit.Record(context.WithoutCancel(ctx), by, action, subject, detail); err != nil {
		s.log.ErrorContext(ctx, "write audit log", "action", action, "error", err)
	}
}

// staffOp is the description of an operation for operators, or editors.
func staffOp(id, method, path, summary string, status int) huma.Operation {
	o := op(id, method, path, summary, status, "operator", "session")
	o.Errors = append(o.Errors, http.StatusForbidden)
	return o
}

func (s *Server) registerPeople() {
	if s.c.People == nil {
		return
	}
	s.registerAccount()
	s.registerSignUp()
	s.registerMembers()
	s.registerInvitations()
	s.registerProfiles()
	s.registerKept()
	s.registerPlans()
	s.registerWindows()
	s.registerWithdrawals()
	s.registerAudit()
	s.registerBilling()
}
