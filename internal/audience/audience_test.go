package audience

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

const ms = time.Millisecond

// eight is a small crowd in which everything happens: one stalls, one never starts, one held film before.
func eight() *Run {
	r := &Run{
		FilmBytes: 45_000_000, FilmTime: 180 * time.Second,
		OriginBytes: 54_000_000, OriginBytesAfter20s: 42_000_000, FilmBytesAfter20s: 40_000_000,
		OffloadBound: 0.875,
	}
	for i := range 8 {
		v := Viewer{
			Name: fmt.Sprintf("viewer %d", i+1), Arrived: time.Duration(i) * 70 * ms, Startup: time.Duration(300+20*i) * ms,
			Watched: 180 * time.Second, OriginBytes: 6_750_000, PeerBytes: 38_500_000, SentBytes: int64(i) * 11_000_000,
			WastedBytes: 250_000, DuplicateBytes: 1_000_000,
		}
		switch i {
		case 2:
			v.Stalls, v.Stalled = 2, 3*time.Second
		case 5:
			v.Startup, v.Waited, v.Watched = -1, 30*time.Second, 0
		case 7:
			v.CachedBytes, v.PeerBytes = 5_000_000, 33_500_000
		}
		r.Viewers = append(r.Viewers, v)
	}
	for at := time.Duration(0); at <= 180*time.Second; at += time.Second {
		s := int64(at / time.Second)
		r.Samples = append(r.Samples, Sample{
			At: at, OriginBytes: 300_000 * s, PeerBytes: 1_700_000 * s, Playing: 7, Waiting: 1, BufferP5: 4 * time.Second, BufferP50: 40 * time.Second,
		})
	}
	return r
}

func TestFiguresAreThoseOfTheGoldenFile(t *testing.T) {
	got, err := AppendJSON(nil, eight().Figures().Fields())
	if err != nil {
		t.Fatal(err)
	}
	got = append(bytes.ReplaceAll(got, []byte(`,"`), []byte(",\n\"")), '\n')
	file := filepath.Join("testdata", "figures.golden")
	if *rewrite {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("figures are\n%s\nwant\n%s", got, want)
	}
}

func TestFieldsAreThoseThatTheStructNames(t *testing.T) {
	for _, run := range []*Run{eight(), {OffloadBound: -1, OriginBytesAfter20s: -1}} {
		f := run.Figures()
		ours, err := AppendJSON(nil, f.Fields())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(ours, theirs) {
			t.Errorf("fields give\n%s\nthe struct gives\n%s", ours, theirs)
		}
	}
}

func TestNoFigureIsInfiniteOrNoNumber(t *testing.T) {
	runs := map[string]*Run{
		"nothing":             {},
		"viewers of nothing":  {Viewers: make([]Viewer, 3)},
		"one viewer":          {Viewers: []Viewer{{OriginBytes: 5, Startup: 1}}, FilmBytes: 5, FilmTime: 1, OriginBytes: 5},
		"all wasted":          {Viewers: []Viewer{{OriginBytes: 5, WastedBytes: 5}, {}}, FilmBytes: 1, FilmTime: 1, OriginBytes: 5, Titles: 2},
		"a bound of no sense": {OffloadBound: math.NaN()},
	}
	for name, run := range runs {
		v := reflect.ValueOf(run.Figures())
		for i := range v.NumField() {
			field := reflect.Indirect(v.Field(i))
			if field.IsValid() && field.CanFloat() && (math.IsNaN(field.Float()) || math.IsInf(field.Float(), 0)) {
				t.Errorf("%s: %s is %v", name, v.Type().Field(i).Name, field.Float())
			}
		}
	}
}

func TestFiguresLeaveOutWhatWasNotMeasured(t *testing.T) {
	run := eight()
	run.OriginBytes, run.OriginBytesAfter20s, run.OffloadBound = -1, -1, -1
	f := run.Figures()
	if f.OriginCopiesAfter20 != nil || f.OffloadBound != nil {
		t.Error("what was not measured is reported")
	}
	if want := int64(8 * 6_750_000); f.OriginBytes != want {
		t.Errorf("without the origin's own count origin_bytes is %d, want the viewers' %d", f.OriginBytes, want)
	}
}

func TestViewerWhoNeverStartedCountsWithTheTimeItWaited(t *testing.T) {
	run := &Run{Viewers: []Viewer{{Startup: 200 * ms}, {Startup: 300 * ms}, {Startup: -1, Arrived: time.Second, Waited: 9 * time.Second}}}
	if f := run.Figures(); f.NeverStarted != 1 || f.StartupP95S != 9 || f.StartupP50S != 0.3 {
		t.Errorf("never started %d, p50 %v, p95 %v", f.NeverStarted, f.StartupP50S, f.StartupP95S)
	}
	run.Viewers[2].Waited = 0
	run.Samples = []Sample{{At: 60 * time.Second}}
	if f := run.Figures(); f.StartupP95S != 59 {
		t.Errorf("who waits to the end of 60 s since the first second waited %v s", f.StartupP95S)
	}
}

func TestDuplicateSecondsFollowFromCopiesOfOneTitle(t *testing.T) {
	run := eight() // 1.2 copies of 180 s for eight
	if got, want := run.Figures().DuplicateSeconds, 0.2*180/7; math.Abs(got-want) > 1e-6 {
		t.Errorf("duplicate_seconds %v, want %v", got, want)
	}
	run.Titles = 3 // 1 MB of 45 MB of 180 s, each
	if got, want := run.Figures().DuplicateSeconds, 180/45.0; math.Abs(got-want) > 1e-6 {
		t.Errorf("duplicate_seconds of several titles %v, want %v", got, want)
	}
	run = eight()
	run.OriginBytes = 40_000_000 // less than one copy: caches held the rest
	if got := run.Figures().DuplicateSeconds; got != 0 {
		t.Errorf("duplicate_seconds of less than a copy is %v", got)
	}
}

func TestOffloadIsOneLessCopiesPerViewerWhereAllWatchAll(t *testing.T) {
	run := &Run{FilmBytes: 100, OriginBytes: 120}
	for range 8 { // 100 bytes delivered to each; five came twice
		run.Viewers = append(run.Viewers, Viewer{OriginBytes: 15, PeerBytes: 90, WastedBytes: 5})
	}
	if got, want := run.Figures().Offload, 1-1.2/8; math.Abs(got-want) > 1e-9 {
		t.Errorf("offload %v, want %v", got, want)
	}
}

func TestPercentileIsByNearestRank(t *testing.T) {
	values := []int{15, 20, 35, 40, 50}
	for p, want := range map[int]int{0: 15, 5: 15, 20: 15, 21: 20, 30: 20, 40: 20, 50: 35, 95: 50, 100: 50} {
		if got := percentile(values, p); got != want {
			t.Errorf("percentile %d is %d, want %d", p, got, want)
		}
	}
	if got := percentile([]int(nil), 50); got != 0 {
		t.Errorf("percentile of nothing is %d", got)
	}
}

func TestAppendJSONKeepsOrderAndRefusesANameTwice(t *testing.T) {
	got, err := AppendJSON([]byte("x"), []Field{{"b", 1}, {"a", []Field{{"z", `"<`}, {"y", 0.5}}}, {"c", []uint64{1, 2}}})
	if want := `x{"b":1,"a":{"z":"\"\u003c","y":0.5},"c":[1,2]}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if _, err := AppendJSON(nil, []Field{{"a", 1}, {"a", 2}}); err == nil {
		t.Error("a name that occurs twice passes")
	}
	if _, err := AppendJSON(nil, []Field{{"a", math.Inf(1)}}); err == nil {
		t.Error("an infinite number passes")
	}
}

func page(t *testing.T, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPageEscapesWhatItIsGiven(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror='x'>{{.}}`
	run := eight()
	run.Viewers[0].Name = evil
	got := page(t, Page{
		Title: evil, Note: evil, Command: evil, Settings: [][2]string{{evil, evil}}, Run: run, Extra: [][2]string{{evil, evil}},
	})
	for _, bad := range []string{"<script", "<img", "onerror='"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	if n := strings.Count(got, "&lt;script&gt;"); n < 8 {
		t.Errorf("the text stands %d times on the page, want 8 at least", n)
	}
}

// TestPageIsWellFormed reads the page as XML, without its doctype: every element is closed where it should be.
func TestPageIsWellFormed(t *testing.T) {
	big := eight()
	for range 7 {
		big.Viewers = append(big.Viewers, big.Viewers...)
	}
	for name, p := range map[string]Page{
		"full": {
			Title: "flash-8", Note: "A note & more.", Command: "essaim sim --scene flash-8", Settings: [][2]string{{"viewers", "8"}},
			Run: eight(), Twin: eight(), Extra: [][2]string{{"events", "12"}},
		},
		"empty": {Title: "nothing", Run: &Run{}},
		"odd": {Title: "odd", Run: &Run{
			Viewers: make([]Viewer, 1), Samples: []Sample{{}, {}, {At: 5, Stalled: 1}, {At: 3}},
		}, Twin: &Run{}},
		"big": {Title: "big", Run: big, Twin: big},
	} {
		got := page(t, p)
		d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(got, "<!doctype html>")))
		d.Strict, d.Entity = true, xml.HTMLEntity
		for {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "style=\"", "http://", "https://", "url("} {
			if strings.Contains(got, bad) {
				t.Errorf("%s: the page holds %s", name, bad)
			}
		}
	}
}

func TestPageFoldsAndBoundsItsTableOfViewers(t *testing.T) {
	run := &Run{Viewers: make([]Viewer, rowsMax+7)}
	run.Viewers[rowsMax+3] = Viewer{Name: "the worst", Stalled: time.Second, Stalls: 1}
	shown, more, note := run.rows()
	if len(shown) != rowsShown || len(shown)+len(more) != rowsMax || shown[0].Name != "the worst" || !shown[0].Bad {
		t.Errorf("%d shown, %d folded, first %q", len(shown), len(more), shown[0].Name)
	}
	if !strings.Contains(note, "7 who fared best are left out") {
		t.Error(note)
	}
}

func TestPageRefusesToShowNoRun(t *testing.T) {
	if err := WriteHTML(io.Discard, Page{Title: "x"}); err == nil {
		t.Error("no error")
	}
}

func TestAxesEndOnALabel(t *testing.T) {
	for top, want := range map[float64]struct {
		ticks int
		step  float64
	}{0: {1, 1}, 1: {2, 0.5}, 8: {4, 2}, 128: {3, 50}, 0.31: {4, 0.1}, 37e6: {4, 10e6}} {
		ticks, step := niceTicks(top, 4)
		if ticks != want.ticks || math.Abs(step-want.step) > want.step/1e6 {
			t.Errorf("%v: %d steps of %v, want %d of %v", top, ticks, step, want.ticks, want.step)
		}
	}
	for end, want := range map[time.Duration]time.Duration{
		0: 100 * ms, 60 * time.Second: 20 * time.Second, 180 * time.Second: time.Minute, 200 * time.Second: 40 * time.Second,
		187 * time.Second: 40 * time.Second, 2 * time.Hour: 30 * time.Minute, 20 * 24 * time.Hour: 96 * time.Hour,
	} {
		if got := timeStep(end); got != want {
			t.Errorf("%s: labels every %s, want %s", end, got, want)
		}
	}
	for end := 300 * ms; end < 7*24*time.Hour; end += end / 7 {
		if step := timeStep(end); end > 6*step || end <= 2*step {
			t.Errorf("%s: labels every %s", end, step)
		}
	}
}
