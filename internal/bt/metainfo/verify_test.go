package metainfo

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
)

// craft makes a torrent whose v1 half describes one film and whose v2 half another, of the same names and sizes: sound in every field,
// and at odds with itself.
func craft(t *testing.T) (crafted *Torrent, v1, v2 []testFile) {
	t.Helper()
	v1 = []testFile{{"a.mp4", testData(1, 40_000)}, {"b.mp4", testData(2, 100)}}
	v2 = []testFile{{"a.mp4", bytes.Clone(v1[0].data)}, {"b.mp4", testData(2, 100)}}
	v2[0].data[20_000] ^= 1 // one bit, in the second piece
	o := Options{Name: "film", PieceLength: 16 << 10}
	one, two := mustCreate(t, v1, o), mustCreate(t, v2, o)
	two.Pieces = one.Pieces
	two.encode(o)
	crafted, err := Parse(two.Bytes)
	if err != nil {
		t.Fatalf("a torrent that only its bytes betray was refused without them: %v", err)
	}
	return crafted, v1, v2
}

func TestTorrentWhoseHalvesDescribeDifferentBytesIsRefused(t *testing.T) {
	crafted, v1, v2 := craft(t)
	for name, c := range map[string]struct {
		files  []testFile
		v1, v2 bool
	}{
		"with the bytes of its v1 half": {v1, false, true},
		"with the bytes of its v2 half": {v2, true, false},
	} {
		err := crafted.VerifyFile(context.Background(), 0, bytes.NewReader(c.files[0].data))
		var wrong *MismatchError
		if !errors.Is(err, ErrConflict) || !errors.As(err, &wrong) || wrong.V1 != c.v1 || wrong.V2 != c.v2 || wrong.Piece != 1 {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil || !strings.Contains(err.Error(), "v1 and v2 hashes of the torrent disagree") {
			t.Errorf("%s: the error does not say so: %v", name, err)
		}
		if err := crafted.VerifyPiece(1, c.files[0].data[16384:32768]); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: the piece alone: %v", name, err)
		}
		for piece, data := range map[uint32][]byte{0: c.files[0].data[:16384], 2: c.files[0].data[32768:], 3: c.files[1].data} {
			if err := crafted.VerifyPiece(piece, data); err != nil {
				t.Errorf("%s: piece %d, of which both halves say the same: %v", name, piece, err)
			}
		}
	}
}

func TestRottenBytesAreNoConflict(t *testing.T) {
	torrent := smallTorrent(t)
	data := testData(1, 40_000)
	data[5] ^= 1
	err := torrent.VerifyFile(context.Background(), 0, bytes.NewReader(data))
	if err == nil || errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if err := torrent.VerifyPiece(0, data[:16384]); err == nil || errors.Is(err, ErrConflict) {
		t.Error(err)
	}
}

// A conflict that lies behind rotten bytes is found all the same.
func TestConflictIsToldBeforeMereRot(t *testing.T) {
	crafted, v1, _ := craft(t)
	data := bytes.Clone(v1[0].data)
	data[5] ^= 1
	if err := crafted.VerifyFile(context.Background(), 0, bytes.NewReader(data)); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
}

func TestVerifyPieceTakesEveryPieceOfATorrent(t *testing.T) {
	files := testFiles()
	torrent := mustCreate(t, files, testOptions())
	for _, f := range torrent.Files {
		for _, source := range files {
			for n := uint32(0); source.path == f.Path && n < f.PieceCount(torrent.PieceLength); n++ {
				from := int(n * torrent.PieceLength)
				data := source.data[from:min(from+int(torrent.PieceLength), len(source.data))]
				if err := torrent.VerifyPiece(f.FirstPiece+n, data); err != nil {
					t.Error(err)
				}
				if err := torrent.VerifyPiece(f.FirstPiece+n, data[:len(data)-1]); !errors.Is(err, ErrSize) {
					t.Errorf("%s, piece %d, one byte short: %v", f.Path, n, err)
				}
			}
		}
	}
}
