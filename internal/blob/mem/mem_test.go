package mem

import (
	"testing"

	"essaim/internal/blob"
	"essaim/internal/blob/blobtest"
)

func TestMemIsAStore(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return New() })
}
