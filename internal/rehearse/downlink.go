package rehearse

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"essaim/internal/bt"
)

// Bounds of a viewer's HTTP.
const (
	chunkMax   = 16 << 10
	chunkMin   = 512
	chunkTime  = 50 * time.Millisecond // of downlink in one read
	creditTime = 10 * time.Millisecond // what a late wake-up may catch up
	// receiveBuffer keeps what the kernel takes in beyond the downlink's rate small; it is enough for 20 Mbit/s at 50 ms.
	receiveBuffer = 128 << 10
)

// downlink passes bytes at a rate, in the order in which they were asked for.
type downlink struct {
	rate int64 // bytes per second; 0: no limit
	mu   sync.Mutex
	next time.Time // when the line is free
}

// take returns when n bytes have passed, or with ctx's error.
func (d *downlink) take(ctx context.Context, n int) error {
	if d.rate == 0 || n == 0 {
		return ctx.Err()
	}
	now := time.Now()
	d.mu.Lock()
	if oldest := now.Add(-creditTime); d.next.Before(oldest) {
		d.next = oldest
	}
	d.next = d.next.Add(time.Duration(int64(n) * int64(time.Second) / d.rate))
	wait := d.next.Sub(now)
	d.mu.Unlock()
	if wait <= 0 {
		return ctx.Err()
	}
	return pause(ctx, wait)
}

// chunk is how many bytes are read at once.
func (d *downlink) chunk() int {
	if d.rate == 0 {
		return chunkMax
	}
	return int(min(chunkMax, max(chunkMin, d.rate*int64(chunkTime)/int64(time.Second))))
}

// transport is one viewer's way to the origin: it keeps to the downlink and enters what came into the account.
type transport struct {
	viewer  int
	account *account
	line    downlink
	inner   *http.Transport
}

func newTransport(viewer int, a *account, bytesPerSecond int64) *transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &transport{
		viewer: viewer, account: a, line: downlink{rate: bytesPerSecond},
		inner: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dialer.DialContext(ctx, network, address)
				if t, ok := c.(*net.TCPConn); ok && bytesPerSecond > 0 {
					_ = t.SetReadBuffer(receiveBuffer) // else it is a little less exact
				}
				return c, err
			},
			ForceAttemptHTTP2: true, MaxConnsPerHost: 16, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
			ResponseHeaderTimeout: 15 * time.Second, DisableCompression: true,
		},
	}
}

// client is what a host fetches with. An answer elsewhere is no answer.
func (t *transport) client() *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (t *transport) close() { t.inner.CloseIdleConnections() }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	b := &body{ReadCloser: resp.Body, ctx: req.Context(), transport: t}
	if resp.StatusCode == http.StatusPartialContent {
		b.file, b.at = t.account.find(req)
	}
	resp.Body = b
	return resp, nil
}

// body is an answer's.
type body struct {
	io.ReadCloser
	ctx       context.Context
	transport *transport
	file      *fileAccount // nil: no media
	at        int64
}

// Read takes a little at a time, when the downlink has room.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.transport.line.chunk())])
	if b.file != nil && n > 0 {
		b.transport.account.came(b.transport.viewer, b.file, b.at, n)
		b.at += int64(n)
	}
	if e := b.transport.line.take(b.ctx, n); e != nil && (err == nil || err == io.EOF) {
		err = e
	}
	return n, err
}

// after is where a film's start ends, which figures keep apart.
const after = 20 * time.Second

// account says of every byte that came from the origin where in the film it is, and whether another viewer had been sent
// it before.
type account struct {
	mu        sync.Mutex
	files     map[string]*fileAccount // by root
	duplicate []int64                 // by viewer
	late      int64                   // beyond the film's start
}

type fileAccount struct {
	first []uint16 // by block: the number, from 1, of the viewer who was sent it first
	late  int64    // where the film's start ends
}

func newAccount(p *part, viewers int) *account {
	a := &account{files: map[string]*fileAccount{}, duplicate: make([]int64, viewers)}
	for i := range p.tracks {
		t := &p.tracks[i]
		blocks := (p.title.Files[t.file].Size + bt.BlockSize - 1) / bt.BlockSize
		a.files[t.root.String()] = &fileAccount{first: make([]uint16, blocks), late: int64(t.byteAt(after))}
	}
	return a
}

// find returns what a request asks for: a file of the part, and from which byte on.
func (a *account) find(req *http.Request) (*fileAccount, int64) {
	_, root, _ := strings.Cut(req.URL.Path, "/media/")
	from, _, _ := strings.Cut(strings.TrimPrefix(req.Header.Get("Range"), "bytes="), "-")
	at, err := strconv.ParseInt(from, 10, 64)
	f := a.files[root]
	if f == nil || err != nil || at < 0 {
		return nil, 0
	}
	return f, at
}

// came enters n bytes from a file's byte at on.
func (a *account) came(viewer int, f *fileAccount, at int64, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end := at + int64(n)
	a.late += max(0, end-max(at, f.late))
	for at < end {
		block := at / bt.BlockSize
		to := min(end, (block+1)*bt.BlockSize)
		if block >= int64(len(f.first)) {
			return
		}
		switch f.first[block] {
		case 0:
			f.first[block] = uint16(viewer + 1)
		case uint16(viewer + 1):
		default:
			a.duplicate[viewer] += to - at
		}
		at = to
	}
}

// of is how many bytes came to a viewer though another had been sent them before.
func (a *account) of(viewer int) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.duplicate[viewer]
}

// lateBytes is what came of the film beyond its start, in all.
func (a *account) lateBytes() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.late
}
