package audience

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// timeAxis labels the horizontal axis from 0 to end or a little later, and returns where a moment lies on it.
func (p *plot) timeAxis(end time.Duration) func(time.Duration) float64 {
	step := timeStep(end)
	ticks := int((end + step - 1) / step)
	p.xAxis(ticks, func(i int) string {
		at := time.Duration(i) * step
		if end >= time.Minute && at < time.Minute { // as its neighbours read
			return fmt.Sprintf("0:%02d", int(at.Seconds()))
		}
		return clock(at)
	})
	whole := (time.Duration(ticks) * step).Seconds()
	return func(at time.Duration) float64 { return at.Seconds() / whole * side }
}

// timeStep is the distance of labels on an axis of time: round on a clock, such that there are three to six steps, and of
// those the one that leaves least room behind end.
func timeStep(end time.Duration) time.Duration {
	if end < 300*time.Millisecond {
		return 100 * time.Millisecond
	}
	if end > 6*24*time.Hour {
		return (end/6 + 24*time.Hour).Truncate(24 * time.Hour)
	}
	var best time.Duration
	room := time.Duration(math.MaxInt64)
	for _, s := range []time.Duration{
		100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second,
		40 * time.Second, time.Minute, 90 * time.Second, 2 * time.Minute, 3 * time.Minute, 5 * time.Minute, 10 * time.Minute,
		15 * time.Minute, 20 * time.Minute, 30 * time.Minute, 45 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour,
		4 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	} {
		ticks := (end + s - 1) / s
		if ticks >= 3 && ticks <= 6 && ticks*s-end <= room {
			best, room = s, ticks*s-end
		}
	}
	return best
}

func (p *plot) xAxis(ticks int, label func(i int) string) {
	for i := range ticks + 1 {
		p.X = append(p.X, label(i))
	}
	p.XGrid = grid(ticks)
}

// yAxis labels the vertical axis from 0 to top or a little more, and returns where a value lies on it.
func (p *plot) yAxis(top float64, label func(float64) string) func(float64) float64 {
	ticks, step := niceTicks(top, 4)
	for i := ticks; i >= 0; i-- {
		p.Y = append(p.Y, label(float64(i)*step))
	}
	p.YGrid = grid(ticks)
	whole := float64(ticks) * step
	return func(v float64) float64 { return side * (1 - min(v/whole, 1)) }
}

// niceTicks divides 0 to top or a little more into at most most steps of 1, 2 or 5 times a power of ten.
func niceTicks(top float64, most int) (ticks int, step float64) {
	if top <= 0 || math.IsInf(top, 0) || math.IsNaN(top) {
		return 1, 1
	}
	power := math.Pow(10, math.Floor(math.Log10(top/float64(most))))
	for _, m := range []float64{1, 2, 5, 10} {
		step = m * power
		if ticks = int(math.Ceil(top/step - 1e-9)); ticks <= most {
			break
		}
	}
	return max(ticks, 1), step
}

// grid is the coordinates of a grid's lines, without those that are the drawing's border.
func grid(ticks int) []string {
	var out []string
	for i := 1; i < ticks; i++ {
		out = append(out, number(side*float64(i)/float64(ticks)))
	}
	return out
}

// whole labels a number of viewers; between two of them there is none.
func whole(v float64) string {
	if v != math.Trunc(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func inSeconds(v float64) string { return decimals(v, 2) + " s" }

// bytesOf labels a number of bytes, which is a round one.
func bytesOf(v float64) string { return strings.Replace(byteCount(int64(v)), ".0 ", " ", 1) }

// number is a coordinate to a tenth: a thousandth of the drawing is less than a pixel on most screens.
func number(v float64) string { return decimals(v, 1) }

// strip is the column of a group.
func strip(x func(time.Duration) float64, m moments, tip string) column {
	return column{number(x(m.from)), number(x(m.to) - x(m.from)), tip}
}

// path is a line being drawn.
type path struct {
	b strings.Builder
	y float64
}

func (p *path) to(x, y float64) {
	if p.b.Len() == 0 {
		p.b.WriteString("M")
	} else {
		p.b.WriteString("L")
	}
	p.b.WriteString(number(x) + " " + number(y))
	p.y = y
}

func (p *path) String() string { return p.b.String() }

// stepLine draws values that each hold for the whole of their group's time.
func stepLine(x func(time.Duration) float64, groups []moments, values []float64) string {
	var d path
	for i, m := range groups {
		d.to(x(m.from), values[i])
		d.to(x(m.to), values[i])
	}
	return d.String()
}

// steps is the area under stepLine.
func steps(x func(time.Duration) float64, groups []moments, values []float64) string {
	last := number(x(groups[len(groups)-1].to))
	return stepLine(x, groups, values) + "L" + last + " 1000L" + number(x(groups[0].from)) + " 1000Z"
}
