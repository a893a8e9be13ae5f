package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"essaim/internal/edge/control"
	"essaim/internal/vod"
)

const (
	askTimeout = 20 * time.Second
	// chunkTimeout is how long a chunk of a file may take: at 200 kB/s.
	chunkTimeout = 20 * time.Second
)

// newClient makes the client of the service and of other edges: TLS 1.3, our certificate, and the service's own authority alone.
// Addresses are names of certificates; whereIs knows where each is found.
func (e *Edge) newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				name, at, err := e.whereIs(address)
				if err != nil {
					return nil, err
				}
				raw, err := dialer.DialContext(ctx, network, at)
				if err != nil {
					return nil, err
				}
				conn := tls.Client(raw, e.clientTLS(name))
				if err := conn.HandshakeContext(ctx); err != nil {
					raw.Close()
					return nil, err
				}
				return conn, nil
			},
			MaxConnsPerHost: 8, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: askTimeout, DisableCompression: true,
		},
	}
}

// whereIs is where the machine of an address, NAME:443 as the transport has it, is dialled: the service, or an edge that the plan names.
func (e *Edge) whereIs(address string) (name, at string, err error) {
	name, _, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", err
	}
	if name == control.ServiceName {
		return name, e.id.Control, nil
	}
	id, ok := control.EdgeID(name)
	if !ok {
		return "", "", fmt.Errorf("%s is nobody", name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.titles {
		for _, source := range t.Sources {
			if at, ok := strings.CutPrefix(source, id+"@"); ok {
				return name, at, nil
			}
		}
	}
	return "", "", fmt.Errorf("%s is nowhere", name)
}

func (e *Edge) clientTLS(name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: name, RootCAs: e.pool, Time: e.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return e.cert.Load(), nil },
	}
}

// NodeTLS is how other edges are let in: by certificates of the service's authority, of edges that it has not revoked.
func (e *Edge) NodeTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: e.pool, Time: e.Now,
		NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return e.cert.Load(), nil },
	}
}

// NodeHandler answers other edges below control.Media with media, behind NodeTLS: media is an origin over Titles(false).
func (e *Edge) NodeHandler(media http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+control.Media+"/media/{root}", http.StripPrefix(control.Media, media))
	mux.Handle("GET "+control.Media+"/hashes/{root}", http.StripPrefix(control.Media, media))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || !e.trusts(r.TLS.PeerCertificates[0]) {
			http.Error(w, "revoked", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// trusts reports whether a verified certificate is that of an edge that was not revoked, and has not ended since the connection began.
func (e *Edge) trusts(c *x509.Certificate) bool {
	if len(c.DNSNames) != 1 || !e.Now().Before(c.NotAfter) {
		return false
	}
	id, ok := control.EdgeID(c.DNSNames[0])
	e.mu.Lock()
	defer e.mu.Unlock()
	return ok && !slices.Contains(e.state.Outcasts, id)
}

// ask sends in, as JSON unless it is bytes, to the service, and reads the answer into out, bytes or JSON.
func (e *Edge) ask(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, raw := in.([]byte)
	if !raw && in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	do := func() (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, "https://"+control.ServiceName+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		return e.http.Do(req)
	}
	resp, err := do()
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired { // it, or our clock, is wrong
		if terr := e.askTime(ctx); terr == nil {
			resp, err = do()
		}
	}
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is known already
		}
		return fmt.Errorf("reach %s: %w", e.id.Control, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, control.NewsMax+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	switch {
	case len(b) > control.NewsMax:
		return errors.New("answer too large")
	case resp.StatusCode == http.StatusForbidden:
		return vod.ErrEdgeRevoked
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers %s", e.id.Control, resp.Status)
	}
	if bytes, ok := out.(*[]byte); ok {
		*bytes = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s answers what is no news: %w", e.id.Control, err)
	}
	return nil
}

// askTime sets the clock by the service, where its certificate seems to have ended or not to have begun. The certificate must be
// of our authority and of the service's name, at whatever time: whoever stole an old one of its keys could put our clock back to
// when that was good, and no more.
func (e *Edge) askTime(ctx context.Context) error {
	raw, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", e.id.Control)
	if err != nil {
		return err
	}
	defer raw.Close()
	config := e.clientTLS(control.ServiceName)
	config.InsecureSkipVerify = true // for the time alone; VerifyConnection checks all else
	config.VerifyConnection = func(s tls.ConnectionState) error {
		leaf := s.PeerCertificates[0]
		_, err := leaf.Verify(x509.VerifyOptions{
			DNSName: control.ServiceName, Roots: e.pool, CurrentTime: leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn := tls.Client(raw, config)
		return conn, conn.HandshakeContext(ctx)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+control.ServiceName+control.PathTorrent+"-", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return err
	}
	began := e.c.Clock()
	e.mu.Lock()
	e.state.OffsetMs, e.local = at.UnixMilli()-began.UnixMilli(), began
	e.mu.Unlock()
	e.log.WarnContext(ctx, "this machine's clock is wrong; the service's counts", "difference", at.Sub(began).Round(time.Second))
	return nil
}

// siteOf is the web origin of an address; empty for none.
func siteOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}
