// Package blob stores immutable objects by key. It must never show a half-written object, never replace one that
// exists, and survive a crash at any moment. The stores behind it (dir, mem, later s3) pass one suite, blobtest.
package blob

import (
	"context"
	"errors"
	"io"
)

// ErrNotFound is returned for a key that holds nothing.
var ErrNotFound = errors.New("blob: not found")

// ErrBadKey is returned for a key that is empty, over 200 bytes, or not made of lower-case letters, digits, '-', '_', '.'
// in segments joined by '/', none of them "." or "..".
var ErrBadKey = errors.New("blob: malformed key")

// Store holds immutable objects.
type Store interface {
	// Open returns ErrNotFound for a missing key.
	Open(ctx context.Context, key string) (Object, error)
	// Put stores all of r under key, whole or not at all. An existing key is left as it is, and r unread.
	Put(ctx context.Context, key string, r io.Reader) error
	// Delete removes a key; removing a missing one is no error.
	Delete(ctx context.Context, key string) error
	// List calls yield for every key that begins with prefix, in order, until it returns false.
	List(ctx context.Context, prefix string, yield func(key string, size int64) bool) error
}

// Object is one stored object, open for reading.
type Object interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64
}
