package drm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var traceLine = regexp.MustCompile(`(?m)\[trace_headers @ [^]]*\] (?:(\d+) +(\S+) +([01]*) *= |(.*))`)

// traced is where slice and frame headers end in a file's units according to ffmpeg, which parses them for itself: in bytes from
// each unit's beginning, without H.264's emulation prevention.
func traced(t *testing.T, codec string, file []byte) (ends []int) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "track.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffmpeg", "-v", "verbose", "-i", name, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-").CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	wanted := map[string]string{"H.264": "Slice Header", "VP9": "Frame", "AV1": "Tile Group"}[codec]
	in, end := false, 0
	finish := func() {
		if in {
			ends = append(ends, (end+7)/8)
		}
		in = false
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		m := traceLine.FindStringSubmatch(lines.Text())
		switch {
		case m == nil:
		case m[4] == wanted:
			if codec != "AV1" { // whose tile group goes on counting where its frame header ended
				finish()
				end = 0
			}
			in = true
		case m[4] != "":
			if !strings.HasPrefix(m[4], "Packet") || in {
				finish()
			}
		case m[3] != "":
			at, _ := strconv.Atoi(m[1])
			end = at + len(m[3])
		}
	}
	finish()
	return ends
}

// found is the same according to the splitters.
func found(t *testing.T, file []byte) (ends []int) {
	t.Helper()
	e, err := newEncryptor(options(CBCS, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.moov(one(t, part{p: file}, "moov").p); err != nil {
		t.Fatal(err)
	}
	for i, s := range samplesIn(t, file) {
		p := s.p
		var err error
		switch x := e.track.split.(type) {
		case *h264:
			for len(p) > 0 && err == nil {
				n := int(binary.BigEndian.Uint32(p))
				unit := p[4 : 4+n]
				var clear int
				clear, err = x.clear(unit)
				if kind := unit[0] & 31; kind == 1 || kind == 5 {
					ends = append(ends, clear-bytes.Count(unit[:clear], []byte{0, 0, 3}))
				}
				p = p[4+n:]
			}
		case *vp9:
			var frames []int
			frames, err = superframe(p)
			for _, n := range frames {
				var clear int
				if clear, err = x.header(p[:n]); err != nil {
					break
				}
				ends = append(ends, clear)
				p = p[n:]
			}
		case *av1:
			x.open = false
			for at := 0; at < len(p) && err == nil; {
				from, kind := at, p[at]>>3&15
				n, length := leb128(p[at+1:])
				at += 1 + length
				var tiles []span
				if tiles, err = x.unit(kind, false, p[at:at+n]); len(tiles) > 0 {
					first := tiles[0].from
					if len(tiles) > 1 {
						first -= x.frame.tileSizeBytes
					}
					ends = append(ends, at-from+first)
				}
				at += n
			}
		}
		if err != nil {
			t.Fatalf("sample %d: %v", i, err)
		}
	}
	return ends
}

func TestHeadersEndWhereFfmpegFindsTheirEnd(t *testing.T) {
	for _, c := range codecs {
		if !c.video {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			codec, _, _ := strings.Cut(c.name, " ")
			file := sample(t, c.name)
			want, got := traced(t, codec, file), found(t, file)
			if len(want) < 50 || !slices.Equal(want, got) {
				for i := range min(len(want), len(got)) {
					if want[i] != got[i] {
						t.Errorf("header %d ends at %d, ffmpeg says %d", i, got[i], want[i])
						break
					}
				}
				t.Errorf("%d headers, ffmpeg has %d", len(got), len(want))
			}
		})
	}
}
