package main

import (
	"bytes"
	"os"
	"testing"
)

func TestPackageBenchMeasuresAllThreeAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	b, err := RunPackageBench(t.Context(), &benchPackageCmd{MiB: 16, Runs: 1, Scheme: "cenc", Dir: dir}, &log)
	if err != nil {
		t.Fatal(err)
	}
	if b.Bytes < 8<<20 || b.Bytes > 32<<20 || b.CopyMBPerS <= 0 || b.ClearMBPerS <= 0 || b.EncryptedMBPerS <= 0 || b.PeakMiB <= 0 || b.Scheme != "cenc" {
		t.Errorf("%+v", b)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v %v", list, err)
	}
}
