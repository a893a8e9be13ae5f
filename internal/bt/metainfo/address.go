package metainfo

import (
	"fmt"
	"net/url"

	"essaim/internal/bt"
	"essaim/internal/bt/bencode"
)

// Addresses say where a torrent's peers and bytes are to be found. They are no part of the info dictionary, so that a
// service may tell each visitor its own and the swarm stays one.
type Addresses struct {
	Trackers []string // in order of preference, each a tier of its own (BEP 12)
	WebSeeds []string // prefixes that end in '/', to which clients append name and path (BEP 19)
}

// entries are the keys of a torrent file that hold a.
func (a *Addresses) entries() []bencode.Entry {
	list := func(urls []string, item func(string) []byte) []byte {
		if len(urls) == 0 {
			return nil
		}
		items := make([][]byte, len(urls))
		for i, u := range urls {
			items[i] = item(u)
		}
		return bencode.AppendList(nil, items...)
	}
	var first []byte
	if len(a.Trackers) > 0 {
		first = bencode.Str(a.Trackers[0])
	}
	return []bencode.Entry{
		{Key: "announce", Value: first},
		{Key: "announce-list", Value: list(a.Trackers, func(u string) []byte { return bencode.AppendList(nil, bencode.Str(u)) })},
		{Key: "url-list", Value: list(a.WebSeeds, bencode.Str[string])},
	}
}

// Readdress returns the torrent file with a's addresses instead of its own. The info dictionary and all other keys stay as
// they are, byte for byte.
func Readdress(torrent []byte, a Addresses) ([]byte, error) {
	for _, list := range [][]string{a.Trackers, a.WebSeeds} {
		if err := checkURLs(list); err != nil {
			return nil, err
		}
	}
	root, err := bencode.Parse(torrent)
	if err != nil {
		return nil, fmt.Errorf("metainfo: %w", err)
	}
	entries := a.entries()
	for key, v := range root.Entries {
		switch k := string(key); k {
		case "announce", "announce-list", "url-list":
		default:
			entries = append(entries, bencode.Entry{Key: k, Value: v.Raw()})
		}
	}
	return bencode.AppendDict(nil, entries...), nil
}

// Magnet is the link for a hybrid torrent (BEP 9; the v2 hash as BEP 52 has it): both info hashes, a name for people, the
// trackers and web seeds, and, where source is not empty, the address of the torrent file, which clients that meet nobody who
// serves metadata take it from.
func Magnet(v1 bt.InfoHash, v2 bt.InfoHashV2, name, source string, a Addresses) string {
	link := "magnet:?xt=urn:btih:" + v1.String() + "&xt=urn:btmh:1220" + v2.String() // a multihash: SHA-256, 32 bytes
	add := func(key, value string) { link += "&" + key + "=" + url.QueryEscape(value) }
	if name != "" {
		add("dn", name)
	}
	for _, u := range a.Trackers {
		add("tr", u)
	}
	for _, u := range a.WebSeeds {
		add("ws", u)
	}
	if source != "" {
		add("xs", source)
	}
	return link
}
