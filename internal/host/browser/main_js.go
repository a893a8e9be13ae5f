//go:build js && wasm

package main

import (
	"unsafe"

	"essaim/internal/engine"
)

// One engine a WebAssembly instance: a page with two titles runs two instances.
var door boundary

//go:wasmexport essaim_open
func open() { door = boundary{engine: engine.New()} }

//go:wasmexport essaim_inbox
func inbox(size int32) int32 { return address(door.inbox(int(size))) }

//go:wasmexport essaim_step
func step(now float64, n int32) int32 { return int32(door.step(engine.Instant(now), int(n))) }

//go:wasmexport essaim_outbox
func outbox() int32 { return address(door.out) }

//go:wasmexport essaim_deadline
func deadline() float64 { return door.deadline() }

// address is where b begins in linear memory, as the host sees it.
func address(b []byte) int32 { return int32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// main never returns: the exports are called while it waits.
func main() { select {} }
