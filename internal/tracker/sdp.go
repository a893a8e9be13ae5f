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
	var b strings.Builder
	b.Grow(len(sdp) + 64)
	media, candidates := 0, 0
	for i, line := range strings.Split(strings.TrimSuffix(sdp, "\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if !printable(line) || len(line) < 2 || line[1] != '=' || i == 0 && line != "v=0" {
			return "", errSDPText
		}
		value := line[2:]
		switch line[0] {
		case 'v':
			if i > 0 {
				return "", errSDPText
			}
		case 's', 't', 'b':
		case 'o':
			if !lan {
				value = hideOrigin(value)
			}
		case 'c':
			// What counts is in the candidates.
			value = "IN IP4 0.0.0.0"
		case 'm':
			if media++; media > 1 || !dataChannel(value) {
				return "", errSDPMedia
			}
		case 'a':
			name, rest, _ := strings.Cut(value, ":")
			if name == "candidate" {
				if value = candidate(rest, lan); value == "" || candidates == candidatesMax {
					continue
				}
				candidates++
			} else if !attributes[name] {
				continue
			}
		default:
			continue
		}
		b.WriteByte(line[0])
		b.WriteByte('=')
		b.WriteString(value)
		b.WriteString("\r\n")
	}
	switch {
	case media != 1:
		return "", errSDPMedia
	case b.Len() > announce.SDPMax:
		return "", errSDPSize
	}
	return b.String(), nil
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
	f := strings.Fields(value)
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

// hideOrigin takes the address out of the value of an o= line (RFC 8866, section 5.2).
func hideOrigin(value string) string {
	f := strings.Fields(value)
	if len(f) != 6 {
		return "- 0 0 IN IP4 0.0.0.0"
	}
	f[4], f[5] = "IP4", "0.0.0.0"
	return strings.Join(f, " ")
}

// candidate returns the attribute for one candidate (RFC 8839, section 5.1), "" for one not to be passed on.
func candidate(value string, lan bool) string {
	f := strings.Fields(value)
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") || f[6] != "typ" {
		return ""
	}
	if _, err := strconv.ParseUint(f[3], 10, 32); err != nil {
		return ""
	}
	if port, err := strconv.ParseUint(f[5], 10, 16); err != nil || port == 0 {
		return ""
	}
	switch f[7] {
	case "host", "srflx", "prflx", "relay":
	default:
		return ""
	}
	if !reachable(f[4], lan) {
		return ""
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
	return "candidate:" + strings.Join(f, " ")
}

// reachable says whether an address may be given to another peer to try.
func reachable(text string, lan bool) bool {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return lan && mdns(text)
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
