package api

import (
	"context"
	"time"

	"essaim/internal/vod"
)

// WithdrawnBody says whether a title is withdrawn.
type WithdrawnBody struct {
	Withdrawn *time.Time `json:"withdrawn,omitempty" doc:"Since when; absent: it is not."`
}

type withdrawnInput struct {
	ID string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
}

type withdrawnOutput struct {
	Body WithdrawnBody
}

func (s *Server) registerWithdrawals() {
	w := s.c.People.Windows
	register(s, staffOp("withdraw-title", "POST", "/api/v1/operator/titles/{id}/withdraw",
		"Take a title from everybody: its players stop, and its tickets open nothing, within five seconds; for editors", 200),
		func(ctx context.Context, in *withdrawnInput) (*withdrawnOutput, error) {
			return s.withdraw(ctx, in.ID, "title.withdraw", func(id vod.TitleID) error {
				if err := w.Withdraw(ctx, id); err != nil {
					return err
				}
				// Whoever asks again where this failed has the players told all the same.
				return s.c.Ends.EndTitle(ctx, id, vod.EndWithdrawn)
			})
		})
	register(s, staffOp("restore-title", "POST", "/api/v1/operator/titles/{id}/restore",
		"Give a withdrawn title back, to whom its window and the plans give it; for editors", 200),
		func(ctx context.Context, in *withdrawnInput) (*withdrawnOutput, error) {
			return s.withdraw(ctx, in.ID, "title.restore", func(id vod.TitleID) error { return w.Restore(ctx, id) })
		})
}

// withdraw does either, writes it down, and answers with how things are now.
func (s *Server) withdraw(ctx context.Context, id, action string, do func(vod.TitleID) error) (*withdrawnOutput, error) {
	by, err := s.staff(ctx, vod.Editor)
	if err != nil {
		return nil, err
	}
	if err := do(vod.TitleID(id)); err != nil {
		return nil, err
	}
	s.audited(ctx, by, action, id, "")
	list, err := s.c.People.Windows.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &withdrawnOutput{}
	for i := range list {
		if list[i].ID == vod.TitleID(id) {
			out.Body.Withdrawn = optional(list[i].Withdrawn)
		}
	}
	return out, nil
}
