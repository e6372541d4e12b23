package traffictest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/governhq/govern/internal/edge/traffic"
	"github.com/governhq/govern/internal/gov"
)

// Subject is a driver under test with what its world must offer.
type Subject struct {
	Driver traffic.Driver // with a candidate, weight 0, nothing set yet

	// Lease is the driver's lease, 0 when it has none; Advance lets time pass.
	Lease   time.Duration
	Advance func(time.Duration)

	// Share sends n requests and counts those the candidate got; nil when the
	// data path is out of reach.
	Share func(t *testing.T, n int) int
}

// Run holds a driver against the contract. make is called once a subtest.
func Run(t *testing.T, make func(t *testing.T) Subject) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, run{Subject: make(t), ctx: t.Context()}) })
	}
}

type run struct {
	Subject
	ctx context.Context
}

var cases = []struct {
	name string
	run  func(*testing.T, run)
}{
	{"starts at 0", func(t *testing.T, r run) {
		r.is(t, 0, "", traffic.ReasonStart)
		r.share(t, 0)
	}},
	{"what was set is observed and honoured", func(t *testing.T, r run) {
		for i, weight := range []int{1, 5, 25, 100, 50, 0} {
			key := fmt.Sprintf("target/web/%d/1", i)
			r.set(t, weight, key)
			r.is(t, weight, key, traffic.ReasonSet)
			r.share(t, weight)
		}
	}},
	{"saying it again changes nothing", func(t *testing.T, r run) {
		for range 3 {
			r.set(t, 5, "a/1/1")
			r.is(t, 5, "a/1/1", traffic.ReasonSet)
		}
	}},
	{"what cannot be is refused and changes nothing", func(t *testing.T, r run) {
		r.set(t, 5, "a/1/1")
		r.refused(t, -1, "a/2/1", "weight_invalid")
		r.refused(t, 101, "a/2/1", "weight_invalid")
		r.refused(t, 25, "", "key_missing")
		r.refused(t, 25, "a/1/1", "key_reused")
		r.is(t, 5, "a/1/1", traffic.ReasonSet)
	}},
	{"a late retry of a replaced decision is refused", func(t *testing.T, r run) {
		r.set(t, 25, "a/1/1")
		r.set(t, 5, "a/2/1")
		r.refused(t, 25, "a/1/1", "key_stale")
		r.is(t, 5, "a/2/1", traffic.ReasonSet)
	}},
	{"kill wins", func(t *testing.T, r run) {
		r.set(t, 50, "a/1/1")
		r.kill(t)
		r.is(t, 0, "", traffic.ReasonKilled)
		r.share(t, 0)
		r.refused(t, 50, "a/1/1", "key_stale")
		r.kill(t)
		r.is(t, 0, "", traffic.ReasonKilled)
		r.set(t, 5, "a/1/2")
		r.is(t, 5, "a/1/2", traffic.ReasonSet)
	}},
	{"the way down is never refused", func(t *testing.T, r run) {
		r.set(t, 50, "a/1/1")
		r.set(t, 5, "a/2/1")
		r.set(t, 0, "a/1/1")
		r.is(t, 0, "a/1/1", traffic.ReasonSet)
		r.refused(t, 50, "a/1/1", "key_stale")
		r.set(t, 5, "a/3/1")
		r.set(t, 0, "a/3/1")
		r.is(t, 0, "a/3/1", traffic.ReasonSet)
		r.refused(t, 5, "a/3/1", "key_stale")
		r.set(t, 0, "")
		r.is(t, 0, "", traffic.ReasonSet)
	}},
	{"without renewal the lease ends it", func(t *testing.T, r run) {
		if r.Lease == 0 {
			t.Skip("this driver has no lease")
		}
		r.set(t, 50, "a/1/1")
		r.Advance(r.Lease - time.Millisecond)
		r.is(t, 50, "a/1/1", traffic.ReasonSet) // Observe renews nothing
		r.Advance(time.Millisecond)
		r.is(t, 0, "a/1/1", traffic.ReasonLease)
		r.share(t, 0)
		r.refused(t, 60, "a/1/1", "key_reused")
		r.set(t, 50, "a/1/1") // its controller is back
		r.is(t, 50, "a/1/1", traffic.ReasonSet)
	}},
	{"renewal keeps it", func(t *testing.T, r run) {
		if r.Lease == 0 {
			t.Skip("this driver has no lease")
		}
		for range 5 {
			r.set(t, 50, "a/1/1")
			r.Advance(r.Lease - time.Millisecond)
		}
		r.is(t, 50, "a/1/1", traffic.ReasonSet)
	}},
	{"after many at once, one of them holds", func(t *testing.T, r run) {
		var wg sync.WaitGroup
		for i := 1; i <= 20; i++ {
			wg.Go(func() {
				if err := r.Driver.Set(r.ctx, i, fmt.Sprintf("a/%d/1", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s, err := r.Driver.Observe(r.ctx)
		if err != nil || s.Key != fmt.Sprintf("a/%d/1", s.Weight) {
			t.Fatalf("key and weight do not belong together: %+v, %v", s, err)
		}
	}},
}

func (r run) set(t *testing.T, weight int, key string) {
	t.Helper()
	if err := r.Driver.Set(r.ctx, weight, key); err != nil {
		t.Fatalf("Set(%d, %q): %v", weight, key, err)
	}
}

func (r run) refused(t *testing.T, weight int, key, code string) {
	t.Helper()
	before, _ := r.Driver.Observe(r.ctx)
	if err := r.Driver.Set(r.ctx, weight, key); gov.CodeOf(err) != code {
		t.Fatalf("Set(%d, %q) = %v, want %s", weight, key, err, code)
	}
	if after, _ := r.Driver.Observe(r.ctx); after != before {
		t.Fatalf("a refused Set changed %+v to %+v", before, after)
	}
}

func (r run) kill(t *testing.T) {
	t.Helper()
	if err := r.Driver.Kill(r.ctx); err != nil {
		t.Fatalf("Kill: %v", err)
	}
}

func (r run) is(t *testing.T, weight int, key string, reason traffic.Reason) {
	t.Helper()
	s, err := r.Driver.Observe(r.ctx)
	if err != nil {
		t.Fatalf("Observe: %v", err)
	}
	if s.Weight != weight || s.Key != key || s.Reason != reason {
		t.Fatalf("observed %+v, want weight %d, key %q, reason %s", s, weight, key, reason)
	}
	if leased := r.Lease > 0 && weight > 0; s.Lease.IsZero() == leased {
		t.Fatalf("observed lease %v with weight %d", s.Lease, weight)
	}
}

// share demands the weight within 1 % of 1,000 requests, and exactly at the ends.
func (r run) share(t *testing.T, weight int) {
	t.Helper()
	if r.Share == nil {
		return
	}
	const n = 1000
	off := r.Share(t, n) - weight*n/100
	if off < -n/100 || off > n/100 || off != 0 && (weight == 0 || weight == 100) {
		t.Fatalf("at weight %d the candidate's share of %d requests is off by %d", weight, n, off)
	}
}
