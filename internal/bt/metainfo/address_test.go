package metainfo

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestReaddressChangesTheAddressesAndNothingElse(t *testing.T) {
	was, err := Create(t.Context(), []Source{source("a.mp4", testData(1, 40_000)), source("b.mp4", testData(2, 70_000))}, Options{
		Name: "film", PieceLength: 32 << 10, CreatedBy: "essaim", Trackers: []string{"wss://old.example/tracker"},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := Addresses{
		Trackers: []string{"https://films.example/announce", "wss://films.example/tracker"},
		WebSeeds: []string{"https://films.example/seed/1/"},
	}
	b, err := Readdress(was.Bytes, a)
	if err != nil {
		t.Fatal(err)
	}
	is, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is.Info, was.Info) || is.InfoHash != was.InfoHash || is.InfoHashV2 != was.InfoHashV2 {
		t.Error("the info dictionary changed")
	}
	if !slices.Equal(is.Trackers, a.Trackers) || !slices.Equal(is.WebSeeds, a.WebSeeds) {
		t.Errorf("trackers %v, web seeds %v", is.Trackers, is.WebSeeds)
	}
	if none, err := Readdress(b, Addresses{}); err != nil || bytes.Contains(none, []byte("films.example")) || !bytes.Contains(none, []byte("created by")) {
		t.Errorf("without addresses: %q, %v", none, err)
	}
	if _, err := Readdress([]byte("d4:infod"), a); err == nil {
		t.Error("half a torrent was taken")
	}
	if _, err := Readdress(was.Bytes, Addresses{Trackers: []string{strings.Repeat("x", urlBytesMax+1)}}); err == nil {
		t.Error("an endless address was taken")
	}
}

func TestMagnetNamesBothSwarmsAndSurvivesItsQuery(t *testing.T) {
	var v1 [20]byte
	var v2 [32]byte
	v1[0], v2[31] = 0xab, 0xcd
	link := Magnet(v1, v2, "L'été & l'hiver", "https://films.example/film.torrent?x=1", Addresses{
		Trackers: []string{"https://films.example/announce"}, WebSeeds: []string{"https://films.example/seed/1/"},
	})
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "magnet" {
		t.Fatal(link, err)
	}
	q := u.Query()
	want := []string{"urn:btih:ab" + strings.Repeat("0", 38), "urn:btmh:1220" + strings.Repeat("0", 62) + "cd"}
	if !slices.Equal(q["xt"], want) || q.Get("dn") != "L'été & l'hiver" || q.Get("tr") != "https://films.example/announce" ||
		q.Get("ws") != "https://films.example/seed/1/" || q.Get("xs") != "https://films.example/film.torrent?x=1" {
		t.Errorf("%s", link)
	}
}
