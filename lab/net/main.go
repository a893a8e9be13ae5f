// Command net is the network laboratory: it makes a small internet of network namespaces, with a service, two providers and
// homes behind routers of their own, lets real viewers watch in it, does something to the road, and prints what they lived
// through. It is not shipped, and needs root:
//
//	go run ./lab/net --scene throttled --json
//
// It must get right: that nothing of the machine's own network is changed; that all it made and started is gone when it ends,
// however it ends; that the viewers are the service's own (native hosts over real WebRTC, and a real Chromium); and that
// figures are counted where they cannot flatter: bytes by the routers, stalls by each viewer's own player.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// scene is one experiment.
type scene struct {
	name, help string
	run        func(context.Context, *lab) (fields, error)
}

// scenes in the order in which they are told of.
func scenes() []scene {
	return []scene{
		{"throttled", "the origin's link into a provider falls to 1.2 times one film for its ten viewers", throttledScene},
		{"cut", "that link is cut for a minute", cutScene},
		{"cross", "eight viewers in each of two providers: what crosses between them", crossScene},
		{"nat", "which home routers' viewers can reach one another", natScene},
		{"household", "a call on a household's uplink of 2 Mbit/s while it shares", householdScene},
	}
}

// fields is a result: a flat JSON object, in order.
type fields []field

type field struct {
	name  string
	value any
}

func (f *fields) add(name string, value any) { *f = append(*f, field{name, value}) }

// MarshalJSON implements json.Marshaler.
func (f fields) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, x := range f {
		if i > 0 {
			b = append(b, ',')
		}
		v, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, '"'), x.name...), '"', ':')
		b = append(b, v...)
	}
	return append(b, '}'), nil
}

// helpers are what this program runs inside the namespaces: itself, by these names.
var helpers = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"viewer": viewerMain, "page": pageMain, "echo": echoMain, "call": callMain,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "keeper" {
		keeperMain(os.Stdin)
		return
	}
	if len(os.Args) > 1 && helpers[os.Args[1]] != nil {
		ctx, gone := context.WithCancel(ctx)
		go func() { // the laboratory holds the other end: whatever ends it ends us
			_, _ = io.Copy(io.Discard, os.Stdin)
			gone()
		}()
		if err := helpers[os.Args[1]](ctx, os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
			os.Exit(1)
		}
		return
	}
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// usageError is a command line that cannot be carried out.
type usageError struct{ error }

// errRoot says why nothing was done.
var errRoot = errors.New("namespaces, taps and shapers need root: run it as root, for instance with sudo")

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.SetOutput(log)
	o := options{}
	var name string
	var asJSON bool
	var names []string
	for _, s := range scenes() {
		names = append(names, s.name)
	}
	flags.StringVar(&name, "scene", "", "which: "+strings.Join(names, ", "))
	flags.BoolVar(&asJSON, "json", false, "print one JSON object on one line")
	flags.StringVar(&o.essaim, "essaim", "", "the program under test (default: it is built from this folder's module)")
	flags.IntVar(&o.seconds, "seconds", 90, "length of the film, in seconds: 40 to 600")
	flags.IntVar(&o.kbps, "kbps", 800, "bit rate of the film, in kbit/s: 300 to 4000")
	flags.BoolVar(&o.page, "chromium", true, "one of the viewers is a real Chromium, where the scene has one")
	flags.BoolVar(&o.alone, "http", true, "show HTTP alone beside it, where the scene does")
	flags.StringVar(&o.link, "link", "origin", "what falls: origin, its own link into the provider; or provider, all that comes into it, other providers' viewers included")
	flags.IntVar(&o.others, "others", 2, "viewers in the other provider, where the scene has a throttled one: 0 to 20")
	flags.BoolVar(&o.verbose, "v", false, "tell every second how the viewers are")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	i := slices.IndexFunc(scenes(), func(s scene) bool { return s.name == name })
	switch {
	case i < 0 || flags.NArg() > 0:
		return usageError{fmt.Errorf("name a scene: --scene %s", strings.Join(names, "|"))}
	case o.seconds < 40 || o.seconds > 600:
		return usageError{errors.New("--seconds must be 40 to 600")}
	case o.kbps < 300 || o.kbps > 4000:
		return usageError{errors.New("--kbps must be 300 to 4000")}
	case o.link != "origin" && o.link != "provider":
		return usageError{errors.New("--link must be origin or provider")}
	case o.others < 0 || o.others > 20:
		return usageError{errors.New("--others must be 0 to 20")}
	case os.Geteuid() != 0:
		return errRoot
	}
	s := scenes()[i]
	l, err := openLab(o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }() // where this is not reached, the keeper does it
	begun := time.Now()
	f, err := s.run(ctx, l)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted; all that was made is removed")
		}
		return fmt.Errorf("scene %s: %w", s.name, err)
	}
	f = append(fields{{"scene", s.name}}, f...)
	f.add("seconds", round(time.Since(begun).Seconds(), 1))
	if asJSON {
		return json.NewEncoder(out).Encode(f)
	}
	for _, x := range f {
		fmt.Fprintf(out, "%-28s %v\n", x.name, x.value)
	}
	return nil
}
