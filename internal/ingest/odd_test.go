package ingest

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"essaim/internal/vod"
)

func TestSoundAndPictureOfOddFilmsStayTogether(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		size  string
		onset float64 // of the tone after the flash
		why   string
		r     Request
	}{
		"vfr.mkv":        {"96×54", 0, "key frames are up to", Request{}},
		"surround.mkv":   {"96×54", 0, "video is MPEG4", Request{}},
		"anamorphic.mkv": {"126×54", 0, "video is FFV1", Request{}},
		"interlaced.ts":  {"96×64", 0, "video is MPEG2VIDEO", Request{}},
		"rotated.mp4":    {"54×96", 0, "stored rotated", Request{}},
		"late-ac3.mkv":   {"96×54", 0.5, "audio is AC3", Request{Codec: VP9}},
		"early-ac3.mkv":  {"96×54", -0.5, "audio is AC3", Request{}},
		"early.mkv":      {"96×54", -0.5, "", Request{}},
		"mpeg2-ac3.mkv":  {"96×54", 0, "video is MPEG2VIDEO", Request{Codec: VP9}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := want.r
			r.File, r.Name, r.Open = filmFile(t, name), "A film", true
			res, objects := ingestFilm(t, r)
			v := res.Title.Version
			if !strings.HasPrefix(res.Reason, want.why) && !strings.Contains(res.Reason, want.why) || (res.Reason == "") != (want.why == "") {
				t.Errorf("reason %q", res.Reason)
			}
			for _, f := range v.Files {
				if s := fmt.Sprintf("%d×%d", f.Width, f.Height); f.Kind == vod.Video && s != want.size {
					t.Errorf("picture of %s, want %s", s, want.size)
				}
				if vp9 := strings.HasPrefix(f.Codec, "vp09") || f.Codec == "opus"; vp9 != (r.Codec == VP9) {
					t.Errorf("%s is %s", f.Path, f.Codec)
				}
			}
			flash, onset := flashAndOnset(t, res, objects)
			if off := onset - flash - want.onset; math.Abs(off) > 0.04 || math.IsNaN(off) {
				t.Errorf("the tone comes %.1f ms after the picture, want %.0f", 1000*(onset-flash), 1000*want.onset)
			} else {
				t.Logf("sound %.1f ms off", 1000*off)
			}
		})
	}
}

func TestSmallerRenditionsHaveTheirKeyFramesWhereTheKeptOneHasThem(t *testing.T) {
	t.Parallel()
	film := filmFile(t, "tall.mp4")
	kept, _ := ingestFilm(t, Request{File: film, Name: "A film", Open: true})
	if n := len(kept.Title.Version.Files); n != 2 || kept.Reencoded {
		t.Errorf("%d files, %s", n, kept.Reason)
	}
	res, objects := ingestFilm(t, Request{File: film, Name: "A film", Open: true, Ladder: true})
	var starts []string
	for _, f := range res.Title.Version.Files {
		if f.Kind != vod.Video {
			continue
		}
		var at []string
		for _, s := range f.Index {
			at = append(at, fmt.Sprint((s.StartMs+1)/4))
		}
		starts = append(starts, strings.Join(at, " "))
	}
	if len(starts) != 2 || starts[0] != starts[1] || !strings.Contains(res.Title.Version.Manifest, `subsegmentAlignment="true"`) {
		t.Errorf("segments begin at %q (in 4 ms), %s", starts, res.Reason)
	}
	if res.Title.Version.Files[len(res.Title.Version.Files)-1].Root != kept.Title.Version.Files[1].Root {
		t.Error("the kept rendition is another")
	}
	flash, onset := flashAndOnset(t, res, objects)
	if math.Abs(onset-flash) > 0.04 {
		t.Errorf("picture turns at %.4f s, tone begins at %.4f s", flash, onset)
	}
}

func TestAV1HasItsKeyFramesEveryTwoSecondsToo(t *testing.T) {
	t.Parallel()
	res, _ := ingestFilm(t, Request{File: filmFile(t, "interlaced.ts"), Name: "A film", Open: true, Codec: AV1})
	for _, f := range res.Title.Version.Files {
		if f.Kind == vod.Video && !strings.HasPrefix(f.Codec, "av01.") || f.Kind == vod.Audio && f.Codec != "opus" {
			t.Errorf("%s is %s", f.Path, f.Codec)
		}
		for n, s := range f.Index {
			if f.Kind == vod.Video && s.StartMs != uint32(2000*n) {
				t.Errorf("segment %d begins at %d ms", n, s.StartMs)
			}
		}
	}
	_, err := Prepare(t.Context(), Request{File: filmFile(t, "mpeg2-ac3.mkv"), Name: "A film", Codec: AV1}, nil)
	if err == nil || !strings.Contains(err.Error(), "too small for AV1") {
		t.Errorf("a tiny picture: %v", err)
	}
}
