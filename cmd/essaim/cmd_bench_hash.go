package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"essaim/internal/bt/metainfo"
)

// benchHashCmd measures how fast a torrent is made, beside how fast its two hash functions alone could be.
type benchHashCmd struct {
	MiB  int  `default:"512" name:"mib" help:"Mebibytes of data, held in memory."`
	Runs int  `default:"7" help:"Runs; the medians are reported."`
	JSON bool `name:"json" help:"Print one JSON object."`
}

// HashBench is the outcome of RunHashBench. A gigabyte is 10^9 bytes.
type HashBench struct {
	GBPerS       float64 `json:"gb_per_s"`       // v1 and v2 creation
	LimitGBPerS  float64 `json:"limit_gb_per_s"` // SHA-1 and SHA-256 of the same bytes, one after the other, and nothing else
	RatioToLimit float64 `json:"ratio_to_limit"` // median of the runs' ratios
	SHA1GBPerS   float64 `json:"sha1_gb_per_s"`
	SHA256GBPerS float64 `json:"sha256_gb_per_s"`
	Bytes        int64   `json:"bytes"`
	PieceLength  uint32  `json:"piece_length"`
	Cores        int     `json:"cores"`
	Runs         int     `json:"runs"`
}

const (
	benchPieceLength = 256 << 10
	benchMiBMax      = 16 << 10 // it is held in memory
	benchRunsMax     = 10_000
)

// Run measures and prints.
func (c *benchHashCmd) Run() error {
	if c.MiB < 1 || c.MiB > benchMiBMax || c.Runs < 1 || c.Runs > benchRunsMax {
		return fmt.Errorf("--mib must be 1 to %d, and --runs 1 to %d", benchMiBMax, benchRunsMax)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b, err := RunHashBench(ctx, c.MiB<<20, c.Runs, os.Stderr)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(b)
	}
	fmt.Printf("Making a torrent (v1 and v2) of %d MiB in memory, %d cores: %.2f GB/s\n", c.MiB, b.Cores, b.GBPerS)
	fmt.Printf("SHA-1 and SHA-256 alone: %.2f GB/s (%.2f and %.2f)\n", b.LimitGBPerS, b.SHA1GBPerS, b.SHA256GBPerS)
	fmt.Printf("Ratio: %.3f\n", b.RatioToLimit)
	return nil
}

// RunHashBench makes a torrent of size random bytes in memory, runs times; and each time, before it, passes SHA-1 and
// SHA-256 alone over the same bytes in the same pieces on all cores. The three alternate, so that whatever else the
// machine does falls on all of them. Progress goes to log.
func RunHashBench(ctx context.Context, size, runs int, log io.Writer) (HashBench, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(rand.NewChaCha8([32]byte{1}), data); err != nil {
		return HashBench{}, err
	}
	source := metainfo.Source{Path: "data", Size: int64(size), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
	var v1, v2, both, create, ratio []float64
	for run := range runs {
		t1 := hashAlone(data, func(piece []byte) { sha1.Sum(piece) })
		t2 := hashAlone(data, func(piece []byte) { sha256.Sum256(piece) })
		start := time.Now()
		_, err := metainfo.Create(ctx, []metainfo.Source{source}, metainfo.Options{Name: "bench", PieceLength: benchPieceLength})
		if err != nil {
			return HashBench{}, err
		}
		t := time.Since(start)
		speed := func(d time.Duration) float64 { return float64(size) / 1e9 / d.Seconds() }
		v1, v2, both = append(v1, speed(t1)), append(v2, speed(t2)), append(both, speed(t1+t2))
		create, ratio = append(create, speed(t)), append(ratio, (t1+t2).Seconds()/t.Seconds())
		fmt.Fprintf(log, "run %d of %d: %.2f GB/s of %.2f\n", run+1, runs, create[run], both[run])
	}
	return HashBench{
		GBPerS: median(create), LimitGBPerS: median(both), RatioToLimit: median(ratio),
		SHA1GBPerS: median(v1), SHA256GBPerS: median(v2),
		Bytes: int64(size), PieceLength: benchPieceLength, Cores: runtime.GOMAXPROCS(0), Runs: runs,
	}, nil
}

// hashAlone is the time in which all cores together pass sum over every piece of data.
func hashAlone(data []byte, sum func(piece []byte)) time.Duration {
	var next atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				from := int(next.Add(benchPieceLength)) - benchPieceLength
				if from >= len(data) {
					return
				}
				sum(data[from:min(from+benchPieceLength, len(data))])
			}
		})
	}
	workers.Wait()
	return time.Since(start)
}

// median sorts values and returns the middle one.
func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
