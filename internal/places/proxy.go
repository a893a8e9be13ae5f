package places

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the reverse proxies in front of the service, by address. What they say of whence a request came is believed; what anybody
// else says is not, since the header is a claim like any other.
type Proxies []netip.Prefix

// hopsMax bounds how many hops of a header are looked at.
const hopsMax = 32

// ParseProxies reads addresses and prefixes, for instance "127.0.0.1" and "10.0.0.0/8".
func ParseProxies(list []string) (p Proxies, err error) {
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			ip, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("%q: want an address such as 127.0.0.1, or a prefix such as 10.0.0.0/8", s)
			}
			ip = ip.Unmap().WithZone("")
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		p = append(p, prefix.Masked())
	}
	return p, nil
}

func (p Proxies) has(ip netip.Addr) bool {
	for _, x := range p {
		if x.Contains(ip) {
			return true
		}
	}
	return false
}

// Handler gives next every request that a proxy passed on with the address of its client, as RemoteAddr with port 0, and all others as they
// are. Where requests go through several proxies, each adds to X-Forwarded-For whom it heard it from: the client is the last of them that
// is no proxy of ours, and what stands before it is only what the client said.
func (p Proxies) Handler(next http.Handler) http.Handler {
	if len(p) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ip, ok := p.client(r); ok {
			passed := *r
			passed.RemoteAddr = netip.AddrPortFrom(ip, 0).String()
			r = &passed
		}
		next.ServeHTTP(w, r)
	})
}

// client is the address of who sent a request to a proxy; false where no proxy passed it on, or the proxy says nothing that can be read.
func (p Proxies) client(r *http.Request) (from netip.Addr, ok bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !p.has(at.Addr().Unmap()) {
		return from, false
	}
	hops := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	for range hopsMax {
		i := strings.LastIndexByte(hops, ',')
		ip, err := readHop(hops[i+1:])
		if err != nil {
			return from, ok
		}
		if from, ok = ip, true; i < 0 || !p.has(ip) {
			return from, ok
		}
		hops = hops[:i]
	}
	return from, ok
}

// readHop reads an address as proxies write it: alone, or with a port.
func readHop(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	ip, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, err
		}
		ip = ap.Addr()
	}
	return ip.Unmap().WithZone(""), nil
}
