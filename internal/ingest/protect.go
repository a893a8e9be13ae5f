package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"essaim/internal/cmaf"
	"essaim/internal/drm"
	"essaim/internal/vod"
)

// Protect encrypts the track files in dir in place, those of one tier (vod.TierOf) with one key, which keys draws for job. A file is
// replaced in one step, so that a run that was broken off can be begun again under the same job: what is encrypted already stays as
// it is. The number that keeps initialization vectors apart is a track's place among tracks, which must therefore not change between
// such runs. protected may be nil.
func Protect(ctx context.Context, dir string, scheme vod.Scheme, tracks []Track, keys vod.ContentKeys, job string, protected func(done float64)) error {
	if len(tracks) > math.MaxUint8 {
		return fmt.Errorf("encrypt %d tracks: at most %d can be", len(tracks), math.MaxUint8)
	}
	var tiers, each []vod.Tier
	var total, before int64
	found := make([]*cmaf.Track, len(tracks))
	for i, k := range tracks {
		t, err := readTrack(filepath.Join(dir, k.Path))
		if err != nil {
			return fmt.Errorf("check %s: %w", k.Path, err)
		}
		kind := vod.Audio
		if t.Video {
			kind = vod.Video
		}
		tier := vod.TierOf(kind, t.Height)
		if each = append(each, tier); !slices.Contains(tiers, tier) {
			tiers = append(tiers, tier)
		}
		found[i], total = t, total+t.Size
	}
	drawn, err := keys.Draw(ctx, job, tiers)
	if err != nil {
		return fmt.Errorf("draw keys: %w", err)
	}
	if len(drawn) != len(tiers) {
		return fmt.Errorf("draw keys: %d of %d", len(drawn), len(tiers))
	}
	var kids [][16]byte
	for _, k := range drawn {
		kids = append(kids, k.KID)
	}
	for i, k := range tracks {
		key := drawn[slices.Index(tiers, each[i])]
		size := found[i].Size
		o := drm.Options{Scheme: drm.Scheme(scheme), KID: key.KID, Key: key.Key, KIDs: kids, File: uint8(i)}
		if protected != nil {
			o.Progress = func(done, _ int64) { protected(float64(before+done) / float64(total)) }
		}
		switch t := found[i]; {
		case t.Scheme == string(scheme) && t.KID == key.KID:
		case t.Scheme != "":
			err = errors.New("it is encrypted with another key already")
		default:
			err = encryptInPlace(ctx, filepath.Join(dir, k.Path), size, o)
		}
		if err != nil {
			return fmt.Errorf("encrypt %s: %w", k.Path, err)
		}
		before += size
	}
	return nil
}

// encryptInPlace puts the encrypted form of a file in its place.
func encryptInPlace(ctx context.Context, name string, size int64, o drm.Options) error {
	src, err := os.Open(name)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(name+".encrypted", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = drm.Encrypt(ctx, dst, src, size, o)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return errors.Join(err, os.Remove(dst.Name()))
	}
	return os.Rename(dst.Name(), name)
}

// readTrack reads a track file's boxes.
func readTrack(name string) (*cmaf.Track, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// Its index may be inexact yet: Assemble settles it.
	return cmaf.Scan(f, st.Size())
}
