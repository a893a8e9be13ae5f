package registry

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"essaim/internal/members"
	"essaim/internal/sqlstore"
	"essaim/internal/vod"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func newRegistry(t *testing.T) (*Registry, *clock, *sqlstore.Store) {
	t.Helper()
	dir, c := t.TempDir(), &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	db, err := sqlstore.Open(t.Context(), filepath.Join(dir, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	a, err := OpenAuthority(dir, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, authorityFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's file: %v, %v", info, err)
	}
	again, err := OpenAuthority(dir, c.Now)
	if err != nil || again.PEM() != a.PEM() {
		t.Errorf("opened again, it is another: %v", err)
	}
	return New(Config{DB: db, Authority: a, Clock: c.Now, Members: members.New(db, c.Now), Control: ":8443"}), c, db
}

func request(t *testing.T, key any) []byte {
	t.Helper()
	b, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"service.essaim.internal"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func own(t *testing.T) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return request(t, key)
}

func TestATokenLetsOneEdgeInHoweverManyUseItAtOnce(t *testing.T) {
	r, _, db := newRegistry(t)
	token, _, err := r.Invite(t.Context(), "lyon-1")
	if err != nil {
		t.Fatal(err)
	}
	// In the database there is nothing with which one could join.
	var found int
	if err := db.Reader().QueryRowContext(t.Context(), `SELECT COUNT(*) FROM edge_tokens WHERE hash = $1`, token).Scan(&found); err != nil || found != 0 {
		t.Errorf("the token itself is kept: %d, %v", found, err)
	}
	const many = 8
	requests := make([][]byte, many)
	for i := range requests {
		requests[i] = own(t)
	}
	errs := make(chan error, many)
	for _, request := range requests {
		go func() {
			_, err := r.Join(t.Context(), token, request, "")
			errs <- err
		}()
	}
	in := 0
	for range many {
		switch err := <-errs; {
		case err == nil:
			in++
		case !errors.Is(err, vod.ErrNotFound):
			t.Error(err)
		}
	}
	if in != 1 {
		t.Errorf("%d edges joined with one token", in)
	}
}

func TestTokensEndAndAreReplaced(t *testing.T) {
	r, c, _ := newRegistry(t)
	first, _, err := r.Invite(t.Context(), "lyon-1")
	if err != nil {
		t.Fatal(err)
	}
	second, expires, err := r.Invite(t.Context(), "lyon-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Join(t.Context(), first, own(t), ""); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("a token that was replaced: %v", err)
	}
	c.now = expires
	if _, err := r.Join(t.Context(), second, own(t), ""); !errors.Is(err, vod.ErrNotFound) {
		t.Errorf("a token of an hour ago: %v", err)
	}
	for _, name := range []string{"", "-", "a\nb", "<b>"} {
		if _, _, err := r.Invite(t.Context(), name); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestABadRequestDoesNotUseUpTheToken(t *testing.T) {
	r, c, _ := newRegistry(t)
	token, _, err := r.Invite(t.Context(), "lyon-1")
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := own(t)
	forged[len(forged)-1] ^= 1
	for name, b := range map[string][]byte{"none": nil, "noise": []byte("noise"), "RSA": request(t, weak), "not signed with its key": forged, "long": make([]byte, 8<<10)} {
		if _, err := r.Join(t.Context(), token, b, ""); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"lyon.example", "https://a b", "https://u:p@lyon.example", "https://lyon.example;script-src *"} {
		if _, err := r.Join(t.Context(), token, own(t), url); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("address %q: %v", url, err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := r.Join(t.Context(), token, request(t, key), "https://lyon.example")
	if err != nil {
		t.Fatal(err)
	}
	// Whatever name it asked for, it has its own, for a week.
	leaf := parse(t, id.Certificate)
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != id.ID+".edge.essaim.internal" || leaf.IsCA || leaf.NotAfter.Sub(c.now) != CertificateLife {
		t.Errorf("its certificate names %v until %v", leaf.DNSNames, leaf.NotAfter)
	}
}

func parse(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no certificate")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
