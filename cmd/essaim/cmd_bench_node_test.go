package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// endHere runs this test binary as an end of the bench.
func endHere(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBenchEndProcess$", "-test.timeout=2m")
	c.Env = append(os.Environ(), "ESSAIM_TEST_END="+strings.Join(args, "\n"))
	return c
}

// TestBenchEndProcess is either end of the test below, and nothing by itself.
func TestBenchEndProcess(t *testing.T) {
	args := os.Getenv("ESSAIM_TEST_END")
	if args == "" {
		return
	}
	var c benchEndCmd
	p, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Parse(strings.Split(args, "\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
}

func TestNodeBenchServesOverBothAndPrintsOneLine(t *testing.T) {
	t.Parallel()
	c := benchNodeCmd{MiB: 2, Runs: 1, Over: "both", JSON: true}
	b, err := RunNodeBench(t.Context(), c, endHere, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.print(b, &out); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n, out.String())
	}
	var fields map[string]float64
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"tcp_mb_per_s", "tcp_cpu_s_per_gb", "tcp_leecher_cpu_s_per_gb",
		"webrtc_mb_per_s", "webrtc_cpu_s_per_gb", "webrtc_leecher_cpu_s_per_gb", "webrtc_mb_per_core_s",
	} {
		if fields[name] <= 0 {
			t.Errorf("%s is %v in %s", name, fields[name], out.String())
		}
	}
}

func TestNodeBenchRefusesWhatItCannotHold(t *testing.T) {
	for _, args := range [][]string{{"--mib", "0"}, {"--mib", "5000"}, {"--runs", "0"}, {"--over", "udp"}} {
		var log bytes.Buffer
		if status := run(append([]string{"bench", "node"}, args...), &log); status != 2 || !strings.Contains(log.String(), "--") {
			t.Errorf("%v: status %d, %s", args, status, log.String())
		}
	}
}
