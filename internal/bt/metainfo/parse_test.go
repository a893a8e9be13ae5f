package metainfo

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"strconv"
	"strings"
	"testing"

	"essaim/internal/bt/bencode"
)

// smallTorrent holds a.mp4 of 3 pieces, pad, and b.mp4 of one piece.
func smallTorrent(t testing.TB) *Torrent {
	return mustCreate(t, []testFile{{"a.mp4", testData(1, 40_000)}, {"b.mp4", testData(2, 100)}}, Options{
		Name: "film", PieceLength: 16 << 10, Trackers: []string{"wss://tracker.example/"},
	})
}

func TestParseRefusesTorrentsEditedByHand(t *testing.T) {
	good := smallTorrent(t).Bytes
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	var v1 string
	for _, piece := range smallTorrent(t).Pieces {
		v1 += string(piece[:])
	}
	for _, c := range []struct{ name, old, new string }{
		{"no bencode", "d8:announce", "x8:announce"},
		{"data after the end", "eee", "eeei1e"},
		{"no info", "4:infod", "4:inxod"},
		{"info is a string", string(smallTorrent(t).Info), "4:info"},
		{"newer version", "12:meta versioni2e", "12:meta versioni3e"},
		{"older version", "12:meta versioni2e", "12:meta versioni1e"},
		{"version is a string", "12:meta versioni2e", "12:meta version1:2"},
		{"no version", "12:meta version", "12:meta vErsion"},
		{"no name", "4:name4:film", "4:namf4:film"},
		{"name is a climb", "4:name4:film", "4:name2:.."},
		{"name is a path", "4:name4:film", "4:name4:fi/m"},
		{"name holds NUL", "4:name4:film", "4:name4:fi\x00m"},
		{"name is empty", "4:name4:film", "4:name0:"},
		{"piece length of no power of two", "12:piece lengthi16384e", "12:piece lengthi16385e"},
		{"piece length too short", "12:piece lengthi16384e", "12:piece lengthi8192e"},
		{"another piece length", "12:piece lengthi16384e", "12:piece lengthi32768e"},
		{"negative piece length", "12:piece lengthi16384e", "12:piece lengthi-16384e"},
		{"gigantic piece length", "12:piece lengthi16384e", "12:piece lengthi4611686018427387904e"},
		{"absolute path in the tree", "9:file treed5:a.mp4", "9:file treed6:/a.mp4"},
		{"climb in the tree", "9:file treed5:a.mp4", "9:file treed2:.."},
		{"empty name in the tree", "9:file treed5:a.mp4d", "9:file treed0:d"},
		{"NUL in the tree", "9:file treed5:a.mp4", "9:file treed5:a\x00mp4"},
		{"backslash in the tree", "9:file treed5:a.mp4", "9:file treed5:a\\mp4"},
		{"another name in the tree", "9:file treed5:a.mp4", "9:file treed5:a.mp3"},
		{"another size in the tree", "d0:d6:lengthi40000e", "d0:d6:lengthi40001e"},
		{"size of zero", "d0:d6:lengthi100e", "d0:d6:lengthi0e"},
		{"negative size", "d0:d6:lengthi100e", "d0:d6:lengthi-100e"},
		{"gigantic size", "d0:d6:lengthi40000e", "d0:d6:lengthi9223372036854775807e"},
		{"root of 31 bytes", "11:pieces root32:", "11:pieces root31:"},
		{"no root", "11:pieces root", "11:pieces rOot"},
		{"a pad in the tree", "d0:d6:lengthi100e", "d0:d4:attr1:p6:lengthi100e"},
		{"a link in the tree", "d0:d6:lengthi100e", "d0:d4:attr1:l6:lengthi100e"},
		{"a file that is a folder too", "9:file treed5:a.mp4d0:", "9:file treed5:a.mp4d0:de1:x"},
		{"an empty folder", "9:file treed5:a.mp4d0:", "9:file treed1:Adee5:a.mp4d0:"},
		{"files swapped in v1", "l5:a.mp4e", "l5:b.mp4e"},
		{"another path in v1", "l5:a.mp4e", "l5:a.mp4le"},
		{"deeper path in v1", "l5:a.mp4e", "l1:a5:a.mp4e"},
		{"another size in v1", "d6:lengthi40000e4:path", "d6:lengthi40001e4:path"},
		{"a link in v1", "d6:lengthi40000e4:path", "d4:attr1:l6:lengthi40000e4:path"},
		{"pad too short", "d4:attr1:p6:lengthi9152e", "d4:attr1:p6:lengthi9151e"},
		{"pad too long", "d4:attr1:p6:lengthi9152e", "d4:attr1:p6:lengthi25536e"},
		{"pad that is a file", "d4:attr1:p6:lengthi9152e", "d4:attr1:x6:lengthi9152e"},
		{"no pad", "d4:attr1:p6:lengthi9152e4:pathl4:.pad4:9152ee", ""},
		{"pad twice", "d4:attr1:p6:lengthi9152e4:pathl4:.pad4:9152ee", strings.Repeat("d4:attr1:p6:lengthi9152e4:pathl4:.pad4:9152ee", 2)},
		{"pad before the first file", "5:filesl", "5:filesld4:attr1:p6:lengthi16384e4:pathl4:.pad5:16384ee"},
		{"a file too many in v1", "4:pathl5:b.mp4eee", "4:pathl5:b.mp4eed6:lengthi5e4:pathl1:ceee"},
		{"files is no list", "5:filesl", "5:filesd1:xle1:yl"},
		{"a piece missing in v1", "6:pieces80:", "6:pieces60:"},
		{"pieces of 19 bytes", "6:pieces80:", "6:pieces79:"},
		{"v2 alone", "6:pieces80:" + v1, ""},
		{"v1 alone", "12:meta versioni2e", ""},
		{"no layers", "12:piece layersd", "12:piece lAyersd"},
		{"layers is a string", "12:piece layersd32:", "12:piece layers32:"},
		{"endless tracker", "ll22:wss://tracker.example/", "ll3000:" + strings.Repeat("x", 3000)},
	} {
		if n := bytes.Count(good, []byte(c.old)); n == 0 {
			t.Fatalf("%s: %q is not there", c.name, c.old)
		}
		bad := bytes.Replace(good, []byte(c.old), []byte(c.new), 1)
		_, err := Parse(bad)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
		}
		if newer := c.name == "newer version"; newer != errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", c.name, err)
		}
		if strings.HasSuffix(c.name, " alone") && !errors.Is(err, ErrNotHybrid) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestParseRefusesANewerVersionBeforeAllElse(t *testing.T) {
	_, err := Parse([]byte("d4:infod12:meta versioni3e4:name2:..6:pieces1:xee"))
	if !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

func TestParseRefusesLayersThatDoNotFitTheirRoots(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Torrent)
	}{
		{"a changed hash", func(t *Torrent) { t.Files[0].Layer[1][0] ^= 1 }},
		{"a hash missing", func(t *Torrent) { t.Files[0].Layer = t.Files[0].Layer[:2] }},
		{"a hash too many", func(t *Torrent) { t.Files[0].Layer = append(t.Files[0].Layer, t.Files[0].Root) }},
		{"another root", func(t *Torrent) { t.Files[0].Root[0] ^= 1 }},
		{"no layer", func(t *Torrent) { t.Files[0].Layer = nil }},
		{"a layer for a file of one piece", func(t *Torrent) { t.Files[1].Layer = t.Files[1].Leaves }},
		{"two sizes under one root", func(t *Torrent) {
			t.Files = append(t.Files, t.Files[0])
			t.Files[1], t.Files[2] = t.Files[0], t.Files[1]
			t.Files[1].Path, t.Files[1].Size = "aa.mp4", 50_000
			t.Pieces = make([]HashV1, 8)
		}},
	} {
		torrent := smallTorrent(t)
		c.edit(torrent)
		torrent.encode(Options{})
		if _, err := Parse(torrent.Bytes); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
}

func TestParseTakesAPadAfterTheLastFile(t *testing.T) {
	data := testData(2, 100)
	torrent := smallTorrent(t)
	padded := sha1.Sum(append(bytes.Clone(data), make([]byte, 16284)...))
	b := bytes.Replace(torrent.Bytes, []byte("4:pathl5:b.mp4eee"),
		[]byte("4:pathl5:b.mp4eed4:attr1:p6:lengthi16284e4:pathl4:.pad5:16284eee"), 1)
	b = bytes.Replace(b, torrent.Pieces[3][:], padded[:], 1)
	read, err := Parse(b)
	if err != nil || !read.TailPad {
		t.Fatal(read, err)
	}
	if err := read.VerifyFile(context.Background(), 1, bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
	if b = bytes.Replace(b, []byte("lengthi16284e"), []byte("lengthi16283e"), 1); true {
		if _, err := Parse(b); err == nil {
			t.Error("a tail pad of another length was accepted")
		}
	}
}

func TestParseTakesATorrentOfOneFileWithoutAFolder(t *testing.T) {
	torrent := mustCreate(t, []testFile{{"film", testData(1, 40_000)}}, Options{Name: "film", PieceLength: 16 << 10})
	b := bytes.Replace(torrent.Bytes, []byte("5:filesld6:lengthi40000e4:pathl4:filmeee"), []byte("6:lengthi40000e"), 1)
	read, err := Parse(b)
	if err != nil || len(read.Files) != 1 || read.Files[0].Path != "film" {
		t.Fatal(read, err)
	}
	if err := read.VerifyFile(context.Background(), 0, bytes.NewReader(testData(1, 40_000))); err != nil {
		t.Error(err)
	}
	for _, other := range []string{"6:lengthi40001e", "6:lengthi-1e", "6:length1:1"} {
		if _, err := Parse(bytes.Replace(b, []byte("6:lengthi40000e12"), []byte(other+"12"), 1)); err == nil {
			t.Errorf("%s: accepted", other)
		}
	}
}

func TestParseReadsTrackersAndWebSeedsInAllTheirForms(t *testing.T) {
	info := smallTorrent(t)
	make := func(extra ...bencode.Entry) []byte {
		return bencode.AppendDict(nil, append(extra, bencode.Entry{Key: "info", Value: info.Info},
			bencode.Entry{Key: "piece layers", Value: info.encodeLayers()})...)
	}
	read, err := Parse(make(bencode.Entry{Key: "announce", Value: bencode.Str("udp://a")}, bencode.Entry{Key: "url-list", Value: bencode.Str("http://b/")}))
	if err != nil || len(read.Trackers) != 1 || read.Trackers[0] != "udp://a" || len(read.WebSeeds) != 1 {
		t.Error(read, err)
	}
	read, err = Parse(make(
		bencode.Entry{Key: "announce", Value: bencode.Str("udp://a")},
		bencode.Entry{Key: "announce-list", Value: []byte("ll1:a1:bel1:cee")},
		bencode.Entry{Key: "url-list", Value: bencode.Str("")},
	))
	if err != nil || strings.Join(read.Trackers, " ") != "a b c" || read.WebSeeds != nil {
		t.Error(read, err)
	}
	for _, bad := range []string{"lli1eee", "ll0:ee", "l" + strings.Repeat("l1:ae", 101) + "e", "l" + "l" + strings.Repeat("1:a", 200) + "e" + "e"} {
		if _, err := Parse(make(bencode.Entry{Key: "announce-list", Value: []byte(bad)})); err == nil {
			t.Errorf("announce-list %.20q: accepted", bad)
		}
	}
}

func TestParseRefusesTooManyFiles(t *testing.T) {
	torrent := smallTorrent(t)
	one := torrent.Files[1]
	torrent.Files, torrent.Pieces = nil, make([]HashV1, FilesMax+1)
	for i := range FilesMax + 1 {
		one.Path = strconv.Itoa(10_000_000 + i)
		torrent.Files = append(torrent.Files, one)
	}
	torrent.encode(Options{})
	if _, err := Parse(torrent.Bytes); err == nil {
		t.Error("accepted")
	}
	torrent.Files, torrent.Pieces = torrent.Files[:FilesMax], torrent.Pieces[:FilesMax]
	torrent.encode(Options{})
	if _, err := Parse(torrent.Bytes); err != nil {
		t.Errorf("%d files: %v", FilesMax, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(smallTorrent(f).Bytes)
	f.Add(mustCreate(f, testFiles(), testOptions()).Bytes)
	f.Add(bytes.Replace(smallTorrent(f).Bytes, []byte("versioni2e"), []byte("versioni3e"), 1))
	f.Add([]byte("d4:infod9:file treed1:ad0:d6:lengthi1e11:pieces root32:" + strings.Repeat("x", 32) +
		"eee6:lengthi1e12:meta versioni2e4:name1:a12:piece lengthi16384e6:pieces20:" + strings.Repeat("y", 20) + "e12:piece layersdee"))
	f.Add([]byte("de"))
	f.Fuzz(func(t *testing.T, b []byte) {
		torrent, err := Parse(b)
		if err != nil {
			return
		}
		next := uint32(0)
		for i := range torrent.Files {
			file := &torrent.Files[i]
			if file.FirstPiece != next || checkPath(strings.Split(file.Path, "/")) != nil {
				t.Fatalf("%+v", file)
			}
			next += file.PieceCount(torrent.PieceLength)
		}
		if int(next) != len(torrent.Pieces) {
			t.Fatalf("%d pieces, %d hashes", next, len(torrent.Pieces))
		}
		// Written anew as Create would, it must be the same torrent to a reader.
		again := *torrent
		again.encode(Options{Trackers: torrent.Trackers, WebSeeds: torrent.WebSeeds})
		if second, err := Parse(again.Bytes); err != nil || len(second.Files) != len(torrent.Files) || second.Name != torrent.Name {
			t.Fatalf("written anew: %v", err)
		}
	})
}

// A hostile tree, whose deepest file carries megabytes that every level has to be read over, must not take long. The
// bound is on work, not on time: refused by depth before the levels multiply.
func TestParseRefusesADeepTree(t *testing.T) {
	node := []byte("d0:d6:lengthi1e11:pieces root32:" + strings.Repeat("x", 32) + "ee")
	for range 40 {
		node = bencode.AppendDict(nil, bencode.Entry{Key: "f", Value: node})
	}
	torrent := smallTorrent(t)
	info := bytes.Replace(torrent.Info, encodeTree(torrent.Files, 0), node, 1)
	_, err := Parse(bytes.Replace(torrent.Bytes, torrent.Info, info, 1))
	if err == nil || !strings.Contains(err.Error(), "33 parts") {
		t.Error(err)
	}
}
