//go:build !linux

package tracker

import (
	"net"

	"essaim/internal/tracker/frame"
)

var ping = [2]byte{0x80 | byte(frame.Ping), 0}

// Elsewhere than on Linux every connection is a stream.
type (
	poller struct{ tracker *Tracker }
	turn   struct{}
)

// Listen prepares a listener of TCP connections for TLS. Here there is nothing to prepare.
func Listen(ln net.Listener) net.Listener { return ln }

func (t *Tracker) adopt(*socket, net.Conn) bool { return false }

func (s *socket) aside() {}
