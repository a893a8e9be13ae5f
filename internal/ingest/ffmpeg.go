package ingest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"essaim/internal/cmaf"
)

// What making a track may take: more than any processor of today needs, and an end.
func packLimits(f *film) limits {
	length := time.Duration(f.length * float64(time.Second))
	return limits{
		wall: time.Hour + 200*length, cpu: time.Hour + 2000*length, idle: 15 * time.Minute, memory: 8 << 30,
		// Copied, it is about as large as the film; encoded, no more than the highest ceiling for its length.
		file: 2*f.size + int64(f.length)*(8_000_000/8) + 256<<20,
	}
}

// posterLimits are for a single frame.
var posterLimits = limits{wall: 10 * time.Minute, cpu: 10 * time.Minute, memory: 4 << 30, file: 64 << 20}

// pack has ffmpeg read the film once and write the file of each of the task's tracks into dir.
func (t tools) pack(ctx context.Context, f *film, made task, preset, dir string, progress Progress) error {
	step := made.name
	progress(step, 0)
	name, folder := t.see(f.path, dir)
	args := append([]string{"-v", "error", "-nostdin", "-y", "-nostats", "-progress", "pipe:3"}, input(name)...)
	for _, k := range made.tracks {
		args = append(args, "-map", "0:"+strconv.Itoa(k.stream))
		args = append(args, k.codecArgs(preset)...)
		args = append(args, cmaf.MuxArgs(k.video)...)
		args = append(args, filepath.Join(folder, k.Path))
	}
	err := t.run(ctx, &call{
		program: t.ffmpeg, args: args, film: f.path, work: dir, limits: packLimits(f),
		progress: func(line string) {
			if us, ok := strings.CutPrefix(line, "out_time_us="); ok && f.length > 0 {
				progress(step, min(max(number(us)/1e6/f.length, 0), 1))
			}
		},
	})
	if err != nil {
		return refusal("ffmpeg could not package the film", err)
	}
	progress(step, 1)
	return nil
}

// codecArgs are ffmpeg's options for a track's content.
func (k *Track) codecArgs(preset string) []string {
	switch {
	case !k.encode && k.adts:
		return []string{"-c", "copy", "-bsf:a", "aac_adtstoasc"} // transport streams repeat the configuration in every frame
	case !k.encode:
		return []string{"-c", "copy"}
	case !k.video:
		// Silence or a cut makes the sound begin with the picture.
		from := strconv.FormatInt(int64(k.from*encodedRate+0.5), 10)
		return []string{
			"-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", strconv.Itoa(encodedRate),
			"-af", fmt.Sprintf("aresample=%d:async=1:first_pts=%s", encodedRate, from),
		}
	}
	if preset == "" {
		preset = "fast"
	}
	var filters []string
	if k.laced {
		filters = append(filters, "yadif")
	}
	filters = append(filters, fmt.Sprintf("scale=%d:%d", k.width, k.height), "setpts=PTS-STARTPTS")
	// The ceiling follows the picture's size: 700 kbit/s at 360p, 2.8 Mbit/s at 720p, 6.2 Mbit/s at 1080p.
	kbps := max(k.width*k.height*3/1000, 200)
	return []string{
		"-vf", strings.Join(filters, ","), "-fps_mode", "vfr", "-c:v", "libx264", "-preset", preset, "-profile:v", "high",
		"-pix_fmt", "yuv420p", "-crf", "22", "-maxrate", fmt.Sprintf("%dk", kbps), "-bufsize", fmt.Sprintf("%dk", 2*kbps),
		// Closed groups of exactly two seconds, the same in every rendition.
		"-force_key_frames", "expr:gte(t,n_forced*2)", "-forced-idr", "1", "-g", "9999", "-sc_threshold", "0", "-x264-params", "open-gop=0",
	}
}

// poster takes one frame at a fifth of the film as a JPEG, 640 pixels wide. A film of which no frame can be had has none.
func (t tools) poster(ctx context.Context, f *film, dir string) ([]byte, error) {
	name, folder := t.see(f.path, dir)
	for _, at := range []float64{f.length / 5, 0} {
		args := append([]string{"-v", "error", "-nostdin", "-y", "-ss", strconv.FormatFloat(at, 'f', 3, 64)}, input(name)...)
		args = append(args, "-map", "0:"+strconv.Itoa(f.video.Index), "-frames:v", "1", "-vf", "scale=iw*sar:ih,scale=640:-2",
			"-q:v", "5", "-fflags", "+bitexact", "-flags", "+bitexact", "-update", "1", "-f", "image2", filepath.Join(folder, "poster.jpg"))
		err := t.run(ctx, &call{program: t.ffmpeg, args: args, film: f.path, work: dir, limits: posterLimits})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if b, rerr := os.ReadFile(filepath.Join(dir, "poster.jpg")); err == nil && rerr == nil && len(b) > 0 {
			return b, nil
		}
	}
	return nil, nil
}
