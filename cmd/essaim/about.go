package main

import (
	"context"
	"fmt"
	"strings"

	"essaim/internal/api"
	"essaim/internal/library"
	"essaim/internal/members"
	"essaim/internal/vod"
)

// aboutFlags say of a title what it is. What is not said stays as it was.
type aboutFlags struct {
	Year       *int     `placeholder:"YEAR" help:"Of its first showing."`
	Age        *int     `placeholder:"YEARS" help:"From how many years on it is suitable, 0 for all. Profiles with a kids' limit are shown nothing that is not rated."`
	Language   *string  `placeholder:"LANG" help:"The original's, for instance fr or pt-BR."`
	Genre      []string `placeholder:"GENRE" help:"Such as drama, comedy, documentary, science-fiction, short. May be said several times."`
	Director   []string `placeholder:"NAME" sep:"none" help:"May be said several times."`
	Writer     []string `placeholder:"NAME" sep:"none" help:"May be said several times."`
	Composer   []string `placeholder:"NAME" sep:"none" help:"May be said several times."`
	Cast       []string `placeholder:"NAME[=PART]" sep:"none" help:"An actor, and whom they play. May be said several times, in the order shown."`
	Series     *string  `placeholder:"ID" help:"The series of which it is an episode: lower-case letters, digits, hyphens. Empty: it is of none."`
	SeriesName *string  `placeholder:"NAME" help:"The series' name; its ID if it is new and has none."`
	Season     *int     `placeholder:"N" help:"Of that series; 0 where it has none."`
	Episode    *int     `placeholder:"N" help:"Of that season."`
}

// said reports whether anything is.
func (f *aboutFlags) said() bool {
	return f.Year != nil || f.Age != nil || f.Language != nil || f.Genre != nil || f.Director != nil || f.Writer != nil || f.Composer != nil ||
		f.Cast != nil || f.Series != nil || f.SeriesName != nil || f.Season != nil || f.Episode != nil
}

// apply changes what is said.
func (f *aboutFlags) apply(a *vod.About) {
	set := func(to *int, from *int) {
		if from != nil {
			*to = *from
		}
	}
	set(&a.Year, f.Year)
	if f.Age != nil {
		a.Age = vod.Age{Set: true, Years: *f.Age}
	}
	if f.Language != nil {
		a.Language = *f.Language
	}
	if f.Genre != nil {
		a.Genres = nil
		for _, g := range f.Genre {
			a.Genres = append(a.Genres, vod.Genre(g))
		}
	}
	f.people(a)
	e := &a.Episode
	if f.Series != nil {
		if vod.TitleID(*f.Series) != e.Series {
			e.Name = *f.Series
		}
		e.Series = vod.TitleID(*f.Series)
	}
	if f.SeriesName != nil {
		e.Name = *f.SeriesName
	}
	set(&e.Season, f.Season)
	set(&e.Episode, f.Episode)
	if e.Series == "" {
		*e = vod.Episode{}
	}
}

// people replaces those of each job of which somebody is named.
func (f *aboutFlags) people(a *vod.About) {
	var all []vod.Credit
	for _, group := range []struct {
		job   vod.Job
		names []string
	}{{vod.JobDirector, f.Director}, {vod.JobWriter, f.Writer}, {vod.JobComposer, f.Composer}, {vod.JobActor, f.Cast}} {
		if group.names == nil {
			for _, c := range a.Credits {
				if c.Job == group.job {
					all = append(all, c)
				}
			}
			continue
		}
		for _, name := range group.names {
			c := vod.Credit{Name: name, Job: group.job}
			if group.job == vod.JobActor {
				c.Name, c.Part, _ = strings.Cut(name, "=")
			}
			all = append(all, c)
		}
	}
	a.Credits = all
}

// titleAboutCmd says of a title what it is, beside a running service or without one.
type titleAboutCmd struct {
	Title   string `arg:"" help:"The title's id."`
	Summary string `help:"Its summary: a sentence or more."`
	aboutFlags
	dataFolder
}

// Run says it, and prints all that is told of the title.
func (c *titleAboutCmd) Run() error {
	return c.with(func(ctx context.Context, m *members.Members, l *library.Library) (map[string]any, string, error) {
		t, err := tell(ctx, l, vod.TitleID(c.Title), &c.aboutFlags, c.Summary)
		if err != nil {
			return nil, "", err
		}
		b := api.AboutOf(&t)
		if c.said() || c.Summary != "" {
			err = m.Directory().Record(ctx, byAdmin, "title.about", c.Title, "")
		}
		return map[string]any{"title": t.ID, "about": b}, describe(&t), err
	})
}

// tell changes what is said of a title, and returns it.
func tell(ctx context.Context, l *library.Library, id vod.TitleID, f *aboutFlags, summary string) (vod.Title, error) {
	t, err := l.Get(ctx, id)
	if err != nil {
		return t, fmt.Errorf("there is no title %q: %w", id, err)
	}
	if !f.said() && summary == "" {
		return t, nil
	}
	f.apply(&t.About)
	if err := l.SetAbout(ctx, id, t.About, summary); err != nil {
		return t, err
	}
	return l.Get(ctx, id)
}

// describe is a title in some lines.
func describe(t *vod.Title) string {
	a := &t.About
	lines := []string{fmt.Sprintf("%s: %s", t.ID, t.Name)}
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("  %-9s %s", name, value))
		}
	}
	add("summary", t.Summary)
	if a.Year != 0 {
		add("year", fmt.Sprint(a.Year))
	}
	if a.Age.Set {
		add("age", fmt.Sprint(a.Age.Years))
	}
	add("language", a.Language)
	var genres []string
	for _, g := range a.Genres {
		genres = append(genres, string(g))
	}
	add("genres", strings.Join(genres, ", "))
	for _, c := range a.Credits {
		name := c.Name
		if c.Part != "" {
			name += " as " + c.Part
		}
		add(string(c.Job), name)
	}
	if e := a.Episode; e.Series != "" {
		add("series", fmt.Sprintf("%s (%s), season %d, episode %d", e.Name, e.Series, e.Season, e.Episode))
	}
	return strings.Join(lines, "\n")
}
