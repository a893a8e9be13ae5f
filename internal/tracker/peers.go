package tracker

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
)

// Bounds of what is remembered of peers that announce over HTTP. A peer takes about 150 bytes.
const (
	peersTotal      = 100_000
	peersPerSwarm   = 5_000
	peersPerAddress = 4  // in one swarm: clients of one household
	peersPerNetwork = 64 // in one swarm: an IPv4 /24 or IPv6 /48
)

// peerSwarm holds the peers of one title that speak TCP. They and the viewers of the WebRTC swarm cannot reach each other, so
// that the two are counted apart.
type peerSwarm struct {
	list       []peerEntry
	at         map[netip.AddrPort]int // place in list
	byAddress  map[netip.Prefix]int
	byNetwork  map[netip.Prefix]int
	complete   int
	downloaded int
}

type peerEntry struct {
	addr netip.AddrPort
	id   bt.PeerID
	seed bool
	rest bool // it wants nothing more: a seed, or of some files (BEP 21)
	seen time.Time
}

func newPeerSwarm() *peerSwarm {
	return &peerSwarm{at: map[netip.AddrPort]int{}, byAddress: map[netip.Prefix]int{}, byNetwork: map[netip.Prefix]int{}}
}

// household is the IPv4 address, or the /64 of an IPv6 one; network the /24, or the /48.
func household(ip netip.Addr) netip.Prefix { return prefixOf(ip, 32, 64) }
func network(ip netip.Addr) netip.Prefix   { return prefixOf(ip, 24, 48) }

func prefixOf(ip netip.Addr, bits4, bits6 int) netip.Prefix {
	bits := bits6
	if ip.Is4() {
		bits = bits4
	}
	p, _ := ip.Prefix(bits)
	return p
}

// put adds or renews a peer, and reports whether there was room for it.
func (s *peerSwarm) put(p peerEntry, completed bool) (added, ok bool) {
	if i, known := s.at[p.addr]; known {
		old := &s.list[i]
		s.count(old.seed, -1)
		if completed && !old.seed && p.seed {
			s.downloaded++
		}
		*old = p
		s.count(p.seed, 1)
		return false, true
	}
	ip := p.addr.Addr()
	if len(s.list) >= peersPerSwarm || s.byAddress[household(ip)] >= peersPerAddress || s.byNetwork[network(ip)] >= peersPerNetwork {
		return false, false
	}
	s.at[p.addr] = len(s.list)
	s.list = append(s.list, p)
	s.byAddress[household(ip)]++
	s.byNetwork[network(ip)]++
	s.count(p.seed, 1)
	return true, true
}

func (s *peerSwarm) count(seed bool, n int) {
	if seed {
		s.complete += n
	}
}

// remove forgets a peer, and reports whether it was there.
func (s *peerSwarm) remove(addr netip.AddrPort) bool {
	i, ok := s.at[addr]
	if !ok {
		return false
	}
	s.count(s.list[i].seed, -1)
	last := len(s.list) - 1
	if i != last {
		s.list[i] = s.list[last]
		s.at[s.list[i].addr] = i
	}
	s.list = s.list[:last]
	delete(s.at, addr)
	decrease(s.byAddress, household(addr.Addr()))
	decrease(s.byNetwork, network(addr.Addr()))
	return true
}

func decrease(m map[netip.Prefix]int, key netip.Prefix) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

// expire forgets who has not announced since the given time, and returns how many they were.
func (s *peerSwarm) expire(before time.Time) (n int) {
	for i := len(s.list) - 1; i >= 0; i-- {
		if s.list[i].seen.Before(before) {
			s.remove(s.list[i].addr)
			n++
		}
	}
	return n
}

// pick draws up to want peers for the one at to. Who wants nothing is told of nobody like it; addresses of local networks are told to local
// networks only.
func (s *peerSwarm) pick(random *rand.Rand, to peerEntry, want int) []netip.AddrPort {
	var out []netip.AddrPort
	start := 0
	if len(s.list) > 0 {
		start = random.IntN(len(s.list))
	}
	// A walk from a random place over a list whose order is that of announces: cheap, and different for each who asks. Removal
	// moves entries about, so that neighbours in it do not stay neighbours.
	for n := 0; n < len(s.list) && len(out) < want; n++ {
		p := &s.list[(start+n)%len(s.list)]
		if p.addr == to.addr || p.id == to.id || p.rest && to.rest || local(p.addr.Addr()) && !local(to.addr.Addr()) {
			continue
		}
		out = append(out, p.addr)
	}
	return out
}

// local says whether an address means something on its own network only.
func local(ip netip.Addr) bool {
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}

// counts are a scrape's, of the title's peers.
func (s *peerSwarm) counts(h bt.InfoHash) announce.ScrapeFile {
	return announce.ScrapeFile{InfoHash: h, Complete: s.complete, Incomplete: len(s.list) - s.complete, Downloaded: s.downloaded}
}
