package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"essaim/internal/edge"
	"essaim/internal/host/native"
	"essaim/internal/members"
	"essaim/internal/origin"
	"essaim/internal/vod"
)

// edgeCmd is a box near the viewers.
type edgeCmd struct {
	Join   edgeJoinCmd   `cmd:"" help:"Make a folder an edge's, with a one-time token of the service's operator."`
	Run    edgeRunCmd    `cmd:"" help:"Fill and serve."`
	Status edgeStatusCmd `cmd:"" help:"Say how the edge in a folder stands: plan, fill, served bytes."`
}

// edgeJoinCmd joins.
type edgeJoinCmd struct {
	Service   string `arg:"" help:"Address of the service, for instance https://films.example."`
	TokenFile string `name:"token-file" type:"path" placeholder:"FILE" help:"File that holds the token; - is standard input."`
	Data      string `required:"" env:"ESSAIM_EDGE_DATA" type:"path" help:"The edge's folder."`
	URL       string `name:"url" env:"ESSAIM_EDGE_URL" placeholder:"URL" help:"Where browsers will reach the edge, for instance https://edge-1.films.example."`
	JSON      bool   `name:"json" help:"Print one JSON object: id, name, until."`
}

// Help says where the token comes from.
func (c *edgeJoinCmd) Help() string {
	return "The token comes from ESSAIM_JOIN_TOKEN, from the file that --token-file names, or else from standard input. The operator makes it " +
		"with `essaim admin edge add`; it lets one edge in, within an hour."
}

// tokenMax is more than any token has.
const tokenMax = 4 << 10

func (c *edgeJoinCmd) token(in io.Reader) (string, error) {
	if t := os.Getenv("ESSAIM_JOIN_TOKEN"); t != "" && c.TokenFile == "" {
		return strings.TrimSpace(t), nil
	}
	if c.TokenFile != "" && c.TokenFile != "-" {
		f, err := os.Open(c.TokenFile)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, tokenMax))
	return strings.TrimSpace(string(b)), err
}

// Run joins.
func (c *edgeJoinCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, os.Stdin, os.Stdout)
}

func (c *edgeJoinCmd) run(ctx context.Context, in io.Reader, out io.Writer) error {
	token, err := c.token(in)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	joined, err := edge.Join(ctx, edge.JoinOptions{Service: c.Service, Token: token, Dir: c.Data, URL: c.URL, Clock: time.Now})
	if err != nil {
		return err
	}
	until := joined.Until.UTC().Format(time.RFC3339)
	if c.JSON {
		return json.NewEncoder(out).Encode(map[string]string{"id": joined.ID, "name": joined.Name, "until": until})
	}
	_, err = fmt.Fprintf(out, "%s is edge %s; its certificate is good until %s and renewed before. Start it: essaim edge run --data %s\n",
		joined.Name, joined.ID, until, c.Data)
	return err
}

// edgeRunCmd fills and serves.
type edgeRunCmd struct {
	Listen     string   `default:"127.0.0.1:8081" env:"ESSAIM_EDGE_LISTEN_ADDRESS" placeholder:"ADDRESS:PORT" help:"Where browsers reach it (${default}). Beyond this machine by TLS: --tls-cert or --tls-domain; or --secure, if a proxy in front ends it."`
	Secure     bool     `help:"Browsers come by https, which a proxy ends in front of this edge."`
	LogFormat  string   `default:"text" enum:"text,json" env:"ESSAIM_LOG_FORMAT" help:"How log lines are written: text or json."`
	LogLevel   string   `default:"info" enum:"debug,info,warn,error" env:"ESSAIM_LOG_LEVEL" help:"The least of what is logged: debug, info, warn or error."`
	Data       string   `required:"" env:"ESSAIM_EDGE_DATA" type:"path" help:"The edge's folder, as join made it."`
	URL        string   `name:"url" env:"ESSAIM_EDGE_URL" placeholder:"URL" help:"Where browsers reach it, if not as was said when it joined."`
	NodeListen string   `name:"node-listen" default:":8444" env:"ESSAIM_EDGE_NODE_LISTEN" placeholder:"ADDRESS:PORT" help:"Where other edges fill from it, by mutual TLS (${default}); off is nowhere."`
	BitTorrent string   `name:"bittorrent" default:":6881" env:"ESSAIM_BITTORRENT" placeholder:"ADDRESS:PORT" help:"Where BitTorrent clients find open titles over TCP (${default}); off is nowhere."`
	Quota      byteSize `default:"100G" env:"ESSAIM_EDGE_QUOTA" placeholder:"BYTES" help:"The most that it holds: 2000G, 800M (${default})."`
	FillRate   bitRate  `name:"fill-rate" default:"0" env:"ESSAIM_EDGE_FILL_RATE" placeholder:"RATE" help:"Bound of filling, in bits per second: 50M; 0 is none."`
	FillHours  string   `name:"fill-hours" env:"ESSAIM_EDGE_FILL_HOURS" placeholder:"FROM-UNTIL" help:"When it fills, by this machine's time zone: 01:00-07:00. All day if absent; what comes out soon is fetched at any hour."`
	Rate       bitRate  `name:"rate" default:"0" env:"ESSAIM_EDGE_RATE" placeholder:"RATE" help:"Bound of all media that it sends over HTTP, in bits per second; 0 is none."`
	LAN        bool     `name:"lan" hidden:"" help:"Offer addresses of local networks to peers."`
	JSON       bool     `name:"json" help:"Print one JSON object, url, once it listens."`
	security
}

// Validate implements kong's interface of that name.
func (c *edgeRunCmd) Validate() error {
	if err := c.security.validate(&settings{Listen: c.Listen, Secure: c.Secure}); err != nil {
		return err
	}
	if c.Quota <= 0 {
		return errors.New("--quota must be above 0")
	}
	_, err := edge.ParseHours(c.FillHours)
	return err
}

// Run fills and serves until it is told to stop.
func (c *edgeRunCmd) Run() error {
	log := (&settings{LogFormat: c.LogFormat, LogLevel: c.LogLevel}).logger(os.Stderr)
	return serving(log, func(ctx context.Context) error { return c.run(ctx, log, os.Stdout) })
}

func (c *edgeRunCmd) run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	hours, err := edge.ParseHours(c.FillHours)
	if err != nil {
		return err
	}
	var open []net.Listener
	defer func() {
		for _, ln := range open {
			ln.Close() // again, where it was served
		}
	}()
	at := func(address string) (net.Listener, error) {
		if address == seedOff || address == "" {
			return nil, nil
		}
		ln, err := listen(address, log)
		if err == nil {
			open = append(open, ln)
		}
		return ln, err
	}
	ln, err := at(c.Listen)
	if err != nil {
		return err
	}
	nodes, err := at(c.NodeListen)
	if err != nil {
		return err
	}
	peers, err := at(c.BitTorrent)
	if err != nil {
		return err
	}
	door, err := c.security.open(ln, c.Data, log)
	if err != nil {
		return err
	}
	defer door.close()
	var tickets *members.Verifier
	config := edge.Config{
		Dir: c.Data, Quota: int64(c.Quota), Rate: c.FillRate.BytesPerSecond(), Hours: hours, URL: c.URL, LAN: c.LAN, Version: version(),
		Log: log, Keys: func(clock vod.Clock) edge.Keys { tickets = members.NewVerifier(clock); return tickets },
	}
	if nodes != nil {
		config.Node = nodes.Addr().String()
	}
	if peers != nil {
		config.PeerPort = uint16(portOf(peers.Addr()))
	}
	e, err := edge.Open(config)
	if err != nil {
		return err
	}
	media := func(viewers bool, rate int64) *origin.Origin {
		return origin.New(origin.Config{
			Titles: e.Titles(viewers), Tickets: tickets, Blobs: e.Store(), Clock: e.Now, Log: log, Rate: rate, Pages: e.Pages,
		})
	}
	public, between := media(true, c.Rate.BytesPerSecond()), media(false, 0)
	own := door.own(ln.Addr())
	e.Attach(public, own)
	if c.JSON {
		if err := json.NewEncoder(out).Encode(map[string]string{"url": door.url(ln.Addr())}); err != nil {
			return err
		}
	}
	log.Info("serving as an edge", "url", door.url(ln.Addr()), "data", c.Data)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() { cancel(); all.Wait() }()
	all.Go(func() { serveHTTP(ctx, door.wrap(ln), edgeHandler(public), log) })
	all.Go(func() { door.serve(ctx, public) })
	if nodes != nil {
		all.Go(func() { serveHTTP(ctx, tls.NewListener(nodes, e.NodeTLS()), e.NodeHandler(between), log) })
	}
	if peers != nil {
		all.Go(func() {
			if err := native.NewListener(native.ListenerConfig{Find: e.Find}).Serve(ctx, peers); err != nil {
				log.Error("open titles are not seeded over TCP", "error", err)
			}
		})
	}
	return e.Run(ctx)
}

// edgeHandler is what browsers find on an edge: media and hashes, and nothing else.
func edgeHandler(media http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/media/", media)
	mux.Handle("/hashes/", media)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ok"}`) // who has gone needs no error
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// edgeStatusCmd says how an edge stands.
type edgeStatusCmd struct {
	Data string `required:"" env:"ESSAIM_EDGE_DATA" type:"path" help:"The edge's folder."`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

// Run prints the status.
func (c *edgeStatusCmd) Run() error { return c.run(os.Stdout, time.Now()) }

func (c *edgeStatusCmd) run(out io.Writer, now time.Time) error {
	s, err := edge.ReadStatus(c.Data, now)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(out).Encode(s)
	}
	how := "is not running"
	if s.Running {
		how = "runs"
	}
	_, err = fmt.Fprintf(out, "%s (%s) %s.\nholds %d of %d titles planned, %d of %d bytes, quota %d\nfilled %d bytes, %d of them from other edges\nserved %d bytes over HTTP, %d to peers, %d of whom are connected\nfound %d blocks changed on the disk, repaired %d\n",
		s.Name, s.ID, how, s.TitlesWhole, s.TitlesPlan, s.HeldBytes, s.PlannedBytes, s.QuotaBytes, s.FilledBytes, s.FromEdges, s.HTTPBytes, s.PeerBytes, s.Peers,
		s.Rotten, s.Repaired)
	if err == nil && s.Trouble != "" {
		_, err = fmt.Fprintf(out, "trouble: %s\n", s.Trouble)
	}
	return err
}
