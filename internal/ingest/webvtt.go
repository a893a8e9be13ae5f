package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a subtitle file; one beyond them is refused.
const (
	subtitleBytesMax = 3 << 20
	cuesMax          = 30_000
	cueBytesMax      = 2000
)

// A cue is one text and when it is shown.
type cue struct {
	from, to time.Duration
	place    string // WebVTT's settings, the harmless ones
	lines    []string
}

var (
	cueTimes    = regexp.MustCompile(`^((?:\d{1,3}:)?\d{2}:\d{2}\.\d{3})[ \t]+-->[ \t]+((?:\d{1,3}:)?\d{2}:\d{2}\.\d{3})(?:[ \t]+(.*))?$`)
	cuePlace    = regexp.MustCompile(`^(?:line|position|size|align|vertical):[a-z0-9%.,-]{1,40}$`)
	cueTag      = regexp.MustCompile(`</?[A-Za-z!?/][^>]*>?|<>|<\d[\d:.]*>`)
	cueEmphasis = regexp.MustCompile(`^<(/?)([biuBIU])(?:[ \t.>]|$)`)
)

// parseCues reads WebVTT as ffmpeg writes it, and takes nothing of it but cues: no styles, no regions, no comments, no scripts,
// of the text's own tags bold, italics and underlining alone. Everything is moved earlier by shift.
func parseCues(data []byte, shift time.Duration) ([]cue, error) {
	if len(data) > subtitleBytesMax {
		return nil, fmt.Errorf("it has more than %d bytes", subtitleBytesMax)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8")
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "").Replace(strings.TrimPrefix(string(data), "\ufeff"))
	if !strings.HasPrefix(text, "WEBVTT") {
		return nil, errors.New("it is not WebVTT")
	}
	var cues []cue
	for block := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(strings.Trim(block, "\n"), "\n")
		at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "-->") })
		if at < 0 || at > 1 { // a cue has at most a name before its times
			continue
		}
		m := cueTimes.FindStringSubmatch(strings.TrimSpace(lines[at]))
		if m == nil {
			continue
		}
		c := cue{from: max(clockTime(m[1])-shift, 0), to: clockTime(m[2]) - shift}
		for _, p := range strings.Fields(m[3]) {
			if cuePlace.MatchString(p) {
				c.place += " " + p
			}
		}
		c.lines = plain(lines[at+1:])
		if c.to <= c.from || len(c.lines) == 0 || c.to > secondsMax*time.Second {
			continue
		}
		if cues = append(cues, c); len(cues) > cuesMax {
			return nil, fmt.Errorf("it has more than %d texts", cuesMax)
		}
	}
	slices.SortStableFunc(cues, func(a, b cue) int { return cmp.Compare(a.from, b.from) })
	return cues, nil
}

// clockTime reads hours (which may be missing), minutes, seconds and thousandths.
func clockTime(s string) time.Duration {
	var d time.Duration
	parts := strings.Split(s, ":")
	for _, p := range parts[:len(parts)-1] {
		d = (d + time.Duration(number(p))) * 60
	}
	return d*time.Second + time.Duration(number(parts[len(parts)-1])*1000+0.5)*time.Millisecond
}

// plain makes of a cue's text lines that mean nothing to a browser but letters and emphasis: whatever is not one of three
// tags is taken out or written as text, and tags are closed in the order in which they were opened.
func plain(lines []string) []string {
	text := strings.Join(lines, "\n")
	if len(text) > cueBytesMax {
		text = strings.ToValidUTF8(text[:cueBytesMax], "")
	}
	var b strings.Builder
	var open []string
	word := func(s string) {
		s = html.UnescapeString(s)
		s = strings.Map(func(r rune) rune {
			if r != '\n' && (unicode.IsControl(r) || r == '\ufeff') {
				return -1
			}
			return r
		}, s)
		b.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s))
	}
	for {
		at := cueTag.FindStringIndex(text)
		if at == nil {
			word(text)
			break
		}
		word(text[:at[0]])
		tag := text[at[0]:at[1]]
		text = text[at[1]:]
		m := cueEmphasis.FindStringSubmatch(tag)
		if m == nil || !strings.HasSuffix(tag, ">") {
			continue
		}
		name := strings.ToLower(m[2])
		if m[1] == "" {
			open = append(open, name)
			b.WriteString("<" + name + ">")
			continue
		}
		if i := slices.Index(open, name); i >= 0 {
			for n := len(open) - 1; n >= i; n-- {
				b.WriteString("</" + open[n] + ">")
			}
			open = open[:i]
		}
	}
	for _, name := range slices.Backward(open) {
		b.WriteString("</" + name + ">")
	}
	var out []string
	for line := range strings.SplitSeq(b.String(), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// formatCues writes cues as WebVTT.
func formatCues(cues []cue) []byte {
	clock := func(d time.Duration) string {
		ms := d.Milliseconds()
		return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3_600_000, ms/60_000%60, ms/1000%60, ms%1000)
	}
	var b strings.Builder
	b.WriteString("WEBVTT\n")
	for _, c := range cues {
		fmt.Fprintf(&b, "\n%s --> %s%s\n%s\n", clock(c.from), clock(c.to), c.place, strings.Join(c.lines, "\n"))
	}
	return []byte(b.String())
}
