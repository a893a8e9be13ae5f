package native

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/wire"
)

// Bounds of a Listener.
const (
	listenerMaxDefault = 1_000
	perAddressDefault  = 8
	greetingsMax       = 256              // handshakes under way; the oldest makes room
	greetingTimeout    = 15 * time.Second // for the whole handshake
	acceptPause        = 100 * time.Millisecond
)

// ListenerConfig says to whom a Listener gives its peers. Find is required.
type ListenerConfig struct {
	// Find returns the host of the title with this v1, or truncated v2, info hash; nil: there is none, and the peer goes. It may
	// be called from many goroutines, and may take its time, until ctx ends.
	Find func(ctx context.Context, h bt.InfoHash) *Host
	// ConnectionsMax bounds all connections; 0: 1,000. PerAddress bounds those from one IPv4 address or IPv6 /64; 0: 8.
	ConnectionsMax, PerAddress int
	// GreetingTimeout is how long a handshake may take; 0: 15 s.
	GreetingTimeout time.Duration
}

// Listener takes TCP peers (BEP 3) of any number of titles on one port: it reads each one's handshake, and gives the connection
// to the host of the title that the handshake names.
//
// It must get right that nobody who dawdles, floods or speaks something else costs more than a bounded number of sockets for a
// bounded time, and none that another household needs.
type Listener struct {
	cfg ListenerConfig

	mu        sync.Mutex
	all       map[net.Conn]bool
	addresses map[netip.Prefix]int
	greetings list.List // of net.Conn, the oldest first
	closed    bool
	workers   sync.WaitGroup
}

// NewListener returns a listener that Serve puts to work.
func NewListener(c ListenerConfig) *Listener {
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = listenerMaxDefault
	}
	if c.PerAddress == 0 {
		c.PerAddress = perAddressDefault
	}
	if c.GreetingTimeout == 0 {
		c.GreetingTimeout = greetingTimeout
	}
	return &Listener{cfg: c, all: map[net.Conn]bool{}, addresses: map[netip.Prefix]int{}}
}

// Serve takes peers from ln, which it closes, until ctx ends; then it closes their connections, and returns when all have ended.
func (l *Listener) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.workers.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = ln.Close()
		l.closeAll()
	})
	defer stop()
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept peers: %w", err)
		case err != nil: // out of files, mostly: others may end
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		leave, ok := l.enter(conn)
		if !ok {
			_ = conn.Close()
			continue
		}
		l.workers.Add(1)
		go func() {
			defer l.workers.Done()
			defer leave()
			defer conn.Close()
			l.serve(ctx, conn)
		}()
	}
}

// Connections is how many there are, those that have not said their handshake included.
func (l *Listener) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// enter counts a connection; false: there are too many.
func (l *Listener) enter(conn net.Conn) (leave func(), ok bool) {
	ip := addrPortOf(conn.RemoteAddr()).Addr()
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	from, _ := ip.Prefix(bits)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.all) >= l.cfg.ConnectionsMax || l.addresses[from] >= l.cfg.PerAddress {
		return nil, false
	}
	l.all[conn] = true
	l.addresses[from]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, conn)
		if l.addresses[from]--; l.addresses[from] == 0 {
			delete(l.addresses, from)
		}
	}, true
}

func (l *Listener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for conn := range l.all {
		_ = conn.Close()
	}
}

// serve reads the handshake, and hands the connection over.
func (l *Listener) serve(ctx context.Context, conn net.Conn) {
	hello, err := l.greeting(conn)
	if err != nil {
		return
	}
	hs, err := wire.ParseHandshake(hello)
	if err != nil {
		return
	}
	finding, cancel := context.WithTimeout(ctx, l.cfg.GreetingTimeout)
	h := l.cfg.Find(finding, hs.InfoHash)
	cancel()
	if h == nil {
		return
	}
	if h.cfg.Title.InfoHash != hs.InfoHash && h.cfg.Title.InfoHashV2 != hs.InfoHash {
		return
	}
	h.serveTCP(conn, hello)
}

// greeting reads the 68 bytes of a handshake, in the time that there is for it. What does not begin like one, such as the
// encrypted handshakes that some clients try first, is closed at once: they come back without.
func (l *Listener) greeting(conn net.Conn) ([]byte, error) {
	l.mu.Lock()
	if l.greetings.Len() >= greetingsMax {
		_ = l.greetings.Front().Value.(net.Conn).Close() // who has dawdled longest
		l.greetings.Remove(l.greetings.Front())
	}
	place := l.greetings.PushBack(conn)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.greetings.Remove(place) // no matter if it is gone
	}()
	if err := conn.SetReadDeadline(time.Now().Add(l.cfg.GreetingTimeout)); err != nil {
		return nil, err
	}
	hello := make([]byte, wire.HandshakeSize)
	const begins = "\x13BitTorrent protocol"
	if _, err := io.ReadFull(conn, hello[:len(begins)]); err != nil {
		return nil, err
	}
	if string(hello[:len(begins)]) != begins {
		return nil, wire.ErrHandshake
	}
	if _, err := io.ReadFull(conn, hello[len(begins):]); err != nil {
		return nil, err
	}
	return hello, conn.SetReadDeadline(time.Time{})
}
