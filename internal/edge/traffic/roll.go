package traffic

import (
	"fmt"
	"strconv"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"

	"github.com/governhq/govern/internal/gov"
)

// advance lets the ends of windows and of the lease happen, in the order in
// which they are due, up to now. It needs ctl.
func (m *meter) advance(now int64) {
	for {
		end := m.ring.start + m.length
		switch {
		case m.until <= now && m.until <= end:
			m.state.Reason = ReasonLease
			m.switchTo(m.until, m.routes.Load().with(0))
		case end <= now:
			m.closeWindow(end, nil)
			if idle := (min(now, m.until) - m.ring.start) / m.length; idle > int64(m.ring.keep) {
				m.ring.skip(int(idle)-m.ring.keep, m.length)
			}
		default:
			m.due.Store(min(end, m.until))
			return
		}
	}
}

// switchTo puts r in force as of the given time and begins a new window. It
// needs ctl. Without a weight there is no lease.
func (m *meter) switchTo(at int64, r *routes) {
	m.closeWindow(at, r)
	if r.weight == 0 {
		m.until = never
	}
	m.due.Store(min(m.ring.start+m.length, m.until))
}

// closeWindow ends the open window and, when r is given, changes the routes in
// the same instant. It needs ctl. A window without length or events is dropped.
func (m *meter) closeWindow(at int64, r *routes) {
	old := m.routes.Load()
	var total [arms]counts
	m.lockAll()
	for i := range m.shards {
		s := &m.shards[i]
		for a := range s.counts {
			total[a].add(&s.counts[a])
		}
		s.counts = [arms]counts{}
		s.sketches, m.spare[i] = m.spare[i], s.sketches
	}
	if r != nil {
		m.routes.Store(r)
	}
	m.unlockAll()

	p95 := m.quantiles()
	start := m.ring.start
	if at <= start {
		if total == ([arms]counts{}) {
			return
		}
		at = start + 1 // no time has passed, and yet something happened: a window needs a length
	}
	m.ring.start = at
	w := Window{
		Seconds:  time.Duration(at - start).Seconds(),
		Weight:   old.weight,
		Canary:   m.arm(total[armCanary], p95[armCanary]),
		Baseline: m.arm(total[armBaseline], p95[armBaseline]),
		Retired:  m.arm(total[armRetired], 0),
		State:    WindowFresh,
		Start:    m.base.Add(time.Duration(start)),
		End:      m.base.Add(time.Duration(at)),
	}
	if total[armCanary] == (counts{}) {
		w.State = WindowEmpty
	}
	m.ring.push(w)
}

// quantiles reads the 95th percentiles from the spare sketches and empties them.
func (m *meter) quantiles() (p95 [2]float64) {
	for arm := range p95 {
		var sum *ddsketch.DDSketch
		for i := range m.spare {
			s := m.spare[i][arm]
			switch {
			case s.IsEmpty():
			case sum == nil:
				sum = s
			default:
				_ = sum.MergeWith(s) // cannot fail: one mapping for all
			}
		}
		if sum != nil {
			p95[arm], _ = sum.GetValueAtQuantile(0.95) // not empty, so it has one
		}
		for i := range m.spare {
			m.spare[i][arm].Clear()
		}
	}
	return p95
}

func (m *meter) arm(c counts, p95 float64) Arm {
	a := Arm{
		Requests: c.requests, Errors: c.errors, Dispatched: c.dispatched, Completed: c.completed,
		ClientAborted: c.aborted, P95: p95, Slow: make(map[string]int64, len(m.labels)),
	}
	for i, label := range m.labels {
		a.Slow[label] = c.slow[i]
	}
	return a
}

func labels(ms []int) []string {
	out := make([]string, len(ms))
	for i, n := range ms {
		out[i] = strconv.Itoa(n)
	}
	return out
}

func (m *meter) windows(after int) ([]Window, error) {
	now := int64(m.now().Sub(m.base))
	m.ctl.Lock()
	defer m.ctl.Unlock()
	m.advance(now)
	return m.ring.after(after)
}

// ring keeps the last windows, numbered without gaps.
type ring struct {
	keep  int
	first int   // number of the oldest window that was ever numbered
	next  int   // number of the open window
	start int64 // of the open window
	kept  []Window
}

// held are the windows readers may have, oldest first.
func (r *ring) held() []Window { return r.kept[max(0, len(r.kept)-r.keep):] }

func (r *ring) push(w Window) {
	w.Seq = r.next
	r.next++
	if len(r.kept) == 2*r.keep {
		r.kept = append(r.kept[:0], r.held()...) // once in keep windows, so pushing stays cheap
	}
	r.kept = append(r.kept, w)
}

// skip passes over n empty windows that would be gone before anybody read them.
func (r *ring) skip(n int, length int64) {
	r.next += n
	r.start += int64(n) * length
	r.kept = r.kept[:0]
}

// after copies the windows numbered above seq.
func (r *ring) after(seq int) ([]Window, error) {
	if seq >= r.next {
		return nil, gov.Errorf(gov.KindConflict, "window_unknown",
			"window %d is asked for as already read, but the newest is %d", seq, r.next-1).
			WithOp("read windows").WithHint("the proxy has restarted: begin again at %d", r.first-1)
	}
	held := r.held()
	oldest := r.next - len(held)
	from := max(seq+1, oldest)
	out := make([]Window, 0, r.next-from)
	for _, w := range held[from-oldest:] {
		out = append(out, w.clone())
	}
	if lost := oldest - max(seq+1, r.first); lost > 0 {
		return out, gov.Errorf(gov.KindNotFound, "windows_lost", "%s between %d and %d are no longer kept",
			plural(lost, "window"), max(seq, r.first-1), oldest).
			WithOp("read windows").WithHint("read more often than every %d windows; time not seen is not observed", r.keep)
	}
	return out, nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
