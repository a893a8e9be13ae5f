package ingest

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"essaim/internal/blob/mem"
	"essaim/internal/vod"
)

// smallObject reads a small object whole.
func smallObject(t *testing.T, objects *mem.Store, name string) []byte {
	t.Helper()
	o, err := objects.Open(t.Context(), vod.KeySmall(name))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, o.Size())
	if _, err := o.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSubtitlesOfAllKindsBecomeHarmlessWebVTT(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	srt := write("a.srt", "1\n00:00:01,000 --> 00:00:02,500\nBonjour, <i>vous</i>\n\n2\n00:00:03,000 --> 00:00:04,000\n<script>alert(1)</script>1 < 2 & <img src=x onerror=alert(2)>3\n")
	latin := write("b.srt", "1\r\n00:00:01,000 --> 00:00:02,000\r\n\xc9t\xe9 \x80\r\n")
	ass := write("c.ass", "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, Bold\nStyle: Default,Arial,20,0\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\pos(10,10)}Hello{\\b1} there{\\b0}\n")
	vtt := write("d.vtt", "WEBVTT\n\nSTYLE\n::cue { background: url(https://evil.test/x) }\n\nNOTE words\n\nname\n00:01.000 --> 00:02.000 line:10% region:x\n<v Ada><c.red>Salut</c></v>\n")
	film := filepath.Join(dir, "film.mkv")
	run(t, "ffmpeg", "-v", "error", "-i", filmFile(t, "b-frames.mp4"), "-i", srt, "-i", ass, "-map", "0", "-map", "1", "-map", "2", "-c", "copy", "-c:s:0", "srt", "-c:s:1", "ass",
		"-metadata:s:s:0", "language=fre", "-metadata:s:s:0", "title=Français <b>", film)
	res, objects := ingestFilm(t, Request{File: film, Name: "A film", Open: true, Subtitles: []SideFile{{latin, "fr"}, {vtt, "pt-BR"}, {srt, ""}}})
	want := []struct{ lang, label, text string }{
		{"fre", "Français <b>", "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nBonjour, <i>vous</i>\n\n00:00:03.000 --> 00:00:04.000\nalert(1)1 &lt; 2 &amp; 3\n"},
		{"", "", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nHello<b> there</b>\n"},
		{"fr", "", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nÉté €\n"},
		{"pt-BR", "", "WEBVTT\n\n00:00:01.000 --> 00:00:02.000 line:10%\nSalut\n"},
		{"", "", "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\nBonjour, <i>vous</i>\n\n00:00:03.000 --> 00:00:04.000\nalert(1)1 &lt; 2 &amp; 3\n"},
	}
	if len(res.Title.Subtitles) != len(want) {
		t.Fatalf("subtitles %+v", res.Title.Subtitles)
	}
	for i, s := range res.Title.Subtitles {
		got := string(smallObject(t, objects, s.Object))
		if s.Lang != want[i].lang || s.Label != want[i].label || got != want[i].text {
			t.Errorf("%d: %q, %q, %q; want %+v", i, s.Lang, s.Label, got, want[i])
		}
	}
}

func TestCuesHoldNothingButLettersAndEmphasis(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"<b>bold":                               "<b>bold</b>",
		"<b><i>x</b>y</i>":                      "<b><i>x</i></b>y",
		"<B onclick=alert(1)>x</B>":             "<b>x</b>",
		"<c.x><v Bob>hi</v></c>":                "hi",
		"&lt;script&gt;alert(1)&lt;/script&gt;": "&lt;script&gt;alert(1)&lt;/script&gt;",
		"a --> b":                               "a --&gt; b",
		"<00:00:01.000>now":                     "now",
		"<svg/onload=alert(1)":                  "",
		"I <3 you & me":                         "I &lt;3 you &amp; me",
		"a\x07\u0085b":                          "ab",
		"</b>x":                                 "x",
		"<<b>script>x":                          "&lt;<b>script&gt;x</b>",
	} {
		if got := strings.Join(plain([]string{in}), "\n"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	shifted, err := parseCues([]byte("WEBVTT\n\n00:01.000 --> 00:03.000\nlate\n\n00:00.000 --> 00:01.500\ngone\n\n00:09.000 --> 00:08.000\nnever\n"), 2*time.Second)
	if err != nil || len(shifted) != 1 || shifted[0].from != 0 || shifted[0].to != time.Second {
		t.Errorf("%+v, %v", shifted, err)
	}
	for text, data := range map[string]string{
		"not WebVTT": "1\n00:00:01,000 --> 00:00:02,000\nx\n", "more than": "WEBVTT\n" + strings.Repeat("\n00:01.000 --> 00:02.000\nx\n", cuesMax+1), "UTF-8": "WEBVTT\n\n\xff",
	} {
		if _, err := parseCues([]byte(data), 0); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"<b>x</b>", "<<i>>", "&lt;b&gt;", "<b.x>", "a\n<u>b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := strings.Join(plain([]string{s}), "\n")
		rest := strings.NewReplacer("<b>", "", "</b>", "", "<i>", "", "</i>", "", "<u>", "", "</u>", "").Replace(out)
		if strings.ContainsAny(rest, "<>") || strings.Contains(out, "-->") || strings.Contains(out, "\n\n") {
			t.Errorf("%q became %q", s, out)
		}
	})
}

func TestSubtitlesThatCannotBeUsedAreRefusedBeforeAnyWork(t *testing.T) {
	t.Parallel()
	film := filmFile(t, "silent.mp4")
	dir := t.TempDir()
	path := filepath.Join(dir, "x.srt")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), subtitleBytesMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, s := range map[string]SideFile{
		"are .srt, .ass or .vtt files": {film, ""}, "is no language": {path, "<script>"}, "not a file of at most": {path, "fr"}, "no such file": {filepath.Join(dir, "none.vtt"), ""},
	} {
		_, err := Prepare(t.Context(), Request{File: film, Name: "A film", Subtitles: []SideFile{s}}, nil)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestStoryboardHasAPictureForEachMoment(t *testing.T) {
	t.Parallel()
	res, objects := ingestFilm(t, Request{File: filmFile(t, "b-frames.mp4"), Name: "A film", Open: true})
	b := res.Title.Storyboard
	if b == nil || b.IntervalMs != 2000 || b.Pictures != 5 || b.Across != 5 || b.Width != 160 || b.Height != 90 {
		t.Fatalf("%+v", b)
	}
	img, err := jpeg.Decode(bytes.NewReader(smallObject(t, objects, b.Object)))
	if err != nil || img.Bounds().Dx() != 5*160 || img.Bounds().Dy() != 90 {
		t.Fatalf("%v, %v", img.Bounds(), err)
	}
	for i := range b.Pictures { // black before the flash, white from then on
		r, _, _, _ := img.At(i*160+80, 45).RGBA()
		if white := r > 0x8000; white != (float64(i)*2 >= flashAt) {
			t.Errorf("picture %d: white %v", i, white)
		}
	}
	members, _ := ingestWith(t, Request{File: filmFile(t, "b-frames.mp4"), Name: "A film"}, &ring{})
	if members.Title.Storyboard != nil {
		t.Error("a film for members has a storyboard, which nothing encrypts")
	}
}
