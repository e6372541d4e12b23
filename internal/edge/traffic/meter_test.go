package traffic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// fakeClock is a clock that stands until it is moved.
type fakeClock struct{ ns atomic.Int64 }

func (c *fakeClock) now() time.Time          { return time.Unix(1_800_000_000, c.ns.Load()) }
func (c *fakeClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func testMeter(t interface {
	Fatal(...any)
	Helper()
}, c Config,
) (*meter, *fakeClock) {
	t.Helper()
	clock := new(fakeClock)
	c.Now = clock.now
	c, err := c.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	m := newMeter(c)
	if err := m.setUpstreams(c, Upstreams{Stable: "http://127.0.0.1:1", Candidate: "http://127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	return m, clock
}

func TestSplitIsExact(t *testing.T) {
	// Given any weight and start, the candidate gets its share of any 1,000
	// requests in a row within 5, and of any longer run within 8.
	for weight := range 101 {
		var s split
		seed := rand.Uint64()
		s.n.Store(seed)
		th := threshold(weight)
		n := 50_000
		if weight == 5 || os.Getenv("GOVERN_TEST_FULL") != "" {
			n = 1_000_000
		}
		drift := make([]float64, 1, n+1) // given − due, in hundredths, exact
		low, high, worst := 0.0, 0.0, 0.0
		for i := 1; i <= n; i++ {
			d := drift[i-1] - float64(weight)
			if s.pick(th) {
				d += 100
			}
			drift = append(drift, d)
			low, high = min(low, d), max(high, d)
			if i >= 1000 {
				worst = max(worst, math.Abs(d-drift[i-1000]))
			}
		}
		if worst > 500 || high-low > 800 || (weight == 0 || weight == 100) && high != low {
			t.Fatalf("weight %d, seed %d: off by %v in 1,000 and %v in %d", weight, seed, worst/100, (high-low)/100, n)
		}
	}
}

func TestSplitFollowsNoPeriod(t *testing.T) {
	// Given every k-th request is of one kind, that kind is split evenly too.
	for _, period := range []int{2, 5, 10, 20, 25, 50, 100} {
		var s split
		th, got, all := threshold(5), 0, 0
		for i := range 200_000 {
			yes := s.pick(th)
			if i%period == 0 {
				all++
				if yes {
					got++
				}
			}
		}
		if share := float64(got) / float64(all); math.Abs(share-0.05) > 0.005 {
			t.Errorf("of every %dth request the candidate got %.2f %%", period, 100*share)
		}
	}
}

func TestWindowsEndWhereTheyMust(t *testing.T) {
	m, clock := testMeter(t, Config{})
	event := func() {
		u, _ := m.dispatch()
		m.record(u, outcome{settled: true, known: true, ended: true, latency: 600 * int64(time.Millisecond), shown: true})
	}
	event()                           // weight 0: the baseline's
	clock.advance(15 * time.Second)   // a whole window
	clock.advance(3 * time.Second)    // and 3 s of the next
	must(t, m.set(100, "target/1/1")) // cuts it
	event()
	clock.advance(5 * time.Second)
	must(t, m.set(100, "target/1/1")) // renews only
	event()
	clock.advance(70 * time.Second) // the lease ends 60 s after renewal, at 23+60

	type row struct {
		Seq, Weight      int
		Seconds          float64
		State            WindowState
		Canary, Baseline int64
	}
	ws, err := m.windows(0)
	must(t, err)
	var got []row
	for _, w := range ws {
		got = append(got, row{w.Seq, w.Weight, w.Seconds, w.State, w.Canary.Dispatched, w.Baseline.Dispatched})
		if start := ws[0].Start; w.Seq > 1 && !w.Start.Equal(ws[w.Seq-2].End) || w.End.Sub(w.Start).Seconds() != w.Seconds {
			t.Errorf("window %d has a gap before it or another length: %v to %v, first %v", w.Seq, w.Start, w.End, start)
		}
	}
	want := []row{
		{1, 0, 15, WindowEmpty, 0, 1},
		{2, 0, 3, WindowEmpty, 0, 0},
		{3, 100, 15, WindowFresh, 2, 0},
		{4, 100, 15, WindowEmpty, 0, 0},
		{5, 100, 15, WindowEmpty, 0, 0},
		{6, 100, 15, WindowEmpty, 0, 0},
		{7, 100, 5, WindowEmpty, 0, 0}, // the lease's end cuts it
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(map[string]int64{"500": 2, "1000": 0}, ws[2].Canary.Slow); d != "" {
		t.Error(d)
	}
	if p := ws[2].Canary.P95; math.Abs(p-600) > 6 {
		t.Errorf("p95 is %v, want 600 within 1 %%", p)
	}
}

func TestReadersDoNotDisturbEachOther(t *testing.T) {
	m, clock := testMeter(t, Config{Keep: 4, Window: time.Second})
	clock.advance(3 * time.Second)
	first, err := m.windows(0)
	must(t, err)
	first[0].Canary.Slow["500"] = 99
	again, err := m.windows(0)
	must(t, err)
	if len(first) != 3 || len(again) != 3 || again[0].Canary.Slow["500"] != 0 {
		t.Fatalf("a second reader sees %d windows after one of %d, or the first one's writing", len(again), len(first))
	}
	if ws, err := m.windows(3); err != nil || len(ws) != 0 {
		t.Fatalf("nothing new, but got %d windows, %v", len(ws), err)
	}
	if _, err := m.windows(4); gov.CodeOf(err) != "window_unknown" {
		t.Fatalf("a cursor from the future: %v", err)
	}
	clock.advance(4 * time.Second) // windows 4..7; 1..3 are gone
	ws, err := m.windows(2)
	if gov.CodeOf(err) != "windows_lost" || len(ws) != 4 || ws[0].Seq != 4 {
		t.Fatalf("after a gap: %d windows, %v", len(ws), err)
	}
	if ws, err = m.windows(3); err != nil || len(ws) != 4 {
		t.Fatalf("without a gap: %d windows, %v", len(ws), err)
	}
	clock.advance(365 * 24 * time.Hour) // idle for a year costs nothing and keeps counting
	ws, err = m.windows(365*24*3600 + 3)
	if err != nil || len(ws) != 4 || ws[3].Seq != 365*24*3600+7 {
		t.Fatalf("after a year: %d windows, %v", len(ws), err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"negative window":   {Window: -1},
		"a day and more":    {Window: 25 * time.Hour},
		"negative lease":    {Lease: -1},
		"negative keep":     {Keep: -1},
		"limits descend":    {LimitsMS: []int{1000, 500}},
		"limit of nothing":  {LimitsMS: []int{0}},
		"too many limits":   {LimitsMS: []int{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		"one limit twice":   {LimitsMS: []int{5, 5}},
		"negative timeouts": {StallTimeout: -time.Second},
	} {
		if _, err := New(c); gov.CodeOf(err) != "proxy_config_invalid" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUpstreamsAreChecked(t *testing.T) {
	p, err := New(Config{})
	must(t, err)
	for _, bad := range []string{
		"", "127.0.0.1:80", "ftp://h", "http://", "http://:80", "http://u:p@h", "http://h?q=1", "http://h?", "http://h#f", "http:h", "http://h:x", "unix:/s",
	} {
		if err := p.SetUpstreams(Upstreams{Stable: bad}); gov.CodeOf(err) != "upstream_invalid" {
			t.Errorf("stable %q: %v", bad, err)
		}
		if err := p.SetUpstreams(Upstreams{Stable: "http://h", Candidate: bad}); bad != "" && gov.CodeOf(err) != "upstream_invalid" {
			t.Errorf("candidate %q: %v", bad, err)
		}
	}
	if u := p.Upstreams(); u != (Upstreams{Stable: "http://h"}) {
		t.Errorf("refused upstreams left %+v", u)
	}
	if err := p.Set(t.Context(), 5, "a/1/1"); gov.CodeOf(err) != "no_candidate" {
		t.Errorf("a weight without a candidate: %v", err)
	}
}

func TestNewCandidateStartsAtZero(t *testing.T) {
	m, clock := testMeter(t, Config{})
	must(t, m.set(100, "a/1/1"))
	old, _ := m.dispatch()
	cfg, err := Config{}.withDefaults()
	must(t, err)
	must(t, m.setUpstreams(cfg, Upstreams{Stable: "http://127.0.0.1:1", Candidate: "http://127.0.0.1:3"}))
	if s := m.observe(); s != (State{Reason: ReasonUpstream}) {
		t.Fatalf("with a new candidate: %+v", s)
	}
	if err := m.set(100, "a/1/1"); gov.CodeOf(err) != "key_stale" {
		t.Fatalf("the old candidate's decision: %v", err)
	}
	must(t, m.set(50, "b/1/1"))
	m.record(old, outcome{known: true, failed: true, ended: true})
	clock.advance(time.Minute)
	ws, err := m.windows(0)
	must(t, err)
	var canary, retired int64
	for _, w := range ws {
		canary += w.Canary.Errors
		retired += w.Retired.Errors
	}
	if canary != 0 || retired != 1 {
		t.Fatalf("the old candidate's error counts %d times for the new one, %d times apart", canary, retired)
	}
}

func TestWindowsNeverMixWeights(t *testing.T) {
	// Given requests on all processors and a weight that flips between all and
	// nothing, no window holds a request that its weight forbids.
	const flips = 20_000
	m, clock := testMeter(t, Config{Keep: flips + 10, Lease: time.Hour, Window: time.Hour})
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				u, _ := m.dispatch()
				m.record(u, outcome{ended: true})
			}
		})
	}
	for i := range flips {
		clock.advance(time.Microsecond)
		must(t, m.set(100*(i%2), fmt.Sprint(i)))
	}
	done.Store(true)
	wg.Wait()
	ws, err := m.windows(0)
	must(t, err)
	for _, w := range ws {
		if w.Weight == 0 && w.Canary.Dispatched > 0 || w.Weight == 100 && w.Baseline.Dispatched > 0 {
			t.Fatalf("window %d has weight %d and dispatched %d and %d", w.Seq, w.Weight, w.Canary.Dispatched, w.Baseline.Dispatched)
		}
	}
}

// TestCountsAreExact is the oracle over windows: whatever the interleaving of
// requests, clocks, weights and readers, the windows add up to what was done.
func TestCountsAreExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m, clock := testMeter(rt, Config{Window: time.Second, Lease: 3 * time.Second, Keep: 1 << 16, LimitsMS: []int{1, 10}})
		workers := rapid.IntRange(1, 8).Draw(rt, "workers")
		perWorker := rapid.IntRange(1, 300).Draw(rt, "requests")
		steps := rapid.SliceOfN(rapid.IntRange(0, 1500), 1, 60).Draw(rt, "clock steps and weights")
		seed := rapid.Uint64().Draw(rt, "seed")

		var want [2]Arm // by arm; written by one worker each into its own, summed below
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(w)))
				var mine [2]Arm
				mine[0].Slow, mine[1].Slow = map[string]int64{}, map[string]int64{}
				for range perWorker {
					u, _ := m.dispatch()
					a := &mine[0]
					if u.name == "http://127.0.0.1:2" {
						a = &mine[1]
					}
					a.Dispatched++
					ms := rng.Int64N(20)
					failed, aborted := rng.IntN(4) == 0, rng.IntN(5) == 0
					m.record(u, outcome{settled: true})
					a.Completed++
					m.record(u, outcome{known: true, failed: failed, aborted: aborted, ended: true, latency: ms * int64(time.Millisecond), shown: true})
					a.Requests++
					if failed {
						a.Errors++
					}
					if aborted {
						a.ClientAborted++
					}
					if ms > 1 {
						a.Slow["1"]++
					}
					if ms > 10 {
						a.Slow["10"]++
					}
				}
				mu.Lock()
				defer mu.Unlock()
				for i := range want {
					want[i] = plus(want[i], mine[i])
				}
			})
		}
		wg.Go(func() {
			for i, s := range steps {
				switch {
				case s < 101:
					must(rt, m.set(s, fmt.Sprintf("a/%d/1", i)))
				case s < 150:
					m.kill()
				default:
					clock.advance(time.Duration(s) * time.Millisecond)
				}
			}
		})
		wg.Wait()
		clock.advance(10 * time.Second)
		ws, err := m.windows(0)
		must(rt, err)
		var got [2]Arm
		for i, w := range ws {
			if w.Seq != i+1 {
				rt.Fatalf("window %d is numbered %d", i+1, w.Seq)
			}
			if w.Seconds <= 0 || w.Seconds > 1 {
				rt.Fatalf("window %d is %v s long", w.Seq, w.Seconds)
			}
			if w.Weight == 0 && w.Canary.Dispatched > 0 || w.Weight == 100 && w.Baseline.Dispatched > 0 {
				rt.Fatalf("requests were dispatched against the weight: %+v", w)
			}
			for _, a := range []Arm{w.Canary, w.Baseline} {
				if a.Errors > a.Requests || a.Slow["1"] > a.Requests || a.Slow["10"] > a.Slow["1"] {
					rt.Fatalf("the counters of one event lie in two windows: %+v", w)
				}
			}
			got[0], got[1] = plus(got[0], w.Baseline), plus(got[1], w.Canary)
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatal(d)
		}
		if n := m.active(); n != 0 {
			rt.Fatalf("%d requests are still in flight", n)
		}
	})
}

// plus adds two arms, percentiles aside.
func plus(a, b Arm) Arm {
	out := Arm{
		Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors, Dispatched: a.Dispatched + b.Dispatched,
		Completed: a.Completed + b.Completed, ClientAborted: a.ClientAborted + b.ClientAborted, Slow: map[string]int64{"1": 0, "10": 0},
	}
	for k := range out.Slow {
		out.Slow[k] = a.Slow[k] + b.Slow[k]
	}
	return out
}

func must(t interface {
	Helper()
	Fatal(...any)
}, err error,
) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
