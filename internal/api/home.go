package api

import (
	"context"
	"slices"

	"essaim/internal/vod"
)

const (
	rowMax       = 24 // titles of a row
	genreRows    = 6
	genreLeast   = 3  // titles that make a row of a genre
	rowsLeast    = 9  // titles from which on rows sort them: fewer are seen at a glance
	recent       = 60 // positions that are looked at
	begunMs      = 5_000
	searchMost   = 40
	episodesMost = 1000
)

// Card is a title as a row shows it.
type Card struct {
	TitleSummary
	PositionMs uint32 `json:"position_ms,omitempty" doc:"Where the profile has come to."`
	Watched    bool   `json:"watched,omitempty" doc:"More than 95 % is over."`
}

// HomeRow is a row of titles.
type HomeRow struct {
	Kind   string    `json:"kind" enum:"continue,list,new,genre" doc:"continue: begun, or the next episode; list: kept for later."`
	Genre  vod.Genre `json:"genre,omitempty"`
	Titles []Card    `json:"titles" nullable:"false" doc:"Of each series one, which stands for it unless the kind is continue."`
}

type homeOutput struct {
	Body struct {
		Rows []HomeRow `json:"rows" nullable:"false" doc:"None is empty. Where there are but a few titles, they are not sorted into rows."`
	}
}

type searchInput struct {
	Query string `query:"q" maxLength:"200" doc:"Words, or beginnings of words, of names, people and genres; accents and case do not matter."`
}

type searchOutput struct {
	Body struct {
		Titles []TitleSummary `json:"titles" nullable:"false" doc:"The best first, 40 at most; of each series one, which stands for it."`
	}
}

// SeriesBody is a series as the visitor may see it.
type SeriesBody struct {
	ID       vod.TitleID `json:"id"`
	Name     string      `json:"name"`
	Summary  string      `json:"summary" doc:"Plain text."`
	Episodes []Card      `json:"episodes" nullable:"false" doc:"By season and number; there is at least one."`
	Next     vod.TitleID `json:"next" doc:"The episode to go on with; the first, for who has seen none or all."`
}

type seriesOutput struct {
	Body SeriesBody
}

// viewer is somebody who looks at the catalogue.
type viewer struct {
	d       vod.DeviceSession // zero for a stranger
	profile vod.Profile
	view    vod.View
}

// viewer is who looks at the catalogue, with the limit of the profile that watches.
func (s *Server) viewer(ctx context.Context) (v viewer, err error) {
	if v.d, err = s.sessionOrStranger(ctx); err != nil {
		return v, err
	}
	v.view.OpenOnly = v.d.ID == ""
	if v.d.ID != "" && s.c.People != nil {
		v.profile, _, err = s.c.People.Profiles.Current(ctx, v.d)
		v.view.Limit = v.profile.Limit
	}
	return v, err
}

// positions are where the viewer's profile is, the newest first; none for a stranger.
func (s *Server) positions(ctx context.Context, v *viewer, most int) ([]vod.Position, error) {
	if v.profile.ID == "" {
		return nil, nil
	}
	return s.c.People.Profiles.Positions(ctx, v.profile.ID, most)
}

func (s *Server) registerHome() {
	register(s, op("home", "GET", "/api/v1/home", "The catalogue in rows, as it is for who asks", 200), s.home)
	register(s, op("search", "GET", "/api/v1/search", "Titles by words of names, people and genres", 200),
		func(ctx context.Context, in *searchInput) (*searchOutput, error) {
			v, err := s.viewer(ctx)
			if err != nil {
				return nil, err
			}
			found, err := s.c.Catalogue.Search(ctx, v.view, in.Query, searchMost)
			if err != nil {
				return nil, err
			}
			out := &searchOutput{}
			out.Body.Titles = make([]TitleSummary, len(found))
			for i := range found {
				out.Body.Titles[i] = summaryOf(&found[i])
			}
			return out, nil
		})
	register(s, op("get-series", "GET", "/api/v1/series/{id}", "A series and its episodes", 200), s.series)
}

func (s *Server) home(ctx context.Context, _ *struct{}) (*homeOutput, error) {
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, err
	}
	at, err := s.positions(ctx, &v, recent)
	if err != nil {
		return nil, err
	}
	out := &homeOutput{}
	out.Body.Rows = []HomeRow{}
	add := func(kind string, genre vod.Genre, cards []Card) {
		if len(cards) > 0 {
			out.Body.Rows = append(out.Body.Rows, HomeRow{Kind: kind, Genre: genre, Titles: cards})
		}
	}
	begun, err := s.goOn(ctx, &v, at)
	if err != nil {
		return nil, err
	}
	add("continue", "", begun)
	shelf := func(x vod.Shelf) ([]Card, error) {
		list, err := s.c.Catalogue.Shelf(ctx, v.view, x)
		return cardsOf(list, at), err
	}
	if v.profile.ID != "" {
		kept, err := s.c.People.Profiles.List(ctx, v.profile.ID)
		if err != nil {
			return nil, err
		}
		cards, err := shelf(vod.Shelf{IDs: kept, Once: true, Most: rowMax})
		if err != nil {
			return nil, err
		}
		add("list", "", cards)
	}
	newest, err := shelf(vod.Shelf{Once: true, Most: rowMax})
	if err != nil || len(newest) < rowsLeast {
		return out, err
	}
	add("new", "", newest)
	genres, err := s.c.Catalogue.Genres(ctx, v.view)
	if err != nil {
		return nil, err
	}
	for _, g := range genres[:min(len(genres), genreRows)] {
		cards, err := shelf(vod.Shelf{Genre: g, Once: true, Most: rowMax})
		if err != nil {
			return nil, err
		}
		if len(cards) >= genreLeast {
			add("genre", g, cards)
		}
	}
	return out, nil
}

// cardsOf are titles with where the profile has come to in them.
func cardsOf(list []vod.Title, at []vod.Position) []Card {
	cards := make([]Card, len(list))
	for i := range list {
		cards[i] = Card{TitleSummary: summaryOf(&list[i])}
		if j := slices.IndexFunc(at, func(p vod.Position) bool { return p.Title == list[i].ID }); j >= 0 {
			cards[i].PositionMs, cards[i].Watched = at[j].PositionMs, at[j].Watched()
		}
	}
	return cards
}

// goOn is what the profile has begun and not finished, and of series the episode after the one that was seen last.
func (s *Server) goOn(ctx context.Context, v *viewer, at []vod.Position) ([]Card, error) {
	ids := make([]vod.TitleID, len(at))
	for i := range at {
		ids[i] = at[i].Title
	}
	titles, err := s.c.Catalogue.Shelf(ctx, v.view, vod.Shelf{IDs: ids, Most: recent})
	if err != nil {
		return nil, err
	}
	var cards []Card
	seen := map[vod.TitleID]bool{} // series
	for _, c := range cardsOf(titles, at) {
		if len(cards) == rowMax {
			break
		}
		if c.Series == nil {
			if !c.Watched && c.PositionMs >= begunMs {
				cards = append(cards, c)
			}
			continue
		}
		if seen[c.Series.ID] {
			continue
		}
		seen[c.Series.ID] = true
		if c.Watched {
			episodes, err := s.c.Catalogue.Shelf(ctx, v.view, vod.Shelf{Series: c.Series.ID, Most: episodesMost})
			if err != nil {
				return nil, err
			}
			i := next(cardsOf(episodes, at), c.ID)
			if i < 0 {
				continue // that was the last
			}
			c = cardsOf(episodes[i:i+1], at)[0]
		}
		cards = append(cards, c)
	}
	return cards, nil
}

// next is the first of the episodes after the one of that ID that has not been seen; -1 for none.
func next(episodes []Card, after vod.TitleID) int {
	from := slices.IndexFunc(episodes, func(c Card) bool { return c.ID == after })
	i := slices.IndexFunc(episodes[from+1:], func(c Card) bool { return !c.Watched })
	if i < 0 {
		return -1
	}
	return from + 1 + i
}

func (s *Server) series(ctx context.Context, in *titleInput) (*seriesOutput, error) {
	v, err := s.viewer(ctx)
	if err != nil {
		return nil, err
	}
	x, err := s.c.Catalogue.Series(ctx, v.view, vod.TitleID(in.ID))
	if err != nil {
		return nil, err
	}
	list, err := s.c.Catalogue.Shelf(ctx, v.view, vod.Shelf{Series: x.ID, Most: episodesMost})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 { // its window closed between the two
		return nil, vod.ErrNotFound
	}
	at, err := s.positions(ctx, &v, vod.PositionsMax)
	if err != nil {
		return nil, err
	}
	out := &seriesOutput{Body: SeriesBody{ID: x.ID, Name: x.Name, Summary: x.Summary, Episodes: cardsOf(list, at), Next: list[0].ID}}
	// The episode whose position is the newest is where the profile is in the series.
	last := slices.IndexFunc(at, func(p vod.Position) bool {
		return slices.ContainsFunc(list, func(t vod.Title) bool { return t.ID == p.Title })
	})
	if last >= 0 {
		out.Body.Next = at[last].Title
		if at[last].Watched() {
			if i := next(out.Body.Episodes, at[last].Title); i >= 0 {
				out.Body.Next = list[i].ID
			} else {
				out.Body.Next = list[0].ID
			}
		}
	}
	return out, nil
}
