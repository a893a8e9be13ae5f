package api

import (
	"context"
	"errors"
	"time"

	"essaim/internal/vod"
)

// PositionBody is where a profile has come to in a title.
type PositionBody struct {
	Title vod.TitleID `json:"title"`
	PositionChange
	Watched bool      `json:"watched" doc:"More than 95 % is over: it counts as seen."`
	At      time.Time `json:"at" doc:"When that was said, by the server's clock."`
}

// PositionChange is where a player has come to.
type PositionChange struct {
	PositionMs uint32 `json:"position_ms" doc:"From the title's beginning; beyond its end is its end."`
	DurationMs uint32 `json:"duration_ms" minimum:"1" doc:"Of the title as it was played."`
	Audio      string `json:"audio,omitempty" maxLength:"35" doc:"Language of the sound (BCP 47); absent: not known."`
	Subtitles  string `json:"subtitles,omitempty" maxLength:"35" doc:"Their language (BCP 47); absent: none are shown."`
}

func positionBody(p *vod.Position) PositionBody {
	return PositionBody{
		Title: p.Title, Watched: p.Watched(), At: p.At,
		PositionChange: PositionChange{PositionMs: p.PositionMs, DurationMs: p.DurationMs, Audio: p.Audio, Subtitles: p.Subtitles},
	}
}

type positionsInput struct {
	Limit int `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

type positionsOutput struct {
	Body struct {
		Positions []PositionBody `json:"positions" nullable:"false" doc:"The newest first."`
	}
}

type positionInput struct {
	ID   string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Body PositionChange
}

type positionOutput struct {
	Body PositionBody
}

type listOutput struct {
	Body struct {
		Titles []vod.TitleID `json:"titles" nullable:"false" doc:"The one added last first, published or not."`
	}
}

// registerKept adds what is kept for the profile that watches on the visitor's device. Whose it is cannot be asked for: so
// nobody can ask for another's.
func (s *Server) registerKept() {
	p := s.c.People.Profiles
	register(s, op("my-list", "GET", "/api/v1/list", "What the profile keeps for later", 200, "session"),
		func(ctx context.Context, _ *struct{}) (*listOutput, error) {
			_, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			out := &listOutput{}
			out.Body.Titles, err = p.List(ctx, who.ID)
			return out, err
		})
	register(s, op("keep-title", "PUT", "/api/v1/list/{id}", "Keep a title for later", 204, "session"),
		func(ctx context.Context, in *titleInput) (*struct{}, error) {
			d, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			if _, _, err := s.visible(ctx, in.ID); err != nil {
				return nil, err
			}
			return nil, conflict(p.Keep(ctx, d.Member, who.ID, vod.TitleID(in.ID)), "The list is full: take something off it first.")
		})
	register(s, op("drop-title", "DELETE", "/api/v1/list/{id}", "Take a title off the list", 204, "session"),
		func(ctx context.Context, in *titleInput) (*struct{}, error) {
			_, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			return nil, p.Drop(ctx, who.ID, vod.TitleID(in.ID))
		})
	register(s, op("positions", "GET", "/api/v1/positions", "Where the profile has come to in what it has watched", 200, "session"),
		func(ctx context.Context, in *positionsInput) (*positionsOutput, error) {
			_, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			list, err := p.Positions(ctx, who.ID, in.Limit)
			if err != nil {
				return nil, err
			}
			out := &positionsOutput{}
			out.Body.Positions = make([]PositionBody, len(list))
			for i := range list {
				out.Body.Positions[i] = positionBody(&list[i])
			}
			return out, nil
		})
	register(s, op("get-position", "GET", "/api/v1/positions/{id}", "Where the profile has come to in a title: at 0 where it has not begun", 200, "session"),
		func(ctx context.Context, in *titleInput) (*positionOutput, error) {
			_, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			x, err := p.Position(ctx, who.ID, vod.TitleID(in.ID))
			if errors.Is(err, vod.ErrNotFound) { // not begun: no failure, and nothing for a browser's log of them
				t, _, err := s.visible(ctx, in.ID)
				if err != nil {
					return nil, err
				}
				x = vod.Position{Title: t.ID, DurationMs: t.Version.DurationMs}
			} else if err != nil {
				return nil, err
			}
			return &positionOutput{Body: positionBody(&x)}, nil
		})
	register(s, op("put-position", "PUT", "/api/v1/positions/{id}", "Say where the profile has come to; the last to say so is right", 200, "session"),
		func(ctx context.Context, in *positionInput) (*positionOutput, error) {
			d, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			if _, _, err := s.visible(ctx, in.ID); err != nil {
				return nil, err
			}
			b := &in.Body
			x := vod.Position{Title: vod.TitleID(in.ID), PositionMs: b.PositionMs, DurationMs: b.DurationMs, Audio: b.Audio, Subtitles: b.Subtitles}
			if err := p.Save(ctx, d.Member, who.ID, x); err != nil {
				return nil, err
			}
			if x, err = p.Position(ctx, who.ID, x.Title); err != nil {
				return nil, err
			}
			return &positionOutput{Body: positionBody(&x)}, nil
		})
	register(s, op("forget-position", "DELETE", "/api/v1/positions/{id}", "Forget where the profile was in a title", 204, "session"),
		func(ctx context.Context, in *titleInput) (*struct{}, error) {
			_, who, err := s.watching(ctx)
			if err != nil {
				return nil, err
			}
			return nil, p.Forget(ctx, who.ID, vod.TitleID(in.ID))
		})
}
