package announce

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"essaim/internal/bt"
)

func TestHTTPAnnounceIsReadAsItIsWritten(t *testing.T) {
	var all HTTPRequest
	for i := range all.InfoHash { // every byte value that needs escaping, and some that do not
		all.InfoHash[i], all.PeerID[i] = byte(i*13), byte(255-i*13)
	}
	for _, want := range []HTTPRequest{
		{InfoHash: all.InfoHash, PeerID: all.PeerID, Port: 6881, Uploaded: 1, Downloaded: 2, Left: 3, NumWant: 4, Event: EventStarted},
		{InfoHash: all.InfoHash, PeerID: all.PeerID, Port: 65535, Left: Unknown, NumWant: Unknown},
		{InfoHash: all.InfoHash, PeerID: all.PeerID, Port: 0, NumWant: 0, Event: EventStopped},
		{InfoHash: all.InfoHash, PeerID: all.PeerID, Port: 1, NumWant: 0, Event: EventPaused},
	} {
		if got, err := ParseHTTPRequest(want.Query()); err != nil || got != want {
			t.Errorf("%s: %+v, %v", want.Query(), got, err)
		}
	}
	got, err := ParseHTTPRequest("info_hash=++++++++++++++++++++&peer_id=%ff%00++++++++++++++++++&port=7&numwant=-1&event=no&ip=192.0.2.1&x")
	if err != nil || got.InfoHash != bt.InfoHash([]byte(strings.Repeat("+", 20))) || got.PeerID[0] != 255 || got.NumWant != Unknown ||
		got.Event != EventUpdate {
		t.Errorf("a foreign client's query: %+v, %v", got, err)
	}
}

func TestHTTPAnnounceRefusesWhatCannotBe(t *testing.T) {
	const h, p = "info_hash=aaaaaaaaaaaaaaaaaaaa", "&peer_id=bbbbbbbbbbbbbbbbbbbb"
	for query, want := range map[string]error{
		"":                                  ErrInfoHash,
		h + "a" + p + "&port=1":             ErrInfoHash,
		h + "&port=1":                       ErrPeerID,
		h + p:                               ErrPort,
		h + p + "&port=0":                   ErrPort,
		h + p + "&port=65536":               ErrPort,
		h + p + "&port=-1":                  ErrPort,
		h + p + "&port=1&left=-1":           ErrNumber,
		h + p + "&port=1&left=x":            ErrNumber,
		h + p + "&port=1&port=2":            ErrQuery,
		h + p + "&port=%zz":                 ErrQuery,
		h + p + strings.Repeat("&a=b", 200): ErrTooLarge,
		h + p + "&x=" + strings.Repeat("a", HTTPQueryMax): ErrTooLarge,
	} {
		if _, err := ParseHTTPRequest(query); !errors.Is(err, want) {
			t.Errorf("%.80q: %v, want %v", query, err, want)
		}
	}
}

func TestHTTPReplyHoldsBothFamilies(t *testing.T) {
	want := HTTPReply{
		Interval: 900, MinInterval: 60, Complete: 2, Incomplete: 3,
		Peers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:6881"), netip.MustParseAddrPort("[2001:db8::7]:1")},
	}
	withOwn := want
	withOwn.External = netip.MustParseAddr("192.0.2.9")
	b := AppendHTTPReply(nil, &withOwn)
	const text = "d8:completei2e11:external ip4:\xc0\x00\x02\x0910:incompletei3e8:intervali900e12:min intervali60e5:peers6:\xc0\x00\x02\x07\x1a\xe1" +
		"6:peers618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x01e"
	if string(b) != text {
		t.Errorf("%q", b)
	}
	got, err := ParseHTTPReply(b)
	if err != nil || got.Interval != 900 || got.MinInterval != 60 || got.Complete != 2 || got.Incomplete != 3 || !slices.Equal(got.Peers, want.Peers) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseHTTPReply(AppendHTTPReply(nil, &HTTPReply{Failure: "unknown swarm"})); err != nil || got.Failure != "unknown swarm" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "le", "i1e", "d5:peers7:1234567e", strings.Repeat("x", HTTPReplyMax+1)} {
		if r, err := ParseHTTPReply([]byte(bad)); err == nil && len(r.Peers) != 1 {
			t.Errorf("%.20q: %+v", bad, r)
		}
	}
}

func TestHTTPScrapeNamesItsSwarms(t *testing.T) {
	a, b := strings.Repeat("a", 20), strings.Repeat("b", 20)
	list, err := ParseHTTPScrape("info_hash=" + a + "&info_hash=" + b + "&info_hash=" + a)
	if err != nil || len(list) != 2 || string(list[0][:]) != a || string(list[1][:]) != b {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := ParseHTTPScrape(""); !errors.Is(err, ErrScrape) {
		t.Errorf("a scrape of everything: %v", err)
	}
	if _, err := ParseHTTPScrape("info_hash=short"); !errors.Is(err, ErrInfoHash) {
		t.Error(err)
	}
	got := string(AppendHTTPScrape(nil, &Scrape{MinInterval: 60, Files: []ScrapeFile{{InfoHash: list[0], Complete: 1, Incomplete: 2, Downloaded: 3}}}))
	if got != "d5:filesd20:"+a+"d8:completei1e10:downloadedi3e10:incompletei2eee5:flagsd20:min_request_intervali60eee" {
		t.Error(got)
	}
}

func FuzzParseHTTPRequest(f *testing.F) {
	f.Add("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=%ff%00bbbbbbbbbbbbbbbbbb&port=6881&left=5&event=started&numwant=3")
	f.Add("port=1&&=&%")
	f.Fuzz(func(t *testing.T, query string) {
		r, err := ParseHTTPRequest(query)
		if err != nil {
			return
		}
		if again, err := ParseHTTPRequest(r.Query()); err != nil || again != r {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzParseHTTPReply(f *testing.F) {
	f.Add([]byte("d8:intervali900e5:peers6:\xc0\x00\x02\x07\x1a\xe1e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseHTTPReply(b); err == nil && len(r.Peers) > 2*HTTPPeersMax {
			t.Errorf("%d peers", len(r.Peers))
		}
	})
}
