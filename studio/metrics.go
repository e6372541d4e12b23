package studio

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// buckets are the upper edges of the latency histogram in seconds. 0.5 and 1
// are the limits of the specification's canary strategy, so that requests above
// them can be counted exactly.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// metrics counts requests and latencies.
type metrics struct {
	mu        sync.Mutex
	requests  map[requestKey]uint64
	errors    map[string]uint64
	latencies map[string]*histogram
	ratings   uint64
	satisfied uint64
	ratingSum float64
}

type requestKey struct {
	path   string
	status int
}

type histogram struct {
	counts []uint64 // one a bucket, and one above the last; not cumulative
	sum    time.Duration
	total  uint64
}

// newMetrics starts every series at zero: an absent series and one without
// errors are different things to whoever watches.
func newMetrics() *metrics {
	m := &metrics{requests: map[requestKey]uint64{}, errors: map[string]uint64{}, latencies: map[string]*histogram{}}
	for path, ok := range map[string]int{"/v1/sections": http.StatusOK, "/v1/feedback": http.StatusNoContent} {
		m.requests[requestKey{path, ok}] = 0
		m.errors[path] = 0
		m.latencies[path] = &histogram{counts: make([]uint64, len(buckets)+1)}
	}
	return m
}

// observe counts one answer. Errors are the 5xx: what the caller did wrong is
// not held against the system.
func (m *metrics) observe(path string, status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[requestKey{path, status}]++
	if status >= 500 {
		m.errors[path]++
	}
	h := m.latencies[path]
	i, _ := slices.BinarySearch(buckets, took.Seconds())
	h.counts[i]++
	h.sum += took
	h.total++
}

// satisfiedFrom is the rating from which a listener counts as satisfied.
const satisfiedFrom = 0.5

func (m *metrics) rate(rating float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ratings++
	m.ratingSum += rating
	if rating >= satisfiedFrom {
		m.satisfied++
	}
}

// serve writes the Prometheus text format, version 0.0.4.
func (m *metrics) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(m.text()))
}

func (m *metrics) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	head := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	head("studio_requests_total", "counter", "Requests answered, by path and HTTP status.")
	keys := slices.SortedFunc(maps.Keys(m.requests), func(a, b requestKey) int {
		return cmp.Or(strings.Compare(a.path, b.path), a.status-b.status)
	})
	for _, k := range keys {
		fmt.Fprintf(&b, "studio_requests_total{path=%q,code=\"%d\"} %d\n", k.path, k.status, m.requests[k])
	}
	head("studio_request_errors_total", "counter", "Requests answered with 5xx.")
	for _, path := range slices.Sorted(maps.Keys(m.errors)) {
		fmt.Fprintf(&b, "studio_request_errors_total{path=%q} %d\n", path, m.errors[path])
	}
	head("studio_request_duration_seconds", "histogram", "Time to answer.")
	for _, path := range slices.Sorted(maps.Keys(m.latencies)) {
		h, below := m.latencies[path], uint64(0)
		for i, edge := range buckets {
			below += h.counts[i]
			fmt.Fprintf(&b, "studio_request_duration_seconds_bucket{path=%q,le=\"%s\"} %d\n", path, number(edge), below)
		}
		fmt.Fprintf(&b, "studio_request_duration_seconds_bucket{path=%q,le=\"+Inf\"} %d\n", path, h.total)
		fmt.Fprintf(&b, "studio_request_duration_seconds_sum{path=%q} %s\n", path, number(h.sum.Seconds()))
		fmt.Fprintf(&b, "studio_request_duration_seconds_count{path=%q} %d\n", path, h.total)
	}
	head("studio_feedback_total", "counter", "Ratings received.")
	fmt.Fprintf(&b, "studio_feedback_total %d\n", m.ratings)
	head("studio_feedback_satisfied_total", "counter", "Ratings of at least 0.5.")
	fmt.Fprintf(&b, "studio_feedback_satisfied_total %d\n", m.satisfied)
	head("studio_feedback_rating_sum", "counter", "Sum of all ratings, each 0 to 1.")
	fmt.Fprintf(&b, "studio_feedback_rating_sum %s\n", number(m.ratingSum))
	return b.String()
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
