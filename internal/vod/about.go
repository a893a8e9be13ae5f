package vod

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// About is what a catalogue tells of a title beside its name and summary. The zero About tells nothing.
type About struct {
	Year     int    // of its first showing; 0: not known
	Age      Age    // from which it is suitable; not set: nobody has rated it
	Language string // the original's, BCP 47; empty: not known
	Genres   []Genre
	Credits  []Credit // in the order shown
	Episode  Episode  // the zero Episode: of no series
}

// IsZero reports whether a tells nothing.
func (a *About) IsZero() bool {
	return a.Year == 0 && !a.Age.Set && a.Language == "" && len(a.Genres) == 0 && len(a.Credits) == 0 && a.Episode == Episode{}
}

// Genre is one of Genres.
type Genre string

// Genres are all there are, each with the words by which it is searched for, in English and French.
var Genres = map[Genre]string{
	"action": "action", "adventure": "adventure aventure", "animation": "animation", "biography": "biography biographie",
	"comedy": "comedy comedie", "concert": "concert", "crime": "crime policier", "documentary": "documentary documentaire",
	"drama": "drama drame", "family": "family famille", "fantasy": "fantasy fantastique", "history": "history histoire",
	"horror": "horror horreur", "music": "music musical musique", "mystery": "mystery mystere", "romance": "romance",
	"science-fiction": "science fiction sf", "short": "short court metrage", "sport": "sport", "thriller": "thriller",
	"war": "war guerre", "western": "western",
}

// Job is what somebody did for a title.
type Job string

// The jobs.
const (
	JobDirector Job = "director"
	JobWriter   Job = "writer"
	JobActor    Job = "actor"
	JobComposer Job = "composer"
)

// Credit is a person of a title.
type Credit struct {
	Name string
	Job  Job
	Part string // whom an actor plays; may be empty
}

// Episode is a title's place in a series.
type Episode struct {
	Series  TitleID // of the form of a title's ID, among series
	Name    string  // of the series
	Season  int     // from 1; 0 for what is of no season
	Episode int     // from 1
}

// Series is what titles with seasons and episodes belong to. It is there as long as one of them is.
type Series struct {
	ID      TitleID
	Name    string
	Summary string
}

// The bounds of an About.
const (
	GenresMax  = 6
	CreditsMax = 60
)

// Validate returns an error that wraps ErrInvalid and says what cannot be.
func (a *About) Validate() error {
	text := func(s string, most int) bool {
		return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
	}
	switch {
	case a.Year != 0 && (a.Year < 1870 || a.Year > 2200):
		return fmt.Errorf("%w: year %d", ErrInvalid, a.Year)
	case a.Age.Set && (a.Age.Years < 0 || a.Age.Years > AgeMax):
		return fmt.Errorf("%w: an age is 0 to %d years", ErrInvalid, AgeMax)
	case !ValidLanguage(a.Language):
		return fmt.Errorf("%w: language %q: want one as BCP 47 writes it, such as fr or pt-BR", ErrInvalid, a.Language)
	case len(a.Genres) > GenresMax || len(a.Credits) > CreditsMax:
		return fmt.Errorf("%w: more than %d genres or %d people", ErrInvalid, GenresMax, CreditsMax)
	}
	for i, g := range a.Genres {
		if Genres[g] == "" || slices.Contains(a.Genres[:i], g) {
			return fmt.Errorf("%w: genre %q is not known, or named twice", ErrInvalid, g)
		}
	}
	for _, c := range a.Credits {
		known := c.Job == JobDirector || c.Job == JobWriter || c.Job == JobActor || c.Job == JobComposer
		if strings.TrimSpace(c.Name) == "" || !text(c.Name, 100) || !text(c.Part, 100) || !known {
			return fmt.Errorf("%w: a person has a name, and a part, of up to 100 characters, and a job: director, writer, actor or composer", ErrInvalid)
		}
	}
	e := a.Episode
	if e != (Episode{}) && (!e.Series.Valid() || strings.TrimSpace(e.Name) == "" || !text(e.Name, 200) || e.Season < 0 || e.Season > 999 ||
		e.Episode < 1 || e.Episode > 9999) {
		return fmt.Errorf("%w: an episode has a series with an ID and a name, a season from 0 and a number from 1", ErrInvalid)
	}
	return nil
}

// ValidLanguage reports whether s has the letters of a language's name (BCP 47), or is empty.
func ValidLanguage(s string) bool {
	return len(s) <= 35 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// View is who looks at the catalogue.
type View struct {
	OpenOnly bool // a stranger: open titles alone
	Limit    Age  // the kids' limit of who watches
}

// Shelf says which titles are wanted; zero fields want all.
type Shelf struct {
	Genre  Genre
	Series TitleID   // its episodes, in their order
	IDs    []TitleID // these, in this order; PositionsMax at most
	Most   int       // at most so many, above 0
	// Once takes each series once, by its newest episode.
	Once bool
}

// Catalogue is the part of the catalogue that is browsed. Its titles come without files, and none of them are rehearsals'.
type Catalogue interface {
	// Shelf returns published titles, newest first unless the shelf says otherwise.
	Shelf(ctx context.Context, v View, s Shelf) ([]Title, error)
	// Genres are those of the titles that v is shown, those of most titles first.
	Genres(ctx context.Context, v View) ([]Genre, error)
	// Search finds titles by words, or beginnings of words, of their names, series, people and genres, accents and case
	// aside: those whose names match come first. At most so many.
	Search(ctx context.Context, v View, text string, most int) ([]Title, error)
	// Series is ErrNotFound where no title that v is shown belongs to it.
	Series(ctx context.Context, v View, id TitleID) (Series, error)

	// SetAbout replaces what is told of a title; an empty summary leaves the one there is. ErrNotFound, ErrInvalid;
	// ErrConflict where another title is that episode.
	SetAbout(ctx context.Context, id TitleID, a About, summary string) error
	// SetSeries changes a series' name and summary; ErrNotFound, ErrInvalid.
	SetSeries(ctx context.Context, s Series) error
}
