package traffic

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"
)

const (
	armBaseline = iota
	armCanary
	armRetired
	arms
)

// counts are the counters of one upstream in the open window.
type counts struct {
	dispatched, completed, requests, errors, aborted int64
	slow                                             [maxLimits]int64 // by place in Config.LimitsMS
}

func (c *counts) add(o *counts) {
	c.dispatched += o.dispatched
	c.completed += o.completed
	c.requests += o.requests
	c.errors += o.errors
	c.aborted += o.aborted
	for i, n := range o.slow {
		c.slow[i] += n
	}
}

// shard is a share of the open window's counters. Its lock makes the counters
// of one event one step; there are enough shards that it is rarely contended.
type shard struct {
	mu       sync.Mutex
	counts   [arms]counts
	sketches [2]*ddsketch.DDSketch // latency in ms of baseline and canary
	active   int64                 // dispatched − ended here; only the sum over all shards means something
	_        [64]byte              // keeps neighbours off this cache line
}

// meter holds the routes and the windows. Events lock one shard. A change of
// routes and the end of a window lock all of them, so each event lies wholly
// before or wholly after.
//
// Time is read in nanoseconds since base. Nothing runs in the background: the
// end of a window and of the lease take effect with the first event or reader
// that comes after them, as of the moment they were due.
type meter struct {
	now    func() time.Time
	base   time.Time
	length int64 // of a window, ns
	lease  int64 // ns
	limits []int64
	labels []string // of limits, in ms
	split  split

	routes atomic.Pointer[routes] // stored under all shard locks
	due    atomic.Int64           // when the open window ends or the lease does, whichever is first
	shards []shard

	ctl   sync.Mutex // guards the rest; taken before any shard
	state State      // Weight and Lease are filled in by observe
	asked int        // the weight that came with state.Key; more than the one in force after the lease
	until int64      // end of the lease; never when weight is 0
	spent keys       // keys that may not come again
	ring  ring
	spare [][2]*ddsketch.DDSketch // one pair a shard: emptied sketches to swap in
}

// never is a time that does not come.
const never = int64(1<<63 - 1)

func newMeter(cfg Config) *meter {
	n := 4
	for n < 4*runtime.GOMAXPROCS(0) && n < 256 {
		n *= 2
	}
	m := &meter{
		now: cfg.Now, base: cfg.Now(), length: int64(cfg.Window), lease: int64(cfg.Lease),
		shards: make([]shard, n), spare: make([][2]*ddsketch.DDSketch, n),
		state: State{Reason: ReasonStart}, until: never,
	}
	for _, ms := range cfg.LimitsMS {
		m.limits = append(m.limits, int64(ms)*int64(time.Millisecond))
	}
	m.labels = labels(cfg.LimitsMS)
	for i := range m.shards {
		m.shards[i].sketches = newSketches()
		m.spare[i] = newSketches()
	}
	m.split.n.Store(cfg.Seed)
	m.routes.Store(&routes{})
	m.ring = ring{keep: cfg.Keep, first: cfg.FirstSeq, next: cfg.FirstSeq}
	m.due.Store(m.length)
	return m
}

// newSketches makes sketches of 1 % relative accuracy and at most 16 KiB each.
func newSketches() (pair [2]*ddsketch.DDSketch) {
	for i := range pair {
		s, err := ddsketch.LogCollapsingLowestDenseDDSketch(0.01, 2048)
		if err != nil {
			panic("traffic: sketch parameters: " + err.Error()) // constants, so a bug of ours
		}
		pair[i] = s
	}
	return pair
}

// clock is the present, after everything due by then has happened.
func (m *meter) clock() int64 {
	now := int64(m.now().Sub(m.base))
	if now >= m.due.Load() {
		m.ctl.Lock()
		m.advance(now)
		m.ctl.Unlock()
	}
	return now
}

// shard picks one at random; rand's global source is kept per thread.
func (m *meter) shard() *shard { return &m.shards[rand.Uint32()&uint32(len(m.shards)-1)] }

// dispatch chooses the upstream of a new request and counts it there; nil when
// there is none. Whoever got an upstream must call ended.
func (m *meter) dispatch() (u *upstream, at int64) {
	at = m.clock()
	s := m.shard()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := m.routes.Load()
	if r.stable == nil {
		return nil, at
	}
	u, arm := r.stable, armBaseline
	if m.split.pick(r.threshold) {
		u, arm = r.candidate, armCanary
	}
	s.counts[arm].dispatched++
	s.active++
	return u, at
}

// outcome is what one event adds to the counters.
type outcome struct {
	settled bool // completed
	known   bool // requests
	failed  bool // errors; only with known
	aborted bool
	ended   bool // the request is no longer in flight

	latency int64 // ns; -1: none to be judged (a broken stream); timeouts: longer than any limit
	shown   bool  // latency goes into the sketch
}

// timedOut is the latency of a request that was given up on.
const timedOut = never

// record counts one event of u, all of it in one window.
func (m *meter) record(u *upstream, o outcome) {
	m.clock()
	s := m.shard()
	s.mu.Lock()
	defer s.mu.Unlock()
	arm := m.routes.Load().arm(u)
	c := &s.counts[arm]
	if o.settled {
		c.completed++
	}
	if o.aborted {
		c.aborted++
	}
	if o.ended {
		s.active--
	}
	if !o.known {
		return
	}
	c.requests++
	if o.failed {
		c.errors++
	}
	for i, limit := range m.limits {
		if o.latency > limit {
			c.slow[i]++
		}
	}
	if o.shown && arm != armRetired {
		// The only errors are NaN and values beyond 10^300; a duration is neither.
		_ = s.sketches[arm].Add(float64(o.latency) / float64(time.Millisecond))
	}
}

// active is the number of requests in flight.
func (m *meter) active() (n int64) {
	m.ctl.Lock()
	defer m.ctl.Unlock()
	m.lockAll()
	defer m.unlockAll()
	for i := range m.shards {
		n += m.shards[i].active
	}
	return n
}

// lockAll needs ctl; it stops all counting.
func (m *meter) lockAll() {
	for i := range m.shards {
		m.shards[i].mu.Lock()
	}
}

func (m *meter) unlockAll() {
	for i := range m.shards {
		m.shards[i].mu.Unlock()
	}
}
