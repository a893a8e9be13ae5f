// Package certs gives the service its TLS certificates: from two files, read again when they change, or from an authority
// that speaks ACME (RFC 8555), renewed by itself. It must never stop serving a certificate that is still good because a
// newer one cannot be had, and must tell the operator in time when none is coming.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Config says where certificates come from: two files, or an authority for the names in Domains.
type Config struct {
	CertFile, KeyFile string // PEM: the chain, leaf first, and its key

	Domains   []string
	Email     string // whom the authority may write to; may be empty
	Directory string // the authority's ACME directory; empty: Let's Encrypt
	RootsFile string // PEM: whom to trust as the directory's own authority; empty: the system's
	Folder    string // where account, keys and certificates are kept; private
	TLSPort   int    // where the service's listener answers TLS-ALPN challenges (RFC 8737); 443 must lead there
	HTTPPort  int    // where Challenges answers HTTP's; 80 must lead there. 0: nowhere

	Log *slog.Logger
}

const (
	// lookEvery is how often files are looked at for changes.
	lookEvery = 15 * time.Second
	// warnBefore is how long before its end a certificate is complained of, once a day.
	warnBefore = 14 * 24 * time.Hour
)

// Source hands out the certificate of the moment. It is safe for concurrent use.
type Source struct {
	c      Config
	config *tls.Config

	// From files.
	mu   sync.RWMutex
	held *tls.Certificate
	seen [2]stamp

	// From an authority.
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
}

// stamp tells a file's change.
type stamp struct {
	size int64
	at   time.Time
}

// Open reads the files, or prepares to ask the authority, which Keep does. Files that cannot be used are an error.
func Open(c Config) (*Source, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	s := &Source{c: c}
	if len(c.Domains) == 0 {
		if err := s.read(); err != nil {
			return nil, err
		}
		s.config = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			s.mu.RLock()
			defer s.mu.RUnlock()
			return s.held, nil
		}}
	} else if err := s.prepare(); err != nil {
		return nil, err
	}
	// TLS 1.2 for old televisions; Go's own choice of its ciphers has forward secrecy and no CBC first.
	s.config.MinVersion = tls.VersionTLS12
	s.config.NextProtos = append([]string{"h2", "http/1.1"}, s.config.NextProtos...)
	return s, nil
}

// TLS is the configuration for a listener of http.Server, HTTP/2 included.
func (s *Source) TLS() *tls.Config { return s.config.Clone() }

// prepare sets up what asks an authority.
func (s *Source) prepare() error {
	for _, name := range s.c.Domains {
		if !certmagic.SubjectQualifiesForCert(name) || strings.ContainsAny(name, "*/: ") {
			return fmt.Errorf("%q is no name that a certificate can be had for: want one such as films.example.org", name)
		}
	}
	if s.c.Folder == "" {
		return errors.New("certs: no folder")
	}
	var roots *x509.CertPool
	if s.c.RootsFile != "" {
		pem, err := os.ReadFile(s.c.RootsFile)
		if err != nil {
			return fmt.Errorf("read the authority's root: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", s.c.RootsFile)
		}
	}
	log := zap.New(bridge{log: s.c.Log.With("room", "certs")})
	s.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.magic, nil },
		Logger:           log,
	})
	s.magic = certmagic.New(s.cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: s.c.Folder}, Logger: log})
	s.issuer = certmagic.NewACMEIssuer(s.magic, certmagic.ACMEIssuer{
		CA: s.c.Directory, Email: s.c.Email, Agreed: true, TrustedRoots: roots, Logger: log,
		AltTLSALPNPort: s.c.TLSPort, AltHTTPPort: s.c.HTTPPort, DisableHTTPChallenge: s.c.HTTPPort == 0,
	})
	s.magic.Issuers = []certmagic.Issuer{s.issuer}
	s.config = s.magic.TLSConfig()
	return nil
}

// Keep renews certificates, or looks at the files again, until ctx ends. From an authority the first certificate is asked
// for here: call it once the listener answers. It returns early with an error if the first cannot even be tried for.
func (s *Source) Keep(ctx context.Context) error {
	if s.magic != nil {
		// Each name by itself tries again, less and less often, for thirty days; renewal begins with a third of the life left.
		if err := s.magic.ManageAsync(ctx, s.c.Domains); err != nil {
			return fmt.Errorf("ask for a certificate: %w", err)
		}
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var warned time.Time
	for {
		select {
		case <-ctx.Done():
			if s.cache != nil {
				s.cache.Stop()
			}
			return nil
		case now := <-ticker.C:
			s.look()
			if end := s.NotAfter(); !end.IsZero() && end.Sub(now) < warnBefore && now.Sub(warned) > 24*time.Hour {
				warned = now
				s.c.Log.Error("the certificate ends soon and no new one has come", "ends", end.UTC().Format(time.RFC3339))
			}
		}
	}
}

// Challenges answers an authority's HTTP challenges (RFC 8555, 8.3) and leaves all else to next.
func (s *Source) Challenges(next http.Handler) http.Handler {
	if s.issuer == nil {
		return next
	}
	return s.issuer.HTTPChallengeHandler(next)
}

// NotAfter is when the first of the certificates held ends; zero for none.
func (s *Source) NotAfter() (end time.Time) {
	if s.magic == nil {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.held.Leaf.NotAfter
	}
	for _, name := range s.c.Domains {
		for _, cert := range s.cache.AllMatchingCertificates(name) {
			if cert.Leaf != nil && (end.IsZero() || cert.Leaf.NotAfter.Before(end)) {
				end = cert.Leaf.NotAfter
			}
		}
	}
	return end
}

// look reads the files again if they have changed, and keeps what it has if they are no good.
func (s *Source) look() {
	if s.magic != nil || !s.changed() {
		return
	}
	if err := s.read(); err != nil {
		s.c.Log.Error("the new certificate cannot be used; the one before stays", "error", err)
		return
	}
	s.c.Log.Info("a new certificate", "ends", s.NotAfter().UTC().Format(time.RFC3339))
}

// changed notes how the files look now, and reports whether they looked otherwise before.
func (s *Source) changed() bool {
	var now [2]stamp
	for i, name := range []string{s.c.CertFile, s.c.KeyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return false // between two states
		}
		now[i] = stamp{info.Size(), info.ModTime()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.seen
	s.seen = now
	return before != now
}

// read takes the pair from its files.
func (s *Source) read() error {
	info, err := os.Stat(s.c.KeyFile)
	if err != nil {
		return fmt.Errorf("read the certificate's key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("%s can be read by everybody: make it private with chmod o-rwx", s.c.KeyFile)
	}
	s.changed() // before reading: what changes meanwhile is seen the next time
	pair, err := tls.LoadX509KeyPair(s.c.CertFile, s.c.KeyFile)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return fmt.Errorf("read the certificate: %w", err)
		}
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		return fmt.Errorf("the certificate in %s ended on %s", s.c.CertFile, pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = &pair
	return nil
}

// Names are the hosts that the service's certificate is for.
func (s *Source) Names() []string {
	if s.magic != nil {
		return slices.Clone(s.c.Domains)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.held.Leaf.DNSNames)
}
