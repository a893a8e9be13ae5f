package main

import (
	"image/color"
	"math"
	"math/rand/v2"
)

// scenesOfMany are the film's middle: the swarm, and how it shares.
func scenesOfMany() []scene {
	return []scene{
		{"The swarm", ink, cream, honey, drawSwarm(), cream},
		{"Pieces", cream, ink, brick, drawPieces(), ink},
		{"Passing it on", plum, cream, honey, drawPassing, cream},
		{"River", mint, ink, sea, drawRiver(), ink},
		{"Orbits", night, cream, rose, drawOrbits, cream},
		{"Rain", sea, cream, butter, drawRain(), cream},
		{"Garden", rose, plum, brick, drawGarden, plum},
		{"Waves", butter, night, brick, drawWaves, cream},
	}
}

// The swarm itself, circling.
func drawSwarm() func(*canvas, float64) {
	rows := flock(3, flockRules{
		n: 140, speed: 165, near: 46, far: 120, apart: 12, along: 1.2, together: 0.35, pull: 0.42, warmUp: 6, seconds: sceneSeconds,
		place: func(t float64) point {
			s, c := math.Sincos(t * 0.75)
			return point{640 + 170*c, 350 + 60*s}
		},
		start: startAround(640, 365, 300),
	})
	tones := []color.RGBA{honey, butter, amber}
	return func(c *canvas, t float64) {
		in := ease(t / 0.6)
		for i, b := range frameOf(rows, t) {
			bee(c, b, 8+float64(i%4), tones[i%3], cream, in)
		}
	}
}

// A film as a sheet of pieces, each coloured by who brought it.
func drawPieces() func(*canvas, float64) {
	r := rand.New(rand.NewPCG(10, 1))
	const cols, rows, pitch = 20, 8, 49.0
	order := r.Perm(cols * rows)
	from := make([]int, cols*rows)
	for i := range from {
		// The origin brings the first of each run; neighbours bring nearly all the rest.
		if from[i] = 1 + r.IntN(4); r.IntN(9) == 0 {
			from[i] = 0
		}
	}
	tones := []color.RGBA{ink, honey, clay, leaf, sea}
	return func(c *canvas, t float64) {
		x0, y0 := 640-pitch*(cols-1)/2, 372-pitch*(rows-1)/2
		for i := range cols * rows {
			x, y := x0+float64(i%cols)*pitch, y0+float64(i/cols)*pitch
			c.hexOutline(x, y, 22, 1.5, ink, 0.16*ease(t/0.6))
			// Mostly in order, a little rarest first.
			at := 0.5 + 0.02*float64(i) + 0.021*float64(order[i])
			g := spring((t - at) * 1.6)
			c.hexagon(x, y, 22.5*g, tones[from[i]], 1)
		}
	}
}

// Everyone in the circle hands on what came.
func drawPassing(c *canvas, t float64) {
	const n, cx, cy, r = 12, 640.0, 372.0, 222.0
	at := func(i int) point {
		s, co := math.Sincos(float64(i)*2*math.Pi/n - math.Pi/2 + 0.05*t)
		return point{cx + r*1.35*co, cy + r*s}
	}
	tones := []color.RGBA{honey, rose, sky, mint}
	for i := range n {
		a := at(i)
		for k, hop := range []int{5, 3} {
			b := at((i + hop) % n)
			in := ease((t - 0.3 - 0.08*float64(i)) / 0.8)
			mid := point{(a.x+b.x)/2*0.55 + cx*0.45, (a.y+b.y)/2*0.55 + cy*0.45}
			curve := func(u float64) point {
				v := 1 - u
				return point{v*v*a.x + 2*u*v*mid.x + u*u*b.x, v*v*a.y + 2*u*v*mid.y + u*u*b.y}
			}
			var pts []point
			for u := 0.0; u <= in+0.001; u += 0.0625 {
				pts = append(pts, curve(u))
			}
			c.path(pts, 2, lilac, 0.28)
			if in == 1 {
				p := curve(ease(math.Mod(t*0.5+float64(i)*0.37+float64(k)*0.5, 1)))
				c.dot(p.x, p.y, 8, tones[(i+k)%4], 1)
			}
		}
	}
	for i := range n {
		a := at(i)
		g := spring(t*1.4 - 0.06*float64(i))
		c.dot(a.x, a.y, 27*g, tones[i%4], 1)
		c.dot(a.x, a.y, 15*g, plum, 1)
	}
}

// Dots go with the current between two banks.
func drawRiver() func(*canvas, float64) {
	r := rand.New(rand.NewPCG(12, 5))
	type drop struct{ x, lane, v, size float64 }
	drops := make([]drop, 110)
	for i := range drops {
		l := r.Float64()*2 - 1
		drops[i] = drop{r.Float64() * 1500, l, 150 * (1.25 - l*l*0.7), 5 + 7*r.Float64()}
	}
	mid := func(x float64) float64 { return 372 + 78*math.Sin(x/210) }
	wide := func(x float64) float64 { return 118 + 30*math.Sin(x/133+1) }
	return func(c *canvas, t float64) {
		in := ease(t / 0.8)
		var bed []point
		for x := -20.0; x <= 1300; x += 20 {
			bed = append(bed, point{x, mid(x) - wide(x)*in})
		}
		for x := 1300.0; x >= -20; x -= 20 {
			bed = append(bed, point{x, mid(x) + wide(x)*in})
		}
		c.poly(bed, sea, 1)
		for i, d := range drops {
			x := math.Mod(d.x+d.v*t, 1500) - 110
			y := mid(x) + d.lane*wide(x)*0.86*in
			y2 := mid(x+10) + d.lane*wide(x+10)*0.86*in
			c.line(x-d.size, y-(y2-y)*d.size/10, x+d.size, y+(y2-y)*d.size/10, d.size*1.3, []color.RGBA{sky, cream, mint, butter}[i%4], in)
		}
	}
}

// Three rings of companions around one centre, and the curve that they draw together.
func drawOrbits(c *canvas, t float64) {
	const cx, cy = 640.0, 372.0
	var pts []point
	for u := 0.0; u < min(t*1.1, 6.9); u += 0.045 {
		s1, c1 := math.Sincos(3*u + 0.6)
		s2, c2 := math.Sincos(5 * u)
		pts = append(pts, point{cx + 190*c1 + 110*c2, cy + 118*s1 + 88*s2})
	}
	c.path(pts, 2.5, lilac, 0.6)
	for k, o := range []struct {
		r, v, size float64
		n          int
		tone       color.RGBA
	}{{92, 0.9, 11, 3, honey}, {160, -0.6, 14, 5, rose}, {232, 0.4, 17, 7, sky}} {
		c.ring(cx, cy, o.r*ease(t/0.9-0.15*float64(k)), 1.5, cream, 0.3)
		for i := range o.n {
			s, co := math.Sincos(o.v*t + float64(i)*2*math.Pi/float64(o.n))
			c.dot(cx+o.r*co, cy+o.r*s, o.size*spring(t*1.3-0.2*float64(k)-0.08*float64(i)), o.tone, 1)
		}
	}
	c.dot(cx, cy, (40+3*math.Sin(2*math.Pi*t))*spring(t*1.4), cream, 1)
}

// Slanting strokes, and a ring where each one lands.
func drawRain() func(*canvas, float64) {
	r := rand.New(rand.NewPCG(14, 8))
	type drop struct{ x, floor, at, v float64 }
	drops := make([]drop, 74)
	for i := range drops {
		drops[i] = drop{60 + r.Float64()*1260, 470 + r.Float64()*115, r.Float64() * 1.6, 560 + 160*r.Float64()}
	}
	return func(c *canvas, t float64) {
		for i, d := range drops {
			fall := d.floor + 40
			age := math.Mod(t+1.6-d.at, 1.6)
			if t < 0.6 && t-age < -0.9 {
				continue
			}
			y := age*d.v - 40
			tone := []color.RGBA{sky, cream, sky, butter}[i%4]
			if y < d.floor {
				x := d.x - 0.22*y
				c.line(x+8, max(y-38, 118), x, max(y, 118), 3.5, tone, 0.85*clamp01((y-90)/60))
			}
			if after := age - fall/d.v; after > 0 {
				k := after / (1.6 - fall/d.v)
				x := d.x - 0.22*d.floor
				for side := range 24 {
					s0, c0 := math.Sincos(float64(side) * math.Pi / 12)
					s1, c1 := math.Sincos(float64(side+1) * math.Pi / 12)
					c.line(x+46*k*c0, d.floor+13*k*s0, x+46*k*c1, d.floor+13*k*s1, 2.5, tone, 0.8*(1-k))
				}
			}
		}
	}
}

// Flowers open from left to right; bees visit.
func drawGarden(c *canvas, t float64) {
	petals := []color.RGBA{cream, brick, plum, honey, cream, clay, plum}
	for i := range 7 {
		x, y := 190+float64(i)*150, 330+58*math.Sin(float64(i)*1.9)
		g := spring((t - 0.2 - 0.3*float64(i)) * 0.9)
		sway := 8 * math.Sin(1.3*t+float64(i))
		up := ease((t - 0.1*float64(i)) / 0.8)
		c.line(x, 590, x+sway*up*0.9, 590-(590-y)*up, 7, forest, 1)
		if up > 0.9 {
			c.line(x+sway*0.4, 510, x+sway*0.4+34, 480, 13, leaf, ease((up-0.9)*10))
		}
		n := 6 + i%3
		for p := range n {
			s, co := math.Sincos(float64(p)*2*math.Pi/float64(n) + 0.12*math.Sin(t+float64(i)))
			c.dot(x+sway+36*g*co, y+36*g*s, 21*g, petals[i], 1)
		}
		c.dot(x+sway, y, 19*g, []color.RGBA{honey, butter, amber}[i%3], 1)
	}
	for k := range 4 {
		u := t*0.8 + float64(k)*1.7
		at := func(u float64) point {
			return point{640 + 520*math.Sin(u*0.61+float64(k)), 290 + 80*math.Sin(u*1.7+float64(k)*2)}
		}
		p, q := at(u), at(u+0.02)
		bee(c, boid{p.x, p.y, q.x - p.x, q.y - p.y}, 13, ink, cream, ease(t-1.2))
	}
}

// Six layers of sea under a paper sun.
func drawWaves(c *canvas, t float64) {
	c.dot(860, 330-40*ease(t/6), 118*spring(t*0.9), brick, 1)
	tones := []color.RGBA{sky, mix(sky, sea, 0.45), sea, mix(sea, night, 0.45), mix(sea, night, 0.8)}
	for i, tone := range tones {
		base := 352 + float64(i)*50 + 260*(1-ease((t-0.08*float64(i))/1.1))
		amp, speed := 20+2*float64(i), 0.7+0.16*float64(i)
		pts := []point{{-10, 730}}
		for x := -10.0; x <= 1290; x += 10 {
			pts = append(pts, point{x, base + amp*math.Sin(x/(92+11*float64(i))+t*speed+float64(i)*1.3)})
		}
		c.poly(append(pts, point{1290, 730}), tone, 1)
	}
}
