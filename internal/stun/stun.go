// Package stun answers viewers who ask which address they are seen from: the binding requests of RFC 8489, over UDP, and
// nothing else.
//
// It must get right: that it is of no use for sending others what they have not asked for. An answer holds the address
// and no more, 32 bytes to an IPv4 address and 44 to an IPv6 one; but what browsers and pion ask with are the 20 bytes of a bare
// header, of which no RFC lets a server demand more. So nobody whose address was not proven is sent more bytes than came in its name:
// what comes from a prefix (/24 or /48) is saved up, and an answer is paid for out of that. The first bare request is only saved, and
// the second, which browsers send after a quarter of a second, is answered. Addresses are proven by what only their owners can do, such
// as opening a connection to the tracker (Proven): they are answered at once. Whoever asks too often gets no answer, and what is no
// well-formed request gets none. It keeps nothing of anybody but counters, and of those a bounded number.
package stun

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"

	"essaim/internal/places"
)

// Bounds of answering.
const (
	// requestMax is the longest request that is looked at: those of browsers take 20 to 100 bytes.
	requestMax = 548
	// prefixBurst and prefixRate are how many answers one prefix is sent at once, and per second: a crowd behind one
	// carrier's router asks ten times a viewer.
	prefixBurst = 512
	prefixRate  = 64
	// savedMax is how many bytes of requests are saved up for a prefix: of two answers, since requests cross.
	savedMax = 100
	// prefixesMax bounds how many prefixes are counted. Where there are more, the oldest is forgotten.
	prefixesMax = 1 << 14
	// faultsMax is how many reads in a row may fail before the socket is given up.
	faultsMax = 100
)

// Server answers on one socket.
type Server struct {
	conn  *net.UDPConn
	clock func() time.Time
	log   *slog.Logger
	rates rates
	known func(netip.Addr) bool
	in    stun.Message
	out   stun.Message
}

// Listen opens a UDP address, for instance ":3478". Serve answers on it.
func Listen(addr string, clock func() time.Time, log *slog.Logger) (*Server, error) {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, err
	}
	return &Server{conn: conn, clock: clock, log: log, rates: rates{buckets: map[uint64]*bucket{}}}, nil
}

// Proven has known asked whether an address is known to belong to who asks from it. It must be called before Serve; known is called for
// each request, and must be quick.
func (s *Server) Proven(known func(netip.Addr) bool) { s.known = known }

// Port is where the server listens.
func (s *Server) Port() int { return s.conn.LocalAddr().(*net.UDPAddr).Port }

// Close ends Serve.
func (s *Server) Close() error { return s.conn.Close() }

// Serve answers until the server is closed or ctx is done.
func (s *Server) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	buf := make([]byte, requestMax+1)
	for faults := 0; ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// What an earlier answer met on its way comes back as an error, too; the socket itself is well.
			if faults++; faults > faultsMax {
				return err
			}
			continue
		}
		faults = 0
		if answer := s.answer(buf[:n], from); answer != nil {
			if _, err := s.conn.WriteToUDPAddrPort(answer, from); err != nil {
				s.log.Debug("stun cannot answer", "error", err)
			}
		}
	}
}

// answer is what a datagram deserves; nil: nothing. It holds until the next call.
func (s *Server) answer(request []byte, from netip.AddrPort) []byte {
	ip := from.Addr().Unmap()
	if len(request) > requestMax || from.Port() == 0 || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
		return nil
	}
	if !stun.IsMessage(request) {
		return nil
	}
	s.in.Raw = append(s.in.Raw[:0], request...)
	if s.in.Decode() != nil || int(s.in.Length)+20 != len(request) || s.in.Type != stun.BindingRequest {
		return nil
	}
	if s.in.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(&s.in) != nil {
		return nil
	}
	account := s.rates.of(places.Prefix(ip), s.clock())
	account.saved = min(account.saved+len(request), savedMax)
	setters := []stun.Setter{stun.NewTransactionIDSetter(s.in.TransactionID), stun.BindingSuccess}
	if strange := unknown(&s.in); len(strange) > 0 {
		setters = append(setters[:1], stun.BindingError, stun.ErrorCodeAttribute{Code: stun.CodeUnknownAttribute}, strange)
	} else {
		setters = append(setters, &stun.XORMappedAddress{IP: net.IP(ip.AsSlice()), Port: int(from.Port())})
	}
	if s.out.Build(setters...) != nil {
		return nil
	}
	n := len(s.out.Raw)
	if s.out.Type.Class == stun.ClassErrorResponse && n > len(request) {
		return nil // a refusal is no reason to send anybody more than it sent
	}
	if ip.IsLoopback() {
		return s.out.Raw
	}
	if n > account.saved && (s.known == nil || !s.known(ip)) || !account.take() {
		return nil
	}
	account.saved = max(account.saved-n, 0)
	return s.out.Raw
}

// unknown lists the attributes that a server must understand and we do not (RFC 8489, section 6.3.1). Those for proving who
// one is are passed over: everybody may ask.
func unknown(m *stun.Message) (list stun.UnknownAttributes) {
	for _, a := range m.Attributes {
		if !a.Type.Required() {
			continue
		}
		switch a.Type {
		case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256, stun.AttrRealm, stun.AttrNonce, stun.AttrUserhash:
		default:
			list = append(list, a.Type)
		}
	}
	return list
}

// rates are token buckets by prefix.
type rates struct {
	buckets map[uint64]*bucket
	order   []uint64
	next    int // the oldest in order, once there are prefixesMax
}

// bucket holds answers that may still be sent, and the bytes of requests that no answer was paid with yet.
type bucket struct {
	left  int
	at    time.Time // counted up to then
	saved int
}

// take takes an answer out, if there is one.
func (b *bucket) take() bool {
	if b.left == 0 {
		return false
	}
	b.left--
	return true
}

// of returns a prefix's bucket, as it is now.
func (r *rates) of(prefix uint64, now time.Time) *bucket {
	b := r.buckets[prefix]
	if b == nil {
		if len(r.order) < prefixesMax {
			r.order = append(r.order, prefix)
		} else {
			delete(r.buckets, r.order[r.next])
			r.order[r.next] = prefix
			r.next = (r.next + 1) % prefixesMax
		}
		b = &bucket{left: prefixBurst, at: now}
		r.buckets[prefix] = b
	}
	const each = time.Second / prefixRate
	if more := now.Sub(b.at) / each; more > 0 {
		b.left = int(min(prefixBurst, time.Duration(b.left)+more))
		b.at = b.at.Add(more * each)
	}
	return b
}
