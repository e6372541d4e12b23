package engine

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/view"
)

// Config says where an engine works and through what it touches the world.
type Config struct {
	// Dir is the data directory; SecondPlace the directory outside it where the
	// last checkpoint is kept too ("" keeps one copy: tests only).
	Dir         string
	SecondPlace string
	// Repo is the governed repository; nil where only the log is wanted.
	Repo Repo
	// Clock is nil for the machine's.
	Clock Clock
	// Purpose stands in the lock file ("govern serve").
	Purpose string
	// LockWait as in ledger.Options.
	LockWait time.Duration
	// Logger gets events; nil discards them.
	Logger *slog.Logger
}

// Identity is what a verifier pins of a log; it stands in identity.json.
type Identity struct {
	Origin  string     `json:"origin"`
	Key     string     `json:"key"`     // verifier key, c2sp.org/signed-note
	Genesis gov.Digest `json:"genesis"` // fingerprint of record 0
	Local   bool       `json:"local"`   // a clone's own view: its genesis was signed by nobody
	// Second is the directory, as an absolute path, where the newest checkpoint is
	// kept too, as chosen when the log was made. "" in logs older than the field.
	Second string `json:"second_place,omitempty"`
}

// Place is the second place of the log's checkpoint: the log's own, whoever asks.
// closed is not nil when this user may not use it; dir is then a place of the
// user's own, which knows only what this user recorded.
func (id Identity) Place() (dir string, closed, err error) {
	own, err := SecondPlace(id.Origin)
	if id.Second == "" || id.Second == own {
		return own, nil, err
	}
	if closed = usable(id.Second); closed == nil {
		return id.Second, nil, nil
	}
	return own, closed, err
}

// usable tells why a second place cannot be read and written. One that is not
// there can be made again where its parents allow it.
func usable(dir string) error {
	for d := dir; ; d = filepath.Dir(d) {
		err := unix.Access(d, unix.R_OK|unix.W_OK|unix.X_OK)
		if errors.Is(err, unix.ENOENT) && d != filepath.Dir(d) {
			continue
		}
		if err != nil {
			return gov.Errorf(gov.KindDenied, "second_place_closed", "the second place of the log's checkpoint, %s, cannot be used by this user: %w", dir, err).
				WithHint("give this user access to it, or set second_place in identity.json")
		}
		break
	}
	f, err := os.OpenFile(filepath.Join(dir, "governance.checkpoint"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return gov.Errorf(gov.KindDenied, "second_place_closed", "the second place of the log's checkpoint, %s, cannot be used by this user: %w", dir, err).
			WithHint("give this user access to it, or set second_place in identity.json")
	}
	return f.Close()
}

// Engine is one open data directory. It is safe for concurrent use.
type Engine struct {
	cfg        Config
	identity   Identity
	reader     *ledger.Reader
	view       *view.View
	statements blobs
	blobs      blobs
	keeper     *timekeeper
	logger     *slog.Logger

	writeMu sync.Mutex // guards log, which is opened on the first append
	log     *ledger.Log

	catchMu sync.Mutex // one Catch at a time: the others find it done
}

// Open opens a data directory that Init has made. It takes no lock: that
// happens on the first append, and Close lets it go.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Clock == nil {
		cfg.Clock = SystemClock{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	id, err := ReadIdentity(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, identity: id, logger: cfg.Logger,
		statements: blobs{filepath.Join(cfg.Dir, "statements")},
		blobs:      blobs{filepath.Join(cfg.Dir, "blobs")},
	}
	if e.reader, err = ledger.OpenReader(cfg.Dir, ledger.Governance); err != nil {
		return nil, err
	}
	if e.view, err = view.Open(ctx, view.Path(cfg.Dir), folds()); err != nil {
		e.reader.Close()
		return nil, err
	}
	if err := e.catch(ctx); err != nil {
		e.Close()
		return nil, err
	}
	last, err := e.lastTime()
	if err != nil {
		e.Close()
		return nil, err
	}
	e.keeper = newTimekeeper(cfg.Clock, cfg.Dir, last)
	return e, nil
}

// Hold takes the writer's lock now and keeps it until Close: what a
// long-running process does.
func (e *Engine) Hold(ctx context.Context) error {
	_, err := e.writer(ctx)
	return err
}

// Close releases everything; twice is fine.
func (e *Engine) Close() error {
	e.writeMu.Lock()
	defer e.writeMu.Unlock()
	var err error
	if e.log != nil {
		err = e.log.Close()
		e.log = nil
	}
	return errors.Join(err, e.reader.Close(), e.view.Close())
}

// Identity is what a verifier pins.
func (e *Engine) Identity() Identity { return e.identity }

// Dir is the data directory.
func (e *Engine) Dir() string { return e.cfg.Dir }

// Reader reads the log without locks.
func (e *Engine) Reader() *ledger.Reader {
	e.writeMu.Lock()
	defer e.writeMu.Unlock()
	if e.log != nil {
		return e.log.Reader
	}
	return e.reader
}

// View answers queries.
func (e *Engine) View() *view.View { return e.view }

// Statement reads a signed envelope; blob_erased when its text is gone.
func (e *Engine) Statement(d gov.Digest) ([]byte, error) { return e.statements.get(d) }

// writer opens the log for appending.
func (e *Engine) writer(ctx context.Context) (*ledger.Log, error) {
	e.writeMu.Lock()
	defer e.writeMu.Unlock()
	if e.log != nil {
		return e.log, nil
	}
	key, err := readKey(e.cfg.Dir)
	if err != nil {
		return nil, err
	}
	log, err := ledger.Open(ctx, e.options(key))
	if err != nil {
		return nil, err
	}
	e.log = log
	return log, nil
}

func (e *Engine) options(key crypto.Signer) ledger.Options {
	return ledger.Options{
		Dir: e.cfg.Dir, Mode: ledger.Governance, Origin: e.identity.Origin, Key: key,
		SecondPlace: e.cfg.SecondPlace, LockWait: e.cfg.LockWait, Purpose: e.cfg.Purpose, Now: e.cfg.Clock.Now,
	}
}

const identityFile, keyFile = "identity.json", "log.key"

// ReadIdentity reads what a verifier pins of the log in dir; not_initialised
// when there is none.
func ReadIdentity(dir string) (Identity, error) {
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, gov.Errorf(gov.KindNotFound, "not_initialised", "there is no govern log in %s", dir).WithHint("govern init")
	}
	if err != nil {
		return Identity{}, storeError(err)
	}
	var id Identity
	if err := strict.Unmarshal(b, &id, strict.Options{}); err != nil {
		return Identity{}, (&gov.Error{Kind: gov.KindIntegrity, Code: "identity_unreadable", Op: "read " + identityFile, Err: err, Message: err.Error(), Hint: "govern doctor"})
	}
	return id, nil
}

func readKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gov.Errorf(gov.KindDenied, "log_key_missing", "the key of the log is not here, so nothing can be recorded").
			WithHint("run the command where the log lives, or set GOVERN_SERVER")
	}
	if err != nil {
		return nil, storeError(err)
	}
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
		return nil, gov.Errorf(gov.KindIntegrity, "log_key_exposed", "the key of the log can be read by others (%04o)", st.Mode().Perm()).
			WithHint("chmod 600 %s", path)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, gov.Errorf(gov.KindIntegrity, "log_key_unreadable", "%s does not hold a PEM block", path).WithHint("govern doctor")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, gov.Errorf(gov.KindIntegrity, "log_key_unreadable", "%s does not hold a private key: %w", path, err).WithHint("govern doctor")
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, gov.Errorf(gov.KindIntegrity, "log_key_unreadable", "%s does not hold an Ed25519 key", path).WithHint("govern doctor")
	}
	return ed, nil
}

func makeKey(dir string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, writeFile(filepath.Join(dir, keyFile), b, 0o600, true)
}

func writeIdentity(dir string, id Identity) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, identityFile), append(b, '\n'), 0o644, true)
}

// SecondPlace is the default second place of a log's checkpoint.
func SecondPlace(origin string) (string, error) {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", storeError(err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	safe := strings.Map(func(r rune) rune {
		if r == '/' || r == os.PathSeparator || r == '.' {
			return '_'
		}
		return r
	}, origin)
	return filepath.Join(base, "govern", safe), nil
}
