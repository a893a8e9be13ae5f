package main

import (
	"bytes"
	"testing"
)

// The drawers work in parallel and reuse their canvases: a frame must not depend on who draws it, or after what.
func TestFrameDependsOnItsNumberAlone(t *testing.T) {
	a, b := newShow(), newShow()
	used := newCanvas(width, height)
	one, two := make([]byte, width*height*3/2), make([]byte, width*height*3/2)
	step := 331
	if testing.Short() {
		step = 997
	}
	for n := 0; n < a.frames(); n += step {
		fresh := newCanvas(width, height)
		a.frame(fresh, n)
		fresh.yuv(one)
		b.frame(used, n)
		used.yuv(two)
		if !bytes.Equal(one, two) {
			t.Errorf("frame %d (scene %d) differs when drawn again", n, n/sceneFrames+1)
		}
	}
}
