package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"essaim/internal/vod"
	"essaim/internal/watch"
)

// watchCmd is the native viewer.
type watchCmd struct {
	Title      string        `arg:"" help:"The title's name in addresses, for instance 'numbers'."`
	Server     string        `required:"" env:"ESSAIM_SERVER" help:"Address of the service, for instance http://127.0.0.1:8080."`
	To         string        `required:"" type:"path" help:"File for the video track, byte for byte as published; the audio goes beside it (film.mp4, film.audio.mp4)."`
	User       string        `env:"ESSAIM_USER" help:"Sign in under this name; the password is read from ESSAIM_PASSWORD or standard input. Not needed for open titles."`
	Height     int           `help:"Take the highest rendition of at most so many lines."`
	Speed      float64       `help:"Watch in real time (1), or at so many times real time; as fast as it comes if absent."`
	Raw        bool          `help:"Take a title for members as it is, encrypted; it is refused otherwise."`
	Share      bool          `default:"true" negatable:"" help:"Exchange pieces with other viewers while this runs; --no-share takes all from the server."`
	BitTorrent string        `name:"bittorrent" default:":0" placeholder:"ADDRESS:PORT" help:"Where BitTorrent clients reach this viewer over TCP while it shares an open title (any free port); off is nowhere."`
	Cache      byteSize      `default:"10G" placeholder:"BYTES" help:"The most that the folder FILE.pieces may hold beside the file: 10G, 800M; 0 is no bound (${default})."`
	Seed       time.Duration `help:"Go on serving other viewers for so long when done, for instance 10m."`
	JSON       bool          `name:"json" help:"Print one JSON object when done."`
}

// Help says what the files hold.
func (c *watchCmd) Help() string {
	return `Every byte is verified against the title's hashes before it is written. When it is stopped, the same command goes on
where it was: what had come is in the folder FILE.pieces, as much of it as --cache allows, which is removed at the end. To join the two files:
ffmpeg -i film.mp4 -i film.audio.mp4 -c copy joined.mp4`
}

// cacheMin is what a viewer needs to be ahead of its reader.
const cacheMin = 64_000_000

// speedMax is faster than any service is.
const speedMax = 10_000

// Run watches the title to its end.
func (c *watchCmd) Run() error {
	if c.Height < 0 || c.Seed < 0 {
		return errors.New("--height and --seed must not be negative")
	}
	if c.Cache > 0 && c.Cache < cacheMin {
		return fmt.Errorf("--cache must be at least %dM, or 0 for no bound", cacheMin/1_000_000)
	}
	if !(c.Speed >= 0 && c.Speed <= speedMax) { // so that NaN is refused too
		return fmt.Errorf("--speed must be between 0 and %d", speedMax)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	password := ""
	if c.User != "" {
		var err error
		if password, err = readPassword(ctx, os.Stdin, os.Stderr); err != nil {
			return err
		}
	}
	peers := c.BitTorrent
	if peers == seedOff {
		peers = ""
	} else if _, _, err := net.SplitHostPort(peers); err != nil {
		return fmt.Errorf("--bittorrent %q: want ADDRESS:PORT, :PORT or %s", peers, seedOff)
	}
	show, done := watchProgress(os.Stderr)
	res, err := watch.Run(ctx, watch.Options{
		Server: c.Server, Name: c.User, Password: password, Title: vod.TitleID(c.Title), To: c.To, Height: c.Height,
		Speed: c.Speed, Raw: c.Raw, Share: c.Share, Cache: int64(c.Cache), Listen: peers, Seed: c.Seed, Progress: show,
	})
	done()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("stopped; the same command goes on from here")
	}
	if c.User == "" && errors.Is(err, vod.ErrUnauthorized) {
		return fmt.Errorf("%s is for members: sign in with --user NAME", c.Title)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	for _, o := range res.Outputs {
		fmt.Printf("%s  %s\n", o.SHA256, o.File)
	}
	fmt.Printf("%.1f MB from the server, %.1f MB from viewers, %.1f MB held already; %.1f MB given to viewers; %.1f s\n",
		float64(res.OriginBytes)/1e6, float64(res.PeerBytes)/1e6, float64(res.CachedBytes)/1e6, float64(res.SentBytes)/1e6, res.Seconds)
	return nil
}

// readPassword takes ESSAIM_PASSWORD, else asks where somebody sits, else reads the first line. An interrupt while somebody
// types gives the terminal its echo back.
func readPassword(ctx context.Context, in *os.File, ask io.Writer) (string, error) {
	if p, ok := os.LookupEnv("ESSAIM_PASSWORD"); ok {
		return p, nil
	}
	if fd := int(in.Fd()); term.IsTerminal(fd) {
		before, err := term.GetState(fd)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		fmt.Fprint(ask, "Password: ")
		type typed struct {
			password []byte
			err      error
		}
		done := make(chan typed, 1)
		go func() { // reading from a terminal cannot be broken off; the program's end ends it
			b, err := term.ReadPassword(fd)
			done <- typed{b, err}
		}()
		var t typed
		select {
		case t = <-done:
		case <-ctx.Done():
			t.err = errors.Join(errors.New("interrupted"), term.Restore(fd, before))
		}
		fmt.Fprintln(ask)
		if t.err != nil {
			return "", fmt.Errorf("read password: %w", t.err)
		}
		return string(t.password), nil
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && (err != io.EOF || line == "") {
		return "", fmt.Errorf("read password from standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// watchProgress tells how far a viewer is, and each new phase at once.
func watchProgress(to *os.File) (show func(watch.Progress), done func()) {
	draw, done := drawProgress(to)
	var phase watch.Phase
	return func(p watch.Progress) {
		draw(watchLine(p), p.Bytes, p.Total, p.Phase != phase)
		phase = p.Phase
	}, done
}

func watchLine(p watch.Progress) string {
	var b strings.Builder
	if p.Phase == watch.Seeding {
		fmt.Fprintf(&b, "done; serving, %.1f MB given", float64(p.Stats.SentBytes)/1e6)
	} else {
		fmt.Fprintf(&b, "%3d %%, %.1f of %.1f MB; %.1f from the server, %.1f from viewers", p.Bytes*100/max(p.Total, 1),
			float64(p.Bytes)/1e6, float64(p.Total)/1e6, float64(p.Stats.OriginBytes)/1e6, float64(p.Stats.PeerBytes)/1e6)
	}
	fmt.Fprintf(&b, "; %d connected", p.Stats.Peers)
	if p.Left >= 0 {
		fmt.Fprintf(&b, "; %s left", p.Left.Round(time.Second))
	}
	return b.String()
}
