package sim

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestTry(t *testing.T) {
	name := os.Getenv("SCENE")
	if name == "" {
		name = "flash-8"
	}
	for _, n := range strings.Split(name, ",") {
		s, ok := Lookup(n)
		if !ok {
			t.Fatal(n)
		}
		for _, kv := range strings.Fields(os.Getenv("SET")) {
			k, v, _ := strings.Cut(kv, "=")
			if err := s.Set(k, v); err != nil {
				t.Fatal(err)
			}
		}
		r, err := Simulate(context.Background(), s, Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("== %s %s\n", n, Summary(r))
	}
}
