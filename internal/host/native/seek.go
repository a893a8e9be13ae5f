package native

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"essaim/internal/bt/announce"
)

// Bounds of looking for peers that speak TCP.
const (
	tcpDialTimeout = 10 * time.Second
	tcpDialsMax    = 8               // at once
	tcpWanted      = 12              // dialled connections that are enough
	tcpRestAfter   = 5 * time.Minute // before an address of which nothing came is dialled again
	tcpKnownMax    = 1_000
	seekTimeout    = 15 * time.Second
	seekFirst      = 30 * time.Second // until the next try where the tracker could not be asked
)

// seeker announces over HTTP (BEP 3) and dials whom the tracker names. It runs on a goroutine of its own.
type seeker struct {
	host   *Host
	client http.Client
	tried  map[netip.AddrPort]time.Time
	places chan struct{} // one for each dial under way
}

// seek begins to look for peers, where there is a tracker to ask.
func (h *Host) seek() {
	if len(h.cfg.Announce) == 0 || h.cfg.PeerPort == 0 {
		return
	}
	s := &seeker{
		host: h, tried: map[netip.AddrPort]time.Time{}, places: make(chan struct{}, tcpDialsMax),
		client: http.Client{Timeout: seekTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	h.workers.Add(1)
	go func() {
		defer h.workers.Done()
		defer s.client.CloseIdleConnections()
		s.keep()
	}()
}

// keep announces until the host ends, and then says goodbye.
func (s *seeker) keep() {
	event := announce.EventStarted
	for n := 0; ; n++ {
		wait := seekFirst
		switch allowed := s.allowed(); {
		case allowed:
			reply, err := s.announce(s.host.ctx, s.host.cfg.Announce[n%len(s.host.cfg.Announce)], event)
			if err == nil && reply.Failure == "" {
				event = announce.EventUpdate
				n-- // the same tracker again
				wait = max(intervalMin, min(time.Duration(reply.Interval)*time.Second, intervalMax))
				s.meet(reply.Peers)
			}
		case event != announce.EventStarted: // sharing was switched off
			s.leave()
			event = announce.EventStarted
		}
		timer := time.NewTimer(wait - time.Duration(rand.Int64N(int64(wait/10))))
		select {
		case <-timer.C:
		case <-s.host.ctx.Done():
			timer.Stop()
			if event != announce.EventStarted {
				s.leave()
			}
			return
		}
	}
}

func (s *seeker) allowed() (yes bool) {
	s.host.do(func() { yes = s.host.rtc.allowed })
	return yes
}

// leave tells the tracker that we are gone.
func (s *seeker) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.host.ctx), leaveTimeout)
	defer cancel()
	_, _ = s.announce(ctx, s.host.cfg.Announce[0], announce.EventStopped) // else it forgets us later
}

func (s *seeker) announce(ctx context.Context, address string, event announce.Event) (announce.HTTPReply, error) {
	t := &s.host.cfg.Title
	r := announce.HTTPRequest{
		InfoHash: t.InfoHash, PeerID: t.PeerID, Port: s.host.cfg.PeerPort, Left: announce.Unknown, NumWant: announce.Unknown, Event: event,
	}
	s.host.do(func() {
		stats := s.host.core.stats.taken()
		r.Uploaded, r.Downloaded, r.Left = stats.SentBytes, stats.PeerBytes, s.host.core.left()
	})
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+separator+r.Query(), nil)
	if err != nil {
		return announce.HTTPReply{}, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return announce.HTTPReply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, announce.HTTPReplyMax+1))
	if err != nil {
		return announce.HTTPReply{}, err
	}
	return announce.ParseHTTPReply(body)
}

// meet dials peers, as many as are missing.
func (s *seeker) meet(peers []netip.AddrPort) {
	now := time.Now()
	if len(s.tried) > tcpKnownMax {
		clear(s.tried)
	}
	for _, p := range peers {
		if p.Port() == 0 || !s.host.cfg.LAN && !publicAddr(p.Addr()) || now.Sub(s.tried[p]) < tcpRestAfter {
			continue
		}
		enough := true
		if !s.host.do(func() { enough = len(s.host.tcp.open) >= tcpWanted || s.host.tcp.banned[p.Addr()] || s.host.tcp.has(p) }) || enough {
			continue
		}
		select {
		case s.places <- struct{}{}:
		case <-s.host.ctx.Done():
			return
		}
		s.tried[p] = now
		s.host.workers.Add(1) // never after Close began to wait: this goroutine is one of those that it waits for
		go func() {
			defer s.host.workers.Done()
			s.dial(p)
		}()
	}
}

// has says whether there is a connection to or from the address.
func (l *tcpLinks) has(p netip.AddrPort) bool {
	for _, x := range l.open {
		if x == p {
			return true
		}
	}
	return false
}

// dial makes a connection and serves it to its end.
func (s *seeker) dial(to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(s.host.ctx, tcpDialTimeout)
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", to.String())
	cancel()
	<-s.places
	if err == nil {
		s.host.serveTCP(conn, nil)
	}
}
