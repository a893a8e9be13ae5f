package api

import "essaim/internal/vod"

// objectPath is where the origin has a small object.
func objectPath(name string) string { return "/objects/" + name }

// playSubtitles are a title's text tracks as a play session names them.
func playSubtitles(t *vod.Title) []vod.PlaySubtitle {
	var list []vod.PlaySubtitle
	for _, s := range t.Subtitles {
		list = append(list, vod.PlaySubtitle{Lang: s.Lang, Label: s.Label, URL: objectPath(s.Object)})
	}
	return list
}

// playStoryboard is a title's storyboard as a play session names it; nil for none.
func playStoryboard(t *vod.Title) *vod.PlayStoryboard {
	b := t.Storyboard
	if b == nil {
		return nil
	}
	return &vod.PlayStoryboard{
		URL: objectPath(b.Object), IntervalMs: b.IntervalMs, Pictures: b.Pictures, Across: b.Across, Width: b.Width, Height: b.Height,
	}
}
