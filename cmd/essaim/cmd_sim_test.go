package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"essaim/internal/sim"
)

// smallScene is a scene that takes milliseconds: two viewers of ten seconds.
func smallScene() simCmd {
	return simCmd{Scene: "flash-8", Seed: 7, Runs: 1, Set: []string{"viewers=2", "film=10s"}}
}

// simulate runs c and returns what it printed and what it logged.
func simulate(t *testing.T, c simCmd) (out, log string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.run(context.Background(), &b, f); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), string(text)
}

func TestSimPrintsOneObjectWithEverySettingAndFigure(t *testing.T) {
	c := smallScene()
	c.JSON = true
	out, _ := simulate(t, c)
	if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
		t.Fatalf("not one line: %q", out)
	}
	var got struct {
		Scene    string         `json:"scene"`
		Seed     uint64         `json:"seed"`
		Settings map[string]any `json:"settings"`
	}
	fields := map[string]any{}
	for _, to := range []any{&got, &fields} {
		if err := json.Unmarshal([]byte(out), to); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := sim.Lookup(c.Scene)
	for _, setting := range s.Settings() {
		if _, ok := got.Settings[setting.Name]; !ok {
			t.Errorf("the setting %s is not told", setting.Name)
		}
	}
	if got.Scene != "flash-8" || got.Seed != 7 || got.Settings["viewers"] != 2.0 || got.Settings["film"] != "10s" {
		t.Errorf("scene %s, seed %d, settings %v", got.Scene, got.Seed, got.Settings)
	}
	for _, name := range []string{
		"viewers", "origin_copies", "duplicate_seconds", "offload", "startup_p50_s", "startup_p95_s", "stalls_per_viewer", "stall_ratio",
		"waste_ratio", "bad_bytes_delivered", "uploaded_gb_p50", "uploaded_gb_p99", "origin_bytes", "peer_bytes", "http_startup_p50_s",
		"http_origin_copies", "events",
	} {
		if _, ok := fields[name].(float64); !ok {
			t.Errorf("%s is %v", name, fields[name])
		}
	}
	for _, name := range []string{"runs", "range", "wall_s", "cpu_s"} {
		if v, ok := fields[name]; ok {
			t.Errorf("%s is there: %v", name, v)
		}
	}
	if copies := fields["http_origin_copies"]; copies != 2.0 {
		t.Errorf("two viewers by plain HTTP cost %v copies", copies)
	}
}

func TestSimGivesTheSameBytesForTheSameSeed(t *testing.T) {
	c := smallScene()
	c.JSON = true
	first, _ := simulate(t, c)
	if second, _ := simulate(t, c); second != first {
		t.Errorf("first\n%sthen\n%s", first, second)
	}
	c.Seed = 8
	if other, _ := simulate(t, c); other == first {
		t.Error("another seed gives the same bytes")
	}
}

func TestSimReportsMediansOfSeveralSeeds(t *testing.T) {
	c := smallScene()
	c.JSON = true
	var origin []float64
	for seed := range uint64(3) {
		c.Seed = 7 + seed
		one, _ := simulate(t, c)
		var f struct {
			OriginBytes float64 `json:"origin_bytes"`
		}
		if err := json.Unmarshal([]byte(one), &f); err != nil {
			t.Fatal(err)
		}
		origin = append(origin, f.OriginBytes)
	}
	c.Seed, c.Runs = 7, 3
	all, _ := simulate(t, c)
	var f struct {
		Runs        int                   `json:"runs"`
		Seeds       []uint64              `json:"seeds"`
		OriginBytes float64               `json:"origin_bytes"`
		Range       map[string][2]float64 `json:"range"`
	}
	if err := json.Unmarshal([]byte(all), &f); err != nil {
		t.Fatal(err)
	}
	if want := median(origin); f.OriginBytes != want || f.Range["origin_bytes"] != [2]float64{origin[0], origin[2]} {
		t.Errorf("origin_bytes %v (%v), want %v of %v", f.OriginBytes, f.Range["origin_bytes"], want, origin)
	}
	if f.Runs != 3 || len(f.Seeds) != 3 || f.Seeds[0] != 7 || f.Seeds[2] != 9 {
		t.Errorf("runs %d, seeds %v", f.Runs, f.Seeds)
	}
}

func TestSimTableStandsBesidePlainHTTPAndTellsHowToRepeatIt(t *testing.T) {
	c := smallScene()
	c.Policy, c.Timing = "urgent", true
	out, log := simulate(t, c)
	for _, want := range []string{
		"plain HTTP", "origin_copies", "wall_s", "The same again: essaim sim --scene flash-8 --seed 7 --policy urgent --set viewers=2 --set film=10s\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if !strings.Contains(log, "flash-8") {
		t.Errorf("without a terminal the log says %q", log)
	}
}

func TestSimWritesAPageWholeOrNotAtAll(t *testing.T) {
	c := smallScene()
	folder := t.TempDir()
	c.Report = filepath.Join(folder, "page.html")
	simulate(t, c)
	page, err := os.ReadFile(c.Report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>flash-8</h1>", "<svg", "--scene flash-8 --seed 7", "plain HTTP"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page lacks %s", want)
		}
	}
	c.Report = filepath.Join(folder, "other.html")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.run(ctx, &bytes.Buffer{}, os.Stderr); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was ended says %v", err)
	}
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("%d files are left, want the one page", len(left))
	}
	c.Report = filepath.Join(folder, "none", "page.html")
	if err := c.run(context.Background(), &bytes.Buffer{}, os.Stderr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there gives %v", err)
	}
	c.Report = folder
	if err := c.run(context.Background(), &bytes.Buffer{}, os.Stderr); err == nil {
		t.Error("a folder in the file's place passes")
	}
}

func TestSimRefusesACommandLineThatMeansNothing(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no scene":            {nil, "--scene is missing: there are capped-8"},
		"unknown scene":       {[]string{"--scene", "nope"}, `no scene "nope": there are capped-8`},
		"unknown setting":     {[]string{"--scene", "flash-8", "--set", "colour=red"}, "there are viewers"},
		"setting of no value": {[]string{"--scene", "flash-8", "--set", "viewers"}, "want name=value"},
		"setting of nonsense": {[]string{"--scene", "flash-8", "--set", "viewers=many"}, "viewers=many"},
		"unknown policy":      {[]string{"--scene", "flash-8", "--policy", "best"}, "--policy"},
		"no run":              {[]string{"--scene", "flash-8", "--runs", "0"}, "--runs must be"},
		"page of many":        {[]string{"--scene", "flash-8", "--runs", "2", "--report", "x.html"}, "--report shows a single run"},
	} {
		var log bytes.Buffer
		if status := run(append([]string{"sim"}, test.args...), &log); status != 2 || !strings.Contains(log.String(), test.want) {
			t.Errorf("%s: status %d, %s", name, status, log.String())
		}
	}
}

func TestSimFailsInOneLineWhereSettingsDoNotFitTogether(t *testing.T) {
	var log bytes.Buffer
	status := run([]string{"sim", "--scene", "flash-8", "--set", "film=3s"}, &log)
	if status != 1 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "scene flash-8, seed 1: ") {
		t.Errorf("status %d, %q", status, log.String())
	}
}

func TestSimListsEveryScene(t *testing.T) {
	c := simCmd{List: true}
	out, _ := simulate(t, c)
	for _, name := range sim.Names() {
		if !strings.Contains(out, name+" ") {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestShellWordIsReadBackByAShell(t *testing.T) {
	for in, want := range map[string]string{"a=4M": "a=4M", "a=b c": "'a=b c'", "it's": `'it'\''s'`, "": "''"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}
