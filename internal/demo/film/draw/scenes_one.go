package main

import (
	"image/color"
	"math"
	"math/rand/v2"
)

func startAround(x, y, spread float64) func(*rand.Rand, int) boid {
	return func(r *rand.Rand, _ int) boid {
		a, d := r.Float64()*2*math.Pi, math.Sqrt(r.Float64())*spread
		s, c := math.Sincos(a)
		return boid{x + d*c, y + d*s*0.7, -s * 60, c * 60}
	}
}

// scenesOfOne begin the film: from one bee to a few, and what they build.
func scenesOfOne() []scene {
	return []scene{
		{"One", night, cream, honey, drawOne, cream},
		{"Two meet", honey, ink, brick, drawTwo, ink},
		{"A few", deep, cream, honey, drawFew(), cream},
		{"Honeycomb", cream, ink, amber, drawComb, ink},
		{"The dance", brick, cream, butter, drawDance, cream},
		{"Sunflower", forest, cream, honey, drawSunflower, cream},
		{"Ripples", sky, night, brick, drawRipples, night},
		{"A wind comes up", butter, ink, sea, drawWind, ink},
	}
}

// A single dot draws its way.
func drawOne(c *canvas, t float64) {
	at := func(u float64) point {
		return point{640 + 400*math.Sin(0.62*u-1.9), 372 + 150*math.Sin(1.24*u-0.5)}
	}
	const tail = 2.6
	from := max(0, t-tail)
	prev := at(from)
	for u := from + 0.04; u < t; u += 0.04 {
		p := at(u)
		f := (u - (t - tail)) / tail
		c.line(prev.x, prev.y, p.x, p.y, 1+9*f*f, mix(night, honey, 0.15+0.6*f), 1)
		prev = p
	}
	p := at(t)
	c.ring(p.x, p.y, 34+4*math.Sin(2*math.Pi*t), 2, honey, 0.35)
	c.dot(p.x, p.y, 19*spring(t*1.4), honey, 1)
}

// Two dots find each other, and a thread stays between them.
func drawTwo(c *canvas, t float64) {
	near := ease((t - 0.4) / 2.6)
	d := 430 - 270*near
	s, co := math.Sincos(0.55*t + 0.3)
	a, b := point{640 - d*co, 368 - d*0.5*s}, point{640 + d*co, 368 + d*0.5*s}
	if near > 0.35 {
		k := ease((near - 0.35) / 0.65)
		c.line(a.x, a.y, a.x+(b.x-a.x)*k, a.y+(b.y-a.y)*k, 5, ink, 1)
		for i := range 3 {
			u := math.Mod(t*0.45+float64(i)/3, 1)
			if k == 1 {
				c.dot(a.x+(b.x-a.x)*u, a.y+(b.y-a.y)*u, 11, brick, 1)
				c.dot(b.x+(a.x-b.x)*u, b.y+(a.y-b.y)*u, 7, cream, 1)
			}
		}
	}
	c.dot(a.x, a.y, 56*spring(t*1.3), ink, 1)
	c.dot(b.x, b.y, 56*spring(t*1.3-0.2), brick, 1)
	c.ring(a.x, a.y, 74, 3, ink, 0.5*near)
	c.ring(b.x, b.y, 74, 3, brick, 0.6*near)
}

// Nine wander; those who come near are joined.
func drawFew() func(*canvas, float64) {
	rows := flock(11, flockRules{
		n: 11, speed: 105, near: 130, far: 420, apart: 2.2, along: 0.2, together: 0.12, pull: 0.35, warmUp: 2, seconds: sceneSeconds,
		place: func(float64) point { return point{640, 365} }, start: startAround(640, 365, 330),
	})
	tones := []color.RGBA{honey, mint, rose, butter, sky}
	return func(c *canvas, t float64) {
		in := ease(t / 0.6)
		now := frameOf(rows, t)
		for i, a := range now {
			for _, b := range now[:i] {
				if d := math.Hypot(a.x-b.x, a.y-b.y); d < 300 {
					c.line(a.x, a.y, b.x, b.y, 1+4*(1-d/300), mint, in*0.75*(1-d/300))
				}
			}
		}
		for i, b := range now {
			c.dot(b.x, b.y, 24*spring(t*1.5-float64(i)*0.06), tones[i%len(tones)], 1)
		}
	}
}

// Cells are set one after another, from the middle outwards.
func drawComb(c *canvas, t float64) {
	const r = 44.0
	w, h := r*math.Sqrt(3), r*1.5
	tones := []color.RGBA{honey, amber, honey, butter, honey, clay}
	for row := -3; row <= 3; row++ {
		for k := -7; k <= 7; k++ {
			x, y := 640+float64(k)*w+float64((row+8)%2)*w/2, 362+float64(row)*h
			d := math.Hypot((x-640)*0.62, y-362)
			if d > 250 {
				continue
			}
			turn := math.Atan2(y-362, x-640)
			g := spring((t - 0.2 - d/62 - 0.3*math.Sin(turn*3)) * 1.2)
			c.hexagon(x, y, (r-3)*g, tones[(row*3+k*5+70)%6], 1)
			if full := ease((t - 1.4 - d/62) / 0.5); full > 0 && (row*7+k*3+70)%5 == 0 {
				c.dot(x, y, (13+2*math.Sin(2*math.Pi*t))*full, cream, 1)
			}
		}
	}
}

// The waggle dance: a figure of eight whose straight run points the way.
func drawDance(c *canvas, t float64) {
	const cx, cy = 590.0, 368.0
	at := func(u float64) point { // Bernoulli's lemniscate
		s, co := math.Sincos(u)
		k := 350 / (1 + s*s)
		return point{cx + k*co, cy + 1.25*k*s*co}
	}
	var pts []point
	for u := 0.0; u <= 2*math.Pi+0.01; u += 0.07 {
		pts = append(pts, at(u))
	}
	c.path(pts[:int(1+float64(len(pts)-1)*ease(t/1.6))], 4, butter, 0.45)
	for i := range 7 {
		a := -0.42 + 0.14*float64(i)
		s, co := math.Sincos(a)
		g := ease((t - 1.2 - 0.12*float64(i)) / 0.7)
		pulse := 0.5 + 0.5*math.Sin(2*math.Pi*t-float64(i)*0.8)
		c.line(cx+420*co, cy+420*s, cx+(420+120*g)*co, cy+(420+120*g)*s, 7, rose, g*(0.35+0.5*pulse))
	}
	for i := range 5 {
		u := t*1.35 - float64(i)*0.5
		p, q := at(u), at(u+0.05)
		shake := 7 * math.Sin(t*26+float64(i)*2)
		b := boid{p.x, p.y + shake*math.Exp(-4*math.Abs(math.Cos(u))), q.x - p.x, q.y - p.y}
		bee(c, b, 21-2.5*float64(i), honey, cream, ease(t*2-float64(i)*0.3))
	}
}

// Seeds by the golden angle.
func drawSunflower(c *canvas, t float64) {
	const cx, cy = 640.0, 372.0
	for i := range 34 {
		a := float64(i)*2*math.Pi/34 + 0.03*math.Sin(t)
		s, co := math.Sincos(a)
		g := spring((t - 2.2 - float64(i%17)*0.05) * 0.9)
		c.line(cx+190*co, cy+190*s, cx+(190+78*g)*co, cy+(190+78*g)*s, 26*clamp01(g), honey, 1)
	}
	for i := range 300 {
		a, d := float64(i)*2.399963+0.06*t, 10.6*math.Sqrt(float64(i)+0.5)
		s, co := math.Sincos(a)
		g := spring((t - 0.2 - float64(i)*0.011) * 1.6)
		tone := mix(clay, butter, clamp01(d/185))
		c.dot(cx+d*co, cy+d*s, (2.6+d*0.016)*g, tone, 1)
	}
}

// Rings spread over water from where something touched it.
func drawRipples(c *canvas, t float64) {
	drops := []struct{ x, y, at float64 }{
		{430, 300, 0.1}, {820, 430, 1}, {600, 500, 2}, {960, 270, 3}, {330, 460, 4}, {700, 330, 5}, {500, 240, 6}, {870, 360, 6.6},
	}
	for i, d := range drops {
		age := t - d.at
		if age < 0 {
			continue
		}
		tone := []color.RGBA{sea, night, sea, brick}[i%4]
		for k := range 4 {
			if r := (age - 0.28*float64(k)) * 105; r > 0 {
				c.ring(d.x, d.y, r, 5-float64(k), tone, 0.85*clamp01(1-r/430))
			}
		}
		c.dot(d.x, d.y, 13*spring(age*2)*clamp01(1.6-age*0.35), tone, 1)
	}
}

// A field of strokes turned by a wave that passes through.
func drawWind(c *canvas, t float64) {
	in := ease(t / 0.7)
	for row := range 9 {
		for k := range 21 {
			x, y := 100+float64(k)*54, 158+float64(row)*53
			ph := float64(k)*0.32 - float64(row)*0.21 - t*1.25
			a := -0.55 + 0.95*math.Sin(ph)
			s, co := math.Sincos(a)
			l := 15 + 8*math.Cos(ph)
			tone := mix(sea, brick, clamp01(0.5+0.62*math.Sin(ph)))
			c.line(x-l*co, y-l*s, x+l*co, y+l*s, 6.5, tone, in)
		}
	}
}
