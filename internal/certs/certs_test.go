package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// makePair writes a certificate for name and its key into dir.
func makePair(t *testing.T, dir, name string, end time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: end.Add(-1000 * time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	put(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return cert, key
}

func put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// served is the name in the certificate that s hands out.
func served(t *testing.T, s *Source) string {
	t.Helper()
	cert, err := s.TLS().GetCertificate(&tls.ClientHelloInfo{ServerName: "any.example"})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestChangedFilesAreServedAndBadOnesAreNot(t *testing.T) {
	dir, later := t.TempDir(), time.Now().Add(1000*time.Hour)
	cert, key := makePair(t, dir, "one.example", later)
	s, err := Open(Config{CertFile: cert, KeyFile: key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	step := func(what, want string) {
		t.Helper()
		// A file system may count in whole seconds: what was written within one must be seen all the same.
		for _, name := range []string{cert, key} {
			later = later.Add(time.Second)
			if err := os.Chtimes(name, later, later); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		s.look()
		if got := served(t, s); got != want {
			t.Errorf("%s: %s is served, want %s", what, got, want)
		}
	}
	step("nothing changed", "one.example")
	makePair(t, dir, "two.example", later)
	step("both were replaced", "two.example")
	put(t, cert, []byte("half a certif"))
	step("a certificate half written", "two.example")
	makePair(t, dir, "three.example", time.Now().Add(-time.Hour))
	step("a certificate that has ended", "two.example")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	step("no key", "two.example")
	makePair(t, dir, "four.example", later)
	step("whole again", "four.example")
	if got := s.Names(); len(got) != 1 || got[0] != "four.example" {
		t.Errorf("names %q", got)
	}
}

func TestOldProtocolsAreRefusedAndHTTP2IsOffered(t *testing.T) {
	cert, key := makePair(t, t.TempDir(), "one.example", time.Now().Add(time.Hour))
	s, err := Open(Config{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.TLS(); c.MinVersion != tls.VersionTLS12 || c.NextProtos[0] != "h2" {
		t.Errorf("at least version %#x, %q", c.MinVersion, c.NextProtos)
	}
}

func TestWhatCannotWorkIsRefusedAtOnceAndInWords(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	cert, key := makePair(t, dir, "one.example", time.Now().Add(time.Hour))
	_, otherKey := makePair(t, other, "two.example", time.Now().Add(time.Hour))
	oldCert, oldKey := makePair(t, t.TempDir(), "old.example", time.Now().Add(-time.Hour))
	open := filepath.Join(other, "open.pem")
	put(t, open, []byte("x"))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for what, x := range map[string]struct {
		c    Config
		want string
	}{
		"no file":            {Config{CertFile: cert, KeyFile: filepath.Join(dir, "none.pem")}, "no such file"},
		"no PEM":             {Config{CertFile: key, KeyFile: key}, "certificate"},
		"another's key":      {Config{CertFile: cert, KeyFile: otherKey}, "does not match"},
		"a key for all":      {Config{CertFile: cert, KeyFile: open}, "chmod"},
		"ended":              {Config{CertFile: oldCert, KeyFile: oldKey}, "ended on"},
		"no name":            {Config{Domains: []string{"films"}, Folder: dir, Directory: "x", RootsFile: "none"}, "none"},
		"a wildcard":         {Config{Domains: []string{"*.films.example"}, Folder: dir}, "no name"},
		"a port in the name": {Config{Domains: []string{"films.example:443"}, Folder: dir}, "no name"},
		"roots that are not": {Config{Domains: []string{"films.example"}, Folder: dir, RootsFile: key}, "no certificate"},
	} {
		if _, err := Open(x.c); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", what, err, x.want)
		}
	}
}
