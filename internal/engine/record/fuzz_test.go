package record_test

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"essaim/internal/bt"
	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

// FuzzNextOutput: what is read as an output is written back as the same bytes' meaning, and nothing malformed panics.
func FuzzNextOutput(f *testing.F) {
	f.Add(record.AppendOutput(nil, &engine.Output{Kind: engine.Announce}))
	f.Add(record.AppendOutput(nil, &engine.Output{Kind: engine.SendMessage, Peer: 3, Data: []byte{0, 0, 0, 1, 2}}))
	f.Add(record.AppendOutput(nil, &engine.Output{Kind: engine.Note, Note: engine.NoteBlock, Piece: 7, Begin: bt.BlockSize, Length: 100}))
	f.Add(record.AppendOutput(nil, &engine.Output{Kind: engine.FetchRange, Ref: 9, File: 1, From: 1 << 40, To: -1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out, second engine.Output
		rest, err := record.NextOutput(b, &out)
		if err != nil {
			return
		}
		if len(rest) >= len(b) {
			t.Fatal("nothing was read")
		}
		if _, err := record.NextOutput(record.AppendOutput(nil, &out), &second); err != nil || !reflect.DeepEqual(out, second) {
			t.Errorf("%+v became %+v (%v)", out, second, err)
		}
	})
}

// FuzzReplay plays flight records of any content to an engine, as a reader of records must be able to: no input panics, the
// deadline lies ahead, and a second engine says the same.
func FuzzReplay(f *testing.F) {
	golden, err := os.ReadFile("../testdata/golden.rec")
	if err != nil {
		f.Fatal(err)
	}
	var in engine.Input
	at, ends := 0, []int{}
	for at < len(golden) && len(ends) < 400 {
		_, rest, err := record.NextStep(golden[at:], &in)
		if err != nil {
			f.Fatal(err)
		}
		at = len(golden) - len(rest)
		ends = append(ends, at)
	}
	for _, n := range []int{0, 3, 12, 60, 399} {
		f.Add(golden[:ends[min(n, len(ends)-1)]])
	}
	// The same title, and then each step of the flight alone and out of turn.
	for n := 10; n < len(ends); n += 40 {
		f.Add(append(bytes.Clone(golden[:ends[4]]), golden[ends[n-1]:ends[n]]...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, twin := engine.New(), engine.New()
		var latest engine.Instant
		var in engine.Input
		for steps := 0; steps < 1000; steps++ {
			now, rest, err := record.NextStep(b, &in)
			if err != nil {
				return
			}
			b = rest
			if in.Kind == engine.TitleOpened && !small(in.Data) {
				return
			}
			if now < 0 || now > 1<<60 {
				return // no clock says so
			}
			latest = max(latest, now)
			var first, second []byte
			for _, o := range e.Step(now, in, nil) {
				first = record.AppendOutput(first, &o)
			}
			for _, o := range twin.Step(now, in, nil) {
				second = record.AppendOutput(second, &o)
			}
			if !bytes.Equal(first, second) {
				t.Fatalf("step %d: two engines differ", steps)
			}
			if at, ok := e.Deadline(); ok && at <= latest {
				t.Fatalf("step %d: the deadline %d is past at %d", steps, at, latest)
			}
		}
	})
}

// small reports whether a title is of a size that a fuzzer has the memory for.
func small(data []byte) bool {
	title, err := engine.ParseTitle(data)
	if err != nil {
		return true
	}
	for _, f := range title.Files {
		if uint64(f.FirstPiece)+f.Size/uint64(title.PieceLength) > 1<<12 {
			return false
		}
	}
	return true
}
