package main

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/vector"
)

// A canvas holds one frame. All drawing is antialiased and in pixels of the 1280×720 frame.
type canvas struct {
	img  *image.RGBA
	w, h int
	ras  vector.Rasterizer
	mask []uint8
}

type point struct{ x, y float64 }

// rgb makes a colour of 0xRRGGBB.
func rgb(v uint32) color.RGBA {
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}
}

// mix is the colour a fraction f of the way from a to b.
func mix(a, b color.RGBA, f float64) color.RGBA {
	g := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + (float64(y)-float64(x))*f)) }
	return color.RGBA{g(a.R, b.R), g(a.G, b.G), g(a.B, b.B), 255}
}

func newCanvas(w, h int) *canvas {
	return &canvas{img: image.NewRGBA(image.Rect(0, 0, w, h)), w: w, h: h, mask: make([]uint8, w*h)}
}

func (c *canvas) fill(col color.RGBA) { c.rect(0, 0, c.w, c.h, col) }

// rect fills whole pixels.
func (c *canvas) rect(x0, y0, x1, y1 int, col color.RGBA) {
	for y := max(y0, 0); y < min(y1, c.h); y++ {
		c.span(y, max(x0, 0), min(x1, c.w), col)
	}
}

func (c *canvas) span(y, x0, x1 int, col color.RGBA) {
	if x0 >= x1 {
		return
	}
	p := c.img.Pix[y*c.img.Stride+4*x0 : y*c.img.Stride+4*x1]
	for i := 0; i < len(p); i += 4 {
		p[i], p[i+1], p[i+2], p[i+3] = col.R, col.G, col.B, 255
	}
}

// blend lays col over one pixel with coverage a, 0 to 1. The pixel must lie on the canvas.
func (c *canvas) blend(x, y int, col color.RGBA, a float64) {
	k := int32(a*256 + 0.5)
	if k <= 0 {
		return
	}
	p := c.img.Pix[y*c.img.Stride+4*x : y*c.img.Stride+4*x+4]
	p[0] = uint8(int32(p[0]) + (int32(col.R)-int32(p[0]))*k>>8)
	p[1] = uint8(int32(p[1]) + (int32(col.G)-int32(p[1]))*k>>8)
	p[2] = uint8(int32(p[2]) + (int32(col.B)-int32(p[2]))*k>>8)
}

// run blends a run of one row with a constant coverage.
func (c *canvas) run(y, x0, x1 int, col color.RGBA, a float64) {
	x0, x1 = max(x0, 0), min(x1, c.w)
	if a >= 1 {
		c.span(y, x0, x1, col)
		return
	}
	for x := x0; x < x1; x++ {
		c.blend(x, y, col, a)
	}
}

func clamp01(v float64) float64 { return min(max(v, 0), 1) }

// dot is a filled circle.
func (c *canvas) dot(x, y, r float64, col color.RGBA, a float64) {
	if r <= 0 || a <= 0 {
		return
	}
	for py := max(int(y-r-1), 0); py <= min(int(y+r+1), c.h-1); py++ {
		dy := float64(py) + 0.5 - y
		outer := (r+0.5)*(r+0.5) - dy*dy
		if outer <= 0 {
			continue
		}
		half := math.Sqrt(outer)
		x0, x1 := max(int(x-half), 0), min(int(x+half)+1, c.w)
		in0, in1 := x1, x1
		if inner := (r-0.5)*(r-0.5) - dy*dy; r > 1 && inner > 0 {
			hi := math.Sqrt(inner)
			in0, in1 = max(int(math.Ceil(x-hi)), x0), min(int(x+hi), x1)
			if in0 >= in1 {
				in0, in1 = x1, x1
			}
		}
		for px := x0; px < x1; px++ {
			if px == in0 {
				c.run(py, in0, in1, col, a)
				px = in1
				if px >= x1 {
					break
				}
			}
			dx := float64(px) + 0.5 - x
			c.blend(px, py, col, a*clamp01(r+0.5-math.Sqrt(dx*dx+dy*dy)))
		}
	}
}

// ring is a circle's outline of width w.
func (c *canvas) ring(x, y, r, w float64, col color.RGBA, a float64) {
	if r <= 0 || w <= 0 || a <= 0 {
		return
	}
	out, in := r+w/2+1, r-w/2-1
	edge := func(py, x0, x1 int, dy float64) {
		for px := max(x0, 0); px < min(x1, c.w); px++ {
			dx := float64(px) + 0.5 - x
			d := math.Abs(math.Sqrt(dx*dx+dy*dy) - r)
			c.blend(px, py, col, a*clamp01(w/2+0.5-d))
		}
	}
	for py := max(int(y-out), 0); py <= min(int(y+out), c.h-1); py++ {
		dy := float64(py) + 0.5 - y
		o := out*out - dy*dy
		if o <= 0 {
			continue
		}
		ho := math.Sqrt(o)
		if i := in*in - dy*dy; in > 0 && i > 0 {
			hi := math.Sqrt(i)
			edge(py, int(x-ho), int(x-hi)+1, dy)
			edge(py, max(int(x+hi), int(x-hi)+1), int(x+ho)+2, dy)
		} else {
			edge(py, int(x-ho), int(x+ho)+2, dy)
		}
	}
}

// line is a stroke with round ends.
func (c *canvas) line(x0, y0, x1, y1, w float64, col color.RGBA, a float64) {
	if a <= 0 || w <= 0 {
		return
	}
	dx, dy := x1-x0, y1-y0
	n := dx*dx + dy*dy
	if n < 0.01 {
		c.dot(x0, y0, w/2, col, a)
		return
	}
	reach := w/2 + 1
	cover := func(px, py int) {
		fx, fy := float64(px)+0.5-x0, float64(py)+0.5-y0
		t := clamp01((fx*dx + fy*dy) / n)
		ex, ey := fx-t*dx, fy-t*dy
		c.blend(px, py, col, a*clamp01(w/2+0.5-math.Sqrt(ex*ex+ey*ey)))
	}
	length := math.Sqrt(n)
	if math.Abs(dx) >= math.Abs(dy) {
		half := reach * length / math.Abs(dx)
		for px := max(int(min(x0, x1)-reach), 0); px <= min(int(max(x0, x1)+reach), c.w-1); px++ {
			my := y0 + (min(max(float64(px)+0.5, min(x0, x1)), max(x0, x1))-x0)*dy/dx
			for py := max(int(my-half-1), 0); py <= min(int(my+half+1), c.h-1); py++ {
				cover(px, py)
			}
		}
		return
	}
	half := reach * length / math.Abs(dy)
	for py := max(int(min(y0, y1)-reach), 0); py <= min(int(max(y0, y1)+reach), c.h-1); py++ {
		mx := x0 + (min(max(float64(py)+0.5, min(y0, y1)), max(y0, y1))-y0)*dx/dy
		for px := max(int(mx-half-1), 0); px <= min(int(mx+half+1), c.w-1); px++ {
			cover(px, py)
		}
	}
}

// path strokes a polyline.
func (c *canvas) path(pts []point, w float64, col color.RGBA, a float64) {
	for i := 1; i < len(pts); i++ {
		c.line(pts[i-1].x, pts[i-1].y, pts[i].x, pts[i].y, w, col, a)
	}
}

// poly fills a closed shape.
func (c *canvas) poly(pts []point, col color.RGBA, a float64) {
	if a <= 0 {
		return
	}
	pts = c.clip(pts)
	if len(pts) < 3 {
		return
	}
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range pts {
		x0, y0, x1, y1 = min(x0, p.x), min(y0, p.y), max(x1, p.x), max(y1, p.y)
	}
	bx, by := int(x0), int(y0)
	bw, bh := min(int(x1)+1, c.w)-bx, min(int(y1)+1, c.h)-by
	if bw <= 0 || bh <= 0 {
		return
	}
	c.ras.Reset(bw, bh)
	c.ras.MoveTo(float32(pts[0].x-float64(bx)), float32(pts[0].y-float64(by)))
	for _, p := range pts[1:] {
		c.ras.LineTo(float32(p.x-float64(bx)), float32(p.y-float64(by)))
	}
	c.ras.ClosePath()
	m := &image.Alpha{Pix: c.mask[:bw*bh], Stride: bw, Rect: image.Rect(0, 0, bw, bh)}
	clear(m.Pix)
	c.ras.Draw(m, m.Rect, image.Opaque, image.Point{})
	for y := range bh {
		row := m.Pix[y*bw : y*bw+bw]
		for x, v := range row {
			switch {
			case v == 0:
			case v == 255 && a >= 1:
				i := (by+y)*c.img.Stride + 4*(bx+x)
				c.img.Pix[i], c.img.Pix[i+1], c.img.Pix[i+2] = col.R, col.G, col.B
			default:
				c.blend(bx+x, by+y, col, a*float64(v)/255)
			}
		}
	}
}

// clip cuts a shape at the frame's four sides (Sutherland and Hodgman), as the rasterizer wants its points inside.
func (c *canvas) clip(pts []point) []point {
	sides := [4]func(p point) float64{
		func(p point) float64 { return p.x }, func(p point) float64 { return p.y },
		func(p point) float64 { return float64(c.w) - p.x }, func(p point) float64 { return float64(c.h) - p.y },
	}
	for _, in := range sides {
		var kept []point
		for i, p := range pts {
			q := pts[(i+1)%len(pts)]
			dp, dq := in(p), in(q)
			if dp >= 0 {
				kept = append(kept, p)
			}
			if (dp < 0) != (dq < 0) {
				f := dp / (dp - dq)
				kept = append(kept, point{p.x + (q.x-p.x)*f, p.y + (q.y-p.y)*f})
			}
		}
		pts = kept
	}
	return pts
}

// hexagon is a pointed-top hexagon of circumradius r.
func (c *canvas) hexagon(x, y, r float64, col color.RGBA, a float64) {
	c.poly(hexPoints(x, y, r, 0), col, a)
}

// hexPoints are the corners of a pointed-top hexagon, turned by the angle turn.
func hexPoints(x, y, r, turn float64) []point {
	pts := make([]point, 6)
	for i := range pts {
		s, co := math.Sincos(math.Pi/6 + float64(i)*math.Pi/3 + turn)
		pts[i] = point{x + r*co, y + r*s}
	}
	return pts
}

// hexOutline strokes a pointed-top hexagon.
func (c *canvas) hexOutline(x, y, r, w float64, col color.RGBA, a float64) {
	pts := hexPoints(x, y, r, 0)
	c.path(append(pts, pts[0]), w, col, a)
}

// yuv writes the frame as planar 4:2:0, BT.709, limited range. Width and height are even.
func (c *canvas) yuv(dst []uint8) {
	w, h := c.w, c.h
	py, pu, pv := dst[:w*h], dst[w*h:w*h*5/4], dst[w*h*5/4:w*h*3/2]
	for y := 0; y < h; y += 2 {
		r0 := c.img.Pix[y*c.img.Stride : y*c.img.Stride+4*w]
		r1 := c.img.Pix[(y+1)*c.img.Stride : (y+1)*c.img.Stride+4*w]
		for x := 0; x < w; x += 2 {
			var sr, sg, sb int32
			for k, p := range [4][]uint8{r0[4*x : 4*x+3], r0[4*x+4 : 4*x+7], r1[4*x : 4*x+3], r1[4*x+4 : 4*x+7]} {
				r, g, b := int32(p[0]), int32(p[1]), int32(p[2])
				py[(y+k/2)*w+x+k%2] = uint8((11966*r + 40254*g + 4064*b + 16<<16 + 1<<15) >> 16)
				sr, sg, sb = sr+r, sg+g, sb+b
			}
			i := y/2*(w/2) + x/2
			pu[i] = uint8((-6596*sr - 22189*sg + 28784*sb + 128<<18 + 1<<17) >> 18)
			pv[i] = uint8((28784*sr - 26145*sg - 2639*sb + 128<<18 + 1<<17) >> 18)
		}
	}
}
