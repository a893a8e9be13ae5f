package film

import (
	"bytes"
	"context"
	"io"
	"testing"

	"essaim/internal/blob/mem"
	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/cmaf"
	"essaim/internal/vod"
)

func TestFilmIsOneWhole(t *testing.T) {
	title := Title()
	m, err := metainfo.Parse(Torrent())
	if err != nil {
		t.Fatal(err)
	}
	v := title.Version
	if m.InfoHash != v.InfoHashV1 || m.InfoHashV2 != v.InfoHashV2 || m.PieceLength != v.PieceLength || m.Private || v.ID != m.InfoHashV2.String() {
		t.Fatalf("title.json and film.torrent differ: %v %v", m.InfoHashV2, v.InfoHashV2)
	}
	if len(m.Files) != len(v.Files) || len(v.Files) != 3 {
		t.Fatalf("%d files in the torrent, %d in the title", len(m.Files), len(v.Files))
	}
	var entries []cmaf.Entry
	for i, f := range v.Files {
		b := read(f.Path)
		if g := m.Files[i]; g.Path != f.Path || g.Size != f.Size || g.Root != f.Root || g.FirstPiece != f.FirstPiece || f.Size != int64(len(b)) {
			t.Errorf("%s: title says %+v, torrent %+v", f.Path, f, g)
		}
		if err := m.VerifyFile(context.Background(), i, bytes.NewReader(b)); err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		leaves, err := bt.ParseDigests(read(f.Path + ".leaves"))
		if err != nil || bt.FileRoot(leaves, int(v.PieceLength/bt.BlockSize)) != f.Root {
			t.Errorf("%s: leaf layer does not lead to the root (%v)", f.Path, err)
		}
		x, err := cmaf.Read(bytes.NewReader(b), f.Size)
		if err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		zero := uint64(0)
		if !x.Video {
			zero = 1024
		}
		entries = append(entries, cmaf.Entry{Path: f.Path, Track: x, Zero: zero})
		index := x.Index(zero)
		if !bytes.Equal(index.AppendBinary(nil), f.Index.AppendBinary(nil)) || f.Codec != x.Codec || f.Bandwidth != x.Bandwidth() {
			t.Errorf("%s: title.json describes another file", f.Path)
		}
		for n, s := range index {
			if x.Video && (s.StartMs != uint32(n)*2000 || s.DurationMs != 2000) {
				t.Errorf("%s: segment %d plays at %d ms for %d ms", f.Path, n, s.StartMs, s.DurationMs)
			}
		}
	}
	if manifest, err := cmaf.Manifest(entries); err != nil || manifest != v.Manifest {
		t.Errorf("title.json holds another manifest (%v)", err)
	}
}

func TestFilmKeepsToItsBudget(t *testing.T) {
	v := Title().Version
	var total int64
	heights := map[int]int64{}
	for _, f := range v.Files {
		total += f.Size
		heights[f.Height] = f.Size
	}
	if total > 11_500_000 || v.PieceLength != 32<<10 {
		t.Errorf("%d bytes in pieces of %d", total, v.PieceLength)
	}
	if v.DurationMs < 180_000 {
		t.Errorf("lasts %d ms", v.DurationMs)
	}
	if heights[720] < 2*heights[360] || heights[360] == 0 {
		t.Errorf("renditions of %v bytes", heights)
	}
	if n := len(read("poster.jpg")); n > 60_000 {
		t.Errorf("poster of %d bytes", n)
	}
}

func TestInstallPutsWhatTheTitleNames(t *testing.T) {
	ctx, s := context.Background(), mem.New()
	for range 2 { // a second time changes nothing
		if err := Install(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	title := Title()
	keys := []string{vod.KeySmall(title.Poster)}
	for _, f := range title.Version.Files {
		keys = append(keys, vod.KeyMedia(f.Root), vod.KeyLeaves(f.Root))
	}
	for _, k := range keys {
		o, err := s.Open(ctx, k)
		if err != nil {
			t.Errorf("%s: %v", k, err)
			continue
		}
		if n, err := io.Copy(io.Discard, o); err != nil || n != o.Size() || n == 0 {
			t.Errorf("%s: %d bytes, %v", k, n, err)
		}
		o.Close()
	}
	n := 0
	if err := s.List(ctx, "", func(string, int64) bool { n++; return true }); err != nil || n != len(keys) {
		t.Errorf("%d objects for %d keys, %v", n, len(keys), err)
	}
	if !title.Open || title.ID != "essaim-demo" {
		t.Errorf("title %+v", title.ID)
	}
}
