package ingest

import (
	"context"
	"fmt"
	"math"
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
		// Silence or a cut makes the sound begin with the picture. (aresample's own cut, by first_pts, is up to 50 ms off.)
		from := int64(math.Round(k.from * encodedRate))
		codec := "aac"
		if k.codec != H264 {
			codec = "libopus"
		}
		return []string{
			"-c:a", codec, "-b:a", "128k", "-ac", "2", "-ar", strconv.Itoa(encodedRate),
			"-af", fmt.Sprintf("aresample=%d:async=1:min_hard_comp=0.01:first_pts=%d,atrim=start_pts=%d", encodedRate, min(from, 0), from),
		}
	}
	var filters []string
	if k.laced {
		filters = append(filters, "yadif")
	}
	filters = append(filters, fmt.Sprintf("scale=%d:%d", k.width, k.height), "setsar=1", "setpts=PTS-STARTPTS")
	// The ceiling follows the picture's size: 700 kbit/s at 360p, 2.8 Mbit/s at 720p, 6.2 Mbit/s at 1080p.
	kbps := max(k.width*k.height*3/1000, 200)
	// Closed groups of exactly two seconds, the same in every rendition; or as in the one that is kept.
	keys := []string{"-force_key_frames", "expr:gte(t,n_forced*2)", "-g", "9999"}
	if k.follow {
		keys[1] = "source"
	}
	args := []string{"-pix_fmt", "yuv420p"}
	switch k.codec {
	case VP9:
		kbps = kbps * 2 / 3
		args = append(append(args, keys...), "-fps_mode", "vfr", "-c:v", "libvpx-vp9", "-deadline", "good", "-cpu-used", "4", "-row-mt", "1",
			"-crf", "33", "-b:v", fmt.Sprintf("%dk", kbps), "-maxrate", fmt.Sprintf("%dk", kbps*3/2), "-bufsize", fmt.Sprintf("%dk", 3*kbps))
	case AV1:
		// SVT-AV1 takes no forced key frames: a steady rate and a fixed number of frames put them where they belong.
		filters = append(filters, "fps="+k.rate)
		args = append(args, "-fps_mode", "cfr", "-c:v", "libsvtav1", "-preset", "8", "-crf", "35", "-g", strconv.Itoa(k.group),
			"-svtav1-params", "scd=0")
	default:
		if preset == "" {
			preset = "fast"
		}
		args = append(append(args, keys...), "-fps_mode", "vfr", "-c:v", "libx264", "-preset", preset, "-profile:v", "high",
			"-crf", "22", "-maxrate", fmt.Sprintf("%dk", kbps), "-bufsize", fmt.Sprintf("%dk", 2*kbps),
			"-forced-idr", "1", "-sc_threshold", "0", "-x264-params", "open-gop=0")
	}
	return append([]string{"-vf", strings.Join(filters, ",")}, args...)
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
