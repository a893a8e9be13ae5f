package main

import (
	"bufio"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
)

const rate = 48000

// The score: one chord for each half scene, a bell line over it that thickens towards the middle of the film, and a
// discreet tick on every second, so that ear and eye can check each other.
var chords = [][]int{ // MIDI notes, bass first
	{38, 57, 62, 66, 69},
	{43, 55, 59, 62, 66},
	{40, 55, 59, 64, 66},
	{45, 57, 61, 64, 69},
	{35, 54, 59, 62, 66},
	{43, 55, 59, 62, 69},
	{38, 54, 57, 62, 66},
	{45, 57, 59, 64, 69},
}

var pentatonic = []int{74, 76, 78, 81, 83, 86, 88, 90, 93}

func hertz(note int) float64 { return 440 * math.Pow(2, float64(note-69)/12) }

// writeScore writes the film's sound as 16-bit stereo WAV.
func writeScore(path string, seconds int) error {
	n := seconds * rate
	left, right := make([]float32, n), make([]float32, n)
	pads(left, right, seconds)
	bells(left, right, seconds)
	room(left, 1)
	room(right, 1.07)
	ticks(left, right, seconds)

	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00")
	binary.LittleEndian.PutUint32(head[4:], uint32(36+4*n))
	head = binary.LittleEndian.AppendUint32(head, rate)
	head = binary.LittleEndian.AppendUint32(head, rate*4)
	head = append(head, 4, 0, 16, 0, 'd', 'a', 't', 'a')
	head = binary.LittleEndian.AppendUint32(head, uint32(4*n))
	if _, err := w.Write(head); err != nil {
		f.Close()
		return err
	}
	var b [4]byte
	for i := range left {
		// Fade in over half a second, out over the last two and a half.
		g := min(1, float64(i)/(0.5*rate), float64(n-i)/(2.5*rate))
		for k, v := range []float32{left[i], right[i]} {
			binary.LittleEndian.PutUint16(b[2*k:], uint16(int16(32767*math.Tanh(float64(v)*g))))
		}
		if _, err := w.Write(b[:]); err != nil {
			f.Close()
			return err
		}
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// sine is one period, for oscillators that run for minutes.
var sine = func() (t [4096]float32) {
	for i := range t {
		t[i] = float32(math.Sin(2 * math.Pi * float64(i) / 4096))
	}
	return
}()

// tone adds an oscillator with the envelope env, which gets seconds since its start.
func tone(dst []float32, from, length int, freq float64, gain float32, env func(s float64) float64) {
	ph, step := 0.0, freq/rate*4096
	var e float32
	for i := range length {
		if from+i >= len(dst) {
			return
		}
		if i%64 == 0 {
			e = float32(env(float64(i) / rate))
		}
		dst[from+i] += gain * e * sine[int(ph)&4095]
		ph += step
	}
}

func pads(left, right []float32, seconds int) {
	const long = 4.0
	env := func(s float64) float64 {
		return ease(s/1.6) * (1 - ease((s-long)/1.8))
	}
	for half := 0; half*4 < seconds; half++ {
		chord := chords[half/2%2*4+(half/4*2+half%2)%4]
		from := half * 4 * rate
		for k, note := range chord {
			gain := float32(0.052)
			if k == 0 {
				gain = 0.085
			}
			for p, share := range []float32{1, 0.34, 0.12, 0.05} {
				f := hertz(note) * float64(p+1)
				tone(left, from, int(5.8*rate), f*1.0011, gain*share, env)
				tone(right, from, int(5.8*rate), f*0.9989, gain*share, env)
			}
		}
	}
}

func bells(left, right []float32, seconds int) {
	r := rand.New(rand.NewPCG(2024, 6))
	at := 4
	for beat := 0; beat < seconds*2; beat++ { // half seconds
		scene := beat / 16
		dense := 0.2 + 0.5*math.Sin(math.Pi*float64(scene)/22)
		if beat%4 != 0 && r.Float64() > dense {
			continue
		}
		at = min(max(at+r.IntN(5)-2, 0), len(pentatonic)-1)
		f, pan := hertz(pentatonic[at]), float32(0.25+0.5*r.Float64())
		from := beat * rate / 2
		for _, p := range []struct {
			ratio, decay float64
			gain         float32
		}{{1, 2.2, 0.1}, {2.01, 4.5, 0.03}, {2.76, 6, 0.022}, {5.4, 11, 0.01}} {
			env := func(s float64) float64 { return math.Exp(-p.decay*s) * min(1, s*250) }
			tone(left, from, int(2.4*rate), f*p.ratio, p.gain*(1-pan), env)
			tone(right, from, int(2.4*rate), f*p.ratio, p.gain*pan, env)
		}
	}
}

// room is a small reverberation: four combs and two all-passes (Schroeder).
func room(x []float32, size float64) {
	wet := make([]float32, len(x))
	for _, d := range []float64{0.0297, 0.0371, 0.0411, 0.0437} {
		line, i := make([]float32, int(d*size*rate)), 0
		var low float32
		for n, v := range x {
			low += 0.45 * (line[i] - low)
			line[i] = v + 0.8*low
			wet[n] += 0.25 * line[i]
			i = (i + 1) % len(line)
		}
	}
	for _, d := range []float64{0.005, 0.0017} {
		line, i := make([]float32, int(d*size*rate)), 0
		for n, v := range wet {
			o := line[i]
			line[i] = v + 0.7*o
			wet[n] = o - 0.7*line[i]
			i = (i + 1) % len(line)
		}
	}
	for n := range x {
		x[n] += 0.35 * wet[n]
	}
}

func ticks(left, right []float32, seconds int) {
	for s := range seconds {
		f, gain, decay := 1900.0, float32(0.035), 130.0
		if s%sceneSeconds == 0 {
			f, gain, decay = 660, 0.11, 38
		}
		env := func(t float64) float64 { return math.Exp(-decay*t) * min(1, t*1500) }
		tone(left, s*rate, rate/5, f, gain, env)
		tone(right, s*rate, rate/5, f, gain, env)
	}
}
