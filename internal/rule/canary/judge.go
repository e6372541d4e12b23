package canary

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Outcome is what a verdict says.
type Outcome string

// The three outcomes. Hold means: go on watching, or, at the end, ask a person.
const (
	Promote  Outcome = "promote"
	Rollback Outcome = "rollback"
	Hold     Outcome = "hold"
)

// Verdict is the answer of `govern canary judge`.
type Verdict struct {
	Verdict         Outcome  `json:"verdict"`
	Reason          string   `json:"reason"`           // plain sentences
	AtSeq           int64    `json:"at_seq"`           // the window after which it was reached, 0 before any
	ObservedMinutes float64  `json:"observed_minutes"` // fresh minutes that counted
	Evidence        Evidence `json:"evidence"`
}

// Evidence is what a verdict rests on.
type Evidence struct {
	Code     string    `json:"code"`              // see the Code constants
	Frozen   string    `json:"frozen,omitempty"`  // why the clock stands still
	Metrics  []Measure `json:"metrics,omitempty"` // the ones that decided, or all at the end
	Requests int64     `json:"requests"`          // of the canary in the watch
	Extended bool      `json:"extended,omitempty"`
	Ended    bool      `json:"ended,omitempty"` // monitoring is over: this hold asks for an extension or a person
}

// Codes of verdicts, for machines.
const (
	CodeWatching  = "watching"         // not long enough yet
	CodeOver      = "over_limit"       // a rollback threshold is exceeded
	CodeAlert     = "critical_alert"   // a critical alert fires
	CodeDrift     = "model_drift"      // the model drifted
	CodeMissing   = "missing_data"     // no fresh measurements
	CodeBaseline  = "baseline_over"    // the baseline itself is over the limits
	CodeCriteria  = "criteria_not_met" // neither promote nor roll back
	CodeSample    = "small_sample"     // too few requests
	CodeUnknown   = "not_measured"     // something demanded was not measured
	CodeMet       = "criteria_met"     // promote
	CodeDisabled  = "disabled"         // the strategy says enabled: false
	CodeStatement = "statement"        // a person promoted what was held
)

// Watch is the judge's memory of one step: the fold of its windows. Its size
// does not grow with their number.
type Watch struct {
	Seq       int64   `json:"seq,omitempty"`      // of the last window
	Observed  float64 `json:"observed,omitempty"` // seconds that counted
	Extended  bool    `json:"extended,omitempty"`
	Whole     Pair    `json:"whole,omitzero"`
	Recent    Recent  `json:"recent,omitzero"`
	Health    Recent  `json:"health,omitzero"` // of the baseline, over a shorter time
	Score     float64 `json:"score,omitempty"` // sum of satisfaction x requests
	Scored    int64   `json:"scored,omitempty"`
	Drift     float64 `json:"drift,omitempty"` // the highest seen
	Drifted   bool    `json:"drifted,omitempty"`
	Model     bool    `json:"model,omitempty"`
	Frozen    Signal  `json:"frozen,omitempty"`    // of the last window, when it was not fresh
	Missing   float64 `json:"missing,omitempty"`   // seconds since the last fresh window
	Unhealthy float64 `json:"unhealthy,omitempty"` // seconds the baseline has been over the limits
}

// healthSeconds is the look-back on the baseline's own health: short, so that
// the clock runs again soon after an incident.
const healthSeconds = 60

// Judge folds windows from the start of a watch and gives the verdict: the
// first rollback, a promotion at the end of monitoring, or hold. A hold at the
// end extends monitoring once by the same duration.
func Judge(c Config, windows []Window) (Verdict, error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return Verdict{}, err
	}
	for i, w := range windows {
		if err := w.Validate(); err != nil {
			return Verdict{}, err
		}
		if i > 0 && w.Seq <= windows[i-1].Seq {
			return Verdict{}, windowError("seq %d does not follow %d", w.Seq, windows[i-1].Seq)
		}
	}
	var s Watch
	v := s.hold(CodeWatching, "nothing was observed")
	if !c.Strategy.Enabled {
		return s.hold(CodeDisabled, "the canary strategy is disabled: nothing is promoted by it"), nil
	}
	ended := false
	for _, w := range windows {
		var now Verdict
		s, now = c.Fold(s, w, ended)
		switch {
		case now.Verdict == Rollback:
			return now, nil
		case ended: // only a rollback can still change the answer
			continue
		}
		v = now
		if v.Verdict == Promote {
			return v, nil
		}
		if v.Evidence.Ended {
			ended = s.Extended
			s.Extended = true
		}
	}
	return v, nil
}

// Fold takes in one window and says where the watch stands. With still set the
// clock stands: the window is looked at for reasons to roll back, but counts
// for nothing else (a pause, a person's decision, 100 % before the merge).
// Windows must come in order of Seq; an older one changes nothing.
func (c Config) Fold(s Watch, w Window, still bool) (Watch, Verdict) {
	c = c.WithDefaults()
	if w.Seq <= s.Seq {
		return s, s.hold(CodeWatching, "this window was seen before")
	}
	s.Seq = w.Seq
	s.Model = s.Model || c.ModelChange || w.ModelChange != nil && *w.ModelChange
	sig := w.signal()
	if w.CriticalAlerts > 0 {
		return s, s.back(CodeAlert, alerts(w.CriticalAlerts))
	}
	if w.Drift != nil && (sig == Fresh || sig == Empty) {
		s.Drift, s.Drifted = max(s.Drift, *w.Drift), true
		if m := c.drift(s); s.Model && m.State == Over {
			return s, s.back(CodeDrift, m)
		}
	}
	if sig != Fresh {
		return c.missing(s, w, sig)
	}
	s.Frozen, s.Missing = "", 0
	return c.fresh(s, w, still)
}

func (c Config) missing(s Watch, w Window, sig Signal) (Watch, Verdict) {
	s.Frozen = sig
	s.Missing += w.Seconds
	if s.Unhealthy > 0 {
		s.Unhealthy += w.Seconds
		if s.Unhealthy >= c.UnhealthySeconds {
			return s, s.unhealthyBack(c)
		}
	}
	if c.MissingRollbackSeconds > 0 && s.Missing >= c.MissingRollbackSeconds {
		v := s.verdict(Rollback, CodeMissing, fmt.Sprintf("nothing fresh was measured for %s minutes: %s; limit %s minutes",
			minutes(s.Missing), sig.words(), minutes(c.MissingRollbackSeconds)))
		return s, v
	}
	return s, s.hold(CodeMissing, "the clock stands still: "+sig.words())
}

// words says what a signal means.
func (g Signal) words() string {
	switch g {
	case Empty:
		return "no traffic reached the canary"
	case Stale:
		return "the measurements are stale"
	case Failed:
		return "the measurements could not be read"
	case Ambiguous:
		return "the measurements are ambiguous"
	}
	return "the measurements are fresh"
}

func (c Config) fresh(s Watch, w Window, still bool) (Watch, Verdict) {
	p := c.tally(w)
	s.Health = s.Health.plus(Pair{Seconds: p.Seconds, Baseline: p.Baseline}, healthSeconds)
	ill := c.unhealthy(s.Health.sum().Baseline)
	if len(ill) == 0 && s.Unhealthy > 0 {
		s.Unhealthy, s.Recent = 0, Recent{} // the incident is no evidence against the canary
	}
	s.Recent = s.Recent.plus(p, c.RecentSeconds)
	if len(ill) == 0 && !still {
		s = s.count(w, p)
	}
	if bad := c.exceeded(s.Recent.sum(), "recent", ill); len(bad) > 0 {
		return s, s.back(CodeOver, bad...)
	}
	if len(ill) > 0 {
		s.Unhealthy += w.Seconds
		if s.Unhealthy >= c.UnhealthySeconds {
			return s, s.unhealthyBack(c)
		}
		return s, s.hold(CodeBaseline, "the clock stands still: the baseline itself is over the limits, "+ill[0].Text)
	}
	if still {
		return s, s.hold(CodeWatching, "nothing speaks against the canary")
	}
	if bad := c.exceeded(s.Whole, "whole", nil); len(bad) > 0 {
		return s, s.back(CodeOver, bad...)
	}
	if s.Observed < c.needed(s) {
		return s, s.hold(CodeWatching, fmt.Sprintf("%s of %s minutes observed, nothing speaks against the canary",
			minutes(s.Observed), minutes(c.needed(s))))
	}
	return s, c.end(s, w.Weight >= 100)
}

// count lets the window count for the end of monitoring.
func (s Watch) count(w Window, p Pair) Watch {
	s.Whole = s.Whole.plus(p)
	s.Observed += w.Seconds
	if w.Satisfaction != nil {
		s.Score += float64(*w.Satisfaction * float64(w.Canary.Requests))
		s.Scored += w.Canary.Requests
	}
	return s
}

// needed is the number of seconds to be observed.
func (c Config) needed(s Watch) float64 {
	seconds := float64(c.Strategy.MonitoringMinutes * 60)
	if s.Extended {
		return float64(2 * seconds)
	}
	return seconds
}

// exceeded lists the limits that p is over, leaving out what the baseline's
// own illness explains: there the canary must be half as bad again.
func (c Config) exceeded(p Pair, scope string, ill []Measure) []Measure {
	var out []Measure
	for _, k := range []string{ErrorRate, Latency, Throughput} {
		m := judges[c.mode(k)].over(c, k, p, false)
		if m.State != Over || explained(m, ill, p.Baseline) {
			continue
		}
		m.Scope = scope
		out = append(out, m)
	}
	return out
}

func explained(m Measure, ill []Measure, base Side) bool {
	if !slices.ContainsFunc(ill, func(i Measure) bool { return i.Metric == m.Metric }) {
		return false
	}
	switch m.Metric {
	case ErrorRate:
		return *m.Value <= float64(1.5*share(base.Errors, base.Requests))
	case Latency:
		return *m.Value <= float64(1.5*share(base.Over.AtLeast, base.Requests))
	}
	return true
}

// unhealthy lists the limits that the baseline itself is over.
func (c Config) unhealthy(base Side) []Measure {
	var out []Measure
	for _, k := range []string{ErrorRate, Latency} {
		if m := (literal{}).over(c, k, Pair{Canary: base}, false); m.State == Over {
			out = append(out, m)
		}
	}
	if base.Dispatched >= c.MinRequests && base.Completed == 0 {
		out = append(out, Measure{
			Metric: Throughput, State: Over, Of: base.Dispatched,
			Text: fmt.Sprintf("none of %d dispatched requests was completed", base.Dispatched),
		})
	}
	return out
}

func (s Watch) unhealthyBack(c Config) Verdict {
	return s.verdict(Rollback, CodeBaseline, fmt.Sprintf("the baseline itself has been over the limits for %s minutes; limit %s minutes",
		minutes(s.Unhealthy), minutes(c.UnhealthySeconds)))
}

// end decides when monitoring is over: over a threshold rolls back, all
// criteria met on enough known numbers promotes, everything else holds.
func (c Config) end(s Watch, full bool) Verdict {
	if n := s.Whole.Canary.Requests; n < c.MinRequests && s.Whole.Canary.Dispatched < c.MinRequests {
		v := s.hold(CodeSample, fmt.Sprintf("%d requests are too few to decide on; at least %d are needed", n, c.MinRequests))
		v.Evidence.Ended = true
		return v
	}
	all, code := c.measures(s, full), CodeMet
	var over, open []string
	for _, m := range all {
		switch {
		case m.State == Over:
			over = append(over, m.Text)
		case m.Met != nil && !*m.Met:
			open, code = append(open, m.Text+"; promotion demands "+m.Criterion), CodeCriteria
		case m.State == Short, m.State == Unknown, m.Criterion != "" && m.Met == nil:
			open = append(open, m.Text)
			if code == CodeMet {
				code = CodeUnknown
			}
		}
	}
	v := Verdict{Verdict: Promote, Reason: "all criteria held over the whole watch"}
	switch {
	case len(over) > 0:
		v.Verdict, v.Reason, code = Rollback, strings.Join(over, "; "), CodeOver
	case len(open) > 0:
		v.Verdict, v.Reason = Hold, strings.Join(open, "; ")
	}
	v = s.verdict(v.Verdict, code, v.Reason)
	v.Evidence.Metrics, v.Evidence.Ended = all, true
	return v
}

// measures gives every metric on the whole watch, each with its criterion.
func (c Config) measures(s Watch, full bool) []Measure {
	var out []Measure
	for _, k := range []string{ErrorRate, Latency, Throughput} {
		m := judges[c.mode(k)].over(c, k, s.Whole, true)
		if k == Throughput && full && m.State == Unknown && s.Whole.Share.Base == 0 {
			m.State, m.Text = NoneHas, "at 100 % there is no baseline to compare throughput with"
		}
		out = append(out, m)
	}
	out = append(out, c.satisfaction(s), c.drift(s))
	for i, m := range out {
		if why, ok := c.Absent[m.Metric]; ok && (m.State == Unknown || m.State == Short) {
			out[i].State, out[i].Value, out[i].Text = NoneHas, nil, m.Metric+" has no source here: "+why
		}
		out[i].Scope = "whole"
		if k, ok := c.Strategy.PromotionCriteria[m.Metric]; ok {
			out[i].Criterion = k.String()
			out[i].Met = c.met(out[i], k, s)
		}
	}
	return out
}

// met answers a criterion, nil when it cannot be said.
func (c Config) met(m Measure, k Criterion, s Watch) *bool {
	if m.State == Unknown || m.State == Short || m.State == NoneHas || m.Value == nil {
		return nil
	}
	if m.Metric != Latency {
		ok := k.Holds(*m.Value)
		return &ok
	}
	n := s.Whole.Canary.Requests
	least, most := share(s.Whole.Canary.Crit.AtLeast, n), share(s.Whole.Canary.Crit.AtMost, n)
	holds := Criterion{k.Op, slowShare}
	switch yes, no := true, false; {
	case holds.Holds(most):
		return &yes
	case !holds.Holds(least):
		return &no
	}
	return nil
}

func (c Config) satisfaction(s Watch) Measure {
	m := Measure{Metric: Satisfaction, State: Unknown, Of: s.Scored, Text: "the satisfaction score was not measured"}
	_, asked := c.Strategy.PromotionCriteria[Satisfaction]
	if s.Scored == 0 && asked {
		return m
	}
	m.State = Within
	if s.Scored == 0 {
		m.Text = "no criterion asks for the satisfaction score"
		return m
	}
	x := tidy(s.Score / float64(s.Scored))
	m.Value, m.Text = &x, fmt.Sprintf("the satisfaction score was %s", num(x))
	if asked && s.Scored < c.MinRequests {
		m.State = Short
		m.Text += fmt.Sprintf(" on %d requests; at least %d are needed", s.Scored, c.MinRequests)
	}
	return m
}

func (c Config) drift(s Watch) Measure {
	limit := c.Strategy.RollbackThresholds.DriftScore
	m := Measure{Metric: Drift, State: Within, Limit: limit, Text: "the change touches no model"}
	switch {
	case s.Drifted:
		x := s.Drift
		m.Value, m.Text = &x, fmt.Sprintf("the drift score reached %s; limit %s", num(x), num(limit))
		if s.Model && x > limit {
			m.State = Over
		}
	case s.Model:
		m.State, m.Text = Unknown, "drift was not measured though the change touches a model"
	}
	return m
}

func alerts(n int64) Measure {
	x := float64(n)
	m := Measure{Metric: Alerts, State: Over, Scope: "window", Value: &x, Count: n, Text: fmt.Sprintf("%d critical alerts fire", n)}
	if n == 1 {
		m.Text = "a critical alert fires"
	}
	return m
}

func (s Watch) back(code string, ms ...Measure) Verdict {
	texts := make([]string, len(ms))
	for i, m := range ms {
		texts[i] = m.Text
	}
	v := s.verdict(Rollback, code, strings.Join(texts, "; "))
	v.Evidence.Metrics = ms
	return v
}

func (s Watch) hold(code, reason string) Verdict { return s.verdict(Hold, code, reason) }

func (s Watch) verdict(o Outcome, code, reason string) Verdict {
	e := Evidence{Code: code, Requests: s.Whole.Canary.Requests, Extended: s.Extended}
	switch code {
	case CodeMissing:
		e.Frozen = string(s.Frozen)
	case CodeBaseline:
		e.Frozen = "baseline"
	}
	return Verdict{o, reason, s.Seq, math.Round(float64(s.Observed/60*1000)) / 1000, e}
}

// minutes prints seconds as minutes with at most two digits behind the point.
func minutes(seconds float64) string {
	return num(math.Round(float64(seconds/60*100)) / 100)
}
