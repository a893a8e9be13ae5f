package synthetic

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/cmaf"
	"essaim/internal/vod"
)

func file(t *testing.T, rate int64) *File {
	t.Helper()
	f, err := NewFile(rate)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func whole(t *testing.T, f *File) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || int64(len(b)) != f.Size() {
		t.Fatalf("%d bytes of %d, %v", len(b), f.Size(), err)
	}
	return b
}

func TestSyntheticFileIsATrackFileOfItsRate(t *testing.T) {
	for _, rate := range []int64{RateMin, 777_777, 2_000_000, RateMax} {
		f := file(t, rate)
		track, err := cmaf.Read(f, f.Size())
		if err != nil {
			t.Fatalf("%d bit/s: %v", rate, err)
		}
		if !track.Video || track.Codec != vod.SyntheticCodec || track.Width != width || track.Height != height {
			t.Errorf("%d bit/s: %+v", rate, track)
		}
		if want := int((rate + 999) / 1000 * 1000); track.Bandwidth() != want {
			t.Errorf("%d bit/s: the track says %d", rate, track.Bandwidth())
		}
		x := track.Index(0)
		for i, s := range x {
			if s.StartMs != uint32(i)*2000 || s.DurationMs != 2000 || s.To-s.From != uint64(rate/4) {
				t.Errorf("%d bit/s: segment %d is %+v", rate, i, s)
			}
		}
		if len(x) != 90 || x[89].To != uint64(f.Size()) {
			t.Errorf("%d bit/s: %d segments", rate, len(x))
		}
	}
}

func TestSyntheticFileIsTheSameWhereverItIsRead(t *testing.T) {
	f := file(t, RateMin)
	all := whole(t, f)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		from := random.IntN(len(all))
		p := make([]byte, random.IntN(min(40_000, len(all)-from)+1))
		if n, err := f.ReadAt(p, int64(from)); n != len(p) || err != nil || !bytes.Equal(p, all[from:from+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", len(p), from, n, err)
		}
	}
	p := make([]byte, 10)
	if n, err := f.ReadAt(p, f.Size()-4); n != 4 || !errors.Is(err, io.EOF) || !bytes.Equal(p[:4], all[len(all)-4:]) {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p, f.Size()); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := f.ReadAt(p, -1); !errors.Is(err, vod.ErrInvalid) {
		t.Errorf("before the beginning: %v", err)
	}
}

func TestSyntheticBytesDoNotCompressAndDifferByRate(t *testing.T) {
	all, other := whole(t, file(t, RateMin)), whole(t, file(t, RateMin+8))
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(all); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if packed.Len() < len(all)*98/100 {
		t.Errorf("%d bytes become %d", len(all), packed.Len())
	}
	// What a viewer of one rate holds must be of no use to another's.
	last := len(all) - 16<<10
	if bytes.Contains(other, all[last:last+64]) {
		t.Error("two rates share their bytes")
	}
}

func TestRatesAreBounded(t *testing.T) {
	for _, rate := range []int64{-1, 0, RateMin - 1, RateMax + 1, 1 << 60} {
		if _, err := NewFile(rate); !errors.Is(err, vod.ErrInvalid) {
			t.Errorf("%d: %v", rate, err)
		}
	}
}

func TestInstalledTitleIsOneWholeAndAlwaysTheSame(t *testing.T) {
	const rate = 300_000
	store := mem.New()
	title, torrent, err := Install(t.Context(), store, rate)
	if err != nil {
		t.Fatal(err)
	}
	if err := title.Validate(); err != nil || !title.Open || !title.Synthetic() || title.ID != ID || title.Version.DurationMs != 180_000 {
		t.Errorf("%v, %+v", err, title)
	}
	m, err := metainfo.Parse(torrent)
	if err != nil {
		t.Fatal(err)
	}
	f := title.Version.Files[0]
	if m.InfoHash != title.Version.InfoHashV1 || m.InfoHashV2.String() != title.Version.ID || m.Private || m.Files[0].Root != f.Root {
		t.Errorf("title and torrent differ: %+v", title.Version)
	}
	media, err := store.Open(t.Context(), vod.KeyMedia(f.Root))
	if err != nil || media.Size() != f.Size {
		t.Fatal(err)
	}
	if err := m.VerifyFile(context.Background(), 0, media); err != nil {
		t.Error(err)
	}
	object, err := store.Open(t.Context(), vod.KeyLeaves(f.Root))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(object)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := bt.ParseDigests(b)
	if err != nil || bt.FileRoot(leaves, int(title.Version.PieceLength/bt.BlockSize)) != f.Root {
		t.Errorf("leaves: %v", err)
	}
	again, _, err := Install(t.Context(), mem.New(), rate)
	if err != nil || again.Version.ID != title.Version.ID {
		t.Errorf("a second time it is %s, %v", again.Version.ID, err)
	}
	// The same for every release and machine: a rehearsal's figures are compared over years.
	if root := "5ab36886019862902cb7d849fc34efa746099bb1d8f05d624b732f4b5f5ed138"; f.Root.String() != root {
		t.Errorf("root %s, want %s", f.Root, root)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Install(ended, mem.New(), rate); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

func TestOtherReadersFindTheBoxesValid(t *testing.T) {
	probe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Fatal("no ffprobe on this machine; install ffmpeg (make test does)")
	}
	name := filepath.Join(t.TempDir(), "video.mp4")
	if err := os.WriteFile(name, whole(t, file(t, RateMin)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), probe, "-v", "fatal", "-count_packets", "-show_entries",
		"stream=codec_tag_string,nb_read_packets,width,height:format=duration", "-of", "default=nw=1", name).CombinedOutput()
	for _, want := range []string{"codec_tag_string=avc1", "width=1280", "height=720", "nb_read_packets=4500", "duration=180.000000"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %s (%v)", want, out, err)
		}
	}
}

func BenchmarkFile(b *testing.B) {
	f, err := NewFile(2_000_000)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 32<<10)
	b.SetBytes(f.Size())
	for b.Loop() {
		if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{io.NewSectionReader(f, 0, f.Size())}, p); err != nil {
			b.Fatal(err)
		}
	}
}
