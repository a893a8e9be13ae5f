package places

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOnlyADeclaredProxySaysWhenceARequestCame(t *testing.T) {
	proxies, err := ParseProxies([]string{"127.0.0.1", "10.0.0.0/8", "2001:db8::/32"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, remote string
		says         []string
		want         string
	}{
		{"through a proxy", "127.0.0.1:4000", []string{"192.0.2.7"}, "192.0.2.7:0"},
		{"over IPv6", "[2001:db8::1]:4000", []string{"2001:db9::7"}, "[2001:db9::7]:0"},
		{"mapped", "[::ffff:127.0.0.1]:4000", []string{"::ffff:192.0.2.7"}, "192.0.2.7:0"},
		{"with a port", "127.0.0.1:4000", []string{"192.0.2.7:5555"}, "192.0.2.7:0"},
		{"through two proxies", "127.0.0.1:4000", []string{"192.0.2.7, 10.1.2.3"}, "192.0.2.7:0"},
		{"on two lines", "127.0.0.1:4000", []string{"192.0.2.7", "10.1.2.3"}, "192.0.2.7:0"},
		{"who lies before the proxy", "127.0.0.1:4000", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7:0"},
		{"who lies that it is a proxy's client", "192.0.2.9:4000", []string{"198.51.100.1"}, "192.0.2.9:4000"},
		{"a proxy that says nothing", "127.0.0.1:4000", nil, "127.0.0.1:4000"},
		{"nonsense", "127.0.0.1:4000", []string{"unknown"}, "127.0.0.1:4000"},
		{"nonsense before a proxy", "127.0.0.1:4000", []string{"x, 10.1.2.3"}, "10.1.2.3:0"},
		{"nobody but proxies", "127.0.0.1:4000", []string{"10.9.9.9, 10.1.2.3"}, "10.9.9.9:0"},
	} {
		var got string
		h := proxies.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.remote
		for _, line := range c.says {
			r.Header.Add("X-Forwarded-For", line)
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want || r.RemoteAddr != c.remote {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestProxiesAreAddressesOrPrefixes(t *testing.T) {
	for _, bad := range []string{"", "proxy.example", "10.0.0.0/33", "127.0.0.1:80"} {
		if _, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
