package drm

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// counterBlocks calls see for the counter block of every block that a cenc file's key stream was taken from.
func counterBlocks(t *testing.T, file []byte, see func(block [16]byte)) {
	t.Helper()
	for _, s := range samplesIn(t, file) {
		n := 0
		for _, sub := range s.aux.subs {
			n += sub[1]
		}
		if s.aux.subs == nil {
			n = len(s.p)
		}
		for i := range (n + 15) / 16 {
			var b [16]byte
			copy(b[:], s.aux.iv)
			binary.BigEndian.PutUint64(b[8:], uint64(i))
			see(b)
		}
	}
}

// One key serves all files of a tier, and a file that is made again: no counter block may come twice, whatever randomness gives. The
// source here gives every file the same bytes, so that only the file's number keeps two files apart; the repeated attempt has another.
func TestNoCounterBlockServesTwiceUnderOneKey(t *testing.T) {
	seen := map[[16]byte]string{}
	for _, f := range []struct {
		name, codec string
		number      uint8
		random      byte
	}{{"360p", "H.264", 0, 7}, {"480p", "H.264 baseline", 1, 7}, {"540p", "H.264", 255, 7}, {"sound", "AAC", 3, 7}, {"360p again", "H.264", 0, 8}} {
		o := options(CENC, 1)
		o.File, o.Random = f.number, options(CENC, f.random).Random
		counterBlocks(t, encrypted(t, sample(t, f.codec), o), func(b [16]byte) {
			if by := seen[b]; by != "" {
				t.Fatalf("%s uses counter block %x, as %s does", f.name, b, by)
			}
			seen[b] = f.name
		})
	}
	if len(seen) < 10_000 {
		t.Errorf("only %d counter blocks were seen", len(seen))
	}
}

func TestVectorsOfAFileStayInItsOwnSpace(t *testing.T) {
	o := options(CENC, 1)
	o.File, o.Random = 0x5a, bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)) // the start whose successor overflows
	e, err := newEncryptor(o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{0x5affffffffffffff, 0x5a00000000000000, 0x5a00000000000001} {
		if got := e.nextIV(); got != want {
			t.Errorf("IV %d is %x, want %x", i, got, want)
		}
	}
}

// With cbcs the vector is the same for a whole file, so equal beginnings of two slices look equal within it. Between files of one key
// they must not: renditions of one picture have much in common.
func TestEachFileHasAnotherConstantVector(t *testing.T) {
	clear := sample(t, "AAC")
	o := options(CBCS, 1) // draws on from one source of randomness
	a, b := encrypted(t, clear, o), encrypted(t, clear, o)
	x, _ := readProtection(t, a)
	y, _ := readProtection(t, b)
	if x.fixed == y.fixed || x.fixed == [16]byte{} {
		t.Errorf("vectors %x and %x", x.fixed, y.fixed)
	}
	one, other := samplesIn(t, a), samplesIn(t, b)
	for i := range one {
		if len(one[i].p) >= 16 && bytes.Equal(one[i].p[:16], other[i].p[:16]) {
			t.Fatalf("sample %d begins alike in both files", i)
		}
	}
}
