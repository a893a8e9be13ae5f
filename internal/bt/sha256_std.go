//go:build !js

package bt

import "crypto/sha256"

// sum64 is SHA-256 of an inner node's two children.
func sum64(b *[64]byte) Digest { return sha256.Sum256(b[:]) }
