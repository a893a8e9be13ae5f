// Command browser is the engine as WebAssembly: package engine behind exported calls, for the TypeScript host in
// web/src/host. It must stay light (no fmt, encoding/json, net/http or syscall/js: it is downloaded by every viewer)
// and decide nothing: records in, records out, in the form of package record.
//
// Inputs are written into an in-box and outputs are read from an out-box, both in linear memory, because an exported
// call costs 0.1 µs and a call through syscall/js 15 to 20. Both boxes move when they or the memory grow: the host asks for their
// addresses anew whenever it is about to touch them. Payload bytes never come here.
//
//	essaim_open()                  a fresh engine; forgets the one before
//	essaim_inbox(size) address     of at least size bytes to write input records into
//	essaim_step(now, n) length     applies the n bytes of the in-box at that instant (µs), in order; negative: a code below
//	essaim_outbox() address        of the output records of the last step
//	essaim_deadline() instant      when to step with Tick if nothing happens first (µs); negative: never
package main

import (
	"essaim/internal/engine"
	"essaim/internal/engine/record"
)

// What essaim_step returns instead of a length. After either, the engine has applied the records before the faulty one
// and the host should give it up: its own codec is at fault.
const (
	codeMalformed = -1 // the in-box holds something that is no input record
	codeNotOpen   = -2 // no engine, or more bytes announced than the in-box holds
)

// stepper is what the boundary needs of an engine.
type stepper interface {
	Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output
	Deadline() (engine.Instant, bool)
}

// boundary carries records between the boxes and one engine.
type boundary struct {
	engine  stepper
	in, out []byte
	outputs []engine.Output // kept between steps for its capacity
}

// inbox returns a buffer of at least size bytes. What it held before is lost.
func (b *boundary) inbox(size int) []byte {
	if size > cap(b.in) {
		b.in = make([]byte, max(size, 4<<10))
	}
	b.in = b.in[:cap(b.in)]
	return b.in
}

// step applies the first n bytes of the in-box and leaves the answer in out. The outputs of each input are written down
// before the next one is applied: their Data belongs to the engine and holds only until then.
func (b *boundary) step(now engine.Instant, n int) int {
	if b.engine == nil || n < 0 || n > len(b.in) {
		return codeNotOpen
	}
	b.out = b.out[:0]
	rest := b.in[:n]
	for len(rest) > 0 {
		var in engine.Input
		var err error
		if rest, err = record.NextInput(rest, &in); err != nil {
			return codeMalformed
		}
		b.outputs = b.engine.Step(now, in, b.outputs[:0])
		for i := range b.outputs {
			b.out = record.AppendOutput(b.out, &b.outputs[i])
		}
		clear(b.outputs)
	}
	return len(b.out)
}

// deadline is the engine's, or negative where it has none.
func (b *boundary) deadline() float64 {
	if b.engine == nil {
		return -1
	}
	at, ok := b.engine.Deadline()
	if !ok {
		return -1
	}
	return float64(at)
}
