package record_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

// TestGoldenRecordGivesTheSameOutputsAsEver replays a flight of one viewer (an origin, an honest peer, a liar, a seek, a
// policy switch) and compares the digest of all outputs. The browser's half runs the same file in WebAssembly. When a
// change of policy is meant, run the engine's tests with -rewrite.
func TestGoldenRecordGivesTheSameOutputsAsEver(t *testing.T) {
	flight, err := os.ReadFile("../testdata/golden.rec")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../testdata/golden.sha256")
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New()
	h := sha256.New()
	var in engine.Input
	var out []engine.Output
	var buf []byte
	steps := 0
	for len(flight) > 0 {
		now, rest, err := record.NextStep(flight, &in)
		if err != nil {
			t.Fatalf("step %d: %v", steps, err)
		}
		flight = rest
		out = e.Step(now, in, out[:0])
		for i := range out {
			buf = record.AppendOutput(buf[:0], &out[i])
			h.Write(buf)
		}
		steps++
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Errorf("after %d steps the outputs' digest is %s, want %s", steps, got, want)
	}
}
