package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestMetricsAreShownWhereAskedForAndNowhereElse(t *testing.T) {
	door := metricsDoor{MetricsListen: "127.0.0.1:0"}
	ln, err := door.listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := openNode(t.Context(), nodeConfig{data: t.TempDir(), log: slog.New(slog.DiscardHandler), metricsListener: ln})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	visitors := httptest.NewServer(n.api)
	defer visitors.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); n.serveMetrics(t.Context(), ln) }()
	get := func(url string) (int, string) {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, _ := get(visitors.URL + "/api/v1/titles"); status != 200 {
		t.Fatalf("the API answers %d", status)
	}
	scraped := "http://" + ln.Addr().String() + "/metrics"
	status, text := get(scraped)
	if status != 200 {
		t.Fatalf("%d: %s", status, text)
	}
	for _, want := range []string{
		`essaim_api_request_seconds_count\{code="200",operation="[a-z-]+"\} 1`, "essaim_ready 0", "essaim_peers_allowed 1", "essaim_edges 0", "process_open_fds [1-9]",
	} {
		if !regexp.MustCompile("(?m)^" + want).MatchString(text) {
			t.Errorf("no line like %s", want)
		}
	}
	n.api.SetReady(true)
	if _, text := get(scraped); !strings.Contains(text, "\nessaim_ready 1\n") {
		t.Error("a service that can serve does not say so")
	}
	if status, _ := get(visitors.URL + "/metrics"); status != 404 {
		t.Errorf("visitors are answered %d", status)
	}
	ln.Close()
	<-ended
}

func TestAMetricsPortThatIsTakenIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := (&metricsDoor{MetricsListen: taken.Addr().String()}).listen(nil); err == nil || !strings.Contains(err.Error(), "--metrics-listen") {
		t.Errorf("%v", err)
	}
	if err := (&metricsDoor{MetricsListen: "nonsense"}).Validate(); err == nil || !strings.Contains(err.Error(), "ADDRESS:PORT") {
		t.Errorf("%v", err)
	}
}
