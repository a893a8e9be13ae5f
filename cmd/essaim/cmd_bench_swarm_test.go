package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

func TestMain(m *testing.M) { // bench starts this program again, as its other end, and a test of ingest to kill it
	if len(os.Args) > 2 && (os.Args[1] == "bench" || os.Args[1] == "ingest") {
		os.Exit(run(os.Args[1:], os.Stderr))
	}
	os.Exit(m.Run())
}

func TestBenchSwarmRelaysOneOfferAndOneAnswerForEachPair(t *testing.T) {
	if testing.Short() {
		t.Skip("holds a swarm for some seconds")
	}
	var out bytes.Buffer
	c := benchSwarmCmd{Peers: 6, Minutes: 0.05, JSON: true}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	var b SwarmBench
	if err := json.Unmarshal(out.Bytes(), &b); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	if want := 6 * 5 / 2; b.Pairs != want || b.OffersPerPair != 1 || b.AnswersPerPair != 1 {
		t.Errorf("%s", out.Bytes())
	}
	if b.BytesPerPair < 2*float64(len(benchSDP)) || b.CPUSeconds <= 0 {
		t.Errorf("%s", out.Bytes())
	}
}
