package tracker

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"essaim/internal/bt/announce"
)

// candidatesMax is how many ICE candidates are passed on; each is an address that another's browser will try.
const candidatesMax = 16

// What is wrong with a session description.
var (
	errSDPText  = errors.New("not a session description")
	errSDPMedia = errors.New("not one data channel")
	errSDPSize  = errors.New("too large")
)

// attributes are the SDP attributes that a data channel needs or that its users write. All others are left out:
// nobody's offer can make another's browser do what a data channel does not need.
var attributes = map[string]bool{
	"group": true, "bundle-only": true, "mid": true, "setup": true, "fingerprint": true, "tls-id": true,
	"ice-ufrag": true, "ice-pwd": true, "ice-options": true, "ice-lite": true, "ice-pacing": true,
	"sctp-port": true, "sctpmap": true, "max-message-size": true,
	"msid-semantic": true, "extmap-allow-mixed": true, "sendrecv": true,
	"end-of-candidates": true,
}

// sanitize returns an SDP fit to be passed on: lines of printable ASCII, one application section, the attributes of
// a data channel, and at most 16 UDP candidates. Unless lan, addresses that mean something only in the sender's own
// network are removed, and so are mDNS names; names of hosts always are, for to look one up is to contact someone.
func sanitize(sdp string, lan bool) (string, error) {
	b, err := appendSanitized(make([]byte, 0, len(sdp)+64), sdp, lan)
	return string(b), err
}

// appendSanitized is sanitize into a buffer; on an error nothing of it is to be used.
func appendSanitized(dst []byte, sdp string, lan bool) ([]byte, error) {
	begin, media, candidates := len(dst), 0, 0
	left := strings.TrimSuffix(sdp, "\n")
	for i, more := 0, true; more; i++ {
		var line string
		line, left, more = strings.Cut(left, "\n")
		line = strings.TrimSuffix(line, "\r")
		if !printable(line) || len(line) < 2 || line[1] != '=' || i == 0 && line != "v=0" {
			return dst, errSDPText
		}
		value := line[2:]
		switch line[0] {
		case 'v':
			if i > 0 {
				return dst, errSDPText
			}
		case 's', 't', 'b':
		case 'o':
			if !lan {
				dst = append(appendHiddenOrigin(append(dst, "o="...), value), "\r\n"...)
				continue
			}
		case 'c':
			// What counts is in the candidates.
			value = "IN IP4 0.0.0.0"
		case 'm':
			if media++; media > 1 || !dataChannel(value) {
				return dst, errSDPMedia
			}
		case 'a':
			name, rest, _ := strings.Cut(value, ":")
			if name == "candidate" {
				if candidates < candidatesMax {
					before := len(dst)
					if dst = appendCandidate(dst, rest, lan); len(dst) > before {
						candidates++
					}
				}
				continue
			}
			if !attributes[name] {
				continue
			}
		default:
			continue
		}
		dst = append(append(append(dst, line[0], '='), value...), "\r\n"...)
	}
	switch {
	case media != 1:
		return dst, errSDPMedia
	case len(dst)-begin > announce.SDPMax:
		return dst, errSDPSize
	}
	return dst, nil
}

// fieldsMax is how many words of a line are looked at; a candidate with all that browsers write has some twenty.
const fieldsMax = 64

// words is strings.Fields for printable ASCII, without taking memory. What is beyond fieldsMax is left out.
func words(f *[fieldsMax]string, s string) []string {
	n := 0
	for n < fieldsMax {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			break
		}
		f[n], s, _ = strings.Cut(s, " ")
		n++
	}
	return f[:n]
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}

// dataChannel checks the value of an m= line (RFC 8841).
func dataChannel(value string) bool {
	var space [fieldsMax]string
	f := words(&space, value)
	if len(f) != 4 || f[0] != "application" {
		return false
	}
	if _, err := strconv.ParseUint(f[1], 10, 16); err != nil {
		return false
	}
	switch f[2] {
	case "UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP":
		return true
	}
	return false
}

// appendHiddenOrigin takes the address out of the value of an o= line (RFC 8866, section 5.2).
func appendHiddenOrigin(dst []byte, value string) []byte {
	var space [fieldsMax]string
	f := words(&space, value)
	if len(f) != 6 {
		return append(dst, "- 0 0 IN IP4 0.0.0.0"...)
	}
	f[4], f[5] = "IP4", "0.0.0.0"
	return appendWords(dst, f)
}

func appendWords(dst []byte, f []string) []byte {
	for i, w := range f {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, w...)
	}
	return dst
}

// appendCandidate appends the line of one candidate (RFC 8839, section 5.1), nothing for one not to be passed on.
func appendCandidate(dst []byte, value string, lan bool) []byte {
	var space [fieldsMax]string
	f := words(&space, value)
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") || f[6] != "typ" {
		return dst
	}
	if _, err := strconv.ParseUint(f[3], 10, 32); err != nil {
		return dst
	}
	if port, err := strconv.ParseUint(f[5], 10, 16); err != nil || port == 0 {
		return dst
	}
	switch f[7] {
	case "host", "srflx", "prflx", "relay":
	default:
		return dst
	}
	if !reachable(f[4], lan) {
		return dst
	}
	// The base of a reflexive candidate is of use only to who looks at it.
	for i := 8; i+1 < len(f) && !lan; i += 2 {
		switch f[i] {
		case "raddr":
			f[i+1] = "0.0.0.0"
		case "rport":
			f[i+1] = "0"
		}
	}
	return append(appendWords(append(dst, "a=candidate:"...), f), "\r\n"...)
}

// reachable says whether an address may be given to another peer to try.
func reachable(text string, lan bool) bool {
	if strings.HasSuffix(text, ".local") {
		return lan && mdns(text)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	if ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	if lan {
		return true
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// mdns knows the names that browsers give to hide a local address: a UUID and ".local".
func mdns(name string) bool {
	uuid, ok := strings.CutSuffix(name, ".local")
	if !ok || len(uuid) != 36 {
		return false
	}
	for i := range len(uuid) {
		c := uuid[i]
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// special are the networks that mean nothing, or something else, to another host: those of the registries of special
// addresses (RFC 6890), and the IPv6 prefixes that carry an IPv4 address within.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/8", "64:ff9b::/16", "100::/8", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
	"fc00::/7", "fe80::/9",
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		list[i] = netip.MustParsePrefix(t)
	}
	return list
}
