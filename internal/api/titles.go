package api

import (
	"context"
	"errors"
	"slices"

	"essaim/internal/vod"
)

// TitleSummary is a title as the catalogue lists it.
type TitleSummary struct {
	ID         vod.TitleID  `json:"id"`
	Name       string       `json:"name"`
	Summary    string       `json:"summary" doc:"Plain text."`
	Open       bool         `json:"open" doc:"Anyone may watch; otherwise members only."`
	Poster     string       `json:"poster" doc:"A path on this server, empty for none."`
	DurationMs uint32       `json:"duration_ms"`
	Year       int          `json:"year,omitempty" doc:"Of its first showing."`
	Age        *int         `json:"age,omitempty" doc:"From how many years on it is suitable; absent: not rated."`
	Genres     []vod.Genre  `json:"genres,omitempty" doc:"Words such as drama, science-fiction, short."`
	Series     *EpisodeBody `json:"series,omitempty" doc:"The title is an episode of it."`
	Synthetic  bool         `json:"synthetic,omitempty" doc:"It has random bytes for pictures, to be rehearsed with: no player can show it."`
}

// TitleDetail is a title with its files.
type TitleDetail struct {
	TitleSummary
	Language   string        `json:"language,omitempty" doc:"The original's (BCP 47)."`
	Credits    []CreditBody  `json:"credits,omitempty"`
	Kept       bool          `json:"kept,omitempty" doc:"It is on the profile's list."`
	Position   *PositionBody `json:"position,omitempty" doc:"Where the profile has come to."`
	Files      []TitleFile   `json:"files" nullable:"false" doc:"In torrent order."`
	InfoHash   string        `json:"info_hash" doc:"v1, lower-case hexadecimal."`
	InfoHashV2 string        `json:"info_hash_v2"`
	Torrent    string        `json:"torrent,omitempty" doc:"Of an open title: the path of its torrent file."`
	Magnet     string        `json:"magnet,omitempty" doc:"Of an open title: its magnet link (BEP 9), with this service's trackers and web seed."`
}

// TitleFile is a rendition or audio track.
type TitleFile struct {
	Path      string   `json:"path"`
	Size      int64    `json:"size" doc:"Bytes."`
	Kind      vod.Kind `json:"kind" enum:"video,audio"`
	Codec     string   `json:"codec" doc:"RFC 6381."`
	Bandwidth int      `json:"bandwidth" doc:"Bits per second."`
	Height    int      `json:"height,omitempty"`
}

func summaryOf(t *vod.Title) TitleSummary {
	s := TitleSummary{ID: t.ID, Name: t.Name, Summary: t.Summary, Open: t.Open, DurationMs: t.Version.DurationMs, Synthetic: t.Synthetic()}
	s.Year, s.Age, s.Genres, s.Series = t.About.Year, ageOf(t.About.Age), t.About.Genres, episodeBody(&t.About.Episode)
	if t.Poster != "" {
		s.Poster = "/objects/" + t.Poster
	}
	return s
}

func detailOf(t *vod.Title) TitleDetail {
	d := TitleDetail{
		TitleSummary: summaryOf(t), Files: make([]TitleFile, len(t.Version.Files)),
		Language: t.About.Language, Credits: creditBodies(t.About.Credits),
		InfoHash: t.Version.InfoHashV1.String(), InfoHashV2: t.Version.InfoHashV2.String(),
	}
	for i := range t.Version.Files {
		f := &t.Version.Files[i]
		d.Files[i] = TitleFile{Path: f.Path, Size: f.Size, Kind: f.Kind, Codec: f.Codec, Bandwidth: f.Bandwidth, Height: f.Height}
	}
	return d
}

type titlesOutput struct {
	Body struct {
		Titles []TitleSummary `json:"titles" nullable:"false" doc:"Newest first."`
	}
}

type titleInput struct {
	ID string `path:"id" maxLength:"64" pattern:"^[a-z0-9-]+$"`
}

type titleOutput struct {
	Body TitleDetail
}

func (s *Server) registerTitles() {
	register(s, op("list-titles", "GET", "/api/v1/titles", "The catalogue; to a stranger, its open titles", 200),
		func(ctx context.Context, _ *struct{}) (*titlesOutput, error) {
			v, err := s.viewer(ctx)
			if err != nil {
				return nil, err
			}
			titles, err := s.c.Titles.List(ctx, v.view.OpenOnly)
			if err != nil {
				return nil, err
			}
			out := &titlesOutput{}
			out.Body.Titles = make([]TitleSummary, 0, len(titles))
			for i := range titles {
				if v.view.Limit.Admits(titles[i].About.Age) {
					out.Body.Titles = append(out.Body.Titles, summaryOf(&titles[i]))
				}
			}
			return out, nil
		})
	register(s, op("get-title", "GET", "/api/v1/titles/{id}", "One title and its files", 200),
		func(ctx context.Context, in *titleInput) (*titleOutput, error) {
			t, v, err := s.visible(ctx, in.ID)
			if errors.Is(err, vod.ErrUnauthorized) && s.operator(ctx) == nil { // who may rehearse a title may see it
				t, err = s.c.Titles.Get(ctx, vod.TitleID(in.ID))
			}
			if err != nil {
				return nil, err
			}
			out := &titleOutput{Body: detailOf(&t)}
			if t.Open {
				out.Body.Torrent, out.Body.Magnet = torrentPath(&t), magnetOf(ctx, &t)
			}
			return out, s.keptOf(ctx, &v, &out.Body)
		})
}

// keptOf adds what the visitor's profile keeps of the title.
func (s *Server) keptOf(ctx context.Context, v *viewer, b *TitleDetail) error {
	if v.profile.ID == "" {
		return nil
	}
	list, err := s.c.People.Profiles.List(ctx, v.profile.ID)
	if err != nil {
		return err
	}
	b.Kept = slices.Contains(list, b.ID)
	at, err := s.c.People.Profiles.Position(ctx, v.profile.ID, b.ID)
	switch {
	case errors.Is(err, vod.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	body := positionBody(&at)
	b.Position = &body
	return nil
}

// visible is a title as the visitor may see it, and the visitor: vod.ErrNotFound for what is not published or above the limit
// of the profile that watches, and vod.ErrUnauthorized for a stranger before a title that is not open, which a sign-in may
// change.
func (s *Server) visible(ctx context.Context, id string) (vod.Title, viewer, error) {
	v, err := s.viewer(ctx)
	if err != nil {
		return vod.Title{}, v, err
	}
	t, err := s.c.Titles.Get(ctx, vod.TitleID(id))
	if err != nil {
		return vod.Title{}, v, err
	}
	if !t.Open && v.view.OpenOnly {
		return vod.Title{}, v, vod.ErrUnauthorized
	}
	if !v.view.Limit.Admits(t.About.Age) {
		return vod.Title{}, v, vod.ErrNotFound
	}
	return t, v, nil
}
