// Package sqlstore opens the service's database and keeps its schema. It must never lose a write that it acknowledged,
// never let two writers meet (SQLite has one), and never run against a schema that a newer version wrote.
//
// Departments write their own SQL, in the dialect that SQLite and PostgreSQL share: $1 placeholders, times as integer
// milliseconds, ON CONFLICT. What differs (the driver, the migrations' types, who may write at once) stays here.
package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite", in Go
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// Store is an open database. It is safe for concurrent use.
type Store struct {
	reader, writer *sql.DB
}

const (
	// busy is how long a statement waits for another process's write: ingest publishes beside the running service.
	busy       = 10 * time.Second
	readersMax = 8
)

// Open opens the SQLite database in the file at name, makes it if it is missing, and brings its schema up to date.
func Open(ctx context.Context, name string) (*Store, error) {
	s, err := open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", filepath.Base(name), err)
	}
	return s, nil
}

func open(ctx context.Context, name string) (*Store, error) {
	// SQLite would let everyone on the machine read it, and gives its log the mode of the database. What is there already
	// must not be opened here: closing it would drop this process's locks on it.
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// WAL lets readers and the writer work at once; with synchronous=FULL a commit is on the disk when it returns.
	writer, err := sql.Open("sqlite", dsn(name, "_txlock", "immediate", "_journal_mode", "WAL", "_synchronous", "FULL"))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	if err := migrate(ctx, writer); err != nil {
		writer.Close()
		return nil, err
	}
	reader, err := sql.Open("sqlite", dsn(name, "_query_only", "true"))
	if err != nil {
		writer.Close()
		return nil, err
	}
	reader.SetMaxOpenConns(readersMax)
	reader.SetMaxIdleConns(readersMax)
	return &Store{reader: reader, writer: writer}, nil
}

func dsn(name string, options ...string) string {
	q := url.Values{}
	q.Set("_busy_timeout", fmt.Sprint(busy.Milliseconds()))
	q.Set("_foreign_keys", "true")
	for i := 0; i < len(options); i += 2 {
		q.Set(options[i], options[i+1])
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(name), RawQuery: q.Encode()}
	return u.String()
}

// errNewer is what an old program says to a database that a newer one has changed.
var errNewer = errors.New("it was written by a newer version of essaim: use that one, or a copy made before the upgrade")

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	// Two processes may start at once. The one that comes second finds its migration made already, and fails; by then
	// the first has committed, so that asking again finds nothing left to do.
	for range 3 {
		if _, err = p.Up(ctx); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("bring the schema up to date: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	sources := p.ListSources()
	if have > sources[len(sources)-1].Version {
		return errNewer
	}
	return nil
}

// Close closes the database. The last connection's closing brings the write-ahead log into the file.
func (s *Store) Close() error { return errors.Join(s.reader.Close(), s.writer.Close()) }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.reader.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Querier runs queries: a transaction, or the database outside of one.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Reader runs single queries. It refuses statements that write.
func (s *Store) Reader() Querier { return s.reader }

// Read runs f in a transaction that sees one state of the database throughout and writes nothing.
func (s *Store) Read(ctx context.Context, f func(tx Querier) error) error {
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin to read: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // there is nothing to undo
	return f(tx)
}

// Write runs f in a transaction, and commits unless f returns an error. Writers take turns, across processes too; f must
// not call Write.
func (s *Store) Write(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin to write: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, and after f's error that error tells more
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
