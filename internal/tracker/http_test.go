package tracker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"essaim/internal/bt"
	"essaim/internal/bt/announce"
	"essaim/internal/bt/bencode"
	"essaim/internal/vod"
)

// announced is an announcer over an open and a closed title, at a time that stands still.
type announced struct {
	t    *testing.T
	a    *Announcer
	now  time.Time
	open vod.Version
	shut vod.Version
}

// twoTitles is a catalogue of an open and a closed title; the other questions are not asked.
type twoTitles struct {
	vod.Titles
	titles []vod.Title
}

func (x *twoTitles) BySwarm(_ context.Context, h bt.InfoHash) (vod.Title, error) {
	for _, t := range x.titles {
		if t.Version.InfoHashV1 == h || t.Version.InfoHashV2.Truncated() == h {
			return t, nil
		}
	}
	return vod.Title{}, vod.ErrNotFound
}

func newAnnounced(t *testing.T, edit func(*HTTPConfig)) *announced {
	x := &announced{t: t, now: time.Unix(1e9, 0)}
	x.open = vod.Version{InfoHashV1: bt.InfoHash{1}, InfoHashV2: bt.InfoHashV2{2}}
	x.shut = vod.Version{InfoHashV1: bt.InfoHash{3}, InfoHashV2: bt.InfoHashV2{4}}
	c := HTTPConfig{
		Titles: &twoTitles{titles: []vod.Title{{ID: "open", Open: true, Version: x.open}, {ID: "shut", Version: x.shut}}},
		Clock:  func() time.Time { return x.now }, Seed: 1,
	}
	if edit != nil {
		edit(&c)
	}
	x.a = NewAnnouncer(c)
	return x
}

func (x *announced) get(from, target string) (int, []byte) {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	x.a.ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

// says announces, with a peer ID made of the address, and returns the reply.
func (x *announced) says(from string, h bt.InfoHash, left int64, event announce.Event, more string) announce.HTTPReply {
	x.t.Helper()
	r := announce.HTTPRequest{InfoHash: h, Port: 6881, Left: left, NumWant: announce.Unknown, Event: event}
	copy(r.PeerID[:], "-XX0001-"+from)
	status, body := x.get(from, "/announce?"+r.Query()+more)
	reply, err := announce.ParseHTTPReply(body)
	if status != http.StatusOK || err != nil {
		x.t.Fatalf("%d %q %v", status, body, err)
	}
	return reply
}

func TestClientsOfBothVersionsAndFamiliesAreOneSwarm(t *testing.T) {
	x := newAnnounced(t, nil)
	x.says("192.0.2.1:50000", x.open.InfoHashV1, 10, announce.EventStarted, "")
	x.says("[2001:db8::1]:50000", x.open.InfoHashV2.Truncated(), 0, announce.EventStarted, "")
	got := x.says("192.0.2.2:1", x.open.InfoHashV2.Truncated(), 10, announce.EventStarted, "")
	slices.SortFunc(got.Peers, netip.AddrPort.Compare)
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:6881"), netip.MustParseAddrPort("[2001:db8::1]:6881")}
	if !slices.Equal(got.Peers, want) || got.Complete != 1 || got.Incomplete != 2 {
		t.Errorf("%+v", got)
	}
	// A seed is of no use to a seed.
	if got := x.says("192.0.2.3:1", x.open.InfoHashV1, 0, announce.EventStarted, ""); slices.Contains(got.Peers, want[1]) || len(got.Peers) != 2 {
		t.Errorf("%+v", got)
	}
	if got := x.says("192.0.2.1:50000", x.open.InfoHashV1, 0, announce.EventStopped, ""); len(got.Peers) != 0 || got.Incomplete != 1 {
		t.Errorf("who leaves is told %+v", got)
	}
	status, body := x.get("192.0.2.9:1", "/scrape?info_hash="+query(x.open.InfoHashV1)+"&info_hash="+query(x.shut.InfoHashV1))
	d, err := bencode.Parse(body)
	if err != nil || status != 200 {
		t.Fatal(status, err)
	}
	for key, v := range d.Get("files").Entries {
		n, _ := v.Get("complete").Int()
		m, _ := v.Get("incomplete").Int()
		if string(key) != string(x.open.InfoHashV1[:]) || n != 2 || m != 1 {
			t.Errorf("%q", body)
		}
	}
}

func query(h bt.InfoHash) string { return url.QueryEscape(string(h[:])) }

func TestWhereAnAnnounceSaysItIsDoesNotCount(t *testing.T) {
	x := newAnnounced(t, nil)
	x.says("192.0.2.1:50000", x.open.InfoHashV1, 10, announce.EventStarted, "&ip=198.51.100.7&ipv4=198.51.100.7&ipv6=2001:db8::7")
	got := x.says("192.0.2.2:50000", x.open.InfoHashV1, 10, announce.EventStarted, "")
	if len(got.Peers) != 1 || got.Peers[0].String() != "192.0.2.1:6881" {
		t.Errorf("%v", got.Peers)
	}
}

func TestTitlesThatAreNotOpenHaveNoAnnouncesNorScrapes(t *testing.T) {
	x := newAnnounced(t, func(c *HTTPConfig) {
		c.Own = func(netip.Addr) (netip.AddrPort, bool) { return netip.MustParseAddrPort("192.0.2.100:6881"), true }
	})
	for _, h := range []bt.InfoHash{x.shut.InfoHashV1, x.shut.InfoHashV2.Truncated(), {9}} {
		r := announce.HTTPRequest{InfoHash: h, Port: 1}
		for _, target := range []string{"/announce?" + r.Query(), "/scrape?info_hash=" + query(h)} {
			status, body := x.get("192.0.2.1:1", target)
			if want := failure("unknown swarm"); status != 404 || string(body) != string(want) {
				t.Errorf("%s: %d %q", target, status, body)
			}
		}
	}
	if len(x.a.swarms) != 0 {
		t.Errorf("%d swarms are remembered", len(x.a.swarms))
	}
}

func TestOurOwnSeedIsToldToLeechersOnly(t *testing.T) {
	own := netip.MustParseAddrPort("192.0.2.100:6881")
	x := newAnnounced(t, func(c *HTTPConfig) {
		c.Own = func(netip.Addr) (netip.AddrPort, bool) { return own, true }
	})
	if got := x.says("192.0.2.1:1", x.open.InfoHashV1, 10, announce.EventStarted, ""); !slices.Contains(got.Peers, own) || got.Complete != 1 {
		t.Errorf("%+v", got)
	}
	if got := x.says("192.0.2.2:1", x.open.InfoHashV1, 0, announce.EventStarted, ""); slices.Contains(got.Peers, own) {
		t.Errorf("%+v", got)
	}
}

func TestLocalAddressesAreToldToLocalNetworksOnly(t *testing.T) {
	x := newAnnounced(t, nil)
	x.says("10.0.0.1:1", x.open.InfoHashV1, 10, announce.EventStarted, "")
	x.says("127.0.0.1:1", x.open.InfoHashV1, 10, announce.EventStarted, "")
	if got := x.says("192.0.2.1:1", x.open.InfoHashV1, 10, announce.EventStarted, ""); len(got.Peers) != 0 {
		t.Errorf("%v", got.Peers)
	}
	if got := x.says("10.0.0.2:1", x.open.InfoHashV1, 10, announce.EventStarted, ""); len(got.Peers) != 3 {
		t.Errorf("%v", got.Peers)
	}
}

func TestPeersAreBoundedByNetworkAndForgottenInTime(t *testing.T) {
	x := newAnnounced(t, nil)
	for i := range 200 { // one /24
		x.says(fmt.Sprintf("192.0.2.%d:1", i), x.open.InfoHashV1, 10, announce.EventStarted, "")
	}
	for i := range 20 { // one household's ports
		r := announce.HTTPRequest{InfoHash: x.open.InfoHashV1, Port: uint16(1000 + i)}
		x.get("[2001:db8::1]:1", "/announce?"+r.Query())
	}
	if got := x.says("198.51.100.1:1", x.open.InfoHashV1, 10, announce.EventStarted, ""); got.Complete != peersPerAddress || got.Incomplete != peersPerNetwork+1 {
		t.Errorf("%+v", got)
	} else if len(got.Peers) != wantDefault {
		t.Errorf("%d peers are told", len(got.Peers))
	}
	x.now = x.now.Add(time.Hour)
	if got := x.says("198.51.100.2:1", x.open.InfoHashV1, 10, announce.EventStarted, ""); got.Complete != 0 || got.Incomplete != 1 || x.a.peers != 1 {
		t.Errorf("an hour later: %+v, %d remembered", got, x.a.peers)
	}
}

func TestOneHouseholdsFloodIsHeldBack(t *testing.T) {
	x := newAnnounced(t, nil)
	refused := 0
	for range httpBurst + 50 {
		r := announce.HTTPRequest{InfoHash: x.open.InfoHashV1, Port: 1}
		if status, _ := x.get("192.0.2.1:1", "/announce?"+r.Query()); status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused != 50 {
		t.Errorf("%d of %d were refused", refused, httpBurst+50)
	}
	x.says("192.0.2.2:1", x.open.InfoHashV1, 10, announce.EventStarted, "")
}

func TestBehindAProxyNobodyIsToldAsThePeerThatTheProxyIs(t *testing.T) {
	x := newAnnounced(t, func(c *HTTPConfig) { c.Proxied = true })
	x.says("127.0.0.1:1", x.open.InfoHashV1, 10, announce.EventStarted, "")
	if got := x.says("127.0.0.1:2", x.open.InfoHashV1, 10, announce.EventStarted, ""); len(got.Peers) != 0 || got.External.IsValid() {
		t.Errorf("%+v", got)
	}
}

func TestAnnouncerRefusesWhatItCannotRead(t *testing.T) {
	x := newAnnounced(t, nil)
	for target, want := range map[string]int{
		"/announce": 400, "/announce?info_hash=x": 400, "/scrape": 400, "/other": 404,
		"/scrape?" + strings.Repeat("info_hash=aaaaaaaaaaaaaaaaaaaa&", 200): 400,
	} {
		if status, _ := x.get("192.0.2.1:1", target); status != want {
			t.Errorf("%.40s: %d, want %d", target, status, want)
		}
	}
	w := httptest.NewRecorder()
	x.a.ServeHTTP(w, httptest.NewRequest("POST", "/announce", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
