package main

import (
	"math"
	"math/rand/v2"
)

// A boid is one bee at one moment.
type boid struct{ x, y, vx, vy float64 }

// flockRules are the weights of Reynolds's three rules and of a pull towards a place that may move.
type flockRules struct {
	n               int
	speed           float64 // pixels per second
	near, far       float64 // radius of separation, radius of company
	apart, along    float64
	together, pull  float64
	floor           float64 // they turn back above this height
	place           func(t float64) point
	start           func(r *rand.Rand, i int) boid
	warmUp, seconds float64
}

// flock runs the rules and returns one row of boids per frame. The same seed gives the same flight.
func flock(seed uint64, k flockRules) [][]boid {
	r := rand.New(rand.NewPCG(seed, 0xe55a1))
	if k.floor == 0 {
		k.floor = 540
	}
	now := make([]boid, k.n)
	for i := range now {
		now[i] = k.start(r, i)
	}
	const dt = 1.0 / fps
	var rows [][]boid
	next := make([]boid, k.n)
	for t := -k.warmUp; t < k.seconds-dt/2; t += dt {
		if t > -dt/2 {
			rows = append(rows, append([]boid(nil), now...))
		}
		p := k.place(t)
		for i, b := range now {
			var sx, sy, ax, ay, cx, cy, n float64
			for j, o := range now {
				dx, dy := o.x-b.x, o.y-b.y
				d2 := dx*dx + dy*dy
				if j == i || d2 > k.far*k.far {
					continue
				}
				n++
				ax, ay, cx, cy = ax+o.vx, ay+o.vy, cx+dx, cy+dy
				if d2 < k.near*k.near && d2 > 0 {
					d := math.Sqrt(d2)
					sx, sy = sx-dx/d*(k.near-d), sy-dy/d*(k.near-d)
				}
			}
			fx, fy := sx*k.apart, sy*k.apart
			if n > 0 {
				fx += (ax/n-b.vx)*k.along + cx/n*k.together
				fy += (ay/n-b.vy)*k.along + cy/n*k.together
			}
			fx += (p.x - b.x) * k.pull
			fy += (p.y - b.y) * k.pull
			// A little wilfulness, the same for each bee through the whole flight.
			s, c := math.Sincos(t*1.7 + float64(i)*2.399)
			fx, fy = fx+c*k.speed*0.5, fy+s*k.speed*0.5
			// Soft walls keep the flight off the letters.
			fx += 7*max(80-b.x, 0) - 7*max(b.x-(width-80), 0)
			fy += 7*max(165-b.y, 0) - 7*max(b.y-k.floor, 0)
			b.vx, b.vy = b.vx+fx*dt, b.vy+fy*dt
			v := math.Hypot(b.vx, b.vy)
			if want := min(max(v, k.speed*0.6), k.speed*1.25); v > 0 {
				b.vx, b.vy = b.vx/v*want, b.vy/v*want
			}
			b.x, b.y = b.x+b.vx*dt, b.y+b.vy*dt
			next[i] = b
		}
		now, next = next, now
	}
	return rows
}

func frameOf[T any](rows []T, t float64) T {
	return rows[min(max(int(math.Round(t*fps)), 0), len(rows)-1)]
}
