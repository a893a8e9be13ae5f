package api

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/vod"
)

// shelve publishes a title without media, told about.
func (h *house) shelve(id vod.TitleID, open bool, a vod.About) {
	h.t.Helper()
	seed := byte(10 + len(h.films))
	x := h.films["open"]
	x.Version.Files = slices.Clone(x.Version.Files)
	v2 := bt.InfoHashV2{0: seed}
	x.ID, x.Name, x.Open, x.About = id, "The "+string(id), open, a
	x.Version.ID, x.Version.InfoHashV1, x.Version.InfoHashV2 = v2.String(), bt.InfoHash{0: seed}, v2
	h.films[id] = x
	h.clock.Advance(time.Second)
	if err := h.library.Publish(h.t.Context(), x, []byte("de")); err != nil {
		h.t.Fatal(err)
	}
}

func episodeOf(series vod.TitleID, season, number int) vod.About {
	return vod.About{Episode: vod.Episode{Series: series, Name: "The " + string(series), Season: season, Episode: number}}
}

func (b *browser) at(title vod.TitleID, ms int) {
	b.t.Helper()
	b.clock.Advance(time.Second)
	var at PositionBody
	b.want(200, &at, "PUT", "/api/v1/positions/"+string(title), fmt.Sprintf(`{"position_ms":%d,"duration_ms":100000}`, ms))
}

func cardIDs(list []Card) (ids []vod.TitleID) {
	for i := range list {
		ids = append(ids, list[i].ID)
	}
	return ids
}

func TestEditorsSayWhatATitleIsAndEverybodyReadsIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.member("ed", vod.Editor)
	ed, stranger := h.browser().signInAs("ed"), h.browser()
	const about = `{"summary":"Of bees.","year":1999,"age":6,"language":"fr","genres":["drama","short"],` +
		`"credits":[{"name":"Zoé","job":"director"},{"name":"B","job":"actor","part":"the bee"}],` +
		`"series":{"id":"hive","name":"The hive","season":1,"episode":2}}`
	var set AboutBody
	ed.want(200, &set, "PUT", "/api/v1/operator/titles/open/about", about)
	var d TitleDetail
	stranger.want(200, &d, "GET", "/api/v1/titles/open", "")
	if d.Summary != "Of bees." || d.Year != 1999 || *d.Age != 6 || d.Language != "fr" || len(d.Genres) != 2 || d.Series.Episode != 2 ||
		len(d.Credits) != 2 || d.Credits[1].Part != "the bee" || d.Kept || d.Position != nil {
		t.Errorf("detail %+v", d)
	}
	ed.refused(409, "conflict", "PUT", "/api/v1/operator/titles/closed/about", `{"series":{"id":"hive","name":"The hive","season":1,"episode":2}}`)
	ed.refused(400, "invalid", "PUT", "/api/v1/operator/titles/closed/about", `{"genres":["gossip"]}`)
	ed.refused(404, "not_found", "PUT", "/api/v1/operator/titles/none/about", `{}`)
	var text SeriesText
	ed.want(200, &text, "PUT", "/api/v1/operator/series/hive", `{"name":"The beehive","summary":"All of it."}`)
	ed.refused(404, "not_found", "PUT", "/api/v1/operator/series/none", `{"name":"x"}`)
	var s SeriesBody
	stranger.want(200, &s, "GET", "/api/v1/series/hive", "")
	if s.Name != "The beehive" || s.Summary != "All of it." || len(s.Episodes) != 1 || s.Next != "open" {
		t.Errorf("series %+v", s)
	}
	stranger.refused(404, "not_found", "GET", "/api/v1/series/none", "")
}

// Above a profile's limit there is nothing, by whatever road it is asked for.
func TestAKidsLimitHoldsOnEveryRoadToATitle(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.shelve("for-all", true, vod.About{Age: vod.Age{Set: true}, Genres: []vod.Genre{"drama"}})
	adult := episodeOf("hive", 1, 1)
	adult.Age = vod.Age{Set: true, Years: 16}
	if err := h.library.SetAbout(t.Context(), "closed", adult, ""); err != nil {
		t.Fatal(err)
	}
	ada := h.browser().signIn()
	ada.play("closed", `{}`)
	var kid ProfileBody
	var home HouseholdBody
	ada.want(200, &kid, "POST", "/api/v1/profiles", `{"name":"Kid","age_limit":12}`)
	ada.want(200, &home, "POST", "/api/v1/profiles/"+kid.ID+"/choose", `{}`)

	var titles struct{ Titles []TitleSummary }
	ada.want(200, &titles, "GET", "/api/v1/titles", "")
	if len(titles.Titles) != 1 || titles.Titles[0].ID != "for-all" { // open is not rated, closed is rated for 16
		t.Errorf("list %+v", titles)
	}
	ada.want(200, &titles, "GET", "/api/v1/search?q=the", "")
	if len(titles.Titles) != 1 || titles.Titles[0].ID != "for-all" {
		t.Errorf("found %+v", titles)
	}
	for _, id := range []string{"closed", "open"} {
		ada.refused(404, "not_found", "GET", "/api/v1/titles/"+id, "")
		ada.refused(404, "not_found", "POST", "/api/v1/titles/"+id+"/play", `{}`)
		ada.refused(404, "not_found", "GET", "/api/v1/titles/"+id+"/torrent", "")
		ada.refused(404, "not_found", "PUT", "/api/v1/list/"+id, "")
		ada.refused(404, "not_found", "PUT", "/api/v1/positions/"+id, `{"position_ms":1,"duration_ms":4000}`)
	}
	ada.refused(404, "not_found", "GET", "/api/v1/series/hive", "")
	var streams struct{ Streams []StreamBody }
	ada.want(200, &streams, "GET", "/api/v1/streams", "")
	if len(streams.Streams) != 1 || streams.Streams[0].Name != "" {
		t.Errorf("what else plays: %+v", streams)
	}
	var d TitleDetail
	ada.want(200, &d, "GET", "/api/v1/titles/for-all", "")
}

func TestHomeGoesOnWhereTheProfileWas(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for i := range 3 {
		h.shelve(vod.TitleID(fmt.Sprintf("hive-%d", i+1)), false, episodeOf("hive", 1, i+1))
	}
	h.shelve("done", true, episodeOf("short", 0, 1))
	ada := h.browser().signIn()
	var home struct{ Rows []HomeRow }
	ada.want(200, &home, "GET", "/api/v1/home", "")
	if len(home.Rows) != 0 { // a handful of titles is seen at a glance
		t.Errorf("before anything was seen: %+v", home.Rows)
	}
	ada.at("open", 4_000) // hardly begun
	ada.at("closed", 50_000)
	ada.at("done", 99_000)
	ada.at("hive-2", 50_000)
	ada.at("hive-1", 99_000)
	if resp, body := ada.do("PUT", "/api/v1/list/closed", ""); resp.StatusCode != 204 {
		t.Fatalf("keep: %s", body)
	}
	ada.want(200, &home, "GET", "/api/v1/home", "")
	if len(home.Rows) != 2 || home.Rows[0].Kind != "continue" || home.Rows[1].Kind != "list" ||
		!slices.Equal(cardIDs(home.Rows[0].Titles), []vod.TitleID{"hive-2", "closed"}) ||
		home.Rows[0].Titles[0].PositionMs != 50_000 || home.Rows[0].Titles[0].Series.Name != "The hive" {
		t.Errorf("home %+v", home.Rows)
	}
	var s SeriesBody
	ada.want(200, &s, "GET", "/api/v1/series/hive", "")
	if s.Next != "hive-2" || !slices.Equal(cardIDs(s.Episodes), []vod.TitleID{"hive-1", "hive-2", "hive-3"}) || !s.Episodes[0].Watched {
		t.Errorf("series %+v", s)
	}
	ada.at("hive-2", 99_000)
	ada.at("hive-3", 99_000)
	ada.want(200, &home, "GET", "/api/v1/home", "")
	if !slices.Equal(cardIDs(home.Rows[0].Titles), []vod.TitleID{"closed"}) {
		t.Errorf("a series that was seen: %v", cardIDs(home.Rows[0].Titles))
	}
	ada.want(200, &s, "GET", "/api/v1/series/hive", "")
	if s.Next != "hive-1" {
		t.Errorf("who has seen all goes on with %s", s.Next)
	}
	var d TitleDetail
	ada.want(200, &d, "GET", "/api/v1/titles/closed", "")
	if !d.Kept || d.Position == nil || d.Position.PositionMs != 50_000 {
		t.Errorf("detail %+v", d)
	}
	h.browser().want(200, &home, "GET", "/api/v1/home", "")
	if len(home.Rows) != 0 {
		t.Errorf("a stranger's home: %+v", home.Rows)
	}
}

func TestHomeSortsManyTitlesIntoRows(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for i := range 7 {
		a := vod.About{Genres: []vod.Genre{"drama"}}
		if i < 2 {
			a.Genres = append(a.Genres, "war") // too few for a row
		}
		h.shelve(vod.TitleID(fmt.Sprintf("film-%d", i)), true, a)
	}
	for i := range 2 {
		h.shelve(vod.TitleID(fmt.Sprintf("hive-%d", i)), true, episodeOf("hive", 1, i+1))
	}
	var home struct{ Rows []HomeRow }
	h.browser().want(200, &home, "GET", "/api/v1/home", "")
	if len(home.Rows) != 2 || home.Rows[0].Kind != "new" || len(home.Rows[0].Titles) != 9 || home.Rows[0].Titles[0].ID != "hive-1" ||
		home.Rows[1].Genre != "drama" || len(home.Rows[1].Titles) != 7 {
		t.Errorf("home %+v", home.Rows)
	}
}
