package audit

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock steps by 250 ms a reading.
func clock() func() time.Time {
	at := time.Date(2025, 1, 8, 10, 0, 0, 0, time.UTC).Add(-250 * time.Millisecond)
	return func() time.Time {
		at = at.Add(250 * time.Millisecond)
		return at
	}
}

type coded struct{ error }

func (coded) ErrorCode() string { return "too_loud" }

func TestOperationRecords(t *testing.T) {
	head := `{"timestamp":"2025-01-08T10:00:00Z","operation":"mix","section_spec":{"a":"<b>"},"modules_loaded":`
	for name, tt := range map[string]struct {
		fn      func(context.Context, *Op) error
		want    string
		wantErr string
		panics  any
	}{
		"success": {
			fn: func(_ context.Context, op *Op) error {
				op.ModulesLoaded = []Module{{"kick", "1.0.0", "c.json"}}
				op.ManifestVersion, op.SeedUsed = "2.0.0", 7
				return errors.Join(op.Set("x", 1), op.Set("y", "<&>"), op.Set("x", 2))
			},
			want: head + `[{"name":"kick","version":"1.0.0","interface_schema":"c.json"}],"manifest_version":"2.0.0","seed_used":7,` +
				`"result":"success","duration_ms":250,"metadata":{"x":2,"y":"<&>"}}`,
		},
		"failure": {
			fn:      func(context.Context, *Op) error { return errors.New("out of tune\x00\xff") },
			want:    head + "[],\"manifest_version\":\"\",\"seed_used\":0,\"result\":\"failure\",\"duration_ms\":250,\"metadata\":{\"error\":{\"message\":\"out of tune\uFFFD\"}}}",
			wantErr: "out of tune\x00\xff",
		},
		"failure with a code": {
			fn:      func(context.Context, *Op) error { return coded{errors.New("no")} },
			want:    head + `[],"manifest_version":"","seed_used":0,"result":"failure","duration_ms":250,"metadata":{"error":{"code":"too_loud","message":"no"}}}`,
			wantErr: "no",
		},
		"panic": {
			fn:     func(context.Context, *Op) error { panic("boom") },
			want:   head + `[],"manifest_version":"","seed_used":0,"result":"failure","duration_ms":250,"metadata":{"error":{"message":"panic: boom"},"panic":true}}`,
			panics: "boom",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l := openTest(t, Config{Dir: dir, Now: clock()})
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a caller that has gone gets its record all the same
			var err error
			var panicked any
			func() {
				defer func() { panicked = recover() }()
				err = l.Operation(ctx, "mix", map[string]string{"a": "<b>"}, tt.fn)
			}()
			if diff := cmp.Diff([]string{tt.want}, lines(t, dir)); diff != "" {
				t.Error(diff)
			}
			if got := errText(err); got != tt.wantErr || panicked != tt.panics {
				t.Errorf("error %q, panic %v", got, panicked)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestOperationEndsItsGoroutine(t *testing.T) {
	l, m := memoryLog(t, Config{Now: clock()})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Operation(context.Background(), "mix", struct{}{}, func(context.Context, *Op) error { runtime.Goexit(); return nil })
	}()
	<-done
	if len(m.kept) != 1 || !strings.Contains(string(m.kept[0]), `"result":"failure"`) {
		t.Errorf("%q", m.kept)
	}
}

func TestRecordedTellsTheIndex(t *testing.T) {
	l := openTest(t, Config{})
	for want := range uint64(3) {
		got := uint64(99)
		err := l.Operation(t.Context(), "mix", struct{}{}, func(_ context.Context, op *Op) error {
			op.Recorded = func(i uint64) { got = i }
			return nil
		})
		if err != nil || got != want {
			t.Errorf("%d, %v", got, err)
		}
	}
}

// full is a log that takes nothing.
type full struct{}

var errFull = errors.New("disk full")

func (full) AppendLine(context.Context, []byte) (uint64, error) { return 0, errFull }

func TestOperationFailsWithoutItsRecord(t *testing.T) {
	own := errors.New("own")
	open := func(lost func(Record, error)) *Log {
		l, _ := memoryLog(t, Config{Now: clock(), AllowLoss: lost})
		l.out = full{}
		return l
	}
	run := func(l *Log, result error) error {
		return l.Operation(t.Context(), "mix", struct{}{}, func(context.Context, *Op) error { return result })
	}
	if err := run(open(nil), nil); !errors.Is(err, errFull) {
		t.Errorf("success without a record: %v", err)
	}
	if err := run(open(nil), own); !errors.Is(err, errFull) || !errors.Is(err, own) {
		t.Errorf("failure without a record: %v", err)
	}
	var lost []Record
	allow := open(func(r Record, err error) {
		if !errors.Is(err, errFull) {
			t.Errorf("lost: %v", err)
		}
		lost = append(lost, r)
	})
	if err := run(allow, nil); err != nil {
		t.Errorf("allowed loss: %v", err)
	}
	if err := run(allow, own); err != own {
		t.Errorf("allowed loss, own error: %v", err)
	}
	if len(lost) != 2 || lost[0].Result != Success || lost[1].Result != Failure {
		t.Errorf("told of %+v", lost)
	}
	defer func() {
		if text, _ := recover().(error); text == nil || !errors.Is(text, errFull) || !strings.Contains(text.Error(), "boom") {
			t.Errorf("panic without a record: %v", text)
		}
	}()
	_ = open(nil).Operation(t.Context(), "mix", struct{}{}, func(context.Context, *Op) error { panic("boom") })
}

func TestOperationRefusesItsInput(t *testing.T) {
	l, m := memoryLog(t, Config{Now: clock()})
	for name, spec := range map[string]any{
		"no object": []int{1}, "not JSON": json.RawMessage(`{`), "cannot be marshalled": func() {}, "lone surrogate": json.RawMessage(`{"a":"\ud800"}`),
	} {
		ran := false
		err := l.Operation(t.Context(), "mix", spec, func(context.Context, *Op) error { ran = true; return nil })
		if ErrorKind(err) != "invalid" || ran {
			t.Errorf("%s: %v, ran %v", name, err, ran)
		}
	}
	err := l.Operation(t.Context(), "mix", struct{}{}, func(_ context.Context, op *Op) error { return op.Set("a", func() {}) })
	if ErrorKind(err) != "invalid" || len(m.kept) != 1 {
		t.Errorf("bad metadata: %v, %d records", err, len(m.kept))
	}
}

func TestClosedLog(t *testing.T) {
	l := openTest(t, Config{})
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	ran := false
	err := l.Operation(t.Context(), "mix", struct{}{}, func(context.Context, *Op) error { ran = true; return nil })
	if ErrorCode(err) != "audit_closed" || ran {
		t.Errorf("%v, ran %v", err, ran)
	}
	if _, err := l.Append(t.Context(), sample()); ErrorCode(err) != "audit_closed" {
		t.Error(err)
	}
}

func TestLongErrorsAreClipped(t *testing.T) {
	l, m := memoryLog(t, Config{Now: clock()})
	_ = l.Operation(t.Context(), "mix", struct{}{}, func(context.Context, *Op) error { return errors.New(strings.Repeat("é", 5000)) })
	r, err := ParseRecord(m.kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Metadata); n > maxMessage+40 || !strings.Contains(string(r.Metadata), "é…") {
		t.Errorf("%d bytes", n)
	}
}
