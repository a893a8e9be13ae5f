package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"essaim/internal/license"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

func TestRotatingTheMasterKeyLeavesFilmsPlayable(t *testing.T) {
	t.Setenv(license.MasterEnv, "")
	data := filepath.Join(t.TempDir(), "data")
	var out, log bytes.Buffer
	rotate := keysRotateCmd{Data: data, JSON: true}
	if err := rotate.run(t.Context(), &out, &log); err == nil || !strings.Contains(err.Error(), "name it with --data") {
		t.Errorf("without a data folder: %v", err)
	}
	if err := os.Mkdir(data, 0o750); err != nil {
		t.Fatal(err)
	}
	db, err := sqlstore.Open(t.Context(), filepath.Join(data, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	keys, err := rotate.open(db, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := keys.Draw(t.Context(), "a job", []vod.Tier{vod.TierAudio, vod.TierHD})
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(data + ".master-key")
	if err != nil {
		t.Fatal("the master key is not beside the data folder:", err)
	}
	if err := rotate.run(t.Context(), &out, &log); err != nil {
		t.Fatal(err)
	}
	var r struct {
		Master  string
		Sealed  int
		Dropped int
		Resumed bool
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Sealed != 2 || r.Dropped != 1 || r.Resumed || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Errorf("%s: %v", out.Bytes(), err)
	}
	after, err := os.ReadFile(data + ".master-key")
	if err != nil || bytes.Equal(before, after) {
		t.Errorf("the file is what it was: %v", err)
	}
	got, err := keys.Open(t.Context(), []vod.KID{drawn[0].KID, drawn[1].KID}) // as a service that was running meanwhile
	if err != nil || !slices.Equal(got, drawn) {
		t.Errorf("the keys do not open any more: %v", err)
	}
	for line := range strings.Lines(string(before) + string(after)) {
		if strings.HasPrefix(line, "emk1_") && strings.Contains(out.String()+log.String(), strings.TrimSpace(line)) {
			t.Error("a master key was printed")
		}
	}
}

func TestLicenceServersAreNamedInSettings(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file("good", "# of the vendor\nX-Api-Key: hunter2\n\nX-Merchant:  me \n", 0o600)
	s := licenseSettings{
		LicenseUpstream: []string{"widevine=https://licence.example/w?x=1", "playready=https://licence.example/p"},
		LicenseHeaders:  []string{"widevine=" + good},
	}
	if list, err := s.upstreams(); err != nil || len(list) != 2 || list["widevine"] == nil || list["playready"] == nil {
		t.Errorf("%v, %v", list, err)
	}
	if h, err := readHeaders(good); err != nil || len(h) != 2 || h["X-Api-Key"] != "hunter2" || h["X-Merchant"] != "me" {
		t.Errorf("%d headers, %v", len(h), err)
	}
	const w = "widevine=https://licence.example/w"
	for name, c := range map[string]struct {
		upstream, headers []string
		want              string
	}{
		"no address":          {[]string{"widevine"}, nil, "want SYSTEM=URL"},
		"a plain address":     {[]string{"widevine=http://licence.example/"}, nil, "want https"},
		"the built-in one":    {[]string{"clearkey=https://licence.example/"}, nil, "built in"},
		"twice":               {[]string{w, w}, nil, "twice"},
		"headers of another":  {[]string{w}, []string{"fairplay=" + good}, "no --license-upstream"},
		"headers of no file":  {[]string{w}, []string{"widevine"}, "want SYSTEM=FILE"},
		"a file for everyone": {[]string{w}, []string{"widevine=" + file("open", "X-Api-Key: hunter2", 0o644)}, "chmod 600"},
		"a file of nonsense":  {[]string{w}, []string{"widevine=" + file("bad", "X-A: 1\nhunter2", 0o600)}, "line 2"},
		"an odd header":       {[]string{w}, []string{"widevine=" + file("odd", "X A: hunter2", 0o600)}, "cannot be a header"},
	} {
		s := licenseSettings{LicenseUpstream: c.upstream, LicenseHeaders: c.headers}
		if _, err := s.upstreams(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
