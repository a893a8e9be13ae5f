package audience

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plot is a drawing with its labels. The drawing stretches to whatever room there is; so the labels are the page's own text,
// beside it, at equal distances: an axis ends on a label.
type plot struct {
	Title, Note string
	Says        string // the drawing in a sentence, for who does not see it
	Legend      []legend
	Y, X        []string // labels, from top to bottom and from left to right
	YGrid       []string // the grid's lines, as coordinates of the drawing
	XGrid       []string
	Layers      []layer
	Columns     []column
}

type legend struct{ Class, Text string }

// layer is a path; its class says how it is drawn.
type layer struct{ Class, Path string }

// column is a strip over the whole height that tells what stands there.
type column struct{ X, Width, Tip string }

// The drawing's own coordinates.
const (
	side       = 1000.0
	columnsMax = 160 // strips, and points of a line over time
	barsMax    = 120
)

// plots are those for which there is something to draw.
func plots(run, twin *Run) []plot {
	var out []plot
	if len(run.Samples) > 1 {
		groups := group(run.Samples)
		end := groups[len(groups)-1].to
		if end > 0 {
			out = append(out, trafficPlot(groups, twin, end), crowdPlot(groups, end), bufferPlot(groups, end))
		}
	}
	if len(run.Viewers) > 0 {
		out = append(out, startupPlot(run, twin))
		if p, ok := uploadPlot(run); ok {
			out = append(out, p)
		}
	}
	return out
}

// moments are neighbouring samples that are drawn as one.
type moments struct {
	from, to      time.Duration
	origin, peers float64 // bytes per second
	worst         Sample  // the one with most viewers stalled, then with the least ahead
}

// group makes at most columnsMax groups of samples, dropping those that are not in order of time.
func group(samples []Sample) []moments {
	each := (len(samples) + columnsMax - 1) / columnsMax
	var out []moments
	var before Sample
	for part := range slices.Chunk(samples, each) {
		last := part[len(part)-1]
		m := moments{from: before.At, to: last.At, worst: last}
		span := (last.At - before.At).Seconds()
		if span <= 0 {
			before = last
			continue
		}
		m.origin = math.Max(0, float64(last.OriginBytes-before.OriginBytes)/span)
		m.peers = math.Max(0, float64(last.PeerBytes-before.PeerBytes)/span)
		for _, s := range part {
			if s.Stalled > m.worst.Stalled || s.Stalled == m.worst.Stalled && s.BufferP5 < m.worst.BufferP5 {
				m.worst = s
			}
		}
		out, before = append(out, m), last
	}
	if len(out) == 0 {
		return []moments{{}}
	}
	return out
}

func trafficPlot(groups []moments, twin *Run, end time.Duration) plot {
	p := plot{
		Title:  "Where the bytes came from",
		Note:   "Bytes per second that all viewers received.",
		Legend: []legend{{"origin", "from the origin"}, {"peers", "from other viewers"}},
	}
	x := p.timeAxis(end)
	var other []moments
	if twin != nil && len(twin.Samples) > 1 {
		other = group(twin.Samples)
		p.Legend = append(p.Legend, legend{"http", "the origin by plain HTTP"})
	}
	var top float64
	for _, m := range groups {
		top = max(top, m.origin+m.peers)
	}
	for _, m := range other {
		top = max(top, m.origin)
	}
	y := p.yAxis(top, func(v float64) string { return bytesOf(v) + "/s" })
	var origin, both, http []float64
	for i, m := range groups {
		origin, both = append(origin, y(m.origin)), append(both, y(m.origin+m.peers))
		tip := clock(m.to) + ": " + byteCount(int64(m.origin)) + "/s from the origin, " + byteCount(int64(m.peers)) + "/s from viewers"
		if i < len(other) && other[i].to == m.to {
			tip += "; plain HTTP " + byteCount(int64(other[i].origin)) + "/s"
		}
		p.Columns = append(p.Columns, strip(x, m, tip))
	}
	// A rate holds for the whole of its time: a step, so that the area is the bytes.
	p.Layers = []layer{
		{"fill peers", steps(x, groups, both)}, {"fill origin", steps(x, groups, origin)},
	}
	for _, m := range other {
		http = append(http, y(m.origin))
	}
	if other != nil {
		p.Layers = append(p.Layers, layer{"line http", stepLine(x, other, http)})
	}
	p.Says = "Traffic over time, from the origin and from other viewers."
	return p
}

func crowdPlot(groups []moments, end time.Duration) plot {
	p := plot{
		Title:  "What the viewers did",
		Note:   "How many played, waited for the start, or stood still.",
		Legend: []legend{{"playing", "playing"}, {"waiting", "waiting for the start"}, {"stalled", "stalled"}},
		Says:   "Viewers playing, waiting and stalled over time.",
	}
	x := p.timeAxis(end)
	var top float64
	for _, m := range groups {
		top = max(top, float64(m.worst.Playing+m.worst.Waiting+m.worst.Stalled))
	}
	y := p.yAxis(top, whole)
	var stalled, waiting, playing []float64
	for _, m := range groups {
		s := m.worst
		stalled = append(stalled, y(float64(s.Stalled)))
		waiting = append(waiting, y(float64(s.Stalled+s.Waiting)))
		playing = append(playing, y(float64(s.Stalled+s.Waiting+s.Playing)))
		p.Columns = append(p.Columns, strip(x, m, fmt.Sprintf("%s: %d playing, %d waiting, %d stalled", clock(m.to), s.Playing, s.Waiting, s.Stalled)))
	}
	p.Layers = []layer{
		{"fill playing", steps(x, groups, playing)}, {"fill waiting", steps(x, groups, waiting)}, {"fill stalled", steps(x, groups, stalled)},
	}
	return p
}

func bufferPlot(groups []moments, end time.Duration) plot {
	p := plot{
		Title:  "Film ahead of the play head",
		Note:   "Verified, without a gap. All but a twentieth of the viewers have more than the lower line.",
		Legend: []legend{{"median", "median"}, {"tail", "worst twentieth"}},
		Says:   "Buffer ahead over time, median and worst twentieth.",
	}
	x := p.timeAxis(end)
	var top float64
	for _, m := range groups {
		top = max(top, m.worst.BufferP50.Seconds(), m.worst.BufferP5.Seconds())
	}
	y := p.yAxis(top, inSeconds)
	var median, tail path
	for _, m := range groups {
		at := x(m.to)
		median.to(at, y(m.worst.BufferP50.Seconds()))
		tail.to(at, y(m.worst.BufferP5.Seconds()))
		p.Columns = append(p.Columns, strip(x, m, clock(m.to)+": median "+decimals(m.worst.BufferP50.Seconds(), 1)+" s, worst twentieth "+
			decimals(m.worst.BufferP5.Seconds(), 1)+" s"))
	}
	p.Layers = []layer{{"line median", median.String()}, {"line tail", tail.String()}}
	return p
}

func startupPlot(run, twin *Run) plot {
	p := plot{
		Title:  "How soon it began",
		Note:   "The share of viewers whose film had begun by then.",
		Legend: []legend{{"peers", "with viewers' help"}},
		Says:   "Distribution of start-up times.",
	}
	ours := run.started()
	var theirs []float64
	if twin != nil {
		theirs = twin.started()
		p.Legend = append(p.Legend, legend{"http", "plain HTTP"})
	}
	var last float64
	for _, s := range [][]float64{ours, theirs} {
		if len(s) > 0 {
			last = max(last, s[len(s)-1])
		}
	}
	ticks, step := niceTicks(max(last, 0.1), 5)
	end := float64(ticks) * step
	p.xAxis(ticks, func(i int) string { return inSeconds(float64(i) * step) })
	p.Y, p.YGrid = []string{"100 %", "75 %", "50 %", "25 %", "0 %"}, grid(4)
	draw := func(values []float64, all int) string {
		var d path
		d.to(0, side)
		each := max(1, len(values)/400)
		for i := 0; i < len(values); i += each {
			i := min(i+each, len(values)) - 1
			at := values[i] / end * side
			d.to(at, d.y)
			d.to(at, side*(1-float64(i+1)/float64(all)))
		}
		d.to(side, d.y)
		return d.String()
	}
	if twin != nil && len(twin.Viewers) > 0 {
		p.Layers = append(p.Layers, layer{"line http", draw(theirs, len(twin.Viewers))})
	}
	p.Layers = append(p.Layers, layer{"line peers", draw(ours, len(run.Viewers))})
	share := func(values []float64, until float64, all int) string {
		n, found := slices.BinarySearch(values, until)
		for found && n < len(values) && values[n] <= until {
			n++
		}
		return percent(float64(n) / float64(max(all, 1)))
	}
	for i := range 50 {
		until := end * float64(i+1) / 50
		tip := "within " + decimals(until, 2) + " s: " + share(ours, until, len(run.Viewers))
		if twin != nil {
			tip += ", plain HTTP " + share(theirs, until, len(twin.Viewers))
		}
		p.Columns = append(p.Columns, column{number(float64(i) * side / 50), number(side / 50), tip})
	}
	return p
}

// started are the start-up times of those who started, sorted, in seconds.
func (r *Run) started() []float64 {
	var out []float64
	for i := range r.Viewers {
		if s := r.Viewers[i].Startup; s >= 0 {
			out = append(out, s.Seconds())
		}
	}
	slices.Sort(out)
	return out
}

// uploadPlot is what each gave, from most to least; ok is false where nobody gave anything.
func uploadPlot(run *Run) (p plot, ok bool) {
	sent := make([]int64, 0, len(run.Viewers))
	for i := range run.Viewers {
		sent = append(sent, run.Viewers[i].SentBytes)
	}
	slices.Sort(sent)
	slices.Reverse(sent)
	if len(sent) == 0 || sent[0] <= 0 {
		return plot{}, false
	}
	p = plot{
		Title: "Who gave how much", Note: "What each viewer sent to others, from who sent most to who sent least.",
		Legend: []legend{{"peers", "sent to other viewers"}},
		Says:   "Uploads per viewer, sorted.",
	}
	y := p.yAxis(float64(sent[0]), bytesOf)
	p.X, p.XGrid = []string{"most", "median", "least"}, grid(2)
	bars := min(len(sent), barsMax)
	var d strings.Builder
	width := side / float64(bars)
	gap := width * 0.12
	for i := range bars {
		from, to := i*len(sent)/bars, (i+1)*len(sent)/bars
		value := sent[(from+to)/2] // the middle one of those that share the bar
		top := y(float64(value))
		fmt.Fprintf(&d, "M%s %sV%sH%sV%sZ", number(float64(i)*width+gap), number(side), number(top), number(float64(i+1)*width-gap), number(side))
		tip := "viewer " + strconv.Itoa(from+1)
		if to-from > 1 {
			tip = fmt.Sprintf("viewers %d to %d", from+1, to)
		}
		p.Columns = append(p.Columns, column{number(float64(i) * width), number(width), tip + ": " + byteCount(value)})
	}
	p.Layers = []layer{{"fill peers", d.String()}}
	return p, true
}
