package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Failure is one broken promise. Index is the record it shows at, or the size of
// the tree it is about.
type Failure struct {
	Code    string `json:"code"`
	Index   uint64 `json:"index"`
	Message string `json:"message"`
}

// Result is what a check found. Checked holds numbers and names that depend on
// what was checked; "what" is always there: governance_log, audit_log, proof,
// statement or statements.
type Result struct {
	OK       bool           `json:"ok"`
	Checked  map[string]any `json:"checked"`
	Failures []Failure      `json:"failures"`
	Notes    []string       `json:"notes,omitempty"`
}

// Options say what a check is made against. The zero value takes what lies
// beside the log, and says so.
type Options struct {
	// Key is the log's verifier key in the form of c2sp.org/signed-note. ""
	// takes identity.json beside the log, or the key that an audit log was made
	// with.
	Key string
	// Genesis is the fingerprint of record 0, "sha256:…"; "" takes identity.json
	// beside a governance log. An audit log has none unless it is given.
	Genesis string
	// SecondPlace is the directory that holds the newest checkpoint again; ""
	// leaves it unchecked.
	SecondPlace string
	// People is the content of the registry file (.govern/allowed_signers) that
	// statements are checked against.
	People []byte
	// At is when the keys of statements must be valid; zero takes the time that
	// each statement gives for itself.
	At time.Time
	// Record is the line that a proof is about, for proofs that do not carry it.
	Record []byte
}

func newResult(what string) *Result {
	return &Result{Checked: map[string]any{"what": what}, Failures: []Failure{}}
}

func (r *Result) fail(code string, index uint64, message string) {
	r.Failures = append(r.Failures, Failure{Code: code, Index: index, Message: message})
}

// failed notes an error as a failure.
func (r *Result) failed(index uint64, err error) {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		r.fail(e.Code, index, e.Message)
		return
	}
	r.fail("unreadable", index, err.Error())
}

func (r *Result) note(text string) { r.Notes = append(r.Notes, text) }

func (r *Result) done() Result {
	slices.SortStableFunc(r.Failures, func(a, b Failure) int {
		switch {
		case a.Index < b.Index:
			return -1
		case a.Index > b.Index:
			return 1
		}
		return 0
	})
	r.OK = len(r.Failures) == 0
	return *r
}

// maxFile bounds proofs and statements: both fit a log line many times.
const maxFile = 1 << 20

// Path checks a file or directory by what it is: the directory of a log or one
// of its files, a proof (C2SP tlog-proof), a statement, a directory of
// statements. The error is only about not being able to look, or not knowing
// what it looks at; what is wrong stands in the result.
func Path(ctx context.Context, path string, o Options) (Result, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, gov.Errorf(gov.KindNotFound, "verify_not_found", "there is no file or directory %s", path).WithHint("govern verify --help")
	}
	if err != nil {
		return Result{}, unreadable(path, err)
	}
	if info.IsDir() {
		return directory(ctx, path, o)
	}
	if name := filepath.Base(path); strings.HasSuffix(name, ".log") && (name == "governance.log" || strings.HasPrefix(name, "audit")) {
		return Log(ctx, filepath.Dir(path), o)
	}
	if info.Size() > maxFile {
		return Result{}, unknown(path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return Result{}, unreadable(path, err)
	}
	switch {
	case bytes.HasPrefix(content, []byte("c2sp.org/tlog-proof@")):
		return Proof(content, o), nil
	case isEnvelope(content) || strings.HasSuffix(path, ".json") && filepath.Base(filepath.Dir(path)) == "statements":
		return Statement(content, o), nil
	}
	return Result{}, unknown(path)
}

func directory(ctx context.Context, dir string, o Options) (Result, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Result{}, unreadable(dir, err)
	}
	var statements []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case name == "governance.log" || name == "governance.checkpoint" || name == "audit.log" || name == "audit.checkpoint":
			return Log(ctx, dir, o)
		case strings.HasSuffix(name, ".json") && !e.IsDir():
			statements = append(statements, filepath.Join(dir, name))
		}
	}
	if len(statements) == 0 {
		return Result{}, unknown(dir)
	}
	return folder(statements, o)
}

func isEnvelope(content []byte) bool {
	var v struct {
		PayloadType string `json:"payloadType"`
	}
	return json.Unmarshal(content, &v) == nil && v.PayloadType != ""
}

func unreadable(path string, err error) error {
	return gov.Errorf(gov.KindUnavailable, "verify_unreadable", "%s cannot be read: %w", path, err)
}

func unknown(path string) error {
	return gov.Errorf(gov.KindInvalid, "verify_unknown", "%s is neither a log nor a proof nor a statement", path).
		WithHint("name the directory of a log, a .tlog-proof file or a statement's .json file")
}
