package native

import (
	"net"
	"net/netip"
	"strings"
)

// candidatesMax is how many candidates of a peer are looked at.
const candidatesMax = 16

// public reports whether an address may be told to peers, or tried, where no LAN mode is on.
func public(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && publicAddr(a)
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func publicAddr(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// withoutPrivate takes the addresses of local networks out of a session description: candidates there, mDNS names,
// and the local side of reflexive candidates (RFC 8839 section 5.1).
func withoutPrivate(sdp string) string {
	return eachLine(sdp, func(line string) string {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, "a=candidate:") {
			return line
		}
		if len(f) < 8 {
			return ""
		}
		if a, err := netip.ParseAddr(f[4]); err != nil || !publicAddr(a) {
			return ""
		}
		for i := 8; i+1 < len(f); i += 2 {
			switch f[i] {
			case "raddr":
				if strings.Contains(f[i+1], ":") {
					f[i+1] = "::"
				} else {
					f[i+1] = "0.0.0.0"
				}
			case "rport":
				f[i+1] = "0"
			}
		}
		return strings.Join(f, " ")
	})
}

// capCandidates leaves the first of too many candidates.
func capCandidates(sdp string) string {
	n := 0
	return eachLine(sdp, func(line string) string {
		if strings.HasPrefix(line, "a=candidate:") {
			if n++; n > candidatesMax {
				return ""
			}
		}
		return line
	})
}

// eachLine replaces every line of a session description; empty ones are left out.
func eachLine(sdp string, f func(string) string) string {
	var b strings.Builder
	for line := range strings.Lines(sdp) {
		if line = f(strings.TrimRight(line, "\r\n")); line != "" {
			b.WriteString(line)
			b.WriteString("\r\n")
		}
	}
	return b.String()
}
