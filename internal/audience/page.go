package audience

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Page is a report of one run.
type Page struct {
	Title    string      // the scene, or what was rehearsed
	Note     string      // a sentence of explanation; may be empty
	Command  string      // the command line that gives this run again; may be empty
	Settings [][2]string // name and value, in the order in which to show them
	Run      *Run
	Twin     *Run        // the same crowd by plain HTTP; nil: there was none
	Extra    [][2]string // further figures: name and value, as they should read
}

// Bounds of the page, so that a crowd of 100,000 still makes a file that a browser opens at once.
const (
	rowsShown = 50    // viewers in the table as it opens
	rowsMax   = 1_000 // and in all
	textMax   = 2_000 // bytes of any one text from outside
)

//go:embed page.css
var pageCSS string

//go:embed page.tmpl
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// tile is a number that is to be seen first.
type tile struct {
	Name, Value, Unit string
	Beside            []string // remarks, a line each
	Alarm             bool
}

// figureRow is one line of the table of all figures.
type figureRow struct{ Name, Value, Twin string }

// viewerRow is one line of the table of viewers, as it reads.
type viewerRow struct {
	Name, Arrived, Startup, Stalls, Stalled, Watched, Origin, Peers, Cached, Sent, Wasted string
	Bad                                                                                   bool
}

type pageData struct {
	Policy               template.HTMLAttr
	Style                template.CSS
	Title, Note, Command string
	Crowd                string
	Tiles                []tile
	Plots                []plot
	Figures              []figureRow
	HasTwin              bool
	Settings             [][2]string
	Rows, More           []viewerRow
	RowsNote             string
}

// WriteHTML writes p as one HTML file that needs nothing besides itself: no script, no font, no request. Its security policy
// allows its own style sheet and nothing else. Every text of p is escaped. Without samples there are no plots over time.
func WriteHTML(w io.Writer, p Page) error {
	if p.Run == nil {
		return errors.New("report: there is no run to show")
	}
	sum := sha256.Sum256([]byte(pageCSS))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
	data := pageData{
		Policy: template.HTMLAttr(`content="` + policy + `"`), // our own words, and base64
		Style:  template.CSS(pageCSS),
		Title:  clip(p.Title), Note: clip(p.Note), Command: clip(p.Command),
		Crowd: p.Run.crowd(), HasTwin: p.Twin != nil,
	}
	f := p.Run.Figures()
	var twin *Figures
	if p.Twin != nil {
		twin = new(p.Twin.Figures())
	}
	data.Tiles = tiles(f, twin)
	data.Plots = plots(p.Run, p.Twin)
	data.Figures = figureRows(f, twin)
	for _, x := range p.Extra {
		data.Figures = append(data.Figures, figureRow{Name: clip(x[0]), Value: clip(x[1])})
	}
	for _, s := range p.Settings {
		data.Settings = append(data.Settings, [2]string{clip(s[0]), clip(s[1])})
	}
	data.Rows, data.More, data.RowsNote = p.Run.rows()
	if err := pageTemplate.Execute(w, data); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// clip bounds a text from outside.
func clip(s string) string {
	if len(s) <= textMax {
		return s
	}
	return strings.ToValidUTF8(s[:textMax], "") + "…"
}

// crowd says in a line who watched what.
func (r *Run) crowd() string {
	line := count(len(r.Viewers), "viewer")
	if r.Titles > 1 {
		line += ", " + count(r.Titles, "film")
	}
	if r.FilmTime > 0 {
		line += ", " + clock(r.FilmTime) + " of film"
		if r.FilmBytes > 0 {
			line += " at " + decimals(float64(r.FilmBytes)*8/1e6/r.FilmTime.Seconds(), 2) + " Mbit/s"
		}
	}
	return line
}

func tiles(f Figures, twin *Figures) []tile {
	http := func(beside []string, of func(*Figures) string) []string {
		if twin == nil {
			return beside
		}
		return append(beside, "plain HTTP "+of(twin))
	}
	seconds := func(v float64) string { return hundredths(v) + "\u00a0s" }
	var bound []string
	if f.OffloadBound != nil {
		bound = []string{"at most " + percent(*f.OffloadBound) + " was possible"}
	}
	never := "everybody started"
	if f.NeverStarted > 0 {
		never = count(f.NeverStarted, "viewer") + " never started"
	}
	return []tile{
		{Name: "Offload", Value: decimals(100*f.Offload, 1), Unit: "%", Beside: bound},
		{
			Name: "Origin copies", Value: decimals(f.OriginCopies, 2), Unit: "×",
			Beside: http(nil, func(f *Figures) string { return decimals(f.OriginCopies, 2) }),
		},
		{
			Name: "Fetched again", Value: decimals(f.DuplicateSeconds, 1), Unit: "s",
			Beside: []string{"of film per viewer, though another had it"},
		},
		{
			Name: "Start-up, p95", Value: hundredths(f.StartupP95S), Unit: "s",
			Beside: http([]string{"p50 " + seconds(f.StartupP50S)}, func(f *Figures) string { return seconds(f.StartupP95S) }),
		},
		{
			Name: "Stalls per viewer", Value: decimals(f.StallsPerViewer, 2),
			Beside: http([]string{percent(f.StallRatio) + " of the time"}, func(f *Figures) string { return decimals(f.StallsPerViewer, 2) }),
			Alarm:  f.StallsPerViewer > 0,
		},
		{Name: "Bad bytes delivered", Value: strconv.FormatInt(f.BadBytesDelivered, 10), Beside: []string{never}, Alarm: f.BadBytesDelivered > 0 || f.NeverStarted > 0},
	}
}

// figureRows are all figures beside the twin's, by their names in the JSON.
func figureRows(f Figures, twin *Figures) []figureRow {
	var others []Field
	if twin != nil {
		others = twin.Fields()
	}
	var rows []figureRow
	for _, field := range f.Fields() {
		row := figureRow{Name: field.Name, Value: text(field.Value)}
		for _, o := range others {
			if o.Name == field.Name {
				row.Twin = text(o.Value)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// rows are the table of viewers: all in order of arrival where they fit on a screen or two, otherwise those who fared worst
// first, the further ones folded away.
func (r *Run) rows() (shown, more []viewerRow, note string) {
	order := make([]int, len(r.Viewers))
	for i := range order {
		order[i] = i
	}
	note = "In order of arrival."
	if len(order) > rowsShown {
		slices.SortStableFunc(order, func(a, b int) int {
			x, y := &r.Viewers[a], &r.Viewers[b]
			return cmp.Or(cmp.Compare(y.BadBytes, x.BadBytes), cmp.Compare(y.Stalled, x.Stalled), cmp.Compare(r.startup(y), r.startup(x)))
		})
		note = "Those who fared worst first: bad bytes, then time stalled, then start-up."
	} else {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.Viewers[a].Arrived, r.Viewers[b].Arrived) })
	}
	if len(order) > rowsMax {
		note += fmt.Sprintf(" The %d who fared best are left out.", len(order)-rowsMax)
		order = order[:rowsMax]
	}
	for n, i := range order {
		row := r.row(&r.Viewers[i], i)
		if n < rowsShown {
			shown = append(shown, row)
		} else {
			more = append(more, row)
		}
	}
	return shown, more, note
}

func (r *Run) row(v *Viewer, i int) viewerRow {
	row := viewerRow{
		Name: clip(v.Name), Arrived: clock(v.Arrived), Startup: hundredths(v.Startup.Seconds()) + " s",
		Stalls: strconv.Itoa(v.Stalls), Stalled: hundredths(v.Stalled.Seconds()) + " s", Watched: clock(v.Watched),
		Origin: byteCount(v.OriginBytes), Peers: byteCount(v.PeerBytes), Cached: byteCount(v.CachedBytes), Sent: byteCount(v.SentBytes),
		Wasted: byteCount(v.WastedBytes), Bad: v.BadBytes > 0 || v.Startup < 0 || v.Stalls > 0,
	}
	if row.Name == "" {
		row.Name = strconv.Itoa(i + 1)
	}
	if v.Startup < 0 {
		row.Startup = "never"
	}
	return row
}

// The forms in which numbers read.

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// decimals is v with at most n places and no zeros at the end.
func decimals(v float64, n int) string {
	s := strconv.FormatFloat(v, 'f', n, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// hundredths is v with two places, for columns and for what is compared.
func hundredths(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

func percent(v float64) string { return decimals(100*v, 1) + "\u00a0%" }

// clock is a time as a player shows it, with a tenth below a minute where there is one.
func clock(d time.Duration) string {
	if d < time.Minute {
		return decimals(d.Seconds(), 1) + " s"
	}
	s := int64(d.Round(time.Second) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// byteCount is n in the unit that leaves one to three digits before the point.
func byteCount(n int64) string {
	v, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for v >= 1000 && len(units) > 1 {
		v, units = v/1000, units[1:]
	}
	places := 0
	if v < 100 && units[0] != "B" {
		places = 1
	}
	return strconv.FormatFloat(v, 'f', places, 64) + " " + units[0]
}

// text is a figure of the JSON as it reads in a table.
func text(v any) string {
	switch v := v.(type) {
	case float64:
		return decimals(v, 4)
	case int64:
		return grouped(v)
	default:
		return fmt.Sprint(v)
	}
}

// grouped is n with its digits in threes, by a narrow space.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
