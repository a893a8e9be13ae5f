package tracker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Listen prepares a listener of TCP connections for TLS: of connections that tls.NewListener makes of it, pollers can carry those that
// become a tracker's, as they do plain ones. Without it they are streams, which works as well and costs more.
func Listen(ln net.Listener) net.Listener { return doors{ln} }

type doors struct{ net.Listener }

// Accept implements net.Listener.
func (l doors) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &door{TCPConn: tcp}, err
	}
	return conn, err
}

// door is a TCP connection beneath TLS. Once a poller has it, it never waits: it reads what has come, and keeps what is to be
// written until that is fetched.
type door struct {
	*net.TCPConn

	// Of the reader alone.
	fd      int  // when taken
	drained bool // a read has taken all that had come
	ending  bool // the end is to be read too

	mu     sync.Mutex
	taken  bool
	cipher *[]byte // what is to be written, from sent on; nil: nothing
	sent   int
}

// again is what a door says when nothing has come. TLS goes on where it was after errors that are temporary.
type again struct{ error }

// Temporary and Timeout implement net.Error.
func (again) Temporary() bool { return true }

// Timeout implements net.Error.
func (again) Timeout() bool { return true }

// Unwrap lets errors.Is know it for os.ErrDeadlineExceeded.
func (a again) Unwrap() error { return a.error }

var errAgain = again{os.ErrDeadlineExceeded}

// beneath is the door of a TLS connection; nil if it has none.
func beneath(conn net.Conn) (*tls.Conn, *door) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil
	}
	d, _ := secure.NetConn().(*door)
	return secure, d
}

// take gives the door its own descriptor.
func (d *door) take(fd int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fd, d.taken = fd, true
}

// give takes the descriptor away again: the connection beneath is read, and has ended.
func (d *door) give() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = false
	d.drop()
}

// Read implements net.Conn.
func (d *door) Read(b []byte) (int, error) {
	if !d.taken { // which only the reader's own goroutine changes
		return d.TCPConn.Read(b)
	}
	if d.drained {
		return 0, errAgain
	}
	for {
		n, err := unix.Read(d.fd, b)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			d.drained = true
			return 0, errAgain
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		d.drained = n < len(b) && !d.ending
		return n, nil
	}
}

// Write implements net.Conn.
func (d *door) Write(b []byte) (int, error) {
	d.mu.Lock()
	if !d.taken {
		d.mu.Unlock()
		return d.TCPConn.Write(b)
	}
	defer d.mu.Unlock()
	if d.cipher == nil {
		d.cipher = outs.Get().(*[]byte)
		*d.cipher, d.sent = (*d.cipher)[:0], 0
	}
	*d.cipher = append(*d.cipher, b...)
	return len(b), nil
}

// waiting is how many bytes are to be written.
func (d *door) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cipher == nil {
		return 0
	}
	return len(*d.cipher) - d.sent
}

// flush writes as much as the kernel takes; unix.EAGAIN says that it takes no more.
func (d *door) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.cipher != nil && d.sent < len(*d.cipher) {
		n, err := unix.Write(d.fd, (*d.cipher)[d.sent:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		d.sent += n
	}
	d.drop()
	return nil
}

// discard drops what is to be written.
func (d *door) discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

// drop gives the buffer back. Called with mu held.
func (d *door) drop() {
	if d.cipher != nil && cap(*d.cipher) <= outMax {
		outs.Put(d.cipher)
	}
	d.cipher, d.sent = nil, 0
}
