package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"essaim/internal/audience"
	"essaim/internal/sim"
)

// simCmd plays a crowd under virtual time.
type simCmd struct {
	Scene  string   `placeholder:"NAME" help:"What to play; --list tells what there is."`
	Seed   uint64   `default:"1" help:"The same seed gives the same evening, to the byte."`
	Set    []string `sep:"none" placeholder:"NAME=VALUE" help:"Change a setting of the scene; may be given several times."`
	Policy string   `enum:",essaim,urgent,http" default:"" placeholder:"POLICY" help:"Short for --set policy=POLICY: essaim, urgent (the origin only for what is urgent) or http (no peers)."`
	Runs   int      `default:"1" help:"Play the seeds SEED to SEED + RUNS - 1, and report the median of each figure."`
	Report string   `type:"path" placeholder:"FILE.html" help:"Write a page with plots; of a single run."`
	Timing bool     `help:"Report wall_s and cpu_s too, which differ from run to run."`
	List   bool     `help:"List the scenes."`
	JSON   bool     `name:"json" help:"Print one JSON object."`
}

const simRunsMax = 10_000

// Validate implements kong's interface of that name.
func (c *simCmd) Validate() error {
	if c.List {
		return nil
	}
	if _, err := c.scene(); err != nil {
		return err
	}
	switch {
	case c.Runs < 1 || c.Runs > simRunsMax:
		return fmt.Errorf("--runs must be 1 to %d", simRunsMax)
	case c.Runs > 1 && c.Report != "":
		return errors.New("--report shows a single run: leave out --runs")
	case c.Seed > math.MaxUint64-uint64(c.Runs-1):
		return errors.New("--seed is too large for --runs")
	}
	return nil
}

// scene is the scene with its settings changed.
func (c *simCmd) scene() (sim.Scene, error) {
	there := "there are " + strings.Join(sim.Names(), ", ")
	if c.Scene == "" {
		return sim.Scene{}, fmt.Errorf("--scene is missing: %s", there)
	}
	s, ok := sim.Lookup(c.Scene)
	if !ok {
		return sim.Scene{}, fmt.Errorf("no scene %q: %s", c.Scene, there)
	}
	for _, set := range c.Set {
		name, value, ok := strings.Cut(set, "=")
		if !ok {
			return sim.Scene{}, fmt.Errorf("--set %s: want name=value", set)
		}
		if err := s.Set(name, value); err != nil {
			return sim.Scene{}, fmt.Errorf("--set %s: %w", set, err)
		}
	}
	if c.Policy != "" {
		if err := s.Set("policy", c.Policy); err != nil {
			return sim.Scene{}, fmt.Errorf("--policy %s: %w", c.Policy, err)
		}
	}
	return s, nil
}

// Run plays the scene. An interrupt ends it without a result.
func (c *simCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the process, whatever it is at
	err := c.run(ctx, os.Stdout, os.Stderr)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; there is no result")
	}
	return err
}

func (c *simCmd) run(ctx context.Context, out io.Writer, log *os.File) (err error) {
	if c.List {
		return listScenes(out)
	}
	s, err := c.scene()
	if err != nil {
		return err
	}
	var page *pendingFile
	if c.Report != "" { // a place that cannot be written is better known before an hour's work
		if page, err = createPending(c.Report); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		defer page.discard()
	}
	began, cpuBegan := time.Now(), cpuTime()
	results, err := c.play(ctx, s, log)
	if err != nil {
		return err
	}
	r := simReport{scene: s, seed: c.Seed, command: c.command(), results: results}
	if c.Timing {
		r.timing = []audience.Field{
			{Name: "wall_s", Value: time.Since(began).Seconds()},
			{Name: "cpu_s", Value: (cpuTime() - cpuBegan).Seconds()},
		}
	}
	if page != nil {
		if err := page.commit(r.writePage); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if c.JSON {
		return r.writeJSON(out)
	}
	return r.writeTable(out)
}

// play simulates one seed after the other. The progress bar is cleared away before it returns.
func (c *simCmd) play(ctx context.Context, s sim.Scene, log *os.File) ([]*sim.Result, error) {
	show, done := showProgress(log)
	defer done()
	var results []*sim.Result
	var last time.Time
	for run := range c.Runs {
		r, err := sim.Simulate(ctx, s, sim.Options{Seed: c.Seed + uint64(run), Progress: func(played, total time.Duration) {
			if total <= 0 || time.Since(last) < 100*time.Millisecond { // often enough for an eye
				return
			}
			last = time.Now()
			show(c.Scene, min((float64(run)+float64(played)/float64(total))/float64(c.Runs), 0.999))
		}})
		if err != nil {
			return nil, fmt.Errorf("scene %s, seed %d: %w", c.Scene, c.Seed+uint64(run), err)
		}
		results = append(results, r)
	}
	show(c.Scene, 1)
	return results, nil
}

// command is the line that gives this very outcome again.
func (c *simCmd) command() string {
	line := []string{"essaim", "sim", "--scene", c.Scene, "--seed", strconv.FormatUint(c.Seed, 10)}
	if c.Runs > 1 {
		line = append(line, "--runs", strconv.Itoa(c.Runs))
	}
	if c.Policy != "" {
		line = append(line, "--policy", c.Policy)
	}
	for _, set := range c.Set {
		line = append(line, "--set", shellWord(set))
	}
	return strings.Join(line, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:,=+-]+$`)

// shellWord is s as a shell reads it back.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func listScenes(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range sim.Names() {
		s, _ := sim.Lookup(name)
		fmt.Fprintf(t, "%s\t%s\n", name, s.Doc())
	}
	return t.Flush()
}

// simReport is what came of one or several seeds of a scene.
type simReport struct {
	scene   sim.Scene
	seed    uint64
	command string
	results []*sim.Result
	timing  []audience.Field
}

// outcome are one run's numbers, in the order in which they are reported.
func outcome(r *sim.Result) (ours, http, extra []audience.Field) {
	ours = r.Run.Figures().Fields()
	if r.Twin != nil {
		for _, f := range r.Twin.Figures().Fields() {
			if f.Name != "viewers" {
				http = append(http, f)
			}
		}
	}
	for _, x := range r.Extra {
		extra = append(extra, audience.Field{Name: x.Name, Value: x.Value})
	}
	return ours, http, extra
}

// medians are those of all runs' fields, by name; ranges their least and greatest values. Of one run, they are its own.
func (r *simReport) medians() (ours, http, extra, ranges []audience.Field) {
	var all [3][][]audience.Field
	for _, result := range r.results {
		a, b, c := outcome(result)
		all[0], all[1], all[2] = append(all[0], a), append(all[1], b), append(all[2], c)
	}
	if len(r.results) == 1 {
		return all[0][0], all[1][0], all[2][0], nil
	}
	ours, ranges = medianFields(all[0])
	http, _ = medianFields(all[1])
	extra, more := medianFields(all[2])
	return ours, http, extra, append(ranges, more...)
}

// medianFields takes the median of each field over the runs that have it.
func medianFields(runs [][]audience.Field) (medians, ranges []audience.Field) {
	var names []string
	values := map[string][]float64{}
	for _, fields := range runs {
		for _, f := range fields {
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
			values[f.Name] = append(values[f.Name], number(f.Value))
		}
	}
	for _, name := range names {
		middle := median(values[name]) // which sorts them
		medians = append(medians, audience.Field{Name: name, Value: middle})
		v := values[name]
		ranges = append(ranges, audience.Field{Name: name, Value: []float64{v[0], v[len(v)-1]}})
	}
	return medians, ranges
}

// number is a figure's value. Figures are whole numbers or floats.
func number(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	}
	panic(fmt.Sprintf("a figure of type %T", v))
}

// writeJSON writes one object on one line: what was played, all figures, plain HTTP's with http_ before their names, and
// what only a simulator can say. Of several runs these are medians; range then holds [least, greatest].
func (r *simReport) writeJSON(out io.Writer) error {
	fields := []audience.Field{{Name: "scene", Value: r.scene.Name()}, {Name: "seed", Value: r.seed}}
	if n := len(r.results); n > 1 {
		seeds := make([]uint64, n)
		for i := range seeds {
			seeds[i] = r.seed + uint64(i)
		}
		fields = append(fields, audience.Field{Name: "runs", Value: n}, audience.Field{Name: "seeds", Value: seeds})
	}
	var settings []audience.Field
	for _, s := range r.scene.Settings() {
		var value any = s.Value
		if n, err := strconv.ParseFloat(s.Value, 64); err == nil {
			value = n
		}
		settings = append(settings, audience.Field{Name: s.Name, Value: value})
	}
	fields = append(fields, audience.Field{Name: "settings", Value: settings})
	if note := r.results[0].Note; note != "" {
		fields = append(fields, audience.Field{Name: "note", Value: note})
	}
	ours, http, extra, ranges := r.medians()
	fields = append(fields, ours...)
	for _, f := range http {
		fields = append(fields, audience.Field{Name: "http_" + f.Name, Value: f.Value})
	}
	fields = append(fields, extra...)
	if ranges != nil {
		fields = append(fields, audience.Field{Name: "range", Value: ranges})
	}
	line, err := audience.AppendJSON(nil, append(fields, r.timing...))
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

// writeTable writes the figures beside plain HTTP's, for reading.
func (r *simReport) writeTable(out io.Writer) error {
	ours, http, extra, ranges := r.medians()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n", r.scene.Name(), r.scene.Doc())
	if n := len(r.results); n > 1 {
		fmt.Fprintf(&b, "Medians of %d runs, seeds %d to %d.\n", n, r.seed, r.seed+uint64(n-1))
	} else {
		fmt.Fprintf(&b, "Seed %d.\n", r.seed)
	}
	if note := r.results[0].Note; note != "" {
		fmt.Fprintln(&b, note)
	}
	b.WriteByte('\n')
	plain := map[string]any{}
	for _, f := range http {
		plain[f.Name] = f.Value
	}
	between := map[string]string{}
	for _, f := range ranges {
		v := f.Value.([]float64)
		between[f.Name] = readable(v[0]) + " to " + readable(v[1])
	}
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\tthis scene\tplain HTTP\t")
	if ranges != nil {
		fmt.Fprint(t, "least to greatest\t")
	}
	fmt.Fprintln(t)
	rows := slices.Concat(ours, extra, r.timing)
	width := 0
	for _, f := range rows {
		width = max(width, len(f.Name))
	}
	for _, f := range rows {
		fmt.Fprintf(t, "%-*s\t%s\t", width, f.Name, readable(number(f.Value)))
		if v, ok := plain[f.Name]; ok {
			fmt.Fprint(t, readable(number(v)))
		}
		fmt.Fprint(t, "\t")
		if ranges != nil {
			fmt.Fprint(t, between[f.Name], "\t")
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nThe same again: %s\n", r.command)
	_, err := b.WriteTo(out)
	return err
}

// readable is v with at most four places.
func readable(v float64) string {
	return strconv.FormatFloat(math.Round(v*1e4)/1e4, 'f', -1, 64)
}

// writePage writes the page of a single run.
func (r *simReport) writePage(w io.Writer) error {
	result := r.results[0]
	p := audience.Page{
		Title: r.scene.Name(), Note: strings.TrimSpace(sentence(r.scene.Doc()) + " " + result.Note), Command: r.command,
		Settings: [][2]string{{"seed", strconv.FormatUint(r.seed, 10)}}, Run: result.Run, Twin: result.Twin,
	}
	for _, s := range r.scene.Settings() {
		p.Settings = append(p.Settings, [2]string{s.Name, s.Value})
	}
	for _, x := range result.Extra {
		p.Extra = append(p.Extra, [2]string{x.Name, readable(x.Value)})
	}
	return audience.WriteHTML(w, p)
}

// sentence is s as one.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// cpuTime is the processor time that this process has taken.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pendingFile is a file that appears under its name when it is whole, and not before.
type pendingFile struct {
	f    *os.File
	name string
}

// createPending begins a file beside name.
func createPending(name string) (*pendingFile, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".essaim-*")
	if err != nil {
		return nil, err
	}
	return &pendingFile{f: f, name: name}, nil
}

// commit writes the file and gives it its name.
func (p *pendingFile) commit(write func(io.Writer) error) error {
	if err := write(p.f); err != nil {
		return err
	}
	if err := p.f.Chmod(0o644); err != nil {
		return err
	}
	if err := p.f.Close(); err != nil {
		return err
	}
	return os.Rename(p.f.Name(), p.name)
}

// discard removes what was not committed.
func (p *pendingFile) discard() {
	p.f.Close()           // it may be closed
	os.Remove(p.f.Name()) // and gone
}
