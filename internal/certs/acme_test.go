package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// authority is Pebble, the ACME authority's own test server: it validates by connecting to us, as a real one does.
type authority struct {
	directory, rootsFile string
	roots                *x509.CertPool // of the certificates that it gives

	mu    sync.Mutex
	asked []string // paths, in order
}

// startAuthority starts one that believes that every name is at 127.0.0.1, its ports for challenges being these.
func startAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	signer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	checker := va.New(quiet, httpPort, tlsPort, false, startDNS(t), store)
	front := wfe.New(quiet, store, checker, signer, []string{"pebble.example"}, false, false, 1, 1)
	a := &authority{roots: x509.NewCertPool()}
	handler := front.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.URL.Path)
		a.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a.directory = server.URL + wfe.DirectoryPath
	a.rootsFile = filepath.Join(t.TempDir(), "roots.pem")
	put(t, a.rootsFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	a.roots.AddCert(signer.GetRootCert(0).Cert)
	return a
}

func (a *authority) times(part string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, path := range a.asked {
		if strings.Contains(path, part) {
			n++
		}
	}
	return n
}

// startDNS answers that every name is at 127.0.0.1.
func startDNS(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(m)
	})
	for _, s := range []*dns.Server{{PacketConn: conn, Handler: answer}, {Listener: ln, Handler: answer}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return conn.LocalAddr().String()
}

func port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

func TestAuthorityThatConnectsToUsGivesACertificateThatLastsOverARestart(t *testing.T) {
	for name, overHTTP := range map[string]bool{"by TLS": false, "by HTTP": true} {
		t.Run(name, func(t *testing.T) {
			listen := func() net.Listener {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { ln.Close() })
				return ln
			}
			plain, secure, nobody := listen(), listen(), listen()
			nobody.Close()
			a := startAuthority(t, port(plain), port(secure))
			c := Config{
				Domains: []string{"films.example"}, Directory: a.directory, RootsFile: a.rootsFile, Folder: filepath.Join(t.TempDir(), "tls"),
				TLSPort: port(secure), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			}
			if overHTTP { // and TLS-ALPN leads nowhere
				a = startAuthority(t, port(plain), port(nobody))
				c.Directory, c.RootsFile, c.HTTPPort = a.directory, a.rootsFile, port(plain)
			}
			s, stop := serve(t, c, plain, secure)
			visit(t, a, port(secure))
			if end := s.NotAfter(); time.Until(end) < 24*time.Hour {
				t.Errorf("the certificate ends at %v", end)
			}
			stop()
			if n := a.times("finalize"); n != 1 {
				t.Errorf("%d certificates were asked for", n)
			}
			if info, err := os.Stat(c.Folder); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("the folder of keys: %v, %v", info.Mode(), err)
			}
			secure = listen()
			_, stop = serve(t, c, listen(), secure)
			visit(t, a, port(secure))
			stop()
			if n := a.times("finalize"); n != 1 {
				t.Errorf("after a restart, %d certificates were asked for", n)
			}
		})
	}
}

// serve answers on both listeners as the service does, until stop.
func serve(t *testing.T, c Config, plain, secure net.Listener) (s *Source, stop func()) {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	redirect := &http.Server{Handler: s.Challenges(http.NotFoundHandler()), ErrorLog: quiet}
	pages := &http.Server{ErrorLog: quiet, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})}
	var running sync.WaitGroup
	running.Go(func() { _ = redirect.Serve(plain) })
	running.Go(func() { _ = pages.Serve(tls.NewListener(secure, s.TLS())) })
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() {
		if err := s.Keep(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, func() {
		cancel()
		redirect.Close()
		pages.Close()
		running.Wait()
	}
}

// visit asks for a page until there is a certificate that the authority gave, over HTTP/2.
func visit(t *testing.T, a *authority, port int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: a.roots, ServerName: "films.example"},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		},
	}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://films.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(req)
		if err == nil {
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || string(body) != "HTTP/2.0" {
				t.Errorf("%q, %v", body, err)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no certificate: %v", err)
		case <-pause.C:
		}
	}
}
