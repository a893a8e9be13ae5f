// Command draw makes the demo's film: it draws every frame and synthesises every sound in Go, hands them to ffmpeg as
// raw video and PCM, and writes next to package film what publishing the film needs, so that the demo itself runs
// without ffmpeg. Run it by `make film` (or go generate in the folder above); it takes some minutes.
//
// It must get right: a run repeats the last one byte for byte (seeds are constants, encoders run on one thread), key frames
// fall on every even second in both renditions, and all files together stay within the binary's budget.
package main

import (
	"context"
	"flag"
	"fmt"
	"image/png"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	width, height = 1280, 720
	fps           = 25
	sceneSeconds  = 8
	sceneFrames   = sceneSeconds * fps
)

func main() {
	out := flag.String("out", ".", "folder to write the film to")
	still := flag.String("still", "", "draw only these moments, comma-separated seconds, as PNG files")
	poster := flag.Bool("poster", false, "draw only the poster")
	encoded := flag.String("assemble", "", "draw nothing, take the encoded tracks out of this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *still, *encoded, *poster); err != nil {
		fmt.Fprintln(os.Stderr, "draw:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, still, encoded string, posterOnly bool) error {
	show := newShow()
	switch {
	case still != "":
		return stills(show, out, still)
	case posterOnly:
		return writePoster(show, out)
	case encoded != "":
		return assemble(ctx, encoded, out)
	}
	if err := writePoster(show, out); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(out, ".draw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	sound := filepath.Join(tmp, "score.wav")
	if err := writeScore(sound, len(show.scenes)*sceneSeconds); err != nil {
		return fmt.Errorf("score: %w", err)
	}
	if err := encode(ctx, show, sound, tmp); err != nil {
		return err
	}
	return assemble(ctx, tmp, out)
}

// stills writes single frames, for looking at the drawing without encoding it.
func stills(show *show, out, list string) error {
	c := newCanvas(width, height)
	for _, s := range strings.Split(list, ",") {
		at, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("moment %q: %w", s, err)
		}
		show.frame(c, int(at*fps))
		f, err := os.Create(filepath.Join(out, "still-"+s+".png"))
		if err != nil {
			return err
		}
		if err := png.Encode(f, c.img); err != nil {
			f.Close()
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
