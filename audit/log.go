package audit

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
)

// NoSecondPlace as Config.SecondPlace keeps the newest checkpoint in the log's
// own directory only; a restored older copy then goes unnoticed.
const NoSecondPlace = "none"

// Config says how a log is opened. Dir and Origin are required.
type Config struct {
	// Dir holds audit.log and everything beside it. It is made, 0700, when
	// missing. One process at a time may write; others use its socket.
	Dir string
	// Origin is the log's name for ever, as "example.org/studio": printable
	// ASCII without blanks and "+". Checkpoints are signed under it.
	Origin string
	// Key signs checkpoints (Ed25519). When nil, KeyFile is used.
	Key crypto.Signer
	// KeyFile holds the key as PEM, PKCS #8; default Dir/audit.key. It is made,
	// 0600, together with a new log, and must be there for an existing one.
	KeyFile string
	// SecondPlace is where the newest checkpoint is kept a second time, so that
	// a restored older copy of Dir is refused. Default
	// $XDG_STATE_HOME/govern/ORIGIN, else ~/.local/state/govern/ORIGIN;
	// NoSecondPlace for none.
	SecondPlace string
	// Redact lists RFC 6901 pointers below /section_spec and /metadata whose
	// values are replaced by {"$digest","$size"} before anything is queued. The
	// token "*" matches every member and every element.
	Redact []string
	// RedactKey makes the digests HMAC-SHA-256 under this key. Without it a
	// value that can be guessed can be found out from its digest.
	RedactKey []byte
	// Oversize says what happens to a record that does not fit a line.
	Oversize Oversize
	// AllowLoss, when not nil, lets an operation go on whose record the log
	// could not take, and is told of every lost record. When nil, the default,
	// such an operation fails.
	AllowLoss func(Record, error)
	// LockWait is how long to wait for another writer: 0 means 10 s, negative
	// not at all.
	LockWait time.Duration
	// SegmentBytes seals audit.log into audit-FIRST.log when it has grown to
	// this size; 0 never.
	SegmentBytes int64
	// Now is the clock of Operation; nil means time.Now.
	Now func() time.Time
}

// Oversize says what happens to a record that does not fit a line.
type Oversize int

const (
	// OversizeDigest replaces the largest values of section_spec and metadata
	// by {"$digest","$size"} until the record fits.
	OversizeDigest Oversize = iota
	// OversizeRefuse refuses the record with code audit_record_too_large.
	OversizeRefuse
)

// appender is the part of a ledger that writing needs.
type appender interface {
	AppendLine(ctx context.Context, line []byte) (uint64, error)
}

// Log is an audit log open for writing. All methods may be called
// concurrently.
type Log struct {
	Reader
	out      appender
	close    func() error
	redactor *redactor
	oversize Oversize
	lost     func(Record, error)
	now      func() time.Time
	key      ed25519.PublicKey
	origin   string
	closed   atomic.Bool
}

// Open opens or creates the log in c.Dir, through recovery: a torn end that was
// never acknowledged is moved aside, damage is refused.
func Open(c Config) (*Log, error) {
	if c.Dir == "" || c.Origin == "" {
		return nil, gov.Errorf(gov.KindInvalid, "audit_config_invalid", "an audit log needs Dir and Origin")
	}
	if c.Oversize != OversizeDigest && c.Oversize != OversizeRefuse {
		return nil, gov.Errorf(gov.KindInvalid, "audit_config_invalid", "Oversize %d is unknown", c.Oversize)
	}
	redactor, err := newRedactor(c.Redact, c.RedactKey)
	if err != nil {
		return nil, err
	}
	key, err := c.signer()
	if err != nil {
		return nil, err
	}
	second, err := c.secondPlace()
	if err != nil {
		return nil, err
	}
	file, err := ledger.Open(context.Background(), ledger.Options{
		Dir: c.Dir, Mode: ledger.Audit, Origin: c.Origin, Key: key, SecondPlace: second,
		LockWait: c.LockWait, SegmentBytes: c.SegmentBytes, Purpose: "audit " + filepath.Base(os.Args[0]),
	})
	if err != nil {
		return nil, err
	}
	l := &Log{
		Reader: Reader{lines: file.Reader}, out: file, close: file.Close,
		redactor: redactor, oversize: c.Oversize, lost: c.AllowLoss, now: c.Now,
		key: key.Public().(ed25519.PublicKey), origin: c.Origin,
	}
	if l.now == nil {
		l.now = time.Now
	}
	return l, nil
}

// secondPlace resolves Config.SecondPlace.
func (c Config) secondPlace() (string, error) {
	switch c.SecondPlace {
	case NoSecondPlace:
		return "", nil
	case "":
	default:
		return c.SecondPlace, nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", gov.Errorf(gov.KindInvalid, "audit_config_invalid", "no place for the second copy of the checkpoint: %w", err).
				WithHint("set XDG_STATE_HOME, or Config.SecondPlace")
		}
		state = filepath.Join(home, ".local", "state")
	}
	name := filepath.FromSlash(c.Origin)
	if !filepath.IsLocal(name) {
		name = strings.ReplaceAll(c.Origin, "/", "_")
	}
	return filepath.Join(state, "govern", name), nil
}

// Append writes one record and returns its index when it is durable: synced,
// and covered by the next signed checkpoint. When ctx ends first the record may
// or may not be in the log.
func (l *Log) Append(ctx context.Context, r Record) (uint64, error) {
	line, err := l.prepare(r)
	if err != nil {
		return 0, err
	}
	if l.closed.Load() {
		return 0, errClosed
	}
	return l.out.AppendLine(ctx, line)
}

// prepare redacts, shrinks and encodes. Nothing of a redacted value leaves it.
func (l *Log) prepare(r Record) ([]byte, error) {
	spec, metadata, err := r.trees()
	if err != nil {
		return nil, err
	}
	spec = l.redactor.apply("section_spec", spec)
	metadata = l.redactor.apply("metadata", metadata)
	line, err := r.encode(spec, metadata)
	if err != nil || len(line) <= MaxLine {
		return line, err
	}
	full := len(line)
	if l.oversize == OversizeRefuse || !l.redactor.shrink(&spec, &metadata, full-MaxLine) {
		return nil, tooLarge(full)
	}
	if line, err = r.encode(spec, metadata); err == nil && len(line) > MaxLine {
		return nil, tooLarge(full)
	}
	return line, err
}

// VerifierKey is the log's public key in the form of c2sp.org/signed-note,
// which verifiers pin.
func (l *Log) VerifierKey() (string, error) { return ledger.VerifierKey(l.origin, l.key) }

// Close signs what is not yet signed and lets the next writer in. Closing twice
// is the same as closing once.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.close()
}

// mayLose tells the caller's AllowLoss of a lost record; without one the
// operation fails with err.
func (l *Log) mayLose(r Record, err error) error {
	if l.lost == nil {
		return err
	}
	l.lost(r, err)
	return nil
}

// join keeps a nil nil and a single error itself.
func join(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return errors.Join(a, b)
}

// ObjectOrDigest is for the input of an operation that comes from outside: the
// value itself, without insignificant whitespace, when it is a JSON object that
// a record can hold; otherwise {"$digest","$size"} of its bytes, and the reason.
// Either can be the spec of Operation, so that refused input leaves a record
// too.
func ObjectOrDigest(raw []byte) (json.RawMessage, error) {
	n, err := parseObject("input", raw)
	if err != nil {
		stub := fmt.Sprintf(`{"$digest":%q,"$size":%d}`, gov.DigestOf(raw), len(raw))
		return json.RawMessage(stub), err
	}
	return n.append(nil), nil
}
