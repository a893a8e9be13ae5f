package wire

import (
	"bytes"
	"encoding/hex"
	"testing"
)

var essaimMessages = []struct {
	m   Essaim
	hex string
}{
	{
		Essaim{Kind: EssaimPlaying, File: 3, PositionMs: 61_000, Rate: 1000, Cohort: 0xfeed0001, Size: 300},
		"00000013" + "14" + "05" + "00" + "0003" + "0000ee48" + "03e8" + "feed0001" + "0000012c",
	},
	{Essaim{Kind: EssaimFetching, Piece: 9, Pieces: 2, WithinMs: 700}, "0000000b" + "14" + "05" + "01" + "00000009" + "0002" + "02bc"},
	{Essaim{Kind: EssaimUnfetching, Piece: 9, Pieces: 2}, "00000009" + "14" + "05" + "02" + "00000009" + "0002"},
}

func TestEssaimMessagesAreTheDocumentedBytes(t *testing.T) {
	for _, c := range essaimMessages {
		b := AppendEssaim(nil, 5, c.m)
		if got := hex.EncodeToString(b); got != c.hex {
			t.Errorf("%+v: %s, want %s", c.m, got, c.hex)
		}
		if m, err := ParseEssaim(b[6:]); err != nil || m != c.m {
			t.Errorf("%s: %+v, %v", c.hex, m, err)
		}
	}
}

func TestParseEssaimRefusesWrongLengthsAndPassesOverNewTypes(t *testing.T) {
	for _, c := range essaimMessages {
		b := AppendEssaim(nil, 5, c.m)[6:]
		for n := range b {
			if _, err := ParseEssaim(b[:n]); err == nil {
				t.Errorf("%+v cut to %d bytes was taken", c.m, n)
			}
		}
		if _, err := ParseEssaim(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%+v with a byte more was taken", c.m)
		}
	}
	if _, err := ParseEssaim([]byte{1, 0, 0, 0, 1, 0, 0, 0, 1}); err == nil {
		t.Error("a claim to no pieces was taken")
	}
	if m, err := ParseEssaim([]byte{77, 1, 2}); err != nil || m.Kind != 77 {
		t.Error(m, err)
	}
}

func FuzzParseEssaim(f *testing.F) {
	for _, c := range essaimMessages {
		f.Add(AppendEssaim(nil, 5, c.m)[6:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseEssaim(b)
		if err == nil && m.Kind <= EssaimUnfetching && !bytes.Equal(AppendEssaim(nil, 5, m)[6:], b) {
			t.Errorf("%x is not what is written for %+v", b, m)
		}
	})
}
