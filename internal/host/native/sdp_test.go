package native

import (
	"fmt"
	"strings"
	"testing"
)

const testSDP = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" +
	"a=candidate:1 1 udp 2130706431 192.168.1.7 50000 typ host\r\n" +
	"a=candidate:2 1 udp 2130706431 127.0.0.1 50000 typ host\r\n" +
	"a=candidate:3 1 udp 2130706431 fd00::7 50000 typ host\r\n" +
	"a=candidate:4 1 udp 2130706431 ::ffff:10.0.0.7 50000 typ host\r\n" +
	"a=candidate:5 1 udp 2130706431 100.64.1.1 50000 typ host\r\n" +
	"a=candidate:6 1 udp 2130706431 169.254.169.254 50000 typ host\r\n" +
	"a=candidate:7 1 udp 2130706431 0a1b2c3d.local 50000 typ host\r\n" +
	"a=candidate:8 1 udp 1694498815 203.0.113.9 50001 typ srflx raddr 192.168.1.7 rport 50000\r\n" +
	"a=candidate:9 1 udp 2130706431 2001:db8::9 50002 typ host\r\n" +
	"a=candidate:broken\r\n" +
	"a=end-of-candidates\r\n"

func TestAddressesOfLocalNetworksAreNotToldOutsideLANMode(t *testing.T) {
	want := "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" +
		"a=candidate:8 1 udp 1694498815 203.0.113.9 50001 typ srflx raddr 0.0.0.0 rport 0\r\n" +
		"a=candidate:9 1 udp 2130706431 2001:db8::9 50002 typ host\r\n" +
		"a=end-of-candidates\r\n"
	if got := withoutPrivate(testSDP); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestPeersCandidatesAreCapped(t *testing.T) {
	var b strings.Builder
	for i := range 200 {
		fmt.Fprintf(&b, "a=candidate:%d 1 udp 1 203.0.113.9 %d typ host\r\n", i, i+1)
	}
	got := capCandidates("v=0\r\n" + b.String() + "a=mid:0\r\n")
	if n := strings.Count(got, "a=candidate:"); n != candidatesMax || !strings.HasSuffix(got, "a=mid:0\r\n") {
		t.Errorf("%d candidates", n)
	}
}
