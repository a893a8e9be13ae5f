package native

import (
	"bytes"
	"slices"
	"testing"
)

func TestStoresKeepAndForgetPieces(t *testing.T) {
	f := newFilm(t, 200_000, 50_000)
	dir := t.TempDir()
	for name, make := range map[string]func() (Store, error){
		"memory": func() (Store, error) { return NewMemory(1 << 20), nil },
		"disk":   func() (Store, error) { return NewDisk(dir, &f.title, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := make()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			last := f.files[0][3*testPiece:]
			if _, err := s.Put(3, slices.Clone(last)); err != nil {
				t.Fatal(err)
			}
			got := []byte("....")
			if err := s.ReadAt(3, got, 100); err != nil || !bytes.Equal(got, last[100:104]) {
				t.Errorf("%q, %v", got, err)
			}
			if s.ReadAt(3, got, int64(len(last))-3) == nil || s.ReadAt(3, got, -1) == nil || s.ReadAt(2, got, 0) == nil {
				t.Error("read what is not there")
			}
			if !s.Has(3) || s.Has(2) {
				t.Error("wrong about what it has")
			}
			if err := s.Delete(3); err != nil || s.Has(3) || s.ReadAt(3, got, 0) == nil {
				t.Error("still there:", err)
			}
		})
	}
}

func TestMemoryStoreEvictsWhatWasUsedLongestAgo(t *testing.T) {
	s := NewMemory(3000)
	for p := range uint32(3) {
		if out, err := s.Put(p, make([]byte, 1000)); err != nil || out != nil {
			t.Fatal(out, err)
		}
	}
	if err := s.ReadAt(0, make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Put(3, make([]byte, 2000)); err != nil || !slices.Equal(out, []uint32{1, 2}) {
		t.Error(out, err)
	}
}

func TestSecondRunReadsFromDiskAlone(t *testing.T) {
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	dir := t.TempDir()
	for run := range 2 {
		cfg := p.config()
		s, err := NewDisk(dir, &f.title, 0)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Store = s
		h, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := watch(deadline(t), h, f, 0); err != nil {
			t.Fatal(err)
		}
		if st := h.Stats(); run == 1 && (st.OriginBytes != 0 || st.CachedBytes != f.size()) {
			t.Errorf("%+v", st)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
