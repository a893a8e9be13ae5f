package main

import (
	"os"
	"path/filepath"
)

func trackArgs(video bool) []string {
	a := []string{"-fflags", "+bitexact", "-flags", "+bitexact", "-map_metadata", "-1", "-f", "mp4", "-movflags", "+cmaf+dash+global_sidx+frag_keyframe+skip_trailer"}
	if video {
		return append(a, "-min_frag_duration", "1900000")
	}
	return append(a, "-frag_duration", "2000000")
}

func assemble(tmp, out string) error {
	for _, n := range []string{"video-360p.mp4", "video-720p.mp4", "audio.mp4"} {
		if err := os.Rename(filepath.Join(tmp, n), filepath.Join(out, n)); err != nil {
			return err
		}
	}
	return nil
}
