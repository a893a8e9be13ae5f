// Package mem keeps objects in memory, for tests and for the smallest demonstrations. It must behave exactly as the
// other stores do (blobtest).
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"essaim/internal/blob"
)

// Store is a blob.Store in memory. It is safe for concurrent use.
type Store struct {
	mu      sync.RWMutex
	objects map[string][]byte // a value is never written to again
}

var _ blob.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store { return &Store{objects: map[string][]byte{}} }

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	data, ok := s.objects[key]
	if !ok {
		return nil, fmt.Errorf("%w: %s", blob.ErrNotFound, key)
	}
	return object{bytes.NewReader(data)}, nil
}

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	s.mu.RLock()
	_, ok := s.objects[key]
	s.mu.RUnlock()
	if ok {
		return nil
	}
	data, err := io.ReadAll(blob.Reader(ctx, r))
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; !ok {
		s.objects[key] = data
	}
	return nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

// List implements blob.Store. It yields a snapshot.
func (s *Store) List(ctx context.Context, prefix string, yield func(key string, size int64) bool) error {
	type entry struct {
		key  string
		size int64
	}
	var found []entry
	s.mu.RLock()
	for key, data := range s.objects {
		if strings.HasPrefix(key, prefix) {
			found = append(found, entry{key, int64(len(data))})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	for _, e := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !yield(e.key, e.size) {
			return nil
		}
	}
	return nil
}

func check(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }
