package main

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"

	xdraw "golang.org/x/image/draw"
)

// The film's colours. Every scene stands on one of them, flat, so that the picture is clear and costs few bits.
var (
	ink    = rgb(0x17130e)
	night  = rgb(0x14213d)
	deep   = rgb(0x0f3d3e)
	forest = rgb(0x1f4d3a)
	plum   = rgb(0x3a2340)
	brick  = rgb(0xb8432f)
	clay   = rgb(0xd96c47)
	honey  = rgb(0xf5b82e)
	amber  = rgb(0xe58a1f)
	butter = rgb(0xffe29a)
	cream  = rgb(0xfff5e0)
	sky    = rgb(0xa9d6e5)
	sea    = rgb(0x2a7f9e)
	mint   = rgb(0xbfe3c9)
	leaf   = rgb(0x4f9d69)
	rose   = rgb(0xf2b5a7)
	lilac  = rgb(0xcdb4db)
)

// A scene is eight seconds on one idea. draw is called from several goroutines and must not write to anything but c.
type scene struct {
	title string
	bg    color.RGBA
	ink   color.RGBA // letters at the head
	mark  color.RGBA // number, and the cell of the moment
	draw  func(c *canvas, t float64)
	foot  color.RGBA // clock and row of cells
}

type show struct{ scenes []scene }

func newShow() *show {
	var s []scene
	s = append(s, scenesOfOne()...)
	s = append(s, scenesOfMany()...)
	s = append(s, scenesOfAll()...)
	return &show{scenes: s}
}

func (s *show) frames() int { return len(s.scenes) * sceneFrames }

// frame draws frame n of the film.
func (s *show) frame(c *canvas, n int) {
	i, f := n/sceneFrames, n%sceneFrames
	t := float64(f) / fps
	sc := &s.scenes[i]
	c.fill(sc.bg)
	sc.draw(c, t)
	s.heads(c, i, n, sc)
	if left := sceneSeconds - t; left < wipeSeconds && i+1 < len(s.scenes) {
		wipe(c, 1-left/wipeSeconds, s.scenes[i+1].bg)
	}
}

const (
	wipeSeconds = 0.56
	margin      = 52.0
)

// heads draws what every scene carries: number, title, clock and the row of cells.
func (s *show) heads(c *canvas, i, n int, sc *scene) {
	t := float64(n%sceneFrames) / fps
	in := ease(t / 0.5)
	x := c.text(fmt.Sprintf("%02d", i+1), margin, 100-8*(1-in), bold, 64, 0, 40, sc.mark, in)
	c.text(sc.title, x+20, 100-8*(1-in), medium, 34, 0, 0, sc.ink, in)

	const tiny = "ESSAIM"
	w := textWidth(tiny, bold, 18, 5)
	c.text(tiny, width-margin-w, 84, bold, 18, 5, 0, sc.ink, 0.85)
	c.hexOutline(width-margin-w-26, 77, 11, 2.5, sc.mark, 1)

	tenths := n * 10 / fps
	clock := fmt.Sprintf("%02d:%02d", tenths/600, tenths/10%60)
	const size, cell = 84.0, 50.0
	tail := fmt.Sprintf(".%d", tenths%10)
	right := width - margin
	c.text(tail[1:], right-34, height-margin, medium, 56, 0, 34, sc.foot, 1)
	c.dot(right-42, height-margin-5, 4.5, sc.foot, 1)
	at := right - 50 - 4*cell - 26
	for _, r := range clock {
		step := cell
		if r == ':' {
			step = 26
		}
		c.text(string(r), at, height-margin, medium, size, 0, step, sc.foot, 1)
		at += step
	}

	// One cell for each scene; the cell of the moment beats with the tick of the score.
	const r = 9.0
	for k := range s.scenes {
		cx, cy := margin+r+float64(k)*2.1*r, height-margin-12.0
		switch {
		case k < i:
			c.hexagon(cx, cy, r, sc.foot, 0.9)
		case k == i:
			beat := math.Exp(-5 * (t - math.Floor(t)))
			c.hexagon(cx, cy, r+5*beat, sc.mark, 1)
		default:
			c.hexOutline(cx, cy, r-1, 1.6, sc.foot, 0.55)
		}
	}
}

// wipe lets the next scene's colour grow in as honeycomb, from the lower left to the upper right. At p = 1 it covers all.
func wipe(c *canvas, p float64, col color.RGBA) {
	const r = 62.0
	w, h := r*math.Sqrt(3), r*1.5
	for row := 0; float64(row)*h < height+2*r; row++ {
		for k := -1; float64(k)*w < width+w; k++ {
			x, y := float64(k)*w+float64(row%2)*w/2, float64(row)*h
			late := 0.5 * (x/width*0.7 + (1-y/height)*0.3)
			if g := ease((p*1.12 - late) / 0.5); g > 0 {
				c.hexagon(x, y, r*1.04*g, col, 1)
			}
		}
	}
}

// ease runs smoothly from 0 at v ≤ 0 to 1 at v ≥ 1.
func ease(v float64) float64 {
	v = clamp01(v)
	return v * v * (3 - 2*v)
}

// spring runs from 0 to 1 with one small overshoot.
func spring(v float64) float64 {
	if v <= 0 {
		return 0
	}
	return 1 - math.Exp(-6*v)*math.Cos(7*v)
}

// bee is a dot that stretches the way it flies.
func bee(c *canvas, b boid, r float64, body, wing color.RGBA, a float64) {
	v := math.Hypot(b.vx, b.vy) + 1e-9
	dx, dy := b.vx/v, b.vy/v
	if r > 4 {
		c.dot(b.x-dy*r*0.9-dx*r*0.2, b.y+dx*r*0.9-dy*r*0.2, r*0.62, wing, a*0.75)
		c.dot(b.x+dy*r*0.9-dx*r*0.2, b.y-dx*r*0.9-dy*r*0.2, r*0.62, wing, a*0.75)
	}
	c.line(b.x-dx*r*0.9, b.y-dy*r*0.9, b.x+dx*r*0.5, b.y+dy*r*0.5, r*1.5, body, a)
}

// writePoster draws the picture that stands for the film in a catalogue.
func writePoster(s *show, out string) error {
	c := newCanvas(width, height)
	c.fill(night)
	drawPoster(c)
	small := image.NewRGBA(image.Rect(0, 0, 960, 540))
	xdraw.CatmullRom.Scale(small, small.Rect, c.img, c.img.Rect, xdraw.Src, nil)
	f, err := os.Create(filepath.Join(out, "poster.jpg"))
	if err != nil {
		return err
	}
	if err := jpeg.Encode(f, small, &jpeg.Options{Quality: 74}); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// drawPoster: a comb that is filling, a swarm that arrives, the name.
func drawPoster(c *canvas) {
	const r = 64.0
	w, h := r*math.Sqrt(3), r*1.5
	for row := -1; row < 9; row++ {
		for k := 4; k < 13; k++ {
			x, y := float64(k)*w+float64((row+2)%2)*w/2, float64(row)*h+26
			edge := clamp01((x - 640 - 150*math.Sin(y/170)) / 520)
			if edge <= 0 {
				continue
			}
			tone := []color.RGBA{honey, amber, butter, honey, clay, honey}[(row*5+k*3+60)%6]
			c.hexagon(x, y, (r-4)*math.Sqrt(edge), mix(night, tone, 0.35+0.65*edge), 1)
		}
	}
	rows := flock(7, flockRules{
		n: 150, speed: 130, near: 38, far: 100, apart: 10, along: 1.5, together: 0.8, pull: 0.5, floor: 360, warmUp: 5.6, seconds: 0.2,
		place: func(t float64) point { return point{600 + 40*t, 260 - 10*t} },
		start: startAround(420, 250, 260),
	})
	for i, b := range rows[0] {
		if b.y > 400 {
			continue // the name stands there
		}
		bee(c, b, 6.5+float64(i%3), butter, sky, 1)
	}
	c.text("Essaim", 74, 560, bold, 150, -2, 0, cream, 1)
	c.text("a film of numbered scenes", 82, 630, regular, 42, 1, 0, sky, 1)
}
