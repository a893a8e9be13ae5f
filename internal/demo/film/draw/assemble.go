package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"essaim/internal/demo/film"
	"essaim/internal/ingest"
)

// bytesMax is the most that all media files may take together: they are part of the binary.
const bytesMax = 11_500_000

// aacPriming is how far ffmpeg's AAC encoder begins before the sound, in seconds.
const aacPriming = 1024.0 / rate

// assemble turns the encoded tracks in tmp into what package film embeds, in out.
func assemble(ctx context.Context, tmp, out string) error {
	tracks := []ingest.Track{{Path: soundFile, Start: -aacPriming}}
	for _, r := range renditions {
		tracks = append(tracks, ingest.Track{Path: r.name})
	}
	p, err := ingest.Assemble(ctx, tmp, ingest.Request{
		ID: "essaim-demo", Name: "Essaim, a film of numbered scenes", Open: true,
		Summary: "Twenty-three scenes of eight seconds each, from one bee to a swarm and home again, with a clock to check them by.",
	}, tracks, nil)
	if err != nil {
		return err
	}
	poster, err := os.ReadFile(filepath.Join(out, "poster.jpg"))
	if err != nil {
		return err
	}
	if err := p.AddPoster(poster); err != nil {
		return err
	}
	title, err := film.Marshal(p.Title)
	if err != nil {
		return err
	}
	var total int64
	for _, f := range p.Title.Version.Files {
		total += f.Size
		for _, name := range []string{f.Path, ingest.LeavesName(f.Path)} {
			if err := os.Rename(filepath.Join(tmp, name), filepath.Join(out, name)); err != nil {
				return err
			}
		}
	}
	if total > bytesMax {
		return fmt.Errorf("the film takes %d bytes of %d: lower the renditions' rates", total, bytesMax)
	}
	if err := os.WriteFile(filepath.Join(out, "film.torrent"), p.Torrent, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "title.json"), title, 0o644)
}
