package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

const testOrigin = "example.org/log"

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func testOptions(t testing.TB, mode Mode) Options {
	t.Helper()
	dir := t.TempDir()
	return Options{
		Dir: filepath.Join(dir, "log"), Mode: mode, Origin: testOrigin, Key: testKey(1),
		SecondPlace: filepath.Join(dir, "second"), LockWait: -1, CheckpointEvery: time.Hour,
	}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func testVerifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := NewVerifier(o.Origin, testKey(1).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// mustCheck runs the one checker of all promises.
func mustCheck(t testing.TB, o Options) Report {
	t.Helper()
	rep, err := Check(context.Background(), o.Dir, checkOptions(t, o))
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if !rep.OK() {
		t.Fatalf("check: %+v", rep.Failures)
	}
	return rep
}

func checkOptions(t testing.TB, o Options) CheckOptions {
	return CheckOptions{Mode: o.Mode, Verifier: testVerifier(t, o), SecondPlace: o.SecondPlace, FS: o.FS, Adds: nAdds}
}

// nAdds reads the body that entry makes: {"adds":{"s":2}}.
func nAdds(body []byte) (map[gov.Stream]int, error) {
	adds := map[gov.Stream]int{}
	_, rest, ok := strings.Cut(string(body), `"adds":{`)
	if !ok {
		return adds, nil
	}
	rest, _, _ = strings.Cut(rest, "}")
	for _, f := range strings.Split(rest, ",") {
		var n int
		name, num, ok := strings.Cut(f, ":")
		if !ok {
			continue
		}
		fmt.Sscan(num, &n)
		adds[gov.Stream(strings.Trim(name, `"`))] = n
	}
	return adds, nil
}

func entry(id string, adds map[gov.Stream]int, expect map[gov.Stream]uint64) Entry {
	var parts []string
	for s, n := range adds {
		parts = append(parts, fmt.Sprintf("%q:%d", s, n))
	}
	body := fmt.Sprintf(`{"adds":{%s},"why":%q}`, strings.Join(parts, ","), id)
	return Entry{ID: id, Body: []byte(body), Adds: adds, Expect: expect}
}

func mustAppend(t testing.TB, l *Log, e Entry) Receipt {
	t.Helper()
	r, err := l.Append(context.Background(), e)
	if err != nil {
		t.Fatalf("append %s: %v", e.ID, err)
	}
	return r
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if gov.CodeOf(err) != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
}

func auditLine(i int) []byte {
	return fmt.Appendf(nil, `{"n":%d,"operation":"compose_section","text":"%s"}`, i, strings.Repeat("x", i%97)+large(i))
}

func one(s string) map[gov.Stream]int { return map[gov.Stream]int{gov.Stream(s): 1} }

func TestGovernanceAppend(t *testing.T) {
	o := testOptions(t, Governance)
	l := mustOpen(t, o)
	r := mustAppend(t, l, entry("a", map[gov.Stream]int{"change/CHANGE-1": 2, "policy": 1}, map[gov.Stream]uint64{"policy": 0}))
	want := Receipt{
		Index: 0, Body: r.Body,
		Versions: map[gov.Stream]uint64{"change/CHANGE-1": 2, "policy": 1},
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Fatal(d)
	}
	line, err := l.Line(0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(line), `{"id":"a","streams":{"change/CHANGE-1":2,"policy":1},"record":`+string(r.Body)+`}`; got != want {
		t.Fatalf("line %s, want %s", got, want)
	}
	_, err = l.Append(context.Background(), entry("b", one("policy"), map[gov.Stream]uint64{"policy": 0}))
	wantCode(t, err, "stream_moved")
	if gov.KindOf(err) != gov.KindConflict || !strings.Contains(err.Error(), "policy") {
		t.Fatalf("conflict does not name its stream: %v", err)
	}
	again := mustAppend(t, l, Entry{ID: "a", Body: []byte(`{"other":1}`), Adds: one("policy")})
	want.Duplicate = true
	if d := cmp.Diff(want, again); d != "" {
		t.Fatal(d)
	}
	if v, _ := testVerifier(t, o).Checkpoint(l.Checkpoint()); v.Size != 1 || v.Root != tlog.RecordHash(line) {
		t.Fatalf("checkpoint %+v", v)
	}
	mustCheck(t, o)
	mustClose(t, l)
	mustCheck(t, o)
	l = mustOpen(t, o)
	again = mustAppend(t, l, entry("a", one("policy"), nil))
	if d := cmp.Diff(want, again); d != "" {
		t.Fatal(d)
	}
}

func TestAuditManyWriters(t *testing.T) {
	o := testOptions(t, Audit)
	o.SegmentBytes = 20_000
	o.CheckpointEvery = 2 * time.Millisecond
	l := mustOpen(t, o)
	const writers, each = 32, 40
	var mu sync.Mutex
	got := map[uint64]string{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				line := auditLine(w*1000 + i)
				index, err := l.AppendLine(context.Background(), line)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[index] = string(line)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(got) != writers*each {
		t.Fatalf("%d indexes for %d records", len(got), writers*each)
	}
	for line, err := range l.Lines(context.Background(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if got[line.Index] != string(line.Bytes) {
			t.Fatalf("record %d is %s, acknowledged was %s", line.Index, line.Bytes, got[line.Index])
		}
	}
	mustCheck(t, o)
	mustClose(t, l)
	rep := mustCheck(t, o)
	if rep.Records != writers*each || rep.Checkpoint != rep.Records || rep.Segments < 3 {
		t.Fatalf("report %+v", rep)
	}
}
