package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"essaim/internal/blob/dir"
	"essaim/internal/ingest"
	"essaim/internal/vod"
)

// benchPackageCmd measures what taking in a film costs that needs no encoding: packaged, hashed, stored and checked, in the clear and
// encrypted, beside what ffmpeg alone takes to copy it.
type benchPackageCmd struct {
	MiB       int    `default:"1024" name:"mib" help:"Mebibytes of film, made for it; the disk must hold six times as many."`
	Runs      int    `default:"3" help:"Runs of each; the medians are reported."`
	Scheme    string `default:"cbcs" enum:"cbcs,cenc" help:"How it is encrypted (${enum})."`
	Dir       string `type:"path" help:"Folder to work in; the system's temporary one if absent. What is made there is removed."`
	NoSandbox bool   `name:"no-sandbox" help:"Run ffmpeg without a sandbox; the film is the command's own."`
	JSON      bool   `name:"json" help:"Print one JSON object."`
}

// PackageBench is the outcome of RunPackageBench. A megabyte is 10^6 bytes; times are medians.
type PackageBench struct {
	Bytes             int64   `json:"bytes"`              // of the film
	CopyMBPerS        float64 `json:"copy_mb_per_s"`      // ffmpeg -c copy, and nothing else
	ClearMBPerS       float64 `json:"clear_mb_per_s"`     // packaged, hashed for both BitTorrents, stored, read back and checked
	EncryptedMBPerS   float64 `json:"encrypted_mb_per_s"` // the same, encrypted before it is hashed
	Surcharge         float64 `json:"surcharge"`          // of time, by encryption: 0.1 is 10 %
	ClearCPUSeconds   float64 `json:"clear_cpu_s"`        // processor time, ffmpeg's included
	EncryptCPUSeconds float64 `json:"encrypted_cpu_s"`    //
	SurchargeCPU      float64 `json:"surcharge_cpu"`      // of processor time
	PeakMiB           float64 `json:"peak_mib"`           // of this process's memory over all runs, ffmpeg's not included
	Scheme            string  `json:"scheme"`             //
	Cores             int     `json:"cores"`              //
	Runs              int     `json:"runs"`               //
}

const packageMiBMax = 64 << 10

// Run measures and prints.
func (c *benchPackageCmd) Run() error {
	if c.MiB < 16 || c.MiB > packageMiBMax || c.Runs < 1 || c.Runs > 100 {
		return fmt.Errorf("--mib must be 16 to %d, and --runs 1 to 100", packageMiBMax)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := RunPackageBench(ctx, c, os.Stderr)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(b)
	}
	fmt.Printf("A film of %.2f GB: ffmpeg -c copy %.0f MB/s, taken in %.0f MB/s, encrypted (%s) %.0f MB/s.\n",
		float64(b.Bytes)/1e9, b.CopyMBPerS, b.ClearMBPerS, b.Scheme, b.EncryptedMBPerS)
	fmt.Printf("Encryption adds %.1f %% of time and %.1f %% of processor time. Most memory: %.0f MiB.\n", 100*b.Surcharge, 100*b.SurchargeCPU, b.PeakMiB)
	return nil
}

// RunPackageBench makes a film and takes it in, in the clear and encrypted in turn, so that whatever else the machine does falls on
// both. Progress goes to log.
func RunPackageBench(ctx context.Context, c *benchPackageCmd, log io.Writer) (b PackageBench, err error) {
	tmp, err := os.MkdirTemp(c.Dir, "essaim-bench-package-")
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	film := filepath.Join(tmp, "film.mp4")
	if b.Bytes, err = packageFilm(ctx, tmp, film, int64(c.MiB)<<20); err != nil {
		return b, err
	}
	var copied, clear, locked, clearCPU, lockedCPU, more, moreCPU []float64
	for run := range c.Runs {
		d, _, err := timed(func() error {
			out := filepath.Join(tmp, "copy.mp4")
			return errors.Join(ffmpegQuietly(ctx, "-i", film, "-c", "copy", out), os.Remove(out))
		})
		if err != nil {
			return b, err
		}
		copied = append(copied, d)
		var each [2][2]float64
		for i, open := range []bool{true, false} {
			each[i][0], each[i][1], err = timed(func() error { return takeIn(ctx, c, film, filepath.Join(tmp, "data"), open) })
			if err != nil {
				return b, err
			}
		}
		clear, locked = append(clear, each[0][0]), append(locked, each[1][0])
		clearCPU, lockedCPU = append(clearCPU, each[0][1]), append(lockedCPU, each[1][1])
		more, moreCPU = append(more, each[1][0]/each[0][0]-1), append(moreCPU, each[1][1]/each[0][1]-1)
		fmt.Fprintf(log, "run %d of %d: copied in %.2f s, taken in in %.2f s (%.2f s of processor), encrypted in %.2f s (%.2f s)\n",
			run+1, c.Runs, d, each[0][0], each[0][1], each[1][0], each[1][1])
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return b, err
	}
	mb := float64(b.Bytes) / 1e6
	b.CopyMBPerS, b.ClearMBPerS, b.EncryptedMBPerS = mb/median(copied), mb/median(clear), mb/median(locked)
	b.ClearCPUSeconds, b.EncryptCPUSeconds = median(clearCPU), median(lockedCPU)
	b.Surcharge, b.SurchargeCPU = median(more), median(moreCPU)
	b.PeakMiB = float64(u.Maxrss) / 1024
	b.Scheme, b.Cores, b.Runs = c.Scheme, runtime.GOMAXPROCS(0), c.Runs
	return b, nil
}

// packageFilm makes a film of about size bytes: some seconds of noise, encoded once at 20 Mbit/s, over and over.
func packageFilm(ctx context.Context, dir, name string, size int64) (int64, error) {
	seed := filepath.Join(dir, "seed.mp4")
	const seconds = 4
	err := ffmpegQuietly(ctx, "-f", "lavfi", "-i", "testsrc2=s=640x360:r=25,noise=alls=60:allf=t,format=yuv420p",
		"-f", "lavfi", "-i", "sine=r=48000", "-t", strconv.Itoa(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "20M",
		"-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-c:a", "aac", seed)
	if err != nil {
		return 0, err
	}
	st, err := os.Stat(seed)
	if err != nil {
		return 0, err
	}
	length := max(float64(size)/float64(st.Size())*seconds, 4)
	err = ffmpegQuietly(ctx, "-stream_loop", "-1", "-i", seed, "-t", strconv.FormatFloat(length, 'f', 2, 64), "-c", "copy", name)
	if err != nil {
		return 0, err
	}
	if st, err = os.Stat(name); err != nil {
		return 0, err
	}
	return st.Size(), os.Remove(seed)
}

func ffmpegQuietly(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return ingest.ErrNoFfmpeg
	}
	if err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, out)
	}
	return nil
}

// timed is how long do took, and how many seconds of processor it and its programs had.
func timed(do func() error) (seconds, cpu float64, err error) {
	usage := func() (s float64) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var u syscall.Rusage
			if e := syscall.Getrusage(who, &u); e != nil {
				err = e
			}
			s += float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
		}
		return s
	}
	before, start := usage(), time.Now()
	if err := do(); err != nil {
		return 0, 0, err
	}
	return time.Since(start).Seconds(), usage() - before, err
}

// takeIn ingests the film into a folder of its own and removes it.
func takeIn(ctx context.Context, c *benchPackageCmd, film, data string, open bool) (err error) {
	job, err := ingest.Prepare(ctx, ingest.Request{
		File: film, Name: "A film", Open: open, Scheme: vod.Scheme(c.Scheme), NoSandbox: c.NoSandbox,
	}, nil)
	if err != nil {
		return err
	}
	if anew, why := job.Reencodes(); anew {
		return fmt.Errorf("the film would be encoded anew: %s", why)
	}
	objects, err := dir.Open(filepath.Join(data, "objects"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close(), os.RemoveAll(data)) }()
	_, err = job.Run(ctx, ingest.Stores{
		Objects: objects, Publisher: nowhere{}, Keys: passingKeys{}, Temp: filepath.Join(data, "tmp"),
	}, nil)
	return err
}

// nowhere takes what is published, and forgets it.
type nowhere struct{}

func (nowhere) Publish(context.Context, vod.Title, []byte) error { return nil }

// passingKeys are keys that nobody keeps.
type passingKeys struct{}

func (passingKeys) Draw(_ context.Context, _ string, tiers []vod.Tier) (list []vod.ContentKey, err error) {
	for _, t := range tiers {
		k := vod.ContentKey{Tier: t}
		rand.Read(k.KID[:]) // it never fails
		rand.Read(k.Key[:])
		list = append(list, k)
	}
	return list, nil
}

func (passingKeys) Open(context.Context, []vod.KID) ([]vod.ContentKey, error) {
	return nil, vod.ErrNotFound
}

func (passingKeys) Discard(context.Context, string) error { return nil }
