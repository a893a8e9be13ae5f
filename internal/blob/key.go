package blob

import (
	"context"
	"fmt"
	"io"
	"strings"
)

const keyMax = 200

// CheckKey returns an error that wraps ErrBadKey unless key has the form that ErrBadKey describes. Every store calls it
// first, so that no key can name anything outside the store.
func CheckKey(key string) error {
	if key == "" || len(key) > keyMax {
		return fmt.Errorf("%w: %d bytes", ErrBadKey, len(key))
	}
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return fmt.Errorf("%w: %q", ErrBadKey, key)
		}
		for i := range len(seg) {
			c := seg[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
				return fmt.Errorf("%w: %q", ErrBadKey, key)
			}
		}
	}
	return nil
}

// Reader makes r end with ctx's error once ctx is done: stores wrap what they copy in it, so that a long Put can be
// abandoned.
func Reader(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
