// Package places tells where internet addresses are: their prefix always, their network and country where a database says
// so. The databases are other people's: in MaxMind's format, or lists of prefixes in plain text.
//
// It must get right: that wrong, old or broken data are hints that mislead, and never a failure; that a file which cannot
// be read when it has changed leaves what was read before; and that a lookup is quick, for it comes with every announce.
package places

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"essaim/internal/swarm"
)

// Bounds of a database.
const (
	sizeMax  = 1 << 30 // bytes of a file
	linesMax = 4 << 20 // of a list
	faultMax = 120     // characters of a line that an error shows
	// lookEvery is how often files are looked at for changes.
	lookEvery = time.Minute
)

// Places looks addresses up in any number of databases. It is safe for concurrent use.
type Places struct {
	files []*file
	log   *slog.Logger
}

// file is one database, and what the file was when it was last read.
type file struct {
	path  string
	table atomic.Pointer[table]
	size  int64
	at    time.Time
}

// table is the content of a file: one of the two.
type table struct {
	mmdb *maxminddb.Reader
	list *list
}

// Open reads the databases at paths; none is needed. What one does not know of an address, the next may.
func Open(paths []string, log *slog.Logger) (*Places, error) {
	p := &Places{log: log}
	for _, path := range paths {
		f := &file{path: path}
		if _, err := f.refresh(); err != nil {
			return nil, fmt.Errorf("read places from %s: %w", path, err)
		}
		p.files = append(p.files, f)
	}
	return p, nil
}

// Keep reads files again that have changed, until ctx is done. One that cannot be read is logged, and what was read
// before stays.
func (p *Places) Keep(ctx context.Context) {
	if len(p.files) == 0 {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.refresh()
		case <-ctx.Done():
			return
		}
	}
}

func (p *Places) refresh() {
	for _, f := range p.files {
		switch changed, err := f.refresh(); {
		case err != nil:
			p.log.Warn("places cannot be read again; those read before stay", "file", f.path, "error", err)
		case changed:
			p.log.Info("places read again", "file", f.path)
		}
	}
}

// refresh reads the file if it has changed. It notes a file that cannot be read as read, so that it is tried again only
// when it changes once more.
func (f *file) refresh() (changed bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return false, err
	}
	if f.size == info.Size() && f.at.Equal(info.ModTime()) {
		return false, nil
	}
	f.size, f.at = info.Size(), info.ModTime()
	if f.size > sizeMax {
		return false, fmt.Errorf("%d bytes: the most is %d", f.size, sizeMax)
	}
	// Into memory, and not mapped: a file that is cut short while it is in use would end the program.
	data, err := os.ReadFile(f.path)
	if err != nil {
		return false, err
	}
	t, err := parse(data)
	if err != nil {
		return false, err
	}
	f.table.Store(t)
	return true, nil
}

// marker stands before the metadata of a file in MaxMind's format (MaxMind DB specification 2.0).
var marker = []byte("\xab\xcd\xefMaxMind.com")

func parse(data []byte) (*table, error) {
	if bytes.Contains(data, marker) {
		r, err := maxminddb.OpenBytes(data)
		if err != nil {
			return nil, err
		}
		return &table{mmdb: r}, nil
	}
	l, err := readList(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return &table{list: l}, nil
}

// Place says where an address is. It never fails: what is not known is zero.
func (p *Places) Place(ip netip.Addr) swarm.Place {
	ip = ip.Unmap().WithZone("")
	place := swarm.Place{Prefix: Prefix(ip)}
	if place.Prefix == 0 {
		return place
	}
	for _, f := range p.files {
		if place.Network != 0 && place.Country != 0 {
			break
		}
		network, country := f.table.Load().look(ip)
		if place.Network == 0 {
			place.Network = network
		}
		if place.Country == 0 {
			place.Country = country
		}
	}
	return place
}

// Prefix is the code of an address's neighbourhood: the /24 of an IPv4 address, the /48 of an IPv6 one, which is about what
// one household, office or machine room holds. It is never 0 for a valid address.
func Prefix(ip netip.Addr) uint64 {
	switch ip = ip.Unmap(); {
	case ip.Is4():
		b := ip.As4()
		return 4<<48 | uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	case ip.Is6():
		b := ip.As16()
		return 6<<48 | binary.BigEndian.Uint64(b[:8])>>16
	}
	return 0
}

// record is what is read of a database's entry: of ASN and of country databases of several makers.
type record struct {
	Network uint32 `maxminddb:"autonomous_system_number"`
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	CountryCode string `maxminddb:"country_code"`
}

func (t *table) look(ip netip.Addr) (network uint32, country uint16) {
	if t.list != nil {
		e := t.list.look(ip)
		return e.network, e.country
	}
	var r record
	// An error is a broken or poisoned record: not known.
	if err := t.mmdb.Lookup(ip).Decode(&r); err != nil {
		return 0, 0
	}
	if r.Country.Code == "" {
		r.Country.Code = r.CountryCode
	}
	country, _ = countryCode(r.Country.Code)
	return r.Network, country
}

// list is a table of prefixes: for each length that there is, its prefixes.
type list struct {
	lengths [2][]int // of IPv4 and of IPv6, longest first
	entries map[netip.Prefix]entry
}

type entry struct {
	network uint32
	country uint16
}

func (l *list) look(ip netip.Addr) entry {
	family := 0
	if ip.Is6() {
		family = 1
	}
	for _, bits := range l.lengths[family] {
		prefix, err := ip.Prefix(bits)
		if err != nil {
			continue
		}
		if e, ok := l.entries[prefix]; ok {
			return e
		}
	}
	return entry{}
}

// readList reads lines of a prefix, a network's number and a country: "192.0.2.0/24 64500 FR". A dash stands for what is
// not known, the number may have "AS" before it, and what follows # is no part of a line.
func readList(r io.Reader) (*list, error) {
	l := &list{entries: make(map[netip.Prefix]entry)}
	var has [2][129]bool
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<10)
	for n := 1; in.Scan(); n++ {
		if n > linesMax {
			return nil, fmt.Errorf("more than %d lines", linesMax)
		}
		line, _, _ := strings.Cut(in.Text(), "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		prefix, e, err := readEntry(f)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: want for instance 192.0.2.0/24 64500 FR, not %q", n, err, line[:min(len(line), faultMax)])
		}
		l.entries[prefix] = e
		family := 0
		if prefix.Addr().Is6() {
			family = 1
		}
		has[family][prefix.Bits()] = true
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("neither a database in MaxMind's format nor a list: %w", err)
	}
	for family := range has {
		for bits := len(has[family]) - 1; bits >= 0; bits-- {
			if has[family][bits] {
				l.lengths[family] = append(l.lengths[family], bits)
			}
		}
	}
	return l, nil
}

var (
	errFields  = errors.New("three fields are needed")
	errNetwork = errors.New("no such network number")
	errCountry = errors.New("no such country code")
)

func readEntry(f []string) (prefix netip.Prefix, e entry, err error) {
	if len(f) != 3 {
		return prefix, e, errFields
	}
	if prefix, err = netip.ParsePrefix(f[0]); err != nil {
		return prefix, e, errors.New("no such prefix")
	}
	if f[1] != "-" {
		number := strings.TrimPrefix(strings.ToUpper(f[1]), "AS")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return prefix, e, errNetwork
		}
		e.network = uint32(n)
	}
	if f[2] != "-" {
		var ok bool
		if e.country, ok = countryCode(f[2]); !ok {
			return prefix, e, errCountry
		}
	}
	return prefix.Masked(), e, nil
}

// countryCode codes two letters (ISO 3166-1).
func countryCode(s string) (uint16, bool) {
	s = strings.ToUpper(s)
	if len(s) != 2 || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return 0, false
	}
	return uint16(s[0])<<8 | uint16(s[1]), true
}
