package main

import (
	"image/color"
	"math"
	"math/rand/v2"
)

// scenesOfAll end the film: out into the evening, and home.
func scenesOfAll() []scene {
	return []scene{
		{"Murmuration", sky, night, brick, drawMurmuration(), night},
		{"Hills", rose, plum, brick, drawHills(), cream},
		{"Tree", cream, ink, leaf, drawTree(), ink},
		{"Kites", sea, cream, honey, drawKites, cream},
		{"Night flight", night, cream, honey, drawNight(), cream},
		{"Homecoming", amber, ink, cream, drawHome(), ink},
		{"Essaim", ink, cream, honey, drawEnd(), cream},
	}
}

// Many birds, one shape.
func drawMurmuration() func(*canvas, float64) {
	rows := flock(17, flockRules{
		n: 230, speed: 190, near: 34, far: 95, apart: 12, along: 1.5, together: 0.45, pull: 0.5, warmUp: 6, seconds: sceneSeconds,
		place: func(t float64) point {
			return point{640 + 260*math.Sin(t*0.63), 350 + 60*math.Sin(t*1.26)}
		},
		start: startAround(640, 350, 260),
	})
	return func(c *canvas, t float64) {
		in := ease(t / 0.6)
		for i, b := range frameOf(rows, t) {
			tone := night
			if i%23 == 0 {
				tone = brick
			}
			v := math.Hypot(b.vx, b.vy) + 1e-9
			dx, dy := b.vx/v, b.vy/v
			c.line(b.x-dx*9, b.y-dy*9, b.x+dx*5, b.y+dy*5, 6, tone, in)
		}
	}
}

// Layers of hills pass; a sun sets; a small swarm keeps us company.
func drawHills() func(*canvas, float64) {
	rows := flock(18, flockRules{
		n: 26, speed: 75, near: 36, far: 140, apart: 4, along: 0.8, together: 0.5, pull: 0.6, warmUp: 4, seconds: sceneSeconds,
		place: func(t float64) point { return point{470 + 45*t, 235 + 20*math.Sin(t)} }, start: startAround(440, 235, 130),
	})
	return func(c *canvas, t float64) {
		in := ease(t / 0.9)
		c.dot(800, 270+14*t+200*(1-in), 92, brick, 1)
		tones := []color.RGBA{mix(rose, plum, 0.25), mix(rose, plum, 0.45), mix(rose, plum, 0.68), mix(rose, plum, 0.86)}
		for i, tone := range tones {
			base := 350 + float64(i)*66 + 380*(1-ease((t-0.1*float64(i))/0.9))
			shift := t * (9 + 13*float64(i))
			pts := []point{{-10, 730}}
			for x := -10.0; x <= 1290; x += 10 {
				u := x + shift + float64(i)*391
				pts = append(pts, point{x, base - 46*math.Sin(u/171) - 24*math.Sin(u/83+1) - 8*math.Sin(u/31)})
			}
			c.poly(append(pts, point{1290, 730}), tone, 1)
		}
		for _, b := range frameOf(rows, t) {
			bee(c, b, 7, ink, cream, in)
		}
	}
}

// A tree grows; its leaves are dots, and some let go.
func drawTree() func(*canvas, float64) {
	type limb struct {
		a, b    point
		w, at   float64
		isFinal bool
	}
	r := rand.New(rand.NewPCG(19, 4))
	var limbs []limb
	var grow func(p point, dir, l, w, at float64, depth int)
	grow = func(p point, dir, l, w, at float64, depth int) {
		s, c := math.Sincos(dir)
		q := point{p.x + l*c, p.y + l*s}
		limbs = append(limbs, limb{p, q, w, at, depth == 0})
		if depth == 0 {
			return
		}
		for _, side := range []float64{-1, 1} {
			turn := side * (0.34 + 0.26*r.Float64())
			grow(q, dir+turn+(-math.Pi/2-dir)*0.08, l*(0.72+0.12*r.Float64()), w*0.68, at+0.42, depth-1)
		}
	}
	grow(point{640, 600}, -math.Pi/2, 118, 24, 0.1, 6)
	tones := []color.RGBA{leaf, honey, forest, leaf, amber}
	return func(c *canvas, t float64) {
		for _, l := range limbs {
			if g := ease((t - l.at) / 0.6); g > 0 {
				sway := 5 * math.Sin(t*1.1+l.b.y/90) * clamp01((560-l.b.y)/300)
				root := 5 * math.Sin(t*1.1+l.a.y/90) * clamp01((560-l.a.y)/300)
				c.line(l.a.x+root, l.a.y, l.a.x+root+(l.b.x+sway-l.a.x-root)*g, l.a.y+(l.b.y-l.a.y)*g, max(l.w, 2.2), ink, 1)
			}
		}
		n := 0
		for _, l := range limbs {
			if !l.isFinal {
				continue
			}
			n++
			g := spring((t - l.at - 0.5 - 0.004*float64(n)) * 1.2)
			x, y := l.b.x+5*math.Sin(t*1.1+l.b.y/90)*clamp01((560-l.b.y)/300), l.b.y
			if go_ := t - 5.2 - float64(n%7)*0.35; n%6 == 0 && go_ > 0 {
				x, y = x+go_*70+18*math.Sin(go_*4+float64(n)), y+go_*46
			}
			c.dot(x, y, (9+float64(n%4)*1.5)*g, tones[n%len(tones)], 1)
		}
	}
}

// Five kites on their strings.
func drawKites(c *canvas, t float64) {
	tones := [][2]color.RGBA{{honey, amber}, {rose, brick}, {cream, mint}, {butter, clay}, {lilac, plum}}
	for i, tone := range tones {
		f := float64(i)
		in := ease((t - 0.16*f) / 1.1)
		x := 230 + 200*f + 46*math.Sin(t*0.9+f*1.7)
		y := 285 + 60*math.Sin(f*2.1) + 34*math.Sin(t*1.3+f) + 330*(1-in)
		lean := 0.22*math.Sin(t*0.9+f*1.7+0.8) + 0.12
		s, co := math.Sincos(lean)
		turn := func(px, py float64) point { return point{x + px*co - py*s, y + px*s + py*co} }
		top, bot, l, r := turn(0, -74), turn(0, 96), turn(-54, -10), turn(54, -10)
		var str []point
		for k := range 17 {
			u := float64(k) / 16
			str = append(str, point{bot.x + (x-120-bot.x)*u + 26*math.Sin(u*3+t)*u*(1-u)*4, bot.y + (620-bot.y)*u*u})
		}
		c.path(str, 2, cream, 0.7*in)
		c.poly([]point{top, r, bot}, tone[0], 1)
		c.poly([]point{top, bot, l}, tone[1], 1)
		for k := range 4 {
			u := float64(k+1) * 24
			c.dot(bot.x-0.3*u+9*math.Sin(t*5+u/14+f), bot.y+u*0.8, 6.5-float64(k), tone[k%2], in)
		}
	}
}

// Fireflies, each with its own rhythm, under a moon.
func drawNight() func(*canvas, float64) {
	r := rand.New(rand.NewPCG(21, 2))
	type fly struct{ x, y, a, b, ph, v float64 }
	flies := make([]fly, 46)
	for i := range flies {
		flies[i] = fly{90 + r.Float64()*1100, 190 + r.Float64()*360, 20 + 34*r.Float64(), 14 + 22*r.Float64(), r.Float64() * 7, 0.5 + 0.5*r.Float64()}
	}
	stars := make([]point, 70)
	for i := range stars {
		stars[i] = point{r.Float64() * width, 120 + r.Float64()*330}
	}
	return func(c *canvas, t float64) {
		in := ease(t / 0.8)
		for i, p := range stars {
			c.dot(p.x, p.y, 1.2+float64(i%3)*0.5, sky, in*0.55)
		}
		c.dot(975, 235, 74*spring(t), butter, 1)
		c.dot(1003, 217, 66*spring(t), night, 1)
		for i, f := range flies {
			x := f.x + f.a*math.Sin(f.v*t+f.ph) + 14*t*f.v
			y := f.y + f.b*math.Sin(1.7*f.v*t+f.ph*2)
			glow := math.Pow(0.5+0.5*math.Sin(f.v*2.4*t+f.ph*3), 2)
			tone := honey
			if i%5 == 0 {
				tone = mint
			}
			c.dot(x, y, 20, tone, 0.16*glow*in)
			c.dot(x, y, 6.5, mix(mix(night, tone, 0.35), tone, glow), in)
		}
	}
}

// The swarm spirals into its hive.
func drawHome() func(*canvas, float64) {
	r := rand.New(rand.NewPCG(22, 9))
	type one struct{ turn, far, at, spin float64 }
	bees := make([]one, 150)
	for i := range bees {
		bees[i] = one{r.Float64() * 2 * math.Pi, 300 + 420*r.Float64(), r.Float64() * 4.6, 2.2 + 1.4*r.Float64()}
	}
	const cx, cy = 640.0, 385.0
	return func(c *canvas, t float64) {
		in := spring(t * 1.1)
		// A skep: seven rolls of straw.
		for i := range 7 {
			w := []float64{62, 104, 132, 150, 160, 164, 164}[i] * in
			y := cy - 118 + float64(i)*39
			c.line(cx-w+20*in, y, cx+w-20*in, y, 37*clamp01(in), []color.RGBA{butter, honey}[i%2], 1)
		}
		c.dot(cx, cy+84, 31*clamp01(in), ink, 1)
		c.rect(int(cx-31*clamp01(in)), int(cy+84), int(cx+31*clamp01(in)), int(cy+84+39*clamp01(in)), ink)
		for i, b := range bees {
			at := func(t float64) point {
				u := (t - b.at + 2.2) / 3.4
				k := 1 - ease(u)
				s, co := math.Sincos(b.turn + b.spin*u*1.6)
				return point{cx + b.far*1.3*k*co, cy + 84 + (b.far*0.8*s-50)*k}
			}
			u := (t - b.at + 2.2) / 3.4
			if u >= 1 {
				continue
			}
			p, q := at(t), at(t+0.03)
			bee(c, boid{p.x, p.y, q.x - p.x, q.y - p.y}, 7.5+float64(i%3), ink, cream, ease(t/0.5)*clamp01((1-u)*8))
		}
	}
}

// The dots gather into the name.
func drawEnd() func(*canvas, float64) {
	r := rand.New(rand.NewPCG(23, 6))
	goal := textPoints("Essaim", 250, 4, 640, 360, 520, r.Float64)
	type way struct{ from, bend, at float64 }
	ways := make([]way, len(goal))
	for i := range ways {
		ways[i] = way{r.Float64() * 2 * math.Pi, r.Float64()*2 - 1, r.Float64() * 1.5}
	}
	tones := []color.RGBA{honey, butter, amber, honey}
	return func(c *canvas, t float64) {
		for i, g := range goal {
			w := ways[i]
			u := ease((t - 0.1 - w.at) / 2.2)
			s, co := math.Sincos(w.from + w.bend*(1-u))
			x, y := g.x+620*(1-u)*co*1.3, g.y+620*(1-u)*s*0.8
			still := 1.6 * math.Sin(t*1.4+float64(i)) * u
			c.dot(x, y+still, 6.4, tones[i%4], ease(t/0.4))
		}
		const line = "the more who watch, the lighter it is"
		c.text(line, 640-textWidth(line, regular, 34, 1)/2, 500, regular, 34, 1, 0, cream, ease((t-4)/1))
		if left := sceneSeconds - t; left < 0.5 {
			c.rect(0, 0, c.w, c.h, ink)
			for i, g := range goal {
				c.dot(g.x, g.y+1.6*math.Sin(t*1.4+float64(i)), 6.4*ease(left/0.5), tones[i%4], 1)
			}
		}
	}
}
