package main

import (
	"image"
	"image/color"
	"math"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

type weight int

const (
	regular weight = iota
	medium
	bold
)

type faceKey struct {
	weight weight
	size   float64
}

type glyphKey struct {
	face faceKey
	r    rune
}

// A glyph is one letter's coverage, placed relative to the pen.
type glyph struct {
	mask    *image.Alpha
	x, y    int
	advance float64
}

// glyphs are rendered once and shared by all workers.
var glyphs = struct {
	sync.Mutex
	faces map[faceKey]font.Face
	done  map[glyphKey]*glyph
}{faces: map[faceKey]font.Face{}, done: map[glyphKey]*glyph{}}

func glyphOf(k faceKey, r rune) *glyph {
	glyphs.Lock()
	defer glyphs.Unlock()
	if g := glyphs.done[glyphKey{k, r}]; g != nil {
		return g
	}
	face := glyphs.faces[k]
	if face == nil {
		f, err := opentype.Parse([][]byte{goregular.TTF, gomedium.TTF, gobold.TTF}[k.weight])
		if err != nil {
			panic(err) // the fonts are part of the program
		}
		face, err = opentype.NewFace(f, &opentype.FaceOptions{Size: k.size, DPI: 72})
		if err != nil {
			panic(err)
		}
		glyphs.faces[k] = face
	}
	g := &glyph{mask: image.NewAlpha(image.Rectangle{})}
	if b, m, mp, adv, ok := face.Glyph(fixed.Point26_6{}, r); ok {
		g.mask = image.NewAlpha(image.Rect(0, 0, b.Dx(), b.Dy()))
		for y := range b.Dy() {
			for x := range b.Dx() {
				_, _, _, a := m.At(mp.X+x, mp.Y+y).RGBA()
				g.mask.Pix[y*g.mask.Stride+x] = uint8(a >> 8)
			}
		}
		g.x, g.y, g.advance = b.Min.X, b.Min.Y, float64(adv)/64
	}
	glyphs.done[glyphKey{k, r}] = g
	return g
}

// text writes s with its baseline's left end at (x, y) and returns the pen's end. spacing is added after each letter; a
// positive cell gives every letter that width, centred (for digits that must not dance).
func (c *canvas) text(s string, x, y float64, w weight, size, spacing, cell float64, col color.RGBA, a float64) float64 {
	for _, r := range s {
		g := glyphOf(faceKey{w, size}, r)
		pen, step := x, g.advance+spacing
		if cell > 0 {
			pen, step = x+(cell-g.advance)/2, cell
		}
		c.stamp(g, int(math.Round(pen)), int(math.Round(y)), col, a)
		x += step
	}
	return x
}

func textWidth(s string, w weight, size, spacing float64) float64 {
	var n float64
	for _, r := range s {
		n += glyphOf(faceKey{w, size}, r).advance + spacing
	}
	return n - spacing
}

func (c *canvas) stamp(g *glyph, x, y int, col color.RGBA, a float64) {
	for gy := range g.mask.Rect.Dy() {
		for gx := range g.mask.Rect.Dx() {
			px, py := x+g.x+gx, y+g.y+gy
			if v := g.mask.Pix[gy*g.mask.Stride+gx]; v > 0 && px >= 0 && py >= 0 && px < c.w && py < c.h {
				c.blend(px, py, col, a*float64(v)/255)
			}
		}
	}
}

// textPoints samples n points inside the letters of s, for dots that gather into a word. The points are in
// pixels, the word centred on (cx, cy).
func textPoints(s string, size, spacing, cx, cy float64, n int, rnd func() float64) []point {
	w := textWidth(s, bold, size, spacing)
	c := newCanvas(int(w)+4, int(size*1.4))
	c.text(s, 0, size, bold, size, spacing, 0, rgb(0xffffff), 1)
	var in []point
	for y := range c.h {
		for x := range c.w {
			if c.img.Pix[y*c.img.Stride+4*x] > 128 {
				in = append(in, point{float64(x), float64(y)})
			}
		}
	}
	// Best candidate of many, so that the dots spread evenly.
	var pts []point
	for len(pts) < n {
		var best point
		far := -1.0
		for range 24 {
			p := in[int(rnd()*float64(len(in)))%len(in)]
			near := math.Inf(1)
			for _, q := range pts {
				near = min(near, (p.x-q.x)*(p.x-q.x)+(p.y-q.y)*(p.y-q.y))
			}
			if near > far {
				best, far = p, near
			}
		}
		pts = append(pts, best)
	}
	for i := range pts {
		pts[i].x += cx - w/2
		pts[i].y += cy - size*0.64
	}
	return pts
}
