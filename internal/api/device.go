package api

import (
	"net/http"
	"net/netip"
	"strings"

	"essaim/internal/vod"
)

// visitOf is whence a request comes. hidden: addresses are a proxy's, and say nothing.
func visitOf(r *http.Request, hidden bool) vod.Visit {
	v := vod.Visit{Device: deviceName(r.UserAgent())}
	if address, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && !hidden {
		v.Network = networkOf(address.Addr().Unmap())
	}
	return v
}

// networkOf is the network that one party may have in hand: a /24 of IPv4, a /48 of IPv6.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// agents and systems are what user agents are known by, the more particular first: nearly all claim to be Mozilla, and most
// to be Safari. What a name is derived from may be a lie: it helps its owner to tell devices apart, and nothing else.
var (
	agents = [][2]string{
		{"essaim/", "Essaim"},
		{"edg/", "Edge"},
		{"opr/", "Opera"},
		{"samsungbrowser/", "Samsung Internet"},
		{"firefox/", "Firefox"},
		{"fxios/", "Firefox"},
		{"crios/", "Chrome"},
		{"headlesschrome/", "Chromium"},
		{"chromium/", "Chromium"},
		{"chrome/", "Chrome"},
		{"safari/", "Safari"},
		{"curl/", "curl"},
		{"go-http-client/", "Go"},
	}
	systems = [][2]string{
		{"smart-tv", "TV"},
		{"smarttv", "TV"},
		{"tizen", "TV"},
		{"web0s", "TV"},
		{"android", "Android"},
		{"iphone", "iPhone"},
		{"ipad", "iPad"},
		{"windows", "Windows"},
		{"mac os x", "macOS"},
		{"cros", "ChromeOS"},
		{"linux", "Linux"},
	}
)

// deviceName is what an owner of several devices would call one: "Firefox · Linux". Empty where nothing is known.
func deviceName(agent string) string {
	agent = strings.ToLower(agent[:min(len(agent), 1000)])
	first := func(known [][2]string) string {
		for _, k := range known {
			if strings.Contains(agent, k[0]) {
				return k[1]
			}
		}
		return ""
	}
	browser, system := first(agents), first(systems)
	if browser != "" && system != "" {
		return browser + " · " + system
	}
	return browser + system
}
