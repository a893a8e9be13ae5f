package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTypeScriptKindsAreCurrent(t *testing.T) {
	root := filepath.Join("..", "..", "..", "..")
	want, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, target))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s is stale: run go run ./internal/host/browser/gen", target)
	}
}
