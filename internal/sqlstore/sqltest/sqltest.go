// Package sqltest opens databases for tests. Their schema is made once for each test program, and copied: making it anew takes
// seconds under the race detector. It must give each test a database of its own.
package sqltest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"essaim/internal/sqlstore"
)

// template is a new database's file.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "essaim-sqltest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "essaim.db")
	s, err := sqlstore.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil { // brings everything into the one file
		return nil, err
	}
	return os.ReadFile(name)
})

// Open is sqlstore.Open for a test: where there is no file of that name, it is a new database all the same.
func Open(ctx context.Context, name string) (*sqlstore.Store, error) {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		fresh, err := template()
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, fresh, 0o600); err != nil {
			return nil, err
		}
	}
	return sqlstore.Open(ctx, name)
}
