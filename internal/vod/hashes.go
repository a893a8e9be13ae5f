package vod

import "context"

// FirstHashes answers what a player must know of a file before its first byte, so that it can verify what it plays
// without asking again.
type FirstHashes interface {
	// FirstHashes returns the hashes of the first pieces of t's file f, at most 512, with their proof; nil for a file of
	// one piece, whose hash is the root.
	FirstHashes(ctx context.Context, t *Title, f *File) (*PlayHashes, error)
}
