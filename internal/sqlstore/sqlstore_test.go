package sqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestOpenKeepsWhatWasWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a b?c#d%.db")
	for i := range 2 {
		s, err := Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := insert(t, s, fmt.Sprint("member", i)); err != nil {
			t.Fatal(err)
		}
		if n := count(t, s); n != i+1 {
			t.Errorf("%d members after opening %d", n, i)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNobodyElseMayReadTheDatabase(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), filepath.Join(dir, "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := insert(t, s, "ada"); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 { // the database and its log
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func insert(t *testing.T, s *Store, id string) error {
	return s.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(),
			`INSERT INTO members (id, name, name_key, password_hash, created_ms) VALUES ($1, $2, $2, '', $3)`, id, id, 1)
		return err
	})
}

func count(t *testing.T, s *Store) (n int) {
	t.Helper()
	if err := s.Reader().QueryRowContext(t.Context(), `SELECT count(*) FROM members`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSeveralProcessesMayOpenAndWriteAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "essaim.db")
	var wg sync.WaitGroup
	for i := range 4 { // each with connections of its own, as processes would have
		wg.Go(func() {
			s, err := Open(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for j := range 10 {
				if err := insert(t, s, fmt.Sprint(i, "/", j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n := count(t, s); n != 40 {
		t.Errorf("%d members, want 40", n)
	}
}

func TestWriteUndoesOnError(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	boom := errors.New("boom")
	err = s.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(t.Context(),
			`INSERT INTO members (id, name, name_key, password_hash, created_ms) VALUES ('a', 'a', 'a', '', 1)`); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("err %v", err)
	}
	if n := count(t, s); n != 0 {
		t.Errorf("%d members", n)
	}
}

func TestReaderRefusesToWrite(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "essaim.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.Reader().QueryContext(t.Context(), `DELETE FROM members`)
	if err == nil {
		rows.Next()
		err = rows.Err()
		rows.Close()
	}
	if err == nil {
		t.Error("a reader wrote")
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	name := filepath.Join(t.TempDir(), "essaim.db")
	s, err := Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), name); !errors.Is(err, errNewer) {
		t.Errorf("open: %v, want errNewer", err)
	}
}
