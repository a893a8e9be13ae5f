package metainfo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"essaim/internal/bt"
)

// testData is n bytes that any other program can reproduce: bits 16 to 23 of a linear congruential generator.
func testData(seed uint32, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		seed = (seed*1103515245 + 12345) & 0x7fffffff
		data[i] = byte(seed >> 16)
	}
	return data
}

type testFile struct {
	path string
	data []byte
}

func testFiles() []testFile {
	return []testFile{
		{"video-360p.mp4", testData(3, 300_000)},
		{"video-720p.mp4", testData(4, 500_001)},
		{"sub.mp4", testData(5, 3)},
		{"sub/a.mp4", testData(2, 65536)},
		{"audio.mp4", testData(1, 100_000)},
	}
}

func sources(files []testFile) []Source {
	list := make([]Source, len(files))
	for i, f := range files {
		list[i] = source(f.path, f.data)
	}
	return list
}

func source(path string, data []byte) Source {
	return Source{Path: path, Size: int64(len(data)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}
}

func testOptions() Options {
	return Options{
		Name: "film", PieceLength: 64 << 10, Private: true,
		Trackers:     []string{"wss://tracker.example/", "udp://tracker.example:6969"},
		WebSeeds:     []string{"https://origin.example/"},
		CreatedBy:    "Essaim",
		CreationDate: time.Unix(1700000000, 0),
	}
}

func mustCreate(t testing.TB, files []testFile, o Options) *Torrent {
	t.Helper()
	torrent, err := Create(context.Background(), sources(files), o)
	if err != nil {
		t.Fatal(err)
	}
	return torrent
}

// The digests were computed by an independent program in another language.
func TestCreateMatchesKnownAnswers(t *testing.T) {
	torrent := mustCreate(t, testFiles(), testOptions())
	if got := torrent.InfoHash.String(); got != "08e2014dda31a56b1851309f9b204e3c81e86067" {
		t.Errorf("v1 info hash %s", got)
	}
	if got := torrent.InfoHashV2.String(); got != "d4ab304a64bf63fb6ea73c2efb34638ae5917de07e1cc7158b977846cd9b5ff8" {
		t.Errorf("v2 info hash %s", got)
	}
	sum := sha256.Sum256(torrent.Bytes)
	if got := hex.EncodeToString(sum[:]); len(torrent.Bytes) != 2007 || got != "1996b2b1b1c76f16a2d8d1a2a8ce5217d0b39f9693e5e9415444420b95aa5f08" {
		t.Errorf("torrent file of %d bytes, %s", len(torrent.Bytes), got)
	}
	want := []struct {
		path  string
		first uint32
		root  string
	}{
		{"audio.mp4", 0, "1b1492045137445a698d557f33f50710b7b8a34c6149207c899735ebd465f7fa"},
		{"sub/a.mp4", 2, "fa8a0670fe025e908f01a09dcbd592eb30cbdae3ae2cc480f841919fc352b5c3"},
		{"sub.mp4", 3, "c78623763d6fb0f36bb723bff1938b33c5997eef3861c03cc6ed6ad158727c5e"},
		{"video-360p.mp4", 4, "3cc3dfa9627821ae4bd81812d4b1589ca9e4cf0890bff7b5ae93c5af7cd79e22"},
		{"video-720p.mp4", 9, "258ebe25c0cde1090e73d74979c4f8f5493eddfb4392ae33d46efc2eb150a743"},
	}
	for i, w := range want {
		f := torrent.Files[i]
		if f.Path != w.path || f.FirstPiece != w.first || f.Root.String() != w.root {
			t.Errorf("file %d: %s, piece %d, %v; want %v", i, f.Path, f.FirstPiece, f.Root, w)
		}
		if len(f.Leaves) != bt.Blocks(f.Size) || bt.FileRoot(f.Leaves, 4) != f.Root {
			t.Errorf("file %d: %d leaves that lead elsewhere", i, len(f.Leaves))
		}
	}
}

func TestCreatedTorrentParsesBack(t *testing.T) {
	made := mustCreate(t, testFiles(), testOptions())
	read, err := Parse(made.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if read.Name != "film" || !read.Private || read.PieceLength != 64<<10 || read.TailPad ||
		read.InfoHash != made.InfoHash || read.InfoHashV2 != made.InfoHashV2 ||
		!slices.Equal(read.Trackers, made.Trackers) || !slices.Equal(read.WebSeeds, made.WebSeeds) ||
		!slices.Equal(read.Pieces, made.Pieces) || !bytes.Equal(read.Info, made.Info) || len(read.Files) != len(made.Files) {
		t.Errorf("read %+v, made %+v", read, made)
	}
	for i, f := range read.Files {
		m := made.Files[i]
		if f.Path != m.Path || f.Size != m.Size || f.Root != m.Root || f.FirstPiece != m.FirstPiece || !slices.Equal(f.Layer, m.Layer) {
			t.Errorf("file %d: read %+v, made %+v", i, f, m)
		}
	}
}

func TestPieceLengthFollowsTheTotalSize(t *testing.T) {
	for _, c := range []struct {
		total int64
		want  uint32
	}{
		{1, 32 << 10},
		{64e6, 32 << 10},
		{64e6 + 1, 64 << 10},
		{512e6 + 1, 128 << 10},
		{4e9 + 1, 256 << 10},
		{24e9, 256 << 10},
		{24e9 + 1, 512 << 10},
		{1 << 44, 512 << 10},
	} {
		if got := ChoosePieceLength(c.total); got != c.want {
			t.Errorf("ChoosePieceLength(%d) = %d, want %d", c.total, got, c.want)
		}
	}
	if torrent := mustCreate(t, testFiles(), Options{Name: "film"}); torrent.PieceLength != 32<<10 || torrent.Private {
		t.Errorf("piece length %d, private %v", torrent.PieceLength, torrent.Private)
	}
}

func TestEveryFileSizeAroundABoundaryVerifies(t *testing.T) {
	const pl = 32 << 10
	var files []testFile
	for i, size := range []int{1, 16383, 16384, 16385, pl - 1, pl, pl + 1, 2*pl - 1, 2 * pl, 3*pl + 7, 5 * pl} {
		files = append(files, testFile{string(rune('a' + i)), testData(uint32(i), size)})
	}
	torrent := mustCreate(t, files, Options{Name: "film", PieceLength: pl})
	read, err := Parse(torrent.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for i := range read.Files {
		if err := read.VerifyFile(context.Background(), i, bytes.NewReader(files[i].data)); err != nil {
			t.Errorf("file of %d bytes: %v", len(files[i].data), err)
		}
	}
}

func TestVerifyFindsAFlippedBitByBothHashes(t *testing.T) {
	files := testFiles()
	torrent := mustCreate(t, files, testOptions())
	for _, at := range []int{0, 65536, 299_999} {
		data := bytes.Clone(files[0].data)
		data[at] ^= 4
		var wrong *MismatchError
		err := torrent.VerifyFile(context.Background(), 3, bytes.NewReader(data))
		if !errors.As(err, &wrong) || wrong.Piece != uint32(4+at/65536) || !wrong.V1 || !wrong.V2 || wrong.Path != "video-360p.mp4" {
			t.Errorf("bit flipped at %d: %v", at, err)
		}
	}
}

func TestVerifyHoldsEachHashByItself(t *testing.T) {
	files := testFiles()
	verify := func(torrent *Torrent, file int, data []byte) *MismatchError {
		var wrong *MismatchError
		if err := torrent.VerifyFile(context.Background(), file, bytes.NewReader(data)); !errors.As(err, &wrong) {
			t.Fatalf("a torrent at odds with itself passed: %v", err)
		}
		return wrong
	}
	torrent := mustCreate(t, files, testOptions())
	torrent.Pieces[5][0] ^= 1
	if wrong := verify(torrent, 3, files[0].data); !wrong.V1 || wrong.V2 || wrong.Piece != 5 {
		t.Error(wrong)
	}
	torrent = mustCreate(t, files, testOptions())
	torrent.Files[3].Layer[2][0] ^= 1
	if wrong := verify(torrent, 3, files[0].data); wrong.V1 || !wrong.V2 || wrong.Piece != 6 {
		t.Error(wrong)
	}
	torrent = mustCreate(t, files, testOptions())
	torrent.Files[2].Root[0] ^= 1
	if wrong := verify(torrent, 2, files[2].data); wrong.V1 || !wrong.V2 || wrong.Piece != 3 {
		t.Error(wrong)
	}
}

func TestVerifyRefusesAnotherLength(t *testing.T) {
	files := testFiles()
	torrent := mustCreate(t, files, testOptions())
	for _, data := range [][]byte{nil, files[0].data[:299_999], append(bytes.Clone(files[0].data), 0)} {
		if err := torrent.VerifyFile(context.Background(), 3, bytes.NewReader(data)); !errors.Is(err, ErrSize) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
	}
}

func TestCreateRefusesSourcesThatLieOrFail(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, c := range []struct {
		name string
		s    Source
		want error
	}{
		{"too short", Source{Path: "b", Size: 100_000, Open: source("", make([]byte, 99_999)).Open}, ErrSize},
		{"too long", Source{Path: "b", Size: 100_000, Open: source("", make([]byte, 100_001)).Open}, ErrSize},
		{"empty", Source{Path: "b", Size: 100_000, Open: source("", nil).Open}, ErrSize},
		{"cannot be opened", Source{Path: "b", Size: 100_000, Open: func() (io.ReadCloser, error) { return nil, broken }}, broken},
		{"cannot be read", Source{Path: "b", Size: 100_000, Open: func() (io.ReadCloser, error) { return &failing{err: broken}, nil }}, broken},
		{"cannot be closed", Source{Path: "b", Size: 3, Open: func() (io.ReadCloser, error) { return &failing{data: []byte("abc"), err: broken}, nil }}, broken},
	} {
		_, err := Create(context.Background(), []Source{source("a", testData(1, 70_000)), c.s}, Options{Name: "film"})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), "hash b: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// failing gives its data, if any, and then fails to close; without data it fails to read.
type failing struct {
	data []byte
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if f.data == nil {
		return 0, f.err
	}
	n := copy(p, f.data)
	if f.data = f.data[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f *failing) Close() error { return f.err }

// layerFile is a file in memory, written at any place; full once it has no room left.
type layerFile struct {
	mu   sync.Mutex
	b    []byte
	room int
}

func (f *layerFile) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.room < len(p) {
		return 0, io.ErrShortWrite
	}
	f.room -= len(p)
	if n := int(at) + len(p); n > len(f.b) {
		f.b = append(f.b, make([]byte, n-len(f.b))...)
	}
	return copy(f.b[at:], p), nil
}

func TestLeavesGoWhereTheSourceWantsThem(t *testing.T) {
	kept := mustCreate(t, testFiles(), testOptions())
	list, layers := sources(testFiles()), map[string]*layerFile{}
	for i := range list {
		layers[list[i].Path] = &layerFile{room: 1 << 20}
		list[i].Leaves = layers[list[i].Path]
	}
	spilt, err := Create(t.Context(), list, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(spilt.Bytes, kept.Bytes) {
		t.Error("another torrent")
	}
	for i, f := range kept.Files {
		if !bytes.Equal(layers[f.Path].b, bt.AppendDigests(nil, f.Leaves)) {
			t.Errorf("%s has other leaves", f.Path)
		}
		if spilt.Files[i].Leaves != nil {
			t.Errorf("%s has leaves in memory, too", f.Path)
		}
	}
}

func TestADiskThatTakesNoMoreLeavesEndsTheHashing(t *testing.T) {
	list := sources(testFiles())
	for i := range list {
		list[i].Leaves = &layerFile{room: 64}
	}
	if _, err := Create(t.Context(), list, testOptions()); !errors.Is(err, io.ErrShortWrite) || !strings.Contains(err.Error(), "leaves") {
		t.Errorf("%v", err)
	}
}

func TestCreateClosesWhatItOpens(t *testing.T) {
	open := 0
	count := func(size int64, data []byte) Source {
		return Source{Path: "f" + string(rune('0'+size%10)), Size: size, Open: func() (io.ReadCloser, error) {
			open++
			return closer{bytes.NewReader(data), func() { open-- }}, nil
		}}
	}
	if _, err := Create(context.Background(), []Source{count(1, []byte{1}), count(2, []byte{1, 2})}, Options{Name: "film"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(context.Background(), []Source{count(1, []byte{1}), count(2, []byte{1})}, Options{Name: "film"}); err == nil {
		t.Error("a short source was accepted")
	}
	if open != 0 {
		t.Errorf("%d sources left open", open)
	}
}

type closer struct {
	io.Reader
	close func()
}

func (c closer) Close() error { c.close(); return nil }

func TestCreateStopsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var last int64
	o := Options{Name: "film", PieceLength: 16 << 10, Progress: func(done, total int64) {
		if last = done; done >= total/4 {
			cancel()
		}
	}}
	if _, err := Create(ctx, sources(testFiles()), o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if last > 400_000 {
		t.Errorf("it went on to byte %d", last)
	}
}

func TestProgressRisesToTheTotal(t *testing.T) {
	var mu sync.Mutex
	var calls []int64
	o := testOptions()
	o.Progress = func(done, total int64) {
		if !mu.TryLock() {
			t.Error("called twice at once")
			return
		}
		defer mu.Unlock()
		if total != 965_540 {
			t.Errorf("total %d", total)
		}
		calls = append(calls, done)
	}
	mustCreate(t, testFiles(), o)
	if !slices.IsSorted(calls) || calls[len(calls)-1] != 965_540 || len(calls) != 17 {
		t.Errorf("progress %v", calls)
	}
}

func TestCreateIsTheSameOnOneCore(t *testing.T) {
	want := mustCreate(t, testFiles(), testOptions())
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if got := mustCreate(t, testFiles(), testOptions()); !bytes.Equal(got.Bytes, want.Bytes) {
		t.Error("another torrent")
	}
}

func TestFilesOfTheSameBytesShareALayer(t *testing.T) {
	data := testData(9, 200_000)
	torrent := mustCreate(t, []testFile{{"a", data}, {"b", data}}, testOptions())
	read, err := Parse(torrent.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if read.Files[0].Root != read.Files[1].Root || len(read.Files[1].Layer) != 4 {
		t.Errorf("%+v", read.Files)
	}
}

func TestCreateRefusesBadNames(t *testing.T) {
	for _, path := range []string{
		"", "/a", "a/", "a//b", "../a", "a/../b", "a/..", ".", "./a", "a\x00b", "a\\b", "a\nb", "\x7f", "a\xffb",
		strings.Repeat("x", 256), strings.Repeat("x/", 600) + "x", strings.Repeat("x/", 32) + "x", ".pad/7",
	} {
		_, err := Create(context.Background(), []Source{source(path, []byte("x"))}, Options{Name: "film"})
		if err == nil {
			t.Errorf("path %.40q was accepted", path)
		}
		if path != ".pad/7" && !strings.Contains(path, "x/") {
			if _, err := Create(context.Background(), []Source{source("a", []byte("x"))}, Options{Name: path}); err == nil {
				t.Errorf("name %.40q was accepted", path)
			}
		}
	}
	for _, paths := range [][2]string{{"a", "a"}, {"a", "a/b"}, {"a/b", "a"}} {
		list := []Source{source(paths[0], []byte("x")), source("a.b", []byte("x")), source(paths[1], []byte("x"))}
		if _, err := Create(context.Background(), list, Options{Name: "film"}); err == nil {
			t.Errorf("%q were accepted together", paths)
		}
	}
}

func TestCreateRefusesImpossibleOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"piece length too short":         {Name: "film", PieceLength: 8 << 10},
		"piece length no power of two":   {Name: "film", PieceLength: 48 << 10},
		"piece length too long":          {Name: "film", PieceLength: 128 << 20},
		"a tracker without an address":   {Name: "film", Trackers: []string{""}},
		"a tracker of endless length":    {Name: "film", Trackers: []string{strings.Repeat("x", 3000)}},
		"a web seed without an address":  {Name: "film", WebSeeds: []string{""}},
		"more trackers than anyone asks": {Name: "film", Trackers: slices.Repeat([]string{"x"}, 101)},
	} {
		if _, err := Create(context.Background(), []Source{source("a", []byte("x"))}, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, list := range map[string][]Source{
		"no files":        nil,
		"an empty file":   {source("a", nil)},
		"a negative size": {{Path: "a", Size: -1}},
		"a gigantic file": {{Path: "a", Size: 1<<44 + 1}},
		"too many pieces": {{Path: "a", Size: 1 << 40}},
	} {
		if _, err := Create(context.Background(), list, Options{Name: "film", PieceLength: 16 << 10}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
