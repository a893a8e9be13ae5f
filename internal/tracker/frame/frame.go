// Package frame is the server's half of WebSocket (RFC 6455): the opening handshake and the frames, without the connection.
// A tracker holds tens of thousands of connections that say something twice a minute; this codec keeps nothing of them in
// between, where the usual libraries hold kilobytes of buffers each.
//
// It must get right: that what is not masked, too long, reserved, compressed, wrongly fragmented or unknown ends the
// connection with the code that the RFC names; that a message never takes more memory than has arrived of it, and never more
// than its bound; and that no input makes it panic. It is pure: no network, no clock, no goroutine.
package frame

import (
	"crypto/sha1" //nolint:gosec // what RFC 6455, section 4.2.2 asks for; it secures nothing
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
)

// Op is what a frame is (RFC 6455, section 5.2).
type Op byte

// The opcodes.
const (
	Continuation Op = 0
	Text         Op = 1
	Binary       Op = 2
	Close        Op = 8
	Ping         Op = 9
	Pong         Op = 10
)

// Code says why a connection ends (RFC 6455, section 7.4).
type Code uint16

// The codes that a server uses. CodeNoStatus is never sent: it stands for a close frame without a code.
const (
	CodeNormal      Code = 1000
	CodeGoingAway   Code = 1001
	CodeProtocol    Code = 1002
	CodeUnsupported Code = 1003
	CodeNoStatus    Code = 1005
	CodePolicy      Code = 1008
	CodeTooBig      Code = 1009
	CodeRestart     Code = 1012
	CodeTryAgain    Code = 1013
)

const (
	// ControlMax is the longest payload of a control frame, in bytes.
	ControlMax = 125
	// HeaderMax is the longest header of a client's frame, in bytes.
	HeaderMax = 14
	// fragmentsMax is how many frames one message may be in pieces of: empty ones cost their sender next to nothing.
	fragmentsMax = 256
)

// Error is why a frame was refused. The connection is to be closed with Code and Reason.
type Error struct {
	Code   Code
	Reason string
}

// Error is the reason.
func (e *Error) Error() string { return "websocket: " + e.Reason }

var (
	errUnmasked   = &Error{CodeProtocol, "frame is not masked"}
	errReserved   = &Error{CodeProtocol, "reserved bit or opcode"}
	errControl    = &Error{CodeProtocol, "control frame too long or in pieces"}
	errOrder      = &Error{CodeProtocol, "message within a message"}
	errFragments  = &Error{CodePolicy, "message in too many pieces"}
	errTooBig     = &Error{CodeTooBig, "message too large"}
	errCloseFrame = &Error{CodeProtocol, "malformed close frame"}
)

// Decoder takes the frames of one client apart. The zero value, with Max set, is at the beginning of a connection.
type Decoder struct {
	// Max is the longest message, in bytes.
	Max int

	op        Op // of the message in pieces; Continuation: none
	fragments int
	message   []byte
}

// Held is how many bytes of an unfinished message the decoder keeps.
func (d *Decoder) Held() int { return cap(d.message) }

// Next reads the frame at the front of b, and unmasks it there. used is its length; 0 means that it is not whole yet. For a
// whole message and for each control frame op and payload are set, which holds until the next call; for a piece of a message op
// is Continuation. An error is an *Error.
func (d *Decoder) Next(b []byte) (op Op, payload []byte, used int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	op, final := Op(b[0]&0x0F), b[0]&0x80 != 0
	switch {
	case b[0]&0x70 != 0: // no extension was agreed on
		return 0, nil, 0, errReserved
	case op > Binary && op < Close || op > Pong:
		return 0, nil, 0, errReserved
	case b[1]&0x80 == 0:
		return 0, nil, 0, errUnmasked
	case op >= Close && (!final || b[1]&0x7F > ControlMax):
		return 0, nil, 0, errControl
	case op == Continuation && d.op == Continuation, op != Continuation && op < Close && d.op != Continuation:
		return 0, nil, 0, errOrder
	}
	head, length := 2, uint64(b[1]&0x7F)
	switch length {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0, nil
		}
		head, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return 0, nil, 0, nil
		}
		head, length = 10, binary.BigEndian.Uint64(b[2:])
	}
	if op < Close && length > uint64(d.Max-len(d.message)) {
		return 0, nil, 0, errTooBig // before any of it has come
	}
	used = head + 4 + int(length)
	if len(b) < used {
		return 0, nil, 0, nil
	}
	payload = b[head+4 : used]
	unmask(payload, [4]byte(b[head:]))
	switch {
	case op >= Close:
		return op, payload, used, nil
	case final && d.op == Continuation:
		return op, payload, used, nil
	}
	if op != Continuation {
		d.op = op
	}
	if d.fragments++; d.fragments > fragmentsMax {
		return 0, nil, 0, errFragments
	}
	d.message = append(d.message, payload...)
	if !final {
		return Continuation, nil, used, nil
	}
	op, payload = d.op, d.message
	d.op, d.fragments, d.message = Continuation, 0, nil
	return op, payload, used, nil
}

// unmask undoes a client's masking (RFC 6455, section 5.3), eight bytes at a time.
func unmask(b []byte, key [4]byte) {
	k := uint64(binary.LittleEndian.Uint32(key[:]))
	k |= k << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// CloseCode reads the payload of a close frame: what to answer it with. CodeNoStatus stands for an empty one.
func CloseCode(payload []byte) (Code, error) {
	if len(payload) == 0 {
		return CodeNoStatus, nil
	}
	if len(payload) < 2 {
		return 0, errCloseFrame
	}
	code := Code(binary.BigEndian.Uint16(payload))
	switch {
	case code >= 3000 && code < 5000, code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return code, nil
	}
	return 0, errCloseFrame
}

// Room is how many bytes Finish needs before a payload.
const Room = 10

// Finish puts the header of a server's frame before the payload in b[Room:], and returns where the frame begins within b.
func Finish(b []byte, op Op) []byte {
	first := 0x80 | byte(op)
	switch n := len(b) - Room; {
	case n < 126:
		b[Room-2], b[Room-1] = first, byte(n)
		return b[Room-2:]
	case n < 1<<16:
		b[Room-4], b[Room-3] = first, 126
		binary.BigEndian.PutUint16(b[Room-2:], uint16(n))
		return b[Room-4:]
	default:
		b[0], b[1] = first, 127
		binary.BigEndian.PutUint64(b[2:], uint64(n))
		return b
	}
}

// AppendClose appends a whole close frame. A reason that is too long is cut.
func AppendClose(dst []byte, code Code, reason string) []byte {
	if code == CodeNoStatus {
		return append(dst, 0x80|byte(Close), 0)
	}
	reason = reason[:min(len(reason), ControlMax-2)]
	dst = append(dst, 0x80|byte(Close), byte(2+len(reason)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// Accept reads an opening handshake (RFC 6455, section 4.2) and returns the answer, whole, to be written as it is. A status other
// than 101 means that it was none: 405, 426, or 400.
func Accept(r *http.Request) (answer []byte, status int) {
	key := r.Header.Values("Sec-Websocket-Key")
	switch {
	case !token(r.Header, "Connection", "upgrade") || !token(r.Header, "Upgrade", "websocket"):
		return nil, http.StatusUpgradeRequired
	case r.Method != http.MethodGet:
		return nil, http.StatusMethodNotAllowed
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor != 1:
		return nil, http.StatusUpgradeRequired
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return nil, http.StatusUpgradeRequired
	case len(key) != 1:
		return nil, http.StatusBadRequest
	}
	nonce := strings.TrimSpace(key[0])
	if raw, err := base64.StdEncoding.DecodeString(nonce); err != nil || len(raw) != 16 {
		return nil, http.StatusBadRequest
	}
	digest := sha1.Sum([]byte(nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(digest[:]) + "\r\n\r\n"), http.StatusSwitchingProtocols
}

// token says whether a header that is a list holds a word.
func token(h http.Header, name, word string) bool {
	for _, line := range h.Values(name) {
		for one := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(one), word) {
				return true
			}
		}
	}
	return false
}
