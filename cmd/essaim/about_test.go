package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"essaim/internal/api"
	"essaim/internal/demo/film"
	"essaim/internal/library"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// TestATitleIsToldOfFlagByFlag parses the real flags: what is not said stays as it was.
func TestATitleIsToldOfFlagByFlag(t *testing.T) {
	data := t.TempDir()
	db, err := sqlstore.Open(t.Context(), filepath.Join(data, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	title := film.Title()
	if err := library.New(db, time.Now).Publish(t.Context(), title, film.Torrent()); err != nil {
		t.Fatal(err)
	}
	say := func(args ...string) (api.AboutBody, error) {
		var c titleAboutCmd
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(append([]string{string(title.ID), "--data", data, "--json"}, args...)); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		c.out = &out
		if err := c.Run(); err != nil {
			return api.AboutBody{}, err
		}
		var said struct{ About api.AboutBody }
		if err := json.Unmarshal(out.Bytes(), &said); err != nil {
			t.Fatal(err, out.String())
		}
		return said.About, nil
	}
	if _, err := say("--year", "1999", "--age", "0", "--language", "fr", "--genre", "drama,short", "--director", "Ada, the first",
		"--cast", "Bea=the bee", "--cast", "Cleo", "--series", "hive", "--series-name", "The hive", "--season", "1", "--episode", "2"); err != nil {
		t.Fatal(err)
	}
	b, err := say("--cast", "Dora", "--episode", "3", "--summary", "Of bees.")
	if err != nil || b.Year != 1999 || b.Age == nil || *b.Age != 0 || b.Language != "fr" || len(b.Genres) != 2 || b.Summary != "Of bees." ||
		len(b.Credits) != 2 || b.Credits[0].Name != "Ada, the first" || b.Credits[1].Name != "Dora" ||
		b.Series.Name != "The hive" || b.Series.Episode != 3 || b.Series.Season != 1 {
		t.Errorf("told %+v, %v", b, err)
	}
	if again, err := say(); err != nil || again.Summary != b.Summary || again.Year != b.Year {
		t.Errorf("printed %+v, %v", again, err)
	}
	if _, err := say("--genre", "gossip"); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("an unknown genre: %v", err)
	}
	if b, err = say("--series", ""); err != nil || b.Series != nil {
		t.Errorf("out of the series: %+v, %v", b, err)
	}
	got, err := library.New(db, time.Now).Get(t.Context(), title.ID)
	if text := describe(&got); err != nil || !strings.Contains(text, "director  Ada, the first") || !strings.Contains(text, "year      1999") {
		t.Errorf("described as %s, %v", text, err)
	}
}
