package announce

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"essaim/internal/bt"
	"essaim/internal/bt/bencode"
)

// Bounds of announces and scrapes over HTTP.
const (
	// HTTPQueryMax is the longest query that is read, in bytes: a scrape of ScrapeMax info hashes, each byte escaped.
	HTTPQueryMax = 8 << 10
	// HTTPReplyMax is the longest reply that a client reads, in bytes.
	HTTPReplyMax = 64 << 10
	// HTTPPeersMax is the most peers of one family that a reply names.
	HTTPPeersMax = 200
	paramsMax    = 128
)

// ErrPort is returned for an announce over HTTP without a port that can be dialled.
var ErrPort = errors.New("invalid port")

// HTTPRequest is an announce over HTTP (BEP 3, BEP 7, BEP 21, BEP 23). Where the sender says it is (`ip`, `ipv4`, `ipv6`) is not
// read: a tracker that believed it would send others wherever its sender likes.
type HTTPRequest struct {
	InfoHash   bt.InfoHash // v1, or truncated v2
	PeerID     bt.PeerID
	Port       uint16 // of TCP; 0 only with EventStopped
	Uploaded   int64  // bytes
	Downloaded int64  // bytes
	Left       int64  // bytes; 0: a seed; Unknown: it did not say
	NumWant    int    // Unknown: it did not say
	Event      Event
}

// HTTPReply answers an announce.
type HTTPReply struct {
	Interval    int // seconds until the next announce
	MinInterval int // seconds; 0: not said
	Complete    int // seeds, the client included
	Incomplete  int // other peers, the client included
	Peers       []netip.AddrPort
	External    netip.Addr // the address that the client was seen to have (BEP 24); zero: not said
	Failure     string     // why the request was refused; empty: it was not
}

// params calls each for every parameter of a query, unescaped. A plus is a plus: info hashes are bytes, not form fields.
func params(query string, each func(key, value string) error) error {
	if len(query) > HTTPQueryMax {
		return ErrTooLarge
	}
	n := 0
	for part := range strings.SplitSeq(query, "&") {
		if n++; n > paramsMax {
			return ErrTooLarge
		}
		key, value, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return fmt.Errorf("%w: %.20q", ErrQuery, key)
		}
		if err := each(key, value); err != nil {
			return err
		}
	}
	return nil
}

// ErrQuery is returned for a query that is malformed, or that says one thing twice.
var ErrQuery = errors.New("invalid query")

// ParseHTTPRequest reads the raw query of an announce. Parameters that it does not know are passed over.
func ParseHTTPRequest(query string) (HTTPRequest, error) {
	r := HTTPRequest{Left: Unknown, NumWant: Unknown}
	seen := map[string]bool{}
	err := params(query, func(key, value string) error {
		if seen[key] {
			return fmt.Errorf("%w: %.20q twice", ErrQuery, key)
		}
		var err error
		switch key {
		case "info_hash":
			if len(value) != len(r.InfoHash) {
				return ErrInfoHash
			}
			copy(r.InfoHash[:], value)
		case "peer_id":
			if len(value) != len(r.PeerID) {
				return ErrPeerID
			}
			copy(r.PeerID[:], value)
		case "port":
			n, e := strconv.ParseUint(value, 10, 16)
			if e != nil {
				return ErrPort
			}
			r.Port = uint16(n)
		case "uploaded":
			r.Uploaded, err = httpNumber(value)
		case "downloaded":
			r.Downloaded, err = httpNumber(value)
		case "left":
			r.Left, err = httpNumber(value)
		case "numwant":
			if n, e := strconv.ParseInt(value, 10, 32); e == nil && n >= 0 { // clients there are that say -1
				r.NumWant = int(n)
			}
		case "event":
			r.Event = eventOf(value)
		default:
			return nil
		}
		seen[key] = true
		return err
	})
	switch {
	case err != nil:
		return r, err
	case !seen["info_hash"]:
		return r, ErrInfoHash
	case !seen["peer_id"]:
		return r, ErrPeerID
	case r.Port == 0 && r.Event != EventStopped:
		return r, ErrPort
	}
	return r, nil
}

func httpNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, ErrNumber
	}
	return min(n, numberMax), nil
}

func eventOf(s string) Event {
	for e, name := range eventNames {
		if s == name && s != "" {
			return Event(e)
		}
	}
	return EventUpdate
}

// eventNames are the events as BEP 3 and BEP 21 write them, by Event.
var eventNames = [...]string{EventUpdate: "", EventStarted: "started", EventStopped: "stopped", EventCompleted: "completed", EventPaused: "paused"}

// Query is the request as a raw query, for a client.
func (r *HTTPRequest) Query() string {
	var b strings.Builder
	b.WriteString("info_hash=")
	escape(&b, r.InfoHash[:])
	b.WriteString("&peer_id=")
	escape(&b, r.PeerID[:])
	number := func(key string, n int64) {
		b.WriteString("&" + key + "=" + strconv.FormatInt(n, 10))
	}
	number("port", int64(r.Port))
	number("uploaded", r.Uploaded)
	number("downloaded", r.Downloaded)
	if r.Left != Unknown {
		number("left", r.Left)
	}
	number("compact", 1)
	if r.NumWant != Unknown {
		number("numwant", int64(r.NumWant))
	}
	if name := eventNames[r.Event]; name != "" {
		b.WriteString("&event=" + name)
	}
	return b.String()
}

func escape(b *strings.Builder, raw []byte) {
	const hex = "0123456789ABCDEF"
	for _, c := range raw {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

// AppendHTTPReply appends a reply in BEP 23's compact form, which every client in use reads: IPv4 peers in "peers", IPv6 peers
// in "peers6" (BEP 7).
func AppendHTTPReply(b []byte, r *HTTPReply) []byte {
	if r.Failure != "" {
		return bencode.AppendDict(b, bencode.Entry{Key: "failure reason", Value: bencode.Str(r.Failure)})
	}
	var v4, v6 []byte
	for _, p := range r.Peers {
		if ip := p.Addr().Unmap(); ip.Is4() {
			v4 = appendPeer(v4, ip.AsSlice(), p.Port())
		} else {
			v6 = appendPeer(v6, ip.AsSlice(), p.Port())
		}
	}
	entries := []bencode.Entry{
		{Key: "interval", Value: bencode.Int(int64(r.Interval))},
		{Key: "complete", Value: bencode.Int(int64(r.Complete))},
		{Key: "incomplete", Value: bencode.Int(int64(r.Incomplete))},
		{Key: "peers", Value: bencode.Str(v4)},
	}
	if r.MinInterval > 0 {
		entries = append(entries, bencode.Entry{Key: "min interval", Value: bencode.Int(int64(r.MinInterval))})
	}
	if len(v6) > 0 {
		entries = append(entries, bencode.Entry{Key: "peers6", Value: bencode.Str(v6)})
	}
	if r.External.IsValid() {
		entries = append(entries, bencode.Entry{Key: "external ip", Value: bencode.Str(r.External.Unmap().AsSlice())})
	}
	return bencode.AppendDict(b, entries...)
}

func appendPeer(b, ip []byte, port uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, ip...), port)
}

// ErrReply is returned for what is no tracker's reply.
var ErrReply = errors.New("announce: malformed reply")

// ParseHTTPReply reads a tracker's reply: compact peers of both families, HTTPPeersMax of each at most, and what it counts.
func ParseHTTPReply(b []byte) (HTTPReply, error) {
	var r HTTPReply
	if len(b) > HTTPReplyMax {
		return r, ErrTooLarge
	}
	d, err := bencode.Parse(b)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrReply, err)
	}
	if d.Kind() != bencode.Dict {
		return r, ErrReply
	}
	if f := d.Get("failure reason"); f.Kind() != bencode.None {
		r.Failure = f.Text()
		r.Failure = r.Failure[:min(len(r.Failure), textMax)]
		if r.Failure == "" {
			r.Failure = "refused"
		}
		return r, nil
	}
	for _, x := range []struct {
		key  string
		into *int
	}{{"interval", &r.Interval}, {"min interval", &r.MinInterval}, {"complete", &r.Complete}, {"incomplete", &r.Incomplete}} {
		n, _ := d.Get(x.key).Int()
		*x.into = int(max(0, min(n, 1<<30)))
	}
	for _, x := range []struct {
		key  string
		size int
	}{{"peers", 4}, {"peers6", 16}} {
		list, _ := d.Get(x.key).Bytes()
		for n := 0; len(list) >= x.size+2 && n < HTTPPeersMax; n++ {
			ip, _ := netip.AddrFromSlice(list[:x.size])
			r.Peers = append(r.Peers, netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(list[x.size:])))
			list = list[x.size+2:]
		}
	}
	return r, nil
}

// ParseHTTPScrape reads the info hashes of a scrape (BEP 48), each once, ScrapeMax at most. Without any it is ErrScrape: a
// list of all swarms is nobody's business.
func ParseHTTPScrape(query string) ([]bt.InfoHash, error) {
	var list []bt.InfoHash
	known := map[bt.InfoHash]bool{}
	err := params(query, func(key, value string) error {
		if key != "info_hash" {
			return nil
		}
		if len(value) != len(bt.InfoHash{}) {
			return ErrInfoHash
		}
		if h := bt.InfoHash([]byte(value)); !known[h] {
			known[h] = true
			list = append(list, h)
		}
		return nil
	})
	if err == nil && (len(list) == 0 || len(list) > ScrapeMax) {
		err = ErrScrape
	}
	return list, err
}

// AppendHTTPScrape appends the answer to a scrape. Each file is named by the info hash that was asked for.
func AppendHTTPScrape(b []byte, s *Scrape) []byte {
	files := make([]bencode.Entry, len(s.Files))
	for i := range s.Files {
		f := &s.Files[i]
		files[i] = bencode.Entry{Key: string(f.InfoHash[:]), Value: bencode.AppendDict(
			nil,
			bencode.Entry{Key: "complete", Value: bencode.Int(int64(f.Complete))},
			bencode.Entry{Key: "incomplete", Value: bencode.Int(int64(f.Incomplete))},
			bencode.Entry{Key: "downloaded", Value: bencode.Int(int64(f.Downloaded))},
		)}
	}
	entries := []bencode.Entry{{Key: "files", Value: bencode.AppendDict(nil, files...)}}
	if s.MinInterval > 0 {
		entries = append(entries, bencode.Entry{Key: "flags", Value: bencode.AppendDict(
			nil, bencode.Entry{Key: "min_request_interval", Value: bencode.Int(int64(s.MinInterval))},
		)})
	}
	return bencode.AppendDict(b, entries...)
}
