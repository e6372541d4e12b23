package ledger

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// TestReadersBesideWriters: readers without locks never call a healthy log
// broken, however writers come and go beside them.
func TestReadersBesideWriters(t *testing.T) {
	t.Parallel()
	rounds := 20
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		rounds = 1500
	}
	o := testOptions(t, Governance)
	o.LockWait = time.Minute
	l := mustOpen(t, o)
	add := func(l *Log, i int) {
		t.Helper()
		e := Entry{ID: fmt.Sprint("race-", i), Body: []byte(`{"adds":{"s":1}}`), Adds: map[gov.Stream]int{"s": 1}}
		if _, err := l.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 700 { // levels 0 and 1 both have tiles
		add(l, i)
	}
	mustClose(t, l)

	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r, err := OpenReader(o.Dir, Governance)
			for err == nil {
				select {
				case <-done:
					r.Close()
					return
				default:
				}
				if err = r.Refresh(); err == nil {
					err = walk(r)
				}
				if r.Close(); err == nil {
					r, err = OpenReader(o.Dir, Governance)
				}
			}
			t.Errorf("a healthy log: %v", err)
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			rep, err := Check(context.Background(), o.Dir, checkOptions(t, o))
			if err != nil || !rep.OK() {
				t.Errorf("check of a healthy log: %v %+v", err, rep.Failures)
				return
			}
		}
	})
	for i := range rounds {
		l := mustOpen(t, o)
		add(l, 1000+i)
		mustClose(t, l)
	}
	close(done)
	wg.Wait()
}

// walk uses tree and lines in every way there is.
func walk(r *Reader) error {
	n := r.Size()
	if _, err := r.Inclusion(3, n); err != nil {
		return err
	}
	if _, err := r.Consistency(n/2, n); err != nil {
		return err
	}
	if _, err := r.TreeHash(n - 1); err != nil {
		return err
	}
	_, err := r.Line(n - 1)
	return err
}
