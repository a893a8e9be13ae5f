package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"essaim/internal/places"
)

// settings are what serve and demo share. Each can be given as a flag, in the environment, or in essaim.yaml, in this
// order of precedence.
type settings struct {
	Listen     string   `default:"127.0.0.1:8080" env:"ESSAIM_LISTEN" placeholder:"ADDRESS:PORT" help:"Where to listen (${default}). If the port is taken, the next free one."`
	OriginRate bitRate  `default:"0" env:"ESSAIM_ORIGIN_RATE" placeholder:"RATE" help:"Bound of all media that the origin sends, in bits per second: 4M, 800k, 1.5G; 0 is none."`
	LogFormat  string   `default:"text" enum:"text,json" env:"ESSAIM_LOG_FORMAT" help:"How log lines are written: text or json."`
	LogLevel   string   `default:"info" enum:"debug,info,warn,error" env:"ESSAIM_LOG_LEVEL" help:"The least of what is logged: debug, info, warn or error."`
	Secure     bool     `env:"ESSAIM_SECURE" help:"Visitors come by https, which a proxy ends in front of this server."`
	Proxies    []string `name:"proxy" env:"ESSAIM_PROXY" placeholder:"ADDRESS" help:"Addresses or prefixes of the proxies in front of this server, whose X-Forwarded-For says where visitors come from. Without it, behind --secure nobody's address is known."`
	STUN       []string `name:"stun" env:"ESSAIM_STUN" placeholder:"ADDRESS" help:"STUN servers for viewers, for instance stun:stun.example:3478."`
}

// stunForm is a STUN server's address (RFC 7064). Browsers refuse to connect to anyone if one of the list is malformed.
var stunForm = regexp.MustCompile(`^stuns?:([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// Validate implements kong's interface of that name.
func (s *settings) Validate() error {
	for _, address := range s.STUN {
		if !stunForm.MatchString(address) {
			return fmt.Errorf("--stun %q: want an address such as stun:stun.example:3478", address)
		}
	}
	if _, err := places.ParseProxies(s.Proxies); err != nil {
		return fmt.Errorf("--proxy %w", err)
	}
	return nil
}

// hidden says that all visitors come from the address of a proxy that does not say whence.
func (s *settings) hidden() bool { return s.Secure && len(s.Proxies) == 0 }

// logger writes to w as the settings say.
func (s *settings) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// bitRate is a number of bits per second, written with the suffixes k, M and G for thousands, millions and milliards.
type bitRate int64

// UnmarshalText reads "4M", "1.5M", "800k" or "250000".
func (r *bitRate) UnmarshalText(text []byte) error {
	n, ok := scaled(string(text))
	if !ok {
		return fmt.Errorf("%q is no rate: want bits per second, for instance 4M, 800k or 0 for none", text)
	}
	*r = bitRate(n)
	return nil
}

// scaled reads a number with the suffixes k, M and G, or none; false for what is none, negative, or above 10^15.
func scaled(number string) (int64, bool) {
	scale := 1.0
	for suffix, by := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, scale = rest, by
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || n*scale > 1e15 || math.IsNaN(n) {
		return 0, false
	}
	return int64(n * scale), true
}

// byteSize is a number of bytes, written with the suffixes k, M and G for thousands, millions and milliards.
type byteSize int64

// UnmarshalText reads "10G", "1.5G", "800M" or "250000".
func (b *byteSize) UnmarshalText(text []byte) error {
	n, ok := scaled(string(text))
	if !ok {
		return fmt.Errorf("%q is no size: want bytes, for instance 10G, 800M or 0 for no bound", text)
	}
	*b = byteSize(n)
	return nil
}

// BytesPerSecond is the rate in bytes; 0 stays 0, which is no bound, and less than a byte is one.
func (r bitRate) BytesPerSecond() int64 {
	if r == 0 {
		return 0
	}
	return max(1, int64(r)/8)
}

// settingsFile is where settings are looked for when no --config names another place.
const settingsFile = "essaim.yaml"

// run parses the command line, runs the command, and returns the exit status. Commands write their own output.
func run(args []string, stderr io.Writer) int {
	fail := func(status int, err error) int {
		fmt.Fprintf(stderr, "essaim: %s\n", err)
		return status
	}
	options := []kong.Option{
		kong.Name("essaim"),
		kong.Description("Video on demand whose viewers carry the traffic."),
		kong.Vars{"version": version()},
		kong.Configuration(readSettings), // for --config; it names no file, because kong passes over one that it may not read
	}
	if f, err := os.Open(settingsFile); err == nil {
		defer f.Close()
		resolver, err := readSettings(f)
		if err != nil {
			return fail(2, fmt.Errorf("%s: %w", settingsFile, err))
		}
		options = append(options, kong.Resolvers(resolver))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fail(2, err)
	}
	parser, err := kong.New(&cli{}, options...)
	if err != nil {
		panic(err) // the declarations in cli are wrong
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return fail(2, fmt.Errorf("%w\nTry: essaim --help", err))
	}
	if err := ctx.Run(); err != nil {
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			return fail(coded.ExitCode(), err)
		}
		return fail(1, err)
	}
	return 0
}

// version is the module's version as the build recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// readSettings reads a settings file: a mapping from the names of serve's flags to values.
func readSettings(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	err := yaml.NewDecoder(io.LimitReader(r, 1<<20)).Decode(&values)
	if err != nil && !errors.Is(err, io.EOF) { // an empty file sets nothing
		return nil, err
	}
	return fileSettings(values), nil
}

// fileSettings resolves flags from a settings file. Only serve's flags may be set there; a command that has a flag of the
// same name takes it too, so that `data` holds for ingest and admin as well.
type fileSettings map[string]any

// Validate implements kong.Resolver: a key that means nothing is an error, or a typing error would go unnoticed.
func (f fileSettings) Validate(app *kong.Application) error {
	var names []string
	for _, node := range app.Children {
		if node.Name != "serve" {
			continue
		}
		for _, flag := range node.Flags {
			if flag.Name != "help" && flag.Name != "json" {
				names = append(names, flag.Name)
			}
		}
	}
	slices.Sort(names)
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(names, key) {
			return fmt.Errorf("settings file: unknown key %q: there are %s", key, strings.Join(names, ", "))
		}
	}
	return nil
}

// Resolve implements kong.Resolver. Numbers are passed on as they were written; a list becomes a list of strings.
func (f fileSettings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs { // kong lets the environment give way to a file; it is nearer than that
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	switch v := f[flag.Name].(type) {
	case nil:
		return nil, nil
	case []any:
		var items []string
		for _, x := range v {
			items = append(items, fmt.Sprint(x))
		}
		return strings.Join(items, ","), nil
	case map[string]any:
		return nil, fmt.Errorf("settings file: %s is a mapping, want a value", flag.Name)
	default:
		return fmt.Sprint(v), nil
	}
}
