package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// full is true in the long campaigns.
var full = os.Getenv("GOVERN_TEST_FULL") == "1"

// memOptions is a log on a memFS; the lock file stands in a real directory.
func memOptions(dir string, m *memFS, mode Mode) Options {
	var ticks atomic.Int64
	return Options{
		Dir: dir, Mode: mode, Origin: testOrigin, Key: testKey(1), SecondPlace: "/second",
		LockWait: -1, CheckpointEvery: time.Hour, FS: m,
		Now: func() time.Time { return time.Unix(1_800_000_000, ticks.Add(1)) },
	}
}

// add appends number i in the log's mode.
func add(l *Log, i int) (uint64, error) {
	if l.Mode() == Audit {
		return l.AppendLine(context.Background(), auditLine(i))
	}
	e := entry(fmt.Sprint("id-", i), map[gov.Stream]int{"a": 1 + i%2, "b": 1}, nil)
	if large(i) != "" {
		e.Body = append(e.Body[:len(e.Body)-1], `,"large":"`+large(i)+`"}`...)
	}
	r, err := l.Append(context.Background(), e)
	return r.Index, err
}

// large pads a few records so that their batch is no small one, whose sync goes
// another way.
func large(i int) string {
	if i%50 == 3 {
		return strings.Repeat("y", 50_000)
	}
	return ""
}

// numberOf is i of the line that add wrote.
func numberOf(mode Mode, line []byte) (i int) {
	if mode == Audit {
		fmt.Sscanf(string(line), `{"n":%d`, &i)
	} else {
		fmt.Sscanf(string(line), `{"id":"id-%d`, &i)
	}
	return i
}

// TestFaultAtEveryOperation lets each operation of a run fail in each way. What
// was acknowledged must be there after a crash and a restart, and every promise
// must hold.
func TestFaultAtEveryOperation(t *testing.T) {
	for _, mode := range []Mode{Governance, Audit} {
		for how := range faultEnd {
			t.Run(fmt.Sprint(mode, "/", how), func(t *testing.T) {
				hits := map[string]bool{}
				for at := 1; ; at++ {
					m := newMemFS()
					m.faultAt, m.fault = at, how
					hit := faultRun(t, m, mode, uint64(at))
					if hit == "" {
						break
					}
					hits[hit] = true
				}
				for _, want := range []string{"write " + string(mode) + ".log", "sync " + string(mode) + ".log", "sync " + string(mode) + ".checkpoint"} {
					if !hits[want] {
						t.Fatalf("no fault ever hit %q; hits: %v", want, hits)
					}
				}
			})
		}
	}
}

func faultRun(t *testing.T, m *memFS, mode Mode, seed uint64) (hit string) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	dir := t.TempDir()
	o := memOptions(dir, m, mode)
	acked := map[uint64]int{}
	broken := false
	for session := range 3 {
		l, err := Open(context.Background(), o)
		if err != nil {
			continue // the fault hit opening: try again
		}
		for i := session * 10; i < session*10+4; i++ {
			index, err := add(l, i)
			if err == nil && broken {
				t.Fatalf("at %d (%s): acknowledged after the log broke", m.faultAt, m.hit)
			}
			if err == nil {
				acked[index] = i
			}
			broken = gov.CodeOf(err) == "log_broken"
		}
		broken = false
		if session != 1 {
			l.Close() // with the fault it may fail
			continue
		}
		n := m.crash(r)
		l.Close()
		n.ops, n.faultAt, n.fault, n.hit = m.ops, m.faultAt, m.fault, m.hit
		m = n
		o.FS = m
	}
	m.faultAt = 0
	n := m.crash(r)
	o.FS = n
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("fault %d (%s): the log does not open again: %v", seed, m.hit, err)
	}
	if _, err := add(l, 99); err != nil {
		t.Fatal(err)
	}
	for index, i := range acked {
		line, err := l.Line(index)
		if err != nil || numberOf(mode, line) != i {
			t.Fatalf("fault %d (%s): record %d was acknowledged as %d, is %s (%v)", seed, m.hit, index, i, line, err)
		}
	}
	mustClose(t, l)
	mustCheck(t, o)
	return m.hit
}

func TestDiskFullThenFree(t *testing.T) {
	for _, mode := range []Mode{Governance, Audit} {
		m := newMemFS()
		o := memOptions(t.TempDir(), m, mode)
		l := mustOpen(t, o)
		if _, err := add(l, 0); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.fault = noSpaceUntil
		m.mu.Unlock()
		_, err := add(l, 1)
		wantCode(t, err, "disk_full")
		m.mu.Lock()
		m.fault = failed
		m.mu.Unlock()
		if index, err := add(l, 2); err != nil || index != 1 {
			t.Fatalf("after space is free again: %d, %v", index, err)
		}
		m.mu.Lock()
		m.faultAt, m.fault = m.ops+1, short
		m.mu.Unlock()
		_, err = add(l, 3)
		wantCode(t, err, "disk_full")
		if index, err := add(l, 4); err != nil || index != 2 {
			t.Fatalf("after a short write: %d, %v", index, err)
		}
		mustClose(t, l)
		mustCheck(t, o)
	}
}

// TestBothPlacesBeforeAck: no acknowledgement while one place cannot be synced,
// and none after.
func TestBothPlacesBeforeAck(t *testing.T) {
	for _, place := range []string{"first", "second"} {
		m := newMemFS()
		o := memOptions(t.TempDir(), m, Governance)
		l := mustOpen(t, o)
		add(l, 0)
		m.mu.Lock()
		m.noSync = map[string]string{"first": slotsPath(o.Dir, Governance), "second": "/second"}[place]
		m.mu.Unlock()
		_, err := add(l, 1)
		wantCode(t, err, "log_broken")
		m.mu.Lock()
		m.noSync = ""
		m.mu.Unlock()
		_, err = add(l, 2)
		wantCode(t, err, "log_broken")
		if l.Size() != 1 {
			t.Fatalf("%s: size %d", place, l.Size())
		}
		if err := l.Close(); gov.CodeOf(err) != "log_broken" {
			t.Fatalf("%s: close: %v", place, err)
		}
		l = mustOpen(t, o)
		if r := mustAppend(t, l, entry("id-1", one("a"), nil)); r.Index != 1 || !r.Duplicate {
			t.Fatalf("%s: the record that was persisted all the same: %+v", place, r)
		}
		mustClose(t, l)
		mustCheck(t, o)
	}
}

// TestTornTail cuts the last record at every byte.
func TestTornTail(t *testing.T) {
	for _, mode := range []Mode{Governance, Audit} {
		o := testOptions(t, mode)
		l := mustOpen(t, o)
		for i := range 3 {
			if _, err := add(l, i); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, l)
		path := activePath(o.Dir, string(mode))
		before, _ := os.ReadFile(path)
		// A fourth record that no checkpoint covers.
		line := auditLine(4)
		if mode == Governance {
			line = appendRecord(nil, "id-3", map[gov.Stream]uint64{"a": 6, "b": 4}, []byte(`{"adds":{"a":2,"b":1}}`))
		}
		line = append(line, '\n')
		for cut := range len(line) + 1 {
			if err := os.WriteFile(path, append(slices.Clone(before), line[:cut]...), 0o644); err != nil {
				t.Fatal(err)
			}
			l, err := Open(context.Background(), o)
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			size, torn := uint64(3), l.Opened().Torn
			switch {
			case cut == len(line):
				size = 4
				fallthrough
			case cut == 0:
				if torn != nil {
					t.Fatalf("cut at %d: torn %+v", cut, torn)
				}
			case torn == nil || torn.Length != int64(cut) || torn.Digest != gov.DigestOf(line[:cut]) || torn.Index != 3:
				t.Fatalf("cut at %d: torn %+v", cut, torn)
			}
			if l.Size() != size || l.Opened().Recovered != size-3 {
				t.Fatalf("cut at %d: size %d, %+v", cut, l.Size(), l.Opened())
			}
			mustClose(t, l)
			rep := mustCheck(t, o)
			if want := min(cut, len(line)-1); len(rep.Torn) != want {
				t.Fatalf("cut at %d: %d torn files", cut, len(rep.Torn))
			}
		}
	}
}

// TestStateMachine compares the log, step by step, with a list in memory, over
// crashes, faults, restarts, key changes and readers.
func TestStateMachine(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		sub := fmt.Sprintf("%s/%d", dir, n)
		if err := os.Mkdir(sub, 0o755); err != nil {
			rt.Fatal(err)
		}
		s := &machine{t: t, m: newMemFS(), key: 1, heads: map[gov.Stream]uint64{}, ids: map[string]uint64{}}
		s.o = memOptions(sub, s.m, Governance)
		s.open(rt)
		defer func() { s.l.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"append":  s.append,
			"repeat":  s.repeat,
			"batch":   s.batch,
			"crash":   s.crash,
			"fault":   s.fault,
			"restart": s.restart,
			"rotate":  s.rotate,
			"":        s.check,
		})
	})
}

// machine is the oracle: what a log is, restated without its code.
type machine struct {
	t     *testing.T
	m     *memFS
	o     Options
	l     *Log
	key   byte
	lines []string
	heads map[gov.Stream]uint64
	ids   map[string]uint64
	turns []Turn
	seq   int
}

func (s *machine) open(rt *rapid.T) {
	s.o.FS = s.m
	s.o.Key = testKey(s.key)
	l, err := Open(context.Background(), s.o)
	if err != nil {
		rt.Fatalf("open: %v", err)
	}
	s.l = l
}

var streamNames = []gov.Stream{"change/CHANGE-1", "policy", "target/prod"}

func (s *machine) draw(rt *rapid.T) Entry {
	s.seq++
	adds, expect := map[gov.Stream]int{}, map[gov.Stream]uint64{}
	for _, name := range streamNames {
		if n := rapid.IntRange(0, 2).Draw(rt, "adds"); n > 0 {
			adds[name] = n
		}
		switch rapid.IntRange(0, 5).Draw(rt, "expect") {
		case 0, 1, 2:
			expect[name] = s.heads[name]
		case 3:
			expect[name] = s.heads[name] + 1
		}
	}
	return entry(fmt.Sprint("id-", s.seq), adds, expect)
}

// accept enters what an accepted entry means.
func (s *machine) accept(e Entry) (index uint64, versions map[gov.Stream]uint64) {
	versions = map[gov.Stream]uint64{}
	var parts []string
	for _, name := range streamNames { // sorted
		if n := e.Adds[name]; n > 0 {
			s.heads[name] += uint64(n)
			versions[name] = s.heads[name]
			parts = append(parts, fmt.Sprintf("%q:%d", name, s.heads[name]))
		}
	}
	index = uint64(len(s.lines))
	s.ids[e.ID] = index
	s.lines = append(s.lines, fmt.Sprintf(`{"id":%q,"streams":{%s},"record":%s}`, e.ID, strings.Join(parts, ","), e.Body))
	return index, versions
}

func (s *machine) holds(e Entry) bool {
	for name, v := range e.Expect {
		if s.heads[name] != v {
			return false
		}
	}
	return true
}

func (s *machine) append(rt *rapid.T) {
	e := s.draw(rt)
	r, err := s.l.Append(context.Background(), e)
	if !s.holds(e) {
		if gov.CodeOf(err) != "stream_moved" {
			rt.Fatalf("expected a conflict, got %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatalf("append: %v", err)
	}
	index, versions := s.accept(e)
	if r.Index != index || r.Duplicate || fmt.Sprint(r.Versions) != fmt.Sprint(versions) {
		rt.Fatalf("receipt %+v, want index %d, versions %v", r, index, versions)
	}
}

func (s *machine) repeat(rt *rapid.T) {
	if len(s.ids) == 0 {
		rt.Skip("nothing to repeat")
	}
	id := rapid.SampledFrom(slices.Sorted(keysOf(s.ids))).Draw(rt, "id")
	r, err := s.l.Append(context.Background(), entry(id, one("policy"), map[gov.Stream]uint64{"policy": 1 << 40}))
	if err != nil || !r.Duplicate || r.Index != s.ids[id] || !strings.HasSuffix(s.lines[r.Index], string(r.Body)+"}") {
		rt.Fatalf("repeat of %s: %+v, %v", id, r, err)
	}
}

// batch appends from several goroutines that all expect the same version: just
// one can win.
func (s *machine) batch(rt *rapid.T) {
	const racers = 4
	entries := make([]Entry, racers)
	for i := range entries {
		s.seq++
		entries[i] = entry(fmt.Sprint("id-", s.seq), one("policy"), map[gov.Stream]uint64{"policy": s.heads["policy"]})
	}
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() { _, errs[i] = s.l.Append(context.Background(), entries[i]) })
	}
	wg.Wait()
	winners := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winners++
			s.accept(entries[i])
		case gov.CodeOf(err) != "stream_moved":
			rt.Fatalf("racer: %v", err)
		}
	}
	if winners != 1 {
		rt.Fatalf("%d of %d racers won", winners, racers)
	}
}

func (s *machine) restart(rt *rapid.T) {
	if err := s.l.Close(); err != nil {
		rt.Fatalf("close: %v", err)
	}
	s.open(rt)
}

func (s *machine) crash(rt *rapid.T) {
	next := s.m.crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)))
	s.l.Close()
	s.m = next
	s.open(rt)
}

// fault breaks one operation during an append, then cuts the power. The record
// may be there or not, but nothing acknowledged may be missing.
func (s *machine) fault(rt *rapid.T) {
	e := s.draw(rt)
	e.Expect = nil
	s.m.mu.Lock()
	s.m.faultAt, s.m.fault = s.m.ops+rapid.IntRange(1, 6).Draw(rt, "at"), fault(rapid.IntRange(0, int(faultEnd)-1).Draw(rt, "how"))
	s.m.mu.Unlock()
	_, err := s.l.Append(context.Background(), e)
	s.m.mu.Lock()
	s.m.faultAt = 0
	s.m.mu.Unlock()
	if err == nil {
		s.accept(e)
	}
	s.crash(rt)
	if err == nil {
		return
	}
	switch size := s.l.Size(); size {
	case uint64(len(s.lines)):
	case uint64(len(s.lines)) + 1:
		s.accept(e)
	default:
		rt.Fatalf("size %d after a fault, %d were acknowledged", size, len(s.lines))
	}
}

func (s *machine) rotate(rt *rapid.T) {
	s.seq++
	id := fmt.Sprint("id-", s.seq)
	_, err := s.l.RotateKey(context.Background(), testKey(s.key+1), func(k KeyChange) (Entry, error) {
		s.turns = append(s.turns, Turn(k))
		return Entry{ID: id, Body: fmt.Appendf(nil, `{"log_key":%q}`, k.Note), Adds: nil}, nil
	})
	if err != nil {
		rt.Fatalf("rotate: %v", err)
	}
	s.key++
	s.accept(Entry{ID: id, Body: fmt.Appendf(nil, `{"log_key":%q}`, s.turns[len(s.turns)-1].Note)})
}

func (s *machine) check(rt *rapid.T) {
	if s.l.Size() != uint64(len(s.lines)) {
		rt.Fatalf("size %d, want %d", s.l.Size(), len(s.lines))
	}
	for line, err := range s.l.Lines(context.Background(), 0, 0) {
		if err != nil || s.lines[line.Index] != string(line.Bytes) {
			rt.Fatalf("line %d: %s (%v), want %s", line.Index, line.Bytes, err, s.lines[line.Index])
		}
	}
	for _, name := range streamNames {
		if v, err := s.l.Head(name); err != nil || v != s.heads[name] {
			rt.Fatalf("head of %s: %d (%v), want %d", name, v, err, s.heads[name])
		}
	}
	rep, err := Check(context.Background(), s.o.Dir, checkOptions(s.t, s.o))
	if err != nil || !rep.OK() || rep.Records != uint64(len(s.lines)) || rep.Turns != len(s.turns) || rep.Unsigned != 0 {
		rt.Fatalf("check: %v %+v", err, rep)
	}
	r, err := openReader(s.m, s.o.Dir, "")
	if err != nil {
		rt.Fatal(err)
	}
	defer r.Close()
	if r.Size() != uint64(len(s.lines)) {
		rt.Fatalf("a reader sees %d records, want %d", r.Size(), len(s.lines))
	}
	heads, err := r.Heads()
	if err != nil || len(heads) != len(slices.DeleteFunc(slices.Clone(streamNames), func(n gov.Stream) bool { return s.heads[n] == 0 })) {
		rt.Fatalf("a reader's heads: %v (%v), want %v", heads, err, s.heads)
	}
}
