package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"essaim/internal/bt"
)

var testRequest = Request{Piece: 0x01020304, Begin: 0x4000, Length: 0x4000}

func testHashRequest() bt.HashRequest {
	r := bt.HashRequest{Base: 4, Index: 512, Length: 2, Proof: 9}
	for i := range r.Root {
		r.Root[i] = byte(i)
	}
	return r
}

const hashRequestHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" +
	"00000004" + "00000200" + "00000002" + "00000009"

// Every message, the bytes that it must be, and what Parse must make of them.
var messages = []struct {
	name string
	got  []byte
	hex  string
	want Message
}{
	{"choke", AppendChoke(nil), "00000001 00", Message{ID: Choke}},
	{"unchoke", AppendUnchoke(nil), "00000001 01", Message{ID: Unchoke}},
	{"interested", AppendInterested(nil), "00000001 02", Message{ID: Interested}},
	{"not interested", AppendNotInterested(nil), "00000001 03", Message{ID: NotInterested}},
	{"have", AppendHave(nil, 0x01020304), "00000005 04 01020304", Message{ID: Have, Request: Request{Piece: 0x01020304}}},
	{"bitfield", AppendBitfield(nil, []byte{0xff, 0x80}), "00000003 05 ff80", Message{ID: Bitfield, Payload: []byte{0xff, 0x80}}},
	{"request", AppendRequest(nil, testRequest), "0000000d 06 01020304 00004000 00004000", Message{ID: RequestBlock, Request: testRequest}},
	{
		"piece", append(AppendPieceHeader(nil, 0x01020304, 0x4000, 3), "abc"...), "0000000c 07 01020304 00004000 616263",
		Message{ID: Piece, Request: Request{Piece: 0x01020304, Begin: 0x4000}, Payload: []byte("abc")},
	},
	{"cancel", AppendCancel(nil, testRequest), "0000000d 08 01020304 00004000 00004000", Message{ID: Cancel, Request: testRequest}},
	{"port", AppendPort(nil, 6881), "00000003 09 1ae1", Message{ID: Port, Port: 6881}},
	{"suggest", AppendSuggest(nil, 7), "00000005 0d 00000007", Message{ID: Suggest, Request: Request{Piece: 7}}},
	{"have all", AppendHaveAll(nil), "00000001 0e", Message{ID: HaveAll}},
	{"have none", AppendHaveNone(nil), "00000001 0f", Message{ID: HaveNone}},
	{"reject", AppendReject(nil, testRequest), "0000000d 10 01020304 00004000 00004000", Message{ID: Reject, Request: testRequest}},
	{"allowed fast", AppendAllowedFast(nil, 9), "00000005 11 00000009", Message{ID: AllowedFast, Request: Request{Piece: 9}}},
	{"extended", AppendExtended(nil, 3, []byte("de")), "00000004 14 03 6465", Message{ID: Extended, ExtID: 3, Payload: []byte("de")}},
	{"lt_donthave", AppendDontHave(nil, 7, 5), "00000006 14 07 00000005", Message{ID: Extended, ExtID: 7, Payload: []byte{0, 0, 0, 5}}},
	{"hash request", AppendHashRequest(nil, testHashRequest()), "00000031 15" + hashRequestHex, Message{ID: HashRequest, Hashes: testHashRequest()}},
	{
		"hashes", AppendHashes(nil, testHashRequest(), []bt.Digest{{1}, {2}}),
		"00000071 16" + hashRequestHex + "01" + strings.Repeat("00", 31) + "02" + strings.Repeat("00", 31),
		Message{ID: Hashes, Hashes: testHashRequest(), Payload: bt.AppendDigests(nil, []bt.Digest{{1}, {2}})},
	},
	{"hash reject", AppendHashReject(nil, testHashRequest()), "00000031 17" + hashRequestHex, Message{ID: HashReject, Hashes: testHashRequest()}},
}

func sameMessage(a, b Message) bool {
	return a.ID == b.ID && a.ExtID == b.ExtID && a.Request == b.Request && a.Port == b.Port && a.Hashes == b.Hashes &&
		bytes.Equal(a.Payload, b.Payload)
}

func TestMessagesAreTheSpecifiedBytes(t *testing.T) {
	for _, c := range messages {
		want, err := hex.DecodeString(strings.ReplaceAll(c.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: appended %x, want %x", c.name, c.got, want)
		}
		if got, err := Parse(want[PrefixSize:]); err != nil || !sameMessage(got, c.want) {
			t.Errorf("%s: parsed as %+v (%v), want %+v", c.name, got, err, c.want)
		}
	}
	if !bytes.Equal(AppendKeepalive(nil), make([]byte, 4)) {
		t.Error("keepalive is not length 0")
	}
}

func TestParseRefusesWrongLengths(t *testing.T) {
	for _, c := range messages {
		msg := c.got[PrefixSize:]
		for n := range msg {
			got, err := Parse(msg[:n])
			switch {
			case err == nil && (c.want.ID == Bitfield && n > 0 || c.want.ID == Extended && n > 1 ||
				c.want.ID == Piece && n >= PieceHeaderSize || c.want.ID == Hashes && n == len(msg)-32):
			case err == nil:
				t.Errorf("%s cut to %d bytes was parsed as %+v", c.name, n, got)
			case n == 0 && err != ErrEmpty, n > 0 && err != ErrLength:
				t.Errorf("%s cut to %d bytes: %v", c.name, n, err)
			}
		}
		open := c.want.ID == Bitfield || c.want.ID == Extended || c.want.ID == Piece
		if _, err := Parse(append(bytes.Clone(msg), 0)); !open && err != ErrLength {
			t.Errorf("%s with a byte too many: %v", c.name, err)
		}
	}
}

func TestParseLetsUnknownMessagesPass(t *testing.T) {
	for _, id := range []byte{10, 12, 18, 19, 24, 255} {
		m, err := Parse([]byte{id, 1, 2})
		if err != nil || m.ID != ID(id) || len(m.Payload) != 2 {
			t.Errorf("id %d: %+v, %v", id, m, err)
		}
	}
}

func TestAppendingAndParsingDoNotAllocate(t *testing.T) {
	b, bits := make([]byte, 0, 4096), make([]byte, 100)
	r, answer := testHashRequest(), make([]bt.Digest, 8)
	if n := testing.AllocsPerRun(10, func() {
		b = AppendHandshake(b[:0], Handshake{})
		b = AppendBitfield(AppendRequest(AppendHave(AppendChoke(b), 1), testRequest), bits)
		b = AppendHashes(AppendExtended(AppendPieceHeader(b, 1, 2, 3), 4, bits), r, answer)
		for _, c := range messages {
			Parse(c.got[PrefixSize:])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValidBitfieldWantsFittingLengthAndZeroSpareBits(t *testing.T) {
	for _, c := range []struct {
		bits   []byte
		pieces int
		want   bool
	}{
		{nil, 0, true},
		{[]byte{0}, 0, false},
		{[]byte{0x80}, 1, true},
		{[]byte{0xc0}, 1, false},
		{[]byte{0xff}, 8, true},
		{[]byte{0xff}, 9, false},
		{[]byte{0xff, 0x80}, 9, true},
		{[]byte{0xff, 0xc0}, 9, false},
		{[]byte{0xff, 0x01}, 9, false},
		{[]byte{0xff, 0x80, 0}, 9, false},
		{[]byte{0xff}, -1, false},
		{[]byte{0xff}, math.MaxInt - 8, false},
	} {
		if got := ValidBitfield(c.bits, c.pieces); got != c.want {
			t.Errorf("ValidBitfield(%x, %d) = %v", c.bits, c.pieces, got)
		}
	}
}

func TestHandshakeIsTheSpecifiedBytes(t *testing.T) {
	h := Handshake{Extended: true, Fast: true, V2: true}
	copy(h.InfoHash[:], "aaaaaaaaaaaaaaaaaaaa")
	copy(h.PeerID[:], "-ES0001-bbbbbbbbbbbb")
	b := AppendHandshake(nil, h)
	if want := "\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x14aaaaaaaaaaaaaaaaaaaa-ES0001-bbbbbbbbbbbb"; string(b) != want {
		t.Errorf("handshake %q, want %q", b, want)
	}
	if got, err := ParseHandshake(b); err != nil || got != h {
		t.Errorf("parsed as %+v, %v", got, err)
	}
	for i := range 20 {
		b[i] ^= 1
		if _, err := ParseHandshake(b); err != ErrHandshake {
			t.Errorf("byte %d changed: %v", i, err)
		}
		b[i] ^= 1
	}
	if _, err := ParseHandshake(b[:67]); err != ErrHandshake {
		t.Error("a short handshake was accepted")
	}
	if _, err := ParseHandshake(append(b, 0)); err != ErrHandshake {
		t.Error("a long handshake was accepted")
	}
}

func TestExtHandshakeIsTheSpecifiedBytes(t *testing.T) {
	h := ExtHandshake{
		Extensions:   []Extension{{ExtMetadata, 3}, {ExtDontHave, 7}},
		Version:      "Essaim 0.1",
		RequestQueue: 250,
		UploadOnly:   true,
		MetadataSize: 31235,
	}
	b := AppendExtHandshake(nil, h)
	dict := "d1:md11:lt_donthavei7e11:ut_metadatai3ee13:metadata_sizei31235e4:reqqi250e11:upload_onlyi1e1:v10:Essaim 0.1e"
	if n := int(binary.BigEndian.Uint32(b)); n != len(b)-4 || string(b[4:]) != "\x14\x00"+dict {
		t.Fatalf("appended %q", b)
	}
	m, err := Parse(b[PrefixSize:])
	if err != nil || m.ExtID != 0 {
		t.Fatal(m, err)
	}
	got, err := ParseExtHandshake(m.Payload)
	if err != nil || got.Version != h.Version || got.RequestQueue != 250 || !got.UploadOnly || got.MetadataSize != 31235 {
		t.Errorf("parsed as %+v, %v", got, err)
	}
	if id, listed := got.Lookup(ExtDontHave); id != 7 || !listed {
		t.Errorf("lt_donthave = %d, %v", id, listed)
	}
	if _, listed := got.Lookup("ut_pex"); listed {
		t.Error("found an extension that was not listed")
	}
}

func TestExtHandshakeKeepsWithinBounds(t *testing.T) {
	many := "d1:md"
	for i := range 65 {
		many += "3:x" + string([]byte{'0' + byte(i/10), '0' + byte(i%10)}) + "i1e"
	}
	for _, c := range []struct{ name, in string }{
		{"no bencode", "m"},
		{"a list", "le"},
		{"unsorted", "d1:v1:x1:mdee"},
		{"m is no dict", "d1:mi1ee"},
		{"an id beyond a byte", "d1:md1:xi256eee"},
		{"a negative id", "d1:md1:xi-1eee"},
		{"an id that is no integer", "d1:md1:x1:1ee"},
		{"an endless name", "d1:md65:" + strings.Repeat("x", 65) + "i1eee"},
		{"too many extensions", many + "ee"},
		{"negative queue", "d4:reqqi-1ee"},
		{"v is no string", "d1:vi1ee"},
		{"upload_only is no integer", "d11:upload_only1:1e"},
		{"gigantic metadata", "d13:metadata_sizei4294967296ee"},
		{"negative metadata", "d13:metadata_sizei-1ee"},
		{"too long", "d1:v16400:" + strings.Repeat("x", 16400) + "e"},
	} {
		if got, err := ParseExtHandshake([]byte(c.in)); err == nil {
			t.Errorf("%s: accepted as %+v", c.name, got)
		}
	}
	got, err := ParseExtHandshake([]byte("d1:md6:ut_pexi0ee4:reqqi9999999999e1:v200:" + strings.Repeat("x", 200) + "6:yourip4:abcde"))
	if err != nil || len(got.Version) != versionMax || got.RequestQueue != requestQueueMax {
		t.Errorf("%+v, %v", got, err)
	}
	if id, listed := got.Lookup("ut_pex"); id != 0 || !listed {
		t.Error("an extension that was switched off is not listed")
	}
}

func TestDontHaveIsFourBytes(t *testing.T) {
	if piece, err := ParseDontHave([]byte{0, 0, 1, 2}); err != nil || piece != 258 {
		t.Error(piece, err)
	}
	for _, b := range [][]byte{nil, {1, 2, 3}, {1, 2, 3, 4, 5}} {
		if _, err := ParseDontHave(b); !errors.Is(err, ErrLength) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

// reappend writes a parsed message anew.
func reappend(m Message) []byte {
	switch m.ID {
	case Choke, Unchoke, Interested, NotInterested, HaveAll, HaveNone:
		return head(nil, m.ID, 0)
	case Have, Suggest, AllowedFast:
		return number(nil, m.ID, m.Request.Piece)
	case Bitfield:
		return AppendBitfield(nil, m.Payload)
	case RequestBlock, Cancel, Reject:
		return block(nil, m.ID, m.Request)
	case Piece:
		return append(AppendPieceHeader(nil, m.Request.Piece, m.Request.Begin, uint32(len(m.Payload))), m.Payload...)
	case Port:
		return AppendPort(nil, m.Port)
	case Extended:
		return AppendExtended(nil, m.ExtID, m.Payload)
	case HashRequest, Hashes, HashReject:
		answer, _ := bt.ParseDigests(m.Payload)
		return hashes(nil, m.ID, m.Hashes, answer)
	}
	return append(head(nil, m.ID, len(m.Payload)), m.Payload...)
}

func FuzzParse(f *testing.F) {
	for _, c := range messages {
		f.Add(c.got[PrefixSize:])
	}
	f.Add([]byte{})
	f.Add([]byte{255, 1, 2, 3})
	f.Add(AppendExtHandshake(nil, ExtHandshake{Extensions: []Extension{{"x", 1}}, Version: "y"})[PrefixSize:])
	f.Fuzz(func(t *testing.T, msg []byte) {
		m, err := Parse(msg)
		if err != nil {
			return
		}
		if got := reappend(m); !bytes.Equal(got[PrefixSize:], msg) || int(binary.BigEndian.Uint32(got)) != len(msg) {
			t.Fatalf("%x came back as %x", msg, got)
		}
	})
}

func FuzzParseExtHandshake(f *testing.F) {
	for _, s := range []string{
		"de", "d1:mdee", "d1:md11:lt_donthavei7ee4:reqqi250e11:upload_onlyi1e1:v10:Essaim 0.1e", "d13:metadata_sizei-1ee", "le",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, err := ParseExtHandshake(payload)
		if err != nil {
			return
		}
		again, err := ParseExtHandshake(AppendExtHandshake(nil, h)[PrefixSize+2:])
		if err != nil || again.Version != h.Version || again.RequestQueue != h.RequestQueue ||
			again.UploadOnly != h.UploadOnly || again.MetadataSize != h.MetadataSize || len(again.Extensions) != len(h.Extensions) {
			t.Fatalf("%+v came back as %+v, %v", h, again, err)
		}
		for i := range h.Extensions {
			if again.Extensions[i] != h.Extensions[i] {
				t.Fatalf("%+v came back as %+v", h, again)
			}
		}
	})
}

func FuzzParseHandshake(f *testing.F) {
	f.Add(AppendHandshake(nil, Handshake{Extended: true, Fast: true, V2: true, DHT: true}))
	f.Add([]byte("\x13BitTorrent protocol"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHandshake(b)
		if err != nil {
			return
		}
		if again, err := ParseHandshake(AppendHandshake(nil, h)); err != nil || again != h {
			t.Fatalf("%+v came back as %+v, %v", h, again, err)
		}
	})
}
