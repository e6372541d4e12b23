package view

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

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the default engine, pure Go

	"github.com/governhq/govern/internal/gov"
)

//go:embed migrations/*.sql
var migrations embed.FS

// View is an open set of projections. It is safe for use from many goroutines;
// one writer handle serialises transactions, readers have their own.
type View struct {
	path   string
	write  *sql.DB
	read   *sql.DB
	folds  []Fold
	memory bool
}

// Fold projects the events of all streams with a prefix.
//
// Apply folds one event into the stream's state (nil before the first event)
// and returns the new one as JSON. Index tells how the state is to be found
// and when the stream wants to be woken; it may be nil.
type Fold struct {
	Prefix string
	Apply  func(state []byte, ev Event) ([]byte, error)
	Index  func(stream gov.Stream, state []byte) (Subject, error)
}

// Subject is the searchable face of one stream's state.
type Subject struct {
	Kind   string // "change", "target"
	ID     string
	Number int
	Owner  string // who it is waiting for or belongs to
	State  string // "open", "merged", …
	Digest string // revision or artifact digest
	WakeMS int64  // when the stream wants a tick, 0 never
}

// Open opens or creates the views in file path; "" keeps them in memory.
// A file that cannot be written (read-only directory) is served from memory.
func Open(ctx context.Context, path string, folds []Fold) (*View, error) {
	v := &View{path: path, folds: folds}
	if path != "" && !writable(path) {
		v.path = ""
	}
	if err := v.open(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

func (v *View) open(ctx context.Context) error {
	v.memory = v.path == ""
	write, err := sql.Open("sqlite", v.dsn(false))
	if err != nil {
		return wrap("open views", err)
	}
	write.SetMaxOpenConns(1)
	v.write, v.read = write, write
	if err := migrate(ctx, write); err != nil {
		write.Close()
		return wrap("migrate views", err)
	}
	if !v.memory {
		read, err := sql.Open("sqlite", v.dsn(true))
		if err != nil {
			write.Close()
			return wrap("open views", err)
		}
		v.read = read
	}
	return nil
}

// dsn sets busy_timeout first: the pragmas after it may already have to wait.
// synchronous(NORMAL) is enough, the log replays what a crash loses.
func (v *View) dsn(readOnly bool) string {
	if v.memory {
		return "file::memory:?_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)"
	}
	q := "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)"
	if readOnly {
		q += "&_pragma=query_only(1)"
	} else {
		q += "&_txlock=immediate"
	}
	return "file:" + (&url.URL{Path: v.path}).EscapedPath() + "?" + q
}

func migrate(ctx context.Context, db *sql.DB) error {
	var have int
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_master WHERE name = 'deadlines'`).Scan(&have); err != nil {
		return err
	}
	var version int64
	if have == 1 {
		if err := db.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&version); err != nil {
			return err
		}
	}
	if version == newestMigration {
		return nil // goose's own checks cost more than a whole short command
	}
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// newestMigration is the number of the last file in migrations; a test
// compares them.
const newestMigration = 1

// Close closes the handles; twice is fine.
func (v *View) Close() error {
	err := v.write.Close()
	if v.read != v.write {
		err = errors.Join(err, v.read.Close())
	}
	return err
}

// Reset throws every row away: the next Catch rebuilds from index 0.
func (v *View) Reset(ctx context.Context) error {
	tx, err := v.write.BeginTx(ctx, nil)
	if err != nil {
		return wrap("reset views", err)
	}
	defer tx.Rollback()
	for _, t := range tables {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+t.name); err != nil {
			return wrap("reset views", err)
		}
	}
	return wrap("reset views", tx.Commit())
}

// Remove deletes the files of views that were closed; what is missing is fine.
func Remove(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return wrap("remove views", err)
		}
	}
	return nil
}

// Path is where views live in a data directory.
func Path(dir string) string { return filepath.Join(dir, "views.db") }

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*gov.Error](err); ok {
		return err
	}
	return (&gov.Error{
		Kind: gov.KindInternal, Code: "view_failed", Op: op, Err: err,
		Message: fmt.Sprintf("the views could not be read or written: %v", err),
		Hint:    "govern doctor --rebuild-views",
	})
}
