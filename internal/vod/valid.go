package vod

import (
	"fmt"
	"strings"
)

// Valid reports whether id has the form that TitleID describes.
func (id TitleID) Valid() bool {
	if len(id) < 1 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Validate returns an error that wraps ErrInvalid for a title that could not be played: no name, no file, files that
// overlap, a version not named by its info hash, files with a key in the clear or without one where encrypted, an open title encrypted.
func (t *Title) Validate() error {
	v := &t.Version
	switch {
	case !t.ID.Valid():
		return fmt.Errorf("%w: title id %q: want 1 to 64 lower-case letters, digits and hyphens", ErrInvalid, t.ID)
	case strings.TrimSpace(t.Name) == "" || len(t.Name) > 500 || len(t.Summary) > 20_000:
		return fmt.Errorf("%w: title %s: name missing, or name or summary too long", ErrInvalid, t.ID)
	case t.Poster != "" && !isSHA256(t.Poster):
		return fmt.Errorf("%w: title %s: poster is no SHA-256", ErrInvalid, t.ID)
	case t.About.Validate() != nil:
		return fmt.Errorf("title %s: %w", t.ID, t.About.Validate())
	case !t.validExtras():
		return fmt.Errorf("%w: title %s: subtitles or storyboard", ErrInvalid, t.ID)
	case v.ID != v.InfoHashV2.String():
		return fmt.Errorf("%w: title %s: version %q is not its v2 info hash", ErrInvalid, t.ID, v.ID)
	case v.PieceLength < 16<<10 || v.PieceLength&(v.PieceLength-1) != 0:
		return fmt.Errorf("%w: title %s: piece length %d", ErrInvalid, t.ID, v.PieceLength)
	case len(v.Files) == 0 || v.DurationMs == 0:
		return fmt.Errorf("%w: title %s: nothing to play", ErrInvalid, t.ID)
	case v.Scheme != Clear && v.Scheme != CBCS && v.Scheme != CENC || t.Open && v.Scheme != Clear:
		return fmt.Errorf("%w: title %s: encrypted as %q, open %v", ErrInvalid, t.ID, v.Scheme, t.Open)
	}
	next, paths := int64(0), map[string]bool{}
	for i := range v.Files {
		f := &v.Files[i]
		if f.Size <= 0 || int64(f.FirstPiece) < next || f.Path == "" || paths[f.Path] || f.Kind != Video && f.Kind != Audio ||
			f.KID.IsZero() != (v.Scheme == Clear) {
			return fmt.Errorf("%w: title %s: file %d (%q)", ErrInvalid, t.ID, i, f.Path)
		}
		next = int64(f.FirstPiece) + (f.Size+int64(v.PieceLength)-1)/int64(v.PieceLength)
		paths[f.Path] = true
	}
	return nil
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
