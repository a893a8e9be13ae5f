package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// smallEngineBench streams four seconds of film at once.
func smallEngineBench() benchEngineCmd {
	return benchEngineCmd{Runs: 1, Blocks: 2_000, Seconds: 4, Rate: 4_000_000}
}

// seedsHere runs this test binary as the seeds.
func seedsHere(ctx context.Context) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestBenchSeedsProcess$", "-test.timeout=2m")
	c.Env = append(os.Environ(), "ESSAIM_TEST_SEEDS=1")
	return c
}

// TestBenchSeedsProcess is the seeds' process of the test below, and nothing by itself.
func TestBenchSeedsProcess(t *testing.T) {
	if os.Getenv("ESSAIM_TEST_SEEDS") == "" {
		return
	}
	c := smallEngineBench()
	if err := (&benchSeedsCmd{Seconds: c.Seconds, Rate: c.Rate}).Run(); err != nil {
		t.Fatal(err)
	}
}

func TestEngineBenchReportsTheNamedFields(t *testing.T) {
	b, err := RunEngineBench(context.Background(), smallEngineBench(), seedsHere, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]float64
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["ns_per_block"] <= 0 || fields["step_ns"] <= 0 || fields["cpu_s"] <= 0 {
		t.Errorf("%s", text)
	}
	if share := fields["cpu_share"]; share <= 0 || share >= 1 {
		t.Errorf("the engine's share of the processor time is %v", share)
	}
	if fields["peer_share"] <= 0 {
		t.Errorf("no byte came from the seeds: %s", text)
	}
}

func TestBlockPathAllocatesNothing(t *testing.T) {
	_, allocs, err := blockPath(context.Background(), 20_000)
	if err != nil {
		t.Fatal(err)
	}
	if allocs > 0.01 { // of the whole process: the runtime's own are among them
		t.Errorf("%v allocations a block", allocs)
	}
}

func TestEngineBenchStopsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := RunEngineBench(ctx, smallEngineBench(), seedsHere, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEngineBenchSaysWhenTheSeedsDoNotStart(t *testing.T) {
	_, _, err := startSeeds(context.Background(), func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, os.Args[0], "-test.list=^$")
	})
	if err == nil || !strings.Contains(err.Error(), "start the seeds") {
		t.Error(err)
	}
}

func TestEngineBenchRefusesWhatItCannotHold(t *testing.T) {
	for _, args := range [][]string{{"--seconds", "1"}, {"--rate", "2G"}, {"--seconds", "3600", "--rate", "8M"}, {"--runs", "0"}, {"--blocks", "0"}} {
		var log bytes.Buffer
		if status := run(append([]string{"bench", "engine"}, args...), &log); status != 2 || !strings.Contains(log.String(), "--") {
			t.Errorf("%v: status %d, %s", args, status, log.String())
		}
	}
}
