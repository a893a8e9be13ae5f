package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"essaim/internal/license"
	"essaim/internal/sqlstore"
)

// keySettings say where the master key is, which seals the content keys of protected titles in the database. The key itself is
// never a flag: every process of the machine could read it.
type keySettings struct {
	MasterKeyFile string `name:"master-key-file" env:"ESSAIM_MASTER_KEY_FILE" type:"path" placeholder:"FILE" help:"The master key that seals the keys of protected titles; made when first needed (beside the data folder: its name and .master-key). ESSAIM_MASTER_KEY, if set, goes before it. Back it up apart from the data."`
}

// drawnFrom is where content keys come from, if not from the system; for tests.
var drawnFrom io.Reader

// open returns the content keys in db, sealed with the master key that belongs to the data folder. made is told of a file that
// was made.
func (s *keySettings) open(db *sqlstore.Store, data string, made func(file string)) (*license.Keys, error) {
	file := s.MasterKeyFile
	if file == "" {
		abs, err := filepath.Abs(data)
		if err != nil {
			return nil, err
		}
		file = abs + ".master-key" // not in the folder, whose copies would hold lock and key
	}
	masters, err := license.OpenMasters(os.Getenv(license.MasterEnv), file, made)
	if err != nil {
		return nil, err
	}
	return license.NewKeys(license.KeysConfig{DB: db, Masters: masters, Clock: time.Now, Random: drawnFrom}), nil
}

// madeMasterKey is what an operator is told when there is something new to back up.
const madeMasterKey = "made a master key, without which protected titles can never be played again: back it up now, apart from the data"

// licenseSettings name the licence servers of commercial systems. Their secrets are in files: flags can be read by everybody on
// the machine.
type licenseSettings struct {
	LicenseUpstream []string `name:"license-upstream" env:"ESSAIM_LICENSE_UPSTREAM" placeholder:"SYSTEM=URL" help:"Licence servers of commercial systems, asked on behalf of members who may watch: widevine=https://licence.example/x."`
	LicenseHeaders  []string `name:"license-headers" env:"ESSAIM_LICENSE_HEADERS" placeholder:"SYSTEM=FILE" help:"Headers to send to them, one a line, Name: value, in files that nobody else can read."`
}

var systemForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// upstreams are the servers that the settings name.
func (s *licenseSettings) upstreams() (map[string]license.Upstream, error) {
	headers := map[string]map[string]string{}
	for _, item := range s.LicenseHeaders {
		system, file, ok := strings.Cut(item, "=")
		if !ok || file == "" {
			return nil, errors.New("--license-headers: want SYSTEM=FILE, for instance widevine=/etc/essaim/widevine-headers")
		}
		h, err := readHeaders(file)
		if err != nil {
			return nil, fmt.Errorf("--license-headers %s: %w", system, err)
		}
		headers[system] = h
	}
	list := map[string]license.Upstream{}
	for _, item := range s.LicenseUpstream {
		system, address, ok := strings.Cut(item, "=")
		if !ok || !systemForm.MatchString(system) || system == "clearkey" {
			return nil, errors.New("--license-upstream: want SYSTEM=URL, for instance widevine=https://licence.example/x; clearkey is built in")
		}
		if list[system] != nil {
			return nil, fmt.Errorf("--license-upstream: %s is there twice", system)
		}
		up, err := license.NewHTTPUpstream(license.HTTPConfig{URL: address, Headers: headers[system]})
		if err != nil {
			return nil, fmt.Errorf("--license-upstream %s: %w", system, err)
		}
		list[system] = up
		delete(headers, system)
	}
	for system := range headers {
		return nil, fmt.Errorf("--license-headers %s: there is no --license-upstream of that name", system)
	}
	return list, nil
}

// readHeaders reads a file of headers. Its errors do not repeat what is in it.
func readHeaders(name string) (map[string]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > 64<<10 {
		return nil, fmt.Errorf("%s is no file of headers", name)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: make it private with chmod 600", name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	headers := map[string]string{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("line %d: want Name: value", number)
		}
		headers[name] = strings.TrimSpace(value)
	}
	return headers, nil
}
