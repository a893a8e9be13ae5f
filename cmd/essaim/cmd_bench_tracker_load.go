package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
)

// caller is one client of the tracker under load, no more than it takes: it answers every offer, and counts.
type caller struct {
	conn  net.Conn
	hash  bt.InfoHash
	id    bt.PeerID
	mu    sync.Mutex // of writing
	buf   []byte
	wants chan struct{} // a token for each reply, and for each answer to an offer of ours

	offers, answers *atomic.Int64   // relayed to all
	refused         *atomic.Int64   // messages of all; nil: nobody asks
	meet            []bt.PeerID     // of the last reply; of who waited for it
	met             func(bt.PeerID) // called of whom an answer went to or came from; nil: nobody asks
	lost            chan struct{}   // closed when the connection has ended
}

// benchSDP is a session description as Chromium writes it, with an address that the tracker passes on.
const benchSDP = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\n" +
	"a=msid-semantic: WMS\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n" +
	"a=candidate:842163049 1 udp 1677729535 8.8.8.8 46154 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999\r\n" +
	"a=ice-ufrag:gCJi\r\na=ice-pwd:dGvvsXLb+n4hYJ4hvLPPOvBY\r\na=ice-options:trickle\r\n" +
	"a=fingerprint:sha-256 C8:30:4D:66:3F:CF:57:C2:8D:5B:C9:1F:2B:53:71:3F:4C:2E:36:54:16:5C:1E:95:9A:6C:6F:2C:A3:1C:AB:6C\r\n" +
	"a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"

// callerID is the peer ID of that number.
func callerID(n int) (id bt.PeerID) {
	copy(id[:], "-WW0301-bench\xff")
	binary.BigEndian.PutUint32(id[16:], uint32(n))
	return id
}

// call connects. Sources are spread over 127.0.1.0/24, for one address has too few ports for so many.
func call(ctx context.Context, addr string, secure bool, n int) (*caller, error) {
	d := net.Dialer{
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+n%200))},
		Control: func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) })
			return err
		},
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) // its own child
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, err = io.WriteString(conn, "GET /tracker HTTP/1.1\r\nHost: "+addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		conn.Close()
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 1<<10) // nothing follows the answer before we speak
	answer, err := http.ReadResponse(r, nil)
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("the tracker answers %s", answer.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return &caller{conn: conn, id: callerID(n), wants: make(chan struct{}, 64), lost: make(chan struct{})}, nil
}

// write sends one text message.
func (c *caller) write(message func(dst []byte) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	const room = 14
	b := message(append(c.buf[:0], make([]byte, room)...))
	c.buf = b
	payload := b[room:]
	key := [4]byte{0x5A, 0x17, 0xC3, 0x3E}
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	head := []byte{0x81}
	switch n := len(payload); {
	case n < 126:
		head = append(head, 0x80|byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 0x80|126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 0x80|127), uint64(n))
	}
	head = append(head, key[:]...)
	frame := b[room-len(head):]
	copy(frame, head)
	_, err := c.conn.Write(frame)
	return err
}

func (c *caller) send(r *announce.Request) error {
	r.InfoHash, r.PeerID = c.hash, c.id
	return c.write(func(dst []byte) []byte { return announce.AppendRequest(dst, r) })
}

// listen reads until the connection ends. Messages are taken apart by their form, which is our own tracker's.
func (c *caller) listen() {
	defer close(c.lost)
	r := bufio.NewReaderSize(c.conn, 4<<10)
	var message []byte
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := int(head[1])
		if n == 126 {
			var long [2]byte
			if _, err := io.ReadFull(r, long[:]); err != nil {
				return
			}
			n = int(binary.BigEndian.Uint16(long[:]))
		}
		message = append(message[:0], make([]byte, n)...)
		if _, err := io.ReadFull(r, message); err != nil {
			return
		}
		if head[0] == 0x81 {
			c.heard(message)
		}
	}
}

func (c *caller) heard(m []byte) {
	switch {
	case bytes.Contains(m, []byte(`"answer":{`)):
		c.answers.Add(1)
		if c.met != nil {
			if parsed, err := announce.ParseMessage(m); err == nil && parsed.Relayed != nil {
				c.met(parsed.Relayed.From)
			}
		}
	case bytes.Contains(m, []byte(`"offer":{`)):
		c.offers.Add(1)
		parsed, err := announce.ParseMessage(m)
		if err == nil && parsed.Relayed != nil {
			_ = c.send(&announce.Request{
				Kind: announce.KindAnswer, To: parsed.Relayed.From, OfferID: parsed.Relayed.OfferID, SDP: benchSDP,
			})
			if c.met != nil {
				c.met(parsed.Relayed.From)
			}
		}
		return
	default:
		parsed, err := announce.ParseMessage(m)
		if err == nil && parsed.Failure != nil && c.refused != nil {
			c.refused.Add(1)
		}
		if err == nil && parsed.Reply != nil && parsed.Reply.Viewer != nil {
			c.meet = c.meet[:0]
			for _, one := range parsed.Reply.Viewer.Meet {
				c.meet = append(c.meet, one.PeerID)
			}
		}
	}
	select {
	case c.wants <- struct{}{}:
	default:
	}
}

// introduced is whom the last reply named. The next reply writes over it.
func (c *caller) introduced() []bt.PeerID { return c.meet }

// settle forgets the replies that nobody waits for, such as what the tracker says by itself.
func (c *caller) settle() {
	for len(c.wants) > 0 {
		<-c.wants
	}
}

// await waits for so many replies and answers.
func (c *caller) await(n int, within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for range n {
		select {
		case <-c.wants:
		case <-c.lost:
			return false
		case <-timer.C:
			return false
		}
	}
	return true
}
