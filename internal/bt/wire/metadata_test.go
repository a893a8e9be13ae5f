package wire

import (
	"bytes"
	"testing"
)

func TestMetadataMessagesAreThoseOfBEP9(t *testing.T) {
	for text, m := range map[string]Metadata{
		"d8:msg_typei0e5:piecei7ee":                        {Kind: MetadataRequest, Piece: 7},
		"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxx": {Kind: MetadataData, Total: 34256, Data: []byte("xxx")},
		"d8:msg_typei2e5:piecei1ee":                        {Kind: MetadataReject, Piece: 1},
	} {
		b := AppendMetadata(nil, 3, m)
		if string(b[6:]) != text || b[4] != byte(Extended) || b[5] != 3 || int(b[3]) != len(b)-4 {
			t.Errorf("%+v: %q", m, b)
		}
		if got, err := ParseMetadata([]byte(text)); err != nil || got.Kind != m.Kind || got.Piece != m.Piece || got.Total != m.Total || !bytes.Equal(got.Data, m.Data) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestParseMetadataRefusesWhatCannotBe(t *testing.T) {
	for _, text := range []string{
		"", "le", "d8:msg_typei0ee", "d5:piecei0ee", "d8:msg_typei0e5:piecei-1ee", "d8:msg_typei-1e5:piecei0ee",
		"d8:msg_typei0e5:piecei4294967296ee", "d8:msg_typei0e5:piecei0eex", "d8:msg_typei1e5:piecei0eex",
		"d8:msg_typei1e5:piecei0e10:total_sizei-5eex", "d8:msg_typei1e5:piecei0e10:total_sizei2147483648eex",
		"d8:msg_typei1e5:piecei0e10:total_sizei20000ee" + string(make([]byte, MetadataPiece+1)),
	} {
		if m, err := ParseMetadata([]byte(text)); err == nil {
			t.Errorf("%.50q was taken: %+v", text, m)
		}
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte("d8:msg_typei1e5:piecei0e10:total_sizei34256eexxx"))
	f.Add([]byte("d8:msg_typei0e5:piecei7ee"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMetadata(b)
		if err != nil {
			return
		}
		if again, err := ParseMetadata(AppendMetadata(nil, 1, m)[6:]); err != nil || again.Kind != m.Kind || again.Piece != m.Piece ||
			again.Total != m.Total || !bytes.Equal(again.Data, m.Data) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
