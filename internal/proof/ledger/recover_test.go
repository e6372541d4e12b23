package ledger

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

// memLog makes a closed log of n records on a memFS.
func memLog(t testing.TB, mode Mode, n int) (*memFS, Options) {
	t.Helper()
	m := newMemFS()
	o := memOptions(t.TempDir(), m, mode)
	l := mustOpen(t, o)
	for i := range n {
		if _, err := add(l, i); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
	return m, o
}

// lineStart is the offset of line i of the active file.
func lineStart(data []byte, i int) int {
	at := 0
	for ; i > 0; i-- {
		at += bytes.IndexByte(data[at:], '\n') + 1
	}
	return at
}

// TestOpenRefuses damages a log of ten signed records in ways that recovery
// must not repair.
func TestOpenRefuses(t *testing.T) {
	cases := []struct {
		name, code, says string
		damage           func(m *memFS, log *memFile)
	}{
		{"a byte in a record below the checkpoint", "log_damaged", "below 10", func(m *memFS, f *memFile) {
			f.data[lineStart(f.data, 5)-5] ^= 1
		}},
		{"a record that is no record", "log_damaged", "record 4", func(m *memFS, f *memFile) {
			f.data[lineStart(f.data, 4)] = 'x'
		}},
		{"two records exchanged with others of the same length", "log_damaged", "", func(m *memFS, f *memFile) {
			a, b := lineStart(f.data, 2), lineStart(f.data, 3)
			copy(f.data[a:b], bytes.ReplaceAll(f.data[a:b], []byte(`"id-2"`), []byte(`"id-X"`)))
			copy(f.data[a:b], bytes.ReplaceAll(f.data[a:b], []byte(`"n":2`), []byte(`"n":7`)))
		}},
		{"the last record cut off", "log_rolled_back", "record 9", func(m *memFS, f *memFile) {
			at := lineStart(f.data, 9)
			f.data, f.dirty = f.data[:at], f.dirty[:at]
		}},
		{"the last record torn", "log_rolled_back", "record 9", func(m *memFS, f *memFile) {
			at := len(f.data) - 5
			f.data, f.dirty = f.data[:at], f.dirty[:at]
		}},
		{"an empty file", "log_rolled_back", "record 0", func(m *memFS, f *memFile) { f.data, f.dirty = nil, nil }},
		{"damage behind the checkpoint, and a valid line behind it", "log_damaged", "record 10", func(m *memFS, f *memFile) {
			f.data = append(f.data, "{\"torn\":\n{\"valid\":1}\n"...)
			f.dirty = append(f.dirty, make([]byte, 21)...)
		}},
		{"both checkpoints of another log", "log_origin_mismatch", "other", func(m *memFS, f *memFile) {
			for _, base := range []string{"log/governance.checkpoint", "log/audit.checkpoint", "second/governance.checkpoint", "second/audit.checkpoint"} {
				if f := m.file(base); f != nil {
					f.data = bytes.ReplaceAll(f.data, []byte(testOrigin), []byte("other.org/log/x"))
				}
			}
		}},
		{"both slots damaged", "checkpoint_damaged", "damaged", func(m *memFS, f *memFile) {
			for path, f := range m.names {
				if strings.HasSuffix(path, ".checkpoint") {
					for i := range f.data {
						f.data[i] ^= 0x55
					}
				}
			}
		}},
	}
	for _, mode := range []Mode{Governance, Audit} {
		for _, c := range cases {
			for _, derived := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/derived=%v", mode, c.name, derived), func(t *testing.T) {
					m, o := memLog(t, mode, 10)
					if !derived {
						dropDerived(m)
					}
					c.damage(m, m.file(string(mode)+".log"))
					before := bytes.Clone(m.file(string(mode) + ".log").data)
					l, err := Open(context.Background(), o)
					if err == nil {
						l.Close()
					}
					if c.code == "log_origin_mismatch" && gov.CodeOf(err) == "checkpoint_damaged" {
						return // the slot's digest found it first
					}
					if gov.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
						t.Fatalf("got %v, want %s saying %q", err, c.code, c.says)
					}
					if !bytes.Equal(before, m.file(string(mode)+".log").data) {
						t.Fatal("a refused log was changed")
					}
				})
			}
		}
	}
}

func dropDerived(m *memFS) {
	for path := range m.names {
		base := filepath.Base(path)
		if strings.Contains(base, ".tile") || strings.HasSuffix(base, ".offsets") || strings.HasSuffix(base, ".state") {
			delete(m.names, path)
			delete(m.durable, path)
		}
	}
}

// TestSecondPlaceCatchesRollback restores an older copy of the whole directory,
// its checkpoint included: only the second place knows better.
func TestSecondPlaceCatchesRollback(t *testing.T) {
	o := testOptions(t, Governance)
	l := mustOpen(t, o)
	add(l, 0)
	mustClose(t, l)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(o.Dir)); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, o)
	add(l, 1)
	add(l, 2)
	mustClose(t, l)
	restore := func() {
		os.RemoveAll(o.Dir)
		if err := os.CopyFS(o.Dir, os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	_, err := Open(context.Background(), o)
	wantCode(t, err, "log_rolled_back")
	rep, err := Check(context.Background(), o.Dir, checkOptions(t, o))
	if err != nil || len(rep.Failures) != 1 || rep.Failures[0].Code != "log_rolled_back" {
		t.Fatalf("%v %+v", err, rep)
	}
	// The copy grows another way, as long as the lost one, without its second place.
	elsewhere := o
	elsewhere.SecondPlace = ""
	l = mustOpen(t, elsewhere)
	for i := 10; i < 14; i++ {
		add(l, i)
	}
	mustClose(t, l)
	_, err = Open(context.Background(), o)
	wantCode(t, err, "log_rolled_back")
	if !strings.Contains(err.Error(), "another way") {
		t.Fatal(err)
	}
}

// TestDerivedFilesAreRebuilt deletes, cuts and damages each derived file, and
// all of them, and compares what a restart makes of it.
func TestDerivedFilesAreRebuilt(t *testing.T) {
	for _, mode := range []Mode{Governance, Audit} {
		m, o := memLog(t, mode, 5000) // enough for a state and three levels
		names := []string{".tile0", ".tile1", ".offsets", ".state"}
		want := map[string][]byte{}
		for _, name := range names {
			f := m.file(string(mode) + name)
			if f == nil {
				t.Fatalf("%s has no %s", mode, name)
			}
			want[name] = bytes.Clone(f.data)
		}
		damage := map[string]func(name string){
			"delete": func(name string) {
				path := filepath.Join(o.Dir, string(mode)+name)
				delete(m.names, path)
			},
			"cut": func(name string) {
				f := m.file(string(mode) + name)
				f.data, f.dirty = f.data[:len(f.data)/2], f.dirty[:len(f.data)/2]
			},
			"flip": func(name string) {
				f := m.file(string(mode) + name)
				f.data[len(f.data)-3] ^= 1
			},
		}
		for how, do := range damage {
			for k := range len(names) + 1 {
				which := names
				if k < len(names) {
					which = names[k : k+1]
				}
				for _, name := range which {
					do(name)
				}
				readAll(t, m, o, 5000) // a reader helps itself
				l := mustOpen(t, o)
				if l.Size() != 5000 {
					t.Fatalf("size %d", l.Size())
				}
				mustClose(t, l)
				for _, name := range names {
					if !bytes.Equal(m.file(string(mode)+name).data, want[name]) {
						t.Fatalf("%s: after %s of %v, %s differs", mode, how, which, name)
					}
				}
				mustCheck(t, o)
			}
		}
	}
}

func readAll(t *testing.T, m *memFS, o Options, n int) {
	t.Helper()
	r, err := openReader(m, o.Dir, o.Mode)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, i := range []uint64{0, 63, 64, 2500, uint64(n) - 1} {
		line, err := r.Line(i)
		if err != nil || numberOf(o.Mode, line) != int(i) {
			t.Fatalf("line %d: %s %v", i, line, err)
		}
	}
	if o.Mode == Governance {
		if v, err := r.Head("b"); err != nil || v != uint64(n) {
			t.Fatalf("head %d, %v", v, err)
		}
		if i, ok, err := r.Find("id-77"); i != 77 || !ok || err != nil {
			t.Fatalf("find: %d %v %v", i, ok, err)
		}
	}
}

func TestFileReplacedUnderUs(t *testing.T) {
	for name, do := range map[string]func(path string) error{
		"another file": func(path string) error {
			b, _ := os.ReadFile(path)
			if err := os.WriteFile(path+".new", b, 0o644); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"removed": os.Remove,
		"grown": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("{}\n")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t, Governance)
			l := mustOpen(t, o)
			add(l, 0)
			if err := do(activePath(o.Dir, "governance")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := add(l, 1)
				wantCode(t, err, "log_replaced")
			}
			if l.Size() != 1 {
				t.Fatal("acknowledged all the same")
			}
		})
	}
}

func TestSealedSegments(t *testing.T) {
	o := testOptions(t, Audit)
	o.SegmentBytes = 4000
	var want []string
	for session := range 3 {
		l := mustOpen(t, o)
		for i := range 100 {
			if _, err := add(l, session*100+i); err != nil {
				t.Fatal(err)
			}
			want = append(want, string(auditLine(session*100+i)))
		}
		mustClose(t, l)
	}
	files, _ := filepath.Glob(filepath.Join(o.Dir, "audit-*.log"))
	if len(files) < 4 {
		t.Fatalf("%d segments", len(files))
	}
	var all []byte
	for _, f := range append(files, activePath(o.Dir, "audit")) { // a glob sorts them
		b, _ := os.ReadFile(f)
		if first, ok := parseSealed("audit", filepath.Base(f)); ok && first != uint64(bytes.Count(all, []byte{'\n'})) {
			t.Fatalf("%s begins with record %d", f, bytes.Count(all, []byte{'\n'}))
		}
		all = append(all, b...)
	}
	if d := cmp.Diff(strings.Join(want, "\n")+"\n", string(all)); d != "" {
		t.Fatal(d)
	}
	mustCheck(t, o)
	// Damage in a sealed segment, at the beginning of a line, without any state.
	os.Remove(statePath(o.Dir, Audit))
	b, _ := os.ReadFile(files[1])
	b[0] = 'x'
	os.WriteFile(files[1], b, 0o644)
	first, _ := parseSealed("audit", filepath.Base(files[1]))
	_, err := Open(context.Background(), o)
	wantCode(t, err, "log_damaged")
	if !strings.Contains(err.Error(), fmt.Sprintf("record %d ", first)) {
		t.Fatalf("%v does not name record %d", err, first)
	}
}

func TestCancelledAppend(t *testing.T) {
	o := testOptions(t, Audit)
	l := mustOpen(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := l.AppendLine(ctx, auditLine(0))
	wantCode(t, err, "append_cancelled")
	if gov.KindOf(err) != gov.KindTimeout || l.Size() != 0 {
		t.Fatalf("%v, size %d", err, l.Size())
	}
	mustClose(t, l)
	_, err = l.AppendLine(context.Background(), auditLine(0))
	wantCode(t, err, "log_closed")
}

func TestGenesis(t *testing.T) {
	o := testOptions(t, Governance)
	l := mustOpen(t, o)
	r, print, err := l.Genesis(t.Context(), entry("genesis", one("log/x"), nil))
	if err != nil || r.Index != 0 {
		t.Fatal(err)
	}
	line, _ := l.Line(0)
	if print != Fingerprint(line) {
		t.Fatal("fingerprint is not that of record 0")
	}
	if r, again, err := l.Genesis(t.Context(), entry("genesis", one("log/x"), nil)); err != nil || again != print || !r.Duplicate {
		t.Fatalf("again: %+v %v", r, err)
	}
	_, _, err = l.Genesis(t.Context(), entry("other", one("log/x"), nil))
	wantCode(t, err, "log_not_empty")
	co := checkOptions(t, o)
	co.Genesis = print
	if rep, err := Check(t.Context(), o.Dir, co); err != nil || !rep.OK() || rep.Genesis != print || len(rep.Unchecked) != 0 {
		t.Fatalf("%+v %v", rep, err)
	}
	co.Genesis = gov.DigestOf(nil)
	if rep, _ := Check(t.Context(), o.Dir, co); len(rep.Failures) != 1 || rep.Failures[0].Code != "genesis_mismatch" {
		t.Fatalf("%+v", rep)
	}
}

// TestCheckFinds breaks each promise in a closed log and wants its code.
func TestCheckFinds(t *testing.T) {
	flip := func(base string, at func(data []byte) int) func(m *memFS) {
		return func(m *memFS) {
			f := m.file(base)
			f.data[at(f.data)] ^= 1
		}
	}
	end := func(data []byte) int { return len(data) - 1 }
	record := func(i, off int) func([]byte) int {
		return func(data []byte) int { return lineStart(data, i) + off }
	}
	cases := []struct {
		name, code string
		index      uint64
		damage     func(m *memFS)
	}{
		{"body", "tile_mismatch", 7, flip("governance.log", func(d []byte) int { return lineStart(d, 8) - 5 })},
		{"root", "checkpoint_mismatch", 5000, flip("governance.log", func(d []byte) int { return lineStart(d, 8) - 5 })},
		{"second place", "log_rolled_back", 5000, flip("governance.log", func(d []byte) int { return lineStart(d, 8) - 5 })},
		{"not JSON", "line_invalid", 9, flip("governance.log", record(9, 0))},
		{"version", "stream_version_invalid", 3, flip("governance.log", func(d []byte) int {
			return lineStart(d, 3) + bytes.Index(d[lineStart(d, 3):], []byte(`"b":`)) + 4
		})},
		{"id", "record_id_repeated", 11, func(m *memFS) {
			d := m.file("governance.log").data
			copy(d[lineStart(d, 11):], `{"id":"id-10`)
		}},
		{"leaf tile", "tile_mismatch", 4999, flip("governance.tile0", end)},
		{"tile level 1", "tile_mismatch", 4863, flip("governance.tile1", end)},
		{"offsets", "offset_mismatch", 4992, flip("governance.offsets", end)},
		{"no tiles", "", 0, func(m *memFS) { m.file("governance.tile0").data = nil }},
		{"state", "state_mismatch", 5000, func(m *memFS) {
			m.dead = false
			b, root, _ := loadState(m, filepath.Dir(pathOf(m, "governance.state")), Governance)
			b.heads["b"]++
			saveState(m, filepath.Dir(pathOf(m, "governance.state")), Governance, b, root)
		}},
		{"signature", "signature_invalid", 5000, func(m *memFS) {
			for _, base := range []string{"governance.checkpoint"} {
				s, msg, _ := openSlots(m, filepath.Dir(pathOf(m, base)), Governance)
				i := bytes.LastIndexByte(msg, ' ') + 20
				msg[i] = 'A' + (msg[i]-'A'+1)%26
				s.put(msg)
				s.put(msg)
			}
		}},
		{"no checkpoint", "checkpoint_missing", 5000, func(m *memFS) { delete(m.names, pathOf(m, "log/governance.checkpoint")) }},
		{"cut", "log_rolled_back", 4999, func(m *memFS) {
			f := m.file("governance.log")
			at := lineStart(f.data, 4999)
			f.data, f.dirty = f.data[:at], f.dirty[:at]
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMemFS()
			o := memOptions(filepath.Join(t.TempDir(), "log"), m, Governance)
			if err := os.MkdirAll(o.Dir, 0o755); err != nil {
				t.Fatal(err)
			}
			fillFrom(t, m, o)
			c.damage(m)
			rep, err := Check(t.Context(), o.Dir, checkOptions(t, o))
			if err != nil {
				t.Fatal(err)
			}
			if c.code == "" { // only said: what is derived proves nothing
				if d := cmp.Diff([]string{"governance.tile0"}, rep.Derived); d != "" || !rep.OK() {
					t.Fatalf("%s %+v", d, rep.Failures)
				}
				return
			}
			for _, f := range rep.Failures {
				if f.Code == c.code && f.Index == c.index {
					return
				}
			}
			t.Fatalf("no %s at %d in %+v", c.code, c.index, rep.Failures)
		})
	}
}

func pathOf(m *memFS, suffix string) string {
	for path := range m.names {
		if strings.HasSuffix(path, suffix) && !strings.HasPrefix(path, "/second") {
			return path
		}
	}
	return ""
}

// golden is a log of 5000 records, made once.
var golden struct {
	dir map[string][]byte
}

func fillFrom(t *testing.T, m *memFS, o Options) {
	t.Helper()
	if golden.dir == nil {
		l := mustOpen(t, o)
		for i := range 5000 {
			if _, err := add(l, i); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, l)
		golden.dir = map[string][]byte{}
		for path, f := range m.names {
			golden.dir[strings.TrimPrefix(path, o.Dir)] = bytes.Clone(f.data)
		}
		return
	}
	for rel, data := range golden.dir {
		path := o.Dir + rel
		if strings.HasPrefix(rel, "/second") {
			path = rel
		}
		m.names[path] = &memFile{fs: m, data: bytes.Clone(data), dirty: make([]byte, len(data))}
	}
}

func TestCheckTail(t *testing.T) {
	m, o := memLog(t, Governance, 5000)
	l := mustOpen(t, o)
	for i := 5000; i < 5100; i++ {
		add(l, i)
	}
	mustClose(t, l)
	rep, err := CheckTail(t.Context(), o.Dir, checkOptions(t, o))
	if err != nil || !rep.OK() || rep.From != 4864 || rep.Records != 5100 {
		t.Fatalf("%+v %v", rep, err)
	}
	f := m.file("governance.log")
	f.data[lineStart(f.data, 5050)-5] ^= 1
	if rep, _ = CheckTail(t.Context(), o.Dir, checkOptions(t, o)); rep.OK() {
		t.Fatal("a change in the tail is not found")
	}
	f.data[lineStart(f.data, 5050)-5] ^= 1
	f.data[lineStart(f.data, 4900)-5] ^= 1
	if rep, _ = CheckTail(t.Context(), o.Dir, checkOptions(t, o)); rep.OK() || rep.From != 0 {
		t.Fatalf("a change in the last tile is not found: %+v", rep)
	}
}
