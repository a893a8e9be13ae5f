package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"essaim/internal/audience"
	"essaim/internal/rehearse"
	"essaim/internal/vod"
)

// rehearseCmd sends silent viewers to a running service.
type rehearseCmd struct {
	URL      string           `arg:"" name:"url" help:"Address of the service, for instance http://127.0.0.1:8080."`
	Title    string           `required:"" placeholder:"ID" help:"The title's name in addresses, for instance 'rehearsal'."`
	Viewers  int              `default:"8" help:"How many viewers, at most 512, and as many as this process may have sockets for (${default})."`
	Arrival  rehearse.Arrival `default:"flash" placeholder:"HOW" help:"When they press play: flash (all within 0.5 s, at random; flash=2s within 2 s), poisson (independently of each other, a minute in all on average; poisson=5m five minutes), or stagger=10s (one every 10 s). Default: ${default}."`
	Uplink   bitRate          `default:"4M" placeholder:"RATE" help:"What a viewer gives to others at most, in bits per second: 4M, 800k; 0 is no bound (${default}). The service's own bound holds too."`
	Downlink bitRate          `default:"20M" placeholder:"RATE" help:"What a viewer takes from the service at most, in bits per second; 0 is no bound (${default}). What comes from other viewers is bounded by their uplinks alone."`
	Peers    string           `default:"native" enum:"native,chromium" help:"What the viewers are: native (this program, over WebRTC) or chromium (pages of a headless browser)."`
	Seconds  int              `default:"60" help:"How much of the film each plays, in seconds of film (${default}); the whole if it is shorter."`
	Height   int              `help:"Take the highest rendition of at most so many lines."`
	Seed     uint64           `default:"1" help:"Of the arrivals' chance (${default})."`
	JSON     bool             `name:"json" help:"Print one JSON object."`
	Report   string           `type:"path" placeholder:"FILE.html" help:"Write a page with plots."`
}

// Help says how to get a token, and what the figures mean.
func (c *rehearseCmd) Help() string {
	return `Viewers who press play, play in real time without showing anything, and share with one another. An operator's token is
read from ESSAIM_TOKEN; on the service's machine, "essaim admin token --role operator" prints one. The viewers of a rehearsal
are a swarm of their own, and the service counts them apart from its members. Each plays the best rendition and the first
audio track in whole segments, starts when it has the first of each, wants 10 s ahead, and serves the others until the last
has finished. Nothing beyond --seconds is fetched. Who is not done after three times the film's length and a minute gives up.

With --peers chromium the viewers are the service's own watch pages, each in a context of its own of one headless browser
(the machine's chromium, or ESSAIM_CHROMIUM). They are heavy: a processor core bears about four. Pressing play and the
heartbeat go through this program, so that no page sees the token. The title must be a real film, start-up is to the first
picture, and what came in vain and the processor's time are not told.

Fields of --json:
  title, label, peers, arrival, seed, seconds, uplink_kbps, downlink_kbps   what was rehearsed; label names this run, 0 kbps is no bound
  complete                  false: it was stopped, and the rest is of what there was until then
  gave_up                   viewers who lost their patience before the end
  viewers                   who pressed play
  origin_copies             origin_bytes / bytes of the part that was played, initialisation and index included
  origin_copies_after_20s   the same for film beyond its first 20 s, by the viewers' own count
  duplicate_seconds         film that a viewer took from the origin though another could have given it, on average:
                            (origin_copies - 1) x seconds / (viewers - 1)
  offload, offload_bound    share of the media that did not come from the origin; 1 - 1/viewers if each byte left it once
  startup_p50_s, _p95_s     from play to the first segment delivered, of every track
  never_started, stalls_per_viewer, stall_ratio (stalled / (stalled + played)), waste_ratio (came in vain / came)
  bad_bytes_delivered       of segments that were not what the first viewer was delivered
  uploaded_gb_p50, _p99     what a viewer gave to others
  origin_bytes              media that the service counted for this rehearsal
  peer_bytes                media that viewers took from one another
  cpu_seconds               of this program, all viewers together
  engine_cpu_share          the part of it in which engines decided (wall time: too high on a machine that is full)`
}

// Validate implements kong's interface of that name.
func (c *rehearseCmd) Validate() error {
	switch {
	case c.Viewers < 1 || c.Viewers > rehearse.ViewersMax:
		return fmt.Errorf("--viewers must be 1 to %d", rehearse.ViewersMax)
	case c.Seconds < 1 || time.Duration(c.Seconds) > rehearse.FilmMax/time.Second:
		return fmt.Errorf("--seconds must be 1 to %d", rehearse.FilmMax/time.Second)
	case c.Height < 0:
		return errors.New("--height must not be negative")
	case c.Title != "" && !vod.TitleID(c.Title).Valid(): // without one kong says so
		return fmt.Errorf("--title %q is no title's name: it has lower-case letters, digits and hyphens only", c.Title)
	}
	return nil
}

// usageError is a command line that cannot be carried out as it is, found out late.
type usageError struct{ error }

// ExitCode is that of a command line that cannot be understood.
func (usageError) ExitCode() int { return 2 }

// Run rehearses and prints.
func (c *rehearseCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // whoever interrupts twice means it
	return c.rehearse(ctx, os.Stdout, os.Stderr)
}

func (c *rehearseCmd) rehearse(ctx context.Context, out io.Writer, log *os.File) error {
	if c.Report != "" { // now, and not when all have played
		if st, err := os.Stat(filepath.Dir(c.Report)); err != nil {
			return fmt.Errorf("--report: %w", err)
		} else if !st.IsDir() {
			return fmt.Errorf("--report: %s is no folder", filepath.Dir(c.Report))
		}
	}
	o := rehearse.Options{
		Server: c.URL, Token: os.Getenv("ESSAIM_TOKEN"), Title: vod.TitleID(c.Title), Viewers: c.Viewers, Arrival: c.Arrival, Seed: c.Seed,
		Uplink: int64(c.Uplink), Downlink: int64(c.Downlink), Film: time.Duration(c.Seconds) * time.Second, Height: c.Height,
	}
	if c.Peers == "chromium" {
		t, err := rehearse.Check(ctx, o.Server, o.Token, o.Title)
		if err != nil {
			return err
		}
		if t.Synthetic {
			return usageError{fmt.Errorf("%s is a synthetic title, which no browser can play: rehearse a real film, or use --peers native", c.Title)}
		}
		if o.Browser, err = findChromium(); err != nil {
			return err
		}
	}
	show, done := rehearseProgress(log)
	o.Progress = show
	r, err := rehearse.Run(ctx, o)
	done()
	if err != nil && (!errors.Is(err, rehearse.ErrStopped) || len(r.Run.Viewers) == 0) {
		return err
	}
	if r.Trouble != "" {
		fmt.Fprintln(log, "essaim: the service refused to play for a while:", r.Trouble)
	}
	fields := c.fields(&r, err == nil)
	if c.JSON {
		line, jerr := audience.AppendJSON(nil, fields)
		if jerr != nil {
			return jerr
		}
		if _, werr := out.Write(append(line, '\n')); werr != nil {
			return werr
		}
	} else if werr := c.summary(out, &r); werr != nil {
		return werr
	}
	if c.Report != "" {
		if rerr := c.report(&r, err == nil); rerr != nil {
			return rerr
		}
	}
	if err != nil {
		text := "stopped; the figures are of what %d of %d viewers had played until then"
		if r.Run.OriginBytes < 0 {
			text += ", and origin_bytes is their own count"
		}
		return fmt.Errorf(text, len(r.Run.Viewers), c.Viewers)
	}
	return nil
}

// findChromium is the browser that ESSAIM_CHROMIUM names, else the machine's own.
func findChromium() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if own := os.Getenv("ESSAIM_CHROMIUM"); own != "" {
		names = []string{own}
	}
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("there is no %s: install Chromium, name its program in ESSAIM_CHROMIUM, or use --peers native", strings.Join(names, ", "))
}

// fields are the JSON object's.
func (c *rehearseCmd) fields(r *rehearse.Result, complete bool) []audience.Field {
	list := []audience.Field{
		{Name: "title", Value: c.Title},
		{Name: "label", Value: r.Label},
		{Name: "peers", Value: c.Peers},
		{Name: "arrival", Value: c.Arrival.String()},
		{Name: "seed", Value: c.Seed},
		{Name: "seconds", Value: r.Film.Seconds()},
		{Name: "uplink_kbps", Value: int64(c.Uplink) / 1000},
		{Name: "downlink_kbps", Value: int64(c.Downlink) / 1000},
		{Name: "complete", Value: complete},
		{Name: "gave_up", Value: r.GaveUp},
	}
	for _, f := range r.Run.Figures().Fields() {
		switch {
		case f.Name == "duplicate_seconds" && len(r.Run.Viewers) < 2: // one viewer has nobody to take from
		case f.Name == "waste_ratio" && c.Peers == "chromium": // pages do not say
		default:
			list = append(list, f)
		}
	}
	if c.Peers == "chromium" { // the browser's processes are not ours
		return list
	}
	list = append(list, audience.Field{Name: "cpu_seconds", Value: r.CPU.Round(time.Millisecond).Seconds()})
	if r.CPU > 0 {
		list = append(list, audience.Field{Name: "engine_cpu_share", Value: math.Round(1e4*r.Engine.Seconds()/r.CPU.Seconds()) / 1e4})
	}
	return list
}

// summary is for people.
func (c *rehearseCmd) summary(out io.Writer, r *rehearse.Result) error {
	f := r.Run.Figures()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d viewers, %s, %s of film each\n", r.Name, f.Viewers, c.Arrival, r.Film)
	fmt.Fprintf(&b, "From the service  %.1f MB, %.2f times the film", float64(f.OriginBytes)/1e6, f.OriginCopies)
	if f.Viewers > 1 {
		fmt.Fprintf(&b, "; %.1f s of film each that another could have given", f.DuplicateSeconds)
	}
	fmt.Fprintf(&b, "\nFrom viewers      %.1f MB, %.1f %% of all", float64(f.PeerBytes)/1e6, 100*f.Offload)
	if f.OffloadBound != nil {
		fmt.Fprintf(&b, " of %.1f %% possible", 100**f.OffloadBound)
	}
	fmt.Fprintf(&b, "\nStart-up          %.2f s at the median, %.2f s at the 95th percentile", f.StartupP50S, f.StartupP95S)
	if f.NeverStarted > 0 {
		fmt.Fprintf(&b, "; %d never started", f.NeverStarted)
	}
	if r.GaveUp > 0 {
		fmt.Fprintf(&b, "; %d gave up", r.GaveUp)
	}
	fmt.Fprintf(&b, "\nStalls            %.2f per viewer, %.2f %% of the time\n", f.StallsPerViewer, 100*f.StallRatio)
	if f.BadBytesDelivered > 0 {
		fmt.Fprintf(&b, "WRONG BYTES       %d were delivered to players\n", f.BadBytesDelivered)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// report writes the page.
func (c *rehearseCmd) report(r *rehearse.Result, complete bool) (err error) {
	f, err := os.Create(c.Report)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	note := "Silent viewers played a part of the film in real time, over WebRTC, against the running service. The origin's bytes are the service's own count."
	if !complete {
		note = "Stopped before its end: the figures are of what there was until then. " + note
	}
	return audience.WriteHTML(f, audience.Page{
		Title: "Rehearsal of " + r.Name,
		Note:  note,
		Settings: [][2]string{
			{"Title", c.Title},
			{"Viewers", fmt.Sprint(c.Viewers)},
			{"Arrival", c.Arrival.String()},
			{"Seed of the arrivals", fmt.Sprint(c.Seed)},
			{"Film for each", r.Film.String()},
			{"Uplink", rateText(c.Uplink)},
			{"Downlink", rateText(c.Downlink)},
			{"Viewers are", c.Peers},
			{"Label", r.Label},
		},
		Run: &r.Run,
	})
}

func rateText(r bitRate) string {
	if r == 0 {
		return "no bound"
	}
	return fmt.Sprintf("%g Mbit/s", float64(r)/1e6)
}

// rehearseProgress tells how far the crowd is, and its end at once.
func rehearseProgress(to *os.File) (show func(rehearse.Progress), done func()) {
	draw, done := drawProgress(to)
	return func(p rehearse.Progress) {
		draw(rehearseLine(p), int64(p.Played), int64(p.Total), p.Ended >= p.Viewers)
	}, done
}

func rehearseLine(p rehearse.Progress) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%3d %%; %d of %d came, %d play", int64(p.Played)*100/max(int64(p.Total), 1), p.Arrived, p.Viewers, p.Playing)
	for _, s := range []struct {
		n    int
		what string
	}{{p.Waiting, "wait to start"}, {p.Stalled, "stalled"}, {p.Ended, "done"}} {
		if s.n > 0 {
			fmt.Fprintf(&b, ", %d %s", s.n, s.what)
		}
	}
	fmt.Fprintf(&b, "; %.1f MB from the service, %.1f from viewers; %s left", float64(p.OriginBytes)/1e6, float64(p.PeerBytes)/1e6, p.Left.Round(time.Second))
	return b.String()
}
