package tracker

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"essaim/internal/bt/announce"
)

// testSDP has the shape of a browser's offer of one data channel, as it comes out of sanitize in LAN mode.
const testSDP = "v=0\r\n" +
	"o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n" +
	"s=-\r\n" +
	"t=0 0\r\n" +
	"a=group:BUNDLE 0\r\n" +
	"a=extmap-allow-mixed\r\n" +
	"a=msid-semantic: WMS\r\n" +
	"m=application 54609 UDP/DTLS/SCTP webrtc-datachannel\r\n" +
	"c=IN IP4 0.0.0.0\r\n" +
	"a=candidate:1467250027 1 udp 2122260223 192.168.0.196 46243 typ host generation 0 network-id 1\r\n" +
	"a=candidate:2 1 udp 2122260222 b18dcb1d-4ef2-4d0a-b2ad-9a6c04d2a1b4.local 46244 typ host\r\n" +
	"a=candidate:435653019 1 udp 1686052607 8.8.4.4 54609 typ srflx raddr 192.168.0.196 rport 46243 generation 0\r\n" +
	"a=ice-ufrag:9K4V\r\n" +
	"a=ice-pwd:CDZxYHmlNe9XSmOTQxYn0U1R\r\n" +
	"a=fingerprint:sha-256 6B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08\r\n" +
	"a=setup:actpass\r\n" +
	"a=mid:0\r\n" +
	"a=sctp-port:5000\r\n" +
	"a=max-message-size:262144\r\n"

func mustSanitize(t *testing.T, sdp string, lan bool) string {
	t.Helper()
	clean, err := sanitize(sdp, lan)
	if err != nil {
		t.Fatalf("%v\n%s", err, sdp)
	}
	return clean
}

func TestSanitizeLeavesABrowsersOfferInLANMode(t *testing.T) {
	if got := mustSanitize(t, testSDP, true); got != testSDP {
		t.Errorf("changed to\n%s", got)
	}
	if got := mustSanitize(t, strings.ReplaceAll(testSDP, "\r\n", "\n"), true); got != testSDP {
		t.Errorf("with bare line feeds, changed to\n%s", got)
	}
}

func TestSanitizeHidesLocalNetworks(t *testing.T) {
	got := mustSanitize(t, strings.Replace(testSDP, "IN IP4 127.0.0.1", "IN IP4 10.0.0.7", 1), false)
	for _, secret := range []string{"192.168", "10.0", ".local"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is left in\n%s", secret, got)
		}
	}
	if want := "a=candidate:435653019 1 udp 1686052607 8.8.4.4 54609 typ srflx raddr 0.0.0.0 rport 0 generation 0\r\n"; !strings.Contains(got, want) {
		t.Errorf("the public candidate is not in\n%s", got)
	}
	if again := mustSanitize(t, got, false); again != got {
		t.Errorf("a second pass changes\n%s", again)
	}
}

func TestSanitizeDropsCandidatesNobodyShouldTry(t *testing.T) {
	for _, c := range []struct {
		address  string
		lan, wan bool
	}{
		{"8.8.8.8", true, true},
		{"2606:4700::1111", true, true},
		{"::ffff:8.8.8.8", true, true},
		{"10.1.2.3", true, false},
		{"172.16.0.1", true, false},
		{"192.168.1.1", true, false},
		{"169.254.169.254", true, false},
		{"127.0.0.1", true, false},
		{"::1", true, false},
		{"100.64.0.1", true, false},
		{"fd00::1", true, false},
		{"fe80::1", true, false},
		{"::ffff:10.0.0.1", true, false},
		{"64:ff9b::a00:1", true, false},
		{"2002:a00:1::", true, false},
		{"fec0::1", true, false},
		{"255.255.255.255", true, false},
		{"203.0.113.5", true, false},
		{"0.0.0.0", false, false},
		{"::", false, false},
		{"224.0.0.251", false, false},
		{"ff02::1", false, false},
		{"fe80::1%eth0", false, false},
		{"printer.local", false, false},
		{"victim.example", false, false},
		{"010.0.0.1", false, false},
		{"2130706433", false, false},
		{"0x7f.1", false, false},
		{"b18dcb1d-4ef2-4d0a-b2ad-9a6c04d2a1b4.local", true, false},
	} {
		line := "1 1 UDP 1 " + c.address + " 4000 typ host"
		if got := candidate(line, true) != ""; got != c.lan {
			t.Errorf("%s in LAN mode: passed on %v", c.address, got)
		}
		if got := candidate(line, false) != ""; got != c.wan {
			t.Errorf("%s: passed on %v", c.address, got)
		}
	}
	for _, bad := range []string{
		"", "1 1 udp 1 8.8.8.8 4000", "1 2 udp 1 8.8.8.8 4000 typ host", "1 1 tcp 1 8.8.8.8 4000 typ host tcptype passive",
		"1 1 udp x 8.8.8.8 4000 typ host", "1 1 udp 1 8.8.8.8 0 typ host", "1 1 udp 1 8.8.8.8 65536 typ host", "1 1 udp 1 8.8.8.8 4000 type host",
		"1 1 udp 1 8.8.8.8 4000 typ other", "1 1 udp 99999999999 8.8.8.8 4000 typ host",
	} {
		if got := candidate(bad, true); got != "" {
			t.Errorf("%q passed on as %q", bad, got)
		}
	}
}

func TestSanitizeRefusesWhatIsNotOneDataChannel(t *testing.T) {
	media := "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
	for name, sdp := range map[string]string{
		"nothing":           "",
		"text":              "hello",
		"no version first":  "s=-\r\n" + testSDP,
		"two versions":      testSDP + "v=0\r\n",
		"no media":          "v=0\r\ns=-\r\n",
		"two channels":      testSDP + media + "\r\n",
		"video":             "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
		"video as well":     testSDP + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
		"another protocol":  "v=0\r\nm=application 9 TCP/MRCP 1\r\n",
		"a bad port":        "v=0\r\nm=application 99999 UDP/DTLS/SCTP webrtc-datachannel\r\n",
		"a line without =":  testSDP + "zz\r\n",
		"an empty line":     testSDP + "\r\n" + "a=mid:1\r\n",
		"a return inside":   testSDP + "a=mid:0\ra=evil:1\r\n",
		"a null":            testSDP + "a=mid:\x00\r\n",
		"a letter beyond":   testSDP + "a=mid:é\r\n",
		"a line separator":  testSDP + "a=mid:\u2028\r\n",
		"an escaping DEL":   testSDP + "a=mid:\x7f\r\n",
		"growth past 8 KiB": testSDP + strings.Repeat("c=\n", announce.SDPMax/3),
	} {
		if got, err := sanitize(sdp, true); err == nil {
			t.Errorf("%s: passed on as\n%s", name, got)
		}
	}
}

func TestSanitizeKeepsSixteenCandidatesAndKnownAttributes(t *testing.T) {
	sdp := testSDP + strings.Repeat("a=candidate:1 1 udp 1 8.8.8.8 4000 typ host\r\n", 200) +
		"a=remote-candidates:1 10.0.0.1 9\r\na=rtcp:9 IN IP4 10.0.0.1\r\na=evil\r\ni=x\r\nk=clear:y\r\nz=0 0\r\n"
	got := mustSanitize(t, sdp, true)
	if n := strings.Count(got, "a=candidate:"); n != candidatesMax {
		t.Errorf("%d candidates", n)
	}
	for _, gone := range []string{"remote-candidates", "rtcp", "evil", "i=", "k=", "z="} {
		if strings.Contains(got, gone) {
			t.Errorf("%s is left in\n%s", gone, got)
		}
	}
}

// FuzzSanitize: whatever comes out is stable, printable, bounded, and holds no local address.
func FuzzSanitize(f *testing.F) {
	f.Add(testSDP, false)
	f.Add("v=0\nm=application 9 DTLS/SCTP 5000\na=sctpmap:5000 webrtc-datachannel 1024\na=candidate:1 1 UDP 1 10.0.0.1 1 typ host", false)
	f.Add(testSDP+"a=candidate:1 1 udp 1 ::ffff:10.0.0.1 1 typ relay raddr 1 rport raddr", true)
	f.Add(strings.ReplaceAll(testSDP, "\r\n", "\n"), true)
	f.Add("v=0\r\ns=\"\\\t\r\nm=application 9 DTLS/SCTP 5000\r\n\r\n", false)
	f.Fuzz(func(t *testing.T, sdp string, lan bool) {
		got, err := sanitize(sdp, lan)
		if utf8.ValidString(sdp) && !strings.ContainsRune(sdp, utf8.RuneError) && len(sdp) <= announce.SDPMax {
			// As a JSON string it is cleaned to the same, however it is escaped, and whatever stood in the buffer before.
			whole, _ := json.Marshal(sdp)
			for _, text := range []announce.Text{announce.AppendText(nil, []byte(sdp)), whole} {
				quoted, failed := appendSanitized([]byte("before"), text, lan)
				if (failed == nil) != (err == nil) {
					t.Fatalf("%q: %v, quoted %v", sdp, err, failed)
				}
				if err != nil {
					continue
				}
				plain, failed := announce.Unquote(nil, quoted[len("before"):], announce.SDPMax)
				if failed != nil || string(plain) != got {
					t.Fatalf("%v\nplain %q\nquoted %q", failed, got, quoted)
				}
			}
		}
		if err != nil {
			return
		}
		if len(got) > announce.SDPMax || strings.Count(got, "\nm=") != 1 || strings.Count(got, "a=candidate:") > strings.Count(sdp, "a=candidate:") {
			t.Fatalf("%q", got)
		}
		if again, err := sanitize(got, lan); err != nil || again != got {
			t.Fatalf("%v\nfirst %q\nagain %q", err, got, again)
		}
		for line := range strings.SplitSeq(got, "\r\n") {
			if strings.HasPrefix(line, "a=candidate:") && !reachable([]byte(strings.Fields(line)[4]), lan) {
				t.Fatalf("%q", line)
			}
		}
	})
}

// candidate is the attribute that is passed on of one candidate, "" for none.
func candidate(value string, lan bool) string {
	return strings.TrimPrefix(string(appendCandidate(nil, []byte(value), lan)), "a=")
}
