package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"essaim/internal/demo/film"
	"essaim/internal/library"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

func TestWithdrawnTitleIsGoneAndItsPlayersAreToldUntilItIsRestored(t *testing.T) {
	data := t.TempDir()
	db, err := sqlstore.Open(t.Context(), filepath.Join(data, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	title, torrent := film.Title(), film.Torrent()
	l := library.New(db, time.Now)
	if err := l.Publish(t.Context(), title, torrent); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := withdrawCmd{Title: string(title.ID), dataFolder: dataFolder{Data: data, JSON: true, out: &out}}
	if err := c.Run(); err != nil || !json.Valid(out.Bytes()) {
		t.Fatal(err, out.String())
	}
	if _, err := l.Get(t.Context(), title.ID); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	var why string
	if err := db.Reader().QueryRowContext(t.Context(), `SELECT why FROM revocations WHERE title = $1`, title.ID).Scan(&why); err != nil || vod.PlayEnd(why) != vod.EndWithdrawn {
		t.Errorf("players are told %q, %v", why, err)
	}
	if err := c.Run(); err != nil {
		t.Errorf("again: %v", err)
	}
	back := restoreCmd(c)
	if err := back.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Get(t.Context(), title.ID); err != nil {
		t.Errorf("restored: %v", err)
	}
	back.Title, c.Title = "none", "none"
	for _, err := range []error{c.Run(), back.Run()} {
		if !errors.Is(err, vod.ErrNotFound) {
			t.Errorf("no such title: %v", err)
		}
	}
}
