package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// openTest opens a log in a fresh directory, or in c.Dir when it is set.
func openTest(t testing.TB, c Config) *Log {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "log")
	}
	c.Origin = "test.example/audit"
	if c.SecondPlace == "" {
		c.SecondPlace = filepath.Join(filepath.Dir(c.Dir), "second")
	}
	l, err := Open(c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func sample() Record {
	return Record{
		Timestamp: time.Date(2025, 1, 8, 10, 0, 0, 0, time.UTC), Operation: "compose_section",
		SectionSpec:     json.RawMessage(`{"name":"Intro","bars":32}`),
		ModulesLoaded:   []Module{{"kick", "1.0.0", "contracts/kick.json"}},
		ManifestVersion: "1.2.0", SeedUsed: 12345, Result: Success, DurationMS: 123,
	}
}

// specLine is the example of the specification on one line.
const specLine = `{"timestamp":"2025-01-08T10:00:00Z","operation":"compose_section","section_spec":{"name":"Intro","bars":32},` +
	`"modules_loaded":[{"name":"kick","version":"1.0.0","interface_schema":"contracts/kick.json"}],"manifest_version":"1.2.0",` +
	`"seed_used":12345,"result":"success","duration_ms":123,"metadata":{}}`

// lines reads the file itself, not through the code under test.
func lines(t testing.TB, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

func TestAppendWritesTheSpecsLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openTest(t, Config{Dir: dir})
	index, err := l.Append(t.Context(), sample())
	if err != nil || index != 0 {
		t.Fatalf("append: %d, %v", index, err)
	}
	if diff := cmp.Diff([]string{specLine}, lines(t, dir)); diff != "" {
		t.Error(diff)
	}
	e, err := l.Entry(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	want.Metadata = json.RawMessage("{}")
	if diff := cmp.Diff(want, e.Record); diff != "" {
		t.Error(diff)
	}
}

func TestReopenContinues(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	for want := range uint64(3) {
		l := openTest(t, Config{Dir: dir})
		if index, err := l.Append(t.Context(), sample()); err != nil || index != want {
			t.Fatalf("append: %d, %v", index, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "audit.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	if err := os.Remove(filepath.Join(dir, "audit.key")); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Config{Dir: dir, Origin: "test.example/audit", SecondPlace: NoSecondPlace})
	if ErrorCode(err) != "audit_key_missing" {
		t.Errorf("a log whose key is gone: %v", err)
	}
}

func TestOpenRefusesOlderCopy(t *testing.T) {
	root := t.TempDir()
	dir, second := filepath.Join(root, "log"), filepath.Join(root, "second")
	write := func(n int) {
		l, err := Open(Config{Dir: dir, Origin: "test.example/audit", SecondPlace: second})
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := l.Append(t.Context(), sample()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(2)
	older := filepath.Join(root, "older")
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	write(2)
	_, err := Open(Config{Dir: older, Origin: "test.example/audit", SecondPlace: second})
	if ErrorKind(err) != "integrity" {
		t.Errorf("an older copy was opened: %v", err)
	}
}

func TestSecondWriterIsKeptOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	openTest(t, Config{Dir: dir})
	_, err := Open(Config{Dir: dir, Origin: "test.example/audit", SecondPlace: NoSecondPlace, LockWait: -1})
	if ErrorKind(err) != "conflict" {
		t.Errorf("second writer: %v", err)
	}
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"no dir":           {Origin: "o"},
		"no origin":        {Dir: "x"},
		"unknown oversize": {Dir: "x", Origin: "o", Oversize: 7},
		"no slash":         {Dir: "x", Origin: "o", Redact: []string{"metadata"}},
		"outside":          {Dir: "x", Origin: "o", Redact: []string{"/operation"}},
		"bad escape":       {Dir: "x", Origin: "o", Redact: []string{"/metadata/a~2"}},
		"tilde at the end": {Dir: "x", Origin: "o", Redact: []string{"/metadata/a~"}},
		"empty pointer":    {Dir: "x", Origin: "o", Redact: []string{""}},
	} {
		if _, err := Open(c); ErrorKind(err) != "invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestThousandsOfConcurrentCallers(t *testing.T) {
	const callers, each = 2000, 3
	dir := filepath.Join(t.TempDir(), "log")
	l := openTest(t, Config{Dir: dir})
	got := make([][]uint64, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				r := sample()
				r.Metadata = json.RawMessage(fmt.Sprintf(`{"who":"%d/%d"}`, c, i))
				index, err := l.Append(context.Background(), r)
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
				got[c] = append(got[c], index)
			}
		})
	}
	wg.Wait()
	all := lines(t, dir)
	if len(all) != callers*each {
		t.Fatalf("%d lines", len(all))
	}
	for c := range got {
		for i, index := range got[c] {
			if want := fmt.Sprintf(`"metadata":{"who":"%d/%d"}}`, c, i); !strings.HasSuffix(all[index], want) {
				t.Fatalf("record %d is not that of caller %d/%d", index, c, i)
			}
		}
	}
}

func TestReaderSeesWhatIsNotSignedYet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := openTest(t, Config{Dir: dir})
	for range 5 {
		if _, err := l.Append(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "audit.log")} {
		r, err := OpenReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n := uint64(2)
		for e, err := range r.Entries(t.Context(), n) {
			if err != nil || e.Index != n || string(e.Line) != specLine {
				t.Fatalf("entry %d: %+v, %v", n, e, err)
			}
			n++
		}
		if n != 5 {
			t.Errorf("the walk ended at %d", n)
		}
		if _, err := r.Entry(t.Context(), 5); ErrorKind(err) != "not_found" {
			t.Errorf("record 5: %v", err)
		}
	}
	if _, err := OpenReader(filepath.Join(dir, "nowhere")); ErrorKind(err) != "not_found" {
		t.Errorf("no log: %v", err)
	}
}
