package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"essaim/internal/vod"
)

// Bounds of what is looked at; a film beyond them is refused.
const (
	streamsMax  = 64
	pixelsMax   = 8192 * 4608
	secondsMax  = 24 * 3600
	packetsMax  = 1 << 25
	audiosMax   = 8
	messagesMax = 16 << 10 // bytes of a program's messages that are kept
	describeMax = 4 << 20  // bytes of ffprobe's description
)

// What looking at a film may take.
var (
	describeLimits = limits{wall: 10 * time.Minute, cpu: 5 * time.Minute, memory: 2 << 30}
	scanLimits     = limits{wall: 12 * time.Hour, idle: 5 * time.Minute, cpu: 6 * time.Hour, memory: 2 << 30}
)

// input are the options before a film's name. A film may come from anyone: only local files, and only containers that hold
// films, never playlists, which could name other files or addresses.
func input(file string) []string {
	return []string{
		"-protocol_whitelist", "file", "-format_whitelist", "mov,matroska,mpegts,mpeg,avi,flv,ogg,asf,mxf,nut",
		"-max_streams", strconv.Itoa(streamsMax), "-max_pixels", strconv.Itoa(pixelsMax), "-i", "file:" + file,
	}
}

// A film is what ffprobe said about a file.
type film struct {
	tools   tools
	path    string // absolute
	size    int64  // and changed: of the file when it was looked at
	changed time.Time
	start   float64 // seconds; from here ffmpeg counts
	length  float64 // seconds that its container claims; 0 when it does not say
	video   stream
	audio   []stream
	texts   []stream // subtitles that are text
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
	Aspect     string `json:"sample_aspect_ratio"`
	Rate       string `json:"r_frame_rate"`
	MeanRate   string `json:"avg_frame_rate"`
	Channels   int    `json:"channels"`
	SampleRate string `json:"sample_rate"`
	Duration   string `json:"duration"`
	Still      struct {
		Attached int `json:"attached_pic"`
	} `json:"disposition"`
	Tags struct {
		Language string `json:"language"`
		Title    string `json:"title"`
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
	name, _ := t.see(abs, "")
	var out full
	err = t.run(ctx, &call{
		program: t.ffprobe, film: abs, limits: describeLimits, stdout: &out,
		args: append([]string{"-v", "error", "-of", "json", "-show_format", "-show_streams"}, input(name)...),
	})
	if err != nil {
		return nil, refusal("not a film that can be read", err)
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
		case s.Type == "subtitle" && slices.Contains(texts, s.Codec) && len(f.texts) < vod.SubtitlesMax/2:
			f.texts = append(f.texts, s)
		}
	}
	switch {
	case !found:
		return nil, errors.New("there is no video in it")
	case f.video.Width == 0:
		return nil, errors.New("its picture cannot be read, or is larger than a film's may be")
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
	byIndex := map[int]*packets{f.video.Index: &f.video.packets}
	for i := range f.audio {
		byIndex[f.audio[i].Index] = &f.audio[i].packets
	}
	n := 0
	lines := lines{each: func(line string) error {
		if n++; n > packetsMax {
			return errPackets
		}
		v := strings.Split(line, ",")
		if len(v) < 5 {
			return nil
		}
		index, err := strconv.Atoi(v[0])
		k := byIndex[index]
		if err != nil || k == nil {
			return nil
		}
		k.add(v[1], v[2], v[3], v[4])
		if n%4096 == 0 && f.length > 0 {
			p("reading", min(max((f.video.packets.end-f.start)/f.length, 0), 1))
		}
		return nil
	}}
	name, _ := t.see(f.path, "")
	var msg string
	err := t.run(ctx, &call{
		program: t.ffprobe, film: f.path, limits: scanLimits, stdout: &lines, messages: &msg,
		args: append([]string{"-v", "error", "-show_entries", "packet=stream_index,pts_time,dts_time,duration_time,flags", "-of", "csv=p=0"}, input(name)...),
	})
	switch {
	case n > packetsMax:
		return errPackets
	case err != nil:
		return refusal("it cannot be read to its end", err)
	}
	for _, sign := range []string{"partial file", "ended prematurely"} {
		if strings.Contains(msg, sign) {
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
	if f.length = end - v.first; f.length > secondsMax {
		return fmt.Errorf("%.0f hours is longer than a film may be", f.length/3600)
	}
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

var errPackets = errors.New("it has more frames than a film may have")

// refusal puts what was found out about a film before a program's own words for it; other errors speak for themselves.
func refusal(what string, err error) error {
	var said *programError
	if errors.As(err, &said) {
		return errors.New(what + because(said.messages))
	}
	return err
}

// full keeps what is written to it, and refuses more than describeMax.
type full struct{ bytes.Buffer }

// Write keeps p.
func (f *full) Write(p []byte) (int, error) {
	if f.Len()+len(p) > describeMax {
		return 0, errors.New("its description is longer than a film's may be")
	}
	return f.Buffer.Write(p)
}

// lines hands on what is written to it line by line, until each returns an error. A line beyond 4 KiB is cut.
type lines struct {
	each func(line string) error
	rest []byte
}

// Write takes p.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		l.rest = append(l.rest, p[:i]...)
		if err := l.each(string(l.rest)); err != nil {
			return 0, err
		}
		l.rest, p = l.rest[:0], p[i+1:]
	}
	if len(l.rest)+len(p) <= 4<<10 {
		l.rest = append(l.rest, p...)
	}
	return n, nil
}
