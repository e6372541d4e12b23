package view_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/view"
)

// log is a log in memory. Its tree hash is a digest over all records, which is
// all that a view asks of it.
type log struct {
	mu      sync.Mutex
	records []gov.Record
	fail    uint64 // reading this record fails, 0 none
}

func (l *log) Size() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.records))
}

func (l *log) TreeHash(_ context.Context, n uint64) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := json.Marshal(l.records[:n])
	return string(gov.DigestOf(b)), err
}

func (l *log) Records(_ context.Context, from, to uint64) iter.Seq2[view.Entry, error] {
	return func(yield func(view.Entry, error) bool) {
		for i := from; i < to; i++ {
			l.mu.Lock()
			r, bad := l.records[i], l.fail > 0 && i == l.fail
			l.mu.Unlock()
			if bad {
				yield(view.Entry{}, errors.New("planted"))
				return
			}
			if !yield(view.Entry{Index: i, Record: r}, nil) {
				return
			}
		}
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// counter is what the test's fold keeps of a stream.
type counter struct {
	Name string `json:"name"`
	N    int    `json:"n"`
	Wake int64  `json:"wake"`
}

// add appends a record with one event a given stream; wake sets the stream's
// deadline in ms, -1 takes it away.
func (l *log) add(wake int64, streams ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.records)
	r := gov.Record{ID: "id-" + strconv.Itoa(n), Time: start.Add(time.Duration(n) * time.Second), Command: "add", Actor: gov.Principal{Handle: "ana", Via: "local"}}
	for _, s := range streams {
		r.Events = append(r.Events, gov.NewEvent(gov.Stream(s), "added", map[string]int64{"wake": wake}))
	}
	l.records = append(l.records, r)
}

var folds = []view.Fold{{
	Prefix: "count/",
	Apply: func(state []byte, ev view.Event) ([]byte, error) {
		c := counter{Name: strings.TrimPrefix(string(ev.Stream), "count/")}
		if state != nil {
			if err := json.Unmarshal(state, &c); err != nil {
				return nil, err
			}
		}
		var d struct {
			Wake int64 `json:"wake"`
		}
		if err := json.Unmarshal(ev.Data, &d); err != nil {
			return nil, err
		}
		c.N++
		if d.Wake != 0 {
			c.Wake = max(d.Wake, 0)
		}
		return json.Marshal(c)
	},
	Index: func(_ gov.Stream, state []byte) (view.Subject, error) {
		var c counter
		err := json.Unmarshal(state, &c)
		return view.Subject{Kind: "count", ID: c.Name, Number: c.N, State: "on", WakeMS: c.Wake}, err
	},
}}

func open(t testing.TB, path string) *view.View {
	t.Helper()
	v, err := view.Open(context.Background(), path, folds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func catch(t testing.TB, v *view.View, l *log) (applied uint64, rebuilt bool) {
	t.Helper()
	applied, rebuilt, err := v.Catch(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	return applied, rebuilt
}

func dump(t testing.TB, v *view.View) gov.Digest {
	t.Helper()
	d, err := v.Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// equalsRebuild compares a view with one that is built from nothing.
func equalsRebuild(t testing.TB, v *view.View, l *log) {
	t.Helper()
	fresh := open(t, "")
	catch(t, fresh, l)
	if got, want := dump(t, v), dump(t, fresh); got != want {
		t.Fatalf("the view is %s, a rebuilt one is %s", got.Short(), want.Short())
	}
}

func TestCatch(t *testing.T) {
	t.Parallel()
	fork := func(l *log, keep, more int) {
		l.records = l.records[:keep:keep]
		for range more {
			l.add(7, "count/other")
		}
	}
	for _, tc := range []struct {
		name    string
		between func(t *testing.T, path string, l *log)
		applied uint64
		rebuilt bool
	}{
		{"nothing new", func(*testing.T, string, *log) {}, 0, false},
		{"behind", func(_ *testing.T, _ string, l *log) { l.add(0, "count/a", "else") }, 1, false},
		{"behind by many transactions", func(_ *testing.T, _ string, l *log) {
			for range 1200 {
				l.add(0, "count/a")
			}
		}, 1200, false},
		{"ahead of a restored log", func(_ *testing.T, _ string, l *log) { fork(l, 3, 0) }, 3, true},
		{"a restored log that grew again to the same size", func(_ *testing.T, _ string, l *log) { fork(l, 3, 2) }, 5, true},
		{"a restored log that grew past it", func(_ *testing.T, _ string, l *log) { fork(l, 3, 9) }, 12, true},
		{"an emptied log", func(_ *testing.T, _ string, l *log) { fork(l, 0, 0) }, 0, true},
		{"deleted file", func(t *testing.T, path string, _ *log) {
			if err := view.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, 5, false},
		{"file that is no database", func(t *testing.T, path string, _ *log) {
			write(t, path, []byte(strings.Repeat("no database at all ", 500)))
		}, 5, false},
		{"empty file", func(t *testing.T, path string, _ *log) { write(t, path, nil) }, 5, false},
		{"torn file", func(t *testing.T, path string, _ *log) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, b[:len(b)/2])
		}, 5, false},
		{"database of somebody else", func(t *testing.T, path string, _ *log) {
			view.Remove(path)
			exec1(t, path, "CREATE TABLE events (x)")
		}, 5, false},
		{"of a newer program", func(t *testing.T, path string, _ *log) {
			exec1(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
		}, 5, false},
		{"a table is missing", func(t *testing.T, path string, _ *log) { exec1(t, path, "DROP TABLE deadlines") }, 5, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "views.db")
			l := &log{}
			for i := range 5 {
				l.add(int64(i), "count/a", "count/b", "count/a")
			}
			v := open(t, path)
			catch(t, v, l)
			equalsRebuild(t, v, l)
			v.Close()
			tc.between(t, path, l)
			v = open(t, path)
			applied, rebuilt := catch(t, v, l)
			if applied != tc.applied || rebuilt != tc.rebuilt {
				t.Errorf("applied %d records, rebuilt %t; want %d, %t", applied, rebuilt, tc.applied, tc.rebuilt)
			}
			equalsRebuild(t, v, l)
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := view.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func exec1(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// TestDamageWhileOpen: pages go bad under an open view. Reading may fail, a
// reset makes it whole again through the same handle.
func TestDamageWhileOpen(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "views.db")
	l := &log{}
	for range 300 {
		l.add(0, "count/a", "count/b")
	}
	v := open(t, path)
	catch(t, v, l)
	v.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(b); i++ { // the first page, with the schema, stays
		b[i] = 0xA5
	}
	write(t, path, b)
	v, err = view.Open(ctx, path, folds)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	catch(t, v, l)
	equalsRebuild(t, v, l)
}

func TestReadOnlyPlaceIsServedFromMemory(t *testing.T) {
	t.Parallel()
	l := &log{}
	l.add(0, "count/a")
	// Root may write anywhere, so the place is one where nobody may.
	v := open(t, filepath.Join(t.TempDir(), "absent", "views.db"))
	catch(t, v, l)
	equalsRebuild(t, v, l)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "views.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	v = open(t, filepath.Join(dir, "views.db"))
	catch(t, v, l)
	equalsRebuild(t, v, l)
}

func TestConcurrentHandles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	l := &log{}
	for range 20 {
		l.add(0, "count/a", "count/b")
	}
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for range 4 {
		v := open(t, path)
		for range 2 {
			wg.Go(func() {
				for i := range 15 {
					l.add(int64(i), "count/a")
					if _, _, err := v.Catch(context.Background(), l); err != nil {
						errs <- err
						return
					}
					if _, _, err := v.State(context.Background(), "count/a"); err != nil {
						errs <- err
						return
					}
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	v := open(t, path)
	catch(t, v, l)
	equalsRebuild(t, v, l)
}

// TestConcurrentProcesses: several processes catch up from nothing on one file.
func TestConcurrentProcesses(t *testing.T) {
	if path := os.Getenv("GOVERN_VIEW_CHILD"); path != "" {
		v := open(t, path)
		catch(t, v, children())
		equalsRebuild(t, v, children())
		return
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "views.db")
	var wg sync.WaitGroup
	out := make([]error, 3)
	for i := range out {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestConcurrentProcesses$")
			cmd.Env = append(os.Environ(), "GOVERN_VIEW_CHILD="+path)
			if b, err := cmd.CombinedOutput(); err != nil {
				out[i] = fmt.Errorf("%w: %s", err, b)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(out...); err != nil {
		t.Fatal(err)
	}
	v := open(t, path)
	if applied, rebuilt := catch(t, v, children()); applied != 0 || rebuilt {
		t.Errorf("there was still something to do: %d, %t", applied, rebuilt)
	}
	equalsRebuild(t, v, children())
}

func children() *log {
	l := &log{}
	for i := range 900 {
		l.add(int64(i), "count/a", "count/"+strconv.Itoa(i%7))
	}
	return l
}

func TestFailedRecordLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	l := &log{}
	for range 6 {
		l.add(0, "count/a")
	}
	l.fail = 4
	v := open(t, filepath.Join(t.TempDir(), "views.db"))
	if _, _, err := v.Catch(context.Background(), l); gov.CodeOf(err) != "view_failed" {
		t.Fatalf("got %v", err)
	}
	if n, err := v.Applied(context.Background()); n != 0 || err != nil {
		t.Fatalf("%d records applied, %v", n, err)
	}
	l.fail = 0
	catch(t, v, l)
	equalsRebuild(t, v, l)
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	l := &log{}
	l.add(5000, "count/late")
	l.add(1000, "count/soon")
	l.add(1000, "count/also")
	l.add(2000, "count/gone")
	l.add(-1, "count/gone")
	v := open(t, "")
	catch(t, v, l)
	for _, tc := range []struct {
		at   int64
		want []gov.Stream
	}{
		{999, nil},
		{1000, []gov.Stream{"count/also", "count/soon"}},
		{4999, []gov.Stream{"count/also", "count/soon"}},
		{5000, []gov.Stream{"count/also", "count/soon", "count/late"}},
	} {
		got, err := v.Due(ctx, time.UnixMilli(tc.at))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("at %d: %s", tc.at, d)
		}
	}
	next, err := v.NextDeadline(ctx)
	if err != nil || next.UnixMilli() != 1000 {
		t.Errorf("next is %v, %v", next, err)
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := gov.DigestOf([]byte("envelope"))
	l := &log{}
	l.add(0, "count/a")
	l.records = append(l.records, gov.Record{ID: "s", Time: start, Events: []gov.Event{
		gov.NewEvent("count/a", "statement.recorded", gov.Recorded{Digest: d, Change: "CHANGE-1", Signer: "bo", Decision: gov.DecideApprove}),
	}})
	v := open(t, "")
	catch(t, v, l)
	if at, ok, err := v.HasStatement(ctx, d); at != 1 || !ok || err != nil {
		t.Errorf("got %d, %t, %v", at, ok, err)
	}
	if _, ok, err := v.HasStatement(ctx, gov.DigestOf(nil)); ok || err != nil {
		t.Errorf("a statement nobody made: %t, %v", ok, err)
	}
	evs, err := v.Events(ctx, "count/a")
	if err != nil || len(evs) != 2 || evs[1].Version != 2 || evs[1].Index != 1 {
		t.Errorf("events: %+v, %v", evs, err)
	}
	if tail, err := v.Tail(ctx, 1); err != nil || len(tail) != 1 || tail[0].Index != 1 {
		t.Errorf("tail: %+v, %v", tail, err)
	}
}

func TestNewestMigrationIsTheLastFile(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	newest := int64(0)
	for _, f := range files {
		n, _, _ := strings.Cut(f.Name(), "_")
		v, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		newest = max(newest, v)
	}
	path := filepath.Join(t.TempDir(), "views.db")
	open(t, path).Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var have int64
	if err := db.QueryRow(`SELECT MAX(version_id) FROM goose_db_version`).Scan(&have); err != nil {
		t.Fatal(err)
	}
	if have != newest || view.NewestMigration != newest {
		t.Errorf("files end at %d, the database at %d, newestMigration is %d", newest, have, view.NewestMigration)
	}
}

// TestAnyHistory grows, cuts and regrows logs and looks at the view after every
// step, through handles that come and go.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "view")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path, l := filepath.Join(dir, "views.db"), &log{}
		v, err := view.Open(context.Background(), path, folds)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { v.Close() }()
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"add", "add", "cut", "reopen", "reset", "delete"}).Draw(rt, "step") {
			case "add":
				for range rapid.IntRange(1, 4).Draw(rt, "n") {
					l.add(int64(rapid.IntRange(-1, 3).Draw(rt, "wake")), "count/"+rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "stream"))
				}
			case "cut":
				n := rapid.IntRange(0, len(l.records)).Draw(rt, "keep")
				l.records = l.records[:n:n]
			case "reset":
				err = v.Reset(context.Background())
			case "delete", "reopen":
				v.Close()
				if rapid.Bool().Draw(rt, "delete") {
					view.Remove(path)
				}
				v, err = view.Open(context.Background(), path, folds)
			}
			if err != nil {
				rt.Fatal(err)
			}
			if _, _, err := v.Catch(context.Background(), l); err != nil {
				rt.Fatal(err)
			}
			// The oracle counts events by hand.
			want := map[string]int{}
			for _, r := range l.records {
				for _, ev := range r.Events {
					want[string(ev.Stream)]++
				}
			}
			for _, s := range []string{"count/a", "count/b"} {
				_, version, err := v.State(context.Background(), gov.Stream(s))
				if err != nil || int(version) != want[s] {
					rt.Fatalf("%s has version %d, %v; want %d", s, version, err, want[s])
				}
			}
		}
	})
}
