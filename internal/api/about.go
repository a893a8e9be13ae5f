package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"essaim/internal/vod"
)

// EpisodeBody is a title's place in a series.
type EpisodeBody struct {
	ID      vod.TitleID `json:"id" minLength:"1" maxLength:"64" pattern:"^[a-z0-9-]+$" doc:"The series'."`
	Name    string      `json:"name" minLength:"1" maxLength:"800" doc:"The series'."`
	Season  int         `json:"season" minimum:"0" maximum:"999" doc:"0: of no season."`
	Episode int         `json:"episode" minimum:"1" maximum:"9999"`
}

// CreditBody is a person of a title.
type CreditBody struct {
	Name string  `json:"name" minLength:"1" maxLength:"400"`
	Job  vod.Job `json:"job" enum:"director,writer,actor,composer"`
	Part string  `json:"part,omitempty" maxLength:"400" doc:"Whom an actor plays."`
}

// AboutBody is what is told of a title beside its name; what is absent is not known.
type AboutBody struct {
	Summary  string       `json:"summary,omitempty" maxLength:"20000" doc:"Plain text. Absent when it is set: as it was."`
	Year     int          `json:"year,omitempty" doc:"Of its first showing."`
	Age      *int         `json:"age,omitempty" minimum:"0" maximum:"21" doc:"From how many years on it is suitable; profiles with a kids' limit are shown nothing that is not rated."`
	Language string       `json:"language,omitempty" maxLength:"35" doc:"The original's (BCP 47)."`
	Genres   []vod.Genre  `json:"genres,omitempty" maxItems:"6" doc:"Words such as drama, science-fiction, short."`
	Credits  []CreditBody `json:"credits,omitempty" maxItems:"60"`
	Series   *EpisodeBody `json:"series,omitempty"`
}

func episodeBody(e *vod.Episode) *EpisodeBody {
	if e.Series == "" {
		return nil
	}
	return &EpisodeBody{ID: e.Series, Name: e.Name, Season: e.Season, Episode: e.Episode}
}

func creditBodies(list []vod.Credit) []CreditBody {
	var out []CreditBody
	for _, c := range list {
		out = append(out, CreditBody{Name: c.Name, Job: c.Job, Part: c.Part})
	}
	return out
}

// AboutOf is what is told of t.
func AboutOf(t *vod.Title) AboutBody {
	a := &t.About
	return AboutBody{
		Summary: t.Summary, Year: a.Year, Age: ageOf(a.Age), Language: a.Language, Genres: a.Genres, Credits: creditBodies(a.Credits),
		Series: episodeBody(&a.Episode),
	}
}

// About is what AboutOf makes a body of.
func (b *AboutBody) About() vod.About {
	a := vod.About{Year: b.Year, Age: ageFrom(b.Age), Language: b.Language, Genres: b.Genres}
	for _, c := range b.Credits {
		a.Credits = append(a.Credits, vod.Credit{Name: c.Name, Job: c.Job, Part: c.Part})
	}
	if e := b.Series; e != nil {
		a.Episode = vod.Episode{Series: e.ID, Name: e.Name, Season: e.Season, Episode: e.Episode}
	}
	return a
}

type aboutInput struct {
	ID   string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Body AboutBody
}

type aboutOutput struct {
	Body AboutBody
}

// SeriesText is what is told of a series.
type SeriesText struct {
	Name    string `json:"name" minLength:"1" maxLength:"800"`
	Summary string `json:"summary,omitempty" maxLength:"20000" doc:"Plain text."`
}

type setSeriesInput struct {
	ID   string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
	Body SeriesText
}

type setSeriesOutput struct {
	Body SeriesText
}

// aboutBytesMax bounds a title's description with all its people.
const aboutBytesMax = 128 << 10

func (s *Server) registerAbout() {
	set := staffOp("set-about", "PUT", "/api/v1/operator/titles/{id}/about", "Say of a title what it is; for editors", 200)
	set.MaxBodyBytes = aboutBytesMax
	register(s, set, func(ctx context.Context, in *aboutInput) (*aboutOutput, error) {
		by, err := s.staff(ctx, vod.Editor)
		if err != nil {
			return nil, err
		}
		err = s.c.Catalogue.SetAbout(ctx, vod.TitleID(in.ID), in.Body.About(), in.Body.Summary)
		if err != nil {
			return nil, sayInvalid(conflict(err, "Another title is that episode."))
		}
		s.audited(ctx, by, "title.about", in.ID, "")
		return &aboutOutput{Body: in.Body}, nil
	})
	series := staffOp("set-series", "PUT", "/api/v1/operator/series/{id}", "Say of a series what it is; for editors", 200)
	series.MaxBodyBytes = aboutBytesMax
	register(s, series, func(ctx context.Context, in *setSeriesInput) (*setSeriesOutput, error) {
		by, err := s.staff(ctx, vod.Editor)
		if err != nil {
			return nil, err
		}
		if err := s.c.Catalogue.SetSeries(ctx, vod.Series{ID: vod.TitleID(in.ID), Name: in.Body.Name, Summary: in.Body.Summary}); err != nil {
			return nil, sayInvalid(err)
		}
		s.audited(ctx, by, "series.about", in.ID, "")
		return &setSeriesOutput{Body: in.Body}, nil
	})
}

// sayInvalid tells an editor what was wrong: they wrote it.
func sayInvalid(err error) error {
	if errors.Is(err, vod.ErrInvalid) {
		return newProblem(http.StatusBadRequest, "invalid", fmt.Sprint(err))
	}
	return err
}
