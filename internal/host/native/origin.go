package native

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// Bounds of fetching.
const (
	headTimeout = 15 * time.Second // until a response's head
	idleTimeout = 15 * time.Second // between two reads of a body; the engine gives up earlier where it has another source
	fetchBuffer = 64 << 10
)

// origin carries out GETs. Its maps belong to the host's goroutine; transfers run on their own.
type origin struct {
	host   *Host
	client *http.Client
	own    *http.Transport // nil: the client is the caller's
	best   int             // index into Origins of the one that worked last
}

func newOrigin(h *Host) *origin {
	o := &origin{host: h, client: h.cfg.Client}
	if o.client == nil {
		o.own = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			MaxConnsPerHost:       16,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       time.Minute,
			ResponseHeaderTimeout: headTimeout,
			DisableCompression:    true,
		}
		o.client = &http.Client{
			Transport: o.own,
			// An answer elsewhere is no answer: it could lead into a network that only we can reach.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return o
}

func (o *origin) close() {
	if o.own != nil {
		o.own.CloseIdleConnections()
	}
}

// get is outside's.
func (o *origin) get(f *fetch) {
	ctx, cancel := context.WithCancel(o.host.ctx)
	f.transfer = cancel
	which := (o.best + f.source) % len(o.host.cfg.Origins)
	o.host.workers.Add(1)
	go func() {
		defer o.host.workers.Done()
		defer cancel()
		if !o.transfer(ctx, cancel, f, which) && len(o.host.cfg.Origins) > 1 {
			o.host.do(func() {
				if o.best == which {
					o.best = (which + 1) % len(o.host.cfg.Origins)
				}
			})
		}
	}()
}

// abort is outside's.
func (o *origin) abort(f *fetch) {
	if cancel, ok := f.transfer.(context.CancelFunc); ok {
		cancel()
	}
}

// refuted turns to the next origin, after one has sent wrong bytes. It is called on the host's goroutine.
func (o *origin) refuted() { o.best = (o.best + 1) % len(o.host.cfg.Origins) }

// transfer carries out one GET and reports whether the origin is well: neither silent nor refusing.
func (o *origin) transfer(ctx context.Context, cancel context.CancelFunc, f *fetch, which int) bool {
	h, c := o.host, o.host.core
	failed := func() bool {
		ours := true // we gave it up ourselves
		h.do(func() { ours = f.over; c.fail(f) })
		return ours
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, prefix(h.cfg.Origins[which], f.path), nil)
	if err != nil {
		return failed()
	}
	if r := f.rangeHeader(); r != "" {
		req.Header.Set("Range", r)
	}
	if t := h.cfg.Tickets().Media; t != "" {
		req.Header.Set("Authorization", "Bearer "+t)
	}
	resp, err := o.client.Do(req)
	if err != nil {
		return failed()
	}
	defer resp.Body.Close()
	h.do(func() { c.head(f, resp.StatusCode, resp.Header.Get("Content-Range")) })
	if resp.StatusCode >= 400 { // one of several may not have what the next has, or not know the ticket's key yet
		return false
	}
	idle := time.AfterFunc(idleTimeout, cancel)
	defer idle.Stop()
	buf := make([]byte, fetchBuffer)
	for {
		n, err := resp.Body.Read(buf)
		idle.Reset(idleTimeout)
		if n > 0 {
			h.do(func() { c.body(f, buf[:n]) })
		}
		if err == io.EOF {
			h.do(func() { c.end(f) })
			return true
		}
		if err != nil {
			return failed()
		}
	}
}
