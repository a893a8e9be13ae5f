package record

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/engine"
)

func TestInputSurvivesTheRoundTrip(t *testing.T) {
	in := engine.Input{
		Kind: engine.Hashed, Flags: 3, Reason: 4, Peer: 5, Ref: 6, File: 7, Piece: 8, Begin: 9, Length: 10,
		From: -11, To: 12, Digest: bt.Digest{13, 31: 14}, Data: []byte("data"),
	}
	b := AppendInput([]byte("before"), &in)
	b = append(b, "after"...)
	var got engine.Input
	rest, err := NextInput(b[6:], &got)
	if err != nil || string(rest) != "after" || !reflect.DeepEqual(in, got) {
		t.Errorf("got %+v, rest %q, %v", got, rest, err)
	}
}

func TestOutputSurvivesTheRoundTrip(t *testing.T) {
	out := engine.Output{
		Kind: engine.Note, Note: 2, Flags: 3, Reason: 4, Source: 15, Peer: 5, Ref: 6, File: 7, Piece: 8, Begin: 9, Length: 10,
		Index: 16, Base: 17, Proof: 18, From: 11, To: -12, Data: []byte("data"),
	}
	var got engine.Output
	rest, err := NextOutput(AppendOutput(nil, &out), &got)
	if err != nil || len(rest) != 0 || !reflect.DeepEqual(out, got) {
		t.Errorf("got %+v, rest %q, %v", got, rest, err)
	}
}

func TestTruncatedAndOversizedRecordsAreRefused(t *testing.T) {
	whole := AppendInput(nil, &engine.Input{Kind: engine.Tick, Data: []byte("abc")})
	var in engine.Input
	for n := range whole {
		if _, err := NextInput(whole[:n], &in); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(whole))
		}
	}
	huge := bytes.Clone(whole)
	copy(huge, []byte{0xff, 0xff, 0xff, 0xff})
	if _, err := NextInput(huge, &in); err == nil {
		t.Error("a size of 4 GiB was accepted")
	}
}

func FuzzNextInput(f *testing.F) {
	if golden, err := os.ReadFile("../testdata/golden.rec"); err == nil {
		f.Add(golden[InstantSize:4096])
	}
	f.Add(AppendInput(nil, &engine.Input{Kind: engine.Tick}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in engine.Input
		rest, err := NextInput(b, &in)
		if err != nil {
			return
		}
		again := AppendInput(nil, &in)
		var second engine.Input
		if _, err := NextInput(again, &second); err != nil || !reflect.DeepEqual(in, second) {
			t.Errorf("%+v became %+v (%v)", in, second, err)
		}
		_ = rest
	})
}
