package rehearse

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// proxy is one browser viewer's way to the service, which keeps it to its downlink and enters what came into the account.
// What comes by https passes as it is, throttled and not accounted for. It leads to the service and its nodes only: who else
// is on this machine gains nothing by it.
type proxy struct {
	line   *transport
	server *http.Server
	ln     net.Listener
	tunnel context.CancelFunc
	open   sync.WaitGroup
	mu     sync.Mutex
	hosts  map[string]bool // with ports
	closed bool
}

func newProxy(line *transport, addresses ...string) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{line: line, ln: ln, hosts: map[string]bool{}}
	p.allow(addresses...)
	ctx, cancel := context.WithCancel(context.Background())
	p.tunnel = cancel
	forward := &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, Transport: line, FlushInterval: -1,
		ErrorLog: log.New(io.Discard, "", 0), // a page that goes breaks its requests off
	}
	p.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          forward.ErrorLog,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host := r.Host
			if r.Method != http.MethodConnect {
				host = hostOf(r.URL)
			}
			switch {
			case !p.allowed(host):
				http.Error(w, "this leads to the service that is rehearsed only", http.StatusForbidden)
			case r.Method == http.MethodConnect:
				p.connect(ctx, w, host)
			default:
				forward.ServeHTTP(w, r)
			}
		}),
	}
	p.open.Go(func() {
		if err := p.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			cancel()
		}
	})
	return p, nil
}

// address is for the browser.
func (p *proxy) address() string { return "http://" + p.ln.Addr().String() }

// allow adds where it may lead.
func (p *proxy) allow(addresses ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addresses {
		if u, err := url.Parse(a); err == nil {
			p.hosts[hostOf(u)] = true
		}
	}
}

func (p *proxy) allowed(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hosts[host]
}

// hostOf is a URL's host with its port.
func hostOf(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := "80"
	if u.Scheme == "https" || u.Scheme == "wss" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// connect carries a tunnel until either end closes it, or the proxy does.
func (p *proxy) connect(ctx context.Context, w http.ResponseWriter, host string) {
	if !p.enter() {
		return
	}
	defer p.open.Done()
	far, err := p.line.inner.DialContext(ctx, "tcp", host)
	if err != nil {
		http.Error(w, "cannot be reached", http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(far, buffered)
		far.Close()
	}()
	_, _ = io.Copy(near, &throttled{far, ctx, &p.line.line})
	near.Close()
	<-up
}

// throttled reads as a downlink passes it.
type throttled struct {
	io.Reader
	ctx  context.Context
	line *downlink
}

// Read implements io.Reader.
func (t *throttled) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b[:min(len(b), t.line.chunk())])
	if e := t.line.take(t.ctx, n); e != nil && err == nil {
		err = e
	}
	return n, err
}

// enter counts a tunnel, which the proxy's end waits for; false if it has come.
func (p *proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.open.Add(1)
	}
	return !p.closed
}

// close ends it and all that goes through it.
func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.tunnel()
	_ = p.server.Close() // connections that are broken off have nobody left to tell
	p.open.Wait()
	p.line.close()
}
