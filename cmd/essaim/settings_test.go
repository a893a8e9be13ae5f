package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestRatesAreReadInBitsPerSecond(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4M": 500_000, "1.5M": 187_500, "800k": 100_000, "800K": 100_000, "1G": 125_000_000, "8": 1, "1": 1, "250000": 31_250,
	} {
		var r bitRate
		if err := r.UnmarshalText([]byte(text)); err != nil || r.BytesPerSecond() != want {
			t.Errorf("%s: %d bytes per second, %v, want %d", text, r.BytesPerSecond(), err, want)
		}
	}
	for _, text := range []string{"", "x", "4MB", "-1", "1e99", "NaN", "Inf", "4 M", "M"} {
		var r bitRate
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as %d", text, r)
		}
	}
}

// parse parses a command line of serve with a settings file of that content.
func parse(t *testing.T, file string, args ...string) (*cli, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var c cli
	p, err := kong.New(&c, kong.Vars{"version": "test"}, kong.Configuration(readSettings))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Parse(append(args, "--config", name))
	return &c, err
}

func TestSettingsComeFromFlagThenEnvironmentThenFile(t *testing.T) {
	const file = "listen: 127.0.0.1:1\norigin-rate: 4M\nlog-format: json\ndata: /srv/films\nsecure: true\nstun: [stun:a.example, stun:b.example]\n"
	c, err := parse(t, file, "serve")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Serve
	if s.Listen != "127.0.0.1:1" || s.OriginRate != 4_000_000 || s.LogFormat != "json" || s.Data != "/srv/films" || !s.Secure ||
		strings.Join(s.STUN, " ") != "stun:a.example stun:b.example" {
		t.Errorf("from the file: %+v", s)
	}
	t.Setenv("ESSAIM_LISTEN", "127.0.0.1:2")
	t.Setenv("ESSAIM_ORIGIN_RATE", "5M")
	t.Setenv("ESSAIM_DATA", "/srv/others")
	if c, err = parse(t, file, "serve"); err != nil || c.Serve.Listen != "127.0.0.1:2" || c.Serve.OriginRate != 5_000_000 || c.Serve.Data != "/srv/others" {
		t.Errorf("from the environment: %+v, %v", c.Serve, err)
	}
	if c, err = parse(t, file, "serve", "--listen", "127.0.0.1:3", "--origin-rate=6M"); err != nil || c.Serve.Listen != "127.0.0.1:3" || c.Serve.OriginRate != 6_000_000 {
		t.Errorf("from flags: %+v, %v", c.Serve, err)
	}
}

func TestSettingsFileHoldsForOtherCommandsToo(t *testing.T) {
	c, err := parse(t, "data: /srv/films\norigin-rate: 4M\n", "admin", "token", "--role", "operator")
	if err != nil || c.Admin.Token.Data != "/srv/films" {
		t.Errorf("%+v, %v", c.Admin.Token, err)
	}
}

func TestSettingsFileWithErrorsIsRefused(t *testing.T) {
	for file, want := range map[string]string{
		"lisen: 127.0.0.1:1":                       `unknown key "lisen"`,
		"json: true":                               `unknown key "json"`,
		"role: operator":                           `unknown key "role"`,
		"origin-rate: fast":                        "is no rate",
		"log-format: xml":                          "log-format",
		"listen: {port: 1}":                        "is a mapping",
		"stun: stun.example:3478":                  "--stun",
		"stun: [stun:a.example, stun://b.example]": "--stun",
		"listen: [":                                "yaml",
		"- listen":                                 "yaml",
		"listen: a:1\nlisten: b:1":                 "already",
	} {
		if _, err := parse(t, file, "serve"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
	if _, err := parse(t, "# nothing\n", "serve"); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func TestExitStatusTellsUsageFromFailure(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 2, "expected one of"},
		{[]string{"none"}, 2, "unexpected argument"},
		{[]string{"serve", "--none"}, 2, "unknown flag"},
		{[]string{"serve", "--stun", "stun.example"}, 2, "stun:stun.example:3478"},
		{[]string{"demo", "--stun", "turn:a.example"}, 2, "stun:stun.example:3478"},
		{[]string{"bench", "hash", "--mib", "99999999999"}, 1, "--mib"},
		{[]string{"admin", "token"}, 2, "--role"},
		{[]string{"admin", "token", "--role", "king"}, 2, "--role"},
		{[]string{"admin", "token", "--role", "operator", "--data", "none"}, 1, "no data folder"},
		{[]string{"serve", "--listen", "nonsense"}, 1, "want ADDRESS:PORT"},
	} {
		var stderr bytes.Buffer
		if got := run(c.args, &stderr); got != c.status || !strings.HasPrefix(stderr.String(), "essaim: ") || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: status %d, %s", c.args, got, stderr.String())
		}
	}
	if err := os.WriteFile(settingsFile, []byte("lisen: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if got := run([]string{"serve"}, &stderr); got != 2 || !strings.Contains(stderr.String(), `unknown key "lisen"`) {
		t.Errorf("a settings file with an error: status %d, %s", got, stderr.String())
	}
}

func TestTakenPortLeadsToTheNextAndSaysSo(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	first, err := listen("127.0.0.1:0", log)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listen(first.Addr().String(), log)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	a, b := first.Addr().(*net.TCPAddr).Port, second.Addr().(*net.TCPAddr).Port
	if b <= a || b >= a+portsTried || !strings.Contains(said.String(), "the port is taken") {
		t.Errorf("ports %d and %d; said %s", a, b, said.String())
	}
}

func TestAddressToOpenIsOneThatABrowserCanOpen(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "0.0.0.0:8080": "http://localhost:8080", "[::]:8080": "http://localhost:8080",
		"[::1]:8080": "http://[::1]:8080",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := urlOf(tcp); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}
