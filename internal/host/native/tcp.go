package native

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// Bounds of peers over TCP.
const (
	tcpBuffer       = 64 << 10
	tcpWriteTimeout = time.Minute // for what is queued; the engine drops a peer that takes nothing sooner
	tcpBannedMax    = 4096
)

// tcpLinks are the host's peers over TCP. They belong to the host's goroutine.
type tcpLinks struct {
	open   map[engine.PeerRef]netip.AddrPort
	banned map[netip.Addr]bool // whence a liar came: over TCP a new peer ID costs nothing
}

func newTCPLinks() tcpLinks {
	return tcpLinks{open: map[engine.PeerRef]netip.AddrPort{}, banned: map[netip.Addr]bool{}}
}

func addrPortOf(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// noteTCP remembers where a banned peer came from.
func (h *Host) noteTCP(o *engine.Output) {
	if o.Note != engine.NoteBanned {
		return
	}
	if from, ok := h.tcp.open[o.Peer]; ok && len(h.tcp.banned) < tcpBannedMax {
		h.tcp.banned[from.Addr()] = true
	}
}

// serveTCP carries a connection to a peer until it ends, and closes it. hello is the peer's handshake where it spoke first; nil
// where we dialled. It reports whether the engine took the peer.
func (h *Host) serveTCP(conn net.Conn, hello []byte) (taken bool) {
	c := &tcpChannel{host: h, conn: conn, wake: make(chan struct{}, 1)}
	flags := engine.FlagInitiator
	if hello != nil {
		flags = 0
		// BEP 52: who comes with a hybrid's v1 hash and can go on as a v2 peer is answered under the v2 hash.
		if hs, err := wire.ParseHandshake(hello); err == nil && (hs.V2 || hs.InfoHash == h.cfg.Title.InfoHashV2) {
			flags = engine.FlagV2
		}
	}
	from := addrPortOf(conn.RemoteAddr())
	h.do(func() {
		if !h.rtc.allowed || len(h.tcp.open) >= connectionsMax || h.tcp.banned[from.Addr()] {
			return
		}
		h.rtc.next++
		c.ref = h.rtc.next
		h.tcp.open[c.ref] = from
		h.core.connectedAs(c.ref, c, nil, flags)
		if taken = !c.closed(); taken {
			h.workers.Add(1)
			if hello != nil {
				h.core.received(c.ref, hello)
			}
		} else {
			delete(h.tcp.open, c.ref)
		}
	})
	if !taken {
		_ = conn.Close()
		return false
	}
	defer h.workers.Done()
	stop := context.AfterFunc(h.ctx, c.Close)
	defer stop()
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	c.read()
	told := c.close()
	<-written
	h.do(func() {
		delete(h.tcp.open, c.ref)
		if told { // it ended by itself: the engine has not heard
			h.core.disconnected(c.ref)
		}
	})
	return true
}

// tcpChannel is one TCP connection, with a queue of its own, since the core does not wait.
type tcpChannel struct {
	host *Host
	ref  engine.PeerRef
	conn net.Conn
	wake chan struct{} // has room for one

	mu     sync.Mutex
	queue  []byte
	queued int // bytes in queue, and those being written
	ended  bool
}

// read gives the core what comes, until the connection ends.
func (c *tcpChannel) read() {
	buf := make([]byte, tcpBuffer)
	for {
		n, err := c.conn.Read(buf)
		if n > 0 && !c.host.do(func() { c.host.core.received(c.ref, buf[:n]) }) {
			return
		}
		if err != nil {
			return
		}
	}
}

// write hands what is queued to the network, until the connection ends.
func (c *tcpChannel) write() {
	var spare []byte
	for {
		c.mu.Lock()
		b := c.queue
		c.queue = spare[:0]
		ended := c.ended
		c.mu.Unlock()
		if ended {
			return
		}
		if len(b) == 0 {
			spare = b
			<-c.wake
			continue
		}
		if c.send(b) != nil {
			_ = c.conn.Close() // the reader notices
			return
		}
		if spare = b; cap(spare) > 1<<20 {
			spare = nil // one burst is not to be remembered for ever
		}
	}
}

// send writes b in parts, and tells the core when so little is left that more may come.
func (c *tcpChannel) send(b []byte) error {
	for len(b) > 0 {
		if err := c.conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)); err != nil {
			return err
		}
		n, err := c.conn.Write(b[:min(len(b), tcpBuffer)])
		if err != nil {
			return err
		}
		b = b[n:]
		c.mu.Lock()
		was := c.queued
		c.queued -= n
		low := was > queueHigh && c.queued <= queueHigh
		c.mu.Unlock()
		if low && !c.host.do(func() { c.host.core.drained(c.ref) }) {
			return net.ErrClosed
		}
	}
	return nil
}

// Send implements channel.
func (c *tcpChannel) Send(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	c.queue = append(c.queue, b...)
	c.queued += len(b)
	c.signal()
	return nil
}

func (c *tcpChannel) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Queued implements channel.
func (c *tcpChannel) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

func (c *tcpChannel) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// close ends the connection, at once, and reports whether it was open until now.
func (c *tcpChannel) close() (was bool) {
	c.mu.Lock()
	was, c.ended = !c.ended, true
	c.mu.Unlock()
	if was {
		_ = c.conn.Close()
		c.signal()
	}
	return was
}

// Close implements channel.
func (c *tcpChannel) Close() { c.close() }
