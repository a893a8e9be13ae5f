package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"essaim/internal/cmaf"
)

// A rendition is one size of the picture. The averages are chosen so that the whole film fits its budget.
type rendition struct {
	name          string
	width, height int
	kbps          int
}

// soundFile is the track of the score.
const soundFile = "audio.mp4"

var renditions = []rendition{{"video-360p.mp4", 640, 360, 88}, {"video-720p.mp4", 1280, 720, 285}}

// encode draws all frames, on all processors, and has ffmpeg write the renditions and the sound into tmp.
func encode(ctx context.Context, s *show, sound, tmp string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := []string{
		"-v", "error", "-nostdin", "-y",
		"-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", fmt.Sprintf("%dx%d", width, height), "-r", fmt.Sprint(fps), "-i", "pipe:3",
		"-i", sound,
		"-filter_complex", fmt.Sprintf("[0:v]split=2[hi][s];[s]scale=%d:%d:flags=area[lo]", renditions[0].width, renditions[0].height),
	}
	for i, r := range renditions {
		args = append(args,
			"-map", []string{"[lo]", "[hi]"}[i],
			"-c:v", "libx264", "-preset", "medium", "-tune", "animation", "-profile:v", "main",
			"-b:v", fmt.Sprintf("%dk", r.kbps), "-maxrate", fmt.Sprintf("%dk", r.kbps*5/2), "-bufsize", fmt.Sprintf("%dk", r.kbps*4),
			"-g", fmt.Sprint(2*fps), "-keyint_min", fmt.Sprint(2*fps), "-sc_threshold", "0", "-x264-params", "open-gop=0",
			"-threads", "1", // with more, x264's rate control depends on timing, and no run repeats another
			"-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
		)
		args = append(args, cmaf.MuxArgs(true)...)
		args = append(args, filepath.Join(tmp, r.name))
	}
	args = append(args, "-map", "1:a", "-c:a", "aac", "-b:a", "64k")
	args = append(args, cmaf.MuxArgs(false)...)
	args = append(args, filepath.Join(tmp, soundFile))

	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	cmd.ExtraFiles = []*os.File{r}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ffmpeg: %w", err)
	}
	r.Close()
	werr := drawAll(s, w)
	if err := w.Close(); werr == nil {
		werr = err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ffmpeg: %w", err)
	}
	return werr
}

// drawAll writes every frame in order, drawing ahead on all processors.
func drawAll(s *show, w io.Writer) error {
	type job struct {
		n    int
		buf  []byte
		done chan struct{}
	}
	workers := runtime.GOMAXPROCS(0)
	jobs := make(chan *job)
	order := make(chan *job, 4*workers)
	free := make(chan []byte, 4*workers)
	for range 4 * workers {
		free <- make([]byte, width*height*3/2)
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			c := newCanvas(width, height)
			for j := range jobs {
				s.frame(c, j.n)
				c.yuv(j.buf)
				close(j.done)
			}
		})
	}
	group.Go(func() {
		defer close(order)
		defer close(jobs)
		for n := range s.frames() {
			var buf []byte
			select {
			case buf = <-free:
			case <-stop:
				return
			}
			j := &job{n, buf, make(chan struct{})}
			jobs <- j
			order <- j
		}
	})
	started := time.Now()
	var err error
	for j := range order {
		<-j.done
		if _, err = w.Write(j.buf); err != nil {
			break
		}
		free <- j.buf
		if j.n%sceneFrames == sceneFrames-1 {
			fmt.Fprintf(os.Stderr, "scene %d of %d drawn, %.0f s\n", j.n/sceneFrames+1, len(s.scenes), time.Since(started).Seconds())
		}
	}
	close(stop)
	for range order { // let the drawers end
	}
	group.Wait()
	return err
}
