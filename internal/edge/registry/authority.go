package registry

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

const (
	// CertificateLife is how long an edge's certificate is good for. It renews it with a third left.
	CertificateLife = 7 * 24 * time.Hour
	// backdated is how far clocks may be behind.
	backdated = time.Hour

	authorityFile = "edge-authority.pem"
	authorityLife = 20 * 365 * 24 * time.Hour
	requestMax    = 4 << 10 // bytes of a certificate request
)

// Authority is the service's own certificate authority, which vouches for its edges and for its edge port and for nothing else:
// no browser knows it. It is safe for concurrent use.
type Authority struct {
	clock vod.Clock
	cert  *x509.Certificate
	key   crypto.Signer
	pem   []byte

	mu      sync.Mutex
	service *tls.Certificate // of the edge port; replaced in time
}

// OpenAuthority reads the authority from the data folder at dir, and makes it on first use. Of two programs that begin at once,
// both come to have the same.
func OpenAuthority(dir string, clock vod.Clock) (*Authority, error) {
	name := filepath.Join(dir, authorityFile)
	a, err := readAuthority(name, clock)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeAuthority(dir, name, clock()); err != nil {
			return nil, fmt.Errorf("make the edges' authority: %w", err)
		}
		a, err = readAuthority(name, clock)
	}
	if err != nil {
		return nil, fmt.Errorf("open the edges' authority: %w", err)
	}
	return a, nil
}

func readAuthority(name string, clock vod.Clock) (*Authority, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: make it private with chmod 600", name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || pair.Leaf == nil || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s holds no authority", name)
	}
	return &Authority{
		clock: clock, cert: pair.Leaf, key: key,
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Leaf.Raw}),
	}, nil
}

func makeAuthority(dir, name string, now time.Time) error {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Essaim edges"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		NotBefore: now.Add(-backdated), NotAfter: now.Add(authorityLife), KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"essaim.internal"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := pem.Encode(&b, block); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(dir, ".new-authority-") // made 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Link, unlike Rename, leaves what another program was faster to make.
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

// PEM is the authority's certificate.
func (a *Authority) PEM() string { return string(a.pem) }

// Pool holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate of name for a public key.
func (a *Authority) issue(name string, public any, usage ...x509.ExtKeyUsage) ([]byte, *x509.Certificate, error) {
	now := a.clock()
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{name}, NotBefore: now.Add(-backdated), NotAfter: now.Add(CertificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return der, leaf, err
}

// Certify answers an edge's request (PKCS #10, DER) with a certificate, PEM. Of the request only the key counts, and that whoever
// asks has its secret half: Ed25519, or ECDSA over P-256. Anything else is vod.ErrInvalid.
func (a *Authority) Certify(id string, request []byte) (string, error) {
	if len(request) > requestMax {
		return "", fmt.Errorf("certificate request: %w: %d bytes", vod.ErrInvalid, len(request))
	}
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return "", fmt.Errorf("certificate request: %w: %w", vod.ErrInvalid, err)
	}
	switch k := r.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", fmt.Errorf("certificate request: %w: a key of another kind", vod.ErrInvalid)
		}
	default:
		return "", fmt.Errorf("certificate request: %w: a key of another kind", vod.ErrInvalid)
	}
	der, _, err := a.issue(control.EdgeName(id), r.PublicKey, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return "", fmt.Errorf("certify edge: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// TLS is the edge port's: TLS 1.3, and nobody without a certificate of the authority's.
func (a *Authority) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Pool(), Time: a.clock,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true, // each connection's certificate is looked at anew
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.own() },
	}
}

// own is the edge port's certificate of the moment.
func (a *Authority) own() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	if c := a.service; c != nil && c.Leaf.NotAfter.Sub(now) > CertificateLife/3 && !now.Before(c.Leaf.NotBefore) {
		return c, nil
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, leaf, err := a.issue(control.ServiceName, public, x509.ExtKeyUsageServerAuth)
	if err != nil {
		return nil, err
	}
	a.service = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return a.service, nil
}
