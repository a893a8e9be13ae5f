package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"essaim/internal/vod"
)

// ProfileBody is one of the people of a household.
type ProfileBody struct {
	ID string `json:"id"`
	ProfileChange
}

// ProfileChange is a profile without its ID.
type ProfileChange struct {
	Name     string `json:"name" minLength:"1" maxLength:"160" doc:"1 to 40 characters."`
	AgeLimit *int   `json:"age_limit,omitempty" minimum:"0" maximum:"21" doc:"The kids' limit, in years: titles rated for more, or not rated, are not there. Absent: no limit."`
	Language string `json:"language,omitempty" maxLength:"35" doc:"Of the pages (BCP 47); absent: the browser's."`
}

// HouseholdBody is who watches in a household.
type HouseholdBody struct {
	Profiles []ProfileBody `json:"profiles" nullable:"false" doc:"The first made first; there is always one, and 8 at most."`
	Current  string        `json:"current" doc:"The profile that watches on this device."`
	Chosen   bool          `json:"chosen" doc:"It was chosen on this device; otherwise it is the first."`
}

// ageOf is how bodies tell an age.
func ageOf(a vod.Age) *int {
	if !a.Set {
		return nil
	}
	return &a.Years
}

// ageFrom is what ageOf makes.
func ageFrom(years *int) vod.Age {
	if years == nil {
		return vod.Age{}
	}
	return vod.Age{Set: true, Years: *years}
}

func profileBody(p *vod.Profile) ProfileBody {
	return ProfileBody{ID: p.ID, ProfileChange: ProfileChange{Name: p.Name, AgeLimit: ageOf(p.Limit), Language: p.Language}}
}

func (c *ProfileChange) profile(id string) vod.Profile {
	return vod.Profile{ID: id, Name: c.Name, Limit: ageFrom(c.AgeLimit), Language: c.Language}
}

type householdOutput struct {
	Body HouseholdBody
}

type profileOutput struct {
	Body ProfileBody
}

type addProfileInput struct {
	Body ProfileChange
}

type changeProfileInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body ProfileChange
}

type profileInput struct {
	ID string `path:"id" maxLength:"64"`
}

type chooseInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Password string `json:"password,omitempty" maxLength:"1000" doc:"The account's: asked for on a device whose profile has a limit, before it gets one that is shown more."`
	}
}

// watching is who is signed in, and which of the household's profiles watches there; vod.ErrUnauthorized for a stranger.
func (s *Server) watching(ctx context.Context) (vod.DeviceSession, vod.Profile, error) {
	d, err := s.session(ctx)
	if err != nil {
		return d, vod.Profile{}, err
	}
	p, _, err := s.c.People.Profiles.Current(ctx, d)
	return d, p, err
}

// grownUp is who is signed in where households are managed: not on a device whose profile has a limit.
func (s *Server) grownUp(ctx context.Context) (vod.DeviceSession, error) {
	d, p, err := s.watching(ctx)
	if err == nil && p.Limit.Set {
		err = newProblem(http.StatusForbidden, "limited", "This profile has a limit: choose one without, to change who watches here.")
	}
	return d, err
}

func (s *Server) household(ctx context.Context, d vod.DeviceSession) (*householdOutput, error) {
	list, err := s.c.People.Profiles.Of(ctx, d.Member)
	if err != nil {
		return nil, err
	}
	current, chosen, err := s.c.People.Profiles.Current(ctx, d)
	if err != nil {
		return nil, err
	}
	out := &householdOutput{Body: HouseholdBody{Profiles: make([]ProfileBody, len(list)), Current: current.ID, Chosen: chosen}}
	for i := range list {
		out.Body.Profiles[i] = profileBody(&list[i])
	}
	return out, nil
}

func (s *Server) registerProfiles() {
	p := s.c.People
	register(s, op("profiles", "GET", "/api/v1/profiles", "Who watches in this household", 200, "session"),
		func(ctx context.Context, _ *struct{}) (*householdOutput, error) {
			d, err := s.session(ctx)
			if err != nil {
				return nil, err
			}
			return s.household(ctx, d)
		})
	register(s, op("add-profile", "POST", "/api/v1/profiles", "Make a profile", 200, "session"),
		func(ctx context.Context, in *addProfileInput) (*profileOutput, error) {
			d, err := s.grownUp(ctx)
			if err != nil {
				return nil, err
			}
			made, err := p.Profiles.Add(ctx, d.Member, in.Body.profile(""))
			if err != nil {
				return nil, conflict(err, "There are as many profiles as there may be.")
			}
			return &profileOutput{Body: profileBody(&made)}, nil
		})
	register(s, op("change-profile", "PUT", "/api/v1/profiles/{id}", "Change a profile", 200, "session"),
		func(ctx context.Context, in *changeProfileInput) (*profileOutput, error) {
			d, err := s.grownUp(ctx)
			if err != nil {
				return nil, err
			}
			change := in.Body.profile(in.ID)
			if err := p.Profiles.Change(ctx, d.Member, change); err != nil {
				return nil, err
			}
			return &profileOutput{Body: profileBody(&change)}, nil
		})
	register(s, op("remove-profile", "DELETE", "/api/v1/profiles/{id}", "Take a profile away, with its list and where it was", 204, "session"),
		func(ctx context.Context, in *profileInput) (*struct{}, error) {
			d, err := s.grownUp(ctx)
			if err != nil {
				return nil, err
			}
			return nil, conflict(p.Profiles.Remove(ctx, d.Member, in.ID), "Somebody must be left to watch: this is the last profile.")
		})
	register(s, op("choose-profile", "POST", "/api/v1/profiles/{id}/choose", "Say who watches on this device", 200, "session"), s.choose)
}

// choose changes who watches on the visitor's device. From a profile with a limit to one that is shown more it takes the
// account's password: else a child would only have to choose.
func (s *Server) choose(ctx context.Context, in *chooseInput) (*householdOutput, error) {
	d, now, err := s.watching(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.c.People.Profiles.Of(ctx, d.Member)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(p vod.Profile) bool { return p.ID == in.ID })
	if i < 0 {
		return nil, vod.ErrNotFound
	}
	if now.Limit.Set && (!list[i].Limit.Set || list[i].Limit.Years > now.Limit.Years) {
		if err := s.confirmed(ctx, d, in.Body.Password); err != nil {
			return nil, err
		}
	}
	if err := s.c.People.Profiles.Choose(ctx, d, in.ID); err != nil {
		return nil, err
	}
	return s.household(ctx, d)
}

// confirmed refuses who does not know the account's password; in a demonstration nobody does, and everybody may sign in.
func (s *Server) confirmed(ctx context.Context, d vod.DeviceSession, password string) error {
	if s.c.Demo != nil && slices.Contains(s.c.Demo.Members, d.Member.Name) {
		return nil
	}
	if password == "" {
		return newProblem(http.StatusForbidden, "limited", "This profile has a limit: the account's password opens the others.")
	}
	err := s.c.People.Accounts.Confirm(ctx, d, password)
	if errors.Is(err, vod.ErrUnauthorized) {
		return newProblem(http.StatusForbidden, "wrong_password", "That is not your present password.")
	}
	return err
}
