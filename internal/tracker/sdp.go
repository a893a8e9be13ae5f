package tracker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

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

// needed knows the SDP attributes that a data channel needs or that its users write. All others are left out: nobody's offer can
// make another's browser do what a data channel does not need.
func needed(attribute []byte) bool {
	switch string(attribute) {
	case "group", "bundle-only", "mid", "setup", "fingerprint", "tls-id",
		"ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "ice-pacing",
		"sctp-port", "sctpmap", "max-message-size",
		"msid-semantic", "extmap-allow-mixed", "sendrecv",
		"end-of-candidates":
		return true
	}
	return false
}

// cleaner makes an SDP fit to be passed on, line by line: lines of printable ASCII, one application section, the attributes of a
// data channel, and at most 16 UDP candidates. Unless lan, addresses that mean something only in the sender's own network are
// removed, and so are mDNS names; names of hosts always are, for to look one up is to contact someone.
type cleaner struct {
	lan  bool
	eol  string // what is written at the end of a line, two bytes of SDP however it is written
	dst  []byte
	size int // bytes of SDP written

	read, media, candidates int
}

// text cleans an SDP.
func (c *cleaner) text(sdp []byte) error {
	left := bytes.TrimSuffix(sdp, []byte("\n"))
	for more := true; more; {
		var line []byte
		line, left, more = bytes.Cut(left, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if !printable(line) {
			return errSDPText
		}
		if err := c.line(line); err != nil {
			return err
		}
	}
	return c.end()
}

// line cleans one line, which is printable.
func (c *cleaner) line(line []byte) error {
	c.read++
	if len(line) < 2 || line[1] != '=' || c.read == 1 && string(line) != "v=0" {
		return errSDPText
	}
	value := line[2:]
	switch line[0] {
	case 'v':
		if c.read > 1 {
			return errSDPText
		}
	case 's', 't', 'b':
	case 'o':
		if !c.lan {
			before := len(c.dst)
			c.dst = appendHiddenOrigin(append(c.dst, "o="...), value)
			c.ended(before)
			return nil
		}
	case 'c':
		// What counts is in the candidates.
		line = unspecified
	case 'm':
		if c.media++; c.media > 1 || !dataChannel(value) {
			return errSDPMedia
		}
	case 'a':
		name, rest := value, []byte(nil)
		if colon := bytes.IndexByte(value, ':'); colon >= 0 {
			name, rest = value[:colon], value[colon+1:]
		}
		if string(name) == "candidate" {
			if c.candidates < candidatesMax {
				before := len(c.dst)
				if c.dst = appendCandidate(c.dst, rest, c.lan); len(c.dst) > before {
					c.candidates++
					c.ended(before)
				}
			}
			return nil
		}
		if !needed(name) {
			return nil
		}
	default:
		return nil
	}
	before := len(c.dst)
	c.dst = append(c.dst, line...)
	c.ended(before)
	return nil
}

var unspecified = []byte("c=IN IP4 0.0.0.0")

// ended ends the line that begins in dst at from.
func (c *cleaner) ended(from int) {
	c.size += len(c.dst) - from + 2
	c.dst = append(c.dst, c.eol...)
}

func (c *cleaner) end() error {
	switch {
	case c.media != 1:
		return errSDPMedia
	case c.size > announce.SDPMax:
		return errSDPSize
	}
	return nil
}

// sanitize returns an SDP fit to be passed on.
func sanitize(sdp string, lan bool) (string, error) {
	c := cleaner{lan: lan, eol: "\r\n", dst: make([]byte, 0, len(sdp)+64)}
	err := c.text([]byte(sdp))
	return string(c.dst), err
}

// appendSanitized is sanitize of a JSON string into another, which is appended; on an error nothing of it is to be used. What
// browsers write, lines of plain text with escapes at their ends, is cleaned as it stands, without being unquoted and quoted again.
func appendSanitized(dst []byte, sdp announce.Text, lan bool) ([]byte, error) {
	c := cleaner{lan: lan, eol: `\r\n`, dst: append(dst, '"')}
	if plain, err := c.quoted(sdp); plain {
		return append(c.dst, '"'), err
	}
	text, err := announce.Unquote(nil, sdp, announce.SDPMax)
	if err != nil {
		return dst, errSDPText
	}
	c = cleaner{lan: lan, eol: "\r\n"}
	if err := c.text(text); err != nil {
		return dst, err
	}
	return announce.AppendText(dst, c.dst), nil
}

// quoted cleans a JSON string as it stands; plain is false, and dst not to be used, where it would have to be unquoted for that.
func (c *cleaner) quoted(sdp announce.Text) (plain bool, err error) {
	if len(sdp) < 2 || len(sdp) > announce.SDPMax || !printable(sdp) {
		return false, nil
	}
	left := sdp[1 : len(sdp)-1]
	for {
		line := left
		end := bytes.IndexByte(left, '\\')
		if end >= 0 {
			line, left = left[:end], left[end:]
			switch {
			case len(left) >= 4 && string(left[:4]) == `\r\n`:
				left = left[4:]
			case len(left) >= 2 && string(left[:2]) == `\n`:
				left = left[2:]
			default:
				return false, nil
			}
		}
		if err := c.line(line); err != nil {
			return true, err
		}
		if end < 0 || len(left) == 0 {
			return true, c.end()
		}
	}
}

// fieldsMax is how many words of a line are looked at; a candidate with all that browsers write has some twenty.
const fieldsMax = 64

// words is bytes.Fields for printable ASCII, without taking memory. What is beyond fieldsMax is left out.
func words(f *[fieldsMax][]byte, s []byte) [][]byte {
	n, from := 0, -1
	for i, b := range s {
		switch {
		case b != ' ' && from < 0:
			from = i
		case b == ' ' && from >= 0:
			f[n], from = s[from:i], -1
			if n++; n == fieldsMax {
				return f[:]
			}
		}
	}
	if from >= 0 {
		f[n] = s[from:]
		n++
	}
	return f[:n]
}

// printable says whether all bytes are printable ASCII, looking at eight at a time.
func printable(s []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; len(s) >= 8; s = s[8:] {
		// No high bit; with 0x60 more each has one, being 0x20 at least; with one more none has, none being 0x7F.
		if x := binary.LittleEndian.Uint64(s); x&high != 0 || (x+0x60*ones)&high != high || (x+ones)&high != 0 {
			return false
		}
	}
	for _, b := range s {
		if b < 0x20 || b > 0x7E {
			return false
		}
	}
	return true
}

// dataChannel checks the value of an m= line (RFC 8841).
func dataChannel(value []byte) bool {
	var space [fieldsMax][]byte
	f := words(&space, value)
	if len(f) != 4 || string(f[0]) != "application" {
		return false
	}
	if _, ok := number(f[1], math.MaxUint16); !ok {
		return false
	}
	switch string(f[2]) {
	case "UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP":
		return true
	}
	return false
}

// number reads decimal digits of a number up to most.
func number(b []byte, most uint64) (n uint64, ok bool) {
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		if n = 10*n + uint64(d-'0'); n > most {
			return 0, false
		}
	}
	return n, len(b) > 0
}

// appendHiddenOrigin takes the address out of the value of an o= line (RFC 8866, section 5.2).
func appendHiddenOrigin(dst, value []byte) []byte {
	var space [fieldsMax][]byte
	f := words(&space, value)
	if len(f) != 6 {
		return append(dst, "- 0 0 IN IP4 0.0.0.0"...)
	}
	return append(appendWords(dst, f[:4]), " IP4 0.0.0.0"...)
}

func appendWords(dst []byte, f [][]byte) []byte {
	for i, w := range f {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, w...)
	}
	return dst
}

// appendCandidate appends one candidate (RFC 8839, section 5.1) without the end of its line, nothing for one not to be passed on.
func appendCandidate(dst, value []byte, lan bool) []byte {
	var space [fieldsMax][]byte
	f := words(&space, value)
	if len(f) < 8 || string(f[1]) != "1" || len(f[2]) != 3 || !bytes.EqualFold(f[2], []byte("udp")) || string(f[6]) != "typ" {
		return dst
	}
	if _, ok := number(f[3], math.MaxUint32); !ok {
		return dst
	}
	if port, ok := number(f[5], math.MaxUint16); !ok || port == 0 {
		return dst
	}
	switch string(f[7]) {
	case "host", "srflx", "prflx", "relay":
	default:
		return dst
	}
	if !reachable(f[4], lan) {
		return dst
	}
	// The base of a reflexive candidate is of use only to who looks at it.
	for i := 8; i+1 < len(f) && !lan; i += 2 {
		switch string(f[i]) {
		case "raddr":
			f[i+1] = nowhere
		case "rport":
			f[i+1] = noPort
		}
	}
	return appendWords(append(dst, "a=candidate:"...), f)
}

var nowhere, noPort = []byte("0.0.0.0"), []byte("0")

// reachable says whether an address may be given to another peer to try.
func reachable(text []byte, lan bool) bool {
	if bytes.HasSuffix(text, []byte(".local")) {
		return lan && mdns(text)
	}
	ip, ok := dotted(text)
	if !ok {
		var err error
		if ip, err = netip.ParseAddr(string(text)); err != nil {
			return false
		}
	}
	ip = ip.Unmap()
	if ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return false
	}
	if lan {
		return true
	}
	list := special4
	if ip.Is6() {
		list = special6
	}
	for _, p := range list {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// dotted reads an IPv4 address as netip.ParseAddr does, without taking memory.
func dotted(text []byte) (netip.Addr, bool) {
	var a [4]byte
	for i := range a {
		part := text
		if i < 3 {
			dot := bytes.IndexByte(text, '.')
			if dot < 0 {
				return netip.Addr{}, false
			}
			part, text = text[:dot], text[dot+1:]
		}
		n, ok := number(part, 255)
		if !ok || len(part) > 1 && part[0] == '0' {
			return netip.Addr{}, false
		}
		a[i] = byte(n)
	}
	return netip.AddrFrom4(a), true
}

// mdns knows the names that browsers give to hide a local address: a UUID and ".local".
func mdns(name []byte) bool {
	uuid, ok := bytes.CutSuffix(name, []byte(".local"))
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

// special4 and special6 are the networks that mean nothing, or something else, to another host: those of the registries of special
// addresses (RFC 6890), and the IPv6 prefixes that carry an IPv4 address within.
var (
	special4 = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	)
	special6 = prefixes(
		"::/8", "64:ff9b::/16", "100::/8", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
		"fc00::/7", "fe80::/9",
	)
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		list[i] = netip.MustParsePrefix(t)
	}
	return list
}
