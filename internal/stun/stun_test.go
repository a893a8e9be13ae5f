package stun

import (
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"essaim/internal/places"
)

// serve runs a server on loopback, which the test's end closes.
func serve(t *testing.T, addr string) *Server {
	t.Helper()
	s, err := Listen(addr, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Skipf("listen on %s: %v", addr, err) // a machine without IPv6
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context()) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// silent is a server that nobody runs: its answer is called by hand, at a time that the test sets.
func silent(now *time.Time) *Server {
	return &Server{
		known: func(netip.Addr) bool { return true },
		clock: func() time.Time { return *now }, log: slog.New(slog.DiscardHandler), rates: rates{buckets: map[uint64]*bucket{}},
	}
}

func request(setters ...stun.Setter) []byte {
	return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.BindingRequest}, setters...)...).Raw
}

var (
	viewer4 = netip.MustParseAddrPort("192.0.2.7:40000")
	viewer6 = netip.MustParseAddrPort("[2001:db8::7]:40000")
)

func TestViewerLearnsWhereItIsSeenFrom(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		s := serve(t, addr)
		c, err := net.Dial("udp", s.conn.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		client, err := stun.NewClient(c)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var seen stun.XORMappedAddress
		var failed error
		err = client.Do(stun.MustBuild(stun.TransactionID, stun.BindingRequest), func(e stun.Event) {
			if failed = e.Error; failed == nil {
				failed = seen.GetFrom(e.Message)
			}
		})
		if err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		if want := c.LocalAddr().(*net.UDPAddr); !seen.IP.Equal(want.IP) || seen.Port != want.Port {
			t.Errorf("seen from %v, want %v", seen, want)
		}
	}
}

// TestNobodyIsSentMoreThanWasSentInItsName is row 42 of the threats, whatever is sent and in whatever order.
func TestNobodyIsSentMoreThanWasSentInItsName(t *testing.T) {
	now := time.Unix(0, 0)
	s := silent(&now)
	s.known = func(netip.Addr) bool { return false }
	asked, answered := map[uint64]int{}, map[uint64]int{}
	rng := rand.New(rand.NewPCG(1, 2))
	kinds := [][]byte{
		request(), request(stun.Fingerprint), request(stun.NewSoftware("a viewer's browser")),
		request(stun.RawAttribute{Type: 0x7777}), request(stun.RawAttribute{Type: 0x7777, Value: make([]byte, 40)}),
	}
	froms := []netip.AddrPort{viewer4, viewer6, netip.MustParseAddrPort("192.0.2.8:1"), netip.MustParseAddrPort("198.51.100.1:1")}
	for range 20_000 {
		now = now.Add(time.Duration(rng.IntN(int(10 * time.Millisecond))))
		from, data := froms[rng.IntN(len(froms))], kinds[rng.IntN(len(kinds))]
		prefix := places.Prefix(from.Addr())
		asked[prefix] += len(data)
		answered[prefix] += len(s.answer(data, from))
		if answered[prefix] > asked[prefix] {
			t.Fatalf("%s was sent %d bytes for %d", from, answered[prefix], asked[prefix])
		}
	}
	for prefix, n := range answered {
		if n == 0 {
			t.Errorf("%x got no answer at all", prefix)
		}
	}
}

func TestAStrangersSecondRequestIsAnsweredAndAViewersFirst(t *testing.T) {
	now := time.Unix(0, 0)
	s := silent(&now)
	s.known = func(ip netip.Addr) bool { return ip == viewer6.Addr() }
	if s.answer(request(), viewer4) != nil {
		t.Error("a stranger's bare request brings more than it is")
	}
	if len(s.answer(request(), viewer4)) != 32 {
		t.Error("asked again, as clients do, it is not answered")
	}
	if len(s.answer(request(stun.NewSoftware("twelve bytes")), netip.MustParseAddrPort("198.51.100.1:1"))) != 32 {
		t.Error("a request as long as its answer is not answered")
	}
	if len(s.answer(request(), viewer6)) != 44 {
		t.Error("who has proven its address is not answered at once")
	}
}

// TestAnswerHoldsTheAddressAndNothingElse: whoever asks, and whatever else it says.
func TestAnswerHoldsTheAddressAndNothingElse(t *testing.T) {
	now := time.Unix(0, 0)
	for from, want := range map[netip.AddrPort]int{viewer4: 32, viewer6: 44, netip.MustParseAddrPort("[::ffff:192.0.2.9]:1"): 32} {
		s := silent(&now)
		small := request()
		if n := len(s.answer(small, from)); n != want {
			t.Errorf("to %s: %d bytes for %d, want %d", from, n, len(small), want)
		}
		// Whoever asks as RFC 8489's clients do, with a name for the software and a fingerprint, gets less than it sent.
		whole := request(stun.NewSoftware("a viewer's browser"), stun.Fingerprint)
		if n := len(s.answer(whole, from)); n != want || n > len(whole) {
			t.Errorf("to %s: %d bytes for %d", from, n, len(whole))
		}
	}
}

func TestWhatIsNoBindingRequestIsNotAnswered(t *testing.T) {
	now := time.Unix(0, 0)
	s := silent(&now)
	good := request(stun.Fingerprint)
	changed := func(at int, b byte) []byte {
		x := append([]byte(nil), good...)
		x[at] ^= b
		return x
	}
	bad := map[string][]byte{
		"nothing": {}, "19 bytes": good[:19], "cut short": good[:len(good)-4], "too much": append(append([]byte(nil), good...), 0, 0, 0, 0),
		"another cookie": changed(4, 1), "a longer length": changed(3, 4), "odd length": changed(3, 1), "a wrong fingerprint": changed(len(good)-1, 1),
		"an indication": stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodBinding, stun.ClassIndication)).Raw,
		"an answer":     stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw,
		"an allocation": stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)).Raw,
		"too long":      make([]byte, requestMax+1),
	}
	for name, data := range bad {
		if a := s.answer(data, viewer4); a != nil {
			t.Errorf("%s is answered with %d bytes", name, len(a))
		}
	}
	for _, from := range []string{"192.0.2.7:0", "0.0.0.0:5", "224.0.0.1:5", "[ff02::1]:5"} {
		if s.answer(good, netip.MustParseAddrPort(from)) != nil {
			t.Errorf("%s is answered", from)
		}
	}
	if s.answer(good, viewer4) == nil {
		t.Error("the good one is not answered: this shows nothing")
	}
}

func TestUnknownAttributeIsRefusedAtNoGreaterLength(t *testing.T) {
	now := time.Unix(0, 0)
	s := silent(&now)
	strange := stun.RawAttribute{Type: 0x7777, Value: make([]byte, 40)}
	long := request(strange)
	var m stun.Message
	m.Raw = append([]byte(nil), s.answer(long, viewer4)...)
	if err := m.Decode(); err != nil || m.Type != stun.BindingError || len(m.Raw) > len(long) {
		t.Fatalf("%v: %v, %d bytes for %d", m.Type, err, len(m.Raw), len(long))
	}
	var code stun.ErrorCodeAttribute
	var list stun.UnknownAttributes
	if err := code.GetFrom(&m); err != nil || code.Code != stun.CodeUnknownAttribute {
		t.Errorf("refused with %v, %v", code, err)
	}
	if err := list.GetFrom(&m); err != nil || len(list) != 1 || list[0] != 0x7777 {
		t.Errorf("refused for %v, %v", list, err)
	}
	if a := s.answer(request(stun.RawAttribute{Type: 0x7777}), viewer4); a != nil {
		t.Errorf("a short one is refused with %d bytes", len(a))
	}
	if a := s.answer(request(stun.NewUsername("someone")), viewer4); len(a) != 32 {
		t.Errorf("who proves itself is answered with %d bytes", len(a))
	}
}

func TestPrefixIsAnsweredSoManyTimesASecond(t *testing.T) {
	now := time.Unix(0, 0)
	s := silent(&now)
	ask := func(last byte) (n int) {
		for range 10 * prefixBurst {
			if s.answer(request(), netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 5)) != nil {
				n++
			}
		}
		return n
	}
	if n := ask(1) + ask(2); n != prefixBurst {
		t.Errorf("one prefix gets %d answers at once, want %d", n, prefixBurst)
	}
	now = now.Add(time.Second)
	if n := ask(3); n != prefixRate {
		t.Errorf("%d more after a second, want %d", n, prefixRate)
	}
	if s.answer(request(), viewer6) == nil {
		t.Error("another prefix pays for it")
	}
	now = now.Add(time.Hour)
	if n := ask(1); n != prefixBurst {
		t.Errorf("%d after an hour, want %d", n, prefixBurst)
	}
}

func TestFloodFromEverywhereIsRememberedWithinBounds(t *testing.T) {
	now := time.Unix(0, 0)
	s := silent(&now)
	data := request()
	for i := range 3 * prefixesMax {
		s.answer(data, netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 5))
		s.answer(data, netip.AddrPortFrom(netip.AddrFrom4([4]byte{12 + byte(i>>16), byte(i >> 8), byte(i), 1}), 5))
	}
	if len(s.rates.buckets) != prefixesMax || len(s.rates.order) != prefixesMax {
		t.Errorf("%d prefixes are remembered", len(s.rates.buckets))
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(request())
	f.Add(request(stun.Fingerprint, stun.NewSoftware("x"), stun.NewUsername("y")))
	f.Add(request(stun.RawAttribute{Type: 1, Value: []byte{1}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Unix(0, 0)
		if a := silent(&now).answer(data, viewer4); len(a) > 32 && len(a) > len(data) {
			t.Errorf("%d bytes for %d", len(a), len(data))
		}
		s := silent(&now)
		s.known = nil
		if a := s.answer(data, viewer4); len(a) > len(data) {
			t.Errorf("%d bytes for %d of a stranger", len(a), len(data))
		}
	})
}
