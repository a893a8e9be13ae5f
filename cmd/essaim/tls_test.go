package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestAddressThatOthersReachNeedsTLSOrADeclaredProxy(t *testing.T) {
	for _, x := range []struct {
		args string
		want string // of the error; empty: accepted
	}{
		{"serve --listen 0.0.0.0:8080", "--tls-domain"},
		{"serve --listen :8080", "--tls-domain"},
		{"serve --listen 192.0.2.1:8080", "--secure"},
		{"serve --listen [2001:db8::1]:8080", "--secure"},
		{"serve --listen films.example:8080", "--secure"},
		{"demo --listen 0.0.0.0:8080", "--secure"},
		{"serve --listen 0.0.0.0:8080 --secure", ""},
		{"serve --listen 0.0.0.0:443 --tls-cert a --tls-key b", ""},
		{"serve --listen 0.0.0.0:443 --tls-domain films.example --acme-email a@films.example", ""},
		{"serve --listen 127.0.0.1:8080", ""},
		{"serve --listen [::1]:8080", ""},
		{"serve --listen localhost:8080", ""},
		{"serve --tls-cert a", "belong together"},
		{"serve --tls-cert a --tls-key b --tls-domain films.example", "one of the two"},
		{"serve --acme-email a@films.example", "--tls-domain"},
		{"serve --tls-domain films.example --acme-directory http://ca.example/dir", "https"},
		{"serve --http-listen 127.0.0.1:80", "--tls-cert"},
	} {
		_, err := parse(t, "", strings.Fields(x.args)...)
		if (err == nil) != (x.want == "") || err != nil && (!strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want %q", x.args, err, x.want)
		}
	}
}

// selfSignedPair writes a certificate for films.example, and who trusts it.
func selfSignedPair(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"films.example"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	return cert, key, roots
}

// TestServiceSpeaksTLSFromPageToTracker visits a node as a browser does.
func TestServiceSpeaksTLSFromPageToTracker(t *testing.T) {
	cert, key, roots := selfSignedPair(t)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	data := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door, err := (&security{TLSCert: cert, TLSKey: key, HTTPListen: "127.0.0.1:0"}).open(ln, data, log)
	if err != nil {
		t.Fatal(err)
	}
	defer door.close()
	n, err := openNode(t.Context(), nodeConfig{data: data, log: log, url: door.own(ln.Addr()), door: door})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := n.members.Add(t.Context(), "Ada", "correct horse"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx, ln) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	client := func(most uint16) *http.Client {
		return &http.Client{
			Transport: &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "films.example", MaxVersion: most},
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
				},
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	browser := client(0)
	defer browser.CloseIdleConnections()
	answer, err := browser.Post("https://films.example/api/v1/session", "application/json", strings.NewReader(`{"name":"Ada","password":"correct horse"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Proto != "HTTP/2.0" || answer.TLS.Version != tls.VersionTLS13 {
		t.Errorf("signed in: %d by %s over %#x", answer.StatusCode, answer.Proto, answer.TLS.Version)
	}
	cookie := answer.Header.Get("Set-Cookie")
	for _, part := range []string{"__Host-essaim_session=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie has no %s", part)
		}
	}
	if strings.Contains(cookie, "Domain=") || !strings.HasPrefix(answer.Header.Get("Strict-Transport-Security"), "max-age=") {
		t.Errorf("cookie %q, HSTS %q", cookie[:20], answer.Header.Get("Strict-Transport-Security"))
	}
	if _, err := client(tls.VersionTLS11).Get("https://films.example/healthz"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	old := client(tls.VersionTLS12)
	defer old.CloseIdleConnections()
	if answer, err := old.Get("https://films.example/healthz"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("TLS 1.2: %v", err)
	} else {
		answer.Body.Close()
	}

	// A WebSocket goes over HTTP/1.1, through the tracker's own poller beneath TLS.
	dialer := client(0)
	dialer.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	socket, _, err := websocket.Dial(t.Context(), "wss://films.example/tracker", &websocket.DialOptions{HTTPClient: dialer})
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Write(t.Context(), websocket.MessageText, []byte("no announce")); err != nil {
		t.Fatal(err)
	}
	if _, said, err := socket.Read(t.Context()); err != nil || !bytes.Contains(said, []byte("failure reason")) {
		t.Errorf("the tracker said %q, %v", said, err)
	}
	_ = socket.CloseNow()

	// Plain HTTP leads to https and tells nothing else.
	plain := "http://" + door.redirect.Addr().String()
	for _, x := range []struct {
		method, host string
		status       int
		location     string
	}{
		{"GET", "films.example", http.StatusPermanentRedirect, door.url(ln.Addr()) + "/title/a?b=c"},
		{"GET", "films.example:80", http.StatusPermanentRedirect, door.url(ln.Addr()) + "/title/a?b=c"},
		{"POST", "films.example", http.StatusBadRequest, ""},
		{"GET", "films.example_evil", http.StatusBadRequest, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), x.method, plain+"/title/a?b=c", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = x.host
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != x.status || answer.Header.Get("Location") != x.location {
			t.Errorf("%s %s: %d, %q", x.method, x.host, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
	// The listener of this program's own hosts has the origin, and nothing else.
	for path, want := range map[string]int{"/api/v1/titles": http.StatusNotFound, "/hashes/" + strings.Repeat("00", 32): http.StatusNotFound} {
		answer, err := http.Get(door.own(ln.Addr()) + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, %q", path, answer.StatusCode, body)
		}
	}
}
