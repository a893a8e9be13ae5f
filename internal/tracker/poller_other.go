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

func (t *Tracker) adopt(*socket, net.Conn) bool { return false }

func (s *socket) aside() {}
