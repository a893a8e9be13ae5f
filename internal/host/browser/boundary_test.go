package main

import (
	"bytes"
	"testing"

	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

// echo answers every input with one output that carries the same fields, its Data in a buffer that the next Step
// overwrites, as the engine may do.
type echo struct {
	data []byte
	due  engine.Instant
}

func (e *echo) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	e.data = append(e.data[:0], in.Data...)
	e.due = now + 5
	return append(out, engine.Output{Kind: engine.SendMessage, Peer: in.Peer, From: int64(now), Data: e.data})
}

func (e *echo) Deadline() (engine.Instant, bool) { return e.due, e.due != 0 }

func TestBoundaryAppliesEveryRecordInOrder(t *testing.T) {
	b := boundary{engine: &echo{}}
	if d := b.deadline(); d >= 0 {
		t.Fatalf("deadline before anything happened: %v", d)
	}
	var in []byte
	for i, s := range []string{"one", "", "three"} {
		in = record.AppendInput(in, &engine.Input{Kind: engine.MessageReceived, Peer: engine.PeerRef(i + 1), Data: []byte(s)})
	}
	copy(b.inbox(len(in)), in)
	n := b.step(1234567, len(in))
	if n != len(b.out) {
		t.Fatalf("step returned %d, the out-box holds %d", n, len(b.out))
	}
	rest := b.out
	for i, want := range []string{"one", "", "three"} {
		var out engine.Output
		var err error
		if rest, err = record.NextOutput(rest, &out); err != nil {
			t.Fatal(err)
		}
		if out.Peer != engine.PeerRef(i+1) || out.From != 1234567 || !bytes.Equal(out.Data, []byte(want)) {
			t.Fatalf("output %d: %+v", i, out)
		}
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes too many", len(rest))
	}
	if d := b.deadline(); d != 1234572 {
		t.Fatalf("deadline %v", d)
	}
}

func TestBoundaryRefusesWhatIsNoRecord(t *testing.T) {
	b := boundary{engine: &echo{}}
	copy(b.inbox(8), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	if n := b.step(1, 8); n != codeMalformed {
		t.Fatalf("malformed bytes: %d", n)
	}
	if n := b.step(1, 1<<30); n != codeNotOpen {
		t.Fatalf("more bytes than the in-box holds: %d", n)
	}
	if n := b.step(1, -1); n != codeNotOpen {
		t.Fatalf("a negative length: %d", n)
	}
	if n := (&boundary{}).step(1, 0); n != codeNotOpen {
		t.Fatalf("no engine: %d", n)
	}
}

func TestBoundaryInboxGrowsAndIsReused(t *testing.T) {
	var b boundary
	if got := len(b.inbox(10)); got < 10 {
		t.Fatalf("asked for 10 bytes, got %d", got)
	}
	big := b.inbox(1 << 20)
	if again := b.inbox(10); len(big) < 1<<20 || &again[0] != &big[0] {
		t.Fatal("a smaller in-box was allocated anew")
	}
}
