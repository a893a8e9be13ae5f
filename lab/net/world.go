package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// Addresses of the little internet. They must be of a form that the service takes for public: the tracker strikes candidates in the
// special blocks (RFC 6890), those of documentation and benchmarks included. Nothing leaves the namespaces, so any will do.
const (
	originAddress = "26.1.0.10"
	coreAddress   = "26.1.0.1"
	prefixA       = "26.18.0.0/16"
	prefixB       = "26.19.0.0/16"
)

// Rates of links where nothing else is said, in kbit/s, and the queue in front of them.
const (
	backboneKbps = 200_000
	queueTime    = 100 * time.Millisecond
)

// natKind is how a home's router gives out its address.
type natKind string

// The kinds. Port-restricted cone: one port outside for one inside, whoever is spoken to, and nobody comes in who was not
// spoken to. Symmetric: another port, at random, for everyone who is spoken to.
const (
	cone      natKind = "cone"
	symmetric natKind = "symmetric"
)

// home is a household: a router with one address outside, and hosts behind it.
type home struct {
	provider int // 0: A, 1: B
	number   int // from 1, in its provider
	nat      natKind
	hosts    int
	upKbps   int
	downKbps int
	queue    time.Duration // of the uplink's shaper
	page     bool          // a browser lives here, whose bytes are counted apart
	suffix   string
}

func (h *home) letter() string { return string(rune('a' + h.provider)) }

// prefix is the /24 that the home alone has in the provider's network.
func (h *home) prefix() string { return fmt.Sprintf("26.%d.%d", 18+h.provider, h.number) }

// wan is the home's address in the world.
func (h *home) wan() netip.Addr { return netip.MustParseAddr(h.prefix() + ".2") }

func (h *home) router() string { return fmt.Sprintf("lab-%s-%s%dr", h.suffix, h.letter(), h.number) }

// host is the namespace of the i-th host, from 0.
func (h *home) host(i int) string {
	return fmt.Sprintf("lab-%s-%s%dh%d", h.suffix, h.letter(), h.number, i+1)
}

// script is a text for ip, tc or nft, to be run in a namespace; empty: in none, where namespaces and pairs of links inside of
// them are made.
type script struct{ program, namespace, text string }

// plan is a little internet before it is made.
type plan struct {
	suffix string
	homes  []*home
	// direct gives the origin a link of its own into A; else all that A has of the world comes by the core.
	direct bool
}

func (p *plan) core() string          { return "lab-" + p.suffix + "-core" }
func (p *plan) origin() string        { return "lab-" + p.suffix + "-org" }
func (p *plan) provider(i int) string { return fmt.Sprintf("lab-%s-p%c", p.suffix, 'a'+i) }

// add gives a provider another home.
func (p *plan) add(provider int, h home) *home {
	h.provider, h.number, h.suffix = provider, 1, p.suffix
	for _, other := range p.homes {
		if other.provider == provider {
			h.number++
		}
	}
	if h.nat == "" {
		h.nat = cone
	}
	if h.hosts == 0 {
		h.hosts = 1
	}
	if h.upKbps == 0 {
		h.upKbps = 10_000
	}
	if h.downKbps == 0 {
		h.downKbps = 50_000
	}
	if h.queue == 0 {
		h.queue = queueTime
	}
	p.homes = append(p.homes, &h)
	return &h
}

// namespaces are all that the plan needs, in the order in which they are made.
func (p *plan) namespaces() []string {
	list := []string{p.core(), p.origin(), p.provider(0), p.provider(1)}
	for _, h := range p.homes {
		list = append(list, h.router())
		for i := range h.hosts {
			list = append(list, h.host(i))
		}
	}
	return list
}

// links are the pairs of links, each end made in its namespace: none is ever in the machine's own network.
func (p *plan) links() script {
	var b strings.Builder
	pair := func(ns1, name1, ns2, name2 string) {
		fmt.Fprintf(&b, "link add %s netns %s type veth peer name %s netns %s\n", name1, ns1, name2, ns2)
	}
	pair(p.core(), "org", p.origin(), "eth0")
	for _, h := range p.homes {
		pair(p.provider(h.provider), fmt.Sprintf("h%d", h.number), h.router(), "wan")
		for i := range h.hosts {
			pair(h.router(), fmt.Sprintf("p%d", i+1), h.host(i), "eth0")
		}
	}
	return script{"ip", "", b.String()}
}

// uplink is a provider's link to the core: an address at each end of a cable.
func uplink(provider int) (core, there string) {
	return fmt.Sprintf("26.2.0.%d", provider*4+1), fmt.Sprintf("26.2.0.%d", provider*4+2)
}

// narrow is where the link begins that scenes make narrow: a namespace and a device.
func (p *plan) narrow() (ns, dev string) {
	if p.direct {
		return p.origin(), "direct"
	}
	return p.core(), "pa"
}

// addresses are what is configured in each namespace once the links and the cables' taps are there.
func (p *plan) addresses() []script {
	var list []script
	say := func(ns string, lines ...string) {
		list = append(list, script{"ip", ns, strings.Join(lines, "\n") + "\n"})
	}
	core := []string{"link set lo up", "address add " + coreAddress + "/24 dev org", "link set org up"}
	for i, prefix := range []string{prefixA, prefixB} {
		near, far := uplink(i)
		name := fmt.Sprintf("p%c", 'a'+i)
		core = append(core, "address add "+near+"/30 dev "+name, "link set "+name+" up", "route add "+prefix+" via "+far)
		lines := []string{"link set lo up", "address add " + far + "/30 dev road", "link set road up", "route add default via " + near}
		if p.direct && i == 0 {
			lines = append(lines, "address add 26.3.0.2/30 dev direct", "link set direct up", "route add "+originAddress+" via 26.3.0.1")
		}
		for _, h := range p.homes {
			if h.provider == i {
				dev := fmt.Sprintf("h%d", h.number)
				lines = append(lines, fmt.Sprintf("address add %s.1/24 dev %s", h.prefix(), dev), "link set "+dev+" up")
			}
		}
		say(p.provider(i), lines...)
	}
	say(p.core(), core...)
	say(p.origin(), "link set lo up", "address add "+originAddress+"/24 dev eth0", "link set eth0 up", "route add default via "+coreAddress)
	if p.direct {
		say(p.origin(), "address add 26.3.0.1/30 dev direct", "link set direct up", "route add "+prefixA+" via 26.3.0.2 src "+originAddress)
	}
	for _, h := range p.homes {
		lines := []string{
			"link set lo up", fmt.Sprintf("address add %s/24 dev wan", h.wan()), "link set wan up",
			"route add default via " + h.prefix() + ".1", "link add lan type bridge", "address add 192.168.1.1/24 dev lan", "link set lan up",
		}
		for i := range h.hosts {
			lines = append(lines, fmt.Sprintf("link set p%d master lan", i+1), fmt.Sprintf("link set p%d up", i+1))
			say(h.host(i), "link set lo up", fmt.Sprintf("address add 192.168.1.%d/24 dev eth0", 10+i), "link set eth0 up", "route add default via 192.168.1.1")
		}
		say(h.router(), lines...)
	}
	return list
}

// shapers are the rates of all links.
func (p *plan) shapers() []script {
	var list []script
	for i := range 2 {
		list = append(list, shaper(p.core(), fmt.Sprintf("p%c", 'a'+i), backboneKbps, queueTime),
			shaper(p.provider(i), "road", backboneKbps, queueTime))
	}
	if p.direct {
		list = append(list, shaper(p.origin(), "direct", backboneKbps, queueTime), shaper(p.provider(0), "direct", backboneKbps, queueTime))
	}
	for _, h := range p.homes {
		list = append(list, shaper(p.provider(h.provider), fmt.Sprintf("h%d", h.number), h.downKbps, queueTime),
			shaper(h.router(), "wan", h.upKbps, h.queue))
	}
	return list
}

// shaper bounds what leaves by a device. A burst is 10 ms, or two frames.
func shaper(ns, dev string, kbps int, queue time.Duration) script {
	burst := max(kbps*1000/8/100, 2*1514)
	return script{"tc", ns, fmt.Sprintf("qdisc replace dev %s root tbf rate %dkbit burst %d latency %dms\n", dev, kbps, burst, queue.Milliseconds())}
}

// filters are the routers' NAT and the providers' counters.
func (p *plan) filters() []script {
	var list []script
	for _, h := range p.homes {
		how := ""
		if h.nat == symmetric {
			how = " random,fully-random"
		}
		list = append(list, script{"nft", h.router(), `
table ip lab {
	chain post { type nat hook postrouting priority 100; oifname "wan" masquerade` + how + `; }
	chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname "lan" accept; }
	chain input { type filter hook input priority 0; iifname "wan" ct state new drop; }
}
`})
	}
	for i := range 2 {
		page := ""
		for _, h := range p.homes {
			if h.provider == i && h.page {
				page += fmt.Sprintf("\t\tiifname { \"road\", \"direct\" } oifname \"h%d\" meta l4proto udp ip saddr != %s counter name page_peers\n", h.number, originAddress)
			}
		}
		list = append(list, script{"nft", p.provider(i), `
table ip lab {
	counter outside { }
	counter outside_peers { }
	counter page_peers { }
	counter inside { }
	chain forward {
		type filter hook forward priority 0;
		iifname { "road", "direct" } counter name outside
		iifname { "road", "direct" } meta l4proto udp ip saddr != ` + originAddress + ` counter name outside_peers
` + page + `		iifname "h*" oifname "h*" counter name inside
	}
}
`})
	}
	return list
}

// do runs a script.
func (s script) do(ctx context.Context) error {
	args := []string{"-batch", "-"}
	if s.namespace != "" {
		args = append([]string{"-n", s.namespace}, args...)
	}
	name := s.program
	if name == "nft" { // it knows no namespaces
		name, args = "ip", []string{"netns", "exec", s.namespace, "nft", "-f", "-"}
	}
	_, err := command(ctx, s.text, name, args...)
	return err
}

// command runs a program to its end and returns what it printed.
func command(ctx context.Context, input, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	var out, complaint bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(input), &out, &complaint
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

// counters are what a provider's router has passed on, in bytes of IP packets, headers included.
type counters struct {
	outside      int64 // in by its uplink
	outsidePeers int64 // of it UDP that is not the origin's: other providers' viewers
	pagePeers    int64 // of that, to homes with a browser, which does not say from whom it has what
	inside       int64 // from one of its homes to another
}

func (c counters) since(before counters) counters {
	return counters{c.outside - before.outside, c.outsidePeers - before.outsidePeers, c.pagePeers - before.pagePeers, c.inside - before.inside}
}

// readCounters parses what "nft -j list counters" prints.
func readCounters(text []byte) (c counters, err error) {
	var list struct {
		Entries []struct {
			Counter *struct {
				Name  string `json:"name"`
				Bytes int64  `json:"bytes"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return c, fmt.Errorf("read counters: %w", err)
	}
	found := 0
	for _, e := range list.Entries {
		if e.Counter == nil {
			continue
		}
		found++
		switch e.Counter.Name {
		case "outside":
			c.outside = e.Counter.Bytes
		case "outside_peers":
			c.outsidePeers = e.Counter.Bytes
		case "page_peers":
			c.pagePeers = e.Counter.Bytes
		case "inside":
			c.inside = e.Counter.Bytes
		default:
			found--
		}
	}
	if found != 4 {
		return c, fmt.Errorf("read counters: %d of 4 are there", found)
	}
	return c, nil
}
