package verify_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/verify"
)

const origin = "test/verify"

// key is a fixed Ed25519 key.
func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func vkey(t *testing.T, name string, seed byte) string {
	t.Helper()
	k, err := ledger.VerifierKey(name, key(seed).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// made is a log on disk and what a verifier pins of it.
type made struct {
	dir     string
	second  string // where the checkpoint is kept again
	key     string
	genesis string
	text    gov.Digest // a statement kept beside the governance log
}

// governance makes a governance log with n records, one of which names a text.
func governance(t *testing.T, n int) made {
	t.Helper()
	m := made{dir: t.TempDir(), second: t.TempDir(), key: vkey(t, origin, 1)}
	text := []byte("{\"words\":\"of a person\"}\n")
	m.text = gov.DigestOf(text)
	if err := os.Mkdir(filepath.Join(m.dir, "statements"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.dir, "statements", m.text.Hex()+".json"), text)
	log, err := ledger.Open(t.Context(), ledger.Options{Dir: m.dir, Mode: ledger.Governance, Origin: origin, Key: key(1), SecondPlace: m.second, LockWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		stream := gov.StreamChange(gov.NewChangeID(i%3 + 1))
		typ, data := "stage.passed", any(map[string]any{"stage": fmt.Sprint("s", i)})
		if i == 1 {
			typ, data = "statement.recorded", gov.Recorded{Digest: m.text}
		}
		rec := gov.Record{ID: fmt.Sprint("r", i), Time: time.Unix(int64(i), 0).UTC(), Command: "test", Events: []gov.Event{gov.NewEvent(stream, typ, data)}}
		body, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		e := ledger.Entry{ID: rec.ID, Body: body, Adds: map[gov.Stream]int{stream: 1}}
		if i == 0 {
			_, genesis, err := log.Genesis(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			m.genesis = string(genesis)
			continue
		}
		if _, err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(t *testing.T, path string, o verify.Options) verify.Result {
	t.Helper()
	r, err := verify.Path(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != (len(r.Failures) == 0) {
		t.Fatalf("ok %t with %d failures", r.OK, len(r.Failures))
	}
	return r
}

func codes(r verify.Result) []string {
	var out []string
	for _, f := range r.Failures {
		out = append(out, f.Code)
	}
	return out
}

// TestLog: what is pinned holds; what is not is said, and never a success.
func TestLog(t *testing.T) {
	m := governance(t, 7)
	other := gov.DigestOf([]byte("another beginning"))
	for _, tc := range []struct {
		name string
		path string
		o    verify.Options
		code string // "" for ok
	}{
		{"pinned", m.dir, verify.Options{Key: m.key, Genesis: m.genesis}, ""},
		{"the file stands for its directory", filepath.Join(m.dir, "governance.log"), verify.Options{Key: m.key, Genesis: m.genesis}, ""},
		{"no key", m.dir, verify.Options{}, "signatures_unchecked"},
		{"wrong key", m.dir, verify.Options{Key: vkey(t, origin, 2), Genesis: m.genesis}, "signature_invalid"},
		{"another log's name", m.dir, verify.Options{Key: vkey(t, "test/other", 1), Genesis: m.genesis}, "origin_mismatch"},
		{"wrong genesis", m.dir, verify.Options{Key: m.key, Genesis: string(other)}, "genesis_mismatch"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := check(t, tc.path, tc.o)
			if tc.code == "" && !r.OK {
				t.Fatalf("failures: %v", r.Failures)
			}
			if tc.code != "" && !slices.ContainsFunc(codes(r), func(c string) bool { return c == tc.code || strings.HasPrefix(c, tc.code) }) {
				t.Fatalf("failures %v, want %s", r.Failures, tc.code)
			}
		})
	}
}

// TestIdentityBesideTheLog is used where nothing is pinned, and said.
func TestIdentityBesideTheLog(t *testing.T) {
	m := governance(t, 3)
	b, err := json.Marshal(map[string]any{"origin": origin, "key": m.key, "genesis": m.genesis, "local": false})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.dir, "identity.json"), b)
	r := check(t, m.dir, verify.Options{})
	if !r.OK || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "--vkey") {
		t.Fatalf("ok %t, notes %q, failures %v", r.OK, r.Notes, r.Failures)
	}
	// An identity of another key does not make the log good, and a pinned key wins.
	write(t, filepath.Join(m.dir, "identity.json"), bytes.Replace(b, []byte(m.key), []byte(vkey(t, origin, 2)), 1))
	if r := check(t, m.dir, verify.Options{}); r.OK {
		t.Fatal("a log passes under a key that did not sign it")
	}
	if r := check(t, m.dir, verify.Options{Key: m.key, Genesis: m.genesis}); !r.OK {
		t.Fatalf("pinned: %v", r.Failures)
	}
	other := string(gov.DigestOf([]byte("another beginning")))
	write(t, filepath.Join(m.dir, "identity.json"), bytes.Replace(b, []byte(m.genesis), []byte(other), 1))
	if r := check(t, m.dir, verify.Options{}); r.OK {
		t.Fatal("a log passes with a beginning that is not the pinned one")
	}
	write(t, filepath.Join(m.dir, "identity.json"), []byte(`{"origin":"x","surprise":1}`))
	if r := check(t, m.dir, verify.Options{}); r.OK {
		t.Fatal("an unreadable identity passes")
	}
}

// TestEveryFlippedByteIsFound flips single bits all over every file that the log
// consists of: each is found, wherever it is.
func TestEveryFlippedByteIsFound(t *testing.T) {
	m := governance(t, 12)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	o := verify.Options{Key: m.key, Genesis: m.genesis, SecondPlace: m.second}
	if r := check(t, m.dir, o); !r.OK {
		t.Fatalf("the log is not good to begin with: %v", r.Failures)
	}
	for _, name := range []string{"governance.log", "governance.checkpoint", "statements/" + m.text.Hex() + ".json"} {
		path := filepath.Join(m.dir, name)
		good := read(t, path)
		step := max(1, len(good)/150)
		if os.Getenv("GOVERN_TEST_FULL") == "1" {
			step = 1
		}
		for at := 0; at < len(good); at += step {
			i := min(len(good)-1, at+rnd.IntN(step))
			bad := bytes.Clone(good)
			bad[i] ^= 1 << rnd.IntN(8)
			write(t, path, bad)
			if check(t, m.dir, o).OK {
				t.Errorf("%s: a bit flipped in byte %d of %d is not found", name, i, len(good))
			}
		}
		write(t, path, good)
	}
}

// TestTruncatedLog: a log cut anywhere below its checkpoint is found, also at
// the end of a line; so are a line taken out, two exchanged, and one repeated.
func TestTruncatedLog(t *testing.T) {
	m := governance(t, 9)
	path := filepath.Join(m.dir, "governance.log")
	good := read(t, path)
	o := verify.Options{Key: m.key, Genesis: m.genesis}
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1]
	try := func(name string, content []byte) {
		t.Helper()
		write(t, path, content)
		if check(t, m.dir, o).OK {
			t.Errorf("%s: not found", name)
		}
		// The derived files deleted as well: nothing may hide behind them.
		bare := t.TempDir()
		write(t, filepath.Join(bare, "governance.log"), content)
		write(t, filepath.Join(bare, "governance.checkpoint"), read(t, filepath.Join(m.dir, "governance.checkpoint")))
		if check(t, bare, o).OK {
			t.Errorf("%s, without derived files: not found", name)
		}
	}
	for i := range lines {
		try(fmt.Sprintf("cut before line %d", i), bytes.Join(lines[:i], nil))
		try(fmt.Sprintf("line %d taken out", i), bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
		try(fmt.Sprintf("cut within line %d", i), append(bytes.Join(lines[:i], nil), lines[i][:len(lines[i])/2]...))
	}
	swapped := slices.Clone(lines)
	swapped[2], swapped[5] = swapped[5], swapped[2]
	try("two lines exchanged", bytes.Join(swapped, nil))
	try("a line twice", bytes.Join(slices.Insert(slices.Clone(lines), 4, lines[3]), nil))
	try("empty", nil)
	write(t, path, good)
	if r := check(t, m.dir, o); !r.OK {
		t.Fatalf("put back: %v", r.Failures)
	}
	if err := os.Remove(filepath.Join(m.dir, "governance.checkpoint")); err != nil {
		t.Fatal(err)
	}
	if r := check(t, m.dir, o); r.OK || !slices.Contains(codes(r), "checkpoint_missing") {
		t.Fatalf("a log without its checkpoint: %v", r.Failures)
	}
}

// TestCopyWithoutDerivedFiles: lines and checkpoint are the log.
func TestCopyWithoutDerivedFiles(t *testing.T) {
	m := governance(t, 300)
	bare := t.TempDir()
	for _, name := range []string{"governance.log", "governance.checkpoint"} {
		write(t, filepath.Join(bare, name), read(t, filepath.Join(m.dir, name)))
	}
	r := check(t, bare, verify.Options{Key: m.key, Genesis: m.genesis})
	if !r.OK || r.Checked["erased"] != 1 {
		t.Fatalf("failures %v, checked %v", r.Failures, r.Checked)
	}
	// Derived files that are there have to fit.
	write(t, filepath.Join(bare, "governance.tile0"), make([]byte, 64))
	if check(t, bare, verify.Options{Key: m.key, Genesis: m.genesis}).OK {
		t.Fatal("a tile that does not fit passes")
	}
}

// TestErasedText: the proof stands when a text is gone, and the result says so;
// a text that was replaced does not pass.
func TestErasedText(t *testing.T) {
	m := governance(t, 4)
	o := verify.Options{Key: m.key, Genesis: m.genesis}
	path := filepath.Join(m.dir, "statements", m.text.Hex()+".json")
	write(t, path, []byte("{}"))
	r := check(t, m.dir, o)
	if r.OK || r.Failures[0].Code != "blob_altered" || r.Failures[0].Index != 1 {
		t.Fatalf("failures %v", r.Failures)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r = check(t, m.dir, o); !r.OK || r.Checked["erased"] != 1 {
		t.Fatalf("failures %v, checked %v", r.Failures, r.Checked)
	}
}

// TestProof: record, index, path, checkpoint and key all have to fit.
func TestProof(t *testing.T) {
	m := governance(t, 9)
	r, err := ledger.OpenReader(m.dir, ledger.Governance)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Prove(5)
	if err != nil {
		t.Fatal(err)
	}
	line, err := r.Line(5)
	if err != nil {
		t.Fatal(err)
	}
	bare := p.Marshal()
	p.Extra = line
	whole := p.Marshal()
	file := filepath.Join(t.TempDir(), "5.tlog-proof")
	write(t, file, whole)
	if res := check(t, file, verify.Options{Key: m.key}); !res.OK || res.Checked["index"] != uint64(5) {
		t.Fatalf("failures %v, checked %v", res.Failures, res.Checked)
	}
	if res := verify.Proof(bare, verify.Options{Key: m.key, Record: line}); !res.OK {
		t.Fatalf("with the record beside it: %v", res.Failures)
	}
	for _, tc := range []struct {
		name string
		text []byte
		o    verify.Options
		code string
	}{
		{"no key", whole, verify.Options{}, "signatures_unchecked"},
		{"no record", bare, verify.Options{Key: m.key}, "record_missing"},
		{"wrong key", whole, verify.Options{Key: vkey(t, origin, 2)}, "signature"},
		{"another record", whole, verify.Options{Key: m.key, Record: []byte(`{"id":"r5"}`)}, "proof_invalid"},
		{"another index", bytes.Replace(whole, []byte("index 5"), []byte("index 4"), 1), verify.Options{Key: m.key}, "proof_invalid"},
		{"no proof", []byte("c2sp.org/tlog-proof@v1\nnonsense\n\n"), verify.Options{Key: m.key}, "proof_malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := verify.Proof(tc.text, tc.o)
			if res.OK || !strings.HasPrefix(res.Failures[0].Code, tc.code) {
				t.Fatalf("failures %v, want %s", res.Failures, tc.code)
			}
		})
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x20
		if verify.Proof(bad, verify.Options{Key: m.key}).OK && !bytes.EqualFold(bad, whole) {
			t.Errorf("byte %d changed: %q passes", i, bad[max(0, i-10):min(len(bad), i+10)])
		}
	}
}

// TestConsistent: a checkpoint continues an older one, and no other.
func TestConsistent(t *testing.T) {
	dir := t.TempDir()
	log, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, Mode: ledger.Audit, Origin: origin, Key: key(1), LockWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n int) []byte {
		for range n {
			if _, err := log.AppendLine(t.Context(), []byte(`{"a":1}`)); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		note := bytes.Clone(log.Checkpoint())
		if log, err = ledger.Open(t.Context(), ledger.Options{Dir: dir, Mode: ledger.Audit, Origin: origin, Key: key(1), LockWait: -1}); err != nil {
			t.Fatal(err)
		}
		return note
	}
	defer func() { log.Close() }()
	older, newer := add(3), add(8)
	hashes, err := log.Consistency(3, 11)
	if err != nil {
		t.Fatal(err)
	}
	var proof []string
	for _, h := range hashes {
		proof = append(proof, h.String())
	}
	k := vkey(t, origin, 1)
	if err := verify.Consistent(k, older, newer, proof); err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(proof)
	bad[0] = strings.Repeat("A", 43) + "="
	for name, err := range map[string]error{
		"the other way round": verify.Consistent(k, newer, older, proof),
		"without its proof":   verify.Consistent(k, older, newer, nil),
		"another hash":        verify.Consistent(k, older, newer, bad),
		"no hash":             verify.Consistent(k, older, newer, []string{`x"`}),
		"another key":         verify.Consistent(vkey(t, origin, 2), older, newer, proof),
	} {
		if err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func signer(t *testing.T, seed byte) (sign.Signer, string) {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key(seed))
	if err != nil {
		t.Fatal(err)
	}
	return sign.FromKey(s), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.PublicKey())))
}

// TestStatement: the signature must be of a key of the registry, over these
// bytes; a folder is as good as the worst of its files.
func TestStatement(t *testing.T) {
	bo, boKey := signer(t, 3)
	_, cyKey := signer(t, 4)
	people := []byte("bo " + boKey + " handle=bo kind=human\n")
	others := []byte("cy " + cyKey + " handle=cy kind=human\n")
	seal := func(words string) []byte {
		env, err := sign.Seal(t.Context(), gov.Statement{
			Decision: gov.DecideApprove, Stage: "review", Change: "CHANGE-1", Role: "owner", Rationale: words,
			Revision: gov.Revision{Change: gov.DigestOf([]byte("c"))}, Issued: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		}, bo)
		if err != nil {
			t.Fatal(err)
		}
		return env
	}
	env := seal("ok")
	dir := filepath.Join(t.TempDir(), "statements")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, gov.DigestOf(env).Hex()+".json")
	write(t, file, env)
	r := check(t, file, verify.Options{People: people})
	if !r.OK || r.Checked["signer"] != "bo" {
		t.Fatalf("failures %v, checked %v", r.Failures, r.Checked)
	}
	for _, tc := range []struct {
		name   string
		env    []byte
		people []byte
		code   string
	}{
		{"no registry", env, nil, "signer_unchecked"},
		{"nobody's key", env, others, "signer_unknown"},
		{"no registry at all", env, []byte("nonsense"), "registry"},
		{"other bytes", bytes.Replace(env, []byte("a"), []byte("b"), 1), people, ""},
		{"no envelope", []byte(`{"payloadType":"x"}`), people, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res := verify.Statement(tc.env, verify.Options{People: tc.people})
			if res.OK || !strings.HasPrefix(res.Failures[0].Code, tc.code) {
				t.Fatalf("failures %v, want %s", res.Failures, tc.code)
			}
		})
	}
	again := seal("again")
	write(t, filepath.Join(dir, gov.DigestOf(again).Hex()+".json"), again)
	if r := check(t, dir, verify.Options{People: people}); !r.OK || r.Checked["files"] != 2 {
		t.Fatalf("failures %v, checked %v", r.Failures, r.Checked)
	}
	write(t, filepath.Join(dir, strings.Repeat("0", 64)+".json"), again)
	if r := check(t, dir, verify.Options{People: people}); r.OK || r.Failures[0].Code != "statement_name_mismatch" {
		t.Fatalf("failures %v", r.Failures)
	}
}

// TestUnknown: what is none of it is an error, not a result.
func TestUnknown(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.txt")
	write(t, file, []byte("hello"))
	for path, code := range map[string]string{dir: "verify_unknown", file: "verify_unknown", filepath.Join(dir, "none"): "verify_not_found"} {
		if _, err := verify.Path(context.Background(), path, verify.Options{}); gov.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", path, err, code)
		}
	}
	m := governance(t, 1)
	if _, err := verify.Path(context.Background(), m.dir, verify.Options{Key: m.key, Genesis: "sha256:x"}); gov.CodeOf(err) != "digest_invalid" {
		t.Errorf("a genesis that is none: %v", err)
	}
	if _, err := verify.Path(context.Background(), m.dir, verify.Options{Key: "nonsense"}); err == nil {
		t.Error("a key that is none passes")
	}
}

// TestAuditLog takes the key that the log's writer keeps, and says so.
func TestAuditLog(t *testing.T) {
	dir := t.TempDir()
	log, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, Mode: ledger.Audit, Origin: origin, Key: key(1), LockWait: -1})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := log.AppendLine(t.Context(), []byte(`{"operation":"compose_section"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := check(t, dir, verify.Options{}); r.OK || !slices.Contains(codes(r), "signatures_unchecked") {
		t.Fatalf("without a key: %v", r.Failures)
	}
	if r := check(t, filepath.Join(dir, "audit.log"), verify.Options{Key: vkey(t, origin, 1)}); !r.OK {
		t.Fatalf("pinned: %v", r.Failures)
	}
	bare := t.TempDir()
	write(t, filepath.Join(bare, "audit.log"), read(t, filepath.Join(dir, "audit.log")))
	if r := check(t, bare, verify.Options{Key: vkey(t, origin, 1)}); r.OK || !slices.Contains(codes(r), "checkpoint_missing") {
		t.Fatalf("records that no checkpoint covers: %v", r.Failures)
	}
	path := filepath.Join(dir, "audit.log")
	write(t, path, bytes.Replace(read(t, path), []byte("compose"), []byte("composE"), 1))
	if r := check(t, dir, verify.Options{Key: vkey(t, origin, 1)}); r.OK {
		t.Fatal("a changed record passes")
	}
}

// TestNoInternalTypeIsExported: what others import must not name what they
// cannot.
func TestNoInternalTypeIsExported(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no sources", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		internal := map[string]bool{}
		for _, imp := range f.Imports {
			if strings.Contains(imp.Path.Value, "/internal/") {
				path := strings.Trim(imp.Path.Value, `"`)
				internal[filepath.Base(path)] = true
			}
		}
		look := func(where string, n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if id, ok := sel.X.(*ast.Ident); ok && internal[id.Name] {
						t.Errorf("%s: %s names %s.%s", name, where, id.Name, sel.Sel.Name)
					}
				}
				return true
			})
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() {
					look(d.Name.Name, d.Type)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() {
						look(ts.Name.Name, ts.Type)
					}
				}
			}
		}
	}
}
