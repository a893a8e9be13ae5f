package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

func TestHashBenchReportsTheNamedFields(t *testing.T) {
	b, err := RunHashBench(context.Background(), 1<<20, 2, io.Discard)
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
	for _, name := range []string{"gb_per_s", "limit_gb_per_s", "ratio_to_limit"} {
		if fields[name] <= 0 {
			t.Errorf("%s is %v", name, fields[name])
		}
	}
}

func TestHashBenchStopsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := RunHashBench(ctx, 1<<20, 1, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
