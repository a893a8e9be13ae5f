// Package cmaf reads and describes track files: one fragmented MP4 (ISO/IEC 14496-12, CMAF) for each rendition, with
// one segment index (sidx) in front of all fragments, every segment beginning on a key frame. It must get right what
// players rely on without asking again: exact byte ranges, codec strings and the moment at which each track begins.
// Files come from ffmpeg, which may have read anything, so every size is checked and nothing here panics.
package cmaf

import "essaim/internal/cmaf/box"

// ErrMalformed is wrapped by every error about a file's content.
var ErrMalformed = box.ErrMalformed
