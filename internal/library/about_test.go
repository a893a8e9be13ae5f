package library

import (
	"database/sql"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"essaim/internal/vod"
)

func ids(titles []vod.Title) (list []vod.TitleID) {
	for i := range titles {
		list = append(list, titles[i].ID)
	}
	return list
}

// shelved publishes a title of that name, told about.
func shelved(t *testing.T, l *Library, id vod.TitleID, name string, seed byte, a vod.About) {
	t.Helper()
	x := title(id, seed, true)
	x.Name, x.About = name, a
	publish(t, l, x)
}

func episode(series vod.TitleID, name string, season, number int) vod.About {
	return vod.About{Episode: vod.Episode{Series: series, Name: name, Season: season, Episode: number}, Age: vod.Age{Set: true, Years: 6}}
}

func TestWhatIsToldOfATitleComesBackAndOutlivesItsVersion(t *testing.T) {
	l := newLibrary(t)
	x := title("film", 1, true)
	publish(t, l, x)
	a := vod.About{
		Year: 1999, Age: vod.Age{Set: true}, Language: "pt-BR", Genres: []vod.Genre{"drama", "short"},
		Credits: []vod.Credit{{Name: "Zoé Ada", Job: vod.JobDirector}, {Name: "B", Job: vod.JobActor, Part: "the bee"}},
		Episode: vod.Episode{Series: "hive", Name: "The hive", Season: 1, Episode: 2},
	}
	if err := l.SetAbout(t.Context(), "film", a, "A longer text."); err != nil {
		t.Fatal(err)
	}
	x.Summary = ""
	publish(t, l, x) // a new version, of which nothing is told
	got, err := l.Get(t.Context(), "film")
	if err != nil || !reflect.DeepEqual(got.About, a) || got.Summary != "A longer text." || len(got.Version.Files) != 2 {
		t.Errorf("title %+v, %v", got, err)
	}
	shelf, err := l.Shelf(t.Context(), vod.View{}, vod.Shelf{Most: 5})
	if err != nil || len(shelf) != 1 || !reflect.DeepEqual(shelf[0].About, a) || shelf[0].Version.DurationMs != 4000 {
		t.Errorf("shelf %+v, %v", shelf, err)
	}
	if err := l.SetSeries(t.Context(), vod.Series{ID: "hive", Name: "The beehive", Summary: "Of bees."}); err != nil {
		t.Fatal(err)
	}
	if s, err := l.Series(t.Context(), vod.View{}, "hive"); err != nil || s.Name != "The beehive" || s.Summary != "Of bees." {
		t.Errorf("series %+v, %v", s, err)
	}
	publish(t, l, title("other", 2, true))
	if err := l.SetAbout(t.Context(), "other", a, ""); !errors.Is(err, vod.ErrConflict) {
		t.Errorf("the same episode twice: %v", err)
	}
	if err := l.SetAbout(t.Context(), "none", vod.About{}, ""); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("no such title: %v", err)
	}
}

func TestWhatNoTitleCanBeIsRefused(t *testing.T) {
	l := newLibrary(t)
	publish(t, l, title("film", 1, true))
	for _, a := range []vod.About{
		{Year: 12},
		{Age: vod.Age{Set: true, Years: 99}},
		{Language: "<b>"},
		{Genres: []vod.Genre{"gossip"}},
		{Genres: []vod.Genre{"drama", "drama"}},
		{Credits: []vod.Credit{{Name: " ", Job: vod.JobActor}}},
		{Credits: []vod.Credit{{Name: "B", Job: "bee"}}},
		{Credits: make([]vod.Credit, vod.CreditsMax+1)},
		{Episode: vod.Episode{Series: "s", Name: "S"}},
		{Episode: vod.Episode{Name: "S", Episode: 1}},
	} {
		if err := l.SetAbout(t.Context(), "film", a, ""); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestAKidsLimitHidesWhatIsAboveItAndWhatNobodyRated(t *testing.T) {
	l := newLibrary(t)
	shelved(t, l, "all", "For all", 1, vod.About{Age: vod.Age{Set: true}, Genres: []vod.Genre{"drama"}})
	shelved(t, l, "twelve", "For twelve", 2, vod.About{Age: vod.Age{Set: true, Years: 12}, Genres: []vod.Genre{"drama", "war"}})
	shelved(t, l, "unrated", "For nobody knows whom", 3, vod.About{Genres: []vod.Genre{"war"}})
	for _, c := range []struct {
		limit vod.Age
		want  []vod.TitleID
		war   bool
	}{
		{vod.Age{}, []vod.TitleID{"unrated", "twelve", "all"}, true},
		{vod.Age{Set: true}, []vod.TitleID{"all"}, false},
		{vod.Age{Set: true, Years: 11}, []vod.TitleID{"all"}, false},
		{vod.Age{Set: true, Years: 12}, []vod.TitleID{"twelve", "all"}, true},
	} {
		v := vod.View{Limit: c.limit}
		shelf, err := l.Shelf(t.Context(), v, vod.Shelf{Most: 9})
		if err != nil || !slices.Equal(ids(shelf), c.want) {
			t.Errorf("%+v: shelf %v, %v", c.limit, ids(shelf), err)
		}
		named, err := l.Shelf(t.Context(), v, vod.Shelf{Most: 9, IDs: []vod.TitleID{"unrated", "none", "twelve", "all"}})
		if err != nil || !slices.Equal(ids(named), c.want) {
			t.Errorf("%+v: named %v, %v", c.limit, ids(named), err)
		}
		found, err := l.Search(t.Context(), v, "for", 9)
		if err != nil || len(found) != len(c.want) {
			t.Errorf("%+v: found %v, %v", c.limit, ids(found), err)
		}
		genres, err := l.Genres(t.Context(), v)
		if err != nil || slices.Contains(genres, "war") != c.war || genres[0] != "drama" {
			t.Errorf("%+v: genres %v, %v", c.limit, genres, err)
		}
	}
	closed := title("closed", 4, false)
	publish(t, l, closed)
	if shelf, err := l.Shelf(t.Context(), vod.View{OpenOnly: true}, vod.Shelf{Most: 9}); err != nil || slices.Contains(ids(shelf), "closed") {
		t.Errorf("a stranger's shelf: %v, %v", ids(shelf), err)
	}
}

func TestSeriesStandOnShelvesOnceAndTheirEpisodesInOrder(t *testing.T) {
	l := newLibrary(t)
	shelved(t, l, "e2", "Second", 2, episode("hive", "The hive", 1, 2))
	shelved(t, l, "e1", "First", 3, episode("hive", "The hive", 1, 1))
	shelved(t, l, "e3", "Third", 4, episode("hive", "The hive", 2, 1))
	shelved(t, l, "film", "A film", 1, vod.About{})
	for _, c := range []struct {
		shelf vod.Shelf
		want  []vod.TitleID
	}{
		{vod.Shelf{Most: 9}, []vod.TitleID{"e3", "e1", "e2", "film"}},
		{vod.Shelf{Most: 9, Once: true}, []vod.TitleID{"e3", "film"}},
		{vod.Shelf{Most: 9, Series: "hive"}, []vod.TitleID{"e1", "e2", "e3"}},
		{vod.Shelf{Most: 2, Series: "hive"}, []vod.TitleID{"e1", "e2"}},
		{vod.Shelf{Most: 9, Once: true, IDs: []vod.TitleID{"film", "e2", "e1"}}, []vod.TitleID{"film", "e2"}},
		{vod.Shelf{Most: 9, Genre: "war"}, nil},
		{vod.Shelf{Most: 9, IDs: []vod.TitleID{}}, nil},
	} {
		if list, err := l.Shelf(t.Context(), vod.View{}, c.shelf); err != nil || !slices.Equal(ids(list), c.want) {
			t.Errorf("%+v: %v, %v", c.shelf, ids(list), err)
		}
	}
	if _, err := l.Series(t.Context(), vod.View{Limit: vod.Age{Set: true}}, "hive"); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("a series of which nothing is shown: %v", err)
	}
}

func TestSearchFindsBeginningsOfWordsWithAccentsAside(t *testing.T) {
	l := newLibrary(t)
	shelved(t, l, "ete", "L'Été œuvré", 1, vod.About{Genres: []vod.Genre{"comedy"}, Credits: []vod.Credit{{Name: "Łucja Søren", Job: vod.JobActor}}})
	shelved(t, l, "winter", "A winter with Lucja", 2, vod.About{Genres: []vod.Genre{"science-fiction"}})
	shelved(t, l, "e1", "Pilot", 3, episode("hive", "The Hive 100%", 1, 1))
	shelved(t, l, "e2", "Second", 4, episode("hive", "The Hive 100%", 1, 2))
	for text, want := range map[string][]vod.TitleID{
		"ete": {"ete"}, "ÉTÉ": {"ete"}, "oeuv": {"ete"}, "été l": {"ete"},
		"lucja": {"winter", "ete"}, // a name goes before a person
		"sør":   {"ete"}, "soren lucja": {"ete"}, "ren": nil,
		"comédie": {"ete"}, "comedy": {"ete"}, "fiction": {"winter"},
		"hive": {"e2"}, "pilot": {"e1"}, "100%": {"e2"}, "%": nil, "_": nil, "": nil, " ' ": nil,
		"winter comedy": nil,
	} {
		if found, err := l.Search(t.Context(), vod.View{}, text, 9); err != nil || !slices.Equal(ids(found), want) {
			t.Errorf("%q: %v, %v; want %v", text, ids(found), err, want)
		}
	}
	// What was published before there was a search is found as well.
	if err := l.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE titles SET folded = ''`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Search(t.Context(), vod.View{}, "ete", 9); err != nil || len(found) != 1 {
		t.Errorf("published before: %v, %v", ids(found), err)
	}
	l.clock = func() time.Time { return epoch }
	if err := l.Windows().SetWindow(t.Context(), "ete", vod.Window{Until: epoch.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Search(t.Context(), vod.View{}, "ete", 9); err != nil || len(found) != 0 {
		t.Errorf("outside of its window: %v, %v", ids(found), err)
	}
}
