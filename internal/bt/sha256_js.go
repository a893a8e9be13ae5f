//go:build js

package bt

// sum64 is SHA-256 of an inner node's two children.
func sum64(b *[64]byte) Digest { return join64(b) }
