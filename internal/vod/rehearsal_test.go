package vod

import (
	"strings"
	"testing"
)

func TestRehearsalLabelsAreShortAndPlain(t *testing.T) {
	for label, want := range map[RehearsalLabel]bool{
		"a": true, "Evening-2": true, RehearsalLabel(strings.Repeat("z", 64)): true, "--": true, "0": true,
		"": false, RehearsalLabel(strings.Repeat("z", 65)): false, "a b": false, "a_b": false, "é": false, "a\n": false, "a.b": false,
	} {
		if got := label.Valid(); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
}

func TestOnlyTheCodecThatNobodyPlaysIsSynthetic(t *testing.T) {
	title := func(codecs ...string) *Title {
		t := &Title{}
		for _, c := range codecs {
			t.Version.Files = append(t.Version.Files, File{Codec: c})
		}
		return t
	}
	if !title(SyntheticCodec).Synthetic() || !title("mp4a.40.2", SyntheticCodec).Synthetic() {
		t.Error("a synthetic video is not told")
	}
	if title().Synthetic() || title("avc1.64001f", "mp4a.40.2").Synthetic() {
		t.Error("a film is called synthetic")
	}
}
