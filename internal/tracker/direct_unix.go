//go:build unix

package tracker

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// directly is the connection's descriptor, where reads and writes need not wait: of a plain TCP connection. nil: there is none,
// as of one by TLS.
func directly(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readNow reads what has come; false when nothing has. Only then is the buffer needed: the one taken for nothing goes back.
func (in *intake) readNow(fd uintptr) bool {
	in.room()
	for {
		n, err := syscall.Read(int(fd), (*in.buffer)[in.to:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			if in.held() == 0 {
				in.drop()
			}
			return false
		case err != nil:
			in.err = os.NewSyscallError("read", err)
		case n == 0:
			in.err = io.EOF
		default:
			in.to += n
		}
		return true
	}
}

// writeNow writes what the kernel takes at once, and says how much that was. What went wrong is found by whoever writes the rest.
func writeNow(raw syscall.RawConn, b []byte) int {
	done := 0
	_ = raw.Write(func(fd uintptr) bool {
		for done < len(b) {
			n, err := syscall.Write(int(fd), b[done:])
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if n <= 0 || err != nil {
				break
			}
			done += n
		}
		return true
	})
	return done
}
