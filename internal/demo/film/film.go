// Package film is the demo's film, inside the binary: twenty-three numbered scenes with a clock and a score, drawn by the
// program in draw, already packaged, so that the demo runs without ffmpeg. What it embeds must be one whole: the title,
// the torrent, the leaf layers and the media come from one run of that program, and a test holds them together.
package film

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"

	"essaim/internal/blob"
	"essaim/internal/bt"
	"essaim/internal/cmaf/index"
	"essaim/internal/vod"
)

//go:generate go run ./draw -out .

//go:embed film.torrent title.json poster.jpg *.mp4 *.leaves
var files embed.FS

// Torrent is the film's torrent file.
func Torrent() []byte { return read("film.torrent") }

// Title describes the film. It is open to everyone, and undated: the catalogue dates it.
func Title() vod.Title {
	t, err := unmarshal(read("title.json"))
	if err != nil {
		panic("film: embedded title.json: " + err.Error()) // made by draw and tested with it
	}
	return t
}

// Install puts the film's media, leaf layers and poster into s. What is there already stays as it is. Publishing Title with
// Torrent is the caller's next step.
func Install(ctx context.Context, s blob.Store) error {
	t := Title()
	put := func(key, name string) error {
		if err := s.Put(ctx, key, bytes.NewReader(read(name))); err != nil {
			return fmt.Errorf("install the demo's film: %w", err)
		}
		return nil
	}
	for _, f := range t.Version.Files {
		if err := put(vod.KeyLeaves(f.Root), f.Path+".leaves"); err != nil {
			return err
		}
		if err := put(vod.KeyMedia(f.Root), f.Path); err != nil {
			return err
		}
	}
	return put(vod.KeySmall(t.Poster), "poster.jpg")
}

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic("film: " + err.Error()) // embedded by name above
	}
	return b
}

// description is title.json.
type description struct {
	ID          vod.TitleID
	Name        string
	Summary     string
	Poster      string
	InfoHash    string
	InfoHashV2  string
	PieceLength uint32
	DurationMs  uint32
	Manifest    string
	Files       []file
}

type file struct {
	Path       string
	Size       int64
	Root       string
	FirstPiece uint32
	Kind       vod.Kind
	Codec      string
	Bandwidth  int
	Width      int
	Height     int
	Index      []byte // as index.Index.AppendBinary writes it
}

// Marshal writes the description that Title reads.
func Marshal(t vod.Title) ([]byte, error) {
	v := t.Version
	d := description{
		t.ID, t.Name, t.Summary, t.Poster, v.InfoHashV1.String(), v.InfoHashV2.String(), v.PieceLength, v.DurationMs, v.Manifest, nil,
	}
	for _, f := range v.Files {
		d.Files = append(d.Files, file{
			f.Path, f.Size, f.Root.String(), f.FirstPiece, f.Kind, f.Codec, f.Bandwidth, f.Width, f.Height, f.Index.AppendBinary(nil),
		})
	}
	b, err := json.MarshalIndent(d, "", " ")
	return append(b, '\n'), err
}

func unmarshal(b []byte) (vod.Title, error) {
	var d description
	if err := json.Unmarshal(b, &d); err != nil {
		return vod.Title{}, err
	}
	v1, err1 := bt.ParseInfoHash(d.InfoHash)
	v2, err2 := bt.ParseInfoHashV2(d.InfoHashV2)
	if err := errors.Join(err1, err2); err != nil {
		return vod.Title{}, fmt.Errorf("info hashes: %w", err)
	}
	v := vod.Version{
		ID: d.InfoHashV2, InfoHashV1: v1, InfoHashV2: v2, PieceLength: d.PieceLength, DurationMs: d.DurationMs, Manifest: d.Manifest,
	}
	for _, f := range d.Files {
		root, err := bt.ParseDigest(f.Root)
		if err != nil {
			return vod.Title{}, fmt.Errorf("%s: %w", f.Path, err)
		}
		x, err := index.Parse(f.Index)
		if err != nil {
			return vod.Title{}, fmt.Errorf("%s: %w", f.Path, err)
		}
		v.Files = append(v.Files, vod.File{
			Path: f.Path, Size: f.Size, Root: root, FirstPiece: f.FirstPiece, Kind: f.Kind, Codec: f.Codec,
			Bandwidth: f.Bandwidth, Width: f.Width, Height: f.Height, Index: x,
		})
	}
	return vod.Title{ID: d.ID, Name: d.Name, Summary: d.Summary, Open: true, Poster: d.Poster, Version: v}, nil
}
