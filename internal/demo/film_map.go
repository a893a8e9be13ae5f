package demo

import (
	"net/http"

	"essaim/internal/vod"
)

// Film is the body of GET /room/api/film: where the film's pieces lie in time. It does not change while the demo runs.
type Film struct {
	TitleID     vod.TitleID `json:"title_id"`
	Name        string      `json:"name"`
	DurationMs  uint32      `json:"duration_ms"`
	PieceLength uint32      `json:"piece_length"`
	Files       []FilmFile  `json:"files"`
}

// FilmFile is one rendition or audio track, as the room draws it.
type FilmFile struct {
	Path       string   `json:"path"`
	Kind       vod.Kind `json:"kind"`
	Height     int      `json:"height"` // 0 for audio
	Size       int64    `json:"size"`
	FirstPiece uint32   `json:"first_piece"`
	StartsMs   []int64  `json:"starts_ms"` // for each piece, the moment of film at which its first byte is due
}

func (d *Demo) film(w http.ResponseWriter, _ *http.Request) {
	t, ok := d.title(w)
	if !ok {
		return
	}
	v := &t.Version
	f := Film{TitleID: t.ID, Name: t.Name, DurationMs: v.DurationMs, PieceLength: v.PieceLength}
	for i := range v.Files {
		file := &v.Files[i]
		f.Files = append(f.Files, FilmFile{
			Path: file.Path, Kind: file.Kind, Height: file.Height, Size: file.Size,
			FirstPiece: file.FirstPiece, StartsMs: starts(file, v.PieceLength, v.DurationMs),
		})
	}
	reply(w, f)
}

// measures are a title's sizes.
type measures struct {
	bitrate int64 // bits per second of the highest video rendition and the first audio track
	bytes   int64 // of these two files
	pieces  []int64
}

func measure(t *vod.Title) measures {
	var m measures
	var video, audio *vod.File
	for i := range t.Version.Files {
		f := &t.Version.Files[i]
		m.pieces = append(m.pieces, pieceCount(f, t.Version.PieceLength))
		switch {
		case f.Kind == vod.Video && (video == nil || f.Bandwidth > video.Bandwidth):
			video = f
		case f.Kind == vod.Audio && audio == nil:
			audio = f
		}
	}
	for _, f := range []*vod.File{video, audio} {
		if f != nil {
			m.bitrate += int64(f.Bandwidth)
			m.bytes += f.Size
		}
	}
	return m
}

func pieceCount(f *vod.File, pieceLength uint32) int64 {
	return (f.Size + int64(pieceLength) - 1) / int64(pieceLength)
}

// starts maps a file's pieces to time: linearly within a segment, and without an index over the whole film. What lies
// before the first segment is due at once.
func starts(f *vod.File, pieceLength, durationMs uint32) []int64 {
	out := make([]int64, pieceCount(f, pieceLength))
	seg := 0
	for k := range out {
		at := int64(k) * int64(pieceLength)
		if len(f.Index) == 0 {
			out[k] = at * int64(durationMs) / f.Size
			continue
		}
		for seg < len(f.Index)-1 && int64(f.Index[seg].To) <= at {
			seg++
		}
		s := &f.Index[seg]
		from, to := int64(s.From), int64(s.To)
		out[k] = int64(s.StartMs) + int64(s.DurationMs)*(min(max(at, from), to)-from)/(to-from)
	}
	return out
}
