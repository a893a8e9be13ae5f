// Package blobtest is the conformance suite of blob.Store: every store passes it, so that whoever holds a Store need
// not know which.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"essaim/internal/blob"
)

// Run tests the stores that open makes: a new and empty one at each call.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s blob.Store)
	}{
		{"returns what was put", returnsWhatWasPut},
		{"leaves an existing key alone", leavesExisting},
		{"shows nothing of a failed put", showsNothingOfFailedPut},
		{"stops when cancelled", stopsWhenCancelled},
		{"says what is missing", saysWhatIsMissing},
		{"refuses malformed keys", refusesMalformedKeys},
		{"lists in order", listsInOrder},
		{"deletes", deletes},
		{"keeps an open object readable", keepsOpenReadable},
		{"bears concurrent writers", bearsConcurrentWriters},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func put(t *testing.T, s blob.Store, key, data string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(data)); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func get(t *testing.T, s blob.Store, key string) string {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("open %s: %v", key, err)
	}
	defer o.Close()
	b, err := io.ReadAll(o)
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	if o.Size() != int64(len(b)) {
		t.Errorf("%s: size %d, read %d bytes", key, o.Size(), len(b))
	}
	return string(b)
}

func returnsWhatWasPut(t *testing.T, s blob.Store) {
	big := strings.Repeat("0123456789abcdef", 1<<14)
	for key, data := range map[string]string{"a": "x", "media/ff00": big, "a/b/c.d_e-f": "deep", "empty": ""} {
		put(t, s, key, data)
		if get(t, s, key) != data {
			t.Errorf("%s: other bytes came back", key)
		}
	}
	o, err := s.Open(t.Context(), "media/ff00")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b := make([]byte, 16)
	if _, err := o.ReadAt(b, int64(len(big))-16); err != nil && err != io.EOF || string(b) != "0123456789abcdef" {
		t.Errorf("ReadAt: %q, %v", b, err)
	}
	if _, err := o.ReadAt(b, int64(len(big))-8); err != io.EOF {
		t.Errorf("ReadAt over the end: %v, want io.EOF", err)
	}
	if n, err := o.Seek(-4, io.SeekEnd); err != nil || n != int64(len(big))-4 {
		t.Errorf("Seek: %d, %v", n, err)
	}
	if rest, _ := io.ReadAll(o); string(rest) != "cdef" {
		t.Errorf("after Seek: %q", rest)
	}
}

func leavesExisting(t *testing.T, s blob.Store) {
	put(t, s, "k", "first")
	r := strings.NewReader("second")
	if err := s.Put(t.Context(), "k", r); err != nil {
		t.Fatal(err)
	}
	if r.Len() != len("second") {
		t.Error("the reader of an existing key was read")
	}
	if got := get(t, s, "k"); got != "first" {
		t.Errorf("got %q", got)
	}
}

var errBroken = errors.New("broken")

func showsNothingOfFailedPut(t *testing.T, s blob.Store) {
	r := io.MultiReader(strings.NewReader("half of it"), iotestErr{})
	if err := s.Put(t.Context(), "k", r); !errors.Is(err, errBroken) {
		t.Fatalf("put: %v, want the reader's error", err)
	}
	if _, err := s.Open(t.Context(), "k"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("open: %v, want ErrNotFound", err)
	}
	if keys := list(t, s, ""); len(keys) != 0 {
		t.Errorf("listed %v", keys)
	}
	put(t, s, "k", "whole")
	if got := get(t, s, "k"); got != "whole" {
		t.Errorf("got %q", got)
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errBroken }

func stopsWhenCancelled(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	if err := s.Put(ctx, "k", endless); !errors.Is(err, context.Canceled) {
		t.Fatalf("put: %v, want context.Canceled", err)
	}
	if _, err := s.Open(t.Context(), "k"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("open: %v, want ErrNotFound", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func saysWhatIsMissing(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "x")
	for _, key := range []string{"c", "a", "a/b/c", "a/c"} {
		if _, err := s.Open(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("open %s: %v, want ErrNotFound", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	put(t, s, "a", "both a key and the beginning of one")
	put(t, s, "a/b/c", "and the other way round")
	if get(t, s, "a/b") != "x" {
		t.Error("a/b changed")
	}
}

func refusesMalformedKeys(t *testing.T, s blob.Store) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "A", "a b", "a\x00", "a\\b", "é", "a~", "a:b",
		strings.Repeat("a", 201),
	} {
		if _, err := s.Open(t.Context(), key); !errors.Is(err, blob.ErrBadKey) {
			t.Errorf("open %q: %v, want ErrBadKey", key, err)
		}
		if err := s.Put(t.Context(), key, strings.NewReader("x")); !errors.Is(err, blob.ErrBadKey) {
			t.Errorf("put %q: %v, want ErrBadKey", key, err)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, blob.ErrBadKey) {
			t.Errorf("delete %q: %v, want ErrBadKey", key, err)
		}
	}
	put(t, s, strings.Repeat("a", 200), "the longest")
}

func list(t *testing.T, s blob.Store, prefix string) []string {
	t.Helper()
	var keys []string
	if err := s.List(t.Context(), prefix, func(key string, size int64) bool {
		keys = append(keys, fmt.Sprintf("%s=%d", key, size))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return keys
}

func listsInOrder(t *testing.T, s blob.Store) {
	for i, key := range []string{"b", "a/b", "a-b", "a", "a/a/z", "ab/c"} {
		put(t, s, key, strings.Repeat("x", i))
	}
	for prefix, want := range map[string][]string{
		"":    {"a=3", "a-b=2", "a/a/z=4", "a/b=1", "ab/c=5", "b=0"},
		"a/":  {"a/a/z=4", "a/b=1"},
		"a":   {"a=3", "a-b=2", "a/a/z=4", "a/b=1", "ab/c=5"},
		"a/a": {"a/a/z=4"},
		"c":   nil,
	} {
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("list %q: %v, want %v", prefix, got, want)
		}
	}
	calls := 0
	if err := s.List(t.Context(), "a", func(string, int64) bool { calls++; return calls < 2 }); err != nil || calls != 2 {
		t.Errorf("stopped after %d calls, %v", calls, err)
	}
}

func deletes(t *testing.T, s blob.Store) {
	put(t, s, "a/b", "x")
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "a/b"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("open: %v, want ErrNotFound", err)
	}
	put(t, s, "a/b", "again")
	if got := get(t, s, "a/b"); got != "again" {
		t.Errorf("got %q", got)
	}
}

func keepsOpenReadable(t *testing.T, s blob.Store) {
	put(t, s, "k", "still here")
	o, err := s.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(o); err != nil || string(b) != "still here" {
		t.Errorf("read %q, %v", b, err)
	}
}

func bearsConcurrentWriters(t *testing.T, s blob.Store) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte('a' + i)}, 1<<16)
			if err := s.Put(context.Background(), "shared/key", bytes.NewReader(data)); err != nil {
				t.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	got := get(t, s, "shared/key")
	if len(got) != 1<<16 || strings.Trim(got, got[:1]) != "" {
		t.Errorf("%d bytes of several writers", len(got))
	}
}
