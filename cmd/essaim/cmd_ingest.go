package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"essaim/internal/blob/dir"
	"essaim/internal/ingest"
	"essaim/internal/library"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

// ingestCmd turns a film file into a published title.
type ingestCmd struct {
	keySettings
	Film      string     `arg:"" optional:"" help:"The film: MP4, WebM, MKV or another container that ffmpeg reads. With --resume or --cancel: the job."`
	List      bool       `xor:"what" help:"List jobs: what is being taken in, what can be resumed, what is done."`
	Resume    bool       `xor:"what" help:"Go on with the job of that ID; without one, with the only one that is unfinished."`
	Cancel    bool       `xor:"what" help:"Give up the job of that ID and leave nothing of it."`
	Title     string     `help:"Name in the catalogue; the file's name if absent."`
	Summary   string     `help:"A sentence or two for the title's page."`
	ID        string     `name:"id" help:"Name in addresses: lower-case letters, digits, hyphens; made from the title if absent."`
	Open      bool       `help:"Anyone may watch, and standard BitTorrent clients may join. Otherwise members only."`
	Scheme    string     `default:"cbcs" enum:"cbcs,cenc" help:"How a film for members is encrypted (${enum}): cbcs, or cenc for devices from before 2018. Open films are not."`
	Preset    string     `default:"fast" enum:"ultrafast,superfast,veryfast,faster,fast,medium,slow,slower,veryslow" help:"x264's preset for what must be encoded (${enum})."`
	Codec     string     `default:"h264" enum:"h264,vp9,av1" help:"What a picture that must be encoded becomes (${enum}); the sound then is AAC, or Opus beside the others."`
	Ladder    bool       `help:"Make smaller renditions beside a picture that is kept as it is, too. It takes as long as encoding does."`
	Subtitles []string   `placeholder:"FILE[:LANG]" sep:"none" help:"A file of subtitles beside the film: SRT, ASS or WebVTT, and its language, for instance film.srt:fr. May be said several times; those in the film are taken anyway."`
	About     aboutFlags `embed:"" group:"What it is (also: essaim admin title about)"`
	NoSandbox bool       `name:"no-sandbox" help:"Run ffmpeg with your own rights where a sandbox cannot be had. For films that you made yourself: a crafted film may then read and do what you may."`

	Data string `default:"data" env:"ESSAIM_DATA" type:"path" help:"Folder of database and media."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// ingestReport is what ingest prints with --json.
type ingestReport struct {
	ID         vod.TitleID        `json:"id"`
	Name       string             `json:"name"`
	InfoHashV1 string             `json:"info_hash_v1"`
	InfoHashV2 string             `json:"info_hash_v2"`
	Files      []ingestReportFile `json:"files"`
	Open       bool               `json:"open"`
	Scheme     vod.Scheme         `json:"scheme"` // empty: in the clear
	Reencoded  bool               `json:"reencoded"`
	Reason     string             `json:"reason"`
	DurationMs uint32             `json:"duration_ms"`
}

type ingestReportFile struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	Root  string `json:"root"`
	Codec string `json:"codec"`
}

// AfterApply refuses what does not go together.
func (c *ingestCmd) AfterApply() error {
	switch {
	case c.Film == "" && !c.List && !c.Resume && !c.Cancel:
		return errors.New("which film? essaim ingest FILE")
	case c.Film == "" && c.Cancel:
		return errors.New("which job? essaim ingest --list shows them")
	case c.Film != "" && c.List:
		return errors.New("--list takes no film")
	}
	return nil
}

// Run ingests the film. After an interrupt the job can be resumed.
func (c *ingestCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdout, os.Stderr)
}

func (c *ingestCmd) run(ctx context.Context, out, log *os.File) (err error) {
	if c.NoSandbox {
		fmt.Fprintln(log, "WARNING: --no-sandbox: ffmpeg reads this film with all of your rights. If somebody else made it, stop here.")
	}
	show, done := showProgress(log)
	defer done()
	var job *ingest.Job
	if !c.List && !c.Resume && !c.Cancel {
		job, err = ingest.Prepare(ctx, ingest.Request{
			File: c.Film, ID: vod.TitleID(c.ID), Name: c.Title, Summary: c.Summary, Open: c.Open, Preset: c.Preset,
			Scheme: vod.Scheme(c.Scheme), Codec: ingest.Codec(c.Codec), Ladder: c.Ladder, Subtitles: c.sides(), NoSandbox: c.NoSandbox,
		}, show)
		if err != nil {
			if ctx.Err() != nil {
				err = errors.New("interrupted; nothing is left behind")
			}
			return err
		}
	}
	// Nothing has been written so far: a file that is no film leaves no trace.
	if err := os.MkdirAll(c.Data, 0o750); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	db, err := sqlstore.Open(ctx, filepath.Join(c.Data, "essaim.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	titles := library.New(db, time.Now)
	to := ingest.Stores{Titles: titles, Publisher: titles, Temp: filepath.Join(c.Data, "tmp")}
	to.Jobs = ingest.NewJobs(db, time.Now, to.Temp)
	if c.List {
		return c.list(ctx, out, to.Jobs)
	}
	objects, err := dir.Open(filepath.Join(c.Data, "objects"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	to.Objects = objects
	if to.Keys, err = c.open(db, c.Data, func(file string) { fmt.Fprintf(log, "%s: %s\n", madeMasterKey, file) }); err != nil {
		return err
	}
	switch {
	case c.Cancel:
		if err := to.Jobs.Cancel(ctx, c.Film, to); err != nil {
			return err
		}
		fmt.Fprintf(log, "Cancelled; nothing of job %s is left.\n", c.Film)
		return nil
	case c.Resume:
		id, err := c.which(ctx, to.Jobs)
		if err != nil {
			return err
		}
		if job, err = to.Jobs.Resume(ctx, id, show); err != nil {
			return err
		}
	default:
		old, found, err := to.Jobs.Adopt(ctx, job)
		if err != nil {
			return err
		}
		if found {
			fmt.Fprintf(log, "Going on with job %s, which was begun %s.\n", old.ID, old.Created.Local().Format(time.DateTime))
		}
	}
	res, err := job.Run(ctx, to, show)
	done()
	if err != nil {
		id := job.KeptID()
		if id == "" || errors.Is(err, ingest.ErrCancelled) {
			return err
		}
		return interrupted(ctx, err, fmt.Sprintf("job %s is kept: essaim ingest --resume %s goes on with it, --cancel %s gives it up", id, id, id))
	}
	if c.About.said() {
		if _, err := tell(ctx, titles, res.Title.ID, &c.About, ""); err != nil {
			return fmt.Errorf("it is published, but not described: %w; say it anew with: essaim admin title about %s", err, res.Title.ID)
		}
	}
	return c.print(out, log, res)
}

// sides are the files of subtitles. A colon that is part of a name is told from that before a language by the dot behind it.
func (c *ingestCmd) sides() (list []ingest.SideFile) {
	for _, s := range c.Subtitles {
		side := ingest.SideFile{File: s}
		if i := strings.LastIndexByte(s, ':'); i > 0 && !strings.ContainsAny(s[i:], "./\\") {
			side.File, side.Lang = s[:i], s[i+1:]
		}
		list = append(list, side)
	}
	return list
}

// interrupted is err with what becomes of the job; after an interrupt, that alone.
func interrupted(ctx context.Context, err error, job string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted; nothing was published; %s", job)
	}
	return fmt.Errorf("%w; %s", err, job)
}

// which is the job to resume.
func (c *ingestCmd) which(ctx context.Context, jobs *ingest.Jobs) (string, error) {
	if c.Film != "" {
		return c.Film, nil
	}
	all, err := jobs.List(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, r := range all {
		if r.Resumable() {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", errors.New("there is no unfinished job")
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("there are %d unfinished jobs: say which (%s)", len(found), strings.Join(found, ", "))
}

// ingestList is what --list prints with --json.
type ingestList struct {
	Jobs []ingestJob `json:"jobs"`
}

type ingestJob struct {
	ID        string       `json:"id"`
	Title     vod.TitleID  `json:"title"`
	File      string       `json:"file"`
	State     ingest.State `json:"state"`
	Step      string       `json:"step"`
	Done      float64      `json:"done"`
	LeftMs    int64        `json:"left_ms"`
	Error     string       `json:"error"`
	CreatedMs int64        `json:"created_ms"`
	UpdatedMs int64        `json:"updated_ms"`
}

func (c *ingestCmd) list(ctx context.Context, out io.Writer, jobs *ingest.Jobs) error {
	all, err := jobs.List(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		l := ingestList{Jobs: []ingestJob{}}
		for _, r := range all {
			l.Jobs = append(l.Jobs, ingestJob{
				r.ID, r.Title, r.Request.File, r.State, r.Step, r.Done, r.Left.Milliseconds(), r.Error, r.Created.UnixMilli(), r.Updated.UnixMilli(),
			})
		}
		return json.NewEncoder(out).Encode(l)
	}
	if len(all) == 0 {
		fmt.Fprintln(out, "No jobs.")
	}
	for _, r := range all {
		fmt.Fprintf(out, "%s  %-10s  %s  %s", r.ID, r.State, r.Title, r.Request.File)
		switch {
		case r.State == ingest.Failed:
			fmt.Fprintf(out, "  (%s)", r.Error)
		case r.State != ingest.Done && r.Step != "":
			fmt.Fprintf(out, "  (%s, %.0f %%", r.Step, 100*r.Done)
			if r.State == ingest.Running && r.Left > 0 {
				fmt.Fprintf(out, ", %s left", r.Left.Round(time.Second))
			}
			fmt.Fprint(out, ")")
		}
		fmt.Fprintln(out)
	}
	return nil
}

func (c *ingestCmd) print(out, log io.Writer, res ingest.Result) error {
	t := res.Title
	if !t.Open {
		fmt.Fprintf(log, "Members only, encrypted (%s): store, origin and swarm hold ciphertext alone.\n", t.Version.Scheme)
	}
	if c.JSON {
		r := ingestReport{
			ID: t.ID, Name: t.Name, InfoHashV1: t.Version.InfoHashV1.String(), InfoHashV2: t.Version.InfoHashV2.String(),
			Open: t.Open, Scheme: t.Version.Scheme, Reencoded: res.Reencoded, Reason: res.Reason, DurationMs: t.Version.DurationMs,
		}
		for _, f := range t.Version.Files {
			r.Files = append(r.Files, ingestReportFile{f.Path, f.Size, f.Root.String(), f.Codec})
		}
		return json.NewEncoder(out).Encode(r)
	}
	length := time.Duration(t.Version.DurationMs) * time.Millisecond
	fmt.Fprintf(out, "Published %q as %s, %s.\n", t.Name, t.ID, length.Round(time.Second/10))
	if res.Reencoded {
		fmt.Fprintf(out, "Re-encoded: %s.\n", res.Reason)
	} else {
		fmt.Fprintln(out, "Packaged without re-encoding.")
	}
	for _, f := range t.Version.Files {
		fmt.Fprintf(out, "  %-18s %10d bytes  %s\n", f.Path, f.Size, f.Codec)
	}
	fmt.Fprintf(out, "Info hash v1 %s\n          v2 %s\n", t.Version.InfoHashV1, t.Version.InfoHashV2)
	return nil
}

// showProgress draws a bar for each step on a terminal, and elsewhere writes a line for each step, with its progress every ten
// seconds. done ends the drawing; it may be called twice.
func showProgress(log *os.File) (show ingest.Progress, done func()) {
	if !isatty.IsTerminal(log.Fd()) {
		return lineProgress(log, time.Now), func() {}
	}
	const whole = 10_000
	bars := mpb.New(mpb.WithOutput(log), mpb.WithWidth(64))
	var bar *mpb.Bar
	step, ended := "", false
	show = func(s string, part float64) {
		if ended {
			return
		}
		if s != step {
			if bar != nil {
				bar.SetCurrent(whole)
			}
			step = s
			bar = bars.AddBar(
				whole,
				mpb.PrependDecorators(decor.Name(s, decor.WC{W: 10, C: decor.DindentRight})),
				mpb.AppendDecorators(
					decor.Percentage(decor.WCSyncSpace),
					decor.OnComplete(decor.Name(" "), ""),
					decor.OnComplete(decor.AverageETA(decor.ET_STYLE_MMSS, decor.WC{W: 6}), "done"),
				),
			)
		}
		bar.SetCurrent(min(int64(part*whole), whole-1))
		if part >= 1 {
			bar.SetCurrent(whole)
		}
	}
	return show, func() {
		if ended {
			return
		}
		ended = true
		if bar != nil {
			bar.Abort(false)
		}
		bars.Wait()
	}
}

func lineProgress(log io.Writer, now func() time.Time) ingest.Progress {
	const every = 10 * time.Second
	var step string
	var began, last time.Time
	return func(s string, part float64) {
		at := now()
		if s != step {
			step, began, last = s, at, at
			if s != "reading" { // a film that is refused gets its one line, and no other
				fmt.Fprintln(log, s)
			}
			return
		}
		if at.Sub(last) < every {
			return
		}
		last = at
		if part > 0 {
			left := time.Duration(float64(at.Sub(began)) * (1 - part) / part)
			fmt.Fprintf(log, "%s: %.0f %%, %s left\n", s, 100*part, left.Round(time.Second))
		}
	}
}
