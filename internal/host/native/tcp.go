package native

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"essaim/internal/bt/wire"
	"essaim/internal/engine"
)

// Bounds of peers over TCP.
const (
	tcpBuffer       = 64 << 10    // bytes of one read
	tcpBatch        = 64 << 10    // of one write, and the rest of a message
	tcpJoin         = 1 << 10     // of small messages that are queued together
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
	queue  [][]byte // messages that the channel owns, and small ones joined
	joined bool     // the last of queue is small ones, and has room
	queued int      // bytes in queue, and those being written
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
	var spare [][]byte
	for {
		c.mu.Lock()
		queue := c.queue
		c.queue, c.joined = spare[:0], false
		ended := c.ended
		c.mu.Unlock()
		if ended {
			return
		}
		if len(queue) == 0 {
			spare = queue
			<-c.wake
			continue
		}
		if c.send(queue) != nil {
			_ = c.conn.Close() // the reader notices
			return
		}
		clear(queue)
		spare = queue
	}
}

// send writes messages, several at a time, and tells the core when so little is left that more may come.
func (c *tcpChannel) send(queue [][]byte) error {
	for len(queue) > 0 {
		n, size := 0, 0
		for n < len(queue) && size < tcpBatch {
			size += len(queue[n])
			n++
		}
		if err := c.conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)); err != nil {
			return err
		}
		batch := slices.Clone(queue[:n]) // writing takes it apart
		if _, err := (*net.Buffers)(&batch).WriteTo(c.conn); err != nil {
			return err
		}
		for _, b := range queue[:n] {
			giveMessage(b)
		}
		queue = queue[n:]
		c.mu.Lock()
		was := c.queued
		c.queued -= size
		low := was > queueHigh && c.queued <= queueHigh
		c.mu.Unlock()
		if low && !c.host.do(func() { c.host.core.drained(c.ref) }) {
			return net.ErrClosed
		}
	}
	return nil
}

// Send implements channel. Small messages are joined, since each part of a write costs.
func (c *tcpChannel) Send(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	if n := len(c.queue); c.joined && len(c.queue[n-1])+len(b) <= cap(c.queue[n-1]) {
		c.queue[n-1] = append(c.queue[n-1], b...)
	} else {
		c.queue = append(c.queue, append(make([]byte, 0, max(tcpJoin, len(b))), b...))
		c.joined = true
	}
	c.queued += len(b)
	c.signal()
	return nil
}

// SendOwned implements owner.
func (c *tcpChannel) SendOwned(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		giveMessage(b)
		return net.ErrClosed
	}
	c.queue, c.joined = append(c.queue, b), false
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
