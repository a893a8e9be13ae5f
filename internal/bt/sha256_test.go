package bt

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

func TestJoin64IsSHA256(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	var b [64]byte
	for range 1000 {
		if _, err := random.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		if got, want := join64(&b), Digest(sha256.Sum256(b[:])); got != want {
			t.Fatalf("of %x: %s, want %s", b, got, want)
		}
	}
}
