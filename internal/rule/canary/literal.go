package canary

import "fmt"

// Standing of a metric.
const (
	Within  = "ok"      // measured, not over the limit
	Over    = "over"    // strictly over the limit
	Short   = "short"   // too few requests to say
	Unknown = "unknown" // not measured, or measured at other limits
	NoneHas = "absent"  // this target has no source for it
)

// Measure is one metric as it stands, part of a verdict's evidence. For counted
// metrics Count of Of requests are the bad ones.
type Measure struct {
	Metric    string   `json:"metric"`
	State     string   `json:"state"`
	Scope     string   `json:"scope,omitempty"` // whole, recent or window
	Value     *float64 `json:"value,omitempty"` // share of slow requests for latency_p95_ms
	Limit     float64  `json:"limit"`           // 0.05 for latency_p95_ms: that share of requests may be slower
	Count     int64    `json:"count,omitempty"`
	Of        int64    `json:"of,omitempty"`
	Criterion string   `json:"criterion,omitempty"`
	Met       *bool    `json:"met,omitempty"` // of Criterion; absent when it cannot be said
	Text      string   `json:"text"`          // one plain sentence, without full stop
}

// slowShare is the share of requests that may be slower than the limit before
// the 95th percentile is: p95 > L if and only if more than 5 % took longer.
const slowShare = 0.05

// judge is how a metric is measured against its rollback limit. final is set
// at the end of monitoring, on the whole watch.
type judge interface {
	over(c Config, metric string, p Pair, final bool) Measure
}

// judges holds what there is for each mode; a sequential test joins here.
var judges = map[Mode]judge{Literal: literal{}}

// literal compares the measured value with the limit, strictly, once the
// sample is large enough.
//
// One failed request never decides while monitoring runs: at the smallest
// sample it alone would be over any limit under 2 %. At the end the value of
// the whole watch decides.
type literal struct{}

func (literal) over(c Config, metric string, p Pair, final bool) Measure {
	switch metric {
	case ErrorRate:
		return c.literalErrors(p, final)
	case Latency:
		return c.literalLatency(p)
	}
	return c.literalThroughput(p)
}

func (c Config) literalErrors(p Pair, final bool) Measure {
	n, bad := p.Canary.Requests, p.Canary.Errors
	limit := c.Strategy.RollbackThresholds.ErrorRate
	x := share(bad, n)
	m := Measure{Metric: ErrorRate, State: Within, Value: &x, Limit: limit, Count: bad, Of: n}
	m.Text = fmt.Sprintf("%d of %d requests failed (%s); limit %s", bad, n, percent(x, limit), perCent(limit))
	switch {
	case n < c.MinRequests:
		m.State = Short
	case x > limit && (bad > 1 || limit == 0 || final):
		m.State = Over
	}
	return m
}

func (c Config) literalLatency(p Pair) Measure {
	n, ms := p.Canary.Requests, c.Strategy.RollbackThresholds.LatencyP95MS
	least, most := share(p.Canary.Over.AtLeast, n), share(p.Canary.Over.AtMost, n)
	m := Measure{Metric: Latency, State: Within, Value: &least, Limit: slowShare, Count: p.Canary.Over.AtLeast, Of: n}
	m.Text = fmt.Sprintf("%d of %d requests took longer than %s ms (%s); limit %s",
		m.Count, n, num(ms), percent(least, slowShare), perCent(slowShare))
	switch {
	case n < c.MinRequests:
		m.State = Short
	case least > slowShare:
		m.State = Over
	case most > slowShare:
		m.State, m.Value = Unknown, nil
		m.Text = fmt.Sprintf("requests slower than %s ms were not counted", num(ms))
	}
	return m
}

// literalThroughput takes completed/dispatched where windows count it, and the
// traffic share otherwise; either of them being over is enough.
func (c Config) literalThroughput(p Pair) Measure {
	a, b := c.byCompletion(p), c.byShare(p)
	switch {
	case a.State == Over:
		return a
	case b.State == Over, a.State == Unknown, a.State == Short && b.State == Within:
		return b
	}
	return a
}

func (c Config) byCompletion(p Pair) Measure {
	limit := c.Strategy.RollbackThresholds.ThroughputDegradation
	n, done := p.Canary.Dispatched, p.Canary.Completed
	if n == 0 {
		return Measure{Metric: Throughput, State: Unknown, Limit: limit, Text: "throughput was not measured"}
	}
	x := degradation(p.Canary, p.Baseline, c.MinRequests)
	m := Measure{Metric: Throughput, State: Within, Value: &x, Limit: limit, Count: done, Of: n}
	m.Text = fmt.Sprintf("%d of %d dispatched requests were completed (%s fewer than the baseline lets expect); limit %s",
		done, n, percent(max(0, x), limit), perCent(limit))
	switch {
	case n < c.MinRequests:
		m.State = Short
	case x > limit:
		m.State = Over
	}
	return m
}

// byShare compares the canary's requests with what its weight lets expect from
// the baseline's. That is a random split of the traffic, so a shortfall beyond
// the limit counts only when it is larger than three standard deviations of
// the split; a smaller one is not known either way.
func (c Config) byShare(p Pair) Measure {
	limit, s := c.Strategy.RollbackThresholds.ThroughputDegradation, p.Share
	if s.Base == 0 {
		return Measure{Metric: Throughput, State: Unknown, Limit: limit, Text: "throughput was not measured"}
	}
	x := tidy(1 - float64(s.Got)/s.Expected)
	m := Measure{Metric: Throughput, State: Within, Value: &x, Limit: limit, Count: s.Got, Of: int64(s.Expected)}
	m.Text = fmt.Sprintf("%d requests were served where the weight lets expect %d (%s fewer); limit %s",
		s.Got, m.Of, percent(max(0, x), limit), perCent(limit))
	allowed := float64(s.Expected * (1 - limit))
	lack := allowed - float64(s.Got)
	variance := float64(allowed * (1 + s.Expected/float64(s.Base)))
	switch {
	case s.Expected < float64(c.MinRequests):
		m.State = Short
	case lack > 0 && float64(lack*lack) > float64(9*variance):
		m.State = Over
	case lack > 0:
		m.State = Unknown
		m.Text += ", which may be chance"
	}
	return m
}

// degradation is 1 - (completed/dispatched) / (the baseline's), against 1 when
// the baseline has no sample of its own. A baseline that completes nothing
// explains everything; it is unhealthy by then.
func degradation(canary, base Side, least int64) float64 {
	ref := 1.0
	if base.Dispatched >= least {
		ref = min(1, share(base.Completed, base.Dispatched))
	}
	if ref == 0 {
		return 0
	}
	return tidy(1 - share(canary.Completed, canary.Dispatched)/ref)
}
