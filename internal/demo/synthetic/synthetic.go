// Package synthetic makes a title that has a film's form and random bytes for pictures, so that a service can be rehearsed
// with any bit rate, without a film and without ffmpeg. It must get right that the same rate is the same title to the last
// bit, on every machine; that its boxes are as valid as a film's; and that it tells what it is, since no player can show it.
package synthetic

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/cmaf"
	"essaim/internal/vod"
)

// ID and Name are every synthetic title's: there is one at a time.
const (
	ID   = vod.TitleID("rehearsal")
	Name = "Rehearsal"
)

const path = "video.mp4"

// published is long ago, so that a catalogue, newest first, lists it behind all films.
var published = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Install puts the media and leaves of a film of 180 s and so many bits per second into s, where they are not there yet, and
// returns its title, open to everyone, and its torrent. Publishing them is the caller's next step. Another rate than
// RateMin to RateMax is vod.ErrInvalid; other errors are the store's and ctx's.
func Install(ctx context.Context, s blob.Store, rate int64) (vod.Title, []byte, error) {
	t, torrent, err := install(ctx, s, rate)
	if err != nil {
		return vod.Title{}, nil, fmt.Errorf("make the title to rehearse with: %w", err)
	}
	return t, torrent, nil
}

func install(ctx context.Context, s blob.Store, rate int64) (vod.Title, []byte, error) {
	f, err := NewFile(rate)
	if err != nil {
		return vod.Title{}, nil, err
	}
	track, err := cmaf.Read(f, f.Size())
	if err != nil {
		return vod.Title{}, nil, err
	}
	entries := []cmaf.Entry{{Path: path, Track: track}}
	manifest, err := cmaf.Manifest(entries)
	if err != nil {
		return vod.Title{}, nil, err
	}
	media := func() io.Reader { return io.NewSectionReader(f, 0, f.Size()) }
	torrent, err := metainfo.Create(ctx, []metainfo.Source{{
		Path: path, Size: f.Size(), Open: func() (io.ReadCloser, error) { return io.NopCloser(media()), nil },
	}}, metainfo.Options{Name: string(ID), CreatedBy: "essaim"})
	if err != nil {
		return vod.Title{}, nil, err
	}
	file := &torrent.Files[0]
	if err := s.Put(ctx, vod.KeyLeaves(file.Root), bytes.NewReader(bt.AppendDigests(nil, file.Leaves))); err != nil {
		return vod.Title{}, nil, err
	}
	if err := s.Put(ctx, vod.KeyMedia(file.Root), media()); err != nil {
		return vod.Title{}, nil, err
	}
	return vod.Title{
		ID: ID, Name: Name, Open: true, Published: published,
		Summary: "Random bytes in the form of a film, to rehearse with: essaim rehearse. No player can show them.",
		Version: vod.Version{
			ID: torrent.InfoHashV2.String(), InfoHashV1: torrent.InfoHash, InfoHashV2: torrent.InfoHashV2,
			PieceLength: torrent.PieceLength, DurationMs: cmaf.DurationMs(entries), Manifest: manifest,
			Files: []vod.File{{
				Path: path, Size: file.Size, Root: file.Root, FirstPiece: file.FirstPiece, Kind: vod.Video, Codec: track.Codec,
				Bandwidth: track.Bandwidth(), Width: track.Width, Height: track.Height, Index: track.Index(0),
			}},
		},
	}, torrent.Bytes, nil
}
