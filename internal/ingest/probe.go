package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tools are the external programs.
type tools struct{ ffmpeg, ffprobe string }

func findTools() (tools, error) {
	m, err1 := exec.LookPath("ffmpeg")
	p, err2 := exec.LookPath("ffprobe")
	if err1 != nil || err2 != nil {
		return tools{}, ErrNoFfmpeg
	}
	return tools{m, p}, nil
}

// Bounds of what is looked at; a film beyond them is refused.
const (
	streamsMax  = 64
	pixelsMax   = 8192 * 4608
	secondsMax  = 24 * 3600
	packetsMax  = 1 << 25
	audiosMax   = 8
	messagesMax = 16 << 10 // bytes of a program's messages that are kept
)

// input are the options before a film's name. A film may come from anyone: only local files, and only containers that hold
// films, never playlists, which could name other files or addresses.
func input(file string) []string {
	return []string{
		"-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,mpegts,mpeg,avi,flv,ogg,asf,mxf,nut",
		"-max_streams", strconv.Itoa(streamsMax), "-i", "file:" + file,
	}
}

// A film is what ffprobe said about a file.
type film struct {
	tools  tools
	path   string
	start  float64 // seconds; from here ffmpeg counts
	length float64 // seconds that its container claims; 0 when it does not say
	video  stream
	audio  []stream
}

// A stream is one track of a film.
type stream struct {
	Index      int    `json:"index"`
	Type       string `json:"codec_type"`
	Codec      string `json:"codec_name"`
	Profile    string `json:"profile"`
	PixFmt     string `json:"pix_fmt"`
	Width      int    `json:"width"`
	Height     int    `json:"height"`
	FieldOrder string `json:"field_order"`
	Channels   int    `json:"channels"`
	SampleRate string `json:"sample_rate"`
	Duration   string `json:"duration"`
	Still      struct {
		Attached int `json:"attached_pic"`
	} `json:"disposition"`
	Tags struct {
		Language string `json:"language"`
	} `json:"tags"`
	Sides []struct {
		Rotation float64 `json:"rotation"`
	} `json:"side_data_list"`

	packets packets
}

// packets is what reading a stream to its end told. Times are seconds on the container's clock.
type packets struct {
	n       int
	first   float64 // earliest presentation of a packet that is shown
	opening float64 // presentation of the very first packet
	end     float64
	keys    []float64
	hidden  int  // packets before the film's own beginning (edit lists), which a player without edit lists would show
	untimed int  // packets without a presentation time
	keyed   bool // the first packet is a key frame
}

// probe reads the film's description and then every packet.
func (t tools) probe(ctx context.Context, path string, p Progress) (*film, error) {
	p("reading", 0)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	args := append([]string{"-v", "error", "-of", "json", "-show_format", "-show_streams"}, input(abs)...)
	cmd := exec.CommandContext(ctx, t.ffprobe, args...)
	var out, msg limited
	out.max, msg.max = 4<<20, messagesMax
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, errors.New("not a film that can be read" + because(msg.String(), abs))
	}
	var d struct {
		Streams []stream
		Format  struct {
			Start    string `json:"start_time"`
			Duration string `json:"duration"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return nil, fmt.Errorf("ffprobe's answer: %w", err)
	}
	f := &film{tools: t, path: abs, start: number(d.Format.Start), length: number(d.Format.Duration)}
	found := false
	for _, s := range d.Streams {
		switch {
		case s.Type == "video" && s.Still.Attached == 0 && !found:
			f.video, found = s, true
		case s.Type == "audio" && len(f.audio) < audiosMax && s.Channels > 0:
			f.audio = append(f.audio, s)
		}
	}
	switch {
	case !found:
		return nil, errors.New("there is no video in it")
	case f.video.Width < 2 || f.video.Height < 2 || f.video.Width*f.video.Height > pixelsMax:
		return nil, fmt.Errorf("a picture of %d×%d is not one that can be packaged", f.video.Width, f.video.Height)
	case f.length > secondsMax:
		return nil, fmt.Errorf("%.0f hours is longer than a film may be", f.length/3600)
	}
	if err := t.scan(ctx, f, p); err != nil {
		return nil, err
	}
	return f, f.check()
}

// scan reads every packet's times.
func (t tools) scan(ctx context.Context, f *film, p Progress) error {
	args := append([]string{"-v", "error", "-show_entries", "packet=stream_index,pts_time,dts_time,duration_time,flags", "-of", "csv=p=0"}, input(f.path)...)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.ffprobe, args...)
	var msg limited
	msg.max = messagesMax
	cmd.Stderr = &msg
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start ffprobe: %w", err)
	}
	byIndex := map[int]*packets{f.video.Index: &f.video.packets}
	for i := range f.audio {
		byIndex[f.audio[i].Index] = &f.audio[i].packets
	}
	lines, n := bufio.NewScanner(out), 0
	for lines.Scan() && n < packetsMax {
		n++
		v := strings.Split(lines.Text(), ",")
		if len(v) < 5 {
			continue
		}
		index, err := strconv.Atoi(v[0])
		k := byIndex[index]
		if err != nil || k == nil {
			continue
		}
		k.add(v[1], v[2], v[3], v[4])
		if n%4096 == 0 && f.length > 0 {
			p("reading", min(max((f.video.packets.end-f.start)/f.length, 0), 1))
		}
	}
	if n == packetsMax {
		cancel()
	}
	if _, err := io.Copy(io.Discard, out); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read ffprobe's answer: %w", err)
	}
	werr := cmd.Wait()
	switch {
	case n == packetsMax:
		return errors.New("it has more frames than a film may have")
	case ctx.Err() != nil:
		return ctx.Err()
	case werr != nil:
		return errors.New("it cannot be read to its end" + because(msg.String(), f.path))
	}
	for _, sign := range []string{"partial file", "ended prematurely"} {
		if strings.Contains(msg.String(), sign) {
			return errors.New("it is truncated: the file ends before the film does")
		}
	}
	slices.Sort(f.video.packets.keys)
	p("reading", 1)
	return nil
}

func (k *packets) add(pts, dts, dur, flags string) {
	at := number(pts)
	if pts == "N/A" {
		at = number(dts)
		k.untimed++
	}
	key := strings.HasPrefix(flags, "K")
	if k.n == 0 {
		k.opening, k.keyed, k.first, k.end = at, key, math.Inf(1), math.Inf(-1)
	}
	k.n++
	if len(flags) > 1 && flags[1] == 'D' {
		k.hidden++
	} else {
		k.first = min(k.first, at)
	}
	k.end = max(k.end, at+number(dur))
	if key {
		k.keys = append(k.keys, at)
	}
}

// check refuses a film that ends before its container says, or that has nothing to show.
func (f *film) check() error {
	v := &f.video.packets
	if v.n == 0 || math.IsInf(v.first, 0) {
		return errors.New("it holds no frames")
	}
	end, claimed := v.end, number(f.video.Duration)
	for i := range f.audio {
		if f.audio[i].packets.n > 0 {
			end = max(end, f.audio[i].packets.end)
			claimed = max(claimed, number(f.audio[i].Duration))
		}
	}
	if claimed == 0 {
		claimed = f.length
	}
	if short := claimed - (end - f.start); claimed > 0 && short > max(0.5, claimed/100) {
		return fmt.Errorf("it is truncated: %.1f of its %.1f seconds are there", max(end-f.start, 0), claimed)
	}
	f.audio = slices.DeleteFunc(f.audio, func(s stream) bool { return s.packets.n == 0 })
	f.length = end - v.first
	return nil
}

// number reads ffprobe's decimals; what it does not know is 0.
func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// because is the last message of a program, as the tail of a sentence, without the path that it repeats.
func because(messages, path string) string {
	lines := strings.FieldsFunc(messages, func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return ""
	}
	last := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(lines[len(lines)-1], "file:"), path))
	last = strings.TrimSpace(strings.TrimPrefix(last, ":"))
	if last == "" {
		return ""
	}
	return " (" + strings.ToLower(last[:1]) + last[1:] + ")"
}

// limited keeps what is written to it up to max bytes: the latest.
type limited struct {
	bytes.Buffer
	max int
}

// Write keeps p, and drops from the front what is over the limit.
func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p)
	if over := l.Len() - l.max; over > 0 {
		l.Next(over)
	}
	return len(p), nil
}
