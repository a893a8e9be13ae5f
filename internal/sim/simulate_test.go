package sim

import (
	"context"
	"strings"
	"testing"
)

// scene is a scene with settings changed.
func scene(t *testing.T, name string, set ...string) Scene {
	t.Helper()
	s, ok := Lookup(name)
	if !ok {
		t.Fatalf("no scene %s", name)
	}
	for _, x := range set {
		k, v, _ := strings.Cut(x, "=")
		if err := s.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// simulate plays a scene with settings changed.
func simulate(t *testing.T, seed uint64, name string, set ...string) *Result {
	t.Helper()
	r, err := Simulate(context.Background(), scene(t, name, set...), Options{Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
