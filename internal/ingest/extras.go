package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"essaim/internal/vod"
)

// SideFile is a file of subtitles beside the film.
type SideFile struct {
	File string
	Lang string // BCP 47, empty when not known
}

// texts are the codecs of subtitles that are text, as ffmpeg names them; the others are pictures.
var texts = []string{"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text"}

// sideForms are the demuxers of subtitle files, by extension.
var sideForms = map[string]string{".srt": "srt", ".ass": "ass", ".ssa": "ass", ".vtt": "webvtt"}

// subtitleLimits are for reading a film's texts.
var subtitleLimits = limits{wall: 6 * time.Hour, cpu: 2 * time.Hour, idle: 15 * time.Minute, memory: 2 << 30, file: 2 * subtitleBytesMax}

// subtitles turns the film's text tracks and the files beside it into WebVTT.
func (j *Job) subtitles(ctx context.Context, scratch string, p Progress) (list []vod.Subtitle, objects [][]byte, err error) {
	f := j.film
	add := func(name string, shift time.Duration, s vod.Subtitle) error {
		data, err := os.ReadFile(filepath.Join(scratch, name))
		if err != nil {
			return err
		}
		cues, err := parseCues(data, shift)
		if err != nil || len(cues) == 0 {
			return err // without a word there is nothing to choose
		}
		list, objects = append(list, s), append(objects, formatCues(cues))
		return nil
	}
	if len(f.texts) > 0 {
		p("subtitles", 0)
		name, folder := f.tools.see(f.path, scratch)
		args := append([]string{"-v", "error", "-nostdin", "-y", "-nostats", "-progress", "pipe:3"}, input(name)...)
		for _, s := range f.texts {
			args = append(args, "-map", "0:"+strconv.Itoa(s.Index), "-c:s", "webvtt", "-map_metadata", "-1", "-f", "webvtt",
				filepath.Join(folder, fmt.Sprintf("text-%d.vtt", s.Index)))
		}
		err := f.tools.run(ctx, &call{program: f.tools.ffmpeg, args: args, film: f.path, work: scratch, limits: subtitleLimits, progress: func(line string) {
			if us, ok := strings.CutPrefix(line, "out_time_us="); ok && f.length > 0 {
				p("subtitles", min(max(number(us)/1e6/f.length, 0), 1))
			}
		}})
		if err != nil {
			return nil, nil, refusal("its subtitles cannot be read", err)
		}
		shift := time.Duration((f.video.packets.first - f.start) * float64(time.Second))
		for _, s := range f.texts {
			if err := add(fmt.Sprintf("text-%d.vtt", s.Index), shift, vod.Subtitle{Lang: language(s.Tags.Language), Label: label(s.Tags.Title)}); err != nil {
				return nil, nil, fmt.Errorf("subtitles (stream %d): %w", s.Index, err)
			}
		}
	}
	for i, side := range j.req.Subtitles {
		name := fmt.Sprintf("side-%d.vtt", i)
		if err := j.side(ctx, side, scratch, name); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Base(side.File), err)
		}
		if err := add(name, 0, vod.Subtitle{Lang: side.Lang}); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Base(side.File), err)
		}
	}
	return list, objects, nil
}

// side turns a file of subtitles into a WebVTT file of that name in scratch.
func (j *Job) side(ctx context.Context, s SideFile, scratch, made string) error {
	text, err := readText(s.File)
	if err != nil {
		return err
	}
	form := sideForms[strings.ToLower(filepath.Ext(s.File))]
	if form == "webvtt" { // ffmpeg 5.1 loses texts behind styles and comments, and there is nothing left to convert
		return os.WriteFile(filepath.Join(scratch, made), []byte(text), 0o600)
	}
	source := filepath.Join(scratch, made+".source")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		return err
	}
	t := j.film.tools
	name, folder := t.see(source, scratch)
	err = t.run(ctx, &call{program: t.ffmpeg, film: source, work: scratch, limits: subtitleLimits, args: []string{
		"-v", "error", "-nostdin", "-y", "-protocol_whitelist", "file", "-format_whitelist", "srt,ass",
		"-f", form, "-i", "file:" + name, "-map", "0:0", "-c:s", "webvtt", "-map_metadata", "-1",
		"-f", "webvtt", filepath.Join(folder, made),
	}})
	if err != nil {
		return refusal("these subtitles cannot be read", err)
	}
	return nil
}

// checkSides refuses files of subtitles that could not be used, before hours of work.
func checkSides(sides []SideFile) error {
	if len(sides) > vod.SubtitlesMax/2 {
		return fmt.Errorf("at most %d files of subtitles", vod.SubtitlesMax/2)
	}
	for i := range sides {
		s := &sides[i]
		if sideForms[strings.ToLower(filepath.Ext(s.File))] == "" {
			return fmt.Errorf("%s: subtitles are .srt, .ass or .vtt files", filepath.Base(s.File))
		}
		if s.Lang != "" && !isLanguage(s.Lang) {
			return fmt.Errorf("%q is no language: for instance fr, or pt-BR", s.Lang)
		}
		abs, err := filepath.Abs(s.File)
		if err != nil {
			return err
		}
		s.File = abs
		if _, err := readText(abs); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(s.File), err)
		}
	}
	return nil
}

// readText reads a file of subtitles as UTF-8: from UTF-16 where it begins with a byte order mark, and otherwise, what is
// not UTF-8, from Windows-1252, in which most older ones of western Europe are.
func readText(path string) (string, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read the subtitles: %w", err)
	case !st.Mode().IsRegular() || st.Size() > subtitleBytesMax:
		return "", fmt.Errorf("not a file of at most %d bytes", subtitleBytesMax)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the subtitles: %w", err)
	}
	if len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		high := 0
		if b[0] == 0xff {
			high = 1
		}
		var units []uint16
		for i := 2; i+1 < len(b); i += 2 {
			units = append(units, uint16(b[i+high])<<8|uint16(b[i+1-high]))
		}
		return string(utf16.Decode(units)), nil
	}
	if utf8.Valid(b) {
		return strings.TrimPrefix(string(b), "\ufeff"), nil
	}
	var out strings.Builder
	for _, c := range b {
		if c >= 0x80 && c < 0xa0 {
			out.WriteRune([]rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")[c-0x80])
		} else {
			out.WriteRune(rune(c))
		}
	}
	return out.String(), nil
}

// label is a track's name in the container as one line of plain text.
func label(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "")
	}
	return strings.TrimSpace(s)
}

// Storyboards have at most so many pictures, so far apart at least, so wide, in such rows.
const (
	boardMax    = 100
	boardMinMs  = 2000
	boardWidth  = 160
	boardAcross = 10
)

// storyboard draws small pictures of the whole film from its key frames. Where that cannot be done there is none.
func (j *Job) storyboard(ctx context.Context, scratch string, p Progress) (*vod.Storyboard, []byte, error) {
	f := j.film
	interval := max(int(math.Ceil(f.length*1000/boardMax)), boardMinMs)
	n := max(int(math.Ceil(f.length*1000/float64(interval))), 1)
	across := min(n, boardAcross)
	height := boardWidth * f.video.Height / max(f.video.shownWidth(), 1)
	height = min(max(height&^1, 2), 4*boardWidth)
	p("storyboard", 0)
	name, folder := f.tools.see(f.path, scratch)
	made := filepath.Join(scratch, "storyboard.jpg")
	if err := os.Remove(made); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	args := append([]string{"-v", "error", "-nostdin", "-y", "-skip_frame", "nokey"}, input(name)...)
	args = append(args, "-map", "0:"+strconv.Itoa(f.video.Index), "-vf", fmt.Sprintf(
		"setpts=PTS-STARTPTS,fps=1000/%d:eof_action=pass,scale=%d:%d,setsar=1,trim=end_frame=%d,tile=%dx%d", interval, boardWidth, height, n, across, (n+across-1)/across,
	), "-frames:v", "1", "-q:v", "6", "-pix_fmt", "yuvj420p", "-fflags", "+bitexact", "-flags", "+bitexact", "-update", "1", "-f", "image2",
		filepath.Join(folder, "storyboard.jpg"))
	l := packLimits(f)
	l.idle, l.file = 0, 4<<20 // it says nothing until it is done, and an object has its bound
	err := f.tools.run(ctx, &call{program: f.tools.ffmpeg, args: args, film: f.path, work: scratch, limits: l})
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if errors.Is(err, ErrDiskFull) {
		return nil, nil, err
	}
	b, rerr := os.ReadFile(made)
	if err != nil || rerr != nil || len(b) == 0 {
		return nil, nil, nil
	}
	p("storyboard", 1)
	return &vod.Storyboard{IntervalMs: uint32(interval), Pictures: n, Across: across, Width: boardWidth, Height: height}, b, nil
}

// extras adds to a package what goes with the title beside its torrent.
func (j *Job) extras(ctx context.Context, pk *Package, scratch string, p Progress) error {
	poster, err := j.film.tools.poster(ctx, j.film, scratch)
	if err != nil {
		return err
	}
	if err := pk.AddPoster(poster); err != nil {
		return err
	}
	list, objects, err := j.subtitles(ctx, scratch, p)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].Object = pk.addSmall(objects[i])
	}
	pk.Title.Subtitles = list
	if !j.req.Open {
		return nil // small objects are in the clear, and a stolen disk must show no frame but the poster
	}
	board, b, err := j.storyboard(ctx, scratch, p)
	if err != nil || board == nil {
		return err
	}
	board.Object = pk.addSmall(b)
	pk.Title.Storyboard = board
	return nil
}

// isLanguage reports whether a string has the form of a language tag (BCP 47).
func isLanguage(s string) bool {
	if len(s) > 35 {
		return false
	}
	for i, part := range strings.Split(s, "-") {
		if len(part) < 1 || len(part) > 8 || i == 0 && (len(part) < 2 || len(part) > 3) {
			return false
		}
		if slices.ContainsFunc([]rune(part), func(r rune) bool { return r > 127 || !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return false
		}
	}
	return true
}
