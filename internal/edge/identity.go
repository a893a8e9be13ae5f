package edge

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"essaim/internal/client"
	"essaim/internal/edge/control"
)

// The files of an edge's folder that make it who it is. They are readable by their owner alone.
const (
	identityFile    = "edge.json"
	keyFile         = "edge-key.pem"
	certificateFile = "edge-cert.pem"
)

// identity is what joining gave an edge.
type identity struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Service   string `json:"service"`   // the service's public address
	Control   string `json:"control"`   // HOST:PORT of its edge port
	Authority string `json:"authority"` // PEM
	URL       string `json:"url,omitempty"`
}

// JoinOptions say where and how to join.
type JoinOptions struct {
	Service string // the service's public address
	Token   string
	Dir     string
	URL     string // where browsers will reach the edge; empty: nowhere, or as `run` says later
	Clock   func() time.Time
}

// Joined is what became of it.
type Joined struct {
	ID, Name string
	Until    time.Time // end of the first certificate, which the edge itself renews
}

// Join makes a folder an edge's: it draws a key, which never leaves the folder, and gets a certificate for a one-time token. A
// folder that is an edge's already is refused.
func Join(ctx context.Context, o JoinOptions) (Joined, error) {
	u, err := url.Parse(o.Service)
	if err != nil || u.Host == "" {
		return Joined{}, fmt.Errorf("service %q: want an address such as https://films.example", o.Service)
	}
	if u.Scheme != "https" && !local(u.Hostname()) {
		return Joined{}, fmt.Errorf("%s would be told the token in the clear: join by https", o.Service)
	}
	if o.Token == "" {
		return Joined{}, errors.New("there is no token: have the operator make one with `essaim admin edge add`")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return Joined{}, err
	}
	if _, err := os.Stat(filepath.Join(o.Dir, identityFile)); err == nil {
		return Joined{}, fmt.Errorf("%s is an edge's folder already: name another, or remove it", o.Dir)
	}
	key, err := ownKey(filepath.Join(o.Dir, keyFile))
	if err != nil {
		return Joined{}, err
	}
	request, err := requestOf(key)
	if err != nil {
		return Joined{}, err
	}
	c, err := client.New(o.Service)
	if err != nil {
		return Joined{}, err
	}
	began := o.Clock()
	got, err := c.JoinEdge(ctx, o.Token, request, o.URL)
	if err != nil {
		return Joined{}, err
	}
	if !control.ValidID(got.ID) {
		return Joined{}, errors.New("the service answers with no identity of an edge")
	}
	host, port, err := net.SplitHostPort(got.Control)
	if err != nil {
		return Joined{}, fmt.Errorf("the service names no edge port: %q", got.Control)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = u.Hostname()
	}
	leaf, err := checkPair(key, got.Certificate, got.Authority, got.ID, time.UnixMilli(got.NowMs))
	if err != nil {
		return Joined{}, fmt.Errorf("the service's certificate: %w", err)
	}
	id := identity{
		ID: got.ID, Name: got.Name, Service: strings.TrimRight(o.Service, "/"), Control: net.JoinHostPort(host, port), Authority: got.Authority, URL: o.URL,
	}
	state := saved{OffsetMs: got.NowMs - began.UnixMilli()}
	b, err := json.MarshalIndent(id, "", "\t")
	if err == nil {
		err = errors.Join(writeFile(filepath.Join(o.Dir, certificateFile), []byte(got.Certificate)), writeState(o.Dir, &state))
	}
	if err == nil { // last: what has it is an edge's folder
		err = writeFile(filepath.Join(o.Dir, identityFile), append(b, '\n'))
	}
	if err != nil {
		return Joined{}, fmt.Errorf("the token is used up, but its fruit could not be kept: %w", err)
	}
	return Joined{ID: got.ID, Name: got.Name, Until: leaf.NotAfter}, nil
}

// local reports whether a host is this machine.
func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// ownKey reads the key in a file, or makes one: a folder whose joining failed keeps its key.
func ownKey(name string) (ed25519.PrivateKey, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, writeFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others: make it private with chmod 600", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", name)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s holds no Ed25519 key", name)
	}
	return key, nil
}

func requestOf(key ed25519.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// checkPair holds a certificate against the key, the authority and the edge's ID.
func checkPair(key ed25519.PrivateKey, certificate, authority, id string, now time.Time) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return nil, errors.New("it is none")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if public, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, errors.New("it is another key's")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(authority)) {
		return nil, errors.New("it comes with no authority")
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		DNSName: control.EdgeName(id), Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return leaf, err
}

// readIdentity reads an edge's folder.
func readIdentity(dir string) (id identity, key ed25519.PrivateKey, cert *tls.Certificate, err error) {
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil, nil, fmt.Errorf("%s is no edge's folder: join first, with `essaim edge join`", dir)
	}
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err == nil && !control.ValidID(id.ID) {
		err = errors.New("it names no edge")
	}
	if err != nil {
		return id, nil, nil, fmt.Errorf("read %s: %w", identityFile, err)
	}
	if key, err = ownKey(filepath.Join(dir, keyFile)); err != nil {
		return id, nil, nil, err
	}
	if b, err = os.ReadFile(filepath.Join(dir, certificateFile)); err != nil {
		return id, nil, nil, err
	}
	cert, err = pairOf(key, b)
	return id, key, cert, err
}

func pairOf(key ed25519.PrivateKey, certificate []byte) (*tls.Certificate, error) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", certificateFile)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certificateFile, err)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}, nil
}

// writeFile replaces a file, readable by its owner alone, whole or not at all, also through a power cut.
func writeFile(name string, data []byte) error { return replace(name, data, true) }

// replaceFile is writeFile for what may be lost with the power.
func replaceFile(name string, data []byte) error { return replace(name, data, false) }

func replace(name string, data []byte, last bool) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-") // made 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil && last {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
