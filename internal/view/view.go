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
	"sync"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite" // the default engine, pure Go
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/governhq/govern/internal/gov"
)

//go:embed migrations/*.sql
var migrations embed.FS

// View is an open set of projections. It is safe for use from many goroutines;
// one writer handle serialises transactions, readers have their own.
type View struct {
	path  string
	folds []Fold
	db    atomic.Pointer[handles]
	swap  sync.Mutex // guards replacing db
}

// handles are the two ways into one database; they are one where it is in
// memory.
type handles struct{ write, read *sql.DB }

func (v *View) read() *sql.DB  { return v.db.Load().read }
func (v *View) write() *sql.DB { return v.db.Load().write }

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
// A file that cannot be written (read-only directory) is served from memory;
// one that is no database any more is thrown away.
func Open(ctx context.Context, path string, folds []Fold) (*View, error) {
	v := &View{path: path, folds: folds}
	if path != "" && !writable(path) {
		v.path = ""
	}
	h, err := v.open(ctx)
	if damaged(err) && v.path != "" {
		if err := Remove(v.path); err != nil {
			return nil, err
		}
		h, err = v.open(ctx)
	}
	if unwritable(err) && v.path != "" {
		v.path = ""
		h, err = v.open(ctx)
	}
	if err != nil {
		return nil, err
	}
	v.db.Store(h)
	return v, nil
}

func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// code is the SQLite result code behind err without its extension, 0 for none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// damaged tells whether the file is no database, or not a whole one.
func damaged(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_NOTADB || c == sqlite3.SQLITE_CORRUPT || errors.Is(err, errNotViews)
}

// unwritable tells whether a database cannot be written where it is: its
// directory takes no write-ahead log.
func unwritable(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_READONLY || c == sqlite3.SQLITE_CANTOPEN
}

func (v *View) open(ctx context.Context) (*handles, error) {
	write, err := sql.Open("sqlite", v.dsn(false))
	if err != nil {
		return nil, wrap("open views", err)
	}
	write.SetMaxOpenConns(1)
	if err := v.migrate(ctx, write); err != nil {
		write.Close()
		return nil, wrap("migrate views", err)
	}
	if v.path == "" {
		return &handles{write, write}, nil
	}
	read, err := sql.Open("sqlite", v.dsn(true))
	if err != nil {
		write.Close()
		return nil, wrap("open views", err)
	}
	return &handles{write, read}, nil
}

// dsn sets busy_timeout first: the pragmas after it may already have to wait.
// synchronous(NORMAL) is enough, the log replays what a crash loses.
func (v *View) dsn(readOnly bool) string {
	if v.path == "" {
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

// errNotViews: the tables are not those of the migrations.
var errNotViews = errors.New("the tables are not those of this program")

// migrate makes the tables. Processes that find none at the same time take
// turns: goose itself would have both make them.
func (v *View) migrate(ctx context.Context, db *sql.DB) error {
	done, err := migrated(ctx, db)
	if done || err != nil {
		return err
	}
	if v.path != "" {
		dir, err := os.Open(filepath.Dir(v.path))
		if err != nil {
			return err
		}
		defer dir.Close() // which lets the lock go
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
			return err
		}
		if done, err = migrated(ctx, db); done || err != nil {
			return err
		}
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

// migrated tells whether the tables are this program's already.
func migrated(ctx context.Context, db *sql.DB) (bool, error) {
	var have, all int
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FILTER (WHERE name = 'goose_db_version'), COUNT(*) FROM sqlite_master WHERE type = 'table'`).Scan(&have, &all); err != nil {
		return false, err
	}
	var version int64
	if have == 1 {
		if err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version`).Scan(&version); err != nil {
			return false, err
		}
	}
	switch {
	case version > newestMigration, have == 0 && all > 0:
		return false, errNotViews // of a newer program, or nobody's: thrown away, the log has it all
	case version == newestMigration:
		return true, complete(ctx, db) // goose's own checks cost more than a whole short command
	}
	return false, nil
}

// complete tells whether every table is there.
func complete(ctx context.Context, db *sql.DB) error {
	for _, t := range tables {
		var n int
		if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = $1`, t.name).Scan(&n); err != nil {
			return err
		}
		if n != 1 {
			return errNotViews
		}
	}
	return nil
}

// newestMigration is the number of the last file in migrations; a test
// compares them.
const newestMigration = 1

// Close closes the handles; twice is fine.
func (v *View) Close() error { return v.db.Load().close() }

func (h *handles) close() error {
	err := h.write.Close()
	if h.read != h.write {
		err = errors.Join(err, h.read.Close())
	}
	return err
}

// Reset throws every row away: the next Catch rebuilds from index 0. A file
// that is damaged is replaced; who reads it at this moment gets an error.
func (v *View) Reset(ctx context.Context) error {
	v.swap.Lock()
	defer v.swap.Unlock()
	err := v.clear(ctx)
	if !damaged(err) || v.path == "" {
		return wrap("reset views", err)
	}
	old := v.db.Load()
	old.close() // its errors are those of the damaged file
	if err := Remove(v.path); err != nil {
		return err
	}
	h, err := v.open(ctx)
	if err != nil {
		return err
	}
	v.db.Store(h)
	return nil
}

func (v *View) clear(ctx context.Context) error {
	tx, err := v.write().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, t := range tables {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+t.name); err != nil {
			return err
		}
	}
	return tx.Commit()
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
