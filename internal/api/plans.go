package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"essaim/internal/vod"
)

// PlanBody is a plan.
type PlanBody struct {
	ID        string        `json:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Name      string        `json:"name" minLength:"1" maxLength:"400"`
	AllTitles bool          `json:"all_titles" doc:"It includes all titles."`
	Titles    []vod.TitleID `json:"titles,omitempty" maxItems:"5000" doc:"Otherwise, those that it includes."`
	Streams   int           `json:"streams" minimum:"1" maximum:"1000" doc:"At once."`
	Highest   vod.Tier      `json:"highest" enum:"sd,hd,uhd" doc:"The best class of pictures: below 720 lines, to 1080, above."`
}

func planBody(p *vod.Plan) PlanBody {
	return PlanBody{ID: p.ID, Name: p.Name, AllTitles: p.AllTitles, Titles: p.Titles, Streams: p.Streams, Highest: p.Highest}
}

type plansOutput struct {
	Body struct {
		Plans []PlanBody `json:"plans" nullable:"false" doc:"In the order of their IDs."`
	}
}

// PlanChange is a plan without its ID.
type PlanChange struct {
	Name      string        `json:"name" minLength:"1" maxLength:"400"`
	AllTitles bool          `json:"all_titles"`
	Titles    []vod.TitleID `json:"titles,omitempty" maxItems:"5000"`
	Streams   int           `json:"streams" minimum:"1" maximum:"1000"`
	Highest   vod.Tier      `json:"highest" enum:"sd,hd,uhd"`
}

type planIDInput struct {
	ID string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
}

type planInput struct {
	ID   string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Body PlanChange
}

type planOutput struct {
	Body PlanBody
}

// planBytesMax bounds a plan with all the titles that it may list.
const planBytesMax = 512 << 10

func (s *Server) registerPlans() {
	p := s.c.People
	register(s, staffOp("list-plans", "GET", "/api/v1/operator/plans", "All plans", 200),
		func(ctx context.Context, _ *struct{}) (*plansOutput, error) {
			if err := s.operator(ctx); err != nil {
				return nil, err
			}
			list, err := p.Plans.List(ctx)
			if err != nil {
				return nil, err
			}
			out := &plansOutput{}
			out.Body.Plans = make([]PlanBody, len(list))
			for i := range list {
				out.Body.Plans[i] = planBody(&list[i])
			}
			return out, nil
		})
	put := staffOp("put-plan", "PUT", "/api/v1/operator/plans/{id}", "Make a plan, or change one for everybody on it", 200)
	put.MaxBodyBytes = planBytesMax
	register(s, put, func(ctx context.Context, in *planInput) (*planOutput, error) {
		by, err := s.staff(ctx, vod.Operator)
		if err != nil {
			return nil, err
		}
		plan := vod.Plan{
			ID: in.ID, Name: in.Body.Name, AllTitles: in.Body.AllTitles, Titles: in.Body.Titles, Streams: in.Body.Streams,
			Highest: in.Body.Highest,
		}
		if err := p.Plans.Put(ctx, by, plan); err != nil {
			return nil, err
		}
		return &planOutput{Body: planBody(&plan)}, nil
	})
	register(s, staffOp("remove-plan", "DELETE", "/api/v1/operator/plans/{id}", "Take a plan away that nobody is on", 204),
		func(ctx context.Context, in *planIDInput) (*struct{}, error) {
			by, err := s.staff(ctx, vod.Operator)
			if err != nil {
				return nil, err
			}
			return nil, conflict(p.Plans.Remove(ctx, by, in.ID), "Somebody is on this plan, or it is the one for members without another.")
		})
}

// WindowBody is when a title may be seen and played.
type WindowBody struct {
	From  *time.Time `json:"from,omitempty" doc:"Not before; absent: no bound."`
	Until *time.Time `json:"until,omitempty" doc:"Before that; absent: no bound."`
}

// StaffTitle is a title as editors see it, inside its window or not.
type StaffTitle struct {
	ID        vod.TitleID `json:"id"`
	Name      string      `json:"name"`
	Open      bool        `json:"open"`
	Published time.Time   `json:"published"`
	Window    WindowBody  `json:"window"`
	Withdrawn *time.Time  `json:"withdrawn,omitempty" doc:"Since when; absent: it is not."`
	Shown     bool        `json:"shown" doc:"It is not withdrawn, and its window is open at the moment."`
}

type staffTitlesOutput struct {
	Body struct {
		Titles []StaffTitle `json:"titles" nullable:"false" doc:"Newest first."`
	}
}

type windowInput struct {
	ID   string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Body WindowBody
}

type windowOutput struct {
	Body WindowBody
}

// gone is why a title is there no more for who was watching it.
func (s *Server) gone(ctx context.Context, id vod.TitleID) vod.PlayEnd {
	if s.c.People != nil {
		if _, err := s.c.People.Windows.Window(ctx, id); err == nil {
			return vod.EndNotAvailable
		}
	}
	return vod.EndWithdrawn
}

// notNow makes vod.ErrNotAvailable of the vod.ErrNotFound of a title that one may know of all the same: a member one whose
// window is over, an editor any. Strangers, and members before the window opens, do not learn that there is one.
func (s *Server) notNow(ctx context.Context, id vod.TitleID, err error) error {
	if s.c.People == nil || !errors.Is(err, vod.ErrNotFound) {
		return err
	}
	d, failed := s.session(ctx)
	if failed != nil {
		return err
	}
	w, failed := s.c.People.Windows.Window(ctx, id)
	if failed == nil && (w.Over(s.c.Clock()) || d.Member.Role.May(vod.Editor)) {
		return fmt.Errorf("%w: %w", vod.ErrForbidden, vod.ErrNotAvailable)
	}
	return err
}

func (s *Server) registerWindows() {
	p := s.c.People
	register(s, staffOp("staff-titles", "GET", "/api/v1/operator/titles", "All titles, also those outside of their windows; for editors", 200),
		func(ctx context.Context, _ *struct{}) (*staffTitlesOutput, error) {
			if _, err := s.staff(ctx, vod.Editor); err != nil {
				return nil, err
			}
			list, err := p.Windows.List(ctx)
			if err != nil {
				return nil, err
			}
			out, now := &staffTitlesOutput{}, s.c.Clock()
			out.Body.Titles = make([]StaffTitle, len(list))
			for i, t := range list {
				out.Body.Titles[i] = StaffTitle{
					ID: t.ID, Name: t.Name, Open: t.Open, Published: t.Published,
					Window: WindowBody{From: optional(t.Window.From), Until: optional(t.Window.Until)}, Withdrawn: optional(t.Withdrawn),
					Shown: t.Withdrawn.IsZero() && t.Window.Open(now),
				}
			}
			return out, nil
		})
	register(s, staffOp("set-window", "PUT", "/api/v1/operator/titles/{id}/window", "Say when a title may be seen; for editors", 200),
		func(ctx context.Context, in *windowInput) (*windowOutput, error) {
			by, err := s.staff(ctx, vod.Editor)
			if err != nil {
				return nil, err
			}
			w := vod.Window{From: timeOf(in.Body.From), Until: timeOf(in.Body.Until)}
			if err := p.Windows.SetWindow(ctx, vod.TitleID(in.ID), w); err != nil {
				return nil, err
			}
			s.audited(ctx, by, "title.window", in.ID, w.String())
			return &windowOutput{Body: in.Body}, nil
		})
}
