package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"essaim/internal/bt/announce"
)

// TestVisitorsAreWhereADeclaredProxySaysAndNowhereWithoutOne asks the HTTP tracker, which tells clients where it sees them (BEP 24).
func TestVisitorsAreWhereADeclaredProxySaysAndNowhereWithoutOne(t *testing.T) {
	for _, c := range []struct {
		settings settings
		remote   string
		want     netip.Addr
	}{
		{settings{Secure: true, Proxies: []string{"127.0.0.1"}}, "127.0.0.1:5000", netip.MustParseAddr("192.0.2.7")},
		{settings{Secure: true, Proxies: []string{"127.0.0.1"}}, "198.51.100.1:5000", netip.MustParseAddr("198.51.100.1")}, // past the proxy
		{settings{Secure: true}, "127.0.0.1:5000", netip.Addr{}},
		{settings{}, "198.51.100.1:5000", netip.MustParseAddr("198.51.100.1")},
	} {
		n, err := openNode(t.Context(), nodeConfig{settings: c.settings, data: t.TempDir(), log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		s := &service{origin: n.origin, data: map[string][]byte{}}
		s.publish(t, n.library, n.objects)
		ask := announce.HTTPRequest{InfoHash: s.title.Version.InfoHashV1, PeerID: [20]byte{1}, Port: 6881, Left: 1, NumWant: announce.Unknown}
		r := httptest.NewRequest(http.MethodGet, "/announce?"+ask.Query(), nil)
		r.RemoteAddr = c.remote
		r.Header.Set("X-Forwarded-For", "192.0.2.7")
		w := httptest.NewRecorder()
		n.proxies.Handler(n.api).ServeHTTP(w, r)
		const key = "external ip4:"
		var seen netip.Addr
		if _, after, ok := bytes.Cut(w.Body.Bytes(), []byte(key)); ok && len(after) > 4 {
			seen, _ = netip.AddrFromSlice(after[:4])
		}
		if w.Code != http.StatusOK || seen != c.want {
			t.Errorf("%+v from %s: seen at %v, want %v; %q", c.settings, c.remote, seen, c.want, w.Body.Bytes())
		}
	}
}
