package places

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/swarm"
)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, paths ...string) *Places {
	t.Helper()
	p, err := Open(paths, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func place(p *Places, ip string) swarm.Place { return p.Place(netip.MustParseAddr(ip)) }

const (
	fr = 'F'<<8 | 'R'
	de = 'D'<<8 | 'E'
)

// database is a file in MaxMind's format with one record for all of ::/1, which holds all IPv4 addresses too.
func database(network uint32, country string) []byte {
	text := func(s string) []byte { return append([]byte{0x40 | byte(len(s))}, s...) }
	number := func(n uint32) []byte { return append([]byte{0xC4}, binary.BigEndian.AppendUint32(nil, n)...) }
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	data := join([]byte{0xE2}, text("autonomous_system_number"), number(network), text("country"), []byte{0xE1}, text("iso_code"), text(country))
	node := []byte{0, 0, 17, 0, 0, 1} // one node of two records of 24 bits: data at 0, and nothing
	meta := join(
		[]byte{0xE9}, text("node_count"), number(1), text("record_size"), []byte{0xA1, 24}, text("ip_version"), []byte{0xA1, 6},
		text("binary_format_major_version"), []byte{0xA1, 2}, text("binary_format_minor_version"), []byte{0xA0},
		text("build_epoch"), []byte{0x04, 0x02, 1, 2, 3, 4}, text("database_type"), text("Test"),
		text("languages"), []byte{0x00, 0x04}, text("description"), []byte{0xE0},
	)
	return join(node, make([]byte, 16), data, marker, meta)
}

func TestPrefixIsWhatOneHouseholdHolds(t *testing.T) {
	same := [][2]string{{"192.0.2.1", "192.0.2.254"}, {"::ffff:192.0.2.1", "192.0.2.2"}, {"2001:db8:1::1", "2001:db8:1:ffff::2"}}
	for _, x := range same {
		if a, b := Prefix(netip.MustParseAddr(x[0])), Prefix(netip.MustParseAddr(x[1])); a != b || a == 0 {
			t.Errorf("%v: %x and %x", x, a, b)
		}
	}
	other := [][2]string{{"192.0.2.1", "192.0.3.1"}, {"2001:db8:1::1", "2001:db8:2::1"}, {"0.0.0.1", "::1"}}
	for _, x := range other {
		if a, b := Prefix(netip.MustParseAddr(x[0])), Prefix(netip.MustParseAddr(x[1])); a == b {
			t.Errorf("%v: both %x", x, a)
		}
	}
	if Prefix(netip.Addr{}) != 0 {
		t.Error("no address has a prefix")
	}
}

func TestListKnowsTheLongestPrefix(t *testing.T) {
	p := open(t, write(t, "list", []byte(`
# network and country of prefixes
192.0.0.0/8     64500  fr
192.0.2.0/24    AS64501 DE   # within
192.0.2.128/25  -      -
2001:db8::/32   64502  -
`)))
	for ip, want := range map[string]swarm.Place{
		"192.1.1.1": {Network: 64500, Country: fr}, "192.0.2.1": {Network: 64501, Country: de}, "192.0.2.200": {},
		"::ffff:192.0.2.1": {Network: 64501, Country: de}, "2001:db8:9::1": {Network: 64502}, "198.51.100.1": {}, "2001:db9::": {},
	} {
		want.Prefix = Prefix(netip.MustParseAddr(ip))
		if got := place(p, ip); got != want {
			t.Errorf("%s is at %+v, want %+v", ip, got, want)
		}
	}
}

func TestDatabaseInMaxMindsFormatIsRead(t *testing.T) {
	p := open(t, write(t, "asn.mmdb", database(64512, "FR")))
	if got := place(p, "2001:db8::1"); got.Network != 64512 || got.Country != fr {
		t.Errorf("got %+v", got)
	}
	if got := place(p, "192.0.2.1"); got.Network != 64512 {
		t.Errorf("an IPv4 address is at %+v", got)
	}
	if got := place(p, "9000::"); got.Network != 0 || got.Country != 0 || got.Prefix == 0 {
		t.Errorf("an address of which there is no record is at %+v", got)
	}
}

func TestWhatOneFileDoesNotKnowTheNextMay(t *testing.T) {
	p := open(t, write(t, "networks", []byte("192.0.2.0/24 64500 -\n")), write(t, "countries", []byte("192.0.0.0/8 1 DE\n")))
	if got := place(p, "192.0.2.9"); got.Network != 64500 || got.Country != de {
		t.Errorf("got %+v", got)
	}
}

func TestWithoutDatabaseThereIsThePrefix(t *testing.T) {
	if got := place(open(t), "192.0.2.9"); got.Prefix == 0 || got.Network != 0 || got.Country != 0 {
		t.Errorf("got %+v", got)
	}
	if got := open(t).Place(netip.Addr{}); got != (swarm.Place{}) {
		t.Errorf("no address is at %+v", got)
	}
}

func TestFileThatIsNoDatabaseIsRefusedInOneLine(t *testing.T) {
	for _, text := range []string{
		"192.0.2.0/24 64500", "192.0.2.0 64500 FR", "192.0.2.0/24 x FR", "192.0.2.0/24 64500 France", "192.0.2.0/24 4294967296 FR",
		"\x00\x01" + strings.Repeat("x", 9000), "x" + string(marker), string(database(1, "FR")[:60]) + string(marker),
	} {
		path := write(t, "bad", []byte(text))
		if _, err := Open([]string{path}, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
			t.Errorf("%.30q: %v", text, err)
		}
	}
	if _, err := Open([]string{filepath.Join(t.TempDir(), "none")}, nil); err == nil {
		t.Error("a file that is not there is read")
	}
}

func TestChangedFileIsReadAgainAndABrokenOneIsNot(t *testing.T) {
	path := write(t, "list", []byte("192.0.2.0/24 1 FR\n"))
	p := open(t, path)
	change := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		p.refresh()
	}
	start := time.Unix(1_800_000_000, 0)
	change("192.0.2.0/24 2 FR\n", start)
	if got := place(p, "192.0.2.1"); got.Network != 2 {
		t.Errorf("after a change: %+v", got)
	}
	change("this is no list\n", start.Add(time.Hour))
	if got := place(p, "192.0.2.1"); got.Network != 2 {
		t.Errorf("after a broken change: %+v", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.refresh()
	if got := place(p, "192.0.2.1"); got.Network != 2 {
		t.Errorf("after the file went: %+v", got)
	}
	change("192.0.2.0/24 3 FR\n", start.Add(2*time.Hour))
	if got := place(p, "192.0.2.1"); got.Network != 3 {
		t.Errorf("after it was mended: %+v", got)
	}
}

// TestPoisonedDatabaseIsAHintAndNoFailure is row 77 of the threats: every byte of a database is turned in its turn.
func TestPoisonedDatabaseIsAHintAndNoFailure(t *testing.T) {
	whole := database(64512, "FR")
	read := 0
	for i := range whole {
		for _, flip := range []byte{0x01, 0x80, 0xFF} {
			data := append([]byte(nil), whole...)
			data[i] ^= flip
			table, err := parse(data)
			if err != nil {
				continue // refused: the one before stays
			}
			read++
			p := &Places{files: []*file{{}}}
			p.files[0].table.Store(table)
			for _, ip := range []string{"192.0.2.1", "2001:db8::1", "9000::"} {
				if got := place(p, ip); got.Prefix != Prefix(netip.MustParseAddr(ip)) {
					t.Fatalf("byte %d: %s is at %+v", i, ip, got)
				}
			}
		}
	}
	if read == 0 {
		t.Error("no poisoned database was read: this shows nothing")
	}
}

func FuzzList(f *testing.F) {
	f.Add("192.0.2.0/24 64500 FR\n2001:db8::/32 - -\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := readList(strings.NewReader(text))
		if err == nil {
			l.look(netip.MustParseAddr("192.0.2.1"))
			l.look(netip.MustParseAddr("2001:db8::1"))
		}
	})
}
