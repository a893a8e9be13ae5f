package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"essaim/internal/blob"
	"essaim/internal/blob/mem"
	"essaim/internal/bt/metainfo"
	"essaim/internal/vod"
)

// packageOf is a title of one file of these bytes, stored as its v2 root says, with its torrent.
func packageOf(t *testing.T, s blob.Store, data []byte) *Package {
	t.Helper()
	torrent, err := metainfo.Create(context.Background(), []metainfo.Source{{
		Path: "video.mp4", Size: int64(len(data)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}}, metainfo.Options{Name: "film", PieceLength: 16 << 10})
	if err != nil {
		t.Fatal(err)
	}
	f := torrent.Files[0]
	if err := s.Put(context.Background(), vod.KeyMedia(f.Root), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	p := &Package{Torrent: torrent.Bytes}
	p.Title.Version = vod.Version{
		InfoHashV1: torrent.InfoHash, InfoHashV2: torrent.InfoHashV2, PieceLength: torrent.PieceLength,
		Files: []vod.File{{Path: f.Path, Size: f.Size, Root: f.Root, FirstPiece: f.FirstPiece}},
	}
	return p
}

func TestTitleWhoseTorrentDisagreesWithItselfIsNotPublished(t *testing.T) {
	t.Parallel()
	s := mem.New()
	data := bytes.Repeat([]byte("a film, more or less. "), 4000)
	honest := packageOf(t, s, data)
	if err := honest.Verify(context.Background(), s, nil); err != nil {
		t.Fatal(err)
	}
	read, err := metainfo.Parse(honest.Torrent)
	if err != nil {
		t.Fatal(err)
	}
	// The same torrent, but for the v1 hash of its third piece.
	hash := read.Pieces[2][:]
	other := bytes.Clone(hash)
	other[0] ^= 1
	crafted := *honest
	crafted.Torrent = bytes.Replace(honest.Torrent, hash, other, 1)
	if err := crafted.Verify(context.Background(), s, nil); err == nil || !strings.Contains(err.Error(), "not this title's") {
		t.Errorf("a torrent of another info hash: %v", err)
	}
	again, err := metainfo.Parse(crafted.Torrent)
	if err != nil {
		t.Fatal(err)
	}
	crafted.Title.Version.InfoHashV1, crafted.Title.Version.InfoHashV2 = again.InfoHash, again.InfoHashV2
	if err := crafted.Verify(context.Background(), s, nil); !errors.Is(err, metainfo.ErrConflict) {
		t.Errorf("a torrent whose v1 half describes other bytes: %v", err)
	}
	cut := *honest
	cut.Torrent = honest.Torrent[:100]
	if cut.Verify(context.Background(), s, nil) == nil {
		t.Error("a torrent cut short was taken")
	}
}

// careless is a store that flips a bit of every film it is given.
type careless struct{ blob.Store }

func (c careless) Put(ctx context.Context, key string, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if strings.HasPrefix(key, "media/") {
		b[len(b)/2] ^= 1
	}
	return c.Store.Put(ctx, key, bytes.NewReader(b))
}

func TestFilmThatTheStoreSpoilsIsNotPublished(t *testing.T) {
	t.Parallel()
	ctx, objects, pub := context.Background(), mem.New(), &shelf{}
	job, err := Prepare(ctx, Request{File: filmFile(t, "silent.mp4"), Name: "A film", Open: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = job.Run(ctx, Stores{Objects: careless{objects}, Publisher: pub, Temp: filepath.Join(t.TempDir(), "tmp")}, nil)
	if err == nil || !strings.Contains(err.Error(), "as it was stored") || errors.Is(err, metainfo.ErrConflict) {
		t.Errorf("error %v", err)
	}
	if err := objects.List(ctx, "", func(key string, _ int64) bool { t.Errorf("left %s", key); return true }); err != nil {
		t.Error(err)
	}
}
