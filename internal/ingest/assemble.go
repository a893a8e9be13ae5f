package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"essaim/internal/blob"
	"essaim/internal/bt/metainfo"
	"essaim/internal/cmaf"
	"essaim/internal/vod"
)

// A Package is a title ready to be stored and published.
type Package struct {
	Title   vod.Title
	Torrent []byte

	dir    string // holds the files, and their leaf layers under LeavesName
	poster []byte
	small  [][]byte               // what else goes with the title
	note   func(key string) error // is told of a key before it is put; may be nil
}

// LeavesName is what the leaf layer of the file of that path is called, in the folder that Assemble was given: 32 bytes for each block of
// 16 KiB.
func LeavesName(path string) string { return path + ".leaves" }

// Assemble makes a title of the track files in dir: checks each, settles its clock, hashes all into one hybrid torrent,
// and describes them, encrypted (Protect) or not. Leaf layers stay in dir (LeavesName). Of tracks it uses Path, Lang and Start. hashed may be nil.
func Assemble(ctx context.Context, dir string, r Request, tracks []Track, hashed func(done float64)) (p *Package, err error) {
	var opened []*os.File
	defer func() {
		for _, f := range opened {
			err = errors.Join(err, f.Close())
		}
	}()
	byPath := map[string]cmaf.Entry{}
	var sources []metainfo.Source
	for _, k := range tracks {
		e, err := settle(filepath.Join(dir, k.Path), k)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", k.Path, err)
		}
		byPath[k.Path] = e
		leaves, err := os.Create(filepath.Join(dir, LeavesName(k.Path)))
		if err != nil {
			return nil, err
		}
		opened = append(opened, leaves)
		sources = append(sources, metainfo.Source{
			Path: k.Path, Size: e.Track.Size,
			Open:   func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, k.Path)) },
			Leaves: leaves,
		})
	}
	t, err := metainfo.Create(ctx, sources, metainfo.Options{
		Name: string(r.ID), Private: !r.Open, CreatedBy: "essaim",
		Progress: func(done, total int64) {
			if hashed != nil && total > 0 {
				hashed(float64(done) / float64(total))
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("hash: %w", err)
	}
	p = &Package{Torrent: t.Bytes, dir: dir, Title: vod.Title{ID: r.ID, Name: r.Name, Summary: r.Summary, Open: r.Open}}
	v := vod.Version{ID: t.InfoHashV2.String(), InfoHashV1: t.InfoHash, InfoHashV2: t.InfoHashV2, PieceLength: t.PieceLength}
	var entries []cmaf.Entry
	for i, f := range t.Files {
		e := byPath[f.Path]
		entries = append(entries, e)
		kind := vod.Audio
		if e.Track.Video {
			kind = vod.Video
		}
		if scheme := vod.Scheme(e.Track.Scheme); i > 0 && scheme != v.Scheme || r.Open && scheme != vod.Clear {
			return nil, fmt.Errorf("%s is encrypted otherwise than the title is", f.Path)
		}
		v.Scheme = vod.Scheme(e.Track.Scheme)
		v.Files = append(v.Files, vod.File{
			Path: f.Path, Size: f.Size, Root: f.Root, FirstPiece: f.FirstPiece, Kind: kind, Codec: e.Track.Codec,
			Bandwidth: e.Track.Bandwidth(), Width: e.Track.Width, Height: e.Track.Height, KID: e.Track.KID, Index: e.Track.Index(e.Zero),
		})
	}
	v.DurationMs = cmaf.DurationMs(entries)
	if v.Manifest, err = cmaf.Manifest(entries); err != nil {
		return nil, err
	}
	p.Title.Version = v
	return p, nil
}

// settle reads one track file and brings its clock into line with the film's.
func settle(name string, k Track) (cmaf.Entry, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return cmaf.Entry{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return cmaf.Entry{}, err
	}
	t, err := cmaf.Settle(f, st.Size(), 0)
	if err != nil {
		return cmaf.Entry{}, err
	}
	// The first sample plays at k.Start of the film: a later one moves the track, an earlier one sets where the film begins.
	zero := int64(t.Segments[0].Start) - int64(math.Round(k.Start*float64(t.Timescale)))
	if zero < 0 {
		if t, err = cmaf.Settle(f, st.Size(), uint64(-zero)); err != nil {
			return cmaf.Entry{}, err
		}
		zero = 0
	}
	return cmaf.Entry{Path: k.Path, Track: t, Zero: uint64(zero), Lang: k.Lang}, f.Sync()
}

// Verify reads what s holds of the title back, and holds it against both halves of its torrent as any other reader of it would: what is
// published must be sound for viewers of v1 and of v2 alike, whatever the disk or a torrent that was tampered with say. verified may be
// nil. A torrent that disagrees with itself is metainfo.ErrConflict.
func (p *Package) Verify(ctx context.Context, s blob.Store, verified func(done float64)) error {
	t, err := metainfo.Parse(p.Torrent)
	if err != nil {
		return fmt.Errorf("check the torrent: %w", err)
	}
	v := &p.Title.Version
	if t.InfoHash != v.InfoHashV1 || t.InfoHashV2 != v.InfoHashV2 || t.PieceLength != v.PieceLength || len(t.Files) != len(v.Files) {
		return errors.New("check the torrent: it is not this title's")
	}
	for i := range t.Files {
		if f := &v.Files[i]; t.Files[i].Path != f.Path || t.Files[i].Root != f.Root || t.Files[i].FirstPiece != f.FirstPiece {
			return fmt.Errorf("check the torrent: it describes another %s", f.Path)
		}
		if verified != nil {
			verified(float64(i) / float64(len(t.Files)))
		}
		err := func() error {
			o, err := s.Open(ctx, vod.KeyMedia(t.Files[i].Root))
			if err != nil {
				return err
			}
			defer o.Close()
			return t.VerifyFile(ctx, i, o)
		}()
		if err != nil {
			return fmt.Errorf("check %s as it was stored: %w", t.Files[i].Path, err)
		}
	}
	if verified != nil {
		verified(1)
	}
	return nil
}

// AddPoster gives the title a poster; nil gives it none.
func (p *Package) AddPoster(b []byte) error {
	if len(b) > 4<<20 {
		return fmt.Errorf("a poster of %d bytes is too large", len(b))
	}
	p.poster, p.Title.Poster = b, ""
	if len(b) > 0 {
		sum := sha256.Sum256(b)
		p.Title.Poster = hex.EncodeToString(sum[:])
	}
	return nil
}

// addSmall has a small object stored with the title, and returns its name.
func (p *Package) addSmall(b []byte) string {
	p.small = append(p.small, b)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Store puts media, leaf layers and poster into s and returns the keys that were not there before, also with an error.
func (p *Package) Store(ctx context.Context, s blob.Store, stored func(done float64)) (added []string, err error) {
	put := func(key string, r io.Reader) error {
		o, err := s.Open(ctx, key)
		if err == nil {
			return o.Close()
		}
		if !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("look for %s: %w", key, err)
		}
		if p.note != nil {
			if err := p.note(key); err != nil {
				return fmt.Errorf("note %s: %w", key, err)
			}
		}
		added = append(added, key)
		if err := s.Put(ctx, key, r); err != nil {
			return fmt.Errorf("store %s: %w", key, err)
		}
		return nil
	}
	file := func(key, name string) error {
		r, err := os.Open(filepath.Join(p.dir, name))
		if err != nil {
			return err
		}
		defer r.Close()
		return put(key, r)
	}
	for i, f := range p.Title.Version.Files {
		stored(float64(i) / float64(len(p.Title.Version.Files)))
		if err := file(vod.KeyLeaves(f.Root), LeavesName(f.Path)); err != nil {
			return added, err
		}
		if err := file(vod.KeyMedia(f.Root), f.Path); err != nil {
			return added, err
		}
	}
	if p.Title.Poster != "" {
		err = put(vod.KeySmall(p.Title.Poster), bytes.NewReader(p.poster))
	}
	for _, b := range p.small {
		if err == nil {
			sum := sha256.Sum256(b)
			err = put(vod.KeySmall(hex.EncodeToString(sum[:])), bytes.NewReader(b))
		}
	}
	stored(1)
	return added, err
}
